"""Completion in a shell, as the shells ask for it, and the manual."""

import os
import subprocess

import pytest

import forked
from conftest import COMMAND, SOME_ID, naming
from programs import require

pytestmark = pytest.mark.any_database

PREFIXES = {"bash": "plain,", "zsh": "plain\n", "fish": "plain,"}


@pytest.fixture
def complete(tmp_path):
    """What a shell is told when somebody asks for completion after these words, the last of them unfinished."""

    def ask(*words, shell="bash", **environ):
        full = os.environ | {
            **naming(tmp_path / "instance"),
            "_INVITE_API_COMPLETE": f"{shell}_complete",
            "COMP_WORDS": " ".join(["invite-api", *words]),
            "COMP_CWORD": words[-1] if shell == "fish" else str(len(words)),
            **environ,
        }
        return forked.run([], full, tmp_path)

    return ask


@pytest.mark.long
@pytest.mark.parametrize("shell", PREFIXES)
@pytest.mark.parametrize(
    ("words", "completion", "described"),
    [
        (["del"], "delete", "Delete an API key"),
        (["invite", "ext"], "extend", "Let invites expire"),
        (["invite", "rev"], "revoke", "Revoke invites"),
        (["invite", "del"], "delete", ""),
        (["invite", "delete", "5b"], SOME_ID, "dora@example.org"),
        (["invite", "revoke", "5b"], SOME_ID, "dora@example.org"),
        (["delete", "HT"], "HTwALnKL", "x"),
        (["invite", "show", "5b"], SOME_ID, "dora@example.org"),
        (["invite", "extend", SOME_ID[:10]], SOME_ID, "dora@example.org"),
        (["invite", "list", "--after", "5b"], SOME_ID, "dora@example.org"),
        (["invite", "create", "--project", "te"], "tea-garden", "Tea Garden"),
        (["invite", "list", "--state", "rev"], "revoked", ""),
        (["user", "show", "an"], "anne", "anne"),
        (["user", "show", "anne@"], "anne@example.org", "anne"),
        (["project", "owner", "tea-garden", "bo"], "bob", "bob"),
        (["project", "members", "te"], "tea-garden", "Tea Garden"),
        (["events", "--type", "key,invite.us"], "key,invite.used", ""),
        (["preset", "show", "fa"], "family", "plan=gold uses=5"),
        (["invite", "create", "--preset", "fa"], "family", "plan=gold uses=5"),
        (["create", "--preset", "fa"], "family", "plan=gold uses=5"),
        (["pass", "create", "bo"], "bob", "bob"),
        (["pass", "create", "bob", "te"], "tea-garden", "Tea Garden"),
        (["pass", "list", "bo"], "bob", "bob"),
        (["pass", "delete", "5b"], SOME_ID, "bob, calendar"),
        (["completion", "fi"], "fish", ""),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_began_so_is_completed(complete, seeded, shell, words, completion, described):
    done = complete(*words, shell=shell)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(PREFIXES[shell] + completion)
    assert shell == "bash" or described in done.stdout
    assert done.stdout.count("plain") == 1


@pytest.mark.long
def test_mail_that_waits_is_completed(complete, seeded, invite_api):
    letter = invite_api("outbox", "list").stdout.partition("\t")[0]
    assert complete("outbox", "retry", letter[:4]).stdout == f"plain,{letter}\n"


@pytest.mark.long
def test_an_account_is_completed_by_its_id(complete, seeded, invite_api):
    user = invite_api("user", "list").stdout.partition("\t")[0]
    assert complete("user", "show", user[:12]).stdout == f"plain,{user}\n"


@pytest.mark.sqlite
def test_nothing_is_made_for_a_completion(complete, tmp_path):
    done = complete("delete", "")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
    assert not (tmp_path / "instance").exists()


@pytest.mark.long
@pytest.mark.parametrize(
    "nonsense", [{"PUBLIC_URL": "nonsense"}, {"DATABASE_URL": "sqlite:////dev/null/x"}, {"DIARY": "1"}]
)
def test_nothing_that_goes_wrong_is_said(complete, seeded, nonsense):
    done = complete("delete", "", **{f"INVITE_API_{name}": value for name, value in nonsense.items()})
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")


@pytest.mark.long
@pytest.mark.sqlite
def test_a_database_that_is_none_completes_nothing(complete, tmp_path):
    path = tmp_path / "instance" / "invites.db"
    path.parent.mkdir(mode=0o700)
    path.write_text("dear diary\n" * 100)
    done = complete("invite", "show", "")
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
    assert path.read_text() == "dear diary\n" * 100


@pytest.mark.long
def test_bash_itself_completes(seeded):
    require("bash", "bash")
    script = (
        'eval "$(invite-api completion bash)"; complete -p invite-api;'
        'COMP_WORDS=(invite-api delete HT); COMP_CWORD=2; _invite_api_completion invite-api; echo "${COMPREPLY[@]}"'
    )
    environ = os.environ | {
        "PATH": f"{COMMAND.parent}:{os.environ['PATH']}",
        **naming(seeded / "instance"),
    }
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=environ, check=True)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "HTwALnKL"


@pytest.mark.long
@pytest.mark.parametrize("shell", PREFIXES)
def test_each_shell_gets_its_script(invite_api, shell):
    script = invite_api("completion", shell).stdout
    assert "_INVITE_API_COMPLETE" in script
    assert f"{shell}_complete" in script


def test_the_manual_has_every_command_and_setting(invite_api):
    from settings import table
    from test_cli import commands

    page = invite_api("man").stdout
    for escaped, meant in (("\\-", "-"), ("\\(ti", "~"), ("\\(dq", '"')):
        page = page.replace(escaped, meant)
    for path, command in commands():
        assert f'.SS "invite-api {" ".join(path)} ' in page
        assert command.example.splitlines()[0] in page
    for name, _, _ in table():
        assert f".B {name}\n" in page


@pytest.mark.long
def test_the_manual_is_good_roff(invite_api, tmp_path):
    groff = require("groff", "groff-base")
    (tmp_path / "invite-api.1").write_text(invite_api("man").stdout)
    command = [groff, "-K", "utf8", "-man", "-Tutf8", "-ww", str(tmp_path / "invite-api.1")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    assert "Create an API key and print it: ID/SECRET." in done.stdout
