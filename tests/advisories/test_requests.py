"""Requests: what headers may say, what bodies may set, and what every answer has in its headers."""

import random
import re
import socket

import pytest
import time_machine
from sqlalchemy import text

import clock
from app import ROUTES, create_app
from conftest import PASSWORD, Browser, make_settings
from dialects import (
    account,
    admin,
    admin_activity,
    admin_growth,
    admin_guests,
    admin_keys,
    admin_list,
    admin_people,
    admin_webhooks,
    agentbot,
    gate,
    gate_pages,
    hitkey,
    holds,
    my_invites,
    ops,
    pages,
    prosody,
    sign_in,
    site,
    unsubscribe,
    v1,
)
from rules import accounts, drafts, invites, projects
from web.map import Work

pytestmark = [pytest.mark.long, pytest.mark.any_database]

ROWS = [(dialect, row, method) for dialect, rows in ROUTES.items() for row in rows for method in row.methods.split()]
NAMES = [f"{method} {row.path}" for _, row, method in ROWS]

SPOOFS = [
    *("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP", "Client-IP", "True-Client-IP"),
    *("CF-Connecting-IP", "X-Cluster-Client-IP", "X-Originating-IP", "Via"),
]


@pytest.mark.long
@pytest.mark.parametrize("proxies", ["", "127.0.0.0/8, 10.0.0.0/8"])
def test_a_thousand_invented_addresses_share_one_limit(tmp_path, house, proxies):
    """CVE-2026-29794, CVE-2026-21881: who wrote another X-Forwarded-For each time was never stopped.

    Behind a proxy the address that the proxy saw is the last; what stands before it is the caller's own word.
    """
    client = create_app(make_settings(tmp_path / "instance", LIMITS="on", TRUSTED_PROXIES=proxies)).test_client()
    statuses = []
    with time_machine.travel(clock.now(), tick=False):
        for number in range(1000):
            invented = f"203.0.{number // 250}.{number % 250}"
            header = SPOOFS[number % len(SPOOFS)] if not proxies or number % 2 else "X-Forwarded-For"
            value = f"for={invented}" if header == "Forwarded" else invented
            if proxies and header == "X-Forwarded-For":
                value = f"{value}, 198.51.100.7"
            sent = {header: value} if not proxies else {"X-Forwarded-For": "198.51.100.7", header: value}
            body = {"refresh_token": f"{number}.x"}
            statuses.append(client.post("/auth/token/refresh", headers=sent, json=body).status_code)
    assert statuses == [401] * 120 + [429] * 880


@pytest.mark.long
def test_those_behind_a_proxy_that_is_trusted_have_limits_of_their_own(tmp_path, house):
    """CVE-2026-29794: the control of the test above."""
    client = create_app(make_settings(tmp_path / "instance", LIMITS="on", TRUSTED_PROXIES="127.0.0.0/8")).test_client()
    sent = [{"X-Forwarded-For": f"203.0.113.{number}"} for number in range(200)]
    answers = [client.post("/auth/token/refresh", headers=each, json={"refresh_token": "x"}) for each in sent]
    assert {each.status_code for each in answers} == {401}


@pytest.fixture
def place(house, root, alice, key, make_invite):
    """What the names in paths stand for, and how to call as whom a row asks for."""
    with house.writing():
        project = projects.create(accounts.named("root"), projects.ProjectDraft("Tea"))
        member = projects.members(project)[0].id
        invite = invites.create(drafts.read({"project": "tea", "email": "dora@example.org"}), drafts.SHELL)
        facts = {"<token>": invites.token(invite), "<slug>": "tea", "<invite_id>": invite.id}
        return facts | {"<member_id>": member, "<key_id>": key[:8], "<user_id>": accounts.named("alice").id}


def filled(path, place):
    for name, fact in place.items():
        path = path.replace(name, fact)
    return path + (f"?{place['<token>']}" if path in ("/invite", "/qr", "/welcome") else "")


def credentials(row, root, key):
    """What lets a program in at this row, as far as a header can."""
    by_key = row.guard.__name__ in ("api_key", "key_or_admin", "any_key_or_admin")
    return {"Authorization": f"Bearer {key}"} if by_key else root.bearer


PRIVILEGES = ["makes_admin", "is_admin", "verified", "email_verified"]
MISSPELT = {"isAdmin": True, "admin": True, "emailVerified": True, "email_verified_at": "2020-01-01", "role_": "owner"}


@pytest.mark.long
@pytest.mark.parametrize("privilege", PRIVILEGES)
def test_nobody_gives_themselves_a_privilege(client, house, key, alice, root, place, rows, privilege):
    """CVE-2026-27946: a user set the own address verified by sending the field along."""
    browser = Browser(client.application.test_client())
    browser.sign_in("root")
    before = rows("users", "invites", "members", "redemptions")
    for dialect, row, method in ROWS:
        if method == "GET" or row.work is Work.ALONE:
            continue
        path, headers = filled(row.path, place), credentials(row, root, key)
        if (row.path, privilege) == ("/v1/invites", "makes_admin"):
            continue  # an admin may ask for that there: test_an_admin_alone_may_create_what_makes_an_admin
        for value in (True, False, None, "yes", 1):
            answer = client.open(path, method=method, headers=headers, json={privilege: value})
            signs_in = row.path == "/admin/invites/new/list" and "/login" in answer.headers["Location"]  # body unread
            assert answer.status_code in (400, 403, 422) or signs_in, (path, value, answer.text)
        if method == "POST":
            refused = (401,) if dialect in (v1, holds) else (400, 403, 415, 422)  # no cookie counts there
            assert browser.post(path, **{privilege: "on"}).status_code in refused, path
    assert rows("users", "invites", "members", "redemptions") == before


def test_what_is_called_like_a_privilege_gives_none(client, house, key, alice, make_invite):
    """CVE-2026-27946: likewise for other spellings, and for fields within fields."""
    token = make_invite()
    body = {"invite_token": token, "email": "eve@example.org", "password": PASSWORD, **MISSPELT}
    body |= {"user": {"is_admin": True, "email_verified": True}, "role": "owner"}
    assert client.post("/auth/register/with-invite", json=body).status_code == 200
    query = "&".join(f"{name}=true" for name in (*PRIVILEGES, "admin"))
    assert client.get(f"/invites_api?key={key}&{query}").status_code == 201
    client.post("/api/invite", headers=alice.bearer, json={"name": "Eve", "ttl": "never", **MISSPELT})
    with house.reading() as unit:
        for table, column in (("users", "admin_at"), ("users", "email_verified_at"), ("members", "role")):
            assert not unit.session.scalar(text(f"SELECT count(*) FROM {table} WHERE {column} IS NOT NULL"))
        assert not unit.session.scalar(text("SELECT count(*) FROM invites WHERE makes_admin OR expires_at IS NULL"))


def malformed(count):
    """Authorization headers that are none: hand-made ones, and ones out of any bytes."""
    chance = random.Random(7)
    yield from (
        *("", " ", "Bearer", "Bearer ", "Bearer  ", "Bearer\t", "bearer", "Bearer null", "Bearer undefined"),
        *("Bearer a b", "Bearer a,b", "Bearer /", "Bearer a/", "Bearer /b", "Bearer //", "Bearer " + "/" * 500),
        *("Basic", "Basic Og==", "Basic ====", "Basic \xff", "Digest a=b", "Negotiate x", "Token x", "null"),
        *("Bearer " + "x" * 8000, "Bearer \u00e9", "Bearer \x00", "Bearer \x7f", "Bearer ..", "Bearer hitkey_"),
        *("Bearer Bearer x", "Bearer: x", "Bearer=x", '"Bearer x"', "Bearer %00", "Bearer x\r\ny: z", ","),
    )
    for _ in range(count):
        value = "".join(chr(chance.randrange(1, 256)) for _ in range(chance.randrange(40)))
        yield chance.choice(["", "Bearer ", "bearer ", "Basic ", "Bearer hitkey_", "Bearer AAAAAAAA/"]) + value


GUARDED = [
    "GET /auth/me",
    "GET /invites_api",
    "GET /api/admin/invites",
    "POST /api/invite",
    "POST /api/invite/generate",
    "POST /v1/invites",
    "GET /v1/events",
]


@pytest.mark.long
@pytest.mark.parametrize("call", GUARDED)
def test_no_header_is_so_malformed_that_it_throws(client, house, rows, call):
    """GHSA-xmf8-cvqr-rfgj: a malformed Bearer header ended in an unhandled exception."""
    method, _, path = call.partition(" ")
    for value in malformed(600):
        answer = client.open(path, method=method, environ_overrides={"HTTP_AUTHORIZATION": value})
        assert answer.status_code in (401, 403), value
    assert rows("invites") == {"invites": []}


SHARED = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Vary": "Authorization, Cookie",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}
ON_PAGES = {
    **SHARED,
    "Vary": "Authorization, Cookie, Accept-Language",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; manifest-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
}
SNAPSHOT = {
    v1: SHARED,
    holds: SHARED,
    agentbot: SHARED,
    hitkey: SHARED,
    ops: SHARED,
    gate: {**SHARED, "Vary": "*"},
    gate_pages: ON_PAGES,
    pages: ON_PAGES,
    account: ON_PAGES,
    sign_in: ON_PAGES,
    my_invites: ON_PAGES,
    unsubscribe: ON_PAGES,
    site: ON_PAGES,
    **dict.fromkeys((admin, admin_activity, admin_growth, admin_guests, admin_keys, admin_list), ON_PAGES),
    **dict.fromkeys((admin_people, admin_webhooks), ON_PAGES),
    prosody: {
        **SHARED,
        "Access-Control-Allow-Origin": "*",
        "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
        "Access-Control-Allow-Headers": "Content-Type, Authorization, Idempotency-Key",
        "Access-Control-Expose-Headers": "Location, Idempotency-Replayed",
        "Access-Control-Max-Age": "7200",
    },
}
KEPT = {  # what is the same for everybody
    "/style.css": "public, max-age=31536000, immutable",
    "/favicon.ico": "public, max-age=3600",
    "/manifest": "public, max-age=3600",
    "/openapi.json": "public, max-age=300",
    "/swagger.json": "public, max-age=300",
}
AT_APPS = {  # loads nothing from the app's own host
    f"/.invite/<slug>/{step}": (
        "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; "
        "frame-ancestors 'none'"
    )
    for step in ("enter", "done")
}
DEPRECATED = {"/api/invite/generate", "/api/invite/validate"}
OF_THE_ANSWER = {"Content-Type", "Content-Length", "Location", "Allow", "WWW-Authenticate", "Retry-After"}
SAYS_WHENCE = {"Sec-Fetch-Site": "none"}  # as browsers do, but for those at plain http, which get a visitor's cookie
ASKED = {
    "Origin": "https://evil.example",
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization",
    "Access-Control-Request-Private-Network": "true",
    "Cookie": "invite-session=x",
}


@pytest.mark.long
@pytest.mark.parametrize(("dialect", "row", "method"), ROWS, ids=NAMES)
def test_every_answer_has_the_headers_of_its_dialect_and_no_others(client, key, root, place, dialect, row, method):
    """CVE-2023-30861, CVE-2024-6221: a missing Vary had caches share sessions; a private network was opened to all."""
    expected = dict(SNAPSHOT[dialect])
    expected["Cache-Control"] = KEPT.get(row.path, "no-store")
    expected["Content-Security-Policy"] = AT_APPS.get(row.path, expected["Content-Security-Policy"])
    if row.path == "/invite":  # Prosody's call leads scripts of other sites there, and a browser sends no cookie along
        expected["Access-Control-Allow-Origin"] = "*"
    for headers in ({}, ASKED, credentials(row, root, key) | ASKED, {"Authorization": "Basic x"}):
        answer = client.open(filled(row.path, place), method=method, headers=SAYS_WHENCE | headers)
        sent = {name: value for name, value in answer.headers.items() if name not in OF_THE_ANSWER}
        if row.path in DEPRECATED:
            assert sent.pop("Deprecation").startswith("@")
            assert sent.pop("Link").endswith('rel="successor-version"')
        if (row.path, answer.status_code) == ("/v1/events", 200):
            assert sent.pop("Link").endswith('rel="next"')
        assert sent == expected


def test_a_cookie_is_set_only_where_somebody_signs_in_and_is_never_cached(browser, make_invite):
    """CVE-2023-30861: the answer that renewed a session was kept by a cache, and given to somebody else."""
    paths = ("/", "/login", "/register", "/admin", "/health", "/nothing")
    quiet = [browser.client.get(path, headers=SAYS_WHENCE) for path in paths]
    assert all("Set-Cookie" not in each.headers for each in quiet)
    for answer in (browser.sign_in("alice"), browser.post("/logout")):
        assert "Set-Cookie" in answer.headers
        assert answer.headers["Cache-Control"] == "no-store"
        assert "Cookie" in answer.headers["Vary"]
    browser.sign_in("alice")
    assert "Set-Cookie" not in browser.client.get("/").headers  # not renewed by being used


MARKUP = '"><x-evil onclick=1 style="x">\'</title></script><script>alert(1)</script>{{7*7}}'


@pytest.mark.long
def test_markup_in_names_is_text_on_every_page(house, browser, root, place):
    """CVE-2022-31127: likewise on pages: a name is shown as it was written, and makes no element."""
    browser.sign_in("root")
    with house.writing() as unit:
        unit.session.execute(text("UPDATE users SET display_name = :words"), {"words": MARKUP})
        unit.session.execute(text("UPDATE projects SET name = :words, description = :words"), {"words": MARKUP})
        unit.session.execute(
            text("UPDATE invites SET note = :words, plan = :words, made_by = :words"), {"words": MARKUP}
        )
        unit.session.execute(text("UPDATE api_keys SET name = :words"), {"words": MARKUP})
    shown = 0
    for dialect, row, method in ROWS:
        if dialect in (pages, account, sign_in, admin) and method == "GET":
            answer = browser.client.get(
                filled(row.path, place), query_string={"q": MARKUP} if row.path[-1] == "s" else None
            )
            if row.path == "/account/data":
                assert answer.headers["Content-Disposition"].startswith("attachment")  # a file, and no page
                continue
            assert "<x-evil" not in answer.text, row.path
            assert "<script>" not in answer.text, row.path
            shown += "&lt;x-evil" in answer.text
    assert shown > 5


@pytest.mark.long
@pytest.mark.parametrize(
    "words", ["' OR 1=1 --", "'; DROP TABLE invites; --", "%", "_", "\\", "* FROM users", '" OR ""="']
)
def test_what_is_searched_for_is_never_part_of_the_question(client, browser, root, place, rows, words):
    """ASVS V1.2.4: what somebody types is compared, and not executed."""
    browser.sign_in("root")
    before = rows("invites", "users", "projects")
    for name in ("q", "cursor", "status", "limit"):
        answer = client.get("/api/admin/invites", headers=root.bearer, query_string={name: words})
        assert answer.status_code == (200 if name == "q" else 400)
        assert name != "q" or answer.json["invites"] == []
    for path in ("/admin", "/admin/people"):
        assert browser.client.get(path, query_string={"q": words}).status_code == 200
    assert rows("invites", "users", "projects") == before


AFTER_IT = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
# Where such a request ends, a proxy in front could see otherwise than we do.
TWO_ENDS = {
    "two ways": b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "two lengths": b"Content-Length: 0\r\nContent-Length: 36\r\n\r\n",
    "a list": b"Content-Length: 0, 36\r\n\r\n",
    "a sign": b"Content-Length: +0\r\n\r\n",
    "a length in hex": b"Content-Length: 0x0\r\n\r\n",
    "a space": b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    "another name": b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    "one more": b"Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    "what is no space": b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
    "a prefix": b"Transfer-Encoding: chunked\r\n\r\n0x0\r\n\r\n",
    "less than nothing": b"Transfer-Encoding: chunked\r\n\r\n-1\r\n\r\n",
}


def talk(served, sent):
    """The statuses of all answers on one connection, until the server has nothing more to say."""
    with socket.create_connection(("127.0.0.1", served.port), timeout=10) as connection:
        connection.sendall(sent + AFTER_IT.replace(b"Host", b"Connection: close\r\nHost"))
        said = b"".join(iter(lambda: connection.recv(65536), b""))
    return [int(each) for each in re.findall(rb"HTTP/1\.[01] (\d{3}) ", said)]


def test_nothing_is_taken_for_a_request_that_a_proxy_took_for_a_body(serve):
    """ASVS V4.2.1: who smuggles a request past a proxy gets it answered to somebody else."""
    served = serve()
    for name, end in TWO_ENDS.items():
        for version in (b"1.1", b"1.0"):
            head = b"POST /auth/login HTTP/%s\r\nHost: x\r\nConnection: keep-alive\r\n" % version
            assert talk(served, head + end) in ([400], [501]), (name, version)
    plain = b"POST /auth/login HTTP/1.1\r\nHost: x\r\n"
    for end in (b"Content-Length: 0\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"):
        assert talk(served, plain + end) == [415, 200]
