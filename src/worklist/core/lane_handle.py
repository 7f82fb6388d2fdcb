"""The handle of a lane: look at it, limit it, pause it, at run time and from anywhere."""

import time
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

import msgspec

from .errors import ConfigError
from .lane import INFINITE, Lane, LaneLimits
from .ports import LaneChange
from .task import check_option, lane_limits
from .units import Duration, seconds

UNSET = msgspec.UNSET
_MAX_WEIGHT = 1000.0


class LaneStore(Protocol):
    """Where a handle looks."""

    def lanes(self, names: Sequence[str] | None = None) -> list[Lane]:
        """Return lanes as they are now."""

    def change_lane(self, name: str, change: LaneChange) -> None:
        """Set limits, weight or pause of a lane."""


class LaneHandle:
    """One lane, known by its name."""

    def __init__(self, name: str, store: LaneStore) -> None:
        self.name = name
        self._store = store

    def record(self) -> Lane:
        """Return the lane as it is now; one that nobody has used or set has no limits and no jobs."""
        found = self._store.lanes((self.name,))
        return found[0] if found else Lane(name=self.name)

    @property
    def rate(self) -> float | None:
        """How many jobs a second may start; None: any number."""
        return self.record().limits.rate

    @property
    def burst(self) -> int:
        """How many jobs may start together after a silence."""
        return self.record().limits.burst

    @property
    def concurrency(self) -> int | None:
        """How many jobs may run at once; None: any number."""
        return self.record().limits.concurrency

    @property
    def weight(self) -> float:
        """How many turns it has where another lane has one."""
        return self.record().weight

    @property
    def running(self) -> int:
        """How many of its jobs workers hold."""
        return self.record().running

    @property
    def queued(self) -> int:
        """How many of its jobs are ready to be leased."""
        return self.record().queued

    @property
    def paused(self) -> bool:
        """Whether no job of it is leased now."""
        return self.record().paused > time.time()

    def set(
        self,
        *,
        rate: float | str | msgspec.UnsetType | None = UNSET,
        burst: int | msgspec.UnsetType | None = UNSET,
        concurrency: int | msgspec.UnsetType | None = UNSET,
        weight: float | msgspec.UnsetType = UNSET,
    ) -> None:
        """Set limits or weight, for every worker and for good; None lifts a limit, what is left out stays.

        Limits that are set so win over those that tasks declare, until `reset`. Raises ConfigError.
        """
        given = {"rate": rate, "burst": burst, "concurrency": concurrency}
        what = f"lane {self.name!r}"
        changed = {name: check_option(name, it, f"{what}: {name}") for name, it in given.items() if it is not UNSET}
        change = LaneChange(weight=weight if weight is UNSET else _weight(weight, f"{what}: weight"))
        if changed:
            change = msgspec.structs.replace(change, limits=self._limits(changed), pinned=True)
        self._store.change_lane(self.name, change)

    def _limits(self, changed: dict[str, Any]) -> LaneLimits:
        now = self.record().limits
        burst = now.burst if "rate" not in changed else None
        known = {"rate": now.rate, "burst": burst, "concurrency": now.concurrency}
        return lane_limits(**{**known, **changed})

    def reset(self) -> None:
        """Let what tasks declare of the lane count again, with the next job that is put in it."""
        self._store.change_lane(self.name, LaneChange(pinned=False))

    def pause(self, until: datetime | Duration | None = None) -> None:
        """Have no job of it leased until a moment, for a time, or until `resume`; those that run go on."""
        self._store.change_lane(self.name, LaneChange(paused=_moment(until)))

    def resume(self) -> None:
        """Have its jobs leased again."""
        self._store.change_lane(self.name, LaneChange(paused=0.0))

    def __repr__(self) -> str:
        return f"<LaneHandle {self.name}>"


def _moment(until: datetime | Duration | None) -> float:
    if until is None:
        return INFINITE
    if isinstance(until, datetime):
        return float(check_option("eta", until, "the end of the pause"))
    return time.time() + seconds(until, "the length of the pause")


def _weight(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 1 / _MAX_WEIGHT <= value <= _MAX_WEIGHT:
        raise ConfigError(f"{what} is {value!r}; expected a number from {1 / _MAX_WEIGHT:g} to {_MAX_WEIGHT:g}")
    return float(value)
