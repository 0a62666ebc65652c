"""The gate, as a proxy asks it: who is let in, who is not, and how each is told."""

import base64
from datetime import timedelta

import pytest
import time_machine
from sqlalchemy import text

import clock
from app import ROUTES, create_app
from conftest import make_settings, seen
from database import session
from dialects import gate as dialect
from gated import PHOTOS
from models import Event, Member, Pass
from rules import accounts, addresses, gate, projects, sessions, tokens
from rules.refusals import Invalid, ProjectNotFound
from settings import in_force
from test_server import converse
from web.map import Work
from web.reader import CONSTANT, Reader

HOST = {"X-Forwarded-Host": "photos.example.org"}
NAMES = ("Remote-User", "Remote-Name", "Remote-Email", "Remote-Groups")
SECRET = "pass_so-it-is-shown-once"


@pytest.fixture
def client(settings, house):
    """A client that shows the cookies that it is given, and keeps none."""
    return create_app(settings).test_client(use_cookies=False)


@pytest.fixture
def photos(house, root):
    """A project with an app at an https and an http origin."""
    with house.writing():
        projects.create(accounts.named("root"), projects.ProjectDraft("Photos"))
        gate.set_origins("photos", [PHOTOS, "http://photos.lan"])


@pytest.fixture
def join(house, photos):
    """Make somebody a member of the project."""

    def joined(name, role="member", ends_at=None):
        with house.writing() as unit:
            project, user = projects.find("photos"), accounts.named(name)
            row = {"project": project, "user": user, "joined_at": clock.now(), "ends_at": ends_at}
            unit.session.add(Member(id=clock.new_id(), role=role, **row))

    return joined


@pytest.fixture
def signed_in(house):
    """Sign somebody in, in a browser; the session's id."""

    def begin(name):
        with house.writing():
            return sessions.of_cookie(sessions.start_in_browser(accounts.named(name))).session_id

    return begin


@pytest.fixture
def cookie(house, photos, signed_in):
    """The header with the pass of somebody's browser, at one of the origins."""

    def made(name, origin=PHOTOS):
        with house.reading():
            app = gate.app("photos", origin)
        return f"{gate.cookie_name('pass', 'photos', origin)}={gate.sign_browser_pass(signed_in(name), app)}"

    return made


@pytest.fixture
def ask(client):
    """Ask at the gate; a name with _ stands for a header, and None takes one away."""

    def asked(path="/gate/photos", method="GET", **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        sent = {name: value for name, value in {**HOST, **named}.items() if value is not None}
        return client.open(path, method=method, headers=sent)

    return asked


@pytest.fixture
def program(house, photos):
    """Give somebody's program a pass for the app."""

    def give(name, secret=SECRET, lifetime=None):
        now = clock.now()
        with house.writing() as unit:
            project, user = projects.find("photos"), accounts.named(name)
            made = Pass(id=clock.new_id(), hash=tokens.digest(secret), user_id=user.id, project_id=project.id)
            made.created_at, made.expires_at = now, now + lifetime if lifetime else None
            unit.session.add(made)

    return give


def test_a_member_with_a_pass_is_let_in_and_named(ask, cookie, join, charlie):
    join("charlie", "admin")
    answer = ask(Cookie=cookie("charlie"))
    assert (answer.status_code, answer.data) == (200, b"")
    assert [answer.headers[each] for each in NAMES] == ["charlie", "charlie", "charlie@example.org", "admin"]


def test_all_four_headers_are_there_and_say_only_what_is_proved(ask, cookie, join, alice):
    join("alice")
    answer = ask(Cookie=cookie("alice"))
    assert [answer.headers.get(each) for each in NAMES] == ["alice", "alice", "", "member"]


@pytest.mark.parametrize(
    ("called", "said"),
    [
        ("Zoë O'Neil", "Zo%C3%AB O'Neil"),
        ("100% Bob", "100%25 Bob"),
        ("マリー", "%E3%83%9E%E3%83%AA%E3%83%BC"),
        ("a\r\nRemote-Groups: owner", "a%0D%0ARemote-Groups: owner"),
    ],
)
def test_a_name_is_said_in_ascii(ask, cookie, join, house, alice, called, said):
    join("alice")
    with house.writing():
        accounts.named("alice").display_name = called
    assert ask(Cookie=cookie("alice")).headers["Remote-Name"] == said


def test_a_proxy_may_have_the_apps_own_cookies_without_ours(ask, cookie, join, alice):
    join("alice")
    shown, path = f"a=1; {cookie('alice')}; invited=2;invite-mark-photos=x; b=3", "/gate/photos?redirect"
    assert ask(f"{path}&cookies", Cookie=shown).headers["Cookie"] == "a=1; invited=2; b=3"
    assert "Cookie" not in ask(f"{path}&cookies", Cookie=cookie("alice")).headers
    assert "Cookie" not in ask(path, Cookie=shown).headers


def test_who_has_no_user_name_is_named_by_an_id_that_stays(ask, join, house, photos, signed_in):
    with house.writing():
        user = accounts.create(accounts.Names(email="nora@example.org"), "x")
        addresses.prove(user, "nora@example.org")
        app, known = gate.app("photos"), user.id
    join("nora@example.org")
    shown = gate.sign_browser_pass(signed_in("nora@example.org"), app)
    answer = ask(Cookie=f"__Host-invite-pass-photos={shown}")
    assert [answer.headers[each] for each in NAMES] == [known, "nora", "nora@example.org", "member"]


@pytest.mark.parametrize("name", ["..", "._", "--"])
def test_a_name_after_which_no_folder_should_be_called_is_sent_to_no_app(ask, cookie, join, house, photos, name):
    with house.writing():
        known = accounts.create(accounts.Names(name), "x").id
    join(name)
    assert ask(Cookie=cookie(name)).headers["Remote-User"] == known


METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "REPORT", "MKCALENDAR", "BREW"]


def test_any_method_is_answered_alike(ask, cookie, join, alice):
    join("alice")
    shown = cookie("alice")
    for method in METHODS:
        assert ask(method=method, Cookie=shown).status_code == 200, method
        assert ask(method=method).status_code == 401, method


def test_nothing_else_is_at_the_gate(ask, cookie, join, alice):
    join("alice")
    shown = cookie("alice")
    for path in ("/gate", "/gate/", "/gate/photos/", "/gate/photos/x", "/gate/photos/x/", "/gate//photos"):
        for method in METHODS:
            assert ask(path, method=method, Cookie=shown).status_code == 404, (method, path)


def test_a_body_is_not_looked_at(client, cookie, join, alice):
    join("alice")
    shown = {**HOST, "Cookie": cookie("alice")}
    for body in (b"x" * 10_000_000, b'{"is_admin": true}', b"not JSON"):
        sent = {"headers": shown, "data": body, "content_type": "application/json"}
        assert client.post("/gate/photos", **sent).status_code == 200
        assert client.post("/gate/photos", **{**sent, "headers": HOST}).status_code == 401


# What the proxy says of the host, and what comes of it with a good pass, and without one.
HOSTS = {
    "photos.example.org": (200, 401),
    "PHOTOS.example.org": (200, 401),
    "photos.example.org:443": (200, 401),
    "photos.example.org:8443": (403, 403),
    "photos.lan": (401, 401),  # the app is there, too, and the pass is not for it
    "photos.example.com": (403, 403),
    "photos.example.org, photos.example.org": (403, 403),
    "photos.example.org.": (403, 403),
    "user@photos.example.org": (403, 403),
    "photos.example.org/": (403, 403),
    "photos.example.org/..": (403, 403),
    "https://photos.example.org": (403, 403),
    "photos.example.org:99999": (403, 403),
    "[::1": (403, 403),
    "": (403, 403),
    "x" * 5000: (403, 403),
    None: (403, 403),
}


def test_only_the_host_for_which_a_pass_is_lets_in(ask, cookie, join, program, alice):
    join("alice")
    program("alice")
    shown = cookie("alice")
    for host, (by_pass, by_none) in HOSTS.items():
        assert ask(X_Forwarded_Host=host, Cookie=shown).status_code == by_pass, host
        assert ask(X_Forwarded_Host=host).status_code == by_none, host
        by_program = 200 if by_none == 401 else 403  # a program's pass is good at all origins of the project
        assert ask(X_Forwarded_Host=host, Authorization=f"Bearer {SECRET}").status_code == by_program, host


def test_the_own_host_of_the_request_is_no_host(client, cookie, join, alice):
    join("alice")
    sent = {"Cookie": cookie("alice"), "Host": "photos.example.org", "Forwarded": "host=photos.example.org"}
    assert client.get("/gate/photos", headers=sent).status_code == 403


def test_a_header_that_only_looks_like_one_counts_nothing():
    for name in ("X_Forwarded_Host", "X.Forwarded.Host", "X-Forwarded_Host"):
        read = []
        reader = Reader(CONSTANT, read.append)
        reader.feed(f"GET /gate/photos HTTP/1.1\r\n{name}: photos.example.org\r\nCookie: a=1\r\n\r\n".encode())
        assert "HTTP_COOKIE" in read[0].environ()
        assert "HTTP_X_FORWARDED_HOST" not in read[0].environ()


@pytest.mark.parametrize(("path", "most"), [("/gate/photos", 16), ("/.invite/photos/enter?/", 16), ("/login", 8)])
def test_where_an_apps_cookies_come_along_there_may_be_more_of_them(path, most):
    for size, status in ((most * 1024, 0), (most * 1024 + 1, 431)):
        read = []
        Reader(CONSTANT, read.append).feed(f"GET {path} HTTP/1.1\r\nCookie: {'a' * size}\r\n\r\n".encode())
        assert [each.refused for each in read] == [status]


def test_a_slug_that_no_gated_project_has_is_refused(ask, cookie, join, house, alice):
    join("alice")
    with house.writing():
        projects.create(accounts.named("alice"), projects.ProjectDraft("Tea"))
    for path in ("/gate/tea", "/gate/nothing", "/gate/%2e%2e", "/gate/photos%20", "/gate/ph%C3%B6tos"):
        answer = ask(path, Cookie=cookie("alice"))
        assert (answer.status_code, answer.json["code"]) == (403, "APP_NOT_FOUND")


@pytest.mark.usefixtures("photos")
def test_a_pass_that_is_not_valid_is_told_from_none(ask):
    assert "sign in, or show a pass" in ask(Authorization="Bearer of-the-app").json["error"]
    told = ask(Authorization="Bearer pass_mistyped").json["error"]
    assert "cannot be used here" in told
    assert "/account" in told


def test_a_pass_is_for_one_project(ask, cookie, join, house, alice):
    join("alice")
    with house.writing():
        projects.create(accounts.named("alice"), projects.ProjectDraft("Wiki"))
        gate.set_origins("wiki", [PHOTOS])
    _, _, value = cookie("alice").partition("=")
    assert ask("/gate/wiki", Cookie=f"__Host-invite-pass-wiki={value}").status_code == 401
    assert ask("/gate/photos", Cookie=f"__Host-invite-pass-photos={value}").status_code == 200


def test_who_is_no_member_is_refused_though_the_pass_is_good(ask, cookie, alice):
    answer = ask(Cookie=cookie("alice"))
    assert (answer.status_code, answer.json["code"]) == (403, "NOT_PROJECT_MEMBER")
    assert "WWW-Authenticate" not in answer.headers


def test_an_admin_of_the_site_is_no_member_for_that(ask, cookie, house, root, alice):
    with house.writing():
        accounts.set_admin(accounts.named("alice"), True)
    assert ask(Cookie=cookie("alice")).status_code == 403
    assert ask(Cookie=cookie("root")).headers["Remote-Groups"] == "owner"


def test_a_cookie_of_http_counts_nothing_at_an_https_origin(ask, cookie, join, alice):
    join("alice")
    held, plain = cookie("alice"), cookie("alice", "http://photos.lan")
    assert ask(X_Forwarded_Host="photos.lan", Cookie=plain).status_code == 200
    assert ask(Cookie=held.removeprefix("__Host-")).status_code == 401
    assert ask(Cookie=plain).status_code == 401
    assert ask(X_Forwarded_Host="photos.lan", Cookie=f"__Host-{plain}").status_code == 401
    assert ask(X_Forwarded_Host="photos.lan", Cookie=held).status_code == 401


@pytest.mark.parametrize("space", ["\xa0", "\x85", "\x1c", "\x1f", "\x0b", "\xc2\xa0"])
def test_a_cookie_whose_name_only_looks_like_ours_counts_nothing(client, cookie, join, alice, space):
    """Another host of the same domain may set one for the app's, which browsers forbid with the prefix alone."""
    join("alice")
    shown = cookie("alice")
    for path, refused, led in (("/gate/photos", 401, 200), ("/.invite/photos/enter?/", 302, 303)):
        for before in (space, f"a=1; {space}", f"a=1;{space}"):
            assert client.get(path, headers={**HOST, "Cookie": f"{before}{shown}"}).status_code == refused
        assert client.get(path, headers={**HOST, "Cookie": f"a=1;\t {shown}"}).status_code == led


def test_of_several_cookies_of_one_name_the_good_one_counts(ask, cookie, join, alice, root):
    join("alice")
    bad = "invite-pass-photos=x; invite-pass-photos=WyJhIl0.x"
    good = cookie("alice", "http://photos.lan")
    assert ask(X_Forwarded_Host="photos.lan", Cookie=f"{bad}; {good}").headers["Remote-User"] == "alice"


# What ends a pass of a browser, whose session is `session_id`: the next request is refused.
ENDS = {
    "signing out": (sessions.end, 401),
    "ending all sessions": (lambda _: sessions.end_all(accounts.named("alice")), 401),
    "disabling the account": (lambda _: accounts.disable(accounts.named("alice")), 401),
    "deleting the account": (lambda _: accounts.remove(accounts.named("alice")), 401),
    "removal": (lambda _: projects.remove(*_removal()), 403),
    "another origin": (lambda _: gate.set_origins("photos", ["https://elsewhere.example.org"]), 403),
    "taking the gate away": (lambda _: gate.set_origins("photos", []), 403),
    "deleting the project": (lambda _: projects.delete("photos"), 403),
}


def _removal():
    manager = projects.of_manager("photos", accounts.named("root"))
    return manager, projects.find_member(manager.project, accounts.named("alice")).id


@pytest.mark.parametrize("what", ENDS)
def test_what_ends_the_session_or_the_membership_ends_the_pass_at_once(ask, join, house, alice, root, signed_in, what):
    join("alice")
    session_id = signed_in("alice")
    with house.reading():
        shown = f"__Host-invite-pass-photos={gate.sign_browser_pass(session_id, gate.app('photos'))}"
    assert ask(Cookie=shown).status_code == 200
    end, status = ENDS[what]
    with house.writing():
        end(session_id)
    assert ask(Cookie=shown).status_code == status


def test_access_that_ends_and_a_session_that_expires_end_the_pass(ask, cookie, join, alice, charlie):
    join("alice", ends_at=clock.now() + clock.DAY)
    join("charlie")
    alices, charlies = cookie("alice"), cookie("charlie")
    with time_machine.travel(clock.now() + clock.DAY - clock.SECOND, tick=False):
        assert ask(Cookie=alices).status_code == 200
    with time_machine.travel(clock.now() + clock.DAY, tick=False):
        assert ask(Cookie=alices).status_code == 403
        assert ask(Cookie=charlies).status_code == 200
    with time_machine.travel(clock.now() + sessions.LIFETIME, tick=False):
        assert ask(Cookie=charlies).status_code == 401


@pytest.mark.any_database
@pytest.mark.long
def test_each_bit_of_a_pass_counts(ask, cookie, join, alice):
    join("alice")
    name, _, value = cookie("alice").partition("=")
    answers = set()
    for place, each in enumerate(value):
        for bit in range(7):
            other = chr(ord(each) ^ 1 << bit)
            if other.isprintable() and other not in ';," \\':
                answers.add(ask(Cookie=f"{name}={value[:place]}{other}{value[place + 1 :]}").status_code)
    assert answers == {401}
    for other in ("", value[:-1], f"{value}A", value.partition(".")[0], f"{value}.{value}"):
        assert ask(Cookie=f"{name}={other}").status_code == 401


def test_what_is_signed_for_something_else_is_no_pass(ask, cookie, join, house, alice, signed_in):
    join("alice")
    with house.reading():
        app = gate.app("photos")
    payload = [signed_in("alice"), app.project_id, PHOTOS]
    for purpose in ("cookie", "form", "gate state", "gate visit", "gate ticket", "gate mark"):
        assert ask(Cookie=f"__Host-invite-pass-photos={tokens.sign(purpose, payload)}").status_code == 401
    assert ask(Cookie=f"__Host-invite-pass-photos={tokens.sign('gate pass', payload)}").status_code == 200


# Programs.


def basic(secret, name="anyone"):
    return f"Basic {base64.b64encode(f'{name}:{secret}'.encode()).decode()}"


def test_a_program_shows_its_pass_in_any_of_four_ways(ask, join, program, alice):
    join("alice")
    program("alice")
    for header in ("Authorization", "Proxy-Authorization"):
        for shown in (f"Bearer {SECRET}", f"bearer {SECRET}", basic(SECRET), basic(SECRET, "")):
            answer = ask(**{header: shown})
            assert (answer.status_code, answer.headers.get("Remote-User")) == (200, "alice"), (header, shown)


def test_a_good_pass_of_a_program_wins_over_the_cookie_and_any_other_is_the_apps_own(
    ask, cookie, join, program, alice, charlie
):
    join("alice")
    join("charlie")
    program("alice")
    browser = cookie("charlie")
    assert ask(Cookie=browser, Authorization=f"Bearer {SECRET}").headers["Remote-User"] == "alice"
    for others in ("Bearer pass_x", "Bearer x", basic("x"), "Basic !", "Digest username=x", "Basic /w==", "Bearer", ""):
        assert ask(Cookie=browser, Authorization=others).headers["Remote-User"] == "charlie"
        both = ask(Authorization=others, Proxy_Authorization=f"Bearer {SECRET}")
        assert both.headers["Remote-User"] == "alice"
        assert ask(Authorization=others).status_code == 401


def test_a_pass_of_a_program_outlives_signing_out_and_ends_with_its_time_and_the_membership(
    ask, join, house, program, alice, root
):
    join("alice")
    program("alice", lifetime=timedelta(days=1))
    shown = {"Authorization": f"Bearer {SECRET}"}
    with house.writing():
        for each in sessions.of_account(accounts.named("alice").id):
            sessions.end(each.id)
    assert ask(**shown).status_code == 200
    with time_machine.travel(clock.now() + clock.DAY, tick=False):
        assert ask(**shown).status_code == 401
    with house.writing():
        accounts.disable(accounts.named("alice"))
    assert ask(**shown).status_code == 401
    with house.writing():
        accounts.enable(accounts.named("alice"))
        projects.remove(*_removal())
    assert ask(**shown).status_code in (401, 403)


def test_a_pass_of_a_program_is_for_one_project(ask, join, house, program, alice):
    join("alice")
    program("alice")
    with house.writing():
        projects.create(accounts.named("alice"), projects.ProjectDraft("Wiki"))
        gate.set_origins("wiki", [PHOTOS])
    assert ask("/gate/wiki", Authorization=f"Bearer {SECRET}").status_code == 401


# How those are answered who are not let in.

PAGE = {"Sec-Fetch-Mode": "navigate"}
OLD_PAGE = {"Accept": "text/html,application/xhtml+xml"}
NAVIGATIONS = [
    ("GET", PAGE, True),
    ("HEAD", PAGE, True),
    ("GET", OLD_PAGE, True),
    ("GET", {**PAGE, "X-Forwarded-Method": "HEAD"}, True),
    ("POST", {**PAGE, "X-Forwarded-Method": "GET"}, True),
    ("GET", {**PAGE, "X-Forwarded-Method": "POST"}, False),
    ("GET", {**PAGE, "X-Forwarded-Method": "GET, POST"}, False),
    ("POST", PAGE, False),
    ("PUT", OLD_PAGE, False),
    ("GET", {"Sec-Fetch-Mode": "cors", **OLD_PAGE}, False),
    ("GET", {"Sec-Fetch-Mode": "no-cors"}, False),
    ("GET", {**OLD_PAGE, "X-Requested-With": "XMLHttpRequest"}, False),
    ("GET", {"Accept": "*/*"}, False),
    ("GET", {}, False),
]


def test_only_a_browser_that_opens_a_page_is_led_to_where_it_gets_a_pass(client, cookie, alice):
    strangers = {"Cookie": cookie("alice")}
    for method, headers, is_led in NAVIGATIONS:
        for shown, status in (({}, 401), (strangers, 403)):
            sent = {**HOST, "X-Forwarded-Uri": "/a?b=1&c=%2F", **headers, **shown}
            answer = client.open("/gate/photos?redirect", method=method, headers=sent)
            assert answer.status_code == (302 if is_led else status), (method, headers)
            if is_led:
                assert answer.location == f"{PHOTOS}/.invite/photos/enter?/a?b=1&c=%2F"
            assert client.open("/gate/photos", method=method, headers=sent).status_code == status


def test_nobody_is_led_where_there_is_no_app_or_from_the_way_in_itself(ask, alice, cookie):
    assert ask("/gate/nothing?redirect", **{"Sec-Fetch-Mode": "navigate"}).status_code == 403
    assert ask("/gate/photos?redirect", X_Forwarded_Host="evil.example", **PAGE).status_code == 403
    assert ask("/gate/photos?redirect", X_Forwarded_Host=None, **PAGE).status_code == 403
    again = ask("/gate/photos?redirect", X_Forwarded_Uri="/.invite/photos/enter?/", **PAGE)
    assert again.status_code == 401


def test_only_programs_of_the_webdav_kind_are_told_that_a_password_will_do(ask, photos):
    both = ["Bearer", 'Basic realm="photos", charset="UTF-8"']
    for method in ("PROPFIND", "REPORT", "OPTIONS", "MKCALENDAR"):
        asked = [
            ask(method=method),
            ask(X_Forwarded_Method=method),
            ask(method=method, Origin="https://photos.example.org"),
            ask(method=method, Sec_Fetch_Mode="cors"),
            ask(),
            ask(method="PUT"),
        ]
        told = [each.headers.getlist("WWW-Authenticate") for each in asked]
        assert told == [both, both, ["Bearer"], ["Bearer"], ["Bearer"], ["Bearer"]]


def test_no_answer_is_kept_or_half_an_answer(ask, cookie, join, alice):
    join("alice")
    asked = {"If_None_Match": "*", "If_Modified_Since": "Sat, 29 Oct 2050 19:43:31 GMT", "Range": "bytes=0-0"}
    for headers in ({}, {"Cookie": cookie("alice")}):
        answer = ask(**asked, **headers)
        assert answer.status_code == (200 if headers else 401)
        assert answer.headers["Cache-Control"] == "no-store"
        assert not {"ETag", "Last-Modified", "Accept-Ranges", "Set-Cookie"} & {*answer.headers.keys()}


def test_while_the_database_cannot_answer_nobody_is_let_in(ask, cookie, join, program, alice, house):
    join("alice")
    program("alice")
    shown = cookie("alice")
    with house.writing() as unit:
        unit.session.execute(text("ALTER TABLE origins RENAME TO gone"))
    for headers in ({"Cookie": shown}, {"Authorization": f"Bearer {SECRET}"}, {}, {"X_Forwarded_Uri": "/", **PAGE}):
        answer = ask("/gate/photos?redirect", **headers)
        assert (answer.status_code, answer.json["code"]) == (503, "SERVICE_UNAVAILABLE")


def test_the_gate_neither_counts_nor_writes(client, settings, tmp_path, cookie, join, alice):
    (row,) = ROUTES[dialect]
    assert (row.limit, row.work) == (None, Work.LOOKS)
    join("alice")
    limited = create_app(make_settings(tmp_path / "instance", LIMITS="on")).test_client(use_cookies=False)
    sent = {**HOST, "Cookie": cookie("alice")}
    assert {limited.get("/gate/photos", headers=sent).status_code for _ in range(700)} == {200}


@pytest.mark.long
def test_a_real_server_answers_whatever_a_proxy_makes_of_a_request(house, join, program, served, alice):
    """What proxies send along of an upload, of a web socket or of a request to a proxy; each answered once, at once."""
    join("alice")
    program("alice")
    good = f"X-Forwarded-Host: photos.example.org\r\nAuthorization: Bearer {SECRET}\r\nConnection: close\r\n"
    asked = {
        "GET /gate/photos HTTP/1.1": "",
        "PROPFIND /gate/photos HTTP/1.1": "Depth: 1\r\n",
        "GET http://evil.example/gate/photos HTTP/1.1": "Host: evil.example\r\n",
        "PUT /gate/photos HTTP/1.1": "Expect: 100-continue\r\n",
        "POST /gate/photos?redirect HTTP/1.1": "Expect: 100-continue\r\nContent-Length: 10000000\r\n",
        "GET /gate/photos?x HTTP/1.1": "Upgrade: websocket\r\nConnection: Upgrade\r\n",
    }
    for line, more in asked.items():
        for shown, status in ((good, 200), (good.replace("X-Forwarded-Host", "X_Forwarded_Host"), 403)):
            answer = converse(served, f"{line}\r\n{more}{shown}\r\n".encode())
            assert answer.status == status, (line, shown)
            assert answer.headers.get("Remote-User") == ("alice" if status == 200 else None)
            assert answer.headers["Cache-Control"] == "no-store"
    unknown = converse(served, f"BREW /gate/photos HTTP/1.1\r\n{good}\r\n".encode())
    assert unknown.status == 400  # what is no method of HTTP is none to our server, whatever is asked


# The origins of a project.

WRONG = [
    *("", "photos", "photos.example.org", "ftp://photos.example.org", "https://", "https://*.example.org"),
    *("https://photos.example.org:443", "https://photos.example.org/album", "https://photos.example.org?x"),
    *("https://me@photos.example.org", "https://photos.example.org:0", "https://photos.example.org:99999"),
    *("https://phötos.example.org", "https://photos.example.org, https://b.example.org", "https://*"),
    *("https://photos.example.org\\", "https://photos.example.org#x", "https://pho tos.example.org"),
]


def test_what_is_no_origin_is_refused_and_changes_nothing(house, photos):
    for written in WRONG:
        with pytest.raises(Invalid) as refused, house.writing():
            gate.set_origins("photos", ["https://good.example.org", written])
        assert [each.field for each in refused.value.problems] == ["origin"], written
    with house.reading():
        assert gate.origins(projects.find("photos")) == [PHOTOS, "http://photos.lan"]


def test_all_wrong_origins_are_named_at_once(house, photos):
    with pytest.raises(Invalid, match=r"ftp://a.*https://b/c"), house.writing():
        gate.set_origins("photos", ["ftp://a", PHOTOS, "https://b/c"])


def test_the_own_host_is_no_origin_but_on_loopback(tmp_path, house, photos):
    with in_force(make_settings(tmp_path / "instance", PUBLIC_URL="https://invite.example.org")), house.writing():
        for written in ("https://invite.example.org", "https://invite.example.org:8443", "http://INVITE.example.org"):
            with pytest.raises(Invalid, match="host of this service"):
                gate.set_origins("photos", [written])
        assert gate.set_origins("photos", ["https://photos.invite.example.org"])
    with house.writing():
        assert gate.set_origins("photos", ["http://127.0.0.1:9000"]) == ["http://127.0.0.1:9000"]


def test_a_host_is_http_or_https_and_there_are_not_too_many(house, photos):
    with pytest.raises(Invalid, match="not both"), house.writing():
        gate.set_origins("photos", [PHOTOS, "http://photos.example.org"])
    with pytest.raises(Invalid, match="at most 20"), house.writing():
        gate.set_origins("photos", [f"https://{number}.example.org" for number in range(21)])


def test_origins_are_kept_in_their_order_and_each_change_is_told_once(house, photos):
    wanted = ["https://b.example.org", "https://A.example.org/", "https://b.example.org"]
    kept = ["https://b.example.org", "https://a.example.org"]
    with house.writing():
        for _ in range(2):
            assert gate.set_origins("photos", wanted) == kept
        gate.set_origins("photos", [])
    with house.reading():
        told = session().query(Event).filter(Event.type == "project.gate").order_by(Event.number)
        assert [each.facts for each in told] == ['{"origins":2}', '{"origins":2}', '{"origins":0}']
    with pytest.raises(ProjectNotFound), house.writing():
        gate.set_origins("nothing", [PHOTOS])


def test_the_apps_of_a_member_are_named(house, join, alice):
    join("alice")
    with house.writing():
        projects.create(accounts.named("alice"), projects.ProjectDraft("Tea"))
        assert [each.slug for each in gate.of_member(accounts.named("alice"))] == ["photos"]
        accounts.disable(accounts.named("alice"))
        gate.set_origins("photos", [])
        assert gate.of_member(accounts.named("alice")) == []


def test_an_origin_may_be_that_of_two_projects(ask, cookie, join, house, alice):
    join("alice")
    with house.writing():
        projects.create(accounts.named("alice"), projects.ProjectDraft("Wiki"))
        gate.set_origins("wiki", [PHOTOS])
    assert ask(Cookie=cookie("alice")).status_code == 200
    assert ask("/gate/wiki").status_code == 401


LOCAL = {"X-Forwarded-Host": "localhost:8300", "X-Forwarded-Proto": "http"}


def test_a_program_is_told_at_which_address_there_is_no_app_and_what_to_do(ask, photos):
    answer = ask("/gate/photos", **LOCAL, Accept="application/json")
    assert (answer.status_code, answer.json["code"]) == (403, "APP_NOT_FOUND")
    assert answer.json["error"] == (
        "No project of this name has an app at http://localhost:8300. An admin can add this address on the page of the "
        "project, or set it with `invite-api project gate SLUG http://localhost:8300`."
    )


@pytest.mark.parametrize("how", ["", "?redirect"])
def test_a_browser_gets_a_page_where_no_app_is(ask, photos, how):
    answer = ask(f"/gate/photos{how}", **LOCAL, **PAGE, **OLD_PAGE)
    assert (answer.status_code, answer.mimetype) == (403, "text/html")
    assert "No project of this name has an app at http://localhost:8300." in seen(answer)
    assert "<code>invite-api project gate SLUG http://localhost:8300</code>" in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert ask(f"/gate/photos{how}", **LOCAL, Accept="text/html", X_Requested_With="fetch").is_json
    assert ask("/gate/photos", **PAGE, **OLD_PAGE).is_json


@pytest.mark.parametrize(
    ("host", "scheme", "origin"),
    [
        ("127.0.0.1:8300", None, "http://127.0.0.1:8300"),
        ("wiki.lan", None, "https://wiki.lan"),
        ("wiki.lan", "http", "http://wiki.lan"),
        ("localhost:8300", "https", "https://localhost:8300"),
        ("localhost", "javascript", "http://localhost"),
    ],
)
def test_the_address_is_named_as_the_proxy_says_it_was_reached(ask, photos, host, scheme, origin):
    said = ask(X_Forwarded_Host=host, X_Forwarded_Proto=scheme).json["error"]
    assert f" at {origin}. " in said


@pytest.mark.parametrize("host", [None, "<script>alert(1)</script>", "a b", 'a"b', "x" * 400, "a@b", "a:b:c"])
def test_a_host_that_is_none_is_not_repeated(ask, photos, host):
    for answer in (ask(X_Forwarded_Host=host), ask(X_Forwarded_Host=host, **PAGE, **OLD_PAGE)):
        assert answer.status_code == 403
        assert "No project has an app at this address." in answer.text
        assert host is None or host not in answer.text
