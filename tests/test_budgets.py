"""How many people an account can invite: what is spent, what comes back and when, and who has no budget."""

from dataclasses import replace

import pytest
import time_machine
from sqlalchemy import text

import clock
from app import create_app
from conftest import HASH, Person
from models import Invite, User
from rules import accounts, budgets, changing, drafts, holds, invites, keys, presets, projects, redemption, sessions
from rules.budgets import Left
from rules.drafts import Draft
from rules.refusals import BudgetSpent, Invalid, MayNotInvite
from settings import in_force

DAY, SECOND = clock.DAY, clock.SECOND


@pytest.fixture(autouse=True)
def time():
    """Stands still, and moves when told."""
    with time_machine.travel("2026-03-25T21:00:00Z", tick=False) as traveller:
        yield traveller


@pytest.fixture
def budget(house, alice):
    """Give alice a budget."""

    def give(written="3/30d", name="alice"):
        with house.writing():
            budgets.set_budget(accounts.named(name), written)

    give()
    return give


@pytest.fixture
def invite(house):
    """Create an invite as an account; its token."""

    def create(name="alice", **given):
        with house.writing():
            return invites.create_token(Draft(**{"ttl": 7 * DAY, **given}), accounts.as_inviter(accounts.named(name)))

    return create


@pytest.fixture
def left(house):
    """What an account has left."""

    def look(name="alice"):
        with house.reading():
            return budgets.left(accounts.named(name))

    return look


def revoke(house, token):
    with house.writing():
        changing.revoke(invites.find(token))


def test_an_active_invite_spends_all_of_its_places(budget, invite, left):
    invite(uses=2)
    assert left().places == 1
    invite()
    assert left().places == 0
    with pytest.raises(BudgetSpent):
        invite()


def test_one_that_ends_gives_back_what_was_not_used(house, budget, invite, left, use):
    used, shared, unused = invite(), invite(), invite()
    use(used, "bob")
    revoke(house, shared)
    assert left().places == 1
    revoke(house, unused)
    assert left().places == 2
    revoke(house, used)  # what is used up stays so
    assert left().places == 2


def test_one_that_expires_gives_back_at_that_very_moment(budget, invite, left, time):
    made = clock.now()
    for _ in range(3):
        invite(ttl=2 * DAY)
    assert left() == Left(0, made + 2 * DAY)
    time.shift(2 * DAY - SECOND)
    with pytest.raises(BudgetSpent) as refused:
        invite()
    assert refused.value.retry_after == 1
    time.shift(SECOND)
    invite()
    assert left().places == 2


def test_a_use_that_a_program_held_comes_back_when_its_lease_has_ended(house, budget, invite, left, time):
    """Also before anybody has given it back: such a use counts nowhere."""
    token = invite(uses=2, ttl=5 * clock.MINUTE)
    with house.writing():
        holds.take(invites.find(token), "program", holds.Wanted("a guest", lease=10 * clock.MINUTE))
    assert left().places == 1
    time.shift(5 * clock.MINUTE)  # the invite expires, and the use that is held may still be completed
    assert left().places == 2
    time.shift(5 * clock.MINUTE)
    assert left() == Left(3)


def test_what_was_used_grows_back_to_the_second(budget, invite, left, use, time):
    first = clock.now()
    use(invite(), "one")
    time.shift(DAY)
    use(invite(), "two")
    use(invite(), "three")
    assert left() == Left(0, first + 30 * DAY)
    time.shift(29 * DAY - SECOND)
    with pytest.raises(BudgetSpent) as refused:
        invite()
    assert refused.value.retry_after == 1
    time.shift(SECOND)
    invite()
    assert left() == Left(0, first + 31 * DAY)


def test_who_can_wait_is_told_for_how_long_for_as_many_as_were_asked_for(budget, invite, left, time):
    start = clock.now()
    for days in (5, 3, 9):
        invite(ttl=days * DAY)
    for places, days in ((1, 3), (2, 5), (3, 9)):
        with pytest.raises(BudgetSpent) as refused:
            invite(uses=places)
        assert refused.value.retry_after == days * 86400
        assert refused.value.facts["back_at"] == start + days * DAY
    with pytest.raises(Invalid, match="at most 3"):  # that would be never
        invite(uses=4)


def test_an_invite_that_lives_longer_than_the_window_does_not_cap_its_inviter_for_ever(budget, invite, left, time):
    for _ in range(3):
        invite(ttl=365 * DAY)
    time.shift(30 * DAY - SECOND)
    assert left().places == 0
    time.shift(SECOND)
    assert left() == Left(3)


def test_what_has_come_back_is_spent_again_by_who_extends(house, budget, invite, left, time):
    expired = invite(ttl=DAY)
    time.shift(40 * DAY)
    for _ in range(3):
        invite()
    assert left().places == 0

    def again(act):
        with house.writing():
            act(invites.find(expired), by=accounts.named("alice"))

    def extend(found, by):
        changing.extend(found, DAY, by)

    def resend(found, by):
        found.email = "anne@example.org"
        changing.resend(found, by)

    for act in (extend, resend):
        with pytest.raises(BudgetSpent):
            again(act)
    time.shift(7 * DAY)
    again(extend)
    assert left() == Left(2, clock.now() + DAY)
    again(extend)  # what is active is extended for nothing
    assert left().places == 2


def test_an_old_invite_that_was_extended_counts_when_it_is_used(house, budget, invite, left, use, time):
    """It would be a way around the budget to keep expired ones, and to give them time again."""
    expired = invite(ttl=DAY)
    time.shift(40 * DAY)
    with house.writing():
        changing.extend(invites.find(expired), DAY, accounts.named("alice"))
    use(expired)
    assert left() == Left(2, clock.now() + 30 * DAY)


def test_what_a_program_extends_or_enlarges_is_allowed_and_counts(house, budget, invite, left, time):
    token = invite()
    time.shift(8 * DAY)
    with house.writing():
        changing.change(invites.find(token), {"max_uses": 9, "ttl": "2d"}, keys.authenticate(keys.create("x")).inviter)
    assert left().places == 0
    with house.writing():
        invite_id = invites.find(token).id
        changing.change(invites.find_locked(invite_id), {"max_uses": 1}, drafts.SHELL)
    assert left().places == 2


def test_a_person_who_enlarges_an_invite_needs_room_for_it(house, budget, invite):
    token = invite()

    def change(most):
        with house.writing():
            changing.change(invites.find(token), {"max_uses": most}, accounts.as_inviter(accounts.named("alice")))

    change(3)
    with pytest.raises(Invalid, match="at most 3"):
        change(4)
    change(1)
    invite(uses=2)
    with pytest.raises(BudgetSpent):
        change(2)


def test_a_preset_spends_as_many_places_as_it_has(house, client, budget, alice, left):
    with house.writing():
        presets.create("family", {"uses": "2"})
    body = {"name": "Anne", "preset": "family"}
    answers = [client.post("/api/invite", json=body, headers=alice.bearer) for _ in range(2)]
    assert [each.status_code for each in answers] == [201, 429]
    assert answers[0].headers["X-Invites-Left"] == answers[1].headers["X-Invites-Left"] == "1"
    assert answers[1].json["code"] == "BUDGET_SPENT"


def test_a_budget_of_nothing_and_an_account_that_is_too_new_may_not_invite(house, settings, budget, invite, left, time):
    budget("0")
    with pytest.raises(MayNotInvite):
        invite()
    assert left() == Left(0)
    budget("default")
    with in_force(replace(settings, budget_after=2 * DAY)):
        allowed = _created(house) + 2 * DAY
        with pytest.raises(MayNotInvite, match="too new"):
            invite()
        assert left() == Left(0, allowed)
        budget("1/7d")  # whoever gave it knows the account
        assert left() == Left(1)
        budget("default")
        time.shift(2 * DAY)
        invite()


def _created(house):
    with house.reading():
        return accounts.named("alice").created_at


def test_without_a_limit_nothing_is_left_to_be_told(client, budget, alice, left):
    budget("off")
    answer = client.post("/api/invite", json={"name": "Anne"}, headers=alice.bearer)
    assert answer.status_code == 201
    assert "X-Invites-Left" not in answer.headers
    assert left() == Left(None)
    assert client.get("/auth/me", headers=alice.bearer).json["invitesLeft"] is None


@pytest.mark.sqlite
def test_whether_an_account_may_invite_is_known_from_the_row_by_which_it_is_signed_in(house, alice, budget):
    with house.reading() as unit:
        account, asked = sessions.of_access_token(alice.pair.access).account, []
        driver = unit.connection.connection.driver_connection
        driver.set_trace_callback(asked.append)
        assert budgets.may_invite(account)
        driver.set_trace_callback(None)
    assert asked == []


def test_what_is_left_is_in_headers_and_in_ones_own_account(client, budget, alice, time):
    def create():
        return client.post("/api/invite", json={"name": "Anne"}, headers=alice.bearer)

    back = clock.now() + 7 * DAY
    seen = [
        (each.headers["X-Invites-Left"], each.headers.get("Retry-After")) for each in (create(), create(), create())
    ]
    assert seen == [("2", None), ("1", None), ("0", str(7 * 86400))]
    refused = create()
    assert (refused.status_code, refused.json["code"]) == (429, "BUDGET_SPENT")
    assert (refused.headers["X-Invites-Left"], refused.headers["Retry-After"]) == ("0", str(7 * 86400))
    me = client.get("/auth/me", headers=alice.bearer).json
    assert (me["invitesLeft"], me["invitesBackAt"]) == (0, clock.iso(back))


def test_the_same_call_again_spends_nothing(client, budget, alice, left):
    headers = {**alice.bearer, "Idempotency-Key": "once"}
    budget("1/30d")
    answers = [client.post("/api/invite", json={"name": "Anne"}, headers=headers) for _ in range(3)]
    assert [each.status_code for each in answers] == [201] * 3
    assert len({each.json["token"] for each in answers}) == 1


def test_a_call_that_is_refused_spends_nothing(client, budget, alice, left):
    for body in ({"name": "<b>"}, {"name": "Anne", "preset": "nothing"}):
        assert client.post("/api/invite", json=body, headers=alice.bearer).status_code == 400
    assert left() == Left(3)


@pytest.mark.parametrize("leap", [-400 * DAY, -10 * DAY, 10 * DAY, 400 * DAY])
def test_a_leap_of_the_clock_gives_nobody_more_than_the_budget_at_once_and_caps_nobody_for_ever(
    budget, invite, left, time, leap
):
    for _ in range(3):
        invite()
    time.shift(leap)
    there = left().places
    for _ in range(there):
        invite()
    with pytest.raises(BudgetSpent):
        invite()
    time.shift(-leap)
    assert left().places <= 3
    time.shift(60 * DAY)
    assert left().places == 3


def test_who_was_an_admin_has_spent_what_they_created(house, budget, invite, left):
    with house.writing():
        accounts.set_admin(accounts.named("alice"), True)
    for _ in range(9):
        invite()
    assert left() == Left(None)
    with house.writing():
        accounts.set_admin(accounts.named("alice"), False)
    assert left().places == 0


def test_a_disabled_inviter_gets_back_what_was_revoked_with_the_account(house, budget, invite, left, use):
    use(invite(), "bob")
    invite()
    with house.writing():
        accounts.disable(accounts.named("alice"))
        accounts.enable(accounts.named("alice"))
    assert left().places == 2


@pytest.mark.parametrize(
    "written", ["", "5", "5/", "/7d", "x/7d", "-1/7d", "5/7", "5/0d", "10001/7d", "5/7d/1", "5.5/7d"]
)
def test_what_is_no_budget_is_refused_with_what_is(house, alice, written):
    if written == "5/7":  # seconds, which are too few
        written = "5/7s"
    with pytest.raises(Invalid, match="such as 100/30d"), house.writing():
        budgets.set_budget(accounts.named("alice"), written)


def test_a_budget_is_kept_as_it_is_read(house, alice):
    for written, kept in (("5/7d", "5/7d"), (" 5/2 weeks ", "5/2w"), ("0/7d", "0"), ("OFF", "off"), ("Default", None)):
        with house.writing() as unit:
            budgets.set_budget(accounts.named("alice"), written)
            assert unit.session.query(User.budget).filter_by(username="alice").scalar() == kept


# All that creates an invite, by who does it: a key, an admin and the shell always can.
CREATES = {
    "Agentbot, by name": ("/api/invite", {"name": "Anne"}),
    "HitKey, to a project": ("/projects/garden/invites", {"email": "anne@example.org"}),
    "Agentbot, for an address": ("/api/admin/invites", {"email": "anne@example.org"}),
    "Agentbot, a short code": ("/api/invite/generate", {}),
    "v1": ("/v1/invites", {}),
    "v1, a list": ("/v1/invites", {"invites": [{}, {}]}),
    "Prosody": ("/invites_api", None),
}
WHO = ("admin", "key", "user", "user without a place left", "user who may not", "young user")
TABLE = {
    "Agentbot, by name": (201, 401, 201, 429, 403, 403),
    "HitKey, to a project": (201, 401, 201, 429, 403, 403),
    "Agentbot, for an address": (201, 403, 403, 403, 403, 403),
    "Agentbot, a short code": (200, 200, 401, 401, 401, 401),
    "v1": (201, 201, 403, 403, 403, 403),
    "v1, a list": (201, 201, 403, 403, 403, 403),
    "Prosody": (403, 201, 403, 403, 403, 403),
}
CODES = {
    "user without a place left": "BUDGET_SPENT",
    "user who may not": "MAY_NOT_INVITE",
    "young user": "MAY_NOT_INVITE",
}


@pytest.mark.long
@pytest.mark.parametrize("who", WHO)
@pytest.mark.parametrize("call", CREATES)
def test_every_create_of_every_dialect_asks_for_the_budget_of_a_person_and_of_nobody_else(house, settings, call, who):
    person = Person(house, "dora")
    with house.writing():
        dora = accounts.named("dora")
        dora.created_at = clock.now() - DAY
        projects.create(dora, projects.ProjectDraft("Garden"))
        bearer = {"Authorization": f"Bearer {keys.create('x')}"} if who == "key" else person.bearer
        if who == "admin":
            accounts.set_admin(dora, True)
            budgets.set_budget(dora, "0")  # it counts for nobody who is an admin
        elif who == "user without a place left":
            budgets.set_budget(dora, "1/30d")
            invites.create(Draft(), accounts.as_inviter(dora))
        elif who == "user who may not":
            budgets.set_budget(dora, "0")
        elif who == "young user":
            dora.created_at = clock.now()
    path, body = CREATES[call]
    client = create_app(replace(settings, budget_after=DAY)).test_client()
    answer = client.post(path, json=body, headers=bearer)
    assert answer.status_code == TABLE[call][WHO.index(who)], answer.text
    if call in ("Agentbot, by name", "HitKey, to a project") and who in CODES:
        assert answer.json["code"] == CODES[who]


def test_the_shell_has_no_budget(invite_api):
    assert invite_api("invite", "create", "--count", "3", BUDGET="0").returncode == 0


def test_an_inviter_is_set_with_the_account_and_stays(house, invite, budget, use, make_invite, client):
    def inviter(name):
        with house.reading():
            return accounts.named(name).inviter_id

    with house.reading():
        alice = accounts.named("alice").id
    use(invite(), "bob")
    client.post("/register", data={"token": invite(), "user": "carol", "password": "correct horse battery"})
    body = {"invite_token": invite(), "email": "dora@example.org", "password": "correct horse battery"}
    client.post("/auth/register/with-invite", json=body)
    use(make_invite(), "erin")
    with house.writing():
        accounts.create(accounts.Names("frank"), HASH)
    assert [inviter(each) for each in ("bob", "carol", "dora@example.org")] == [alice] * 3
    assert [inviter(each) for each in ("erin", "frank", "alice")] == [None] * 3
    budget("9/30d")
    with house.writing():
        redemption.accept(
            invites.token(invites.create(Draft(), accounts.as_inviter(accounts.named("alice")))), accounts.named("erin")
        )
        accounts.remove(accounts.named("alice"))
    assert (inviter("erin"), inviter("bob")) == (None, alice)


def test_who_has_to_wait_has_an_inviter_at_once(house, invite, budget):
    with house.writing():
        for given, names in (
            ({"approve": True}, accounts.Names("bob")),
            ({"email": "@example.org"}, accounts.Names("carol", "carol@example.org")),
        ):
            draft = Draft(**given)
            token = invites.token(invites.create(draft, accounts.as_inviter(accounts.named("alice"))))
            user, used = accounts.register(token, names, HASH)
            assert used.waiting_for
            assert user.inviter_id == accounts.named("alice").id


def test_every_invite_of_an_account_and_of_none_else_is_spent_since_it_was_created(house, invite, budget, make_invite):
    invite()
    make_invite()
    with house.reading() as unit:
        found = unit.session.query(Invite).order_by(Invite.made_by)
        assert [each.spent_at == each.created_at if each.maker_id else each.spent_at for each in found] == [True, None]


# What may have come about with one account, so many times: uses, days since it was created and until it expires (or
# ended), and whether it was revoked. Some of it only while the account had no budget.
HEAPS = {
    "active": ("0", -1, 7, False),
    "used": ("1", -1, 7, False),
    "expired": ("0", -10, -3, False),
    "revoked": ("0", -1, 7, True),
    "older and active": ("0", -60, 300, False),
    "older and used": ("1", -60, -50, False),
    "all kinds": ("n % 2", -10, 7, False),
}


@pytest.mark.sqlite
@pytest.mark.long
@pytest.mark.parametrize("heap", HEAPS)
def test_with_a_hundred_thousand_invites_it_takes_no_longer(house, alice, heap):
    uses, created, ends, revoked = HEAPS[heap]
    moments = {"created": clock.now() + created * DAY, "ends": clock.now() + ends * DAY}
    written = {name: each.replace(tzinfo=None).isoformat(" ", "microseconds") for name, each in moments.items()}
    with house.writing() as unit:
        unit.connection.execute(
            text(
                "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 100000) "
                "INSERT INTO invites (id, nonce, token_hash, role, plan, max_uses, uses, created_at, spent_at, "
                "expires_at, revoked_at, made_by, maker_id) SELECT 'i' || n, 'x', printf('%064d', n), 'member', "
                f"'solo', 1, {uses}, :created, :created, :ends, {':created' if revoked else 'NULL'}, 'alice', :alice "
                "FROM numbers"
            ),
            {**written, "alice": accounts.named("alice").id},
        )
    with house.reading() as unit:
        account, driver, steps = accounts.named("alice"), unit.connection.connection.driver_connection, []
        driver.set_progress_handler(lambda: steps.append(1) and 0, 100)
        left = budgets.left(account)
        driver.set_progress_handler(None, 0)
    assert left.places == (0 if heap in ("active", "used", "all kinds") else 100)
    assert len(steps) < 100  # ten thousand instructions; one pass over the heap takes some hundred thousand
