"""The gradient descent of gradient_descent.py, killed half-way: every plot that it had handed over still arrives.

Each plot is a job in a file, and a worker in a process of its own uploads it. The demonstration starts the descent as a
program, kills it with SIGKILL when half of its plots are handed over, and counts what arrives at the slow server.

    python gradient_descent_durable.py
"""

import argparse
import subprocess
import sys
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

from gradient_descent import Line, descend, make_points, slow_server, upload_to

from worklist import Worklist

app = Worklist()


@app.task(retries=5)
def upload(address: str, name: str, plot: str) -> None:
    upload_to(address)(name, plot)


def main() -> None:
    options = arguments()
    if options.address:
        run_descent(options)
    else:
        demonstrate(options)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Gradient descent whose uploads outlive it.")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--every", type=int, default=50, help="steps between two plots")
    parser.add_argument("--points", type=int, default=200)
    parser.add_argument("--delay", type=float, default=0.5, help="seconds that the server takes for a plot")
    parser.add_argument("--address", help="run the descent alone, for a server that is there")
    return parser.parse_args()


def run_descent(options: argparse.Namespace) -> None:
    """The program: descend, and hand over each plot."""
    worker = app.start_worker(threads=2, idle_exit="1s")  # lives on when this program does not
    print(worker.pid, flush=True)
    points = make_points(Line(3.0, -1.0), options.points)

    def hand_over(name: str, plot: str) -> None:
        print(upload.enqueue(options.address, name, plot).id, flush=True)

    descend(points, options, hand_over)


def demonstrate(options: argparse.Namespace) -> None:
    # the working directory is where worklist.db is
    with slow_server(options.delay) as (address, stored), TemporaryDirectory() as folder, chdir(folder):
        worker, ids = killed_half_way(options, address)
        print(f"the program was killed when it had handed over {len(ids)} plots; {len(stored)} had arrived")
        done = app.wait([app.job(id) for id in ids], timeout=60).done
        uploaded = sum(job.status == "succeeded" for job in done)
        print(f"the worker, pid {worker}, went on; {uploaded} of {len(ids)} were uploaded, {len(stored)} arrived")
        app.start_worker(idle_exit="1s").wait()  # finds the one that runs; it ends when it has been idle
        app.close()


def killed_half_way(options: argparse.Namespace, address: str) -> tuple[str, list[str]]:
    """Run the descent and kill it; return the pid of the worker that it started, and the ids of its jobs."""
    command = [sys.executable, str(Path(__file__).absolute()), "--address", address]
    command += [f"--steps={options.steps}", f"--every={options.every}", f"--points={options.points}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        worker = program.stdout.readline().strip()
        ids = [program.stdout.readline().strip() for _ in range(options.steps // options.every // 2)]
        program.kill()
        ids += program.stdout.read().split()  # what it had handed over before it died
    return worker, ids


if __name__ == "__main__":
    main()
