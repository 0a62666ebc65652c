"""Holds, as a program with a sign-up of its own takes, completes and gives them back: every answer, every refusal."""

import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Barrier, Thread

import pytest
import time_machine

import clock
from app import create_app
from conftest import make_settings
from models import Event, Invite, Letter, Redemption
from rules import (
    accounts,
    changing,
    drafts,
    expiry,
    fast_holds,
    holds,
    invites,
    keys,
    legacy,
    projects,
    redemption,
    uses,
    waiting,
)
from rules.refusals import NotWaiting

NOBODY = "5b0e0c6e-8f0e-4c59-9a57-6f3d1f6b2a10"


class Program:
    """A program with a key that may redeem, or whatever else it shows."""

    def __init__(self, client, headers):
        self.client, self.headers = client, headers

    def ask(self, method, path, body=None, **headers):
        """One call; a body is JSON."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.open(path, method=method, json=body, headers=self.headers | named)

    def take(self, token, subject="anne", **given):
        """Take a hold."""
        headers = {"Idempotency_Key": given.pop("once")} if "once" in given else {}
        return self.ask("POST", "/v1/holds", {"token": token, "subject": subject, **given}, **headers)

    def held(self, token, subject="anne", **given):
        """The id of a new hold."""
        taken = self.take(token, subject, **given)
        assert taken.status_code == 201, taken.text
        return taken.json["id"]

    def complete(self, hold_id):
        return self.ask("POST", f"/v1/holds/{hold_id}/complete")

    def release(self, hold_id):
        return self.ask("DELETE", f"/v1/holds/{hold_id}")

    def show(self, hold_id):
        return self.ask("GET", f"/v1/holds/{hold_id}")


def program(house, client, *may, name="shop"):
    with house.writing():
        return Program(client, {"Authorization": f"Bearer {keys.create(name, may=may)}"})


@pytest.fixture
def shop(house, client):
    return program(house, client, "redeem")


@pytest.fixture(autouse=True)
def still():
    """Time stands still; it moves when it is told to."""
    with time_machine.travel(clock.now(), tick=False) as moved:
        yield moved


@pytest.fixture
def facts(rows):
    """Everything that is stored of invites, their uses, mail and what happened."""
    return partial(rows, Invite, Redemption, Letter, Event)


@pytest.fixture(autouse=True)
def counted(house):
    """However a test ends, every use is accounted for."""
    yield
    with house.reading():
        assert redemption.miscounted() == []


def refused(answer, status, code):
    """That an answer is this refusal."""
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text
    return answer


# Taking


def test_a_hold_says_what_it_is_of_and_until_when(house, shop, alice, make_invite):
    with house.writing():
        projects.create(accounts.named("alice"), projects.ProjectDraft("Tea Garden"))
    given = {"name": "Anne", "plan": "gold", "project": "tea-garden", "data": {"seat": 12}, "email": "anne@example.org"}
    taken = shop.take(make_invite(**given), email="Anne@Example.org")
    assert taken.status_code == 201
    invite = taken.json["invite"]
    assert {name: invite[name] for name in given} == given
    assert invite["role"] == "member"
    assert (taken.json["state"], taken.json["late"]) == ("held", False)
    assert taken.json["held_until"] == clock.iso(clock.now() + 10 * clock.MINUTE)
    assert shop.show(taken.json["id"]).json == taken.json


def test_what_an_invite_does_not_say_is_null(shop, make_invite):
    invite = shop.take(make_invite()).json["invite"]
    assert (invite["name"], invite["email"], invite["project"], invite["data"]) == (None, None, None, None)


@pytest.mark.parametrize(("lease", "seconds"), [("30s", 30), (30, 30), ("90", 90), ("1h", 3600), (None, 600)])
def test_a_lease_is_a_length_of_time_or_a_number_of_seconds(shop, make_invite, lease, seconds):
    taken = shop.take(make_invite(), lease=lease).json
    assert taken["held_until"] == clock.iso(clock.now() + seconds * clock.SECOND)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"subject": "anne"}, "token"),
        ({"token": None, "subject": "anne"}, "token"),
        ({"token": "TOKEN"}, "subject"),
        ({"token": "TOKEN", "subject": None}, "subject"),
        ({"token": "TOKEN", "subject": ""}, "subject"),
        ({"token": "TOKEN", "subject": "  "}, "subject"),
        ({"token": "TOKEN", "subject": 7}, "subject"),
        ({"token": "TOKEN", "subject": "x" * 201}, "subject"),
        ({"token": "TOKEN", "subject": "a\nb"}, "subject"),
        ({"token": "", "subject": "anne"}, "token"),
        ({"token": 5, "subject": "anne"}, "token"),
        ({"token": "TOKEN", "code": "3f9a0c27be51", "subject": "anne"}, "code"),
        ({"code": "", "subject": "anne"}, "code"),
        ({"code": ["3f9a0c27be51"], "subject": "anne"}, "code"),
        ({"code": "3f9a0c27be5", "subject": "anne"}, "code"),
        ({"token": "TOKEN", "subject": "anne", "email": "nobody"}, "email"),
        ({"token": "TOKEN", "subject": "anne", "email": ""}, "email"),
        ({"token": "TOKEN", "subject": "anne", "email": "@example.org"}, "email"),
        ({"token": "TOKEN", "subject": "anne", "lease": 29}, "lease"),
        ({"token": "TOKEN", "subject": "anne", "lease": "29s"}, "lease"),
        ({"token": "TOKEN", "subject": "anne", "lease": "61m"}, "lease"),
        ({"token": "TOKEN", "subject": "anne", "lease": 3601}, "lease"),
        ({"token": "TOKEN", "subject": "anne", "lease": -60}, "lease"),
        ({"token": "TOKEN", "subject": "anne", "lease": "9" * 40}, "lease"),
        ({"token": "TOKEN", "subject": "anne", "lease": True}, "lease"),
        ({"token": "TOKEN", "subject": "anne", "lease": 60.5}, "lease"),
        ({"token": "TOKEN", "subject": "anne", "lease": "soon"}, "lease"),
        ({"token": "TOKEN", "subject": "anne", "lease": ""}, "lease"),
        ({"token": "TOKEN", "subject": "anne", "complete": "yes"}, "complete"),
        ({"token": "TOKEN", "subject": "anne", "complete": 1}, "complete"),
    ],
    ids=lambda each: str(each)[:60],
)
def test_what_cannot_be_held_is_named_and_nothing_is_changed(shop, make_invite, facts, body, field):
    token = make_invite()
    before = facts()
    answer = refused(
        shop.ask("POST", "/v1/holds", {**body, **({"token": token} if "TOKEN" in body.values() else {})}),
        400,
        "INVALID",
    )
    assert [each["field"] for each in answer.json["errors"]] == [field]
    assert facts() == before


def test_all_that_is_wrong_is_named_at_once(shop):
    answer = refused(shop.ask("POST", "/v1/holds", {"lease": "soon", "email": "x", "complete": 5}), 400, "INVALID")
    assert {each["field"] for each in answer.json["errors"]} == {"token", "subject", "lease", "email", "complete"}


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/holds"), ("POST", "/v1/holds/{id}/complete"), ("DELETE", "/v1/holds/{id}")],
)
def test_a_member_that_means_nothing_is_refused_and_named(shop, make_invite, facts, method, path):
    path = path.format(id=shop.held(make_invite()))
    before = facts()
    answer = refused(shop.ask(method, path, {"subjct": "anne"}), 400, "UNKNOWN_FIELD")
    assert [each["field"] for each in answer.json["errors"]] == ["subjct"]
    refused(shop.ask(method, f"{path}?lease=10m"), 400, "UNKNOWN_FIELD")
    assert facts() == before


def test_a_token_that_no_invite_has_is_404(shop):
    for unknown in ("0" * 64, "nonsense", "é" * 64, "0" * 10_000):
        refused(shop.take(unknown), 404, "INVITE_NOT_FOUND")


def test_the_same_guest_again_is_the_same_hold_and_held_for_longer_up_to_an_hour(shop, make_invite, facts, still):
    token, began = make_invite(), clock.now()
    first = shop.take(token).json
    for minutes, until in ((8, 18), (16, 26), (24, 54), (50, 60), (59, 60)):
        still.move_to(began + minutes * clock.MINUTE)
        again = shop.take(token, " anne ", lease="30m" if minutes == 24 else None)
        assert (again.status_code, again.json["id"]) == (200, first["id"])
        assert again.json["held_until"] == clock.iso(began + until * clock.MINUTE)
    assert sum(each.type == "invite.held" for each in facts()[3]) == 1


def test_each_key_has_guests_of_its_own(house, client, shop, make_invite):
    token, other = make_invite(uses="2"), program(house, client, "redeem")
    assert shop.held(token) != other.held(token)
    refused(other.take(token, "bob"), 409, "INVITE_HELD")


def test_the_whole_link_is_taken_for_its_token(shop, make_invite):
    token = make_invite()
    assert shop.held(f"https://invites.example.org/invite?{token}") == shop.take(token).json["id"]


def test_a_hold_is_of_one_invite_and_a_guest_may_have_several(shop, make_invite):
    assert shop.held(make_invite()) != shop.held(make_invite())


@pytest.mark.parametrize("end", ["used", "expired", "revoked"])
def test_what_is_over_is_410_with_its_code(shop, make_invite, use, house, still, facts, end):
    token = make_invite(ttl="1h")
    if end == "used":
        use(token)
    elif end == "expired":
        still.shift(clock.HOUR)
    else:
        with house.writing():
            changing.revoke(invites.find(token))
    before = facts()
    refused(shop.take(token), 410, "INVITE_USED" if end == "used" else "INVITE_EXPIRED")
    assert facts() == before


def test_while_the_last_use_is_held_another_is_told_when_to_try_again(shop, make_invite, still):
    token = make_invite(uses="2")
    shop.held(token, lease="5m")
    shop.held(token, "bob", lease="2m")
    still.shift(clock.MINUTE)
    answer = refused(shop.take(token, "carol"), 409, "INVITE_HELD")
    assert answer.headers["Retry-After"] == "60"
    still.shift(clock.MINUTE)
    assert shop.take(token, "carol").status_code == 201
    assert refused(shop.take(token, "dora"), 409, "INVITE_HELD").headers["Retry-After"] == "180"


def test_an_invite_that_makes_an_admin_is_not_held(shop, house, root, client, facts):
    with house.writing():
        token = invites.create_token(drafts.read({}, makes_admin=True), drafts.SHELL)
    before = facts()
    refused(shop.take(token), 403, "FORBIDDEN")
    refused(Program(client, root.bearer).take(token), 403, "FORBIDDEN")
    assert facts() == before


@pytest.mark.parametrize("bound", ["anne@example.org", "@example.org"])
def test_a_bound_invite_is_for_its_address_alone(shop, make_invite, facts, bound):
    token = make_invite(email=bound)
    before = facts()
    wrong = ["anne@example.net", "anne@sub.example.org", "anne@notexample.org", None]
    for email in wrong if bound.startswith("@") else [*wrong, "bob@example.org"]:
        refused(shop.take(token, email=email), 400, "EMAIL_MISMATCH")
    assert facts() == before
    assert shop.take(token, email="ANNE@Example.ORG").status_code == 201


def test_an_address_is_ignored_where_none_is_asked_for(shop, make_invite):
    assert shop.take(make_invite(), email="anne@example.org").status_code == 201


# Short codes


@pytest.fixture
def code(house):
    with house.writing():
        return legacy.create(drafts.SHELL)


def test_a_short_code_names_an_invite_too_as_the_guest_typed_it(shop, code):
    taken = shop.ask("POST", "/v1/holds", {"code": f" {code.upper()}. ", "subject": "anne"})
    assert taken.status_code == 201
    assert shop.complete(taken.json["id"]).json["state"] == "done"
    refused(shop.client.post("/api/invite/validate", json={"code": code}), 400, "INVITE_USED")


def test_a_whole_link_may_have_been_typed_as_the_code(shop, make_invite):
    link = f"http://127.0.0.1:8080/invite?{make_invite()}"
    assert shop.ask("POST", "/v1/holds", {"code": link, "subject": "anne"}).status_code == 201


def test_wrong_short_codes_are_counted_together_with_those_of_all_other_calls(shop, client, code, make_invite, still):
    for number in range(20):  # right ones are not
        shop.release(shop.ask("POST", "/v1/holds", {"code": code, "subject": f"guest {number}"}).json["id"])
    for number in range(5):
        refused(shop.ask("POST", "/v1/holds", {"code": f"{number:012x}", "subject": "anne"}), 404, "INVITE_NOT_FOUND")
        refused(client.post("/api/invite/validate", json={"code": f"{number:012x}"}), 400, "INVITE_NOT_FOUND")
    limited = refused(shop.ask("POST", "/v1/holds", {"code": code, "subject": "anne"}), 429, "RATE_LIMITED")
    assert limited.headers["Retry-After"] == "60"
    assert shop.take(make_invite()).status_code == 201
    still.shift(clock.MINUTE)
    assert shop.ask("POST", "/v1/holds", {"code": code, "subject": "anne"}).status_code == 201


def test_a_short_code_that_expires_while_a_lapsed_use_is_taken_leaves_nothing_half_done(
    shop, client, code, still, monkeypatch
):
    shop.ask("POST", "/v1/holds", {"code": code, "subject": "anne", "lease": "10m"})
    still.shift(11 * clock.MINUTE)
    lapse = uses.lapse

    def late(invite):
        still.shift(30 * clock.DAY)
        return lapse(invite)

    monkeypatch.setattr(uses, "lapse", late)
    assert client.post("/api/invite/validate", json={"code": code}).status_code == 200


def test_where_short_codes_are_off_they_are_410(tmp_path, house, shop, code):
    chosen = make_settings(tmp_path / "instance", LEGACY_CODES="off")
    off = Program(create_app(chosen).test_client(), shop.headers)
    refused(off.ask("POST", "/v1/holds", {"code": code, "subject": "anne"}), 410, "LEGACY_CODES_OFF")


# Completing


def test_a_hold_is_completed_once_however_often_it_is_asked_for(shop, make_invite, facts, house):
    token = make_invite(data={"seat": 12})
    hold_id = shop.held(token)
    done = shop.complete(hold_id)
    assert (done.status_code, done.json["state"], done.json["late"], done.json["held_until"]) == (
        200,
        "done",
        False,
        None,
    )
    before = facts()
    assert shop.complete(hold_id).json == shop.show(hold_id).json == done.json
    again = shop.take(token)
    assert (again.status_code, again.json) == (200, done.json)
    assert facts() == before
    told = [each.type for each in before[3] if each.invite_id]
    assert told == ["invite.created", "invite.held", "invite.used"]
    refused(shop.take(token, "bob"), 410, "INVITE_USED")


def test_a_program_that_has_its_account_already_completes_at_once(shop, make_invite):
    taken = shop.take(make_invite(), complete=True)
    assert (taken.status_code, taken.json["state"], taken.json["late"]) == (201, "done", False)
    token = make_invite()
    hold_id = shop.held(token)
    done = shop.take(token, complete=True)
    assert (done.status_code, done.json["id"], done.json["state"]) == (200, hold_id, "done")


def test_after_its_lease_a_hold_is_completed_late_if_a_use_is_left(shop, make_invite, still):
    hold_id = shop.held(make_invite())
    still.shift(10 * clock.MINUTE)
    assert shop.show(hold_id).json["state"] == "lapsed"
    done = shop.complete(hold_id)
    assert (done.status_code, done.json["state"], done.json["late"]) == (200, "done", True)
    assert shop.complete(hold_id).json["late"] is True


@pytest.mark.parametrize("tidied", [True, False], ids=["tidied", "not yet tidied"])
def test_after_its_lease_a_hold_is_lost_if_another_has_taken_the_use(shop, house, make_invite, still, facts, tidied):
    token = make_invite()
    hold_id = shop.held(token)
    still.shift(10 * clock.MINUTE)
    if tidied:
        with house.writing():
            expiry.give_back(expiry.lapsed())
    other = shop.held(token, "bob")
    before = facts()
    refused(shop.complete(hold_id), 409, "HOLD_LOST")
    assert shop.show(hold_id).json["state"] == "lapsed"
    refused(shop.take(token), 409, "INVITE_HELD")
    assert facts() == before
    shop.release(other)
    done = shop.complete(hold_id)
    assert (done.json["state"], done.json["late"]) == ("done", True)


def test_a_hold_that_has_lapsed_is_taken_anew_with_its_id(shop, make_invite, still):
    token = make_invite()
    hold_id = shop.held(token)
    still.shift(clock.HOUR)
    again = shop.take(token)
    assert (again.status_code, again.json["id"], again.json["state"]) == (200, hold_id, "held")
    assert again.json["held_until"] == clock.iso(clock.now() + 10 * clock.MINUTE)
    assert shop.complete(hold_id).json["late"] is False


def test_a_hold_outlives_the_expiry_of_its_invite_and_is_lost_after_its_lease(shop, make_invite, still):
    in_time, late = (shop.held(make_invite(ttl="1m"), lease="5m") for _ in "12")
    still.shift(2 * clock.MINUTE)
    assert shop.complete(in_time).json["state"] == "done"
    still.shift(3 * clock.MINUTE)
    refused(shop.complete(late), 409, "HOLD_LOST")


def test_a_hold_dies_with_its_invite_in_the_same_unit(shop, house, make_invite, facts):
    token = make_invite(uses="3")
    hold_id, done = shop.held(token), shop.held(token, "bob", complete=True)
    with house.writing():
        changing.revoke(invites.find(token))
    assert shop.show(hold_id).json["state"] == "released"
    before = facts()
    refused(shop.complete(hold_id), 409, "HOLD_LOST")
    assert shop.release(hold_id).status_code == 204
    assert shop.complete(done).json["state"] == "done"
    assert facts() == before
    refused(shop.take(token), 410, "INVITE_EXPIRED")


# Giving back


def test_a_use_is_given_back_once_however_often_it_is_asked_for(shop, make_invite, facts):
    token = make_invite()
    hold_id = shop.held(token)
    released = shop.release(hold_id)
    assert (released.status_code, released.data) == (204, b"")
    before = facts()
    assert shop.release(hold_id).status_code == 204
    assert facts() == before
    assert shop.show(hold_id).json["state"] == "released"
    refused(shop.complete(hold_id), 409, "HOLD_RELEASED")
    assert facts() == before
    assert shop.held(token, "bob")


def test_after_a_release_the_same_guest_gets_a_new_hold(shop, make_invite):
    token = make_invite()
    first = shop.held(token)
    shop.release(first)
    assert shop.held(token) != first


def test_a_late_release_gives_nothing_of_anothers_back(shop, make_invite, still):
    token = make_invite()
    hold_id = shop.held(token)
    still.shift(10 * clock.MINUTE)
    other = shop.held(token, "bob")
    assert shop.release(hold_id).status_code == 204
    assert shop.show(hold_id).json["state"] == "released"
    assert shop.show(other).json["state"] == "held"
    refused(shop.complete(hold_id), 409, "HOLD_RELEASED")
    refused(shop.take(token, "carol"), 409, "INVITE_HELD")


def test_what_is_done_is_not_given_back(shop, make_invite, facts):
    hold_id = shop.held(make_invite(), complete=True)
    before = facts()
    refused(shop.release(hold_id), 409, "HOLD_DONE")
    assert facts() == before


# Whose


def test_the_hold_of_another_key_is_not_there(house, client, shop, root, make_invite, facts):
    hold_id, other = shop.held(make_invite()), program(house, client, *keys.SCOPES)
    before = facts()
    for caller in (other, Program(client, root.bearer)):
        for ask in (caller.show, caller.complete, caller.release):
            refused(ask(hold_id), 404, "HOLD_NOT_FOUND")
            for unknown in (NOBODY, "x" * 1000):
                refused(ask(unknown), 404, "HOLD_NOT_FOUND")
    assert facts() == before


def test_no_use_but_a_hold_is_found_there(shop, use, make_invite, house):
    use(make_invite())
    with house.reading() as unit:
        (spent,) = unit.session.query(Redemption)
    refused(shop.show(spent.id), 404, "HOLD_NOT_FOUND")


def test_an_admin_holds_uses_under_the_own_name(client, root, make_invite):
    admin = Program(client, root.bearer)
    hold_id = admin.held(make_invite())
    assert admin.complete(hold_id).json["state"] == "done"


CALLS = [("POST", "/v1/holds"), ("GET", "/v1/holds/{}"), ("POST", "/v1/holds/{}/complete"), ("DELETE", "/v1/holds/{}")]


@pytest.mark.parametrize(("method", "path"), CALLS)
def test_a_key_needs_the_scope_redeem(house, client, shop, alice, make_invite, facts, method, path):
    token = make_invite(uses="2")
    hold_id, body = shop.held(token), {"token": token, "subject": "bob"} if path == "/v1/holds" else None
    others = program(house, client, *(each for each in keys.SCOPES if each != "redeem"))
    before = facts()
    assert "redeem" in refused(others.ask(method, path.format(hold_id), body), 403, "SCOPE").json["error"]
    refused(Program(client, alice.bearer).ask(method, path.format(hold_id), body), 403, "FORBIDDEN")
    key = shop.headers["Authorization"].removeprefix("Bearer ")
    for url, headers in ((path, {}), (f"{path}?key={key}", {}), (path, {"Authorization": f"Bearer {key}x"})):
        refused(Program(client, headers).ask(method, url.format(hold_id), body), 401, "KEY_REFUSED")
    assert facts() == before


def test_what_a_deleted_key_held_is_given_back_and_what_is_done_stays(house, client, shop, make_invite):
    token = make_invite(uses="3")
    shop.held(token)
    shop.held(token, "bob", complete=True)
    with house.writing():
        keys.delete(shop.headers["Authorization"].removeprefix("Bearer "))
    with house.reading():
        assert invites.find(token).uses == 1
    other = program(house, client, "redeem")
    assert [other.take(token, each).status_code for each in ("anne", "bob", "carol")] == [201, 201, 409]
    refused(shop.take(token), 401, "KEY_REFUSED")


def test_a_key_that_is_deleted_while_it_takes_a_hold_holds_none(house, shop, make_invite, monkeypatch, facts):
    def delete():
        with house.writing():
            keys.delete(shop.headers["Authorization"].removeprefix("Bearer "))

    token, read, other = make_invite(), holds.read, Thread(target=delete)

    def meanwhile(given):
        other.start()
        other.join(0.2)  # on SQLite it waits for the hold, and then gives it back
        return read(given)

    monkeypatch.setattr(holds, "read", meanwhile)
    answer = shop.take(token)
    other.join()
    assert (answer.status_code, answer.json.get("code")) in ((201, None), (401, "KEY_REFUSED"))
    with house.reading():
        assert invites.find(token).uses == 0


# What waits for a yes


def test_completing_what_needs_approval_waits_for_it(shop, house, make_invite, facts):
    token = make_invite(approve=True)
    hold_id = shop.held(token)
    waits = shop.complete(hold_id)
    assert (waits.status_code, waits.json["state"], waits.json["held_until"]) == (202, "waiting", None)
    before = facts()
    for again in (shop.complete(hold_id), shop.take(token), shop.take(token, complete=True)):
        assert (again.status_code, again.json) == (202, waits.json)
    assert shop.show(hold_id).json == waits.json
    assert facts() == before
    with house.writing():
        waiting.approve(hold_id)
    assert (shop.complete(hold_id).status_code, shop.show(hold_id).json["state"]) == (200, "done")
    told = [each.type for each in facts()[3] if each.invite_id]
    assert told == ["invite.created", "invite.held", "invite.waiting", "invite.approved", "invite.used"]


def test_after_a_no_a_hold_is_released(shop, house, make_invite):
    token = make_invite(approve=True)
    taken = shop.take(token, complete=True)
    assert (taken.status_code, taken.json["state"]) == (202, "waiting")
    with house.writing():
        waiting.deny(taken.json["id"])
    assert shop.show(taken.json["id"]).json["state"] == "released"
    refused(shop.complete(taken.json["id"]), 409, "HOLD_RELEASED")
    assert shop.release(taken.json["id"]).status_code == 204
    assert shop.take(token).status_code == 201


def test_a_program_takes_back_what_waits_for_a_yes(shop, house, make_invite):
    token = make_invite(approve=True)
    hold_id = shop.held(token)
    shop.complete(hold_id)
    assert shop.release(hold_id).status_code == 204
    with house.writing(), pytest.raises(NotWaiting):
        waiting.approve(hold_id)


# Once


def test_the_same_call_with_an_idempotency_key_is_answered_the_same_and_takes_nothing_more(
    shop, make_invite, facts, still
):
    token = make_invite(uses="5")
    first = shop.take(token, once="once")
    assert (first.status_code, "Idempotency-Replayed" in first.headers) == (201, False)
    before = facts()
    still.shift(clock.MINUTE)
    for key in ("once", '"once"'):
        again = shop.take(token, once=key)
        assert (again.status_code, again.json, again.headers["Idempotency-Replayed"]) == (201, first.json, "true")
    assert facts() == before
    assert shop.take(token, "bob", once="twice").json["id"] != first.json["id"]


def test_an_idempotency_key_is_not_for_another_body_nor_for_an_invite(house, client, make_invite, facts):
    shop, token = program(house, client, "redeem", "create"), make_invite(uses="5")
    shop.take(token, once="hold")
    assert shop.ask("POST", "/v1/invites", {}, Idempotency_Key="invite").status_code == 201
    before = facts()
    asked = [
        shop.take(token, "bob", once="hold"),
        shop.take(token, lease="5m", once="hold"),
        shop.take(make_invite(), once="hold"),
        shop.take(token, once="invite"),
        shop.ask("POST", "/v1/invites", {}, Idempotency_Key="hold"),
        shop.ask("POST", "/invites_api", {}, Idempotency_Key="hold"),
    ]
    for each in asked:
        refused(each, 422, "IDEMPOTENCY_KEY_REUSED")
    assert len(facts()[1]) == len(before[1])
    assert program(house, client, "redeem").take(token, once="hold").status_code == 201  # another caller's key


def test_what_was_taken_once_is_answered_as_it_is_now(shop, house, make_invite):
    token = make_invite(approve=True)
    first = shop.take(token, complete=True, once="once")
    assert (first.status_code, first.json["state"]) == (202, "waiting")
    with house.writing():
        waiting.approve(first.json["id"])
    again = shop.take(token, complete=True, once="once")
    assert (again.status_code, again.json["state"], again.headers["Idempotency-Replayed"]) == (202, "done", "true")
    released = make_invite()
    shop.release(shop.held(released, once="other"))
    assert (shop.take(released, once="other").json["state"], shop.take(released).json["state"]) == ("released", "held")


def test_a_refusal_is_not_remembered(shop, make_invite, still):
    token = make_invite()
    shop.held(token, "bob")
    refused(shop.take(token, once="once"), 409, "INVITE_HELD")
    still.shift(10 * clock.MINUTE)
    answer = shop.take(token, once="once")
    assert (answer.status_code, "Idempotency-Replayed" in answer.headers) == (201, False)


# At once


@pytest.fixture
def at_once(client):
    """What so many calls answer that are made at the same moment, each by a client of its own."""

    def ask(call, headers, count=8):
        started = Barrier(count)

        def begin(number):
            own = Program(client.application.test_client(), headers)
            started.wait()
            return call(own, number)

        with ThreadPoolExecutor(count) as threads:
            return list(threads.map(begin, range(count)))

    return ask


def test_completed_several_times_at_once_it_is_used_once(shop, make_invite, facts, at_once):
    hold_id = shop.held(make_invite())
    answers = at_once(lambda own, _: own.complete(hold_id), shop.headers)
    assert [(each.status_code, each.json["state"]) for each in answers] == [(200, "done")] * 8
    assert [each.type for each in facts()[3]].count("invite.used") == 1


def test_taken_several_times_at_once_for_one_guest_it_is_one_hold(shop, make_invite, facts, at_once):
    token = make_invite(uses="5")
    answers = at_once(lambda own, _: own.take(token), shop.headers)
    assert sorted(each.status_code for each in answers) == [200] * 7 + [201]
    assert len({each.json["id"] for each in answers}) == len(facts()[1]) == 1
    answers = at_once(lambda own, _: own.take(token, "bob", once="once"), shop.headers)
    assert {each.status_code for each in answers} == {201}
    assert len({each.json["id"] for each in answers}) == 1
    assert len(facts()[1]) == 2


def test_many_guests_at_once_get_as_many_uses_as_there_are(shop, make_invite, at_once):
    token = make_invite(uses="3")
    answers = at_once(lambda own, number: own.take(token, f"guest {number}"), shop.headers)
    assert sorted(each.status_code for each in answers) == [201] * 3 + [409] * 5
    assert {each.json["code"] for each in answers if each.status_code == 409} == {"INVITE_HELD"}


def test_released_and_completed_at_once_a_hold_is_one_of_both(shop, house, make_invite, at_once):
    token = make_invite()
    hold_id = shop.held(token)
    asked = at_once(lambda own, number: (own.complete if number % 2 else own.release)(hold_id), shop.headers)
    state = shop.show(hold_id).json["state"]
    good = {"done": {200, 409}, "released": {204, 409}}[state]
    assert {each.status_code for each in asked} == good
    with house.reading():
        assert invites.find(token).uses == (state == "done")


def test_a_hold_that_is_completed_while_its_invite_is_revoked_is_done_or_lost(shop, house, make_invite, at_once):
    token = make_invite()
    hold_id = shop.held(token)

    def act(own, number):
        if number:
            return own.complete(hold_id).status_code
        with house.writing():
            changing.revoke(invites.find(token))
        return None

    asked = at_once(act, shop.headers)[1:]
    state = shop.show(hold_id).json["state"]
    assert set(asked) == {"done": {200}, "released": {409}}[state]


def test_a_late_completion_and_a_new_guest_at_once_share_no_use(shop, make_invite, at_once, still):
    token = make_invite()
    hold_id = shop.held(token)
    still.shift(10 * clock.MINUTE)
    asked = at_once(lambda own, number: own.take(token, "bob") if number % 2 else own.complete(hold_id), shop.headers)
    late, new = ({each.status_code for each in asked[start::2]} for start in (0, 1))
    state = shop.show(hold_id).json["state"]
    assert (late, new) == (({200}, {410}) if state == "done" else ({409}, {201, 200}))


# The usual course, in fewer statements


def without_ids(rows):
    """Rows as dictionaries, without what differs from one invite, use or event to the next."""
    differing = {"id", "nonce", "token_hash", "invite_id", "number", "facts", "asked", "created_event"}
    kept = [{name: value for name, value in each._asdict().items() if name not in differing} for each in rows]
    return sorted(kept, key=str)  # PostgreSQL gives them in the order in which they were changed


def told(rows):
    """What events say in their facts, but for ids."""
    return [
        {name: value for name, value in json.loads(each.facts or "{}").items() if name != "redemption"} for each in rows
    ]


@pytest.mark.parametrize("other", [None, "30s", "1h"], ids=["alone", "beside a shorter one", "beside a longer one"])
def test_the_usual_course_stores_and_tells_what_any_other_does(house, make_invite, facts, other):
    stored = []
    for take, complete in (
        (lambda wanted: fast_holds.take("shop", wanted), fast_holds.complete),
        (lambda wanted: holds.take(invites.find(wanted.token), "shop", wanted), holds.complete),
    ):
        token = make_invite(uses="5", data={"seat": 1})
        wanted = holds.read({"token": token, "subject": "anne", "lease": "10m"})
        with house.writing():
            if other:
                holds.take(invites.find(token), "shop", holds.read({"token": token, "subject": "bob", "lease": other}))
            taken = take(wanted)
        held = facts()
        with house.writing():
            done = complete(taken.id, "shop")
        found = [[[row for row in table if taken.invite.id in row] for table in rows] for rows in (held, facts())]
        told_of = [told(rows[3]) for rows in found]
        shown = [(each.state, each.until, each.project, each.late, each.is_new) for each in (taken, done)]
        stored.append(([[without_ids(table) for table in rows] for rows in found], told_of, shown))
    assert stored[0] == stored[1]
    assert [len(table) for table in stored[0][0][0][:2]] == [1, 2 if other else 1]


def test_what_is_not_usual_is_left_to_the_other_course_and_nothing_is_changed(house, shop, make_invite, facts, still):
    lapsing, asking = shop.held(make_invite(), lease="30s"), shop.held(make_invite(approve=True))
    done, released, known = shop.held(make_invite(), complete=True), shop.held(make_invite()), make_invite(uses="2")
    shop.release(released)
    shop.held(known)
    still.shift(clock.MINUTE)
    tokens = [known, make_invite(email="anne@example.org"), make_invite(ttl="1m"), "0" * 64, "nonsense"]
    with house.writing():
        tokens.append(invites.create_token(drafts.read({}, makes_admin=True), drafts.SHELL))
    still.shift(clock.MINUTE)
    before, key = facts(), shop.headers["Authorization"].removeprefix("Bearer ").partition("/")[0]
    with house.writing():
        assert [fast_holds.take(key, holds.Wanted("anne", each)) for each in tokens] == [None] * len(tokens)
        for hold_id in (lapsing, asking, done, released, NOBODY):
            assert fast_holds.complete(hold_id, key) is None
        assert fast_holds.complete(lapsing, "another key") is None
    assert facts() == before
