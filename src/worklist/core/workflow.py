"""Workflows: calls put together into chains and groups, and turned into jobs that are put all at once.

A workflow is a value that nothing changes, so it cannot contain itself. What it becomes lives in the store: each job
says which group it is in and what it waits for, so a job's size does not depend on the size of the workflow.
"""

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import msgspec

from .client import Client
from .errors import ConfigError
from .group import GroupHandle
from .handle import JobHandle
from .job import GroupId, Job, JobId, When, new_group_id

R = TypeVar("R")
AT_ONCE = 1000
"""Up to so many jobs a workflow is put in one transaction; a larger group in several, open until it is whole."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where a job stands in a workflow."""

    group: GroupId | None = None
    after: JobId | GroupId | None = None
    when: When = "succeeded"
    takes: bool = False
    followed: bool = False


class Callee(Protocol[R]):
    """What a step needs of the call that it is made of."""

    @property
    def client(self) -> Client:
        """The app."""

    def job(self, args: Sequence[Any], kwargs: Mapping[str, Any], place: Place | None = None) -> Job:
        """Return the job of a call with these arguments."""

    def handle(self, id: JobId) -> JobHandle[R]:
        """Return the handle of a job of it."""


class Exit(NamedTuple):
    """What is to be waited for where a workflow is, and its handle."""

    id: JobId | GroupId
    handle: Any


class Node:
    """A call, a chain or a group: a part of a workflow, or the whole."""

    @property
    def client(self) -> Client:
        """The app that it is put in."""
        raise NotImplementedError

    def plan(self, place: Place, jobs: list[Job]) -> Exit:
        """Add the jobs of this part, which stands at `place`, to `jobs`."""
        raise NotImplementedError

    def then(self, *others: "Node", when: When = "succeeded") -> "Chain":
        """Return a chain of this and the others.

        `when` says whether the first of them runs if this has ended well ("succeeded"), or in any case ("all").
        """
        return Chain((self, *others), {1: when})

    def __or__(self, other: "Node") -> "Chain":
        return self.then(other)

    def enqueue(self) -> Any:
        """Put the workflow and return the handle of its end: of a job, or of the group that it ends with.

        Up to a thousand jobs are put in one transaction. Raises ArgumentError, or BrokerError when it cannot.
        """
        return self.enqueue_in(None)

    def enqueue_in(self, group: GroupId | None) -> Any:
        """Do what `enqueue` does, as a member of a group."""
        jobs: list[Job] = []
        end = self.plan(Place(group=group), jobs)
        ids = self.client.put(jobs)
        return _told(end, jobs, ids)

    async def aenqueue(self) -> Any:
        """Do what `enqueue` does, from a coroutine."""
        jobs: list[Job] = []
        end = self.plan(Place(), jobs)
        return _told(end, jobs, await self.client.aput(jobs))


class Step(Node, Generic[R]):
    """One call of a task. As one that follows another, it takes that one's result as its first argument."""

    def __init__(self, call: Callee[R], args: Sequence[Any], kwargs: Mapping[str, Any], takes: bool = True) -> None:
        self._call = call
        self._args = tuple(args)
        self._kwargs = dict(kwargs)
        self._takes = takes

    @property
    def client(self) -> Client:
        """The app that it is put in."""
        return self._call.client

    def plan(self, place: Place, jobs: list[Job]) -> Exit:
        """Add its job."""
        takes = self._takes and place.after is not None
        job = self._call.job(self._args, self._kwargs, msgspec.structs.replace(place, takes=takes))
        if place == _ALONE and job.ties is not None and job.ties.lane is None:
            job = msgspec.structs.replace(job, ties=None)
        jobs.append(job)
        return Exit(job.id, self._call.handle(job.id))

    def __repr__(self) -> str:
        given = [*map(repr, self._args), *(f"{name}={value!r}" for name, value in self._kwargs.items())]
        return f"{getattr(self._call, 'name', 'task')}.s({', '.join(given)})"


class Chain(Node):
    """Parts that run one after the other, each with the result of the one before. Make one with `chain`."""

    def __init__(self, nodes: Iterable[Node], when: Mapping[int, When] | None = None) -> None:
        self._nodes: tuple[Node, ...] = ()
        self._when: dict[int, When] = {}
        for index, node in enumerate(nodes):
            self._append(check_node(node, "a chain"), (when or {}).get(index, "succeeded"))
        if not self._nodes:
            raise ConfigError("a chain needs at least one step; give it calls such as task.s(1)")

    def _append(self, node: Node, when: When) -> None:
        """Add a part; a chain within a chain is no more than its steps."""
        check_when(when)
        start = len(self._nodes)
        steps = node.steps if isinstance(node, Chain) else ((node, when),)
        self._nodes += tuple(step for step, _ in steps)
        self._when |= {start + index: it for index, (_, it) in enumerate(steps)}
        self._when[start] = when

    @property
    def steps(self) -> tuple[tuple[Node, When], ...]:
        """Its parts, and when each of them runs after the one before."""
        return tuple((node, self._when[index]) for index, node in enumerate(self._nodes))

    @property
    def client(self) -> Client:
        """The app that it is put in."""
        return self._nodes[-1].client

    def then(self, *others: Node, when: When = "succeeded") -> "Chain":
        """Return a chain of these steps and the others."""
        return Chain((self, *others), {1: when})

    def plan(self, place: Place, jobs: list[Job]) -> Exit:
        """Add the jobs of all its parts. Only the last one is a member of the group that the chain stands in."""
        return self._plan_from(0, place, jobs)

    def _plan_from(self, start: int, place: Place, jobs: list[Job]) -> Exit:
        last = len(self._nodes) - 1
        after, when = place.after, place.when
        end: Exit | None = None
        for index in range(start, last + 1):
            when = self._when[index] if index else when
            is_last = index == last
            here = Place(
                group=place.group if is_last else None,
                after=after,
                when=when,
                followed=place.followed if is_last else True,
            )
            end = self._nodes[index].plan(here, jobs)
            after = end.id
        assert end is not None  # noqa: S101 - a chain has a step
        return end

    def enqueue(self) -> Any:
        """Put the chain; a group that it begins with may be of any size."""
        first = self._nodes[0]
        if not isinstance(first, Group):
            return super().enqueue()

        def rest(group: GroupId, jobs: list[Job]) -> Any:
            return self._plan_from(1, Place(after=group), jobs).handle if len(self._nodes) > 1 else None

        return first.enqueue_with(rest, self.client)

    async def aenqueue(self) -> Any:
        """Do what `enqueue` does, from a coroutine; where it begins with a group, in a thread of its own."""
        if isinstance(self._nodes[0], Group):
            return await asyncio.to_thread(self.enqueue)
        return await super().aenqueue()

    def __repr__(self) -> str:
        return f"chain({', '.join(map(repr, self._nodes))})"


Rest = Callable[[GroupId, list[Job]], Any]
"""Adds the jobs that wait for a group, and returns the handle of their end, or None."""


class Group(Node):
    """Parts that run side by side. Make one with `group`, or with ``task.map``; an iterator is read when it is put."""

    def __init__(self, nodes: Iterable[Node], client: Client | None = None) -> None:
        self._nodes: Iterable[Node] = nodes if isinstance(nodes, Iterator) else tuple(nodes)
        self._client = client
        self._read = False

    @property
    def client(self) -> Client:
        """The app that it is put in. Raises ConfigError for a group without a member, which belongs to nobody."""
        if self._client is None:
            self._client = self._first().client
        return self._client

    def _first(self) -> Node:
        """Return the first member; an iterator gives it again."""
        nodes = iter(self._nodes)
        first = next(nodes, None)
        if first is None:
            raise ConfigError("this group has no members; to add members later, use app.group()")
        if nodes is self._nodes:
            self._nodes = itertools.chain((first,), nodes)
        return check_node(first, "a group")

    def _members(self) -> Iterator[Node]:
        """Return the members, one by one. Raises ConfigError where they came from an iterator that was read before."""
        if self._read and isinstance(self._nodes, Iterator):
            raise ConfigError("this group is made of an iterator, and was put before; make another one, or give a list")
        self._read = True
        return (check_node(node, "a group") for node in self._nodes)

    def plan(self, place: Place, jobs: list[Job]) -> Exit:
        """Add the jobs of its members. In another group, they are members of that one."""
        id = place.group or new_group_id()
        here = msgspec.structs.replace(place, group=id, followed=False)
        client, before = self.client, len(jobs)
        for node in self._members():
            node.plan(here, jobs)
        if len(jobs) == before and (place.followed or place.after is not None):
            raise ConfigError("a group within a workflow has no members, so nothing could follow it; leave it out")
        return Exit(id, GroupHandle(id, client))

    def enqueue(self) -> Any:
        """Put the group, of any size, and return its handle."""
        return self.enqueue_with(lambda group, jobs: None, self.client)

    async def aenqueue(self) -> Any:
        """Do what `enqueue` does, from a coroutine, in a thread of its own."""
        return await asyncio.to_thread(self.enqueue)

    def enqueue_with(self, rest: Rest, client: Client) -> Any:
        """Put the members, and what waits for them; return the handle of the end."""
        id = new_group_id()
        members = self._members()
        jobs = _next_jobs(members, id)
        waiting: list[Job] = []
        handle = rest(id, waiting) or GroupHandle(id, client)
        if 0 < len(jobs) < AT_ONCE:
            client.put([*jobs, *waiting])
            return handle
        with GroupHandle(id, client):
            client.put(waiting)
            while jobs:
                client.put(jobs)
                jobs = _next_jobs(members, id)
        return handle

    def __repr__(self) -> str:
        return "group(...)" if isinstance(self._nodes, Iterator) else f"group({', '.join(map(repr, self._nodes))})"


def _next_jobs(members: Iterator[Node], group: GroupId) -> list[Job]:
    """Return the jobs of the next members, about as many as go in one transaction."""
    jobs: list[Job] = []
    for node in members:
        node.plan(Place(group=group), jobs)
        if len(jobs) >= AT_ONCE:
            break
    return jobs


def chain(*nodes: Node) -> Chain:
    """Return a chain: each part runs when the one before has succeeded, with its result as first argument.

    Where a part fails, those after it are cancelled, and the handle of the chain raises JobFailed with the reason.
    Raises ConfigError for what is no part of a workflow.
    """
    return Chain(nodes)


def group(*nodes: Node | Iterable[Node]) -> Group:
    """Return a group of the parts given, or of those in one iterable, which may be of any length."""
    if len(nodes) == 1 and not isinstance(nodes[0], Node):
        if not isinstance(nodes[0], Iterable):
            raise ConfigError(f"a group got {nodes[0]!r}; expected calls such as task.s(1)")
        return Group(nodes[0])
    return Group([check_node(node, "a group") for node in nodes])


def chord(header: Node | Iterable[Node], callback: Node, when: When = "succeeded") -> Chain:
    """Return a group with a callback, which gets the list of the members' results as first argument.

    It is put exactly once, when the last member has ended: with ``when="succeeded"`` it runs only if all of them have
    succeeded and is cancelled otherwise; with ``when="all"`` it runs in any case, and gets None for those that did not.
    """
    members = header if isinstance(header, Node) else group(header)
    return members.then(check_node(callback, "a chord"), when=when)


def check_node(node: Any, what: str) -> Node:
    """Return a part of a workflow. Raises ConfigError for anything else; `what` names who got it."""
    if isinstance(node, Node):
        return node
    if isinstance(node, list | tuple):
        raise ConfigError(f"{what} got a {type(node).__name__}; expected a call such as task.s(1), or group(...) of it")
    hint = f"; did you mean {node.__name__}.s(...)?" if hasattr(node, "enqueue") and hasattr(node, "__name__") else ""
    raise ConfigError(f"{what} got {node!r}; expected a call such as task.s(1){hint}")


def check_when(when: Any) -> None:
    """Raise ConfigError for what is no When."""
    if when not in ("succeeded", "all"):
        raise ConfigError(f"when is {when!r}; expected 'succeeded' or 'all'")


def _told(end: Exit, jobs: Sequence[Job], ids: Sequence[JobId]) -> Any:
    """Return the handle of a workflow's end; where its key is held, that of the job which holds it."""
    if jobs and end.id == jobs[-1].id != ids[-1]:
        end.handle.id = ids[-1]
    return end.handle


_ALONE = Place()
