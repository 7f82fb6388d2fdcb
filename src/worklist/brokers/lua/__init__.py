"""Scripts for Redis: one for each verb, in a file ``verb_<name>.lua``, behind what it needs of the parts all share.

Redis runs a script from its first line each time, and making a function costs it about as much as a command: with
all of them before it, the smallest verb took twenty times as long. So functions that a verb does not reach are left
out, and tables that they do not name. A verb that names those it nearly always needs (``-- At hand: ...``) makes the
others when one is first called. It knows of Lua only that functions of the parts begin and end at the left margin, as
``function W.name(`` or ``local function name(``.
"""

import re
from collections.abc import Callable, Iterable
from importlib import resources
from typing import NamedTuple

PARTS = ("base", "plain", "records", "keys", "lanes", "groups", "jobs", "settle", "looking")
"""What scripts share. Each part may use what those before it define, and within functions also W's that come later."""
_LATER = """local function make_others()
{others}
end
setmetatable(W, {{__index = function(_, name)
  setmetatable(W, nil)
  make_others()
  return W[name]
end}})"""


class _Piece(NamedTuple):
    """A function of a part, or what stands between two of them."""

    name: str | None
    """``W.name``, or ``name`` of a local function; None: no function."""
    text: str

    @property
    def shared(self) -> bool:
        """Whether it can be made later, since it is found by its name in W."""
        return self.name is not None and self.name.startswith("W.")


def script(verb: str, **constants: object) -> str:
    """Return the script of a verb, whole; ``@NAME@`` in it is replaced by the constant of that name."""
    end = _read(f"verb_{verb}")
    text = _with_parts([piece for part in PARTS for piece in _pieces(_read(part))], end)
    for name, value in constants.items():
        text = text.replace(f"@{name}@", str(value))
    return text


def _with_parts(pieces: list[_Piece], verb: str) -> str:
    named = re.search(r"^-- At hand: (.*)", verb)
    loose = [piece.text for piece in pieces if piece.name is None]
    needed = _reached(pieces, [*loose, verb], lambda piece: True)
    first = needed
    if named:
        at_hand = {f"W.{name}" for name in named[1].split()}
        chosen = [piece.text for piece in pieces if piece.name in at_hand]
        first = at_hand | _reached(pieces, [*loose, *chosen], lambda piece: not piece.shared)
    now = [piece.text for piece in pieces if piece.name is None or piece.name in first]
    others = [piece.text for piece in pieces if piece.name in needed - first]
    later = [_LATER.format(others="\n".join(others))] if others else []
    return _without_unused("\n".join([*now, *later, verb]))


def _without_unused(text: str) -> str:
    """Leave out constants and tables between the functions that nothing names."""
    for line in re.findall(r"^local [\w, ]+ = .*[^(,{]$", text, re.MULTILINE):
        names = re.findall(r"\w+", line.removeprefix("local ").partition("=")[0])
        if "function" not in line and not any(len(re.findall(rf"\b{name}\b", text)) > 1 for name in names):
            text = text.replace(line + "\n", "", 1)
    return text


def _reached(pieces: Iterable[_Piece], texts: list[str], follows: Callable[[_Piece], bool]) -> set[str]:
    """Return the names of functions that texts name, and what these name in turn; only such that `follows` allows."""
    by_name = {piece.name: piece for piece in pieces if piece.name is not None and follows(piece)}
    found: set[str] = set()
    while texts:
        words = set(re.findall(r"W\.\w+|\b\w+", texts.pop()))
        new = {name for name in words if name in by_name} - found
        found |= new
        texts += [by_name[name].text for name in new]
    return found


def _pieces(text: str) -> Iterable[_Piece]:
    """Cut a part into its functions and what stands between them."""
    name, lines = None, list[str]()
    for line in text.splitlines():
        begun = re.match(r"(?:local )?function ([\w.]+)\(", line)
        if begun:
            yield _Piece(None, "\n".join(lines))
            name, lines = begun[1], []
        if not line.lstrip().startswith("--"):
            lines.append(line)
        if name is not None and (line == "end" or (begun and line.endswith(" end"))):
            yield _Piece(name, "\n".join(lines))
            name, lines = None, []
    yield _Piece(None, "\n".join(lines))


def _read(name: str) -> str:
    return (resources.files(__name__) / f"{name}.lua").read_text(encoding="utf-8")
