"""The command as a subprocess, in another folder than the checkout."""

import json
import os
import re
import subprocess
import sys

import pytest

from settings import HOME, VERSION

LINK = re.compile(r"http://127\.0\.0\.1:8080/invite\?[0-9a-f]{64}\n")


def test_create_prints_the_key_alone(invite_api):
    done = invite_api("create", "My test key")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{7}/[A-Za-z0-9_-]{32}\n", done.stdout)


@pytest.mark.long
def test_list_prints_ids_and_names_as_prosodyctl_does(invite_api):
    named = invite_api("create", "My test key").stdout.partition("/")[0]
    nameless = invite_api("create").stdout.partition("/")[0]
    assert set(invite_api("list").stdout.splitlines()) == {f"{named}\tMy test key", f"{nameless}\t<unknown>"}


@pytest.mark.long
def test_delete_is_silent_and_final(invite_api):
    key_id = invite_api("create", "x").stdout.partition("/")[0]
    done = invite_api("delete", key_id)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    again = invite_api("delete", key_id)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr == "Error: key not found\nName one by its id: see invite-api list\n"


@pytest.mark.long
def test_an_invite_is_made_listed_shown_and_withdrawn(invite_api):
    link = invite_api(
        "invite", "create", "--name", "Anne", "--uses", "2", "--ttl", "2 weeks", "--note", "a friend"
    ).stdout
    assert LINK.fullmatch(link)
    listed = invite_api("invite", "list").stdout.rstrip("\n").split("\t")
    assert listed[1:4] == ["active", "0/2", "Anne"]
    for name in (listed[0], link.strip(), link.strip().partition("?")[2]):
        shown = json.loads(invite_api("invite", "show", name, "--json").stdout)
        assert (shown["id"], shown["link"], shown["note"]) == (listed[0], link.strip(), "a friend")
    assert f"link\t{link}" in invite_api("invite", "show", listed[0]).stdout
    assert invite_api("invite", "delete", listed[0]).returncode == 0
    assert json.loads(invite_api("invite", "list", "--json").stdout)[0]["state"] == "revoked"


def test_several_invites_are_extended_and_revoked_together_or_none_of_them(invite_api):
    first, second = (invite_api("invite", "create", "--ttl", ttl).stdout.strip() for ttl in ("1d", "9d"))
    done = invite_api("invite", "extend", first, second, "3d")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "Note: 1 extended, 1 expire later already\n")
    refused = invite_api("invite", "delete", first, "nobody", second, "neither")
    assert (refused.returncode, refused.stderr.splitlines()) == (
        1,
        [
            "Error: WHICH: names no invite: nobody; nothing was changed",
            "WHICH: names no invite: neither; nothing was changed",
        ],
    )
    assert len(invite_api("invite", "list", "--state", "active").stdout.splitlines()) == 2
    done = invite_api("invite", "delete", first, second)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert invite_api("invite", "list", "--state", "active").stdout == ""
    again = invite_api("invite", "delete", first, second)
    assert again.stderr == "Note: 0 revoked, 2 revoked already\n"


@pytest.mark.long
@pytest.mark.parametrize("option", ["--name", "--email", "--project", "--ttl", "--uses", "--redirect-url"])
def test_an_option_that_a_script_left_empty_is_refused(invite_api, option):
    """Without an address the invite would be for anybody."""
    refused = invite_api("invite", "create", option, "")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"{option} is empty" in refused.stderr
    assert invite_api("invite", "list").stdout == ""


@pytest.mark.long
def test_an_invite_for_an_admin_lives_a_day(invite_api):
    link = invite_api("invite", "create", "--admin").stdout
    shown = json.loads(invite_api("invite", "show", link, "--json").stdout)
    assert shown["makes_admin"] is True
    assert shown["expires_at"][:10] > shown["created_at"][:10]


def test_everything_wrong_is_said_and_nothing_is_made(invite_api):
    done = invite_api("invite", "create", "--ttl", "soon", "--uses", "0", "--redirect-url", "ftp://x")
    assert (done.returncode, done.stdout) == (1, "")
    assert [line.partition(":")[0] for line in done.stderr.removeprefix("Error: ").splitlines()] == [
        "--ttl",
        "--uses",
        "--redirect-url",
    ]
    assert invite_api("invite", "list").stdout == ""


@pytest.mark.long
@pytest.mark.parametrize("which", ["nobody", "0" * 64, "http://127.0.0.1:8080/invite?abc"])
@pytest.mark.parametrize("verb", ["show", "delete"])
def test_an_invite_that_is_not_there_is_refused_in_a_sentence(invite_api, verb, which):
    done = invite_api("invite", verb, which)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: no such invite: ")


@pytest.mark.long
@pytest.mark.parametrize(
    "arguments", [["nonsense"], ["delete"], ["invite", "list", "--limit", "many"], ["serve", "--port", "x"]]
)
def test_wrong_usage_exits_2(invite_api, arguments):
    done = invite_api(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Usage: invite-api" in done.stderr


def test_settings_with_nonsense_exit_2_and_are_named(invite_api):
    done = invite_api("list", PUBLIC_URL="nonsense", THREADS="0")
    assert done.returncode == 2
    assert "INVITE_API_PUBLIC_URL: " in done.stderr
    assert "INVITE_API_THREADS: " in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_no_database_is_a_sentence_too(invite_api, tmp_path):
    (tmp_path / "diary.db").write_text("dear diary\n" * 100)
    done = invite_api("list", DATABASE_URL=f"sqlite:///{tmp_path}/diary.db")
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: {tmp_path}/diary.db: file is not a database; stop the server, and restore")
    assert "invite-api db restore FILE" in done.stderr


@pytest.mark.long
def test_stored_text_cannot_command_the_terminal(invite_api, meddle):
    invite_api("invite", "create", "--name", "Anne")
    invite_api("create", "key")
    meddle("UPDATE invites SET name = :name", name="x\x1b[31m\u202e")
    meddle("UPDATE api_keys SET name = :name", name="a\t\nb")
    printed = invite_api("invite", "list").stdout + invite_api("list").stdout
    assert "\\x1b[31m\\u202e" in printed
    assert "a\\t\\nb" in printed
    assert "\x1b" not in printed


@pytest.mark.sqlite
def test_db_path_prints_where_the_database_is(invite_api, tmp_path):
    assert invite_api("db", "path").stdout == f"{tmp_path}/instance/invites.db\n"


def test_routes_prints_the_map(invite_api):
    assert "GET POST\t/invites_api\tapi_key\t600/minute\n" in invite_api("routes").stdout


def test_a_listing_does_not_load_what_is_slow_and_not_needed(tmp_path):
    script = "import sys, cli; cli.main(['list'], standalone_mode=False); print(*sorted(sys.modules))"
    loaded = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"INVITE_API_INSTANCE": str(tmp_path)},
    ).stdout.split()
    assert "sqlalchemy.orm" in loaded
    for slow in ("flask", "email_validator", "zxcvbn", "httptools", "uvloop", "segno", "slugify", "wcwidth"):
        assert slow not in loaded


def test_nothing_at_all_is_loaded_to_say_what_there_is():
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, cli; print(*sys.modules)"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert "sqlalchemy" not in loaded


def walk(command, path=()):
    for name in command.list_commands(None):
        each = command.get_command(None, name)
        if hasattr(each, "list_commands"):
            yield from walk(each, (*path, name))
        else:
            yield (*path, name), each


def commands():
    from cli import main

    return list(walk(main))


@pytest.mark.any_database
@pytest.mark.long
@pytest.mark.parametrize(("path", "command"), [pytest.param(*each, id=" ".join(each[0])) for each in commands()])
def test_every_command_has_help_with_an_example(path, command, invite_api):
    shown = invite_api(*path, "--help")
    assert shown.returncode == 0
    assert f"$ invite-api {' '.join(path)}" in shown.stdout
    assert command.help


def test_the_command_says_its_version(invite_api):
    assert invite_api("--version").stdout == f"invite-api {VERSION}\n"


def test_the_changelog_is_kept_and_its_newest_release_is_this_one():
    text = (HOME / "CHANGELOG.md").read_text()
    headings = re.findall(r"^## (.*)$", text, re.M)
    assert headings[0] == "[Unreleased]"
    released = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - \d{4}-\d\d-\d\d", each)[1] for each in headings[1:]]
    numbers = [tuple(map(int, each.split("."))) for each in released]
    assert numbers == sorted(set(numbers), reverse=True)
    assert released[:1] in ([], [VERSION])
    kinds = set(re.findall(r"^### (.*)$", text, re.M))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


@pytest.mark.any_database
@pytest.mark.long
@pytest.mark.parametrize("group", ["", *sorted({path[0] for path, _ in commands() if len(path) > 1})])
def test_no_summary_of_a_command_is_cut_off(group, invite_api):
    shown = invite_api(*group.split(), "--help").stdout
    assert "Commands:" in shown
    assert "..." not in shown.partition("Commands:")[2]
