"""The suite `composition`: schedules, lanes, groups and chains, beside peers where they have such a thing."""

from collections.abc import Iterator
from dataclasses import replace

from bench import table
from bench.report import Report
from bench.rows import NORMAL, Case, Contender, Metric, Scale
from bench.table import CHINESE, Words

ROWS = ("before", "chains", "chord", "fairness", "pace", "lanes", "beats")
PEERS = ("celery", "huey", "flexiq")

US = "worklist_composition"
REDIS = "Redis"
KILL_EVERY = 5
"""Seconds between two kills of a beat."""
PATIENCE = 20
"""Seconds after which a callback that has not run counts as lost."""


def all_cases(scale: Scale) -> list[Case]:
    """Every case, in the order in which they run and are shown."""
    makers = (_before, _chains, _chord, _fairness, _pace, _lanes, _beats)
    return [case for make in makers for case in make(scale)]


def _beats(scale: Scale) -> Iterator[Case]:
    time = ("--seconds", str(scale.watch), "--kill-every", str(KILL_EVERY))
    short = ("--seconds", str(scale.watch / 3), "--kill-every", str(KILL_EVERY))
    yield Case(
        row="beats",
        key="beats",
        title=f"a schedule every second, a beat killed and replaced every {KILL_EVERY} s",
        title_zh=f"每秒一次的定时任务，每 {KILL_EVERY} 秒杀掉一个 beat 并补上一个",
        durability=NORMAL,
        metrics=(
            Metric("ticks", "ticks due", "应有次数", "ticks", is_count=True),
            Metric("jobs", "jobs put", "入队任务", "jobs", is_count=True),
            Metric("least", "least for a tick", "每次最少", "least", is_count=True),
            Metric("most", "most for a tick", "每次最多", "most", is_count=True),
            Metric("gap_s", "longest gap, s", "最长间隔，秒", "s", is_count=True),
            Metric("latest_ms", "latest put, ms", "最迟入队，毫秒", "ms late", is_count=True),
            Metric("late_ms", "median lateness, ms", "迟到中位数，毫秒", "ms late", is_count=True),
            Metric("kills", "kills", "杀掉次数", "kills", is_count=True),
        ),
        headlines=6,
        contenders=(
            Contender(US, "5 beats", "beats", 0, ("--processes", "5", *time), setting_zh="5 个 beat"),
            Contender(
                "celery",
                "1 beat, replaced at once",
                "beats",
                0,
                time,
                durability=REDIS,
                setting_zh="1 个 beat，立即补上",
            ),
            Contender(
                "celery", "5 beats", "beats", 0, ("--processes", "5", *short), durability=REDIS, setting_zh="5 个 beat"
            ),
        ),
        rounds=1,
    )


def _fairness(scale: Scale) -> Iterator[Case]:
    yield Case(
        row="fairness",
        key="fairness",
        title=f"a tenant with {scale.large:,} jobs before 99 with 10 each, one worker",
        title_zh=f"一个租户的 {scale.large:,} 个任务排在 99 个租户各 10 个任务之前，1 个 worker",
        durability=NORMAL,
        metrics=(
            Metric("ran", "jobs run when the 99 are done", "99 个租户完成时已执行的任务", "jobs", is_count=True),
            Metric("seconds", "after, s", "用时，秒", "s", is_count=True),
            Metric("put_rate", "put, jobs/s", "入队，任务/秒", "jobs/s", higher_is_better=True),
        ),
        headlines=2,
        contenders=(Contender(US, "each a lane", "fairness", scale.large, setting_zh="每个租户一个 lane"),),
        rounds=1,
    )


def _pace(scale: Scale) -> Iterator[Case]:
    seconds = scale.watch / 3
    yield Case(
        row="pace",
        key="pace",
        title=f"a lane with a rate of 50/s, for {seconds:g} s",
        title_zh=f"速率为 50/s 的 lane，持续 {seconds:g} 秒",
        durability=NORMAL,
        metrics=(
            Metric("rate", "jobs/s", "任务/秒", "jobs/s"),
            Metric("least", "least in any second", "任一秒内最少", "least", is_count=True),
            Metric("most", "most in any second", "任一秒内最多", "most", is_count=True),
            Metric("burst", "most in any 20 ms", "任 20 毫秒内最多", "in 20 ms", is_count=True),
            Metric("leased_most", "most taken in any second", "任一秒内最多取出", "taken", is_count=True),
            Metric("leased_burst", "most taken in any 20 ms", "任 20 毫秒内最多取出", "taken in 20 ms", is_count=True),
            Metric("cpu_percent", "CPU of the workers, %", "worker 的 CPU，%", "% CPU"),
        ),
        headlines=6,
        contenders=(
            Contender(
                US,
                "4 worker processes",
                "pace",
                int(50 * seconds) + 500,
                ("--processes", "4", "--seconds", str(seconds)),
                setting_zh="4 个 worker 进程",
            ),
        ),
        rounds=1,
    )


def _lanes(scale: Scale) -> Iterator[Case]:
    lanes = scale.lanes
    yield Case(
        row="lanes",
        key="lanes",
        title="lease and settle through the broker",
        title_zh="经 broker 取出并完成任务",
        durability=NORMAL,
        metrics=(
            Metric("us", "200 at a time, µs/job", "每次 200 个，µs/任务", "µs"),
            Metric("cpu_us", "its CPU, µs/job", "其 CPU，µs/任务", "µs CPU"),
            Metric("single_us", "one at a time, µs/job", "每次 1 个，µs/任务", "µs"),
            Metric("single_cpu_us", "its CPU, µs/job", "其 CPU，µs/任务", "µs CPU"),
        ),
        headlines=4,
        contenders=(
            Contender(US, "10 lanes", "lane-cost", scale.jobs, template=("--lanes", "10"), setting_zh="10 个 lane"),
            Contender(
                US,
                f"{lanes:,} lanes, of which 10 are due",
                "lane-cost",
                scale.jobs,
                template=("--lanes", str(lanes)),
                setting_zh=f"{lanes:,} 个 lane，其中 10 个到期",
            ),
        ),
        rounds=7,
    )


def _before(scale: Scale) -> Iterator[Case]:
    yield Case(
        row="before",
        key="before",
        title=f"drain of {scale.jobs:,} jobs in no lane, results kept, one thread",
        title_zh=f"执行 {scale.jobs:,} 个不在 lane 中的任务，保留结果，1 个线程",
        durability=NORMAL,
        metrics=(
            Metric("rate", "jobs/s", "任务/秒", "jobs/s", higher_is_better=True),
            Metric("cpu_us", "worker CPU, µs/job", "worker CPU，µs/任务", "µs/job"),
        ),
        headlines=2,
        contenders=(
            Contender("worklist_before", "before lanes came", "drain", scale.jobs, setting_zh="引入 lane 之前"),
            Contender("worklist", "now", "drain", scale.jobs, setting_zh="现在"),
        ),
        rounds=9,
    )


def _chord(scale: Scale) -> Iterator[Case]:
    large, small = scale.many // 10, scale.many // 100
    two = ("--processes", "2")
    long, short = (*two, "--seconds", "240"), (*two, "--seconds", str(PATIENCE))
    every = ("--kill-every", "1")
    once = (*short, "--kill-every", "0.3", "--kills", "1")
    some = max(small // 5, 500)
    killed, killed_zh = "a worker killed once", "杀掉一次 worker"
    yield Case(
        row="chord",
        key="chord",
        title="a chord, two worker processes",
        title_zh="chord，2 个 worker 进程",
        durability=NORMAL,
        metrics=(
            Metric("callbacks", "callback runs", "回调执行次数", "runs", is_count=True),
            Metric("count", "results it got", "回调得到的结果", "results", is_count=True),
            Metric("rate", "jobs/s", "任务/秒", "jobs/s", higher_is_better=True),
            Metric("kills", "kills", "杀掉次数", "kills", is_count=True),
            Metric("callback_jobs", "callbacks put", "入队的回调", "callbacks put", is_count=True),
            Metric("early_mib", "worker after a tenth, MiB", "完成十分之一后的 worker，MiB", "MiB"),
            Metric("late_mib", "worker after nine tenths, MiB", "完成十分之九后的 worker，MiB", "MiB"),
            Metric("after_mib", "worker after the callback, MiB", "回调之后的 worker，MiB", "MiB"),
        ),
        headlines=4,
        contenders=(
            _of(US, f"{large:,} members", "chord", large, long, f"{large:,} 个成员"),
            _of(
                US,
                f"{large:,} members, a worker killed every second",
                "chord",
                large,
                (*long, *every),
                f"{large:,} 个成员，每秒杀掉一个 worker",
            ),
            _of("celery", f"{small:,} members", "chord", small, long, f"{small:,} 个成员", REDIS),
            _of("celery", f"{some:,}, {killed}", "chord", some, once, f"{some:,} 个成员，{killed_zh}", REDIS),
            _of(
                "celery",
                f"{some:,}, late acknowledgement, {killed}",
                "chord",
                some,
                (*once, "--late"),
                f"{some:,} 个成员，延迟确认，{killed_zh}",
                REDIS,
            ),
            _of("huey", f"{small:,} members", "chord", small, long, f"{small:,} 个成员"),
            _of("huey", f"{some:,}, {killed}", "chord", some, once, f"{some:,} 个成员，{killed_zh}"),
            _of(
                "flexiq", f"{some:,} members, held by the caller", "chord", some, long, f"{some:,} 个成员，由调用方维持"
            ),
        ),
        rounds=1,
    )


def _of(
    system: str,
    setting: str,
    command: str,
    jobs: int,
    arguments: tuple[str, ...],
    setting_zh: str,
    durability: str = "",
) -> Contender:
    return Contender(system, setting, command, jobs, arguments, durability=durability, setting_zh=setting_zh)


def _chains(scale: Scale) -> Iterator[Case]:
    many, few = scale.many // 100, max(scale.many // 1000, 100)
    names, names_zh = "{:,} chains", "{:,} 条链"
    yield Case(
        row="chains",
        key="chains",
        title="chains of 5, one worker of one thread",
        title_zh="5 步的链，1 个单线程 worker",
        durability=NORMAL,
        metrics=(
            Metric("rate", "jobs/s", "任务/秒", "jobs/s", higher_is_better=True),
            Metric(
                "share", "× its own plain jobs", "× 自身的普通任务", "× plain", higher_is_better=True, is_count=True
            ),
            Metric("plain_rate", "plain jobs/s", "普通任务/秒", "plain/s", higher_is_better=True),
            Metric("cpu_us", "worker CPU, µs/job", "worker CPU，µs/任务", "µs/job"),
        ),
        headlines=2,
        contenders=(
            _of(US, names.format(many), "chains", many, (), names_zh.format(many)),
            replace(_of("celery", names.format(few), "chains", few, (), names_zh.format(few), REDIS), rounds=1),
            _of("huey", names.format(few), "chains", few, (), names_zh.format(few)),
        ),
        rounds=3,
    )


# -- the page ---------------------------------------------------------------------------------------------------

NOTES = (
    (
        "A beat's job is counted for its tick. Celery's jobs do not know theirs, and its intervals count from its "
        "start: they are counted in the seconds of the clock. Its documentation asks for one beat."
    ),
    "Huey cannot take part with beats: its crontab has no step below a minute, and of its consumers one may schedule.",
    "Without lanes, the worker of the tenants' row would run the large one's jobs first, all of them.",
    "With a rate of 50/s a lane may start five jobs at once, to make up for a tenth of a second without a look.",
    (
        "Where workers are killed, Worklist's leases last 2 s. A callback that did not come within 20 s has not run. "
        "Celery with late acknowledgement: task_acks_late, task_reject_on_worker_lost, a visibility timeout of 2 s. "
        "As installed, what a dead worker had fetched and not begun is run by another one after an hour: too late here."
    ),
    "FlexiQ's chord is put and waited for by the process that called it, which was not killed; its chain is, too.",
    "Celery and Huey run a tenth of the chains, or a run would take minutes.",
)
NOTES_ZH = (
    (
        "beat 的任务按其应触发的时刻计数。Celery 的任务不知道这一时刻，其间隔从启动时算起，因此按时钟的秒计数。"
        "它的文档要求只运行一个 beat。"
    ),
    "Huey 无法参加 beat 一项：它的 crontab 最小粒度为一分钟，且多个 consumer 中只能有一个负责调度。",
    "没有 lane 时，worker 会先执行完大租户的全部任务。",
    "速率为 50/s 的 lane 可一次开始 5 个任务，以弥补无人查看的十分之一秒。",
    (
        "杀 worker 时，Worklist 的租约为 2 秒。20 秒内未执行的回调计为未执行。"
        "Celery 的延迟确认：task_acks_late、task_reject_on_worker_lost、visibility timeout 2 秒。"
        "默认设置下，死去的 worker 已取走而未开始的任务要一小时后才交给别的 worker，这里没有等那么久。"
    ),
    "FlexiQ 的 chord 在调用它的进程中等待成员，该进程未被杀；它的 chain 也如此。",
    "Celery 与 Huey 只执行十分之一的链，否则一轮要数分钟。",
)


def details(report: Report) -> str:
    """The whole results page."""
    lines = ["# Schedules, lanes, groups and chains", "", summary(report, table.ENGLISH), ""]
    for measured in report.cases.values():
        lines += [f"## {measured.case.title}", "", *table.detail(measured), ""]
    return "\n".join(lines)


def summary(report: Report, words: Words) -> str:
    """The table for a README."""
    return table.by_contender(report, words, NOTES_ZH if words is CHINESE else NOTES)
