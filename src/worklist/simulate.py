"""Little worlds that are queues: recent calls, a rate, hot potato, palindromes, the printer of a laboratory.

Pure: time and chance are arguments, so each answer can be checked by hand or against a formula. It knows the classic
structures and nothing else of the project; `capacity` is the printer grown up.
"""

import random
import unicodedata
from collections.abc import Hashable, Iterable, Iterator
from typing import NamedTuple, TypeVar

from .local.structures import CircularQueue, Deque, Queue

N = TypeVar("N", bound=Hashable)


class RecentCalls:
    """How many calls there were within the last `window` milliseconds, this one included.

    A call costs O(1) amortised: it enters the queue once and leaves it once. Memory is one number for each call in
    the window; where that may be many, `RateMeter` needs a fixed number of slots.

    >>> calls = RecentCalls()
    >>> [calls.ping(t) for t in (1, 100, 3001, 3002)]
    [1, 2, 3, 3]
    """

    def __init__(self, window: float = 3000) -> None:
        """Look back `window` milliseconds. Raises ValueError where that is negative."""
        if window < 0:
            raise ValueError(f"the window is {window:g} ms; it cannot be negative")
        self.window = window
        self._times: Queue[float] = Queue()
        self._latest = float("-inf")

    def ping(self, t: float) -> int:
        """Note a call at `t` milliseconds; return how many lie in [t - window, t].

        Raises ValueError where time goes back.
        """
        if not t >= self._latest:
            raise ValueError(f"a call at {t:g} ms came after one at {self._latest:g} ms; times must not fall")
        self._latest = t
        self._times.put(t)
        while self._times.peek() < t - self.window:
            self._times.get()
        return len(self._times)


class RateMeter:
    """How many things happen in a second, over a window that slides: for whatever runs for weeks.

    The window is cut into `slots`, each a number of hits; the oldest one counts with the share of it that is still in
    the window. So memory is fixed, `hit` and `rate` cost O(1) amortised, and a count is wrong by less than the hits of
    one slot, by nothing where hits come evenly. A meter that is younger than its window reads low.

    A clock that is set back does no harm: what comes then counts as of the latest time known. Not locked.

    >>> meter = RateMeter(window=10, slots=10)
    >>> for second in range(20):
    ...     meter.hit(second, count=3)
    >>> meter.rate(20), meter.rate(25), meter.rate(40)
    (3.0, 1.5, 0.0)
    """

    def __init__(self, window: float = 60, slots: int = 60) -> None:
        """Look back `window` seconds in so many slots. Raises ValueError where either is not positive."""
        if not window > 0 or slots < 1:
            raise ValueError(f"window is {window:g} s and slots is {slots}; expected more than 0 s and at least 1")
        self.window = window
        self._width = window / slots
        self._number = slots
        self._slots: CircularQueue[list[int]] = CircularQueue(slots + 1)
        """Pairs of a slot's place in time and its hits, the oldest first; slots without hits are left out."""
        self._newest: list[int] = [-1, 0]
        self._total = 0
        self._latest = float("-inf")

    def hit(self, now: float, count: int = 1) -> None:
        """Count so many things at `now`, in seconds of any clock."""
        place = self._move_to(now)
        if not self._slots or self._newest[0] != place:
            self._newest = [place, 0]
            self._slots.put(self._newest)
        self._newest[1] += count
        self._total += count

    def rate(self, now: float) -> float:
        """Return the hits a second, on average over the window that ends at `now`."""
        place = self._move_to(now)
        if not self._slots:
            return 0.0
        oldest, hits = self._slots.peek()
        outside = self._latest / self._width - place if oldest == place - self._number else 0.0
        return (self._total - hits * outside) / self.window

    def _move_to(self, now: float) -> int:
        """Forget the slots that the window has left; return the place of the present one."""
        self._latest = max(self._latest, now)
        place = int(self._latest // self._width)
        while self._slots and self._slots.peek()[0] < place - self._number:
            self._total -= self._slots.get()[1]
        return place


def hot_potato(names: Iterable[N], num: int) -> N:
    """Return who is left when the potato is passed `num` times, whoever holds it leaves, and so on.

    The children stand in a circle, which is a queue whose first goes to its end. With ``num = k - 1`` it is the
    problem of Josephus, in which every k-th leaves. O(n * min(num, n)). Raises ValueError for no names or num < 0.

    >>> hot_potato(["Bill", "David", "Susan", "Jane", "Kent", "Brad"], 7)
    'Susan'
    """
    *_, last = leaving_order(names, num)
    return last


def leaving_order(names: Iterable[N], num: int) -> Iterator[N]:
    """Return everybody in the order in which they leave the circle; the last one is the winner.

    >>> "".join(leaving_order("ABCDEFG", 2))
    'CFBGEAD'
    """
    circle = Queue(names)
    if not circle or num < 0:
        raise ValueError(f"there are {len(circle)} names and num is {num}; expected at least 1 name and 0 passes")
    return _leave(circle, num)


def _leave(circle: Queue[N], num: int) -> Iterator[N]:
    while circle:
        for _ in range(num % len(circle)):  # a whole round changes nothing
            circle.put(circle.get())
        yield circle.get()


def is_palindrome(text: str) -> bool:
    """Return whether a text reads the same from both ends; case, spaces and punctuation do not count.

    Letters and digits of any script do; a letter with an accent is another letter. O(n).

    >>> is_palindrome("A man, a plan, a canal: Panama!"), is_palindrome("queue")
    (True, False)
    """
    letters = Deque(char for char in unicodedata.normalize("NFC", text.casefold()) if char.isalnum())
    while len(letters) > 1:
        if letters.popleft() != letters.pop():
            return False
    return True


class PrintTask(NamedTuple):
    """Pages that a student wants printed, and the second in which they were sent."""

    sent: int
    pages: int


class PrinterReport(NamedTuple):
    """What came of it: the average wait of the tasks that were begun, in seconds; how many; and how many still wait."""

    average_wait: float
    begun: int
    remaining: int


def printer(
    *,
    students: int = 10,
    tasks_per_hour: float = 2,
    most_pages: int = 20,
    pages_per_minute: float = 10,
    seconds: int = 3600,
    seed: int | None = None,
) -> PrinterReport:
    """Simulate a laboratory's printer, second by second, as textbooks do.

    Each student sends `tasks_per_hour` tasks of 1 to `most_pages` pages, at random times; one printer does them in
    turn. Is the faster, coarser mode good enough? Ask for both and compare the waits. The same `seed` gives the same
    day. O(seconds). Raises ValueError for figures that make no sense. `capacity` answers the question in general.
    Source: B. N. Miller, D. L. Ranum, Problem Solving with Algorithms and Data Structures (2005), chapter on queues.

    >>> report = printer(pages_per_minute=10, seed=1)
    >>> report.begun + report.remaining > 0
    True
    """
    chance = students * tasks_per_hour / 3600
    _check_printer(chance, most_pages, pages_per_minute, seconds)
    day = random.Random(seed)  # noqa: S311 - a simulation wants chance that can be repeated
    line: Queue[PrintTask] = Queue()
    waited, begun, free_at = 0, 0, 0.0
    for now in range(seconds):
        if day.random() < chance:
            line.put(PrintTask(now, day.randint(1, most_pages)))
        if line and now >= free_at:
            task = line.get()
            waited += now - task.sent
            begun += 1
            free_at = now + task.pages * 60 / pages_per_minute
    return PrinterReport(waited / begun if begun else 0.0, begun, len(line))


def _check_printer(chance: float, most_pages: int, pages_per_minute: float, seconds: int) -> None:
    if not 0 <= chance <= 1:
        raise ValueError(f"students send {chance:g} tasks a second; expected 0 to 1, as one second holds one at most")
    if most_pages < 1 or not pages_per_minute > 0 or seconds < 0:
        raise ValueError(
            f"most_pages is {most_pages}, pages_per_minute {pages_per_minute:g} and seconds {seconds}; "
            "expected at least 1 page, a speed above 0 and no negative time"
        )
