"""An invite for a domain is for addresses in exactly that domain, and for none in one that is nearly it."""

import pytest

import clock
from conftest import HASH, MAILS, PASSWORD, make_settings
from models import Code, Letter, User
from rules import accounts, addresses, drafts, fields, invites, redemption, waiting
from rules.accounts import Names
from rules.refusals import EmailMismatch, Invalid
from settings import in_force

DOMAIN = "@example.org"

# Addresses that people may have, elsewhere.
ELSEWHERE = [
    *(f"anne@{each}.example.org" for each in ("sub", "mail", "www", "a.b", "example", "example.org", "org", "x--y")),
    *(
        f"anne@{each}example.org"
        for each in ("not", "evil-", "x", "my", "an", "the-", "2", "e", "ex", "www-", "example-")
    ),
    *(
        f"anne@example.org{each}"
        for each in (".evil.com", "g", "anic", ".com", "-evil.com", ".example.com", ".org", ".uk")
    ),
    *(
        f"anne@example.{each}"
        for each in ("com", "net", "or", "rg", "ogr", "0rg", "orq", "edu", "co.uk", "info", "dev")
    ),
    *(
        f"anne@{each}.org"
        for each in ("exampl", "xample", "examples", "exmaple", "examp1e", "exarnple", "exam-ple", "ex.ample")
    ),
    *(f"anne@{each}" for each in ("exampleorg.com", "org.example", "orgexample.org", "example-org.com", "evil.com")),
    *(
        f"anne@{each}"
        for each in ("exampIe.org", "EXAMPLE.COM", "Sub.Example.ORG", "example.örg", "exämple.org", "exampłe.org")
    ),
    *("anne+example.org@evil.com", "example.org@evil.com", "anne=example.org@evil.com", "example.org+anne@evil.com"),
    *("anne@xn--exmple-cua.org", "anne@xn--xample-9uf.org", "anne@ехample.org", "anne@exаmple.org", "anne@example.оrg"),
]
# What is no address at all, or is written so that two programs could read it as two.
UNREADABLE = [
    *("@example.org", "example.org", "anne@", "anne", "", " ", "anne@@example.org", "anne@evil.com@example.org"),
    *("anne@_dmarc.example.org", "anne@xn--example.org"),
    *(
        "anne@example.org@evil.com",
        '"anne@evil.com"@example.org',
        '"@example.org"@evil.com',
        "anne@evil.com,@example.org",
    ),
    *("anne@evil.com,anne@example.org", "anne@example.org,anne@evil.com", "anne@evil.com;anne@example.org"),
    *(
        "<anne@example.org>",
        "Anne <anne@example.org>",
        "anne@evil.com>@example.org",
        "anne@evil.com <anne@example.org>",
    ),
    *(
        "anne@evil.com anne@example.org",
        "anne@example.org anne@evil.com",
        "anne@(evil.com)example.org",
        "anne @example.org",
    ),
    *(
        "anne@example.org(evil.com)",
        "anne@example.org#@evil.com",
        "anne@evil.com#@example.org",
        "anne@evil.com\\@example.org",
    ),
    *(
        "anne@evil.com\0@example.org",
        "anne@example.org\0",
        "anne@example.org\0@evil.com",
        "anne@evil.com\n@example.org",
    ),
    *(
        "anne@example.org\nbcc:anne@evil.com",
        "anne@example.org\tevil.com",
        "anne@\texample.org",
    ),
    *("=?utf-8?q?anne=40evil.com=3e?=@example.org", "=?x?q?anne=40evil.com=3e=00?=foo@example.org"),
    *("anne@example.org.", "anne@.example.org", "anne@example..org", "anne@-example.org", "anne@example-.org"),
    *("anne@example.org:25", "anne@example.org/", "anne@example.org?x", "anne@example.org&", "anne@[example.org]"),
    *(
        "anne@[127.0.0.1]",
        "anne@[IPv6:::1]",
        "anne@exa mple.org",
        "anne@example .org",
        "anne@ example.org",
        "anne@example.o rg",
    ),
    *("anne@example\u200b.org", "anne@exam\u00adple.org", "anne@\u2060example.org"),
    *("anne@example\u3002org", "anne@example\uff0eorg", "anne@example\uff61org", "anne@\uff45xample.org"),
    *("anne\uff20example.org", "anne\ufe6bexample.org", "anne@evil.com\uff20example.org", "anne@ⓔxample.org"),
    *(
        "anne@\u202egro.elpmaxe",
        "anne@example%2eorg",
        "anne@example%00.org",
    ),
]
THERE = [
    "anne@example.org",
    "ANNE@EXAMPLE.ORG",
    " anne@Example.Org ",
    "a.nn+e@example.org",
    "anne%evil.com@example.org",
]


def test_there_are_a_hundred_that_are_nearly_it():
    near = {*ELSEWHERE, *UNREADABLE}
    assert len(near) == len([*ELSEWHERE, *UNREADABLE])
    assert len(near) >= 100


@pytest.fixture
def settings(tmp_path):
    with in_force(make_settings(tmp_path / "instance", SMTP_URL=MAILS)) as chosen:
        yield chosen


@pytest.fixture
def token(make_invite):
    return make_invite(email=DOMAIN, uses=9)


def everything(house) -> tuple[int, int, int]:
    with house.reading() as unit:
        return tuple(unit.session.query(each).count() for each in (User, Code, Letter))


@pytest.mark.long
@pytest.mark.parametrize("address", [*ELSEWHERE, *UNREADABLE], ids=ascii)
def test_who_is_nearly_there_gets_no_account_no_use_and_no_code(client, house, token, address):
    form = {"user": "anne", "password": PASSWORD, "token": token, "email": address}
    assert client.post("/register", data=form).status_code == 422
    body = {"invite_token": token, "email": address, "password": PASSWORD}
    assert client.post("/auth/register/with-invite", json=body).status_code in (400, 422)
    assert everything(house) == (0, 0, 0)
    with house.reading():
        assert invites.find(token).uses == 0


@pytest.mark.long
@pytest.mark.parametrize("address", ELSEWHERE, ids=ascii)
def test_an_account_that_is_nearly_there_is_refused_and_proving_that_address_lets_it_in_nowhere(house, token, address):
    stored = fields.email(address)
    with house.writing():
        user = accounts.create(Names("anne", stored), HASH)
        user.email_verified_at = clock.now()
        other = accounts.create(Names("bob", "bob@example.org"), HASH)
        assert redemption.accept(token, other).waiting_for == "proof"
    with pytest.raises(EmailMismatch), house.writing():
        redemption.accept(token, accounts.named("anne"))
    with house.writing():
        user = accounts.named("anne")
        user.email = user.email_verified_at = None
    with house.writing():
        assert addresses.prove(accounts.named("bob"), stored) == []
    with house.reading():
        (use,) = invites.find(token).redemptions
        assert (use.state, len(waiting.of_account(use.user_id))) == ("proof", 1)


@pytest.mark.parametrize("address", THERE, ids=ascii)
def test_who_is_there_waits_for_the_proof_and_then_joins(client, house, token, address):
    form = {"user": "anne", "password": PASSWORD, "token": token, "email": address}
    assert client.post("/register", data=form).status_code == 200
    with house.writing():
        user = accounts.named("anne")
        (use,) = invites.find(token).redemptions
        assert use.state == "proof"
        (joined,) = addresses.prove(user, str(user.email))
        assert joined.id == use.invite_id
    with house.reading():
        assert [each.state for each in invites.find(token).redemptions] == ["done"]


@pytest.mark.parametrize(
    ("written", "stored"),
    [
        ("@example.org", "@example.org"),
        (" @EXAMPLE.org ", "@example.org"),
        ("@bücher.example", "@xn--bcher-kva.example"),
        ("@BÜCHER.example", "@xn--bcher-kva.example"),
        ("@xn--bcher-kva.example", "@xn--bcher-kva.example"),
    ],
)
def test_a_domain_is_kept_as_addresses_have_it(written, stored):
    assert fields.invited_email(written) == stored
    assert fields.is_at(fields.email("anne" + stored), stored)
    assert fields.is_at(fields.email("anne" + written.strip()), stored)


NO_DOMAINS = [
    *("@", "@org", "@example", "@.org", "@example.", "@example.org.", "@*.example.org", "@example.org,@evil.com"),
    *("@@x.org", "@a@example.org", "@exa mple.org", "@example\u3002org", "@[127.0.0.1]", "@\uff45xample.org"),
    *("*@example.org", "@\0x.org", "@example.org\n", "@http://example.org", "@example.org/"),
]


@pytest.mark.parametrize("written", NO_DOMAINS, ids=ascii)
def test_what_is_no_domain_makes_no_invite(house, written):
    with pytest.raises(Invalid) as refused:
        drafts.read({"email": written})
    assert [each.field for each in refused.value.problems] == ["email"]
