"""Breadth-first search: against distances found another way, lazily, and within its bounds."""

import doctest
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worklist import bfs, levels, shortest_path
from worklist.local import search

graphs = st.integers(1, 12).flatmap(
    lambda n: st.lists(st.lists(st.integers(0, n - 1), max_size=5), min_size=n, max_size=n)
)


def test_the_examples_in_the_docstrings():
    assert doctest.testmod(search).failed == 0
    assert doctest.testmod(search).attempted > 5


def distances(graph):
    """Distances from node 0 by relaxing every edge until nothing changes (Bellman-Ford)."""
    far = {0: 0}
    for _ in graph:
        for node, others in enumerate(graph):
            for other in others:
                if node in far:
                    far[other] = min(far.get(other, len(graph)), far[node] + 1)
    return far


@given(graph=graphs)
def test_each_node_once_at_its_least_distance(graph):
    visits = list(bfs(0, graph.__getitem__))
    assert {visit.node: visit.depth for visit in visits} == distances(graph)
    assert len({visit.node for visit in visits}) == len(visits)
    assert [visit.depth for visit in visits] == sorted(visit.depth for visit in visits)
    depth = {visit.node: visit.depth for visit in visits}
    for node, far, parent in visits[1:]:
        assert node in graph[parent]
        assert depth[parent] == far - 1


@given(graph=graphs, goal=st.integers(0, 12))
def test_a_path_has_the_fewest_steps(graph, goal):
    path, far = shortest_path(0, goal, graph.__getitem__), distances(graph)
    if goal not in far:
        assert path is None
        return
    assert path is not None
    assert (path[0], path[-1], len(path) - 1) == (0, goal, far[goal])
    assert all(after in graph[before] for before, after in itertools.pairwise(path))


@given(graph=graphs, max_depth=st.integers(0, 4), max_nodes=st.integers(0, 12))
def test_bounds_cut_the_same_search_off(graph, max_depth, max_nodes):
    whole = list(bfs(0, graph.__getitem__))
    shallow = [visit for visit in whole if visit.depth <= max_depth]
    assert list(bfs(0, graph.__getitem__, max_depth=max_depth)) == shallow
    tidy = [list(dict.fromkeys(others)) for others in graph]  # a bound counts what a node repeats, too
    assert list(bfs(0, tidy.__getitem__, max_nodes=max_nodes)) == whole[:max_nodes]
    assert list(bfs(0, tidy.__getitem__, max_depth=max_depth, max_nodes=max_nodes)) == shallow[:max_nodes]


@given(graph=graphs)
def test_levels_hold_the_nodes_by_distance(graph):
    far = distances(graph)
    found = list(levels(0, graph.__getitem__))
    assert [set(level) for level in found] == [
        {node for node in far if far[node] == depth} for depth in range(max(far.values()) + 1)
    ]


def test_it_asks_for_no_more_than_is_taken():
    asked = []

    def neighbours(n):
        asked.append(n)
        return [2 * n, 2 * n + 1]

    visits = bfs(1, neighbours)
    assert asked == []
    assert next(visits).node == 1
    assert asked == []
    assert [next(visits).node, next(visits).node] == [2, 3]
    assert asked == [1]


def test_nodes_at_the_greatest_depth_are_not_asked():
    asked = []
    assert [node for node, _, _ in bfs(0, lambda n: asked.append(n) or [n + 1], max_depth=2)] == [0, 1, 2]
    assert asked == [0, 1]


ENDLESS = [
    ("new nodes", itertools.count),
    ("the same node", lambda _: itertools.repeat("again")),
    ("the start", itertools.repeat),
    ("two in turns", lambda _: itertools.cycle("ab")),
]


@pytest.mark.parametrize(("what", "neighbours"), ENDLESS)
def test_a_function_that_yields_for_ever_is_held(what, neighbours):
    found = [visit.node for visit in bfs(0, neighbours, max_nodes=100)]
    assert 1 <= len(found) <= 100
    assert len(found) == 100 or what != "new nodes"
    assert shortest_path(0, "nowhere", neighbours, max_nodes=100) is None


def test_the_start_may_be_the_goal_and_none_may_be_a_node():
    assert shortest_path("a", "a", lambda _: []) == ["a"]
    ring = {"a": [None], None: ["b"], "b": ["a"]}
    assert shortest_path("a", "b", ring.__getitem__) == ["a", None, "b"]
    assert shortest_path(None, "a", ring.__getitem__) == [None, "b", "a"]


def test_an_equal_goal_is_reached():
    assert shortest_path(1, 3.0, lambda n: [n + 1]) == [1, 2, 3]


def test_folders_are_a_tree(tmp_path):
    for name in ("a/b/c", "a/d", "e"):
        (tmp_path / name).mkdir(parents=True)
    found = [[path.name for path in level] for level in levels(tmp_path, lambda path: sorted(path.iterdir()))]
    assert found == [[tmp_path.name], ["a", "e"], ["b", "d"], ["c"]]


def test_bounds_that_make_no_sense_are_refused_before_the_search():
    for bounds in ({"max_depth": -1}, {"max_nodes": -5}):
        ((name, value),) = bounds.items()
        for call in (bfs, levels):
            with pytest.raises(ValueError, match=f"{name} is {value}; expected 0 or more"):
                call(0, lambda _: [], **bounds)
        with pytest.raises(ValueError, match=f"{name} is {value}"):
            shortest_path(0, 1, lambda _: [], **bounds)


@pytest.mark.parametrize("bounds", [{}, {"max_nodes": 9}])
def test_a_function_that_forgot_to_return_is_named(bounds):
    with pytest.raises(TypeError, match=r"neighbours\('a'\) returned None; expected an iterable of nodes"):
        list(bfs("a", lambda _: None, **bounds))


def test_errors_of_the_neighbours_are_its_own():
    def broken(_):
        yield 1
        raise TypeError("mine")

    with pytest.raises(TypeError, match="^mine$"):
        list(bfs(0, broken))
