"""The service behind the real nginx and the real Caddy, as deploy/ configures them."""

import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar
from urllib.parse import urljoin

import pytest
import trustme

from conftest import PASSWORD, Served, free_port, wait_for
from programs import require
from settings import HOME

pytestmark = [pytest.mark.any_database, pytest.mark.long]

DEPLOY = HOME / "deploy"
PLACES = ["https://invites.example.org", "https://example.org/join"]
CLIENT = "127.0.0.9"  # the address that everybody calls from
KIB = 1024


@dataclass
class Proxy:
    """A proxy that runs, and a browser of a sort before it."""

    folder: Path
    port: int
    place: str
    served: Served

    def call(self, path: str, *options: str) -> "Reply":
        """What comes back for a path, or a whole address, under our place; redirects are not followed."""
        url = path if path.startswith("https:") else self.place + path
        host = url.split("/")[2]
        command = [
            *(require("curl", "curl"), "-sS", "--interface", CLIENT, "--cacert", "ca.pem", "-b", "jar", "-c", "jar"),
            *("--connect-to", f"{host}:443:127.0.0.1:{self.port}", "-w", "\n%{http_code} %header{location}"),
            *(*options, url),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=self.folder)
        body, _, last = done.stdout.rpartition("\n")
        status, _, location = last.partition(" ")
        return Reply(int(status), urljoin(url, location), body)

    def logs(self) -> str:
        """All that the proxy has written anywhere."""
        return "".join(each.read_text(errors="replace") for each in self.folder.rglob("*.log"))


@dataclass
class Reply:
    status: int
    location: str
    text: str

    def csrf(self) -> str:
        return re.search(r'name="csrf" value="([^"]+)"', self.text)[1]


def certify(folder: Path, *more: str) -> None:
    """A certificate for every host that deploy/ names, and for more, and who vouches for it."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "ca.pem")
    made = authority.issue_cert("invites.example.org", "example.org", *more)
    made.private_key_pem.write_to_path(folder / "key.pem")
    made.cert_chain_pems[0].write_to_path(folder / "cert.pem")


def nginx(folder: Path, port: int, upstream: int) -> list[str]:
    """The command that starts nginx with our file, brought to this folder and these ports."""
    text = (DEPLOY / "nginx" / "invite-api.conf").read_text()
    for pattern, mine in (
        (r"listen \[::\]:\d+[^;]*;\n", ""),
        (r"listen 443", f"listen 127.0.0.1:{port}"),
        (r"listen 80;", f"listen 127.0.0.1:{free_port()};"),
        (r"127\.0\.0\.1:8080", f"127.0.0.1:{upstream}"),
        (r"/etc/letsencrypt/live/[\w.]+/fullchain", f"{folder}/cert"),
        (r"/etc/letsencrypt/live/[\w.]+/privkey", f"{folder}/key"),
        (r"/var/log/nginx", str(folder)),
    ):
        text, count = re.subn(pattern, mine, text)
        assert count, pattern
    kinds = ("proxy", "client_body", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{each}_temp_path {folder}/{each};" for each in kinds)
    user = "" if os.geteuid() else "user root;"
    (folder / "nginx.conf").write_text(
        f"{user} pid {folder}/pid; daemon off; error_log {folder}/error.log crit; events {{}}\n"
        f"http {{ {temporary} access_log {folder}/other.log;\n{text} }}"
    )
    return [require("nginx", "nginx-light"), "-p", str(folder), "-c", "nginx.conf", "-e", f"{folder}/error.log"]


def caddy(folder: Path, port: int, upstream: int) -> list[str]:
    """The command that runs Caddy with our example, told not to ask anybody for certificates."""
    text = (DEPLOY / "caddy" / "Caddyfile").read_text().replace("127.0.0.1:8080", f"127.0.0.1:{upstream}")
    text = text.replace("{\n\tlog default", f"{{\n\tadmin off\n\tauto_https off\n\thttps_port {port}\n\tlog default", 1)
    site = rf"https://\1:{port} {{\n\ttls {folder}/cert.pem {folder}/key.pem"
    text, count = re.subn(r"^([a-z.]*example\.org) {$", site, text, flags=re.M)
    assert count == 2
    (folder / "Caddyfile").write_text(text)
    return [require("caddy", "caddy"), "run", "--config", str(folder / "Caddyfile")]


@contextmanager
def running(command: list[str], folder: Path) -> Iterator[None]:
    """A proxy, until the block ends."""
    environ = {"HOME": str(folder), "PATH": "/usr/bin:/bin"}
    with (folder / "said.log").open("wb") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, cwd=folder, env=environ)
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


Start = Callable[..., list[str]]


@contextmanager
def before(serve: Callable[..., Served], folder: Path, start: Start, place: str, **settings: str) -> Iterator[Proxy]:
    """A proxy before a server of ours."""
    folder = folder / "proxy"
    folder.mkdir()
    certify(folder)
    served = serve(PUBLIC_URL=place, TRUSTED_PROXIES="127.0.0.1", **settings)
    proxy = Proxy(folder, free_port(), place, served)
    with running(start(folder, proxy.port, served.port), folder):
        wait_for(lambda: answers(proxy))
        yield proxy


def answers(proxy: Proxy) -> bool:
    try:
        return proxy.call("/health").status == 200
    except subprocess.CalledProcessError:
        return False


def named(where: tuple[Start, str]) -> str:
    return f"{where[0].__name__} at {where[1]}"


@pytest.fixture(params=[(start, place) for start in (nginx, caddy) for place in PLACES], ids=named)
def proxy(request, serve, tmp_path) -> Iterator[Proxy]:
    """Each of the two, each at a host of its own and under a path."""
    with before(serve, tmp_path, *request.param) as proxy:
        yield proxy


def test_the_whole_story_happens_and_no_secret_is_logged(proxy):
    key = proxy.served.run("create", "test")
    made = proxy.call("/invites_api", "-H", f"Authorization: Bearer {key}")
    assert made.status == 201
    assert made.location.startswith(f"{proxy.place}/invite?")
    link, token = made.location, made.location.partition("?")[2]
    again = proxy.call(f"/invites_api?key={key}&name=Anne").location.partition("?")[2]

    page = proxy.call(link)
    assert page.status == 200
    root = "".join(proxy.place.removeprefix("https://").partition("/")[1:])
    loaded = re.findall(r'(?:src|href|action)="(/[^"]+)"', page.text)
    assert all(each.startswith(f"{root}/") for each in loaded)
    assets = [each.removeprefix(root) for each in loaded if "style" in each or "script" in each]
    assert [proxy.call(each).status for each in assets] == [200, 200]
    assert proxy.call(f"/invites/{token}").status == 200

    form = {"user": "anne", "password": PASSWORD, "token": token, "csrf": page.csrf()}
    joined = proxy.call("/register", *posted(form))
    assert joined.status == 303
    assert joined.location.startswith(f"{proxy.place}/welcome?{token}&entered=")
    welcome = proxy.call(joined.location)
    assert (welcome.status, "anne" in welcome.text) == (200, True)
    assert json.loads(proxy.call(f"/invites/{token}").text)["code"] == "INVITE_USED"
    accepting = proxy.call(f"/invite?{again}")
    accepted = proxy.call("/accept", *posted({"token": again, "csrf": accepting.csrf()}))
    assert accepted.status == 303
    assert proxy.call(accepted.location).status == 200
    out = proxy.call("/logout", *posted({"csrf": accepting.csrf()}))
    assert (out.status, out.location.startswith(proxy.place)) == (303, True)
    login = proxy.call("/login")
    entered = proxy.call("/login", *posted({"user": "anne", "password": PASSWORD, "csrf": login.csrf()}))
    assert (entered.status, entered.location.startswith(f"{proxy.place}/")) == (303, True)
    assert proxy.call(entered.location, "-e", f"{proxy.place}/invite?{token}").status == 200

    proxy.served.process.terminate()
    proxy.served.process.wait(20)
    for path in (f"/invites/{token}", f"/invite?{token}", f"/invites_api?key={key}", f"/nowhere/{token}"):
        assert proxy.call(path, "-e", link).status in (502, 503)
    assert_unlogged(proxy, key, key.partition("/")[2], token, again, PASSWORD)


def posted(form: dict[str, str]) -> list[str]:
    fields = [each for pair in form.items() for each in ("--data-urlencode", "=".join(pair))]
    return ["-H", "Sec-Fetch-Site: same-origin", *fields]


def assert_unlogged(proxy: Proxy, *secrets: str) -> None:
    wait_for(lambda: "/nowhere/" in proxy.logs())
    logs = proxy.logs()
    assert "/register" in logs
    assert "/invites/-" in logs
    assert [each for each in secrets if each in logs] == []


def test_the_search_finds_what_a_usual_log_would_have(serve, tmp_path):
    def carelessly(*arguments):
        command = nginx(*arguments)
        file = tmp_path / "proxy" / "nginx.conf"
        written = file.read_text()
        file.write_text(written.replace(".log invite_api;", ".log combined;"))
        return command

    with before(serve, tmp_path, carelessly, PLACES[0]) as proxy:
        for path in ("/register", "/invites/-", f"/nowhere/{'f' * 64}"):
            proxy.call(path)
        with pytest.raises(AssertionError):
            assert_unlogged(proxy, "f" * 64)


def clients(proxy: Proxy, route: str) -> set[str]:
    """The addresses in the lines of our own log for a route."""
    lines = [json.loads(each) for each in proxy.served.log.read_text().splitlines() if each.startswith("{")]
    return {each["client"] for each in lines if each.get("route") == route}


def test_nobody_makes_an_address_up(proxy):
    for made_up in ("203.0.113.9", "127.0.0.1", "203.0.113.9, 127.0.0.1", "nonsense"):
        assert proxy.call("/login", "-H", f"X-Forwarded-For: {made_up}").status == 200
    assert clients(proxy, "/login") == {CLIENT}


def test_links_and_forms_ignore_the_host_that_is_asked_for(proxy):
    key = proxy.served.run("create", "test")
    made = proxy.call("/invites_api", "-H", f"Authorization: Bearer {key}", "-H", "X-Forwarded-Host: evil.example")
    assert made.location.startswith(f"{proxy.place}/invite?")


def test_what_is_too_much_is_refused_in_the_words_of_the_service(proxy):
    (proxy.folder / "much").write_bytes(bytes(200 * KIB))
    refused = proxy.call("/invites_api", "--data-binary", "@much")
    assert (refused.status, json.loads(refused.text)["code"]) == (413, "REQUEST_ENTITY_TOO_LARGE")
    (proxy.folder / "enough").write_bytes(b"name=" + b"x" * (63 * KIB))
    assert proxy.call("/invites_api", "--data-binary", "@enough").status == 403


@pytest.mark.parametrize("start", [nginx, caddy])
def test_the_path_alone_leads_to_the_start_page(serve, tmp_path, start):
    with before(serve, tmp_path, start, PLACES[1]) as proxy:
        bare = proxy.call("")
        assert bare.status == 308
        assert bare.location in (f"{proxy.place}/", "/join/")
        assert proxy.call("/").status == 200
        assert proxy.call("https://example.org/elsewhere").status in (200, 404)
        assert clients(proxy, "unknown") == set()


class Mortal(BaseHTTPRequestHandler):
    """A server that dies with each call that creates an invite, and notes it."""

    protocol_version = "HTTP/1.1"
    died: ClassVar[list[str]] = []

    def do_GET(self):
        if self.path.startswith("/invites_api"):
            self.died.append(self.path)
            self.close_connection = True
            return
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("path", ["/invites_api", "/invites_api/"])
@pytest.mark.parametrize("place", PLACES)
def test_nginx_sends_no_call_again_that_creates_an_invite(tmp_path, place, path):
    (folder := tmp_path / "proxy").mkdir()
    certify(folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), Mortal) as upstream:
        Thread(target=upstream.serve_forever, daemon=True).start()
        proxy = Proxy(folder, free_port(), place, upstream)
        with running(nginx(folder, proxy.port, upstream.server_port), folder):
            wait_for(lambda: answers(proxy))
            for number in range(3):
                assert proxy.call("/health").status == 200  # over a connection that is used again
                assert proxy.call(f"{path}?key=x&number={number}").status == 502
        upstream.shutdown()
    mine = [each for each in Mortal.died if "number" in each]
    Mortal.died.clear()
    assert mine == [f"{path}?key=x&number={number}" for number in range(3)]
