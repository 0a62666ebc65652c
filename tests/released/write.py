"""Write down a database as this version makes it, with rows in every table: VERSION.sql and VERSION.json."""

import json
import sqlite3
import sys
import tempfile
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import time_machine

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent.parent))

import clock
import database
from models import Pass, Preset
from rules import (
    accounts,
    blocked_addresses,
    changing,
    counters,
    deliveries,
    drafts,
    gate,
    invites,
    keys,
    legacy,
    passwords,
    projects,
    redemption,
    registration,
    sessions,
    tokens,
    webhooks,
)
from settings import VERSION, in_force, load_settings

SECRET = "the master secret of databases that are not secret"
PASSWORD = "correct horse battery"
MOMENT = datetime(2026, 3, 25, 21, tzinfo=UTC)


def fill() -> dict[str, str]:
    """Make some of everything, inside a unit of work; what opens it."""
    hashed = passwords.hash(PASSWORD)
    alice = accounts.create(accounts.Names("alice", "alice@example.org"), hashed, proven=True)
    bob, charlie, dora = (accounts.create(accounts.Names(name), hashed) for name in ("bob", "charlie", "dora"))
    garden = projects.create(alice, projects.ProjectDraft("Tea Garden"))
    gate.set_origins(garden.slug, ["https://garden.example.org"])
    given = {"id": clock.new_id(), "hash": tokens.digest("pass_calendar"), "user_id": alice.id}
    database.session().add(Pass(**given, project_id=garden.id, created_at=clock.now()))
    to_garden = drafts.Draft(project=garden.slug, uses=2)
    joined = invites.create(to_garden, accounts.as_inviter(alice))
    redemption.accept(invites.token(joined), bob)
    mailed = invites.create(drafts.Draft(email="erin@example.org"), drafts.SHELL, mailed=True)
    withdrawn, spent = (invites.create(drafts.Draft(name=name), drafts.SHELL) for name in ("Anne", "José"))
    changing.revoke(withdrawn)
    redemption.accept(invites.token(spent), charlie)
    accounts.disable(charlie)
    accounts.remove(dora)
    registration.start_proof(bob_with_an_address(bob))
    counters.count("login", alice.id)
    pair = sessions.start(alice)
    deliveries.test(webhooks.create(webhooks.Wanted("https://app.example.org/hook"), 0)[0])
    blocked_addresses.block_address("frank@example.org")
    database.session().add(Preset(name="family", fields='{"uses": 5}', created_at=clock.now()))
    return {
        "key": keys.create("laptop"),
        "joined": invites.token(joined),
        "mailed": invites.token(mailed),
        "mailed as a letter": invites.mail_token(mailed),
        "withdrawn": invites.token(withdrawn),
        "spent": invites.token(spent),
        "forever": invites.token(invites.create(drafts.Draft(ttl=None, name="李小龙"), drafts.SHELL)),
        "short code": legacy.create(drafts.SHELL),
        "access": pair.access,
        "refresh": pair.refresh,
        "password": PASSWORD,
        "secret": SECRET,
        "moment": clock.iso(MOMENT),
    }


def bob_with_an_address(bob):
    bob.email = "bob@example.org"
    return bob


def dump(folder: Path) -> tuple[str, dict[str, str]]:
    """The SQL text of such a database, made in a folder, and what opens it."""
    settings = load_settings({"INVITE_API_INSTANCE": str(folder), "INVITE_API_SECRET_KEY": SECRET})
    with time_machine.travel(MOMENT, tick=False), in_force(settings):
        house = database.open_database(settings)
        with house.writing():
            opens = fill()
    with closing(sqlite3.connect(database.files.file_of(settings))) as file:
        return "\n".join(file.iterdump()) + "\n", opens


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        text, opens = dump(Path(folder))
    (FOLDER / f"{VERSION}.sql").write_text(text)
    (FOLDER / f"{VERSION}.json").write_text(json.dumps(opens, indent=4, ensure_ascii=False) + "\n")
