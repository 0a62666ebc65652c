"""A PostgreSQL of the tests' own, thrown away at their end: ``pytest --postgresql``."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from threading import Lock

import psycopg
from psycopg import sql

ADDRESS = "INVITE_TESTS_POSTGRESQL"  # where it listens, in the environment of all who test


class Server:
    """A PostgreSQL server on this machine, of this user or, since it does not run as root, of another."""

    def __init__(self, require: Callable[[str, str], str]) -> None:
        initdb = require("initdb", "postgresql")
        self._binaries = Path(initdb).parent
        self._folder = Path(tempfile.mkdtemp(prefix="invite-api-postgresql-"))
        self._data = self._folder / "data"
        self._as: list[str] = []
        if not os.geteuid():
            shutil.chown(self._folder, "postgres")
            self._as = [require("runuser", "util-linux"), "-u", "postgres", "--"]
        self._run("initdb", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "--auth=trust", "--no-sync")
        self._kept = socket.socket()  # bound, and not listening: nobody else is given its port, also while this is away
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._kept.bind(("127.0.0.1", 0))
        self.port = self._kept.getsockname()[1]
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}"

    def start(self, durable: bool = False) -> None:
        """Start it, and wait until it answers; its disk is waited for only if that is asked."""
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1 -c max_connections=500"
        options += "" if durable else " -c fsync=off -c full_page_writes=off"
        self._run("pg_ctl", "-w", "-o", options, "-l", str(self._folder / "log"), "start")

    def stop(self, mode: str = "immediate") -> None:
        """Stop it: ``fast`` ends all connections, ``immediate`` is as a power cut to it."""
        self._run("pg_ctl", "-w", "-m", mode, "stop")

    @contextmanager
    def away(self, mode: str = "fast") -> Iterator[None]:
        """Have it stopped for a while; afterwards it waits for its disk."""
        self.stop(mode)
        try:
            yield
        finally:
            self.start(durable=True)

    @contextmanager
    def hanging(self) -> Iterator[None]:
        """Have it say nothing for a while, and end no connection: all its processes are halted."""
        halted = self._processes()
        try:
            for each in halted:
                os.kill(each, signal.SIGSTOP)
            yield
        finally:
            for each in halted:
                os.kill(each, signal.SIGCONT)

    def _processes(self) -> list[int]:
        first = int((self._data / "postmaster.pid").read_text().split()[0])
        parents = {int(each.parent.name): int(each.read_text().rpartition(")")[2].split()[1]) for each in _statuses()}
        return [first, *(process for process, parent in parents.items() if parent == first)]

    def remove(self) -> None:
        """Stop it, and delete all of it."""
        self.stop()
        self._kept.close()
        shutil.rmtree(self._folder)

    def make_database(self, name: str) -> str:
        """An empty database; its URL."""
        return make_database(self.url, name)

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as, self._binaries / program, "-D", self._data, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd="/", timeout=120, check=False)
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr or done.stdout}")


def _statuses() -> Iterator[Path]:
    return (each / "stat" for each in Path("/proc").iterdir() if each.name.isdecimal())


def binaries() -> str:
    """Where Debian keeps what a server is run with, the newest first, as a search path."""
    return ":".join(str(each / "bin") for each in sorted(Path("/usr/lib/postgresql").glob("*"), reverse=True))


def is_used() -> bool:
    """Whether these tests run on PostgreSQL."""
    return ADDRESS in os.environ


def url_for(instance: Path) -> str:
    """The URL of the database that belongs to an instance's folder; an empty one when it is first asked for."""
    with _turn:
        if instance not in _given:
            name = f"test_{os.getpid()}_{next(_numbers)}"
            _given[instance] = _free.pop() if _free else make_database(os.environ[ADDRESS], name)
        return _given[instance]


def forget(folder: Path) -> None:
    """Empty the databases of all instances in a folder, for others: that is much faster than making new ones."""
    for each in [each for each in _given if each.is_relative_to(folder)]:
        url = _given.pop(each)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute(_END_ALL)
            connection.execute("DROP SCHEMA IF EXISTS public CASCADE")
            connection.execute("CREATE SCHEMA public")
        _free.append(url)


def make_database(address: str, name: str) -> str:
    """Have an empty database of this name there; its URL."""
    with psycopg.connect(f"{address}/postgres", autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(sql.Identifier(name)))
    return f"{address}/{name}"


_turn = Lock()
_turn = Lock()
_numbers = count()
_given: dict[Path, str] = {}
_free: list[str] = []
_END_ALL = """
    SELECT pg_terminate_backend(pid, 20000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid != pg_backend_pid()
"""
