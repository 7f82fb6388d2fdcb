"""The classic queues against models from the standard library, and what they say when they are empty or full."""

import collections
import doctest
import gc
import heapq
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worklist.local import structures
from worklist.local.structures import CircularQueue, Deque, LinkedQueue, PriorityQueue, Queue

steps = st.lists(st.one_of(st.tuples(st.just("put"), st.integers()), st.just(("get", 0)), st.just(("clear", 0))))
ends = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["append", "appendleft"]), st.integers()),
        st.tuples(st.sampled_from(["pop", "popleft"]), st.just(0)),
    ),
    max_size=200,
)


def test_the_examples_in_the_docstrings():
    assert doctest.testmod(structures).failed == 0
    assert doctest.testmod(structures).attempted > 20


@pytest.mark.parametrize("kind", [Queue, LinkedQueue])
@given(steps=steps)
def test_first_in_first_out(kind, steps):
    queue, model = kind(), collections.deque()
    for verb, value in steps:
        if verb == "put":
            queue.put(value)
            model.append(value)
        elif verb == "clear":
            queue.clear()
            model.clear()
        elif model:
            assert queue.peek() == model[0]
            assert queue.get() == model.popleft()
        _same(queue, model)
    assert repr(queue) == f"{kind.__name__}({list(model)!r})"


@given(steps=ends)
def test_both_ends(steps):
    queue, model = Deque(), collections.deque()
    for verb, value in steps:
        if verb.startswith("append"):
            getattr(queue, verb)(value)
            getattr(model, verb)(value)
        elif model:
            assert (queue.peekleft(), queue.peek()) == (model[0], model[-1])
            assert getattr(queue, verb)() == getattr(model, verb)()
        _same(queue, model)


@given(capacity=st.integers(1, 9), values=st.lists(st.integers()))
def test_a_ring_that_overwrites_holds_the_last_ones(capacity, values):
    ring = CircularQueue(capacity, values, overwrite=True)
    _same(ring, collections.deque(values, maxlen=capacity))
    assert ring.full == (len(values) >= capacity)


@given(capacity=st.integers(1, 5), steps=steps)
def test_a_ring_refuses_what_finds_no_room(capacity, steps):
    ring, model = CircularQueue(capacity), collections.deque()
    for verb, value in steps:
        if verb == "put" and len(model) == capacity:
            with pytest.raises(IndexError, match=f"it holds {capacity} of {capacity} items"):
                ring.put(value)
        elif verb == "put":
            ring.put(value)
            model.append(value)
        elif verb == "get" and model:
            assert ring.get() == model.popleft()
        _same(ring, model)


@given(steps=st.lists(st.one_of(st.none(), st.integers(-3, 3))))
def test_the_highest_priority_first_and_equals_in_turn(steps):
    queue, model = PriorityQueue(), []
    for number, priority in enumerate(steps):
        if priority is not None:
            queue.put(number, priority)
            heapq.heappush(model, (-priority, number))
        elif model:
            assert queue.peek() == model[0][1]
            assert queue.get() == heapq.heappop(model)[1]
    assert list(queue) == [number for _, number in sorted(model)]
    assert len(queue) == len(model)


def test_priorities_go_with_items_that_cannot_be_compared():
    queue = PriorityQueue([({}, 1), (object, 1), ({}, 2)])
    assert [queue.get(), queue.get(), queue.get()] == [{}, {}, object]
    assert repr(PriorityQueue([("a", 1), ("b", 2)])) == "PriorityQueue([('b', 2), ('a', 1)])"


def test_a_queue_lets_go_of_what_was_taken():
    class Thing:
        pass

    for queue in (Queue(), LinkedQueue(), Deque(), CircularQueue(4)):
        thing = Thing()
        gone = weakref.ref(thing)
        add, take = ("append", "pop") if isinstance(queue, Deque) else ("put", "get")
        getattr(queue, add)(thing)
        getattr(queue, take)()
        del thing
        gc.collect()
        assert gone() is None, type(queue).__name__


TAKING = [
    (Queue, ["get", "peek"]),
    (LinkedQueue, ["get", "peek"]),
    (PriorityQueue, ["get", "peek"]),
    (Deque, ["pop", "popleft", "peek", "peekleft"]),
    (lambda: CircularQueue(1), ["get", "peek"]),
]


@pytest.mark.parametrize(("make", "verbs"), TAKING)
def test_an_empty_queue_says_so(make, verbs):
    for verb in verbs:
        queue = make()
        with pytest.raises(IndexError, match=f"the {type(queue).__name__} is empty: there is nothing to (get|look at)"):
            getattr(queue, verb)()
        assert not queue


def test_what_cannot_be_is_refused():
    with pytest.raises(ValueError, match="capacity of a CircularQueue is 0; expected 1 or more"):
        CircularQueue(0)
    with pytest.raises(IndexError, match="it holds 2 of 2 items"):
        CircularQueue(2, "abc")
    with pytest.raises(ValueError, match="priority is nan"):
        PriorityQueue().put("x", float("nan"))


def _same(queue, model):
    assert list(queue) == list(model)
    assert len(queue) == len(model)
    assert bool(queue) == bool(model)
