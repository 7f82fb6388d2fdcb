"""A TCP proxy that misbehaves when it is told to: counts bytes, cuts connections, swallows what it is given."""

import contextlib
import selectors
import socket
import threading


class Proxy:
    """Stands between clients and one server on this machine."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.bytes = 0
        """How many were passed on, both ways together."""
        self.connections = 0
        """How many were made."""
        self._frozen = self._away = False
        self._ended = False
        self._peers: dict[socket.socket, socket.socket] = {}
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Close every connection, on both sides."""
        with self._lock:
            for end in [*self._peers]:
                self._drop(end)

    def away(self) -> None:
        """Close every connection, and each new one at once, as if there were no server."""
        self._away = True
        self.cut()

    def back(self) -> None:
        """Take connections again."""
        self._away = False

    def freeze(self) -> None:
        """Swallow every byte from now on, of the connections that there are and of new ones: they are half-open."""
        self._frozen = True

    def thaw(self, forget: bool = True) -> None:
        """Pass on bytes again; the connections that lost some stay silent for ever."""
        with self._lock:
            if forget:
                for end in self._peers:
                    with contextlib.suppress(KeyError):
                        self._selector.unregister(end)
            self._frozen = False

    def _run(self) -> None:
        while not self._ended:
            for key, _ in self._selector.select(0.05):
                with self._lock:
                    if key.fileobj is self._listener:
                        self._accept()
                    else:
                        self._pass_on(key.fileobj)  # type: ignore[arg-type]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            client, _ = self._listener.accept()
            self.connections += 1
            if self._away:
                client.close()
                return
            try:
                server = socket.create_connection(self._target, timeout=5)
            except OSError:
                client.close()
                return
            for end in (client, server):
                end.settimeout(5)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._selector.register(end, selectors.EVENT_READ)
            self._peers[client], self._peers[server] = server, client

    def _pass_on(self, source: socket.socket) -> None:
        peer = self._peers.get(source)
        if peer is None:
            return
        try:
            data = source.recv(1 << 16)
            if data and not self._frozen:
                peer.sendall(data)
                self.bytes += len(data)
        except OSError:
            data = b""
        if not data:
            self._drop(source)

    def _drop(self, end: socket.socket) -> None:
        peer = self._peers.pop(end, None)
        for it in (end, peer):
            if it is not None:
                self._peers.pop(it, None)
                with contextlib.suppress(KeyError, ValueError):
                    self._selector.unregister(it)
                it.close()

    def close(self) -> None:
        """End it."""
        self._ended = True
        self._thread.join(5)
        self.cut()
        self._listener.close()
        self._selector.close()
