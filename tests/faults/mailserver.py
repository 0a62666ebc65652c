"""A mail server in a bad mood: it refuses, hangs up, dawdles, and takes mail without saying so."""

import asyncio
import random
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from conftest import free_port, listening_for_mail

REFUSED = "refused"  # who is called so is unknown here, now and always
AT_RCPT = ("450 mailbox busy", "421 too much to do", "hang up")
AT_DATA = ("451 no room", "452 no room for so many", "hang up", "take it and hang up")
SHARE = 0.1  # of the recipients, of the mails, and of the beginnings of mails, how many go wrong
DAWDLES = 0.06  # seconds at most


class Line(SMTP):
    """One connection. It knows whom the mail is for that is on its way, however that ends."""

    recipient = ""

    async def push(self, status: str | bytes) -> None:
        """Say something; and now and then hang up before the mail has come, of which all but the end was asked for."""
        await super().push(status)
        if str(status).startswith("354") and random.random() < SHARE:
            self.transport.abort()

    def begin(self, recipient: str) -> None:
        """A letter to somebody is on its way."""
        self.recipient = recipient
        self.event_handler.begin(recipient)

    def connection_lost(self, error: Exception | None) -> None:
        """It is no longer."""
        super().connection_lost(error)
        if self.recipient:
            self.event_handler.end(self.recipient)


class Moody(Controller):
    """The server. `taken` are the recipients of the mails it took, by Message-ID; `at_once` who got two at a time."""

    def __init__(self) -> None:
        super().__init__(self, hostname="127.0.0.1", port=free_port())
        self.taken: Counter[tuple[str, str]] = Counter()
        self.on_the_way: set[str] = set()
        self.at_once: list[str] = []
        self.tries = 0

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    @property
    def recipients(self) -> set[str]:
        """Who has got a mail."""
        return {to for _, to in self.taken}

    def factory(self) -> SMTP:
        return Line(self)

    def begin(self, recipient: str) -> None:
        self.tries += 1
        if recipient in self.on_the_way:
            self.at_once.append(recipient)
        self.on_the_way.add(recipient)

    def end(self, recipient: str) -> None:
        self.on_the_way.discard(recipient)

    async def handle_RCPT(self, line: Line, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        line.begin(address)
        await asyncio.sleep(random.uniform(0, DAWDLES))
        if address.startswith(REFUSED):
            return "550 no such user"
        if random.random() < SHARE:
            return _said(random.choice(AT_RCPT), line)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, line: Line, session: Session, envelope: Envelope) -> str:
        await asyncio.sleep(random.uniform(0, DAWDLES))
        mood = random.choice(AT_DATA) if random.random() < SHARE else ""
        if mood in ("", "take it and hang up"):
            message = message_from_bytes(envelope.content)
            self.taken[message["Message-ID"], message["To"]] += 1
        return _said(mood, line) if mood else "250 OK"


def _said(mood: str, line: Line) -> str:
    if mood.endswith("hang up"):
        line.transport.abort()
    return mood


@contextmanager
def moody() -> Iterator[Moody]:
    """Such a server, which listens during the block."""
    server = Moody()
    with listening_for_mail(server):
        yield server
