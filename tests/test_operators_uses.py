"""What the operator meets of uses that wait: the sentences, the command, the admin's pages, a project's managers."""

import csv
import json
import re
from datetime import datetime
from types import SimpleNamespace

import pytest
import time_machine
from click.shell_completion import ShellComplete
from click.testing import CliRunner

import clock
from app import create_app
from cli import main
from commands.events import spoken
from commands.waiting import in_brief
from conftest import HASH, MAILS, Browser, make_settings, naming, seen
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
    sessions,
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
        return CliRunner().invoke(main, arguments, env={**typed.environ, **settings})

    typed.environ = naming(tmp_path / "instance")
    return typed


@pytest.fixture
def place(house):
    """Anne's garden, to which two ask to be let in, one has to confirm an address, and a program holds a use."""
    with time_machine.travel(clock.now() - clock.MINUTE, tick=False) as now, house.writing():
        people = [accounts.create(accounts.Names(name, f"{name}@example.org"), HASH) for name in PEOPLE]
        anne, bob, carol, dora = people
        projects.create(anne, projects.ProjectDraft("Tea Garden"))
        kinds = {
            "asking": {"name": "Choir", "project": "tea-garden", "uses": 3, "approve": True, "access": "30d"},
            "domain": {"email": "@example.org", "uses": 5},
            "held": {"name": "Seat", "uses": 2, "data": '{"seat":12}'},
        }
        made = {name: invites.create(drafts.read(given), accounts.as_inviter(anne)) for name, given in kinds.items()}
        tokens = {name: invites.token(each) for name, each in made.items()}
        found = SimpleNamespace(tokens=tokens, ids={name: each.id for name, each in made.items()})
        found.people = {each.username: each.id for each in people}
        for each in (bob, carol):
            with events.acting(events.person(each)):
                redemption.accept(tokens["asking"], each)
            now.shift(1)
        with events.acting(events.person(dora)):
            redemption.accept(tokens["domain"], dora)
        key = keys.authenticate(keys.create("shop", may=("redeem",)))
        with events.acting(key.inviter.actor):
            found.hold = holds.take(made["held"], key.id, Wanted("customer-7")).id
        found.uses = {each.who: each.id for each in waits.of_invite(made["asking"])}
        return found


@pytest.fixture
def admin(browser, root):
    """A browser in which an admin of the site is signed in."""
    assert browser.sign_in("root").status_code == 303
    return browser


PEOPLE = ("anne", "bob", "carol", "dora")


def last_sentences(house, count):
    with house.reading():
        return [spoken(each) for each in activity.describe(timeline.oldest(Filter(), 0))][-count:]


# What happened


def test_a_use_that_waits_is_told_in_a_sentence(house, place):
    assert last_sentences(house, 5) == [
        "bob waits for approval to use the invite for Choir",
        "carol waits for approval to use the invite for Choir",
        "dora has to confirm an address to use the invite for @example.org",
        last_sentences(house, 2)[0],  # of the key
        "API key shop holds a use of the invite for Seat",
    ]


def test_how_a_use_ends_is_told_in_a_sentence(house, place):
    with house.writing() as unit, events.acting(events.Actor("anne", place.people["anne"])):
        waits.approve(place.uses["bob"])
        waits.deny(place.uses["carol"])
        changing.revoke(invites.find(place.tokens["domain"]))
        holds.release(place.hold, keys.newest()[0].id)
        single = invites.create(drafts.read({"name": "Erin"}), drafts.SHELL)
        unit.session.flush()
        changing.decline(single)
    assert last_sentences(house, 9) == [
        "anne approved the use of the invite for Choir by bob",
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
    assert "dora has to confirm an address" in seen(browser.client.get(f"/admin/invites/{place.ids['domain']}"))
    assert "held by API key shop for customer-7 until " in seen(
        browser.client.get(f"/admin/invites/{place.ids['held']}")
    )


# Where a project lets its guests in


def test_the_guests_of_a_project_with_a_join_url_go_there_with_their_token(run, client, place):
    url = "https://app.example.org/join?from=us&i={token}#top"
    assert run("project", "join-url", "tea-garden", url).exit_code == 0
    asking, other = place.tokens["asking"], place.tokens["held"]
    answer = client.get(f"/invite?{asking}")
    assert (answer.status_code, answer.location) == (303, url.replace("{token}", asking))
    assert answer.headers["Cache-Control"] == "no-store"
    assert client.get(f"/invite?token={asking}&name=Choir").location == url.replace("{token}", asking)
    assert client.get(f"/invite?{other}").status_code == 200
    assert json.loads(run("project", "list", "--json").stdout)[0]["join_url"] == url
    assert run("invite", "show", place.ids["asking"], "--json").stdout.count(f"/invite?{asking}") == 1
    assert run("project", "join-url", "tea-garden", "--off").exit_code == 0
    assert client.get(f"/invite?{asking}").status_code == 200


def test_only_an_active_invite_that_makes_no_admin_leads_to_the_join_url(run, client, house, place):
    run("project", "join-url", "tea-garden", "https://app.example.org/{token}")
    with house.writing():
        made = [{"ttl": "1m"}, {}, {}, {}]
        expired, revoked, used, fresh = (
            invites.token(invites.create(drafts.read({"project": "tea-garden", **each}), drafts.SHELL)) for each in made
        )
        admins = drafts.read({"project": "tea-garden"}, makes_admin=True)
        admins = invites.token(invites.create(admins, drafts.SHELL))
        changing.revoke(invites.find(revoked))
        redemption.accept(used, accounts.named("bob"))
    with time_machine.travel(clock.now() + 2 * clock.MINUTE, tick=False):
        assert [client.get(f"/invite?{each}").status_code for each in (expired, revoked, used)] == [404, 404, 410]
        assert client.get(f"/invite?{'0' * 64}").status_code == 404
        assert client.get(f"/invite?{admins}").status_code == 200
        assert client.get(f"/invite?{fresh}").status_code == 303


def test_from_a_form_of_ours_a_page_leads_on_since_browsers_follow_no_form_to_another_site(run, client, place):
    run("project", "join-url", "tea-garden", "https://app.example.org/{token}")
    answer = client.get(f"/invite?{place.tokens['asking']}", headers={"Sec-Fetch-Site": "same-origin"})
    assert answer.status_code == 200
    assert f'href="https://app.example.org/{place.tokens["asking"]}"' in answer.text
    assert "Continue to app.example.org" in seen(answer)


@pytest.mark.parametrize(
    "url",
    [
        "https://app.example.org/join",
        "https://app.example.org/{token}/{token}",
        "https://{token}.example.org/",
        "https://me:secret@app.example.org/{token}",
        "http://app.example.org/{token}",
        "ftp://app.example.org/{token}",
        "javascript:{token}",
        "//app.example.org/{token}",
        "/join/{token}",
        "https://app.example.org/{token}{x}",
        "https://app.example.org/\\{token}",
        "https://app.example.org/ {token}",
        "https://app.example.org/é{token}",
        "https://app.example.org/{token}" + "x" * 2000,
    ],
)
def test_what_is_no_join_url_is_refused_and_changes_nothing(run, client, place, url):
    done = run("project", "join-url", "tea-garden", url)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: URL: must ")
    assert client.get(f"/invite?{place.tokens['asking']}").status_code == 200


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1", "http://[::1]:8000"])
def test_a_join_url_may_be_plain_http_on_this_machine(run, client, place, origin):
    assert run("project", "join-url", "tea-garden", origin + "/{token}").exit_code == 0
    assert client.get(f"/invite?{place.tokens['asking']}").location.startswith(origin)


def test_the_page_of_a_project_says_where_its_guests_join(run, admin, place):
    assert "Guests join at" not in seen(admin.client.get("/admin/projects/tea-garden"))
    run("project", "join-url", "tea-garden", "https://app.example.org/{token}")
    assert "Guests join at https://app.example.org/{token}" in seen(admin.client.get("/admin/projects/tea-garden"))


def test_a_join_url_is_either_given_or_taken_away(run, place):
    for options in ((), ("https://app.example.org/{token}", "--off")):
        done = run("project", "join-url", "tea-garden", *options)
        assert (done.exit_code, "Give a URL or --off" in done.stderr) == (2, True)


# The command


def shown(run, which, *options):
    return json.loads(run("invite", "show", which, "--json", *options).stdout)


def test_create_takes_access_data_approval_and_a_domain(run, place):
    options = ("--access", "30d", "--data", '{"seat": 12}', "--approve", "--email", "@Example.org", "--uses", "3")
    done = run("invite", "create", "--project", "tea-garden", *options)
    assert done.exit_code == 0
    facts = shown(run, done.stdout.strip())
    assert (facts["access"], facts["data"], facts["approve"]) == ("30d", {"seat": 12}, True)
    assert (facts["email"], facts["holds"], facts["waiting"], facts["used_by"]) == ("@example.org", [], [], [])
    lines = run("invite", "show", done.stdout.strip()).stdout
    for line in ("access\t30d\n", 'data\t{"seat":12}\n', "approve\tTrue\n"):
        assert line in lines


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--access", "30d"), "--access: needs a project"),
        (("--access", "soon", "--project", "tea-garden"), "--access: must be a number and a unit, such as 30d"),
        (("--data", "[1]"), "--data: must be a JSON object"),
        (("--data", "{"), "--data: must be a JSON object"),
        (("--data", '{"x": "' + "x" * 2048 + '"}'), "--data: is longer than 2048 bytes"),
        (("--email", "@example"), "--email: is not a valid domain (example: @example.org)"),
        (("--email", "@exa mple.org"), "--email: is not a valid domain (example: @example.org)"),
        (("--admin", "--approve"), "--approve: is not possible for an invite that makes an admin"),
        (("--admin", "--email", "@example.org"), "--email: must be one address"),
        (("--email", "@example.org", "--mail"), "--email: is a whole domain: to send mail, name one address"),
    ],
)
def test_what_an_invite_may_not_be_is_refused_by_its_option_and_creates_nothing(run, place, stored, options, said):
    done = run("invite", "create", *options)
    assert done.exit_code == 1
    assert f"Error: {said}" in done.stderr
    assert len(stored()) == 3


def test_who_creates_an_invite_for_a_domain_is_told_if_nobody_can_prove_an_address(run, place, tmp_path):
    note = "Note: nobody can confirm an address at @example.org: INVITE_API_SMTP_URL is not set, so no code is mailed\n"
    (tmp_path / "guests.csv").write_text("email\n@example.org\nzoe@example.org\n@example.org\n")
    for command in (
        ("invite", "create", "--email", "@example.org"),
        ("invite", "create", "--email", "@example.org", "--count", "3"),
        ("invite", "create", "--from", str(tmp_path / "guests.csv")),
        ("preset", "create", "staff", "--email", "@example.org"),
        ("invite", "create", "--preset", "staff"),
    ):
        assert run(*command).stderr.count(note) == 1
    assert "prove" not in run("invite", "create", "--email", "anne@example.org").stderr
    assert "prove" not in run("invite", "create", "--email", "@example.org", SMTP_URL="smtp://127.0.0.1:9").stderr


def test_show_says_who_holds_what_until_when_and_who_waits_for_what(run, house, place):
    held, asking, domain = (shown(run, place.ids[name]) for name in ("held", "asking", "domain"))
    (hold,) = held["holds"]
    assert (hold["redemption"], hold["who"], held["waiting"], held["data"]) == (
        place.hold,
        "customer-7",
        [],
        {"seat": 12},
    )
    assert _length(hold) == clock.SECOND * 600
    assert [(each["who"], each["for"], each["until"]) for each in asking["waiting"]] == [
        ("bob", "approval", None),
        ("carol", "approval", None),
    ]
    assert [(each["who"], each["for"], _length(each)) for each in domain["waiting"]] == [("dora", "proof", clock.DAY)]
    assert (asking["uses"], asking["used_by"], asking["holds"]) == (2, [], [])
    assert f"holds\t{place.hold} customer-7 {hold['key_id']}" in run("invite", "show", place.ids["held"]).stdout
    with time_machine.travel(clock.now() + clock.HOUR, tick=False):
        lapsed = shown(run, place.ids["held"])
    assert (lapsed["uses"], lapsed["holds"]) == (0, [])


def _length(use):
    return datetime.fromisoformat(use["until"]) - datetime.fromisoformat(use["since"])


def test_approve_lets_in_who_is_named_and_deny_gives_the_use_back(run, house, place):
    which = f"http://127.0.0.1:8080/invite?{place.tokens['asking']}"
    assert run("invite", "approve", which, "bob@example.org").exit_code == 0
    assert run("invite", "deny", place.tokens["asking"], place.uses["carol"][:8]).exit_code == 0
    facts = shown(run, place.ids["asking"])
    assert [each["user"] for each in facts["used_by"]] == ["bob"]
    assert (facts["uses"], facts["waiting"]) == (1, [])
    with house.reading():
        members = [each.user.username for each in projects.members(projects.find("tea-garden"))]
    assert members == ["anne", "bob"]


@pytest.mark.parametrize("command", ["approve", "deny"])
def test_who_is_meant_must_be_said_where_several_wait(run, house, place, command):
    done = run("invite", command, place.ids["asking"])
    there = ", ".join(f"{who} ({place.uses[who][:8]})" for who in ("bob", "carol"))
    assert (done.exit_code, done.stderr) == (1, f"Error: say WHO; those who wait: {there}\n")
    done = run("invite", command, place.ids["asking"], "dora")
    said = f"Error: dora does not wait for approval of this invite; those who wait: {there}\n"
    assert (done.exit_code, done.stderr) == (1, said)
    with house.reading():
        assert len(waits.of_invite(invites.find(place.tokens["asking"]))) == 2


@pytest.mark.parametrize("command", ["approve", "deny"])
def test_who_waits_alone_need_not_be_named_and_waits_no_more_after_it(run, place, command):
    assert run("invite", "deny", place.ids["asking"], "carol").exit_code == 0
    assert run("invite", command, place.ids["asking"]).exit_code == 0
    again = run("invite", command, place.ids["asking"])
    assert again.exit_code == 1
    assert again.stderr.startswith("Error: nobody waits for approval of this invite; see invite-api invite show")


@pytest.mark.parametrize("name", ["domain", "held"])
def test_only_who_waits_for_approval_can_be_approved(run, place, name):
    done = run("invite", "approve", place.ids[name])
    assert (done.exit_code, "nobody waits for approval" in done.stderr) == (1, True)


def test_the_list_has_in_json_who_waits_and_what_is_held(run, place):
    by_id = {each["id"]: each for each in json.loads(run("invite", "list", "--json").stdout)}
    asking, held, domain = (by_id[place.ids[name]] for name in ("asking", "held", "domain"))
    assert [each["who"] for each in asking["waiting"]] == ["bob", "carol"]
    assert (asking["access"], asking["approve"], asking["uses"]) == ("30d", True, 2)
    assert ([each["who"] for each in held["holds"]], held["data"]) == (["customer-7"], {"seat": 12})
    assert [each["for"] for each in domain["waiting"]] == ["proof"]


@pytest.mark.parametrize(
    ("states", "said"),
    [
        ([], ""),
        (["approval"], "bob waits"),
        (["proof", "approval"], "2 wait"),
        (["held"], "1 held"),
        (["approval", "held", "held"], "bob waits, 2 held"),
    ],
)
def test_a_row_at_a_terminal_says_who_waits(states, said):
    found = [waits.Waiting("1", "2", each, "bob", None, None, clock.now(), None) for each in states]
    assert in_brief(found) == said


def test_what_is_exported_can_be_imported_again(run, place, tmp_path):
    exported = run("invite", "export").stdout
    rows = {each["id"]: each for each in csv.DictReader(exported.splitlines())}
    asking, held = rows[place.ids["asking"]], rows[place.ids["held"]]
    assert (asking["access"], asking["approve"], asking["waiting"]) == ("30d", "True", "bob, carol")
    assert (held["data"], held["waiting"]) == ('{"seat":12}', "")
    (tmp_path / "again.csv").write_text(exported)
    links = run("invite", "create", "--from", str(tmp_path / "again.csv")).stdout.split()
    copies = [shown(run, each) for each in links]
    of = [(each["name"], each["access"], each["data"], each["approve"], each["email"]) for each in copies]
    assert sorted(of, key=str) == [
        ("Choir", "30d", None, True, None),
        ("Seat", None, {"seat": 12}, False, None),
        (None, None, None, False, "@example.org"),
    ]
    line = next(each for each in map(json.loads, run("invite", "export", "--format", "jsonl").stdout.splitlines()))
    assert isinstance(line["waiting"], list)


def test_a_guest_list_says_access_approval_and_data(run, place, tmp_path):
    (tmp_path / "guests.csv").write_text(
        'Gast;Zugang;Freigabe;Daten\nAnne;12 weeks;yes;"{""seat"": 1}"\nBob;;no;\nCleo;;;\n'
    )
    done = run("invite", "create", "--from", str(tmp_path / "guests.csv"), "--project", "tea-garden", "--approve")
    facts = [shown(run, each) for each in done.stdout.split()]
    assert [(each["access"], each["approve"], each["data"]) for each in facts] == [
        ("12w", True, {"seat": 1}),
        (None, False, None),
        (None, True, None),
    ]


def test_a_preset_says_access_data_approval_and_a_domain_and_may_be_overruled(run, place):
    options = ("--access", "30d", "--data", '{"seat": 1}', "--approve", "--email", "@example.org")
    assert run("preset", "create", "staff", "--project", "tea-garden", *options).exit_code == 0
    facts = shown(run, run("invite", "create", "--preset", "staff").stdout.strip())
    assert (facts["access"], facts["data"], facts["approve"]) == ("30d", {"seat": 1}, True)
    besides = ("--no-approve", "--access", "never", "--data", "{}", "--email", "bob@example.org")
    facts = shown(run, run("invite", "create", "--preset", "staff", *besides).stdout.strip())
    assert (facts["access"], facts["data"], facts["approve"], facts["email"]) == (None, {}, False, "bob@example.org")
    assert "approve\tyes\n" in run("preset", "show", "staff").stdout
    assert "approve=yes" in run("preset", "list").stdout
    assert json.loads(run("preset", "show", "staff", "--json").stdout)["fields"]["approve"] is True


def test_a_preset_that_says_nothing_of_approval_has_no_such_field(run, place):
    assert run("preset", "create", "gold", "--plan", "gold").exit_code == 0
    assert json.loads(run("preset", "show", "gold", "--json").stdout)["fields"] == {"plan": "gold"}


def test_who_waits_for_approval_is_completed(run, place):
    def completions(typed):
        names = ["invite", "approve", place.ids["asking"]]
        return [each.value for each in ShellComplete(main, {}, "", "").get_completions(names, typed)]

    assert run("invite", "list").exit_code == 0
    with pytest.MonkeyPatch.context() as patch:
        for name, value in run.environ.items():
            patch.setenv(name, value)
        assert completions("") == ["bob", "carol"]
        assert completions("c") == ["carol"]
        assert completions("do") == []


# The admin's pages


def once(admin, path):
    return re.search(r'name="once" value="([^"]+)"', admin.client.get(path).text)[1]


def test_the_form_creates_an_invitation_with_access_data_and_approval_for_a_domain(admin, run, place):
    given = {"access": "30d", "approve": "on", "data": '{"seat": 12}', "email": "@Example.org", "uses": "5"}
    answer = admin.post("/admin/invites", once=once(admin, "/admin/invites/new"), project="tea-garden", **given)
    assert answer.status_code == 303
    page = seen(admin.follow(answer))
    for each in ("for 30 days from joining", "An admin approves each guest.", '{"seat":12}', "@example.org"):
        assert each in page
    assert "No mail server is set up, so nobody can confirm an address at @example.org." in page


def test_the_forms_say_that_nobody_can_prove_an_address_only_without_a_mail_server(admin, client, tmp_path, house):
    forms = {
        "/admin/invites/new": (
            "@example.org means everyone with an address there",
            "but without a mail server nobody can confirm one",
        ),
        "/admin/presets": (
            "or @example.org for anyone with an address there.",
            "No mail server is set up, so nobody can confirm an address.",
        ),
    }
    for path, (_, said) in forms.items():
        assert said in seen(admin.client.get(path))
    mailing = Browser(create_app(make_settings(tmp_path / "instance", SMTP_URL=MAILS)).test_client())
    mailing.sign_in("root")
    for path, (always, said) in forms.items():
        page = seen(mailing.client.get(path))
        assert always in page
        assert said not in page


@pytest.mark.parametrize(
    ("typed", "field", "said"),
    [
        ({"access": "30d"}, "access", "Needs a project."),
        ({"access": "soon", "project": "tea-garden"}, "access", "Must be a number and a unit"),
        ({"data": "[]"}, "data", "Must be a JSON object"),
        ({"email": "@example"}, "email", "Is not a valid domain"),
        ({"approve": "on", "admin": "on"}, "approve", "Is not possible for an invite that makes an admin"),
        ({"email": "@example.org", "mail": "on"}, "email", "Is a whole domain"),
    ],
)
def test_what_the_form_may_not_ask_for_is_said_at_its_field(admin, place, stored, typed, field, said):
    answer = admin.post("/admin/invites", once=once(admin, "/admin/invites/new"), **typed)
    assert answer.status_code == 422
    assert re.search(rf'id="{field}-problem">{said}', answer.text)
    assert len(stored()) == 3


def test_the_page_of_an_invitation_shows_who_waits_and_who_holds(admin, house, place):
    page = seen(admin.client.get(f"/admin/invites/{place.ids['asking']}"))
    for who in ("bob", "carol"):
        assert f"{who} waits for approval, since " in page
    assert page.count("ApproveDeny") + page.count("Approve Deny") == 2
    assert "dora has to confirm an address by " in seen(admin.client.get(f"/admin/invites/{place.ids['domain']}"))
    held = seen(admin.client.get(f"/admin/invites/{place.ids['held']}"))
    with house.reading():
        assert f"held for customer-7 by the API key {keys.newest()[0].id} until " in held
    assert "Approve" not in held
    with time_machine.travel(clock.now() + clock.HOUR, tick=False):
        assert "held for customer-7" not in seen(admin.client.get(f"/admin/invites/{place.ids['held']}"))


def test_an_admin_approves_and_denies_by_a_form_each(admin, house, place):
    path = f"/admin/invites/{place.ids['asking']}"
    for act, who, said in (
        ("approve", "bob", "Approved: the guest has joined."),
        ("deny", "carol", "Denied. The use is free again."),
    ):
        answer = admin.post(f"{path}/{act}", redemption=place.uses[who])
        assert answer.status_code == 303
        assert said in seen(admin.follow(answer))
    with house.reading():
        asking = invites.find(place.tokens["asking"])
        assert (asking.uses, waits.of_invite(asking)) == (1, [])
        assert projects.find_member(projects.find("tea-garden"), accounts.named("bob"))
        assert not projects.find_member(projects.find("tea-garden"), accounts.named("carol"))


def test_what_does_not_wait_for_approval_here_is_refused_and_changes_nothing(admin, house, place):
    path = f"/admin/invites/{place.ids['asking']}"
    admin.post(f"{path}/deny", redemption=place.uses["carol"])
    for act in ("approve", "deny"):
        for wrong in (place.uses["carol"], place.hold, "nonsense", ""):
            answer = admin.post(f"{path}/{act}", redemption=wrong)
            assert answer.status_code in (409, 422)
            assert "Nobody is waiting" in seen(answer) or 'role="alert"' in answer.text
        answer = admin.post(f"/admin/invites/{place.ids['held']}/{act}", redemption=place.uses["bob"])
        assert answer.status_code == 409
    with house.reading():
        assert [each.who for each in waits.of_invite(invites.find(place.tokens["asking"]))] == ["bob"]


@pytest.mark.parametrize("act", ["approve", "deny"])
def test_a_form_of_another_site_and_one_who_is_no_admin_decide_nothing(browser, root, house, place, act):
    path, given = f"/admin/invites/{place.ids['asking']}/{act}", {"redemption": place.uses["bob"]}
    browser.sign_in("root")
    assert browser.client.post(path, data=given).status_code == 403
    assert browser.client.get(path).status_code == 405
    browser.sign_in("alice")
    assert browser.post(path, **given).status_code == 403
    with house.reading():
        assert len(waits.of_invite(invites.find(place.tokens["asking"]))) == 2


def test_a_guest_who_joined_otherwise_is_said_to_be_a_member_and_the_use_is_free(admin, house, place):
    with house.writing():
        other = invites.create(drafts.read({"project": "tea-garden"}), drafts.SHELL)
        redemption.accept(invites.token(other), accounts.named("bob"))
    answer = admin.post(f"/admin/invites/{place.ids['asking']}/approve", redemption=place.uses["bob"])
    assert "This guest is a member already. The use is free again." in seen(admin.follow(answer))


def test_the_list_says_how_many_wait_and_who_waits_for_approval(admin, place):
    page = seen(admin.client.get("/admin"))
    assert re.search(r"Waiting for approval bob, since .* carol, since ", page)
    assert ("2 waiting" in page, "1 waiting" in page, "1 held" in page) == (True, True, True)
    assert "Waiting for approval" not in seen(admin.client.get("/admin?q=choir"))
    for who in ("bob", "carol"):
        admin.post(f"/admin/invites/{place.ids['asking']}/deny", redemption=place.uses[who])
    assert "Waiting for approval" not in seen(admin.client.get("/admin"))


def test_a_preset_is_created_with_access_data_approval_and_a_domain(admin, run, place):
    given = {"access": "30d", "approve": "on", "data": '{"seat": 12}', "email": "@example.org"}
    answers = [admin.post("/admin/presets", preset="staff", project="tea-garden", **given) for _ in range(2)]
    assert [each.status_code for each in answers] == [303, 303]
    page = seen(admin.follow(answers[0]))
    for each in ("Access to the project: 30d", "Approval: yes", 'Data for programs: {"seat": 12}'):
        assert each in page
    answer = admin.post("/admin/invites", once=once(admin, "/admin/invites/new"), preset="staff")
    assert "An admin approves each guest." in seen(admin.follow(answer))


# A project's managers


@pytest.fixture
def garden(client, house, place):
    """Calls about the invites to Anne's garden, as one of its people; those who wait there, by name."""
    with house.writing():
        for role in ("admin", "member"):
            user = accounts.create(accounts.Names(role, f"{role}@example.org"), HASH)
            made = invites.create(drafts.read({"project": "tea-garden", "role": role}), drafts.SHELL)
            redemption.accept(invites.token(made), user)
        bearers = {name: sessions.start(accounts.named(name)).access for name in ("anne", "admin", "member", "bob")}

    def call(who, method="GET", path="", **body):
        headers = {"Authorization": f"Bearer {bearers[who]}"}
        given = {"json": body} if body else {}
        return client.open(f"/projects/tea-garden/invites{path}", method=method, headers=headers, **given)

    return call


def waiting_in(answer, place):
    (found,) = [each["waiting"] for each in answer.json if each["id"] == place.ids["asking"]]
    return {each["who"]: each for each in found}


def test_a_projects_managers_see_who_waits_and_decide(garden, house, place):
    for who in ("anne", "admin"):
        answer = garden(who)
        found = waiting_in(answer, place)
        assert list(found) == ["bob", "carol"]
        assert list(found["bob"]) == ["redemption", "who", "waiting_for", "since"]
        assert found["bob"]["waiting_for"] == "approval"
    path = f"/{place.ids['asking']}"
    answer = garden("admin", "POST", f"{path}/approve", redemption=found["bob"]["redemption"])
    assert (answer.status_code, answer.json) == (200, {"message": "Guest approved."})
    answer = garden("anne", "POST", f"{path}/deny", redemption=found["carol"]["redemption"])
    assert (answer.status_code, answer.json) == (200, {"message": "Guest denied."})
    assert waiting_in(garden("anne"), place) == {}
    with house.reading():
        members = {each.user.username for each in projects.members(projects.find("tea-garden"))}
    assert members == {"anne", "admin", "member", "bob"}


@pytest.mark.parametrize("act", ["approve", "deny"])
def test_who_manages_nothing_there_decides_nothing(garden, house, place, act):
    path, given = f"/{place.ids['asking']}/{act}", {"redemption": place.uses["carol"]}
    answers = [garden(who, "POST", path, **given) for who in ("member", "bob")]
    assert [(each.status_code, each.json["code"]) for each in answers] == [
        (403, "NOT_ALLOWED"),
        (403, "NOT_PROJECT_MEMBER"),
    ]
    assert list(waiting_in(garden("anne"), place)) == ["bob", "carol"]


@pytest.mark.parametrize("act", ["approve", "deny"])
def test_only_a_use_that_waits_by_an_invite_to_this_project_is_decided_there(garden, house, place, act):
    asking, elsewhere = place.ids["asking"], place.ids["held"]
    for invite, use, status, code in (
        (elsewhere, place.hold, 404, "INVITE_NOT_FOUND"),
        ("nonsense", place.uses["bob"], 404, "INVITE_NOT_FOUND"),
        (asking, place.hold, 409, "NOT_WAITING"),
        (asking, "nonsense", 409, "NOT_WAITING"),
    ):
        answer = garden("anne", "POST", f"/{invite}/{act}", redemption=use)
        assert (answer.status_code, answer.json["code"]) == (status, code)
    answer = garden("anne", "POST", f"/{asking}/{act}", other="x")
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "redemption")
    assert garden("anne", "POST", f"/{asking}/{act}", redemption=place.uses["bob"]).status_code == 200
    assert garden("anne", "POST", f"/{asking}/{act}", redemption=place.uses["bob"]).json["code"] == "NOT_WAITING"
    assert list(waiting_in(garden("anne"), place)) == ["carol"]


def test_a_guest_who_is_a_member_already_is_said_to_be(garden, house, place):
    with house.writing():
        other = invites.create(drafts.read({"project": "tea-garden"}), drafts.SHELL)
        redemption.accept(invites.token(other), accounts.named("bob"))
    answer = garden("anne", "POST", f"/{place.ids['asking']}/approve", redemption=place.uses["bob"])
    assert answer.json == {"message": "This guest is a member already."}
    assert list(waiting_in(garden("anne"), place)) == ["carol"]
