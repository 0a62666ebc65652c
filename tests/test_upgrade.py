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

import config
import database
from app import create_app
from conftest import HASH, free_port, make_settings
from database import Unavailable, files, schema, sqlite
from rules import accounts, invites
from test_database import shape
from upkeep import upgrade

pytestmark = pytest.mark.sqlite

RELEASED = Path(__file__).parent / "released"
VERSIONS = sorted(each.stem for each in RELEASED.glob("*.sql"))

# A table that is rebuilt while others refer to it, a column, and rows that are changed.
STEPS = {
    "0002_name_every_plan.sql": """
-- SQLite cannot add a CHECK; a semicolon in a remark; ends nothing
CREATE TABLE invites_anew (
    id TEXT PRIMARY KEY NOT NULL, token_hash TEXT NOT NULL UNIQUE, plan TEXT CHECK (plan <> ';')
);
INSERT INTO invites_anew SELECT id, token_hash, upper(plan) FROM invites;
DROP TABLE invites;
ALTER TABLE invites_anew RENAME TO invites;
""",
    "0003_shoe_sizes.sql": """
ALTER TABLE users ADD COLUMN shoe_size INTEGER;
UPDATE users SET shoe_size = 38 WHERE username = 'anne';
CREATE INDEX users_by_shoe_size ON users (shoe_size);
""",
}


@pytest.fixture
def steps(tmp_path):
    """A folder of migrations that lead to version 3."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    for name, script in STEPS.items():
        (folder / name).write_text(script)
    return folder


@pytest.fixture
def old(settings, house, use, make_invite):
    """A database of version 1 with rows in it, that nobody has open."""
    use(make_invite(), "anne")
    use(make_invite(), "bob")
    house.close()
    return files.file_of(settings)


def dump(file):
    with closing(sqlite3.connect(file)) as connection:
        return list(connection.iterdump())


def load(version, settings):
    """The database that this version wrote, upgraded; what opens it."""
    file = files.made_file(settings)
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript((RELEASED / f"{version}.sql").read_text())
    with sqlite.connect(file) as connection:
        whole = sqlite.Whole(connection)
        list(upgrade.migrate(whole, upgrade.steps(upgrade.version_of(whole))))
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


def test_links_of_a_release_are_shown_again_and_used(opens):
    house = database.open_database(opens["settings"])
    with config.using(opens["settings"]), house.writing():
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
    assert set(re.findall(r'^INSERT INTO "(\w+)"', text, re.M)) == tables


def test_the_steps_there_are_lead_to_this_version():
    numbers = [int(each.name[:4]) for each in sorted(upgrade.FOLDER.glob("*.sql"))]
    assert numbers == list(range(2, schema.VERSION + 1))
    assert f"VALUES ({schema.VERSION});" in schema.SCHEMA.read_text()
    for each in upgrade.FOLDER.glob("*.sql"):
        words = {statement.split()[0].upper() for statement in schema.statements(each.read_text())}
        assert not words & {"BEGIN", "COMMIT", "END", "ROLLBACK", "PRAGMA"}, each.name


def test_every_step_is_taken_and_named(old, steps):
    with sqlite.connect(old) as connection:
        assert list(upgrade.migrate(sqlite.Whole(connection), upgrade.steps(1, steps, 3))) == [
            name[:-4] for name in STEPS
        ]
        assert upgrade.version_of(sqlite.Whole(connection)) == 3
        assert connection.execute("SELECT plan FROM invites").fetchall() == [("SOLO",), ("SOLO",)]
        assert connection.execute("SELECT username FROM users WHERE shoe_size = 38").fetchall() == [("anne",)]
        assert sqlite.faults(connection.execute) == []


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("CREATE TABLE a (b TEXT); INSERT INTO nowhere VALUES (1);", "0002_x.sql: no such table: nowhere"),
        ("DELETE FROM users;", "0002_x.sql: redemptions, row .*: refers to a row of users that is not there"),
    ],
)
def test_a_step_that_fails_changes_nothing(old, tmp_path, script, words):
    (tmp_path / "0002_x.sql").write_text(script.replace("; ", ";\n"))
    before = dump(old)
    with sqlite.connect(old) as connection, pytest.raises(Unavailable, match=words):
        list(upgrade.migrate(sqlite.Whole(connection), upgrade.steps(1, tmp_path, 2)))
    assert dump(old) == before


def test_a_step_without_its_end_is_refused(old, tmp_path):
    (tmp_path / "0002_x.sql").write_text("CREATE TABLE a (b TEXT);\nCREATE TABLE c (d TEXT)")
    before = dump(old)
    with sqlite.connect(old) as connection, pytest.raises(ValueError, match="without its end: CREATE TABLE c"):
        list(upgrade.migrate(sqlite.Whole(connection), upgrade.steps(1, tmp_path, 2)))
    assert dump(old) == before


def test_a_step_that_is_missing_is_named(steps):
    (steps / "0002_name_every_plan.sql").unlink()
    with pytest.raises(Unavailable, match="there is no step to version 2 in"):
        upgrade.steps(1, steps, 3)


@pytest.fixture
def next_version(checkout_copy):
    """The command of a checkout that has a migration more."""
    (checkout_copy.folder / "migrations" / "0002_shoe_sizes.sql").write_text(STEPS["0003_shoe_sizes.sql"])
    for name in ("database/schema.py", "schema.sql"):
        file = checkout_copy.folder / name
        changed = file.read_text().replace("\nVERSION = 1\n", "\nVERSION = 2\n").replace("VALUES (1);", "VALUES (2);")
        assert changed != file.read_text()
        file.write_text(changed)
    return checkout_copy.run


def test_the_command_upgrades_after_a_backup_and_the_way_back_is_that(invite_api, next_version, tmp_path):
    environ = {"INVITE_API_INSTANCE": str(tmp_path / "instance")}
    link = invite_api("invite", "create", "--name", "Anne").stdout
    for arguments in (["invite", "list"], ["serve", "--port", str(free_port())]):
        refused = next_version(*arguments, **environ)
        assert refused.returncode == 1
        assert refused.stderr.endswith(
            "its schema is version 1, this invite-api needs 2: stop the server and run invite-api db migrate\n"
        )
    done = next_version("db", "migrate", **environ)
    assert (done.returncode, done.stdout) == (0, "0002_shoe_sizes: done\n")
    (kept,) = (tmp_path / "instance").glob("invites-before-0002_shoe_sizes-*.db")
    assert done.stderr == f"Note: the database as it was is {kept}\n"
    assert next_version("db", "migrate", **environ).stdout == "the schema is version 2: there is nothing to do\n"
    assert "Anne" in next_version("invite", "show", link, **environ).stdout
    refused = invite_api("invite", "list")
    assert "its schema is version 2, this invite-api needs 1: install the invite-api" in refused.stderr
    assert "its schema is version 2, this invite-api needs 1" in invite_api("db", "migrate").stderr
    back = invite_api("db", "restore", str(kept), "--yes")
    assert back.returncode == 0, back.stderr
    assert "Anne" in invite_api("invite", "show", link).stdout
    again = next_version("db", "restore", str(kept), "--yes", **environ)
    assert "Warning: migrated: 0002_shoe_sizes" in again.stderr
    assert "Anne" in next_version("invite", "show", link, **environ).stdout


def test_the_version_of_a_checkout_is_its_own(checkout_copy):
    file = checkout_copy.folder / "config.py"
    file.write_text(file.read_text().replace(f'VERSION = "{config.VERSION}"', 'VERSION = "9.9.9"'))
    assert checkout_copy.run("--version").stdout == "invite-api 9.9.9\n"
