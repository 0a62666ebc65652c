"""Many want the same thing at once: as many get it as there is of it, and the others are told so."""

import multiprocessing
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import clock
import database
from app import create_app
from conftest import ask, make_settings
from models import Code, User
from rules import accounts, invites, redemption, registration, tokens
from rules.refusals import InviteUsed
from settings import Settings, in_force

pytestmark = pytest.mark.long

RACERS = 64
PROCESSES = 8
WHO = "invite, {} at once"


def heats(run: Callable[[int, int], Any], count: int, racers: int = RACERS) -> list[Counter[Any]]:
    """Have so many racers do the same, again and again, each time at once: what came of each heat.

    `run(heat, number)` is counted by what it returns, an exception by its type.
    """
    start = threading.Barrier(racers)
    outcomes: list[Counter[Any]] = [Counter() for _ in range(count)]

    def race(number: int) -> None:
        for heat, outcome in enumerate(outcomes):
            start.wait(60)
            try:
                outcome[run(heat, number)] += 1
            except Exception as error:
                outcome[type(error)] += 1

    with ThreadPoolExecutor(racers) as pool:
        list(pool.map(race, range(racers)))
    return outcomes


def books(settings: Settings) -> tuple[int, int, int]:
    """How many uses were taken, redemptions written down and accounts made."""
    counts = "(SELECT sum(uses) FROM invites), (SELECT count(*) FROM redemptions), (SELECT count(*) FROM users)"
    return ask(settings.instance, f"SELECT {counts}")[0]


def test_of_64_at_once_only_as_many_redeem_an_invite_as_it_has_uses(settings, house, make_invite, profile, figures):
    row, count = figures(WHO.format("64 threads")), profile(20, 1000)
    uses = [10 if heat % 10 == 0 else 1 for heat in range(count)]
    wanted = [make_invite(uses=each) for each in uses]

    def register(heat: int, number: int) -> None:
        with in_force(settings), house.writing():
            accounts.register(wanted[heat], accounts.Names(f"h{heat}-{number}"), "hash")

    outcomes = heats(register, count)
    over = sum(max(0, each[None] - most) for each, most in zip(outcomes, uses, strict=True))
    under = sum(max(0, most - each[None]) for each, most in zip(outcomes, uses, strict=True))
    errors = sum(each.total() - each[None] - each[InviteUsed] for each in outcomes)
    row.shows(f"{count:,} invites × {RACERS} threads", f"{over} over, {under} under, {errors} errors")
    assert (over, under, errors) == (0, 0, 0)
    assert books(settings) == (sum(uses),) * 3


def test_a_check_before_an_act_is_caught(settings, house, make_invite, figures):
    wanted = [make_invite() for _ in range(5)]

    def register_carelessly(heat: int, number: int) -> None:
        with in_force(settings):
            with house.reading():
                uses = invites.find(wanted[heat]).uses
            with house.writing() as unit:
                invite = invites.find(wanted[heat])
                invite.uses = uses + 1
                user = User(id=clock.new_id(), username=f"h{heat}-{number}", created_at=clock.now())
                unit.session.add(user)
                redemption.settle(invite, user)

    over = sum(each[None] - 1 for each in heats(register_carelessly, len(wanted)))
    for who in ("64 threads", "8 processes"):
        figures(WHO.format(who)).catches(f"checks, then acts: {over} over in 5 invites")
    assert over > 0


_start: Any = None  # a barrier, in each of the processes


def _meet(start: Any) -> None:
    global _start  # noqa: PLW0603
    _start = start


def redeem_all(instance: Path, url: str, wanted: list[str], number: int) -> list[str]:
    """What a process of its own gets of these invites, one after the other, together with the other processes."""
    got = []
    with in_force(make_settings(instance, DATABASE_URL=url)) as settings:
        house = database.open_database(settings)
        for heat, token in enumerate(wanted):
            _start.wait(60)
            try:
                with house.writing():
                    accounts.register(token, accounts.Names(f"h{heat}-{number}"), "hash")
                got.append("redeemed")
            except Exception as error:
                got.append(type(error).__name__)
        house.close()
    return got


def test_of_8_processes_at_once_one_redeems_an_invite(tmp_path, settings, make_invite, profile, figures):
    row, count = figures(WHO.format("8 processes")), profile(50, 1000)
    wanted = [make_invite() for _ in range(count)]
    context, place = multiprocessing.get_context("spawn"), (settings.instance, settings.database_url)
    with ProcessPoolExecutor(PROCESSES, context, _meet, (context.Barrier(PROCESSES),)) as pool:
        running = [pool.submit(redeem_all, *place, wanted, number) for number in range(PROCESSES)]
        outcomes = [Counter(each) for each in zip(*(each.result() for each in running), strict=True)]
    over = sum(max(0, each["redeemed"] - 1) for each in outcomes)
    under = sum(each["redeemed"] == 0 for each in outcomes)
    errors = sum(each.total() - each["redeemed"] - each["InviteUsed"] for each in outcomes)
    row.shows(f"{count:,} invites × {PROCESSES} processes", f"{over} over, {under} under, {errors} errors")
    assert (over, under, errors) == (0, 0, 0)
    assert books(settings) == (count,) * 3


@pytest.fixture
def guess(tmp_path, house):
    """Send codes to so many addresses, and guess each wrongly, 64 times at once."""

    def guess_all(count: int) -> list[Counter[Any]]:
        with in_force(make_settings(tmp_path / "instance", REGISTRATION="open")) as settings:
            service = create_app(settings)
            wrong = [_send_code(house, f"guest{number}@example.org") for number in range(count)]

            def verify(heat: int, number: int) -> str:
                sent = {"email": f"guest{heat}@example.org", "code": wrong[heat]}
                return service.test_client().post("/auth/register/verify", json=sent).json["code"]

            return heats(verify, count)

    return guess_all


def _send_code(house: database.Database, email: str) -> str:
    """Another code than the one that is sent."""
    with house.writing() as unit:
        registration.start(email)
        nonce = unit.session.query(Code).filter_by(email=email).one().nonce
        return "000000" if tokens.mail_code(nonce) != "000000" else "000001"


def test_of_64_guesses_at_once_three_are_looked_at(guess, profile, figures):
    row, count = figures("code guessing"), profile(3, 100)
    outcomes = guess(count)
    row.shows(f"{count} codes × {RACERS} threads", "3 of 64 guesses looked at, of every code")
    assert outcomes == [{"INVALID_CODE": 3, "TOO_MANY_ATTEMPTS": RACERS - 3}] * count


def test_a_guess_that_is_compared_before_it_is_counted_is_caught(guess, figures, monkeypatch):
    count_try = registration.count_try

    def look(email: str, user_id: str | None) -> tuple[str, int]:
        """Which try it would be. It is counted when the code has been compared, and with a wrong one that is undone."""
        code_id, number = count_try(email, user_id)
        database.session().query(Code).filter_by(id=code_id).update({"attempts": number - 1})
        return code_id, number

    monkeypatch.setattr(registration, "count_try", look)
    looked_at = guess(1)[0]["INVALID_CODE"]
    figures("code guessing").catches(f"compares before it counts: {looked_at} of 64 guesses looked at")
    assert looked_at > 3
