import os
import sqlite3
import stat
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import Text, create_engine, inspect, select, text

import clock
import database
from conftest import make_settings
from database import Unavailable, schema
from models import Base, Invite, User

pytestmark = pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index")  # in shape()


def test_models_and_schema_do_not_drift_apart(tmp_path, house):
    mirrored = create_engine(another(tmp_path / "mirrored"))
    Base.metadata.create_all(mirrored)
    assert shape(mirrored) == shape(house.engine)
    mirrored.dispose()


@pytest.mark.parametrize(
    "change",
    [
        "ALTER TABLE users ADD COLUMN shoe_size INTEGER",
        "ALTER TABLE users DROP COLUMN display_name",
        "ALTER TABLE users RENAME COLUMN admin_at TO king_at",
        "CREATE TABLE stray (id TEXT PRIMARY KEY)",
    ],
)
def test_the_drift_test_notices_a_change(tmp_path, house, change):
    mirrored = create_engine(another(tmp_path / "mirrored"))
    Base.metadata.create_all(mirrored)
    with mirrored.begin() as connection:
        connection.execute(text(change))
    assert shape(mirrored) != shape(house.engine)
    mirrored.dispose()


def another(instance):
    """The URL of an empty database."""
    instance.mkdir()
    return make_settings(instance).database_url


def shape(engine):
    """Tables with their columns, types, nullability, keys and unique columns."""
    found = inspect(engine)
    return {
        table: {
            "columns": {
                each["name"]: (Text if str(each["type"]) == "VARCHAR" else type(each["type"]), each["nullable"])
                for each in found.get_columns(table)
            },
            "primary": found.get_pk_constraint(table)["constrained_columns"],
            "foreign": sorted(
                (each["constrained_columns"], each["referred_table"], each["referred_columns"])
                for each in found.get_foreign_keys(table)
            ),
            "unique": sorted(each["column_names"] for each in found.get_unique_constraints(table)),
        }
        for table in found.get_table_names()
    }


@pytest.mark.sqlite
def test_every_connection_minds_its_manners(house):
    with house.reading() as unit:
        manners = {
            pragma: unit.session.scalar(text(f"PRAGMA {pragma}"))
            for pragma in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }
    assert manners == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 2}


def test_what_is_written_while_reading_is_forgotten(house, settings):
    with house.reading() as unit:
        unit.session.execute(text("INSERT INTO counters VALUES ('a', 'b', 1, '2026-01-01')"))
    with house.reading() as unit:
        assert unit.session.scalar(text("SELECT count(*) FROM counters")) == 0


def test_a_unit_that_fails_changes_nothing(house):
    with pytest.raises(ZeroDivisionError), house.writing() as unit:
        unit.session.execute(text("INSERT INTO counters VALUES ('a', 'b', 1, '2026-01-01')"))
        1 / 0  # noqa: B018
    with house.reading() as unit:
        assert unit.session.scalar(text("SELECT count(*) FROM counters")) == 0


def test_what_is_written_together_is_there_when_that_ends_and_not_before(house, settings):
    with house.group_commit():
        for number in range(3):
            with house.writing():
                write(number)
        assert written_elsewhere(settings) == []
    assert written_elsewhere(settings) == [0, 1, 2]


def test_of_what_is_written_together_each_unit_fails_for_itself(house):
    with house.group_commit():
        with house.writing():
            write(1)
        with pytest.raises(ZeroDivisionError), house.writing():
            write(2)
            1 / 0  # noqa: B018
        with house.writing() as unit:
            unit.session.add(User(id="alice", username="alice", created_at=clock.now()))
    assert written(house) == [1]
    with house.reading() as unit:
        assert unit.session.get(User, "alice")


def test_who_reads_together_with_writers_sees_what_they_wrote_and_changes_nothing(house):
    with house.group_commit():
        with house.writing():
            write(1)
        assert written(house) == [1]
        with house.reading():
            write(2)
        assert written(house) == [1]
    assert written(house) == [1]


def test_of_what_is_written_together_nothing_is_kept_once_the_database_fails(house):
    with pytest.raises(Unavailable, match="full"), house.group_commit():
        with house.writing():
            write(1)
        with pytest.raises(Unavailable, match="full"), house.writing():
            raise Unavailable("the disk is full")
        with pytest.raises(Unavailable, match="written together"), house.writing():
            write(2)
    assert written(house) == []


@pytest.mark.sqlite
def test_of_what_is_written_together_nothing_is_kept_if_sqlite_rolls_all_of_it_back(house, settings):
    with pytest.raises(Unavailable), house.group_commit():
        with house.writing():
            write(1)
        with pytest.raises(Unavailable), house.writing() as unit:
            unit.connection.exec_driver_sql("ROLLBACK")
        with pytest.raises(Unavailable, match="written together"), house.writing():
            write(2)
        assert written_elsewhere(settings) == []
    assert written(house) == []
    with house.writing():
        write(3)
    assert written(house) == [3]


def test_what_is_written_together_is_forgotten_if_that_ends_badly(house):
    with pytest.raises(ZeroDivisionError), house.group_commit():
        with house.writing():
            write(1)
        1 / 0  # noqa: B018
    assert written(house) == []


def write(number):
    """Write something in the unit that is open here."""
    insert = text("INSERT INTO counters VALUES ('a', :number, 1, '2026-01-01')")
    database.connection().execute(insert, {"number": str(number)})


def written(house):
    """What was written so."""
    with house.reading() as unit:
        return [int(number) for (number,) in unit.connection.execute(text("SELECT subject FROM counters ORDER BY 1"))]


def written_elsewhere(settings):
    """What another process sees of it."""
    with closing(database.open_database(settings)) as other:
        return written(other)


@pytest.mark.sqlite
@pytest.mark.parametrize("kind", ["reading", "writing"])
def test_a_connection_that_broke_is_replaced(house, kind):
    with pytest.raises(sqlite3.ProgrammingError), getattr(house, kind)() as unit:
        unit.connection.connection.dbapi_connection.close()
        unit.connection.connection.dbapi_connection.execute("SELECT 1")
    for _ in range(2):
        with getattr(house, kind)() as unit:
            assert unit.connection.scalar(text("SELECT max(version) FROM schema_version")) == schema.VERSION


@pytest.mark.sqlite
@pytest.mark.parametrize("outer", ["reading", "writing"])
@pytest.mark.parametrize("inner", ["reading", "writing"])
def test_units_of_work_do_not_nest(house, outer, inner, monkeypatch):
    monkeypatch.setattr(database.sqlite, "TIMEOUT", 0.1)
    with getattr(house, outer)(), pytest.raises((RuntimeError, Unavailable)), getattr(house, inner)():
        pass
    with house.group_commit(), getattr(house, outer)(), pytest.raises(RuntimeError), getattr(house, inner)():
        pass


@pytest.mark.parametrize(("failures", "done"), [(0, True), (1, True), (2, False)])
def test_what_was_interrupted_is_done_once_more_and_no_third_time(failures, done):
    tried, told = [], []

    def attempt():
        tried.append("once")
        if len(tried) <= failures:
            raise database.Interrupted("another one wanted the same row")
        return "done"

    if done:
        assert database.once_more(attempt, told.append) == "done"
    else:
        with pytest.raises(database.Interrupted):
            database.once_more(attempt, told.append)
    assert (len(tried), len(told)) == (min(failures, 1) + 1, min(failures, 1))


def test_there_is_no_session_outside_a_unit(house):
    with pytest.raises(RuntimeError, match="no unit of work is open"):
        database.session()


@pytest.mark.sqlite
def test_who_waits_for_a_slow_writer_gets_a_turn(house):
    """On a busy machine that took longer than one waits behind another program's lock, and was refused."""

    def write_too() -> None:
        with house.writing():
            write(2)

    with ThreadPoolExecutor(1) as other:
        with house.writing():
            waiting = other.submit(write_too)
            time.sleep(database.sqlite.STUCK * 1.6)
            write(1)
        waiting.result()
    assert written(house) == [1, 2]


@pytest.mark.sqlite
def test_writers_take_the_lock_at_once(house, settings):
    other = sqlite3.connect(database.files.file_of(settings), timeout=0)
    with house.writing(), pytest.raises(sqlite3.OperationalError, match="locked"):
        other.execute("BEGIN IMMEDIATE")
    other.execute("BEGIN IMMEDIATE")
    other.close()


def test_moments_come_back_aware_and_in_utc(house):
    from clock import new_id, now

    moment = now()
    with house.writing() as unit:
        unit.session.add(User(id=new_id(), created_at=moment))
    with house.reading() as unit:
        assert unit.session.query(User).one().created_at == moment


@pytest.mark.sqlite
def test_the_file_is_private(house, settings):
    path = database.files.file_of(settings)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_opening_again_keeps_what_is_there(house, settings):
    with house.writing() as unit:
        unit.session.execute(text("INSERT INTO counters VALUES ('a', 'b', 1, '2026-01-01')"))
    with database.open_database(settings).reading() as unit:
        assert unit.session.scalar(text("SELECT count(*) FROM counters")) == 1


@pytest.mark.sqlite
def test_a_file_that_is_no_database_is_named_and_left_alone(settings):
    path = database.files.file_of(settings)
    path.parent.mkdir(parents=True)
    path.write_text("dear diary\n" * 100)
    with pytest.raises(Unavailable, match=r"invites\.db: file is not a database"):
        database.open_database(settings)
    assert path.read_text() == "dear diary\n" * 100


@pytest.mark.sqlite
@pytest.mark.parametrize("table", ["recipes (id INTEGER)", "schema_version (version TEXT)"])
def test_somebody_elses_database_is_left_alone(settings, table):
    path = database.files.file_of(settings)
    path.parent.mkdir(parents=True)
    with sqlite3.connect(path) as other:
        other.execute(f"CREATE TABLE {table}")
    other.close()
    before = path.read_bytes()
    with pytest.raises(Unavailable, match="not ours"):
        database.open_database(settings)
    assert path.read_bytes() == before


def test_a_schema_of_another_version_is_refused(house, settings):
    with house.writing() as unit:
        unit.session.execute(text("UPDATE schema_version SET version = 99"))
    with pytest.raises(Unavailable, match=f"its schema is version 99, this invite-api needs {schema.VERSION}"):
        database.open_database(settings)


@pytest.mark.sqlite
def test_a_folder_that_is_not_there_is_named(tmp_path):
    settings = make_settings(tmp_path, DATABASE_URL=f"sqlite:///{tmp_path}/no/such/folder/invites.db")
    with pytest.raises(Unavailable, match=r"no/such/folder/invites\.db: cannot be opened: No such file"):
        database.open_database(settings)


@pytest.mark.sqlite
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_somebody_elses_file_is_not_touched(house, settings):
    os.chown(database.files.file_of(settings), 65534, 65534)
    with pytest.raises(Unavailable, match="sudo -u nobody invite-api"):
        database.open_database(settings)


def test_parameters_do_not_get_into_error_messages(house):
    with pytest.raises(Unavailable) as refused, house.reading() as unit:
        unit.session.execute(text("SELECT * FROM nowhere WHERE token = :token"), {"token": "secret"})
    assert "secret" not in str(refused.value.__cause__)


def test_statements_are_split_where_sql_ends():
    script = "-- a; comment\nCREATE TABLE a (b TEXT DEFAULT ';');\n\nINSERT INTO a\nVALUES ('x');\n"
    assert list(database.schema.statements(script)) == [
        "CREATE TABLE a (b TEXT DEFAULT ';');",
        "INSERT INTO a\nVALUES ('x');",
    ]


def test_a_statement_sees_what_objects_are_still_to_be_written(house):
    with house.writing():
        database.session().add(User(id="u", username="anne", created_at=clock.now()))
        assert database.connection().scalar(select(User.username)) == "anne"
    with house.reading() as unit:
        assert database.connection().scalar(select(User.username)) == "anne"
        assert "session" not in vars(unit)  # objects cost as much as a query


def test_without_a_unit_there_is_neither_session_nor_connection():
    for each in (database.session, database.connection):
        with pytest.raises(RuntimeError, match="no unit of work is open"):
            each()


def test_what_is_changed_in_a_reading_is_forgotten_by_statements_too(house):
    with house.reading():
        database.session().add(User(id="u", username="anne", created_at=clock.now()))
        assert database.connection().scalar(select(User.username)) is None
    with house.reading():
        assert database.connection().scalar(select(User.username)) is None


@pytest.mark.sqlite
def test_a_moment_that_somebody_else_wrote_is_damage(house, make_invite):
    make_invite()
    with house.writing() as unit:
        unit.connection.execute(text("UPDATE invites SET created_at = 'soon'"))
    with pytest.raises(Unavailable, match="should have a moment"), house.reading() as unit:
        unit.session.query(Invite).all()


@pytest.mark.sqlite
def test_what_stands_in_a_damaged_cell_is_not_told(house, make_invite):
    make_invite()
    with house.writing() as unit:
        unit.connection.execute(text("UPDATE invites SET name = CAST(x'416e6e65ff' AS TEXT)"))
    with pytest.raises(Unavailable, match="decode") as told, house.reading() as unit:
        unit.session.query(Invite).all()
    assert "Anne" not in str(told.value)


@pytest.mark.sqlite
def test_a_schema_that_cannot_even_be_quoted_is_damage(settings, house):
    house.close()
    with closing(sqlite3.connect(database.files.file_of(settings), isolation_level=None)) as file:
        file.execute("PRAGMA writable_schema = ON")
        file.execute("UPDATE sqlite_master SET name = CAST(x'ff' AS TEXT), sql = 'nonsense' WHERE name = 'codes'")
    with pytest.raises(Unavailable):
        database.open_database(settings)


def test_a_database_that_has_forgotten_its_version_is_damaged(settings, house, invite_api):
    with house.writing() as unit:
        unit.connection.execute(text("DELETE FROM schema_version"))
    with pytest.raises(Unavailable, match="no longer says which version"):
        database.open_database(settings)
    house.close()
    migrated = invite_api("db", "migrate")
    assert "no longer says which version" in migrated.stderr
    assert "Traceback" not in migrated.stderr
