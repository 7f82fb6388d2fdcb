"""Every Python block in the documentation runs, and every shell block names commands that exist."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .pages import DOCS, ROOT, code_blocks, documents, name_of, shell_lines, text_of

RUNNER = Path(__file__).with_name("run_snippets.py")
PYTHON_PAGES = [path for path in documents() if any(language == "python" for language, _ in code_blocks(text_of(path)))]
SHELL_PAGES = [path for path in documents() if shell_lines(text_of(path))]


@pytest.mark.parametrize("path", PYTHON_PAGES, ids=name_of)
def test_python_blocks_run(path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("WORKLIST_")}
    environment["PYTHONPATH"] = str(ROOT / "src")
    done = subprocess.run(
        [sys.executable, "-W", "error", str(RUNNER), str(path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", SHELL_PAGES, ids=name_of)
def test_shell_commands_exist(path):
    text = text_of(path)
    for line in shell_lines(text):
        for command in re.split(r"\s*(?:&&|\||;)\s*", line):
            _check(command.rstrip("& "), text)


def _check(command: str, text: str) -> None:
    words = [word for word in command.split() if not re.match(r"[A-Z_]+=", word)]
    program = words[0] if words else "export"
    assert program in CHECKS, f"{command!r}: no such command is known to the documentation"
    CHECKS[program](words[1:], text)


def _make(words: list[str], _: str) -> None:
    targets = re.findall(r"^([a-z]+):", text_of(ROOT / "Makefile"), re.MULTILINE)
    assert words[0] in targets, f"make {words[0]}: no such target"


def _python(words: list[str], text: str) -> None:
    if words[0] == "-m":
        assert words[1] == "bench" or importlib.util.find_spec(words[1])
    else:
        assert f"# {words[0]}\n" in text, f"{words[0]} is not a file of this page"


def _worklist(words: list[str], text: str) -> None:
    cli = pytest.importorskip("worklist.cli", reason="this checkout has no command line yet").main
    assert words[0] in cli.commands or words[0] in ("--help", "--version"), f"worklist {words[0]}: no such command"
    command = cli.commands.get(words[0], cli)
    if len(words) > 1 and words[1] in getattr(command, "commands", {}):
        command = command.commands[words[1]]
    known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for option in (word.split("=")[0] for word in words[1:] if word.startswith("-")):
        assert option in known | {"--help"}, f"worklist {words[0]} has no option {option}"


def _anything(words: list[str], text: str) -> None:
    """Accept a command of the system."""


def _git(words: list[str], text: str) -> None:
    assert words[0] in ("clone", "switch", "commit", "add")


CHECKS = {
    "make": _make,
    "python": _python,
    "worklist": _worklist,
    "git": _git,
    "pip": _anything,
    "cd": _anything,
    "cp": _anything,
    "kill": _anything,
    "export": _anything,
    "ulimit": _anything,
    "systemctl": _anything,
    "journalctl": _anything,
    "supervisorctl": _anything,
    "docker": _anything,
    "kubectl": _anything,
    "playwright": _anything,
}


def test_the_chinese_readme_has_the_same_code():
    english, chinese = (text_of(ROOT / name) for name in ("README.md", "README.zh-CN.md"))
    assert _code(chinese) == _code(english)
    assert re.findall(r"<!-- .*? -->", chinese) == re.findall(r"<!-- .*? -->", english)
    assert len(re.findall(r"^#", chinese, re.MULTILINE)) == len(re.findall(r"^#", english, re.MULTILINE))


def _code(text: str) -> list[tuple[str, str]]:
    """Return the code blocks without their comments, which may be translated."""
    return [(language, re.sub(r"\s*#.*", "", code)) for language, code in code_blocks(text)]


def test_the_documentation_is_there():
    assert {path.name for path in DOCS.iterdir() if path.is_dir()} == {
        "how-to",
        "reference",
        "explanation",
        "decisions",
        "images",
    }
