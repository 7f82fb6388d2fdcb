"""networkx: breadth-first search over its own graph."""

from collections.abc import Callable

import networkx as nx

from bench.systems.graph import grid, run


def search(nodes: int) -> Callable[[], float]:
    graph = nx.Graph(grid(nodes))

    def measured() -> float:
        found = 1
        for _ in nx.bfs_edges(graph, 0):
            found += 1
        return found

    return measured


if __name__ == "__main__":
    run({"search": search})
