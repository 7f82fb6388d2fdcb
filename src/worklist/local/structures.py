"""The classic queues, each as an array or a linked list, to read, to teach from and to build on.

Every class holds one idea in a page of Python, with what each operation costs. It knows nothing of jobs, threads
or processes; where the standard library's own is the better choice for daily use, the docstring says so.
"""

import heapq
from collections.abc import Iterable, Iterator
from typing import Generic, NoReturn, TypeVar

T = TypeVar("T")
SMALLEST = 8
"""Slots of a ring that has just been made."""


class _Ring(Generic[T]):
    """An array whose end is joined to its beginning: `size` items from `head` on, the other slots are None."""

    __slots__ = ("_head", "_size", "_slots")

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._slots: list[T | None] = [None] * SMALLEST
        self._head = 0
        self._size = 0
        for item in items:
            self._add_last(item)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[T]:
        """Yield the items from the first to the last, and take none."""
        for place in range(self._size):
            yield self._slots[(self._head + place) % len(self._slots)]  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)!r})"

    def clear(self) -> None:
        """Remove all items. O(n)."""
        self._slots = [None] * len(self._slots)
        self._head = self._size = 0

    def _first(self, doing: str) -> T:
        if not self._size:
            _refuse_empty(self, doing)
        return self._slots[self._head]  # type: ignore[return-value]

    def _last(self, doing: str) -> T:
        if not self._size:
            _refuse_empty(self, doing)
        return self._slots[(self._head + self._size - 1) % len(self._slots)]  # type: ignore[return-value]

    def _add_last(self, item: T) -> None:
        if self._size == len(self._slots):
            self._grow()
        self._slots[(self._head + self._size) % len(self._slots)] = item
        self._size += 1

    def _take_first(self) -> T:
        item = self._first("get")
        self._slots[self._head] = None  # or the ring would keep the item alive
        self._head = (self._head + 1) % len(self._slots)
        self._size -= 1
        return item

    def _grow(self) -> None:
        """Move to twice the room. Each item is moved twice at most on average, so adding stays O(1) amortised."""
        self._slots = [*self, *([None] * self._size)]
        self._head = 0


class Queue(_Ring[T]):
    """First in, first out, on an array that grows.

    `put`, `get` and `peek` cost O(1) (`put` amortised: the array is doubled when it is full); memory is one slot
    for each item of the longest the queue has been.

    For daily use take `collections.deque` (the same costs, written in C, about ten times as fast), or
    `queue.SimpleQueue` between threads.

    >>> line = Queue(["Ada", "Bob"])
    >>> line.put("Cleo")
    >>> line.get(), line.peek(), len(line)
    ('Ada', 'Bob', 2)
    >>> line
    Queue(['Bob', 'Cleo'])
    >>> Queue().get()
    Traceback (most recent call last):
    IndexError: the Queue is empty: there is nothing to get
    """

    __slots__ = ()

    def put(self, item: T) -> None:
        """Add an item at the end. O(1) amortised."""
        self._add_last(item)

    def get(self) -> T:
        """Take the first item. O(1). Raises IndexError where there is none."""
        return self._take_first()

    def peek(self) -> T:
        """Return the first item and leave it. O(1). Raises IndexError where there is none."""
        return self._first("look at")


class CircularQueue(_Ring[T]):
    """First in, first out, in a fixed number of slots: the ring buffer.

    All operations cost O(1), never more, and memory is fixed when it is made: for devices, for audio, for the last
    so many lines of a log. With ``overwrite=True`` an item that finds no room pushes out the oldest one.

    For daily use `collections.deque(maxlen=...)` is the overwriting form, and `queue.Queue(maxsize=...)` waits for
    room between threads.

    >>> slots = CircularQueue(2, ["a", "b"])
    >>> slots.full
    True
    >>> slots.put("c")
    Traceback (most recent call last):
    IndexError: the CircularQueue is full: it holds 2 of 2 items; get one first, or make it with overwrite=True
    >>> slots.get()
    'a'
    >>> slots.put("c")
    >>> slots
    CircularQueue(2, ['b', 'c'])
    >>> list(CircularQueue(3, range(10), overwrite=True))
    [7, 8, 9]
    """

    __slots__ = ("_overwrite",)

    def __init__(self, capacity: int, items: Iterable[T] = (), *, overwrite: bool = False) -> None:
        """Make room for `capacity` items. Raises ValueError where that is less than one, IndexError for too many."""
        if capacity < 1:
            raise ValueError(f"the capacity of a CircularQueue is {capacity}; expected 1 or more")
        super().__init__()
        self._slots = [None] * capacity
        self._overwrite = overwrite
        for item in items:
            self.put(item)

    @property
    def capacity(self) -> int:
        """How many items it has room for."""
        return len(self._slots)

    @property
    def full(self) -> bool:
        """Whether every slot is taken."""
        return self._size == len(self._slots)

    def put(self, item: T) -> None:
        """Add an item at the end. O(1). Raises IndexError where it is full and does not overwrite."""
        if self.full:
            if not self._overwrite:
                raise IndexError(
                    f"the CircularQueue is full: it holds {self._size} of {self.capacity} items; "
                    "get one first, or make it with overwrite=True"
                )
            self._take_first()
        self._add_last(item)

    def get(self) -> T:
        """Take the first item. O(1). Raises IndexError where there is none."""
        return self._take_first()

    def peek(self) -> T:
        """Return the first item and leave it. O(1). Raises IndexError where there is none."""
        return self._first("look at")

    def __repr__(self) -> str:
        return f"CircularQueue({self.capacity}, {list(self)!r})"


class Deque(_Ring[T]):
    """A double-ended queue, on an array that grows at both ends.

    All operations cost O(1) (`append` and `appendleft` amortised). They are named as in `collections.deque`, which
    is the better choice for daily use: change the import.

    >>> ends = Deque("bc")
    >>> ends.appendleft("a")
    >>> ends.append("d")
    >>> ends.peekleft(), ends.peek()
    ('a', 'd')
    >>> ends.popleft(), ends.pop()
    ('a', 'd')
    >>> ends
    Deque(['b', 'c'])
    """

    __slots__ = ()

    def append(self, item: T) -> None:
        """Add an item at the right end. O(1) amortised."""
        self._add_last(item)

    def appendleft(self, item: T) -> None:
        """Add an item at the left end. O(1) amortised."""
        if self._size == len(self._slots):
            self._grow()
        self._head = (self._head - 1) % len(self._slots)
        self._slots[self._head] = item
        self._size += 1

    def pop(self) -> T:
        """Take the item at the right end. O(1). Raises IndexError where there is none."""
        item = self._last("get")
        self._size -= 1
        self._slots[(self._head + self._size) % len(self._slots)] = None
        return item

    def popleft(self) -> T:
        """Take the item at the left end. O(1). Raises IndexError where there is none."""
        return self._take_first()

    def peek(self) -> T:
        """Return the item at the right end and leave it. O(1). Raises IndexError where there is none."""
        return self._last("look at")

    def peekleft(self) -> T:
        """Return the item at the left end and leave it. O(1). Raises IndexError where there is none."""
        return self._first("look at")


class _Node(Generic[T]):
    """One link of a chain."""

    __slots__ = ("item", "next")

    def __init__(self, item: T) -> None:
        self.item = item
        self.next: _Node[T] | None = None


class LinkedQueue(Generic[T]):
    """First in, first out, as a chain of nodes, each of which knows the next.

    `put`, `get` and `peek` cost O(1), never more: nothing is ever moved. Memory is one node for each item that is
    in the queue now, given back as items are taken. That is 48 bytes an
    item; the array form, `Queue`, needs 8 to 16.

    For daily use take `collections.deque`, which is a chain of arrays: both advantages.

    >>> line = LinkedQueue(["Ada", "Bob"])
    >>> line.put("Cleo")
    >>> line.get(), line.peek(), len(line)
    ('Ada', 'Bob', 2)
    >>> line
    LinkedQueue(['Bob', 'Cleo'])
    """

    __slots__ = ("_first", "_last", "_size")

    def __init__(self, items: Iterable[T] = ()) -> None:
        self._first: _Node[T] | None = None
        self._last: _Node[T] | None = None
        self._size = 0
        for item in items:
            self.put(item)

    def put(self, item: T) -> None:
        """Add an item at the end. O(1)."""
        node = _Node(item)
        if self._last is None:
            self._first = node
        else:
            self._last.next = node
        self._last = node
        self._size += 1

    def get(self) -> T:
        """Take the first item. O(1). Raises IndexError where there is none."""
        node = self._first
        if node is None:
            _refuse_empty(self, "get")
        self._first = node.next
        if node.next is None:
            self._last = None
        self._size -= 1
        return node.item

    def peek(self) -> T:
        """Return the first item and leave it. O(1). Raises IndexError where there is none."""
        if self._first is None:
            _refuse_empty(self, "look at")
        return self._first.item

    def clear(self) -> None:
        """Remove all items. O(1), and O(n) for the interpreter to free them."""
        self._first = self._last = None
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[T]:
        """Yield the items from the first to the last, and take none."""
        node = self._first
        while node is not None:
            yield node.item
            node = node.next

    def __repr__(self) -> str:
        return f"LinkedQueue({list(self)!r})"


class PriorityQueue(Generic[T]):
    """The highest priority first; among equals first in, first out (it is *stable*). As the jobs of a queue are.

    A binary heap in an array: the item at place n is served before those at 2n+1 and 2n+2. `put` and `get` cost
    O(log n), `peek` O(1), iterating in order O(n log n). Items are never compared, so they may be anything.
    Source: J. W. J. Williams, Algorithm 232: Heapsort, Communications of the ACM 7 (1964).

    For daily use `heapq` on a list of your own is faster, and `queue.PriorityQueue` is for threads; with both the
    lowest comes first, and equals need a counter beside them.

    >>> ward = PriorityQueue()
    >>> ward.put("cold")
    >>> ward.put("heart", priority=9)
    >>> ward.put("flu")
    >>> ward.peek(), len(ward)
    ('heart', 3)
    >>> [ward.get() for _ in range(3)]
    ['heart', 'cold', 'flu']
    """

    __slots__ = ("_heap", "_number")

    def __init__(self, items: Iterable[tuple[T, float]] = ()) -> None:
        """Make a queue of (item, priority) pairs. O(n log n)."""
        self._heap: list[tuple[float, int, T]] = []
        self._number = 0
        for item, priority in items:
            self.put(item, priority)

    def put(self, item: T, priority: float = 0) -> None:
        """Add an item; higher priorities are served first. O(log n). Raises ValueError for what is not a number."""
        if priority != priority:  # noqa: PLR0124 - nan, which would break the order of the heap
            raise ValueError("the priority is nan; expected a number, the higher the sooner")
        heapq.heappush(self._heap, (-priority, self._number, item))
        self._number += 1

    def get(self) -> T:
        """Take the item that is served next. O(log n). Raises IndexError where there is none."""
        if not self._heap:
            _refuse_empty(self, "get")
        return heapq.heappop(self._heap)[2]

    def peek(self) -> T:
        """Return the item that is served next and leave it. O(1). Raises IndexError where there is none."""
        if not self._heap:
            _refuse_empty(self, "look at")
        return self._heap[0][2]

    def clear(self) -> None:
        """Remove all items. O(n)."""
        self._heap.clear()

    def __len__(self) -> int:
        return len(self._heap)

    def __iter__(self) -> Iterator[T]:
        """Yield the items in the order in which they would be served, and take none."""
        for _, _, item in sorted(self._heap, key=lambda entry: entry[:2]):
            yield item

    def __repr__(self) -> str:
        ordered = sorted(self._heap, key=lambda entry: entry[:2])
        return f"PriorityQueue({[(item, -rank) for rank, _, item in ordered]!r})"


def _refuse_empty(queue: object, doing: str) -> NoReturn:
    raise IndexError(f"the {type(queue).__name__} is empty: there is nothing to {doing}")
