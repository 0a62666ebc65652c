"""Programs of all that can happen to invites, in four dialects: each answer, event and delivery is the model's."""

from collections.abc import Callable, Iterator
from dataclasses import fields
from datetime import datetime
from types import SimpleNamespace

import pytest
import time_machine
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import bindparam, or_, update

import app
import clock
from conftest import HASH, make_settings
from database import open_database
from database.statements import Statement
from delivery.posting import Reply
from faults.furnished import Kept
from faults.life import SLUG, START
from faults.life_site import SiteLife
from faults.model_site import ADDRESSES, PLACES, VERIFIED
from gated import PHOTOS
from models import Invite as Row
from receiver import listening
from rules import (
    accounts,
    addresses,
    budgets,
    changing,
    deliveries,
    expiry,
    fast_holds,
    gate,
    invites,
    keys,
    projects,
    sessions,
    timeline,
    uses,
    webhooks,
)
from settings import in_force

pytestmark = pytest.mark.long

FAULT = "the life of invites, against a model"
SETTINGS = {"SECRET_KEY": "model" * 8, "BUDGET": "3/3d"}
WEBHOOKS = {"/some": ("invite.used,invite.released,member,user,webhook", None), "/project": (None, SLUG)}


@pytest.fixture
def life(memory, hurried):
    """The machine, with a service, which each of its programs finds as the first did."""
    chosen = make_settings(memory, **SETTINGS)
    with listening() as receiver:
        with time_machine.travel(START, tick=False), in_force(chosen):
            house = open_database(chosen)
            with house.writing():
                furnish()
                key, follower = keys.create("model", may=keys.SCOPES), keys.create("follower", may=["read"])
            hooks = {path: hook(house, receiver, path) for path in WEBHOOKS}
            house.close()
        there = {"settings": chosen, "kept": Kept(chosen), "key": key, "follower": follower}
        there |= {"service": app.create_app(chosen), "receiver": receiver, "webhooks": hooks}
        yield type("Life", (SiteLife,), there)


def furnish():
    """Accounts, and a project with an app behind the gate."""
    for name, address in {**ADDRESSES, "owner": "owner@example.org"}.items():
        user = accounts.create(accounts.Names(name, address), HASH)
        user.created_at -= clock.HOUR  # so that no invite that waits later is the one that it came by
        if name in VERIFIED:
            addresses.prove(user, address)
    projects.create(user, projects.ProjectDraft("Tea Garden"))
    gate.set_origins(SLUG, [PHOTOS])


def hook(house, receiver, path):
    """Create a webhook; its id, its secret, the types and the project of which it is told."""
    types, slug = WEBHOOKS[path]
    url = receiver.url.replace("/hook", path)
    settled = house.settled()
    with house.writing():
        made, secret = webhooks.create(webhooks.Wanted(url, types, slug, private=True), timeline.last_number(settled))
        return made.id, secret, types.split(",") if types else None, made.project_id


def live(life: type[SiteLife], programs: int, steps: int, *phases: Phase) -> None:
    """Run so many programs of so many steps, the same whenever it is done."""
    chosen = settings(
        max_examples=programs,
        stateful_step_count=steps,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate, *phases],
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(life, settings=chosen)


def test_every_answer_is_the_models(life, profile, figures):
    row, programs, steps = figures(FAULT), profile(30, 5000), profile(25, 50)
    live(life, programs, steps, Phase.shrink)
    row.shows(
        f"{programs:,} programs of up to {steps} steps, four dialects, with the gate, budgets and webhooks",
        "every answer, row, event and delivery as in the model",
    )


@pytest.mark.any_database  # as all that shows that the harness looks
def test_a_way_in_that_forgets_the_time_is_caught(life, figures, monkeypatch):
    forgetful = update(Row).where(invites.WITH_TOKEN, Row.uses < Row.max_uses, Row.revoked_at.is_(None))
    taken = [getattr(Row, each.name) for each in fields(uses.Taken)]
    unconcerned = or_(bindparam("now").is_not(None), Row.uses == 0)
    take = forgetful.where(unconcerned).values(uses=Row.uses + 1).returning(*taken)
    monkeypatch.setattr(uses, "_TAKE", Statement(take))
    with pytest.raises(AssertionError, match="INVITE_EXPIRED"):
        live(life, 200, 30)
    figures(FAULT).catches("accepting does not look at the clock: an expired invite is used")


def untold_changes(monkeypatch):
    monkeypatch.setattr(changing, "_record", lambda *_: None)


def untold_waits(monkeypatch):
    monkeypatch.setattr(uses, "_record", lambda *_: None)
    monkeypatch.setattr(fast_holds, "take", lambda *_: None)


def expired_though_used_or_revoked(monkeypatch):
    monkeypatch.setattr(expiry, "_expired", lambda: Row.expires_at <= clock.now())


def lasting_passes(monkeypatch):
    monkeypatch.setattr(gate, "clock", SimpleNamespace(now=lambda: datetime.fromisoformat(START)))


def lasting_sessions(monkeypatch):
    monkeypatch.setattr(sessions, "_end", lambda _: None)


def places_that_do_not_come_back(monkeypatch):
    def parts(invite, budget, _now):
        yield budgets._Spent(invite.spent_at + budget.window, invite.max_uses)

    monkeypatch.setattr(budgets, "_parts", parts)


def failures_for_successes(monkeypatch):
    monkeypatch.setattr(Reply, "is_success", True)


def kept_ones_for_due_ones(monkeypatch):
    row = deliveries._row
    monkeypatch.setattr(deliveries, "_row", lambda webhook, event: row(webhook, event) | {"due_at": clock.now()})


def all_types(monkeypatch):
    monkeypatch.setattr(deliveries, "wanted_by", lambda webhook: timeline.Filter(project_id=webhook.project_id))


WRONG = {
    "what is changed is not told": untold_changes,
    "a use waits, and that is not told": untold_waits,
    "a used or revoked invite is told to have expired": expired_though_used_or_revoked,
    "the gate does not look at the clock": lasting_passes,
    "who signs out keeps the pass": lasting_sessions,
    "an invite that ends gives no place back": places_that_do_not_come_back,
    "a webhook's 500 is taken for a success": failures_for_successes,
    "what happened while a webhook was disabled is sent": kept_ones_for_due_ones,
    "a webhook is told of all types": all_types,
}


# Programs to which few of those that are made up come, step by step.


def a_full_budget_that_gets_room(machine: SiteLife) -> Iterator[object]:
    """All places are taken by one invite, which ends when one of them is used."""
    yield machine.invite_several(choosing("anne"), PLACES, "7d")
    (invite,) = machine.model.invites
    yield machine.accept_invite(invite, "bob")
    yield machine.revoke(choosing(invite))
    yield machine.invite_as_agentbot("anne")


def a_webhook_that_is_away_for_a_while(machine: SiteLife) -> Iterator[object]:
    """It is disabled while something happens of which it would be told."""
    hook = choosing(next(iter(machine.hooks.values())))
    yield machine.disable_or_enable_a_webhook(hook)
    yield machine.disable_or_enable_account("bob")
    yield machine.dispatch()
    yield machine.disable_or_enable_a_webhook(hook)
    yield machine.webhooks_are_sent(204)


CAUGHT = {
    "an invite that ends gives no place back": a_full_budget_that_gets_room,
    "what happened while a webhook was disabled is sent": a_webhook_that_is_away_for_a_while,
}


def choosing(one: object) -> SimpleNamespace:
    """What chooses this one, whatever a step may choose from."""
    return SimpleNamespace(draw=lambda _: one)


def follow(life: type[SiteLife], program: Callable[[SiteLife], Iterator[object]]) -> None:
    """Run this one program."""
    machine = life()
    try:
        for _ in program(machine):
            machine.everything_is_as_the_model_says()
            machine.what_happened_is_told_once_and_as_the_model_says()
    finally:
        machine.teardown()


@pytest.mark.any_database
@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_on_purpose_is_caught(life, figures, monkeypatch, name):
    WRONG[name](monkeypatch)
    with pytest.raises(AssertionError):
        follow(life, CAUGHT[name]) if name in CAUGHT else live(life, 200, 30)
    figures(FAULT).catches(name)


@pytest.mark.parametrize("program", CAUGHT.values(), ids=lambda each: each.__name__)
def test_a_program_of_its_own_finds_no_fault_where_there_is_none(life, program):
    follow(life, program)
