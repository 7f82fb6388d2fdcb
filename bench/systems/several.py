"""Runs one command as several processes, for workers that have no option for it: `python -m bench.systems.several 2
worker ...`. They are stopped with it."""

import signal
import subprocess
import sys
from types import FrameType


def main() -> None:
    processes = [subprocess.Popen(sys.argv[2:]) for _ in range(int(sys.argv[1]))]

    def stop(number: int, _frame: FrameType | None) -> None:
        for process in processes:
            process.send_signal(number)

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    for process in processes:
        process.wait()


if __name__ == "__main__":
    main()
