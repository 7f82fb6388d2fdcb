"""Calls of tasks are typed: mypy finds exactly the mistakes that are marked in typed_calls.py."""

import os
import re
from pathlib import Path

import pytest

FILE = Path(__file__).with_name("typed_calls.py")
SOURCES = Path(__file__).parents[2] / "src"
_MARK = re.compile(r"# E: ([\w, -]+)$")
_ERROR = re.compile(r"typed_calls\.py:(\d+): error: .*\[([\w-]+)\]$")


def expected() -> dict[int, set[str]]:
    marks = {number: _MARK.search(line) for number, line in enumerate(FILE.read_text().splitlines(), 1)}
    return {number: set(mark[1].split(", ")) for number, mark in marks.items() if mark}


@pytest.fixture(scope="module")
def found(tmp_path_factory) -> dict[int, set[str]]:
    api = pytest.importorskip("mypy.api")
    cache = tmp_path_factory.mktemp("mypy")
    before = os.environ.get("MYPYPATH")
    os.environ["MYPYPATH"] = str(SOURCES)
    try:
        output, trouble, _ = api.run(
            [
                "--strict",
                "--config-file=",
                "--follow-imports=silent",
                f"--cache-dir={cache}",
                "--no-error-summary",
                str(FILE),
            ]
        )
    finally:
        os.environ.pop("MYPYPATH") if before is None else os.environ.update(MYPYPATH=before)
    assert trouble == ""
    errors: dict[int, set[str]] = {}
    for line in output.splitlines():
        if (match := _ERROR.search(line)) is not None:
            errors.setdefault(int(match[1]), set()).add(match[2])
    return errors


def test_every_wrong_call_is_found_and_no_right_one_is(found):
    assert found == expected()


def test_enough_is_marked_to_mean_something():
    assert len(expected()) > 12
