"""The example: every plot arrives, and the loop does not wait for any of them."""

import re
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "gradient_descent.py"


def test_uploads_do_not_slow_the_loop():
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE), "--steps", "200", "--every", "10", "--delay", "0.1"],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    plain, queued, last = done.stdout.splitlines()
    assert last.startswith("40 plots arrived")
    (plain_line, plain_loop, _), (queued_line, queued_loop, queued_total) = map(_figures, (plain, queued))
    assert plain_line == queued_line
    assert plain_loop >= 20 * 0.1
    assert queued_loop < plain_loop / 2
    assert queued_total >= 20 * 0.1 / 5  # five at a time


def _figures(line: str) -> tuple[str, float, float]:
    found = re.search(r"(y = \S+ x \S+) +loop +(\S+) s +with all uploads +(\S+) s", line)
    return found[1], float(found[2]), float(found[3])
