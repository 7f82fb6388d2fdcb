"""Breadth-first search spread over workers: a task gives a node's neighbours, and each new one is a job.

The search is a group, so its end is known. A node is a job whose key, held for ever, admits it once; the neighbours
of a node are put in the settle of its job, so the death of a worker loses and doubles none. The keys go with the
group. Several workers run ahead of each other, so `depth` is the length of the way by which a node was found, which
is the shortest one only where one worker with one thread searches.
"""

import hashlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

from .client import Client
from .codec import decode_value, encode_value
from .errors import ArgumentError, ConfigError
from .group import GroupHandle
from .job import FOREVER, GroupId, Job, JobRecord, JobState, new_group_id
from .workflow import Place

if TYPE_CHECKING:
    from .task import Task


class Spread(msgspec.Struct, frozen=True, array_like=True):
    """What a job knows of the search that it is a step of; it travels among the job's overrides."""

    depth: int = 0
    parent: Any = None
    max_depth: int | None = None
    max_nodes: int | None = None


class Visit(NamedTuple):
    """A node that the search has come to."""

    node: Any
    depth: int
    """How many steps from the start, by the way on which it was found."""
    parent: Any
    """From which node; None for the start."""
    neighbours: list[Any] | None
    """What its task returned; None where it failed, or keeps no results."""


class Traversal(GroupHandle):
    """The handle of a search: of its group, and of the nodes that it has come to."""

    def __init__(self, id: GroupId, client: Client, decode: Callable[[bytes], Job]) -> None:
        super().__init__(id, client)
        self._decode = decode

    def visits(self, timeout: float | None = None) -> Iterator[Visit]:
        """Yield nodes as they have been visited, until the search has ended; also those whose task failed.

        Raises ResultTimeout where it has not ended after `timeout` seconds.
        """
        return map(self._visit, self.records_as_completed(timeout))

    def _visit(self, record: JobRecord) -> Visit:
        job = self._decode(record.body)
        step = msgspec.convert((job.overrides or {}).get("spread", ()), Spread)
        kept = record.state is JobState.SUCCEEDED and record.result is not None
        return Visit(
            _first_argument(job), step.depth, step.parent, decode_value(record.result or b"") if kept else None
        )


def _first_argument(job: Job) -> Any:
    return next(iter(decode_value(job.args).values()), None)


def begin(
    task: "Task[..., Any]", starts: Iterable[Any], max_depth: int | None, max_nodes: int | None
) -> tuple[GroupId, list[Job]]:
    """Return a new group and the jobs of the nodes that a search begins with. Raises ConfigError, ArgumentError."""
    for name, bound in (("max_depth", max_depth), ("max_nodes", max_nodes)):
        if bound is not None and (not isinstance(bound, int) or isinstance(bound, bool) or bound < 0):
            raise ConfigError(f"{name} is {bound!r}; expected a whole number from 0, or None for no bound")
    group = new_group_id()
    spread = Spread(max_depth=max_depth, max_nodes=max_nodes)
    return group, [_node_job(task, node, group, spread) for node in starts]


def spread_from(task: "Task[..., Any]", job: Job, step: Spread, value: Any, node: Any) -> tuple[list[Any], list[Job]]:
    """Return the neighbours that a step of a search has found, as a list, and the jobs that visit them."""
    if value is None or isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise ArgumentError(f"{task.name}() returned {type(value).__name__}; a search expects an iterable of nodes")
    found = list(itertools.islice(value, step.max_nodes))
    if step.max_depth is not None and step.depth >= step.max_depth:
        return found, []
    group = job.ties.group if job.ties is not None else None
    onward = msgspec.structs.replace(step, depth=step.depth + 1, parent=node)
    return found, [_node_job(task, it, group or "", onward) for it in found]


def _node_job(task: "Task[..., Any]", node: Any, group: GroupId, step: Spread) -> Job:
    job = task.job((node,), {}, Place(group=group))
    name = hashlib.blake2b(encode_value(node), digest_size=16).hexdigest()
    return msgspec.structs.replace(
        job,
        key=f"{group}:{name}",
        hold=FOREVER,
        priority=job.priority - step.depth,
        overrides={**(job.overrides or {}), "spread": msgspec.to_builtins(step)},
    )
