"""How a webhook's receiver is called: one POST over a connection of its own, in 15 seconds in all.

The standard library's client follows what the environment says of proxies, looks a name up by itself, and lets a
receiver go on with a byte a second for ever. So the connection is dialled here, to an address that was judged, and
all that is read has one deadline.
"""

import queue
import re
import socket
import ssl
import threading
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import parsedate_to_datetime
from functools import cache
from typing import Any
from urllib.parse import SplitResult, urlsplit

import clock
from rules import targets

TIMEOUT = 15.0  # seconds, from looking the name up to the status line of the answer
MAX_READ = 64 * 1024  # bytes of an answer
LINGER = 1.0  # seconds in which a receiver may come to the end of its answer, which is dropped

_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9][0-9])(?: [^\r\n]*)?\r?\n")
_HEAD_ENDS = re.compile(rb"\r?\n\r?\n")
_RETRY_AFTER = re.compile(rb"^retry-after:[ \t]*([^\r\n]*)", re.IGNORECASE | re.MULTILINE)
_LENGTH = re.compile(rb"^content-length:[ \t]*([0-9]{1,9})[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_CONTINUE = 100
_WITHOUT_BODY = (204, 304)

Found = tuple[socket.AddressFamily, tuple[Any, ...]]  # what getaddrinfo says of an address


@dataclass(frozen=True)
class Post:
    """What is sent where; `private` is whether it may go to private and loopback addresses."""

    url: str
    private: bool
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True)
class Reply:
    """What came of it: the status, or an `error` where none came; how long that took; when to try again, if it says."""

    status: int | None
    milliseconds: int
    error: str | None = None
    retry_after: timedelta | None = None

    @property
    def is_success(self) -> bool:
        """Whether the receiver has taken it."""
        return self.status is not None and 200 <= self.status < 300


class AddressNotAllowed(Exception):
    """A name has an address to which nothing is sent."""


class NoAnswer(Exception):
    """What came is no answer in HTTP/1."""


class _Deadline:
    """The moment by which all is to be done."""

    def __init__(self, seconds: float) -> None:
        self._end = clock.ticks() + seconds

    @property
    def left(self) -> float:
        """The seconds that are left; raises TimeoutError if there are none."""
        left = self._end - clock.ticks()
        if left <= 0:
            raise TimeoutError
        return left


def send(post: Post) -> Reply:
    """Send it once. Whatever goes wrong is in the answer, and nothing is raised."""
    began, deadline = clock.ticks(), _Deadline(TIMEOUT)
    status, head, error = None, b"", None
    try:
        with closing(_dialled(urlsplit(post.url), post.private, deadline)) as connection:
            _write(connection, _request(post), deadline)
            status, head = _status(connection, deadline)
            took = clock.ticks() - began
            head = _rest(connection, head, status)
    except (OSError, ValueError, AddressNotAllowed, NoAnswer) as caught:
        error, took = _error_text(caught), clock.ticks() - began
    return Reply(status, round(took * 1000), error, _retry_after(head))


def _dialled(url: SplitResult, private: bool, deadline: _Deadline) -> socket.socket:
    """A connection to one of the addresses that the host has now, encrypted for https, with the host's certificate.

    All of the addresses must be allowed; they are tried in their order. Raises AddressNotAllowed or OSError.
    """
    host, port = url.hostname or "", url.port or (443 if url.scheme == "https" else 80)
    found = _looked_up(host, port, deadline.left)
    if wrong := [address[0] for _, address in found if not targets.may_dial(address[0], private)]:
        raise AddressNotAllowed(wrong[0])
    connection = _connected(found, deadline)
    if url.scheme != "https":
        return connection
    try:
        connection.settimeout(deadline.left)
        return _trust().wrap_socket(connection, server_hostname=host.rstrip("."))
    except BaseException:
        connection.close()
        raise


def _looked_up(host: str, port: int, seconds: float) -> Sequence[Found]:
    """The addresses of a host; a name's are asked by a thread that may take longer.

    Raises OSError, or ValueError for what is no name.
    """
    try:
        return _addresses(host, port, socket.AI_NUMERICHOST)
    except socket.gaierror:  # it is a name
        pass
    told: queue.SimpleQueue[Sequence[Found] | Exception] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            told.put(_addresses(host, port))
        except Exception as error:
            told.put(error)

    threading.Thread(target=look_up, name="look-up", daemon=True).start()
    try:
        found = told.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if isinstance(found, Exception):
        raise found
    return found


def _addresses(host: str, port: int, flags: int = 0) -> Sequence[Found]:
    rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=flags)
    return [(family, address) for family, _, _, _, address in rows]


def _connected(found: Sequence[Found], deadline: _Deadline) -> socket.socket:
    """A connection to the first of these addresses that takes one; each has its share of the time that is left."""
    wrong: OSError = OSError("has no address")
    for number, (family, address) in enumerate(found):
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(deadline.left / (len(found) - number))
            connection.connect(address)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return connection
        except OSError as error:
            connection.close()
            wrong = error
    raise wrong


@cache
def _trust() -> ssl.SSLContext:
    """The certificates that the system trusts; made once, since to load them takes longer than to send."""
    return ssl.create_default_context()


def _request(post: Post) -> bytes:
    """The whole request."""
    parts = urlsplit(post.url)
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    fixed = {"Host": parts.netloc, "Content-Length": str(len(post.body)), "Connection": "close"}
    lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in {**fixed, **post.headers}.items())]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + post.body


def _write(connection: socket.socket, request: bytes, deadline: _Deadline) -> None:
    rest = memoryview(request)
    while rest:
        connection.settimeout(deadline.left)
        rest = rest[connection.send(rest) :]


def _status(connection: socket.socket, deadline: _Deadline) -> tuple[int, bytes]:
    """The status of the answer, and what came after its line so far; raises NoAnswer or OSError.

    A receiver may say "100 Continue" before it, or "103 Early Hints".
    """
    read, budget = b"", MAX_READ
    while True:
        while not (line := _STATUS.match(read)) or (_is_early(line) and not _HEAD_ENDS.search(read)):
            if (b"\n" in read and not line) or budget <= 0:
                raise NoAnswer
            connection.settimeout(deadline.left)
            came = connection.recv(min(4096, budget))
            if not came:
                raise NoAnswer
            read, budget = read + came, budget - len(came)
        if not _is_early(line):
            return int(line[1]), read[line.end() :]
        end = _HEAD_ENDS.search(read)
        read = read[end.end() :] if end else b""


def _is_early(line: re.Match[bytes]) -> bool:
    return int(line[1]) // 100 * 100 == _CONTINUE and int(line[1]) != 101


def _rest(connection: socket.socket, read: bytes, status: int) -> bytes:
    """The rest of an answer's head, and perhaps of its body: as much as comes soon, 64 KiB at most.

    So that a receiver that is about to say more does not find the connection broken.
    """
    deadline = _Deadline(LINGER)
    try:
        while len(read) < MAX_READ and not _is_whole(read, status):
            connection.settimeout(deadline.left)
            came = connection.recv(4096)
            if not came:
                break
            read += came
    except OSError:
        pass
    return read


def _is_whole(read: bytes, status: int) -> bool:
    """Whether this is all that follows the line with this status."""
    end = _HEAD_ENDS.search(b"\n" + read)
    if end is None:
        return False
    head, body = read[: end.start()], read[end.end() - 1 :]
    if status in _WITHOUT_BODY:
        return True
    length = _LENGTH.search(head)
    return len(body) >= int(length[1]) if length else body.endswith(b"0\r\n\r\n")


def _retry_after(answer: bytes) -> timedelta | None:
    """How long the receiver asks to wait: in seconds, or until a date; None where it does not."""
    found = _RETRY_AFTER.search(_HEAD_ENDS.split(b"\n" + answer, maxsplit=1)[0])
    if found is None:
        return None
    written = found[1].decode("latin-1").strip()
    if re.fullmatch("[0-9]{1,9}", written, re.ASCII):
        return int(written) * clock.SECOND
    try:
        return max(parsedate_to_datetime(written) - clock.now(), timedelta())
    except (TypeError, ValueError):
        return None


def _error_text(error: Exception) -> str:
    """What went wrong, for the log of deliveries."""
    match error:
        case AddressNotAllowed():
            said = f"its name has the address {error}, to which nothing is sent"
        case NoAnswer():
            said = "ended the connection without an answer, or what it answers is not HTTP"
        case TimeoutError():
            said = f"has not answered within {TIMEOUT:.0f} seconds"
        case ssl.SSLCertVerificationError():
            said = f"its certificate is not trusted: {error.verify_message}"
        case ssl.SSLError():
            said = f"no encrypted connection is possible: {error.reason or 'it ended'}"
        case socket.gaierror() | ValueError():
            said = "its name has no address"
        case _:
            said = (getattr(error, "strerror", None) or str(error) or type(error).__name__).lower()
    return said
