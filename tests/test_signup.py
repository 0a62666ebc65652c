"""The program to copy in examples/signup: it loses no use, and keeps no account without one."""

import json
import re
import sqlite3
import subprocess
import sys
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

from programs import require
from settings import HOME

pytestmark = pytest.mark.any_database

MAX_LINES = 120  # more than the program runs for one guest


class Service:
    """A server, a key of the program, and calls with it."""

    def __init__(self, served, tmp_path, key: str) -> None:
        self.url, self.key, self.accounts = served.url, key, tmp_path / "accounts.db"

    def call(self, method: str, path: str, body=None):
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        sent = json.dumps(body).encode() if body else None
        with urllib.request.urlopen(urllib.request.Request(self.url + path, sent, headers, method=method)) as answer:
            return json.load(answer)

    def invite(self, count: int, **given):
        created = self.call("POST", "/v1/invites", {"invites": [given] * count})["invites"]
        return {each["token"]: each["id"] for each in created}

    def sign_up(self, tokens, script: Path = HOME / "tests" / "signing_up.py"):
        environ = {"INVITE_API": self.url, "INVITE_KEY": self.key, "ACCOUNTS": str(self.accounts)}
        given = {"input": "\n".join(tokens), "env": environ, "capture_output": True, "text": True, "timeout": 300}
        done = subprocess.run([sys.executable, script], check=False, **given)
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def has(self):
        """The accounts of the program that are finished, and those that are not."""
        with closing(sqlite3.connect(self.accounts)) as connection:
            rows = connection.execute("SELECT name, hold IS NULL FROM accounts").fetchall()
        return {name for name, done in rows if done}, {name for name, done in rows if not done}


@pytest.fixture
def service(served, tmp_path):
    key = served.run("create", "signup", "--may", "create,redeem,read,manage").strip()
    return Service(served, tmp_path, key)


@pytest.mark.long
def test_killed_after_any_line_it_loses_no_use_and_keeps_no_account_without_one(service):
    invites = service.invite(MAX_LINES)
    lines = service.sign_up(invites)
    killed = [each for each in lines if each["first"] is None]
    assert len(killed) > 20
    assert len(lines) == len(killed) + 2
    for each in lines:
        assert "Welcome!" in (each["first"] or each["second"]) or "an account" in each["second"], each
        invite = service.call("GET", f"/v1/invites/{invites[each['token']]}")["invite"]
        assert (invite["state"], invite["uses"], invite["held"]) == ("used", 1, 0), each
    assert service.has() == ({each["name"] for each in lines}, set())


@pytest.mark.long
def test_a_program_that_forgets_its_hold_would_have_been_noticed(service, tmp_path):
    """A control: without settling at the start, somebody stays in between."""
    program = (HOME / "examples" / "signup" / "signup.py").read_text()
    (tmp_path / "examples" / "signup").mkdir(parents=True)
    forgetful = program.replace("        settle_all()\n", "").replace("    settle_all()\n", "    pass\n")
    assert forgetful != program
    (tmp_path / "examples" / "signup" / "signup.py").write_text(forgetful)
    (tmp_path / "tests").mkdir()
    script = tmp_path / "tests" / "signing_up.py"
    script.write_text((HOME / "tests" / "signing_up.py").read_text())
    service.sign_up(service.invite(MAX_LINES), script)
    assert service.has()[1]


def test_a_guest_reads_why_an_invitation_lets_nobody_in(service):
    (token, invite_id), *_ = service.invite(1).items()
    service.call("POST", f"/v1/invites/{invite_id}/revoke")
    said = service.sign_up([token])
    assert "revoked" in said[0]["second"]
    assert service.has() == (set(), set())


def test_a_guest_of_an_invitation_that_needs_a_yes_waits(service):
    (token, invite_id), *_ = service.invite(1, approve=True).items()
    for each in service.sign_up([token] * 1):
        assert "waits for approval" in each["second"]
    assert service.has()[0] == set()
    waiting = service.call("GET", f"/v1/invites/{invite_id}")["invite"]["waiting"]
    service.call("POST", f"/v1/invites/{invite_id}/approve", {"redemption": waiting[0]["redemption"]})
    service.sign_up([token])  # anything settles what waits
    assert service.has()[0] == {"guest0"}


RUNNER = """
import { signUp, settle } from "./signup.mjs";
const seen = [];
const accounts = {
  add: (name, hold) => seen.push(["add", name, hold]),
  finish: (name) => seen.push(["finish", name]),
  remove: (name) => seen.push(["remove", name]),
};
for (const name of ["anne", "bob"]) console.log(await signUp(accounts, process.argv[2], name));
console.log(await settle(accounts, "anne", seen[0][2]));
console.log(JSON.stringify(seen.map((each) => each.slice(0, 2))));
"""


def test_the_lines_in_javascript_sign_a_guest_up(service, tmp_path):
    lines, *_ = re.findall("```js\n(.*?)```", (HOME / "docs" / "INTEGRATING.md").read_text(), re.DOTALL)
    (tmp_path / "signup.mjs").write_text(lines)
    (tmp_path / "runner.mjs").write_text(RUNNER)
    (token,) = service.invite(1)
    environ = {"INVITE_API": service.url, "INVITE_KEY": service.key}
    command = [require("node", "nodejs"), str(tmp_path / "runner.mjs"), token]
    said = subprocess.run(command, check=True, env=environ, capture_output=True, text=True, timeout=60).stdout.split(
        "\n"
    )
    assert said[0] == said[2] == "done"
    assert "already been used" in said[1]
    assert json.loads(said[3]) == [["add", "anne"], ["finish", "anne"], ["finish", "anne"]]
