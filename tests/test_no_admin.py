"""A site without an admin: its pages say so, and the invitation that makes one says what it gives."""

import pytest

from conftest import HASH, seen
from rules import accounts, drafts, first_admin, invites

COMMAND = "invite-api invite create --admin"


@pytest.fixture
def admins_token(house):
    """The token of the link that `serve` prints."""
    with house.writing():
        return first_admin.link().partition("?")[2]


def register(house, number):
    with house.writing():
        for each in range(number):
            accounts.create(accounts.Names(f"guest{each}"), HASH)


@pytest.mark.parametrize("path", ["/", "/login", "/code"])
def test_a_site_without_an_admin_says_how_to_get_one(client, house, path):
    register(house, 3)
    assert COMMAND in client.get(path).text
    with house.writing():
        accounts.set_admin(accounts.named("guest1"), True)
    assert COMMAND not in client.get(path).text


def test_an_admin_who_cannot_sign_in_is_none(client, root, house):
    assert COMMAND not in client.get("/").text
    with house.writing():
        accounts.disable(accounts.named("root"))
    assert COMMAND in client.get("/").text


def test_only_on_a_small_site_an_admin_is_looked_for(client, house):
    register(house, first_admin.FEW)
    assert COMMAND in client.get("/").text
    with house.writing():
        accounts.create(accounts.Names("one-more"), HASH)
        assert not first_admin.is_missed()
        assert first_admin.is_wanted()
    assert COMMAND not in client.get("/").text


def test_the_invitation_that_makes_an_admin_says_so(client, admins_token, make_invite):
    fact = "You will be an admin of this site."
    assert fact in seen(client.get(f"/invite?{admins_token}"))
    assert fact not in seen(client.get(f"/invite?{make_invite()}"))


def test_the_first_admin_is_not_offered_to_decline(client, house, admins_token, root):
    with house.writing():
        accounts.set_admin(accounts.named("root"), False)
    assert "Decline" not in client.get(f"/invite?{admins_token}").text
    with house.writing():
        accounts.set_admin(accounts.named("root"), True)
        another = invites.create_token(drafts.read({"ttl": "1h"}, makes_admin=True), drafts.SHELL)
    assert "Decline" in client.get(f"/invite?{another}").text


def test_any_other_invitation_can_be_declined_before_there_is_an_admin(client, make_invite):
    assert "Decline" in client.get(f"/invite?{make_invite()}").text
