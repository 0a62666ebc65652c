"""From the bytes of a connection to whole requests: httptools parses them, this module limits them.

A request is a WSGI environment (PEP 3333) and a body.
"""

import re
import sys
from collections.abc import Callable
from functools import lru_cache
from io import BytesIO
from typing import Any
from urllib.parse import unquote_to_bytes, urlsplit

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser

MAX_HEADER_BYTES = 64 * 1024
MAX_HEADERS = 100  # of one request: each takes ten times the memory of what was sent
MAX_URL_BYTES = 8 * 1024
# What is parsed before a call is counted against its rate limit: 60 KiB of it would hold up everyone for 40 ms.
MAX_PARSED = {
    "HTTP_COOKIE": 8 * 1024,
    **dict.fromkeys(
        ("CONTENT_TYPE", "HTTP_ACCEPT_LANGUAGE", "HTTP_IF_NONE_MATCH", "HTTP_IF_MATCH", "HTTP_RANGE"), 1024
    ),
}
MAX_APP_COOKIES = 16 * 1024  # of cookies, where a proxy hands on those of an app behind the gate
MAX_BODY_BYTES = 64 * 1024  # of a body: web/requests.py refuses a longer one without reading it
REFUSED_UNREAD = 1024 * 1024  # a body that is longer than this is refused before it is sent
MAX_LARGE_BODIES = 16  # bodies beyond MAX_BODY_BYTES that a server keeps at once
NO_ROOM = "invite_api.no_room"  # in the environment of a request whose large body was not kept, since others are

CONSTANT = {
    "SCRIPT_NAME": "",
    "QUERY_STRING": "",
    "wsgi.version": (1, 0),
    "wsgi.url_scheme": "http",
    "wsgi.errors": sys.stderr,
    "wsgi.multithread": True,
    "wsgi.multiprocess": False,
    "wsgi.run_once": False,
    "wsgi.input_terminated": True,
}


class LargeBodies:
    """Which requests may have a body beyond 64 KiB, how large it may be, and how many of them are kept at once.

    `requests` matches their ``METHOD /path``. The connections of a server share one, so that many strangers who send
    large bodies do not fill the memory.
    """

    def __init__(self, requests: re.Pattern[str], largest: int) -> None:
        self._requests, self._largest, self._free = requests, largest, MAX_LARGE_BODIES

    def largest(self, line: str) -> int:
        """How many bytes the body of a ``METHOD /path`` may have."""
        return self._largest if self._requests.fullmatch(line) else MAX_BODY_BYTES

    def take(self) -> bool:
        """Whether there is room for one more; it is taken until `give_back`."""
        if self._free == 0:
            return False
        self._free -= 1
        return True

    def give_back(self) -> None:
        """One body less is kept."""
        self._free += 1


NONE_LARGE = LargeBodies(re.compile("(?!)"), MAX_BODY_BYTES)


class Request:
    """A request, or the status that refuses it; and whether the connection stays open after its answer."""

    __slots__ = ("_environ", "body", "kept_in", "refused", "stays")

    def __init__(self, environ: dict[str, Any], refused: int = 0) -> None:
        self._environ = environ
        self.body = b""
        self.stays = False
        self.refused = refused
        self.kept_in: LargeBodies | None = None

    def forget(self) -> None:
        """It is answered, or nobody waits for its answer: its body needs no room any more."""
        if self.kept_in:
            self.kept_in.give_back()
            self.kept_in = None

    @property
    def line(self) -> str:
        """``METHOD /path``, without the slash that some end in."""
        return f"{self._environ['REQUEST_METHOD']} {self._environ['PATH_INFO'].rstrip('/') or '/'}"

    @property
    def version(self) -> str:
        """The protocol, as its answer begins with it."""
        return "HTTP/1.0" if self._environ.get("SERVER_PROTOCOL") == "HTTP/1.0" else "HTTP/1.1"

    def environ(self) -> dict[str, Any]:
        """A WSGI environment, a new one for each call."""
        return {**self._environ, "wsgi.input": BytesIO(self.body)}


class Reader:
    """Parses a connection, and calls `take` with each request that is whole or refused.

    `over` is true after the last request, when nothing more is read; `unread` if it was refused before its end.
    `expects` is true while the client waits for ``100 Continue``, `halfway` while a request is not whole.
    """

    def __init__(
        self, constant: dict[str, Any], take: Callable[[Request], None], large_bodies: LargeBodies = NONE_LARGE
    ) -> None:
        self.over = self.unread = self.expects = self.halfway = False
        self._constant = constant
        self._large_bodies, self._is_large = large_bodies, False
        self._take = take
        self._parser = HttpRequestParser(self)
        self._size = 0

    def feed(self, data: bytes | memoryview) -> None:
        """Parse what was read."""
        if self.over:
            return
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self.over = True
        except HttpParserError:
            if not self.over:
                self._refuse(400)
        if self.halfway:
            self._measure(len(data))

    def _measure(self, size: int) -> None:
        """Refuse a header that is too long, and a body that is, though its length was not said."""
        self._size += size
        if not self._headed and self._size >= MAX_HEADER_BYTES:
            self._refuse(431)
        elif self._size > max(REFUSED_UNREAD, self._room) + MAX_HEADER_BYTES:
            self._end(unread=True)

    def forget(self) -> None:
        """The connection is closed: what was read of a body needs no room any more."""
        if self._is_large:
            self._is_large = False
            self._large_bodies.give_back()

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        self._environ = self._constant.copy()
        self._url = b""
        self._kept = bytearray()
        self._room = MAX_BODY_BYTES
        self._size = self._got = self._headers = 0
        self.halfway, self._headed, self._chunked = True, False, False

    def on_url(self, url: bytes) -> None:
        """The URL, or a part of it."""
        self._url += url
        if len(self._url) > MAX_URL_BYTES:
            self._stop(414)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header; one after a body is ignored."""
        key = _key(name)
        if key and not self._headed:
            text = value.strip(b" \t").decode("latin-1")
            before = self._environ.get(key)
            self._headers += 1
            if self._headers > MAX_HEADERS:
                self._stop(431)
            self._environ[key] = text if before is None else f"{before}, {text}"
            if key in MAX_PARSED and len(self._environ[key]) > self._most_parsed(key):
                self._stop(431)

    def _most_parsed(self, key: str) -> int:
        is_of_app = key == "HTTP_COOKIE" and self._url.startswith((b"/gate/", b"/.invite/"))
        return MAX_APP_COOKIES if is_of_app else MAX_PARSED[key]

    def on_headers_complete(self) -> None:
        """The header is whole; refuse the request if its body will not be read."""
        environ, self._headed = self._environ, True
        environ["REQUEST_METHOD"] = self._parser.get_method().decode("ascii")
        environ["SERVER_PROTOCOL"] = f"HTTP/{self._parser.get_http_version()}"
        environ["PATH_INFO"], environ["QUERY_STRING"] = _where(self._url)
        length = int(environ.get("CONTENT_LENGTH", 0))
        self._chunked = self._is_chunked(environ.pop("HTTP_TRANSFER_ENCODING", None))
        self.expects = environ.get("HTTP_EXPECT", "").lower() == "100-continue" and (self._chunked or length > 0)
        if self._chunked or length > MAX_BODY_BYTES:
            self._make_room(length)

    def _make_room(self, length: int) -> None:
        """Keep a body that may be long if this request may have one and there is room; else refuse one that is."""
        largest = self._large_bodies.largest(Request(self._environ).line)
        if MAX_BODY_BYTES < largest >= length:
            self._is_large = self._large_bodies.take()
            self._environ.update({} if self._is_large else {NO_ROOM: True})
        self._room = largest if self._is_large else MAX_BODY_BYTES
        if length > self._room:
            self._room = 0
            if self.expects or length > max(largest, REFUSED_UNREAD):
                self._end(unread=True)
                raise ValueError("this body is not read")

    def _is_chunked(self, coding: str | None) -> bool:
        """Whether a body comes in chunks; any other coding, and this one twice or in HTTP/1.0, is refused."""
        if coding is None:
            return False
        if {each.strip() for each in coding.lower().split(",")} != {"chunked"}:
            self._stop(501)
        if "," in coding or self._parser.get_http_version() == "1.0":
            self._stop(400)
        return True

    def on_body(self, body: bytes) -> None:
        """A part of a body; none is kept of a body that is too long."""
        self.expects = False
        self._got += len(body)
        if self._got <= self._room:
            self._kept += body
        else:
            self._kept.clear()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._end()

    def _end(self, unread: bool = False) -> None:
        if self._chunked:
            self._environ["CONTENT_LENGTH"] = str(self._got)
        request = Request(self._environ)
        request.body = bytes(self._kept)
        if self._is_large:
            self._is_large, request.kept_in = False, self._large_bodies
        request.stays = not unread and self._parser.should_keep_alive() and not self._parser.should_upgrade()
        self._give(request, unread)

    def _refuse(self, status: int) -> None:
        self.forget()
        self._give(Request({}, status), unread=True)

    def _stop(self, status: int) -> None:
        """Refuse a request, and read nothing more."""
        self._refuse(status)
        raise ValueError(status)

    def _give(self, request: Request, unread: bool) -> None:
        self.unread, self.over = unread, not request.stays
        self.expects = self.halfway = False
        self._kept = bytearray()
        self._take(request)


@lru_cache(maxsize=1024)
def _key(name: bytes) -> str:
    """A header's name in the environment; "" for one with _ in it, since that could pass for another with -."""
    key = name.decode("latin-1").upper().replace("-", "_")
    if b"_" in name:
        return ""
    return key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else f"HTTP_{key}"


def _where(url: bytes) -> tuple[str, str]:
    """Path and query of a URL. Raises ValueError if it has none."""
    if url[:1] != b"/":
        parts = urlsplit(url)
        path, query = parts.path, parts.query
    else:
        path, _, query = url.partition(b"#")[0].partition(b"?")
    if b"%" in path:
        path = unquote_to_bytes(path)
    if path[:2] == b"//":
        path = b"/" + path.lstrip(b"/")
    return path.decode("latin-1"), query.decode("latin-1")
