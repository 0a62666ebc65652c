"""What the server reads of a connection, keeps of it, and refuses; and an application that answers in parts."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

import pytest

from app import create_app
from conftest import COMMAND, Answer, Served, make_settings, require, wait_for
from faults import tampered
from settings import HOME
from test_rude_clients import ALIVE, TOKEN, memory, read_answers
from test_server import (
    FORM,
    KIB,
    TIMEOUT,
    connect,
    converse,
    count,
    create,
    creating,
    fat_request,
    has_an_answer,
    read_all,
    read_answer,
    request,
    stop,
)
from web import reader

pytestmark = pytest.mark.any_database

EXPECTING = {"Expect": "100-continue"}
CHUNKED = b"6\r\nname=A\r\n0\r\n\r\n"
# Says how long it is at /, in parts without end at /endless, in three at /parts; and notes when nobody listens.
APPLICATION = """
import re, sys
sys.path.insert(0, sys.argv[1])
from web.lanes import Lanes
from web.server import Server

class Parts:
    def __init__(self, count):
        self.left = count
    def __iter__(self):
        return self
    def __next__(self):
        self.left -= 1
        if self.left < 0:
            raise StopIteration
        return b"x" * 65536 if self.left % 2 else b""
    def close(self):
        print("closed", flush=True)

def application(environ, start_response):
    path = environ["PATH_INFO"]
    start_response("200 OK", [("Content-Length", "5")] if path == "/" else [])
    return [b"hello"] if path == "/" else Parts(10**9 if path == "/endless" else 6)

server = Server(application, "127.0.0.1", 0, Lanes(2, re.compile("GET /")))
print(server.address, flush=True)
server.run()
"""


@contextmanager
def running_application() -> Iterator[tuple["subprocess.Popen[str]", int]]:
    """A server with another application, and its port."""
    command = [sys.executable, "-W", "error", "-c", APPLICATION, str(HOME)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process, int(process.stdout.readline().rpartition(":")[2])
        finally:
            process.kill()


def test_a_question_without_a_body_that_waits_to_be_told_to_go_on_is_answered(served):
    with connect(served, request("GET", "/health", **EXPECTING)) as connection:
        assert connection.recv(KIB).startswith(b"HTTP/1.1 200 OK\r\n")


@pytest.mark.long
def test_nobody_is_told_to_send_a_body_that_will_be_refused(served, good_key):
    head = fat_request(good_key, 65 * KIB).partition(b"\r\n\r\n")[0] + b"\r\nExpect: 100-continue\r\n\r\n"
    with connect(served, head) as connection:
        answer = read_answer(connection)
    assert (answer.status, json.loads(answer.body)["code"]) == (413, "REQUEST_ENTITY_TOO_LARGE")
    assert (answer.headers["Connection"], answer.headers["Access-Control-Allow-Origin"]) == ("close", "*")


@pytest.mark.long
@pytest.mark.parametrize(
    ("version", "codings", "status"),
    [
        ("1.1", ["chunked"], 201),
        ("1.1", ["Chunked"], 201),
        ("1.1", ["chunked", "chunked"], 400),
        ("1.1", ["chunked, chunked"], 400),
        ("1.1", ["gzip, chunked"], 501),
        ("1.1", ["gzip"], 501),
        ("1.0", ["chunked"], 400),
    ],
)
def test_only_one_transfer_coding_is_taken(served, good_key, version, codings, status):
    lines = [f"POST /invites_api?key={good_key} HTTP/{version}", "Host: here", "Connection: close"]
    lines += ["Content-Type: application/x-www-form-urlencoded", *(f"Transfer-Encoding: {each}" for each in codings)]
    assert converse(served, "\r\n".join([*lines, "", ""]).encode() + CHUNKED).status == status
    assert count(served, "invites") == (status == 201)


@pytest.mark.long
def test_what_is_sent_of_bodies_that_are_too_long_is_not_kept(served, good_key):
    assert create(served, good_key).status == 201
    before = memory(served)
    half = fat_request(good_key, 600 * KIB)[: 515 * KIB]
    with ExitStack() as held:
        waiting = [held.enter_context(connect(served, half)) for _ in range(200)]
        assert create(served, good_key).status == 201
        assert memory(served) - before < 20 * KIB  # all of it would be a hundred MiB
        assert not any(has_an_answer(each) for each in waiting)


@pytest.mark.long
def test_after_a_body_that_was_too_long_the_connection_goes_on(served, good_key):
    fat = fat_request(good_key, 65 * KIB).replace(b"Connection: close", b"Connection: keep-alive")
    with connect(served, fat + request("GET", "/health")) as connection:
        assert [each.status for each in read_answers(connection, 2)] == [413, 200]


def test_the_server_keeps_as_much_of_a_body_as_the_application_takes(tmp_path):
    app = create_app(make_settings(tmp_path))
    assert app.config["MAX_CONTENT_LENGTH"] == reader.MAX_BODY_BYTES
    app.extensions["invite_api"].database.close()


@pytest.mark.long
def test_what_cannot_be_read_is_refused_after_what_came_before_it_is_answered(served, good_key):
    sent = 3 * request("GET", f"/invites_api?key={good_key}", **ALIVE) + b"nonsense\r\n\r\n"
    with connect(served, sent) as connection:
        assert [each.status for each in read_answers(connection, 4)] == [201, 201, 201, 400]
        assert read_all(connection) == b""


@pytest.mark.long
def test_a_header_after_a_body_is_of_no_use(served, good_key):
    trailer = CHUNKED[:-2] + b"Authorization: Bearer nobody\r\n\r\n"
    sent = request("POST", f"/invites_api?key={good_key}", trailer, **FORM, **{"Transfer-Encoding": "chunked"})
    assert converse(served, sent).status == 201


def test_a_header_with_an_underscore_passes_for_no_other():
    """A proxy overwrites X-Forwarded-For, and lets X_Forwarded_For pass."""
    taken = []
    sent = b"GET / HTTP/1.1\r\nX_Forwarded_For: 203.0.113.9\r\nX-Forwarded-For: 192.0.2.1\r\nContent_Type: x\r\n\r\n"
    reader.Reader(reader.CONSTANT, taken.append).feed(sent)
    environ = taken[0].environ()
    assert environ["HTTP_X_FORWARDED_FOR"] == "192.0.2.1"
    assert not {"CONTENT_TYPE", "HTTP_CONTENT_TYPE"} & environ.keys()


def test_a_body_that_says_it_is_too_long_is_refused_before_it_comes():
    taken = []
    reading = reader.Reader(reader.CONSTANT, taken.append)
    reading.feed(f"POST / HTTP/1.1\r\nContent-Length: {reader.REFUSED_UNREAD + 1}\r\n\r\n".encode())
    assert (len(taken), reading.over, reading.unread) == (1, True, True)


MIB = 1024 * KIB
LIST = b'{"invites":[' + b",".join([b'{"note":"' + b"x" * 1000 + b'"}'] * 1000) + b"]}"
LONG = {"Content-Type": "application/json"}


def sending(key, **headers):
    """The header of a request that creates a long list."""
    shown = {"Authorization": f"Bearer {key}", "Content-Length": str(len(LIST))}
    return request("POST", "/v1/invites", **LONG, **shown, **headers)


def test_a_list_of_a_thousand_is_taken_over_the_socket_also_in_chunks(served, good_key):
    assert reader.MAX_BODY_BYTES < len(LIST) < 2 * MIB
    sent = {"Authorization": f"Bearer {good_key}", "Expect": "100-continue", **LONG}
    assert served.get("/v1/invites", "POST", LIST, **{**LONG, "Authorization": f"Bearer {good_key}"}).status == 201
    chunked = b"%x\r\n%b\r\n0\r\n\r\n" % (len(LIST), LIST)
    head = request("POST", "/v1/invites", **sent, **{"Transfer-Encoding": "chunked"})
    with connect(served, head) as connection:
        assert connection.recv(KIB).startswith(b"HTTP/1.1 100 Continue")
        connection.sendall(chunked)
        assert read_answer(connection).status == 201
    assert count(served, "invites") == 2000


@pytest.mark.long
def test_as_many_long_lists_are_kept_at_once_as_fit_and_more_are_asked_to_come_again(served, good_key):
    with ExitStack() as held:
        some = [held.enter_context(connect(served, sending("AAAAAAAA/nobody") + LIST[: MIB // 2])) for _ in range(16)]
        create_list = partial(served.get, "/v1/invites", "POST", LIST, **LONG, Authorization=f"Bearer {good_key}")
        refused = create_list()
        assert (refused.status, json.loads(refused.body)["code"]) == (503, "SERVICE_UNAVAILABLE")
        assert refused.headers["Retry-After"]
        assert create(served, good_key).status == 201  # what others send is short
        for each in some[:1]:
            each.close()
        wait_for(
            lambda: served.get("/v1/invites", "POST", LIST, **LONG, Authorization=f"Bearer {good_key}").status == 201
        )
        for each in some[1:]:
            each.sendall(LIST[MIB // 2 :])
            assert read_answer(each).status == 401
    for _ in range(20):  # all room is there again
        assert served.get("/v1/invites", "POST", LIST, **LONG, Authorization="Bearer a/b").status == 401


def test_room_for_a_long_body_is_given_back_however_its_request_ends():
    large = reader.LargeBodies(re.compile("POST /list"), 2 * MIB)
    head = f"POST /list HTTP/1.1\r\nContent-Length: {100 * KIB}\r\n\r\n".encode()
    for rest in (b"", b"x" * 50 * KIB, b"x" * 100 * KIB):
        taken = []
        reading = reader.Reader(reader.CONSTANT, taken.append, large)
        reading.feed(head + rest)
        assert large._free == reader.MAX_LARGE_BODIES - 1
        assert [len(each.body) for each in taken] == ([100 * KIB] if len(rest) == 100 * KIB else [])
        reading.forget()
        for each in taken:
            each.forget()
            each.forget()
        assert large._free == reader.MAX_LARGE_BODIES
    reading = reader.Reader(reader.CONSTANT, taken.append, large)
    reading.feed(b"POST /list HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n")
    assert (taken[-1].refused, large._free) == (400, reader.MAX_LARGE_BODIES)


def test_a_body_beyond_two_mib_is_refused_before_it_comes():
    taken, large = [], reader.LargeBodies(re.compile("POST /list"), 2 * MIB)
    reading = reader.Reader(reader.CONSTANT, taken.append, large)
    reading.feed(f"POST /list HTTP/1.1\r\nContent-Length: {2 * MIB + 1}\r\n\r\n".encode())
    assert (len(taken), reading.over, reading.unread, large._free) == (1, True, True, reader.MAX_LARGE_BODIES)


@pytest.mark.long
def test_who_takes_too_long_to_send_a_request_is_hung_up_upon(serve):
    served = serve((sys.executable, tampered.__file__, "longest=1"))
    with connect(served) as connection, pytest.raises(ConnectionError):
        for each in request("GET", f"/invites/{TOKEN}", **{"X-Padding": "x" * 100}):
            time.sleep(0.05)
            connection.sendall(bytes([each]))
    assert served.get("/health").status == 200


@pytest.mark.long
def test_the_loop_of_python_itself_does_as_well(serve):
    served = serve((sys.executable, tampered.__file__, "plain_loop="))
    key = served.run("create", "test")
    with connect(served, 20 * request("GET", f"/invites_api?key={key}", **ALIVE)) as connection:
        assert [each.status for each in read_answers(connection, 20)] == [201] * 20
        connection.sendall(creating(key))
        assert stop(served) == 0
        assert read_answer(connection).status == 201
    assert "Traceback" not in served.log.read_text()


@contextmanager
def listening_on(host: str, instance: Path) -> Iterator[str]:
    """What a server says that listens on an address of IPv6, on any port that is free; at last it ends well."""
    with socket.socket(socket.AF_INET6) as probe:
        if probe.connect_ex(("::1", 1)) != 111:
            require("an address of IPv6", "nothing: this machine has none")
    command = [COMMAND, "serve", "--host", host, "--port", "0"]
    environ = os.environ | {"INVITE_API_INSTANCE": str(instance)}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environ) as process:
        yield process.stderr.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(TIMEOUT) == 0


def test_it_listens_on_ipv6_and_says_on_which_port(tmp_path):
    """On any that is free, if it is told 0."""
    with listening_on("::1", tmp_path / "instance") as said:
        port = int(said.partition("listens on http://[::1]:")[2].partition(",")[0])
        with socket.create_connection(("::1", port), 5) as connection:
            connection.sendall(request("GET", "/health"))
            assert read_answer(connection).status == 200


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_an_answer_whose_length_is_not_known_comes_in_parts(version):
    with running_application() as (_, port), socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(f"GET /parts HTTP/{version}\r\n\r\nGET / HTTP/{version}\r\n\r\n".encode())
        answer = read_answer(connection)
        assert (answer.status, len(answer.body)) == (200, 3 * 65536)
        assert answer.headers.get("Transfer-Encoding") == ("chunked" if version == "1.1" else None)


def test_who_does_not_read_the_parts_holds_up_nobody_and_costs_nothing():
    with running_application() as (process, port), ExitStack() as held:
        served = Served(process, f"http://127.0.0.1:{port}", port, None, None, None)
        assert hello(port).body == "hello"
        before = memory(served)
        for _ in range(8):  # four times as many as there are threads
            connection = held.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            connection.sendall(b"GET /endless HTTP/1.1\r\n\r\n")
        time.sleep(0.5)
        with closing(socket.create_connection(("127.0.0.1", port), 10)) as connection:
            connection.sendall(b"GET /parts HTTP/1.1\r\nConnection: close\r\n\r\n")
            assert len(read_answer(connection).body) == 3 * 65536
        assert hello(port).body == "hello"
        assert memory(served) - before < 8 * KIB


def test_parts_are_closed_when_they_are_read_and_when_nobody_reads_them_any_more():
    with running_application() as (process, port):
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(b"GET /parts HTTP/1.1\r\n\r\n")
            assert read_answers(connection, 1)[0].status == 200
        assert process.stdout.readline() == "closed\n"
        with socket.create_connection(("127.0.0.1", port), 10) as connection:
            connection.sendall(b"GET /endless HTTP/1.1\r\n\r\n")
            assert connection.recv(KIB)
        assert process.stdout.readline() == "closed\n"
        process.terminate()
        wait_for(lambda: process.poll() == 0)


def hello(port: int) -> Answer:
    with socket.create_connection(("127.0.0.1", port), 10) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n")
        return read_answer(connection)


STOPPED_EARLY = """
import os, re, signal
from web.lanes import Lanes
from web.server import Server

server = Server(lambda environ, start: [], "127.0.0.1", 0, Lanes(1, re.compile("GET /")))
os.kill(os.getpid(), signal.SIGNAL)
server.run()
print("ended")
"""


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
def test_a_signal_that_comes_before_the_loop_runs_is_not_lost(name):
    """Told to stop as soon as it said that it listens, the server went on for ever."""
    script = STOPPED_EARLY.replace("SIGNAL", name)
    call = [sys.executable, "-c", script]
    done = subprocess.run(call, capture_output=True, text=True, timeout=30, cwd=HOME, check=False)
    assert (done.returncode, done.stdout) == (0, "ended\n")
