"""The demo, with fewer files: it ends well, by itself and when it is interrupted, and leaves nothing behind."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import eventually

DEMO = Path(__file__).parents[2] / "examples" / "demo.py"


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    source = os.pathsep.join(filter(None, [str(DEMO.parents[1] / "src"), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": source, "TMPDIR": str(tmp_path), "TEMP": str(tmp_path)}


def test_the_demo_in_a_pipe(environment: dict[str, str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(DEMO), "--files", "150", "--processes", "2"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "150 files of Python" in done.stdout
    assert "The ten longest of" in done.stdout
    header, counts = re.findall(r"│(.*)│", done.stdout)[-2:]
    titles = [title.strip() for title in header.split("│")]
    ending = dict(zip(titles, (int(float(count)) for count in counts.split("│")), strict=True))
    assert ending["jobs"] == 150
    assert ending["done"] + ending["failed"] == 150
    assert ending["lost"] == 0
    if "with SIGKILL, 0 jobs" not in done.stdout and "SIGKILL" in done.stdout:
        assert ending["redelivered"] > 0
    said = " ".join(done.stdout.split("The same library as a site of")[1].split())
    assert said.startswith("151 pages on this machine, crawled 151 pages in")
    assert "150 items" in said
    assert "1 forbidden by robots.txt; 0 errors" in said
    assert not list(tmp_path.iterdir())


def test_an_interrupted_demo_leaves_nothing_behind(environment: dict[str, str], tmp_path: Path) -> None:
    demo = subprocess.Popen(
        [sys.executable, str(DEMO), "--processes", "2"],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert demo.stdout is not None
    eventually(lambda: "done" in demo.stdout.readline())  # type: ignore[union-attr]
    demo.send_signal(signal.SIGINT)
    rest = demo.stdout.read()  # until the last process that holds the pipe has ended
    demo.stdout.close()
    assert demo.wait(timeout=60) == 130
    assert "nothing is left behind" in rest
    assert "Traceback" not in rest
    assert not list(tmp_path.iterdir())
