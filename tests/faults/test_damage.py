"""Bits of the file are flipped: who asks gets an answer or is told to come again, and nobody is let in for it."""

import random
from collections import Counter

import pytest
from werkzeug.test import Client

import database
from app import create_app
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
    """SQLite keeps no checksums: a cell that must not be empty may be so all the same, and that is a rare 500."""
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
