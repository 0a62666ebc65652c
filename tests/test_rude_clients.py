"""Clients that keep to no manners: the real server answers the others, in order and in time, and stays small."""

import json
import socket
import sys
import time
from contextlib import ExitStack
from http.client import HTTPResponse
from pathlib import Path
from typing import BinaryIO

import pytest

from conftest import Answer, Served, at_last, wait_for
from faults import tampered
from test_server import (
    FORM,
    KIB,
    TIMEOUT,
    connect,
    processor_time,
    query,
    read_all,
    read_answer,
    request,
    stop,
)

pytestmark = pytest.mark.any_database

TOKEN = "0" * 64
ALIVE = {"Connection": "keep-alive"}
LARGEST = "/openapi.json"
MAX_READ = 270  # requests as short as these that the server takes from a connection at once


def test_a_mixture_is_answered_whole_and_in_order(served, good_key):
    """Each kind is answered by a thread of another lane; nothing overtakes."""
    invite = served.run("invite", "create", "--uses", "9").partition("?")[2]
    new = {"invite_token": invite, "email": "anne@example.org", "password": "a-rather-long-password"}
    kinds = [
        (request("GET", "/health", **ALIVE), 200),
        (request("GET", f"/invites_api?key={good_key}", **ALIVE), 201),
        (request("GET", f"/invites/{invite}", **ALIVE), 200),
        (request("GET", "/docs", **ALIVE), 200),
        (request("PUT", "/health", **ALIVE), 405),
        (request("GET", f"/invites/{TOKEN}", **ALIVE), 404),
        (request("POST", "/auth/register/with-invite", json.dumps(new).encode(), **JSON, **ALIVE), 200),
        (request("GET", "/admin", **ALIVE), 303),
        (request("GET", "/api/admin/invites", **ALIVE), 403),
    ]
    again = 8 * [kind for kind in kinds if b"with-invite" not in kind[0]]
    sent = [*kinds, *again, (request("GET", "/health"), 200)]
    with connect(served, b"".join(each for each, _ in sent)) as connection:
        assert [each.status for each in read_answers(connection, len(sent))] == [status for _, status in sent]
        assert read_all(connection) == b""


@pytest.mark.long
def test_who_reads_nothing_keeps_nobody_from_being_answered(served, good_key):
    """Many more answers are asked for than go onto a wire, and each lane is met before they are sent."""
    served.get("/docs")  # what it shows is made once, and kept
    asking = [f"GET /invites_api?key={good_key}", f"GET /invites/{TOKEN}", "GET /docs", "POST /code"]
    with ExitStack() as held:
        for each in asking * 3:
            held.enter_context(deaf(served, [f"GET {LARGEST}"] * 120 + [each] * 20))
        before = settled_memory(served)
        for _ in range(5):
            for path in ("/health", f"/invites_api?key={good_key}", f"/invites/{TOKEN}", "/docs"):
                assert_soon(served, path)
        assert memory(served) < before + 8 * KIB
        assert memory(served) < 200 * KIB


@pytest.mark.long
def test_who_reads_nothing_for_too_long_is_hung_up_upon(serve):
    served = serve((sys.executable, tampered.__file__, "idle=1"))
    with deaf(served, [f"GET {LARGEST}"] * 120) as connection:
        assert holds(served, connection)
        wait_for(lambda: not holds(served, connection))
        assert read_all(connection).count(b"HTTP/1.1 200 OK") < 120
    assert "Traceback" not in served.log.read_text()


def holds(served: Served, connection: socket.socket) -> bool:
    """Whether the server's end of a connection is open: the state 01 in the kernel's table."""
    ends = [f"0100007F:{port:04X}" for port in (served.port, connection.getsockname()[1])]
    return [*ends, "01"] in [each.split()[1:4] for each in Path("/proc/net/tcp").read_text().splitlines()]


@pytest.mark.long
def test_who_reads_late_gets_every_answer(served):
    count = 120
    with deaf(served, [f"GET {LARGEST}"] * count) as connection:
        time.sleep(0.5)
        connection.settimeout(30)
        assert [each.status for each in read_answers(connection, count)] == [200] * count


@pytest.mark.long
def test_who_asks_much_at_once_is_answered_in_turn(served):
    """Hundreds of questions in a packet, and many such: another client waits for one answer of each, not for all."""
    many = b"GET /invites/%b HTTP/1.1\r\n\r\n" % TOKEN.encode() * 80
    with ExitStack() as held:
        for _ in range(40):
            held.enter_context(connect(served, many))
        for _ in range(5):
            assert_soon(served, "/health")


@pytest.mark.long
def test_a_request_may_come_in_two_pieces_however_it_is_cut(served, good_key):
    whole = request("POST", f"/invites_api?key={good_key}", b"name=Anne", **FORM, **ALIVE)
    with connect(served) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for cut in range(1, len(whole)):
            connection.sendall(whole[:cut])
            time.sleep(0.002)
            connection.sendall(whole[cut:])
            assert read_answers(connection, 1)[0].status == 201
    assert query(served, "SELECT count(*) FROM invites WHERE name = 'Anne'") == [(len(whole) - 1,)]


@pytest.mark.long
def test_a_request_may_come_a_byte_at_a_time(served, good_key):
    with connect(served) as connection:
        for each in request("POST", f"/invites_api?key={good_key}", b"name=Anne", **FORM):
            connection.sendall(bytes([each]))
            time.sleep(0.002)
        assert read_answer(connection).status == 201


@pytest.mark.long
@pytest.mark.parametrize("path", ["/health", "/docs", "/invites_api?key={}", LARGEST])
def test_who_has_said_all_and_hung_up_halfway_still_hears_the_answers(served, good_key, path):
    sent = request("GET", path.format(good_key), **ALIVE)
    with connect(served, 3 * sent) as connection:
        connection.shutdown(socket.SHUT_WR)
        assert [each.status for each in read_answers(connection, 3)] == [201 if "key" in path else 200] * 3
        assert read_all(connection) == b""


@pytest.mark.long
def test_who_leaves_in_the_middle_of_an_answer_is_forgotten(served):
    for _ in range(20):
        with deaf(served, [f"GET {LARGEST}"] * MAX_READ) as connection:
            assert connection.recv(KIB)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # hang up at once
    assert_soon(served, "/health")
    assert_soon(served, "/docs")
    assert stop(served) == 0
    assert "Traceback" not in served.log.read_text()


@pytest.mark.long
def test_who_waits_to_be_told_to_go_on_is_told(served, good_key):
    head, _, body = request(
        "POST", f"/invites_api?key={good_key}", b"name=Anne", **FORM, Expect="100-continue"
    ).partition(b"\r\n\r\n")
    with connect(served, head + b"\r\n\r\n") as connection:
        assert connection.recv(KIB) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert read_answer(connection).status == 201


@pytest.mark.long
def test_who_is_to_be_told_to_go_on_behind_others_is_told_in_turn(served, good_key):
    head, _, body = request(
        "POST", f"/invites_api?key={good_key}", b"name=Anne", **FORM, Expect="100-continue"
    ).partition(b"\r\n\r\n")
    with connect(served, 5 * request("GET", "/docs", **ALIVE) + head + b"\r\n\r\n") as connection:
        said = connection.makefile("rb")
        assert [each.status for each in answers_in(said, 5)] == [200] * 5
        assert said.readline() + said.readline() == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert read_answer(connection).status == 201


@pytest.mark.long
@pytest.mark.parametrize(("size", "status"), [(60 * KIB, 200), (64 * KIB, 431)])
def test_a_header_may_have_nearly_64_kib(served, size, status):
    with connect(served, request("GET", "/health", **{"X-Padding": "x" * size})) as connection:
        assert read_answer(connection).status == status


@pytest.mark.long
def test_http_1_0_is_answered_and_hung_up_upon(served):
    with connect(served, b"GET /health HTTP/1.0\r\n\r\n" * 2) as connection:
        assert read_answer(connection).status == 200
        assert read_all(connection) == b""


@pytest.mark.long
def test_http_1_0_may_ask_for_more(served):
    with connect(served, b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" * 3) as connection:
        assert [each.status for each in read_answers(connection, 3)] == [200] * 3


def test_nothing_is_done_that_comes_after_a_farewell(served, good_key):
    create = f"/invites_api?key={good_key}"
    sent = request("GET", "/health", **ALIVE) + request("GET", create) + 5 * request("GET", create, **ALIVE)
    with connect(served, sent) as connection:
        assert [each.status for each in read_answers(connection, 2)] == [200, 201]
        assert read_all(connection) == b""
    assert query(served, "SELECT count(*) FROM invites") == [(1,)]


@pytest.mark.long
def test_sigterm_amid_all_of_that_ends_it_and_what_it_said_is_so(served, good_key):
    create = request("GET", f"/invites_api?key={good_key}", **ALIVE)
    with ExitStack() as held:
        for each in (create[:20], create + create[:9], request("GET", LARGEST, **ALIVE) * 60, b"\0" * 99):
            for _ in range(5):
                held.enter_context(connect(served, each))
        reading = held.enter_context(connect(served, create * 30)).makefile("rb")
        assert answers_in(held.enter_context(reading), 1)[0].status == 201
        served.process.terminate()
        said = reading.read().count(b" 201 Created\r\n")
        assert served.process.wait(3 * TIMEOUT) == 0
    assert "Traceback" not in served.log.read_text()
    assert served.run("db", "check") == "ok"
    assert said == 29
    assert query(served, "SELECT count(*) FROM invites") == [(1 + said + 5,)]  # five asked for one, and did not read


JSON = {"Content-Type": "application/json"}


def deaf(served: Served, asked: list[str]) -> socket.socket:
    """A connection on which all this is asked at once, that nobody reads and that holds little."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * KIB)
    connection.connect(("127.0.0.1", served.port))
    connection.sendall(b"".join(f"{each} HTTP/1.1\r\n\r\n".encode() for each in asked))
    return connection


def read_answers(connection: socket.socket, count: int) -> list[Answer]:
    """So many whole answers that came one after the other."""
    with connection.makefile("rb") as said:
        return answers_in(said, count)


def answers_in(said: BinaryIO, count: int) -> list[Answer]:
    """So many whole answers, read one after the other; what follows them is left in the file."""
    answers = []
    for _ in range(count):
        response = HTTPResponse(_Said(said))
        response.begin()
        answers.append(Answer(response.status, dict(response.headers), response.read().decode()))
    return answers


class _Said:
    """A file, as http.client wants to be given a socket; it stays open."""

    def __init__(self, said):
        self.said = said

    def makefile(self, *how):
        return self

    def __getattr__(self, name):
        return getattr(self.said, name)

    def close(self):
        pass


def assert_soon(served: Served, path: str) -> None:
    """It is answered within a second; what else runs here may halt an answer, but not each."""

    def taken() -> float:
        started = time.monotonic()
        assert served.get(path).status < 500
        return time.monotonic() - started

    assert at_last(taken, 1) < 1, path


def settled_memory(served: Served) -> int:
    """What it occupies once it has done nothing for half a second: what could be made ready for the deaf has been."""

    def is_idle() -> bool:
        before = processor_time(served)
        time.sleep(0.5)
        return processor_time(served) - before < 0.02

    wait_for(is_idle, 60)
    return memory(served)


def memory(served: Served) -> int:
    """What the server occupies now, in KiB."""
    fields = dict(line.split(":") for line in Path(f"/proc/{served.process.pid}/status").read_text().splitlines())
    return int(fields["VmRSS"].split()[0])
