"""What a lane allows: a rate, a ceiling, a pause, as plain arithmetic over times (pure).

The rate is a token bucket in its one-variable form, the generic cell rate algorithm (ITU-T I.371, 1993): all that
has to be stored is the time by which the tokens spent so far are earned. Tokens are spent when a job is leased.
"""

import math

import msgspec

INFINITE = math.inf


class LaneLimits(msgspec.Struct, frozen=True, array_like=True):
    """How many jobs of a lane may start in a time, and how many may run at once."""

    rate: float | None = None
    """Jobs a second; None: any number."""
    burst: int = 1
    """How many may start together after a silence."""
    concurrency: int | None = None
    """How many may run at the same time; None: any number."""


class Lane(msgspec.Struct, kw_only=True):
    """A lane as a broker stores it."""

    name: str
    limits: LaneLimits = LaneLimits()
    weight: float = 1.0
    """How many turns it has where another lane has one."""
    pinned: bool = False
    """Set by hand, so that what tasks declare no longer counts."""
    paused: float = 0.0
    """Unix time until when no job of it is leased; infinite: until it is resumed."""
    running: int = 0
    """How many of its jobs are leased."""
    spent: float = 0.0
    """Unix time by which all tokens spent so far are earned."""
    queued: int = 0
    """How many of its jobs are ready to be leased; filled in where somebody looks."""

    def room(self, now: float) -> float:
        """Return how many jobs may be leased at `now`; infinite where nothing limits them."""
        if self.paused > now:
            return 0
        room = INFINITE
        limits = self.limits
        if limits.rate is not None:
            ahead = max(0.0, self.spent - now - _EARLY) * limits.rate
            room = max(0, math.floor(limits.burst - ahead))
        if limits.concurrency is not None:
            room = min(room, max(0, limits.concurrency - self.running))
        return room

    def opens(self, now: float) -> float:
        """Return 0 where a job may be leased at `now`, else when one may; infinite: not before something changes."""
        if self.limits.concurrency is not None and self.running >= self.limits.concurrency:
            return INFINITE
        at = self.paused if self.paused > now else 0.0
        if self.limits.rate is not None:
            earned = self.spent - (self.limits.burst - 1) / self.limits.rate
            if earned - now > _EARLY:
                at = max(at, earned)
        return at

    def spend(self, jobs: int, now: float) -> None:
        """Note that `jobs` have been leased."""
        self.running += jobs
        if self.limits.rate is not None and jobs:
            self.spent = max(self.spent, now) + jobs / self.limits.rate

    def give_back(self, jobs: int, unused: int) -> None:
        """Note that `jobs` are leased no longer, and that of these `unused` had not begun: their tokens come back."""
        self.running = max(0, self.running - jobs)
        if self.limits.rate is not None:
            self.spent -= unused / self.limits.rate

    def is_idle(self, now: float) -> bool:
        """Return whether nothing would be lost if the lane were made anew by the next job that names it."""
        return not (self.running or self.pinned or self.paused > now or self.spent > now) and self.weight == 1.0


_EARLY = 2e-6
"""Seconds by which a token may be early, since a time of today as a float is exact to a quarter of a microsecond."""
