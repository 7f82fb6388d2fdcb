"""Many small calls from many threads and coroutines become few large ones, without a timer.

While one flush is under way, the next calls gather; when it returns they go together. A lone caller runs the
flush in its own thread at once, so an idle batcher adds nothing. This is the group commit of databases (DeWitt
et al., Implementation Techniques for Main Memory Database Systems, 1984) with the leader's role handed on.
"""

import asyncio
import queue
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class _Request(Generic[T, R]):
    """One call: its items, and then its results or its error."""

    __slots__ = ("error", "future", "items", "leads", "loop", "results", "wakened")

    def __init__(self, items: Sequence[T]) -> None:
        self.items = items
        self.results: list[R] = []
        self.error: BaseException | None = None
        self.leads = False
        self.wakened: threading.Lock | None = None  # a waiting thread blocks on it
        self.future: asyncio.Future[list[R]] | None = None  # a waiting coroutine awaits it
        self.loop: asyncio.AbstractEventLoop | None = None

    def outcome(self) -> list[R]:
        if self.error is not None:
            raise self.error
        return self.results


class Batcher(Generic[T, R]):
    """Calls `flush(items) -> results` (one result per item, in order), never twice at the same time."""

    def __init__(self, flush: Callable[[list[T]], list[R]], limit: int = 2000) -> None:
        self._flush = flush
        self._limit = limit
        self._lock = threading.Lock()
        self._busy = False
        self._pending: deque[_Request[T, R]] = deque()
        self._turns: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def call(self, items: Sequence[T]) -> list[R]:
        """Flush `items`, together with whatever else waits, and return their results."""
        with self._lock:
            waits = self._busy
            if waits:
                request: _Request[T, R] = _Request(items)
                request.wakened = threading.Lock()
                request.wakened.acquire()
                self._pending.append(request)
            self._busy = True
        if waits:
            return self._wait_for_turn(request)
        try:
            return self._flush(list(items))
        finally:
            self._pass_on()

    def _wait_for_turn(self, request: _Request[T, R]) -> list[R]:
        """Sleep until another leader has flushed this request, or has made it the leader."""
        request.wakened.acquire()  # type: ignore[union-attr]
        if request.leads:
            self._lead([request, *self._take(len(request.items))])
        return request.outcome()

    async def acall(self, items: Sequence[T]) -> list[R]:
        """Do what `call` does without blocking the event loop."""
        request: _Request[T, R] = _Request(items)
        request.loop = asyncio.get_running_loop()
        request.future = request.loop.create_future()
        with self._lock:
            self._pending.append(request)
            leads = not self._busy
            self._busy = True
        if leads:
            self._give_turn()
        return await request.future

    def _lead(self, batch: list[_Request[T, R]]) -> None:
        try:
            self._run(batch)
        finally:
            self._pass_on()
            _resolve(batch)

    def _run(self, batch: list[_Request[T, R]]) -> None:
        """Flush the batch; where that fails, each request alone, so that a bad one does not spoil the others."""
        try:
            if len(batch) == 1:
                batch[0].results = self._flush(list(batch[0].items))
                return
            results = self._flush([item for request in batch for item in request.items])
        except BaseException as error:
            if len(batch) == 1:
                batch[0].error = error
                return
            for request in batch:
                self._run([request])
            return
        start = 0
        for request in batch:
            request.results = results[start : start + len(request.items)]
            start += len(request.items)

    def _take(self, size: int = 0) -> list[_Request[T, R]]:
        """Remove from what waits as many requests as make a batch."""
        batch: list[_Request[T, R]] = []
        with self._lock:
            while self._pending and (not batch or size < self._limit):
                batch.append(self._pending.popleft())
                size += len(batch[-1].items)
        return batch

    def _pass_on(self) -> None:
        """Make the oldest waiting call the next leader."""
        with self._lock:
            if not self._pending:
                self._busy = False
                return
            heir = self._pending[0]
            if heir.wakened is not None:
                self._pending.popleft()
        if heir.wakened is not None:
            heir.leads = True
            heir.wakened.release()
        else:
            self._give_turn()

    def _give_turn(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._serve, name="worklist-batcher", daemon=True)
            self._thread.start()
        self._turns.put(True)

    def _serve(self) -> None:
        while self._turns.get():
            self._lead(self._take())

    def close(self) -> None:
        """End the thread that serves coroutines, if there is one."""
        if self._thread is not None:
            self._turns.put(False)
            self._thread.join(timeout=5)
            self._thread = None


def _resolve(batch: list[_Request[Any, Any]]) -> None:
    """Wake the callers: threads one by one, coroutines with one wake-up per event loop."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Request[Any, Any]]] = {}
    for request in batch:
        if request.wakened is not None and not request.leads:
            request.wakened.release()
        elif request.loop is not None:
            by_loop.setdefault(request.loop, []).append(request)
    for loop, requests in by_loop.items():
        if not loop.is_closed():
            loop.call_soon_threadsafe(_set_futures, requests)


def _set_futures(requests: list[_Request[Any, Any]]) -> None:
    for request in requests:
        if request.future is None or request.future.done():
            continue
        if request.error is not None:
            request.future.set_exception(request.error)
        else:
            request.future.set_result(request.results)
