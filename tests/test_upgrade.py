"""What a released version wrote, this one reads; and from one schema to the next nothing is lost on the way."""

import importlib.util
import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import time_machine
from sqlalchemy import create_engine

import database
from app import create_app
from conftest import HASH, free_port, make_settings
from database import Unavailable, files, schema, sqlite
from rules import accounts, invites, keys
from settings import VERSION, in_force
from test_database import shape
from upkeep import upgrade

pytestmark = [
    pytest.mark.sqlite,
    pytest.mark.filterwarnings("ignore:Skipped unsupported reflection of expression-based index"),  # in shape()
]

RELEASED = Path(__file__).parent / "released"
NOW, NEXT = schema.VERSION, schema.VERSION + 1
VERSIONS = sorted(each.stem for each in RELEASED.glob("*.sql"))

SHOE_SIZES = f"{NEXT + 1:04}_shoe_sizes.sql"
# A table that is rebuilt while others refer to it, a column, and rows that are changed.
STEPS = {
    f"{NEXT:04}_name_every_plan.sql": """
-- SQLite cannot add a CHECK; a semicolon in a remark; ends nothing
CREATE TABLE invites_anew (
    id TEXT PRIMARY KEY NOT NULL, token_hash TEXT NOT NULL UNIQUE, plan TEXT CHECK (plan <> ';')
);
INSERT INTO invites_anew SELECT id, token_hash, upper(plan) FROM invites;
DROP TABLE invites;
ALTER TABLE invites_anew RENAME TO invites;
""",
    SHOE_SIZES: """
ALTER TABLE users ADD COLUMN shoe_size INTEGER;
UPDATE users SET shoe_size = 38 WHERE username = 'anne';
CREATE INDEX users_by_shoe_size ON users (shoe_size);
""",
}


@pytest.fixture
def steps(tmp_path):
    """A folder of migrations that lead on by two versions."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    for name, script in STEPS.items():
        (folder / name).write_text(script)
    return folder


@pytest.fixture
def old(settings, house, use, make_invite):
    """A database of this version with rows in it, that nobody has open."""
    use(make_invite(), "anne")
    use(make_invite(), "bob")
    house.close()
    return files.file_of(settings)


def dump(file):
    with closing(sqlite3.connect(file)) as connection:
        return list(connection.iterdump())


def load(version, settings):
    """The database that this version wrote, upgraded; what opens it."""
    file = files.ensured_file(settings)
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript((RELEASED / f"{version}.sql").read_text())
    with sqlite.connect(file) as connection:
        opened = sqlite.ExclusiveSqlite(connection)
        list(upgrade.migrate(opened, upgrade.steps(upgrade.version_of(opened))))
    return json.loads((RELEASED / f"{version}.json").read_text())


@pytest.fixture(params=VERSIONS)
def opens(request, tmp_path):
    """What opens the database of a released version; `client` is at its door, at its time."""
    told = json.loads((RELEASED / f"{request.param}.json").read_text())
    settings = make_settings(tmp_path / "instance", SECRET_KEY=told["secret"])
    with time_machine.travel(told["moment"], tick=False):
        load(request.param, settings)
        told["client"] = create_app(settings).test_client()
        told["settings"] = settings
        yield told


def test_there_is_a_database_of_a_release():
    assert "0.1.0" in VERSIONS


def test_every_link_of_a_release_opens(opens):
    looked = {
        name: opens["client"].get(f"/invite?{opens[name]}").status_code
        for name in ("joined", "mailed", "mailed as a letter", "forever", "withdrawn", "spent")
    }
    assert looked == {
        **dict.fromkeys(("joined", "mailed", "mailed as a letter", "forever"), 200),
        "withdrawn": 404,
        "spent": 410,
    }
    assert opens["client"].post("/api/invite/validate", json={"code": opens["short code"]}).status_code == 200


def test_keys_sessions_and_passwords_of_a_release_are_good(opens):
    client = opens["client"]
    assert client.post("/invites_api", headers={"Authorization": f"Bearer {opens['key']}"}).status_code == 201
    assert client.get("/auth/me", headers={"Authorization": f"Bearer {opens['access']}"}).json["username"] == "alice"
    assert client.post("/auth/token/refresh", json={"refresh_token": opens["refresh"]}).status_code == 200
    assert client.post("/auth/login", json={"email": "bob", "password": opens["password"]}).status_code == 200


def test_a_key_of_a_release_may_create_any_invite_and_nothing_else(opens):
    with in_force(opens["settings"]), opens["client"].application.extensions["invite_api"].database.reading():
        assert {(each.may, each.preset) for each in keys.newest()} == {("create", None)}


def test_links_of_a_release_are_shown_again_and_used(opens):
    house = database.open_database(opens["settings"])
    with in_force(opens["settings"]), house.writing():
        for name in ("joined", "mailed", "forever"):
            assert invites.token(invites.find(opens[name])) == opens[name]
        assert accounts.register(opens["forever"], accounts.Names("newcomer"), HASH)
    assert house.check() == []


@pytest.mark.parametrize("version", VERSIONS)
def test_an_upgraded_database_is_as_a_new_one(version, tmp_path):
    settings = make_settings(tmp_path / "old")
    load(version, settings)
    new = make_settings(tmp_path / "new")
    engines = [create_engine(each.database_url) for each in (settings, new)]
    database.open_database(new)
    assert shape(engines[0]) == shape(engines[1])
    assert indexes(settings) == indexes(new)
    for each in engines:
        each.dispose()


def indexes(settings):
    with closing(sqlite3.connect(files.file_of(settings))) as connection:
        return set(connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index'"))


def test_what_is_written_down_at_a_release_has_rows_in_every_table(tmp_path):
    found = importlib.util.spec_from_file_location("write", RELEASED / "write.py")
    write = importlib.util.module_from_spec(found)
    found.loader.exec_module(write)
    text, _ = write.dump(tmp_path)
    tables = set(re.findall(r"^CREATE TABLE (\w+)", schema.SCHEMA.read_text(), re.M))
    assert set(re.findall(r'^INSERT INTO "(\w+)"', text, re.M)) == tables | {"sqlite_sequence"}


def test_the_steps_there_are_lead_to_this_version():
    numbers = [int(each.name[:4]) for each in sorted(upgrade.FOLDER.glob("*.sql"))]
    assert numbers == list(range(2, schema.VERSION + 1))
    assert f"VALUES ({schema.VERSION});" in schema.SCHEMA.read_text()
    for each in upgrade.FOLDER.glob("*.sql"):
        words = {statement.split()[0].upper() for statement in schema.statements(each.read_text())}
        assert not words & {"BEGIN", "COMMIT", "END", "ROLLBACK", "PRAGMA"}, each.name


def test_every_step_is_taken_and_named(old, steps):
    with sqlite.connect(old) as connection:
        assert list(upgrade.migrate(sqlite.ExclusiveSqlite(connection), upgrade.steps(NOW, steps, NEXT + 1))) == [
            name[:-4] for name in STEPS
        ]
        assert upgrade.version_of(sqlite.ExclusiveSqlite(connection)) == NEXT + 1
        assert connection.execute("SELECT plan FROM invites").fetchall() == [("SOLO",), ("SOLO",)]
        assert connection.execute("SELECT username FROM users WHERE shoe_size = 38").fetchall() == [("anne",)]
        assert sqlite.faults(connection.execute) == []


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("CREATE TABLE a (b TEXT); INSERT INTO nowhere VALUES (1);", f"{NEXT:04}_x.sql: no such table: nowhere"),
        ("DELETE FROM users;", f"{NEXT:04}_x.sql: redemptions, row .*: refers to a row of users that is not there"),
    ],
)
def test_a_step_that_fails_changes_nothing(old, tmp_path, script, words):
    (tmp_path / f"{NEXT:04}_x.sql").write_text(script.replace("; ", ";\n"))
    before = dump(old)
    with sqlite.connect(old) as connection, pytest.raises(Unavailable, match=words):
        list(upgrade.migrate(sqlite.ExclusiveSqlite(connection), upgrade.steps(NOW, tmp_path, NEXT)))
    assert dump(old) == before


def test_a_step_without_its_end_is_refused(old, tmp_path):
    (tmp_path / f"{NEXT:04}_x.sql").write_text("CREATE TABLE a (b TEXT);\nCREATE TABLE c (d TEXT)")
    before = dump(old)
    with sqlite.connect(old) as connection, pytest.raises(ValueError, match="without its end: CREATE TABLE c"):
        list(upgrade.migrate(sqlite.ExclusiveSqlite(connection), upgrade.steps(NOW, tmp_path, NEXT)))
    assert dump(old) == before


def test_a_step_that_is_missing_is_named(steps):
    (steps / f"{NEXT:04}_name_every_plan.sql").unlink()
    with pytest.raises(Unavailable, match=f"there is no step to version {NEXT} in"):
        upgrade.steps(NOW, steps, NEXT + 1)


@pytest.fixture
def next_version(checkout_copy):
    """The command of a checkout that has a migration more."""
    (checkout_copy.folder / "migrations" / f"{NEXT:04}_shoe_sizes.sql").write_text(STEPS[SHOE_SIZES])
    for name in ("database/schema.py", "schema.sql"):
        file = checkout_copy.folder / name
        changed, count = re.subn(rf"(\nVERSION = |VALUES \(){NOW}(\n|\);)", rf"\g<1>{NOW + 1}\g<2>", file.read_text())
        assert count == 1
        file.write_text(changed.replace("display_name      TEXT,", "display_name TEXT, shoe_size INTEGER,"))
    with file.open("a") as tables:
        tables.write("CREATE INDEX users_by_shoe_size ON users (shoe_size);\n")
    return checkout_copy.run


@pytest.mark.long
def test_the_command_upgrades_after_a_backup_and_the_way_back_is_that(invite_api, next_version, tmp_path):
    environ = {"INVITE_API_INSTANCE": str(tmp_path / "instance")}
    link = invite_api("invite", "create", "--name", "Anne").stdout
    for arguments in (["invite", "list"], ["serve", "--port", str(free_port())]):
        refused = next_version(*arguments, **environ)
        assert refused.returncode == 1
        wrong = f"its schema is version {NOW}, this invite-api needs {NEXT}"
        assert refused.stderr.endswith(f"{wrong}: stop the server and run invite-api db migrate\n")
    done = next_version("db", "migrate", **environ)
    assert (done.returncode, done.stdout) == (0, f"{NEXT:04}_shoe_sizes: done\n")
    (kept,) = (tmp_path / "instance").glob(f"invites-before-{NEXT:04}_shoe_sizes-*.db")
    assert done.stderr == f"Note: the database as it was is {kept}\n"
    assert next_version("db", "migrate", **environ).stdout == f"the schema is version {NEXT}: there is nothing to do\n"
    assert "Anne" in next_version("invite", "show", link, **environ).stdout
    refused = invite_api("invite", "list")
    assert f"its schema is version {NEXT}, this invite-api needs {NOW}: install the invite-api" in refused.stderr
    assert f"its schema is version {NEXT}, this invite-api needs {NOW}" in invite_api("db", "migrate").stderr
    back = invite_api("db", "restore", str(kept), "--yes")
    assert back.returncode == 0, back.stderr
    assert "Anne" in invite_api("invite", "show", link).stdout
    again = next_version("db", "restore", str(kept), "--yes", **environ)
    assert f"Warning: migrated: {NEXT:04}_shoe_sizes" in again.stderr
    assert "Anne" in next_version("invite", "show", link, **environ).stdout


@pytest.mark.long
def test_the_version_of_a_checkout_is_its_own(checkout_copy):
    file = checkout_copy.folder / "settings" / "__init__.py"
    file.write_text(file.read_text().replace(f'VERSION = "{VERSION}"', 'VERSION = "9.9.9"'))
    assert checkout_copy.run("--version").stdout == "invite-api 9.9.9\n"
