"""The suites `redis`, `postgresql` and `rabbitmq`: Worklist on a server beside the queues that run on it.

The servers are the benchmark's own, see `systems.servers` for their settings. All take the same settings, which stand
beside each figure; on RabbitMQ results are kept in Redis by all.
"""

from collections.abc import Callable, Iterator
from functools import partial

from bench import table
from bench.report import Measured, Report
from bench.rows import RATE, Case, Contender, Metric, Scale
from bench.table import CHINESE, Words

ROWS = ("drain", "enqueue", "enqueue-many", "latency", "backlog")
PEERS = {
    "redis": ("celery", "huey", "dramatiq", "taskiq", "rq", "saq", "arq", "streaq"),
    "postgresql": ("procrastinate", "pgqueuer", "chancy", "flexiq"),
    "rabbitmq": ("floor_rabbitmq", "celery", "dramatiq", "taskiq"),
}
"""Pika is among them since it has an environment of its own."""
DURABILITY = {
    "redis": "AOF, everysec",
    "postgresql": "fsync, synchronous_commit on",
    "rabbitmq": "persistent, confirmed",
}
US = "worklist_server"
BOTH = Metric("both_us", "CPU of worker and server, µs/job", "worker 与服务器的 CPU，µs/任务", "µs/job both")
WORKER = Metric("cpu_us", "CPU of the worker, µs/job", "worker 的 CPU，µs/任务", "µs/job")
CLIENT = Metric("cpu_us", "CPU of the caller, µs/job", "调用方的 CPU，µs/任务", "µs/job")
P50 = Metric("p50_ms", "p50, ms", "p50，毫秒", "ms")
P99 = Metric("p99_ms", "p99, ms", "p99，毫秒", "ms")
ENQUEUE_ROUNDS = 2
LATENCY_ROUNDS = 1
"""Of hundreds of samples each."""


def all_cases(server: str, scale: Scale) -> list[Case]:
    """Every case of one server's suite, in the order in which they run and are shown."""
    makers: tuple[Callable[[str, Scale], Iterator[Case]], ...] = (_drain, _enqueue, _enqueue_many, _latency, _backlog)
    return [case for make in makers for case in make(server, scale)]


def cases_of(server: str) -> Callable[[Scale], list[Case]]:
    return partial(all_cases, server)


# -- who takes part, with which settings ------------------------------------------------------------------------


def _with(
    server: str, system: str, setting: str, command: str, jobs: int, *arguments: str, rounds: int | None = None
) -> Contender:
    return Contender(system, setting, command, jobs, ("--server", server, *arguments), rounds=rounds)


def _drain(server: str, scale: Scale) -> Iterator[Case]:
    """Slow systems have fewer jobs, or a run would take many minutes: their rate does not depend on the number."""
    floors = {"redis": "200 in a script", "postgresql": "200 in a transaction", "rabbitmq": "200 acknowledged at once"}
    own = [
        _with(server, US, "one process, one thread", "drain", scale.jobs),
        _with(server, _floor(server), floors[server], "take", scale.jobs),
    ]
    yield Case(
        row="drain",
        key="drain",
        title="drain, results kept, one worker process",
        title_zh="执行，保留结果，1 个 worker 进程",
        durability=DURABILITY[server],
        metrics=(RATE, BOTH, WORKER),
        headlines=2,
        contenders=(*own, *_drainers(server, scale)),
    )
    if server == "postgresql":
        yield _two_processes(server, scale)


def _two_processes(server: str, scale: Scale) -> Case:
    two = ("--processes", "2")
    large = (*two, "--batch", "200")
    return Case(
        row="drain",
        key="drain-2p",
        title="drain, results kept, two worker processes",
        title_zh="执行，保留结果，2 个 worker 进程",
        durability=DURABILITY[server],
        metrics=(RATE, BOTH, WORKER),
        headlines=2,
        contenders=(
            _with(server, US, "two processes of one thread", "drain", scale.jobs, *two),
            _with(server, "pgqueuer", "two processes, batches of 200", "drain", scale.jobs, *large),
            _with(server, "chancy", "two processes, 100 at once", "drain", scale.some_jobs, *two, "--batch", "100"),
            _with(server, "procrastinate", "two processes, 10 at once", "drain", scale.slow_jobs, *two, *TEN),
        ),
    )


TEN = ("--threads", "10")


def _drainers(server: str, scale: Scale) -> list[Contender]:
    few, some, all_jobs = scale.slow_jobs, scale.some_jobs, scale.jobs
    of = partial(_with, server)
    threads = of("celery", "10 threads", "drain", few, "--pool", "threads", *TEN)
    if server == "redis":
        return [
            threads,
            of("celery", "prefork, 2 children", "drain", few, "--processes", "2", rounds=1),
            of("huey", "one thread", "drain", some),
            of("dramatiq", "8 threads", "drain", some, "--threads", "8"),
            of("taskiq", "streams, 200 coroutines", "drain", some),
            of("taskiq", "list, 200 coroutines", "drain", some, "--pool", "list"),
            of("rq", "SimpleWorker", "drain", few, rounds=1),
            of("saq", "100 coroutines", "drain", some),
            of("arq", "100 coroutines, 1 ms poll", "drain", some, "--batch", "100", rounds=1),
            of("streaq", "200 coroutines", "drain", few, rounds=1),
        ]
    if server == "postgresql":
        return [
            of("procrastinate", "10 coroutines", "drain", few, *TEN),
            of("procrastinate", "one coroutine", "drain", few, rounds=1),
            of("pgqueuer", "batches of 200", "drain", all_jobs, "--batch", "200"),
            of("pgqueuer", "batches of 10, as installed", "drain", some, "--batch", "10", rounds=1),
            of("chancy", "100 coroutines", "drain", some, "--batch", "100"),
            of("flexiq", "10 threads, 1 ms poll, 200 at a time", "drain", few, *TEN, rounds=1),
        ]
    return [
        threads,
        of("dramatiq", "8 threads", "drain", some, "--threads", "8"),
        of("taskiq", "200 coroutines", "drain", some),
    ]


def _enqueue(server: str, scale: Scale) -> Iterator[Case]:
    raw = {"redis": "LPUSH", "postgresql": "INSERT", "rabbitmq": "basic_publish, confirmed"}
    jobs = scale.some_jobs
    yield Case(
        row="enqueue",
        key="enqueue",
        title="enqueue one by one",
        title_zh="逐个入队",
        durability=DURABILITY[server],
        metrics=(RATE, CLIENT),
        contenders=(
            _with(server, US, "enqueue", "enqueue", jobs),
            _with(server, _floor(server), raw[server], "enqueue", jobs),
            *(_with(server, peer, _put_by(server, peer), "enqueue", jobs) for peer in _queues(server)),
        ),
        rounds=ENQUEUE_ROUNDS,
    )


def _put_by(server: str, peer: str) -> str:
    coroutine = "awaited one by one"
    names = {"taskiq": coroutine, "saq": coroutine, "arq": coroutine, "streaq": coroutine, "pgqueuer": coroutine}
    return names.get(peer, "confirmed" if server == "rabbitmq" else "one thread")


def _enqueue_many(server: str, scale: Scale) -> Iterator[Case]:
    """Peers that have no call for many are in the row with their call for one."""
    bulk = {"rq": "enqueue_many", "streaq": "enqueue_many", "procrastinate": "batch_defer", "pgqueuer": "enqueue",
            "chancy": "push_many", "flexiq": "map"}  # fmt: skip
    raw = {"redis": "a script", "postgresql": "unnest", "rabbitmq": "500 in flight"}
    yield Case(
        row="enqueue-many",
        key="enqueue-many",
        title="enqueue many, 500 in a call",
        title_zh="批量入队，每次 500 个",
        durability=DURABILITY[server],
        metrics=(RATE, CLIENT),
        contenders=(
            _with(server, US, "enqueue_many", "enqueue-many", scale.jobs),
            _with(server, _floor(server), raw[server], "enqueue-many", scale.jobs),
            *(
                _with(server, peer, bulk.get(peer, "one by one, it has no other"), "enqueue-many", scale.some_jobs)
                for peer in _queues(server)
            ),
        ),
        rounds=ENQUEUE_ROUNDS,
    )


def _latency(server: str, scale: Scale) -> Iterator[Case]:
    """Peers with the setting that drains best, but for their polls, which are as fast as they go."""
    size = ("--samples", str(scale.samples), "--idle", "0")
    raw = {"redis": "BRPOP", "postgresql": "NOTIFY, then DELETE", "rabbitmq": "basic_consume, quorum queue"}
    yield Case(
        row="latency",
        key="latency",
        title="from enqueue to start on an idle worker",
        title_zh="空闲 worker 从入队到开始执行",
        durability=DURABILITY[server],
        metrics=(P50, P99),
        headlines=2,
        contenders=(
            _with(server, US, "as installed", "latency", scale.samples, *size),
            _with(server, _floor(server), raw[server], "latency", scale.samples, *size),
            *(_with(server, peer, "", "latency", scale.samples, *size, *_idle(peer)) for peer in _queues(server)),
        ),
        rounds=LATENCY_ROUNDS,
    )


def _idle(peer: str) -> tuple[str, ...]:
    return {"celery": ("--pool", "threads"), "dramatiq": ("--threads", "8")}.get(peer, ())


def _backlog(server: str, scale: Scale) -> Iterator[Case]:
    jobs = scale.jobs * 3  # a run of some seconds, since there is one round of it
    sizes = (("", 0), ("--behind", scale.queued), ("--delayed", scale.delayed))
    names = {"": "nothing else", "--behind": "{:,} queued behind", "--delayed": "{:,} waiting for a later hour"}
    names_zh = {"": "别无其他", "--behind": "后面还排着 {:,} 个", "--delayed": "另有 {:,} 个等待稍后执行"}
    yield Case(
        row="backlog",
        key="backlog",
        title=f"drain of the first {jobs:,} jobs beside a long queue",
        title_zh=f"长队列中执行最前面的 {jobs:,} 个任务",
        durability=DURABILITY[server],
        metrics=(RATE, BOTH),
        contenders=tuple(
            Contender(
                US,
                names[kind].format(count),
                "beside",
                jobs,
                ("--server", server, *((kind, str(count)) if kind else ())),
                setting_zh=names_zh[kind].format(count),
            )
            for kind, count in sizes
        ),
        rounds=1,
    )


def _queues(server: str) -> list[str]:
    return [peer for peer in PEERS[server] if peer != _floor(server)]


def _floor(server: str) -> str:
    return f"floor_{server}"


# -- the page ---------------------------------------------------------------------------------------------------

NOTES = {
    "redis": (
        "Every system has a Redis server of its own, with `appendonly yes` and `appendfsync everysec`.",
        "CPU is the time of the worker's processes and of the server together, from the first job to the last.",
        (
            "Huey deletes a job when it fetches it, Celery acknowledges it before it runs: at most once. "
            "Of the peers, RQ and streaq have a call that puts many jobs; the others put them one by one."
        ),
        "RQ runs its SimpleWorker; as installed it forks for every job. arq polls every millisecond instead of 0.5 s.",
        "Bare redis-py is the floor: scripts of 200 with the same changes of sorted sets and hashes, or one LPUSH.",
    ),
    "postgresql": (
        "One cluster with `fsync` and `synchronous_commit` on for all; each measurement has a fresh database.",
        "CPU is the time of the worker's processes and of the server's together, from the first job to the last.",
        "Procrastinate, PgQueuer and Chancy keep no results: they do less in the row with results kept.",
        "Oban for Python needs Python 3.12 or newer, and is left out where the interpreter is older.",
        "Bare psycopg is the floor: 500 rows in an INSERT by unnest, 200 finished and 200 claimed in a transaction.",
    ),
    "rabbitmq": (
        (
            "One node for all; messages are persistent and confirmed, results are kept in a Redis server with "
            "`appendfsync everysec`."
        ),
        (
            "Worklist and the floor use quorum queues; Celery, Dramatiq and TaskIQ the durable classic ones that they "
            "declare as installed."
        ),
        "CPU is the time of the worker's processes, RabbitMQ and Redis together, from the first job to the last.",
        "Celery, Dramatiq and TaskIQ have no call for many jobs.",
        (
            "Bare pika is the floor: 500 messages unconfirmed at most, 200 acknowledged at once when their results are "
            "in Redis."
        ),
    ),
}
NOTES_ZH = {
    "redis": (
        "每个系统各有一台自己的 Redis 服务器，`appendonly yes`，`appendfsync everysec`。",
        "CPU 是从第一个任务到最后一个任务期间 worker 各进程与服务器的合计。",
        (
            "Huey 取出任务时即删除，Celery 在执行前确认：至多一次。对手中只有 RQ 与 streaq 有批量入队的调用，"
            "其余逐个入队。"
        ),
        "RQ 使用 SimpleWorker；默认设置下它为每个任务 fork 一次。arq 的轮询间隔为 1 毫秒而非 0.5 秒。",
        "裸 redis-py 是下限：每 200 个一个脚本，对有序集合与哈希做同样的变更；或逐个 LPUSH。",
    ),
    "postgresql": (
        "全部使用同一集群，`fsync` 与 `synchronous_commit` 均开启；每次测量使用新的数据库。",
        "CPU 是从第一个任务到最后一个任务期间 worker 各进程与服务器各进程的合计。",
        "Procrastinate、PgQueuer 与 Chancy 不保留结果：在保留结果的一行里它们做的事更少。",
        "Python 版 Oban 需要 Python 3.12 以上，解释器较旧时不参加。",
        "裸 psycopg 是下限：每条 INSERT 用 unnest 插入 500 行，每个事务完成并取出 200 个。",
    ),
    "rabbitmq": (
        "全部使用同一节点；消息持久化并确认，结果保存在 `appendfsync everysec` 的 Redis 中。",
        "Worklist 与下限使用 quorum 队列；Celery、Dramatiq 与 TaskIQ 使用其默认声明的持久 classic 队列。",
        "CPU 是从第一个任务到最后一个任务期间 worker 各进程、RabbitMQ 与 Redis 的合计。",
        "Celery、Dramatiq 与 TaskIQ 没有批量入队的调用。",
        "裸 pika 是下限：未确认的消息至多 500 条，结果写入 Redis 后一次确认 200 条。",
    ),
}
SERVER_NAMES = {"redis": "Redis", "postgresql": "PostgreSQL", "rabbitmq": "RabbitMQ"}


def details_of(server: str) -> Callable[[Report], str]:
    return partial(_details, server)


def summary_of(server: str) -> table.Summary:
    return partial(_summary, server)


def _details(server: str, report: Report) -> str:
    lines = [f"# Worklist beside its peers on {SERVER_NAMES[server]}", "", _summary(server, report, table.ENGLISH), ""]
    for measured in report.cases.values():
        lines += [f"## {measured.case.title}", "", *table.detail(measured), ""]
    return "\n".join(lines)


def _summary(server: str, report: Report, words: Words) -> str:
    """The tables for a README: systems side by side, then what only Worklist is measured in."""
    systems = (US, _floor(server), *_queues(server))
    shared = [one for one in report.cases.values() if one.case.row != "backlog"]
    alone = [one for one in report.cases.values() if one.case.row == "backlog"]
    head = [words.measure, *(table.NAMES[system] for system in systems)]
    lines = table.lines_of(head, (row for one in shared for row in _rows(one, systems, words)))
    if alone:
        lines += ["", *table.lines_of([words.alone, words.value], (row for one in alone for row in _alone(one, words)))]
    notes = NOTES_ZH[server] if words is CHINESE else NOTES[server]
    return "\n".join([*lines, "", table.reading(report, words), "", *(f"- {note}" for note in notes)])


def _rows(measured: Measured, systems: tuple[str, ...], words: Words) -> Iterator[list[str]]:
    for metric in measured.case.metrics[: measured.case.headlines]:
        cells = (table.cell(measured, measured.best(system), metric) for system in systems)
        yield [table.title_of(measured, metric, words), *cells]


def _alone(measured: Measured, words: Words) -> Iterator[list[str]]:
    for entry in measured.entries:
        setting = entry.contender.setting_zh if words is CHINESE else entry.contender.setting
        title = table.title_of(measured, measured.case.metrics[0], words)
        yield [f"{title}: {setting}", table.cell(measured, entry, measured.case.metrics[0])]
