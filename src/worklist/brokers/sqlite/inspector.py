"""What people see of the queue on a SQLite file, and what they may change: jobs, queues, groups and lanes.

It leases and settles nothing; the broker inherits it.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from sqlite3 import Connection
from typing import Any

import msgspec

from ...core.codec import Codec
from ...core.errors import ConfigError, UndecodableJob
from ...core.job import KEEP_UNRUN, GroupId, Job, JobId, JobRecord, JobState
from ...core.lane import Lane
from ...core.outcome import PREDECESSOR_FAILED
from ...core.ports import Change, Filter, GroupRecord, LaneChange, WorkerInfo
from . import groups, lanes, rows
from .file import SqliteFile
from .groups import SqliteGroups
from .lanes import SqliteLanes
from .rows import (
    CANCELLED,
    CODES,
    DELAYED,
    IN_LANE,
    LANE,
    READY,
    RUNNING,
    SQL,
    STATES,
    SUCCEEDED,
    WAITING,
    place_or_nowhere,
    record_of,
)

_BATCH = 5000
"""How many jobs of a group one transaction cancels."""
_DAMAGED = Job("", "")
_NOT_BEGUN = (WAITING, IN_LANE, READY, DELAYED)
_decode_worker = msgspec.msgpack.Decoder(WorkerInfo).decode


class SqliteInspector:
    """Inspector, Groups and Lanes on one file."""

    _file: SqliteFile
    _codec: Codec
    _clock: Callable[[], float]
    _lanes: SqliteLanes
    _groups: SqliteGroups

    # -- looking --------------------------------------------------------------------------------------------

    def load(self, ids: Sequence[JobId]) -> list[JobRecord | None]:
        """Return the records of jobs (see ResultStore.load)."""
        places = str([place_or_nowhere(id) for id in ids])
        found = {row[0]: record_of(row) for row in self._file.read(f"{SQL['record']} {SQL['of_ids']}", (places,))}
        return [found.get(id) or self._load_aside(id) for id in ids]

    def _load_aside(self, id: JobId) -> JobRecord | None:
        """Return the record of a job that does not stand at the place its id says, or nowhere."""
        found = self._file.read(f"{SQL['record']} {SQL['of_id']}", (place_or_nowhere(id), id))
        return record_of(found[0]) if found else None

    def counts(self) -> dict[str, dict[JobState, int]]:
        """Return how many jobs each queue has in each state."""
        counts: dict[str, dict[JobState, int]] = {}
        for queue, state, count in self._file.read(SQL["counts"]):
            of_queue = counts.setdefault(queue, {})
            of_queue[STATES[state]] = of_queue.get(STATES[state], 0) + count
        return counts

    def find(self, wanted: Filter) -> list[JobRecord]:
        """Return the jobs that fit a filter."""
        terms, values = _where(wanted)
        order = "DESC" if wanted.newest_first else "ASC"
        statement = f"{SQL['record']} WHERE {' AND '.join(terms)} ORDER BY seq {order} LIMIT ?"
        return [record_of(row) for row in self._file.read(statement, [*values, wanted.limit])]

    def workers(self) -> list[WorkerInfo]:
        """Return the workers that are alive."""
        return [_decode_worker(info) for (info,) in self._file.read(SQL["workers"], (self._clock(),))]

    def paused(self) -> list[str]:
        """Return the paused queues."""
        return [queue for (queue,) in self._file.read(SQL["paused"])]

    # -- changing jobs --------------------------------------------------------------------------------------

    def change(self, ids: Sequence[JobId], change: Change) -> list[JobId]:
        """Cancel, retry or delete jobs (see Inspector.change)."""
        actions = {"cancel": self._cancel, "retry": self._retry, "delete": self._delete}
        if change not in actions:
            raise ConfigError(f"a job cannot be changed by {change!r}; expected cancel, retry or delete")
        with self._file.transaction() as db:
            now = self._clock()
            found = itertools.chain.from_iterable(
                db.execute(SQL["changeable"], (place_or_nowhere(id), id)).fetchall() for id in ids
            )
            return [row[1] for row in found if actions[change](db, row, now)]

    def _cancel(self, db: Connection, row: tuple[Any, ...], now: float) -> bool:
        seq, id, state, key, *_ = row
        if state == RUNNING:
            db.execute(SQL["ask_to_stop"], (seq,))
        elif state in _NOT_BEGUN:
            self._end_early(db, seq, id, key, now)
            self._groups.ended_without_worker(db, [seq], CANCELLED, now)
        return state in _NOT_BEGUN or state == RUNNING

    def _end_early(self, db: Connection, seq: int, id: JobId, key: str | None, now: float) -> None:
        rows.end(db, seq, id, key, CANCELLED, None, now)
        rows.retain(db, {KEEP_UNRUN: [seq]}, now)

    def _retry(self, db: Connection, row: tuple[Any, ...], now: float) -> bool:
        """Queue a finished job again, unless its key has gone to another one, or it lacks what it waited for."""
        seq, id, state, key, body, tied, lane, grp, queue, errors = row
        error = rows.last_error(errors)
        if state < SUCCEEDED or (state == CANCELLED and error is not None and error.type == PREDECESSOR_FAILED):
            return False
        if key is not None and not rows.hold_again(db, seq, id, key, self._decoded(body), now):
            return False
        db.execute(SQL["retry"], (rows.queued_state(lane), now, seq))
        if lane is not None:
            self._lanes.line_up(db, [(lane, queue)], now)
        if tied > LANE:
            self._groups.retried(db, seq, tied, grp, state, now)
        return True

    def _delete(self, db: Connection, row: tuple[Any, ...], now: float) -> bool:
        seq, id, state, key, *_ = row
        if state == RUNNING:
            return False
        if state in _NOT_BEGUN:
            rows.end(db, seq, id, key, CANCELLED, None, now)
            self._groups.ended_without_worker(db, [seq], CANCELLED, now)
        db.execute(SQL["delete"], (seq,))
        if key is not None:
            db.execute(SQL["free_key"], (key, id))
        return True

    def _decoded(self, body: bytes) -> Job:
        """Return the stored job; where its bytes are damaged, one with the defaults, for chores to go on."""
        try:
            return self._codec.decode(body)
        except UndecodableJob:
            return _DAMAGED

    # -- changing queues ------------------------------------------------------------------------------------

    def purge(self, queue: str, state: JobState) -> int:
        """Remove every job of a queue in one state, some thousands in a transaction."""
        if state is JobState.RUNNING:
            return 0
        removed = 0
        while True:
            with self._file.transaction() as db:
                found = db.execute(SQL["purgeable"], (queue, str([*CODES[state]]))).fetchall()
                if not state.finished:
                    self._cancel_tied(db, [(seq, id, key) for seq, id, key, tied in found if tied > LANE])
                db.executemany(SQL["delete"], [(seq,) for seq, *_ in found])
                db.executemany(SQL["free_key"], [(key, id) for _, id, key, _ in found if key is not None])
            removed += len(found)
            if not found:
                return removed

    def _cancel_tied(self, db: Connection, jobs: Sequence[tuple[int, JobId, str | None]]) -> None:
        """End jobs that are about to be removed, all of them before others hear of it: some may wait for each other."""
        now = self._clock()
        for seq, id, key in jobs:
            rows.end(db, seq, id, key, CANCELLED, None, now)
        self._groups.ended_without_worker(db, [seq for seq, *_ in jobs], CANCELLED, now)

    def pause(self, queue: str, paused: bool) -> None:
        """Pause or resume a queue."""
        self._file.write(SQL["pause" if paused else "resume"], (queue,))

    # -- groups ---------------------------------------------------------------------------------------------

    def open_group(self, id: GroupId, most: int | None = None) -> None:
        """Make a group that does not end before it is sealed (see Groups.open_group)."""
        self._file.write(groups.SQL["open"], (id, self._clock(), most))

    def seal_group(self, id: GroupId) -> None:
        """Let a group end."""
        with self._file.transaction() as db:
            self._groups.seal(db, id, self._clock())

    def load_groups(self, ids: Sequence[GroupId]) -> list[GroupRecord | None]:
        """Return what is known of groups."""
        return [self._load_group(id) for id in ids]

    def _load_group(self, id: GroupId) -> GroupRecord | None:
        found = self._file.read(groups.SQL["load"], (id,))
        if not found:
            return None
        running = 0 if found[0][-1] else self._file.read(groups.SQL["running"], (found[0][0],))[0][0]
        return groups.group_of(found[0], running)

    def members(self, id: GroupId, ended_after: tuple[float, JobId] | None, limit: int) -> list[JobRecord]:
        """Return members that have ended, in the order of their end."""
        at, job = ended_after or (0.0, "")
        statement = f"{SQL['record']} {groups.SQL['members']}"
        return [record_of(row) for row in self._file.read(statement, (id, at, place_or_nowhere(job), limit))]

    def results(self, id: GroupId) -> list[bytes | None]:
        """Return the results of all members in the order in which they were made."""
        return [result for (result,) in self._file.read(groups.SQL["results"], (id,))]

    def call_off(self, id: GroupId) -> int:
        """Cancel what has not begun of a group and ask what runs to stop, some thousands in a transaction."""
        self._file.write(groups.SQL["call_off"], (id,))
        found = self._file.read(groups.SQL["group"], (id,))
        cancelled = 0
        while found:
            with self._file.transaction() as db:
                batch = db.execute(groups.SQL["unfinished"], (found[0][0], _BATCH)).fetchall()
                for row in batch:
                    self._call_off(db, row, self._clock())
                self._groups.ended_without_worker(
                    db, [seq for seq, _, state, _ in batch if state != RUNNING], CANCELLED, self._clock()
                )
                self._groups.end_where_over(db, [found[0][0]], self._clock())
            cancelled += len(batch)
            if len(batch) < _BATCH:
                break
        return cancelled

    def _call_off(self, db: Connection, row: tuple[int, JobId, int, str | None], now: float) -> None:
        seq, id, state, key = row
        if state == RUNNING:
            db.execute(SQL["ask_to_stop"], (seq,))
        else:
            self._end_early(db, seq, id, key, now)

    # -- lanes ----------------------------------------------------------------------------------------------

    def lanes(self, names: Sequence[str] | None = None) -> list[Lane]:
        """Return lanes as they are now."""
        if names is None:
            ready: dict[str, int] = Counter(dict(self._file.read(lanes.SQL["ready_in_lanes"])))
            return lanes.lanes_of(self._file.read(lanes.SQL["all_lanes"]), ready)
        ready = {name: self._file.read(lanes.SQL["ready_in_lane"], (name,))[0][0] for name in names}
        return lanes.lanes_of(self._file.read(lanes.SQL["some_lanes"], (rows.as_json(names),)), ready)

    def change_lane(self, name: str, change: LaneChange) -> None:
        """Set limits, weight or pause of a lane."""
        with self._file.transaction() as db:
            self._lanes.change(db, name, change, self._clock())

    def held_back(self, queues: Sequence[str]) -> bool:
        """Return whether only their lanes keep jobs from being leased (see Broker.held_back)."""
        now = self._clock()
        return any(self._file.read(lanes.SQL["held_back"], (queue, now))[0][0] for queue in queues)


def _where(wanted: Filter) -> tuple[list[str], list[Any]]:
    """Return the terms of a filter. States are literals, for the planner to see that a partial index fits."""
    terms, values = ["1 = 1"], []
    if wanted.state is not None:
        codes = CODES[wanted.state]
        terms.append(f"state IN ({', '.join(map(str, codes))})")
        if min(codes) > SUCCEEDED:
            terms.append("state > 3")
        if wanted.state is JobState.RUNNING:
            terms.append("seq IN (SELECT value FROM leases, json_each(leases.jobs))")
    for column, value in (("queue", wanted.queue), ("task", wanted.task)):
        if value is not None:
            terms.append(f"{column} = ?")
            values.append(value)
    return terms, values
