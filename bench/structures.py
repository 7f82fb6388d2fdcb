"""Searches and simulations beside networkx, simpy and loops by hand: part of the suite `local`."""

from bench.rows import Case, Contender, Metric, Scale

ROWS = ("search", "plan")
PEERS = ("networkx", "simpy")
METRICS = (
    Metric("seconds", "seconds", "秒", "s"),
    Metric("cpu_seconds", "CPU seconds", "CPU 秒", "s"),
    Metric("peak_mib", "peak memory, MiB", "内存峰值，MiB", "MiB"),
)


def cases(scale: Scale) -> list[Case]:
    """Both comparisons, of a million at full scale."""
    nodes = jobs = scale.jobs * 50
    return [
        Case(
            row="search",
            key="structures-search",
            title=f"breadth-first search of a grid of {nodes:,} nodes",
            title_zh=f"广度优先搜索 {nodes:,} 个节点的网格",
            durability="in memory",
            metrics=METRICS,
            headlines=2,
            rounds=3,
            contenders=(
                Contender("structures", "bfs", "search", nodes),
                Contender("hand", "a loop that makes a list of nodes", "search-order", nodes, setting_zh="只列节点"),
                Contender("hand", "a generator with depth and parent", "search", nodes, setting_zh="含深度与父节点"),
                Contender("networkx", "bfs_edges", "search", nodes),
            ),
        ),
        Case(
            row="plan",
            key="structures-plan",
            title=f"a queue of {jobs:,} arrivals at 50 workers",
            title_zh=f"50 个 worker，{jobs:,} 次到达的队列",
            durability="in memory",
            metrics=METRICS,
            headlines=2,
            rounds=3,
            contenders=(
                Contender("structures", "waits", "queue", jobs),
                Contender("structures", "simulate, with intervals", "plan", jobs, setting_zh="simulate，含置信区间"),
                Contender("hand", "a heap in a loop", "queue", jobs, setting_zh="循环加堆"),
                Contender(
                    "simpy",
                    "a resource, a process for each job",
                    "queue",
                    jobs,
                    setting_zh="resource 与 process",
                ),
            ),
        ),
    ]
