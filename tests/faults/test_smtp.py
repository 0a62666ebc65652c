"""Mail, while its server is in a bad mood and those who carry it are killed: each letter arrives, and no dead one."""

import random
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

import clock
import database
from conftest import HASH, Served, ask, make_settings, servers, wait_for
from faults import tampered
from faults.mailserver import REFUSED, Moody, moody
from rules import accounts, changing, drafts, invites
from settings import in_force

pytestmark = pytest.mark.long

FAULT = "mail: a faulty server, and kill -9"
HASTY = "hasty=1000,lease=5"
TAMPERED = (sys.executable, tampered.__file__)
BATCH = 500
TIMEOUT = 1800  # seconds for all of it


class Undone(Exception):
    """What was to be done is not done after all."""


@dataclass
class Post:
    """Letters that wait, by recipient: those that are to arrive, and those that nobody will have."""

    instance: Path
    arrive: set[str]
    refused: set[str]
    dead: set[str]

    def count(self, condition: str) -> int:
        """How many letters there are of which this is true."""
        return int(ask(self.instance, f"SELECT count(*) FROM outbox WHERE {condition}")[0][0])


@pytest.fixture
def written(tmp_path) -> Callable[[int], Post]:
    """Write so many letters, ten that the mail server will never take, and some of each kind that must not be sent."""

    def write(count: int) -> Post:
        settings = make_settings(tmp_path / "instance")
        with in_force(settings):
            house = database.open_database(settings)
            post = Post(settings.instance, _mail(house, "guest", count), _mail(house, REFUSED, 10), set())
            for end in (_undo, _revoke, _use, _expire):
                post.dead |= _mail(house, end.__name__.strip("_"), max(2, count // 50), end)
            house.close()
        return post

    return write


def _mail(house, name, count, end=lambda token: None) -> set[str]:
    """Write letters with invites to so many, and let something happen to each; their addresses."""
    addresses = [f"{name}{number}@example.org" for number in range(count)]
    for first in range(0, count, BATCH):
        with suppress(Undone), house.writing():
            for each in addresses[first : first + BATCH]:
                made = invites.create(drafts.read({"email": each}), drafts.SHELL, mailed=True)
                end(made)
    return set(addresses)


def _undo(invite):
    raise Undone


def _revoke(invite):
    changing.revoke(invite)


def _use(invite):
    database.session().flush()
    accounts.register(invites.token(invite), accounts.Names(f"u{clock.random_hex(8)}"), HASH)


def _expire(invite):
    invite.expires_at = clock.now() - timedelta(seconds=1)


def carry(post: Post, mails: Moody, kills: int, how: str) -> None:
    """Have the letters delivered by two servers at once, which are killed so often, with a letter at hand."""
    command = (*TAMPERED, how)
    with servers(post.instance.parent) as start:
        running = [start(command, SMTP_URL=mails.url) for _ in range(2)]
        for number in range(1, kills + 1):
            done = len(post.arrive) * number // (kills + 1)
            wait_for(lambda done=done: post.count("sent_at IS NOT NULL") >= done, TIMEOUT)
            _kill(running.pop(0), mails)
            running.append(start(command, SMTP_URL=mails.url))
        wait_for(lambda: not post.count("due_at IS NOT NULL"), TIMEOUT)


def _kill(served: Served, mails: Moody) -> None:
    time.sleep(random.uniform(0, 0.1))
    wait_for(lambda: mails.on_the_way, 30)
    served.process.kill()
    served.process.wait()


def test_every_letter_arrives_whatever_the_mail_server_does_and_whoever_is_killed(written, profile, figures):
    row, kills = figures(FAULT), profile(3, 50)
    post = written(profile(100, 10_000))
    with moody() as mails:
        carry(post, mails, kills, HASTY)
    arrived = mails.recipients
    lost, wrong = post.arrive - arrived, arrived - post.arrive
    twice = sum(mails.taken.values()) - len(mails.taken)
    row.shows(
        f"{len(post.arrive):,} letters, {mails.tries:,} tries, 2 servers, {kills} kills; 4xx, 5xx, delays, "
        "hanging up before and after the mail is taken",
        f"{len(lost)} lost; {len(wrong)} of {len(post.dead):,} sent that were undone, revoked, used or expired; "
        f"{len(mails.at_once)} sent by both at once; {twice} arrived again, with the same Message-ID",
    )
    assert (lost, wrong, mails.at_once) == (set(), set(), [])
    assert mails.tries > len(post.arrive)
    assert len(mails.taken) == len(post.arrive)  # the same Message-ID, however often
    assert post.count("sent_at IS NOT NULL") == len(post.arrive)
    refused = f"recipient LIKE '{REFUSED}%' AND last_error LIKE '%550 no such user'"
    assert post.count(f"{refused} AND dropped_at IS NOT NULL AND due_at IS NULL") == len(post.refused)


def test_who_marks_a_letter_before_it_is_sent_is_caught(written, figures):
    post, kills = written(60), 6  # at one or the other none may be at hand
    with moody() as mails:
        carry(post, mails, kills, f"{HASTY},mark_first")
    lost = post.arrive - mails.recipients
    figures(FAULT).catches(
        f"marks a letter as sent before it is: {len(lost)} of {len(post.arrive)} lost in {kills} kills"
    )
    assert lost


def test_who_puts_no_letter_off_while_it_is_sent_is_caught(written):
    post = written(20)
    with moody() as mails, servers(post.instance.parent) as start:
        for _ in range(2):
            start((*TAMPERED, f"{HASTY},lease=-60"), SMTP_URL=mails.url)
        wait_for(lambda: mails.at_once, TIMEOUT)  # some letters are refused, and so tried on and on
