"""Scripts for Redis are put together of what they need, and of all of it."""

import re
import secrets
from importlib import resources

import pytest

from worklist.brokers import lua
from worklist.brokers.redis import RedisBroker
from worklist.core.outcome import Done
from worklist.core.ports import Settlement
from worklist.testing.contract_tools import a_job

from ..servers.redis import needs_redis, shared

VERBS = sorted(
    file.name.removeprefix("verb_").removesuffix(".lua")
    for file in resources.files(lua).iterdir()
    if file.name.startswith("verb_")
)
PARTS = "\n".join((resources.files(lua) / f"{part}.lua").read_text() for part in lua.PARTS)
LOCAL = re.findall(r"^local function (\w+)", PARTS, re.MULTILINE)


@pytest.mark.parametrize("verb", VERBS)
def test_a_script_has_all_that_it_calls(verb: str) -> None:
    text = lua.script(verb, KEEP_UNRUN=1)
    made = set(re.findall(r"^function (W\.\w+)", text, re.MULTILINE))
    assert set(re.findall(r"W\.\w+", text)) == made
    for name in LOCAL:
        first = re.search(rf"(?<![\w.]){name}\(", text)
        assert first is None or text[: first.start()].endswith("local function "), f"{name} is called before it is made"


def test_a_script_has_nothing_that_it_does_not_call() -> None:
    assert "function W." not in lua.script("now", KEEP_UNRUN=1)
    assert "lane" not in lua.script("put_plain", KEEP_UNRUN=1)
    assert set(re.findall(r"^function W\.(\w+)", lua.script("counts", KEEP_UNRUN=1), re.MULTILINE)) == {"count"}


def test_a_script_has_no_table_that_nothing_names() -> None:
    assert "STATE_NAMES" in lua.script("find", KEEP_UNRUN=1)
    for name in ("STATE_NAMES", "COUNTERS", "kept", "INFINITE"):
        assert name not in lua.script("put_one", KEEP_UNRUN=1)


@needs_redis
def test_what_happens_to_most_jobs_is_all_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    unwanted = "setmetatable(W, {{__index = function(_, name) error(name .. ' is not at hand') end}})"
    monkeypatch.setattr(lua, "_LATER", unwanted)
    broker = RedisBroker(lambda: shared().client, prefix=f"test-{secrets.token_hex(6)}")
    broker.put([a_job()])
    broker.put([a_job() for _ in range(20)])
    (first,) = broker.lease("w", ["default"], 1, 30.0)
    second, third = broker.exchange([Settlement(first, Done(b"\x01"), "all", 60.0)], "w", ["default"], 2, 30.0)
    broker.settle([Settlement(second, Done(b"\x01"), "all", 60.0)])
    broker.settle([Settlement(third, Done(b"\x01"), "none", 60.0)])
    assert len(broker.lease("w", ["default"], 100, 30.0)) == 18
    assert broker.lease("w", ["default"], 100, 30.0) == []
    broker.close()
    client = shared().client
    client.flushall()
    client.close()


def test_what_is_rarely_needed_is_made_when_it_is_called() -> None:
    text = lua.script("exchange", KEEP_UNRUN=1)
    named = re.search(r"^-- At hand: (.*)", text, re.MULTILINE)
    assert named, "it says what it nearly always needs"
    at_once, _, later = text.partition("local function make_others()")
    assert set(named[1].split()) <= set(re.findall(r"^function W\.(\w+)", at_once, re.MULTILINE))
    assert "function W.put_one(" in later
    assert "function W.put_one(" not in at_once
