"""Backups of a live server that is written to, and upgrades and restores that are killed at every step."""

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Any

import pytest

import database
from app import create_app
from conftest import make_settings, servers, wait_for
from database import Unavailable
from faults import scripts
from faults.crowd import CLIENTS, Fact, Place, crowd, lost
from rules import drafts, invites
from settings import in_force
from test_upgrade import NEXT, NOW, RELEASED, STEPS, dump
from upkeep import backup, restore, upgrade

pytestmark = [pytest.mark.sqlite, pytest.mark.long]
LOOKED_AT = 20  # links of each backup that are opened
OF_EACH = 10  # backups in the midst of one crowd, whose database grows while each of them is looked through


def wrong_with(file: Path, told: set[Fact], folder: Path, key: str) -> str:
    """Restore a backup elsewhere, and delete it; why it is not as good as what was told before it was made."""
    settings = make_settings(folder)
    try:
        with restore.prepared(settings, file) as ready:
            ready.finish()
        missing = lost(settings.instance, told)
    except (Unavailable, AssertionError) as error:
        return f"damaged: {error}"
    client = create_app(settings).test_client()
    made = islice((each.invite for each in told if each.what == "made"), LOOKED_AT)
    opened = {client.get(f"/invite?{each}").status_code for each in made}
    used = client.get(f"/invites_api?key={key}").status_code
    shutil.rmtree(folder)
    file.unlink()
    good = not missing and opened <= {200, 410} and used == 201
    return "" if good else f"{len(missing)} lost; links answer {opened}, the key {used}"


def _has_more(books: Any, told: set[Fact]) -> bool:
    """Whether the crowd was told of more writes than these."""
    return len(books.told) > len(told)


def backups(folder: Path, times: int, make: Callable[[Path, Path], object]) -> Iterator[tuple[int, str]]:
    """Make backups in the midst of crowds: how much these were told by then, and what is wrong with each."""
    before = told = 0
    for begun in range(0, times, OF_EACH):
        for told, wrong in _of_one(folder / f"crowd{begun}", min(OF_EACH, times - begun), make):
            yield before + told, wrong
        before += told


def _of_one(folder: Path, times: int, make: Callable[[Path, Path], object]) -> Iterator[tuple[int, str]]:
    """Make backups in the midst of one crowd."""
    folder.mkdir()
    with servers(folder) as start:
        served = start()
        place = Place.furnish(served)
        told: set[Fact] = set()
        with crowd(served, place) as books:
            for number in range(times):
                wait_for(partial(_has_more, books, told))
                told = books.told
                file = folder / f"{number}.db"
                make(served.instance / "invites.db", file)
                yield len(told), wrong_with(file, told, folder / f"house{number}", place.key)
    assert books.rude == []


def test_a_backup_has_all_that_was_told_before_it(tmp_path, profile, figures):
    row, times = figures("backup under load"), profile(8, 200)
    told, wrong = zip(*backups(tmp_path, times, backup.make), strict=True)
    row.shows(
        f"{times} backups, {CLIENTS} clients; each restored elsewhere, its links opened, its key used",
        f"{wrong.count('')} of {times} whole, of {told[-1]:,} acknowledged writes in all",
    )
    assert wrong == ("",) * times
    assert len(set(told)) == times, "nothing was written meanwhile, so that nothing was shown"


def test_who_copies_the_file_alone_is_caught(tmp_path, figures):
    wrong = [each for _, each in backups(tmp_path, 3, shutil.copyfile) if each]
    figures("backup under load").catches(f"copies invites.db without its journal: {len(wrong)} of 3 not whole")
    assert wrong


RESTORES = """
import os, signal, sys
import database
from settings import load_settings
from pathlib import Path
from typing import Any
from upkeep import restore

left = int(sys.argv[2])
watched = ("open", "os.rename", "os.link", "os.remove", "sqlite3.connect", "shutil.copyfile", "tempfile.mkstemp")

def count(event, arguments):
    global left
    if event in watched and "restoring" in str(arguments) or event in ("os.link", "os.rename", "os.remove"):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

settings = load_settings()
sys.addaudithook(count)
with restore.prepared(settings, Path(sys.argv[1])) as ready:
    ready.finish()
"""
AT_TWO_BLOWS = """
import os
rename = os.replace
os.replace = lambda draft, path: (os.remove(path), rename(draft, path))
"""
UPGRADES = """
import os, signal, sys
import database
from pathlib import Path
from typing import Any
from upkeep import upgrade

left = int(sys.argv[3])

def count(statement):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)

with database.sqlite.connect(Path(sys.argv[1])) as connection:
    connection.set_trace_callback(count)
    opened = database.sqlite.ExclusiveSqlite(connection)
    steps = upgrade.steps(upgrade.version_of(opened), Path(sys.argv[2]), int(sys.argv[4]))
    list(upgrade.migrate(opened, steps))
"""
PIECE_BY_PIECE = """
import database
from upkeep import upgrade

def take(opened, step):
    for statement in database.schema.statements(step.read_text()):
        opened.execute(statement)
    opened.execute(f"UPDATE schema_version SET version = {int(step.name[:4])}")

upgrade.take = take
"""


def killed_at(script: str, instance: Path, *arguments: object) -> bool:
    """Run a script that may kill itself; whether it did."""
    return scripts.is_killed(script, {"INVITE_API_INSTANCE": str(instance)}, *arguments)


@pytest.fixture
def house_of(tmp_path) -> Callable[[str], Path]:
    """Make an instance with an invite in it, that nobody has open."""

    def make(name: str) -> Path:
        settings = make_settings(tmp_path / name)
        with in_force(settings):
            house = database.open_database(settings)
            add(house)
            house.close()
        return settings.instance

    return make


def add(house: database.Database) -> None:
    """One invite more."""
    with house.writing():
        invites.create(drafts.Draft(), drafts.SHELL)


def restores(instance: Path, file: Path, tampered: str = "") -> list[set[str] | None]:
    """Which invites are there after a restore that was killed at its first step, its second, and so on to the end."""
    found: list[set[str] | None] = []
    for step in count(1):
        killed = killed_at(tampered + RESTORES, instance, file, step)
        found.append(tokens_in(instance / "invites.db"))
        if not killed or found[-1] is None:
            return found
    raise AssertionError


def tokens_in(file: Path) -> set[str] | None:
    """The hashes of the tokens in a database, which must be sound; None if it is not there."""
    if not file.exists():
        return None
    with closing(sqlite3.connect(file)) as present:
        assert present.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return {each for (each,) in present.execute("SELECT token_hash FROM invites")}


@pytest.fixture
def backed_up(house_of, tmp_path) -> tuple[Path, Path]:
    """An instance, and a backup of it from before its last invite."""
    instance = house_of("instance")
    file = backup.make(instance / "invites.db", tmp_path / "copy.db")
    settings = make_settings(instance)
    with in_force(settings):
        house = database.open_database(settings)
        add(house)
        house.close()
    return instance, file


def test_killed_anywhere_a_restore_has_happened_or_has_not(backed_up, figures):
    row = figures("restore, killed at every step")
    instance, file = backed_up
    before, after = tokens_in(instance / "invites.db"), tokens_in(file)
    found = restores(instance, file)
    between = [each for each in found if each not in (before, after)]
    row.shows(f"{len(found) - 1} places", f"{len(between)} times anything but the former database or the backup")
    assert len(found) > 7
    assert (found[0], found[-1], between) == (before, after, [])
    assert not list(instance.glob("*.restoring*"))


def test_a_restore_at_two_blows_is_caught(backed_up, figures):
    found = restores(*backed_up, AT_TWO_BLOWS)
    figures("restore, killed at every step").catches(f"deletes the former first: none is there at place {len(found)}")
    assert found[-1] is None


@pytest.fixture
def steps(tmp_path) -> Path:
    """A folder of migrations that lead on by two versions."""
    folder = tmp_path / "migrations"
    folder.mkdir()
    for name, script in STEPS.items():
        (folder / name).write_text(script)
    return folder


def upgrades(old: Path, steps: Path, first: int, last: int, tampered: str = "") -> tuple[int, int, int]:
    """Kill an upgrade at every statement, and take it again: how many places, databases between, wrong ends."""
    whole = shutil.copy(old, old.with_name("whole.db"))
    with database.sqlite.connect(whole) as connection:
        list(upgrade.migrate(database.sqlite.ExclusiveSqlite(connection), upgrade.steps(first, steps, last)))
    stages, wrong = [dump(old)], 0
    for place in count(1):
        file = shutil.copy(old, old.with_name(f"{place}.db"))
        if not killed_at(tampered + UPGRADES, old.parent, file, steps, place, last):
            return place - 1, len(stages) - 1 - (last - first), wrong  # as it was, and after each step
        stages += [dump(file)] if dump(file) not in stages else []
        wrong += not upgraded_again(file, steps, last) or dump(file) != dump(whole)
    raise AssertionError


def upgraded_again(file: Path, steps: Path, last: int) -> bool:
    """Whether an upgrade that was killed can be taken to its end."""
    try:
        with database.sqlite.connect(file) as connection:
            found = database.sqlite.ExclusiveSqlite(connection)
            list(upgrade.migrate(found, upgrade.steps(upgrade.version_of(found), steps, last)))
    except Unavailable:
        return False
    return True


def test_killed_at_any_statement_an_upgrade_ends_as_the_same_database(house_of, steps, figures):
    row = figures("migration, killed at every step")
    places, between, wrong = upgrades(house_of("instance") / "invites.db", steps, NOW, NEXT + 1)
    row.shows(f"{places} statements of {len(STEPS)} steps", f"{places - wrong} of {places} end as the same database")
    assert places > 15
    assert (between, wrong) == (0, 0)


# Those that have something to migrate.
OLD = [each for each in sorted(RELEASED.glob("*.sql")) if f'"schema_version" VALUES({NOW})' not in each.read_text()]


@pytest.mark.parametrize("release", OLD, ids=lambda each: each.stem)
def test_killed_at_any_statement_the_upgrade_of_a_release_ends_as_the_same_database(tmp_path, release):
    old = tmp_path / "invites.db"
    with closing(sqlite3.connect(old)) as connection:
        connection.executescript(release.read_text())
        ((version,),) = connection.execute("SELECT version FROM schema_version")
    places, between, wrong = upgrades(old, upgrade.FOLDER, version, NOW)
    assert places > 5
    assert (between, wrong) == (0, 0)


def test_an_upgrade_that_is_no_transaction_is_caught(house_of, steps, figures):
    places, between, wrong = upgrades(house_of("instance") / "invites.db", steps, NOW, NEXT + 1, PIECE_BY_PIECE)
    figures("migration, killed at every step").catches(
        f"each statement on its own: {between} databases between two versions, {wrong} of {places} end wrong"
    )
    assert between > 0
    assert wrong > 0
