"""Secrets are told to whom they are for, and are nowhere else: every one that was given out is searched for."""

import base64
import hashlib
import itertools
import json
import re
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote, urlencode

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult

from app import ROUTES
from conftest import COMMAND, Answer, Mailbox, Served, free_port, listening_for_mail, servers, wait_for
from faults import talkative
from receiver import Receiver, listening

pytestmark = [pytest.mark.sqlite, pytest.mark.long]

JSON = {"Content-Type": "application/json"}
OURS = {"Sec-Fetch-Site": "same-origin"}
POSTMARK = "postmark-secret-0815"  # the password for the mail server
LINKS = ("/invite?{}", "/invite?token={}&name=x", "/register?t={}", "/qr?{}", "/invites/{}", "/login?t={}")
ASTRAY = ("/nothing/{}", "/?x={}", "/invites/{}x", "/invites_api?key={}&ttl=x", "/invite/{}", "//{}", "/v1/holds/{}")
LISTED = ("invite list", "user list", "outbox list", "pass list", "webhook list", "webhook deliveries", "events")
SHORT = 13  # what is not longer could be guessed from its plain hash


class Town:
    """People who use everything that a server offers; `secrets` are all that they were given or made up."""

    def __init__(self, served: Served, mailbox: Mailbox, receiver: Receiver) -> None:
        self.served, self.mailbox, self.receiver = served, mailbox, receiver
        self.secrets: dict[str, str] = {"the mail server's password": POSTMARK}
        self.numbers = itertools.count()
        self.read = 0

    def keep(self, name: str, secret: str) -> str:
        """Remember a secret, and give it back."""
        self.secrets[f"{name} {next(self.numbers)}"] = secret
        return secret

    def password(self, owner: str) -> str:
        return self.keep(f"{owner}'s password", f"horse-battery-{owner}-{next(self.numbers)}")

    def json(self, path: str, body: object, method: str = "POST", **headers: str) -> Answer:
        return self.served.get(path, method, json.dumps(body).encode(), **JSON, **headers)

    def form(self, path: str, cookie: str = "", **fields: str) -> Answer:
        """Send a form that stood on a page of ours, as the browser with this cookie does."""
        kept = {"Cookie": cookie} if cookie else {}
        page = self.served.get("/logout" if cookie else "/login", **kept).body
        fields["csrf"] = re.search(r'name="csrf" value="([^"]+)"', page)[1]
        if cookie:
            self.keep("form", fields["csrf"])
        return self.served.get(path, "POST", urlencode(fields).encode(), **OURS, **kept)

    def cookie(self, answer: Answer) -> str:
        """What a browser keeps of an answer."""
        name, _, value = answer.headers["Set-Cookie"].partition(";")[0].partition("=")
        return f"{name}={self.keep('cookie', value)}"

    def token(self, link: str, name: str = "token") -> str:
        """The secret in a link."""
        return self.keep(name, re.search(r"\?(?:token=)?([\w.-]+)", link)[1])

    def pair(self, answer: Answer) -> dict[str, str]:
        """The header of a session that begins."""
        told = json.loads(answer.body)
        self.keep("refresh token", told["refresh_token"])
        return {"Authorization": f"Bearer {self.keep('access token', told['token'])}"}

    def mail(self) -> str:
        """The next mail that comes."""
        wait_for(lambda: len(self.mailbox.mails) > self.read)
        self.read += 1
        return str(self.mailbox.mails[self.read - 1].get_body(("plain",)).get_content())

    def live(self) -> None:
        """A day in town."""
        number = next(self.numbers)
        key = self.keep("key", self.served.run("create", f"key {number}"))
        self.keep("key's secret", key.partition("/")[2])
        self._follows()
        cookie = self._root(f"root{number}")
        bearer = self._newcomer(f"new{number}@example.org")
        self._invites(number, key, bearer, cookie)
        self._forgets(f"root{number}@example.org")
        self._mistakes(key)

    def stroll(self) -> None:
        """Just an invite, made with a key in the URL, and looked at."""
        key = self.keep("key", self.served.run("create"))
        self.served.get(f"/invite?{self.token(self.served.get(f'/invites_api?key={key}').headers['Location'])}")

    def _root(self, name: str) -> str:
        """The first admin, made with a link from the shell; the cookie of the browser."""
        link = self.served.run("user", "create", name, "--email", f"{name}@example.org", "--admin")
        token, password = self.token(link, "reset link"), self.password(name)
        self.served.get(f"/password/reset?{token}")
        self.served.get("/password/reset", "POST", urlencode({"token": token, "password": password}).encode())
        self.form("/login", user=name, password=self.password("who mistypes it"))
        began = self.json("/auth/login", {"email": name, "password": password})
        self.pair(began)
        self.pair(self.json("/auth/token/refresh", {"refresh_token": json.loads(began.body)["refresh_token"]}))
        return self.cookie(self.form("/login", user=name, password=password))

    def _newcomer(self, email: str) -> dict[str, str]:
        """Somebody who registers without an invite, with a code by mail."""
        self.json("/auth/register/start", {"email": email})
        digits = self.keep("code", re.search(r"\b\d{6}\b", self.mail())[0])
        wrong = self.keep("wrong code", f"{(int(digits) + 1) % 1_000_000:06d}")
        self.json("/auth/register/verify", {"email": email, "code": wrong})
        verified = self.json("/auth/register/verify", {"email": email, "code": digits})
        ticket = self.keep("ticket", json.loads(verified.body)["registration_token"])
        body = {"email": email, "password": self.password(email), "registration_token": ticket}
        return self.pair(self.json("/auth/register/password", body))

    def _forgets(self, email: str) -> None:
        """Somebody who sets a new password by mail, and in vain once more."""
        self.json("/auth/password/forgot", {"email": email})
        token = self.token(re.search(r"http\S+", self.mail())[0], "mailed reset link")
        for _ in range(2):
            self.json("/auth/password/reset", {"token": token, "password": self.password("who forgot it")})

    def _invites(self, number: int, key: str, bearer: dict[str, str], cookie: str) -> None:
        """Invites made in every way, looked at and used in every way."""
        header = {"Authorization": f"Bearer {key}"}
        made = [self.served.get(f"/invites_api?key={key}"), self.served.get("/invites_api", "POST", b"", **header)]
        tokens = [self.token(each.headers["Location"]) for each in made]
        tokens.append(self.token(self.served.run("invite", "create", "--note", "x", "--message", "y")))
        tokens.append(self.keep("token", json.loads(self.json("/api/invite", {"name": "Bob"}, **bearer).body)["token"]))
        code = self.keep("short code", json.loads(self.json("/api/invite/generate", {}, **header).body)["code"])
        self.token(self.served.get("/code", "POST", urlencode({"code": code}).encode()).headers["Location"])
        self.json("/api/invite/validate", {"code": code})
        self.json("/projects/", {"name": f"Tea {number}"}, **bearer)
        guest = f"guest{number}@example.org"
        self.json(f"/projects/tea-{number}/invites", {"email": guest}, **bearer)
        mailed = self.token(re.search(r"http\S+", self.mail())[0], "mailed token")
        body = {"invite_token": mailed, "email": guest, "password": self.password("guest")}
        joined = self.pair(self.json("/auth/register/with-invite", body))
        self.json("/auth/register/with-invite", body)
        self.json(f"/invites/{tokens[0]}/accept", {}, **joined)
        form = {"token": tokens[1], "user": f"anne{number}", "password": self.password("anne")}
        for path in ("/register", "/register"):
            self.served.get(path, "POST", urlencode(form).encode())
        for token in tokens:
            for path in LINKS:
                self.served.get(path.format(token))
            self.json("/api/invites/verify", {"token": token})
        self.served.run("invite", "show", tokens[0])
        self.form("/accept", cookie, token=tokens[2])
        page = self.form("/admin/keys", cookie, name="shop", once=f"once-{number:04d}").body
        self.keep("key's secret", re.search(rf"once-{number:04d}/([\w-]{{32}})", page)[1])
        self._holds(number)
        self._passes(number, cookie)
        self._enters(number, cookie)
        self.served.get("/admin", Cookie=cookie)

    def _follows(self) -> None:
        """A webhook that is told of all that happens, with two secrets: as they are written, and as they sign."""
        id_, secret = self.served.run("webhook", "create", self.receiver.url, "--private").split()
        for each in (secret, self.served.run("webhook", "rotate", id_)):
            bare = self.keep("webhook's secret", each.removeprefix("whsec_"))
            self.keep("webhook's secret", base64.b64decode(bare).hex())
        self.served.run("webhook", "test", id_)

    def _holds(self, number: int) -> None:
        """A program that lets guests in by itself, with a key of its own, a token and a code that a guest has typed."""
        header = {"Authorization": f"Bearer {self.keep('key', self.served.run('create', '--may', 'create,redeem'))}"}
        made = json.loads(self.json("/v1/invites", {"name": "Dora", "data": {"seat": number}}, **header).body)["invite"]
        code = self.keep("short code", json.loads(self.json("/api/invite/generate", {}, **header).body)["code"])
        for given in ({"token": self.keep("token", made["token"])}, {"code": code}):
            held = self.json("/v1/holds", {**given, "subject": f"dora{number}"}, **header)
            assert held.status == 201
            way = f"/v1/holds/{json.loads(held.body)['id']}"
            assert self.served.get(f"{way}/complete", "POST", b"", **header).status == 200
            self.served.get(way, "DELETE", **header)

    def _passes(self, number: int, cookie: str) -> None:
        """Passes for an app behind the gate, made in both ways, and shown there, and by mistake in its address."""
        self.served.run("project", "create", f"App {number}", "--owner", f"root{number}")
        self.form(f"/admin/projects/app-{number}/gate", cookie, origin=f"https://app{number}.example.org")
        given = {"project": f"app-{number}", "ttl": "90d", "once": f"once-{number:04d}"}
        page = self.form("/account/passes", cookie, **given).body
        made = [re.search('value="(pass_[^"]+)"', page)[1]]
        made.append(self.served.run("pass", "create", f"root{number}", f"app-{number}"))
        for each in made:
            shown = base64.b64encode(f"me:{self.keep('pass', each)}".encode()).decode()
            asked = {"X-Forwarded-Host": f"app{number}.example.org", "X-Forwarded-Uri": f"/?pass={each}"}
            for credentials in (f"Basic {shown}", f"Bearer {each}"):
                answer = self.served.get(f"/gate/app-{number}", Authorization=credentials, **asked)
                assert answer.status == 200
            self.served.get(f"/gate/app-{number}?{each}", **asked)

    def _enters(self, number: int, cookie: str) -> None:
        """A browser's way into that app: its state, a ticket that another browser shows as well, and its pass."""
        way, asked = f"/.invite/app-{number}", {"X-Forwarded-Host": f"app{number}.example.org"}
        begun = self.served.get(f"{way}/enter?/photos", **asked)
        state = self.keep("state", begun.headers["Location"].partition("?")[2])
        led = self.served.get(f"/pass/app-{number}?{state}", Cookie=cookie)
        ticket = self.keep("gate's ticket", led.headers["Location"].partition("?")[2])
        assert self.served.get(f"{way}/done?{ticket}", **asked).status == 400
        shown = self._arrives(f"{way}/done?{ticket}", {**asked, "Cookie": self.cookie(begun)})
        for path in (f"/gate/app-{number}", f"/gate/app-{number}?{state}", f"/gate/app-{number}?{ticket}"):
            assert self.served.get(path, Cookie=shown, **asked).status == 200

    def _arrives(self, path: str, headers: dict[str, str]) -> str:
        """What a browser keeps that arrives with a ticket: the last of the cookies, since the first one is dropped."""
        with closing(HTTPConnection("127.0.0.1", self.served.port, timeout=30)) as door:
            door.request("GET", path, headers=headers)
            name, _, value = door.getresponse().headers.get_all("Set-Cookie")[-1].partition(";")[0].partition("=")
        return f"{name}={self.keep('pass', value)}"

    def _mistakes(self, key: str) -> None:
        """What people send to the wrong place, or what comes at the wrong moment."""
        for secret in list(self.secrets.values())[-20:]:
            for path in ASTRAY:
                self.served.get(path.format(quote(secret)))
            self.served.get(f"/projects/{quote(secret)}/members", "PATCH", Authorization=f"Bearer {secret}")
            self.served.get("/auth/me", Authorization=f"Basic {secret}", Referer=f"https://x.example/{quote(secret)}")
            self.served.get("/auth/login", "POST", f'{{"email": "{secret}", "password": '.encode(), **JSON)
            self.json("/api/invites/verify", {"code": f"{secret}!"})
        self.served.get("/invites_api", "POST", b"x" * 70_000, Authorization=f"Bearer {key}")
        with closing(sqlite3.connect(self.served.instance / "invites.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")  # the service cannot write
            answer = self.served.get(f"/invites_api?key={key}")
            other.execute("ROLLBACK")
        assert answer.status == 503


def bystander(served: Served) -> Iterator[tuple[str, bytes]]:
    """What everybody else is told, in every row of the map."""
    for row in (row for rows in ROUTES.values() for row in rows):
        path = re.sub("<[a-z_]+>", "0", row.path)
        for method in row.methods.split():
            answer = served.get(path, method, b"{}" if method == "POST" else None, Accept="text/html")
            yield f"the answer to {method} {path}", f"{answer.headers}{answer.body}".encode()


def places(town: Town) -> Iterator[tuple[str, bytes]]:
    """Where a secret could have been left: what it is called, and all that is there."""
    served = town.served
    yield "webhooks", b"".join(f"{each.path}{each.headers}".encode() + each.body for each in [*town.receiver.got])
    for path in [*served.instance.parent.glob("*.log"), *served.instance.rglob("*")]:
        if path.is_file() and path.name != "secret.key":
            yield path.name, path.read_bytes()
    for listing in ("list --long", "invite export", *(f"{each} --json" for each in LISTED)):
        yield listing, served.run(*listing.split()).encode()
    served.run("db", "backup", str(served.instance.parent / "backup.db"))
    yield from ((path.name, path.read_bytes()) for path in served.instance.parent.glob("backup*"))
    counted = served.get("/metrics", Authorization=f"Bearer {served.run('create')}")
    assert counted.status == 200
    yield "metrics", counted.body.encode()
    yield from bystander(served)


def forms(secret: str) -> Iterator[bytes]:
    """How a secret could be written; one that is short also as its plain hashes."""
    raw = secret.encode()
    yield from (raw, raw.hex().encode(), raw.hex().upper().encode(), quote(secret, safe="").encode())
    yield from (quote(quote(secret, safe=""), safe="").encode(), json.dumps(secret)[1:-1].encode())
    for shift, encode in itertools.product(range(3), (base64.b64encode, base64.urlsafe_b64encode)):
        yield encode(b"\0" * shift + raw).rstrip(b"=")[[0, 2, 3][shift] : -2]
    if len(secret) <= SHORT or "battery" in secret:
        for algorithm in ("md5", "sha1", "sha256"):
            yield hashlib.new(algorithm, raw).hexdigest().encode()


def found(town: Town) -> list[str]:
    """Every secret that is in a place where it should not be, and where; no secret is named by itself."""
    there = list(places(town))
    return [
        f"{name} in {place}"
        for name, secret in town.secrets.items()
        for pattern in patterns(secret)
        for place, content in there
        if re.search(pattern, content)
    ]


def patterns(secret: str) -> Iterator[bytes]:
    """What to search for. Six digits are there by chance: in a moment's microseconds, within an id."""
    alone = rb"(?<![0-9.a-zA-Z/_+-])%s(?![0-9a-f])" if len(secret) <= 6 else rb"%s"
    for form in set(forms(secret)):
        yield alone % re.escape(form) if len(form) < 12 else re.escape(form)


@contextmanager
def careful_smtp_server(mailbox: Mailbox) -> Iterator[str]:
    """A mail server that asks for a password; the URL with it."""
    accept = {"authenticator": lambda *_: AuthResult(success=True), "auth_require_tls": False}
    controller = Controller(mailbox, hostname="127.0.0.1", port=free_port(), ready_timeout=60, **accept)
    with listening_for_mail(controller) as port:
        yield f"smtp://postmaster:{POSTMARK}@127.0.0.1:{port}"


@contextmanager
def towns(folder: Path, *command: str | Path) -> Iterator[Town]:
    mailbox = Mailbox()
    with careful_smtp_server(mailbox) as smtp, servers(folder) as start, listening() as receiver:
        served = start(command or (COMMAND,), SMTP_URL=smtp, REGISTRATION="open")
        yield Town(served, mailbox, receiver)


def test_no_secret_is_anywhere_but_with_whom_it_was_given_to(tmp_path, profile, figures):
    row = figures("secret canary")
    with towns(tmp_path) as town:
        for _ in range(profile(1, 12)):
            town.live()
        (tmp_path / "secret.key").write_bytes((town.served.instance / "secret.key").read_bytes())
        town.secrets["master secret"] = (town.served.instance / "secret.key").read_text().strip()
        wait_for(lambda: b"pass.created" in b"".join(each.body for each in [*town.receiver.got]))
        hits = found(town)
        count = len(town.secrets)
    row.shows(
        f"{count} secrets, in logs, database, WAL, backup, metrics, webhooks, events and answers to others",
        f"{len(hits)} hits",
    )
    assert count > 30 * profile(1, 12)
    assert hits == []


@pytest.mark.parametrize(
    ("how", "place"), [("logs_addresses", r"server-\d+\.log"), ("keeps_tokens", r"invites\.db(-wal)?")]
)
def test_a_server_that_tells_what_it_should_not_is_caught(tmp_path, figures, how, place):
    row = figures("secret canary")
    with towns(tmp_path, sys.executable, talkative.__file__, how) as town:
        town.stroll()
        hits = found(town)
    row.catches(f"{how.replace('_', ' ')}: {len(hits)} hits")
    assert any(re.fullmatch(rf"token \d+ in {place}", each) for each in hits)


@pytest.mark.parametrize("form", range(9))
def test_a_secret_is_found_however_it_is_written(form):
    written = sorted(set(forms("correct-horse-battery")))[form]
    for before in (b"", b"x", b"\x00\xff"):
        assert any(re.search(each, before + written + b"\x01") for each in patterns("correct-horse-battery"))
    assert any(re.search(each, b"is 123456.") for each in patterns("123456"))
    assert not any(re.search(each, b"2026-11-21 10:00:00.123456") for each in patterns("123456"))
