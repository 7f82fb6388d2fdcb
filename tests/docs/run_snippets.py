"""Run the Python blocks of one Markdown file, in order, as a reader would: in one namespace, in an empty folder.

A block whose first line is a comment with a file name (``# tasks.py``) becomes that file. Any other block runs at
once. Where a line prints and ends with a comment, what is printed has to contain the comment's text.

    python run_snippets.py FILE.md
"""

import ast
import contextlib
import io
import re
import sys
import tempfile
from pathlib import Path

BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
FILE_NAME = re.compile(r"# ([\w/]+\.py)\n")
PRINTED = re.compile(r"^\s*print\(.*\)  # (.+)$", re.MULTILINE)


def blocks(markdown: str, language: str) -> list[tuple[int, str]]:
    """Return the code blocks in one language, each with the number of its first line."""
    return [
        (markdown.count("\n", 0, match.start(2)) + 1, match[2])
        for match in BLOCK.finditer(markdown)
        if match[1] == language
    ]


def run(path: Path) -> None:
    """Run every Python block of a file; raise what a block raises."""
    namespace: dict[str, object] = {"__name__": "__main__"}
    for line, code in blocks(path.read_text(encoding="utf-8"), "python"):
        named = FILE_NAME.match(code)
        if named:
            ast.parse(code, f"{path.name}:{line}")
            Path(named[1]).write_text(code, encoding="utf-8")
            continue
        printed = io.StringIO()
        padded = "\n" * (line - 1) + code
        with contextlib.redirect_stdout(printed):
            exec(compile(padded, str(path), "exec"), namespace)
        _compare(code, printed.getvalue(), f"{path.name}:{line}")


def _compare(code: str, printed: str, where: str) -> None:
    rest = printed
    for expected in PRINTED.findall(code):
        _, found, rest = rest.partition(expected)
        if not found:
            raise AssertionError(f"{where}: expected {expected!r} to be printed; printed was:\n{printed}")


if __name__ == "__main__":
    document = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        sys.path.insert(0, folder)
        run(document)
