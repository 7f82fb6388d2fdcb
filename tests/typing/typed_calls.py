"""Checked by mypy in test_typing.py, never run: a call of a task is typed like a call of its function.

A line that is wrong says so with the code of the error it must give.
"""

import asyncio
from typing import assert_type

from worklist import GroupHandle, JobHandle, JobUpdate, Worklist, chain, chord, group
from worklist.core.workflow import Chain, Group, Step

app = Worklist("memory://")


@app.task
def send(to: str, copies: int = 1) -> int:
    return copies


@app.task(queue="mail", retries=3, timeout="5m", backoff=[1, "1m"], key=lambda to, **_: to)
def declared(to: str, *, urgent: bool = False) -> list[str]:
    return [to]


@app.task
async def fetch(url: str) -> bytes:
    return b""


@app.task(queue="mail")
async def fetch_with_options(url: str) -> bytes:
    return b""


# the function itself
assert_type(send("a"), int)
assert_type(declared("a", urgent=True), list[str])
assert_type(asyncio.run(fetch("u")), bytes)
assert_type(asyncio.run(fetch_with_options("u")), bytes)
fetch(5)  # E: arg-type, unused-coroutine
send(1)  # E: arg-type
send()  # E: call-arg

# enqueue
assert_type(send.enqueue("a", 2), JobHandle[int])
assert_type(send.enqueue("a", copies=2).result(timeout=1), int)
assert_type(declared.enqueue("a", urgent=True).result(), list[str])
assert_type(fetch.enqueue("u").result(), bytes)
assert_type(fetch_with_options.enqueue("u").result(), bytes)
send.enqueue(1)  # E: arg-type
send.enqueue()  # E: call-arg
send.enqueue("a", "b")  # E: arg-type
send.enqueue("a", copy=2)  # E: call-arg
send.enqueue("a", 1, 2)  # E: call-arg
declared.enqueue("a", True)  # E: call-arg
fetch.enqueue(b"u")  # E: arg-type

# using
assert_type(send.using(delay=60, key="k").enqueue("a"), JobHandle[int])
send.using(delay=60).enqueue(5)  # E: arg-type

# many
assert_type(send.enqueue_many([("a",), {"to": "b"}]), list[JobHandle[int]])
send.enqueue_many(["a"])  # E: list-item


async def coroutine() -> None:
    assert_type(await send.aenqueue("a"), JobHandle[int])
    assert_type(await (await send.aenqueue("a")), int)
    assert_type(await fetch.enqueue("u"), bytes)
    await send.aenqueue(1)  # E: arg-type
    await send.using(priority=1).aenqueue()  # E: call-arg


# workflows
assert_type(send.s("a"), Step[int])
assert_type(send.s(), Step[int])
assert_type(send.si("a", copies=2), Step[int])
assert_type(fetch.s("u"), Step[bytes])
assert_type(send.using(priority=1).si("a"), Step[int])
assert_type(send.s("a") | send.si("b"), Chain)
assert_type(send.s("a").then(send.s(), when="all"), Chain)
assert_type(chain(send.s("a"), send.s()), Chain)
assert_type(group(send.s("a"), fetch.s("u")), Group)
assert_type(group(send.s(str(n)) for n in range(3)), Group)
assert_type(send.map(["a", "b"]), Group)
assert_type(send.starmap([("a", 1)]), Group)
assert_type(chord(send.map(["a"]), send.s()), Chain)
assert_type(app.group(then=send.s()), GroupHandle)
send.si(1)  # E: arg-type
send.si()  # E: call-arg
chain(send)  # E: arg-type
chain(len)  # E: arg-type
group(5)  # E: arg-type
group([send])  # E: list-item
chord([send.s("a")], send)  # E: arg-type
send.s("a") | send  # E: operator
send.s("a").then(send.s(), when="ever")  # E: arg-type
app.group(then=send)  # E: arg-type

# lanes
assert_type(app.lane("a").rate, float | None)
app.lane("a").set(rate="10/s", concurrency=None, weight=2)
app.lane("a").set(rate=[1])  # E: arg-type
app.lane("a").set(wait=2)  # E: call-arg


# options of a task
@app.task(retries="three")  # E: call-overload, untyped-decorator
def bad_type() -> None: ...


@app.task(retrys=3)  # E: call-overload, untyped-decorator
def bad_name() -> None: ...


@app.task(results="some")  # E: call-overload, untyped-decorator
def bad_policy() -> None: ...


# a handle from anywhere
assert_type(app.job("0").status is None, bool)

# watching
for update in send.enqueue("a").updates(timeout=1):
    assert_type(update, JobUpdate)
for completed in app.as_completed([send.enqueue("a")]):
    assert_type(completed.result(), int)
done, pending = app.wait([send.enqueue("a")], return_when="first")
assert_type(done, set[JobHandle[int]])
app.wait([send.enqueue("a")], return_when="frist")  # E: arg-type
app.wait(["0"])  # E: arg-type


async def watch() -> None:
    async for update in send.enqueue("a").updates():
        assert_type(update.lines, tuple[str, ...])
    async for completed in app.as_completed([send.enqueue("a")]):
        assert_type(await completed, int)
