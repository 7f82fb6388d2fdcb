"""Turns a report into Markdown: a summary for the READMEs, and every detail for the results folder."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.report import Entry, Measured, Report
from bench.rows import SYSTEMS, Metric

NAMES = {
    "worklist": "Worklist",
    "floor": "bare sqlite3",
    "huey": "Huey",
    "flexiq": "FlexiQ",
    "litequeue": "litequeue",
    "persistqueue": "persist-queue",
    "worklist_local": "Worklist",
    "worklist_composition": "Worklist",
    "worklist_before": "Worklist",
    "celery": "Celery",
    "standard": "standard library",
    "fasterfifo": "faster-fifo",
    "worklist_server": "Worklist",
    "floor_redis": "bare redis-py",
    "floor_postgresql": "bare psycopg",
    "floor_rabbitmq": "bare pika",
    "dramatiq": "Dramatiq",
    "taskiq": "TaskIQ",
    "rq": "RQ",
    "saq": "SAQ",
    "arq": "arq",
    "streaq": "streaq",
    "procrastinate": "Procrastinate",
    "pgqueuer": "PgQueuer",
    "chancy": "Chancy",
    "worklist_crawl": "Worklist",
    "floor_crawl": "bare aiohttp",
    "scrapy": "Scrapy",
    "crawlee": "Crawlee",
    "scrapling": "Scrapling",
    "wrk": "wrk",
    "structures": "Worklist",
    "hand": "by hand",
    "networkx": "networkx",
    "simpy": "simpy",
}


SERVERS = {"redis": "Redis", "postgresql": "PostgreSQL", "rabbitmq": "RabbitMQ", "nginx": "nginx"}


@dataclass(frozen=True)
class Words:
    """The words of one language around the figures."""

    measure: str
    durability: str
    bare: str
    alone: str
    value: str
    reading: str
    notes: tuple[str, ...]


Summary = Callable[[Report, Words], str]
"""The tables of a suite for a README."""

ENGLISH = Words(
    measure="measure",
    durability="durability",
    bare="bare sqlite3",
    alone="Worklist alone",
    value="value",
    reading=(
        "Medians of {rounds} rounds in turns; in brackets the multiple of Worklist's figure, which holds "
        "where the figures themselves move with the machine. {machine}; {versions}; {date}."
    ),
    notes=(
        "Each peer is shown with its fastest setting, and all with the same durability.",
        "Huey deletes a job when it fetches it: at most once.",
        "litequeue and persist-queue are raw queues: jobs are taken and acknowledged, not run by a worker.",
        (
            "FlexiQ and the raw queues drain a tenth of the jobs, or a run would take minutes; "
            "that favours the raw queues, which slow down as their table grows."
        ),
        "Bare sqlite3 is the floor: the same changes of rows with nothing around them.",
    ),
)
CHINESE = Words(
    measure="项目",
    durability="持久性",
    bare="裸 sqlite3",
    alone="仅 Worklist",
    value="数值",
    reading=(
        "{rounds} 轮交替运行的中位数；括号内是相对 Worklist 的倍数，机器快慢变化时它依然可比。"
        "{machine}；{versions}；{date}。"
    ),
    notes=(
        "各对手取其最快的设置，持久性设置全部相同。",
        "Huey 取出任务时即删除：至多一次。",
        "litequeue 与 persist-queue 是裸队列：任务只被取出并确认，没有 worker 执行。",
        "FlexiQ 与裸队列只执行十分之一的任务，否则一轮要数分钟；裸队列的表越长越慢，所以这对它们有利。",
        "裸 sqlite3 是下限：只做同样的行变更，别无其他。",
    ),
)


def details(report: Report) -> str:
    """The whole results page."""
    lines = [
        "# Worklist beside its peers on SQLite",
        "",
        summary(report, ENGLISH),
        "",
        "## Every round's spread",
        "",
    ]
    for measured in report.cases.values():
        lines += [f"### {measured.case.title}", "", *detail(measured), ""]
    return "\n".join(lines)


def summary(report: Report, words: Words) -> str:
    """The tables for a README."""
    shared = [one for one in report.cases.values() if _shared(one)]
    alone = [one for one in report.cases.values() if not _shared(one)]
    lines: list[str] = []
    if shared:
        names = [words.bare if system == "floor" else NAMES[system] for system in SYSTEMS]
        lines += lines_of([words.measure, words.durability, *names], _shared_rows(shared, words))
    if alone:
        lines += ["", *lines_of([words.alone, words.durability, words.value], _alone_rows(alone, words))]
    return "\n".join([*lines, "", reading(report, words), "", *(f"- {note}" for note in words.notes)])


def by_contender(report: Report, words: Words, notes: Iterable[str]) -> str:
    """The table for a README where each case has contenders of its own: a line for each, with its figures."""
    chinese = words is CHINESE
    head = ["项目", "系统", "结果"] if chinese else ["measure", "system", "figures"]
    rows = [row for measured in report.cases.values() for row in _contender_rows(measured, chinese)]
    return "\n".join([*lines_of(head, rows), "", reading(report, words), "", *(f"- {it}" for it in notes)])


def publish(suite: str, summary: Summary, report: Report, root: Path) -> list[str]:
    """Put a suite's summary between its markers in the READMEs; the names of those that had them."""
    done = []
    for name, words in (("README.md", ENGLISH), ("README.zh-CN.md", CHINESE)):
        path = root / name
        if path.exists() and insert(path, suite, summary(report, words)):
            done.append(name)
    return done


def insert(path: Path, suite: str, text: str) -> bool:
    """Replace what stands between the markers of a suite; False if the file has none."""
    before, start, rest = path.read_text(encoding="utf-8").partition(f"<!-- bench:{suite}:start -->")
    _, end, after = rest.partition(f"<!-- bench:{suite}:end -->")
    if not start or not end:
        return False
    path.write_text(f"{before}{start}\n{text}\n{end}{after}", encoding="utf-8")
    return True


def _shared(measured: Measured) -> bool:
    return len({entry.contender.system for entry in measured.entries}) > 1


def _shared_rows(shared: Iterable[Measured], words: Words) -> Iterator[list[str]]:
    for measured in shared:
        for metric in measured.case.metrics[: measured.case.headlines]:
            cells = [cell(measured, measured.best(system), metric) for system in SYSTEMS]
            yield [title_of(measured, metric, words), measured.case.durability, *cells]


def _alone_rows(alone: Iterable[Measured], words: Words) -> Iterator[list[str]]:
    for measured in alone:
        for metric in measured.case.metrics[: measured.case.headlines]:
            for entry in measured.entries:
                setting = entry.contender.setting_zh if words is CHINESE else entry.contender.setting
                title = title_of(measured, metric, words)
                if len(measured.entries) > 1:
                    title = f"{title}: {setting}"
                yield [title, measured.case.durability, cell(measured, entry, metric)]


def _contender_rows(measured: Measured, chinese: bool) -> Iterator[list[str]]:
    title = measured.case.title_zh if chinese else measured.case.title
    for entry in measured.entries:
        who = entry.contender
        name = (
            f"{NAMES[who.system]}，{who.setting_zh or who.setting}"
            if chinese
            else f"{NAMES[who.system]}, {who.setting}"
        )
        yield [title, name, ("；" if chinese else "; ").join(_figures(measured, entry, chinese)) or "–"]
        title = ""


def _figures(measured: Measured, entry: Entry, chinese: bool) -> Iterator[str]:
    for metric in measured.case.metrics[: measured.case.headlines]:
        if measured.summary(entry, metric) is not None:
            title = metric.title_zh if chinese else metric.title
            yield f"{title}{'：' if chinese else ': '}{cell(measured, entry, metric)}"


def title_of(measured: Measured, metric: Metric, words: Words) -> str:
    if words is CHINESE:
        return f"{measured.case.title_zh}，{metric.title_zh}"
    return f"{measured.case.title}, {metric.title}"


def cell(measured: Measured, entry: Entry | None, metric: Metric) -> str:
    found = measured.summary(entry, metric) if entry else None
    if found is None:
        return "–"
    if entry is measured.entries[0] or found.ratio is None or metric.is_count:
        return number(found.median)
    return f"{number(found.median)} ({number(found.ratio)}×)"


def detail(measured: Measured) -> list[str]:
    """Every contender of a case, figure by figure."""
    head = ["system", "setting", "jobs", "figure", "median", "least – most", "× first line"]
    return lines_of(head, _detail_rows(measured))


def _detail_rows(measured: Measured) -> Iterator[list[str]]:
    for metric in measured.case.metrics:
        for entry in measured.entries:
            who = entry.contender
            found = measured.summary(entry, metric)
            figures = ["failed", "", ""]
            if found is None and any(entry.rounds):
                continue  # it ran, and has no such figure
            if found:
                ratio = number(found.ratio) if found.ratio is not None and not metric.is_count else ""
                figures = [number(found.median), f"{number(found.least)} – {number(found.most)}", ratio]
            setting = f"{who.setting}; {who.durability or measured.case.durability}"
            yield [NAMES[who.system], setting, f"{who.jobs:,}", metric.title, *figures]


def reading(report: Report, words: Words) -> str:
    """How to read the tables: rounds, machine, versions and dates."""
    rounds = max((len(entry.rounds) for one in report.cases.values() for entry in one.entries), default=0)
    facts = report.machine
    machine = f"{facts.get('cores')} × {facts.get('cpu')}, {facts.get('memory_gib')} GiB, {facts.get('system')}"
    shown = {"python": "Python", "sqlite": "SQLite", **SERVERS, **NAMES}
    versions = ", ".join(f"{shown[name]} {version}" for name, version in report.versions.items())
    dates = sorted({one.date for one in report.cases.values()})
    return words.reading.format(
        rounds=rounds, machine=machine, versions=versions, date=" – ".join(dates[:1] + dates[1:][-1:])
    )


def lines_of(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    rule = ["---" if place < 2 else "---:" for place in range(len(head))]
    return ["| " + " | ".join(cells) + " |" for cells in (head, rule, *rows)]


def number(value: float) -> str:
    """Three significant digits, with separators of thousands."""
    if value == 0:
        return "0"
    if abs(value) >= 1000:
        digits = len(str(int(abs(value)))) - 3
        return f"{round(value, -digits):,.0f}"
    return f"{value:.3g}"
