"""PostgreSQL: a server that several processes, on several machines, share."""

import hmac
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import IsolationLevel, errors
from sqlalchemy import URL, Connection, Engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError

import config
from database import schema
from database.units import Database, Interrupted, Unavailable, Unit, cause_of

IN_USE, MAKING = 0x696E7669, 0x74657321  # the names of our advisory locks: to use the schema, and to make it
SECRET = 0x6B657921  # the first half of the name of another, that every connection holds: under which master secret
PATIENCE = 5  # seconds, for a connection and for a lock

# For a server that is gone without a word: it is noticed after 10 seconds of unanswered data, or 45 of silence.
_CONNECT_ARGS = {
    "connect_timeout": PATIENCE,
    "keepalives_idle": 30,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 10_000,
    "application_name": "invite-api",
}
# What every connection is told, and a lock that it holds for as long as it lives, so that a change of the schema
# finds out whether anybody is there. An acknowledged commit is on disk, whatever the server's usual setting.
_MANNERS = """
    SELECT pg_try_advisory_lock_shared(%s),
           set_config('lock_timeout', '5s', false),
           set_config('statement_timeout', '30s', false),
           set_config('idle_in_transaction_session_timeout', '60s', false),
           CASE current_setting('synchronous_commit') WHEN 'off' THEN set_config('synchronous_commit', 'on', false) END
"""
_STRANGERS = """
    SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objsubid = 2 AND classid = %s AND objid != ALL(%s)
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_UNUSABLE = (
    "SELECT conname || ': is not enforced' FROM pg_constraint "
    "WHERE NOT convalidated AND connamespace = current_schema()::regnamespace",
    "SELECT relname || ': is an index that cannot be used' FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid "
    "WHERE NOT indisvalid AND relnamespace = current_schema()::regnamespace",
)
_AT_ONCE = (
    *(errors.SerializationFailure, errors.DeadlockDetected, errors.ReadOnlySqlTransaction),
    *(errors.UniqueViolation, errors.ForeignKeyViolation),
)
_WORDS = {
    "25006": "it may only be read: look whether DATABASE_URL names the primary",
    "28": "it does not let invite-api in: look at the user and password in DATABASE_URL",
    "3D000": "there is no such database: make it, or look at DATABASE_URL",
    "42P01": "its tables are not ours: go back to a backup",
    "42703": "its tables are not ours: go back to a backup",
    "42501": "it does not let invite-api do its work: look at what its user may do",
    "53100": "its disk is full: make room there",
    "53300": "it has too many connections: see docs/SCALING.md on how many are needed",
    "55P03": "something else holds a lock for too long: look into pg_stat_activity",
    "57014": "it has not answered in time: look at its load, and into pg_stat_activity",
    "XX": "it is damaged, or has a fault of its own: look into its log",
}
# Read-only, forbidden, a table or column that somebody took away, damage.
_NOT_OURS = ("25006", "42501", "42P01", "42703", "XX")
_UNREACHED = "it cannot be reached: look whether it runs, and at DATABASE_URL"


class Postgresql(Database):
    """A server's database. Who writes waits only for who writes the same rows."""

    answers_at_once = False

    def __init__(self, engine: Engine, secrets: Sequence[bytes]) -> None:
        super().__init__(engine, called(engine.url))
        self._secrets = [_name_of(each) for each in secrets]
        self._is_among_its_own = False
        event.listen(engine, "connect", self._greet, insert=True)  # before SQLAlchemy asks for what we refuse

    def tables(self, connection: Connection) -> set[str]:
        """The names of the tables that are there."""
        return _tables(connection.exec_driver_sql)

    def check(self) -> list[str]:
        """Constraints and indexes that PostgreSQL does not vouch for; [] for nothing."""
        with self.reading() as unit:
            return [each for query in _UNUSABLE for (each,) in unit.connection.exec_driver_sql(query)]

    def own_checks(self) -> Mapping[str, Callable[[], str]]:
        """Nothing: how full its disk is cannot be told from here."""
        return {}

    def trouble(self, error: Unavailable) -> str:
        """What is wrong, without an address and without PostgreSQL's own words."""
        cause = cause_of(error)
        if not isinstance(cause, psycopg.Error):
            return str(error).removeprefix(f"{self.called}: ")
        return next((words for state, words in _WORDS.items() if (cause.sqlstate or "").startswith(state)), _UNREACHED)

    def keep_others_out(self, connection: Connection) -> None:
        """Let nobody else come while this connection, our only one, lives; raises Unavailable if one is here."""
        with self._translated():
            if not connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({IN_USE})").scalar():
                raise Unavailable(f"{self.called}: is in use: stop all servers that use it first")

    def _greet(self, connection: Any, record: object) -> None:  # noqa: ARG002
        """Have each connection behave, and show which master secret we have; refuse to be the first with another."""
        if wrong := _teach_manners(connection):
            raise Unavailable(f"{self.called}: {wrong}")
        connection.autocommit = True
        connection.execute("SELECT pg_advisory_lock_shared(%s, %s)", [SECRET, self._secrets[0]])
        if not self._is_among_its_own:
            (strangers,) = connection.execute(_STRANGERS, [SECRET, self._secrets]).fetchone()
            if strangers:
                raise Unavailable(
                    f"{self.called}: others use this database with another master secret: give all of them the same "
                    "INVITE_API_SECRET_KEY, or the same secret.key"
                )
            self._is_among_its_own = True
        connection.autocommit = False

    def _begin(self, connection: Connection, writes: bool) -> None:
        """Have psycopg begin with the first statement; a reading sees all of one moment."""
        driver: Any = connection.connection.driver_connection
        if driver.closed:
            raise Interrupted(f"{self.called}: the connection was lost")
        driver.isolation_level = IsolationLevel.READ_COMMITTED if writes else IsolationLevel.REPEATABLE_READ

    def _be_alone(self, connection: Connection) -> None:
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MAKING})")

    @contextmanager
    def _translated(self, unit: Unit | None = None) -> Iterator[None]:
        try:
            yield
        except (DBAPIError, psycopg.Error) as error:
            cause = cause_of(error)
            if not isinstance(cause, psycopg.Error):
                raise
            _hide_rows(error, cause)
            if unit and not unit.is_committing and _is_passing(cause):
                raise Interrupted(f"{self.called}: {_said(cause)}") from error
            if not _is_its_own(cause):
                raise
            raise Unavailable(f"{self.called}: {_said(cause)}") from error


class Whole:
    """A database with which one is alone, to change its schema; use it inside `alone`."""

    def __init__(self, connection: "psycopg.Connection[Any]") -> None:
        self._connection = connection

    @property
    def version(self) -> int | None:
        """The version of its schema, as `schema.version` tells it."""
        return schema.version(_tables(self.execute), self.execute)

    def execute(self, statement: str) -> Any:
        """Execute one statement."""
        return self._connection.execute(statement.encode())

    @contextmanager
    def changing(self) -> Iterator[None]:
        """A change that happens as a whole or not at all; raises Unavailable."""
        try:
            with self._connection.transaction():
                yield
        except psycopg.Error as error:
            raise Unavailable(_said(error)) from error


@contextmanager
def alone(settings: config.Settings) -> Iterator[Whole]:
    """Have the database to oneself; raises Unavailable while a server or another command works with it."""
    url = make_url(settings.database_url)
    given, named = url.get_dialect()().create_connect_args(url)  # as SQLAlchemy connects
    try:
        with psycopg.connect(*given, **{**named, **_connect_args(url), "autocommit": True}) as connection:
            if not connection.execute("SELECT pg_try_advisory_lock(%s)", [IN_USE]).fetchone() == (True,):
                raise Unavailable(
                    f"{called(url)}: is in use: stop all servers (and other invite-api commands) that use it first"
                )
            yield Whole(connection)
    except psycopg.Error as error:
        raise Unavailable(f"{called(url)}: {_said(error)}") from error


def opened(settings: config.Settings, make_engine: Callable[[], Engine]) -> Postgresql:
    """The database of these settings, not asked for anything yet."""
    config.make_private(settings.instance)
    return Postgresql(make_engine(), settings.secrets)


def engine_options(url: URL) -> dict[str, Any]:
    """How SQLAlchemy is to connect."""
    return {"hide_parameters": True, "pool_size": 0, "connect_args": _connect_args(url)}


def _connect_args(url: URL) -> dict[str, Any]:
    """What psycopg is told of a connection, but for what stands in the URL."""
    return {name: value for name, value in _CONNECT_ARGS.items() if name not in url.query}


def called(url: URL) -> str:
    """How to name a database to its operator: without the password."""
    return URL.create("postgresql", url.username, None, url.host, url.port, url.database).render_as_string()


def _name_of(secret: bytes) -> int:
    """What tells a master secret from others, and tells nothing of it: 31 bits of an HMAC."""
    return int.from_bytes(hmac.digest(secret, b"which master secret", "sha256")[:4]) >> 1


def _teach_manners(connection: Any) -> str:
    """What a connection is told; why it cannot be used, "" if it can."""
    if connection.info.parameter_status("server_encoding") != "UTF8":
        return "is not in UTF-8: make one with CREATE DATABASE … ENCODING 'UTF8'"
    connection.autocommit = True
    (may_use, *_) = connection.execute(_MANNERS, [IN_USE]).fetchone()
    connection.autocommit = False
    return "" if may_use else "is being migrated or copied: try again when that is done"


def _hide_rows(error: Exception, cause: psycopg.Error) -> None:
    """Leave out of an error the row that it is about, which PostgreSQL quotes: it would stand in the log."""
    cause.args = (_said(cause),)
    error.args = (f"({type(cause).__name__}) {_said(cause)}",)


def _tables(execute: Callable[[str], Any]) -> set[str]:
    found = execute("SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = current_schema()")
    return {name for (name,) in found}


def _is_its_own(error: psycopg.Error) -> bool:
    """Whether it is PostgreSQL's or the network's trouble, and not a statement of ours that makes no sense."""
    return isinstance(error, psycopg.OperationalError) or (error.sqlstate or "").startswith(_NOT_OURS)


def _is_passing(error: psycopg.Error) -> bool:
    """Whether the same might well go otherwise a moment later, on another connection: nothing has happened.

    A row that somebody else wrote at the same moment is there to be seen then.
    """
    lost = isinstance(error, psycopg.OperationalError) and (error.sqlstate or "08").startswith(("08", "57P"))
    return lost or isinstance(error, _AT_ONCE)


def _said(error: psycopg.Error) -> str:
    """PostgreSQL's own words, without what stands in rows."""
    return error.diag.message_primary or (str(error).splitlines() or [type(error).__name__])[0]
