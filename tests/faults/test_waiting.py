"""Many take, complete, give back and forget uses of one invite at once: each use is somebody's, once, or is left."""

import multiprocessing
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError, NoResultFound

import clock
import database
from conftest import make_settings
from database import Database, Unavailable, session
from faults.test_race import RACERS, heats
from models import Event, Redemption
from rules import changing, expiry, fast_holds, holds, invites, redemption, uses
from rules.holds import Hold, Wanted
from rules.refusals import HoldDone, HoldLost, HoldReleased, InviteHeld, InviteUsed, Refusal
from settings import Settings, in_force

pytestmark = pytest.mark.long

FAULT = "uses that wait, {} at once"
THREADS, PROCESSES = FAULT.format(f"{RACERS} threads"), FAULT.format("4 processes")
USES, PROGRAM = 5, "program0"
VISITS = 6  # of each racer at each invite
BRIEF, LONG = timedelta(milliseconds=4), timedelta(minutes=10)
GUESTS = RACERS // 4  # four racers are calls of one program about the same guest


@dataclass
class Ledger:
    """What the racers were told, by the ids of holds."""

    held: set[str] = field(default_factory=set)
    done: set[str] = field(default_factory=set)
    released: set[str] = field(default_factory=set)
    refused: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    def add(self, other: "Ledger") -> None:
        """Add what other racers were told."""
        self.held |= other.held
        self.done |= other.done
        self.released |= other.released
        self.refused += other.refused
        self.errors += other.errors


class Program:
    """A program that holds uses, as its calls at the rules; a control replaces one of them."""

    def __init__(self, house: Database, settings: Settings) -> None:
        self.house, self.settings, self.ledger = house, settings, Ledger()

    def visit(self, token: str, guest: str) -> None:
        """Take a use for a guest, or the same again, and do something with it, perhaps twice, or nothing."""
        hold = self._told(lambda: self.take(token, guest))
        if hold is None:
            return
        self.ledger.held.add(hold.id)
        for act in random.choice(((self.complete,), (self.release,), (self.release, self.release), (), (self.rest,))):
            self._told(lambda act=act: act(hold.id))

    def take(self, token: str, guest: str) -> Hold:
        lease, at_once = random.choice((BRIEF, BRIEF, LONG)), random.random() < 0.1
        wanted = Wanted(guest, token, lease=lease, complete=at_once)
        with self.house.writing():
            return fast_holds.take(PROGRAM, wanted) or holds.take(invites.find(token), PROGRAM, wanted)

    def complete(self, hold_id: str) -> Hold:
        with self.house.writing():
            return fast_holds.complete(hold_id, PROGRAM) or holds.complete(hold_id, PROGRAM)

    def release(self, hold_id: str) -> None:
        with self.house.writing():
            holds.release(hold_id, PROGRAM)
        self.ledger.released.add(hold_id)

    def rest(self, hold_id: str) -> Hold:
        """Let its lease end, perhaps, and complete it after that."""
        time.sleep(BRIEF.total_seconds() * random.random() * 2)
        return self.complete(hold_id)

    def tidy(self) -> None:
        """What the caretaker does."""
        with self.house.writing():
            expiry.give_back(expiry.lapsed())

    def _told(self, call: Callable[[], Hold | None]) -> Hold | None:
        try:
            with in_force(self.settings):
                hold = database.once_more(call)
        except Refusal as refusal:
            self.ledger.refused[refusal.code] += 1
            return None
        except Unavailable:  # the file is locked for too long, as a caller is told with 503
            self.ledger.refused["busy"] += 1
            return None
        except Exception as error:
            self.ledger.errors.append(f"{type(error).__name__}: {error}")
            return None
        if hold and hold.state == "done":
            self.ledger.done.add(hold.id)
        return hold


def race(program: Program, wanted: list[str], racers: int = RACERS) -> None:
    """Have all racers visit each of these invites at once, again and again, beside a caretaker."""

    def visit(heat: int, number: int) -> None:
        for turn in range(VISITS):
            program.visit(wanted[heat], f"guest{number % GUESTS}")
            if number == 0 and turn % 2:
                with in_force(program.settings):
                    program.tidy()

    heats(visit, len(wanted), racers)


def wrong(house: Database, wanted: list[str], told: Ledger) -> list[str]:
    """What is not as it must be afterwards, a sentence each."""
    found = list(told.errors)
    time.sleep(2 * BRIEF.total_seconds())
    with house.reading() as unit:
        found += [f"{each} is miscounted" for each in redemption.miscounted()]
        rows = {each.id: each for each in unit.session.scalars(select(Redemption))}
        given_back = _given_back(unit.session)
    done = {each.id for each in rows.values() if each.state == "done"}
    by_invite = Counter(rows[each].invite_id for each in done)
    found += [f"{each} was used {times} times" for each, times in by_invite.items() if times > USES]
    found += [f"{each} was told to be done" for each in told.done - done]
    found += [f"{each} is done and nobody was told" for each in done - told.done]
    found += [f"{each} was given back and is done" for each in told.released & done]
    found += [f"{each} was taken and is nowhere" for each in told.held - set(rows)]
    found += [f"{each} was given back {times} times" for each, times in given_back.items() if times > 1]
    for token in wanted:
        found += _left_wrong(house, token)
    return found


def _given_back(db: Any) -> Counter[str]:
    """How often each use was given back since it was last taken; one that lapsed may be taken anew."""
    told = db.scalars(select(Event.facts).where(Event.type == "invite.released")).all()
    return Counter(each for each in told if '"why":"lapsed"' not in each)


def _left_wrong(house: Database, token: str) -> Iterator[str]:
    """Whether as many uses can be taken of an invite as should be left of it, and no more."""
    with house.reading():
        invite, now = invites.find(token), clock.now()
        alive = sum(bool(each.redeemed_at) or each.is_waiting(now) for each in invite.redemptions)
    for left in count():
        try:
            with house.writing():
                uses.take(token)
        except InviteUsed:
            if left != USES - alive:
                yield f"{left} uses of {USES} were left beside {alive} taken"
            return
        except (IntegrityError, NoResultFound) as error:  # its count is beyond what it permits
            yield str(error)
            return


def test_64_threads_hold_complete_give_back_and_forget_five_uses(settings, house, make_invite, profile, figures):
    row, times = figures(THREADS), profile(4, 200)
    wanted = [make_invite(uses=USES) for _ in range(times)]
    program = Program(house, settings)
    race(program, wanted)
    told = program.ledger
    found = wrong(house, wanted, told)
    row.shows(
        f"{times} invites × {USES} uses × {RACERS} threads × {VISITS} visits",
        f"{len(told.held):,} holds, {len(told.done):,} done, {len(told.released):,} given back; "
        f"{len(found)} over, under or unaccounted for",
    )
    assert found == []
    assert told.done
    assert told.released
    assert set(told.refused) >= {InviteUsed.code, InviteHeld.code, HoldLost.code, HoldReleased.code, HoldDone.code}


class ReleasesTwice(Program):
    """The control: a use is given back without a look whether it waits."""

    def release(self, hold_id: str) -> None:
        with self.house.writing():
            invite = uses.lock(session().get_one(Redemption, hold_id).invite)
            gone = update(Redemption).where(Redemption.id == hold_id, Redemption.redeemed_at.is_(None))
            gone = gone.values(state="released", released_at=clock.now()).returning(Redemption.id)
            if session().execute(gone).first():
                uses.count(invite, -1, -1)


class CompletesUnlocked(Program):
    """The control: whether a hold still waits is looked at first, and it is completed then."""

    def complete(self, hold_id: str) -> Hold:
        with self.house.reading():
            shown = holds.find(hold_id, PROGRAM)
        if shown.state != "held":
            raise HoldLost
        time.sleep(2 * BRIEF.total_seconds())
        with self.house.writing():
            use = session().get_one(Redemption, hold_id)
            use.state, use.redeemed_at, use.released_at = "done", clock.now(), None
            uses.count(use.invite, 0, -1)
        return Hold(hold_id, "done", None, shown.invite)


CARELESS = {"a use is given back without its guard": ReleasesTwice, "a hold is completed unlocked": CompletesUnlocked}


def found_of(program: Program, make_invite: Callable[..., str]) -> list[Any]:
    """What two invites find wrong with a program: raced for until there is something, since each race may end well."""
    for _ in range(20):
        wanted = [make_invite(uses=USES) for _ in range(2)]
        race(program, wanted)
        if found := wrong(program.house, wanted, program.ledger):
            return found
    return []


@pytest.mark.parametrize("name", CARELESS)
def test_a_careless_call_is_caught(name, settings, house, make_invite, figures):
    found = found_of(CARELESS[name](house, settings), make_invite)
    for each in (THREADS, PROCESSES):
        figures(each).catches(f"{name}: {len(found)} found in 2 invites")
    assert found


def test_a_lease_that_ends_twice_is_caught(settings, house, make_invite, figures, monkeypatch):
    monkeypatch.setattr(uses, "lapse", uses.lapsed)  # counted as free, and not marked as lapsed
    found = found_of(Program(house, settings), make_invite)
    for each in (THREADS, PROCESSES):
        figures(each).catches(f"a lapsed lease is counted twice: {len(found)} found in 2 invites")
    assert found


def visit_all(instance: Path, url: str, wanted: list[str]) -> Ledger:
    """What the sixteen threads of a process of its own are told."""
    with in_force(make_settings(instance, DATABASE_URL=url)) as settings:
        house = database.open_database(settings)
        program = Program(house, settings)
        race(program, wanted, GUESTS)
        house.close()
    return program.ledger


def test_four_processes_hold_complete_give_back_and_forget_five_uses(settings, house, make_invite, profile, figures):
    row, times = figures(PROCESSES), profile(3, 100)
    wanted = [make_invite(uses=USES) for _ in range(times)]
    told, place = Ledger(), (settings.instance, settings.database_url)
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        for each in [pool.submit(visit_all, *place, wanted) for _ in range(4)]:
            told.add(each.result())
    found = wrong(house, wanted, told)
    row.shows(
        f"{times} invites × {USES} uses × 4 processes × {GUESTS} threads × {VISITS} visits",
        f"{len(told.held):,} holds, {len(told.done):,} done, {len(told.released):,} given back; "
        f"{len(found)} over, under or unaccounted for",
    )
    assert found == []
    assert told.done


@contextmanager
def outcomes(house: Database, settings: Settings, token: str, *acts: Callable[[], Any]) -> Iterator[Counter[Any]]:
    """Have racers do these acts at once, each as many of them; what each was told."""

    def act(_: int, number: int) -> Any:
        with in_force(settings):
            while True:
                with suppress(Unavailable), house.writing():  # on a busy machine: nothing is done, and they come again
                    return acts[number % len(acts)]()

    (outcome,) = heats(act, 1)
    yield outcome
    with house.reading():
        assert redemption.miscounted() == []
        assert invites.find(token).waiting == 0


def test_a_late_completion_and_new_takers_want_the_last_use_and_one_gets_it(
    settings, house, make_invite, profile, figures
):
    times, late = profile(6, 300), 0
    for heat in range(times):
        token = make_invite()
        with house.writing():
            hold = holds.take(invites.find(token), PROGRAM, Wanted("slow", lease=timedelta(0)))

        def complete(hold=hold) -> str:
            return holds.complete(hold.id, PROGRAM).state

        def take(token=token, heat=heat) -> str:
            return "taken" if uses.take(token) else f"{heat}"

        with outcomes(house, settings, token, complete, take) as told:
            assert (told["done"], told["taken"]) in ((RACERS // 2, 0), (0, 1))
            assert told[HoldLost] == (RACERS // 2 if told["taken"] else 0)
            late += bool(told["done"])
            if told["taken"]:
                _write_down(house, token)
    row = figures("a late completion against new takers")
    row.shows(f"{times} last uses × {RACERS} threads", f"one had each of them ({late} times the late one)")


def _write_down(house: Database, token: str) -> None:
    """The row of a use that was taken and has none."""
    with house.writing():
        invite = invites.find(token)
        session().add(Redemption(id=clock.new_id(), invite_id=invite.id, redeemed_at=clock.now()))


def test_an_invite_is_revoked_while_its_holds_are_completed(settings, house, make_invite, profile, figures):
    times, saved = profile(6, 300), 0
    for _ in range(times):
        token = make_invite(uses=USES)
        with house.writing():
            taken = [holds.take(invites.find(token), PROGRAM, Wanted(f"guest{each}")) for each in range(USES)]
        acts = [lambda each=each: holds.complete(each.id, PROGRAM).state for each in taken]
        with outcomes(house, settings, token, *acts, lambda token=token: changing.revoke(invites.find(token))) as told:
            assert told["done"] + told[HoldLost] + told[None] == RACERS
        with house.reading():
            states = Counter(each.state for each in invites.find(token).redemptions)
        assert states["done"] + states["revoked"] == USES
        saved += states["done"]
    row = figures("an invite is revoked while its holds are completed")
    row.shows(f"{times} invites × {USES} holds × {RACERS} threads", f"{saved} were completed in time, all others ended")
