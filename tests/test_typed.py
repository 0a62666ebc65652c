"""What is typed wrongly at the command, and what becomes of its result."""

import shlex

import click
import pytest

from conftest import OTHER_ID, SOME_ID, SOME_WEBHOOK
from rules import invites
from test_cli import commands

TEXTS = [
    pytest.param(path, command, each, id=f"{' '.join(path)} {each.opts[0]}")
    for path, command in commands()
    for each in command.params
    if isinstance(each.type, (click.types.StringParamType, click.Path))
]


def typed(path, command, param):
    """A call in which this option or argument is empty, and all others that must be there are not."""
    call = list(path)
    for each in command.params:
        value = "" if each is param else "." if isinstance(each.type, click.Path) else "x"
        if each is param or each.required:
            call += [value] if isinstance(each, click.Argument) else [each.opts[0], value]
        elif isinstance(each, click.Argument) and isinstance(param, click.Argument):
            call += ["x"] * (command.params.index(each) < command.params.index(param))
    return call


@pytest.mark.any_database
def test_every_command_is_looked_at():
    assert len(TEXTS) > 80
    assert typed(*TEXTS[0].values) == ["create", ""]


@pytest.mark.long  # each of them from every side: a process for each
@pytest.mark.any_database
@pytest.mark.parametrize(("path", "command", "param"), TEXTS)
def test_what_is_empty_is_refused_before_anything_happens(path, command, param, invite_api, tmp_path):
    done = invite_api(*typed(path, command, param))
    assert (done.returncode, done.stdout) == (2, "")
    assert "is empty: say what it is to be" in done.stderr or "Path '' does not exist" in done.stderr
    assert ("or leave it out" in done.stderr) == ("is empty" in done.stderr and not param.required)
    assert not (tmp_path / "instance").exists()


@pytest.mark.any_database
def test_one_of_several_that_is_empty_is_refused(invite_api):
    for call in ("invite delete x ''", "project gate x https://a.example.org ''", "project gate x --public ''"):
        done = invite_api(*shlex.split(call))
        assert (done.returncode, " is empty: say what" in done.stderr) == (2, True)


@pytest.mark.any_database
def test_help_is_given_beside_what_is_empty(invite_api):
    assert invite_api("invite", "create", "", "--help").returncode == 0


LOST = {
    "create ci": "invite-api list names the key",
    f"invite rotate {SOME_ID}": "invite-api invite show WHICH prints the new one",
    "user create dora": "invite-api user reset WHO prints a new link",
    "user reset anne": "invite-api user reset WHO prints another link",
    "user disable anne --branch": "done all the same\n",
    "project create House --owner anne": "invite-api project list prints its slug",
    "pass create bob tea-garden": "invite-api pass list names the pass",
    "webhook create https://app.example.org/hook": "invite-api webhook rotate WEBHOOK prints a new secret",
    f"webhook rotate {SOME_WEBHOOK}": "it has a new secret; invite-api webhook rotate WEBHOOK prints another",
}


@pytest.mark.any_database
@pytest.mark.long
@pytest.mark.parametrize("call", LOST)
def test_what_was_done_is_said_where_its_result_cannot_be_written(call, shell):
    events = shell("invite-api events --limit 1000").stdout
    done = shell(f"invite-api {call} > /dev/full")
    assert (done.returncode, done.stdout) == (1, "")
    assert "written: No space left on device; what was asked for was done all the same" in done.stderr
    assert LOST[call] in done.stderr
    assert shell("invite-api events --limit 1000").stdout != events or call.startswith(("user reset", "webhook rotate"))


@pytest.mark.long
def test_what_only_reads_or_is_refused_says_nothing_of_what_was_done(shell):
    assert "all the same" not in shell("invite-api list > /dev/full").stderr
    assert "all the same" not in shell("invite-api user create anne > /dev/full").stderr


@pytest.mark.long
@pytest.mark.any_database
@pytest.mark.parametrize("call", ["create K", "invite create Zed", "invite list", "db path", "user disable anne"])
def test_nothing_is_done_where_stdout_is_closed(call, shell):
    done = shell(f"invite-api {call} >&-")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: stdout is closed, so nothing was done; > /dev/null leaves the result out\n"
    assert shell(f"invite-api {call} >&- 2>&- <&-").returncode == 1
    assert "\tK\n" not in shell("invite-api list").stdout
    assert "Zed" not in shell("invite-api invite list").stdout
    assert "\tdisabled\t" not in shell("invite-api user list").stdout


def test_what_needs_no_closed_stream_is_done(shell):
    assert shell("invite-api invite create Zed <&- 2>&-").stdout.count("/invite?") == 1
    assert "Zed" in shell("invite-api invite list <&-").stdout


def test_a_file_from_a_closed_stdin_is_empty(shell):
    done = shell("invite-api invite create --from - <&-")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: ")
    assert done.stderr.count("\n") == 1


@pytest.mark.long
def test_the_server_starts_with_closed_streams(shell):
    done = shell("timeout -s INT 30 invite-api serve --host 192.0.2.1 --port 1 <&- >&-")
    assert (done.returncode, "cannot listen on 192.0.2.1:1" in done.stderr) == (1, True)


@pytest.mark.long
@pytest.mark.parametrize("other", [True, False])
@pytest.mark.parametrize("call", ["admin anne --off", "disable anne", "delete anne"])
def test_a_site_that_loses_its_last_admin_is_told_how_to_get_one(call, other, shell):
    for name in ("anne", "alice")[: 1 + other]:
        assert shell(f"invite-api user admin {name}").stderr == ""
    note = "Note: this site has no admin now; invite-api invite create --admin prints a link that makes one\n"
    done = shell(f"invite-api user {call}")
    assert done.returncode == 0
    assert (note in done.stderr) != other
    assert "no admin now" not in shell("invite-api user disable bob").stderr  # it is not its doing


@pytest.mark.long
@pytest.mark.parametrize("name", ["revoke", "delete"])
def test_an_invite_is_revoked_by_either_name(name, shell):
    assert f"Usage: invite-api invite {name} [OPTIONS] WHICH" in shell(f"invite-api invite {name} --help").stdout
    assert shell(f"invite-api invite {name} {SOME_ID}").returncode == 0
    assert f"{SOME_ID}\trevoked\t" in shell("invite-api invite list").stdout
    commands = shell("invite-api invite --help").stdout
    assert ("\n  revoke " in commands, "\n  delete " in commands) == (True, False)


@pytest.mark.long
def test_an_invite_and_a_preset_expire_by_either_name(shell):
    shell("invite-api invite create Ada --expires 'never'; invite-api preset create short --expires 3h")
    assert "\tAda\tnever\t" in shell("invite-api invite list").stdout
    assert "ttl=3h" in shell("invite-api preset list").stdout
    assert shell("invite-api invite create --expires soon").stderr.startswith("Error: --ttl: must be ")


@pytest.mark.long
def test_an_invite_is_not_extended_to_expire_earlier_unless_that_is_asked_for(shell, house):
    with house.writing():
        until = invites.find_by_id(SOME_ID).expires_at
    done = shell(f"invite-api invite extend {SOME_ID} 1d")
    assert (done.returncode, done.stdout) == (1, "")
    day = f"{until.day} {until:%B %Y, %H:%M} UTC"
    assert done.stderr == f"Error: it is already valid until {day}: to let it expire earlier, add --earlier\n"
    with house.reading():
        assert invites.find_by_id(SOME_ID).expires_at == until
    assert shell(f"invite-api invite extend {SOME_ID} 1d --earlier").returncode == 0
    with house.reading():
        assert invites.find_by_id(SOME_ID).expires_at < until
    assert shell(f"invite-api invite extend {SOME_ID} never").returncode == 0
    assert "Error: it never expires: to let it" in shell(f"invite-api invite extend {SOME_ID} 300d").stderr
    assert shell(f"invite-api invite extend {SOME_ID} never").returncode == 0
    several = shell(f"invite-api invite extend {SOME_ID} {OTHER_ID} 1d --earlier")
    assert (several.returncode, "--earlier is for one invite" in several.stderr) == (2, True)
    shell(f"invite-api invite revoke {SOME_ID}")
    assert "was revoked" in shell(f"invite-api invite extend {SOME_ID} 1d").stderr


def test_what_is_typed_wrongly_is_refused_with_what_was_meant(shell):
    assert "must be a number from 0 to 65535" in shell("invite-api serve --port http").stderr
    assert "must be a number from 0 to 65535" in shell("invite-api serve --port 70000").stderr
    assert "must be a number from 1 to 100000" in shell("invite-api invite list --limit 0").stderr
    extra = shell("invite-api invite create Tom Smith")
    assert (extra.returncode, "(Smith) Put a name that has a space in it in quotes." in extra.stderr) == (2, True)
    assert "quotes" not in shell("invite-api invite create Tom --tll 3d").stderr


@pytest.mark.parametrize("typed", ["Tea-Garden", "'Tea Garden'"])
def test_a_project_is_guessed_that_was_named_in_capitals(typed, shell):
    for call in (f"project gate {typed}", f"member list {typed}", f"project delete {typed}"):
        done = shell(f"invite-api {call}")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.endswith("see invite-api project list; did you mean tea-garden?\n")
    assert shell("invite-api member list garden").stderr.endswith("see invite-api project list\n")


@pytest.mark.long
def test_bytes_of_another_encoding_are_said_to_be_so(shell):
    for call in ("invite create", "create", "invite list --text", "project create --owner anne", "user show"):
        done = shell(f"invite-api {call} $'Zo\\xeb'")
        assert (done.returncode, done.stdout, done.stderr) == (2, "", "Error: what was typed is not UTF-8\n")


@pytest.mark.sqlite
def test_a_file_that_cannot_be_restored_changes_nothing_and_says_so(shell, seeded):
    (seeded / "diary.db").write_text("dear diary\n" * 100)
    for file in ("diary.db", "guests.csv", "nowhere.db"):
        done = shell(f"invite-api db restore {file} --yes")
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.endswith("nothing was changed\n")
        assert (done.stderr.count("nothing was changed"), "stop the server" in done.stderr) == (1, False)
    assert shell("invite-api user show anne").returncode == 0


def test_a_link_that_is_lost_is_given_anew(shell):
    there = shell(f"INVITE_API_SECRET_KEY={'x' * 40} invite-api invite show {SOME_ID}")
    assert there.returncode == 0
    assert there.stderr.endswith("or give the invite a new link with invite-api invite rotate ID\n")
