"""A migration finds out who invited those who are there: as if it had been written down at that time."""

import sqlite3
from contextlib import closing

import pytest
import time_machine
from sqlalchemy import update

import database
from conftest import HASH, make_settings, opened_on
from database import session
from models import Redemption, User
from rules import accounts, branches, holds, invites, keys, redemption, waiting
from rules.accounts import Names
from rules.drafts import SHELL, Draft
from settings import in_force
from upkeep import inviting, transfer, upgrade

INDEXES = ("users_of_inviter", "users_disabled_together")


def by(name, **given):
    """The token of an invite of an account, or of the shell."""
    return invites.token(invites.create(Draft(**given), accounts.as_inviter(accounts.named(name)) if name else SHELL))


def join(name, token, email=None):
    return accounts.register(token, Names(name, email), HASH)[0]


def furnish(house):
    """Accounts that came in every way; none has used invites of two accounts at the same moment."""
    with time_machine.travel("2026-03-25T21:00:00Z", tick=False) as time:

        def later(act, seconds=60):
            time.shift(seconds)
            with house.writing():
                return act()

        later(lambda: accounts.create(Names("root"), HASH))
        later(lambda: join("anne", by("root")))
        later(lambda: join("bob", by(None)))
        later(lambda: join("carol", by("anne")))
        later(lambda: redemption.accept(by("bob"), accounts.named("carol")))  # she was there before
        later(lambda: redemption.accept(by("carol"), accounts.named("root")))
        later(lambda: join("dora", by("carol", approve=True)))
        later(lambda: waiting.approve(waiting_for("dora")))
        later(lambda: join("erin", by("dora", email="@example.org"), "erin@example.org"))
        later(lambda: join("frank", by("bob", approve=True)))
        later(lambda: waiting.deny(waiting_for("frank")))
        later(lambda: holds.take(invites.find(by("anne")), keys.create("x").partition("/")[0], holds.Wanted("a guest")))
        late = later(lambda: by("anne"))
        later(lambda: accounts.create(Names("gina"), HASH))
        later(lambda: redemption.accept(late, accounts.named("gina")), 2)  # nobody registers for two seconds
        later(lambda: accounts.remove(accounts.named("anne")))
        second = later(lambda: by("bob"))
        later(lambda: join("hanna", by(None)))
        later(lambda: redemption.accept(second, accounts.named("hanna")), 0.5)


def waiting_for(name):
    return session().query(Redemption.id).filter_by(user_id=accounts.named(name).id).scalar()


def inviters(house):
    with house.reading() as unit:
        return dict(map(tuple, unit.session.query(User.username, User.inviter_id)))


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def furnished(request, tmp_path):
    """A database with people in it, and its settings."""
    with opened_on(request.param, request, tmp_path) as (house, settings):
        furnish(house)
        yield house, settings


pytestmark = pytest.mark.own_postgresql


def test_the_inviters_that_are_found_are_those_who_were_written_down(furnished):
    house, settings = furnished
    written = inviters(house)
    with house.writing() as unit:
        unit.session.execute(update(User).values(inviter_id=None))
    house.close()
    assert len(set(written.values())) == 6
    for _ in range(2):  # the second time as after a kill
        with database.exclusive(settings) as opened, opened.changing():
            for each in INDEXES:
                opened.execute(f"DROP INDEX {each}")
            inviting.derive(opened)
        assert inviters(house) == written
        house.close()


def test_a_copy_has_the_whole_tree_also_where_an_inviter_came_later(furnished, tmp_path):
    house, settings = furnished
    with house.writing():
        branches.move(accounts.named("bob"), accounts.named("gina"))
    written = inviters(house)
    house.close()
    copied = make_settings(tmp_path / "copy", DATABASE_URL=f"sqlite:///{tmp_path}/copy.db")
    transfer.copy(settings, copied)
    other = database.open_database(copied)
    assert inviters(other) == written
    other.close()


STEP = upgrade.FOLDER / "0009_inviters_and_budgets.sql"
BACK = """
DROP INDEX users_of_inviter; DROP INDEX users_disabled_together; DROP INDEX invites_used; DROP INDEX invites_unused;
DROP INDEX invites_unused_until; DROP INDEX invites_of_maker; ALTER TABLE invites DROP COLUMN spent_at;
ALTER TABLE users DROP COLUMN budget; ALTER TABLE users DROP COLUMN disabled_event;
UPDATE schema_version SET version = 8;
CREATE INDEX invites_of_maker ON invites (maker_id) WHERE maker_id IS NOT NULL;
"""


class Killed(Exception):
    """The process ends here."""


def dump(file):
    with closing(sqlite3.connect(file)) as connection:
        return list(connection.iterdump())


@pytest.fixture
def before(tmp_path):
    """The file of a database as it was before the step."""
    settings = make_settings(tmp_path / "instance", DATABASE_URL=f"sqlite:///{tmp_path}/invites.db")
    with in_force(settings):
        house = database.open_database(settings)
        furnish(house)
        house.close()
    file = tmp_path / "invites.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.executescript("PRAGMA foreign_keys = OFF;" + BACK)
        tables = connection.execute("SELECT sql FROM sqlite_master WHERE name = 'users'").fetchone()[0]
        columns = [each[1] for each in connection.execute("PRAGMA table_info(users)") if each[1] != "inviter_id"]
        named = ", ".join(columns)
        anew = tables.replace("    inviter_id        TEXT,\n", "").replace("users (", "former (", 1)
        assert anew.count("inviter_id") == 0
        indexes = connection.execute(
            "SELECT sql FROM sqlite_master WHERE tbl_name = 'users' AND type = 'index' AND sql > ''"
        )
        again = ";".join(each[0] for each in indexes.fetchall())
        copy = f"{anew}; INSERT INTO former SELECT {named} FROM users; DROP TABLE users;"
        rename = "ALTER TABLE former RENAME TO users;"
        connection.executescript(f"PRAGMA legacy_alter_table = ON; {copy} {rename} {again};")
    return file


def taken(file, kill_at=0):
    """Take the step, killed at a statement; how many there were."""
    met = 0

    def count(_):
        nonlocal met
        met += 1
        if met == kill_at:
            raise Killed

    with database.sqlite.connect(file) as connection:
        opened = database.sqlite.ExclusiveSqlite(connection)
        execute = opened.execute

        def executed(statement):
            count(statement)
            return execute(statement)

        opened.execute = executed
        list(upgrade.migrate(opened, [STEP]))
    return met


def test_killed_at_any_statement_of_the_step_the_end_is_the_same(before, tmp_path):
    start, file = before.read_bytes(), tmp_path / "killed.db"
    statements = taken(before)
    whole, ends = dump(before), []
    for place in range(1, statements + 1):
        file.write_bytes(start)
        with pytest.raises(Killed):
            taken(file, place)
        ends.append(dump(file) == whole)
        if not ends[-1]:
            taken(file)
            assert dump(file) == whole
    assert ends == [False] * (statements - 1) + [True]  # only after the commit all is done
    assert statements > 12
