"""Which new members a bounded group still takes (pure)."""

from collections.abc import Callable, Iterable, Mapping

from .job import GroupId, Job


def within(jobs: Iterable[Job], room: Mapping[GroupId, float], is_held: Callable[[str], bool]) -> list[Job]:
    """Return those of `jobs` that their groups have room for, in order, and all that are in no group of `room`.

    Of one group, those whose key is held already, or was named before, take no room; they are left out.
    """
    left = dict(room)
    kept: list[Job] = []
    named: set[str] = set()
    for job in jobs:
        group = job.ties.group if job.ties is not None else None
        if group is None or group not in left:
            kept.append(job)
            continue
        if job.key is not None and (job.key in named or is_held(job.key)):
            continue
        if left[group] >= 1:
            left[group] -= 1
            kept.append(job)
            if job.key is not None:
                named.add(job.key)
    return kept
