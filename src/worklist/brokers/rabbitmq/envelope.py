"""What travels with a job: nothing but its body at first, and its history once it has been tried.

The history is part of the message's body, not of its headers, for these have to fit in one frame.
"""

import msgspec

from ...core.job import ErrorInfo
from .frames import Message

MAX_ERRORS = 20
"""How many failed attempts travel with a job; of more, the first and the last ones."""
MAX_TRACEBACK = 4000
"""Characters of a traceback that travel, from its end."""


class History(msgspec.Struct, array_like=True, gc=False):
    """A job that was put back, or that has an expiry: its body, and what has become of it so far."""

    body: bytes
    attempt: int = 0
    """How often it was started."""
    lost: int = 0
    """How many of these ended with the death of the worker."""
    enqueued: float = 0.0
    expires: float | None = None
    """Unix time after which it is not started."""
    errors: tuple[ErrorInfo, ...] = ()


encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(History).decode


def history_of(message: Message) -> History:
    """Return what has become of a job so far. A message that cannot be read is a job that cannot be read."""
    if message.wrapped:
        try:
            return _decode(message.body)
        except msgspec.DecodeError:
            pass
    return History(message.body, enqueued=float(message.time))


def with_error(errors: tuple[ErrorInfo, ...], error: ErrorInfo | None) -> tuple[ErrorInfo, ...]:
    """Return errors with one more, no longer than may travel."""
    if error is None:
        return errors
    if len(error.traceback) > MAX_TRACEBACK:
        error = msgspec.structs.replace(error, traceback=error.traceback[-MAX_TRACEBACK:])
    errors = (*errors, error)
    return errors if len(errors) <= MAX_ERRORS else (*errors[:1], *errors[-(MAX_ERRORS - 1) :])
