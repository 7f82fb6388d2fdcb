"""AMQP frames as bytes: quick ways for the three that come once per job, pamqp for all others.

A message travels as a method frame, a header frame and frames of its body. What we write of it, and what we read,
is fixed but for a few fields, so both are packed and unpacked here by hand: docs/decisions/0015. It knows no socket.
"""

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pamqp import decode

CHANNEL = 1
"""Every connection of ours has one channel."""
METHOD, HEADER, BODY, HEARTBEAT = 1, 2, 3, 8
END = b"\xce"
BEAT = b"\x08\x00\x00\x00\x00\x00\x00\xce"

DELIVER = b"\x00\x3c\x00\x3c"
RETURN = b"\x00\x3c\x00\x32"
GET_OK = b"\x00\x3c\x00\x47"
ACK = b"\x00\x3c\x00\x50"
NACK = b"\x00\x3c\x00\x78"

_CONTENT_TYPE, _HEADERS, _DELIVERY_MODE, _PRIORITY = 0x8000, 0x2000, 0x1000, 0x0800
_CORRELATION, _REPLY_TO, _EXPIRATION, _ID, _TIME, _TYPE, _APP = 0x0400, 0x0200, 0x0100, 0x0080, 0x0040, 0x0020, 0x0008
_ENCODING, _USER, _CLUSTER = 0x4000, 0x0010, 0x0004
_FRESH = _DELIVERY_MODE | _REPLY_TO | _ID | _TIME | _TYPE
_STRINGS_BEFORE_TIME = (_CORRELATION, _REPLY_TO, _EXPIRATION, _ID)
_STRINGS_AFTER_TIME = (_TYPE, _USER, _APP, _CLUSTER)
_PERSISTENT = b"\x02"
WRAPPED = "application/x-worklist"
"""The content type of a body that is a job with its history, not the job alone."""
PERHAPS_AGAIN = "again"
"""The application id of a message that may be there twice, since its confirm was never heard."""

_frame = struct.Struct(">BHI")
_number = struct.Struct(">Q")
_flags = struct.Struct(">H")
_content = struct.Struct(">HHQH")
_ack = struct.Struct(">BHIHHQB")


def short(text: str) -> bytes:
    """Return a short string: its length in one byte, and up to 255 bytes of it."""
    data = text.encode()
    return bytes((len(data),)) + data


@lru_cache(maxsize=4096)
def publish(exchange: str, routing_key: str) -> bytes:
    """Return the method frame of a mandatory publish."""
    payload = b"\x00\x3c\x00\x28\x00\x00" + short(exchange) + short(routing_key) + b"\x01"
    return _frame.pack(METHOD, CHANNEL, len(payload)) + payload + END


def properties(
    id: str,
    task: str,
    reply_to: str,
    time: int,
    *,
    wrapped: bool = False,
    again: bool = False,
    expiration: str | None = None,
) -> bytes:
    """Return the properties of a persistent message, as they stand in its header."""
    flags = _FRESH
    head = b""
    if wrapped:
        flags |= _CONTENT_TYPE
        head = short(WRAPPED)
    middle = short(reply_to)
    if expiration is not None:
        flags |= _EXPIRATION
        middle += short(expiration)
    tail = _number.pack(time) + short(task)
    if again:
        flags |= _APP
        tail += short(PERHAPS_AGAIN)
    return _flags.pack(flags) + head + _PERSISTENT + middle + short(id) + tail


def message(publish: bytes, properties: bytes, body: bytes, largest: int) -> bytes:
    """Return all frames of one message; `largest` is how many bytes of a body one frame holds."""
    size = len(body)
    header = b"\x00\x3c\x00\x00" + _number.pack(size) + properties
    frames = publish + _frame.pack(HEADER, CHANNEL, len(header)) + header + END
    if size <= largest:
        return frames + _frame.pack(BODY, CHANNEL, size) + body + END if size else frames
    parts = [frames]
    for start in range(0, size, largest):
        part = body[start : start + largest]
        parts.append(_frame.pack(BODY, CHANNEL, len(part)) + part + END)
    return b"".join(parts)


def ack(tag: int, multiple: bool = False) -> bytes:
    """Return the frame that acknowledges a delivery, or all up to it."""
    return _ack.pack(METHOD, CHANNEL, 13, 60, 80, tag, multiple) + END


def confirmed(payload: bytes) -> tuple[int, bool]:
    """Return what a basic.ack or basic.nack of the server says: a number, and whether it means all up to it."""
    return _number.unpack_from(payload, 4)[0], bool(payload[12] & 1)


class Message:
    """A message that has come in. `tag` numbers it within its channel; a returned one has none.

    `queue`, `origin`, `history`, `started` and `passed_on` are for those who take it.
    """

    __slots__ = (
        "again",
        "body",
        "consumer",
        "headers",
        "history",
        "id",
        "origin",
        "passed_on",
        "queue",
        "redelivered",
        "reply_to",
        "started",
        "tag",
        "task",
        "time",
        "wrapped",
    )

    def __init__(self, tag: int, consumer: str, redelivered: bool) -> None:
        self.tag = tag
        self.consumer = consumer
        self.redelivered = redelivered
        self.headers: dict[str, object] | None = None
        self.wrapped = self.again = self.passed_on = False
        self.id = self.task = self.reply_to = self.queue = self.origin = ""
        self.time = 0
        self.started = 0.0
        self.history: Any = None
        self.body = b""


def _deliver(payload: bytes) -> Message:
    end = 5 + payload[4]
    return Message(_number.unpack_from(payload, end)[0], payload[5:end].decode(), payload[end + 8] == 1)


def _got(payload: bytes) -> Message:
    return Message(_number.unpack_from(payload, 4)[0], "", payload[12] == 1)


def _returned(payload: bytes) -> Message:
    return Message(0, payload[7 : 7 + payload[6]].decode(), False)  # why, in words


_WITH_CONTENT: dict[bytes, Callable[[bytes], Message]] = {DELIVER: _deliver, GET_OK: _got, RETURN: _returned}


def _read_properties(it: Message, payload: bytes) -> None:
    """Fill in the properties of a message: those of a job that nobody has touched in the quick way."""
    flags = _flags.unpack_from(payload, 12)[0]
    if flags != _FRESH:
        _read_any_properties(it, payload, flags)
        return
    end = 16 + payload[15]
    it.reply_to = payload[16:end].decode()
    start = end + 1
    end = start + payload[end]
    it.id = payload[start:end].decode()
    it.time = _number.unpack_from(payload, end)[0]
    it.task = payload[end + 9 : end + 9 + payload[end + 8]].decode()


def _read_any_properties(it: Message, payload: bytes, flags: int) -> None:
    at = 14
    found: dict[int, str] = {}

    def string(flag: int) -> None:
        nonlocal at
        if flags & flag:
            end = at + 1 + payload[at]
            found[flag] = payload[at + 1 : end].decode("utf-8", "replace")
            at = end

    string(_CONTENT_TYPE)
    string(_ENCODING)
    if flags & _HEADERS:
        used, it.headers = decode.field_table(payload[at:])  # type: ignore[assignment]
        at += used
    at += bool(flags & _DELIVERY_MODE) + bool(flags & _PRIORITY)
    for flag in _STRINGS_BEFORE_TIME:
        string(flag)
    if flags & _TIME:
        it.time = _number.unpack_from(payload, at)[0]
        at += 8
    for flag in _STRINGS_AFTER_TIME:
        string(flag)
    it.reply_to, it.id, it.task = found.get(_REPLY_TO, ""), found.get(_ID, ""), found.get(_TYPE, "")
    it.wrapped, it.again = found.get(_CONTENT_TYPE) == WRAPPED, found.get(_APP) == PERHAPS_AGAIN


class Reader:
    """Takes bytes as they arrive, and hands on what they hold.

    `on_message` gets messages and the first four bytes of the method that brought each; `on_method` gets the payload
    of every other method, and the whole frame for pamqp to read.
    """

    def __init__(self, on_message: Callable[[bytes, Message], object], on_method: Callable[[bytes, bytes], object]):
        self._on_message = on_message
        self._on_method = on_method
        self._rest = b""
        self._kind = b""
        self._message: Message | None = None
        self._missing = 0
        self._parts: list[bytes] = []

    def feed(self, data: bytes) -> None:
        """Take what has arrived."""
        if self._rest:
            data = self._rest + data
        at, size = 0, len(data)
        unpack = _frame.unpack_from
        while size - at >= 8:
            kind, _, length = unpack(data, at)
            end = at + 7 + length
            if end >= size:
                break
            self._take(kind, data[at + 7 : end], data, at, end)
            at = end + 1
        self._rest = data[at:]

    def _take(self, kind: int, payload: bytes, data: bytes, at: int, end: int) -> None:
        if kind == METHOD:
            make = _WITH_CONTENT.get(payload[:4])
            if make is None:
                self._on_method(payload, data[at : end + 1])
            else:
                self._kind, self._message = payload[:4], make(payload)
        elif kind == HEADER:
            self._missing = _number.unpack_from(payload, 4)[0]
            if self._message is not None:
                _read_properties(self._message, payload)
            if not self._missing:
                self._complete()
        elif kind == BODY:
            self._missing -= len(payload)
            self._parts.append(payload)
            if self._missing <= 0:
                self._complete()

    def _complete(self) -> None:
        it, self._message = self._message, None
        parts, self._parts = self._parts, []
        if it is not None:
            it.body = parts[0] if len(parts) == 1 else b"".join(parts)
            self._on_message(self._kind, it)
