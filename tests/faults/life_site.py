"""Programs made up of all that can happen around invites: members and the gate, budgets of inviters, webhooks."""

from functools import partial

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

import clock
from delivery import courier
from faults.life import SLUG, STAY, TTL, WHO
from faults.life_uses import UsingLife
from faults.model import GOOD, Invite
from faults.model_site import ADDRESSES, Pass
from faults.model_webhook import DAYS, Hook
from gated import OPENED, PHOTOS
from rules import accounts, changing, deliveries, gate, invites, own_invites, passes, projects, sessions, webhooks
from rules.drafts import Draft
from rules.refusals import Refusal

AT_APP = {"X-Forwarded-Host": "photos.example.org", "X-Forwarded-Uri": "/x"}
ADMITS = {GOOD: 200, "PASS_NEEDED": 401, "NOT_PROJECT_MEMBER": 403}
INVITES = {GOOD: 201, "UNAUTHORIZED": 401, "BUDGET_SPENT": 429}


class SiteLife(UsingLife):
    """What is done by members, inviters and operators."""

    @precondition(lambda self: self.model.has_key)
    @rule(who=WHO, stay=STAY)
    def join_for_a_while_and_open_the_app(self, who, stay):
        self.make_as_prosody(1, None, True, "1d", stay)
        self.accept_invite(self.model.invites[-1], who)
        if not self.model.is_away(who):
            self.open_the_app(who)

    @precondition(lambda self: self.model.present)
    @rule(data=st.data())
    def sign_in_and_open_the_app(self, data):
        self.open_the_app(data.draw(st.sampled_from(self.model.present)))

    def open_the_app(self, who) -> None:
        """Get a pass for a browser, whoever it is."""
        with self.house.writing():
            found = sessions.of_cookie(sessions.start_in_browser(accounts.named(who))).session_id
            cookie = f"{gate.cookie_name('pass', SLUG, PHOTOS)}={gate.sign_browser_pass(found, gate.app(SLUG))}"
        self.model.passes.append(Pass(who, False, clock.now() + sessions.LIFETIME, {"Cookie": cookie}, found))

    @precondition(lambda self: self.model.present)
    @rule(data=st.data(), ttl=st.none() | TTL)
    def make_a_pass_for_a_program(self, data, ttl):
        who, length = data.draw(st.sampled_from(self.model.present)), self.length(ttl)
        until = clock.now() + length if length else None
        made = []

        def make():
            row, secret = passes.create(projects.member(SLUG, accounts.named(who)), None, length)
            made.append(Pass(who, True, until, self.bearer(secret), row.id))

        said = self.do_as_the_shell(make)
        assert said == (GOOD if self.model.is_member(who, clock.now()) else "MEMBER_NOT_FOUND")
        self.model.passes += made
        self.model.happened["pass.created"] += len(made)

    @precondition(lambda self: self.model.passes)
    @rule(data=st.data())
    def sign_out_or_delete_a_pass(self, data):
        shown = data.draw(st.sampled_from(self.model.passes))
        if not shown.ended:
            with self.house.writing():
                (passes.delete if shown.of_program else sessions.end)(shown.id)
            self.model.end(shown)

    @invariant()
    def the_gate_admits_whom_the_model_admits(self):
        for shown in self.model.passes:
            said = self.model.admits(shown, clock.now())
            answer = self.client.get(f"/gate/{SLUG}", headers={**AT_APP, **shown.shown})
            assert answer.status_code == ADMITS[said]
            assert answer.headers.get("Remote-User") == (shown.who if said == GOOD else None)

    @precondition(lambda self: self.model.passes)
    @rule()
    def open_a_page_of_the_app(self):
        for shown in self.model.passes:
            answer = self.client.get(f"/gate/{SLUG}?redirect", headers={**AT_APP, **OPENED, **shown.shown})
            assert answer.status_code == (200 if self.model.admits(shown, clock.now()) == GOOD else 302)

    @rule(data=st.data())
    def remove_a_member(self, data):
        path, owner = f"/projects/{SLUG}/members", self.session("owner")
        shown = self.client.get(path, headers=owner).json
        emails = {each["user"]["email"]: each["id"] for each in shown}
        members = [each for each in self.model.members if self.model.is_member(each, clock.now())]
        assert set(emails) == {"owner@example.org", *(ADDRESSES.get(each, each) for each in members)}
        if members:
            who = data.draw(st.sampled_from(members))
            gone = self.client.delete(f"{path}/{emails[ADDRESSES.get(who, who)]}", headers=owner)
            assert gone.status_code == 200
            self.model.leave(who, "removed")

    @precondition(lambda self: self.model.present)
    @rule(data=st.data(), stay=STAY)
    def extend_a_member(self, data, stay):
        who, length = data.draw(st.sampled_from(self.model.present)), self.length(stay)
        said = self.do_as_the_shell(lambda: projects.extend(projects.member(SLUG, accounts.named(who)), length))
        assert said == (GOOD if self.model.is_member(who, clock.now()) else "MEMBER_NOT_FOUND")
        if said == GOOD:
            self.model.stay(who, clock.now() + length if length else None)

    @rule(who=WHO)
    def delete_account(self, who):
        if who not in self.model.gone:
            with self.house.writing():
                accounts.remove(accounts.named(who))
            self.model.delete(who, clock.now())

    @rule(who=WHO)
    def disable_or_enable_account(self, who):
        if who in self.model.gone:
            return
        is_disabled = who in self.model.disabled
        with self.house.writing():
            (accounts.enable if is_disabled else accounts.disable)(accounts.named(who))
        (self.model.enable if is_disabled else self.model.disable)(who)

    @rule(who=WHO)
    def invite_as_agentbot(self, who):
        said, back_at = self.model.invite(who, 1, clock.now()), self.model.back_at(who, 1, clock.now())
        made = self.client.post("/api/invite", json={"name": "Dora"}, headers=self.session(who))
        assert made.status_code == INVITES[said]
        if said == GOOD:
            self.made(made.json["token"], 1, "7d", inviter=who, name="Dora")
            assert made.headers["X-Invites-Left"] == str(self.model.left(who, clock.now()))
        elif said == "BUDGET_SPENT":
            assert made.headers["Retry-After"] == str(clock.seconds_until(back_at))

    @precondition(lambda self: self.model.present)
    @rule(data=st.data(), uses=st.integers(1, 3), ttl=TTL)
    def invite_several(self, data, uses, ttl):
        who, id_ = data.draw(st.sampled_from(self.model.present)), clock.new_id()
        draft = Draft(uses=uses, ttl=clock.duration(ttl))
        said = self.do_as_the_shell(lambda: own_invites.create(accounts.named(who), draft, False, id_))
        assert said == self.model.invite(who, uses, clock.now())
        if said == GOOD:
            with self.house.reading():
                token = invites.token(own_invites.find(accounts.named(who), id_))
            self.made(token, uses, ttl, inviter=who)

    @precondition(lambda self: self.of_present())
    @rule(data=st.data(), ttl=TTL)
    def extend_ones_own(self, data, ttl):
        invite, length = data.draw(st.sampled_from(self.of_present())), clock.duration(ttl)
        said = self.do(lambda found: changing.extend(found, length, by=accounts.named(invite.inviter)), invite)
        assert said == self.model.extend(invite, clock.now() + length, clock.now(), by=invite.inviter)

    def of_present(self) -> list[Invite]:
        return [each for each in self.model.invites if each.inviter and not self.model.is_away(each.inviter)]

    @precondition(lambda self: self.model.present)
    @rule(data=st.data())
    def look_at_what_is_left(self, data):
        who, now = data.draw(st.sampled_from(self.model.present)), clock.now()
        me = self.client.get("/auth/me", headers=self.session(who)).json
        left = self.model.left(who, now)
        back_at = self.model.back_at(who, left + 1, now) if left < 3 else None
        assert (me["invitesLeft"], me["invitesBackAt"]) == (left, clock.iso(back_at) if back_at else None)

    @rule(status=st.sampled_from([204, 204, 500, 410]))
    def webhooks_are_sent(self, status):
        """The receiver answers so to all of them."""
        self.receiver.usual, before = status, len(self.receiver.got)
        self.dispatch()
        while courier.deliver_some(self.house):
            pass
        came = self.receiver.got[before:]
        for path, hook in self.hooks.items():
            told = [self.opened(each, hook) for each in came if each.path == path]
            must, may = hook.due(clock.now())
            if status == 410:
                assert set(told) <= may
                assert len(told) == bool(told or must)
            else:
                assert must <= set(told) <= may
                assert len(set(told)) == len(told)
            self.model.happened["webhook.disabled"] += hook.get(told, status, clock.now())

    def opened(self, came, hook: Hook) -> str:
        """The id of the event that a webhook was told of, with an invite as it is now."""
        data = came.verified(hook.secret)["data"]
        if "invite" in data:
            (invite,) = [each for each in self.model.invites if each.id == data["invite"]["id"]]
            self.assert_described(data["invite"], invite)
        assert data["event"]["id"] == came.id
        return came.id

    @rule(data=st.data())
    def disable_or_enable_a_webhook(self, data):
        hook = data.draw(st.sampled_from([*self.hooks.values()]))
        change = webhooks.disable if hook.enabled else webhooks.enable
        with self.house.writing():
            change(webhooks.named_locked(hook.id))
        self.model.happened[f"webhook.{'disabled' if hook.enabled else 'enabled'}"] += 1
        (hook.disable if hook.enabled else hook.enable)()

    @rule(data=st.data())
    def ask_for_all_that_was_not_sent(self, data):
        hook = data.draw(st.sampled_from([*self.hooks.values()]))
        self.dispatch()
        since = clock.now() - 90 * DAYS
        said = self.do_as_the_shell(lambda: deliveries.retry_since(since, webhooks.named_locked(hook.id)))
        assert said == (GOOD if hook.enabled else "WEBHOOK_DISABLED")
        if hook.enabled:
            hook.retry(clock.now())

    def dispatch(self) -> None:
        """Deliveries are written for all that happened."""
        for _ in iter(partial(courier.dispatch, self.house), False):
            pass

    def do_as_the_shell(self, what) -> str:
        """Do this in a unit of its own; the code of its refusal, or that it went well."""
        try:
            with self.house.writing():
                what()
        except Refusal as refusal:
            return refusal.code
        return GOOD
