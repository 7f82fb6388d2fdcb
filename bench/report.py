"""What a run found, as kept in JSON: every round of every case, the machine and the versions."""

import datetime
import os
import platform
import sqlite3
import sys
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path

import msgspec

from bench import venvs
from bench.harness import Figures, Summary, summarise
from bench.rows import Case, Contender, Metric
from bench.systems.servers import version_of


@dataclass
class Entry:
    """One contender and its figures, round by round; None where it failed."""

    contender: Contender
    rounds: list[Figures | None]


@dataclass
class Measured:
    """One case that has been run."""

    case: Case
    date: str
    entries: list[Entry]

    def summary(self, entry: Entry, metric: Metric) -> Summary | None:
        return summarise(metric, entry.rounds, self.entries[0].rounds)

    def best(self, system: str) -> Entry | None:
        """The entry of this system that does best in the first metric, at the case's own durability."""
        first = self.case.metrics[0]
        medians = []
        for place, entry in enumerate(self.entries):
            found = self.summary(entry, first)
            if found and entry.contender.system == system and not entry.contender.durability:
                medians.append((-found.median if first.higher_is_better else found.median, place))
        return self.entries[min(medians)[1]] if medians else None


@dataclass
class Report:
    """A results file."""

    machine: dict[str, str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    cases: dict[str, Measured] = field(default_factory=dict)

    def add(
        self, case: Case, taken: list[list[Figures | None]], peers: tuple[str, ...], servers: tuple[str, ...] = ()
    ) -> None:
        """Put a case in, in place of an earlier run of it. Peers and servers are those of the suite."""
        entries = [Entry(one, rounds) for one, rounds in zip(case.contenders, taken, strict=True)]
        self.cases[case.key] = Measured(case, today(), entries)
        self.machine, self.versions = machine(), versions(peers, servers)


def load(path: Path) -> Report:
    """The report kept in this file, or an empty one."""
    return msgspec.json.decode(path.read_bytes(), type=Report) if path.exists() else Report()


def save(report: Report, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = msgspec.json.format(msgspec.json.encode(report), indent=1)
    path.write_bytes(text + b"\n")


def today() -> str:
    return datetime.datetime.now(tz=datetime.UTC).date().isoformat()


def machine() -> dict[str, str]:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": _cpu_model(),
        "cores": str(os.cpu_count()),
        "memory_gib": f"{pages / 2**30:.0f}",
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
    }


def versions(peers: tuple[str, ...], servers: tuple[str, ...] = ()) -> dict[str, str]:
    found = {"python": sys.version.split()[0], "sqlite": sqlite3.sqlite_version}
    if servers:
        found = {"python": found["python"]} | {server: version_of(server) for server in servers}
    return found | {"worklist": _worklist_version()} | {peer: venvs.version(peer) for peer in peers}


def _worklist_version() -> str:
    try:
        return metadata.version("worklist")
    except metadata.PackageNotFoundError:
        return "from source"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
