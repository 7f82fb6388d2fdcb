"""One connection to RabbitMQ with one channel: opening it, asking and hearing answers, heartbeats, its end.

There is no thread in here: whoever uses a connection reads from it. It knows frames, and neither queues nor jobs.
"""

import contextlib
import select
import socket
import ssl
import struct
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import pamqp.exceptions
from pamqp import commands, frame

from ...core.errors import BrokerError, BrokerUnavailable
from . import frames
from .frames import CHANNEL, Message, Reader

MIN_VERSION = (3, 10)
"""Of RabbitMQ: the first whose quorum queues have timers."""
READ_BYTES = 1 << 18
FRAME_BYTES = 131072
"""The largest frame that we take."""
_OVERHEAD = 8
_NO_LINGER = struct.pack("ii", 1, 0)


class Address(NamedTuple):
    """Where the server is and who we are to it."""

    hosts: Sequence[tuple[str, int]]
    user: str = "guest"
    password: str = "guest"  # noqa: S105 - what RabbitMQ comes with; it lets it in from the same machine alone
    vhost: str = "/"
    tls: ssl.SSLContext | None = None
    patience: float = 10.0
    """Seconds within which the server has to answer."""

    def __str__(self) -> str:
        """Return the servers, for people."""
        return "RabbitMQ at " + " or ".join(f"{host}:{port}" for host, port in self.hosts)


class ConnectionLost(BrokerUnavailable):
    """The connection to RabbitMQ has ended."""


class ChannelClosed(BrokerError):
    """RabbitMQ closed the channel, since something that was asked of it cannot be."""

    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self.code = code


def forget(_: Any) -> None:
    """Take what nobody wants."""


class Connection:
    """An open connection. Not thread-safe. Raises ConnectionLost from every call once it has ended.

    `on_message` gets what comes in (see `frames.Reader`), `on_confirm` a number, whether it means all up to it, and
    whether it is a confirm (False: a refusal). `on_cancel` gets the tag of a consumer that the server has ended.
    """

    def __init__(self, address: Address, heartbeat: float = 0.0) -> None:
        self.address = address
        self.on_message: Callable[[bytes, Message], object] = lambda kind, message: None
        self.on_confirm: Callable[[int, bool, bool], object] = lambda number, multiple, well: None
        self.on_cancel: Callable[[str], object] = forget
        self.blocked = ""
        """Why the server takes no messages for now; empty where it does."""
        self._replies: deque[Any] = deque()
        self._asking = False
        self._reader = Reader(self._have_message, self._have_method)
        self._heartbeat = 0.0
        self._largest = FRAME_BYTES - _OVERHEAD
        self._failure: Exception | None = None
        self._socket = _connect(address)
        self._heard = self._said = time.monotonic()
        try:
            self._open(heartbeat)
        except BaseException:
            self.drop()
            raise

    def _have_message(self, kind: bytes, message: Message) -> None:
        if kind == frames.GET_OK:
            self._replies.append(message)
        else:
            self.on_message(kind, message)

    # -- opening ----------------------------------------------------------------------------------------------

    def _open(self, heartbeat: float) -> None:
        address = self.address
        self._write(b"AMQP\x00\x00\x09\x01")
        start = self.expect(commands.Connection.Start)
        self._check_version(_version(start.server_properties or {}))
        capabilities = {
            "publisher_confirms": True,
            "basic.nack": True,
            "consumer_cancel_notify": True,
            "connection.blocked": True,
            "authentication_failure_close": True,
        }
        about: dict[str, Any] = {"product": "Worklist", "platform": "Python", "capabilities": capabilities}
        login = f"\0{address.user}\0{address.password}"
        self._write(frame.marshal(commands.Connection.StartOk(about, "PLAIN", login), 0))
        tune = self.expect(commands.Connection.Tune)
        size = min(tune.frame_max or FRAME_BYTES, FRAME_BYTES)
        self._largest = size - _OVERHEAD
        beat = max(1, round(heartbeat)) if heartbeat else 0
        self._write(frame.marshal(commands.Connection.TuneOk(tune.channel_max, size, beat), 0))
        self._heartbeat = float(beat)
        self._write(frame.marshal(commands.Connection.Open(address.vhost), 0))
        self.expect(commands.Connection.OpenOk)
        self.open_channel()

    def _check_version(self, version: tuple[int, ...]) -> None:
        if version and version < MIN_VERSION:
            raise BrokerError(
                f"{self.address} is version {'.'.join(map(str, version))}; "
                f"{'.'.join(map(str, MIN_VERSION))} or newer is needed"
            )

    def open_channel(self) -> None:
        """Open the channel, at first or after the server has closed it."""
        self.ask(commands.Channel.Open(), commands.Channel.OpenOk)

    # -- asking -----------------------------------------------------------------------------------------------

    def ask(self, method: Any, *answers: type[Any]) -> Any:
        """Send a method and return its answer, of one of these kinds. Raises ChannelClosed where it is refused."""
        self.tell(method)
        return self.expect(*answers)

    def tell(self, *methods: Any) -> None:
        """Send methods that have no answer, or whose answers are waited for later."""
        self.send(b"".join(frame.marshal(method, CHANNEL) for method in methods))

    def expect(self, *answers: type[Any]) -> Any:
        """Return the next answer, which has to be of one of these kinds."""
        end = time.monotonic() + self.address.patience
        self._asking = True
        while not self._replies:
            left = end - time.monotonic()
            if left <= 0:
                self.fail(f"{self.address} did not answer within {self.address.patience:g} s")
            self.read(left)
        self._asking = False
        reply = self._replies.popleft()
        if isinstance(reply, Exception):
            raise reply
        if not isinstance(reply, answers):
            self.fail(f"{self.address} answered {reply!r} where {answers[0].__name__} was expected")
        return reply

    def message(self, publish: bytes, properties: bytes, body: bytes) -> bytes:
        """Return the frames of a message."""
        return frames.message(publish, properties, body, self._largest)

    # -- the socket ---------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send frames. Raises ConnectionLost where the server does not take them in time."""
        self._check()
        try:
            self._write(data)
        except TimeoutError:
            why = f": {self.blocked}" if self.blocked else ""
            self.fail(f"{self.address} takes nothing for {self.address.patience:g} s{why}")
        except OSError as error:
            self.fail(f"the connection to {self.address} is gone: {_reason(error)}")

    def _write(self, data: bytes) -> None:
        self._socket.settimeout(self.address.patience)
        self._socket.sendall(data)
        self._said = time.monotonic()

    def read(self, seconds: float) -> bool:
        """Wait up to `seconds` for something to come in, and take it; return whether there was anything."""
        self._check()
        self._keep_alive()
        try:
            if not self._readable(seconds):
                return False
            self._socket.settimeout(self.address.patience)
            data = self._socket.recv(READ_BYTES)
        except ssl.SSLWantReadError:
            return False
        except OSError as error:
            self.fail(f"the connection to {self.address} is gone: {_reason(error)}")
        if not data:
            self.fail(f"{self.address} has closed the connection")
        self._heard = time.monotonic()
        self._reader.feed(data)
        self._check()
        return True

    def _readable(self, seconds: float) -> bool:
        if isinstance(self._socket, ssl.SSLSocket) and self._socket.pending():
            return True
        if self._heartbeat:
            seconds = min(seconds, self._heartbeat / 2)
        return bool(select_readable((self._socket.fileno(),), seconds))

    def fileno(self) -> int:
        """Return the number of the socket, for others to wait on; -1 where it has ended."""
        return -1 if self._failure is not None else self._socket.fileno()

    def has_pending(self) -> bool:
        """Return whether TLS has decoded bytes that no selector sees."""
        return isinstance(self._socket, ssl.SSLSocket) and self._failure is None and bool(self._socket.pending())

    def _keep_alive(self) -> None:
        """Send a heartbeat where one is due, and end where the server, or this process, has been silent too long."""
        if not self._heartbeat:
            return
        now = time.monotonic()
        if now - self._said > 2 * self._heartbeat:
            self.fail(f"this process stood still for longer than {self.address} waits for it")
        if now - self._heard > 2 * self._heartbeat and not select_readable((self._socket.fileno(),), 0.0):
            self.fail(f"{self.address} has been silent for {now - self._heard:.0f} s")
        if now - self._said > self._heartbeat / 2:
            try:
                self._write(frames.BEAT)
            except OSError as error:
                self.fail(f"the connection to {self.address} is gone: {_reason(error)}")

    # -- what comes in --------------------------------------------------------------------------------------------

    def _have_method(self, payload: bytes, whole: bytes) -> None:
        kind = payload[:4]
        if kind in (frames.ACK, frames.NACK):
            number, multiple = frames.confirmed(payload)
            self.on_confirm(number, multiple, kind == frames.ACK)
            return
        try:
            method: Any = frame.unmarshal(whole)[2]
        except pamqp.exceptions.UnmarshalingException as error:
            self.fail(f"{self.address} sent what is no AMQP: {error}")
        match method:
            case commands.Connection.Close():
                self._failure = self._why_closed(method)
                with contextlib.suppress(OSError):
                    self._write(frame.marshal(commands.Connection.CloseOk(), 0))
            case commands.Channel.Close():
                self._write(frame.marshal(commands.Channel.CloseOk(), CHANNEL))
                if not self._asking:
                    self.fail(f"{self.address} has closed the channel: {method.reply_text}")
                self._replies.append(ChannelClosed(f"{self.address}: {method.reply_text}", method.reply_code or 0))
            case commands.Connection.Blocked():
                self.blocked = method.reason or "it is blocked"
            case commands.Connection.Unblocked():
                self.blocked = ""
            case commands.Basic.Cancel():
                self.on_cancel(method.consumer_tag or "")
            case commands.Channel.Flow():
                self._write(frame.marshal(commands.Channel.FlowOk(method.active), CHANNEL))
            case _:
                self._replies.append(method)

    def _why_closed(self, close: Any) -> Exception:
        """Return what to say of a connection that the server has closed."""
        text = str(close.reply_text)
        if close.reply_code == 403 and "ACCESS_REFUSED" in text and "vhost" not in text:
            return BrokerError(
                f"{self.address} refuses the login of user {self.address.user!r}; "
                "check the user and the password in the url"
            )
        if close.reply_code == 530:
            return BrokerError(
                f"{self.address} has no virtual host {self.address.vhost!r} for user {self.address.user!r}; "
                "name one behind the host in the url (amqp://host/NAME), or make it: rabbitmqctl add_vhost NAME, "
                "rabbitmqctl set_permissions"
            )
        return ConnectionLost(f"{self.address} has closed the connection: {text}")

    # -- the end ----------------------------------------------------------------------------------------------------

    @property
    def lost(self) -> bool:
        """Whether it has ended."""
        return self._failure is not None

    def _check(self) -> None:
        if self._failure is not None:
            self._close_socket()
            raise self._failure

    def fail(self, reason: str) -> Any:
        """End the connection, and raise why."""
        if self._failure is None:
            self._failure = ConnectionLost(reason)
        self.drop()
        raise self._failure

    def drop(self) -> None:
        """End it at once; what the server has not yet taken is thrown away."""
        if self._failure is None:
            self._failure = ConnectionLost(f"the connection to {self.address} was closed")
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self._close_socket()

    def close(self) -> None:
        """End it in good order; what still comes in is not looked at."""
        self.on_message = lambda kind, message: None
        if self._failure is None:
            with contextlib.suppress(OSError, BrokerError):
                self._write(frame.marshal(commands.Connection.Close(200, "", 0, 0), 0))
                self.expect(commands.Connection.CloseOk)
            self._failure = ConnectionLost(f"the connection to {self.address} was closed")
        self._close_socket()

    def _close_socket(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.close()


def select_readable(files: Sequence[int], seconds: float) -> list[int]:
    """Return those of `files`, by number, from which something can be read, waiting up to `seconds` for one."""
    poll = select.poll()
    for number in files:
        if number >= 0:
            poll.register(number, select.POLLIN)
    return [number for number, _ in poll.poll(max(0.0, seconds) * 1000)]


def _connect(address: Address) -> socket.socket:
    """Return a socket to the first server that takes one."""
    reasons = []
    for host, port in address.hosts:
        try:
            plain = socket.create_connection((host, port), timeout=address.patience)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return plain if address.tls is None else address.tls.wrap_socket(plain, server_hostname=host)
        except ssl.SSLError as error:
            reasons.append(_TLS_REASONS.get(error.reason or "", f"TLS: {error.reason or error}"))
        except OSError as error:
            reasons.append(_reason(error))
    raise ConnectionLost(f"{address} cannot be reached: {'; '.join(reasons)}")


_TLS_REASONS = {
    "WRONG_VERSION_NUMBER": "it speaks no TLS at this port; expected amqp://, or the port of TLS (5671)",
    "CERTIFICATE_VERIFY_FAILED": "its certificate is not to be trusted; ?cafile=FILE names who may have signed it",
}


def _reason(error: OSError) -> str:
    return error.strerror or str(error)


def _version(properties: dict[str, Any]) -> tuple[int, ...]:
    numbers = str(properties.get("version", "")).split("-")[0].split(".")
    return tuple(int(it) for it in numbers if it.isdigit())
