"""A real Prosody gets the requests that our server gets, and both must answer alike.

What Debian's Prosody 0.12 does is compared, not what its documentation says: the status line,
Location, the framing of the body, every Access-Control header, and whether the invite was spent.
Where the two may differ stands in DIFFERENCES with the reason; and there they must differ.
"""

import contextlib
import inspect
import re
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from http.client import parse_headers
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple
from urllib.parse import urljoin, urlsplit

import pytest

import conftest
from programs import require

pytestmark = [pytest.mark.xdist_group("prosody"), pytest.mark.long, pytest.mark.any_database]

HOST = "chat.example"
PACKAGES = "prosody prosody-modules"
ACCESS = "Access-Control-"
CONFIG = """
data_path = "{folder}/data"
plugin_paths = {{ "{folder}/plugins" }}
log = {{ info = "{folder}/prosody.log" }}
run_as_root = true -- as another user it could not read this folder
modules_enabled = {{ "invites", "invites_api", "invites_page", "invites_register", "invites_register_web" }}
modules_disabled = {{ "c2s", "s2s", "offline" }}
http_interfaces = {{ "127.0.0.1" }}
http_ports = {{ {port} }}
https_ports = {{}}
http_default_host = "{host}"
http_external_url = "http://127.0.0.1:{port}/"
http_paths = {{ invites_page = "/invite", invites_register_web = "/register" }}
VirtualHost "{host}"
"""
# mod_invites_register_web does not load without mod_password_policy, which Debian leaves out.
PASSWORD_POLICY = """
function get_policy() return { length = 8 } end
function check_password(password) return #password >= 8, "Password is too short" end
"""

# A request as it is sent, less Host and what frames it. A Side knows what the names in braces stand for.
CASES = {
    "a key in the query": "GET /invites_api?key={key}",
    "a key with its slash escaped": "GET /invites_api?key={id}%2F{secret}",
    "a key with its slash escaped in small letters": "GET /invites_api?key={id}%2f{secret}",
    "a key in the header": "GET /invites_api?x=y\nAuthorization: Bearer {key}",
    "a key in the header, without a query": "GET /invites_api\nAuthorization: Bearer {key}",
    "a key in the header, after a tab": "GET /invites_api?x=y\nAuthorization: Bearer\t{key}",
    "a key in the header, after two spaces": "GET /invites_api?x=y\nAuthorization: Bearer  {key}",
    "a key in the header, before a space": "GET /invites_api?x=y\nAuthorization: Bearer {key} ",
    "a key in the header, before a word": "GET /invites_api?x=y\nAuthorization: Bearer {key} word",
    "a key in the header, its slash escaped": "GET /invites_api?x=y\nAuthorization: Bearer {id}%2F{secret}",
    "a key in the header, without Bearer": "GET /invites_api?x=y\nAuthorization: {key}",
    "bearer in small letters": "GET /invites_api?x=y\nAuthorization: bearer {key}",
    "Bearer and no key": "GET /invites_api?x=y\nAuthorization: Bearer",
    "Basic and a key": "GET /invites_api?x=y\nAuthorization: Basic {key}",
    "Basic and a password": "GET /invites_api?x=y\nAuthorization: Basic YTpi",
    "a good header and a good query": "GET /invites_api?key={key}\nAuthorization: Bearer {key}",
    "a good header and a bad query": "GET /invites_api?key={wrong}\nAuthorization: Bearer {key}",
    "a bad header and a good query": "GET /invites_api?key={key}\nAuthorization: Bearer {wrong}",
    "a Basic header and a good query": "GET /invites_api?key={key}\nAuthorization: Basic YTpi",
    "an empty header and a good query": "GET /invites_api?key={key}\nAuthorization:",
    "a good key, then a bad one": "GET /invites_api?key={key}&key={wrong}",
    "a bad key, then a good one": "GET /invites_api?key={wrong}&key={key}",
    "redirect=1": "GET /invites_api?key={key}&redirect=1",
    "redirect=1 and a key in the header": "GET /invites_api?redirect=1\nAuthorization: Bearer {key}",
    "redirect=no": "GET /invites_api?redirect=no&key={key}",
    "redirect=": "GET /invites_api?key={key}&redirect=",
    "redirect": "GET /invites_api?key={key}&redirect",
    "redirect alone and a key in the header": "GET /invites_api?redirect\nAuthorization: Bearer {key}",
    "REDIRECT=1": "GET /invites_api?key={key}&REDIRECT=1",
    "unknown parameters": "GET /invites_api?a=1&key={key}&b=2&b=3&c&=&%20=%00",
    "a parameter that only we know": "GET /invites_api?key={key}&ttl=3d",
    "a parameter that only we know, and it is wrong": "GET /invites_api?key={key}&ttl=soon",
    "a form in a GET": "GET /invites_api?key={key}\n\nx=y",
    "no key and no query": "GET /invites_api",
    "no key": "GET /invites_api?x=y",
    "an empty key": "GET /invites_api?key=",
    "an id": "GET /invites_api?key={id}",
    "an id and a slash": "GET /invites_api?key={id}/",
    "a slash and a secret": "GET /invites_api?key=/{secret}",
    "a wrong secret": "GET /invites_api?key={wrong}",
    "a key and more": "GET /invites_api?key={key}/more",
    "an unknown id": "GET /invites_api?key=unknown/{secret}",
    "a key of odd bytes": "GET /invites_api?key=%00%FF/%00%FF",
    "a deleted key": "GET /invites_api?key={deleted}",
    "a deleted key in the header": "GET /invites_api?x=y\nAuthorization: Bearer {deleted}",
    "an origin": "GET /invites_api?key={key}\nOrigin: https://app.example",
    "OPTIONS": "OPTIONS /invites_api",
    "OPTIONS with a key": "OPTIONS /invites_api?key={key}",
    "OPTIONS with a bad key": "OPTIONS /invites_api?key={wrong}",
    "OPTIONS with an origin": "OPTIONS /invites_api\nOrigin: https://app.example\nAccess-Control-Request-Method: GET",
    "POST": "POST /invites_api?key={key}",
    "POST with a key in the header": "POST /invites_api?x=y\nAuthorization: Bearer {key}",
    "POST with a key in the form": "POST /invites_api\n\nkey={key}",
    "POST without a key": "POST /invites_api?x=y",
    "HEAD": "HEAD /invites_api?key={key}",
    "HEAD without a key": "HEAD /invites_api?x=y",
    "PUT": "PUT /invites_api?key={key}",
    "DELETE": "DELETE /invites_api?key={key}",
    "a slash at the end of the path": "GET /invites_api/?key={key}",
    "capitals in the path": "GET /Invites_api?key={key}",
    "a link": "GET /invite?{token}",
    "a link with an unknown token": "GET /invite?unknown",
    "a link without a token": "GET /invite",
    "a link that was used": "GET /invite?{spent}",
    "a form": "GET /register?t={token}",
    "a form for an app": "GET /register?t={token}&c=",
    "a form, its token alone in the query": "GET /register?{token}",
    "a form's HEAD": "HEAD /register?t={token}",
    "a form with an unknown token": "GET /register?t=bad",
    "a form with an empty token": "GET /register?t=",
    "a form without a token": "GET /register",
    "a form with a spent token": "GET /register?t={spent}",
    "a form's OPTIONS": "OPTIONS /register",
    "a form's PUT": "PUT /register?t={token}",
    "registering": "POST /register\n\nuser=anne&password=correct+horse&token={token}",
    "registering at the form's address": "POST /register?t={token}\n\nuser=bert&password=correct+horse&token={token}",
    "registering for no app": "POST /register\n\nuser=cleo&password=correct+horse&token={token}&app_id=",
    "registering with capitals": "POST /register\n\nuser=Dora&password=correct+horse&token={token}",
    "registering with an odd password": "POST /register\n\nuser=emil&password=%C3%A4%26%3D%2B%25+%22long&token={token}",
    "registering with spaces around": "POST /register\n\nuser=+fred+&password=correct+horse&token={token}",
    "registering with a space within": "POST /register\n\nuser=gi+na&password=correct+horse&token={token}",
    "registering with an @": "POST /register\n\nuser=hans%40home&password=correct+horse&token={token}",
    "registering with an umlaut": "POST /register\n\nuser=j%C3%BCrgen&password=correct+horse&token={token}",
    "registering with one letter": "POST /register\n\nuser=k&password=correct+horse&token={token}",
    "registering a taken name": "POST /register\n\nuser={taken}&password=correct+horse&token={token}",
    "registering a taken name in capitals": "POST /register\n\nuser={shouted}&password=correct+horse&token={token}",
    "registering without a name": "POST /register\n\npassword=correct+horse&token={token}",
    "registering with an empty name": "POST /register\n\nuser=&password=correct+horse&token={token}",
    "registering without a password": "POST /register\n\nuser=lisa&token={token}",
    "registering with an empty password": "POST /register\n\nuser=lisa&password=&token={token}",
    "registering with a short password": "POST /register\n\nuser=lisa&password=horse&token={token}",
    "registering with a well-known password": "POST /register\n\nuser=lisa&password=password&token={token}",
    "registering again": "POST /register?{spent}\n\nuser=mona&password=correct+horse&token={spent}",
    "registering again at the form": "POST /register?t={spent}\n\nuser=mona&password=correct+horse&token={spent}",
    "registering again, without a query": "POST /register\n\nuser=mona&password=correct+horse&token={spent}",
    "registering with an unknown token": "POST /register?x=y\n\nuser=mona&password=correct+horse&token=bad",
    "registering without a token": "POST /register\n\nuser=mona&password=correct+horse",
    "registering with a token in the query alone": "POST /register?t={token}\n\nuser=nora&password=correct+horse",
}

OUR_CORS = (
    "Allow-Headers=Authorization,Content-Type,Idempotency-Key "
    "Allow-Methods=GET,OPTIONS,POST Allow-Origin=* Max-Age=7200"
)
THEIR_CORS = "Allow-Headers=Content-Type Allow-Methods=GET,OPTIONS Allow-Origin=* Max-Age=7200"
NO_CORS = f"CORS: {OUR_CORS}, not none"
REFLECTED = f"CORS: {OUR_CORS}, not {THEIR_CORS.replace('*', 'https://app.example')}"
REFUSED = "answer: 422 Unprocessable Entity, a body, not 200 OK, a body"

# The case, or the path for all its cases: why the two may differ, and how.
DIFFERENCES: dict[str, tuple[str, ...]] = {
    "/invites_api": (
        "A browser needs leave to send Authorization and Idempotency-Key, and we take POST.",
        f"CORS: {OUR_CORS}, not {THEIR_CORS}",
    ),
    **dict.fromkeys(
        ("an origin", "OPTIONS with an origin"),
        ("Without credentials * lets in whom a reflected origin lets in.", REFLECTED),
    ),
    "/invite": (
        "Prosody lets other sites' scripts read all its pages; ours are for people.",
        f"CORS: none, not {THEIR_CORS}",
    ),
    "/register": (
        "Prosody lets other sites' scripts read all its pages; ours are for people.",
        f"CORS: none, not {THEIR_CORS.replace('GET,OPTIONS', 'GET,OPTIONS,POST')}",
    ),
    "a key in the header, without a query": (
        "Debian's module breaks where there is no query.",
        "answer: 201 Created, empty, to URL/invite?TOKEN, not 500 Internal Server Error, without a length",
        NO_CORS,
    ),
    "no key and no query": (
        "Debian's module breaks where there is no query.",
        "answer: 403 Forbidden, a body, not 500 Internal Server Error, without a length",
        NO_CORS,
    ),
    "a key in the header, before a space": (
        "White space after a header's value is no part of it (RFC 9110, 5.5).",
        "answer: 201 Created, empty, to URL/invite?TOKEN, not 403 Forbidden, a body",
    ),
    "bearer in small letters": (
        "The case of a scheme means nothing (RFC 9110, 11.1).",
        "answer: 201 Created, empty, to URL/invite?TOKEN, not 403 Forbidden, a body",
    ),
    "a bad key, then a good one": (
        "Of two keys Prosody takes the last; we take neither, as a proxy may have looked at the other.",
        "answer: 403 Forbidden, a body, not 201 Created, empty, to URL/invite?TOKEN",
    ),
    **dict.fromkeys(
        ("redirect", "redirect alone and a key in the header"),
        (
            "Debian's module overlooks a parameter without =; we redirect whatever the value.",
            "answer: 303 See Other, empty, to URL/invite?TOKEN, not 201 Created, empty, to URL/invite?TOKEN",
        ),
    ),
    "a parameter that only we know, and it is wrong": (
        "What an invite is to be is taken from the query, or refused.",
        "answer: 400 Bad Request, a body, not 201 Created, empty, to URL/invite?TOKEN",
    ),
    **dict.fromkeys(
        ("POST", "POST with a key in the header"),
        (
            "Debian's module has GET alone; later documentation, and its own keys, allow POST.",
            "answer: 201 Created, empty, to URL/invite?TOKEN, not 404 Not Found, a body",
            NO_CORS,
        ),
    ),
    **dict.fromkeys(
        ("POST without a key", "POST with a key in the form"),
        (
            "Debian's module has GET alone; we take POST, with the key where GET has it.",
            "answer: 403 Forbidden, a body, not 404 Not Found, a body",
            NO_CORS,
        ),
    ),
    "HEAD without a key": (
        "Prosody looks at the key first, we at the method.",
        "answer: 405 Method Not Allowed, headers alone, not 403 Forbidden, headers alone",
    ),
    **dict.fromkeys(
        ("PUT", "DELETE"),
        (
            "Prosody says that there is nothing here; it is the method that is wrong.",
            "answer: 405 Method Not Allowed, a body, not 404 Not Found, a body",
            NO_CORS,
        ),
    ),
    "a slash at the end of the path": (
        "We forgive it.",
        "answer: 201 Created, empty, to URL/invite?TOKEN, not 404 Not Found, a body",
        NO_CORS,
    ),
    **dict.fromkeys(
        ("a link with an unknown token", "a link without a token"),
        (
            "A page that says what is wrong with a link has the status that says so too.",
            "answer: 404 Not Found, a body, not 200 OK, a body",
        ),
    ),
    "a link that was used": (
        "A page that says what is wrong with a link has the status that says so too.",
        "answer: 410 Gone, a body, not 200 OK, a body",
    ),
    "a form, its token alone in the query": (
        "Old programs put /register in the place of /invite; we let people do so.",
        "answer: 200 OK, a body, not 303 See Other, empty, to URL/invite?TOKEN",
    ),
    "a form with an unknown token": (
        "Prosody hands on the query as it came; we hand on nothing but tokens.",
        "answer: 303 See Other, empty, to URL/invite, not 303 See Other, empty, to URL/invite?t=bad",
    ),
    "a form with an empty token": (
        "Prosody hands on the query as it came; we hand on nothing but tokens.",
        "answer: 303 See Other, empty, to URL/invite, not 303 See Other, empty, to URL/invite?t=",
    ),
    "a form without a token": (
        "Prosody hands on the query as it came; we hand on nothing but tokens.",
        "answer: 303 See Other, empty, to URL/invite, not 303 See Other, empty, to URL/invite?",
    ),
    **dict.fromkeys(
        ("a form with a spent token", "registering again at the form"),
        (
            "Prosody hands on the query as it came, which its own page does not understand.",
            "answer: 303 See Other, empty, to URL/invite?TOKEN, not 303 See Other, empty, to URL/invite?t=TOKEN",
        ),
    ),
    "a form's OPTIONS": (
        "Prosody lets other sites' scripts read all its pages; ours are for people.",
        "answer: 405 Method Not Allowed, a body, not 200 OK, empty",
    ),
    "a form's PUT": (
        "Prosody says that there is nothing here; it is the method that is wrong.",
        "answer: 405 Method Not Allowed, a body, not 404 Not Found, a body",
    ),
    "registering with spaces around": (
        "Phones put a space after a word, and no name has one.",
        "invite: spent, not open",
    ),
    **dict.fromkeys(
        (
            "registering with a space within",
            "registering with an @",
            "registering a taken name",
            "registering a taken name in capitals",
            "registering without a name",
            "registering with an empty name",
            "registering without a password",
            "registering with an empty password",
            "registering with a short password",
        ),
        ("Prosody says 200 with a form that it refused.", REFUSED),
    ),
    **dict.fromkeys(
        ("registering with an umlaut", "registering with one letter"),
        ("A name here is 2 to 30 of a-z 0-9 . _ -", REFUSED, "invite: open, not spent"),
    ),
    "registering with a well-known password": (
        "Prosody leaves to the operator which passwords are too well known.",
        REFUSED,
        "invite: open, not spent",
    ),
    "registering again, without a query": (
        "Prosody's module breaks where a token is dead and there is no query.",
        "answer: 303 See Other, empty, to URL/invite?TOKEN, not 500 Internal Server Error, without a length",
    ),
    "registering with an unknown token": (
        "Prosody hands on the query as it came; we hand on nothing but tokens.",
        "answer: 303 See Other, empty, to URL/invite, not 303 See Other, empty, to URL/invite?x=y",
    ),
    "registering without a token": (
        "Prosody's module breaks where a token is dead and there is no query.",
        "answer: 303 See Other, empty, to URL/invite, not 500 Internal Server Error, without a length",
    ),
    "registering with a token in the query alone": (
        "A form without the token is taken with that of its address.",
        "answer: 200 OK, a body, not 303 See Other, empty, to URL/invite?t=TOKEN",
        "invite: spent, not open",
    ),
}
PATHS = [name for name in DIFFERENCES if name.startswith("/")]


class Answer(NamedTuple):
    """What came back over the socket."""

    status: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Side:
    """One of the two services. Its properties are what the names in braces stand for."""

    url: str
    command: Callable[..., "subprocess.CompletedProcess[str]"]
    key_form: str
    token_form: str

    def send(self, request: str) -> Answer:
        """Send a request as it stands, and read until the connection ends."""
        head, _, form = request.partition("\n\n")
        first, *headers = head.split("\n")
        to = urlsplit(self.url)
        lines = [f"{first} HTTP/1.1", f"Host: {to.netloc}", "Connection: close", *headers]
        if form:
            lines += ["Content-Type: application/x-www-form-urlencoded", f"Content-Length: {len(form)}"]
        with socket.create_connection((to.hostname, to.port), timeout=10) as connection:
            connection.sendall("\r\n".join([*lines, "", form]).encode())
            with connection.makefile("rb") as reply:
                return read(reply)

    def new_key(self) -> str:
        """A key without a name, as the command prints it."""
        made = self.command("create")
        assert made.returncode == 0, made.stdout + made.stderr
        return made.stdout.strip()

    def opens(self, token: str) -> bool:
        """Whether somebody may still register with a token."""
        return self.send(f"GET /register?t={token}").status == "200 OK"

    @cached_property
    def key(self) -> str:
        return self.new_key()

    @property
    def id(self) -> str:
        return self.key.partition("/")[0]

    @property
    def secret(self) -> str:
        return self.key.partition("/")[2]

    @property
    def wrong(self) -> str:
        return f"{self.id}/wrong"

    @cached_property
    def deleted(self) -> str:
        key = self.new_key()
        self.command("delete", key.partition("/")[0])
        return key

    @property
    def token(self) -> str:
        """A new one each time."""
        return self.send(f"GET /invites_api?key={self.key}").headers["Location"].partition("?")[2]

    @cached_property
    def spent(self) -> str:
        """The token with which the user name `taken` was registered."""
        token = self.token
        self.send(f"POST /register\n\nuser=taken&password=correct+horse&token={token}")
        assert not self.opens(token)
        return token

    @property
    def taken(self) -> str:
        assert self.spent
        return "taken"

    @property
    def shouted(self) -> str:
        return self.taken.upper()


def read(reply: BinaryIO) -> Answer:
    """Parse an answer; a header that came twice shows as a list."""
    status = reply.readline().decode().rstrip().partition(" ")[2]
    headers = parse_headers(reply)
    return Answer(status, {name.title(): ", ".join(headers.get_all(name)) for name in headers}, reply.read())


def outcome(side: Side, case: str) -> dict[str, str]:
    """What one side does with a request, in words that do not depend on the side."""
    meant = {name: getattr(side, name) for name in re.findall(r"{(\w+)}", case)}
    found = told(side, side.send(case.format_map(meant)))
    if "token" in meant:
        found["invite"] = "open" if side.opens(meant["token"]) else "spent"
    return found


def told(side: Side, answer: Answer) -> dict[str, str]:
    """An answer in words that do not depend on the side."""
    parts = [answer.status, framing(answer)]
    if "Location" in answer.headers:
        link = answer.headers["Location"]
        if answer.status.startswith("303") and link.startswith("/"):
            link = side.url + link  # after a form ours is a path alone, so that a visit goes on at any host name
        link = re.sub(rf"([?=]){side.token_form}$", r"\1TOKEN", link, flags=re.ASCII)
        parts.append(f"to {link.replace(side.url, 'URL')}")
    return {"answer": ", ".join(parts), "CORS": cors(answer.headers)}


def framing(answer: Answer) -> str:
    """How much came, by the header and by the bytes."""
    length = answer.headers.get("Content-Length")
    if length is None:
        return "without a length"
    if length == str(len(answer.body)):
        return "a body" if answer.body else "empty"
    return "another length" if answer.body else "headers alone"


def cors(headers: Mapping[str, str]) -> str:
    """Every Access-Control header that Prosody has; the order within a list says nothing.

    Beyond Prosody the link can be read (Expose-Headers), and so can the page of an invitation (Allow-Origin alone).
    """
    names = {name for name in headers if name.startswith(ACCESS)} - {f"{ACCESS}Expose-Headers"}
    if names == {f"{ACCESS}Allow-Origin"}:
        names = set()
    lists = {name: sorted(headers[name].split(", ")) for name in sorted(names)}
    return " ".join(f"{name.removeprefix(ACCESS)}={','.join(values)}" for name, values in lists.items()) or "none"


def differences(ours: Mapping[str, str], theirs: Mapping[str, str]) -> set[str]:
    """What differs, each difference in a line."""
    return {f"{part}: {ours[part]}, not {theirs[part]}" for part in ours if ours[part] != theirs[part]}


def listed(name: str) -> set[str]:
    """The differences that a case, or a path, may and must have."""
    _, *lines = DIFFERENCES.get(name, ("",))
    return set(lines)


def surprises(name: str, ours: Mapping[str, str], theirs: Mapping[str, str]) -> set[str]:
    """What differs in a case and is not listed, and what is listed and does not differ."""
    path = urlsplit(CASES[name].split()[1]).path
    return (differences(ours, theirs) - listed(path)) ^ listed(name)


def run(command: list[object], **options: Any) -> "subprocess.CompletedProcess[str]":
    """Run a command to its end, whatever that is."""
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    """Our server, from conftest's `serve`, but one for the whole module."""
    with contextlib.contextmanager(inspect.unwrap(conftest.serve))(tmp_path_factory.mktemp("ours")) as serve:
        served = serve()

        def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
            return run([conftest.COMMAND, *arguments], env=served.environ)

        yield Side(served.url, command, r"[\w-]{8}/[\w-]{32}", "[0-9a-f]{64}")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    """A Prosody with a folder and a port of its own."""
    server, control = (require(program, PACKAGES) for program in ("prosody", "prosodyctl"))
    folder, port = tmp_path_factory.mktemp("prosody"), conftest.free_port()
    config = configure(folder, port)

    def command(verb: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return run([control, "--config", config, "mod_invites_api", verb, HOST, *arguments])

    with (folder / "output").open("wb") as output:
        process = subprocess.Popen([server, "-F", "--config", config], stdout=output, stderr=output)
    try:
        wait_until_it_listens(process, port, folder / "output")
        yield Side(f"http://127.0.0.1:{port}", command, r"[\w-]{12}/[\w-]{36}", r"[\w-]{24}")
    finally:
        process.kill()
        process.wait()


def configure(folder: Path, port: int) -> Path:
    """Lay out a folder for Prosody; returns its configuration."""
    for each in ("data", "certs", "plugins"):
        (folder / each).mkdir()
    (folder / "plugins" / "mod_password_policy.lua").write_text(PASSWORD_POLICY)
    config = folder / "prosody.cfg.lua"
    config.write_text(CONFIG.format(folder=folder, port=port, host=HOST))
    return config


def wait_until_it_listens(process: "subprocess.Popen[bytes]", port: int, output: Path) -> None:
    deadline = time.monotonic() + 30
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
            return
        time.sleep(0.02)
    pytest.fail(f"Prosody does not start: {output.read_text()}")


@pytest.fixture(params=["ours", "theirs"])
def side(request):
    """Each of the two in turn."""
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("name", CASES)
def test_both_answer_alike_but_for_what_is_listed(ours, theirs, name):
    case = CASES[name]
    assert not surprises(name, outcome(ours, case), outcome(theirs, case))


@pytest.mark.parametrize("path", PATHS)
def test_what_is_listed_for_a_whole_path_differs_there(ours, theirs, path):
    case = f"GET {path}?x=y"
    assert listed(path) <= differences(outcome(ours, case), outcome(theirs, case))


def test_every_difference_listed_is_that_of_a_case_or_of_a_path():
    assert set(DIFFERENCES) <= {*CASES, *PATHS}


def altered(**headers: str | None) -> Callable[[Answer], Answer]:
    """An answer with other headers than it has, and without those that are None."""

    def alter(answer: Answer) -> Answer:
        merged = answer.headers | {name.replace("_", "-"): value for name, value in headers.items()}
        return answer._replace(headers={name: value for name, value in merged.items() if value is not None})

    return alter


@pytest.mark.parametrize(
    "alter",
    [
        pytest.param(lambda answer: answer._replace(status="200 OK"), id="another status"),
        pytest.param(lambda answer: answer._replace(status="201 CREATED"), id="another phrase"),
        pytest.param(lambda answer: answer._replace(body=b"x"), id="a body beyond its length"),
        pytest.param(lambda answer: altered(Content_Length="1")(answer._replace(body=b"x")), id="a body"),
        pytest.param(altered(Content_Length=None), id="no length"),
        pytest.param(altered(Location=None), id="no Location"),
        pytest.param(altered(Location="/invite?" + 64 * "a"), id="a relative Location"),
        pytest.param(altered(Location="http://evil.example/invite?" + 64 * "a"), id="another host"),
        pytest.param(lambda answer: altered(Location=answer.headers["Location"][:-1])(answer), id="a shorter token"),
        pytest.param(lambda answer: altered(Location=answer.headers["Location"] + "&a")(answer), id="a longer query"),
        pytest.param(altered(Access_Control_Allow_Origin=None), id="no origin"),
        pytest.param(altered(Access_Control_Allow_Methods="GET, OPTIONS"), id="fewer methods"),
        pytest.param(altered(Access_Control_Allow_Headers=None), id="no headers allowed"),
        pytest.param(altered(Access_Control_Max_Age="60"), id="another age"),
        pytest.param(altered(Access_Control_Allow_Credentials="true"), id="credentials"),
    ],
)
def test_an_altered_answer_is_reported(ours, alter):
    name = "capitals in the path"  # nothing is listed for it
    answer = ours.send(f"GET /invites_api?key={ours.key}")
    assert not surprises(name, told(ours, answer), told(ours, answer))
    assert surprises(name, told(ours, alter(answer)), told(ours, answer))


def test_an_invite_that_only_one_of_them_spends_is_reported(ours):
    opened = outcome(ours, "GET /register?t={token}")
    assert surprises("capitals in the path", opened, opened | {"invite": "spent"})


def test_a_difference_that_is_listed_and_gone_is_reported(ours):
    same = outcome(ours, CASES["bearer in small letters"])
    assert surprises("bearer in small letters", same, same) == listed("bearer in small letters")


def test_an_old_client_registers_by_surgery_on_the_link(side):
    link = side.send(f"GET /invites_api?key={side.key}").headers["Location"]
    address, token = link.replace("/invite", "/register"), link.partition("?")[2]
    post = f"POST {address.removeprefix(side.url)}\n\nuser=olga&password=correct+horse&token={token}"
    assert side.send(post).status == "200 OK"
    again = side.send(post)
    assert (again.status, urljoin(side.url, again.headers["Location"])) == ("303 See Other", link)


def test_a_deleted_key_is_refused_by_both(side):
    key = side.new_key()
    assert side.send(f"GET /invites_api?key={key}").status == "201 Created"
    side.command("delete", key.partition("/")[0])
    assert side.send(f"GET /invites_api?key={key}").status == "403 Forbidden"


def test_create_prints_the_key_alone(side):
    made = side.command("create", "My test key")
    assert (made.returncode, made.stderr) == (0, "")
    assert re.fullmatch(side.key_form + "\n", made.stdout, re.ASCII)


def test_list_prints_id_tab_name(side):
    key_id = side.command("create", "My test key").stdout.partition("/")[0]
    shown = side.command("list")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert f"{key_id}\tMy test key" in shown.stdout.splitlines()


def test_list_prints_unknown_for_a_key_without_a_name(side):
    key_id = side.new_key().partition("/")[0]
    assert f"{key_id}\t<unknown>" in side.command("list").stdout.splitlines()


def test_delete_is_silent_and_the_key_is_listed_no_more(side):
    key_id = side.new_key().partition("/")[0]
    deleted = side.command("delete", key_id)
    assert (deleted.returncode, deleted.stdout, deleted.stderr) == (0, "", "")
    assert key_id not in side.command("list").stdout


def test_delete_of_an_unknown_id_fails_in_the_same_words_but_ours_go_to_stderr(ours, theirs):
    we, they = ours.command("delete", "unknown"), theirs.command("delete", "unknown")
    assert (we.returncode, we.stdout, we.stderr.splitlines()[0]) == (1, "", "Error: key not found")
    assert (they.returncode, they.stdout, they.stderr) == (1, "Error: key not found\n", "")
