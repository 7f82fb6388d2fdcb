"""Command lines of curl, as browsers give them ("Copy as cURL"), read as requests."""

from __future__ import annotations

import argparse
import base64
import shlex
from http.cookies import SimpleCookie
from typing import Any, NoReturn
from urllib.parse import quote_plus

from .exceptions import NotSupported

_WITHOUT_EFFECT = ("--compressed", "-s", "--silent", "-v", "--verbose", "-#", "--progress-bar", "-k", "--insecure",
                   "-L", "--location", "-i", "--include", "--globoff", "-g", "--http1.1", "--http2")  # fmt: skip


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise NotSupported(f"this command line of curl cannot be read: {message}")


def _parser() -> _Parser:
    parser = _Parser(add_help=False, allow_abbrev=False)
    parser.add_argument("url", nargs="?")
    parser.add_argument("--url", dest="named")
    parser.add_argument("-X", "--request", dest="method")
    parser.add_argument("-H", "--header", dest="headers", action="append", default=[])
    for names in (("-d", "--data", "--data-raw", "--data-ascii", "--data-binary"), ("--data-urlencode",)):
        parser.add_argument(*names, dest=names[-1][2:].replace("-", "_"), action="append", default=[])
    parser.add_argument("-b", "--cookie", action="append", default=[])
    parser.add_argument("-u", "--user")
    parser.add_argument("-A", "--user-agent")
    parser.add_argument("-e", "--referer")
    parser.add_argument("-x", "--proxy")
    parser.add_argument("-I", "--head", action="store_true")
    parser.add_argument("-G", "--get", action="store_true")
    parser.add_argument(*_WITHOUT_EFFECT, dest="ignored", action="store_true")
    return parser


def from_curl(command: str) -> dict[str, Any]:
    """Return the arguments of the Request that a command line of curl makes. Raises NotSupported."""
    try:
        words = shlex.split(command.replace("\\\n", " "))
    except ValueError as error:
        raise NotSupported(f"this command line of curl cannot be read: {error}") from None
    if words[:1] != ["curl"]:
        raise NotSupported(f"a command line of curl begins with curl; this one with {command[:20]!r}")
    given = _parser().parse_args(words[1:])
    url = given.url or given.named
    if not url:
        raise NotSupported("this command line of curl names no URL")
    body = "&".join([*given.data_binary, *map(_encoded, given.data_urlencode)])
    if given.get and body:
        url, body = f"{url}{'&' if '?' in url else '?'}{body}", ""
    headers, cookies = _headers(given, body)
    return {
        "url": url if "://" in url else f"http://{url}",
        "method": given.method or ("HEAD" if given.head else "POST" if body else "GET"),
        "headers": headers,
        "cookies": cookies,
        "body": body,
        "meta": {"proxy": given.proxy} if given.proxy else {},
    }


def _encoded(text: str) -> str:
    name, sign, value = text.rpartition("=")
    return f"{name}{'=' * bool(sign and name)}{quote_plus(value)}"


def _headers(given: argparse.Namespace, body: str) -> tuple[list[tuple[str, str]], dict[str, str]]:
    headers: list[tuple[str, str]] = []
    cookies: dict[str, str] = {}
    lines = [*given.headers, *(f"Cookie: {each}" for each in given.cookie)]
    for name, value in (("User-Agent", given.user_agent), ("Referer", given.referer)):
        lines += [f"{name}: {value}"] * (value is not None)
    if given.user:
        lines.append(f"Authorization: Basic {base64.b64encode(given.user.encode()).decode()}")
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() == "cookie":
            cookies.update({each.key: each.value for each in SimpleCookie(value.strip()).values()})
        else:
            headers.append((name.strip(), value.strip()))
    if body and not any(name.lower() == "content-type" for name, _ in headers):
        headers.append(("Content-Type", "application/x-www-form-urlencoded"))
    return headers, cookies
