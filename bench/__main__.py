"""`python -m bench`: choose rows, run them, keep and show the results."""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bench import local, report, rows, table, venvs
from bench.harness import run_case
from bench.rows import QUICK, Case, Scale, choose

RESULTS = venvs.HERE / "results"


@dataclass(frozen=True)
class Suite:
    """Cases that share a page of results."""

    rows: tuple[str, ...]
    peers: tuple[str, ...]
    cases: Callable[[Scale], list[Case]]
    details: Callable[[report.Report], str]


SUITES = {
    "embedded": Suite(rows.ROWS, rows.PEERS, rows.all_cases, table.details),
    "local": Suite(local.ROWS, local.PEERS, local.all_cases, local.details),
}


def main() -> None:
    arguments = _parse()
    suite = SUITES[arguments.suite]
    out: Path = arguments.out / f"{arguments.suite}.json"
    if arguments.publish:
        print("tables put into:", ", ".join(table.publish(report.load(out), venvs.HERE.parent)) or "no file")
        return
    scale = QUICK if arguments.quick else Scale()
    scale = replace(scale, jobs=arguments.jobs or scale.jobs)
    cases = choose(suite.cases(scale), arguments.rows, _ready(arguments.peers))
    found = report.Report() if arguments.quick else report.load(out)
    for case in cases:
        _say(f"{case.title} ({case.durability})")
        found.add(case, run_case(case, 1 if arguments.quick else arguments.rounds, _say), suite.peers)
        if not arguments.quick:  # a run that is cut short keeps what it has
            report.save(found, out)
            out.with_suffix(".md").write_text(suite.details(found), encoding="utf-8")
    print(suite.details(found))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--suite", choices=SUITES, default="embedded", help="queues on a file, or in memory")
    parser.add_argument("--rows", help="some of: " + "; ".join(f"{n}: {','.join(s.rows)}" for n, s in SUITES.items()))
    parser.add_argument("--peers", help="some of: " + "; ".join(f"{n}: {','.join(s.peers)}" for n, s in SUITES.items()))
    parser.add_argument("--rounds", type=int, default=3, help="times that each measurement is made (3)")
    parser.add_argument("--jobs", type=int, help=f"jobs in a measurement ({Scale().jobs})")
    parser.add_argument("--quick", action="store_true", help="few jobs, one round, nothing kept: does it all run?")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the results (bench/results)")
    parser.add_argument("--publish", action="store_true", help="run nothing; put kept results into the READMEs")
    arguments = parser.parse_args()
    suite = SUITES[arguments.suite]
    try:
        arguments.rows = _some_of(suite.rows, arguments.rows)
        arguments.peers = _some_of(suite.peers, arguments.peers)
    except ValueError as error:
        parser.error(str(error))
    if arguments.publish and arguments.suite != "embedded":
        parser.error("--publish is for the suite embedded alone: the READMEs show no other")
    return arguments


def _some_of(known: tuple[str, ...], text: str | None) -> set[str]:
    """Names with commas between them, each of which has to be known; all where there is no text."""
    if text is None:
        return set(known)
    chosen = {part.strip() for part in text.split(",") if part.strip()}
    if unknown := sorted(chosen - set(known)):
        raise ValueError(f"no such name in this suite: {', '.join(unknown)}; known: {', '.join(known)}")
    return chosen


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
