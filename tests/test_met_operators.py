"""What operators met: each input failed once, and is named after what went wrong."""

import json
import os
import re
import sqlite3
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

import clock
from conftest import COMMAND, make_settings, naming
from programs import require
from rules import accounts, drafts, fields, guests, invites, keys
from rules.refusals import Invalid
from settings import HOME, ConfigError, load_settings
from settings.readers import smtp_url
from web import limits

# Settings

SERVERS = [
    ("SMTP_URL", "smtp://{}@mail.example.org:587"),
    ("SMTP_URL", "smtps://{}@mail.example.org"),
    ("DATABASE_URL", "postgresql://{}@db.example.org/invites"),
    ("DATABASE_URL", "postgres://{}@one,two:5432/invites?sslmode=require"),
    ("LIMITS_URL", "redis://{}@cache.example.org:6379/0"),
    ("LIMITS_URL", "valkeys://{}@cache.example.org"),
]
BETWEEN = ["#", "/", "?", "@", "%zz", "%Z", "%2Z", "[", "]", "[1]", "#/@?", "\u2100", "\t", "%00", "%ff", "%0a"]


@pytest.mark.any_database
@pytest.mark.parametrize("between", BETWEEN)
@pytest.mark.parametrize(("name", "url"), SERVERS)
def test_a_password_that_is_read_in_several_ways_is_refused_and_not_quoted(name, url, between):
    for first, last in (("Qx", "Zk"), ("4815", "4142"), ("7", "8"), ("", "4142"), ("Qx", "")):
        with pytest.raises(ConfigError) as refused:
            load_settings({f"INVITE_API_{name}": url.format(f"Annie:{first}{between}{last}")})
        said = str(refused.value)
        assert said.startswith(f"INVITE_API_{name}: write {url[:5]}"[:28])
        for each in ("%23 for #", "%2F for /", "%3F for ?", "%40 for @", "%25 for %"):
            assert each in said
        for each in ("Annie", "Qx", "Zk", "4815", "4142", ".example.org:"):
            assert each not in said


@pytest.mark.any_database
@pytest.mark.parametrize(("name", "url"), SERVERS)
def test_a_port_that_may_be_the_start_of_a_password_is_not_quoted(name, url):
    """Where the host was forgotten, or stands behind an @ that was encoded."""
    with pytest.raises(ConfigError, match="port") as refused:
        load_settings({f"INVITE_API_{name}": url.replace("{}@", "Annie:73x91%40")})
    assert "73x91" not in str(refused.value)


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("PUBLIC_URL", "https://annie:48\u2100zk@example.org"),
        ("PUBLIC_URL", "https://annie_x:48/zk@example.org"),
        ("REDIRECT_ORIGINS", "https://annie:48/zk@example.org"),
        ("REDIRECT_ORIGINS", "https://annie:48@example.org"),
        ("SMTP_URL", "https://annie:48zk@example.org"),
        ("DATABASE_URL", "mysql://annie:48zk@example.org"),
        ("LIMITS_URL", "memcached://annie:48zk@example.org"),
    ],
)
def test_a_credential_where_none_belongs_is_not_quoted(name, url):
    with pytest.raises(ConfigError, match=f"INVITE_API_{name}: ") as refused:
        load_settings({f"INVITE_API_{name}": url})
    assert not {each for each in ("annie", "48", "zk") if each in str(refused.value)}


@pytest.mark.any_database
def test_an_encoded_password_is_taken_whatever_is_in_it(tmp_path):
    for name, url in SERVERS:
        given = url.format("anne%40example.org:%23%2F%3F%40%25%5B%5D:!$&'()*+,;=-._~ x")
        make_settings(tmp_path, **{name: given})
    assert smtp_url("smtp://:x@localhost".replace(":x@", "")) == "smtp://localhost"
    with pytest.raises(ValueError, match="has a password without a user"):
        smtp_url("smtp://:48zk@mail.example.org")


@pytest.mark.any_database
def test_the_command_says_nothing_of_a_credential_it_refuses(invite_api):
    for name, url in SERVERS:
        refused = invite_api("list", **{name: url.format("Annie:Qx#Zk")})
        assert (refused.returncode, refused.stdout) == (2, "")
        assert f"INVITE_API_{name}: " in refused.stderr
        assert not {each for each in ("Annie", "Qx", "Zk", "Traceback") if each in refused.stderr}


# Mail

WAITS = "Note: the mail waits in the outbox: INVITE_API_SMTP_URL is not set"


@pytest.mark.any_database
def test_whoever_queues_mail_that_nobody_sends_is_told_so(invite_api, tmp_path):
    (tmp_path / "guests.csv").write_text("email\nbob@example.org\n")
    create = ("invite", "create", "--mail")
    link = invite_api(*create, "--email", "anne@example.org").stdout.strip()
    for words in (
        (*create, "--email", "dora@example.org"),
        (*create, "--from", "guests.csv"),
        ("invite", "resend", link),
        ("invite", "rotate", link),
        ("outbox", "retry"),
    ):
        done = invite_api(*words)
        assert (done.returncode, WAITS in done.stderr) == (0, True), words
        assert "Note" not in done.stdout


@pytest.mark.any_database
def test_whoever_queues_no_mail_or_has_a_server_for_it_is_not_told_so(invite_api):
    link = invite_api("invite", "create", "--email", "anne@example.org").stdout.strip()
    for done in (
        invite_api("invite", "rotate", link),
        invite_api("outbox", "retry"),
        invite_api("invite", "create", "--email", "bob@example.org", "--mail", SMTP_URL="smtp://localhost"),
    ):
        assert (done.returncode, WAITS in done.stderr) == (0, False)


# Guest lists


def given(text):
    """What the rows of a guest list say, without what they leave empty."""
    raw = text if isinstance(text, bytes) else text.encode()
    return [{name: cell for name, cell in row.given.items() if cell} for row in guests.read(raw)]


ANNE = [{"name": "Anne Smith", "email": "anne@example.org"}]
ROW = "Anne Smith;anne@example.org"


@pytest.mark.any_database
@pytest.mark.parametrize(
    "text",
    [
        f"name;email;;;\n{ROW};;;\n",
        f"name;email;;;\n{ROW}\n;;;;\n",
        "name;;email;\nAnne Smith;;anne@example.org;\n",
        f"Name;E-Mail\n{ROW}\n",
        f"Full Name;Email Address\n{ROW}\n",
        f"FULL_NAME;e-mail-address\n{ROW}\n",
        f" Name ; Mail \n{ROW}\n",
        f"Gast;E-Mail-Adresse\n{ROW}\n",
        f"Vollständiger Name;eMail\n{ROW}\n",
        f"Vollsta\u0308ndiger Name;Mailadresse\n{ROW}\n",
        f"Display name;E\u2011Mail\n{ROW}\n",
        "Vorname;Nachname;E-Mail\nAnne;Smith;anne@example.org\n",
        "Name,Vorname,Mail\nSmith,Anne,anne@example.org\n",
        "First Name\tLast Name\tE-mail Address\nAnne\tSmith\tanne@example.org\n",
        "Name,Given Name,Family Name,E-mail 1 - Value\nAnne Smith,Anne,Smith,anne@example.org\n",
        '"Name";"E-Mail"\n"Anne Smith";"anne@example.org"\n',
        f"\ufeffName;E-Mail;;\r\n{ROW};;\r\n",
        f"sep=;\r\nName;E-Mail\r\n{ROW}\r\n",
        f"\nName;E-Mail\n{ROW}\n",
        f"Name;E-Mail;\n{ROW};\n".encode("utf-16"),
    ],
)
def test_a_guest_list_is_read_whatever_its_program_calls_the_columns(text):
    assert given(text) == ANNE


@pytest.mark.any_database
def test_a_cell_under_no_heading_is_named_by_its_row():
    rows = guests.read(b"name;email;;\nAnne;anne@example.org;;\nBob;bob@example.org;x;\n")
    assert [[each.message for each in row.problems] for row in rows] == [
        [],
        ["has more cells than there are columns: x"],
    ]


def test_columns_that_are_not_known_are_left_out_if_that_is_said(invite_api, tmp_path):
    path = tmp_path / "guests.csv"
    path.write_text("Name;E-Mail;Shoe size;;Table\nAnne;anne@example.org;38;x;7\n")
    refused = invite_api("invite", "create", "--from", "guests.csv")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "line 1, column Shoe size: there is no such column" in refused.stderr
    assert "--ignore-unknown" in refused.stderr
    done = invite_api("invite", "create", "--from", "guests.csv", "--ignore-unknown")
    assert (done.returncode, len(done.stdout.splitlines())) == (0, 1)
    assert "Note: guests.csv: left out: Shoe size, Table\n" in done.stderr
    path.write_text("Anne;anne@example.org\nBob;bob@example.org\n")  # without a heading nothing is known
    assert invite_api("invite", "create", "--from", "guests.csv", "--ignore-unknown").returncode == 1
    assert invite_api("invite", "create", "--ignore-unknown").returncode == 2


@pytest.mark.sqlite
def test_what_was_exported_comes_back_in(invite_api, tmp_path, meddle):
    create = ("invite", "create", "--email", "anne@example.org", "--uses", "3", "--plan", "gold", "--note", "plain")
    assert invite_api(*create, "--name", "Anne").returncode == 0
    meddle("UPDATE invites SET note = '=1+1'")
    for options in ((), ("--with-links",)):
        (tmp_path / "out.csv").write_text(invite_api("invite", "export", *options).stdout)
        done = invite_api("invite", "create", "--from", "out.csv", INSTANCE=str(tmp_path / "elsewhere"))
        assert done.returncode == 0, done.stderr
        assert "left out" not in done.stderr
    made = json.loads(invite_api("invite", "list", "--json", INSTANCE=str(tmp_path / "elsewhere")).stdout)
    kept = ("name", "email", "max_uses", "plan", "note", "uses")
    assert [tuple(each[name] for name in kept) for each in made] == [
        ("Anne", "anne@example.org", 3, "gold", "=1+1", 0)
    ] * 2


def test_whoever_is_invited_twice_or_is_a_member_is_noted_and_invited(invite_api, tmp_path):
    invite_api("user", "create", "charlie", "--email", "charlie@example.org")
    open_one = invite_api("invite", "create", "--email", "dora@example.org").stdout.strip()
    number = json.loads(invite_api("invite", "show", open_one, "--json").stdout)["id"]
    over = invite_api("invite", "create", "--email", "eve@example.org").stdout.strip()
    invite_api("invite", "delete", over)
    people = ("anne", "charlie", "dora", "Anne", "eve")
    (tmp_path / "guests.csv").write_text("email\n" + "".join(f"{each}@example.org\n" for each in people))
    for dry, links in ((("--dry-run",), 0), ((), 5)):
        done = invite_api("invite", "create", "--from", "guests.csv", *dry)
        assert (done.returncode, len(done.stdout.splitlines())) == (0, links)
        notes = [each for each in done.stderr.splitlines() if each.startswith("Note: guests.csv, line ")]
        assert notes[0] == "Note: guests.csv, line 3: charlie@example.org is a member already: charlie"
        assert notes[1].startswith(
            f"Note: guests.csv, line 4: dora@example.org has an active invite already: {number} (active until "
        )
        assert notes[2] == "Note: guests.csv, line 5: anne@example.org is in line 2 already"
        assert len(notes) == 3
    alone = invite_api("invite", "create", "--email", "charlie@example.org")
    assert (alone.returncode, len(alone.stdout.splitlines())) == (0, 1)
    assert "Note: charlie@example.org is a member already: charlie\n" in alone.stderr
    assert "charlie@example.org has an active invite already: " in alone.stderr


def test_an_invite_to_another_project_is_no_second_one(invite_api):
    invite_api("user", "create", "anne", "--email", "anne@example.org")
    invite_api("project", "create", "Tea Garden", "--owner", "anne")
    invite_api("invite", "create", "--email", "dora@example.org")
    elsewhere = invite_api("invite", "create", "--email", "dora@example.org", "--project", "tea-garden")
    assert (elsewhere.returncode, elsewhere.stderr) == (0, "")
    member = invite_api("invite", "create", "--email", "anne@example.org", "--project", "tea-garden")
    assert member.stderr == "Note: anne@example.org is a member of the project already: anne\n"


# Durations


@pytest.mark.any_database
@pytest.mark.parametrize("written", ["3M", "3 M", " 12M "])
def test_a_capital_m_is_not_taken_for_minutes(written, client, key):
    with pytest.raises(ValueError, match="may be minutes or months: write 30m"):
        clock.duration(written)
    for name in ("INVITE_TTL", "INVITE_TTL_MAX"):
        with pytest.raises(ConfigError, match=f"INVITE_API_{name}: has an M, which may be minutes or months"):
            load_settings({f"INVITE_API_{name}": written})
    for read in (fields.ttl, keys.lifetime):
        with pytest.raises(Invalid, match="has an M, which may be minutes or months"):
            read(written)
    refused = client.post("/invites_api", json={"ttl": written}, headers={"Authorization": f"Bearer {key}"})
    assert (refused.status_code, "minutes or months" in refused.json["error"]) == (400, True)
    assert clock.duration(written.replace("M", "m")) == clock.duration(written.replace("M", "Min"))


def test_a_capital_m_is_refused_at_every_option_and_column(invite_api, tmp_path):
    link = invite_api("invite", "create").stdout.strip()
    (tmp_path / "guests.csv").write_text("name;ttl\nAnne;3M\n")
    for words in (
        ("invite", "create", "--ttl", "3M"),
        ("invite", "create", "--from", "guests.csv"),
        ("invite", "extend", link, "3M"),
        ("create", "x", "--expires", "3M"),
    ):
        refused = invite_api(*words)
        assert (refused.returncode, refused.stdout, "minutes or months" in refused.stderr) == (1, "", True), words


# Who is meant


def test_two_people_of_one_name_are_told_apart_in_both_lists(invite_api, house, browser):
    with house.writing():
        accounts.named("alice").admin_at = clock.now()
        for each in ("smith", "jones"):
            invites.create(drafts.read({"name": "Anne", "email": f"{each}@example.org"}), drafts.SHELL)
        invites.create(drafts.read({"name": "Bob"}), drafts.SHELL)
    browser.sign_in("alice")
    shown = [" ".join(re.sub("<[^>]*>", " ", each).split()) for each in browser.client.get("/admin").text.split("<tr>")]
    for each in ("Anne smith@example.org", "Anne jones@example.org", "Bob"):
        assert any(row.startswith(each) for row in shown), shown
    house.close()
    rows = [line.split("\t") for line in invite_api("invite", "list").stdout.splitlines()]
    assert sorted((row[3], *row[6:]) for row in rows) == [
        ("Bob",),
        ("jones@example.org", "Anne"),
        ("smith@example.org", "Anne"),
    ]


def test_an_invite_is_created_for_a_name_that_is_typed_without_an_option(invite_api):
    made = invite_api("invite", "create", "Anne Smith", "--ttl", "3d")
    assert (made.returncode, made.stderr) == (0, "")
    assert json.loads(invite_api("invite", "show", made.stdout.strip(), "--json").stdout)["name"] == "Anne Smith"
    for words, message in (
        (("Anne", "--name", "Bob"), "NAME or --name"),
        (("anne@example.org",), "--email anne@example.org"),
        (("",), "is empty"),
        (("Anne", "Smith"), "unexpected extra argument"),
    ):
        refused = invite_api("invite", "create", *words)
        assert (refused.returncode, refused.stdout, message in refused.stderr) == (2, "", True), words


def test_a_key_is_named_by_all_that_create_printed_wherever_one_is_named(invite_api, client, house):
    with house.writing():
        key = keys.create("CI")
    assert client.get("/invites_api", headers={"Authorization": f"Bearer {key}"}).status_code == 201
    house.close()
    invite_api("invite", "create")
    for named in (key, key.partition("/")[0]):
        assert len(invite_api("invite", "list", "--inviter", named).stdout.splitlines()) == 1
    assert invite_api("delete", f" {key}\n").returncode == 0


# Proxies


@pytest.mark.any_database
@pytest.mark.parametrize("hop", ["unknown", "_hidden", "203.0.113.7:port", "203.0.113", "[2001:db8::7", '"192.0.2.1"'])
def test_what_a_proxy_says_and_nobody_can_read_is_logged_once(hop, caplog):
    proxy = f"198.51.100.{len(hop)}"
    trusted = load_settings({"INVITE_API_TRUSTED_PROXIES": "198.51.100.0/24"}).trusted_proxies
    limits._warned.clear()
    for _ in range(3):
        assert limits.client_address(proxy, ["203.0.113.1", hop], trusted) == proxy
    (record,) = caplog.records
    assert record.message == "X-Forwarded-For has no address: all visitors by this proxy share one rate limit"
    assert record.facts == {"proxy": proxy, "entry": hop}
    limits.client_address(proxy, ["203.0.113.1"], trusted)
    limits.client_address("203.0.113.9", [hop], trusted)  # anybody may write this
    assert len(caplog.records) == 1


# Files

NO_LINKS = ("inject=link,linkat:error=EPERM",)  # as FAT, some NAS and FUSE answer
NO_MODES = ("inject=chmod,fchmod,fchmodat:error=EPERM",)
SECRET = (sys.executable, "-c", "from settings import load_settings; print(load_settings().secrets[0].decode())")


@pytest.fixture
def refusing(tmp_path):
    """Run a command under a kernel that refuses some calls, as strace's options say, with the test's instance."""

    def run(rules, *command):
        options = [each for rule in rules for each in ("-e", rule)]
        traced = [require("strace", "strace"), "-f", "-qq", "-o", os.devnull, *options, *command]
        environ = {**os.environ, **naming(tmp_path / "instance"), "PYTHONPATH": str(HOME)}
        return subprocess.run(traced, capture_output=True, text=True, env=environ, cwd=tmp_path, check=False)

    return run


@pytest.mark.long
@pytest.mark.sqlite
def test_a_file_system_without_links_and_modes_can_hold_everything(refusing, tmp_path):
    instance = tmp_path / "instance"
    instance.mkdir(mode=0o755)
    first = refusing((*NO_LINKS, *NO_MODES), COMMAND, "invite", "create")
    assert (first.returncode, first.stderr) == (0, "")
    key = (instance / "secret.key").read_text()
    backup = refusing(NO_LINKS, COMMAND, "db", "backup", "copy.db")
    assert (backup.returncode, refusing(NO_LINKS, COMMAND, "invite", "create").returncode) == (0, 0)
    done = refusing((*NO_LINKS, *NO_MODES), COMMAND, "db", "restore", "--yes", "copy.db")
    assert done.returncode == 0, done.stderr
    (kept,) = instance.glob("invites-before-restore-*.db")
    assert len(refusing((), COMMAND, "invite", "list").stdout.splitlines()) == 1
    environ = {"INVITE_API_DATABASE_URL": f"sqlite:///{kept}"}
    before = subprocess.run(
        [COMMAND, "invite", "list"], capture_output=True, text=True, env={**naming(instance), **environ}, check=True
    )
    assert len(before.stdout.splitlines()) == 2
    assert (instance / "secret.key").read_text() == key
    assert {each.name.partition("-")[0] for each in instance.iterdir()} == {
        "secret.key",
        "invites.db",
        "invites",
        "invites.db.lock",
    }


@pytest.mark.any_database
def test_first_starts_at_once_agree_on_one_secret_without_links(refusing, tmp_path):
    with ThreadPoolExecutor(6) as at_once:
        found = [each.stdout for each in at_once.map(lambda _: refusing(NO_LINKS, *SECRET), range(6))]
    assert len(set(found)) == 1
    assert len(found[0].strip()) == 64
    file = tmp_path / "instance" / "secret.key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert os.listdir(file.parent) == ["secret.key"]


@pytest.mark.any_database
@pytest.mark.parametrize("call", ["write", "fsync", "link", "flock", "rename"])
def test_a_first_start_that_is_killed_leaves_no_half_of_a_secret(refusing, tmp_path, call):
    killed = refusing((*(NO_LINKS if call != "link" else ()), f"inject={call}:signal=KILL:when=1"), *SECRET)
    assert killed.returncode != 0
    assert killed.stdout == ""
    file = tmp_path / "instance" / "secret.key"
    assert not file.exists() or len(file.read_text()) == 65
    found = refusing(NO_LINKS, *SECRET).stdout
    assert len(found.strip()) == 64
    assert refusing(NO_LINKS, *SECRET).stdout == found


@pytest.mark.long
@pytest.mark.sqlite
@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_restore_that_is_killed_without_links_keeps_no_half_of_a_database(refusing, invite_api, tmp_path, call):
    for words in (("invite", "create"), ("db", "backup", "copy.db"), ("invite", "create")):
        assert invite_api(*words).returncode == 0
    for number in range(1, 6):
        refusing((*NO_LINKS, f"inject={call}:signal=KILL:when={number}"), COMMAND, "db", "restore", "--yes", "copy.db")
        assert invite_api("db", "check").stdout == "ok\n"
        for kept in (tmp_path / "instance").glob("invites-before-restore-*.db"):
            with closing(sqlite3.connect(kept)) as opened:
                assert opened.execute("PRAGMA quick_check").fetchall() == [("ok",)]
    assert refusing(NO_LINKS, COMMAND, "db", "restore", "--yes", "copy.db").returncode == 0
    assert len(invite_api("invite", "list").stdout.splitlines()) == 1
    assert not list((tmp_path / "instance").glob("*.keeping"))


def test_what_a_former_admin_leaves_open_is_said_and_only_what_makes_an_admin_is_revoked(invite_api, house, root):
    with house.writing():
        inviter = accounts.as_inviter(accounts.named("root"))
        for _ in range(2):
            invites.create(drafts.Draft(), inviter)
        invites.create(drafts.read({}, makes_admin=True), inviter)
    done = invite_api("user", "admin", "root", "--off")
    command = "invite-api invite list --inviter root --state active"
    assert done.returncode == 0
    assert done.stderr.startswith(f"Note: its active invites stay valid (2): {command}\n")
    assert len(invite_api(*command.split()[1:]).stdout.splitlines()) == 2
    for quiet in (("root",), ("root", "--off")):
        if quiet[1:]:
            invite_api("user", "disable", "root")
        assert invite_api("user", "admin", *quiet).stderr == ""
