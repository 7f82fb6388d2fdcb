"""`python -m bench`: choose rows, run them, keep and show the results."""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from bench import report, table, venvs
from bench.harness import run_case
from bench.rows import PEERS, QUICK, Scale, all_cases, choose

ROWS = ("enqueue", "enqueue-many", "drain", "cpu", "latency", "memory", "backlog")
RESULTS = venvs.HERE / "results"


def main() -> None:
    arguments = _parse()
    out: Path = arguments.out
    if arguments.publish:
        print("tables put into:", ", ".join(table.publish(report.load(out), venvs.HERE.parent)) or "no file")
        return
    scale = QUICK if arguments.quick else Scale()
    scale = replace(scale, jobs=arguments.jobs or scale.jobs)
    cases = choose(all_cases(scale), arguments.rows, _ready(arguments.peers))
    found = report.Report() if arguments.quick else report.load(out)
    for case in cases:
        _say(f"{case.title} ({case.durability})")
        found.add(case, run_case(case, 1 if arguments.quick else arguments.rounds, _say))
        if not arguments.quick:  # a run that is cut short keeps what it has
            report.save(found, out)
            (out / "embedded.md").write_text(table.details(found), encoding="utf-8")
    print(table.details(found))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--rows", type=_some_of(ROWS), default=set(ROWS), help=f"some of {','.join(ROWS)}")
    parser.add_argument("--peers", type=_some_of(PEERS), default=set(PEERS), help=f"some of {','.join(PEERS)}")
    parser.add_argument("--rounds", type=int, default=3, help="times that each measurement is made (3)")
    parser.add_argument("--jobs", type=int, help=f"jobs in a measurement ({Scale().jobs})")
    parser.add_argument("--quick", action="store_true", help="few jobs, one round, nothing kept: does it all run?")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results (bench/results)")
    parser.add_argument("--publish", action="store_true", help="run nothing; put kept results into the READMEs")
    return parser.parse_args()


def _some_of(known: tuple[str, ...]) -> Callable[[str], set[str]]:
    """A reader of names with commas between them, each of which has to be known."""

    def read(text: str) -> set[str]:
        chosen = {part.strip() for part in text.split(",") if part.strip()}
        if unknown := sorted(chosen - set(known)):
            raise argparse.ArgumentTypeError(f"no such name: {', '.join(unknown)}; known: {', '.join(known)}")
        return chosen

    return read


def _ready(peers: set[str]) -> set[str]:
    """Those peers whose environment could be made."""
    ready = set()
    for peer in sorted(peers):
        _say(f"environment of {peer}")
        try:
            venvs.ensure(peer)
        except subprocess.CalledProcessError as error:
            _say(f"  left out: {(error.stderr or b'').decode().strip().splitlines()[-1:]}")
        else:
            ready.add(peer)
    return ready


BEGAN = time.monotonic()


def _say(text: str) -> None:
    print(f"[{time.monotonic() - BEGAN:6.0f} s] {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
