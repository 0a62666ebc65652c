"""A PostgreSQL of the tests' own, thrown away at their end: ``pytest --postgresql``."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any

import psycopg
from psycopg import sql

ADDRESS = "INVITE_TESTS_POSTGRESQL"  # where it listens, in the environment of all who test
USUAL = "instance"  # what most tests call the folder of their only instance


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
        # Sorted as people sort, who leave out punctuation and more: SQLite sorts as bytes already.
        locale = "--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US"
        self._run("initdb", "-U", "postgres", "-E", "UTF8", *locale, "--auth=trust", "--no-sync")
        self._kept = socket.socket()  # bound, and not listening: nobody else is given its port, also while this is away
        self._kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._kept.bind(("127.0.0.1", 0))
        self.port = self._kept.getsockname()[1]
        self.url = f"postgresql://postgres@127.0.0.1:{self.port}"

    def start(self, durable: bool = False) -> None:
        """Start it, and wait until it answers; its disk is waited for only if that is asked."""
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1 -c max_connections=500"
        # Nothing here lives long enough to be tidied up.
        options += "" if durable else " -c fsync=off -c full_page_writes=off -c autovacuum=off"
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
        return [first, *(process for process, parent in _parents() if parent == first)]

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


def _parents() -> Iterator[tuple[int, int]]:
    """Each process of this machine, and its parent; not of one that ends while it is looked at."""
    for each in Path("/proc").iterdir():
        with suppress(FileNotFoundError, ProcessLookupError):
            if each.name.isdecimal():
                yield int(each.name), int((each / "stat").read_text().rpartition(")")[2].split()[1])


def binaries() -> str:
    """Where Debian keeps what a server is run with, the newest first, as a search path."""
    return ":".join(str(each / "bin") for each in sorted(Path("/usr/lib/postgresql").glob("*"), reverse=True))


def is_used() -> bool:
    """Whether these tests run on PostgreSQL."""
    return ADDRESS in os.environ


def url_for(instance: Path) -> str:
    """The URL of the database that belongs to an instance's folder; one without rows when it is first asked for.

    It may have our tables if the folder is called as that of most tests; that of any other folder has none.
    """
    with _turn:
        if instance not in _given:
            free = _furnished if instance.name == USUAL and _furnished else _free
            name = f"test_{os.getpid()}_{next(_numbers)}"
            _given[instance] = free.pop() if free else make_database(os.environ[ADDRESS], name)
        return _given[instance]


def forget(folder: Path, furnish: Callable[[str], None]) -> None:
    """Empty the databases of all instances in a folder, for others: that is much faster than making new ones.

    Where there are the tables that `furnish` makes in an empty database, as it makes them, they stay.
    """
    for each in [each for each in _given if each.is_relative_to(folder)]:
        url = _given.pop(each)
        connection = _kept_connection(url)
        while connection.execute(_END_OTHERS).fetchall():  # PostgreSQL itself looks ten times a second
            time.sleep(0.002)
        if each.name == USUAL and _shape(connection) == _own_shape(furnish):
            connection.execute(_DELETE_ROWS)
            _furnished.append(url)
        else:
            connection.execute("DROP SCHEMA IF EXISTS public CASCADE")
            connection.execute("CREATE SCHEMA public")
            _free.append(url)


def _kept_connection(url: str) -> psycopg.Connection[tuple[Any, ...]]:
    """The connection that empties this database: one that is new takes longer to open than to use."""
    with suppress(KeyError, psycopg.OperationalError):
        _kept[url].execute("SELECT 1")  # a test may have ended it
        return _kept[url]
    _kept[url] = psycopg.connect(url, autocommit=True)
    return _kept[url]


@cache
def _own_shape(furnish: Callable[[str], None]) -> object:
    """What `_shape` says of a database that was just furnished."""
    url = make_database(os.environ[ADDRESS], f"furnished_{os.getpid()}")
    furnish(url)
    with psycopg.connect(url, autocommit=True) as connection:
        return _shape(connection)


def _shape(connection: psycopg.Connection[tuple[Any, ...]]) -> object:
    """All that is in a database but rows; of the table that says its version these, too."""
    is_there = connection.execute("SELECT to_regclass('public.schema_version')").fetchall() != [(None,)]
    versions = is_there and connection.execute("SELECT * FROM schema_version ORDER BY 1").fetchall()
    return versions, connection.execute(_SHAPE).fetchall()


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
_furnished: list[str] = []
_kept: dict[str, psycopg.Connection[tuple[Any, ...]]] = {}
_END_OTHERS = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid != pg_backend_pid()
"""
_SHAPE = """
    SELECT relname::text, relkind::text, attname::text, atttypid::text, attnotnull, '' FROM pg_class
    LEFT JOIN pg_attribute ON attrelid = pg_class.oid AND attnum > 0 WHERE relnamespace = 'public'::regnamespace
    UNION SELECT conname, '', '', '', FALSE, pg_get_constraintdef(oid) FROM pg_constraint
    WHERE connamespace = 'public'::regnamespace
    UNION SELECT indexname, '', '', '', FALSE, indexdef FROM pg_indexes WHERE schemaname = 'public'
    UNION SELECT tgname, '', '', '', FALSE, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal
    UNION SELECT proname, '', '', '', FALSE, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace
    ORDER BY 1, 2, 3, 4, 5, 6
"""
# Whatever refers to them: in replicas no references are looked after.
_DELETE_ROWS = """
    DO $$
    DECLARE name TEXT;
    BEGIN
        SET LOCAL session_replication_role = replica;
        FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename != 'schema_version' LOOP
            EXECUTE format('DELETE FROM public.%I', name);
        END LOOP;
        FOR name IN SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' LOOP
            EXECUTE format('ALTER SEQUENCE public.%I RESTART', name);
        END LOOP;
    END $$
"""
