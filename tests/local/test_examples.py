"""The small examples, run as a reader would, and what they print."""

import os
import re
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
    ("anywhere.py", (), ["on sqlite://: 0 1 4 9 16 25 36 49 64 81"]),
    ("recent_calls.py", (), ["at  3,002 ms: 3 within the last 3,000 ms"]),
    ("hot_potato.py", (), [" 1. David leaves", "Susan wins"]),
    ("hot_potato.py", ("2", "A", "B", "C"), ["B wins"]),
    ("palindrome.py", (), ["yes radar", "yes A man, a plan", "yes 上海自来水", "no  worklist"]),
    ("printer.py", ("10",), [" 5 pages a minute: the average wait", "10 pages a minute: the average wait"]),
    ("import_chain.py", (), ["http.server -> shutil -> zipfile"]),
    ("import_chain.py", ("json", "re"), ["json -> json.decoder -> re"]),
    ("import_chain.py", ("keyword", "json"), ["nothing that keyword imports leads to json"]),
    ("map_reduce.py", (), ["the most common words of ", " worker\n"]),
    ("link_path.py", (), ["index.md -> ", "-> decisions/0003-lease-numbers.md", "0 clicks: 1 pages"]),
]


@pytest.mark.parametrize(("name", "arguments", "lines"), PRINTED)
def test_examples(name, arguments, lines):
    done = run(name, *arguments)
    assert done.returncode == 0, done.stderr
    for line in lines:
        assert line in done.stdout


def test_map_reduce_adds_up_what_each_file_gives(tmp_path):
    for name, text in (("one.md", "lanes turns lanes"), ("two.md", "turns lanes"), ("three.txt", "turns turns turns")):
        (tmp_path / name).write_text(text, encoding="utf-8")
    done = run("map_reduce.py", str(tmp_path))
    assert done.stdout.splitlines() == ["the most common words of 2 files:", "     3 lanes", "     2 turns"]


def test_a_tenant_that_is_turned_away_waits_and_gets_all_its_pages():
    done = run("api_client.py")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"acme: 8 pages in \S+ s, turned away 0 times", done.stdout)
    turned_away = int(re.search(r"globex: 8 pages in \S+ s, turned away (\d+) times", done.stdout)[1])
    assert 1 <= turned_away < 8  # its lane was paused, so not every page was asked for in vain


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
