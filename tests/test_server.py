"""The real server, in a process of its own, over real sockets."""

import json
import os
import re
import select
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from hashlib import sha256
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from urllib.parse import urlencode

import pytest

from conftest import COMMAND, Answer, Served, ask, free_port, read_only, wait_for
from database import schema
from faults import tampered

TIMEOUT = 8  # seconds for the end: less than the server itself has for those who never stop calling
KIB = 1024
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}
GARBAGE = [
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",  # how https begins
    b"\0\0\0\0\r\n\r\n",
    b"GET\r\n\r\n",
    b"GET /health HTTP/1.1\r\nno header at all\r\n\r\n",
    b"GET /health HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
    b"GET /health HTTP/1.1\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",  # no number for Python
    b"POST /invites_api HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nso long\r\n",
]
HALF_A_HEADER = b"GET /invites_api?key="
HALF_A_BODY = b"POST /invites_api HTTP/1.1\r\nHost: here\r\nContent-Length: 1000\r\n\r\nname="


def test_it_says_that_it_is_well(served):
    answer = served.get("/health")
    assert answer.status == 200
    assert json.loads(answer.body) == {"status": "ok"}


@pytest.mark.long
@pytest.mark.parametrize("closes", ["keep-alive", "close"])
@pytest.mark.parametrize("path", ["/health", "/style.css", "/static/script.js", "/nowhere", "/invites_api"])
def test_every_answer_has_its_date_and_its_length_once(served, path, closes):
    connection = HTTPConnection("127.0.0.1", served.port)
    connection.request("GET", path, headers={"Connection": closes})
    answer = connection.getresponse()
    assert [len(answer.headers.get_all(name, [])) for name in ("Date", "Content-Length")] == [1, 1]
    assert len(answer.read()) == int(answer.headers["Content-Length"])
    assert answer.headers.get("Connection") == (closes if closes == "close" else None)
    connection.close()


def test_a_request_is_logged_as_json_with_its_template_and_without_its_secrets(served, good_key):
    password, wrong = "a-rather-long-password", "wrongkey/of-somebody-who-is-only-trying"
    token = token_in(create(served, good_key))
    assert served.get(f"/invite?{token}").status == 200
    assert served.get("/register", "POST", form(token=token, user="anne", password=password)).status == 200
    assert create(served, wrong).status == 403

    assert [(each["method"], each["route"], each["status"]) for each in requests_logged(served)] == [
        ("GET", "/invites_api", 201),
        ("GET", "/invite", 200),
        ("POST", "/register", 200),
        ("GET", "/invites_api", 403),
    ]
    for secret in (good_key, good_key.partition("/")[2], token, password, wrong, wrong.partition("/")[2]):
        assert secret not in served.log.read_text()


def test_half_sent_requests_do_not_stall_the_others(served, good_key):
    with ExitStack() as held:
        half_sent = [held.enter_context(connect(served, sent)) for sent in [HALF_A_BODY] * 150 + [HALF_A_HEADER] * 200]
        for path in ("/health", f"/invites_api?key={good_key}") * 3:
            started = time.monotonic()
            assert served.get(path).status in (200, 201)
            assert time.monotonic() - started < 2
        assert not any(has_an_answer(each) for each in half_sent)


def test_a_half_sent_request_makes_nothing(served, good_key):
    cut_short = request("POST", f"/invites_api?key={good_key}", b"note=whatever", **FORM)[:-1]
    for sent in (cut_short, cut_short[:60]):
        connect(served, sent).close()
    assert served.get("/health").status == 200
    assert stop(served) == 0
    assert count(served, "invites") == 0


@pytest.mark.sqlite  # a connection to PostgreSQL is a socket too
def test_who_hangs_up_is_let_go(served):
    assert served.get("/health").status == 200
    before = open_sockets(served)
    hashing = request("POST", "/register", form(token="none", user="anne", password="a-rather-long-password"), **FORM)
    for sent in [b"", HALF_A_HEADER, HALF_A_BODY, request("GET", "/health"), hashing] * 10:
        connect(served, sent).close()
    assert served.get("/health").status == 200  # who came before has been let in by now
    wait_for(lambda: open_sockets(served) <= before, TIMEOUT)
    assert "Traceback" not in served.log.read_text()


@pytest.mark.long
def test_beyond_the_limit_of_connections_nobody_is_let_in_and_the_loop_sleeps(serve):
    """260 files may be open: 160 connections, and a hundred others."""
    served = serve(["bash", "-c", 'ulimit -n 260; exec "$0" "$@"', COMMAND])
    with ExitStack() as held:
        for _ in range(300):
            held.enter_context(connect(served))
        wait_for(lambda: accepted(served) == 160)
        before = processor_time(served)
        time.sleep(1)
        wait_for(lambda: accepted(served) == 160)
        assert processor_time(served) - before < 0.5
    assert served.get("/health").status == 200


def processor_time(served) -> float:
    """Seconds that the server has worked."""
    facts = Path(f"/proc/{served.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(facts[11]) + int(facts[12])) / os.sysconf("SC_CLK_TCK")


def test_no_request_is_overlooked_until_all_connections_are_looked_after(served):
    taken = []
    with closing(HTTPConnection("127.0.0.1", served.port, timeout=30)) as connection:
        for _ in range(200):
            started = time.monotonic()
            connection.request("GET", "/health")
            assert json.loads(connection.getresponse().read()) == {"status": "ok"}
            taken.append(time.monotonic() - started)
    assert sum(each > 0.4 for each in taken) < 8  # it would be every tenth; a busy machine may halt for a moment


def test_a_header_without_end_is_refused(served, good_key):
    huge = {"Authorization": f"Bearer {good_key}", "X-Padding": "x" * KIB * KIB}
    assert converse(served, request("GET", "/invites_api", **huge)).status == 431
    assert served.get("/health").status == 200
    assert count(served, "invites") == 0


@pytest.mark.long
@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "chunked"])
def test_a_body_over_64_kib_is_refused_in_the_words_of_the_api(served, good_key, chunked):
    answer = converse(served, fat_request(good_key, 64 * KIB + 1, chunked))
    assert answer.status == 413
    assert json.loads(answer.body)["code"] == "REQUEST_ENTITY_TOO_LARGE"
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert count(served, "invites") == 0


@pytest.mark.long
@pytest.mark.parametrize("chunked", [False, True], ids=["with its length", "chunked"])
def test_a_body_over_1_mib_is_refused_before_it_is_whole(served, good_key, chunked):
    answer = converse(served, fat_request(good_key, 2 * KIB * KIB, chunked))
    assert (answer.status, json.loads(answer.body)["code"]) == (413, "REQUEST_ENTITY_TOO_LARGE")
    assert (answer.headers["Access-Control-Allow-Origin"], answer.headers["Connection"]) == ("*", "close")
    assert served.get("/health").status == 200
    assert count(served, "invites") == 0


def test_one_connection_takes_one_request_after_another(served):
    with closing(HTTPConnection("127.0.0.1", served.port, timeout=30)) as connection:
        connection.connect()
        first = connection.sock
        for _ in range(3):
            connection.request("GET", "/health")
            assert connection.getresponse().read()
            assert connection.sock is first


def test_garbage_is_refused_and_the_server_lives_on(served):
    assert [converse(served, each).status for each in GARBAGE] == [400] * len(GARBAGE)
    assert served.get("/health").status == 200
    assert "Traceback" not in served.log.read_text()


def test_only_get_and_post_make_invites(served, good_key):
    for method, status in {"HEAD": 405, "OPTIONS": 200, "PUT": 405, "DELETE": 405, "TRACE": 405}.items():
        assert served.get(f"/invites_api?key={good_key}", method).status == status, method
        assert count(served, "invites") == 0, method


@pytest.mark.long
def test_sigterm_lets_registrations_finish(served):
    token = served.run("invite", "create", "--uses", "8").partition("?")[2]
    sent = [
        request("POST", "/register", form(token=token, user=f"user{i}", password="a-rather-long-password"), **FORM)
        for i in range(8)
    ]
    with ExitStack() as held:
        waiting = [held.enter_context(connect(served, each)) for each in sent]
        assert stop(served) == 0
        assert [read_answer(each).status for each in waiting] == [200] * 8
    assert is_refused(served)
    assert count(served, "users") == count(served, "redemptions") == 8


@pytest.mark.long
@pytest.mark.parametrize(("connections", "each"), [(60, 3), (1, 150)])
def test_sigterm_lets_parallel_and_pipelined_creates_finish(served, good_key, connections, each):
    path = f"/invites_api?key={good_key}"
    pipeline = (each - 1) * request("GET", path, Connection="keep-alive") + request("GET", path)
    with ExitStack() as held:
        waiting = [held.enter_context(connect(served, pipeline)) for _ in range(connections)]
        assert stop(served) == 0
        acknowledged = [token for one in waiting for token in tokens_in(read_all(one))]
    assert len(acknowledged) == connections * each
    assert is_refused(served)
    assert_kept(served, acknowledged)


@pytest.mark.long
def test_sigterm_lets_in_who_stood_at_the_door(served, good_key):
    fat = fat_request(good_key, 60 * KIB)
    assert served.get("/health").status == 200
    served.process.send_signal(signal.SIGSTOP)
    with ExitStack() as held:
        for _ in range(20):
            held.enter_context(connect(served))  # who says nothing stands before who does
        waiting = [held.enter_context(connect(served, fat)) for _ in range(3)]
        served.process.send_signal(signal.SIGTERM)
        served.process.send_signal(signal.SIGCONT)
        answers = [read_answer(each) for each in waiting]
    assert [each.status for each in answers] == [201] * 3
    assert served.process.wait(TIMEOUT) == 0
    assert_kept(served, [token_in(each) for each in answers])


def test_who_says_nothing_does_not_put_off_the_end(served):
    with connect(served, HALF_A_BODY), connect(served, HALF_A_HEADER), connect(served):
        assert served.get("/health").status == 200
        assert stop(served) == 0


def test_ctrl_c_ends_it_without_a_stack_trace(served):
    assert served.get("/health").status == 200
    assert stop(served, signal.SIGINT) == 0
    assert "Traceback" not in served.log.read_text()


def test_a_port_in_use_is_told_in_one_sentence(invite_api):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        done = invite_api("serve", "--port", port)
    assert_refused(done, f"127.0.0.1:{port}")
    assert f"--port {int(port) + 1}" in done.stderr


def test_an_address_that_is_none_is_told_in_one_sentence(invite_api):
    assert_refused(invite_api("serve", "--host", "no..host"), "no..host")


def test_it_says_where_links_will_lead_if_nobody_told_it_its_address(serve):
    served = serve(PUBLIC_URL="")
    assert served.get("/health").status == 200
    assert "links begin with http://127.0.0.1:8080: set INVITE_API_PUBLIC_URL" in served.log.read_text()


def test_a_log_has_no_link_that_makes_an_admin_and_says_which_command_does(serve):
    served = serve()
    assert served.get("/health").status == 200
    log = served.log.read_text()
    assert "there is no admin yet: invite-api invite create --admin prints a link that makes one" in log
    assert "/invite?" not in log


@pytest.mark.long
def test_it_says_nothing_of_links_if_it_was_told(served):
    assert served.get("/health").status == 200
    assert "links begin" not in served.log.read_text()


@pytest.mark.long
def test_first_starts_at_once_agree_on_one_secret_and_one_schema(serve):
    with ThreadPoolExecutor(3) as at_once:
        servers = list(at_once.map(lambda _: serve(), range(3)))
    key = servers[0].run("create", "test")
    for token in [token_in(create(each, key)) for each in servers]:
        assert [each.get(f"/invite?{token}").status for each in servers] == [200] * 3
        assert json.loads(servers[0].run("invite", "show", token, "--json"))["link"].endswith(token)
    assert query(servers[0], "SELECT version FROM schema_version") == [(schema.VERSION,)]
    assert [each.name for each in servers[0].instance.glob("secret.key*")] == ["secret.key"]


def make_garbage(path: Path) -> None:
    path.write_bytes(b"these are no invites. " * 500)


def make_another_programs_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE letters (body TEXT)")


@pytest.mark.long
@pytest.mark.sqlite
@pytest.mark.parametrize("command", ["serve", "list", "create"])
@pytest.mark.parametrize("make", [make_garbage, make_another_programs_database])
def test_a_file_that_is_not_our_database_is_refused_and_left_alone(tmp_path, invite_api, command, make):
    path = tmp_path / "instance" / "invites.db"
    path.parent.mkdir()
    make(path)
    before = path.read_bytes()
    arguments = ("--port", str(free_port())) if command == "serve" else ()
    assert_refused(invite_api(command, *arguments), str(path))
    assert path.read_bytes() == before


@pytest.mark.long
@pytest.mark.sqlite
def test_a_locked_database_is_unavailable_until_it_is_released(served, good_key):
    with closing(sqlite3.connect(served.instance / "invites.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        started = time.monotonic()
        answer = create(served, good_key)
        assert time.monotonic() - started < 12
        assert answer.status == 503
        assert int(answer.headers["Retry-After"]) > 0
        other.execute("ROLLBACK")
    assert create(served, good_key).status == 201
    assert count(served, "invites") == 1


@pytest.mark.long
@pytest.mark.sqlite
def test_who_queues_behind_a_locked_database_is_refused_soon_and_readers_are_not_kept(served, good_key):
    with closing(sqlite3.connect(served.instance / "invites.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(8) as at_once:
            started = time.monotonic()
            answers = [at_once.submit(create, served, good_key) for _ in range(8)]
            for _ in range(5):
                asked = time.monotonic()
                assert served.get("/").status == 200
                assert time.monotonic() - asked < 1
            assert [each.result().status for each in answers] == [503] * 8
            assert time.monotonic() - started < 12
        other.execute("ROLLBACK")
    assert create(served, good_key).status == 201


@pytest.mark.long
@pytest.mark.sqlite
def test_those_who_wait_for_their_turn_share_a_commit(served, good_key):
    answers = ask_behind_a_lock(served, [creating(each) for each in [good_key] * 8 + ["unknown0/key"] * 4])
    assert sorted(each.status for each in answers) == [201] * 8 + [403] * 4
    assert_kept(served, [token_in(each) for each in answers if each.status == 201])
    assert 1 <= commits(served) <= 4


@pytest.mark.long
@pytest.mark.sqlite
def test_those_who_create_by_our_own_api_share_a_commit_unless_their_list_is_long(served, good_key):
    bodies = [{"name": "Anne"}] * 6 + [{"name": "once"}] * 2 + [{"invites": [{"name": "twice"}, {}]}] * 2
    once = [{}] * 6 + [{"Idempotency-Key": "one"}] * 2 + [{"Idempotency-Key": "two"}] * 2
    calls = [creating_by_v1(good_key, *each) for each in zip(bodies, once, strict=True)]
    answers = ask_behind_a_lock(served, calls)
    assert [each.status for each in answers] == [201] * 10
    assert (answers[6].body, answers[8].body) == (answers[7].body, answers[9].body)
    made = [json.loads(each.body) for each in answers]
    one_by_one = [each["invite"] for each in made[:7]]
    assert_kept(served, [each["token"] for each in one_by_one + made[8]["invites"]])
    assert 1 <= commits(served) <= 4
    long = {"invites": [{"name": "x" * 100}] * 50}
    assert [each.status for each in ask_behind_a_lock(served, [creating_by_v1(good_key, long, {})] * 4)] == [201] * 4
    assert commits(served) >= 4


@pytest.mark.long
@pytest.mark.sqlite
def test_those_who_wait_long_for_their_turn_share_a_commit_all_the_same(serve):
    served = serve((sys.executable, tampered.__file__, "slow_to_its_turn=0.1"))
    answers = ask_behind_a_lock(served, [creating(served.run("create", "test"))] * 12)
    assert [each.status for each in answers] == [201] * 12
    assert_kept(served, [token_in(each) for each in answers])
    assert commits(served) <= 5


@pytest.mark.long
@pytest.mark.sqlite
def test_those_whose_commit_comes_to_nothing_are_answered_one_by_one(serve):
    served = serve((sys.executable, tampered.__file__, "lose_together="))
    answers = ask_behind_a_lock(served, [creating(served.run("create", "test"))] * 8)
    assert [each.status for each in answers] == [201] * 8
    wait_for(lambda: "answered one by one" in served.log.read_text())
    assert_kept(served, [token_in(each) for each in answers])
    assert commits(served) >= 8


@pytest.mark.long
@pytest.mark.sqlite
def test_a_commit_that_comes_to_nothing_is_one_line_and_its_requests_are_logged_and_counted_once(serve):
    served = serve((sys.executable, tampered.__file__, "lose_together="))
    key = served.run("create", "test")
    answers = ask_behind_a_lock(served, [creating(key)] * 8)
    assert [each.status for each in answers] == [201] * 8
    wait_for(lambda: any("one by one" in each["event"] for each in logged(served)))
    assert [each["status"] for each in requests_logged(served)] == [201] * 8
    (line,) = (each for each in logged(served) if each["level"] != "info" and "links begin" not in each["event"])
    assert re.fullmatch("[78] requests are answered one by one: there is no room for so much at once", line["event"])
    metrics = served.get(f"/metrics?key={key}").body
    assert 'invite_api_requests_total{method="POST",route="/invites_api",status="201"} 8.0' in metrics


@pytest.mark.long
@pytest.mark.sqlite
def test_what_keeps_many_from_writing_at_once_is_one_line_with_how_many_they_are(served, good_key):
    with closing(sqlite3.connect(served.instance / "invites.db", isolation_level=None)) as other, ExitStack() as held:
        other.execute("BEGIN IMMEDIATE")
        sent = [held.enter_context(connect(served, creating(good_key))) for _ in range(24)]
        assert [read_answer(each).status for each in sent] == [503] * 24
        other.execute("ROLLBACK")

    def told():
        return [each for each in logged(served) if each["level"] in ("warning", "error")]

    wait_for(lambda: sum(each.get("requests", 1) for each in told()) >= 24)
    assert sum(each.get("requests", 1) for each in told()) == 24
    assert {(each["event"].rpartition(": ")[2], each["route"]) for each in told()} == {
        ("database is locked", "/invites_api")
    }
    assert len(told()) <= 3  # the first of them may be alone, and so may those be that came after it
    assert len(list(requests_logged(served))) == 24


@pytest.mark.long
@pytest.mark.sqlite
def test_of_many_who_wait_in_vain_for_another_program_the_last_is_told_soon_after_the_first(served, good_key):
    with closing(sqlite3.connect(served.instance / "invites.db", isolation_level=None)) as other, ExitStack() as held:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        sent = [held.enter_context(connect(served, creating(good_key))) for _ in range(64)]
        told = [(read_answer(each), time.monotonic() - began) for each in sent]
        other.execute("ROLLBACK")
    assert {(each.status, each.headers["Retry-After"]) for each, _ in told} == {(503, "5")}
    assert told[-1][1] < 15  # it took 36 seconds, since each waited for itself


@pytest.mark.long
@pytest.mark.sqlite
def test_who_takes_long_does_not_keep_many_waiting_for_one_commit(serve):
    served = serve((sys.executable, tampered.__file__, "slow_to_mint=0.06"))
    answers = ask_behind_a_lock(served, [creating(served.run("create", "test"))] * 8)
    assert [each.status for each in answers] == [201] * 8
    assert commits(served) >= 7


@pytest.mark.long
@pytest.mark.sqlite
def test_what_is_done_after_the_database_failed_is_not_done_twice(serve):
    served = serve((sys.executable, tampered.__file__, "roll_back=2"))
    key = served.run("create", "test")
    generating = request("POST", f"/api/invite/generate?key={key}")
    codes = [json.loads(converse(served, generating).body)["code"] for _ in range(4)]
    spending = [request("POST", "/api/invite/validate", json.dumps({"code": each}).encode(), **JSON) for each in codes]
    answers = ask_behind_a_lock(served, [creating(key)] * 4 + spending)
    assert [each.status for each in answers] == [201] * 4 + [200] * 4
    wait_for(lambda: "answered one by one" in served.log.read_text())
    assert count(served, "redemptions") == 4
    assert count(served, "invites") == 8


def creating(key: str) -> bytes:
    """A call that makes an invite."""
    return request("POST", f"/invites_api?key={key}")


def creating_by_v1(key: str, given: object, once: dict[str, str]) -> bytes:
    """A call of our own API that makes what is given."""
    headers = {**JSON, **once, "Authorization": f"Bearer {key}"}
    return request("POST", "/v1/invites", json.dumps(given).encode(), **headers)


def ask_behind_a_lock(served: Served, calls: list[bytes]) -> list[Answer]:
    """What those are answered who want to write while somebody else does: one, and then all others at once.

    Who is first waits for the lock alone. Sent with the others it would have some of them with it on a slow machine.
    """
    with closing(sqlite3.connect(served.instance / "invites.db", isolation_level=None)) as other:
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.execute("BEGIN IMMEDIATE")
        with ExitStack() as held:
            sent = []
            for some in (calls[:1], calls[1:]):
                sent += [held.enter_context(connect(served, each)) for each in some]
                time.sleep(0.25)
            other.execute("ROLLBACK")
            return [read_answer(each) for each in sent]


def commits(served: Served) -> int:
    """How many have been written to the journal: each ends in a page that says how long the file is then."""
    journal, page = (served.instance / "invites.db-wal").read_bytes(), 4096
    frames = range(32, len(journal), 24 + page)
    return sum(journal[start + 4 : start + 8] != bytes(4) for start in frames)


@pytest.mark.long
def test_many_who_are_refused_at_once_do_not_keep_the_server_from_answering_them(served):
    def ask(_):
        with closing(HTTPConnection("127.0.0.1", served.port, timeout=30)) as connection:
            for _ in range(30):
                connection.request("GET", f"/invites_api?key=unknown0/{'x' * 32}")
                answer = connection.getresponse()
                answer.read()
                assert answer.status == 403

    before = changes_of_thread(served)
    with ThreadPoolExecutor(32) as at_once:
        list(at_once.map(ask, range(32)))
    # Two hundred for each, when the loop did not sleep while a thread was sending: it kept that from it.
    assert (changes_of_thread(served) - before) / (32 * 30) < 60


def changes_of_thread(served) -> int:
    """How often the server's threads have waited for something."""
    statuses = Path(f"/proc/{served.process.pid}/task").glob("*/status")
    return sum(int(re.search(r"^voluntary_ctxt_switches:\s+(\d+)", each.read_text(), re.M)[1]) for each in statuses)


@pytest.mark.long
@pytest.mark.sqlite
def test_a_database_that_cannot_be_written_is_still_read(tmp_path, invite_api):
    key = invite_api("create", "test").stdout
    with read_only(tmp_path / "instance" / "invites.db"):
        refused = invite_api("create", "another")
        assert refused.returncode == 1
        assert "readonly database" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert invite_api("list").stdout.split()[0] == key.partition("/")[0]
    assert invite_api("create", "another").returncode == 0


@pytest.mark.long
@pytest.mark.sqlite
def test_nothing_is_promised_once_the_database_has_vanished(served, good_key):
    assert create(served, good_key).status == 201
    for each in served.instance.glob("invites.db*"):
        each.unlink()
    assert create(served, good_key).status == 503
    assert served.get("/health").status == 200


@pytest.mark.parametrize("command", ["serve", "list"])
def test_every_setting_that_is_nonsense_is_named(invite_api, command):
    nonsense = {"PUBLIC_URL": "nowhere", "THREADS": "many", "LIMITS": "maybe", "INVITE_TTLL": "7d"}
    done = invite_api(command, **nonsense)
    assert done.returncode == 2
    assert all(f"INVITE_API_{name}:" in done.stderr for name in nonsense)
    assert "Traceback" not in done.stderr


def request(method: str, path: str, body: bytes = b"", **headers: str) -> bytes:
    """A request as bytes; the connection ends after its answer unless another header says so."""
    head = {"Host": "here", "Connection": "close", "Content-Length": str(len(body)), **headers}
    if "Transfer-Encoding" in head:
        del head["Content-Length"]
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def fat_request(key: str, size: int, chunked: bool = False) -> bytes:
    """A request for an invite with a form of this many bytes."""
    body = b"padding=".ljust(size, b"x")
    if not chunked:
        return request("POST", f"/invites_api?key={key}", body, **FORM)
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (size, body)
    return request("POST", f"/invites_api?key={key}", chunks, **FORM, **{"Transfer-Encoding": "chunked"})


def form(**fields: str) -> bytes:
    return urlencode(fields).encode()


def connect(served: Served, sent: bytes = b"") -> socket.socket:
    """A connection on which these bytes have been sent."""
    connection = socket.create_connection(("127.0.0.1", served.port), timeout=30)
    connection.sendall(sent)
    return connection


def read_all(connection: socket.socket) -> bytes:
    """What comes until the server hangs up."""
    return b"".join(iter(lambda: connection.recv(64 * KIB), b""))


def read_answer(connection: socket.socket) -> Answer:
    """One whole answer; http.client raises if it ends too soon."""
    with closing(HTTPResponse(connection)) as response:
        response.begin()
        return Answer(response.status, dict(response.headers), response.read().decode())


def converse(served: Served, sent: bytes) -> Answer:
    """The answer to these bytes, also if the server hangs up before it has read them all."""
    with connect(served) as connection:
        with suppress(ConnectionError):
            connection.sendall(sent)
        return read_answer(connection)


def has_an_answer(connection: socket.socket) -> bool:
    """Whether the server has said something, or hung up."""
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))


def create(served: Served, key: str) -> Answer:
    return served.get(f"/invites_api?key={key}")


def token_in(answer: Answer) -> str:
    return answer.headers["Location"].partition("?")[2]


def tokens_in(said: bytes) -> list[str]:
    """The tokens of the links in some answers."""
    return [each.decode() for each in re.findall(rb"\r\nLocation: \S+/invite\?([0-9a-f]{64})\r\n", said)]


def stop(served: Served, sent: signal.Signals = signal.SIGTERM) -> int:
    """Tell the server to stop, and return how it ended."""
    served.process.send_signal(sent)
    return served.process.wait(TIMEOUT)


def is_refused(served: Served) -> bool:
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", served.port)) != 0


def open_sockets(served: Served) -> int:
    return sum(is_socket(each) for each in Path(f"/proc/{served.process.pid}/fd").iterdir())


def accepted(served: Served) -> int:
    """The connections that the server has accepted; those that still wait for that have no inode.

    The kernel writes its table piece by piece: a row may be there twice, or not, if others open and close meanwhile.
    """
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ours = {each[9] for each in rows if each[1].endswith(f":{served.port:04X}") and each[3] == "01"}
    return len(ours - {"0"})


def is_socket(file: Path) -> bool:
    """Tell whether an open file is a socket; what has been closed since it was listed is none."""
    with suppress(FileNotFoundError):
        return file.readlink().name.startswith("socket:")
    return False


def logged(served: Served) -> list[dict[str, object]]:
    """What is in the log."""
    return [json.loads(each) for each in served.log.read_text().splitlines()]


def requests_logged(served: Served) -> Iterator[dict[str, object]]:
    return (each for each in logged(served) if each["event"] == "request")


def query(served: Served, sql: str) -> list[tuple[object, ...]]:
    return ask(served.instance, sql)


def count(served: Served, table: str) -> object:
    return query(served, f"SELECT count(*) FROM {table}")[0][0]


def assert_kept(served: Served, tokens: list[str]) -> None:
    """The database is sound, and the invites with these tokens are what is in it."""
    assert served.run("db", "check") == "ok"
    assert {each for (each,) in query(served, "SELECT token_hash FROM invites")} == {
        sha256(token.encode()).hexdigest() for token in tokens
    }


def assert_refused(done: "subprocess.CompletedProcess[str]", named: str) -> None:
    """It ended with 1 and one line that names this."""
    assert done.returncode == 1
    assert named in done.stderr
    assert len(done.stderr.splitlines()) == 1
