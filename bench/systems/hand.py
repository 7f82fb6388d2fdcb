"""The tightest loops that one would write by hand for the same. Standard library only."""

import heapq
import random
from collections import deque
from collections.abc import Callable, Iterator

from bench.systems.graph import GAP, SERVICE, WORKERS, grid, run


def search_order(nodes: int) -> Callable[[], float]:
    """The nodes alone, in one list; no depths, no parents, nothing yielded."""
    neighbours = grid(nodes).__getitem__

    def measured() -> float:
        seen = {0}
        todo = [0]
        for node in todo:
            for other in neighbours(node):
                if other not in seen:
                    seen.add(other)
                    todo.append(other)
        return len(todo)

    return measured


def search(nodes: int) -> Callable[[], float]:
    """A generator of the same: node, depth and parent."""
    neighbours = grid(nodes).__getitem__

    def visits() -> Iterator[tuple[int, int, int | None]]:
        seen = {0}
        todo: deque[tuple[int, int, int | None]] = deque([(0, 0, None)])
        while todo:
            visit = todo.popleft()
            yield visit
            node, depth, _ = visit
            for other in neighbours(node):
                if other not in seen:
                    seen.add(other)
                    todo.append((other, depth + 1, node))

    def measured() -> float:
        found = 0
        for _ in visits():
            found += 1
        return found

    return measured


def queue(jobs: int) -> Callable[[], float]:
    """A heap of the moments at which workers come free."""

    def measured() -> float:
        expovariate, replace = random.Random(1).expovariate, heapq.heapreplace
        free_at, now, waited = [0.0] * WORKERS, 0.0, 0.0
        for _ in range(jobs):
            now += expovariate(1 / GAP)
            free = free_at[0]
            if free > now:
                waited += free - now
                replace(free_at, free + expovariate(1 / SERVICE))
            else:
                replace(free_at, now + expovariate(1 / SERVICE))
        return waited / jobs

    return measured


if __name__ == "__main__":
    run({"search-order": search_order, "search": search, "queue": queue})
