"""RabbitMQ for tests: a virtual host of their own on the server that runs here, or a node that they may kill."""

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from worklist.brokers.rabbitmq.connection import Address, Connection
from worklist.core.errors import BrokerError

from .ports import free_port

PROGRAMS = Path("/usr/lib/rabbitmq/bin")
BOOT_SECONDS = 60.0


def address_of(port: int, vhost: str = "/", patience: float = 10.0) -> Address:
    return Address([("127.0.0.1", port)], vhost=vhost, patience=patience)


class Node:
    """A RabbitMQ node of the tests' own, on random ports, with an epmd of its own. It is run by nobody that is root."""

    def __init__(self, settings: str = "", advanced: str = "") -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="worklist-rabbitmq-"))
        self.port, distribution, self._names_port = free_port(), free_port(), free_port()
        self._name = f"wl{secrets.token_hex(4)}@localhost"
        config = self._folder / "rabbitmq.conf"
        config.write_text(f"listeners.tcp.local = 127.0.0.1:{self.port}\n{settings}\n")
        (self._folder / "plugins").write_text("[].")
        (self._folder / "advanced.config").write_text(f"[{{rabbit, [{advanced}]}}].")
        (self._folder / "env.conf").write_text("")
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            who = pwd.getpwnam("rabbitmq")
            for path in (self._folder, *self._folder.iterdir()):
                os.chown(path, who.pw_uid, who.pw_gid)
            self._as = {"user": who.pw_uid, "group": who.pw_gid, "extra_groups": []}
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._folder),
            "RABBITMQ_NODENAME": self._name,
            "RABBITMQ_DIST_PORT": str(distribution),
            "RABBITMQ_MNESIA_BASE": str(self._folder / "data"),
            "RABBITMQ_LOG_BASE": str(self._folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(config),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(self._folder / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(self._folder / "env.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self._folder / "plugins"),
            "RABBITMQ_PID_FILE": str(self._folder / "pid"),
            "ERL_EPMD_PORT": str(self._names_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_FLAGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+sbwt none +sbwtdcpu none +sbwtdio none",
            "LANG": "C.UTF-8",
        }
        epmd = [shutil.which("epmd") or "epmd", "-port", str(self._names_port), "-address", "127.0.0.1"]
        self._epmd = self._start(epmd)
        try:
            self.start()
        except BaseException:
            self.close()
            raise

    def _start(self, command: list[Any]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            command,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
            **self._as,
        )

    def start(self) -> None:
        """Start it, again where it was stopped or killed, and return when it answers."""
        self.process = self._start([PROGRAMS / "rabbitmq-server"])
        end = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            with contextlib.suppress(BrokerError):
                Connection(address_of(self.port)).close()
                return
            time.sleep(0.1)
        raise RuntimeError(f"the RabbitMQ node of the tests does not start; see the files in {self._folder}/log")

    def control(self, *arguments: str) -> str:
        """Run rabbitmqctl and return what it prints."""
        command = [PROGRAMS / "rabbitmqctl", "-q", "-n", self._name, *arguments]
        done = subprocess.run(
            command, env=self._environment, capture_output=True, text=True, cwd="/", check=True, **self._as
        )
        return done.stdout

    @property
    def runs(self) -> bool:
        return self.process.poll() is None

    def kill(self) -> None:
        """Kill it at once, with the processes that it has started."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """Stop it in good order."""
        self.control("stop")
        self.process.wait(30)

    def close(self) -> None:
        for process in (self.process, self._epmd):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


class VirtualHost:
    """Where a test puts its queues, dropped in the end."""

    def __init__(self, port: int, control: Any, name: str) -> None:
        self.port = port
        self.name = name
        self.control = control

    @property
    def address(self) -> Address:
        return address_of(self.port, self.name)

    @property
    def url(self) -> str:
        return self.url_at(self.port)

    def url_at(self, port: int) -> str:
        """Return the URL of this virtual host by another port, such as that of a proxy."""
        return f"amqp://guest:guest@127.0.0.1:{port}/{self.name}"


def missing(what: str) -> None:
    """Skip for a newcomer; fail where nothing may be skipped."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@contextlib.contextmanager
def virtual_host(port: int, control: Any) -> Iterator[VirtualHost]:
    """Give a virtual host of its own on a server."""
    name = f"worklist-{secrets.token_hex(6)}"
    control("add_vhost", name)
    control("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
    try:
        yield VirtualHost(port, control, name)
    finally:
        control("delete_vhost", name)


def _usual(*arguments: str) -> str:
    """Run rabbitmqctl for the server that runs here."""
    done = subprocess.run(["rabbitmqctl", "-q", *arguments], capture_output=True, text=True, check=True)
    return done.stdout


def _usual_is_there() -> bool:
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        socket.create_connection(("127.0.0.1", 5672), timeout=2).close()
        _usual("list_vhosts")
        return True
    return False


def own_node(settings: str = "", advanced: str = "") -> Node:
    if not (PROGRAMS / "rabbitmq-server").exists():
        missing("RabbitMQ is not installed: apt-get install rabbitmq-server")
    return Node(settings, advanced)


@pytest.fixture(scope="session")
def rabbitmq_node() -> Iterator[Node]:
    """Give a node of the tests' own."""
    node = own_node()
    yield node
    node.close()


@pytest.fixture(scope="module")
def rabbitmq(request: pytest.FixtureRequest) -> Iterator[VirtualHost]:
    """Give a virtual host of the module's own: on the server that runs here, or on a node of the tests' own."""
    if _usual_is_there():
        with virtual_host(5672, _usual) as host:
            yield host
    else:
        node: Node = request.getfixturevalue("rabbitmq_node")
        with virtual_host(node.port, node.control) as host:
            yield host
