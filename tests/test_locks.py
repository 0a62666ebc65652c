"""Writing calls on the same rows at the same moment: none waits in a circle, and what one ends stays ended.

On PostgreSQL two units may each hold a row that the other one wants; it finds that out after a second and ends one of
them, which is then tried once more and logged. So rows are locked in one order: the caller, invites, the project.
"""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

import clock
from conftest import HASH, Browser, Person
from database import session
from models import Invite, Member, Pass, Project, User
from rules import (
    accounts,
    changing,
    drafts,
    gate,
    invites,
    own_account,
    passes,
    projects,
    redemption,
    resets,
    sessions,
)
from rules.refusals import Refusal
from settings import in_force

pytestmark = pytest.mark.long

ROUNDS = 6


@pytest.fixture
def at_once(client, caplog):
    """Make calls at the same moment; their statuses. None of them met another one's lock the wrong way round."""

    def make(*calls):
        with ThreadPoolExecutor(len(calls)) as pool:
            done = [each.result() for each in [pool.submit(each) for each in calls]]
        assert [each.getMessage() for each in caplog.records if "once more" in each.getMessage()] == []
        return done

    return make


@pytest.fixture
def ask(client):
    """What makes one call as somebody, in a client of its own."""

    def made(who, path, method="POST", **body):
        fresh = client.application.test_client()
        return lambda: fresh.open(path, method=method, json=body, headers=who.bearer).status_code

    return made


@pytest.fixture
def in_a_unit(house, settings):
    """What does something as the command does, and is refused in silence."""

    def made(do, *given):
        def attempt():
            with in_force(settings), suppress(Refusal), house.writing():
                do(*given)
            return 200

        return attempt

    return made


@pytest.fixture
def before_its_end(house, in_a_unit):
    """Do something in a unit, and begin something else before that ends."""

    def made(first, second):
        with ThreadPoolExecutor(1) as pool:
            with house.writing():
                first()
                other = pool.submit(in_a_unit(second))
                time.sleep(0.5)  # it has begun, and waits
            other.result()

    return made


def create(slug):
    invites.create(drafts.read({"project": slug}), drafts.SHELL)


def hand_over(slug):
    projects.hand_over(slug, accounts.named("charlie"))


def disable(name):
    accounts.disable(accounts.named(name))


def remove(name):
    accounts.remove(accounts.named(name))


def found(name):
    projects.create(accounts.named(name), projects.ProjectDraft("Tea Garden"))


def change_password(name):
    user = accounts.named(name)
    attempt = accounts.Attempt("", user.id, HASH, verified=True)
    own_account.change_password(attempt, HASH)


def create_pass(access):
    """As the form of the account page does, for who is signed in so."""
    caller = sessions.of_access_token(access)
    sessions.keep(caller)
    passes.create(projects.of_member("tea-garden", caller.user))


def mailed(house, **given):
    """The token of a link that was mailed."""
    with house.writing():
        return invites.mail_token(invites.create(drafts.read(given), drafts.SHELL, mailed=True))


def test_a_double_click_on_a_mailed_link_waits_for_no_circle(house, alice, at_once, ask):
    for _ in range(ROUNDS):
        with house.writing():
            user = accounts.named("alice")
            user.email_verified_at = None
        path = f"/invites/{mailed(house, email='alice@example.org')}/accept"
        assert sorted(at_once(*[ask(alice, path)] * 3)) == [200, 400, 400]


def test_one_account_accepts_many_links_at_once(house, alice, make_invite, at_once, ask):
    tokens = [mailed(house, email="alice@example.org") for _ in range(6)] + [make_invite() for _ in range(6)]
    assert at_once(*[ask(alice, f"/invites/{each}/accept") for each in tokens]) == [200] * 12


def test_a_project_that_is_deleted_leaves_no_open_invite_to_it(house, alice, charlie, root, at_once, ask, in_a_unit):
    for number in range(ROUNDS):
        with house.writing():
            slug = projects.create(accounts.named("alice"), projects.ProjectDraft("Tea Garden")).slug
            many = [invites.create(drafts.read({"project": slug}), drafts.SHELL) for _ in range(6)]
            tokens = [invites.token(each) for each in many]
        joining = [Person(house, f"guest{number}-{each}") for each in range(6)]
        done = at_once(
            *[ask(who, f"/invites/{token}/accept") for who, token in zip(joining, tokens, strict=True)],
            in_a_unit(projects.delete, slug),
            in_a_unit(projects.delete, slug),
            in_a_unit(hand_over, slug),
            *[ask(alice, f"/projects/{slug}/invites", email=f"x{number}-{each}@example.org") for each in range(3)],
            *[in_a_unit(create, slug)] * 3,
        )
        assert set(done) <= {200, 201, 400, 403, 404}
        for who in (alice, charlie, *joining):
            assert ask(who, "/projects/", "GET")() == 200
    with house.reading() as unit:
        open_ones = unit.session.query(Invite).filter(Invite.revoked_at.is_(None), Invite.uses < Invite.max_uses)
        assert open_ones.count() == 0
        assert unit.session.query(Project).filter(Project.deleted_at.is_(None)).count() == 0
        assert unit.session.query(Member).count() == 0


def test_invites_that_were_prepared_are_not_added_to_a_project_that_is_gone(house, alice):
    with house.writing():
        slug = projects.create(accounts.named("alice"), projects.ProjectDraft("Tea Garden")).slug
    with house.reading():
        prepared = [invites.prepare(drafts.read({"project": slug}), drafts.SHELL)]
    with house.writing():
        projects.delete(slug)
    with pytest.raises(Refusal, match="was deleted"), house.writing():
        invites.add(prepared)


def test_one_address_has_one_open_invite_to_a_project(house, alice, at_once, ask, stored):
    with house.writing():
        slug = projects.create(accounts.named("alice"), projects.ProjectDraft("Tea Garden")).slug
    for number in range(ROUNDS):
        same = [ask(alice, f"/projects/{slug}/invites", email=f"anne{number}@example.org") for _ in range(4)]
        assert sorted(at_once(*same)) == [201, 400, 400, 400]
    assert len(stored()) == ROUNDS


def test_managers_of_one_project_invite_and_are_removed(house, alice, charlie, at_once, ask, in_a_unit):
    with house.writing():
        slug = projects.create(accounts.named("alice"), projects.ProjectDraft("Tea Garden")).slug
        project = projects.find(slug)
    for number in range(ROUNDS):
        with house.writing() as unit:
            project = projects.find(slug)
            member = projects.find_member(project, accounts.named("charlie"))
            if member is None:
                token = invites.token(invites.create(drafts.read({"project": slug, "role": "admin"}), drafts.SHELL))
        if member is None:
            assert ask(charlie, f"/invites/{token}/accept")() == 200
        with house.reading() as unit:
            gone = unit.session.query(Member.id).filter(Member.role == "admin").scalar()
        done = at_once(
            *[ask(charlie, f"/projects/{slug}/invites", email=f"a{number}{each}@example.org") for each in range(4)],
            *[ask(alice, f"/projects/{slug}/invites", email=f"b{number}{each}@example.org") for each in range(4)],
            ask(alice, f"/projects/{slug}/members/{gone}", "DELETE"),
        )
        assert set(done) <= {200, 201, 403}
        with house.reading() as unit:
            charlies = unit.session.query(Invite).join(User, User.id == Invite.maker_id)
            assert charlies.filter(User.username == "charlie", Invite.revoked_at.is_(None)).count() == 0


def test_who_is_disabled_while_creating_leaves_no_open_invite(house, at_once, ask, in_a_unit):
    for number in range(ROUNDS):
        who = Person(house, f"guest{number}")
        at_once(
            *[ask(who, "/api/invite", name="Anne") for _ in range(8)],
            in_a_unit(disable, who.name),
        )
    with house.reading() as unit:
        assert unit.session.query(Invite).filter(Invite.revoked_at.is_(None)).count() == 0


def test_who_is_deleted_owns_nothing(house, at_once, ask, in_a_unit, charlie):
    for number in range(ROUNDS):
        who = Person(house, f"guest{number}")
        at_once(
            ask(who, "/projects/", name="Tea Garden"),
            in_a_unit(remove, who.name),
        )
    with house.reading() as unit:
        owners = unit.session.query(User).join(Member, Member.user_id == User.id)
        assert owners.filter(User.deleted_at.is_not(None)).count() == 0


def test_who_is_deleted_meanwhile_has_no_access_to_be_extended(house, alice, charlie, ask, before_its_end):
    with house.writing():
        slug = projects.create(accounts.named("alice"), projects.ProjectDraft("Tea Garden")).slug
        token = invites.token(invites.create(drafts.read({"project": slug}), drafts.SHELL))
    assert ask(charlie, f"/invites/{token}/accept")() == 200

    def extend():
        projects.extend(projects.member(slug, accounts.named("charlie")), clock.DAY)

    before_its_end(lambda: (remove("charlie"), session().flush()), extend)


def test_who_is_deleted_is_made_owner_of_nothing(house, at_once, in_a_unit):
    for number in range(ROUNDS):
        who = Person(house, f"guest{number}")
        at_once(*[in_a_unit(found, who.name)] * 3, in_a_unit(remove, who.name))
        with house.reading() as unit:
            owners = unit.session.query(User).join(Member, Member.user_id == User.id)
            assert owners.filter(User.deleted_at.is_not(None)).count() == 0


def test_who_is_made_owner_while_inviting_waits_for_no_circle(house, alice, charlie, at_once, ask, in_a_unit):
    with house.writing():
        slug = projects.create(accounts.named("alice"), projects.ProjectDraft("Tea Garden")).slug
        token = invites.token(invites.create(drafts.read({"project": slug, "role": "admin"}), drafts.SHELL))
    assert ask(charlie, f"/invites/{token}/accept")() == 200
    for number in range(ROUNDS):
        done = at_once(
            *[
                ask(who, f"/projects/{slug}/invites", email=f"{who.name}{number}{each}@example.org")
                for each in range(3)
                for who in (alice, charlie)
            ],
            *[in_a_unit(hand_over, slug)] * 2,
        )
        assert set(done) <= {200, 201}


def test_who_has_just_got_a_project_is_not_deleted(house, alice, before_its_end):
    before_its_end(lambda: found("alice"), lambda: remove("alice"))
    with house.reading():
        assert accounts.named("alice").may_sign_in


def test_of_two_who_use_one_link_for_a_new_password_the_first_sets_it(house, alice, before_its_end):
    with house.reading():
        link = resets.link(accounts.named("alice")).partition("?")[2]
    before_its_end(lambda: resets.use(link, "of the first"), lambda: resets.use(link, "of the second"))
    with house.reading():
        assert accounts.named("alice").password_hash == "of the first"


@pytest.mark.long
@pytest.mark.parametrize("first", [0, 1])
@pytest.mark.parametrize("end", [change_password, disable, "remove a member", remove])
def test_no_pass_is_created_at_the_moment_at_which_all_end(house, alice, charlie, before_its_end, end, first):
    with house.writing():
        found("alice")
        gate.set_origins("tea-garden", ["https://garden.example.org"])
        joining = invites.create(drafts.read({"project": "tea-garden"}), drafts.SHELL)
        redemption.accept(invites.token(joining), accounts.named("charlie"))
        member = projects.member("tea-garden", accounts.named("charlie")).id

    def ended():
        if callable(end):
            end("charlie")
        else:
            projects.remove(projects.of_manager("tea-garden", accounts.named("alice")), member)

    both = [ended, lambda: create_pass(charlie.pair.access)]
    before_its_end(*(both if first == 0 else both[::-1]))
    with house.reading() as unit:
        assert unit.session.query(Pass).count() == 0


def test_a_form_that_waits_for_a_new_password_creates_no_pass(house, client, alice):
    browser = Browser(client.application.test_client())
    browser.sign_in("alice")
    with house.writing():
        found("alice")
        gate.set_origins("tea-garden", ["https://garden.example.org"])
    form = {"project": "tea-garden", "ttl": "90d", "once": "only-once", "csrf": browser.csrf()}
    with ThreadPoolExecutor(1) as pool:
        with house.writing():
            change_password("alice")
            sent = pool.submit(lambda: browser.post("/account/passes", **form))
            time.sleep(0.5)  # it has begun, and waits
        assert sent.result().location == "/login?then=/account"
    with house.reading() as unit:
        assert unit.session.query(Pass).count() == 0


def test_two_managers_at_once_make_one_open_invite_for_an_address(house, alice, charlie, ask, before_its_end, stored):
    def invite(name):
        member = projects.of_manager("tea-garden", accounts.named(name))
        projects.invite(member, drafts.Draft(project="tea-garden", email="anne@example.org"))

    with house.writing():
        found("alice")
        token = invites.token(invites.create(drafts.read({"project": "tea-garden", "role": "admin"}), drafts.SHELL))
    assert ask(charlie, f"/invites/{token}/accept")() == 200
    before_its_end(lambda: invite("alice"), lambda: invite("charlie"))
    assert [each.made_by for each in stored()][1:] == ["alice"]


def test_of_two_admins_who_disable_each_other_one_stays(house, client, at_once):
    def signed_in(name):
        Person(house, name)
        with house.writing():
            accounts.set_admin(accounts.named(name), True)
        browser = Browser(client.application.test_client())
        browser.sign_in(name)
        return browser, browser.csrf()

    def disables(admin, other):
        browser, csrf = admin
        with house.reading():
            path = f"/admin/people/{accounts.named(other).id}/disable"
        return lambda: browser.post(path, csrf=csrf).status_code

    for number in range(ROUNDS):
        one, other = f"one{number}", f"other{number}"
        first, second = signed_in(one), signed_in(other)
        assert at_once(disables(first, other), disables(second, one)) == [303, 303]
        with house.reading():
            assert sorted(accounts.named(each).may_sign_in for each in (one, other)) == [False, True]


@pytest.mark.parametrize("state", [disable, remove])
def test_an_account_that_cannot_sign_in_gets_no_project(house, alice, charlie, state):
    with house.writing():
        slug = projects.create(accounts.named("alice"), projects.ProjectDraft("Tea Garden")).slug
        heir = accounts.named("charlie").id
        state("charlie")
    with pytest.raises(Refusal, match="disabled account"), house.writing() as unit:
        projects.hand_over(slug, unit.session.get_one(User, heir))
    with pytest.raises(Refusal, match="disabled account"), house.writing() as unit:
        projects.create(unit.session.get_one(User, heir), projects.ProjectDraft("X"))


def test_an_invite_keeps_the_uses_that_are_being_taken(before_its_end, house, make_invite):
    token = make_invite(uses=3)

    def take(name):
        accounts.register(token, accounts.Names(name), HASH)

    with house.writing():
        take("anne")
        invite_id = invites.find(token).id
    change = {"max_uses": 1}
    before_its_end(lambda: take("bob"), lambda: changing.change(invites.find_locked(invite_id), change, drafts.SHELL))
    with house.reading():
        found = invites.find(token)
        assert (found.uses, found.max_uses) == (2, 3)
