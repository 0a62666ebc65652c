"""Our own API, of uses that wait: how an invite shows them, and how an admin's program approves and denies them."""

from functools import partial

import pytest
import time_machine

import clock
from models import Event, Invite, Redemption
from rules import accounts, expiry, keys, listing, presets, projects, redemption
from test_v1 import NOBODY, Program, program, refused

pytestmark = pytest.mark.usefixtures("still")


@pytest.fixture
def still():
    """Time stands still; it moves when it is told to."""
    with time_machine.travel(clock.now(), tick=False) as moved:
        yield moved


@pytest.fixture
def shop(house, client):
    """A program with a key that may do everything."""
    return program(house, client, *keys.SCOPES)


@pytest.fixture
def stored_now(rows):
    """Everything that is stored of invites, their uses and what happened."""
    return partial(rows, Invite, Redemption, Event)


def hold(shop, invite, subject="a guest", **given):
    """Hold a use of an invite."""
    taken = shop.post("/v1/holds", {"token": invite["token"], "subject": subject, **given})
    assert taken.status_code in (200, 201, 202), taken.text
    return taken.json


def shown(shop, invite):
    """An invite as it is now."""
    return shop.get(f"/v1/invites/{invite['id']}").json["invite"]


def waits(shop, invite):
    """Who waits for what, of an invite."""
    return [(each["who"], each["waiting_for"]) for each in shown(shop, invite)["waiting"]]


@pytest.fixture
def accept(house):
    """Let somebody accept an invite."""

    def accept(person, invite):
        with house.writing():
            return redemption.accept(invite["token"], accounts.named(person.name)).waiting_for

    return accept


# Showing


def test_an_invite_shows_who_waits_and_how_many_uses_are_held(shop, accept, charlie, still):
    made, began = shop.create(max_uses=5, approve=True), clock.now()
    hold(shop, made, "anne")
    still.shift(clock.SECOND)
    accept(charlie, made)
    still.shift(clock.SECOND)
    asking = hold(shop, made, "bob", complete=True)
    now = shown(shop, made)
    assert (now["state"], now["uses"], now["held"], now["used_at"], now["user_id"]) == ("active", 3, 1, None, None)
    assert waits(shop, made) == [("charlie", "approval"), ("bob", "approval")]
    assert [each["since"] for each in now["waiting"]] == [clock.iso(began + each * clock.SECOND) for each in (1, 2)]
    assert now["waiting"][1]["redemption"] == asking["id"]
    assert shop.get("/v1/invites").json["invites"] == [now]


def test_who_is_yet_to_prove_an_address_waits_and_lapses_after_a_day(shop, accept, alice, still):
    made = shop.create(max_uses=2, email="@example.org")
    assert made["email"] == "@example.org"
    assert accept(alice, made) == "proof"
    assert waits(shop, made) == [("alice", "proof")]
    assert [each["id"] for each in shop.get("/v1/invites?email=@Example.org").json["invites"]] == [made["id"]]
    still.shift(clock.DAY)
    now = shown(shop, made)
    assert (now["state"], now["uses"], now["waiting"]) == ("active", 0, [])


def test_a_use_that_has_lapsed_counts_nowhere(shop, house, client, still, root):
    made = shop.create(ttl="2d")
    hold(shop, made)

    def readings():
        now, listed = shown(shop, made), shop.get("/v1/invites?state=active").json["invites"]
        admins = client.get("/api/admin/invites", headers=root.bearer).json
        metrics = client.get("/metrics", headers=shop.headers).text
        with house.reading():
            counted = listing.by_state()
        return {
            "state": now["state"],
            "uses": now["uses"],
            "held": now["held"],
            "listed": [each["uses"] for each in listed],
            "Agentbot's list": [(each["status"], each["uses"], each.get("held")) for each in admins["invites"]],
            "Agentbot's count": admins["active"],
            "by state": (counted["active"], counted["used"]),
            "metrics": 'invites{state="active"} 1' in metrics,
            "verify": client.post("/api/invites/verify", json={"token": made["token"]}).status_code,
            "view": client.get(f"/invites/{made['token']}").status_code,
            "page": client.get(f"/invite?{made['token']}").status_code,
            "register": client.get(f"/register?t={made['token']}").status_code,
        }

    held = readings()
    assert held == {
        **{"state": "used", "uses": 1, "held": 1, "listed": [], "Agentbot's list": [("used", 1, 1)]},
        **{"Agentbot's count": 0, "by state": (0, 1), "metrics": False},
        **{"verify": 410, "view": 404, "page": 410, "register": 303},
    }
    still.shift(10 * clock.MINUTE)
    lapsed = {
        **{"state": "active", "uses": 0, "held": 0, "listed": [0], "Agentbot's list": [("active", 0, None)]},
        **{"Agentbot's count": 1, "by state": (1, 0), "metrics": True},
        **{"verify": 200, "view": 200, "page": 200, "register": 200},
    }
    assert readings() == lapsed
    with house.writing():
        expiry.give_back(expiry.lapsed())
    assert readings() == lapsed


@pytest.mark.parametrize("way", ["accept", "register", "validate"])
def test_whoever_next_wants_a_use_that_has_lapsed_gets_it(shop, house, client, use, alice, accept, still, way):
    made, code = shop.create(), client.post("/api/invite/generate", headers=shop.headers).json["code"]
    shop.post("/v1/holds", {"code": code, "subject": "anne"})
    held = hold(shop, made)
    still.shift(10 * clock.MINUTE)
    if way == "accept":
        accept(alice, made)
    elif way == "register":
        use(made["token"])
    else:
        assert client.post("/api/invite/validate", json={"code": code}).status_code == 200
        return
    assert (shown(shop, made)["state"], shown(shop, made)["uses"]) == ("used", 1)
    refused_hold = shop.post(f"/v1/holds/{held['id']}/complete")
    assert (refused_hold.status_code, refused_hold.json["code"]) == (409, "HOLD_LOST")


def test_no_fewer_uses_than_there_are_with_those_that_wait_and_without_those_that_lapsed(shop, still):
    made = shop.create(max_uses=3)
    hold(shop, made, "anne")
    hold(shop, made, "bob", lease="1h")
    refused(shop.patch(f"/v1/invites/{made['id']}", {"max_uses": 1}), 400, "INVALID", "max_uses")
    still.shift(10 * clock.MINUTE)
    changed = shop.patch(f"/v1/invites/{made['id']}", {"max_uses": 1}).json["invite"]
    assert (changed["state"], changed["uses"], changed["held"]) == ("used", 1, 1)


@pytest.mark.parametrize("leap", [clock.DAY, -clock.DAY], ids=["ahead", "back"])
def test_a_clock_that_leaps_loses_no_use_and_gives_none_twice(shop, house, still, leap):
    made, other = shop.create(ttl="9d"), shop.create(ttl="9d")
    first, done = hold(shop, made), hold(shop, other, complete=True)
    still.shift(leap)
    if leap > clock.SECOND:  # it has lapsed, and somebody else gets it; then the clock is right again
        second = hold(shop, made, "bob")
        still.shift(-leap)
        assert shop.post(f"/v1/holds/{first['id']}/complete").status_code == 409
        assert shop.post(f"/v1/holds/{second['id']}/complete").json["state"] == "done"
    else:
        assert shop.post(f"/v1/holds/{first['id']}/complete").json["state"] == "done"
    assert shop.post(f"/v1/holds/{done['id']}/complete").json["state"] == "done"
    assert [shown(shop, each)["uses"] for each in (made, other)] == [1, 1]
    with house.reading():
        assert redemption.miscounted() == []


def test_what_happens_to_uses_is_told(shop, still):
    made = shop.create(max_uses=5, approve=True)
    following = shop.get("/v1/events").json["next"]
    for subject in ("anne", "bob", "carol", "dora"):
        hold(shop, made, subject, complete=subject != "anne")
    anne, *others = (hold(shop, made, subject)["id"] for subject in ("anne", "bob", "carol", "dora"))
    path = f"/v1/invites/{made['id']}"
    assert shop.delete(f"/v1/holds/{anne}").status_code == 204
    shop.post(f"{path}/approve", {"redemption": others[0]})
    shop.post(f"{path}/deny", {"redemption": others[1]})
    shop.post(f"{path}/revoke")
    happened = shop.get(f"/v1/events?cursor={following}").json["events"]
    told = [(each["type"], each["facts"].get("redemption")) for each in happened]
    released = [("invite.released", anne), ("invite.approved", others[0]), ("invite.used", others[0])]
    denied = [("invite.denied", others[1]), ("invite.released", others[2]), ("invite.revoked", None)]
    assert [each for each in told if each[0] not in ("invite.held", "invite.waiting")] == [*released, *denied]
    assert {each for each in told if each[0] == "invite.waiting"} == {("invite.waiting", each) for each in others}
    assert {each["actor"] for each in happened} == {"API key shop"}
    for type_ in {each for each, _ in told}:
        assert shop.get(f"/v1/events?type={type_}").json["events"]


# Approving and denying


def test_an_admins_program_says_yes(shop, accept, alice, charlie, house):
    with house.writing():
        projects.create(accounts.named("alice"), projects.ProjectDraft("Tea Garden"))
    made = shop.create(approve=True, project="tea-garden", max_uses=2, access="30d")
    assert made["access"] == "30d"
    accept(charlie, made)
    (waiting,) = shown(shop, made)["waiting"]
    now = shop.post(f"/v1/invites/{made['id']}/approve", {"redemption": waiting["redemption"]}).json["invite"]
    assert (now["uses"], now["waiting"], now["used_at"]) == (1, [], clock.iso(clock.now()))
    with house.reading():
        (member,) = [each for each in projects.members(projects.find("tea-garden")) if each.user.username == "charlie"]
        assert member.ends_at == clock.now() + 30 * clock.DAY


def test_an_admins_program_says_no_and_the_use_is_released(shop, accept, charlie):
    made = shop.create(approve=True)
    accept(charlie, made)
    (waiting,) = shown(shop, made)["waiting"]
    now = shop.post(f"/v1/invites/{made['id']}/deny", {"redemption": waiting["redemption"]}).json["invite"]
    assert (now["state"], now["uses"], now["waiting"]) == ("active", 0, [])


@pytest.mark.parametrize("call", ["approve", "deny"])
def test_only_what_waits_for_a_yes_is_approved_or_denied(shop, stored_now, accept, alice, charlie, call):
    made, other = shop.create(approve=True, max_uses=4), shop.create(approve=True)
    proving = shop.create(email="@example.org")
    accept(alice, proving)
    held, asking = hold(shop, made), hold(shop, other, complete=True)
    spent, released = (hold(shop, shop.create(), complete=complete) for complete in (True, False))
    shop.delete(f"/v1/holds/{released['id']}")
    (proof,) = shown(shop, proving)["waiting"]
    before = stored_now()
    for invite, redemption_id in (
        *((made, each) for each in (held["id"], asking["id"], spent["id"], released["id"], NOBODY)),
        *((proving, proof["redemption"]), (proving, asking["id"])),
    ):
        answer = shop.post(f"/v1/invites/{invite['id']}/{call}", {"redemption": redemption_id})
        assert (answer.status_code, answer.json["code"]) == (409, "NOT_WAITING"), redemption_id
    answer = shop.post(f"/v1/invites/{NOBODY}/{call}", {"redemption": asking["id"]})
    assert (answer.status_code, answer.json["code"]) == (404, "INVITE_NOT_FOUND")
    path = f"/v1/invites/{other['id']}/{call}"
    for body, code, field in (
        ({}, "INVALID", "redemption"),
        ({"redemption": 5}, "INVALID", "redemption"),
        ({"redemption": ""}, "INVALID", "redemption"),
        ({"redemption": None}, "INVALID", "redemption"),
        ({"redemption": asking["id"], "who": "charlie"}, "UNKNOWN_FIELD", "who"),
    ):
        refused(shop.post(path, body), 400, code, field)
    assert stored_now() == before
    assert [shop.post(path, {"redemption": asking["id"]}).status_code for _ in "12"] == [200, 409]


@pytest.mark.parametrize("call", ["approve", "deny"])
def test_approving_and_denying_need_the_scope_manage(shop, house, client, root, alice, stored_now, call):
    creator = program(house, client, "create", "redeem", "read")
    made = creator.create(approve=True, max_uses=2)
    asking, again = (hold(creator, made, subject, complete=True) for subject in ("anne", "bob"))
    path, before = f"/v1/invites/{made['id']}/{call}", stored_now()
    answer = creator.post(path, {"redemption": asking["id"]})
    assert (answer.status_code, answer.json["code"]) == (403, "SCOPE")
    answer = Program(client, alice.bearer).post(path, {"redemption": asking["id"]})
    assert (answer.status_code, answer.json["code"]) == (403, "FORBIDDEN")
    assert Program(client, {}).post(path, {"redemption": asking["id"]}).status_code == 401
    assert stored_now() == before
    assert program(house, client, "manage").post(path, {"redemption": asking["id"]}).status_code == 200
    assert Program(client, root.bearer).post(path, {"redemption": again["id"]}).status_code == 200


# Creating in other dialects


def test_parameters_of_prosodys_call_and_presets_say_it_too(client, shop, house, alice, root):
    with house.writing():
        projects.create(accounts.named("alice"), projects.ProjectDraft("Tea Garden"))
        fields = {"project": "tea-garden", "access": "30d", "approve": "yes", "data": {"seat": 1}}
        presets.create("trial", fields)
    queried = {"project": "tea-garden", "access": "30d", "approve": "1"}
    made = [
        client.post("/invites_api", query_string={**queried, "data": '{"seat": 1}'}, headers=shop.headers),
        client.post("/invites_api", json={**fields, "approve": True}, headers=shop.headers),
        client.post("/invites_api", query_string={"preset": "trial"}, headers=shop.headers),
        client.post("/api/invite", json={"name": "Anne", "preset": "trial"}, headers=alice.bearer),
        client.post(
            "/api/admin/invites",
            json={"email": "anne@example.org", "preset": "trial", "access": "soon", "approve": "what", "data": 5},
            headers=root.bearer,
        ),
        client.post(
            "/projects/tea-garden/invites", json={"email": "bob@example.org", "preset": "trial"}, headers=alice.bearer
        ),
        shop.post("/v1/invites", {"preset": "trial"}),
    ]
    assert [each.status_code for each in made] == [201] * 7
    for each in shop.get("/v1/invites").json["invites"]:
        assert (each["project"], each["access"], each["approve"]) == ("tea-garden", "30d", True)
        assert each["data"] == {"seat": 1}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"access": "30d"}, "access"),
        ({"access": "soon"}, "access"),
        ({"approve": "perhaps"}, "approve"),
        ({"data": "[1]"}, "data"),
        ({"data": "{"}, "data"),
        ({"email": "@"}, "email"),
    ],
)
def test_what_prosodys_call_cannot_create_is_named(client, shop, stored_now, query, field):
    before = stored_now()
    for given in ({"query_string": query}, {"data": query}, {"json": query}):
        answer = client.post("/invites_api", headers=shop.headers, **given)
        assert (answer.status_code, [each["field"] for each in answer.json["errors"]]) == (400, [field])
    assert stored_now() == before
