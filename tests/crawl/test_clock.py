"""The clock of hosts: a delay counts from when a request has left."""

import asyncio
import time

from worklist.crawl import clock
from worklist.crawl.clock import HostClock

DELAYS = {"slow": 0.1, "free": 0.0}


def test_one_begins_in_a_delay():
    hosts = HostClock(DELAYS.__getitem__)
    assert hosts.let("slow") == 0
    assert 0.09 < hosts.let("slow") <= 0.1
    assert [hosts.let("free"), hosts.let("free")] == [0, 0]
    hosts.pause("free", 5)
    assert 4.9 < hosts.let("free") <= 5


def test_the_delay_counts_from_when_a_request_has_left():
    async def run():
        hosts = HostClock(DELAYS.__getitem__)
        left = []

        async def ask(connecting):
            assert await hosts.turn("slow")
            await asyncio.sleep(connecting)
            assert hosts.is_leaving("slow")
            hosts.left("slow")
            left.append(time.monotonic())

        await asyncio.gather(ask(0.15), ask(0.0), ask(0.0))
        return left

    first, second, third = asyncio.run(run())
    assert second - first >= 0.1
    assert third - second >= 0.1


def test_who_does_not_wait_is_told_so():
    async def run():
        hosts = HostClock(DELAYS.__getitem__)
        assert not await hosts.turn("free")
        hosts.pause("free", 0.1)
        begun = time.monotonic()
        assert not await hosts.turn("free")
        assert time.monotonic() - begun >= 0.1

    asyncio.run(run())


def test_hosts_of_the_past_are_forgotten(monkeypatch):
    monkeypatch.setattr(clock, "_MOST_HOSTS", 10)
    hosts = HostClock(lambda host: 1e-9)
    for number in range(1_000):
        hosts.let(f"host-{number}")
        hosts.left(f"host-{number}")
    assert len(hosts._let) <= 11
    hosts.pause("x", 1)
    assert list(hosts._next) == ["x"]
