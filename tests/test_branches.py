"""The tree of who invited whom: how it is shown, changed, and how a branch of it is disabled and comes back."""

import json

import pytest
import time_machine

import clock
from conftest import HASH, Browser, seen
from models import Event, Invite, Pass, User
from models import Session as SignIn
from rules import accounts, branches, gate, invites, own_account, passes, projects, sessions
from rules.drafts import Draft
from rules.refusals import Invalid

# alice invited bob and carol, bob invited root, an admin, who invited erin; carol invited dora, who invited frank.
TREE = (("alice", None), ("bob", "alice"), ("carol", "alice"), ("root", "bob"), ("erin", "root"))
TREE += (("dora", "carol"), ("frank", "dora"), ("stranger", None))
BRANCH = ["alice", "bob", "carol", "dora", "frank"]  # without the admin, and who hangs on root


@pytest.fixture
def tree(house):
    """A tree of accounts, each a second older than the next."""
    with time_machine.travel("2026-03-25T21:00:00Z", tick=False) as time:
        for name, inviter in TREE:
            with house.writing():
                by = accounts.named(inviter).id if inviter else None
                made = accounts.create(accounts.Names(name, f"{name}@example.org"), HASH, inviter_id=by)
                accounts.set_admin(made, name == "root")
            time.shift(1)
        yield time


@pytest.fixture
def disable(house, tree):
    """Disable the branch of an account; the names of those that were, and those that were spared."""

    def done(name, act=branches.disable):
        with house.writing():
            found = act(accounts.named(name))
            return [each.called for each in found.people], [each.called for each in found.spared]

    return done


@pytest.fixture
def off(house):
    """The names of the accounts that are disabled."""

    def look():
        with house.reading() as unit:
            found = unit.session.query(User.username).filter(User.disabled_at.is_not(None)).order_by(User.created_at)
            return [each.username for each in found]

    return look


def shown(house, name, most=None):
    with house.reading():
        return branches.of(accounts.named(name), most)


def test_a_branch_is_shown_in_the_order_of_the_tree_with_counts(house, tree):
    found = [(each.called, each.depth, each.invited, each.below) for each in shown(house, "alice").people]
    assert found == [
        ("alice", 0, 2, 6),
        ("bob", 1, 1, 2),
        ("root", 2, 1, 1),
        ("erin", 3, 0, 0),
        ("carol", 1, 1, 2),
        ("dora", 2, 1, 1),
        ("frank", 3, 0, 0),
    ]
    assert shown(house, "alice").is_whole


def test_of_a_great_branch_those_are_shown_that_are_nearest(house, tree):
    found = shown(house, "alice", 3)
    assert [each.called for each in found.people] == ["alice", "bob", "carol"]
    assert not found.is_whole


def test_a_circle_that_something_else_has_written_ends(house, tree):
    with house.writing():
        accounts.named("alice").inviter_id = accounts.named("frank").id
    assert len(shown(house, "alice").people) == len(shown(house, "frank").people) == 7


def test_who_was_deleted_stays_in_the_tree_without_a_name(house, tree):
    with house.writing():
        accounts.remove(accounts.named("carol"))
    found = {each.called: each.state for each in shown(house, "alice").people}
    assert "carol" not in found
    assert found["a deleted account"] == "deleted"
    assert found["frank"] == "active"


def test_moving_takes_the_branch_along_and_is_told(house, tree):
    with house.writing() as unit:
        carol, bob = accounts.named("carol"), accounts.named("bob")
        branches.move(carol, bob)
        branches.move(carol, bob)
        told = unit.session.query(Event).filter_by(type="user.moved").one()
        assert json.loads(told.facts) == {"under": bob.id, "before": accounts.named("alice").id}
    assert [each.called for each in shown(house, "bob").people] == ["bob", "carol", "dora", "frank", "root", "erin"]
    with house.writing():
        branches.move(accounts.named("carol"), None)
    assert [each.called for each in shown(house, "alice").people] == ["alice", "bob", "root", "erin"]


@pytest.mark.parametrize("under", ["alice", "bob", "frank"])
def test_nobody_is_moved_into_their_own_branch(house, tree, under):
    with pytest.raises(Invalid, match="is in the branch of this account"), house.writing():
        branches.move(accounts.named("alice"), accounts.named(under))


def test_a_branch_is_disabled_without_admins_and_what_hangs_on_them(house, disable, off):
    with house.reading():
        planned = branches.to_disable(accounts.named("alice"))
    assert [each.called for each in planned.people] == BRANCH
    assert off() == []
    assert disable("alice") == (BRANCH, ["root", "erin"])
    assert off() == BRANCH


def test_what_a_disabled_branch_had_open_is_ended_and_told(house, tree, disable):
    with house.writing():
        for name in ("frank", "erin"):
            sessions.start(accounts.named(name))
            invites.create(Draft(), accounts.as_inviter(accounts.named(name)))
        projects.create(accounts.named("frank"), projects.ProjectDraft("Garden"))
        gate.set_origins("garden", ["https://garden.example.org"])
        passes.create(projects.member("garden", accounts.named("frank")))
    disable("alice")
    with house.reading() as unit:
        erin = accounts.named("erin").id
        assert {each.user_id for each in unit.session.query(SignIn)} == {erin}
        assert [each.maker_id for each in unit.session.query(Invite).filter(Invite.revoked_at.is_(None))] == [erin]
        assert unit.session.query(Pass).count() == 0
        told = unit.session.query(Event).filter_by(type="user.disabled").all()
        assert len({each.user_id for each in told}) == len(told) == len(BRANCH)
        assert {each.facts for each in told} == {
            json.dumps({"branch": accounts.named("alice").id}, separators=(",", ":"))
        }


def test_those_come_back_that_were_disabled_together_and_nobody_else(house, disable, off):
    with house.writing():
        accounts.disable(accounts.named("carol"))
    assert disable("alice")[0] == ["alice", "bob", "dora", "frank"]
    with house.writing():
        accounts.enable(accounts.named("bob"))
        accounts.disable(accounts.named("bob"))  # for another reason now
        branches.move(accounts.named("frank"), accounts.named("stranger"))  # it was in the branch at that time
    with house.reading():
        assert len(branches.to_enable(accounts.named("alice")).people) == 3
    assert disable("alice", branches.enable)[0] == ["alice", "dora", "frank"]
    assert off() == ["bob", "carol"]
    with pytest.raises(Invalid, match="is not possible"):
        disable("carol", branches.enable)


def test_a_part_of_what_was_disabled_comes_back(disable, off):
    disable("alice")
    assert disable("carol", branches.enable)[0] == ["carol", "dora", "frank"]
    assert off() == ["alice", "bob"]
    disable("alice", branches.enable)
    assert off() == []


def test_who_is_disabled_alone_as_well_stays_so_when_the_branch_comes_back(house, disable, off):
    disable("alice")
    with house.writing():
        accounts.disable(accounts.named("bob"))
    assert disable("alice", branches.enable)[0] == ["alice", "carol", "dora", "frank"]
    assert off() == ["bob"]


@pytest.mark.parametrize("act", [[accounts.enable], [accounts.disable], [accounts.enable, accounts.disable]])
def test_the_others_come_back_also_when_the_root_was_changed_alone(house, disable, off, act):
    disable("alice")
    with house.writing():
        for each in act:
            each(accounts.named("alice"))
    assert disable("alice", branches.enable)[0] == ["bob", "carol", "dora", "frank"]
    assert off() == (["alice"] if accounts.disable in act else [])
    with pytest.raises(Invalid, match="is not possible"):
        disable("alice", branches.enable)


def test_a_branch_in_a_branch_comes_back_by_its_own_act(disable, off):
    disable("carol")
    assert disable("alice")[0] == ["alice", "bob"]
    disable("alice", branches.enable)
    assert off() == ["carol", "dora", "frank"]
    disable("carol", branches.enable)
    assert off() == []


def test_who_came_into_a_disabled_branch_since_is_disabled_by_the_same_act(house, disable, off):
    disable("alice")
    with house.writing():
        branches.move(accounts.named("stranger"), accounts.named("frank"))
    assert disable("alice")[0] == ["stranger"]
    disable("alice", branches.enable)
    assert off() == []


def test_no_branch_is_disabled_with_an_admin(disable, off):
    with pytest.raises(Invalid, match="is an admin"):
        disable("root")
    assert off() == []


def test_who_was_disabled_with_a_branch_is_not_told_with_whose(house, disable):
    disable("alice")
    disable("alice", branches.enable)
    with house.writing():
        branches.move(accounts.named("frank"), accounts.named("bob"))
    with house.reading():
        told = [each for some in own_account.events_of(accounts.named("frank")) for each in some]
    assert [each["type"] for each in told] == ["user.created", "user.disabled", "user.enabled", "user.moved"]
    assert [each["facts"] for each in told] == [{}] * 4


def test_the_command_shows_moves_disables_and_brings_back(house, tree, invite_api):
    house.close()
    lines = invite_api("user", "tree", "alice").stdout.splitlines()
    assert [line.split("\t")[:4] for line in lines][:3] == [
        ["alice", "active", "2", "6"],
        ["  bob", "active", "1", "2"],
        ["    root", "admin", "1", "1"],
    ]
    listed = json.loads(invite_api("user", "tree", "alice", "--json").stdout)
    assert [each["depth"] for each in listed] == [0, 1, 2, 3, 1, 2, 3]
    planned = invite_api("user", "disable", "alice", "--branch", "--dry-run").stdout
    assert "disabled" not in invite_api("user", "list").stdout
    done = invite_api("user", "disable", "alice", "--branch").stdout
    assert done == planned
    assert [line.split("\t")[1:] for line in done.splitlines()] == [["disabled", each] for each in BRANCH] + [
        ["spared", "root"],
        ["spared", "erin"],
    ]
    assert invite_api("user", "disable", "alice", "--branch", "--off").stdout.count("enabled") == 5
    assert invite_api("user", "move", "carol", "--under", "bob").returncode == 0
    refused = invite_api("user", "move", "bob", "--under", "frank")
    assert (refused.returncode, refused.stderr) == (
        1,
        "Error: --under: is in the branch of this account, so it cannot be above it\n",
    )
    assert (
        invite_api("user", "move", "bob").returncode
        == invite_api("user", "move", "bob", "--root", "--under", "x").returncode
        == 2
    )
    assert invite_api("user", "disable", "bob", "--dry-run").returncode == 2
    assert invite_api("user", "budget", "bob", "5/7d").returncode == 0
    assert json.loads(invite_api("user", "show", "bob", "--json").stdout)["invites_left"] == 5
    assert invite_api("user", "budget", "bob", "many").returncode == 1


def test_the_page_of_a_person_shows_the_branch(house, client, tree):
    browser = Browser(client.application.test_client())
    browser.sign_in("root")
    with house.reading():
        ids = {name: accounts.named(name).id for name, _ in TREE}
    page = browser.client.get(f"/admin/people/{ids['carol']}")
    assert "Invited byalice" in seen(page)
    assert "Can invite100 people now" in seen(page)
    assert "2 people in all, invited directly or through others. dora active, invited 1 frank active" in seen(page)
    assert f"/admin/people/{ids['frank']}" in page.text
    assert "Can inviteany number of people" in seen(browser.client.get(f"/admin/people/{ids['root']}"))
    with house.writing():
        accounts.remove(accounts.named("carol"))
    assert "Invited bya deleted account" in seen(browser.client.get(f"/admin/people/{ids['dora']}"))
    page = browser.client.get(f"/admin/people/{ids['alice']}")
    assert "a deleted account invited 1, 2 in all" in seen(page)
    assert ids["carol"] not in page.text
    assert "Invited people" not in seen(browser.client.get(f"/admin/people/{ids['frank']}"))


MANY = 10_000


@pytest.fixture
def chain(house, settings):
    """An account that has invited one, which has invited one, and so on."""
    with house.writing() as unit:
        now, before = clock.now(), None
        rows = []
        for number in range(MANY):
            rows.append(User(id=f"c{number:05}", username=f"c{number}", created_at=now, inviter_id=before))
            before = rows[-1].id
        unit.session.bulk_save_objects(rows)
    return rows


@pytest.mark.long
def test_ten_thousand_in_a_chain_are_shown_disabled_and_brought_back(house, chain, client, root):
    found = shown(house, "c0")
    assert [each.depth for each in found.people] == list(range(MANY))
    assert found.people[0].below == MANY - 1
    with house.writing():
        assert len(branches.disable(accounts.named("c0")).people) == MANY
    with house.writing():
        assert len(branches.enable(accounts.named("c0")).people) == MANY
    browser = Browser(client.application.test_client())
    browser.sign_in("root")
    page = browser.client.get("/admin/people/c00000")
    assert "9999 people in all" in seen(page).replace(",", "")
    assert page.text.count('<li class="in') == 100
    assert len(page.text) < 60_000
