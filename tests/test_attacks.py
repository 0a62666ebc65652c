"""What was tried against the service and worked once, or could have."""

import json
import socket
import sqlite3
import subprocess
import time
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path

import pytest
from itsdangerous.encoding import base64_encode

import clock
from app import create_app
from conftest import COMMAND, PASSWORD, make_settings
from rules import invitations, keys, passwords, tokens
from settings import ConfigError, in_force, load_settings

BOMB = "." + base64_encode(zlib.compress(b"[" + b"[]," * 5_000_000 + b"[]]", 9)).decode() + "." + "A" * 43
STACKED = "a" + "\u0345\u0334" * 16_000  # normalising it takes time that grows with the square of its length


def test_a_bomb_in_a_forged_signature_is_not_opened(client, settings):
    tracemalloc.start()
    assert tokens.unsign("cookie", BOMB) is None
    assert client.get("/", headers={"Cookie": f"invite-session={BOMB}"}).status_code == 200
    assert client.get(f"/password/reset?{BOMB}").status_code == 400
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_text_that_takes_long_to_normalise_is_refused_by_its_length(client, key, alice):
    began = time.process_time()
    for path, body in (
        ("/auth/login", {"email": "alice", "password": STACKED}),
        ("/auth/register/with-invite", {"invite_token": "x", "email": "a@b.example", "password": STACKED}),
        ("/auth/register/with-invite", {"invite_token": "x", "email": STACKED, "password": PASSWORD}),
        ("/api/invites/verify", {"token": STACKED}),
    ):
        assert client.post(path, data=raw(body), content_type="application/json").status_code in (400, 401, 422)
    named = client.post(
        "/api/invite", headers=alice.bearer, data=raw({"name": STACKED}), content_type="application/json"
    )
    assert named.status_code == 400
    form = {"token": "x", "user": "bob", "password": STACKED}
    assert client.post("/register", data=form, content_type="multipart/form-data").status_code == 303
    assert time.process_time() - began < 3  # it took 0.8 s each
    assert passwords.verify(STACKED, passwords.hash(PASSWORD)) is False


def raw(body):
    return json.dumps(body, ensure_ascii=False).encode()


@pytest.mark.long
@pytest.mark.sqlite
def test_slow_readers_of_the_list_hold_nobody_up(serve):
    served = serve()
    link = served.run("invite", "create", "--admin")
    fill(served, 60_000)
    body = f'{{"invite_token": "{link.partition("?")[2]}", "email": "root@example.org", "password": "{PASSWORD}"}}'
    session = served.get("/auth/register/with-invite", "POST", body.encode(), **{"Content-Type": "application/json"})
    token = session.body.partition('"token":"')[2].partition('"')[0]
    slow = [start_reading(served, token) for _ in range(5)]
    time.sleep(1)
    began = time.perf_counter()
    assert served.get("/health").status == 200
    assert time.perf_counter() - began < 5
    for each in slow:
        each.close()


def fill(served, count):
    now = f"{clock.now():%Y-%m-%d %H:%M:%S.%f}"
    rows = ((str(n), "n", f"{n:064x}", "member", "solo", 1, now, "bench") for n in range(count))
    columns = "id, nonce, token_hash, role, plan, max_uses, created_at, made_by"
    with sqlite3.connect(served.instance / "invites.db", timeout=30) as database:
        database.executemany(f"INSERT INTO invites ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    database.close()


def start_reading(served, token):
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", served.port))
    request = f"GET /api/admin/invites HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"
    connection.settimeout(0.5)
    connection.sendall(request.encode())
    with suppress(TimeoutError):  # all of the list's own threads may be waiting already
        connection.recv(100)
    return connection


@pytest.mark.long
@pytest.mark.sqlite
def test_a_lock_of_another_process_does_not_keep_every_thread(serve):
    served = serve()
    key = served.run("create", "x")
    with sqlite3.connect(served.instance / "invites.db", isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        request = f"GET /invites_api?key={key} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        waiting = [socket.create_connection(("127.0.0.1", served.port)) for _ in range(8)]
        for each in waiting:
            each.sendall(request)
        time.sleep(0.2)
        began = time.perf_counter()
        assert served.get("/health").status == 200
        assert time.perf_counter() - began < 4
        answers = [each.recv(1000) for each in waiting]
        other.execute("ROLLBACK")
    other.close()
    assert all(each.startswith(b"HTTP/1.1 503 ") for each in answers)
    assert served.get(f"/invites_api?key={key}").status == 201
    for each in waiting:
        each.close()


@pytest.mark.any_database
@pytest.mark.long
@pytest.mark.parametrize("spelling", ["Bearer {}", "bearer {}", "bEaReR {}", "BEARER\t{}"])
def test_a_key_has_one_limit_however_it_is_spelt(tmp_path, house, key, spelling):
    client = create_app(make_settings(tmp_path / "instance", LIMITS="on")).test_client()
    for _ in range(600):
        client.get(f"/invites_api?key={key}")
    assert client.get("/invites_api", headers={"Authorization": spelling.format(key)}).status_code == 429


def test_a_user_has_one_limit_in_every_session_and_whatever_else_is_shown(tmp_path, house, alice):
    client = create_app(make_settings(tmp_path / "instance", LIMITS="on", BUDGET="off")).test_client()
    for number in range(120):
        bearer = alice.bearer if number % 2 else alice.sign_in()
        assert client.post(f"/api/invite?key={number}", headers=bearer, json={"name": "Bob"}).status_code == 201
    assert client.post("/api/invite?key=x", headers=alice.sign_in(), json={"name": "Bob"}).status_code == 429


@pytest.mark.parametrize("code", ["http://[x?y", "http://\u2100?x", "?", "#?#", "http://[::1?t=", "%?%"])
def test_a_code_that_looks_like_half_an_address_is_just_no_code(client, code):
    assert client.post("/code", data={"code": code}).status_code == 422


@pytest.mark.parametrize(
    "url", ["https://[1.2]/x", "https://[:]/", "https://..../", "https://a..b/", "https://a:00000/", "https://-a/"]
)
def test_a_place_that_cannot_be_is_not_stored(client, key, url):
    answer = client.post("/invites_api", headers={"Authorization": f"Bearer {key}"}, json={"redirect_url": url})
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, "redirect_url")


def test_a_place_that_is_no_longer_permitted_is_not_told(tmp_path, client, alice, make_invite):
    token = make_invite(redirect_url="https://app.example.org/", uses="2")
    narrowed = make_settings(tmp_path / "instance", REDIRECT_ORIGINS="https://other.example.org")
    answer = create_app(narrowed).test_client().post(f"/invites/{token}/accept", headers=alice.bearer)
    assert (answer.status_code, answer.json["redirect_url"]) == (200, None)
    with in_force(narrowed):
        assert invitations.redirect("https://app.example.org/") is None


@pytest.mark.parametrize("path", ["/invites/{}/accept", "/api/invite/generate", "/auth/logout"])
@pytest.mark.parametrize("body", [b'{"is_admin": true}', b'{"makes_admin": false}', b"{"])
def test_a_body_that_nobody_reads_is_refused_all_the_same(client, root, make_invite, path, body):
    token = make_invite()
    headers = {**root.bearer, "Content-Type": "application/json"}
    assert client.post(path.format(token), headers=headers, data=body).status_code in (400, 422)
    assert client.get(f"/invites/{token}").status_code == 200
    assert client.get("/auth/me", headers=root.bearer).status_code == 200


@pytest.mark.parametrize(
    "more", [{"is_admin": "1"}, {"token": ["a", "b"]}, {"user": ["a", "b"]}, {"password": ["a", "b"]}]
)
def test_a_form_that_says_two_things_or_too_much_is_refused(client, make_invite, more):
    token = make_invite()
    form = {"token": token, "user": "bob", "password": PASSWORD} | more
    assert client.post("/register", data=form).status_code == 422
    assert client.get(f"/invites/{token}").status_code == 200


def test_a_password_that_is_the_user_name_is_refused_in_every_way_in(client, make_invite):
    body = {
        "invite_token": make_invite(),
        "email": "a@b.example",
        "username": "Bob-the-Builder",
        "password": "bob-the-builder",
    }
    answer = client.post("/auth/register/with-invite", json=body)
    assert (answer.status_code, answer.json["errors"][0]["rule"]) == (422, "common")


def test_a_search_that_is_too_long_is_said_to_be(client, root):
    answer = client.get(f"/api/admin/invites?q={'_' * 30_000}", headers=root.bearer)
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (400, "q")


def test_a_form_token_does_not_tell_which_session_it_is_for(browser, client):
    browser.sign_in("alice")
    session_id = tokens.unsign("form", browser.csrf())
    assert client.post("/auth/token/refresh", json={"refresh_token": f"{session_id}.x"}).status_code == 401
    assert "alice" in browser.client.get("/").text


def test_signing_in_again_ends_the_session_before(browser):
    browser.sign_in("alice")
    before = browser.client.get_cookie("invite-session").value
    browser.sign_in("alice")
    browser.client.set_cookie("invite-session", before)
    assert "alice" not in browser.client.get("/").text


@pytest.mark.long
@pytest.mark.parametrize("arguments", [["delete"], ["invite", "show"], ["user", "reset"], ["create"]])
def test_bytes_that_are_no_text_are_refused_in_a_sentence(invite_api, arguments):
    done = invite_api(*arguments, "\udcff")
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_a_result_that_cannot_be_written_is_said_to_be(serve):
    served = serve()
    served.run("create", "x")
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [COMMAND, "list"], stdout=full, stderr=subprocess.PIPE, env=served.environ, text=True, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "Error: the result cannot be written: No space left on device\n"


@pytest.mark.parametrize(
    ("name", "nonsense"),
    [
        ("DATABASE_URL", "sqlite:///relative.db"),
        ("DATABASE_URL", "sqlite:////tmp/x.db?timeout=abc"),
        ("DATABASE_URL", "sqlite:///%3Amemory%3A"),
        ("INSTANCE", "/tmp/a?b"),
        ("PUBLIC_URL", "http://h/日"),
        ("SECRET_KEY", "\udcff" * 32),
    ],
)
def test_settings_that_would_split_the_service_are_refused(name, nonsense):
    with pytest.raises(ConfigError, match=f"INVITE_API_{name}: "):
        load_settings({f"INVITE_API_{name}": nonsense})


@pytest.mark.long
def test_escapes_in_json_cannot_command_the_terminal(house, settings, invite_api, meddle):
    with house.writing():
        keys.create("x")
    meddle("UPDATE api_keys SET name = :name", name="\x9b31m\u202e\x7f")
    assert "\\u009b31m\\u202e\\u007f" in invite_api("list", "--json").stdout


NULS = [
    ("GET", "/invites_api?key=a%00b/secret"),
    ("GET", "/invites_api?name=a%00b"),
    ("GET", "/invites/a%00b"),
    ("GET", "/projects/a%00b"),
    ("DELETE", "/projects/tea-garden/invites/a%00b"),
    ("GET", "/admin/invites/a%00b"),
    ("GET", "/admin/people/a%00b"),
    ("GET", "/admin/projects/a%00b"),
    ("GET", "/api/admin/invites?limit=5&q=a%00b"),
    ("GET", "/api/admin/invites?limit=5&cursor=MjAyNi0wMS0wMVQwMDowMDowMFogAA"),
    ("GET", "/invite?a%00b"),
    ("GET", "/welcome?a%00b"),
]


@pytest.mark.parametrize(("method", "path"), NULS)
def test_a_nul_is_refused_wherever_it_stands(client, root, method, path):
    """PostgreSQL takes none, not even to look for it."""
    assert client.open(path, method=method, headers=root.bearer).status_code in (303, 400, 403, 404)


@pytest.mark.parametrize(
    "path", ["/auth/login", "/auth/password/forgot", "/auth/register/start", "/auth/token/refresh"]
)
def test_a_nul_in_a_body_is_refused(client, path):
    body = dict.fromkeys(("email", "password", "refresh_token"), "a\x00b@example.org")
    assert client.post(path, json=body).status_code in (400, 403, 422)
