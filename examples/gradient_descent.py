"""Gradient descent that uploads a plot of its progress every few steps, and is not slowed by the uploads.

The loop fits a line to noisy points. Each plot goes to a server that takes its time, as servers far away do: first by a
plain call in the loop, then handed to a TaskQueue. The server is one of this process, on the loopback interface.

    python gradient_descent.py
"""

import argparse
import random
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from worklist import TaskQueue

RATE = 0.05
"""The step, as a share of the gradient."""
Upload = Callable[[str, str], None]


@dataclass(frozen=True)
class Line:
    slope: float
    offset: float


@dataclass(frozen=True)
class Run:
    """How a descent went."""

    found: Line
    loop_seconds: float
    """Until the last step."""
    total_seconds: float
    """Until the last plot had arrived."""


def main() -> None:
    options = arguments()
    points = make_points(Line(3.0, -1.0), options.points)
    with slow_server(options.delay) as (address, stored):
        plain = descend(points, options, upload_to(address + "/plain"))
        queued = descend_with_queue(points, options, address + "/queued")
    show("plain call", plain)
    show("TaskQueue", queued)
    print(f"{len(stored)} plots arrived; the loop ran {plain.loop_seconds / queued.loop_seconds:.1f} times as fast")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Gradient descent beside slow uploads.")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--every", type=int, default=50, help="steps between two plots")
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--delay", type=float, default=0.1, help="seconds that the server takes for a plot")
    return parser.parse_args()


def descend_with_queue(points: list[tuple[float, float]], options: argparse.Namespace, address: str) -> Run:
    start = time.monotonic()
    upload = upload_to(address)
    with TaskQueue(num_workers=5) as queue:  # its end waits for the uploads that are left
        run = descend(points, options, lambda name, plot: queue.add_task(upload, name, plot))
    return Run(run.found, run.loop_seconds, time.monotonic() - start)


def descend(points: list[tuple[float, float]], options: argparse.Namespace, upload: Upload) -> Run:
    """Fit a line by least squares, one step down the gradient after the other."""
    start = time.monotonic()
    line = Line(0.0, 0.0)
    for step in range(options.steps):
        errors = [(x, line.slope * x + line.offset - y) for x, y in points]
        slope = sum(error * x for x, error in errors) / len(points)
        offset = sum(error for _, error in errors) / len(points)
        line = Line(line.slope - RATE * slope, line.offset - RATE * offset)
        if step % options.every == 0:
            upload(f"step-{step:05}.svg", draw(points, line))
    seconds = time.monotonic() - start
    return Run(line, seconds, seconds)


def make_points(line: Line, count: int) -> list[tuple[float, float]]:
    chance = random.Random(1)
    places = [chance.uniform(-2, 2) for _ in range(count)]
    return [(x, line.slope * x + line.offset + chance.gauss(0, 0.3)) for x in places]


def draw(points: list[tuple[float, float]], line: Line) -> str:
    """Return the points and the line as an SVG picture."""
    dots = "".join(f'<circle cx="{x:.3f}" cy="{-y:.3f}" r=".03"/>' for x, y in points)
    ends = f'x1="-2" y1="{2 * line.slope - line.offset:.3f}" x2="2" y2="{-2 * line.slope - line.offset:.3f}"'
    stroke = 'stroke="red" stroke-width=".05"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-2 -8 4 16">{dots}<line {ends} {stroke}/></svg>'


def upload_to(address: str) -> Upload:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # to this machine, whatever the proxy

    def upload(name: str, plot: str) -> None:
        request = urllib.request.Request(f"{address}/{name}", plot.encode(), method="PUT")
        with opener.open(request) as answer:
            answer.read()

    return upload


@contextmanager
def slow_server(delay: float) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Serve PUT on a free port of the loopback interface; yield the address and what was stored, by path."""
    stored: dict[str, bytes] = {}

    class Handler(BaseHTTPRequestHandler):
        def do_PUT(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(delay)  # the far end of the world
            stored[self.path] = body
            self.send_response(201)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", stored
        finally:
            server.shutdown()
            thread.join()


def show(name: str, run: Run) -> None:
    line = f"y = {run.found.slope:.2f} x {run.found.offset:+.2f}"
    print(f"{name:<11} {line}   loop {run.loop_seconds:5.2f} s   with all uploads {run.total_seconds:5.2f} s")


if __name__ == "__main__":
    main()
