"""A proxy that obeys the files of Traefik's that this service prints: routers, forwardAuth, headers, and nothing else.

Traefik is in no package of Debian. What its forwardAuth does to a request and an answer stands here in a few lines, as
its documentation and its `forward.go` have it.
"""

import posixpath
import re
import ssl
import threading
from collections.abc import Iterable, Mapping
from http.client import HTTPConnection, HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import yaml

HOP_BY_HOP = (
    "Connection",
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Connection",
    "Te",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
)
Headers = dict[str, list[str]]


class Forwarder:
    """It listens with TLS until the block ends; `files` are read in, as Traefik reads those of a folder."""

    def __init__(self, files: Iterable[Path], context: ssl.SSLContext) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
        self._server.daemon_threads = True
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self._server.rules = Rules([yaml.safe_load(each.read_text())["http"] for each in files])
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> "Forwarder":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class Rules:
    """All routers, middlewares and services of several files."""

    def __init__(self, files: Iterable[Mapping[str, Any]]) -> None:
        self.routers: list[Any] = []
        self.middlewares: dict[str, Any] = {}
        self.services: dict[str, str] = {}
        for each in files:
            self.routers += each["routers"].values()
            self.middlewares |= each["middlewares"]
            for name, service in each["services"].items():
                self.services[name] = urlsplit(service["loadBalancer"]["servers"][0]["url"]).netloc
        self.routers.sort(key=lambda each: each.get("priority", len(each["rule"])), reverse=True)

    def router(self, host: str, path: str, headers: Headers) -> Any:
        """The router of a request; None if there is none."""
        return next((each for each in self.routers if matches(each["rule"], host, path, headers)), None)


def matches(rule: str, host: str, path: str, headers: Headers) -> bool:
    """Whether a rule, of these matchers with && between them, matches."""
    name = host.partition(":")[0]
    does = {
        "Host": name.__eq__,
        "PathPrefix": path.startswith,
        "PathRegexp": lambda pattern: re.search(pattern, path),
        "HeaderRegexp": lambda header, pattern: any(re.search(pattern, each) for each in headers.get(header, ())),
    }
    parts = [(each, re.findall("`([^`]+)`", wanted)) for each, wanted in re.findall(r"(\w+)\((`.*?`)\)", rule)]
    return all(does[matcher](*wanted) for matcher, wanted in parts)


def cleaned(path: str) -> str:
    """A path as Traefik passes it on: without . and .., also encoded ones; what is reserved stays encoded."""
    plain = re.sub("%[0-9A-Fa-f]{2}", lambda found: _plain(found[0], r"[\w.~-]"), path)
    return f"/{posixpath.normpath(plain).strip('/')}" + "/" * (plain.endswith("/") and plain.strip("/") != "")


def compared(path: str) -> str:
    """Such a path as rules compare it: what is not reserved is decoded."""
    return re.sub("%[0-9A-F]{2}", lambda found: _plain(found[0], r"[^][:/?#@!$&'()*+,;=%]"), path)


def _plain(encoded: str, decoded: str) -> str:
    """The character that is encoded if it matches `decoded`."""
    character = unquote(encoded, "latin-1")
    return character if re.fullmatch(decoded, character, re.ASCII) else encoded.upper()


def canonical(name: str) -> str:
    """A header's name as Go keeps it: capitals after each -, and nowhere else."""
    return "-".join(each.capitalize() for each in name.split("-"))


def named(headers: Headers) -> set[str]:
    """What Connection names."""
    return {canonical(each.strip()) for value in headers.get("Connection", []) for each in value.split(",")}


def without_hops(headers: Headers) -> Headers:
    """Headers without those that are for the next machine alone, as Connection names them, too."""
    return {name: values for name, values in headers.items() if name not in {*HOP_BY_HOP, *named(headers)}}


def upgrade(headers: Headers) -> Headers:
    """What is put back of these: the protocol to which a request asks to change, if it does."""
    asks = "Upgrade" in headers and "Upgrade" in named(headers)
    return {"Connection": ["Upgrade"], "Upgrade": headers["Upgrade"][:1]} if asks else {}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 60

    def __getattr__(self, name: str) -> Any:
        if name.startswith("do_"):
            return self._forward
        raise AttributeError(name)

    def finish(self) -> None:
        super().finish()
        for each in _kept.__dict__.values():
            each.close()

    def log_message(self, *arguments: object) -> None:
        """Nothing is logged."""

    def _forward(self) -> None:
        rules: Rules = self.server.rules
        host, (path, *query) = self.headers["Host"], self.path.partition("?")
        path = cleaned(path)
        self.uri = "".join((path, *query))
        body = self.rfile.read(int(self.headers["Content-Length"] or 0))
        headers: Headers = {}
        for name, value in self.headers.items():
            headers.setdefault(canonical(name), []).append(value)
        headers.pop("Host", None)
        router = rules.router(host, compared(path), headers)
        if router is None:
            self._answer(404, {}, b"404 page not found\n")
            return
        for name in router.get("middlewares", ()):
            ((kind, given),) = rules.middlewares[name].items()
            if kind == "headers":
                for each, value in given["customRequestHeaders"].items():
                    headers.pop(canonical(each), None)
                    headers |= {canonical(each): [value]} if value else {}
            elif not self._is_admitted(given, headers, host):
                return
        passed_on = without_hops(headers) | upgrade(headers) | self._forwarded(host)
        service = rules.services[router["service"]]
        self._answer(*ask(service, self.command, self.uri, passed_on | {"Host": [host]}, body))

    def _is_admitted(self, given: Mapping[str, Any], headers: Headers, host: str) -> bool:
        """Ask at the address of a forwardAuth; what it refuses is the answer."""
        assert given["trustForwardHeader"] is False
        asked = without_hops(headers) | self._forwarded(host)
        asked |= {"X-Forwarded-Method": [self.command], "X-Forwarded-Uri": [self.uri]}
        address = urlsplit(given["address"])
        asked.pop("Content-Length", None)
        try:
            status, said, body = ask(address.netloc, "GET", f"{address.path}?{address.query}", asked)
        except (OSError, HTTPException):
            self._answer(500, {}, b"")
            return False
        if not 200 <= status < 300:
            self._answer(status, without_hops(said), body)
            return False
        for name in given["authResponseHeaders"]:
            headers.pop(canonical(name), None)
            if canonical(name) in said:
                headers[canonical(name)] = said[canonical(name)]
        return True

    def _forwarded(self, host: str) -> Headers:
        return {"X-Forwarded-For": ["127.0.0.1"], "X-Forwarded-Host": [host], "X-Forwarded-Proto": ["https"]}

    def _answer(self, status: int, headers: Headers, body: bytes) -> None:
        self.send_response_only(status)
        for name, values in headers.items():
            if name not in ("Content-Length", "Transfer-Encoding", "Connection"):
                for value in values:
                    self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


_kept = threading.local()


def ask(netloc: str, method: str, target: str, headers: Headers, body: bytes = b"") -> tuple[int, Headers, bytes]:
    """The answer of a server to a request, over a connection that stays open; asked once more if that was closed."""
    connections = _kept.__dict__
    for again in (False, True):
        connection = connections.setdefault(netloc, HTTPConnection(netloc, timeout=30))
        try:
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, values in {"Host": [netloc], **headers}.items():
                for value in values:
                    connection.putheader(name, value)
            connection.endheaders(body or None)
            answer = connection.getresponse()
            said: Headers = {}
            for name, value in answer.getheaders():
                said.setdefault(canonical(name), []).append(value)
            return answer.status, said, answer.read()
        except (OSError, HTTPException):
            connection.close()
            if again:
                raise
    raise AssertionError
