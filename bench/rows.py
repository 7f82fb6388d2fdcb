"""What is measured: every case, who takes part in it, and with which settings.

A case is one comparison; its contenders run in turns. The others are set beside the first contender.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

SYSTEMS = ("worklist", "floor", "huey", "flexiq", "litequeue", "persistqueue")
PEERS = SYSTEMS[2:]
OWN = (
    "worklist", "floor", "worklist_local", "standard", "structures", "hand", "worklist_composition", "worklist_before",
    "worklist_server", "floor_redis", "floor_postgresql", "floor_rabbitmq", "worklist_crawl", "wrk",
)  # fmt: skip
"""What needs no environment of its own."""
ROWS = ("enqueue", "enqueue-many", "drain", "cpu", "latency", "memory", "backlog")


@dataclass(frozen=True)
class Metric:
    """One figure of a measurement: its name in the script's JSON, and how it is shown."""

    key: str
    title: str
    title_zh: str
    unit: str
    higher_is_better: bool = False
    is_count: bool = False
    """A number of things that is right or wrong, of which no ratio is shown."""


@dataclass(frozen=True)
class Contender:
    """One system with one set of settings, as arguments of its script."""

    system: str
    setting: str
    command: str
    jobs: int
    arguments: tuple[str, ...] = ()
    template: tuple[str, ...] = ()
    """If given, the arguments of `prepare`: a filled queue that each round starts from a copy of."""
    durability: str = ""
    """If given, another than the case's: shown in the details, kept out of the summary."""
    rounds: int | None = None
    """If given, fewer rounds than the case has, for what takes minutes."""
    setting_zh: str = ""
    """Where the summary shows the setting."""


@dataclass(frozen=True)
class Case:
    """One comparison. Its row names the option that selects it."""

    row: str
    key: str
    title: str
    title_zh: str
    durability: str
    metrics: tuple[Metric, ...]
    contenders: tuple[Contender, ...]
    headlines: int = 1
    """How many of the metrics the summary shows; the others are in the details."""
    rounds: int | None = None
    """A number of rounds of its own, for what is long and steady."""


@dataclass(frozen=True)
class Scale:
    """How much is done. `full` is for figures to publish, `quick` only shows that everything runs."""

    jobs: int = 20_000
    samples: int = 200
    idle: float = 10.0
    many: int = 1_000_000
    most: int = 5_000_000
    large: int = 1_000_000
    """Jobs of the tenant beside whom 99 small ones want their turn."""
    lanes: int = 100_000
    watch: float = 60.0
    """Seconds for which beats are looked at."""
    queued: int = 1_000_000
    delayed: int = 1_000_000
    """Jobs on a server beside those that are measured, behind them or for a later hour."""

    @property
    def some_jobs(self) -> int:
        """For systems of some thousand jobs a second."""
        return max(self.jobs // 4, 100)

    @property
    def slow_jobs(self) -> int:
        """For systems of some hundred jobs a second, and raw queues, which slow down as their table grows."""
        return max(self.jobs // 10, 100)


QUICK = Scale(jobs=1_000, samples=30, idle=2.0, many=10_000, most=20_000, large=20_000, lanes=2_000, watch=12.0,
              queued=20_000, delayed=20_000)  # fmt: skip

RATE = Metric("rate", "jobs/s", "任务/秒", "jobs/s", higher_is_better=True)
CPU = Metric("cpu_us", "worker CPU, µs/job", "worker CPU，µs/任务", "µs/job")
LATENCY = (
    Metric("p50_ms", "p50, ms", "p50，毫秒", "ms"),
    Metric("p99_ms", "p99, ms", "p99，毫秒", "ms"),
    Metric("idle_percent", "CPU of the idle worker, %", "空闲 worker 的 CPU，%", "%"),
)
MEMORY = (
    Metric("early_mib", "after a tenth of them, MiB", "完成十分之一后，MiB", "MiB"),
    Metric("late_mib", "after all, MiB", "全部完成后，MiB", "MiB"),
    Metric("growth_mib", "growth, MiB", "增长，MiB", "MiB"),
)
NORMAL = "WAL, NORMAL"
OFF = "WAL, OFF"
NEVER_SYNCED = ("--durability", "off")
FULL = "WAL, FULL"


def all_cases(scale: Scale) -> list[Case]:
    """Every case, in the order in which they run and are shown."""
    makers: tuple[Callable[[Scale], Iterator[Case]], ...] = (
        _enqueue, _enqueue_many, _drain, _cpu, _latency, _memory, _backlog
    )  # fmt: skip
    return [case for make in makers for case in make(scale)]


def choose(cases: list[Case], rows: set[str], peers: set[str]) -> list[Case]:
    """The cases of these rows, without the contenders of peers that are not wanted."""
    wanted = {*OWN, *peers}
    kept = [case for case in cases if case.row in rows]
    return [replace(case, contenders=tuple(one for one in case.contenders if one.system in wanted)) for case in kept]


def _enqueue(scale: Scale) -> Iterator[Case]:
    systems = ("worklist", "floor", "huey", "flexiq", "litequeue", "persistqueue")
    for threads in (1, 8):
        together = "one thread" if threads == 1 else f"{threads} threads together"
        yield Case(
            row="enqueue",
            key=f"enqueue-{threads}",
            title=f"enqueue one by one, {together}",
            title_zh=f"逐个入队，{threads} 个线程",
            durability=NORMAL,
            metrics=(RATE,),
            contenders=tuple(
                Contender(one, together, "enqueue", scale.jobs, ("--threads", str(threads))) for one in systems
            ),
        )
    yield Case(
        row="enqueue",
        key="enqueue-full",
        title="enqueue one by one, one thread, safe against a power cut",
        title_zh="逐个入队，1 个线程，断电不丢",
        durability=FULL,
        metrics=(RATE,),
        contenders=tuple(
            Contender(one, "one thread", "enqueue", scale.jobs // 4, ("--durability", "full"))
            for one in ("worklist", "floor", "huey")
        ),
    )


def _enqueue_many(scale: Scale) -> Iterator[Case]:
    yield Case(
        row="enqueue-many",
        key="enqueue-many",
        title="enqueue many, 500 in a call",
        title_zh="批量入队，每次 500 个",
        durability=NORMAL,
        metrics=(RATE,),
        contenders=(
            Contender("worklist", "enqueue_many", "enqueue-many", scale.jobs),
            Contender("floor", "executemany", "enqueue-many", scale.jobs),
            Contender("flexiq", "map", "enqueue-many", scale.jobs),
            Contender("litequeue", "puts in a transaction", "enqueue-many", scale.jobs),
        ),
    )


def _drain(scale: Scale) -> Iterator[Case]:
    yield from _drain_kept(scale)
    yield from _drain_not_kept(scale)
    yield Case(
        row="drain",
        key="drain-full",
        title="drain, results kept, one thread, safe against a power cut",
        title_zh="执行，保留结果，1 个线程，断电不丢",
        durability=FULL,
        metrics=(RATE, CPU),
        contenders=(
            Contender("worklist", "one thread", "drain", scale.jobs, ("--durability", "full")),
            Contender("floor", "200 in a transaction", "take", scale.jobs, ("--durability", "full")),
            Contender("huey", "one thread", "drain", scale.jobs // 4, ("--durability", "full")),
        ),
    )


def _drain_kept(scale: Scale) -> Iterator[Case]:
    one, ten, two = _settings("all")
    floor = Contender("floor", "200 in a transaction", "take", scale.jobs)
    tuned = "1 ms poll, 200 at a time"
    yield _drain_case(
        ("drain-kept", "results kept, one thread", "保留结果，1 个线程"),
        Contender("worklist", "one thread", "drain", scale.jobs, one),
        floor,
        Contender("huey", "one thread", "drain", scale.jobs, one),
        Contender("huey", "one thread, never synced", "drain", scale.jobs, (*one, *NEVER_SYNCED), durability=OFF),
        Contender("flexiq", f"one thread, {tuned}", "drain", scale.slow_jobs, one),
    )
    yield _drain_case(
        ("drain-kept-10", "results kept, 10 threads", "保留结果，10 个线程"),
        Contender("worklist", "10 threads", "drain", scale.jobs, ten),
        Contender("huey", "10 threads", "drain", scale.jobs, ten),
        Contender("flexiq", f"10 threads, {tuned}", "drain", scale.slow_jobs, ten),
        Contender("flexiq", "10 threads, as installed", "drain", scale.slow_jobs // 2, (*ten, "--as-installed")),
    )
    yield _drain_case(
        ("drain-kept-2p", "results kept, two processes", "保留结果，2 个进程"),
        Contender("worklist", "two processes of one thread", "drain", scale.jobs, two),
        Contender("huey", "two processes", "drain", scale.jobs, two),
    )


def _drain_not_kept(scale: Scale) -> Iterator[Case]:
    one, ten, two = _settings("none")
    yield _drain_case(
        ("drain", "results not kept, one thread", "不保留结果，1 个线程"),
        Contender("worklist", "one thread", "drain", scale.jobs, one),
        Contender("floor", "200 in a transaction", "take", scale.jobs, one),
        Contender("huey", "one thread", "drain", scale.jobs, one),
        Contender("huey", "one thread, never synced", "drain", scale.jobs, (*one, *NEVER_SYNCED), durability=OFF),
        Contender("litequeue", "pop and done, in the caller", "take", scale.slow_jobs, one),
        Contender("persistqueue", "get and ack, in the caller", "take", scale.slow_jobs, one),
    )
    yield _drain_case(
        ("drain-10", "results not kept, 10 threads", "不保留结果，10 个线程"),
        Contender("worklist", "10 threads", "drain", scale.jobs, ten),
        Contender("huey", "10 threads", "drain", scale.jobs, ten),
    )
    yield _drain_case(
        ("drain-2p", "results not kept, two processes", "不保留结果，2 个进程"),
        Contender("worklist", "two processes of one thread", "drain", scale.jobs, two),
        Contender("huey", "two processes", "drain", scale.jobs, two),
    )


def _settings(results: str) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """The arguments for one thread, ten threads, and two processes."""
    kept = ("--results", results)
    return kept, (*kept, "--threads", "10"), (*kept, "--processes", "2")


def _drain_case(names: tuple[str, str, str], *contenders: Contender) -> Case:
    key, title, title_zh = names
    return Case("drain", key, f"drain, {title}", f"执行，{title_zh}", NORMAL, (RATE, CPU), contenders)


def _cpu(scale: Scale) -> Iterator[Case]:
    jobs = scale.jobs * 5
    yield Case(
        row="cpu",
        key="cpu",
        title=f"drain of {jobs:,} jobs, results kept, one thread",
        title_zh=f"执行 {jobs:,} 个任务，保留结果，1 个线程",
        durability=NORMAL,
        metrics=(CPU, RATE),
        contenders=(
            Contender("worklist", "one thread", "drain", jobs),
            Contender("floor", "200 in a transaction", "take", jobs),
            Contender("huey", "one thread", "drain", jobs),
        ),
    )


def _latency(scale: Scale) -> Iterator[Case]:
    size = ("--samples", str(scale.samples), "--idle", str(scale.idle))
    ten = (*size, "--threads", "10")
    yield Case(
        row="latency",
        key="latency",
        title="from enqueue to start on an idle worker",
        title_zh="空闲 worker 从入队到开始执行",
        durability=NORMAL,
        metrics=LATENCY,
        headlines=len(LATENCY),
        contenders=(
            Contender("worklist", "as installed", "latency", scale.samples, size),
            Contender("huey", "polls every 1 ms", "latency", scale.samples, size),
            Contender("huey", "as installed", "latency", scale.samples, (*size, "--as-installed")),
            Contender("flexiq", "10 threads, polls every 1 ms", "latency", scale.samples, ten),
            Contender("flexiq", "10 threads, as installed", "latency", scale.samples, (*ten, "--as-installed")),
        ),
    )


def _memory(scale: Scale) -> Iterator[Case]:
    yield Case(
        row="memory",
        key="memory",
        title=f"resident memory of a worker over {scale.many:,} jobs",
        title_zh=f"执行 {scale.many:,} 个任务时 worker 的常驻内存",
        durability=NORMAL,
        metrics=MEMORY,
        headlines=len(MEMORY),
        contenders=(Contender("worklist", "one thread", "memory", scale.many),),
        rounds=1,
    )


def _backlog(scale: Scale) -> Iterator[Case]:
    few = scale.many // 100
    sizes = (("behind", few), ("behind", scale.many), ("behind", scale.most), ("delayed", scale.many))
    names = {"behind": "queued behind", "delayed": "waiting for a later hour"}
    names_zh = {"behind": "个任务排在后面", "delayed": "个任务等待稍后执行"}
    yield Case(
        row="backlog",
        key="backlog",
        title=f"drain of the first {scale.jobs:,} jobs beside a long queue",
        title_zh=f"长队列中执行最前面的 {scale.jobs:,} 个任务",
        durability=NORMAL,
        metrics=(RATE, CPU),
        contenders=tuple(
            Contender(
                "worklist",
                f"{count:,} {names[kind]}",
                "backlog",
                scale.jobs,
                template=(f"--{kind}", str(count)),
                setting_zh=f"{count:,} {names_zh[kind]}",
            )
            for kind, count in sizes
        ),
    )
