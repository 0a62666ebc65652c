"""Programs made up of all that can happen to invites: how they are used, at once or after a while, in four dialects."""

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

import clock
from conftest import PASSWORD
from faults.life import NEW, WHO, Life
from faults.model import DOMAIN, GOOD, Invite, Use
from faults.model_site import ADDRESSES
from rules import accounts, addresses, redemption, waiting

ACCEPT = {GOOD: 200, "UNAUTHORIZED": 401, "INVITE_NOT_FOUND": 404} | dict.fromkeys(
    ["ALREADY_MEMBER", "INVITE_USED", "INVITE_EXPIRED", "EMAIL_MISMATCH", "EMAIL_ALREADY_IN_USE"], 400
)
HOLDS = {GOOD: 200, "INVITE_HELD": 409, "HOLD_LOST": 409, "HOLD_RELEASED": 409, "HOLD_DONE": 409} | {
    "INVITE_USED": 410,
    "INVITE_EXPIRED": 410,
    "EMAIL_MISMATCH": 403,
}


class UsingLife(Life):
    """What is done with invites by people, programs and admins."""

    def pick_plain(self, data) -> Invite:
        return data.draw(st.sampled_from([each for each in self.model.invites if each.is_plain]))

    @precondition(lambda self: any(each.is_plain for each in self.model.invites))
    @rule(data=st.data(), who=WHO)
    def accept(self, data, who):
        self.accept_invite(self.pick_plain(data), who)

    def accept_invite(self, invite: Invite, who) -> None:
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
        self.assert_says(answer, "UNAUTHORIZED" if self.model.is_away(who) else "INVITE_NOT_FOUND")
        assert self.client.post("/api/invites/verify", json={"token": old}).status_code == 404

    @precondition(lambda self: any(not each.is_plain for each in self.model.invites))
    @rule(data=st.data(), who=WHO)
    def accept_and_wait(self, data, who):
        invite = data.draw(st.sampled_from([each for each in self.model.invites if not each.is_plain]))
        if not self.model.is_away(who):
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
        assert said == self.model.answer(invite, use, yes, clock.now())

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

    @precondition(lambda self: self.model.has_key and self.holds())
    @rule(data=st.data())
    def ask_for_a_hold(self, data):
        _, use = data.draw(st.sampled_from(self.holds()))
        answer = self.client.get(f"/v1/holds/{use.id}", headers=self.bearer(self.key))
        has_lapsed = use.state == "held" and not use.waits(clock.now())
        ended = {"denied": "released", "revoked": "released"}
        assert answer.json["state"] == ("lapsed" if has_lapsed else self.shown_as(ended.get(use.state, use.state)))

    def assert_shows(self, answer, use: Use) -> None:
        assert answer.json["state"] == self.shown_as(use.state)
        if use.state == "done":
            assert answer.json["late"] == use.late

    def shown_as(self, state: str) -> str:
        return "waiting" if state == "approval" else state

    def assert_says(self, answer, code: str) -> None:
        """It has the status of this code, and names it if it is a refusal."""
        assert (answer.status_code, answer.json.get("code", GOOD)) == (ACCEPT[code], code)
