"""Passes of programs: who may have one, what ends it, and the command and pages that create, list and delete them."""

import json
import re
from html import unescape

import pytest
import time_machine

import clock
from conftest import HASH, PASSWORD, SOME_ID, Browser, Person, seen
from models import Event, Member, Pass
from rules import (
    accounts,
    addresses,
    drafts,
    expiry,
    gate,
    invites,
    own_account,
    passes,
    passwords,
    projects,
    proxies,
    redemption,
    resets,
    sessions,
    tokens,
)
from rules.refusals import Invalid, NotSignedIn, PassCreated, PassNotFound, ProjectNotGated, TooManyPasses

GARDEN = "https://garden.example.org"


def join(name, slug="tea-garden", **fields):
    """Let an account join a project, in a unit that writes."""
    invite = invites.create(drafts.read({"project": slug, **fields}), drafts.SHELL)
    redemption.accept(invites.token(invite), accounts.named(name))


@pytest.fixture
def bob(house, alice):
    """A member of alice's tea garden, whose app is behind the gate; so is carol."""
    bob, _ = Person(house, "bob"), Person(house, "carol")
    with house.writing():
        for name in ("Tea Garden", "Shed"):
            projects.create(accounts.named("alice"), projects.ProjectDraft(name))
        gate.set_origins("tea-garden", [GARDEN])
        for name in ("bob", "carol"):
            join(name)
    return bob


def created(who="bob", slug="tea-garden", **given):
    """A new pass of a member, in a unit that writes: its row, and the pass itself."""
    return passes.create(projects.member(slug, accounts.named(who)), **given)


@pytest.fixture
def make(house, bob):
    """Create a pass; the pass itself."""

    def made(who="bob", slug="tea-garden", **given):
        with house.writing():
            return created(who, slug, **given)[1]

    return made


@pytest.fixture
def left(house):
    """Whose passes there are."""

    def look():
        with house.reading() as unit:
            return sorted(each.user.username or "" for each in unit.session.query(Pass))

    return look


@pytest.fixture
def told(house):
    """What was told of passes: the type, who did it, to whom."""

    def look():
        with house.reading() as unit:
            found = unit.session.query(Event).filter(Event.type.startswith("pass.")).order_by(Event.number)
            return [(each.type, each.actor) for each in found]

    return look


@pytest.fixture
def asked_by(client):
    """The status with which the gate answers a program that shows a pass to the app of the tea garden."""

    def ask(secret):
        shown = {"X-Forwarded-Host": "garden.example.org", "Authorization": f"Bearer {secret}"}
        return client.get("/gate/tea-garden", headers=shown).status_code

    return ask


# What one is, and who may have one


def test_a_pass_is_shown_once_and_stored_as_a_hash(house, make, at_rest, told):
    secret = make(lifetime=90 * clock.DAY)
    assert re.fullmatch(r"pass_[\w-]{32}", secret)
    with house.reading() as unit:
        (row,) = unit.session.query(Pass)
        assert (row.hash, row.user.username, row.project.slug) == (tokens.digest(secret), "bob", "tea-garden")
        assert row.expires_at - row.created_at == 90 * clock.DAY
        (event,) = unit.session.query(Event).filter_by(type="pass.created")
        assert (event.user_id, event.project_id, json.loads(event.facts)) == (
            row.user_id,
            row.project_id,
            {"pass": row.id},
        )
    house.close()
    assert secret.removeprefix("pass_").encode() not in at_rest()


def test_a_pass_is_for_a_project_with_an_app_behind_the_gate(house, make, left):
    with pytest.raises(ProjectNotGated):
        make("alice", "shed")
    with house.writing():
        gate.set_origins("shed", ["https://shed.example.org"])
    make("alice", "shed")
    assert left() == ["alice"]


@pytest.mark.parametrize("name", ["x" * 101, "a\nb", " "])
def test_what_is_no_name_of_a_pass_is_refused(make, left, name):
    with pytest.raises(Invalid) as refused:
        make(name=name)
    assert [each.field for each in refused.value.problems] == ["name"]
    assert left() == []


def test_an_account_has_at_most_a_hundred_passes(make, left, monkeypatch):
    assert passes.MAX_PASSES == 100
    monkeypatch.setattr(passes, "MAX_PASSES", 2)
    make()
    make()
    make("carol")
    with pytest.raises(TooManyPasses, match="2 passes already"):
        make()
    assert left() == ["bob", "bob", "carol"]


def test_a_form_that_is_sent_twice_creates_one_pass(make, left):
    make(id_=SOME_ID)
    with pytest.raises(PassCreated):
        make(id_=SOME_ID)
    assert left() == ["bob"]


def test_a_pass_is_named_by_its_id_the_beginning_of_it_or_by_itself(house, make):
    secret = make(id_=SOME_ID)
    with house.reading():
        for text in (SOME_ID, SOME_ID[:8], secret, f" {secret} "):
            assert passes.named(text).id == SOME_ID
        for text in ("", "unknown", SOME_ID[:7], secret[:-1], secret.removeprefix("pass_"), tokens.digest(secret)):
            with pytest.raises(PassNotFound):
                passes.named(text)


# What ends it


def member():
    return projects.member("tea-garden", accounts.named("bob"))


def owner():
    return projects.of_manager("tea-garden", accounts.named("alice"))


def expired():
    """The id of bob's membership, whose access has just ended."""
    found = member()
    found.ends_at = clock.now()
    return found.id


def claimed():
    """Take bob's address, which he has not proved, for another account."""
    addresses.release("bob@example.org")


ENDS = {
    "a new password": lambda: own_account.change_password(
        accounts.Attempt(PASSWORD, accounts.named("bob").id, HASH, verified=True), passwords.hash("another password")
    ),
    "a reset": lambda: resets.use(resets.link(accounts.named("bob")).partition("?")[2], HASH),
    "disabling": lambda: accounts.disable(accounts.named("bob")),
    "the account's deletion": lambda: accounts.remove(accounts.named("bob")),
    "an address that another proves": claimed,
    "removal from the project": lambda: projects.remove(owner(), member().id),
    "the end of an access": lambda: expiry.end([expired()]),
    "joining again after an access has ended": lambda: (expired(), join("bob")),
    "the account's deletion after an access has ended": lambda: (expired(), accounts.remove(accounts.named("bob"))),
}


@pytest.mark.long
@pytest.mark.parametrize("how", ENDS)
def test_what_ends_a_pass_ends_it_for_good_and_no_pass_of_others(house, make, left, told, asked_by, how):
    secrets = [make(who) for who in ("bob", "bob", "carol")]
    assert [asked_by(each) for each in secrets] == [200, 200, 200]
    with house.writing():
        ENDS[how]()
    assert [asked_by(each) for each in secrets] == [401, 401, 200]
    assert left() == ["carol"]
    assert [each for each, _ in told()] == ["pass.created"] * 3 + ["pass.deleted"] * 2


def test_the_end_of_a_project_is_that_of_its_passes_alone(house, make, left):
    with house.writing():
        gate.set_origins("shed", ["https://shed.example.org"])
    make("alice", "shed")
    make()
    with house.writing():
        projects.delete("tea-garden")
    assert left() == ["alice"]


def test_removal_from_another_project_ends_no_pass(house, make, left):
    with house.writing():
        join("bob", "shed")
    make()
    with house.writing():
        manager = projects.of_manager("shed", accounts.named("alice"))
        projects.remove(manager, projects.member("shed", accounts.named("bob")).id)
    assert left() == ["bob"]


def test_neither_signing_out_nor_another_owner_nor_a_gate_that_is_off_for_a_while_ends_a_pass(
    house, bob, make, left, asked_by
):
    secret = make()
    with house.writing():
        sessions.end_others(sessions.of_access_token(bob.pair.access))
        sessions.end(sessions.of_access_token(bob.pair.access).session_id)
        projects.hand_over("tea-garden", accounts.named("carol"))
        gate.set_origins("tea-garden", [])
    assert left() == ["bob"]
    with house.writing():
        gate.set_origins("tea-garden", [GARDEN])
    assert asked_by(secret) == 200


def test_from_the_moment_on_at_which_it_ends_a_pass_opens_nothing_with_nothing_to_sweep_it(house, make, left, asked_by):
    secrets = [make(), make("carol", lifetime=clock.HOUR)]
    with house.writing():
        member().ends_at = clock.now() + clock.HOUR
    with time_machine.travel(clock.now() + clock.HOUR - clock.SECOND, tick=False):
        assert [asked_by(each) for each in secrets] == [200, 200]
    with time_machine.travel(clock.now() + clock.HOUR, tick=False):
        assert [asked_by(each) for each in secrets] == [403, 401]
    assert left() == ["bob", "carol"]


def test_a_session_that_has_ended_meanwhile_creates_no_pass(house, bob):
    with house.writing():
        caller = sessions.of_access_token(bob.pair.access)
        sessions.keep(caller)
        sessions.end_all(accounts.named("bob"))
        with pytest.raises(NotSignedIn):
            sessions.keep(caller)


# The command


def test_the_command_prints_the_pass_alone_and_says_the_rest_elsewhere(invite_api, house, bob, left):
    done = invite_api("pass", "create", "bob", "tea-garden", "--ttl", "90d", "--name", "calendar")
    assert re.fullmatch(r"pass_[\w-]{32}\n", done.stdout)
    assert (done.returncode, done.stderr) == (
        0,
        "Note: bob's programs use it as a password, and it is not shown again\n",
    )
    with house.reading() as unit:
        (row,) = unit.session.query(Pass)
        assert (row.hash, row.name) == (tokens.digest(done.stdout.strip()), "calendar")
        assert row.expires_at - row.created_at == 90 * clock.DAY


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("nobody tea-garden", "no such account"),
        ("bob nowhere", "no such project"),
        ("bob shed", "this account is not a member of this project; see invite-api member list"),
        ("alice shed", "this project has no app behind the gate; invite-api project gate"),
        ("bob tea-garden --ttl soon", "--ttl: must be a number and a unit"),
        ("bob tea-garden --ttl 3M", "--ttl: has an M"),
        ("bob tea-garden --ttl 59s", "--ttl: must be between 1m and"),
        ("bob tea-garden --ttl 3651d", "--ttl: must be between 1m and"),
        ("walter tea-garden", "WHO: is disabled: enable the account first"),
    ],
)
def test_what_the_command_refuses_is_named_and_creates_nothing(invite_api, house, bob, left, arguments, said):
    Person(house, "walter")
    with house.writing():
        join("walter")
        accounts.disable(accounts.named("walter"))
    done = invite_api("pass", "create", *arguments.split())
    assert (done.returncode, done.stdout, left()) == (1, "", [])
    assert done.stderr.startswith(f"Error: {said}")


@pytest.mark.long
@pytest.mark.parametrize(("ttl", "seconds"), [("3600", 3600), ("2 weeks", 14 * 86_400), ("never", None)])
def test_a_lifetime_is_seconds_or_a_length_of_time_or_never(invite_api, house, bob, ttl, seconds):
    assert invite_api("pass", "create", "bob", "tea-garden", "--ttl", ttl).returncode == 0
    with house.reading() as unit:
        (row,) = unit.session.query(Pass)
        length = row.expires_at and (row.expires_at - row.created_at).total_seconds()
    assert length == seconds


def test_the_command_lists_and_deletes_passes(invite_api, make, left):
    first, second = make(name="calendar"), make("carol", lifetime=clock.DAY)
    lines = [line.split("\t") for line in invite_api("pass", "list").stdout.splitlines()]
    assert [each[1:4] for each in lines] == [["carol", "tea-garden", "-"], ["bob", "tea-garden", "calendar"]]
    assert [each[5] == "never" for each in lines] == [False, True]
    (row,) = json.loads(invite_api("pass", "list", "bob", "--json").stdout)
    assert (row["id"], row["name"], row["project"], row["user"]["username"], row["expires_at"]) == (
        lines[1][0],
        "calendar",
        "tea-garden",
        "bob",
        None,
    )
    assert not {"hash", "secret"} & set(row)
    assert invite_api("pass", "delete", row["id"][:8]).stdout == ""
    assert left() == ["carol"]
    assert invite_api("pass", "delete", second).returncode == 0
    assert left() == []
    gone = invite_api("pass", "delete", first)
    assert (gone.returncode, gone.stderr) == (
        1,
        "Error: no such pass: name one by its id; see invite-api pass list\n",
    )


# The page of an account


@pytest.fixture
def admin(client, root):
    """The browser of an admin of the site."""
    browser = Browser(client.application.test_client())
    browser.sign_in("root")
    return browser


@pytest.fixture
def mine(client, bob):
    """Bob's browser."""
    browser = Browser(client.application.test_client())
    browser.sign_in("bob")
    return browser


def asked(browser, **given):
    """What is sent by the form of the account page, as it stands there."""
    page = browser.client.get("/account").text
    typed = {"project": "tea-garden", "ttl": "90d", "once": re.search('name="once" value="([^"]+)"', page)[1]}
    return browser.post("/account/passes", **{**typed, **given})


def shown(page):
    """The pass on a page, None if there is none."""
    found = re.search('value="(pass_[^"]+)"', page.text)
    return found and found[1]


def test_a_member_creates_a_pass_and_sees_it_once(mine, house):
    page = asked(mine, name="calendar")
    assert page.status_code == 200
    secret = shown(page)
    assert GARDEN in seen(page)
    assert "user name bob" in seen(page)
    with house.reading() as unit:
        (row,) = unit.session.query(Pass)
        assert (row.hash, row.name, row.user.username) == (tokens.digest(secret), "calendar", "bob")
        assert row.expires_at - row.created_at == 90 * clock.DAY
    again = mine.client.get("/account")
    assert "calendar" in seen(again)
    assert secret not in again.text


def test_a_form_of_the_account_page_that_is_sent_again_creates_nothing_more(mine, left):
    number = clock.new_id()
    first, again = (asked(mine, once=number) for _ in "12")
    assert (first.status_code, again.status_code, left()) == (200, 409, ["bob"])
    assert (shown(first) is None, shown(again)) == (False, None)
    assert "created already" in seen(again)


@pytest.mark.long
@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        ({"project": "shed"}, 403, "Only members of this project"),
        ({"project": "nowhere"}, 404, "no such project"),
        ({"project": ""}, 422, "Is missing."),
        ({"ttl": "soon"}, 422, "Must be a number and a unit"),
        ({"ttl": ""}, 422, "Is missing."),
        ({"name": "x" * 101}, 422, "Is longer than 100 characters"),
        ({"once": "x"}, 422, "Was changed: load the page again"),
    ],
    ids=lambda value: next(iter(value.items())) if isinstance(value, dict) else None,
)
def test_what_is_wrong_in_the_form_is_said_on_the_page_and_creates_nothing(mine, left, given, status, said):
    page = asked(mine, **{"name": "calendar", **given})
    assert (page.status_code, left()) == (status, [])
    assert said.lower() in seen(page).lower()
    assert 'name="project"' in page.text


def test_a_member_of_no_gated_project_sees_no_form_and_creates_no_pass(mine, house, left):
    with house.writing():
        gate.set_origins("tea-garden", [])
    page = mine.client.get("/account")
    assert "Passes for programs" not in seen(page)
    refused = mine.post("/account/passes", project="tea-garden", ttl="90d", once=clock.new_id())
    assert (refused.status_code, left()) == (409, [])
    assert "has no app" in seen(refused)


def test_a_member_deletes_a_pass_of_their_own_and_of_nobody_else(mine, house, left):
    with house.writing():
        own, other = (created(name, id_=clock.new_id())[0].id for name in ("bob", "carol"))
    for each in (other, "unknown", ""):
        assert mine.post("/account/passes/delete", **{"pass": each}).status_code == 303
    assert left() == ["bob", "carol"]
    assert "created on" in mine.client.get("/account").text
    done = mine.post("/account/passes/delete", **{"pass": own})
    assert (done.location, left()) == ("/account?done=pass", ["carol"])
    assert "Pass deleted." in seen(mine.follow(done))


def test_a_name_with_markup_is_text_wherever_it_is_shown(mine, admin):
    name = '"><x-evil onclick=1>{{7*7}}'
    for page in (asked(mine, name=name), mine.client.get("/account"), admin.client.get("/admin/projects/tea-garden")):
        assert "&lt;x-evil" in page.text
        assert "<x-evil" not in page.text
        assert "{{7*7}}" in page.text


def test_whose_access_has_ended_creates_no_pass(mine, house, left):
    with house.writing() as unit:
        unit.session.query(Member).filter_by(user_id=accounts.named("bob").id).update({"ends_at": clock.now()})
    refused = mine.post("/account/passes", project="tea-garden", ttl="90d", once=clock.new_id())
    assert (refused.status_code, left()) == (403, [])


def test_the_account_page_speaks_german_of_passes(mine):
    german = {"Accept-Language": "de"}
    page = seen(mine.client.get("/account", headers=german))
    assert "App-Passwörter" in page
    assert "App-Passwort anlegen" in page


def test_the_own_data_has_the_passes_without_what_opens_them(mine, make):
    secret = make(name="calendar")
    text = mine.client.get("/account/data").text
    (row,) = json.loads(text)["passes"]
    assert (row["name"], row["project"], row["expires_at"]) == ("calendar", "tea-garden", None)
    assert secret not in text
    assert tokens.digest(secret) not in text


# The page of a project


def origins(house, slug="tea-garden"):
    with house.reading():
        return list(gate.origins(projects.find(slug)))


def test_an_admin_sets_and_removes_the_origins_of_a_project(admin, house, bob):
    path = "/admin/projects/tea-garden"
    assert f'value="{GARDEN}"' in admin.client.get(path).text
    both = ["https://photos.example.org", "https://www.example.org:8443"]
    done = admin.post(f"{path}/gate", origin=f" {both[0]}  {both[1]} ")
    assert (done.location, origins(house)) == (f"{path}?done=gate", both)
    page = admin.follow(done)
    assert "Gate changed." in seen(page)
    assert f'value="{" ".join(both)}"' in page.text
    with house.reading():
        for proxy in proxies.FILES:
            assert proxies.configuration(proxy, "tea-garden", both) in unescape(page.text)
    assert admin.post(f"{path}/gate", origin="").status_code == 303
    assert origins(house) == []
    assert "<details>" not in admin.client.get(path).text


@pytest.mark.long
@pytest.mark.parametrize(
    ("origin", "noted"), [("http://photos.lan", True), ("http://127.0.0.1:3000", False), (GARDEN, False)]
)
def test_an_admin_is_told_of_an_app_that_is_not_encrypted(admin, house, bob, origin, noted):
    page = admin.follow(admin.post("/admin/projects/tea-garden/gate", origin=origin))
    assert (f"{origin} is not encrypted" in seen(page)) == noted


@pytest.mark.long
@pytest.mark.parametrize("typed", ["photos", "https://photos.example.org/album", "https://*.example.org"])
def test_what_is_no_origin_is_said_at_the_field_and_changes_nothing(admin, house, bob, typed):
    page = admin.post("/admin/projects/tea-garden/gate", origin=f"{GARDEN} {typed}")
    assert (page.status_code, origins(house)) == (422, [GARDEN])
    assert 'id="origin-problem"' in page.text
    assert f'value="{GARDEN} {typed}"' in page.text


def test_an_admin_sees_and_deletes_the_passes_of_a_project(admin, house, bob, left):
    with house.writing():
        first = created(name="calendar")[0].id
        created("carol")
    page = admin.client.get("/admin/projects/tea-garden")
    assert "calendar" in seen(page)
    path = f"/admin/projects/tea-garden/passes/{first}/delete"
    assert f'action="{path}"' in page.text
    done = admin.post(path)
    assert (done.location, left()) == ("/admin/projects/tea-garden?done=pass", ["carol"])
    assert "Pass deleted." in seen(admin.follow(done))
    assert admin.post(path).status_code == 404
    assert "Passes of programs" not in seen(admin.client.get("/admin/projects/shed"))


def test_only_admins_of_the_site_change_a_gate_or_delete_passes_of_others(client, house, bob, left):
    with house.writing():
        carols = created("carol")[0].id
    for name in ("bob", "alice"):  # alice owns the project
        browser = Browser(client.application.test_client())
        browser.sign_in(name)
        for path in ("gate", f"passes/{carols}/delete"):
            assert browser.post(f"/admin/projects/tea-garden/{path}", origin="").status_code == 403
    assert (left(), origins(house)) == (["carol"], [GARDEN])


# What happened


def test_events_say_who_created_and_deleted_a_pass(admin, mine, house, told):
    asked(mine)
    with house.reading() as unit:
        (first,) = unit.session.query(Pass.id).one()
    admin.post(f"/admin/projects/tea-garden/passes/{first}/delete")
    assert told() == [("pass.created", "bob"), ("pass.deleted", "root")]
    page = seen(admin.client.get("/admin/activity?type=pass"))
    assert "bob created a pass for Tea Garden" in page
    assert "root deleted a pass of bob for Tea Garden" in page
