"""The programs to copy in examples/receivers, and what docs/INTEGRATING.md has to verify a webhook with."""

import json
import os
import re
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from conftest import free_port, wait_for
from delivery import posting
from delivery.posting import Post
from programs import require
from receiver import Got, listening
from settings import HOME

pytestmark = pytest.mark.any_database

FOLDER = HOME / "examples" / "receivers"
ADD = """import sys
from pathlib import Path
accounts = Path(__file__).with_name("accounts.txt")
if Path(__file__).with_name("broken").exists():
    sys.exit(3)
with accounts.open("a") as file:
    print(*sys.argv[1:], file=file)
"""


@contextmanager
def running(name, port, **environ):
    """One of the programs; it listens at this port."""
    given = {"PATH": os.environ["PATH"], **environ}
    with subprocess.Popen([sys.executable, FOLDER / f"{name}.py", str(port)], env=given) as process:
        try:
            wait_for(lambda: posting.send(Post(f"http://127.0.0.1:{port}/", True, {}, b"")).status)
            yield
        finally:
            process.kill()


def run_later(served, port, types):
    """A webhook to a program that does not run yet; its id and secret."""
    return served.run("webhook", "create", f"http://127.0.0.1:{port}/", "--private", "--types", types).split("\t")


@pytest.mark.long
def test_who_joins_gets_an_account_elsewhere_once_also_if_the_command_failed_at_first(served, tmp_path):
    (tmp_path / "add.py").write_text(ADD)
    (tmp_path / "broken").touch()
    port, accounts = free_port(), tmp_path / "accounts.txt"
    id_, secret = run_later(served, port, "member")
    served.run("user", "create", "anne", "--email", "anne@example.org")
    served.run("user", "create", "root")
    slug = served.run("project", "create", "Tea Garden", "--owner", "root")
    environ = {"ADD": f"{sys.executable} {tmp_path / 'add.py'}", "DONE": str(tmp_path / "done")}
    with running("accounts", port, WEBHOOK_SECRET=secret, **environ):
        served.run("project", "owner", slug, "anne")  # who was a stranger joins by it
        wait_for(lambda: "\t500\t" in served.run("webhook", "deliveries", id_), 20)
        (tmp_path / "broken").unlink()
        wait_for(accounts.exists, 20)
        wait_for(lambda: "\tsent\t" in served.run("webhook", "deliveries", id_), 20)
        served.run("webhook", "retry", served.run("webhook", "deliveries", id_).partition("\t")[0])
        wait_for(lambda: served.run("webhook", "deliveries", id_).split("\t")[6] == "1", 20)
        forged = Post(f"http://127.0.0.1:{port}/", True, {"webhook-id": "x"}, b"{}")
        assert posting.send(forged).status == 401
    assert accounts.read_text() == "anne anne@example.org\n"


class Chat(BaseHTTPRequestHandler):
    """A chat, which notes what is said."""

    def do_POST(self):
        said = self.rfile.read(int(self.headers["content-length"])).decode()
        self.server.said.append(json.loads(said) if self.headers["content-type"] == "application/json" else said)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *given):
        """It is quiet."""


@pytest.fixture
def chat():
    with ThreadingHTTPServer(("127.0.0.1", 0), Chat) as server:
        server.said = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_a_chat_is_told_who_has_used_an_invitation(served, chat):
    port = free_port()
    id_, secret = run_later(served, port, "invite")
    with running("chat", port, WEBHOOK_SECRET=secret, CHAT=f"http://127.0.0.1:{chat.server_port}/garden"):
        token = served.run("invite", "create", "Anne").partition("?")[2]
        form = f"user=anne&password=correct+horse+battery&token={token}".encode()
        assert served.get("/register", "POST", form).status == 200
        wait_for(lambda: chat.said, 20)
        assert served.run("webhook", "test", id_).startswith("204\t")
    assert chat.said == ["anne has used an invitation.", "This is a test."]


def test_a_chat_that_takes_json_is_told_in_the_field_that_it_reads(served, chat):
    port = free_port()
    id_, secret = run_later(served, port, "webhook")
    address = f"http://127.0.0.1:{chat.server_port}/garden"
    with running("chat", port, WEBHOOK_SECRET=secret, CHAT=address, FIELD="text"):
        assert served.run("webhook", "test", id_).startswith("204\t")
    assert chat.said == [{"text": "This is a test."}]


# What the page has to copy


def lines(language, part):
    """The block in this language on the page that has this part."""
    blocks = re.findall(rf"```{language}\n(.*?)```", (HOME / "docs" / "INTEGRATING.md").read_text(), re.DOTALL)
    (found,) = [each for each in blocks if part in each]
    return found


@pytest.fixture
def sent(served):
    """A webhook's secret, and a test that it was sent."""
    with listening() as receiver:
        id_, secret = served.run("webhook", "create", receiver.url, "--private").split("\t")
        served.run("webhook", "test", id_)
        return secret, next(each for each in receiver.got if b"webhook.test" in each.body)


def wrong(got: Got):
    """The same with something changed, each time another thing."""
    yield got.headers, got.body + b" "
    for name, value in (("webhook-id", "x"), ("webhook-timestamp", "1"), ("webhook-signature", "v1,x")):
        yield {**got.headers, name: value}, got.body


def test_the_lines_in_python_verify_it(sent, monkeypatch):
    secret, got = sent
    monkeypatch.setenv("WEBHOOK_SECRET", secret)
    space = {}
    exec(lines("python", "def received"), space)
    assert space["received"](dict(got.headers), got.body)["type"] == "webhook.test"
    assert [space["received"](dict(headers), body) for headers, body in wrong(got)] == [None] * 4


CALLER = """
import { received } from "./verify.mjs";
const cases = JSON.parse(process.argv[2]);
console.log(JSON.stringify(cases.map(([headers, body]) => received(headers, Buffer.from(body))?.type ?? null)));
"""


@pytest.mark.long
def test_the_lines_in_javascript_verify_it(sent, tmp_path):
    secret, got = sent
    (tmp_path / "verify.mjs").write_text(lines("js", "webhook-id"))
    (tmp_path / "caller.mjs").write_text(CALLER)
    cases = json.dumps([(dict(headers), body.decode()) for headers, body in [(got.headers, got.body), *wrong(got)]])
    command = [require("node", "nodejs"), str(tmp_path / "caller.mjs"), cases]
    said = subprocess.run(command, check=True, env={"WEBHOOK_SECRET": secret}, capture_output=True, timeout=60).stdout
    assert json.loads(said) == ["webhook.test", None, None, None, None]


@pytest.mark.long
def test_the_lines_for_a_shell_verify_it(sent, tmp_path):
    secret, got = sent
    require("openssl", "openssl")
    (tmp_path / "verify.sh").write_text(f'{lines("bash", "verify()")}\nverify "$@"\n')

    def verify(headers, body):
        given = [headers[f"webhook-{each}"] for each in ("id", "timestamp", "signature")]
        environ = {"PATH": os.environ["PATH"], "WEBHOOK_SECRET": secret}
        call = [require("bash", "bash"), tmp_path / "verify.sh", *given]
        return subprocess.run(call, input=body, env=environ, check=False, timeout=60).returncode

    assert verify(got.headers, got.body) == 0
    assert [verify(headers, body) for headers, body in wrong(got)] == [1] * 4


@pytest.mark.long
def test_a_program_that_verifies_nothing_would_have_been_noticed(served, tmp_path):
    """A control: with its look at the signature taken out, anybody creates accounts."""
    forgetful = tmp_path / "receivers"
    forgetful.mkdir()
    program = (FOLDER / "accounts.py").read_text()
    trusting = program.replace("    if not is_signed(headers, body):\n        return 401\n", "")
    assert trusting != program
    (forgetful / "accounts.py").write_text(trusting)
    (tmp_path / "add.py").write_text(ADD)
    port = free_port()
    environ = {
        "ADD": f"{sys.executable} {tmp_path / 'add.py'}",
        "DONE": str(tmp_path / "done"),
        "WEBHOOK_SECRET": "whsec_eA==",
    }
    body = json.dumps({"type": "member.joined", "data": {"user": {"id": "1", "username": "eve", "email": None}}})
    with ExitStack() as stack:
        call = [sys.executable, forgetful / "accounts.py", str(port)]
        process = stack.enter_context(subprocess.Popen(call, env={"PATH": os.environ["PATH"], **environ}))
        stack.callback(process.kill)
        url = f"http://127.0.0.1:{port}/"
        wait_for(lambda: posting.send(Post(url, True, {"webhook-id": "7"}, body.encode())).status == 204)
    assert (tmp_path / "accounts.txt").read_text() == "eve \n"
