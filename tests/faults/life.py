"""Programs made up of all that can happen to invites: how they are created, changed, ended and seen."""

from collections import Counter, defaultdict
from contextlib import ExitStack, suppress
from datetime import timedelta

import time_machine
from flask import Flask
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from sqlalchemy.orm import selectinload

import app
import clock
from faults.furnished import Kept
from faults.model import DOMAIN, GOOD, LEASE, Invite
from faults.model_site import ADDRESSES, Site
from faults.model_webhook import Hook
from models import Invite as Row
from receiver import Receiver
from rules import accounts, changing, drafts, invites, keys, sessions, timeline
from rules.refusals import Refusal
from settings import Settings, in_force
from upkeep import caretaker

START = "2026-03-25T21:00:00Z"
SLUG = "tea-garden"
WHO = st.sampled_from([*ADDRESSES])
TTL = st.sampled_from(["1h", "1d"])
STAY = st.sampled_from([None, "1h", "2d"])  # how long a guest stays in the project
MOVES = st.sampled_from([timedelta(milliseconds=1), clock.MINUTE, LEASE, clock.HOUR, clock.DAY])
NEW = st.sampled_from(["zoe@example.org", "yann@example.org", *ADDRESSES.values()])
# What each dialect makes of an invite: one that views it, one that verifies it; and our own of one that is changed.
VIEW = {GOOD: 200, "INVITE_USED": 404, "INVITE_EXPIRED": 404, "INVITE_NOT_FOUND": 404}
VERIFY = VIEW | {"INVITE_USED": 410}
OWN = {GOOD: 200, "KEY_REFUSED": 401, "INVALID": 400} | dict.fromkeys(["INVITE_USED", "INVITE_EXPIRED"], 409)


class Undone(Exception):
    """What was to be done is not done after all."""


def of_invites(event) -> bool:
    """Whether this is what happened to an invite, and not to who used it."""
    return event["type"].startswith("invite.")


class Life(RuleBasedStateMachine):
    """One program: what happens, in which order, to which invites."""

    settings: Settings  # of an instance that has accounts, a project with an app, a key and webhooks
    kept: Kept
    key: str
    follower: str  # a key that may only read
    service: Flask
    receiver: Receiver
    webhooks: dict[str, tuple]  # what a Hook is made of, by the path at which the receiver is told

    def __init__(self) -> None:
        super().__init__()
        self.held = ExitStack()
        self.clock = self.held.enter_context(time_machine.travel(START, tick=False))
        self.model, self.restarted = Site(), False
        self.hooks = {path: Hook(*each) for path, each in self.webhooks.items()}
        self.cursor, self.told, self.others = "", defaultdict[str, list[str]](list), Counter[str]()
        self.kept.put_back()
        self.held.enter_context(in_force(self.settings))
        self.call()
        before = self.follow()
        for hook in self.hooks.values():  # each is told of what happened since it was created, itself included
            since = [each["facts"].get("webhook") for each in before].index(hook.id)
            for event in before[since:]:
                hook.hear(event, clock.now())

    def call(self) -> None:
        self.client = self.service.test_client(use_cookies=False)
        self.house = self.service.extensions["invite_api"].database

    def teardown(self) -> None:
        self.held.close()

    def pick(self, data) -> Invite:
        return data.draw(st.sampled_from(self.model.invites))

    @precondition(lambda self: not self.restarted)  # once: it takes as long as twenty other steps
    @rule()
    def restart(self):
        self.restarted = True
        self.house.close()
        type(self).service = app.create_app(self.settings)
        self.call()

    @initialize(uses=st.integers(1, 3), ttl=TTL)
    def begin(self, uses, ttl):
        self.make_as_prosody(uses, None, False, ttl, None)

    @rule(uses=st.integers(1, 3), email=st.none() | NEW, project=st.booleans(), ttl=TTL, stay=STAY)
    def make_as_prosody(self, uses, email, project, ttl, stay):
        asked = {"uses": str(uses), "ttl": ttl, **self.to_project(project, stay)} | ({"email": email} if email else {})
        made = self.client.get("/invites_api", query_string=asked, headers=self.bearer(self.key))
        assert made.status_code == (201 if self.model.has_key else 403)
        if self.model.has_key:
            token = made.headers["Location"].partition("?")[2]
            self.made(token, uses, ttl, email=email, project=project, access=self.length(project and stay))

    @rule(uses=st.integers(1, 3), email=st.none() | NEW, project=st.booleans(), ttl=TTL, several=st.booleans())
    def make_by_our_own_api(self, uses, email, project, ttl, several):
        asked = {"max_uses": uses, "ttl": ttl, "email": email, **self.to_project(project)}
        made = self.call_own("POST", "", {"invites": [asked, asked]} if several else asked)
        assert made.status_code == (201 if self.model.has_key else 401)
        if self.model.has_key:
            for each in made.json["invites"] if several else [made.json["invite"]]:
                self.made(each["token"], uses, ttl, email=email, project=project)

    @rule(n_uses=st.integers(1, 3), of_domain=st.booleans(), project=st.booleans(), ttl=TTL, stay=STAY)
    def make_one_that_waits(self, n_uses, of_domain, project, ttl, stay):
        email, access = DOMAIN if of_domain else None, self.length(project and stay)
        wanted = {"uses": n_uses, "ttl": clock.duration(ttl), "email": email, "approve": not of_domain}
        with self.house.writing():
            draft = drafts.Draft(**wanted, project=SLUG if project else None, access=access)
            token = invites.create_token(draft, drafts.SHELL)
        self.made(token, n_uses, ttl, email=email, approve=not of_domain, project=project, access=access)

    @rule()
    def make_with_a_code(self):
        made = self.client.post("/api/invite/generate", headers=self.bearer(self.key))
        assert made.status_code == (200 if self.model.has_key else 401)
        if self.model.has_key:
            known = {each.token for each in self.model.invites}
            with self.house.reading() as unit:
                tokens = [invites.token(each) for each in unit.session.query(Row)]
            (token,) = [each for each in tokens if each not in known]
            self.made(token, 1, "7d", code=made.json["code"], code_ends=clock.now() + clock.WEEK)

    def made(self, token, uses, ttl, **more) -> None:
        invite = Invite(token, uses, clock.now() + clock.duration(ttl), spent_at=clock.now(), **more)
        with self.house.reading():
            invite.id = invites.find(invite.token).id
        self.model.invites.append(invite)

    def to_project(self, project, stay=None) -> dict[str, str]:
        return ({"project": SLUG} if project else {}) | ({"access": stay} if project and stay else {})

    def length(self, written) -> timedelta | None:
        return clock.duration(written) if written else None

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

    def call_own(self, method, path, body=None):
        return self.client.open(f"/v1/invites{path}", method=method, json=body, headers=self.bearer(self.key))

    def assert_own_says(self, answer, tried) -> None:
        """It is what the model says of this attempt; without a key nothing is attempted."""
        code = tried() if self.model.has_key else "KEY_REFUSED"
        assert (answer.status_code, answer.json.get("code", GOOD)) == (OWN[code], code)

    @rule(data=st.data())
    def look_by_our_own_api(self, data):
        invite = self.pick(data)
        shown = self.client.get(f"/v1/invites/{invite.id}", headers=self.bearer(self.follower)).json
        self.assert_described(shown["invite"], invite)
        assert [each["type"] for each in shown["events"] if of_invites(each)] == [
            f"invite.{each}" for each in invite.told
        ]

    def assert_described(self, described, invite: Invite) -> None:
        """It is shown to programs as the model has it."""
        expected = (invite.state(clock.now()), invite.name, invite.taken(clock.now()), invite.max_uses)
        assert tuple(described[each] for each in ("state", "name", "uses", "max_uses")) == expected

    @rule(data=st.data())
    def look_at_the_timeline(self, data):
        invite = self.pick(data)
        with self.house.reading() as unit:
            seen = [each.what for each in timeline.of_invite(self.row(unit, invite))]
        is_untold = invite.state(clock.now()) == "expired" and "expired" not in invite.told
        expected = [*invite.told, *(["expired"] if is_untold else [])]
        assert Counter(seen) == Counter("made" if each == "created" else each for each in expected)

    @rule(data=st.data())
    def look(self, data):
        invite = self.pick(data)
        said = invite.dead(clock.now())
        assert self.client.get(f"/invites/{invite.token}").status_code == VIEW[said]
        assert self.client.post("/api/invites/verify", json={"token": invite.token}).status_code == VERIFY[said]
        for page in (f"/invite?{invite.token}", f"/register?t={invite.token}", f"/welcome?{invite.token}"):
            assert self.client.get(page).status_code < 500

    @rule(by=MOVES)
    def time_passes(self, by):
        self.clock.shift(by)

    @rule(data=st.data(), off=st.sampled_from([-1, 0, 1]))
    def the_moment_of_expiry_comes(self, data, off):
        moment = self.pick(data).expires_at + timedelta(milliseconds=off)
        if moment > clock.now():
            self.clock.move_to(moment)

    @rule()
    def the_caretaker_comes(self):
        while caretaker.end_some(self.house):
            pass
        self.model.tidy(clock.now())

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

    @rule(data=st.data())
    def what_is_undone_has_not_happened(self, data):
        invite = self.pick(data)
        with suppress(Undone), self.house.writing():
            invites.create_token(drafts.Draft(), drafts.SHELL)
            changing.revoke(invites.find(invite.token))
            raise Undone

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
        for event in self.follow():
            for hook in self.hooks.values():
                hook.hear(event, clock.now())
            if of_invites(event):
                self.told[event["invite_id"]].append(event["type"].removeprefix("invite."))
            else:
                self.others[event["type"]] += 1
        assert self.told == {each.id: each.told for each in self.model.invites}
        assert self.others == self.model.happened

    def follow(self):
        """What happened since this was asked last."""
        query = {"limit": "200"} | ({"cursor": self.cursor} if self.cursor else {})
        page = self.client.get("/v1/events", query_string=query, headers=self.bearer(self.follower)).json
        self.cursor = page["next"]
        return page["events"]

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
