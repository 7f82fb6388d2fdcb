"""The suite `local`: queues in one machine's memory beside the standard library's and faster-fifo."""

from collections.abc import Iterator

from bench import structures, table
from bench.report import Report
from bench.rows import Case, Contender, Metric, Scale
from bench.table import CHINESE, Words

ROWS = ("tasks", "values", "batches", *structures.ROWS)
PEERS = ("fasterfifo", *structures.PEERS)

TASKS = Metric("rate", "tasks/s", "任务/秒", "tasks/s", higher_is_better=True)
RATE = Metric("rate", "values/s", "值/秒", "values/s", higher_is_better=True)
SIZES = {"int": ("small numbers", "小整数"), "1kib": ("1 KiB of bytes", "1 KiB 字节")}


def all_cases(scale: Scale) -> list[Case]:
    """Every case, in the order in which they run and are shown."""
    return [*_tasks(scale), *_values(scale), *structures.cases(scale)]


def _tasks(scale: Scale) -> Iterator[Case]:
    jobs = scale.jobs * 5
    yield Case(
        row="tasks",
        key="tasks",
        title="hand no-op tasks to five threads, until all have ended",
        title_zh="把空任务交给 5 个线程，直到全部结束",
        durability="memory",
        metrics=(TASKS,),
        contenders=(
            Contender(
                "worklist_local",
                "TaskQueue.add_task",
                "tasks",
                jobs * 5,
                ("--kind", "add_task"),
                setting_zh="TaskQueue.add_task",
            ),
            Contender(
                "standard",
                "ThreadPoolExecutor.submit",
                "tasks",
                jobs,
                ("--kind", "pool"),
                setting_zh="ThreadPoolExecutor.submit",
            ),
            Contender(
                "standard",
                "threads on a queue.Queue",
                "tasks",
                jobs,
                ("--kind", "naive"),
                setting_zh="线程加 queue.Queue",
            ),
        ),
    )
    yield Case(
        row="tasks",
        key="futures",
        title="the same with a future for each",
        title_zh="同上，每个任务有一个 future",
        durability="memory",
        metrics=(TASKS,),
        contenders=(
            Contender("worklist_local", "TaskQueue.submit", "tasks", jobs, ("--kind", "submit")),
            Contender(
                "standard",
                "ThreadPoolExecutor.submit",
                "tasks",
                jobs,
                ("--kind", "pool"),
                setting_zh="ThreadPoolExecutor.submit",
            ),
        ),
    )


def _values(scale: Scale) -> Iterator[Case]:
    for batches in (False, True):
        for value, (title, title_zh) in SIZES.items():
            yield _pass(scale, value, batches, (title, title_zh))


def _pass(scale: Scale, value: str, batches: bool, titles: tuple[str, str]) -> Case:
    jobs = scale.jobs * 5
    one = ("--kind", "queue", "--value", value)
    many = (*one, "--batches")
    contenders = [
        Contender("worklist_local", "put and get", "values", jobs, one),
        Contender(
            "standard",
            "multiprocessing.Queue, put and get",
            "values",
            jobs,
            one,
            setting_zh="multiprocessing.Queue，put 与 get",
        ),
        Contender("fasterfifo", "put and get", "values", jobs, one),
    ]
    if batches:
        contenders = [
            Contender("worklist_local", "put_many and get_many", "values", jobs * 5, many),
            contenders[1],
            Contender("fasterfifo", "put_many and get_many", "values", jobs, many),
        ]
    return Case(
        row="batches" if batches else "values",
        key=f"{'batches' if batches else 'values'}-{value}",
        title=f"{titles[0]} from one process to another, {'100 in a call' if batches else 'one by one'}",
        title_zh=f"进程之间传递{titles[1]}，{'每次 100 个' if batches else '逐个'}",
        durability="memory",
        metrics=(RATE,),
        contenders=tuple(contenders),
    )


NOTES = (
    "Five threads, and values of one process that another one takes. In batches, a hundred in a call.",
    "The grid is a dict of lists of integers, for networkx its own graph; it is made before the clock runs.",
    (
        "Worklist and the second loop yield node, depth and parent of each node, networkx the edge that led to it. "
        "The first loop only makes a list of the nodes."
    ),
    (
        "The queue is M/M/50, 90 % busy; each draws the times and returns the average wait. "
        "`simulate` adds the percentile and the intervals."
    ),
)
NOTES_ZH = (
    "5 个线程；以及一个进程放入、另一个进程取出的值。成批时每次 100 个。",
    "网格是由整数列表组成的 dict，networkx 用它自己的图；都在计时之前建好。",
    "Worklist 与第二个循环给出每个节点、其深度与父节点，networkx 给出通向它的边。第一个循环只列出节点。",
    "队列为 M/M/50，忙 90 %；各自抽取时间并返回平均等待。`simulate` 另给出分位数与置信区间。",
)


def summary(report: Report, words: Words) -> str:
    """The table for a README."""
    return table.by_contender(report, words, NOTES_ZH if words is CHINESE else NOTES)


def details(report: Report) -> str:
    """The whole results page."""
    lines = ["# Queues in one machine's memory", "", table.reading(report, table.ENGLISH), ""]
    for measured in report.cases.values():
        lines += [f"## {measured.case.title}", "", *table.detail(measured), ""]
    return "\n".join(lines)
