"""Payload <-> bytes: msgpack by msgspec, never pickle. A Codec with a secret signs what it encodes.

Python types that msgspec does not know of are handled by two hooks: paths, pydantic models, numpy scalars
and arrays (stored as lists).
"""

import hashlib
import hmac
from pathlib import PurePath
from typing import Any

import msgspec

from .errors import UndecodableJob
from .job import Job

_SIGNATURE_BYTES = 32
_SIGNED = b"\x01"


def to_plain(value: Any) -> Any:
    """Turn a value that msgspec cannot encode into one that it can. Raises NotImplementedError for others."""
    if isinstance(value, PurePath):
        return str(value)
    if hasattr(value, "model_dump"):
        return value.model_dump()
    if hasattr(value, "tolist"):
        return value.tolist()
    raise NotImplementedError(f"a value of type {type(value).__qualname__} cannot be stored")


def from_plain(wanted: type, value: Any) -> Any:
    """Turn a decoded value into the annotated type that msgspec does not know."""
    if isinstance(value, wanted):
        return value
    if hasattr(wanted, "model_validate"):
        return wanted.model_validate(value)
    if isinstance(wanted, type) and issubclass(wanted, PurePath):
        return wanted(value)
    raise NotImplementedError(f"a value of type {wanted.__qualname__} cannot be restored")


encode_value = msgspec.msgpack.Encoder(enc_hook=to_plain).encode
"""Return a value as msgpack bytes. Raises TypeError, ValueError or OverflowError where it cannot be stored."""


def decode_value(data: bytes, wanted: Any = Any) -> Any:
    """Return the value that was encoded, as `wanted` where it fits that annotation, else as plain data."""
    if wanted is not Any:
        try:
            return msgspec.msgpack.decode(data, type=wanted, dec_hook=from_plain)
        except (msgspec.ValidationError, NotImplementedError, TypeError):
            pass
    return msgspec.msgpack.decode(data)


class Codec:
    """Jobs to bytes and back. With a `secret`, bodies carry an HMAC-SHA256, and unsigned ones are refused."""

    def __init__(self, secret: str | bytes | None = None) -> None:
        self._secret = secret.encode() if isinstance(secret, str) else secret
        self._encode = msgspec.msgpack.Encoder().encode
        self._decode = msgspec.msgpack.Decoder(Job).decode

    def encode(self, job: Job) -> bytes:
        """Return the job's body."""
        return self.seal(self._encode(job))

    def decode(self, body: bytes) -> Job:
        """Return the job in `body`. Raises UndecodableJob where it is damaged or not signed as it should be."""
        body = self.unseal(body)
        try:
            return self._decode(body)
        except (msgspec.DecodeError, TypeError) as error:
            hint = "; it is signed: this app needs the secret" if body[:1] == _SIGNED else ""
            raise UndecodableJob(f"the stored bytes are no job of this Worklist ({error}){hint}") from None

    def seal(self, data: bytes) -> bytes:
        """Return bytes with their signature before them; without a secret as they are."""
        return data if self._secret is None else _SIGNED + self._sign(data) + data

    def unseal(self, data: bytes) -> bytes:
        """Return what was sealed. Raises UndecodableJob where it is not signed as it should be."""
        return data if self._secret is None else self._verified(data)

    def _sign(self, body: bytes) -> bytes:
        return hmac.digest(self._secret or b"", body, hashlib.sha256)

    def _verified(self, body: bytes) -> bytes:
        start = len(_SIGNED) + _SIGNATURE_BYTES
        signature, rest = body[len(_SIGNED) : start], body[start:]
        if body[:1] != _SIGNED or not hmac.compare_digest(signature, self._sign(rest)):
            raise UndecodableJob(
                "the job is not signed with this app's secret: it was altered, or put by an app with another secret"
            )
        return rest
