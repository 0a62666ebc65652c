"""What holds when many come at once: to the one invite, and to a database that nobody has opened yet."""

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from urllib.parse import urlencode

import pytest

import database
from conftest import make_settings

RACERS = 64


def test_of_64_registrations_over_the_socket_one_has_the_invite(serve, meddle):
    served = serve(THREADS="16")
    token = served.run("invite", "create").partition("?")[2]

    def register(number: int) -> int:
        typed = {"token": token, "user": f"user{number}", "password": "a-rather-long-password"}
        answer = served.get("/register", "POST", urlencode(typed).encode())
        assert answer.status != 503 or answer.headers["Retry-After"]
        return answer.status

    statuses = race(register)
    assert set(statuses) <= {200, 303, 503}
    assert statuses.count(200) == 1
    assert meddle("SELECT uses FROM invites") == [(1,)]
    assert meddle("SELECT count(*) FROM redemptions") == [(1,)]
    assert meddle("SELECT count(*) FROM users") == [(1,)]


def test_first_openings_at_once_make_one_database(tmp_path):
    for number in range(5):
        chosen = make_settings(tmp_path / f"instance{number}")
        opened = race(lambda _, chosen=chosen: database.open_database(chosen), racers=8)
        assert [each for each in opened if isinstance(each, Exception)] == []


@pytest.mark.sqlite
def test_an_opening_waits_for_one_that_is_under_way(tmp_path):
    chosen = make_settings(tmp_path)
    with closing(
        sqlite3.connect(database.files.file_of(chosen), isolation_level=None, check_same_thread=False)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        release = threading.Timer(0.5, other.execute, ["ROLLBACK"])
        release.start()
        try:
            database.open_database(chosen)
        finally:
            release.join()


def race(run: Callable[[int], Any], racers: int = RACERS) -> list[Any]:
    """What each racer got, all started at once: the result of `run(number)`, or its exception."""
    start = threading.Barrier(racers)

    def one(number: int) -> Any:
        start.wait(30)
        try:
            return run(number)
        except Exception as error:
            return error

    with ThreadPoolExecutor(racers) as pool:
        return list(pool.map(one, range(racers)))
