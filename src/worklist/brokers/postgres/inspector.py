"""What people see of the queue on PostgreSQL, and what they may change: jobs, queues, groups and lanes.

It leases and settles nothing; the broker inherits it.
"""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from ...core.codec import Codec
from ...core.errors import ConfigError, UndecodableJob
from ...core.job import KEEP_UNRUN, GroupId, Job, JobId, JobRecord, JobState
from ...core.lane import Lane
from ...core.outcome import PREDECESSOR_FAILED
from ...core.ports import Change, Filter, GroupRecord, LaneChange, WorkerInfo
from ..sql.records import (
    CANCELLED,
    CODES,
    LANE,
    RUNNING,
    STATES,
    SUCCEEDED,
    WAITING,
    last_error,
    place_or_nowhere,
    record_of,
)
from . import groups, lanes, rows
from .arrays import Integers, Texts
from .groups import PostgresGroups
from .lanes import PostgresLanes
from .rows import QUEUED, SQL
from .server import PostgresServer, Session

T = TypeVar("T")
_BATCH = 5000
"""How many jobs of a group one transaction cancels."""
_DAMAGED = Job("", "")
_NOT_BEGUN = (WAITING, QUEUED)
_decode_worker = msgspec.msgpack.Decoder(WorkerInfo).decode


class PostgresInspector:
    """Inspector, Groups and Lanes on one server."""

    _server: PostgresServer
    _codec: Codec
    _clock: Callable[[], float] | None
    _lanes: PostgresLanes
    _groups: PostgresGroups

    def _alone(self, work: Callable[[Session, float], T], slow: bool = False) -> T:
        """Do work in a transaction, alone: the broker's."""
        raise NotImplementedError

    def _transact(self, work: Callable[[Session, float], T]) -> T:
        """Do work in a transaction: the broker's."""
        raise NotImplementedError

    def _fixed(self) -> float | None:
        """Return the time by the clock that was given; None where the server's counts."""
        raise NotImplementedError

    # -- looking --------------------------------------------------------------------------------------------

    def load(self, ids: Sequence[JobId]) -> list[JobRecord | None]:
        """Return the records of jobs (see ResultStore.load)."""
        found = self._load_at(SQL["of_ids"], ids)
        absent = [id for id in ids if id not in found]
        if absent:
            found |= self._load_at(SQL["of_ids_aside"], absent)
        return [found.get(id) for id in ids]

    def _load_at(self, where: str, ids: Sequence[JobId]) -> dict[JobId, JobRecord]:
        """Return what is known of jobs that stand at the places which their ids say, or beside them."""
        values = {"places": Integers([place_or_nowhere(id) for id in ids]), "ids": Texts(ids)}
        return {row[0]: record_of(row) for row in self._server.call(f"{SQL['record']} {where}", values)}

    def counts(self) -> dict[str, dict[JobState, int]]:
        """Return how many jobs each queue has in each state."""
        counts: dict[str, dict[JobState, int]] = {}
        for queue, state, count in self._server.call(SQL["counts"], slow=True):
            of_queue = counts.setdefault(queue, {})
            of_queue[STATES[state]] = of_queue.get(STATES[state], 0) + int(count)
        return counts

    def find(self, wanted: Filter) -> list[JobRecord]:
        """Return the jobs that fit a filter."""
        terms, values = _where(wanted)
        order = "DESC" if wanted.newest_first else "ASC"
        statement = f"{SQL['record']} WHERE {' AND '.join(terms)} ORDER BY seq {order} LIMIT %s"
        return [record_of(row) for row in self._server.call(statement, [*values, wanted.limit], slow=True)]

    def workers(self) -> list[WorkerInfo]:
        """Return the workers that are alive."""
        return [_decode_worker(info) for (info,) in self._server.call(SQL["workers"], (self._fixed(),))]

    def paused(self) -> list[str]:
        """Return the paused queues."""
        return [queue for (queue,) in self._server.call(SQL["paused"])]

    # -- changing jobs --------------------------------------------------------------------------------------

    def change(self, ids: Sequence[JobId], change: Change) -> list[JobId]:
        """Cancel, retry or delete jobs (see Inspector.change)."""
        actions = {"cancel": self._cancel, "retry": self._retry, "delete": self._delete}
        if change not in actions:
            raise ConfigError(f"a job cannot be changed by {change!r}; expected cancel, retry or delete")

        def change_all(db: Session, now: float) -> list[JobId]:
            changed = []
            for id in ids:  # one after the other: an id may stand there twice
                row = db.execute(SQL["changeable"], {"place": place_or_nowhere(id), "id": id}).fetchone()
                changed += [row[1]] if row is not None and actions[change](db, row, now) else []
            return changed

        return self._alone(change_all, slow=True)

    def _cancel(self, db: Session, row: tuple[Any, ...], now: float) -> bool:
        seq, id, state, key, *_ = row
        if state == RUNNING:
            db.execute(SQL["ask_to_stop"], ([seq],))
        elif state in _NOT_BEGUN:
            self._end_early(db, seq, id, key, now)
            self._groups.ended_without_worker(db, [seq], CANCELLED, now)
        return state in _NOT_BEGUN or state == RUNNING

    def _end_early(self, db: Session, seq: int, id: JobId, key: str | None, now: float) -> None:
        rows.take_out(db, [seq])
        rows.end(db, seq, id, key, CANCELLED, None, now)
        rows.retain(db, {KEEP_UNRUN: [seq]}, now)

    def _retry(self, db: Session, row: tuple[Any, ...], now: float) -> bool:
        """Queue a finished job again, unless its key has gone to another one, or it lacks what it waited for."""
        seq, id, state, key, body, tied, lane, grp, queue, errors = row
        error = last_error(errors)
        if state < SUCCEEDED or (state == CANCELLED and error is not None and error.type == PREDECESSOR_FAILED):
            return False
        if key is not None and not rows.hold_again(db, seq, id, key, self._decoded(body), now):
            return False
        db.execute(rows.SQL["forget_ended"], ([seq],))
        db.execute(SQL["retry"], (now, seq))
        rows.queue_up(db, [seq], now)
        if lane is not None:
            self._lanes.line_up(db, [(lane, queue)], now)
        if tied > LANE:
            self._groups.retried(db, seq, tied, grp, state, now)
        return True

    def _delete(self, db: Session, row: tuple[Any, ...], now: float) -> bool:
        seq, id, state, key, *_ = row
        if state == RUNNING:
            return False
        if state in _NOT_BEGUN:
            rows.take_out(db, [seq])
            rows.end(db, seq, id, key, CANCELLED, None, now)
            self._groups.ended_without_worker(db, [seq], CANCELLED, now)
        db.execute(rows.SQL["forget_ended"], ([seq],))
        db.execute(SQL["delete"], ([seq],))
        rows.free_keys(db, [(key, id)] if key is not None else [])
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

        def purge_some(db: Session, now: float) -> int:
            found = db.execute(SQL["purgeable"], (queue, [*CODES[state]])).fetchall()
            places = [seq for seq, *_ in found]
            if not state.finished:
                rows.take_out(db, places)
                self._cancel_tied(db, [(seq, id, key) for seq, id, key, tied in found if tied > LANE], now)
            db.execute(rows.SQL["forget_ended"], (places,))
            db.execute(SQL["delete"], (places,))
            rows.free_keys(db, [(key, id) for _, id, key, _ in found if key is not None])
            return len(found)

        while some := self._alone(purge_some, slow=True):
            removed += some
        return removed

    def _cancel_tied(self, db: Session, jobs: Sequence[tuple[int, JobId, str | None]], now: float) -> None:
        """End jobs that are about to be removed, all of them before others hear of it: some may wait for each other."""
        for seq, id, key in jobs:
            rows.end(db, seq, id, key, CANCELLED, None, now)
        self._groups.ended_without_worker(db, [seq for seq, *_ in jobs], CANCELLED, now)

    def pause(self, queue: str, paused: bool) -> None:
        """Pause or resume a queue."""
        self._alone(lambda db, now: db.execute(SQL["pause" if paused else "resume"], (queue,)))

    # -- groups ---------------------------------------------------------------------------------------------

    def open_group(self, id: GroupId, most: int | None = None) -> None:
        """Make a group that does not end before it is sealed (see Groups.open_group)."""
        self._transact(lambda db, now: db.execute(groups.SQL["open"], (id, now, most)))

    def seal_group(self, id: GroupId) -> None:
        """Let a group end."""
        self._alone(lambda db, now: self._groups.seal(db, id, now))

    def load_groups(self, ids: Sequence[GroupId]) -> list[GroupRecord | None]:
        """Return what is known of groups."""
        found = {row[1]: row for row in self._server.call(groups.SQL["load"], ([*ids],))}
        still_open = [row[0] for row in found.values() if row[-1] is None]
        running: dict[int, int] = dict(self._server.call(groups.SQL["running"], (still_open,))) if still_open else {}
        return [groups.group_of(found[id], running.get(found[id][0], 0)) if id in found else None for id in ids]

    def members(self, id: GroupId, ended_after: tuple[float, JobId] | None, limit: int) -> list[JobRecord]:
        """Return members that have ended, in the order of their end."""
        at, job = ended_after or (0.0, "")
        statement = f"{SQL['record']} {groups.SQL['members']}"
        return [record_of(row) for row in self._server.call(statement, (id, at, place_or_nowhere(job), limit))]

    def results(self, id: GroupId) -> list[bytes | None]:
        """Return the results of all members in the order in which they were made."""
        return [result for (result,) in self._server.call(groups.SQL["results"], (id,), slow=True)]

    def call_off(self, id: GroupId) -> int:
        """Cancel what has not begun of a group and ask what runs to stop, some thousands in a transaction."""
        self._server.change(groups.SQL["call_off"], (id,))
        found = self._server.call(groups.SQL["group"], (id,))
        cancelled, last = 0, -1

        def cancel_some(db: Session, now: float) -> list[tuple[Any, ...]]:
            batch = db.execute(groups.SQL["unfinished"], (found[0][0], last, _BATCH)).fetchall()
            for row in batch:
                self._call_off(db, row, now)
            begun = [seq for seq, _, state, _ in batch if state == RUNNING]
            self._groups.ended_without_worker(db, [seq for seq, *_ in batch if seq not in begun], CANCELLED, now)
            self._groups.end_where_over(db, [found[0][0]], now)
            return batch

        while found:
            batch = self._alone(cancel_some, slow=True)
            cancelled += len(batch)
            if len(batch) < _BATCH:
                break
            last = batch[-1][0]
        return cancelled

    def _call_off(self, db: Session, row: tuple[int, JobId, int, str | None], now: float) -> None:
        seq, id, state, key = row
        if state == RUNNING:
            db.execute(SQL["ask_to_stop"], ([seq],))
        else:
            self._end_early(db, seq, id, key, now)

    # -- lanes ----------------------------------------------------------------------------------------------

    def lanes(self, names: Sequence[str] | None = None) -> list[Lane]:
        """Return lanes as they are now."""
        self._welcome()
        if names is None:
            ready: dict[str, int] = dict(self._server.call(lanes.SQL["ready_in_lanes"]))
            return lanes.lanes_of(self._server.call(lanes.SQL["all_lanes"]), ready)
        ready = dict(self._server.call(lanes.SQL["ready_in_some_lanes"], ([*names],)))
        return lanes.lanes_of(self._server.call(lanes.SQL["some_lanes"], ([*names],)), ready)

    def _welcome(self) -> None:
        """See to the lanes of jobs that were put in transactions of the callers' own."""
        if self._server.call(lanes.SQL["any_arrivals"])[0][0]:
            self._alone(self._lanes.welcome)

    def change_lane(self, name: str, change: LaneChange) -> None:
        """Set limits, weight or pause of a lane."""
        self._alone(lambda db, now: self._lanes.change(db, name, change, now))

    def held_back(self, queues: Sequence[str]) -> bool:
        """Return whether only their lanes keep jobs from being leased (see Broker.held_back)."""
        self._welcome()
        return bool(self._server.call(lanes.SQL["held_back"], {"queues": [*queues], "now": self._fixed()})[0][0])


def _where(wanted: Filter) -> tuple[list[str], list[Any]]:
    """Return the terms of a filter, and their values."""
    terms = ["true"]
    values: list[Any] = []
    if wanted.state is not None:
        terms.append("state = ANY (%s::smallint[])")
        values.append([*CODES[wanted.state]])
        if wanted.state is JobState.RUNNING:
            terms.append("seq IN (SELECT unnest(jobs) FROM @.leases)")
        elif wanted.state is JobState.FAILED:
            terms.append("errors IS NOT NULL")  # there is an index of these
    for column, value in (("queue", wanted.queue), ("task", wanted.task)):
        if value is not None:
            terms.append(f"{column} = %s")
            values.append(value)
    return terms, values
