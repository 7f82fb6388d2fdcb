"""Ports for servers that tests start."""

import socket
import time


def free_port(below: int = 65_536) -> int:
    """Return a port of this machine on which nobody listens now."""
    while True:
        with socket.socket() as it:
            it.bind(("127.0.0.1", 0))
            port = int(it.getsockname()[1])
        if port < below:
            return port


def wait_for(port: int, seconds: float = 30.0) -> None:
    """Wait until somebody listens on a port."""
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
        except OSError:
            assert time.monotonic() < end, f"nobody listens on port {port}"
            time.sleep(0.02)
        else:
            return
