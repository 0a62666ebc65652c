"""Programs made up of all that can happen to invites, in four dialects: each answer and event is the model's."""

from collections import defaultdict
from contextlib import ExitStack
from dataclasses import fields
from datetime import timedelta

import pytest
import time_machine
from flask import Flask
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import bindparam, or_, update
from sqlalchemy.orm import selectinload

import app
import clock
from conftest import HASH, PASSWORD, make_settings
from database import open_database
from database.statements import Statement
from faults.furnished import Kept
from faults.model import ADDRESSES, DOMAIN, GOOD, LEASE, VERIFIED, Invite, Model, Use
from models import Invite as Row
from rules import (
    accounts,
    addresses,
    changing,
    drafts,
    invites,
    keys,
    projects,
    redemption,
    sessions,
    uses,
    usual,
    waiting,
)
from rules.refusals import Refusal
from settings import Settings, in_force

pytestmark = pytest.mark.long

FAULT = "the life of invites, against a model"
START = "2026-03-25T21:00:00Z"
SECRET = {"SECRET_KEY": "model" * 8}
WHO = st.sampled_from([*ADDRESSES])
TTL = st.sampled_from(["1h", "1d"])
MOVES = st.sampled_from([timedelta(milliseconds=1), clock.MINUTE, LEASE, clock.HOUR, clock.DAY])
NEW = st.sampled_from(["zoe@example.org", "yann@example.org", *ADDRESSES.values()])
# What each dialect makes of an invite: the call that uses it, one that views it, one that verifies it, its page.
ACCEPT = {GOOD: 200, "UNAUTHORIZED": 401, "INVITE_NOT_FOUND": 404} | dict.fromkeys(
    ["ALREADY_MEMBER", "INVITE_USED", "INVITE_EXPIRED", "EMAIL_MISMATCH", "EMAIL_ALREADY_IN_USE"], 400
)
VIEW = {GOOD: 200, "INVITE_USED": 404, "INVITE_EXPIRED": 404, "INVITE_NOT_FOUND": 404}
VERIFY = VIEW | {"INVITE_USED": 410}
OWN = {GOOD: 200, "KEY_REFUSED": 401, "INVALID": 400} | dict.fromkeys(["INVITE_USED", "INVITE_EXPIRED"], 409)
HOLDS = {GOOD: 200, "INVITE_HELD": 409, "HOLD_LOST": 409, "HOLD_RELEASED": 409, "HOLD_DONE": 409} | {
    "INVITE_USED": 410,
    "INVITE_EXPIRED": 410,
    "EMAIL_MISMATCH": 403,
}


def of_invites(event) -> bool:
    """Whether this is what happened to an invite, and not to who used it."""
    return event["type"].startswith("invite.")


class Life(RuleBasedStateMachine):
    """One program: what happens, in which order, to which invites."""

    settings: Settings  # of an instance that has accounts, a project and a key
    kept: Kept
    key: str
    follower: str  # a key that may only read
    service: Flask

    def __init__(self) -> None:
        super().__init__()
        self.held = ExitStack()
        self.clock = self.held.enter_context(time_machine.travel(START, tick=False))
        self.model, self.restarted = Model(), False
        self.cursor, self.told = "", defaultdict[str, list[str]](list)
        self.kept.put_back()
        self.held.enter_context(in_force(self.settings))
        self.call()

    def call(self) -> None:
        self.client, self.house = self.service.test_client(), self.service.extensions["invite_api"].database

    def teardown(self) -> None:
        self.held.close()

    def pick(self, data) -> Invite:
        return data.draw(st.sampled_from(self.model.invites))

    def pick_plain(self, data) -> Invite:
        return data.draw(st.sampled_from([each for each in self.model.invites if each.is_plain]))

    @precondition(lambda self: not self.restarted)  # once: it takes as long as twenty other steps
    @rule()
    def restart(self):
        self.restarted = True
        self.house.close()
        type(self).service = app.create_app(self.settings)
        self.call()

    @initialize(uses=st.integers(1, 3), ttl=TTL)
    def begin(self, uses, ttl):
        self.make_as_prosody(uses, None, False, ttl)

    @rule(uses=st.integers(1, 3), email=st.none() | NEW, project=st.booleans(), ttl=TTL)
    def make_as_prosody(self, uses, email, project, ttl):
        asked = {"uses": str(uses), "ttl": ttl} | ({"email": email} if email else {})
        asked |= {"project": "tea-garden"} if project else {}
        made = self.client.get("/invites_api", query_string=asked, headers=self.bearer(self.key))
        assert made.status_code == (201 if self.model.has_key else 403)
        if self.model.has_key:
            token = made.headers["Location"].partition("?")[2]
            self.made(Invite(token, uses, clock.now() + clock.duration(ttl), email, project))

    @rule(uses=st.integers(1, 3), email=st.none() | NEW, project=st.booleans(), ttl=TTL, several=st.booleans())
    def make_by_our_own_api(self, uses, email, project, ttl, several):
        asked = {"max_uses": uses, "ttl": ttl, "email": email} | ({"project": "tea-garden"} if project else {})
        made = self.call_own("POST", "", {"invites": [asked, asked]} if several else asked)
        assert made.status_code == (201 if self.model.has_key else 401)
        if self.model.has_key:
            for each in made.json["invites"] if several else [made.json["invite"]]:
                self.made(Invite(each["token"], uses, clock.now() + clock.duration(ttl), email, project))

    @rule(data=st.data(), uses=st.integers(1, 3), name=st.none() | st.just("Dora"), ttl=st.none() | TTL)
    def change_by_our_own_api(self, data, uses, name, ttl):
        invite, now = self.pick(data), clock.now()
        body = {"max_uses": uses, "name": name} | ({"ttl": ttl} if ttl else {})
        answer = self.call_own("PATCH", f"/{invite.id}", body)
        until = now + clock.duration(ttl) if ttl else None
        self.assert_own_says(answer, lambda: self.model.change(invite, uses, name, until, now))

    @rule(data=st.data())
    def revoke_by_our_own_api(self, data):
        invite = self.pick(data)
        answer = self.call_own("POST", f"/{invite.id}/revoke")
        self.assert_own_says(answer, lambda: invite.revoke() or GOOD)

    @rule(data=st.data())
    def rotate_by_our_own_api(self, data):
        invite = self.pick(data)
        answer = self.call_own("POST", f"/{invite.id}/rotate")
        self.assert_own_says(answer, lambda: self.model.rotate(invite, clock.now()))
        if answer.status_code == 200:
            invite.token = answer.json["invite"]["token"]

    @rule(data=st.data())
    def look_by_our_own_api(self, data):
        invite = self.pick(data)
        shown = self.client.get(f"/v1/invites/{invite.id}", headers=self.bearer(self.follower)).json
        assert shown["invite"]["state"] == invite.state(clock.now())
        assert (shown["invite"]["name"], shown["invite"]["uses"]) == (invite.name, invite.taken(clock.now()))
        assert [each["type"] for each in shown["events"] if of_invites(each)] == [
            f"invite.{each}" for each in invite.told
        ]

    def call_own(self, method, path, body=None):
        return self.client.open(f"/v1/invites{path}", method=method, json=body, headers=self.bearer(self.key))

    def assert_own_says(self, answer, tried) -> None:
        """It is what the model says of this attempt; without a key nothing is attempted."""
        code = tried() if self.model.has_key else "KEY_REFUSED"
        assert (answer.status_code, answer.json.get("code", GOOD)) == (OWN[code], code)

    @rule(who=WHO)
    def make_as_agentbot(self, who):
        made = self.client.post("/api/invite", json={"name": "Dora"}, headers=self.session(who))
        assert made.status_code == (401 if who in self.model.gone else 201)
        if made.status_code == 201:
            self.made(Invite(made.json["token"], 1, clock.now() + clock.WEEK, maker=who, name="Dora"))

    @rule()
    def make_with_a_code(self):
        made = self.client.post("/api/invite/generate", headers=self.bearer(self.key))
        assert made.status_code == (200 if self.model.has_key else 401)
        if self.model.has_key:
            known = {each.token for each in self.model.invites}
            with self.house.reading() as unit:
                tokens = [invites.token(each) for each in unit.session.query(Row)]
            (token,) = [each for each in tokens if each not in known]
            self.made(Invite(token, 1, clock.now() + clock.WEEK, code=made.json["code"]))

    def made(self, invite: Invite) -> None:
        with self.house.reading():
            invite.id = invites.find(invite.token).id
        self.model.invites.append(invite)

    @rule(by=MOVES)
    def time_passes(self, by):
        self.clock.shift(by)

    @rule(data=st.data(), off=st.sampled_from([-1, 0, 1]))
    def the_moment_of_expiry_comes(self, data, off):
        moment = self.pick(data).expires_at + timedelta(milliseconds=off)
        if moment > clock.now():
            self.clock.move_to(moment)

    @rule(data=st.data())
    def revoke(self, data):
        invite = self.pick(data)
        self.do(changing.revoke, invite)
        invite.revoke()

    @rule(data=st.data(), ttl=TTL)
    def extend(self, data, ttl):
        invite, length = self.pick(data), clock.duration(ttl)
        assert self.do(changing.extend, invite, length) == self.model.extend(invite, clock.now() + length, clock.now())

    @rule(data=st.data())
    def rotate(self, data):
        invite = self.pick(data)
        assert self.do(changing.rotate, invite) == self.model.rotate(invite, clock.now())
        if invite.rotated and invite.rotated[-1] == invite.token:
            with self.house.reading() as unit:
                known = {each.token for each in self.model.invites}
                (invite.token,) = {invites.token(each) for each in unit.session.query(Row)} - known

    @rule(n_uses=st.integers(1, 3), of_domain=st.booleans(), ttl=TTL)
    def make_one_that_waits(self, n_uses, of_domain, ttl):
        email, length = DOMAIN if of_domain else None, clock.duration(ttl)
        draft = drafts.Draft(uses=n_uses, ttl=length, email=email, approve=not of_domain)
        with self.house.writing():
            token = invites.create_token(draft, drafts.SHELL)
        self.made(Invite(token, n_uses, clock.now() + length, email, approve=not of_domain))

    @precondition(lambda self: any(not each.is_plain for each in self.model.invites))
    @rule(data=st.data(), who=WHO)
    def accept_and_wait(self, data, who):
        invite = data.draw(st.sampled_from([each for each in self.model.invites if not each.is_plain]))
        if who not in self.model.gone:
            accept = lambda found: redemption.accept(invite.token, accounts.named(who))  # noqa: E731
            assert self.do(accept, invite) == self.model.accept_later(invite, who, clock.now())

    @precondition(lambda self: self.asked())
    @rule(data=st.data(), yes=st.booleans())
    def answer(self, data, yes):
        invite, use = data.draw(st.sampled_from(self.asked()))
        with self.house.reading() as unit:
            rows = {each.user_id or each.subject: each.id for each in self.row(unit, invite).redemptions if each.since}
            use_id = use.id or rows[accounts.named(use.who).id]
        said = self.do(lambda _: (waiting.approve if yes else waiting.deny)(use_id), invite)
        assert said == self.model.answer(invite, use, yes)

    def asked(self) -> list[tuple[Invite, Use]]:
        return [(invite, use) for invite in self.model.invites for use in invite.uses if use.state == "approval"]

    @rule()
    def prove(self):
        if "nora" not in self.model.gone:
            with self.house.writing():
                addresses.prove(accounts.named("nora"), ADDRESSES["nora"])
            self.model.prove("nora", clock.now())

    @rule(data=st.data(), guest=st.sampled_from(["erin", "finn"]), at_once=st.booleans())
    def hold(self, data, guest, at_once):
        invite = self.pick(data)
        email = "erin@example.org" if invite.email == DOMAIN else invite.email
        body = {"token": invite.token, "subject": guest, "email": email, "complete": at_once}
        answer = self.client.post("/v1/holds", json=body, headers=self.bearer(self.key))
        if not self.model.has_key:
            assert answer.status_code == 401
            return
        code, use = self.model.hold(invite, guest, at_once, clock.now())
        if use is None:
            assert (answer.status_code, answer.json["code"]) == (HOLDS[code], code)
            return
        expected = 202 if use.state == "approval" else 201 if use.id == "new" else 200
        assert answer.status_code == expected
        use.id = answer.json["id"]
        self.assert_shows(answer, use)

    @precondition(lambda self: self.holds())
    @rule(data=st.data(), completes=st.booleans())
    def end_hold(self, data, completes):
        invite, use = data.draw(st.sampled_from(self.holds()))
        way = ("POST", f"/{use.id}/complete") if completes else ("DELETE", f"/{use.id}")
        answer = self.client.open(f"/v1/holds{way[1]}", method=way[0], headers=self.bearer(self.key))
        if not self.model.has_key:
            assert answer.status_code == 401
            return
        now = clock.now()
        code = self.model.complete(invite, use, now) if completes else self.model.give_back(invite, use)
        if code != GOOD:
            assert (answer.status_code, answer.json["code"]) == (HOLDS[code], code)
        elif completes:
            assert answer.status_code == (202 if use.state == "approval" else 200)
            self.assert_shows(answer, use)
        else:
            assert answer.status_code == 204

    def holds(self) -> list[tuple[Invite, Use]]:
        return [(invite, use) for invite in self.model.invites for use in invite.uses if use.id]

    def assert_shows(self, answer, use: Use) -> None:
        state = "waiting" if use.state == "approval" else use.state
        assert answer.json["state"] == state
        if state == "done":
            assert answer.json["late"] == use.late

    @precondition(lambda self: any(each.is_plain for each in self.model.invites))
    @rule(data=st.data(), who=WHO)
    def accept(self, data, who):
        invite = self.pick_plain(data)
        answer = self.client.post(f"/invites/{invite.token}/accept", headers=self.session(who))
        self.assert_says(answer, self.model.accept(invite, who, clock.now()))

    @precondition(lambda self: any(each.is_plain for each in self.model.invites))
    @rule(data=st.data(), email=NEW)
    def register(self, data, email):
        invite = self.pick_plain(data)
        body = {"invite_token": invite.token, "email": email, "password": PASSWORD}
        answer = self.client.post("/auth/register/with-invite", json=body)
        self.assert_says(answer, self.model.register(invite, email, clock.now()))

    @precondition(lambda self: any(each.code for each in self.model.invites))
    @rule(data=st.data())
    def validate(self, data):
        self.clock.shift(61)  # ten wrong codes a minute are too many
        invite = data.draw(st.sampled_from([each for each in self.model.invites if each.code]))
        answer = self.client.post("/api/invite/validate", json={"code": invite.code})
        assert answer.status_code == (200 if self.model.validate(invite, clock.now()) == GOOD else 400)

    @precondition(lambda self: any(each.rotated for each in self.model.invites))
    @rule(data=st.data(), who=WHO)
    def use_an_old_link(self, data, who):
        old = data.draw(st.sampled_from([token for each in self.model.invites for token in each.rotated]))
        answer = self.client.post(f"/invites/{old}/accept", headers=self.session(who))
        self.assert_says(answer, "UNAUTHORIZED" if who in self.model.gone else "INVITE_NOT_FOUND")
        assert self.client.post("/api/invites/verify", json={"token": old}).status_code == 404

    @rule(data=st.data())
    def look(self, data):
        invite = self.pick(data)
        said = invite.dead(clock.now())
        assert self.client.get(f"/invites/{invite.token}").status_code == VIEW[said]
        assert self.client.post("/api/invites/verify", json={"token": invite.token}).status_code == VERIFY[said]
        for page in (f"/invite?{invite.token}", f"/register?t={invite.token}", f"/welcome?{invite.token}"):
            assert self.client.get(page).status_code < 500

    @rule(who=WHO)
    def delete_account(self, who):
        if who not in self.model.gone:
            with self.house.writing():
                accounts.remove(accounts.named(who))
            self.model.delete(who)

    @rule()
    def delete_key(self):
        if self.model.has_key and len(self.model.invites) > 3:
            with self.house.writing():
                keys.delete(self.key.partition("/")[0])
            self.model.delete_key()

    @invariant()
    def everything_is_as_the_model_says(self):
        with self.house.reading() as unit:
            rows = unit.session.query(Row).options(selectinload(Row.redemptions)).all()
            found = {each.token_hash: self.seen(each) for each in rows}
        assert found == {invites.tokens.digest(each.token): self.expected(each) for each in self.model.invites}

    @invariant()
    def what_happened_is_told_once_and_as_the_model_says(self):
        query = {"limit": "200"} | ({"cursor": self.cursor} if self.cursor else {})
        page = self.client.get("/v1/events", query_string=query, headers=self.bearer(self.follower)).json
        self.cursor = page["next"]
        for each in filter(of_invites, page["events"]):
            self.told[each["invite_id"]].append(each["type"].removeprefix("invite."))
        assert self.told == {each.id: each.told for each in self.model.invites}

    def seen(self, row: Row) -> tuple[object, ...]:
        now, unreleased = clock.now(), [each for each in row.redemptions if each.released_at is None]
        done = [each for each in unreleased if each.redeemed_at]
        waiting = len(unreleased) - len(done)
        assert (row.uses, row.waiting) == (len(unreleased), waiting)
        taken = len(done) + sum(each.is_waiting(now) for each in unreleased)
        return row.state(now), taken, row.max_uses, len(done), row.expires_at

    def expected(self, invite: Invite) -> tuple[object, ...]:
        taken = invite.taken(clock.now())
        assert taken <= invite.max_uses
        return invite.state(clock.now()), taken, invite.max_uses, len(invite.redeemed), invite.expires_at

    def row(self, unit, invite: Invite) -> Row:
        return unit.session.query(Row).filter_by(id=invite.id).one()

    def do(self, what, invite: Invite, *given: object) -> str:
        """Do this to an invite as the command does; the code of its refusal, or that it went well."""
        try:
            with self.house.writing():
                what(invites.find(invite.token), *given)
        except Refusal as refusal:
            return refusal.code
        return GOOD

    def session(self, who: str) -> dict[str, str]:
        """The header of somebody who has just signed in, or was before the account went."""
        if who in self.model.gone:
            return self.bearer("hitkey_gone")
        with self.house.writing():
            return self.bearer(sessions.start(accounts.named(who)).access)

    def bearer(self, shown: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {shown}"}

    def assert_says(self, answer, code: str) -> None:
        """It has the status of this code, and names it if it is a refusal."""
        assert (answer.status_code, answer.json.get("code", GOOD)) == (ACCEPT[code], code)


@pytest.fixture
def life(memory, hurried):
    """The machine, with a service, which each of its programs finds as the first did."""
    chosen = make_settings(memory, **SECRET)
    with time_machine.travel(START, tick=False), in_force(chosen):
        house = open_database(chosen)
        with house.writing():
            for name, address in {**ADDRESSES, "owner": "owner@example.org"}.items():
                user = accounts.create(accounts.Names(name, address), HASH)
                if name in VERIFIED:
                    addresses.prove(user, address)
            projects.create(user, projects.Plan("Tea Garden"))
            key, follower = keys.create("model", may=keys.SCOPES), keys.create("follower", may=["read"])
        house.close()
    there = {"settings": chosen, "kept": Kept(chosen), "key": key, "follower": follower}
    there["service"] = app.create_app(chosen)
    return type("Life", (Life,), there)


def live(life: type[Life], programs: int, steps: int, *phases: Phase) -> None:
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
        f"{programs:,} programs of up to {steps} steps, four dialects", "every answer, row and event as in the model"
    )


def test_a_way_in_that_forgets_the_time_is_caught(life, figures, monkeypatch):
    forgetful = update(Row).where(invites.WITH_TOKEN, Row.uses < Row.max_uses, Row.revoked_at.is_(None))
    taken = [getattr(Row, each.name) for each in fields(uses.Taken)]
    unconcerned = or_(bindparam("now").is_not(None), Row.uses == 0)
    take = forgetful.where(unconcerned).values(uses=Row.uses + 1).returning(*taken)
    monkeypatch.setattr(uses, "_TAKE", Statement(take))
    with pytest.raises(AssertionError, match="INVITE_EXPIRED"):
        live(life, 200, 30)
    figures(FAULT).catches("accepting does not look at the clock: an expired invite is used")


def test_an_event_that_is_not_told_is_caught(life, figures, monkeypatch):
    monkeypatch.setattr(changing, "_tell", lambda *_: None)
    with pytest.raises(AssertionError):
        live(life, 50, 30)
    figures(FAULT).catches("what is changed is not told")


def test_a_use_that_waits_and_is_not_told_is_caught(life, figures, monkeypatch):
    monkeypatch.setattr(uses, "_tell", lambda *_: None)
    monkeypatch.setattr(usual, "take", lambda *_: None)
    with pytest.raises(AssertionError):
        live(life, 50, 30)
    figures(FAULT).catches("a use waits, and that is not told")
