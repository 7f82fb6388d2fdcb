"""The small examples, run as a reader would, and what they print."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(name, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTHONIOENCODING": "utf-8"}
    return subprocess.run(
        [sys.executable, "-W", "error", str(ROOT / "examples" / name), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=100,
        check=False,
    )


PRINTED = [
    ("recent_calls.py", (), ["at  3,002 ms: 3 within the last 3,000 ms"]),
    ("hot_potato.py", (), [" 1. David leaves", "Susan wins"]),
    ("hot_potato.py", ("2", "A", "B", "C"), ["B wins"]),
    ("palindrome.py", (), ["yes radar", "yes A man, a plan", "yes 上海自来水", "no  worklist"]),
    ("printer.py", ("10",), [" 5 pages a minute: the average wait", "10 pages a minute: the average wait"]),
    ("import_chain.py", (), ["http.server -> shutil -> zipfile"]),
    ("import_chain.py", ("json", "re"), ["json -> json.decoder -> re"]),
    ("import_chain.py", ("keyword", "json"), ["nothing that keyword imports leads to json"]),
    ("link_path.py", (), ["index.md -> ", "-> decisions/0003-lease-numbers.md", "0 clicks: 1 pages"]),
]


@pytest.mark.parametrize(("name", "arguments", "lines"), PRINTED)
def test_examples(name, arguments, lines):
    done = run(name, *arguments)
    assert done.returncode == 0, done.stderr
    for line in lines:
        assert line in done.stdout


@pytest.mark.parametrize(
    ("name", "arguments", "what"),
    [
        ("import_chain.py", ("json", "jsn"), "jsn is no module of the standard library"),
        ("link_path.py", (str(ROOT / "docs"), "index.md", "nowhere.md"), "there is no page nowhere.md in docs"),
    ],
)
def test_examples_say_what_is_wrong(name, arguments, what):
    done = run(name, *arguments)
    assert done.returncode == 1
    assert done.stderr.strip() == what
