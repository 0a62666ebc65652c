"""What happened, as people see it: the command, its page, the timelines; in order, filtered, and with who did it."""

import json
import os
import re
import signal
import subprocess
import threading
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
import time_machine
from click.shell_completion import ShellComplete
from click.testing import CliRunner
from sqlalchemy import insert

import clock
from cli import main
from commands.events import spoken
from conftest import COMMAND, HASH, Browser, naming, seen
from models import Event
from rules import accounts, activity, changing, drafts, events, invites, keys, projects, redemption, timeline
from rules.events import Actor
from rules.timeline import Filter
from settings import in_force

MEMBERS = ("id", "at", "type", "actor", "actor_id", "invite_id", "project_id", "user_id", "facts")


@pytest.fixture
def run(tmp_path):
    """Run the command here, in this process; its result."""

    def typed(*arguments):
        return CliRunner().invoke(main, arguments, env=naming(tmp_path / "instance"))

    return typed


@pytest.fixture
def follow(tmp_path):
    """Start `events --follow` in a process of its own; what it prints can be read line by line."""
    started = []

    def start(*arguments, **options):
        environ = os.environ | naming(tmp_path / "instance")
        call = [COMMAND, "events", "--follow", *arguments]
        process = subprocess.Popen(
            call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environ, cwd=tmp_path, **options
        )
        started.append(process)
        return process

    yield start
    for each in started:
        each.kill()
        each.communicate()


@pytest.fixture
def told(house):
    """What happened here: anne, an admin, invites dora to her garden, who comes; then she revokes and leaves."""
    ids = {}
    with time_machine.travel(clock.now() - 3 * clock.DAY, tick=False), house.writing():
        anne, dora = (
            accounts.create(accounts.Names(name, display_name=name.title()), HASH) for name in ("anne", "dora")
        )
        accounts.set_admin(anne, True)
        garden = projects.create(anne, projects.ProjectDraft("Tea Garden"))
        ids |= {"anne": anne.id, "dora": dora.id, "garden": garden.id, "key": keys.create("script").partition("/")[0]}
    with time_machine.travel(clock.now() - clock.HOUR, tick=False), house.writing():
        given = {"name": "Dora", "email": "dora@example.org", "project": "tea-garden", "uses": "2"}
        invite = invites.create(drafts.read(given), accounts.as_inviter(anne), mailed=True)
        with events.acting(events.person(anne)):
            changing.extend(invite, 2 * clock.WEEK)
            changing.rotate(invite)
        accounts.named("dora").email, accounts.named("dora").email_verified_at = "dora@example.org", clock.now()
        redemption.accept(invites.token(invite), accounts.named("dora"))
        with events.acting(events.person(anne)):
            changing.revoke(invite)
        ids["invite"] = invite.id
    return ids


def of(result):
    """The types in what was printed as JSON lines."""
    return [json.loads(line)["type"] for line in result.stdout.splitlines()]


ALL = [
    *("user.created", "user.created", "user.admin", "project.created", "key.created", "invite.created"),
    *("invite.mailed", "invite.extended", "invite.rotated", "invite.used", "member.joined", "invite.revoked"),
]


def test_the_command_prints_what_happened_the_newest_last(run, told):
    done = run("events", "--json")
    assert (done.exit_code, done.stderr, of(done)) == (0, "", ALL)
    first, last = (json.loads(done.stdout.splitlines()[each]) for each in (0, -1))
    assert tuple(first) == tuple(last) == MEMBERS
    assert (last["actor"], last["actor_id"], last["invite_id"]) == ("Anne", told["anne"], told["invite"])
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", last["at"])
    columns = [line.split("\t") for line in run("events").stdout.splitlines()]
    assert [each[1] for each in columns] == ALL
    assert columns[7][2:7] == ["Anne", told["invite"], told["garden"], "-", "ttl=1209600"]
    few = run("events", "--json", "--limit", "2")
    assert (of(few), "older" in few.stderr) == (ALL[-2:], True)


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--type", "invite.used,member"], ["invite.used", "member.joined"]),
        (["--type", "user"], ["user.created", "user.created", "user.admin"]),
        (["--since", "2d"], ALL[5:]),
        (["--since", "2d", "--type", "invite", "--actor", "anne"], [*ALL[5:9], ALL[11]]),
        (["--user", "dora"], ["user.created", "invite.used", "member.joined"]),
        (["--user", "dora", "--type", "user"], ["user.created"]),
        (["--actor", "shell"], []),
        (["--project", "tea-garden", "--type", "project,member"], ["project.created", "member.joined"]),
        (["--actor", "invite-api"], ALL[:5]),
        (["--since", "1m"], []),
    ],
    ids=lambda value: " ".join(value) if value and value[0].startswith("--") else None,
)
def test_events_are_filtered(run, told, options, found):
    assert of(run("events", "--json", *options)) == found


def test_an_invite_is_named_as_everywhere(run, told):
    for which in (told["invite"], told["invite"][:8]):
        assert of(run("events", "--json", "--invite", which)) == ALL[5:]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("--type invite.usd", "--type: is no type of event: invite.usd; did you mean invite.used?"),
        ("--type zebra", "--type: is no type of event: zebra"),
        ("--invite nothing", "--invite: names no invitation"),
        ("--user nobody", "--user: names no account"),
        ("--actor nobody", "--actor: names no account"),
        ("--project nowhere", "--project: names no project: nowhere"),
        ("--since soon", "--since: must be a moment such as 2026-11-01"),
        ("--since 3M", "--since: has an M, which may be minutes or months"),
    ],
)
def test_what_names_nothing_is_refused_by_the_name_of_its_option(run, told, options, said):
    done = run("events", *options.split())
    assert (done.exit_code, done.stdout) == (1, "")
    assert said in done.stderr


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("written", "moment"),
    [
        ("2026-11-01", datetime(2026, 11, 1, tzinfo=UTC)),
        ("2026-11-01T10:30", datetime(2026, 11, 1, 10, 30, tzinfo=UTC)),
        ("2026-11-01T10:30:00.000Z", datetime(2026, 11, 1, 10, 30, tzinfo=UTC)),
        ("2026-11-01T10:30+02:00", datetime(2026, 11, 1, 8, 30, tzinfo=UTC)),
        ("2d", datetime(2026, 11, 27, 9, tzinfo=UTC)),
        ("2 weeks", datetime(2026, 11, 15, 9, tzinfo=UTC)),
        ("999999999d", datetime(1970, 1, 1, tzinfo=UTC)),
        ("1066-10-14", datetime(1970, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_moment_is_written_as_iso_8601_or_as_how_long_ago_it_was(written, moment):
    with time_machine.travel(datetime(2026, 11, 29, 9, tzinfo=UTC), tick=False):
        assert activity.since(written) == moment


def test_a_sentence_says_who_did_what_to_whom(house, told):
    with house.reading():
        lines = [spoken(each) for each in activity.describe(timeline.oldest(Filter(), 0))]
    assert lines[1:] == [
        "invite-api created an account for Dora",
        "invite-api made Anne an admin of this site",
        "invite-api created the project Tea Garden",
        f"invite-api created the API key {told['key']}",
        "Anne created the invite for Dora",
        "Anne asked for the invite for Dora to be mailed",
        f"Anne extended the invite for Dora until {_in_two_weeks()}",
        "Anne gave the invite for Dora a new link",
        "Dora used the invite for Dora",
        "Dora joined the project Tea Garden",
        "Anne revoked the invite for Dora",
    ]


def _in_two_weeks() -> str:
    until = clock.now() - clock.HOUR + 2 * clock.WEEK
    return f"{until.day} {until:%b %Y}"


@pytest.mark.any_database
def test_every_type_has_a_sentence():
    assert set(activity._SENTENCES) == set(events.TYPES)


@pytest.mark.any_database
def test_types_are_completed_also_behind_a_comma():
    def completions(typed):
        return [each.value for each in ShellComplete(main, {}, "", "").get_completions(["events", "--type"], typed)]

    assert completions("inv")[:3] == ["invite", "invite.created", "invite.used"]
    assert completions("invite.used,mem") == [
        f"invite.used,{each}"
        for each in ("member", "member.joined", "member.removed", "member.extended", "member.expired")
    ]


# Following


@contextmanager
def writing_all_the_time(house, settings, each=20, writers=4):
    """Threads that tell events while this block runs, each in units of its own; they end before it does."""

    def write(writer):
        with in_force(settings):
            for number in range(each):
                with house.writing():
                    events.record("invite.changed", facts={"writer": writer, "number": number})

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(writers)]
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.join()


def test_who_follows_reads_each_event_once_and_in_order(house, settings, follow, told):
    process = follow("--json", "--limit", "2")
    begun = [json.loads(process.stdout.readline())["type"] for _ in range(2)]
    assert begun == ALL[-2:]
    with writing_all_the_time(house, settings):
        read = [json.loads(process.stdout.readline())["id"] for _ in range(80)]
    with house.reading() as unit:
        told = unit.session.query(Event).filter(Event.type == "invite.changed").order_by(Event.number)
        there = [each.id for each in told]
    assert read == there
    process.send_signal(signal.SIGINT)
    assert (process.wait(timeout=30), process.stdout.read(), process.stderr.read()) == (0, "", "")


def test_following_ends_quietly_on_sigterm_and_prints_only_what_was_asked_for(house, follow, told):
    process = follow("--type", "key", "--limit", "1")
    assert process.stdout.readline().split("\t")[1] == "key.created"
    with house.writing():
        accounts.create(accounts.Names("erin"))
        keys.create("another")
    assert process.stdout.readline().split("\t")[1] == "key.created"
    process.send_signal(signal.SIGTERM)
    assert (process.wait(timeout=30), process.stdout.read(), process.stderr.read()) == (0, "", "")


def test_following_ends_when_the_reader_of_the_pipe_has_ended(follow, told):
    process = follow("--limit", "1")
    process.stdout.readline()
    process.stdout.close()  # nothing happens any more, and still it ends
    assert (process.wait(timeout=30), process.stderr.read()) == (1, "")
    process.stdout = None


# The page


@pytest.fixture
def admin(client, root):
    """The browser of an admin."""
    browser = Browser(client.application.test_client())
    browser.sign_in("root")
    return browser


def sentences(page):
    """What the list on a page says, without the moments."""
    return [seen(Page(each)) for each in re.findall(r"<li><time[^>]*>[^<]*</time> <span>(.*?)</span></li>", page.text)]


class Page:
    def __init__(self, text):
        self.text = text


def test_the_page_says_who_did_what_the_newest_first(admin, told):
    page = admin.client.get("/admin/activity")
    assert sentences(page)[:4] == [
        "Anne revoked the invitation for Dora",
        "Dora joined the project Tea Garden",
        "Dora used the invitation for Dora",
        "Anne gave the invitation for Dora a new link",
    ]
    for path in (f"/admin/invites/{told['invite']}", f"/admin/people/{told['anne']}", "/admin/projects/tea-garden"):
        assert f'href="{path}"' in page.text
        assert admin.client.get(path).status_code == 200
    german = admin.client.get("/admin/activity", headers={"Accept-Language": "de"})
    assert "Anne hat die Einladung für Dora widerrufen" in sentences(german)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("type=key", ["invite-api created the API key {key}"]),
        ("type=member.joined", ["Dora joined the project Tea Garden"]),
        ("user={dora}&type=invite", ["Dora used the invitation for Dora"]),
        ("actor=dora&since=2d", ["Dora joined the project Tea Garden", "Dora used the invitation for Dora"]),
        ("project={garden}&type=project", ["invite-api created the project Tea Garden"]),
        ("invite={invite}&type=invite.revoked", ["Anne revoked the invitation for Dora"]),
        ("type=preset", []),
    ],
)
def test_the_page_is_filtered(admin, told, query, found):
    assert sentences(admin.client.get(f"/admin/activity?{query.format(**told)}")) == [
        each.format(**told) for each in found
    ]


def test_pages_follow_one_another_and_leave_nothing_out(admin, house, told, monkeypatch):
    monkeypatch.setattr("web.forms.ROWS", 3)
    monkeypatch.setattr(timeline, "LOOKED_AT", 4)
    for query, count in (("", len(ALL) + 2), ("?type=invite&actor=anne", 5), ("?since=2d&type=invite,member", 7)):
        found, path = [], f"/admin/activity{query}"
        while path:
            page = admin.client.get(path)
            found += sentences(page)
            path = (re.findall(r'rel="next" href="([^"]*)"', page.text) or [""])[0].replace("&amp;", "&")
        assert len(found) == count


@pytest.mark.parametrize(
    "query", ["user=nobody", "since=soon", "type=zebra", "cursor=x", "project=nowhere", "invite=x"]
)
def test_a_filter_that_names_nothing_is_said_beside_its_field(admin, told, query):
    page = admin.client.get(f"/admin/activity?{query}")
    assert page.status_code == 422
    assert 'class="alarm"' in page.text or "problem" in page.text


def test_an_erased_person_is_a_deleted_account_and_who_is_unknown_is_said_to_be(admin, house, told):
    with house.writing() as unit, events.acting(Actor("Root", "x")):
        projects.hand_over("tea-garden", accounts.named("dora"))
        accounts.remove(accounts.named("anne"))
        unit.connection.exec_driver_sql(
            "UPDATE events SET actor = 'unknown', actor_id = NULL WHERE type = 'key.created'"
        )
    page = admin.client.get("/admin/activity")
    assert "Anne" not in page.text
    assert "a deleted account revoked the invitation for Dora" in sentences(page)
    assert f"an unknown account created the API key {told['key']}" in sentences(page)
    assert "an unknown account" in seen(admin.client.get("/admin/activity?actor=unknown"))
    assert told["anne"] not in re.findall('href="/admin/people/([^"]*)"', page.text)
    assert sentences(admin.client.get(f"/admin/activity?user={told['anne']}&type=invite.revoked")) == [
        "a deleted account revoked the invitation for Dora"
    ]


# Timelines


def test_the_timeline_of_an_invite_says_who_for_each_entry(admin, house, told):
    with house.writing(), events.acting(Actor("Root", None)):
        other = invites.create(drafts.read({"name": "Erin"}), drafts.SHELL)
        changing.extend(other, None)
        events.record("invite.changed", invite_id=other.id, facts={"fields": ["name", "note"]})
        other_id = other.id
    page = seen(admin.client.get(f"/admin/invites/{told['invite']}"))
    for each in ("created by Anne", "by Anne", "given a new link by Anne", "used by Dora", "revoked by Anne"):
        assert each in page
    assert re.search(r"extended until \d+ \w+ \d{4} by Anne", page)
    page = seen(admin.client.get(f"/admin/invites/{other_id}"))
    for each in ("created by shell", "extended by Root: it never expires", "changed by Root (name, note)"):
        assert each in page


def test_invite_show_says_who_extended_it_until_when(run, told):
    shown = json.loads(run("invite", "show", told["invite"], "--json").stdout)["timeline"]
    assert [tuple(each) for each in shown] == [("what", "who", "whom", "by", "detail", "at", "trouble")] * 6
    extended, mailed = (next(each for each in shown if each["what"] == what) for what in ("extended", "to be sent"))
    until = clock.iso(datetime.fromisoformat(extended["at"]) + 2 * clock.WEEK)
    assert (extended["who"], extended["detail"]) == ("Anne", f"until {until}")
    assert (mailed["who"], mailed["by"], mailed["detail"]) == ("dora@example.org", "Anne", None)
    lines = run("invite", "show", told["invite"]).stdout
    assert f"timeline\textended Anne until {until} {extended['at']}\n" in lines


def test_who_did_it_before_it_was_told_is_unknown(admin, house, meddle, told):
    meddle("UPDATE events SET actor = 'unknown', actor_id = NULL WHERE type = 'invite.revoked'")
    assert "revoked by an unknown account" in seen(admin.client.get(f"/admin/invites/{told['invite']}"))


def test_a_persons_page_says_what_they_did_and_what_happened_to_them(admin, told):
    page = admin.client.get(f"/admin/people/{told['dora']}")
    assert sentences(page) == [
        "Dora joined the project Tea Garden",
        "Dora used the invitation for Dora",
        "invite-api created an account for Dora",
    ]
    assert f'href="/admin/activity?user={told["dora"]}"' in page.text


def test_the_file_of_an_account_has_what_happened_without_any_name(client, house, told, monkeypatch):
    monkeypatch.setattr("rules.own_account.AT_ONCE", 1)
    browser = Browser(client.application.test_client())
    browser.sign_in("dora")
    data = json.loads(browser.client.get("/account/data").text)
    assert [(each["type"], each["by_you"], each["about_you"]) for each in data["events"]] == [
        ("user.created", False, True),
        ("invite.used", True, True),
        ("member.joined", True, True),
    ]
    assert "Anne" not in json.dumps(data["events"])
    assert told["anne"] not in json.dumps(data["events"])


# At many events

MANY = 60_000


@pytest.fixture
def many(house, told):
    """So many events of root's, a minute apart, and a few of dora's among them, the oldest first."""
    with house.writing() as unit:
        first = clock.now() - (MANY + 10) * clock.MINUTE
        rows = [
            {
                "at": first + number * clock.MINUTE,
                "type": "invite.created",
                "actor": "root",
                "actor_id": "root" if number % 1000 else "dora",
            }
            for number in range(MANY)
        ]
        unit.connection.execute(insert(Event), rows)
        unit.connection.exec_driver_sql("ANALYZE")
    return told


@pytest.mark.long
@pytest.mark.sqlite  # counts the instructions of SQLite's machine
@pytest.mark.parametrize(
    "wanted",
    [
        Filter(),
        Filter(types=("invite.created", "invite.used", "key.created")),
        Filter(types=("key.deleted",)),
        Filter(actor_id="dora"),
        Filter(user_id="dora"),
        Filter(actor="shell"),
        Filter(actor_id="root", types=("invite.revoked",)),
        Filter(since=datetime(2020, 1, 1, tzinfo=UTC)),
        Filter(since=datetime(2020, 1, 1, tzinfo=UTC), types=("invite.used",), actor_id="root"),
        Filter(since=datetime(2100, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_page_looks_at_few_of_many_events(house, many, wanted):
    assert _steps(house, lambda: timeline.search(wanted, None, 50)) < 800  # a look at each takes 960


@pytest.mark.sqlite
def test_a_look_at_each_would_have_been_counted(house, many):
    assert _steps(house, lambda: timeline.newest(Filter(actor="nobody"), None, 50)) > 900


def _steps(house, work) -> int:
    """How many thousand instructions SQLite does for something."""
    steps = []
    with house.reading() as unit:
        driver = unit.connection.connection.driver_connection
        driver.set_progress_handler(lambda: steps.append(1), 1000)
        work()
        driver.set_progress_handler(None, 0)
    return len(steps)
