"""A program that receives webhooks, in whatever mood: it notes what comes, and answers as it is told."""

import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from standardwebhooks.webhooks import Webhook

Mood = int | bytes | Callable[[socket.socket], None]

REASONS = {200: "OK", 204: "No Content", 301: "Moved Permanently", 410: "Gone", 429: "Too Many Requests"}


@dataclass
class Got:
    """A request that came."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> Any:
        """The event, as the library of Standard Webhooks verifies it; raises its error for another signature."""
        return Webhook(secret).verify(self.body, dict(self.headers))


class Receiver:
    """It listens on this machine; `moods` are how it answers to the next requests, `usual` to all others."""

    def __init__(self, certificate: Any = None, usual: Mood = 204, port: int = 0) -> None:
        self.got: list[Got] = []
        self.moods: deque[Mood] = deque()
        self.usual = usual
        self._trust = None
        if certificate:
            self._trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(self._trust)
        self._listening = socket.create_server(("127.0.0.1", port), backlog=128)
        self.port = self._listening.getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"{'https' if self._trust else 'http'}://127.0.0.1:{self.port}/hook"

    def close(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._answer, args=[connection], daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            if self._trust:
                connection = self._trust.wrap_socket(connection, server_side=True)
            self.got.append(_read(connection))
            mood = self.moods.popleft() if self.moods else self.usual
            if isinstance(mood, int):
                mood = answer(mood)
            if isinstance(mood, bytes):
                connection.sendall(mood)
            else:
                mood(connection)
            connection.close()


def answer(status: int, *headers: str, body: bytes = b"") -> bytes:
    """An answer as most servers write it."""
    lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Whatever')}", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


def _read(connection: socket.socket) -> Got:
    read = b""
    while b"\r\n\r\n" not in read:
        came = connection.recv(65536)
        if not came:
            raise OSError("nothing came")
        read += came
    head, _, body = read.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (each.partition(": ") for each in lines)}
    while len(body) < int(headers["content-length"]):
        body += connection.recv(65536)
    return Got(first.split()[1], headers, body)


@contextmanager
def listening(*given: Any, **named: Any) -> Iterator[Receiver]:
    """A receiver that listens during the block."""
    receiver = Receiver(*given, **named)
    try:
        yield receiver
    finally:
        receiver.close()


def drips(connection: socket.socket) -> None:
    """It sends a byte a second, for ever."""
    for each in b"HTTP/1.1 200 OK and so on and so on and so on and so on and so on":
        connection.sendall(bytes([each]))
        time.sleep(1)


def drips_headers(connection: socket.socket) -> None:
    """It says at once that all is well, and then sends a byte a second."""
    connection.sendall(b"HTTP/1.1 200 OK\r\n")
    drips(connection)


def resets(connection: socket.socket) -> None:
    """It breaks the connection off."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")


def closes(connection: socket.socket) -> None:
    """It hangs up without a word."""


def hangs(connection: socket.socket) -> None:
    """It never answers."""
    time.sleep(60)


def floods(connection: socket.socket) -> None:
    """It sends a gigabyte."""
    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n")
    for _ in range(1024):
        connection.sendall(b"x" * 1024 * 1024)


def floods_at_once(connection: socket.socket) -> None:
    """It sends a gigabyte that is no answer."""
    for _ in range(1024):
        connection.sendall(b"x" * 1024 * 1024)
