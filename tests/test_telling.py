"""Each rule that changes something tells what it does: exactly that, once, in the unit in which it is kept."""

import ast
import json
import re
from collections.abc import Callable, Iterator, Sequence

import pytest
import time_machine
from sqlalchemy import select

import clock
from conftest import HASH, MAILS, make_settings
from database import session
from models import Event, Invite, Member, Redemption, User
from rules import (
    accounts,
    addresses,
    batches,
    branches,
    budgets,
    bulk,
    changing,
    checks,
    deliveries,
    drafts,
    events,
    expiry,
    fast_holds,
    first_admin,
    gate,
    guests,
    holds,
    invites,
    joining,
    keys,
    legacy,
    outbox,
    own_account,
    own_invites,
    passes,
    presets,
    projects,
    redemption,
    registration,
    resets,
    sessions,
    uses,
    waiting,
    webhooks,
)
from rules.accounts import Attempt, Names
from rules.events import Actor
from rules.holds import Wanted
from rules.projects import ProjectDraft
from settings import HOME, in_force

NEW = "new@example.org"
SOMEBODY = Actor("somebody", "an id")
ID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[A-Za-z0-9_-]{8}|HTwALnKL0001")  # a row's, or a key's


@pytest.fixture
def settings(tmp_path):
    """A place where anybody may register."""
    with in_force(make_settings(tmp_path / "instance", REGISTRATION="open", SMTP_URL=MAILS)) as chosen:
        yield chosen


class Place:
    """What there is: anne, an admin, who owns the tea garden; bob, a member; dora, a stranger; and some invites."""

    def __init__(self, house) -> None:
        with time_machine.travel(clock.now() - clock.HOUR, tick=False), house.writing() as unit:
            anne, bob, _ = (accounts.create(Names(name), HASH) for name in ("anne", "bob", "dora"))
            accounts.create(Names(email="unproven@example.org"), HASH)
            accounts.set_admin(anne, True)
            accounts.set_admin(accounts.create(Names("root"), HASH), True)
            garden = projects.create(anne, ProjectDraft("Tea Garden"))
            into = drafts.read({"project": "tea-garden", "uses": 9})
            self.into = invites.token(invites.create(into, accounts.as_inviter(anne)))
            redemption.accept(self.into, bob)
            self.open = invites.token(invites.create(drafts.read({}), accounts.as_inviter(bob)))
            self.short = invites.token(invites.create(drafts.read({"ttl": "1m"}), drafts.SHELL))
            self.admins = invites.token(invites.create(drafts.read({}, makes_admin=True), accounts.as_inviter(anne)))
            self.mailed = invites.token(invites.create(drafts.read({"email": NEW}), drafts.SHELL, mailed=True))
            self.code = legacy.create(drafts.SHELL)
            asking = drafts.read({"approve": True, "uses": 9, "email": "@example.org"})
            self.asking = invites.token(invites.create(asking, drafts.SHELL))
            redemption.accept(self.asking, accounts.named("unproven@example.org"))
            self.yes = invites.token(invites.create(drafts.read({"approve": True}), drafts.SHELL))
            redemption.accept(self.yes, accounts.named("dora"))
            self.waits = waiting.of_invite(invites.find(self.yes))[0].id
            self.shared = invites.token(invites.create(drafts.read({"uses": 2}), drafts.SHELL))
            self.hold = holds.take(invites.find(self.shared), "shop", Wanted("erin")).id  # it has lapsed by now
            longer = Wanted("finn", lease=2 * clock.HOUR)
            holds.take(invites.find(self.shared), "shop", longer)
            self.yes_to_all = invites.token(invites.create(drafts.read({"approve": True, "uses": 9}), drafts.SHELL))
            self.key, _, self.password = keys.create("a key").partition("/")
            gate.set_origins("tea-garden", ["https://garden.example.org"])
            self.passes = [passes.create(projects.member("tea-garden", anne))[0].id for _ in "12"]
            self.webhook = webhooks.create(webhooks.Wanted("https://app.example.org/hook"), 0)[0].id
            self.sent = invites.mail_token(invites.find(self.mailed))
            self.garden = garden.id
            self.member = unit.session.scalars(select(Member.id).where(Member.user_id == bob.id)).one()
            for letter in outbox.newest(10):
                letter.attempts, letter.due_at = 1, None
            code = registration.create_code("register", NEW, None)
            code.used_at, code.client = clock.now(), "here"
            unit.session.flush()
        with house.reading():
            self.ids = {each.username: each.id for each in accounts.newest(10)}


def user(name: str) -> User:
    return accounts.named(name)


def invite(token: str) -> Invite:
    return invites.find(token)


def owner(place: Place) -> Member:
    return projects.of_manager("tea-garden", user("anne"))


def use(of: str) -> Redemption:
    """The first use of the invite with this token that waits, or has lapsed, of which nobody has said so yet."""
    waits = select(Redemption).where(Redemption.invite_id == invite(of).id, uses.WAITS)
    return session().scalars(waits.order_by(Redemption.until)).first()


def ended(place: Place) -> str:
    """The id of a membership whose access has ended."""
    session().get_one(Member, place.member).ends_at = clock.now()
    session().flush()
    return place.member


def confirmed(name: str) -> Attempt:
    return Attempt("", user(name).id, HASH, verified=True)


def completed(place: Place) -> None:
    with time_machine.travel(clock.now() - clock.HOUR, tick=False):
        registration.complete(NEW, HASH, "here", None)


def proven(place: Place) -> None:
    registration.prove(user("bob"), registration.create_code("verify", "unproven@example.org", user("bob")))


def prepared(place: Place) -> None:
    wanted = [drafts.read({}), drafts.read({"email": "erin@example.org"})]
    invites.add([invites.prepare(each, drafts.SHELL, mailed=bool(each.email)) for each in wanted])


Call = Callable[[Place], object]


def branch_disabled(_: Place) -> None:
    """Disable bob, and dora, whom he has invited."""
    user("dora").inviter_id = user("bob").id
    branches.disable(user("bob"))


def bobs(place: Place) -> str:
    """The id of the open invite of bob's, which is for an address now, and was not mailed yet."""
    found = invite(place.open)
    found.email = NEW
    return found.id


def checked(*names: str) -> Sequence[checks.Checked]:
    """A list of guests with these names, looked through."""
    rows = guests.read("\n".join(("name", *names)).encode())
    return checks.check(rows, {}, accounts.as_inviter(user("root")), mailed=False)


def twice(call: Call) -> Call:
    """The same call, and at the same moment once more."""

    def calls(place: Place) -> None:
        with time_machine.travel(clock.now(), tick=False):
            for _ in range(2):
                call(place)

    return calls


# By the name of the rule, or rules: how it is called, and what it tells.
TOLD: dict[str, tuple[Call, list[str]]] = {
    "accounts.create": (lambda _: accounts.create(Names("new")), ["user.created"]),
    "accounts.create, taking an address over": (
        lambda _: accounts.create(Names(email="unproven@example.org"), HASH, proven=True),
        ["user.disabled", "user.created"],
    ),
    "accounts.register": (
        lambda place: accounts.register(place.into, Names("new"), HASH),
        ["user.created", "invite.used", "member.joined"],
    ),
    "accounts.set_admin": (lambda _: accounts.set_admin(user("bob"), True), ["user.admin"]),
    "accounts.set_admin, no longer": (
        lambda _: accounts.set_admin(user("anne"), False),
        ["user.admin", "invite.revoked"],
    ),
    "accounts.set_admin, the same": (lambda _: accounts.set_admin(user("anne"), True), []),
    "accounts.disable": (lambda _: accounts.disable(user("bob")), ["user.disabled", "invite.revoked"]),
    "accounts.disable, again": (
        lambda _: (accounts.disable(user("dora")), accounts.disable(user("dora"))),
        ["invite.released", "user.disabled"],
    ),
    "accounts.enable": (
        lambda _: (accounts.disable(user("dora")), accounts.enable(user("dora"))),
        ["invite.released", "user.disabled", "user.enabled"],
    ),
    "accounts.enable, who is": (lambda _: accounts.enable(user("bob")), []),
    "accounts.remove": (lambda _: accounts.remove(user("bob")), ["member.removed", "user.deleted", "invite.revoked"]),
    "addresses.prove": (lambda _: addresses.prove(user("bob"), "bob@example.org"), []),
    "addresses.prove, taking it over": (
        lambda _: addresses.prove(user("bob"), "unproven@example.org"),
        ["user.disabled"],
    ),
    "addresses.release": (lambda _: addresses.release("unproven@example.org"), ["user.disabled"]),
    "addresses.release, of a disabled account": (
        lambda _: (accounts.disable(user("unproven@example.org")), addresses.release("unproven@example.org")),
        ["invite.released", "user.disabled"],
    ),
    "branches.move": (twice(lambda _: branches.move(user("dora"), user("bob"))), ["user.moved"]),
    "branches.disable": (twice(branch_disabled), ["user.disabled", "user.disabled", "invite.revoked"]),
    "branches.enable": (
        lambda place: (branch_disabled(place), branches.enable(user("bob"))),
        ["user.disabled", "user.disabled", "invite.revoked", "user.enabled", "user.enabled"],
    ),
    "budgets.set_budget": (twice(lambda _: budgets.set_budget(user("bob"), "5/7d")), ["user.budget"]),
    "bulk.revoke": (
        twice(lambda place: bulk.revoke([invite(place.open).id, invite(place.short).id])),
        ["invite.revoked", "invite.revoked"],
    ),
    "bulk.extend": (
        twice(lambda place: bulk.extend([invite(place.open).id, invite(place.short).id], 30 * clock.DAY)),
        ["invite.extended", "invite.extended"],
    ),
    "changing.change": (
        lambda place: changing.change(invite(place.open), {"ttl": "2d", "note": "new"}, drafts.SHELL),
        ["invite.extended", "invite.changed"],
    ),
    "changing.change, to what it is": (
        lambda place: changing.change(invite(place.open), {"name": None, "max_uses": 1}, drafts.SHELL),
        [],
    ),
    "changing.decline": (lambda place: changing.decline(invite(place.open)), ["invite.declined"]),
    "changing.revoke, while uses wait": (
        lambda place: changing.revoke(invite(place.shared)),
        ["invite.released", "invite.released", "invite.revoked"],
    ),
    "changing.change, once a use has lapsed": (
        lambda place: changing.change(invite(place.shared), {"max_uses": 3}, drafts.SHELL),
        ["invite.released", "invite.changed"],
    ),
    "changing.extend": (lambda place: changing.extend(invite(place.open), clock.DAY), ["invite.extended"]),
    "changing.resend": (lambda place: changing.resend(invite(place.mailed)), ["invite.extended", "invite.mailed"]),
    "changing.resend, twice": (
        twice(lambda place: changing.resend(invite(place.mailed))),
        ["invite.extended", "invite.mailed"],
    ),
    "changing.rotate": (lambda place: changing.rotate(invite(place.open)), ["invite.rotated"]),
    "changing.rotate, mailed": (
        lambda place: changing.rotate(invite(place.mailed)),
        ["invite.rotated", "invite.mailed"],
    ),
    "changing.revoke": (lambda place: changing.revoke(invite(place.open)), ["invite.revoked"]),
    "changing.revoke, again": (
        twice(lambda place: changing.revoke(invite(place.open))),
        ["invite.revoked"],
    ),
    "changing.revoke_all_by": (lambda _: changing.revoke_all_by(user("bob")), ["invite.revoked"]),
    "changing.revoke_all_by, again": (
        lambda _: [changing.revoke_all_by(user("bob")) for _ in "12"],
        ["invite.revoked"],
    ),
    "changing.revoke_all": (
        twice(lambda place: changing.revoke_all([invite(place.open).id, invite(place.short).id])),
        ["invite.revoked", "invite.revoked"],
    ),
    "changing.revoke_all_of": (
        twice(lambda place: changing.revoke_all_of([place.ids["bob"]])),
        ["invite.revoked"],
    ),
    "changing.extend_all": (
        lambda place: changing.extend_all([invite(place.open).id, invite(place.short).id], clock.DAY),
        ["invite.extended", "invite.extended"],
    ),
    "changing.revoke_admins_by": (lambda _: changing.revoke_admins_by(user("anne")), ["invite.revoked"]),
    "changing.cap_all_by": (
        lambda _: changing.cap_all_by(user("anne"), projects.find("tea-garden").id, clock.now() + clock.HOUR),
        ["invite.changed"],
    ),
    "changing.revoke_appointing_by": (
        lambda _: changing.revoke_appointing_by(user("anne"), projects.find("tea-garden").id),
        [],
    ),
    "changing.revoke_all_to": (lambda _: changing.revoke_all_to(projects.find("tea-garden")), ["invite.revoked"]),
    "checks.create": (
        twice(lambda _: checks.create(checked("Anne", "Bob"), ["one", "two"])),
        ["invite.created", "invite.created"],
    ),
    "deliveries.test": (lambda place: deliveries.test(webhooks.named(place.webhook)), ["webhook.test"]),
    "expiry.record_expired": (twice(lambda place: expiry.record_expired([invite(place.short).id])), ["invite.expired"]),
    "expiry.give_back": (
        twice(lambda place: expiry.give_back([use(place.shared).id])),
        ["invite.released"],
    ),
    "expiry.end": (lambda place: expiry.end([ended(place)]), ["member.expired"]),
    "first_admin.link": (twice(lambda _: first_admin.link()), ["invite.created"]),
    "gate.set_origins": (
        twice(lambda _: gate.set_origins("tea-garden", ["https://tea.example.org"])),
        ["project.gate"],
    ),
    "gate.set_origins, to none": (lambda _: gate.set_origins("tea-garden", []), ["project.gate"]),
    "gate.set_origins, to what they are": (
        lambda _: gate.set_origins("tea-garden", ["https://garden.example.org"]),
        [],
    ),
    "holds.take": (twice(lambda place: holds.take(invite(place.open), "shop", Wanted("gina"))), ["invite.held"]),
    "holds.take, and complete": (
        lambda place: holds.take(invite(place.open), "shop", Wanted("gina", complete=True)),
        ["invite.used"],
    ),
    "holds.complete": (twice(lambda place: holds.complete(place.hold, "shop")), ["invite.used"]),
    "holds.release": (twice(lambda place: holds.release(place.hold, "shop")), ["invite.released"]),
    "holds.end_all_of": (twice(lambda _: holds.end_all_of("shop")), ["invite.released", "invite.released"]),
    "batches.create": (lambda _: batches.create({"name": "Anne"}, drafts.SHELL, None), ["invite.created"]),
    "invites.create": (lambda _: invites.create(drafts.read({}), drafts.SHELL), ["invite.created"]),
    "invites.create, mailed": (
        lambda _: invites.create(drafts.read({"email": NEW}), drafts.SHELL, mailed=True),
        ["invite.created", "invite.mailed"],
    ),
    "invites.create_token": (lambda _: invites.create_token(drafts.Draft(), drafts.SHELL), ["invite.created"]),
    "invites.add": (prepared, ["invite.created", "invite.created", "invite.mailed"]),
    "invites.mail": (lambda place: invites.mail(invite(place.mailed)), ["invite.mailed"]),
    "keys.create": (lambda _: keys.create("new"), ["key.created"]),
    "keys.add_imported": (
        twice(lambda _: keys.add_imported(keys.ImportedKey("HTwALnKL0001", "x"))),
        ["key.created"],
    ),
    "keys.delete": (lambda place: keys.delete(place.key), ["key.deleted"]),
    "joining.give": (lambda place: joining.give(uses.take(place.open), user("dora"), clock.new_id()), ["invite.used"]),
    "joining.leave_all": (lambda _: joining.leave_all(user("bob")), ["member.removed"]),
    "joining.leave_all, of one whose access has ended": (
        lambda place: (ended(place), joining.leave_all(user("bob"))),
        ["member.expired"],
    ),
    "joining.end": (lambda place: joining.end(ended(place)), ["member.expired"]),
    "legacy.create": (lambda _: legacy.create(drafts.SHELL), ["invite.created"]),
    "legacy.use": (lambda place: legacy.use(place.code), ["invite.used"]),
    "own_account.delete": (
        lambda place: own_account.delete(confirmed("bob"), [place.ids["anne"]]),
        ["member.removed", "user.deleted", "invite.revoked"],
    ),
    "own_account.change_password": (
        lambda _: own_account.change_password(confirmed("anne"), HASH),
        ["pass.deleted", "pass.deleted"],
    ),
    "passes.create": (lambda place: passes.create(owner(place), "calendar"), ["pass.created"]),
    "passes.delete": (lambda place: passes.delete(place.passes[0]), ["pass.deleted"]),
    "passes.delete_own": (
        twice(lambda place: passes.delete_own(place.ids["anne"], place.passes[0])),
        ["pass.deleted"],
    ),
    "passes.delete_own, of another": (lambda place: passes.delete_own(place.ids["bob"], place.passes[0]), []),
    "own_invites.create": (
        twice(lambda _: own_invites.create(user("bob"), drafts.read({}), False, "mine")),
        ["invite.created"],
    ),
    "own_invites.resend": (
        lambda place: own_invites.resend(user("bob"), bobs(place)),
        ["invite.extended", "invite.mailed"],
    ),
    "own_invites.revoke": (
        twice(lambda place: own_invites.revoke(user("bob"), invite(place.open).id)),
        ["invite.revoked"],
    ),
    "passes.end_all_of": (
        twice(lambda place: passes.end_all_of([place.ids["anne"], place.ids["bob"]])),
        ["pass.deleted", "pass.deleted"],
    ),
    "passes.end_all": (twice(lambda place: passes.end_all(place.ids["anne"])), ["pass.deleted", "pass.deleted"]),
    "passes.end_for": (
        twice(lambda place: passes.end_for(place.garden, place.ids["anne"])),
        ["pass.deleted", "pass.deleted"],
    ),
    "presets.create": (lambda _: presets.create("family", {"uses": "5"}), ["preset.created"]),
    "presets.delete_all_for": (
        lambda _: (presets.create("family", {"project": "tea-garden"}), presets.delete_all_for("tea-garden")),
        ["preset.created", "preset.deleted"],
    ),
    "presets.delete": (
        lambda _: (presets.create("family", {"uses": "5"}), presets.delete("family")),
        ["preset.created", "preset.deleted"],
    ),
    "projects.create": (lambda _: projects.create(user("bob"), ProjectDraft("Orchard")), ["project.created"]),
    "projects.create, sent twice": (
        twice(lambda _: projects.create(user("bob"), ProjectDraft("Orchard"), id_="once")),
        ["project.created"],
    ),
    "projects.invite": (
        lambda place: projects.invite(owner(place), drafts.read({"project": "tea-garden", "email": NEW})),
        ["invite.created", "invite.mailed"],
    ),
    "projects.revoke_invite": (
        lambda place: projects.revoke_invite(owner(place), invite(place.into).id),
        ["invite.revoked"],
    ),
    "projects.remove": (lambda place: projects.remove(owner(place), place.member), ["member.removed"]),
    "projects.end_membership": (
        lambda place: projects.end_membership(session().get_one(Member, place.member)),
        ["member.removed"],
    ),
    "projects.extend": (
        lambda place: projects.extend(session().get_one(Member, place.member), clock.DAY),
        ["member.extended"],
    ),
    "projects.hand_over": (lambda _: projects.hand_over("tea-garden", user("bob")), ["project.owner"]),
    "projects.hand_over, to a stranger": (
        lambda _: projects.hand_over("tea-garden", user("dora")),
        ["member.joined", "project.owner"],
    ),
    "projects.hand_over, to its owner": (lambda _: projects.hand_over("tea-garden", user("anne")), []),
    "projects.delete": (
        lambda _: projects.delete("tea-garden"),
        ["invite.revoked", "project.deleted"],
    ),
    "redemption.accept": (lambda place: redemption.accept(place.into, user("dora")), ["invite.used", "member.joined"]),
    "redemption.accept, as an admin": (
        lambda place: redemption.accept(place.admins, user("dora")),
        ["invite.used", "user.admin"],
    ),
    "redemption.accept, twice, of one that needs a yes": (
        twice(lambda place: redemption.accept(place.yes_to_all, user("bob"))),
        ["invite.waiting"],
    ),
    "redemption.wait_for_proof": (
        lambda place: redemption.wait_for_proof(uses.lock(invite(place.open)), user("unproven@example.org")),
        ["invite.waiting"],
    ),
    "redemption.settle": (lambda place: redemption.settle(uses.take(place.open), user("dora")), ["invite.used"]),
    "registration.prove, of what waits": (
        lambda _: registration.prove(
            user("unproven@example.org"),
            registration.create_code("verify", "unproven@example.org", user("unproven@example.org")),
        ),
        ["invite.waiting"],  # for a yes
    ),
    "registration.complete": (completed, ["user.created"]),
    "registration.prove": (proven, ["user.disabled"]),
    "resets.use": (lambda _: resets.use(resets.link(user("bob")).partition("?")[2], HASH), []),
    "resets.use, of who has passes": (
        lambda _: resets.use(resets.link(user("anne")).partition("?")[2], HASH),
        ["pass.deleted", "pass.deleted"],
    ),
    "sessions.end_all": (lambda _: sessions.end_all(user("anne")), ["pass.deleted", "pass.deleted"]),
    "sessions.end_all_of": (
        twice(lambda place: sessions.end_all_of([place.ids["anne"], place.ids["bob"]])),
        ["pass.deleted", "pass.deleted"],
    ),
    "uses.take": (lambda place: uses.take(place.shared), ["invite.released"]),
    "uses.take_one": (lambda place: uses.take_one(Invite.id == invite(place.shared).id), ["invite.released"]),
    "uses.lapse": (twice(lambda place: uses.lapse(uses.lock(invite(place.shared)))), ["invite.released"]),
    "uses.take_locked": (lambda place: uses.take_locked(uses.lock(invite(place.shared))), ["invite.released"]),
    "uses.wait": (
        lambda place: uses.wait(uses.lock(invite(place.open)), "approval", None, user_id=place.ids["bob"]),
        ["invite.waiting"],
    ),
    "uses.redeem": (
        lambda place: uses.redeem(uses.lock(invite(place.shared)), user_id=place.ids["bob"]),
        ["invite.released"],
    ),
    "uses.go_on": (
        lambda place: uses.go_on(uses.lock(invite(place.shared)), use(place.shared), "approval", None),
        ["invite.waiting"],
    ),
    "uses.complete": (lambda place: uses.complete(uses.lock(invite(place.yes)), use(place.yes)), []),
    "uses.give_back": (
        twice(lambda place: uses.give_back(invite(place.yes), session().get_one(Redemption, place.waits), "released")),
        ["invite.released"],
    ),
    "uses.give_back_all": (
        twice(lambda place: uses.give_back_all(Redemption.invite_id == invite(place.shared).id, "lapsed")),
        ["invite.released", "invite.released"],
    ),
    "uses.end_all": (lambda place: uses.end_all(Invite.id == invite(place.yes).id), ["invite.released"]),
    "fast_holds.take": (
        twice(lambda place: fast_holds.take("shop", Wanted("gina", place.open))),
        ["invite.held"],
    ),
    "fast_holds.complete": (
        lambda place: fast_holds.complete(fast_holds.take("shop", Wanted("gina", place.open)).id, "shop"),
        ["invite.held", "invite.used"],
    ),
    "waiting.approve": (lambda place: waiting.approve(place.waits), ["invite.approved", "invite.used"]),
    "waiting.deny": (lambda place: waiting.deny(place.waits), ["invite.denied"]),
    "waiting.proved": (
        twice(lambda _: waiting.proved(user("unproven@example.org"), "unproven@example.org")),
        ["invite.waiting"],
    ),
    "webhooks.create": (lambda _: webhooks.create(webhooks.Wanted("https://app.example.org/"), 0), ["webhook.created"]),
    "webhooks.rotate": (lambda place: webhooks.rotate(webhooks.named_locked(place.webhook)), ["webhook.rotated"]),
    "webhooks.disable": (
        twice(lambda place: webhooks.disable(webhooks.named_locked(place.webhook))),
        ["webhook.disabled"],
    ),
    "webhooks.disable, by itself": (
        lambda place: webhooks.disable(webhooks.named_locked(place.webhook), "failing"),
        ["webhook.disabled"],
    ),
    "webhooks.enable": (
        lambda place: [
            change(webhooks.named_locked(place.webhook))
            for change in (webhooks.disable, webhooks.enable, webhooks.enable)
        ],
        ["webhook.disabled", "webhook.enabled"],
    ),
    "webhooks.delete": (lambda place: webhooks.delete(webhooks.named_locked(place.webhook)), ["webhook.deleted"]),
}


def types(house, after: int) -> list[str]:
    with house.reading() as unit:
        return list(unit.session.scalars(select(Event.type).where(Event.number > after).order_by(Event.number)))


def last(house) -> int:
    with house.reading() as unit:
        return unit.session.scalars(select(Event.number).order_by(Event.number.desc()).limit(1)).one()


@pytest.mark.long
@pytest.mark.parametrize("name", TOLD)
def test_a_rule_tells_what_it_does_and_tells_nothing_if_it_is_not_kept(house, name):
    place, (call, told) = Place(house), TOLD[name]
    before = last(house)
    with pytest.raises(KeyError), house.writing(), events.acting(SOMEBODY):
        call(place)
        raise KeyError
    assert types(house, before) == []
    with house.writing(), events.acting(SOMEBODY):
        call(place)
    assert sorted(types(house, before)) == sorted(told)


def rules() -> Iterator[tuple[str, ast.FunctionDef]]:
    """Each function of rules/, by its module and name."""
    for path in sorted((HOME / "rules").glob("*.py")):
        for each in ast.parse(path.read_text()).body:
            if isinstance(each, ast.FunctionDef):
                yield f"{path.stem}.{each.name}", each


def called_by(name: str, rule: ast.FunctionDef) -> Iterator[str]:
    """The functions that one calls, by their modules and names."""
    for called in (each.func for each in ast.walk(rule) if isinstance(each, ast.Call)):
        if isinstance(called, ast.Name):
            yield f"{name.partition('.')[0]}.{called.id}"
        elif isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name):
            yield f"{called.value.id}.{called.attr}"


@pytest.mark.any_database
def test_every_rule_that_tells_something_is_called_here():
    telling = {
        "events.record",
        "events.record_all",
        "events.record_created",
        "events.record_all_created",
        "events.record_test",
    }
    known = dict(rules())
    while more := {name for name, rule in known.items() if set(called_by(name, rule)) & telling} - telling:
        telling |= more
    public = {each for each in telling if "._" not in each and not each.startswith("events.")}
    assert public == {name.partition(",")[0] for name in TOLD}


def test_nothing_that_is_told_opens_a_door_or_names_anybody(house):
    """In `facts` there are ids, numbers and durations alone; who did something is called by a name, not an address."""
    place = Place(house)
    secret = {place.into, place.open, place.short, place.admins, place.mailed, place.code, place.password, place.sent}
    for call, _ in TOLD.values():
        with pytest.raises(KeyError), house.writing() as unit, events.acting(SOMEBODY):
            call(place)
            for each in unit.session.scalars(select(Event)):
                facts = json.loads(each.facts or "{}")
                facts.pop("preset", None)  # what the operator calls one, on every command line
                assert facts.pop("budget", "5/7d") == "5/7d"
                assert {*facts.pop("fields", ())} <= {*changing.CHANGES}
                assert {facts.pop("for", None)} <= {None, "proof", "approval"}
                assert {facts.pop("why", None)} <= {None, *uses.RELEASED, "gone", "failing"}
                values = [*facts.values()]
                assert not secret & {*values}
                assert all(isinstance(value, (int, type(None))) or ID.fullmatch(value) for value in values)
                assert "@" not in each.actor
            raise KeyError


def test_a_name_among_the_facts_would_have_been_found():
    assert ID.fullmatch("5b0e0c6e-0000-4000-8000-000000000000")
    assert ID.fullmatch("HTwALnKL")
    assert [each for each in ("Tea Garden", "bob", NEW, "0" * 64, "0123456789ab") if ID.fullmatch(each)] == []
