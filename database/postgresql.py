"""PostgreSQL: a server whose database several processes share, also from several machines."""

import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import IsolationLevel, errors
from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

from database import schema
from database.abstract import Database
from database.units import Interrupted, Unavailable, Unit, cause_of
from settings import Settings, make_private

IN_USE, CREATING = 0x696E7669, 0x74657321  # the keys of our advisory locks: to use the schema, and to create it
SECRET = 0x6B657921  # the first half of another lock's key; the second half is a fingerprint of the master secret
NUMBERING = 0x65766E << 40  # in the upper bits of the key of a third kind of lock, which has a number in the lower ones
TIMEOUT = 5  # seconds to wait for a connection, and for a lock

# A server that vanished is noticed when data is unanswered for 10 seconds, or nothing was heard for 45.
_CONNECT_ARGS = {
    "connect_timeout": TIMEOUT,
    "keepalives_idle": 30,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "invite-api",
}
# Each connection holds the shared lock until it closes, so that a migration can find out whether another process is
# connected. A commit is on disk when it is acknowledged, also where the server's own setting is `off`.
_SET_UP = """
    SELECT pg_try_advisory_lock_shared(%s),
           set_config('lock_timeout', '5s', false),
           set_config('statement_timeout', '30s', false),
           set_config('idle_in_transaction_session_timeout', '60s', false),
           CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END
"""
_OTHER_SECRETS = """
    SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND classid = %s AND objid != ALL(%s)
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
# PostgreSQL gives an event its number before the commit, so a later one may be seen first. Each unit that writes
# some holds a lock whose key has the number that was the last one before: its own are greater.
_BEGIN_NUMBERING = f"SELECT pg_advisory_xact_lock_shared({NUMBERING} + last_value) FROM events_number_seq"  # noqa: S608
_LAST_NUMBER = "SELECT CASE WHEN is_called THEN last_value ELSE 0 END FROM events_number_seq"
_OPEN_SINCE = f"""
    SELECT min(((classid::bigint << 32) | objid::bigint) - {NUMBERING}) FROM pg_locks
    WHERE locktype = 'advisory' AND objsubid = 1 AND classid::bigint >> 8 = {NUMBERING >> 40}
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""  # noqa: S608
_COUNT_ON = "SELECT setval('events_number_seq', max(number)) FROM events HAVING max(number) IS NOT NULL"
_FAULTS = (
    "SELECT conname || ': is not enforced' FROM pg_constraint "
    "WHERE NOT convalidated AND connamespace = current_schema()::regnamespace",
    "SELECT tgname || ': is a trigger that is not ours' FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
    "WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace",
    "SELECT relname || ': is an index that cannot be used' FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
    "WHERE NOT indisvalid AND relnamespace = current_schema()::regnamespace",
)
_CONFLICTS = (
    *(errors.SerializationFailure, errors.DeadlockDetected, errors.ReadOnlySqlTransaction),
    *(errors.UniqueViolation, errors.ForeignKeyViolation),
)
_EXPLANATIONS = {
    "25006": "it may only be read: check that DATABASE_URL names the primary",
    "28": "it does not let invite-api in: check the user and the password in DATABASE_URL",
    "3D000": "there is no such database: create it, or check DATABASE_URL",
    "42P01": "its tables are not ours: go back to a backup",
    "42703": "its tables are not ours: go back to a backup",
    "42501": "it does not let invite-api do its work: check the privileges of its user",
    "53100": "its disk is full: make room there",
    "53300": "it has too many connections: see docs/SCALING.md on how many are needed",
    "55P03": "something else holds a lock for too long: look into pg_stat_activity",
    "57014": "it has not answered in time: look at its load, and into pg_stat_activity",
    "XX": "it is damaged, or has a fault of its own: look into its log",
}
# SQLSTATEs for read-only, forbidden, a missing table or column, damage: not the fault of a statement.
_ITS_FAULTS = ("25006", "42501", "42P01", "42703", "XX")
_UNREACHED = "it cannot be reached: check that it is running, and check DATABASE_URL"


class Postgresql(Database):
    """A database on a server. A writer waits only for writers of the same rows."""

    answers_at_once = False
    begin_numbering = _BEGIN_NUMBERING

    def __init__(self, engine: Engine, secrets: Sequence[bytes]) -> None:
        super().__init__(engine, display_name(engine.url))
        self._fingerprints = [fingerprint(each) for each in secrets]
        self._secret_is_checked = False
        # First of all listeners: SQLAlchemy's own runs queries that fail on a database which we refuse.
        event.listen(engine, "connect", self._set_up, insert=True)

    def tables(self, connection: Connection) -> set[str]:
        """The names of the tables that are there."""
        return table_names(connection.exec_driver_sql)

    def check(self) -> list[str]:
        """A sentence for each constraint that is not enforced and each index that cannot be used; [] for none."""
        with self.reading() as unit:
            return [each for query in _FAULTS for (each,) in unit.connection.exec_driver_sql(query)]

    def own_checks(self) -> Mapping[str, Callable[[], str]]:
        """No checks: how full the server's disk is cannot be found out from here."""
        return {}

    def trouble(self, error: Unavailable) -> str:
        """A sentence on what is wrong and what to do, without an address and without PostgreSQL's message."""
        cause = cause_of(error)
        if not isinstance(cause, psycopg.Error):
            return str(error).removeprefix(f"{self.name}: ")
        state = cause.sqlstate or ""
        return next((text for start, text in _EXPLANATIONS.items() if state.startswith(start)), _UNREACHED)

    def lock_out_others(self, connection: Connection) -> None:
        """Let no other process connect until this connection, our only one, closes; raises Unavailable if one has."""
        with self.translated():
            if not connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({IN_USE})").scalar():
                raise Unavailable(f"{self.name}: is in use: stop all servers that use it first")

    def _set_up(self, connection: Any, record: object) -> None:  # noqa: ARG002
        """Set up a new connection and take its locks; raises Unavailable if this process may not use the database."""
        if connection.info.parameter_status("server_encoding") != "UTF8":
            raise Unavailable(f"{self.name}: is not in UTF-8: create one with CREATE DATABASE … ENCODING 'UTF8'")
        connection.autocommit = True
        (may_use, *_) = connection.execute(_SET_UP, [IN_USE]).fetchone()
        if not may_use:
            raise Unavailable(f"{self.name}: is being migrated or copied: try again when that is done")
        connection.execute("SELECT pg_advisory_lock_shared(%s, %s)", [SECRET, self._fingerprints[0]])
        if not self._secret_is_checked:
            self._refuse_other_secrets(connection)
            self._secret_is_checked = True
        connection.autocommit = False

    def _refuse_other_secrets(self, connection: Any) -> None:
        """Raise Unavailable if another process uses another master secret: neither could read the other's links.

        This is looked for after our own lock is taken. Of two processes that start at the same moment, at least
        one finds the other.
        """
        (others,) = connection.execute(_OTHER_SECRETS, [SECRET, self._fingerprints]).fetchone()
        if others:
            raise Unavailable(
                f"{self.name}: others use this database with another master secret: give all of them the same "
                "INVITE_API_SECRET_KEY, or the same secret.key"
            )

    def begin(self, connection: Connection, writes: bool) -> None:
        """Set how the transaction begins, which psycopg does at the first statement; raises Interrupted.

        A unit that only reads sees the database as of one moment.
        """
        driver: Any = connection.connection.driver_connection
        if driver.closed:
            raise Interrupted(f"{self.name}: the connection was lost")
        driver.isolation_level = IsolationLevel.READ_COMMITTED if writes else IsolationLevel.REPEATABLE_READ

    def settled(self) -> int:
        """The number up to which all events are there that ever will be: units that are open now give greater ones."""
        with self.reading() as unit:  # the last number first: a unit that began before it was read shows its lock after
            last: int = unit.connection.exec_driver_sql(_LAST_NUMBER).scalar_one()
            since: int | None = unit.connection.exec_driver_sql(_OPEN_SINCE).scalar_one()
        return last if since is None else min(last, since)

    def count_on(self, connection: Connection) -> None:
        """Go on numbering events after the last one that is there, after rows were copied with their numbers."""
        connection.exec_driver_sql(_COUNT_ON)

    def lock_creation(self, connection: Connection) -> None:
        """Let no other process create the tables until this transaction ends."""
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({CREATING})")

    @contextmanager
    def translated(self, unit: Unit | None = None) -> Iterator[None]:
        """Inside, an error of the database becomes Unavailable, or Interrupted if `unit` may be tried once more."""
        try:
            yield
        except (DBAPIError, psycopg.Error) as error:
            cause = cause_of(error)
            if not isinstance(cause, psycopg.Error):
                raise
            hide_rows(error, cause)
            if unit and not unit.is_committing and is_passing(cause):
                raise Interrupted(f"{self.name}: {message_of(cause)}") from error
            if not is_its_fault(cause):
                raise
            raise Unavailable(f"{self.name}: {message_of(cause)}") from error


class ExclusivePostgresql:
    """A database that no other process uses, so that its schema may be changed. `exclusive` opens one."""

    dialect = "postgresql"

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._connection = connection

    @property
    def version(self) -> int | None:
        """The version of its schema: 0 if it is damaged, None if the tables are not ours."""
        return schema.version(table_names(self.execute), self.execute)

    def execute(self, statement: str) -> Any:
        """Execute one statement and return its cursor."""
        return self._connection.execute(statement.encode())

    def execute_many(self, statement: str, rows: Sequence[Sequence[Any]]) -> None:
        """Execute a statement once for each row; ``?`` stands in it for a value of the row."""
        with self._connection.cursor() as cursor:
            cursor.executemany(statement.replace("?", "%s").encode(), rows)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """A transaction: what is executed inside is kept whole or not at all; raises Unavailable."""
        try:
            with self._connection.transaction():
                yield
        except psycopg.Error as error:
            raise Unavailable(message_of(error)) from error


@contextmanager
def exclusive(settings: Settings) -> Iterator[ExclusivePostgresql]:
    """The database, for this process only; raises Unavailable while a server or another command uses it."""
    url = make_url(settings.database_url)
    given, named = url.get_dialect()().create_connect_args(url)  # as SQLAlchemy connects
    try:
        with psycopg.connect(*given, **{**named, **_connect_args(url), "autocommit": True}) as connection:
            if connection.execute("SELECT pg_try_advisory_lock(%s)", [IN_USE]).fetchone() != (True,):
                others = "all servers (and other invite-api commands) that use it"
                raise Unavailable(f"{display_name(url)}: is in use: stop {others} first")
            yield ExclusivePostgresql(connection)
    except psycopg.Error as error:
        raise Unavailable(f"{display_name(url)}: {message_of(error)}") from error


def opened(settings: Settings, make_engine: Callable[[], Engine]) -> Postgresql:
    """The database of these settings. No connection is made yet."""
    make_private(settings.instance)
    return Postgresql(make_engine(), settings.secrets)


def engine_options(url: URL) -> dict[str, Any]:
    """The options for SQLAlchemy's `create_engine`."""
    return {"hide_parameters": True, "pool_size": 0, "connect_args": _connect_args(url)}


def _connect_args(url: URL) -> dict[str, Any]:
    """Our options for psycopg's `connect`; what the URL says itself is left out."""
    return {name: value for name, value in _CONNECT_ARGS.items() if name not in url.query}


def display_name(url: URL) -> str:
    """The URL of a database as its operator may see it: without the password."""
    return URL.create("postgresql", url.username, None, url.host, url.port, url.database).render_as_string()


def fingerprint(secret: bytes) -> int:
    """A number that tells master secrets apart and does not disclose them: 31 bits of an HMAC."""
    return int.from_bytes(hmac.digest(secret, b"which master secret", "sha256")[:4]) >> 1


def hide_rows(error: Exception, cause: psycopg.Error) -> None:
    """Take the row out of an error's message. PostgreSQL quotes it, and it would stand in the log."""
    cause.args = (message_of(cause),)
    error.args = (f"({type(cause).__name__}) {message_of(cause)}",)


def table_names(execute: Callable[[str], Any]) -> set[str]:
    """The names of the tables in the schema that `execute` queries."""
    found = execute("SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = current_schema()")
    return {name for (name,) in found}


def is_its_fault(error: psycopg.Error) -> bool:
    """Whether an error is the fault of PostgreSQL or the network, and not of a statement of ours."""
    return isinstance(error, psycopg.OperationalError) or (error.sqlstate or "").startswith(_ITS_FAULTS)


def is_passing(error: psycopg.Error) -> bool:
    """Whether the same unit of work may succeed when it is tried once more: the connection was lost or writers met.

    Nothing of the unit was kept, and the second try sees the rows that another writer has committed.
    """
    lost = isinstance(error, psycopg.OperationalError) and (error.sqlstate or "08").startswith(("08", "57P"))
    return lost or isinstance(error, _CONFLICTS)


def message_of(error: psycopg.Error) -> str:
    """PostgreSQL's message for an error, in one line and without the contents of rows."""
    return error.diag.message_primary or (str(error).splitlines() or [type(error).__name__])[0]
