"""One invite, three dialects: made in any, good in all; spent in any, refused in all."""

import pytest

import clock
from conftest import PASSWORD
from models import Invite
from rules import accounts, changing, drafts, invites, keys, presets, redemption, waiting

WAYS = [
    "our own API",
    "a key of Prosody's",
    "the command",
    "Agentbot's user",
    "Agentbot's admin",
    "a short code",
    "HitKey's project",
    "HitKey's mail",
]
USERS = ["Prosody's form", "HitKey's registration", "HitKey's accept", "our page's accept"]


@pytest.fixture
def make(client, house, key, alice, root, invite_api):
    """A fresh token, as each dialect hands it out."""

    def made(way, preset=None):
        given = {"preset": preset} if preset else {}
        if way == "our own API":
            shown = {"Authorization": f"Bearer {key}"}
            return client.post("/v1/invites", headers=shown, json=given).json["invite"]["token"]
        if way == "a key of Prosody's":
            return client.get("/invites_api", query_string={"key": key, **given}).location.partition("?")[2]
        if way == "the command":
            options = ["--preset", preset] if preset else []
            return invite_api("invite", "create", *options).stdout.strip().partition("?")[2]
        if way == "Agentbot's user":
            return client.post("/api/invite", headers=alice.bearer, json={"name": "Anne", **given}).json["token"]
        if way == "Agentbot's admin":
            body = {"email": "charlie@example.org", **given}
            return client.post("/api/admin/invites", headers=root.bearer, json=body).json["code"]
        if way == "HitKey's mail":
            with house.writing():
                draft = presets.draft({"email": "charlie@example.org", **given}, drafts.SHELL)
                return invites.mail_token(invites.create(draft, drafts.SHELL, mailed=True))
        if way == "HitKey's project":
            client.post("/projects/", headers=alice.bearer, json={"name": "Garden"})
            body = {"email": "charlie@example.org", **given}
            made = client.post("/projects/garden/invites", headers=alice.bearer, json=body)
            return made.json["inviteUrl"].partition("?")[2]
        code = client.post("/api/invite/generate", headers=root.bearer).json["code"]
        return client.post("/code", data={"code": code}).location.partition("?")[2]

    return made


@pytest.fixture
def use_in(client, charlie, browser):
    """Try to use a token in a dialect; the status."""

    def used(user, token, name):
        email = "charlie@example.org" if name == "first" else f"{name}@example.org"
        form = {"user": name, "password": PASSWORD, "token": token, "email": email}
        if user == "Prosody's form":
            return client.post("/register", data=form).status_code
        if user == "HitKey's registration":
            body = {"invite_token": token, "email": email, "password": PASSWORD}
            return client.post("/auth/register/with-invite", json=body).status_code
        if user == "HitKey's accept":
            return client.post(f"/invites/{token}/accept", headers=charlie.bearer).status_code
        browser.sign_in("charlie")
        return browser.post("/accept", token=token).status_code

    return used


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("user", USERS)
def test_an_invite_made_anywhere_is_good_everywhere_and_spent_everywhere(
    client, house, charlie, make, use_in, way, user
):
    token = make(way)
    if user in ("Prosody's form", "HitKey's registration"):
        charlie.forget_address()  # whoever registers takes the address of a bound invite
    assert client.get(f"/invite?{token}").status_code == 200
    assert client.get(f"/register?t={token}").status_code == 200
    assert client.get(f"/invites/{token}").status_code == 200
    assert client.post("/api/invites/verify", json={"token": token}).json == {"valid": True, "plan": "solo"}

    assert use_in(user, token, "first") == (303 if user == "our page's accept" else 200)

    assert client.get(f"/invite?{token}").status_code == 410
    assert client.get(f"/register?t={token}").status_code == 303
    assert client.get(f"/invites/{token}").json["code"] == "INVITE_USED"
    assert client.post("/api/invites/verify", json={"token": token}).status_code == 410
    for other in USERS:
        assert use_in(other, token, "second") in (303, 400, 410, 422)
    with house.reading():
        found = invites.find(token)
        assert found.uses == len(found.redemptions) == 1


# Uses that wait. "ask" is a preset that asks for approval, "there" one for a domain.
ASKING = [each for each in WAYS if each != "a short code"]  # which proves nobody, so that nobody could be asked about
NAMELESS = [each for each in ASKING if each not in ("Agentbot's admin", "HitKey's project", "HitKey's mail")]
REGISTERING = ("Prosody's form", "HitKey's registration")
ACTIVE, SPENT, REVOKED = (200, 200, 200, 200), (410, 303, 404, 410), (404, 303, 404, 404)
WAITS = {"HitKey's accept": 202, "our page's accept": 303}


@pytest.fixture
def make_waiting(make, house):
    """The same, of an invite whose uses wait."""
    with house.writing():
        presets.create("ask", {"approve": "yes"})
        presets.create("there", {"email": "@example.org"})
    return make


@pytest.fixture
def seen_as(client):
    """How an invite looks in each dialect: the statuses of its page, of its form, in HitKey's and in Agentbot's."""

    def look(token):
        shown = [client.get(path).status_code for path in (f"/invite?{token}", f"/register?t={token}")]
        verified = client.post("/api/invites/verify", json={"token": token}).status_code
        return (*shown, client.get(f"/invites/{token}").status_code, verified)

    return look


@pytest.fixture
def counted(client, house, root):
    """The uses of an invite, the states of its redemptions, and whether Agentbot's list says when it was used."""

    def look(token):
        with house.reading():
            found = invites.find(token)
            assert redemption.miscounted() == []
            states = sorted(each.state for each in found.redemptions)
            uses, created_at = found.uses, clock.iso(found.created_at)
        listed = client.get("/api/admin/invites", headers=root.bearer).json["invites"]
        (row,) = (each for each in listed if each["createdAt"] == created_at)
        return uses, states, "usedAt" in row

    return look


def decide(house, token, act):
    with house.writing():
        (use,) = waiting.of_invite(invites.find(token))
        act(use.id)


def refused_again(use_in, token, user):
    """Nobody else gets in anywhere; the one who waits is told so once more."""
    for other in USERS:
        status = use_in(other, token, "second")
        assert status in (303, 400, 410, 422) or (status == 202 and user not in REGISTERING), other


@pytest.mark.long
@pytest.mark.parametrize("way", ASKING)
@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("answer", ["yes", "no"])
def test_what_needs_approval_waits_for_it_wherever_it_was_made_and_is_used(
    house, charlie, make_waiting, use_in, seen_as, counted, way, user, answer
):
    token = make_waiting(way, "ask")
    if user in REGISTERING:
        charlie.forget_address()
    assert seen_as(token) == ACTIVE
    assert use_in(user, token, "first") == WAITS.get(user, 200)
    assert (seen_as(token), counted(token)) == (SPENT, (1, ["approval"], False))
    refused_again(use_in, token, user)
    assert (seen_as(token), counted(token)) == (SPENT, (1, ["approval"], False))
    decide(house, token, waiting.approve if answer == "yes" else waiting.deny)
    if answer == "yes":
        refused_again(use_in, token, "nobody waits")
        assert (seen_as(token), counted(token)) == (SPENT, (1, ["done"], True))
    else:
        assert (seen_as(token), counted(token)) == (ACTIVE, (0, ["denied"], False))


@pytest.mark.long
@pytest.mark.parametrize("way", NAMELESS)
@pytest.mark.parametrize("user", USERS)
def test_what_is_for_a_domain_waits_for_the_proof_wherever_it_was_made_and_is_used(
    house, charlie, make_waiting, use_in, seen_as, counted, way, user
):
    token = make_waiting(way, "there")
    with house.writing():
        accounts.named("charlie").email_verified_at = None
        if user in REGISTERING:
            accounts.named("charlie").email = None
    assert seen_as(token) == ACTIVE
    assert use_in(user, token, "first") == WAITS.get(user, 200)
    assert (seen_as(token), counted(token)) == (SPENT, (1, ["proof"], False))
    refused_again(use_in, token, user)
    assert (seen_as(token), counted(token)) == (SPENT, (1, ["proof"], False))


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_what_was_declined_is_refused_everywhere_wherever_it_was_made(
    house, browser, charlie, make, use_in, seen_as, counted, way
):
    token = make(way)
    assert browser.post("/decline", token=token).status_code == 303
    assert (seen_as(token), counted(token)) == (REVOKED, (0, [], False))
    for user in USERS:
        assert use_in(user, token, "first") in (303, 400, 404, 422)
    with house.reading():
        assert changing.was_declined(invites.find(token))
    assert counted(token) == (0, [], False)


@pytest.mark.parametrize(("preset", "wrong"), [("ask", "approve"), ("there", "email")])
def test_a_short_code_lets_nobody_pass_by_approval_or_proof(client, house, make_waiting, preset, wrong):
    with house.writing():
        bound = keys.create("bound", preset=preset)
    shown = {"Authorization": f"Bearer {bound}"}
    refused = client.post("/api/invite/generate", headers=shown)
    assert (refused.status_code, [each["field"] for each in refused.json["errors"]]) == (400, [wrong])
    with house.reading() as unit:
        assert unit.session.query(Invite).count() == 0
