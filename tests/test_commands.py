"""Every command there is, walked through: its example runs, its JSON parses, what goes wrong is said."""

import json
import os
import shlex
import signal
import subprocess

import pytest

import clock
import postgres
from conftest import COMMAND, HASH, SOME_ID, free_port, naming
from rules import accounts, drafts, invites
from test_cli import commands

ALL = [pytest.param(*each, id=" ".join(each[0])) for each in commands()]
LISTS = [
    pytest.param(*each, id=" ".join(each[0])) for each in commands() if "as_json" in {p.name for p in each[1].params}
]

# What each command refuses; those of the second table have nothing to refuse in a database that is whole.
REFUSED = {
    "create": "x --expires yesterday",
    "delete": "unknown",
    "invite create": "--ttl soon",
    "invite list": "--project nowhere",
    "invite show": "unknown",
    "invite revoke": "unknown",
    "invite extend": f"{SOME_ID} yesterday",
    "invite resend": "unknown",
    "invite rotate": "unknown",
    "invite approve": SOME_ID,
    "invite deny": f"{SOME_ID} bob",
    "invite export": "--project nowhere",
    "user create": "anne",
    "user show": "unknown",
    "user admin": "unknown",
    "user disable": "unknown",
    "user budget": "anne many",
    "user tree": "unknown",
    "user move": "unknown --root",
    "user delete": "alice",
    "user reset": "unknown",
    "project create": "Garden --owner unknown",
    "project members": "nowhere",
    "member list": "nowhere",
    "member extend": "tea-garden anne soon",
    "member remove": "tea-garden alice",
    "project join-url": "tea-garden https://app.example.org/",
    "project gate": "tea-garden https://photos.example.org/albums",
    "pass create": "anne tea-garden",
    "pass delete": "unknown",
    "project owner": "nowhere anne",
    "project delete": "nowhere",
    "events": "--type zebra",
    "preset create": "family --plan gold",
    "preset show": "unknown",
    "preset delete": "unknown",
    "outbox retry": "unknown",
    "outbox block": "anne",
    "outbox unblock": "anne",
    "outbox blocked": "anne",
    "webhook create": "http://app.example.org/",
    "webhook show": "unknown",
    "webhook test": "unknown",
    "webhook rotate": "unknown",
    "webhook enable": "unknown",
    "webhook disable": "unknown",
    "webhook delete": "unknown",
    "webhook deliveries": "unknown",
    "webhook retry": "unknown",
    "import": "--prosody .",
    "db backup": "yesterday.db",
    "db copy": "--to sqlite:////no/such/folder/copy.db",
    "db restore": "guests.csv --yes",
    "serve": "--host 192.0.2.1",
}
LISTING = {
    *("list", "user list", "project list", "pass list", "preset list", "outbox list", "webhook list"),
    *("db check", "db migrate"),
}
ABOUT_THE_FILE = {("db", "backup"), ("db", "restore")}
ELSEWHERE = "postgresql://invites@db.example.org/invites"
WITHOUT_DATABASE = {"routes", "completion", "man", "db path"}


@pytest.mark.long
@pytest.mark.parametrize(("path", "command"), [each for each in ALL if each.id not in ("serve", "webhook test")])
def test_the_example_in_the_help_runs(path, command, shell, seeded):
    examples = [line for line in command.example.splitlines() if not line.startswith(" ")]
    assert examples
    for example in examples:
        assert example.startswith(f"invite-api {' '.join(path)}")
        here = example.replace("/var/lib/prosody", str(seeded / "prosody")).replace(
            ELSEWHERE, f"sqlite:///{seeded}/x.db"
        )
        done = shell(here)
        if postgres.is_used() and path in ABOUT_THE_FILE:
            assert (done.returncode, "pg_dump" in done.stderr) == (1, True)
            continue
        assert (done.returncode, "Error" in done.stderr) == (0, False), done.stderr


@pytest.mark.any_database
def test_the_example_of_serve_runs_until_ctrl_c(seeded):
    (serve,) = [command for path, command in commands() if path == ("serve",)]
    call = shlex.split(serve.example.replace("8080", str(free_port())))
    environ = os.environ | naming(seeded / "instance")
    process = subprocess.Popen([COMMAND, *call[1:]], stderr=subprocess.PIPE, text=True, env=environ)
    assert "invite-api listens on http://127.0.0.1:" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 0
    process.stderr.close()


@pytest.mark.long
@pytest.mark.parametrize(("path", "command"), LISTS)
def test_lists_and_details_are_json_if_asked_for(path, command, shell):
    example = command.example.splitlines()[0]
    done = shell(f"{example} --json")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(map(json.loads, done.stdout.splitlines()))
    assert done.stdout
    plain = shell(example)
    assert plain.stdout
    assert "\x1b" not in plain.stdout


def test_every_list_and_every_show_has_json():
    named = {
        path
        for path, _ in commands()
        if path[-1] in ("list", "show", "members", "events", "routes", "deliveries", "blocked", "tree")
    }
    assert {each.values[0] for each in LISTS} == named


@pytest.mark.any_database
@pytest.mark.long
@pytest.mark.parametrize(("path", "command"), ALL)
def test_wrong_usage_exits_2_and_prints_nothing(path, command, invite_api):
    done = invite_api(*path, "--nonsense")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"Usage: invite-api {' '.join(path)}" in done.stderr
    assert "Error: No such option" in done.stderr


@pytest.mark.long
@pytest.mark.parametrize("path", REFUSED)
def test_a_refusal_exits_1_with_a_sentence_that_says_what_to_do(path, shell):
    done = shell(f"invite-api {path} {REFUSED[path]}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1 + (path == "delete")  # whose first line is prosodyctl's
    assert len(done.stderr) > 20


@pytest.mark.any_database  # it is given one of its own
@pytest.mark.long
@pytest.mark.parametrize("path", sorted({*REFUSED, *LISTING} - {"import", "db restore"}))
def test_without_its_database_every_command_says_so(path, invite_api, tmp_path):
    (tmp_path / "diary.db").write_text("dear diary\n" * 100)
    arguments = shlex.split(REFUSED.get(path, ""))
    done = invite_api(*path.split(), *arguments, DATABASE_URL=f"sqlite:///{tmp_path}/diary.db")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"Error: {tmp_path}/diary.db: file is not a database; stop the server, and restore")
    assert "invite-api db restore FILE" in done.stderr


def test_no_command_is_left_out():
    assert {" ".join(path) for path, _ in commands()} == {*REFUSED, *LISTING, *WITHOUT_DATABASE}


@pytest.mark.long
def test_an_id_may_be_cut_as_a_terminal_shows_it(shell):
    assert json.loads(shell(f"invite-api invite show {SOME_ID[:8]} --json").stdout)["id"] == SOME_ID
    user = json.loads(shell("invite-api user list --json").stdout)[0]
    assert json.loads(shell(f"invite-api user show {user['id'][:8]} --json").stdout).items() >= user.items()
    letter = shell("invite-api outbox list").stdout.partition("\t")[0]
    assert shell(f"invite-api outbox retry {letter[:8]}").returncode == 0
    assert shell(f"invite-api invite show {SOME_ID[:7]}").returncode == 1


@pytest.mark.long
def test_an_id_that_is_cut_must_not_mean_two(shell, house):
    with house.writing():
        invites.create(drafts.Draft(), drafts.SHELL).id = SOME_ID[:-1] + "1"
    assert shell(f"invite-api invite delete {SOME_ID[:-1]}").returncode == 1
    assert shell(f"invite-api invite delete {SOME_ID}").returncode == 0


@pytest.mark.long
def test_a_key_can_be_made_to_expire(shell):
    key = shell("invite-api create ci --expires '2 weeks'").stdout.strip()
    (row,) = [
        each for each in json.loads(shell("invite-api list --json").stdout) if each["id"] == key.partition("/")[0]
    ]
    assert row["expires_at"] > row["created_at"]
    assert (
        f"{row['id']}\tci\t{row['created_at']}\tnever\t{row['expires_at']}\tcreate\t-\n"
        in shell("invite-api list --long").stdout
    )
    assert f"{row['id']}\tci\n" in shell("invite-api list").stdout


@pytest.mark.long
@pytest.mark.parametrize("expires", ["soon", "0", "-1d", "5000d", "1e9 weeks"])
def test_a_lifetime_that_makes_no_sense_is_refused(shell, expires):
    done = shell(f"invite-api create ci --expires '{expires}'")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: --expires: must be ")


@pytest.mark.long
def test_the_list_is_filtered_and_goes_on_where_it_ended(shell):
    for name in ("first", "second", "third"):
        shell(f"invite-api invite create --name {name} --project tea-garden --note 'for {name}'")
    first = shell("invite-api invite list --project tea-garden --limit 2")
    ids = [line.partition("\t")[0] for line in first.stdout.splitlines()]
    assert first.stderr == f"Note: there are more; go on with --after {ids[1]}\n"
    rest = shell(f"invite-api invite list --project tea-garden --limit 2 --after {ids[1]}")
    assert (rest.stdout.split("\t")[3], rest.stderr) == ("first", "")
    assert (
        shell("invite-api invite list --text 'for sec' --state active --inviter shell").stdout.split("\t")[3]
        == "second"
    )
    assert shell("invite-api invite list --email dora@example.org").stdout.startswith(SOME_ID)
    assert shell("invite-api invite list --email nobody").stderr.startswith("Error: --email: is not a valid address")
    assert shell(f"invite-api invite list --text '{'x' * 300}'").stderr.startswith("Error: --text: is longer than")
    assert shell("invite-api invite list --state lost").returncode == 2
    assert shell("invite-api invite list --after unknown").returncode == 1


@pytest.mark.long
def test_show_tells_what_has_happened(shell, house):
    link = shell("invite-api invite create --email dora@example.org --mail --uses 2").stdout.strip()
    with house.writing():
        accounts.register(link.partition("?")[2], accounts.Names("dora"), HASH)
    shell(f"invite-api invite delete '{link}'")
    shown = json.loads(shell(f"invite-api invite show '{link}' --json").stdout)
    assert [(each["what"], each["who"]) for each in shown["timeline"]] == [
        ("made", "shell"),
        ("to be sent", "dora@example.org"),
        ("used", "dora"),
        ("revoked", "shell"),
    ]
    assert f"timeline\tcreated shell {shown['created_at']}\n" in shell(f"invite-api invite show '{link}'").stdout


@pytest.mark.long
def test_what_is_dead_is_refused_in_the_words_of_who_runs_the_place(shell, house):
    dead = f"invite-api invite rotate {SOME_ID}"
    with house.writing():
        invites.find_by_id(SOME_ID).expires_at = clock.now()
    assert shell(dead).stderr.startswith(
        "Error: this invite expired; extend it with invite-api invite extend, or create"
    )
    shell(f"invite-api invite delete {SOME_ID}")
    assert shell(dead).stderr.startswith("Error: this invite was revoked; create a new one")
    with house.writing():
        invites.find_by_id(SOME_ID).uses = 1
    assert shell(dead).stderr.startswith("Error: this invite has been used; create a new one")


@pytest.mark.long
def test_check_finds_what_does_not_add_up(shell, house):
    assert shell("invite-api db check").stdout == "ok\n"
    with house.writing():
        invites.find_by_id(SOME_ID).uses = 1
    done = shell("invite-api db check")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"invite {SOME_ID}: its uses are not the number of its redemptions" in done.stderr


@pytest.mark.long
@pytest.mark.sqlite
def test_check_finds_rows_that_refer_to_nothing(shell, house, settings):
    with house.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys = OFF")
        connection.exec_driver_sql("DELETE FROM projects")
    assert "members, row 1: refers to a row of projects that is not there" in shell("invite-api db check").stderr


def test_a_disk_that_is_full_does_not_hide_what_was_made(shell):
    done = shell("invite-api invite create --count 3 > /dev/full")
    assert done.returncode == 1
    assert (
        "No space left on device; all 3 invites were created; invite-api invite export --with-links prints"
        in done.stderr
    )


@pytest.mark.any_database
def test_a_command_that_is_misspelt_is_guessed(invite_api):
    assert "Did you mean 'create'?" in invite_api("creat").stderr
