"""Real Redis servers on random ports, for tests to use, stop and kill."""

import atexit
import functools
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import pytest
import redis

from .ports import free_port, wait_for

PROGRAM = shutil.which("redis-server") or shutil.which("valkey-server")
needs_redis = pytest.mark.skipif(
    PROGRAM is None and not os.environ.get("CI"), reason="there is no redis-server here; install it to run these tests"
)


DURABLE = ("--appendonly", "yes", "--appendfsync", "always", "--auto-aof-rewrite-percentage", "0")
"""What it has answered is on disk, and the file tells all that ever was written."""


class Server:
    """One server with a folder of its own. Durable: what it has answered is on disk."""

    def __init__(self, *options: str, port: int | None = None) -> None:
        assert PROGRAM is not None, "redis-server is missing; install Debian's package redis-server"
        self.port = port or free_port()
        self.folder = tempfile.mkdtemp(prefix="worklist-redis-")
        self._options: Sequence[str] = options
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port)

    def start(self) -> None:
        """Start it, anew where it was stopped; return once it answers."""
        fixed = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.folder, "--save", "")
        self._process = subprocess.Popen([PROGRAM or "", *fixed, *self._options], stdout=subprocess.DEVNULL)
        wait_for(self.port)
        end = time.monotonic() + 30
        while not self._answers():
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.02)

    def _answers(self) -> bool:
        client = self.client
        try:
            return bool(client.ping())
        except redis.AuthenticationError:
            return True
        except redis.RedisError:
            return False
        finally:
            client.close()

    @property
    def runs(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        """Stop it in good order."""
        assert self._process is not None
        self._process.terminate()
        self._process.wait(30)

    def close(self) -> None:
        """End it and leave nothing behind."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


class Sentinel(Server):
    """One that watches a master called ``mymaster``, and lets a replica take over within seconds."""

    def __init__(self, master: int, *more: str) -> None:
        self.master = master
        self._more = more
        super().__init__()

    def start(self) -> None:
        config = Path(self.folder) / "sentinel.conf"
        config.write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\n"
            f"sentinel monitor mymaster 127.0.0.1 {self.master} 1\n"
            "sentinel down-after-milliseconds mymaster 1000\nsentinel failover-timeout mymaster 5000\n"
            + "".join(f"{line}\n" for line in self._more)
        )
        self._process = subprocess.Popen([PROGRAM or "", str(config), "--sentinel"], stdout=subprocess.DEVNULL)
        wait_for(self.port)


def make_cluster(servers: int, *options: str) -> list[Server]:
    """Return servers that form a cluster."""
    options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000", *options)
    made: list[Server] = []
    try:
        while len(made) < servers:
            made.append(Server(*options, port=free_port(below=55_000)))  # 10,000 above is another of its own
        _join(made)
    except BaseException:
        for it in made:
            it.close()
        raise
    return made


def _join(servers: Sequence[Server]) -> None:
    places = [f"127.0.0.1:{it.port}" for it in servers]
    command = ["redis-cli", "--cluster", "create", *places, "--cluster-yes"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, timeout=60)
    end = time.monotonic() + 30
    while any(b"cluster_state:ok" not in it.client.execute_command("CLUSTER", "INFO") for it in servers):
        assert time.monotonic() < end, "the cluster does not come up"
        time.sleep(0.1)


@functools.cache
def shared() -> Server:
    """Return the server that the tests of this process share, each with a prefix of its own."""
    server = Server()
    atexit.register(server.close)
    return server
