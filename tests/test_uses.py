"""Uses that wait, at the rules: each is completed or given back once, and from its end on it counts nowhere."""

from datetime import timedelta

import pytest
import time_machine
from sqlalchemy.orm.attributes import set_committed_value

import clock
from conftest import HASH
from database import session
from models import Invite, Member, Redemption
from rules import (
    accounts,
    addresses,
    changing,
    drafts,
    expiry,
    holds,
    invites,
    joining,
    keys,
    projects,
    redemption,
    states,
    uses,
    waiting,
)
from rules.accounts import Names
from rules.drafts import Draft
from rules.holds import LEASE, MAX_LEASE, Wanted
from rules.refusals import AlreadyMember, HoldDone, HoldLost, HoldReleased, Invalid, InviteHeld, InviteUsed, NotWaiting

SHOP, BAKERY = "shop", "bakery"
DOMAIN = "@example.org"


@pytest.fixture(autouse=True)
def time():
    """Stands still, and moves when told."""
    with time_machine.travel("2026-03-25T21:00:00Z", tick=False) as traveller:
        yield traveller


@pytest.fixture
def unit(house):
    """One unit of work for the whole test; at its end no invite is miscounted."""
    with house.writing() as opened:
        yield opened
        opened.flush()
        opened.session.expire_all()
        assert redemption.miscounted() == []


def create(**given) -> Invite:
    invite = invites.create(Draft(**given), drafts.SHELL)
    session().flush()
    return invite


def hold(invite: Invite, subject: str = "anne", key_id: str = SHOP, **wanted) -> holds.Hold:
    return holds.take(invite, key_id, Wanted(subject, **wanted))


def account(name: str, email: str | None = None, proven: bool = False):
    return accounts.create(Names(name, email), HASH, proven)


def counts(invite: Invite) -> tuple[int, int]:
    session().refresh(invite)
    return invite.uses, invite.waiting


def state(invite: Invite) -> str:
    session().refresh(invite)
    return invite.state(clock.now())


def test_a_hold_is_completed_once_and_then_is_not_given_back(unit):
    invite = create()
    taken = hold(invite)
    assert (taken.state, taken.is_new, counts(invite)) == ("held", True, (1, 1))
    for _ in range(2):
        assert holds.complete(taken.id, SHOP).state == "done"
    assert counts(invite) == (1, 0)
    with pytest.raises(HoldDone):
        holds.release(taken.id, SHOP)


def test_a_hold_is_given_back_once_and_then_is_not_completed(unit):
    invite = create(uses=2)
    taken, _ = hold(invite), hold(invite, "bob")
    for _ in range(2):
        holds.release(taken.id, SHOP)
    assert counts(invite) == (1, 1)
    with pytest.raises(HoldReleased):
        holds.complete(taken.id, SHOP)


def test_the_same_guest_of_the_same_program_has_one_hold_for_an_hour_in_all(unit, time):
    invite = create(uses=9)
    first = hold(invite)
    time.shift(9 * clock.MINUTE)
    again = hold(invite)
    assert (again.id, again.is_new, again.until) == (first.id, False, clock.now() + LEASE)
    time.shift(9 * clock.MINUTE)
    assert hold(invite, lease=MAX_LEASE).until == first.until - LEASE + MAX_LEASE
    assert hold(invite, key_id=BAKERY).id != first.id
    assert counts(invite) == (2, 2)


def test_a_lease_that_has_ended_counts_nowhere_and_the_next_one_gets_its_use(unit, time):
    invite = create()
    taken = hold(invite)
    with pytest.raises(InviteHeld):
        hold(invite, "bob")
    time.shift(LEASE - clock.SECOND)
    assert (state(invite), holds.find(taken.id, SHOP).state) == ("used", "held")
    time.shift(clock.SECOND)
    assert (state(invite), holds.find(taken.id, SHOP).state) == ("active", "lapsed")
    assert session().query(Invite).filter(states.is_active(clock.now())).count() == 1
    bob = hold(invite, "bob")
    with pytest.raises(HoldLost):
        holds.complete(taken.id, SHOP)
    holds.release(bob.id, SHOP)
    assert holds.complete(taken.id, SHOP).late
    assert (counts(invite), state(invite)) == ((1, 0), "used")


def test_a_hold_that_is_completed_at_the_end_of_its_lease_is_late(unit, time):
    taken, in_time = hold(create()), hold(create())
    time.shift(LEASE - timedelta(milliseconds=1))
    assert not holds.complete(in_time.id, SHOP).late
    time.shift(timedelta(milliseconds=1))
    assert holds.complete(taken.id, SHOP).late


def test_an_account_takes_the_use_whose_lease_has_ended(unit, time):
    invite = create()
    hold(invite)
    with pytest.raises(InviteUsed):
        redemption.accept(invites.token(invite), account("bob"))
    time.shift(LEASE)
    redemption.accept(invites.token(invite), account("carol"))
    assert counts(invite) == (1, 0)


def test_late_after_the_invite_expired_or_was_revoked_a_hold_is_lost(unit, time):
    expired, revoked = create(ttl=clock.MINUTE), create()
    first, second = hold(expired), hold(revoked)
    changing.revoke(revoked)
    assert counts(revoked) == (0, 0)
    time.shift(LEASE)
    for each in (first, second):
        with pytest.raises(HoldLost):
            holds.complete(each.id, SHOP)
    assert not holds.complete(hold(create()).id, SHOP).late


def test_a_hold_lives_on_when_its_invite_expires(unit, time):
    taken = hold(create(ttl=clock.MINUTE))
    time.shift(2 * clock.MINUTE)
    assert holds.complete(taken.id, SHOP).state == "done"


def test_a_clock_that_leaps_neither_doubles_nor_loses_a_use(unit, time):
    invite = create(uses=2, ttl=None)
    first, second = hold(invite), hold(invite, "bob")
    time.shift(-10 * clock.DAY)
    assert (state(invite), holds.find(first.id, SHOP).state) == ("used", "held")
    assert hold(invite).id == first.id
    time.shift(20 * clock.DAY)
    assert state(invite) == "active"
    assert holds.complete(second.id, SHOP).late
    time.shift(-20 * clock.DAY)
    assert holds.complete(first.id, SHOP).state == "done"
    assert (counts(invite), state(invite)) == ((2, 0), "used")


def test_what_is_completed_at_once_is_one_use(unit):
    invite, asking = create(), create(approve=True)
    assert hold(invite, complete=True).state == hold(invite, complete=True).state == "done"
    assert hold(asking, complete=True).state == "waiting"
    assert (counts(invite), counts(asking)) == ((1, 0), (1, 1))


def test_a_hold_that_lapsed_is_completed_at_once_when_it_is_taken_again(unit, time):
    invite = create()
    taken = hold(invite)
    time.shift(LEASE)
    again = hold(invite, complete=True)
    assert (again.id, again.state, again.late, counts(invite)) == (taken.id, "done", True, (1, 0))


def test_what_else_waits_still_lapses_after_the_holds_of_a_key_have_ended(unit, time):
    invite = create(uses=2, email=DOMAIN)
    key_id = keys.create("a shop").partition("/")[0]
    hold(invite, key_id=key_id, email="zoe@example.org")
    redemption.accept(invites.token(invite), account("anne", "anne@example.org"))
    assert state(invite) == "used"
    keys.delete(key_id)
    assert (counts(invite), state(invite)) == ((1, 1), "active")
    assert invite.lapses_at == clock.now() + clock.DAY
    hold(invite, "bob", email="bob@example.org", complete=True)
    assert state(invite) == "used"
    time.shift(clock.DAY)
    assert state(invite) == "active"


def test_a_hold_of_another_key_outlives_the_deletion_of_a_key(unit):
    invite = create(uses=2)
    key_id = keys.create("a shop").partition("/")[0]
    hold(invite, key_id=key_id)
    other = hold(invite, key_id=BAKERY)
    keys.delete(key_id)
    assert counts(invite) == (1, 1)
    assert holds.complete(other.id, BAKERY).state == "done"


def test_a_hold_that_was_taken_meanwhile_ends_with_a_revoked_invite(unit):
    invite = create()
    taken = hold(invite)
    set_committed_value(invite, "waiting", 0)  # as it was when somebody looked at it
    changing.revoke(invite)
    assert counts(invite) == (0, 0)
    with pytest.raises(HoldLost):
        holds.complete(taken.id, SHOP)


def test_what_is_done_stays_so_when_what_waits_ends(unit, time):
    invite = create(uses=3)
    done, gone = hold(invite), hold(invite, "bob")
    holds.complete(done.id, SHOP)
    time.shift(LEASE)
    hold(invite, "carol")
    assert counts(invite) == (2, 1)
    assert [holds.find(each.id, SHOP).state for each in (done, gone)] == ["done", "lapsed"]
    changing.revoke(invite)
    assert counts(invite) == (1, 0)
    assert holds.complete(done.id, SHOP).state == "done"


def test_a_use_that_does_not_wait_is_not_given_back(unit):
    invite = create(uses=2)
    taken, _ = hold(invite), hold(invite, "bob")
    use = session().get_one(Redemption, taken.id)
    assert [uses.give_back(invite, use, "released") for _ in range(2)] == [True, False]
    assert counts(invite) == (1, 1)


def test_the_proof_of_an_address_elsewhere_lets_nobody_in(unit):
    invite = create(email=DOMAIN)
    anne = account("anne", "anne@example.org")
    redemption.accept(invites.token(invite), anne)
    addresses.prove(anne, "anne@example.com")
    assert redemption.use_of(invite, anne).state == "proof"


def test_who_was_approved_has_joined_and_who_was_denied_has_given_the_use_back(unit):
    projects.create(account("owner"), projects.ProjectDraft("Orchard"))
    invite = create(project="orchard", approve=True, uses=2)
    anne, bob = account("anne"), account("bob")
    for each in (anne, bob, anne):
        assert redemption.accept(invites.token(invite), each).waiting_for == "approval"
    assert counts(invite) == (2, 2)
    assert not projects.find_member(projects.find("orchard"), anne)
    asked = [redemption.use_of(invite, each) for each in (anne, bob)]
    waiting.approve(asked[0].id)
    waiting.deny(asked[1].id)
    assert projects.find_member(projects.find("orchard"), anne)
    assert not projects.find_member(projects.find("orchard"), bob)
    assert counts(invite) == (1, 0)
    for each in asked:
        for answer in (waiting.approve, waiting.deny):
            with pytest.raises(NotWaiting):
                answer(each.id)


def test_neither_a_hold_nor_a_proof_passes_an_approval(unit):
    invite = create(approve=True, uses=9, email=DOMAIN)
    taken = hold(invite, email="zoe@example.org")
    assert holds.complete(taken.id, SHOP).state == "waiting"
    anne = account("anne", "anne@example.org")
    assert redemption.accept(invites.token(invite), anne).waiting_for == "proof"
    addresses.prove(anne, "anne@example.org")
    assert redemption.use_of(invite, anne).state == "approval"
    assert counts(invite) == (2, 2)
    waiting.approve(taken.id)
    assert (counts(invite), holds.find(taken.id, SHOP).state) == ((2, 1), "done")


def test_a_late_proof_gets_a_use_that_is_left_and_none_otherwise(unit, time):
    invite = create(email=DOMAIN, ttl=None)
    anne, bob = (account(name, f"{name}@example.org") for name in ("anne", "bob"))
    redemption.accept(invites.token(invite), anne)
    time.shift(clock.DAY)
    redemption.accept(invites.token(invite), bob)
    addresses.prove(anne, "anne@example.org")
    assert redemption.use_of(invite, anne) is None
    time.shift(clock.DAY)
    addresses.prove(anne, "anne@example.org")
    assert redemption.has_used(invite, anne)
    addresses.prove(bob, "bob@example.org")
    assert redemption.use_of(invite, bob) is None
    assert counts(invite) == (1, 0)


def test_who_has_used_an_invite_since_a_proof_lapsed_proves_again_and_has_used_it_once(unit, time):
    invite = create(email=DOMAIN, ttl=None, uses=9)
    anne = account("anne", "anne@example.org")
    redemption.accept(invites.token(invite), anne)
    time.shift(clock.DAY)
    expiry.give_back(expiry.lapsed())
    anne.email_verified_at = clock.now()
    redemption.accept(invites.token(invite), anne)
    addresses.prove(anne, "anne@example.org")
    assert counts(invite) == (1, 0)
    with pytest.raises(AlreadyMember):
        redemption.accept(invites.token(invite), anne)


def test_three_proofs_of_one_invite_wait_at_once(unit, time):
    invite = create(email=DOMAIN, ttl=None, uses=9)
    people = [account(f"guest{number}", f"guest{number}@example.org") for number in range(4)]
    for each in people[:3]:
        redemption.accept(invites.token(invite), each)
    with pytest.raises(InviteHeld):
        redemption.accept(invites.token(invite), people[3])
    time.shift(clock.DAY)
    assert redemption.accept(invites.token(invite), people[3]).waiting_for == "proof"
    assert counts(invite) == (1, 1)


def test_an_account_that_is_deleted_gives_back_what_it_waits_for_and_no_more(unit):
    invite, used = create(approve=True, uses=2), create()
    anne, bob = account("anne"), account("bob")
    for each in (anne, bob):
        redemption.accept(invites.token(invite), each)
    redemption.accept(invites.token(used), anne)
    accounts.remove(anne)
    assert (counts(invite), counts(used)) == ((1, 1), (1, 0))


def test_an_access_ends_by_itself_and_one_may_come_again(unit, time):
    owner = account("owner")
    garden = projects.create(owner, projects.ProjectDraft("Orchard"))
    anne = account("anne")
    redemption.accept(invites.token(create(project="orchard", access=30 * clock.DAY)), anne)
    time.shift(30 * clock.DAY - clock.SECOND)
    assert projects.find_member(garden, anne)
    with pytest.raises(AlreadyMember):
        joining.refuse_member(garden.id, anne)
    time.shift(clock.SECOND)
    assert not projects.find_member(garden, anne)
    redemption.accept(invites.token(create(project="orchard")), anne)
    assert projects.find_member(garden, anne).ends_at is None


def test_an_ended_access_takes_along_what_it_opened_but_not_if_it_was_extended(unit, time):
    garden = projects.create(account("owner"), projects.ProjectDraft("Orchard"))
    people = [account("anne"), account("bob")]
    made = []
    for each in people:
        redemption.accept(invites.token(create(project="orchard", access=clock.DAY, role="admin")), each)
        inviter = drafts.Inviter(each.called, user=each, until=None)
        made.append(invites.create(Draft(project="orchard", ttl=9 * clock.DAY), inviter))
    time.shift(clock.DAY)
    ids = [each.id for each in unit.session.query(Member).filter(Member.role != "owner").order_by(Member.user_id)]
    saved = unit.session.query(Member).filter_by(user_id=people[1].id).one()
    projects.extend(saved, clock.DAY)
    assert expiry.ended() == [each for each in ids if each != saved.id]
    expiry.end(ids)
    assert [state(each) for each in made] == ["revoked", "active"]
    assert made[1].expires_at == clock.now() + clock.DAY
    assert projects.find_member(garden, people[1])
    assert not projects.find_member(garden, people[0])


def test_five_hundred_holds_and_one_of_one_key_are_given_back_together(unit):
    made = [create() for _ in range(501)]
    for each in made:
        hold(each)
    uses.give_back_all(Redemption.key_id == SHOP, "released")
    assert {counts(each) for each in made} == {(0, 0)}


def test_an_invite_is_given_more_time_and_as_many_uses_as_it_had(unit):
    invite = create(uses=2)
    hold(invite, complete=True)
    changing.change(invite, {"max_uses": 1, "ttl": "1d"}, drafts.SHELL)
    unit.flush()
    assert (state(invite), invite.expires_at) == ("used", clock.now() + clock.DAY)


def test_an_invite_cannot_have_fewer_uses_than_are_taken_and_have_not_lapsed(unit, time):
    invite = create(uses=4)
    hold(invite)
    for subject in ("bob", "carol"):
        hold(invite, subject, complete=True)
    time.shift(LEASE)
    with pytest.raises(Invalid) as refused:
        changing.change(invite, {"max_uses": 1}, drafts.SHELL)
    (problem,) = refused.value.problems
    assert problem.facts["uses"] == 2
    changing.change(invite, {"max_uses": 2}, drafts.SHELL)
    unit.flush()
    assert state(invite) == "used"
