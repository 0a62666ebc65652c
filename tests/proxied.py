"""Apps behind the gate, with the real nginx and the real Caddy before them, and a proxy that obeys Traefik's files."""

import json
import re
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from http.client import HTTPConnection, HTTPException, HTTPMessage
from http.cookies import SimpleCookie
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import clock
import database
import test_proxies
from conftest import HASH, Served, free_port, make_settings, servers, wait_for
from database import session
from forwarding import Forwarder
from models import Member
from rules import accounts, gate, passes, projects, sessions
from settings import in_force

SERVICE = "https://invites.example.org"
PHOTOS, ALBUMS, PLAIN = "https://photos.example.org", "https://photos.example.org:8443", "http://plain.example.org"
APPS = "https://apps.example.net"  # two apps at one host, and at another domain than the service
CALENDAR, CHAT, BROKEN = "https://calendar.example.org", "https://chat.example.org", "https://broken.example.org"
ORIGINS = {
    "photos": [PHOTOS, ALBUMS, PLAIN],
    "notes": [APPS],
    "wiki": [APPS],
    "calendar": [CALENDAR],
    "chat": [CHAT],
    "broken": [BROKEN],
}
PROXIES = ("nginx", "caddy", "traefik")
PUBLIC = ("/public/", "/robots.txt")  # of photos

Header = tuple[str, str]
NAVIGATION: tuple[Header, ...] = (("Sec-Fetch-Mode", "navigate"), ("Accept", "text/html"))


class App:
    """An app that answers every request with what it was sent, as JSON; `seen` has all of it.

    A path such as /status/403 is answered with that status.
    """

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Echo)
        self._server.daemon_threads = True
        self._server.seen = self.seen
        self.address = f"127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "App":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Echo(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._echo
        raise AttributeError(name)

    def log_message(self, *arguments: object) -> None:
        """Nothing is logged."""

    def _echo(self) -> None:
        body = self._chunks() if "Transfer-Encoding" in self.headers else self._rest(self.headers["Content-Length"])
        said = {"method": self.command, "path": self.path, "headers": self.headers.items(), "length": len(body)}
        self.server.seen.append(said)
        status = int(self.path.partition("/status/")[2][:3] or 200)
        text = json.dumps(said).encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(text)

    def _rest(self, length: str | None) -> bytes:
        return self.rfile.read(int(length or 0))

    def _chunks(self) -> bytes:
        body = b""
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body


@dataclass
class Reply:
    """What came back; `url` is what was asked for."""

    url: str
    status: int
    headers: HTTPMessage
    text: str

    @property
    def location(self) -> str:
        """Where it leads, as a whole address; "" if nowhere."""
        where = self.headers["Location"] or ""
        return "/".join(self.url.split("/")[:3]) + where if where.startswith("/") else where


def values(sent: Mapping[str, Any], name: str) -> list[str]:
    """What an app was sent in a header of this name, which may be spelt with _ or . as well."""
    plain = name.lower()
    return [value for each, value in sent["headers"] if each.lower().replace("_", "-").replace(".", "-") == plain]


class Caller:
    """A program that calls the apps at one proxy, over connections that stay open.

    `ports` says where on this machine the ports of origins are, `context` whose certificates count.
    """

    def __init__(self, name: str, ports: Mapping[int, int], context: ssl.SSLContext) -> None:
        self.name, self.ports, self.context = name, ports, context
        self._open: dict[str, _Connection] = {}

    def call(self, method: str, url: str, *headers: Header, body: bytes = b"", target: str = "") -> Reply:
        """What comes back; redirects are not followed. `target` stands for the path in the request's first line."""
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        path = target or url.removeprefix(origin) or "/"
        for again in (False, True):
            connection = self._open.get(origin) or self._connect(origin)
            try:
                if connection.sock is None:
                    connection.connect()
                connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
                connection.putheader("Host", parts.netloc)
                for name, value in headers:
                    connection.putheader(name, value)
                if body:
                    connection.putheader("Content-Length", str(len(body)))
                with suppress(OSError):  # a large body may be refused before its end
                    connection.endheaders(body or None)
                answer = connection.getresponse()
                return Reply(url, answer.status, answer.headers, answer.read().decode())
            except (OSError, HTTPException):  # the proxy had closed it
                self._open.pop(origin).close()
                if again:
                    raise
        raise AssertionError

    def close(self) -> None:
        """Close all connections."""
        for each in self._open.values():
            each.close()
        self._open.clear()

    def port_of(self, origin: str) -> int:
        """The port on this machine behind which an origin is."""
        parts = urlsplit(origin)
        return self.ports[parts.port or (443 if parts.scheme == "https" else 80)]

    def connect(self, origin: str) -> socket.socket:
        """A connection of its own, to be written to by hand."""
        made = self._new(origin)
        made.connect()
        return made.sock

    def _connect(self, origin: str) -> "_Connection":
        self._open[origin] = self._new(origin)
        return self._open[origin]

    def _new(self, origin: str) -> "_Connection":
        context = self.context if origin.startswith("https:") else None
        return _Connection(urlsplit(origin).hostname or "", self.port_of(origin), context)


class _Connection(HTTPConnection):
    """To a port of this machine, for a name."""

    def __init__(self, name: str, port: int, context: ssl.SSLContext | None) -> None:
        super().__init__("127.0.0.1", port, timeout=60)
        self._name, self._context = name, context

    def connect(self) -> None:
        super().connect()
        if self._context:
            self.sock = self._context.wrap_socket(self.sock, server_hostname=self._name)


class Visitor:
    """Somebody with a browser of a sort at one proxy: it keeps cookies for each host and follows where it is led."""

    MOST = 20  # redirects, as browsers have it

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.jar: dict[str, dict[str, str]] = {}

    def visit(self, url: str, *headers: Header) -> Reply:
        """The page at the end of all redirects; `trail` has all answers on the way."""
        self.trail: list[Reply] = []
        for _ in range(self.MOST):
            reply = self.get(url, *(headers or NAVIGATION))
            self.trail.append(reply)
            if not reply.location:
                return reply
            url = reply.location
        raise AssertionError(f"it never ends: {url}")

    def get(self, url: str, *headers: Header, method: str = "GET", body: bytes = b"") -> Reply:
        """One answer, with the cookies of its host sent and kept."""
        host = urlsplit(url).hostname or ""
        kept = self.jar.setdefault(host, {})
        cookies = (("Cookie", "; ".join(f"{name}={value}" for name, value in kept.items())),) if kept else ()
        reply = self.caller.call(method, url, *cookies, *headers, body=body)
        for line in reply.headers.get_all("Set-Cookie") or []:
            for name, morsel in SimpleCookie(line).items():
                kept[name] = morsel.value
                if morsel["max-age"] == "0":
                    del kept[name]
        return reply


class Fake:
    """What listens in the place of the service: it answers everything with `said`, or nothing if that is None."""

    def __init__(self) -> None:
        self.said: bytes | None = b""
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._held: list[socket.socket] = []
        self.port: int = self._listening.getsockname()[1]

    def __enter__(self) -> "Fake":
        threading.Thread(target=self._answer, args=(self._listening,), daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._listening.close()
        for each in self._held:
            each.close()

    @contextmanager
    def gone(self) -> Iterator[None]:
        """Nobody listens there until the block ends."""
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        yield
        self._listening = socket.create_server(("127.0.0.1", self.port))
        self.__enter__()

    def _answer(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            self._held.append(connection)
            if self.said is not None:
                connection.recv(65536)
                connection.sendall(self.said)
                connection.close()


class Town:
    """The service, its projects and their members, the apps, and a caller of each proxy before them."""

    def __init__(self, folder: Path, served: Served, app: App, fake: Fake, apps: Mapping[str, str]) -> None:
        self.folder, self.served, self.app, self.fake = folder, served, app, fake
        self.settings = make_settings(served.instance, PUBLIC_URL=SERVICE)
        self.callers: dict[str, Caller] = {}
        with in_force(self.settings):
            self.house = database.open_database(self.settings)
            with self.house.writing():
                owner = accounts.create(accounts.Names("alice", "alice@example.org"), HASH)
                for slug, origins in ORIGINS.items():
                    projects.create(owner, projects.ProjectDraft(slug.title()))
                    gate.set_origins(slug, origins)
        self.printed = {
            proxy: {slug: self._printed(proxy, slug, address) for slug, address in apps.items()} for proxy in PROXIES
        }

    def person(self, name: str, *slugs: str, shown: str | None = None) -> None:
        """Create an account, which is a member of these projects."""
        with in_force(self.settings), self.house.writing():
            names = accounts.Names(name, f"{name}@example.org", shown or name.title())
            user = accounts.create(names, HASH)
            user.email_verified_at = clock.now()
            for slug in slugs:
                about = {"project": projects.find(slug), "user": user, "role": "member", "joined_at": clock.now()}
                session().add(Member(id=clock.new_id(), **about))

    def change(self, act: Callable[[], Any]) -> Any:
        """Do something to the database, as one unit."""
        with in_force(self.settings), self.house.writing():
            return act()

    def signed_in(self, proxy: str, name: str) -> "Visitor":
        """A browser at a proxy in which somebody is signed in at the service, and nowhere else."""
        visitor = Visitor(self.callers[proxy])
        cookie = self.change(lambda: sessions.start_in_browser(accounts.named(name)))
        visitor.jar["invites.example.org"] = {self.settings.cookie_name: cookie}
        return visitor

    def admitted(self, proxy: str, name: str, *urls: str) -> "Visitor":
        """The same, and the browser has been at these pages of apps."""
        visitor = self.signed_in(proxy, name)
        for each in urls:
            assert visitor.visit(each).status == 200
        return visitor

    def program(self, name: str, slug: str) -> str:
        """The secret of a pass for a program of somebody's."""
        return str(self.change(lambda: passes.create(projects.member(slug, accounts.named(name)))[1]))

    def logs(self, proxy: str) -> str:
        """All that a proxy has written anywhere."""
        return "".join(each.read_text(errors="replace") for each in (self.folder / proxy).rglob("*.log"))

    def _printed(self, proxy: str, slug: str, address: str) -> str:
        port = self.fake.port if slug == "broken" else self.served.port
        served = replace(self.served, environ=self.served.environ | {"INVITE_API_PORT": str(port)})
        more = [f"--public={each}" for each in PUBLIC] if slug == "photos" else []
        if slug == "calendar" and proxy != "traefik":
            more.append("--user-header=X-Remote-User")
        return served.run("project", "gate", slug, "--print", proxy, "--app", address, *more) + "\n"


@contextmanager
def opened(folder: Path) -> Iterator[Town]:
    """The town in this folder, until the block ends."""
    hosts = {urlsplit(each).hostname or "" for origins in ORIGINS.values() for each in origins}
    with ExitStack() as stack:
        start = stack.enter_context(servers(folder))
        served = start(PUBLIC_URL=SERVICE, TRUSTED_PROXIES="127.0.0.1", LIMITS="on")
        app, fake = stack.enter_context(App()), stack.enter_context(Fake())
        apps = dict.fromkeys(ORIGINS, app.address)
        apps |= {"chat": stack.enter_context(chat()), "calendar": stack.enter_context(calendar(folder / "calendar"))}
        town = Town(folder, served, app, fake, apps)
        for proxy in PROXIES:
            (folder / proxy).mkdir()
        test_proxies.certify(folder / "nginx", *hosts)
        for each in (folder / "nginx").iterdir():
            (folder / "caddy" / each.name).write_bytes(each.read_bytes())
        trusting = ssl.create_default_context(cafile=str(folder / "nginx" / "ca.pem"))
        for proxy, configure in (("nginx", _nginx), ("caddy", _caddy)):
            ports = {each: free_port() for each in (80, 443, 8443)}
            town.callers[proxy] = caller = Caller(proxy, ports, trusting)
            stack.callback(caller.close)
            stack.enter_context(test_proxies.running(configure(town, folder / proxy, ports), folder / proxy))
            wait_for(lambda caller=caller: _answers(caller))
        forwarder = stack.enter_context(_traefik(town, folder / "traefik"))
        ports = {443: forwarder.port, 8443: forwarder.port}
        town.callers["traefik"] = Caller("traefik", ports, trusting)
        stack.callback(town.callers["traefik"].close)
        yield town


@contextmanager
def chat() -> Iterator[str]:
    """The address of an app that says by a websocket who has come, and then whatever it hears."""
    from websockets.sync.server import ServerConnection, serve

    def echo(connection: ServerConnection) -> None:
        connection.send(connection.request.headers.get("Remote-User", "nobody"))
        for each in connection:
            connection.send(each)

    with serve(echo, "127.0.0.1", 0) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.socket.getsockname()[1]}"
        server.shutdown()


@contextmanager
def calendar(folder: Path) -> Iterator[str]:
    """The address of a Radicale, which takes its users from X-Remote-User."""
    address = f"127.0.0.1:{free_port()}"
    options = [
        "--config",
        "",
        f"--server-hosts={address}",
        "--auth-type=http_x_remote_user",
        "--rights-type=owner_only",
    ]
    options += [f"--storage-filesystem-folder={folder}", "--web-type=none"]
    process = subprocess.Popen([sys.executable, "-m", "radicale", *options], stderr=subprocess.DEVNULL)
    try:
        yield address
    finally:
        process.terminate()
        process.wait()


def _answers(caller: Caller) -> bool:
    try:
        return caller.call("GET", f"{SERVICE}/health").status == 200
    except OSError:
        return False


def _nginx(town: Town, folder: Path, ports: Mapping[int, int]) -> list[str]:
    """The command that starts nginx with the service's file, and the printed ones brought to this folder and ports."""
    command = test_proxies.nginx(folder, ports[443], town.served.port)
    printed = dict(town.printed["nginx"])
    text = side_by_side(printed.pop("notes"), printed.pop("wiki")) + "".join(printed.values())
    text = re.sub(r"listen \[::\]:.*\n", "", text)
    text = re.sub(r"listen (\d+)", lambda found: f"listen 127.0.0.1:{ports[int(found[1])]}", text)
    text = re.sub(r"/etc/letsencrypt/live/[\w.]+/fullchain", f"{folder}/cert", text)
    text = re.sub(r"/etc/letsencrypt/live/[\w.]+/privkey", f"{folder}/key", text)
    text = text.replace("/var/log/nginx", str(folder))
    text = re.sub(rf"listen 127\.0\.0\.1:{ports[8443]}.*\n", rf"\g<0>{CACHE}", text)
    file = folder / "nginx.conf"
    own = file.read_text().replace("http {", f"http {{ {CARELESS} proxy_cache_path {folder}/cache keys_zone=all:1m;", 1)
    file.write_text(f"{own.rstrip().removesuffix('}')}{text}}}\n")
    return command


# What an operator may have told nginx for other reasons; and a cache that cares for nobody's cookies or wishes.
CARELESS = "underscores_in_headers on; ignore_invalid_headers off; proxy_intercept_errors on;"
CACHE = """    proxy_cache all;
    proxy_cache_key $host$request_uri;
    proxy_cache_valid any 10m;
    proxy_ignore_headers Cache-Control Expires Set-Cookie Vary X-Accel-Expires;
"""


def side_by_side(notes: str, wiki: str) -> str:
    """Two apps at one host, as docs/INTEGRATING.md says: the locations of one move into the server of the other."""
    before, server = wiki.split("\nserver {\n", 1)
    locations = server[server.index("    location / {") : server.index("\n}\n")]
    locations = locations.replace("location / {", "location /wiki/ {")
    start, end = notes.split("\nserver {\n", 1)
    server = end.replace("location / {", "location /notes/ {").replace("\n}\n", f"\n\n{locations}\n}}\n", 1)
    return f"{before}\n{start}\nserver {{\n{server}"


def _caddy(town: Town, folder: Path, ports: Mapping[int, int]) -> list[str]:
    """The command that runs Caddy with the service's file, and the printed ones brought to these ports."""
    command = test_proxies.caddy(folder, ports[443], town.served.port)
    sites = {slug: re.split(r"^}\n", text, maxsplit=1, flags=re.M)[1] for slug, text in town.printed["caddy"].items()}
    wiki = re.search(r"^\S+ {\n(.*)^}$", sites.pop("wiki"), re.M | re.S)[1].replace("\thandle {", "\thandle /wiki/* {")
    sites["notes"] = sites["notes"].replace("\thandle {", "\thandle /notes/* {").replace("\n}\n", f"\n{wiki}}}\n")
    file = folder / "Caddyfile"
    quiet = f"auto_https off\n\thttp_port {ports[80]}\n\tservers {{\n\t\tprotocols h1 h2\n\t}}"  # h3 names our port
    own = file.read_text().replace("auto_https off", quiet, 1)
    file.write_text(own + caddy_sites("".join(sites.values()), folder, ports))
    return command


def caddy_sites(text: str, folder: Path, ports: Mapping[int, int]) -> str:
    """Sites of a Caddyfile brought to these ports and the certificate in this folder, each with a log."""
    text = re.sub(r"^(https://[\w.]+):8443 {", rf"\1:{ports[8443]} {{", text, flags=re.M)
    text = re.sub(r"^(https://[\w.]+) {", rf"\1:{ports[443]} {{", text, flags=re.M)
    text = re.sub(r"^(https://\S+ {)$", rf"\1\n\ttls {folder}/cert.pem {folder}/key.pem\n\tlog", text, flags=re.M)
    return re.sub(r"^(http://[\w.]+) {", rf"\1:{ports[80]} {{", text, flags=re.M)


def _traefik(town: Town, folder: Path) -> Forwarder:
    """A proxy that obeys the printed files, of which those for two apps at one host have their paths in their rules."""
    for slug, text in town.printed["traefik"].items():
        beneath = re.sub(r'(Host\(`apps.example.net`\))("| && HeaderR)', rf"\1 && PathPrefix(`/{slug}/`)\2", text)
        (folder / f"{slug}.yml").write_text(beneath)
    (folder / "service.yml").write_text(
        "http: {routers: {invites: {rule: 'Host(`invites.example.org`)', service: invites}}, middlewares: {}, "
        f"services: {{invites: {{loadBalancer: {{servers: [{{url: 'http://127.0.0.1:{town.served.port}'}}]}}}}}}}}"
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(town.folder / "nginx" / "cert.pem", town.folder / "nginx" / "key.pem")
    return Forwarder(sorted(folder.glob("*.yml")), context)
