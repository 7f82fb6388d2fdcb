"""The tutorial of the crawler, done as a reader does it: its files written, its site started, its commands run."""

import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from tests.servers.ports import free_port, wait_for

from .pages import DOCS, code_blocks, shell_lines, text_of

FILE_NAME = re.compile(r"# ([\w/]+\.py)\n")


@pytest.fixture
def page(tmp_path):
    """Write the files of the page, and serve its site; give the page with the site's port."""
    port = free_port()
    text = text_of(DOCS / "tutorial-crawl.md").replace(":8000", f":{port}").replace("8000)", f"{port})")
    text = text.replace("postgresql://localhost/shop", "sqlite:///shop.db")
    for language, code in code_blocks(text):
        named = FILE_NAME.match(code)
        if language == "python" and named:
            (tmp_path / named[1]).write_text(code)
    line = [sys.executable, "quotes_site.py"]
    site = subprocess.Popen(line, cwd=tmp_path, stderr=subprocess.DEVNULL)
    wait_for(port)
    yield text
    site.kill()
    site.wait()


def start(line: str, folder, *more: str) -> subprocess.Popen:
    words = [sys.executable, "-m", *shlex.split(line), *more]
    return subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen) -> str:
    out, error = process.communicate(timeout=60)
    assert process.returncode == 0, error
    assert "Traceback" not in error
    return out + error


def quotes(file) -> list[str]:
    text = file.read_text()
    items = json.loads(text) if file.suffix == ".json" else [json.loads(line) for line in text.splitlines()]
    return sorted(item["text"] for item in items)


ALL = sorted(f"Quote {n}" for n in range(30))


def until(condition) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_as_a_reader_does_it(page, tmp_path):
    crawl, shell, parse, slow, feeds, shouting, first, second, late = [
        line for line in shell_lines(page) if line.startswith("worklist ")
    ]

    said = ended(start(crawl, tmp_path))
    assert quotes(tmp_path / "quotes.jsonl") == ALL
    shown = next(code for language, code in code_blocks(page) if language == "text")
    assert all(line.strip() in said for line in shown.splitlines())

    assert "Author 0" in ended(start(shell, tmp_path))
    assert "Quote 8" in ended(start(parse, tmp_path))

    killed = start(slow, tmp_path)
    until(lambda: (tmp_path / "slow.json").exists() and len(quotes(tmp_path / "slow.json")) >= 6)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    assert 6 <= len(quotes(tmp_path / "slow.json")) < 30
    ended(start(slow, tmp_path))
    assert quotes(tmp_path / "slow.json") == ALL
    assert "--restart begins anew" in ended(start(slow, tmp_path))

    ended(start(feeds, tmp_path))
    assert len((tmp_path / "quotes.csv").read_text().splitlines()) == 31
    connection = sqlite3.connect(tmp_path / "quotes.db")
    assert connection.execute("SELECT count(*) FROM quotes").fetchone() == (30,)
    connection.close()

    ended(start(shouting, tmp_path))
    assert len(quotes(tmp_path / "shouting.jsonl")) == 25
    assert "QUOTE 1" in quotes(tmp_path / "shouting.jsonl")

    one = start(first, tmp_path, "-s", "DOWNLOAD_DELAY=0.5")
    until(lambda: (tmp_path / "first.jsonl").exists() and quotes(tmp_path / "first.jsonl"))
    other = start(second, tmp_path, "-s", "DOWNLOAD_DELAY=0.5")
    ended(one)
    ended(other)
    assert sorted([*quotes(tmp_path / "first.jsonl"), *quotes(tmp_path / "second.jsonl")]) == ALL

    if os.environ.get("CI") or shutil.which("chromium"):
        ended(start(late, tmp_path))
        assert quotes(tmp_path / "late.jsonl") == ["Late"]
