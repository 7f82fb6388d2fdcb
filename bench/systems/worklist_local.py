"""Worklist's queues in one machine's memory."""

from collections.abc import Callable
from functools import partial

from bench.systems.local_commands import BATCH, main
from worklist import ProcessQueue, TaskQueue


class Tasks:
    """TaskQueue with five threads, by `add_task` or by `submit`."""

    def __init__(self, verb: str) -> None:
        self._queue = TaskQueue(num_workers=5)
        self._verb = verb

    def __enter__(self) -> Callable[[Callable[[], None]], object]:
        call: Callable[[Callable[[], None]], object] = getattr(self._queue, self._verb)
        return call

    def __exit__(self, *_: object) -> None:
        self._queue.join()
        self._queue.close()


class Values(ProcessQueue[object]):
    """ProcessQueue, batches of the size that is measured."""

    def get_many(self) -> list[object]:  # type: ignore[override]
        return super().get_many(BATCH)


if __name__ == "__main__":
    main({"add_task": partial(Tasks, "add_task"), "submit": partial(Tasks, "submit")}, {"queue": Values})
