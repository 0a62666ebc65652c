"""What the operator meets of uses that wait: the sentences, the command, the admin's pages, a project's managers."""

from types import SimpleNamespace

import pytest
import time_machine
from click.testing import CliRunner

import clock
from cli import main
from commands.events import spoken
from conftest import HASH, naming, seen
from rules import (
    accounts,
    activity,
    changing,
    drafts,
    events,
    expiry,
    holds,
    invites,
    keys,
    projects,
    redemption,
    timeline,
)
from rules import waiting as waits
from rules.holds import Wanted
from rules.timeline import Filter


@pytest.fixture
def run(tmp_path):
    """Run the command here, in this process; its result."""

    def typed(*arguments, **environ):
        settings = {f"INVITE_API_{name}": value for name, value in environ.items()}
        return CliRunner().invoke(main, arguments, env={**naming(tmp_path / "instance"), **settings})

    return typed


@pytest.fixture
def place(house):
    """Anne's garden, to which two ask to be let in, one has to prove an address, and a program holds a use."""
    with house.writing():
        people = [accounts.create(accounts.Names(name, f"{name}@example.org"), HASH) for name in PEOPLE]
        anne, bob, carol, dora = people
        projects.create(anne, projects.Plan("Tea Garden"))
        kinds = {
            "asking": {"name": "Choir", "project": "tea-garden", "uses": 3, "approve": True, "access": "30d"},
            "domain": {"email": "@example.org", "uses": 5},
            "held": {"name": "Seat", "uses": 2, "data": '{"seat":12}'},
        }
        made = {name: invites.create(drafts.read(given), accounts.as_maker(anne)) for name, given in kinds.items()}
        tokens = {name: invites.token(each) for name, each in made.items()}
        found = SimpleNamespace(tokens=tokens, ids={name: each.id for name, each in made.items()})
        found.people = {each.username: each.id for each in people}
        for each in (bob, carol):
            with events.acting(events.person(each)):
                redemption.accept(tokens["asking"], each)
        with events.acting(events.person(dora)):
            redemption.accept(tokens["domain"], dora)
        key = keys.authenticate(keys.create("shop", may=("redeem",)))
        with events.acting(key.maker.actor):
            found.hold = holds.take(made["held"], key.id, Wanted("customer-7")).id
        found.uses = {each.who: each.id for each in waits.of_invite(made["asking"])}
        return found


PEOPLE = ("anne", "bob", "carol", "dora")


def last_sentences(house, count):
    with house.reading():
        return [spoken(each) for each in activity.told(timeline.oldest(Filter(), 0))][-count:]


# What happened


def test_a_use_that_waits_is_told_in_a_sentence(house, place):
    assert last_sentences(house, 5) == [
        "bob waits for approval to use the invite for Choir",
        "carol waits for approval to use the invite for Choir",
        "dora has to prove an address to use the invite for @example.org",
        last_sentences(house, 2)[0],  # of the key
        "API key shop holds a use of the invite for Seat",
    ]


def test_how_a_use_ends_is_told_in_a_sentence(house, place):
    with house.writing(), events.acting(events.Actor("anne", place.people["anne"])):
        waits.approve(place.uses["bob"])
        waits.deny(place.uses["carol"])
        changing.revoke(invites.find(place.tokens["domain"]))
        holds.release(place.hold, keys.newest()[0].id)
        single = invites.create(drafts.read({"name": "Erin"}), drafts.SHELL)
        changing.decline(single)
    assert last_sentences(house, 9) == [
        "anne approved that bob uses the invite for Choir",
        "bob used the invite for Choir",
        "bob joined the project Tea Garden",
        "anne denied carol the use of the invite for Choir",
        "a use of the invite for @example.org ended, since the invitation was revoked",
        "anne revoked the invite for @example.org",
        "anne gave back a use of the invite for Seat",
        "shell created the invite for Erin",
        "anne declined the invite for Erin",
    ]


def test_a_use_that_lapsed_and_an_access_that_ended_are_told_in_a_sentence(house, place):
    with house.writing():
        waits.approve(place.uses["bob"])
    with time_machine.travel(clock.now() + 29 * clock.DAY, tick=False), house.writing(), events.acting(events.SHELL):
        member = projects.find_member(projects.find("tea-garden"), accounts.named("bob"))
        projects.extend(member, None)
        projects.extend(member, clock.DAY)
    with time_machine.travel(clock.now() + 31 * clock.DAY, tick=False), house.writing():
        expiry.give_back(expiry.lapsed())
        expiry.end(expiry.ended())
    forever, extended, *rest = last_sentences(house, 5)
    assert forever == "shell extended the access of bob to the project Tea Garden: it never ends"
    assert extended.startswith("shell extended the access of bob to the project Tea Garden until ")
    assert sorted(rest) == [
        "a use of the invite for @example.org lapsed: it was not completed in time",
        "a use of the invite for Seat lapsed: it was not completed in time",
        "the access of bob to the project Tea Garden ended",
    ]


def test_the_timeline_of_an_invite_names_who_waits_and_how_it_ended(house, place):
    with house.writing(), events.acting(events.SHELL):
        waits.approve(place.uses["bob"])
        waits.deny(place.uses["carol"])
        holds.release(place.hold, keys.newest()[0].id)
    with house.reading():
        asking, held = (
            [(each.what, each.who, each.whom) for each in timeline.of_invite(invites.find(place.tokens[name]))]
            for name in ("asking", "held")
        )
    assert asking == [
        ("made", "anne", ""),
        ("waiting", "bob", "bob"),
        ("waiting", "carol", "carol"),
        ("approved", "shell", "bob"),
        ("used", "bob", ""),
        ("denied", "shell", "carol"),
    ]
    assert held == [("made", "anne", ""), ("held", "API key shop", "customer-7"), ("released", "shell", "customer-7")]


def test_the_page_of_an_invite_says_who_waits_and_how_it_ended(browser, root, house, place):
    browser.sign_in("root")
    with house.writing(), events.acting(events.SHELL):
        waits.approve(place.uses["bob"])
        waits.deny(place.uses["carol"])
    page = seen(browser.client.get(f"/admin/invites/{place.ids['asking']}"))
    for each in ("bob waits for approval", "bob approved by shell", "used by bob", "carol denied by shell"):
        assert each in page
    assert "dora has to prove an address" in seen(browser.client.get(f"/admin/invites/{place.ids['domain']}"))
    assert "held by API key shop for customer-7 until " in seen(
        browser.client.get(f"/admin/invites/{place.ids['held']}")
    )
