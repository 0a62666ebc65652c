"""One invite, three dialects: made in any, good in all; spent in any, refused in all."""

import pytest

from conftest import PASSWORD
from rules import invites

MAKERS = [
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

    def made(maker):
        if maker == "our own API":
            shown = {"Authorization": f"Bearer {key}"}
            return client.post("/v1/invites", headers=shown, json={}).json["invite"]["token"]
        if maker == "a key of Prosody's":
            return client.get(f"/invites_api?key={key}").location.partition("?")[2]
        if maker == "the command":
            return invite_api("invite", "create").stdout.strip().partition("?")[2]
        if maker == "Agentbot's user":
            return client.post("/api/invite", headers=alice.bearer, json={"name": "Anne"}).json["token"]
        if maker == "Agentbot's admin":
            body = {"email": "charlie@example.org"}
            return client.post("/api/admin/invites", headers=root.bearer, json=body).json["code"]
        if maker == "HitKey's mail":
            with house.writing():
                draft = invites.read({"email": "charlie@example.org"})
                return invites.mail_token(invites.create(draft, invites.SHELL, mailed=True))
        if maker == "HitKey's project":
            client.post("/projects/", headers=alice.bearer, json={"name": "Garden"})
            body = {"email": "charlie@example.org"}
            made = client.post("/projects/garden/invites", headers=alice.bearer, json=body)
            return made.json["inviteUrl"].partition("?")[2]
        code = client.post("/api/invite/generate", headers=root.bearer).json["code"]
        return client.post("/code", data={"code": code}).location.partition("?")[2]

    return made


@pytest.fixture
def use_in(client, charlie, browser):
    """Try to use a token in a dialect; the status."""

    def used(user, token, name):
        form = {"user": name, "password": PASSWORD, "token": token}
        if user == "Prosody's form":
            return client.post("/register", data=form).status_code
        if user == "HitKey's registration":
            email = "charlie@example.org" if name == "first" else f"{name}@example.org"
            body = {"invite_token": token, "email": email, "password": PASSWORD}
            return client.post("/auth/register/with-invite", json=body).status_code
        if user == "HitKey's accept":
            return client.post(f"/invites/{token}/accept", headers=charlie.bearer).status_code
        browser.sign_in("charlie")
        return browser.post("/accept", token=token).status_code

    return used


@pytest.mark.parametrize("maker", MAKERS)
@pytest.mark.parametrize("user", USERS)
def test_an_invite_made_anywhere_is_good_everywhere_and_spent_everywhere(
    client, house, charlie, make, use_in, maker, user
):
    token = make(maker)
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
