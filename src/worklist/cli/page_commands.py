"""The commands that look at single pages: shell, fetch, view, parse and check.

They use `worklist.crawl.tryout`, which is imported when one runs: without the extra [crawl] the
other commands work all the same.
"""

import asyncio
import code
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import click

from ..core.errors import ConfigError, WorklistError
from .crawl_command import spider_of
from .render import show_json

if TYPE_CHECKING:
    from ..crawl.response import Response
    from ..crawl.tryout import Tryout


def _options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add what all these commands take."""
    for option in (
        click.option("-s", "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set a setting."),
        click.option(
            "-a", "--arg", "arguments", multiple=True, metavar="NAME=VALUE", help="Give the spider an argument."
        ),
        click.option("--spider", metavar="FILE[:NAME]", help="Use this spider and its settings."),
    ):
        command = option(command)
    return command


def _pairs(values: tuple[str, ...], what: str) -> dict[str, str]:
    for each in values:
        if "=" not in each:
            raise click.UsageError(f"{what} is {each!r}; expected NAME=VALUE")
    return dict(each.split("=", 1) for each in values)


def _opened(spider: str | None, settings: tuple[str, ...], arguments: tuple[str, ...]) -> "Tryout":
    try:
        from ..crawl import tryout  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ConfigError(f"this needs {error.name}: pip install 'worklist[crawl]'") from None
    path, _, name = (spider or "").partition(":")
    kind = spider_of(path, name or None) if spider else tryout.AnySpider
    values: dict[str, Any] = {"HTTPERROR_ALLOW_ALL": True, "ROBOTSTXT_OBEY": False} if not spider else {}
    return tryout.Tryout(kind, {**values, **_pairs(settings, "-s")}, _pairs(arguments, "-a"))


async def _closing(tried: "Tryout", work: Coroutine[Any, Any, Any]) -> Any:
    try:
        return await work
    finally:
        await tried.close()


def _url(text: str) -> str:
    """Return what a user means by an address: example.com is http://example.com."""
    return text if "://" in text else f"http://{text}"


def _fetched(url: str, spider: str | None, settings: tuple[str, ...], arguments: tuple[str, ...]) -> "Response":
    tried = _opened(spider, settings, arguments)
    response: Response = asyncio.run(_closing(tried, tried.fetch(_url(url))))
    return response


@click.command()
@click.argument("url")
@click.option("--headers", is_flag=True, help="Show the headers that were sent and received, not the body.")
@_options
def fetch(url: str, headers: bool, spider: str | None, settings: tuple[str, ...], arguments: tuple[str, ...]) -> None:
    """Download URL as a spider would, and print its body."""
    response = _fetched(url, spider, settings, arguments)
    if not headers:
        sys.stdout.buffer.write(response.body)
        return
    sent: Any = response.request.headers if response.request else {}
    for mark, lines in ((">", sent), ("<", response.headers)):
        for name in lines:
            for value in lines.getlist(name):
                click.echo(f"{mark} {name.decode()}: {value.decode('latin-1')}")
    click.echo(f"< {response.status} {response.url}")


@click.command()
@click.argument("url")
@click.option("--no-browser", is_flag=True, help="Write the file and print its name only.")
@_options
def view(url: str, no_browser: bool, spider: str | None, settings: tuple[str, ...], arguments: tuple[str, ...]) -> None:
    """Download URL as a spider would, and open it in the browser."""
    path = _written(_fetched(url, spider, settings, arguments))
    click.echo(path)
    if not no_browser:
        webbrowser.open(f"file://{path}")


def _written(response: "Response") -> str:
    """Write a page to a file of its own, with a <base>, so that a browser finds its images."""
    body = response.body
    if b"<base" not in body[:4096] and b"<head" in body:
        place = body.index(b">", body.index(b"<head")) + 1
        body = body[:place] + f'<base href="{response.url}">'.encode() + body[place:]
    ending = ".html" if b"<" in body[:512] else ".txt"
    with tempfile.NamedTemporaryFile(prefix="worklist-", suffix=ending, delete=False) as file:
        file.write(body)
    return file.name


@click.command()
@click.argument("url")
@click.option("-c", "--callback", help="The method that gets the response (default: parse).")
@click.option("-d", "--depth", default=1, show_default=True, help="How many links to follow in a row.")
@click.option("--noitems", is_flag=True, help="Do not show items.")
@click.option("--nolinks", is_flag=True, help="Do not show requests.")
@_options
def parse(
    url: str,
    callback: str | None,
    depth: int,
    noitems: bool,
    nolinks: bool,
    spider: str | None,
    settings: tuple[str, ...],
    arguments: tuple[str, ...],
) -> None:
    """Download URL, give it to a callback of the spider, and show what comes of it."""
    if spider is None:
        raise click.UsageError("--spider is missing; expected the file of a spider, such as --spider quotes.py")
    tried = _opened(spider, settings, arguments)
    tried.method(callback)
    items, links = asyncio.run(_closing(tried, _parsed(tried, _url(url), callback, depth)))
    if not noitems:
        show_json(items)
    if not nolinks:
        for link in links:
            click.echo(f"-> {link}", err=not noitems)


async def _parsed(tried: "Tryout", url: str, callback: str | None, depth: int) -> tuple[list[Any], list[str]]:
    from ..crawl.feeds.rows import plain_row  # noqa: PLC0415 - optional
    from ..crawl.request import Request  # noqa: PLC0415
    from ..crawl.spiders import all_of  # noqa: PLC0415

    items: list[Any] = []
    now = [Request(url, callback=callback)]
    for _ in range(max(1, depth)):
        following: list[Request] = []
        for request in now:
            response = await tried.fetch(request)
            for each in await all_of(tried.method(request.callback)(response, **request.cb_kwargs)):
                following.append(each) if isinstance(each, Request) else items.append(plain_row(each))
        now = following
    return items, [repr(each) for each in now]


@click.command()
@click.argument("spider", metavar="FILE[:NAME]")
@click.option("-s", "--set", "settings", multiple=True, metavar="NAME=VALUE", help="Set a setting.")
@click.option("-a", "--arg", "arguments", multiple=True, metavar="NAME=VALUE", help="Give the spider an argument.")
def check(spider: str, settings: tuple[str, ...], arguments: tuple[str, ...]) -> int:
    """Check what the docstrings of a spider's callbacks promise (@url, @returns, @scrapes)."""
    tried = _opened(spider, settings, arguments)
    from ..crawl.contracts import check_spider  # noqa: PLC0415 - optional

    checks = asyncio.run(_closing(tried, check_spider(tried.spider, tried.fetch)))
    for each in checks:
        click.echo(f"{'ok  ' if not each.error else 'FAIL'} {each.name}{': ' + each.error if each.error else ''}")
    failed = sum(bool(each.error) for each in checks)
    click.echo(f"{len(checks)} promises, {failed} broken" if checks else "no callback of this spider promises anything")
    return 1 if failed else 0


@click.command()
@click.argument("url", required=False)
@click.option("-c", "--code", "expression", help="Evaluate this expression, print it, and end.")
@_options
def shell(
    url: str | None, expression: str | None, spider: str | None, settings: tuple[str, ...], arguments: tuple[str, ...]
) -> None:
    """Try selectors on a page, in an interactive Python.

    There are fetch(url), view(response), and of the last page: response, request, sel; and spider, settings.
    """
    tried = _opened(spider, settings, arguments)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="worklist-shell", daemon=True)
    thread.start()

    def run(work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, loop).result()

    names: dict[str, Any] = {"spider": tried.spider, "settings": tried.settings, "response": None, "request": None}

    def fetch(url: Any) -> None:
        """Download a URL or a request; it becomes response, request and sel."""
        try:
            response = run(tried.fetch(_url(url) if isinstance(url, str) else url))
        except WorklistError as error:
            click.echo(f"{url}: {error}", err=True)
            return
        names.update(response=response, request=response.request, sel=getattr(response, "selector", None))
        click.echo(repr(response), err=True)

    names.update(fetch=fetch, view=lambda response: webbrowser.open(f"file://{_written(response)}"))
    try:
        if url:
            fetch(url)
        if expression:
            click.echo(eval(expression, names))  # noqa: S307 - the user's own expression, on the user's own machine
        else:
            _interact(names)
    finally:
        run(tried.close())
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _interact(names: dict[str, Any]) -> None:
    banner = "fetch(url), view(response), response, request, sel, spider, settings"
    try:
        from IPython.terminal.embed import InteractiveShellEmbed  # noqa: PLC0415 - optional
    except ImportError:
        code.interact(banner, local=names, exitmsg="")
        return
    InteractiveShellEmbed.instance(banner1=banner, user_ns=names)()
