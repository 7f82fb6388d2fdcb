"""Breadth-first search spread over workers: each node once, within its bounds, with a known end."""

import itertools
from collections.abc import Iterator

import pytest

from worklist import ArgumentError, ConfigError, ResultTimeout, Worklist
from worklist.local.search import bfs


@pytest.fixture(params=["memory", "file"])
def app(request: pytest.FixtureRequest, tmp_path) -> Iterator[Worklist]:
    app = Worklist("memory://" if request.param == "memory" else f"sqlite:///{tmp_path}/jobs.db")
    yield app
    app.close()


def halves(n: int) -> list[int]:
    """A graph with many ways to each node."""
    return [m for m in (2 * n, 2 * n + 1, n // 2, n + 3) if 0 < m < 400]


def work(app: Worklist, threads: int = 1) -> None:
    app.work(until_empty=True, threads=threads)


def test_every_node_is_visited_once(app):
    near = app.task(halves)
    search = app.traverse(1, near)
    work(app, threads=4)
    visits = list(search.visits(timeout=10))
    expected = {visit.node for visit in bfs(1, halves)}
    assert sorted(visit.node for visit in visits) == sorted(expected)
    assert all(visit.neighbours == halves(visit.node) for visit in visits)
    record = search.wait(timeout=10)
    assert (record.total, record.succeeded) == (len(expected), len(expected))


def test_one_worker_with_one_thread_finds_the_shortest_ways(app):
    search = app.traverse(1, app.task(halves))
    work(app)
    depths = {visit.node: visit.depth for visit in bfs(1, halves)}
    for visit in search.visits(timeout=10):
        if visit.parent is not None:
            assert visit.node in halves(visit.parent)
            assert visit.depth == depths[visit.node]


def test_nodes_beyond_the_depth_are_not_visited(app):
    search = app.traverse(1, app.task(halves), max_depth=2)
    work(app)
    assert {v.node for v in search.visits(timeout=10)} == {v.node for v in bfs(1, halves, max_depth=2)}


@pytest.mark.parametrize("most", [1, 7, 50])
def test_no_more_nodes_are_visited_than_allowed(app, most):
    search = app.traverse(1, app.task(halves), max_nodes=most)
    work(app, threads=4)
    assert len(list(search.visits(timeout=10))) == most
    assert search.record().total == most


def test_a_task_that_gives_neighbours_for_ever_is_held_by_the_bound(app):
    @app.task
    def counting(n: int):
        return itertools.count(n)

    search = app.traverse(0, counting, max_nodes=25)
    work(app)
    assert sorted(visit.node for visit in search.visits(timeout=10)) == list(range(25))


def test_several_nodes_to_begin_with(app):
    @app.task
    def none(n: int) -> list[int]:
        return []

    search = app.traverse([3, 1, 3], none)
    work(app)
    assert sorted(visit.node for visit in search.visits(timeout=10)) == [1, 3]


def test_async_tasks_search_too(app):
    @app.task
    async def near(n: int) -> list[int]:
        return halves(n)

    search = app.traverse(1, near)
    work(app)
    assert search.wait(timeout=10).succeeded == len(list(bfs(1, halves)))


def test_nodes_may_be_any_plain_data(app):
    @app.task
    def beside(place: tuple[int, int]) -> list[tuple[int, int]]:
        x, y = place
        return [(a, b) for a, b in ((x + 1, y), (x, y + 1)) if a < 3 and b < 3]

    search = app.traverse((0, 0), beside)
    work(app)
    assert len(list(search.visits(timeout=10))) == 9


def test_a_node_whose_task_fails_does_not_stop_the_search(app):
    @app.task
    def near(n: int) -> list[int]:
        if n == 2:
            raise OSError("no such page")
        return halves(n)

    search = app.traverse(1, near)
    work(app)
    record = search.wait(timeout=10)
    assert (record.failed, record.ended is not None) == (1, True)
    (failed,) = [visit for visit in search.visits(timeout=10) if visit.neighbours is None]
    assert failed.node == 2


def test_two_searches_do_not_know_each_others_nodes(app):
    near = app.task(halves)
    first, second = app.traverse(1, near, max_depth=2), app.traverse(1, near, max_depth=2)
    work(app)
    assert len(list(first.visits(timeout=10))) == len(list(second.visits(timeout=10))) > 1


def test_signed_jobs_search_too(tmp_path):
    with Worklist(f"sqlite:///{tmp_path}/jobs.db", secret="long and random") as app:
        search = app.traverse(1, app.task(halves), max_depth=1)
        work(app)
        assert {visit.depth for visit in search.visits(timeout=10)} == {0, 1}


def test_what_is_no_list_of_nodes_fails_with_a_sentence(app):
    @app.task
    def none(n: int):
        return None

    search = app.traverse(1, none)
    work(app)
    (job,) = search.as_completed(timeout=10)
    assert "a search expects an iterable of nodes" in job.record().errors[-1].message


def test_bad_input(app):
    near = app.task(halves)
    with pytest.raises(ArgumentError, match="argument 'n': expected `int`"):
        app.traverse("one", near)
    with pytest.raises(ConfigError, match="max_depth is -1; expected a whole number from 0"):
        app.traverse(1, near, max_depth=-1)
    with pytest.raises(ConfigError, match="max_nodes is 1.5"):
        app.traverse(1, near, max_nodes=1.5)
    search = app.traverse(1, near)
    with pytest.raises(ResultTimeout, match="has 0 of 1 done"):
        search.wait(timeout=0)
