"""Carries what is still to do from one store to another: jobs, schedules and lanes. It knows both only as ports.

A job is put in the new store before it is deleted from the old one, and a put of a job that is there does nothing:
so a move that is interrupted at any moment is finished by running it again.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import msgspec

from .codec import Codec
from .errors import UndecodableJob
from .job import Job, JobRecord, JobState
from .ports import Filter, LaneChange, Store

PAGE = 2000
"""How many jobs go together."""


class Moved(msgspec.Struct):
    """What a move has done, and what it could not do."""

    jobs: int = 0
    joined: int = 0
    """Of the jobs, those whose key another job holds in the new place, so that they are that one now."""
    schedules: int = 0
    lanes: int = 0
    left: Counter[str] = msgspec.field(default_factory=Counter)
    """What stayed in the old place: how many, by reason."""


def move(source: Store, target: Store, codec: Codec, told: Callable[[Moved], object] = lambda moved: None) -> Moved:
    """Carry queued jobs, schedules and lanes from `source` to `target`; `told` hears of every step.

    The queues of the old place are paused first, and stay so. Jobs keep their ids, due times, priorities and keys;
    their attempts begin anew. What runs, and what belongs to a group or waits for others, is left to the workers
    there.
    """
    moved = Moved()
    for queue in source.counts():
        source.pause(queue, True)
    for lane in source.lanes():
        if lane.pinned or lane.paused or lane.weight != 1.0:
            limits = lane.limits if lane.pinned else msgspec.UNSET
            change = LaneChange(limits=limits, weight=lane.weight, paused=lane.paused, pinned=lane.pinned)
            target.change_lane(lane.name, change)
            moved.lanes += 1
    for records in _pages(source):
        _move_jobs(records, source, target, codec, moved)
        told(moved)
    _move_schedules(source, target, moved)
    for states in source.counts().values():
        moved.left["they run"] += states.get(JobState.RUNNING, 0)
        moved.left["they wait for other jobs"] += states.get(JobState.WAITING, 0)
    return moved


def _pages(source: Store) -> Iterator[list[JobRecord]]:
    """Give queued jobs, the oldest first; those that stay are passed over when the next ones are asked for."""
    seen: set[str] = set()
    while True:
        found = source.find(Filter(state=JobState.QUEUED, limit=PAGE + len(seen), newest_first=False))
        page = [record for record in found if record.id not in seen]
        if not page:
            return
        yield page
        left = source.load([record.id for record in page])
        seen |= {record.id for record in left if record is not None}


def _move_jobs(records: Sequence[JobRecord], source: Store, target: Store, codec: Codec, moved: Moved) -> None:
    shift = target.now() - source.now()
    jobs = []
    for record in records:
        try:
            job = _as_new(codec.decode(record.body), record, source.now(), shift)
        except UndecodableJob:
            moved.left["they cannot be read, for instance since they are signed with another secret"] += 1
            continue
        reason = _reason_to_stay(job, target)
        if reason is None:
            jobs.append(job)
        else:
            moved.left[reason] += 1
    if jobs:
        holders = target.put(jobs)
        source.change([job.id for job in jobs], "delete")
        moved.jobs += len(jobs)
        moved.joined += sum(job.id != holder for job, holder in zip(jobs, holders, strict=True))


def _as_new(job: Job, record: JobRecord, now: float, shift: float) -> Job:
    """Return the job as it is to be put: at the times that it was to have, by the clock of the new place."""
    due = record.due if record.due is not None and record.due > now else None
    return msgspec.structs.replace(
        job,
        delay=0.0,
        eta=None if due is None else due + shift,
        expires=None if record.expires is None else max(0.0, record.expires - now),
        replace=False,
    )


def _reason_to_stay(job: Job, target: Store) -> str | None:
    ties = job.ties
    if ties is not None and (ties.group is not None or ties.after is not None or ties.followed):
        return "they belong to a group or a workflow"
    asked = {
        "key": job.key is not None,
        "lane": ties is not None and ties.lane is not None,
        "delay": job.eta is not None,
        "expires": job.expires is not None,
        "priority": job.priority != 0,
    }
    for capability, is_asked in asked.items():
        if is_asked and not getattr(target.capabilities, capability):
            return f"they ask for {capability}, which the new place cannot do"
    return None


def _move_schedules(source: Store, target: Store, moved: Moved) -> None:
    for schedule in source.schedules():
        if not target.capabilities.schedule:
            moved.left["the new place has no schedules"] += 1
            continue
        there = {known.name: known for known in target.schedules()}.get(schedule.name)
        declared = there is not None and there.declared and schedule.declared
        if declared or target.save_schedule(schedule, None):
            source.delete_schedule(schedule.name)
            moved.schedules += 1
        else:
            moved.left[f"the new place has another schedule named {schedule.name!r}"] += 1
