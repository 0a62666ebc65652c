"""A million requests that are nearly good: none of them is an error of ours, and the service lives on."""

import io
import json
import random
import re
import socket
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, nullcontext, suppress
from pathlib import Path
from threading import Lock

import pytest
from flask import Flask

import app
import clock
from conftest import Served, servers
from faults import tampered
from faults.furnished import SETTINGS, Furnished
from faults.mutations import Sent, mutated
from web import requests
from web.map import Work
from web.reader import CONSTANT, Reader, Request
from web.server import READ

pytestmark = [pytest.mark.long, pytest.mark.any_database]

IN_PROCESS, ON_THE_SOCKET = "mutated requests, in process", "mutated requests, on the socket"
SEED = 9
A_LIFE = 500  # requests, until all sessions and invites are there again, unspent
LIVES = 100  # of a service; then the next one begins, whose sessions are young
CLIENTS = 4
HERE = {**CONSTANT, "REMOTE_ADDR": "127.0.0.1", "SERVER_NAME": "here", "SERVER_PORT": "80"}
FAILED = re.compile(rb"^HTTP/1\.[01] (5\d\d)", re.MULTILINE)
DECLARED = (501, 503)  # a transfer coding that nobody knows (RFC 9112, 6.1); no room to hash a password


@pytest.fixture
def repeatable(hurried, monkeypatch) -> None:
    """Chance is the same whenever it is asked."""
    chance = random.Random(SEED)
    monkeypatch.setattr(clock, "random_hex", lambda size: chance.randbytes(size).hex())
    monkeypatch.setattr(clock, "random_text", lambda size: chance.randbytes(size).hex())
    monkeypatch.setattr(clock, "new_id", lambda: clock.id_for(str(chance.random())))


def read(written: bytes) -> Request | None:
    """The first request that the server reads of this; None if it refuses it itself, or waits for the rest."""
    found: list[Request] = []
    reader = Reader(HERE, found.append)
    for start in range(0, len(written), READ):
        reader.feed(written[start : start + READ])
    return found[0] if found and not found[0].refused else None


def answered(service: Flask, asked: Request) -> int:
    """The status with which the application answers, after all of its answer was read."""
    said = []
    body = service.wsgi_app(asked.environ() | {"wsgi.errors": io.StringIO()}, lambda *head: said.append(head))
    with closing(body) if hasattr(body, "close") else nullcontext():
        assert all(isinstance(each, bytes) for each in body)
    return int(said[0][0][:3])


def fuzz(memory: Path, kept: Path, times: int) -> Counter[int]:
    """Mutate until so many requests have reached the application; how often it answered with which status.

    The databases are in `memory`; a request that fails is `kept`.
    """
    statuses, lives = Counter[int](), range(-(-times // A_LIFE))
    for first in lives[::LIVES]:
        furnished = Furnished(memory / f"life{first}")
        service = app.create_app(furnished.settings)
        for life in lives[first : first + LIVES]:
            furnished.put_back()
            rng = random.Random(f"{SEED} {life}")
            statuses += _lived(service, _readable(furnished.seeds, rng, min(A_LIFE, times)), life, kept)
        service.extensions["invite_api"].database.close()
    return statuses


def _lived(service: Flask, asked: Iterable[tuple[bytes, Request]], life: int, kept: Path) -> Counter[int]:
    """How often it answered with which status, none of which may be an error of ours."""
    statuses = Counter[int]()
    for written, request in asked:
        try:
            status = answered(service, request)
        except Exception as error:
            raise AssertionError(f"{type(error).__name__} in life {life}; {replayable(kept, written)}") from error
        assert status < 500, f"{status} in life {life}; {replayable(kept, written)}"
        statuses[status] += 1
    return statuses


def _readable(good: list[Sent], rng: random.Random, times: int) -> Iterator[tuple[bytes, Request]]:
    while times:
        written = mutated(rng, good).written(rng)
        if request := read(written):
            times -= 1
            yield written, request


def replayable(folder: Path, written: bytes) -> str:
    """Keep a request; the words that say where, and how to send it again."""
    file = folder / "request.bin"
    file.write_bytes(written)
    return f"seed {SEED}, kept in {file} (send it with: nc HOST PORT < {file.name}): {written[:2000].hex()}"


def test_no_mutated_request_is_an_error_of_ours(memory, tmp_path, repeatable, profile, figures):
    row, times = figures(IN_PROCESS), profile(5000, 1_000_000)
    print(f"seed {SEED}")
    statuses = fuzz(memory, tmp_path, times)
    row.shows(f"{statuses.total():,} requests to every row of the map", f"0 × 5xx; {told(statuses)}")
    assert statuses.total() == times
    assert {200, 201, 303, 400, 401, 403, 404, 405, 413, 415, 422} <= set(statuses)


def told(statuses: Counter[int]) -> str:
    """The statuses in a few words."""
    groups = Counter[str]()
    for status, count in statuses.items():
        groups[f"{status // 100}xx"] += count
    return ", ".join(f"{count:,} × {group}" for group, count in sorted(groups.items()))


def test_what_was_furnished_is_there_again(memory, repeatable):
    furnished = Furnished(memory)
    client = app.create_app(furnished.settings).test_client()
    shown = next(line for seed in furnished.seeds for line in seed.headers if b"hitkey_" in line)
    headers = {"Authorization": shown.decode().partition(": ")[2]}
    statuses = [client.post("/auth/logout", headers=headers).status_code for _ in range(2)]
    furnished.put_back()
    assert [*statuses, client.post("/auth/logout", headers=headers).status_code] == [200, 401, 200]


def test_a_row_that_chokes_on_one_byte_is_caught(memory, tmp_path, repeatable, figures, monkeypatch):
    monkeypatch.setattr(requests, "_refuse_privileged", requests._refuse_privileged)  # put back afterwards
    tampered.chokes_on_one_byte("")
    with pytest.raises(AssertionError, match="500 in life") as caught:
        fuzz(memory, tmp_path, 5000)
    figures(IN_PROCESS).catches("a reader that raises at one byte: a 500, its request kept")
    kept = (tmp_path / "request.bin").read_bytes()
    assert kept[:1000].hex() in str(caught.value)
    assert answered(app.create_app(Furnished(memory / "again").settings), read(kept)) == 500


class Sender:
    """Clients that send mutated requests to a server, alone and several on a connection."""

    def __init__(self, served: Served, good: list[Sent]) -> None:
        self.served, self.good = served, good
        self.sent, self.answers, self.kept, self._lock = 0, Counter[int](), dict[int, bytes](), Lock()

    def send(self, number: int, times: int) -> None:
        """Send at least so many."""
        rng = random.Random(f"{SEED} {number}")
        while times > 0:
            count = rng.choice((1, 1, 1, 2, 5))
            written = b"".join(mutated(rng, self.good).written(rng) for _ in range(count))
            said = Counter(int(each) for each in FAILED.findall(self._ask(written)))
            times -= count
            with self._lock:
                self.sent += count
                self.answers += said
                self.kept |= dict.fromkeys(said, written)

    def _ask(self, written: bytes) -> bytes:
        """What is said to this, until the server hangs up, since nothing else will come."""
        said = []
        with socket.create_connection(("127.0.0.1", self.served.port), 30) as connection, suppress(ConnectionError):
            connection.sendall(written)
            with suppress(OSError):  # it has hung up already
                connection.shutdown(socket.SHUT_WR)
            said.extend(iter(lambda: connection.recv(65536), b""))
        return b"".join(said)


def assault(memory: Path, kept: Path, times: int, how: str = "") -> tuple[int, Counter[int], str]:
    """Send so many to real servers; how many were sent, the 5xx that came back, and what is in the logs."""
    sent, failed, logs = 0, Counter[int](), ""
    command = (sys.executable, tampered.__file__, how) if how else None
    for life in range(-(-times // (CLIENTS * A_LIFE))):
        folder = memory / str(life)
        good = Furnished(folder / "instance").seeds
        with servers(folder) as start:
            served = start(*([command] if command else []), **SETTINGS)
            sender, each = Sender(served, good), min(A_LIFE, -(-(times - sent) // CLIENTS))
            with ThreadPoolExecutor(CLIENTS) as clients:
                list(clients.map(sender.send, range(life * CLIENTS, (life + 1) * CLIENTS), CLIENTS * [each]))
            assert json.loads(served.get("/health").body) == {"status": "ok"}
            assert served.process.poll() is None
            for written in sender.kept.values():
                replayable(kept, written)
            sent, failed, logs = sent + sender.sent, failed + sender.answers, logs + served.log.read_text()
    return sent, failed, logs


def unforeseen(logs: str) -> list[str]:
    """The lines of a log that tell of a 5xx which is not declared, or of what nobody foresaw."""
    bad = re.compile(r'"status": ?5(?!0[13])|Traceback|nobody foresaw|could not be given|Exception')
    hashing = [f'"{row.path}"' for rows in app.ROUTES.values() for row in rows if row.work is Work.OWN]
    wrong = [line for line in logs.splitlines() if bad.search(line)]
    full = [line for line in logs.splitlines() if re.search('"status": ?503', line)]
    return wrong + [line for line in full if not any(each in line for each in hashing)]


def test_no_mutated_request_brings_a_server_down(memory, tmp_path, profile, figures):
    row, times = figures(ON_THE_SOCKET), profile(1500, 200_000)
    print(f"seed {SEED}")
    sent, failed, logs = assault(memory, tmp_path, times)
    assert unforeseen(logs) == []
    assert set(failed) <= set(DECLARED), replayable(tmp_path, b"")
    row.shows(
        f"{sent:,} requests by {CLIENTS} clients, pipelined and cut short",
        f"0 × 5xx, but for {failed[501]:,} × 501 (unknown transfer coding) and {failed[503]:,} × 503 "
        "(no room to hash); /health answers, no traceback",
    )
    assert sent >= times


def test_a_server_that_chokes_on_one_byte_is_caught(memory, tmp_path, figures):
    _, failed, logs = assault(memory, tmp_path, 4000, "chokes_on_one_byte=")
    assert failed[500]
    assert unforeseen(logs)
    figures(ON_THE_SOCKET).catches("a reader that raises at one byte: a 500, and told in the log")
