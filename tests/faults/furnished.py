"""An instance with somebody and something of every kind in it, and good requests for all of it."""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sqlalchemy import create_engine, delete, event, insert, select

from conftest import HASH, PASSWORD, make_settings
from database import open_database
from faults.mutations import seeds
from models import Base, User
from rules import (
    accounts,
    addresses,
    drafts,
    gate,
    holds,
    invites,
    keys,
    legacy,
    passes,
    projects,
    registration,
    resets,
    sessions,
    webhooks,
)
from settings import Settings, in_force, settings

Facts = dict[str, list[Any]]  # what there is, by the name under which it is sent
Shown = list[list[bytes]]  # headers that show who one is, good and bad

SETTINGS = {"REGISTRATION": "open", "SECRET_KEY": "fuzz" * 8, "SITE_NAME": "Garden Club"}
PEOPLE = ("root", "bob", "carol")
INVITED = ({"uses": 1000}, {"project": "tea-garden"}, {"email": "anne@example.org"})
SAID: Facts = {
    **{"email": ["anne@example.org", "bob@example.org", "dora@example.org"], "name": ["Anne", "José Ñúñez"]},
    **{"user": ["anne", "bob"], "password": [PASSWORD, "wrong one"], "username": ["anne"], "displayName": ["Anne"]},
    **{"slug": ["tea-garden"], "project": ["tea-garden"], "role": ["member"], "plan": ["solo"], "ttl": ["3d"]},
    **{"uses": ["5"], "redirect_url": ["https://app.example.org/x"], "note": ["n"], "owner": ["bob"]},
    **{"once": ["once-upon-a"], "count": ["2"], "message": ["Hello"], "expires": ["90d"], "off": ["", "1"]},
    **{"limit": ["5"], "status": ["active", "used"], "q": ["a", "%_"], "cursor": [""]},
    **{"max_uses": [5, 2], "mail": [True, False], "state": ["active", "used"], "text": ["a"], "link": ["1"]},
    **{"type": ["invite.created"], "act": ["revoke", "extend"], "all": ["", "on"], "until": ["", "2026-12-24"]},
    **{"ticket": ["x.y"], "then": ["/docs"]},
}


@contextmanager
def in_memory() -> Iterator[Path]:
    """A folder in memory, where there is such a thing, during the block."""
    fast = Path("/dev/shm")
    with TemporaryDirectory(dir=fast if fast.is_dir() else None) as folder:
        yield Path(folder)


class Kept:
    """All that is in the database of these settings, to be put back there under a service that goes on."""

    def __init__(self, settings: Settings) -> None:
        self._engine = create_engine(settings.database_url)
        event.listen(self._engine, "connect", _hurry)
        with self._engine.connect() as connection:
            self._rows = {
                each: connection.execute(select(each)).mappings().all() for each in Base.metadata.sorted_tables
            }

    def put_back(self) -> None:
        """Have there again what was there."""
        with self._engine.begin() as connection:
            for table in reversed(self._rows):
                connection.execute(delete(table))
            for table, rows in self._rows.items():
                if rows:
                    connection.execute(insert(table), [dict(each) for each in rows])


def _hurry(connection: Any, record: object) -> None:
    """What is put back need not be on disk."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF")


class Furnished:
    """The instance. `seeds` are the requests; `put_back` makes all of them good again."""

    def __init__(self, instance: Path) -> None:
        self.settings = make_settings(instance, **SETTINGS)
        with in_force(self.settings):
            house = open_database(self.settings)
            with house.writing() as unit:
                people, key = _people(), keys.create("fuzz", may=keys.SCOPES)
                facts = SAID | {"key": [key], "key_id": [key.partition("/")[0]]} | _things(people, key)
                pairs, browsers = _signed_in(people)
                facts |= {"refresh_token": [each.refresh for each in pairs[-2:]]}
                facts |= {"csrf": [sessions.form_token(sessions.of_cookie(browsers[0]))]}
                unit.session.flush()
            house.close()
            self.seeds = seeds(facts, _shown(key, [each.access for each in pairs], browsers))
        self.put_back = Kept(self.settings).put_back


def _people() -> list[User]:
    people = [accounts.create(accounts.Names(name, f"{name}@example.org"), HASH) for name in PEOPLE]
    for each in people:
        addresses.prove(each, str(each.email))
    accounts.set_admin(people[0], True)
    return people


def _things(people: Sequence[User], key: str) -> Facts:
    """A project, invites and codes."""
    garden = projects.create(people[0], projects.ProjectDraft("Tea Garden"))
    made = [invites.create(drafts.read(each), drafts.SHELL, mailed="email" in each) for each in INVITED]
    code = legacy.create(keys.authenticate(key).inviter)
    registration.start("dora@example.org")
    reset = resets.link(people[2]).rpartition("?")[2]
    tokens = [*(invites.token(each) for each in made), invites.mail_token(made[2]), reset]
    gate.set_origins("tea-garden", ["https://photos.example.org"])
    hook = webhooks.Wanted("http://127.0.0.1:1/", private=True)  # nobody listens there
    return {
        "pass_id": [passes.create(projects.member("tea-garden", people[0]))[0].id],
        "webhook_id": [webhooks.create(hook, 0)[0].id],
        "hold_id": [holds.take(made[0], key.partition("/")[0], holds.Wanted("a guest")).id],
        "user_id": [people[2].id],
        "invite_id": [made[0].id],
        "member_id": [projects.members(garden)[0].id],
        "token": tokens,
        "invite_token": tokens[:3],
        "code": [code, "123456", tokens[0]],
    }


def _signed_in(people: Sequence[User]) -> tuple[list[sessions.Tokens], list[str]]:
    """Sessions of an admin and of somebody else, many, since requests end them; and the cookies of browsers."""
    pairs = [sessions.start(each) for each in (*9 * people[:1], *4 * people[1:2])]
    return pairs, [sessions.start_in_browser(each) for each in people[:2]]


def _shown(key: str, accesses: Sequence[str], browsers: Sequence[str]) -> Shown:
    bearers = ["nonsense", "AAAAAAAA/nobody", key, key, key, *accesses]
    cookie = settings().cookie_name
    cookies = (f"{cookie}={each}".encode() for each in (*8 * browsers[:1], *browsers[1:]))
    return [
        [],
        *([f"Authorization: Bearer {each}".encode()] for each in bearers),
        *([b"Cookie: " + each, b"Sec-Fetch-Site: same-origin"] for each in cookies),
    ]
