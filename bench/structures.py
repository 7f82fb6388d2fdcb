"""`python -m bench.structures`: searches and simulations beside networkx, simpy and loops by hand.

The cases are a list like those of `bench.rows`, so that another suite can include them.
"""

import argparse
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench import report, venvs
from bench.harness import Figures, Summary, run_case, summarise
from bench.rows import Case, Contender, Metric

NAMES = {"structures": "Worklist", "hand": "by hand", "networkx": "networkx", "simpy": "simpy"}
METRICS = (
    Metric("seconds", "seconds", "秒", "s"),
    Metric("cpu_seconds", "CPU seconds", "CPU 秒", "s"),
    Metric("peak_mib", "peak memory, MiB", "内存峰值，MiB", "MiB"),
)
NOTES = (
    "The grid is a dict of lists of integers, for networkx its own graph; it is made before the clock runs.",
    "Worklist and the second loop yield node, depth and parent of each node, networkx the edge that led to it.",
    "The first loop only makes a list of the nodes. The peak holds the grid too.",
    "The queue is M/M/50, 90 % busy; each draws the times and returns the average wait.",
    "`simulate` adds the percentile and the intervals.",
)


def cases(nodes: int = 1_000_000, jobs: int = 1_000_000) -> list[Case]:
    """Both comparisons."""
    return [
        Case(
            row="search",
            key="structures-search",
            title=f"breadth-first search of a grid of {nodes:,} nodes",
            title_zh=f"广度优先搜索 {nodes:,} 个节点的网格",
            durability="in memory",
            metrics=METRICS,
            contenders=(
                Contender("structures", "bfs", "search", nodes),
                Contender("hand", "a loop that makes a list of nodes", "search-order", nodes),
                Contender("hand", "a generator with depth and parent", "search", nodes),
                Contender("networkx", "bfs_edges, on its own graph", "search", nodes),
            ),
        ),
        Case(
            row="plan",
            key="structures-plan",
            title=f"a queue of {jobs:,} arrivals at 50 workers",
            title_zh=f"50 个 worker，{jobs:,} 次到达的队列",
            durability="in memory",
            metrics=METRICS,
            contenders=(
                Contender("structures", "waits", "queue", jobs),
                Contender("structures", "simulate, with intervals", "plan", jobs),
                Contender("hand", "a heap in a loop", "queue", jobs),
                Contender("simpy", "a resource, a process for each job", "queue", jobs),
            ),
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.structures", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="times that each measurement is made (5)")
    parser.add_argument("--quick", action="store_true", help="little, one round, nothing kept: does it all run?")
    parser.add_argument("--out", type=Path, default=venvs.HERE / "results", help="folder of the results")
    arguments = parser.parse_args()
    for peer in ("networkx", "simpy"):
        try:
            venvs.ensure(peer)
        except subprocess.CalledProcessError as error:
            sys.exit(f"no environment for {peer}: {(error.stderr or b'').decode().strip().splitlines()[-1:]}")
    wanted = cases(10_000, 10_000) if arguments.quick else cases()
    taken = [(case, run_case(case, 1 if arguments.quick else arguments.rounds, _say)) for case in wanted]
    page = "\n".join(_page(taken))
    if not arguments.quick:
        data = {"date": report.today(), "machine": report.machine(), "versions": _versions(), "cases": taken}
        text = msgspec.json.format(msgspec.json.encode(data), indent=1)
        (arguments.out / "structures.json").write_bytes(text + b"\n")
        (arguments.out / "structures.md").write_text(page, encoding="utf-8")
    print(page)


def _page(taken: list[tuple[Case, list[list[Figures | None]]]]) -> Iterator[str]:
    yield "# Searches and simulations beside their peers"
    for case, rounds in taken:
        yield f"\n## {case.title}\n"
        yield "| system | what | figure | median | least – most | × first line |"
        yield "| --- | --- | ---: | ---: | ---: | ---: |"
        for metric in case.metrics:
            for contender, mine in zip(case.contenders, rounds, strict=True):
                found = summarise(metric, mine, rounds[0])
                cells = (
                    "failed | |" if found is None else f"{found.median:.3g} | {found.least:.3g} – {found.most:.3g} |"
                )
                ratio = "" if found is None or found.ratio is None else f"{found.ratio:.3g}"
                yield f"| {NAMES[contender.system]} | {contender.setting} | {metric.title} | {cells} {ratio} |"
    machine, versions = report.machine(), _versions()
    yield (
        f"\nMedians of rounds in turns, each in a process of its own. {machine['cores']} × {machine['cpu']}, "
        f"{machine['memory_gib']} GiB, {machine['system']}; "
        f"{', '.join(f'{name} {version}' for name, version in versions.items())}; {report.today()}.\n"
    )
    yield from (f"- {note}" for note in NOTES)
    yield ""


def _cells(found: Summary | None) -> str:
    if found is None:
        return "failed | | "
    ratio = "" if found.ratio is None else f"{found.ratio:.3g}"
    return f"{found.median:.3g} | {found.least:.3g} – {found.most:.3g} | {ratio}"


def _versions() -> dict[str, str]:
    import numpy as np

    peers = {peer: venvs.version(peer) for peer in ("networkx", "simpy")}
    return {"Python": sys.version.split()[0], "numpy": np.__version__, **peers}


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
