"""One POST to a receiver: to which addresses it goes, how long it may take, and what its answer means."""

import socket
import ssl
import threading
import time
import tracemalloc

import pytest
import trustme

import receiver as moods
from delivery import posting
from delivery.posting import Post
from receiver import answer, listening
from test_targets import FORBIDDEN, OWN, within

pytestmark = pytest.mark.any_database


@pytest.fixture
def receiver():
    with listening() as receiver:
        yield receiver


def send(url, private=True, body=b'{"type":"x"}'):
    return posting.send(Post(url, private, {"Content-Type": "application/json", "webhook-id": "7"}, body))


@pytest.fixture
def quick(monkeypatch):
    """All that takes 15 seconds takes one."""
    monkeypatch.setattr(posting, "TIMEOUT", 1.0)
    monkeypatch.setattr(posting, "LINGER", 0.3)


@pytest.fixture
def named(monkeypatch):
    """What names mean: a list of addresses for each, the next one at each look-up; and how often was asked."""
    table, asked = {}, []
    look_up = socket.getaddrinfo

    def getaddrinfo(host, port, *given, **named):
        if host not in table or named.get("flags"):
            return look_up(host, port, *given, **named)
        asked.append(host)
        addresses = table[host].pop(0) if len(table[host]) > 1 else table[host][0]
        if isinstance(addresses, Exception):
            raise addresses
        rows = []
        for each in addresses:
            address, _, own = each.partition("!")
            family = socket.AF_INET6 if ":" in address else socket.AF_INET
            rows.append((family, socket.SOCK_STREAM, 6, "", (address, int(own or port))))
        return rows

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    table["asked"] = asked
    return table


@pytest.fixture
def dialled(monkeypatch):
    """Every address to which a connection was tried."""
    tried = []
    connect = socket.socket.connect

    def note(self, address):
        tried.append(address)
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", note)
    return tried


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_2xx_is_success(receiver, status):
    receiver.usual = status
    sent = send(receiver.url)
    assert (sent.status, sent.is_success, sent.error) == (status, True, None)
    got = receiver.got[0]
    assert (got.path, got.body, got.headers["host"]) == ("/hook", b'{"type":"x"}', f"127.0.0.1:{receiver.port}")
    assert got.headers["content-length"] == "12"


@pytest.mark.parametrize("status", [300, 301, 302, 307, 308, 400, 401, 404, 410, 429, 500, 503])
def test_all_else_is_none_and_nothing_is_followed(receiver, status):
    with listening() as elsewhere:
        receiver.usual = answer(status, f"Location: {elsewhere.url}", "Retry-After: 7", body=b"<h1>no</h1>")
        sent = send(receiver.url)
        assert elsewhere.connections == 0
    assert (sent.status, sent.is_success, sent.error) == (status, False, None)
    assert sent.retry_after.total_seconds() == 7
    assert receiver.connections == 1


def test_what_follows_the_host_in_the_url_is_asked_for(receiver):
    send(f"http://127.0.0.1:{receiver.port}?a=b%20c")
    send(f"http://127.0.0.1:{receiver.port}/x/y?z")
    assert [each.path for each in receiver.got] == ["/?a=b%20c", "/x/y?z"]


@pytest.mark.parametrize("early", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"])
def test_what_is_said_before_the_answer_is_passed_over(receiver, early):
    receiver.usual = early + answer(201)
    assert send(receiver.url).status == 201


def test_an_answer_that_comes_in_pieces_is_put_together(receiver):
    def slowly(connection):
        for each in (b"HT", b"TP/1.", b"1 20", b"2 Acc", b"epted\r", b"\nContent-Length: 0\r\n\r\n"):
            connection.sendall(each)
            time.sleep(0.02)

    receiver.usual = slowly
    assert send(receiver.url).status == 202


@pytest.mark.parametrize(
    "said",
    [
        b"SSH-2.0-OpenSSH\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 99 x\r\n\r\n",
        b"\r\n\r\n",
        b"x" * 100_000,
        b"HTTP/1.1 2",
    ],
)
def test_what_is_no_answer_in_http_is_a_failure(receiver, quick, said):
    receiver.usual = said
    sent = send(receiver.url)
    assert (sent.status, sent.is_success) == (None, False)
    assert "without an answer" in sent.error


@pytest.mark.parametrize("mood", [moods.closes, moods.resets], ids=["closes", "resets"])
def test_one_that_hangs_up_is_a_failure(receiver, mood):
    receiver.usual = mood
    sent = send(receiver.url)
    assert (sent.status, sent.is_success) == (None, False)
    assert sent.error


@pytest.mark.parametrize("mood", [moods.drips, moods.hangs], ids=["drips", "hangs"])
def test_the_status_line_has_to_come_in_time_however_it_comes(receiver, quick, mood):
    receiver.usual = mood
    began = time.monotonic()
    sent = send(receiver.url)
    assert time.monotonic() - began < 1.5
    assert (sent.status, sent.error) == (None, "has not answered within 1 seconds")
    assert 900 < sent.milliseconds < 1500


def test_what_drips_behind_the_status_line_is_not_waited_for(receiver, quick):
    receiver.usual = moods.drips_headers
    began = time.monotonic()
    assert send(receiver.url).status == 200
    assert time.monotonic() - began < 0.8


def test_one_that_keeps_the_connection_open_is_not_waited_for(receiver, quick):
    def keeps(connection):
        connection.sendall(answer(200, body=b"ok"))
        time.sleep(2)

    receiver.usual = keeps
    began = time.monotonic()
    assert send(receiver.url).status == 200
    assert time.monotonic() - began < 0.2


@pytest.mark.parametrize(("mood", "status"), [(moods.floods, 200), (moods.floods_at_once, None)])
def test_of_a_gigabyte_64_kilobytes_are_read(receiver, quick, mood, status):
    receiver.usual = mood
    tracemalloc.start()
    try:
        assert send(receiver.url).status == status
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * 1024 * 1024  # the receiver's own megabyte is among it


def test_one_that_does_not_read_is_given_up(quick):
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sent = send(f"http://127.0.0.1:{deaf.getsockname()[1]}/", body=b"x" * 20_000_000)
    assert (sent.status, sent.error) == (None, "has not answered within 1 seconds")


def test_one_that_is_not_there_is_refused_at_once():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"http://127.0.0.1:{gone.getsockname()[1]}/"
    assert send(url).error == "connection refused"


# Names and addresses


def test_a_name_that_means_nothing_is_a_failure(named):
    named["nowhere.example.org"] = [socket.gaierror(-2, "Name or service not known")]
    assert send("https://nowhere.example.org/").error == "its name has no address"
    assert send(f"https://{'x' * 70}.example.org/").error == "its name has no address"


def test_a_look_up_that_hangs_takes_no_longer_than_all_the_rest(quick, monkeypatch):
    go_on = threading.Event()
    look_up = socket.getaddrinfo
    slowly = lambda *given, **named: look_up(*given, **named) if named["flags"] else go_on.wait(10) and []  # noqa: E731
    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    began = time.monotonic()
    assert send("https://slow.example.org/").error == "has not answered within 1 seconds"
    assert time.monotonic() - began < 1.5
    go_on.set()


def test_nothing_is_dialled_that_must_not_be(named, dialled):
    for address in (*FORBIDDEN, *OWN, *within("127.0.0.1"), *within("169.254.169.254")):
        named["app.example.org"] = [[address]]
        assert f"has the address {address}" in send("https://app.example.org/", private=False).error
    for address in FORBIDDEN:
        named["app.example.org"] = [[address]]
        assert f"has the address {address}" in send("http://app.example.org/").error
    assert dialled == []


def test_one_address_that_must_not_be_dialled_forbids_all_of_the_name(receiver, named, dialled):
    named["app.example.org"] = [["127.0.0.1", "169.254.169.254"]]
    assert "169.254.169.254" in send(f"http://app.example.org:{receiver.port}/").error
    assert dialled == []


@pytest.mark.parametrize(
    "host", ["0x7f.1", "2130706433", "017700000001", "localhost", "127.0.0.1.", "[::ffff:127.0.0.1]"]
)
def test_what_means_this_machine_is_not_dialled_however_it_is_spelt(receiver, dialled, host):
    sent = send(f"http://{host}:{receiver.port}/", private=False)
    assert (sent.status, dialled) == (None, [])
    assert "to which nothing is sent" in sent.error or "no address" in sent.error
    assert receiver.connections == 0


def test_the_address_that_was_judged_is_the_one_that_is_dialled(receiver, named, dialled, monkeypatch):
    """A name may have another address at each look-up: there is one."""
    named["rebound.example.org"] = [["127.0.0.1"], ["169.254.169.254"]]
    assert send(f"http://rebound.example.org:{receiver.port}/").status == 204
    assert dialled == [("127.0.0.1", receiver.port)]
    assert named["asked"] == ["rebound.example.org"]
    assert "169.254.169.254" in send(f"http://rebound.example.org:{receiver.port}/").error
    assert len(dialled) == 1


def test_addresses_are_tried_in_their_order_until_one_answers(receiver, named, dialled):
    named["app.example.org"] = [["127.0.0.2", "::1", "127.0.0.1"]]
    assert send(f"http://app.example.org:{receiver.port}/").status == 204
    assert [each[0] for each in dialled] == ["127.0.0.2", "::1", "127.0.0.1"]


def test_an_address_that_swallows_everything_leaves_time_for_the_next(receiver, named, quick):
    with socket.create_server(("127.0.0.3", 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = []
        for _ in range(4):  # the queue is full, so that the next one is not even refused
            each = socket.socket()
            each.setblocking(False)
            each.connect_ex(("127.0.0.3", port))
            waiting.append(each)
        named["app.example.org"] = [[f"127.0.0.3!{port}", "127.0.0.1"]]
        began = time.monotonic()
        assert send(f"http://app.example.org:{receiver.port}/").status == 204
        assert 0.3 < time.monotonic() - began < 1
        for each in waiting:
            each.close()


def test_no_proxy_of_the_environment_is_used(receiver, monkeypatch):
    with listening() as proxy:
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        assert send(receiver.url).status == 204
        assert proxy.connections == 0


# Certificates


@pytest.fixture
def ca(monkeypatch, tmp_path):
    """A certificate authority that this machine trusts."""
    ca = trustme.CA()
    ca.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    posting._trust.cache_clear()
    yield ca
    posting._trust.cache_clear()


def test_a_certificate_for_the_name_is_trusted_whatever_the_address(ca, named):
    with listening(ca.issue_cert("app.example.org")) as receiver:
        named["app.example.org"] = [["127.0.0.1"]]
        sent = send(f"https://app.example.org:{receiver.port}/hook")
        assert (sent.status, sent.error) == (204, None)
        assert receiver.got[0].headers["host"] == f"app.example.org:{receiver.port}"


@pytest.mark.parametrize("names", [["other.example.org"], ["127.0.0.1"], ["example.org"]])
def test_a_certificate_for_another_name_is_not(ca, named, names):
    with listening(ca.issue_cert(*names)) as receiver:
        named["app.example.org"] = [["127.0.0.1"]]
        sent = send(f"https://app.example.org:{receiver.port}/hook")
        assert (sent.status, receiver.got) == (None, [])
        assert "its certificate is not trusted" in sent.error


def test_a_certificate_that_somebody_signed_themselves_is_not(ca, named):
    with listening(trustme.CA().issue_cert("app.example.org")) as receiver:
        named["app.example.org"] = [["127.0.0.1"]]
        sent = send(f"https://app.example.org:{receiver.port}/hook")
        assert (sent.status, receiver.got) == (None, [])
        assert "its certificate is not trusted: self-signed" in sent.error or "unable to get" in sent.error


def test_a_receiver_without_encryption_gets_nothing_over_https(receiver, named, quick):
    named["app.example.org"] = [["127.0.0.1"]]
    sent = send(f"https://app.example.org:{receiver.port}/hook")
    assert (sent.status, sent.is_success, receiver.got) == (None, False, [])


def test_a_handshake_that_hangs_is_given_up(quick, named):
    named["app.example.org"] = [["127.0.0.1"]]
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began = time.monotonic()
        sent = send(f"https://app.example.org:{silent.getsockname()[1]}/")
        assert time.monotonic() - began < 1.5
    assert sent.error == "has not answered within 1 seconds"


def test_the_library_trusts_names_by_itself():
    """A control: what is verified is what Python verifies when it is told to."""
    assert posting._trust().check_hostname
    assert posting._trust().verify_mode is ssl.CERT_REQUIRED
