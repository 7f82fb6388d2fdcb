"""Breadth-first search: a list of nodes still to visit, where visiting one may add more.

A graph or a tree is a function from a node to its neighbours; nothing has to be built before it is searched, and it
may have no end. It knows nothing of jobs; the same loop over machines is a task that puts followers.
"""

import itertools
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Generic, NamedTuple, TypeVar

N = TypeVar("N", bound=Hashable)
Neighbours = Callable[[N], Iterable[N]]
"""Which nodes can be reached from this one in one step."""


class Visit(NamedTuple, Generic[N]):
    """A node that the search has come to: how many steps from the start, and from which node."""

    node: N
    depth: int
    parent: N | None


def bfs(
    start: N, neighbours: Neighbours[N], *, max_depth: int | None = None, max_nodes: int | None = None
) -> Iterator[Visit[N]]:
    """Yield every node that can be reached from `start`, the nearest first, each once, as (node, depth, parent).

    It is lazy: a node is yielded when it is found, before the next one is asked for, so a caller may stop at any
    time. Nodes at `max_depth` steps are yielded and not asked for their neighbours. `max_nodes` ends the search
    after so many nodes, and no more than that many neighbours of one node are looked at, so that a function that
    yields for ever is held by it.

    O(nodes + edges) time, O(nodes) memory. Raises ValueError for bounds that are negative, TypeError where
    `neighbours` returns None. Source: E. F. Moore, The shortest path through a maze (1959).

    >>> tree = {"a": "bc", "b": "d", "c": "d", "d": ""}
    >>> [tuple(visit) for visit in bfs("a", tree.__getitem__)]
    [('a', 0, None), ('b', 1, 'a'), ('c', 1, 'a'), ('d', 2, 'b')]
    >>> [visit.node for visit in bfs(1, lambda n: (2 * n, 2 * n + 1), max_nodes=5)]
    [1, 2, 3, 4, 5]
    """
    _refuse_negative(max_depth=max_depth, max_nodes=max_nodes)
    if max_nodes is None:
        return _visit(start, neighbours, max_depth)
    return itertools.islice(_visit(start, _at_most(max_nodes, neighbours), max_depth), max_nodes)


def _visit(start: N, neighbours: Neighbours[N], max_depth: int | None) -> Iterator[Visit[N]]:
    # A search of a million nodes spends its time in the inner loop: tuple.__new__ makes a Visit in half the time that
    # Visit(...) takes, a list for each level is read faster than a queue of nodes that carry their depths, and who
    # bounds the number of nodes does so from outside.
    make, kind = tuple.__new__, Visit
    seen = {start}
    level = [start]
    yield Visit(start, 0, None)
    depth = 0
    while level and depth != max_depth:
        depth += 1
        following: list[N] = []
        for parent in level:
            found = neighbours(parent)
            if found is None:
                raise TypeError(f"neighbours({parent!r}) returned None; expected an iterable of nodes")
            for node in found:
                if node not in seen:
                    seen.add(node)
                    following.append(node)
                    yield make(kind, (node, depth, parent))
        level = following


def _at_most(number: int, neighbours: Neighbours[N]) -> Neighbours[N]:
    """Return a function whose iterables end; where these do not repeat themselves, none of the nodes is left out."""

    def some(node: N) -> Iterable[N]:
        found = neighbours(node)
        return found if found is None else itertools.islice(found, number)

    return some


def shortest_path(
    start: N,
    goal: N,
    neighbours: Neighbours[N],
    *,
    max_depth: int | None = None,
    max_nodes: int | None = None,
) -> list[N] | None:
    """Return a path with the fewest steps from `start` to `goal`, both included; None where none was found.

    Time, memory, bounds and errors are those of `bfs`; it stops as soon as it comes to the goal.

    >>> tree = {"a": "bc", "b": "d", "c": "d", "d": ""}
    >>> shortest_path("a", "d", tree.__getitem__)
    ['a', 'b', 'd']
    >>> shortest_path("d", "a", tree.__getitem__) is None
    True
    """
    parents: dict[N, N] = {}
    for node, _, parent in bfs(start, neighbours, max_depth=max_depth, max_nodes=max_nodes):
        parents[node] = parent  # type: ignore[assignment] # only the start has none, and it is not looked up
        if node == goal:
            return _back(node, start, parents)
    return None


def _back(node: N, start: N, parents: dict[N, N]) -> list[N]:
    path = [node]
    while path[-1] is not start:
        path.append(parents[path[-1]])
    return path[::-1]


def levels(
    start: N, neighbours: Neighbours[N], *, max_depth: int | None = None, max_nodes: int | None = None
) -> Iterator[list[N]]:
    """Yield the nodes in lists: the start alone, then all that are one step away, then two, and so on.

    Of a tree, its level-order traversal. Time, memory, bounds and errors are those of `bfs`.

    >>> tree = {"a": "bc", "b": "d", "c": "e", "d": "", "e": ""}
    >>> list(levels("a", tree.__getitem__))
    [['a'], ['b', 'c'], ['d', 'e']]
    """
    visits = bfs(start, neighbours, max_depth=max_depth, max_nodes=max_nodes)
    return ([visit.node for visit in level] for _, level in itertools.groupby(visits, key=lambda visit: visit.depth))


def _refuse_negative(**bounds: int | None) -> None:
    for name, bound in bounds.items():
        if bound is not None and bound < 0:
            raise ValueError(f"{name} is {bound}; expected 0 or more, or None for no bound")
