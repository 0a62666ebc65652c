"""Bits of the file are flipped: who asks gets an answer or is told to come again, and nobody is let in for it."""

import random
import re
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column
from werkzeug.test import Client

import database
from app import create_app
from database import cells
from models import Base
from rules import accounts, drafts, invites, keys, projects, sessions
from settings import Settings
from web import answer

pytestmark = [pytest.mark.sqlite, pytest.mark.long]

FAULT = "file corrupt (bits flipped)"
BITS = (1, 8, 64, 512)  # flipped at once


@pytest.fixture
def asked(house, settings, root, alice, fill, make_invite, key):
    """What is asked of a database: the request, and what may be answered while it is sound or seems to be."""
    fill(200)
    tokens = [make_invite() for _ in range(3)]
    house.close()
    return [
        ("GET", "/", {}, {200}),
        ("GET", f"/invites/{tokens[0]}", {}, {200, 404}),
        ("GET", f"/invites/{'0' * 64}", {}, {404}),
        ("GET", f"/invite?{tokens[1]}", {}, {200, 400, 404, 410}),
        ("POST", f"/invites/{tokens[2]}/accept", alice.bearer, {200, 400, 401, 404}),
        ("GET", "/api/admin/invites", root.bearer, {200, 403}),
        ("GET", "/api/admin/invites", {}, {403}),
        ("GET", "/auth/me", alice.bearer, {200, 401}),
        ("GET", "/auth/me", {"Authorization": "Bearer hitkey_made-up"}, {401}),
        ("GET", f"/invites_api?key={key}", {}, {201, 403}),
        ("GET", "/invites_api?key=madeup00/secret", {}, {403}),
    ]


@pytest.fixture
def content(settings, asked) -> bytes:
    """The file as it is before anything is flipped, so that no damage is built upon damage."""
    return database.files.file_of(settings).read_bytes()


def flipped(content: bytes) -> bytes:
    """The same, but for some bits."""
    changed = bytearray(content)
    for _ in range(random.choice(BITS)):
        changed[random.randrange(len(content))] ^= 1 << random.randrange(8)
    return bytes(changed)


def ask(settings: Settings, content: bytes, asked) -> Counter[str]:
    """Start a service on this file and ask all of it: how many answers were as they should be, 503, and others."""
    for each in settings.instance.glob("invites.db*"):
        each.unlink()
    database.files.file_of(settings).write_bytes(content)
    try:
        service = create_app(settings)
    except database.Unavailable:
        return Counter({"refused to start": 1})
    found = Counter()  # and what a damaged cell says need not be as the API is described
    for method, url, headers, sound in asked:
        answer = Client(service).open(url, method=method, headers=headers)
        found["as it should be" if answer.status_code in sound else str(answer.status_code)] += 1
        assert answer.status_code != 503 or int(answer.headers["Retry-After"]) > 0
    service.extensions["invite_api"].database.close()
    return found


def ask_of_many(times: int, settings: Settings, content: bytes, asked) -> Counter[str]:
    """The same of so many files, each flipped in its own way; nobody who is unknown may be let in."""
    found = Counter()
    assert ask(settings, content, asked) == {"as it should be": len(asked)}
    for _ in range(times):
        found += ask(settings, flipped(content), asked)
    assert set(found) <= {"as it should be", "refused to start", "503", "500"}
    return found


def test_flipped_bits_are_told_and_let_nobody_in(settings, asked, content, profile, figures):
    """SQLite keeps no checksums: a row may lose its key, or a text its form, and that is a rare 500."""
    row, times = figures(FAULT), profile(100, 3000)
    found = ask_of_many(times, settings, content, asked)
    row.shows(
        f"{times} files with {', '.join(map(str, BITS))} bits flipped",
        f"{found['as it should be']:,} answers as they should be, {found['503']:,} 503 with Retry-After, "
        f"{found['500']:,} 500; {found['refused to start']:,} refusals to start; no stranger let in",
    )
    assert found["503"] + found["refused to start"] > 0
    assert found["500"] <= 2 + times * len(asked) / 1000


def test_a_service_that_does_not_know_what_damage_looks_like_is_caught(settings, asked, content, figures, monkeypatch):
    monkeypatch.setattr(answer, "ServiceUnavailable", lambda **_: answer.InternalServerError())
    rude = files = 0
    while rude <= 2 and files < 600:  # of a hundred files five are damaged where it is asked; half of them do not start
        rude, files = rude + ask_of_many(20, settings, content, asked)["500"], files + 20
    figures(FAULT).catches(f"takes damage for an error like any other: {rude} answers 500 in {files} files")
    assert rude > 2


# What the cells of a column become, as by a bit in the head of each row.
EMPTY, BYTES, TEXT = "NULL", "CAST({} AS BLOB)", "'x' || {}"
READ = ("invites", "users", "projects", "members", "sessions", "access_tokens", "api_keys", "redemptions", "events")


@pytest.fixture
def shown(house, root, alice, use, make_invite, settings):
    """What shows rows of these tables: the path, and the headers of who asks."""
    make_invite(uses="2")
    token = make_invite(name="Anne", email="anne@example.org")
    use(make_invite())
    with house.writing():
        projects.create(accounts.named("alice"), projects.ProjectDraft("Tea Garden", "Tea and cake"))
        guest = drafts.read({"project": "tea-garden", "redirect_url": "https://app.example.org/"})
        to_project = invites.create(guest, accounts.as_inviter(accounts.named("alice")))
        shared, id_, alice_id = invites.token(to_project), to_project.id, accounts.named("alice").id
        key = keys.create("test", may=("read", "manage"))
        cookie = sessions.start_in_browser(accounts.named("root"))
    house.close()
    program, browser = {"Authorization": f"Bearer {key}"}, {"Cookie": f"{settings.cookie_name}={cookie}"}
    garden = "/projects/tea-garden"
    return [
        *((path, {}) for path in (f"/invites/{token}", f"/invite?{token}", f"/invite?{shared}")),
        *(
            (path, alice.bearer)
            for path in ("/auth/me", "/projects/", garden, f"{garden}/members", f"{garden}/invites")
        ),
        *((path, program) for path in ("/v1/invites", f"/v1/invites/{id_}?link=1", "/v1/events")),
        *(
            (path, browser)
            for path in ("/admin", f"/admin/invites/{id_}", "/admin/people", f"/admin/people/{alice_id}")
        ),
        *((path, browser) for path in ("/admin/projects", f"/admin{garden}", "/admin/keys", "/admin/activity")),
        *((path, browser) for path in ("/account", "/invites")),
        ("/api/admin/invites", root.bearer),
    ]


@contextmanager
def spoilt(path: Path, table: str, column: str, becomes: str) -> Iterator[None]:
    """Inside, this column is something else in all rows, whatever the schema says of it."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        (written,) = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchone()
        before = connection.execute(f"SELECT {column}, rowid FROM {table}").fetchall()
        connection.execute("PRAGMA ignore_check_constraints = ON")
        with unguarded(connection, table, written):
            connection.execute(f"UPDATE OR IGNORE {table} SET {column} = {becomes.format(column)}")
        yield
        with unguarded(connection, table, written):
            connection.executemany(f"UPDATE {table} SET {column} = ? WHERE rowid = ?", before)


@contextmanager
def unguarded(connection: sqlite3.Connection, table: str, written: str) -> Iterator[None]:
    """Inside, the cells of a table may be empty."""
    for schema in (re.sub("(?<!IS) NOT NULL", "", written), written):
        connection.execute("PRAGMA writable_schema = ON")
        connection.execute("UPDATE sqlite_master SET sql = ? WHERE name = ?", (schema, table))
        connection.execute("PRAGMA writable_schema = RESET")
        if schema != written:
            yield


def damages(column: Column[Any]) -> Iterator[str]:
    """What a column becomes. A row without its key is no object at all, and what a text says is another matter."""
    if not (column.nullable or column.primary_key):
        yield EMPTY
    if column.name != "number":  # the number of a row, which can be nothing else
        yield BYTES
        if column.type.python_type is not str:
            yield TEXT


def ask_all(settings: Settings, table: str, shown) -> Counter[int]:
    """Damage one column after the other, and ask for all that shows it; how often which status was the answer."""
    found, service = Counter[int](), create_app(settings)

    def ask() -> None:
        for url, headers in shown:
            answer = Client(service, use_cookies=False).get(url, headers=headers)
            found[answer.status_code] += 1
            assert answer.status_code != 503 or int(answer.headers["Retry-After"]) > 0

    for column in Base.metadata.tables[table].columns:
        for becomes in damages(column):
            with spoilt(database.files.file_of(settings), table, column.name, becomes):
                ask()
    before = Counter(found)
    ask()
    assert (found - before) == {200: len(shown)}
    return found


@pytest.mark.parametrize("table", READ)
def test_a_cell_of_another_kind_is_damage_and_no_error_of_ours(settings, shown, table):
    assert ask_all(settings, table, shown)[500] == 0


def test_a_service_that_looks_at_no_cell_before_it_works_with_it_is_caught(settings, shown, monkeypatch):
    monkeypatch.setattr(cells, "_refuse", lambda *_: None)
    monkeypatch.setattr(cells, "_SOUND", set())  # what is taken for sound here is not afterwards
    assert ask_all(settings, "invites", shown)[500] > 0


def test_what_is_said_of_a_damaged_cell_does_not_quote_it(settings, shown, caplog):
    with spoilt(database.files.file_of(settings), "invites", "made_by", "CAST('a-secret' AS BLOB)"):
        answer = Client(create_app(settings), use_cookies=False).get("/api/admin/invites", headers=shown[-1][1])
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert "invites.made_by: a cell is empty that must not be, or holds something of another kind" in caplog.text
    assert "secret" not in caplog.text
