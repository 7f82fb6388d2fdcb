"""`python -m bench`: choose rows, run them, keep and show the results."""

import argparse
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from bench import before, brokers, composition, crawls, local, report, rows, table, venvs
from bench.harness import run_case
from bench.rows import QUICK, Case, Scale, choose
from bench.systems import servers

RESULTS = venvs.HERE / "results"


@dataclass(frozen=True)
class Suite:
    """Cases that share a page of results."""

    rows: tuple[str, ...]
    peers: tuple[str, ...]
    cases: Callable[[Scale], list[Case]]
    details: Callable[[report.Report], str]
    summary: table.Summary | None = None
    """What the READMEs show of it."""
    servers: tuple[str, ...] = ()
    """The programs that it starts; the first is what its systems run on."""


SUITES = {
    "embedded": Suite(rows.ROWS, rows.PEERS, rows.all_cases, table.details, table.summary),
    "local": Suite(local.ROWS, local.PEERS, local.all_cases, local.details, local.summary),
    "composition": Suite(
        composition.ROWS, composition.PEERS, composition.all_cases, composition.details, composition.summary
    ),
    "crawl": Suite(crawls.ROWS, crawls.PEERS, crawls.all_cases, crawls.details, crawls.summary, servers=("nginx",)),
    **{
        server: Suite(
            brokers.ROWS,
            brokers.PEERS[server],
            brokers.cases_of(server),
            brokers.details_of(server),
            brokers.summary_of(server),
            servers=("rabbitmq", "redis") if server == "rabbitmq" else (server,),
        )
        for server in brokers.PEERS
    },
}


def main() -> None:
    arguments = _parse()
    suite = SUITES[arguments.suite]
    out: Path = arguments.out / f"{arguments.suite}.json"
    if arguments.publish:
        _publish(arguments.suite, report.load(out))
        return
    scale = QUICK if arguments.quick else Scale()
    scale = replace(scale, jobs=arguments.jobs or scale.jobs, queued=arguments.queued or scale.queued)
    cases = choose(suite.cases(scale), _possible(arguments.rows), _ready(arguments.peers))
    found = report.Report() if arguments.quick else report.load(out)
    with servers.standing(suite.servers[0] if suite.servers else ""):
        for case in cases:
            _say(f"{case.title} ({case.durability})")
            rounds = 1 if arguments.quick else case.rounds or arguments.rounds
            found.add(case, run_case(case, rounds, _say), suite.peers, suite.servers)
            if not arguments.quick:  # a run that is cut short keeps what it has
                report.save(found, out)
                out.with_suffix(".md").write_text(suite.details(found), encoding="utf-8")
    print(suite.details(found))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--suite", choices=SUITES, default="embedded", help="queues on a file, in memory, or what ties jobs"
    )
    parser.add_argument("--rows", help="some of: " + "; ".join(f"{n}: {','.join(s.rows)}" for n, s in SUITES.items()))
    parser.add_argument("--peers", help="some of: " + "; ".join(f"{n}: {','.join(s.peers)}" for n, s in SUITES.items()))
    parser.add_argument("--rounds", type=int, default=3, help="times that each measurement is made (3)")
    parser.add_argument("--jobs", type=int, help=f"jobs in a measurement ({Scale().jobs})")
    parser.add_argument("--queued", type=int, help=f"jobs on a server behind those measured ({Scale().queued})")
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
    if arguments.publish and suite.summary is None:
        parser.error(f"the READMEs show nothing of the suite {arguments.suite}, so there is nothing to publish")
    return arguments


def _some_of(known: tuple[str, ...], text: str | None) -> set[str]:
    """Names with commas between them, each of which has to be known; all where there is no text."""
    if text is None:
        return set(known)
    chosen = {part.strip() for part in text.split(",") if part.strip()}
    if unknown := sorted(chosen - set(known)):
        raise ValueError(f"no such name in this suite: {', '.join(unknown)}; known: {', '.join(known)}")
    return chosen


def _publish(name: str, found: report.Report) -> None:
    summary = SUITES[name].summary
    assert summary is not None
    print("tables put into:", ", ".join(table.publish(name, summary, found, venvs.HERE.parent)) or "no file")


def _possible(names: set[str]) -> set[str]:
    """These rows, without the comparison with an older commit where this copy has no history."""
    if "before" not in names:
        return names
    try:
        before.ensure()
    except (OSError, subprocess.CalledProcessError):
        _say(f"the row before is left out: commit {before.COMMIT} is not in this copy")
        return names - {"before"}
    return names


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
