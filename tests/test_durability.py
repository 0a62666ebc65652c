"""What holds when many want the same thing at once, and when the server is killed in the midst of it.

Each checker is shown something that it must catch.
"""

import sqlite3
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from urllib.parse import urlencode

import pytest
from sqlalchemy import text

import clock
import config
import database
from conftest import make_settings
from models import User
from rules import accounts, invites, redemption
from rules.refusals import InviteUsed

RACERS = 64


@pytest.mark.parametrize("uses", [1, 10])
def test_of_64_at_once_only_as_many_redeem_an_invite_as_it_has_uses(settings, house, make_invite, uses):
    for heat in "abc":
        token = make_invite(uses=uses)

        def register(number: int, token: str = token, heat: str = heat) -> None:
            with config.using(settings), house.writing():
                accounts.register(token, accounts.Names(f"{heat}{number}"), "hash")

        assert_redeemed(house, token, uses, race(register))


def test_the_race_catches_a_check_before_an_act(settings, house, make_invite):
    token = make_invite()

    def register_carelessly(number: int) -> None:
        with config.using(settings):
            with house.reading():
                uses = invites.find_open(token).uses
            with house.writing() as unit:
                invite = invites.find(token)
                invite.uses = uses + 1
                user = User(id=clock.new_id(), username=f"user{number}", created_at=clock.now())
                unit.session.add(user)
                redemption.settle(invite, user)

    with pytest.raises(AssertionError):
        assert_redeemed(house, token, 1, race(register_carelessly))


def test_of_64_registrations_over_the_socket_one_has_the_invite(serve):
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
    with closing(sqlite3.connect(served.instance / "invites.db")) as file:
        assert file.execute("SELECT uses FROM invites").fetchall() == [(1,)]
        assert file.execute("SELECT count(*) FROM redemptions").fetchone() == (1,)
        assert file.execute("SELECT count(*) FROM users").fetchone() == (1,)


def test_first_openings_at_once_make_one_database(tmp_path):
    for number in range(5):
        chosen = make_settings(tmp_path / f"instance{number}")
        opened = race(lambda _, chosen=chosen: database.open_database(chosen), racers=8)
        assert [each for each in opened if isinstance(each, Exception)] == []


def test_an_opening_waits_for_one_that_is_under_way(tmp_path):
    chosen = make_settings(tmp_path)
    with closing(sqlite3.connect(database.file_of(chosen), isolation_level=None, check_same_thread=False)) as other:
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


def assert_redeemed(house: database.Database, token: str, times: int, outcomes: list[Any]) -> None:
    """So many registered, the others were told that the invite is used, and the books agree."""
    assert outcomes.count(None) == times
    assert sum(isinstance(each, InviteUsed) for each in outcomes) == len(outcomes) - times
    with house.reading() as unit:
        invite = invites.find(token)
        assert invite.uses == len(invite.redemptions) == times
        assert unit.session.scalar(text("SELECT count(*) FROM users")) == unit.session.scalar(
            text("SELECT sum(uses) FROM invites")
        )
