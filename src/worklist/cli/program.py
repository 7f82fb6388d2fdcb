"""The program itself: the group that the commands hang on, and what becomes of an error: one sentence, no traceback.

It knows no command. Exit codes: 0 done, 1 could not be done, 2 not understood, 130 interrupted.
"""

import difflib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from .. import __version__
from ..core.errors import WorklistError
from .render import say_error

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130
SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Program(click.Group):
    """A click group that shows every error as one sentence on stderr."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line and exit; the exit code tells how it went."""
        _accept_any_character()
        try:
            code = super().main(args, "worklist", complete_var, standalone_mode=False, **extra)
        except click.UsageError as error:
            _usage(error)
        except click.ClickException as error:
            _end(error.format_message(), error.exit_code)
        except (click.Abort, KeyboardInterrupt):
            sys.exit(EXIT_INTERRUPTED)
        except BrokenPipeError:
            _let_go_of_output()
        except WorklistError as error:
            _end(str(error), EXIT_FAILED)
        except Exception as error:
            _unexpected(error)
        sys.exit(code if isinstance(code, int) else 0)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command; name the nearest one where there is none of this name."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            near = difflib.get_close_matches(args[0], self.commands, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(self.commands))}"
            raise click.UsageError(f"no command {args[0]!r}; {hint}", ctx)
        return super().resolve_command(ctx, args)


@click.command(cls=Program, context_settings=SETTINGS, invoke_without_command=True)
@click.version_option(__version__, prog_name="worklist")
@click.pass_context
def program(context: click.Context) -> None:
    """Run workers, and look after the jobs of a Worklist.

    MODULE:APP names the app, such as tasks:app for the variable app in tasks.py. To save typing it, write
    app = "tasks:app" under [tool.worklist] in the pyproject.toml of the folder you work in.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def _accept_any_character() -> None:
    """Let a terminal that cannot show a character show a question mark."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def _end(message: str, code: int) -> NoReturn:
    say_error(message)
    sys.exit(code)


def _usage(error: click.UsageError) -> NoReturn:
    command = error.ctx.command_path if error.ctx else "worklist"
    message = error.format_message().rstrip(".")
    _end(f"{message[:1].lower()}{message[1:]}  (try: {command} --help)", error.exit_code)


def _let_go_of_output() -> NoReturn:
    """End quietly where the reader of a pipe has gone, as in ``worklist jobs | head``."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(0)


def _unexpected(error: Exception) -> NoReturn:
    """Say what nobody thought of, and where; $WORKLIST_DEBUG shows all of it."""
    if os.environ.get("WORKLIST_DEBUG"):
        raise error
    frame = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{os.path.basename(frame.filename)}:{frame.lineno}"
    _end(f"{type(error).__name__}: {error} (at {where}; WORKLIST_DEBUG=1 shows the traceback)", EXIT_FAILED)
