"""The gate behind the real nginx and the real Caddy, as the command configures them, and behind Traefik's rules."""

import base64
import itertools
import re
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from urllib.parse import quote, urlsplit

import pytest
from sqlalchemy import delete, update

import clock
import proxied
import test_proxies
from conftest import free_port, wait_for
from database import session
from models import Member, Pass
from programs import require
from proxied import (
    ALBUMS,
    APPS,
    BROKEN,
    NAVIGATION,
    PHOTOS,
    PLAIN,
    PROXIES,
    SERVICE,
    App,
    Caller,
    Header,
    Reply,
    Town,
    Visitor,
)
from rules import accounts, sessions, tokens

pytestmark = [pytest.mark.any_database, pytest.mark.long, pytest.mark.xdist_group("gate_proxies")]

PASS = "__Host-invite-pass-photos"
SPOOFED: tuple[Header, ...] = (
    ("Remote-User", "root"),
    ("Remote-User", "admin"),
    ("remote-name", "root"),
    ("remote_user", "root"),
    ("Remote_Email", "root@example.org"),
    ("Remote.User", "root"),
    ("remote.groups", "admin"),
)
NAMES = ("Remote-User", "Remote-Name", "Remote-Email", "Remote-Groups")
MIB = 1024 * 1024


@pytest.fixture
def app(town) -> App:
    """The app of all projects but those about something else."""
    return town.app


@pytest.fixture(params=PROXIES)
def caller(request, town) -> Caller:
    """Each of the three."""
    return town.callers[request.param]


@pytest.fixture(params=["nginx", "caddy"])
def real(request, town) -> Caller:
    """Each of the two that are real."""
    return town.callers[request.param]


def basic(password: str, user: str = "any") -> str:
    return f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"


def cookies(visitor: Visitor, host: str = "photos.example.org") -> tuple[Header, ...]:
    """What a browser sends there."""
    return (("Cookie", "; ".join(f"{name}={value}" for name, value in visitor.jar[host].items())),)


# The table: path, method, credential, proxy


@dataclass(frozen=True)
class Asked:
    """A request of some kind: its method and headers, and what it gets without a pass, and with one but no member."""

    method: str
    headers: tuple[Header, ...]
    is_page: bool = False
    is_calendar: bool = False


KINDS = {
    "a page": Asked("GET", NAVIGATION, is_page=True),
    "a page, by an old browser": Asked("GET", (("Accept", "text/html,*/*;q=0.8"),), is_page=True),
    "a page's header": Asked("HEAD", NAVIGATION, is_page=True),
    "a script's call": Asked("GET", (("Sec-Fetch-Mode", "cors"), ("Accept", "text/html"))),
    "an old script's call": Asked("GET", (("Accept", "text/html"), ("X-Requested-With", "XMLHttpRequest"))),
    "a picture": Asked("GET", (("Sec-Fetch-Mode", "no-cors"), ("Accept", "image/*"))),
    "curl": Asked("GET", (("Accept", "*/*"),)),
    "a form": Asked("POST", NAVIGATION),
    "an upload": Asked("PUT", (("Expect", "100-continue"), ("Accept", "*/*"))),
    "a preflight": Asked("OPTIONS", (("Origin", "https://elsewhere.example"), ("Sec-Fetch-Mode", "cors"))),
    "a calendar": Asked("PROPFIND", (("Depth", "0"),), is_calendar=True),
    "a calendar's question": Asked("OPTIONS", (), is_calendar=True),
    "a method that nobody knows": Asked("FROBNICATE", ()),
}
PATHS = ("/", "/albums/2026?sort=name&q=%2F..%2f", "/.invite/", "/.well-known/caldav")
NOBODY, ADMITTED, OUTSIDE = 401, 200, 403
OF_THE_PROXY = ("a program's pass for the proxy", "a program's pass beside the app's password")  # Traefik drops it


@pytest.fixture(scope="module")
def credentials(town) -> dict[str, tuple[tuple[Header, ...], int]]:
    """What may be shown to the gate, and what it thinks of it."""
    for name in ("dora", "erin", "fred", "gina"):
        town.person(name, "photos", "wiki")
    at = {name: town.admitted("nginx", name, f"{PHOTOS}/") for name in ("bob", "dora", "erin", "fred", "gina")}
    elsewhere = town.admitted("nginx", "bob", f"{ALBUMS}/", f"{APPS}/wiki/")
    good = at["bob"].jar["photos.example.org"][PASS]
    program, for_wiki, gone = (town.program("bob", slug) for slug in ("photos", "wiki", "photos"))
    of_outsider = town.program("dora", "photos")

    def undo() -> None:
        user = {name: accounts.named(name) for name in ("dora", "erin", "fred", "gina")}
        session().execute(delete(Member).where(Member.user_id == user["dora"].id))
        sessions.end_all(user["erin"])
        accounts.disable(user["fred"])
        session().execute(update(Member).where(Member.user_id == user["gina"].id).values(ends_at=clock.now()))
        session().execute(delete(Pass).where(Pass.hash == tokens.digest(gone)))

    town.change(undo)
    flipped = good[:-1] + ("A" if good[-1] != "A" else "B")
    service = at["bob"].jar["invites.example.org"][town.settings.cookie_name]
    wiki = elsewhere.jar["apps.example.net"]["__Host-invite-pass-wiki"]
    return {
        "nothing": ((), NOBODY),
        "a member's pass": (cookies(at["bob"]), ADMITTED),
        "a member's pass among others": ((("Cookie", f"a=1; {PASS}={good}; b=2"),), ADMITTED),
        "a pass that is good, behind one that is not": ((("Cookie", f"{PASS}=x; {PASS}={good}"),), ADMITTED),
        "a pass with one character changed": ((("Cookie", f"{PASS}={flipped}"),), NOBODY),
        "a pass without the prefix": ((("Cookie", f"invite-pass-photos={good}"),), NOBODY),
        "a pass for another origin": (cookies(elsewhere), NOBODY),
        "a pass for another app": ((("Cookie", f"{PASS}={wiki}"),), NOBODY),
        "the cookie of the service": (
            (("Cookie", f"{PASS}={service}; {town.settings.cookie_name}={service}"),),
            NOBODY,
        ),
        "the pass of who was removed": (cookies(at["dora"]), OUTSIDE),
        "the pass of who signed out": (cookies(at["erin"]), NOBODY),
        "the pass of a disabled account": (cookies(at["fred"]), NOBODY),
        "the pass of a member whose access has ended": (cookies(at["gina"]), OUTSIDE),
        "a program's pass": ((("Authorization", f"Bearer {program}"),), ADMITTED),
        "a program's pass as a password": ((("Authorization", basic(program, "bob")),), ADMITTED),
        "a program's pass for the proxy": ((("Proxy-Authorization", f"Bearer {program}"),), ADMITTED),
        "a program's pass beside the app's password": (
            (("Authorization", basic("secret")), ("Proxy-Authorization", basic(program))),
            ADMITTED,
        ),
        "the app's password": ((("Authorization", basic("secret", "root")),), NOBODY),
        "the app's password beside a pass": ((("Authorization", basic("secret")), *cookies(at["bob"])), ADMITTED),
        "a program's pass that was deleted": ((("Authorization", f"Bearer {gone}"),), NOBODY),
        "a program's pass for another app": ((("Authorization", basic(for_wiki)),), NOBODY),
        "a program's pass of who was removed": ((("Authorization", f"Bearer {of_outsider}"),), OUTSIDE),
    }


def expected(proxy: str, asked: Asked, shown: str, standing: int) -> int:
    """The status that a request should get."""
    if proxy == "traefik" and shown in OF_THE_PROXY:
        standing = NOBODY
    if standing == ADMITTED:
        return 200
    return 302 if asked.is_page else standing


def misfits(town: Town, app: App, shown: dict[str, tuple[tuple[Header, ...], int]], start: str, proxies: Sequence[str]):
    """How many rows the table has, and those that are not answered as they should be, or reach the app though not."""
    count, found = 0, []
    for proxy, (kind, asked), path, (name, (headers, standing)) in itertools.product(
        proxies, KINDS.items(), PATHS, shown.items()
    ):
        before = len(app.seen)
        reply = town.callers[proxy].call(asked.method, f"{PHOTOS}{start}{path}", *asked.headers, *headers, *SPOOFED)
        wanted = expected(proxy, asked, name, standing)
        sent = app.seen[before:]
        count += 1
        if reply.status != wanted or len(sent) != (wanted == 200) or not is_well_said(proxy, reply, asked, sent):
            found.append((proxy, kind, path, name, wanted, reply.status, sent))
    return count, found


def is_well_said(proxy: str, reply: Reply, asked: Asked, sent: Sequence[dict]) -> bool:
    """Whether the app was told by nobody but the gate who it is, and who is refused is told what to do."""
    if reply.status == 200:
        said = {name: proxied.values(sent[0], name) for name in NAMES}
        of_ours = [each for each in proxied.values(sent[0], "Cookie") if "invite" in each]
        of_ours += proxied.values(sent[0], "Proxy-Authorization")
        who = {"Remote-User": ["bob"], "Remote-Name": [quote("Zoë 李", safe=" ")]}
        who |= {"Remote-Email": ["bob@example.org"], "Remote-Groups": ["member"]}
        return said == who and of_ours == []
    schemes = [each.split()[0] for each in reply.headers.get_all("WWW-Authenticate", [])]
    if reply.status == 401:
        return schemes == ["Bearer", *["Basic"] * asked.is_calendar]
    return (schemes == [] and reply.status == 403) or reply.location.startswith(f"{PHOTOS}/.invite/photos/enter?/")


def test_every_request_is_decided_as_the_table_says(town, app, credentials):
    count, wrong = misfits(town, app, credentials, "", PROXIES)
    assert wrong == []
    assert count > 3000


def test_the_table_finds_a_location_that_nobody_guards(town, app, credentials):
    few = {name: credentials[name] for name in ("nothing", "a pass for another app", "the app's password")}
    count, wrong = misfits(town, app, few, "/public", PROXIES)
    assert len(wrong) == count


# What clients make up


@pytest.fixture
def bob(real, town) -> Visitor:
    """A member's browser, which has a pass for the photos."""
    return town.admitted(real.name, "bob", f"{PHOTOS}/")


def test_a_client_cannot_take_away_who_it_is(real, town, app, bob):
    """An app may take a request without Remote-User for one from the operator's own network."""
    named = (("Connection", "Remote-User, remote-groups, Remote_User"), *SPOOFED)
    assert real.call("GET", f"{PHOTOS}/", *cookies(bob), *named).status == 200
    assert proxied.values(app.seen[-1], "Remote-User") == ["bob"]
    assert proxied.values(app.seen[-1], "Remote-Groups") == ["member"]


def test_what_everyone_reaches_tells_the_app_of_nobody(caller, app):
    for path in ("/public/x", "/robots.txt"):
        assert caller.call("GET", f"{PHOTOS}{path}", *SPOOFED, ("Cookie", f"a=1; {PASS}=x")).status == 200
        assert [each for name in NAMES for each in proxied.values(app.seen[-1], name) if each] == []
    before = len(app.seen)
    for path in (
        "/public",
        "/robots.txt/x",
        "/publican",
        "/robots-txt",
        "/PUBLIC/x",
        "/public/../x",
        "/public/%2e%2e/x",
        "/x/public/",
    ):
        assert caller.call("GET", f"{PHOTOS}{path}").status in (301, 401), path
    assert len(app.seen) == before


PRIVATE = (
    *("/secret/../public/x", "/secret/..%2fpublic/x", "/secret%2f..%2Fpublic/x", "/secret/%2e%2e/public/x"),
    *("/secret//../public/x", "/secret%3f/../public/x", "/secret%23/..%2fpublic/x", "/secret/..%2frobots.txt"),
    *("/public/../secret", "/public/..%2fsecret", "/public/%2e%2e%2fsecret", "/public%2f..%2fsecret", "/public%2fx"),
    *("/robots.txt%2f..%2fsecret", "/robots.txt%3f", "/robots.txt%00", "//public/../secret"),
)
READ_BY_SOME = ("/public/..;/secret", "/public/..%3bsecret", "/public/..%5csecret", "/public/..\\secret")


def test_no_address_that_an_app_may_find_elsewhere_is_public(caller, app):
    """The proxy decides by one form of an address and passes on another."""
    more = READ_BY_SOME if caller.name == "traefik" else ()
    before = len(app.seen)
    for path in (*PRIVATE, *more):
        caller.call("GET", PHOTOS, target=path)
    reached = {each["path"] for each in app.seen[before:]}
    assert reached <= ({"/public/x"} if caller.name == "traefik" else set())  # it passes on what it has decided by
    assert caller.call("GET", PHOTOS, target="/public/%C3%BC%20(1).jpg?a=../%2f;").status == 200


UPGRADES = (("h2c",), ("anything",), ("h2c", "websocket"), ("websocket", "h2c"), ("websocket, h2c",), ("WebSocket",))


def test_only_a_websocket_takes_a_connection_past_the_gate(caller, town, app):
    """By another protocol, such as h2c, all that follows would reach the app unasked."""
    bob = town.admitted(caller.name, "bob", f"{PHOTOS}/")
    for path, shown in (("/public/x", ()), ("/x", cookies(bob))):
        for asked in UPGRADES:
            named = [("Upgrade", each) for each in asked]
            reply = caller.call(
                "GET", f"{PHOTOS}{path}", ("Connection", "Upgrade, HTTP2-Settings"), *named, *shown, *SPOOFED
            )
            assert reply.status == 200, (path, asked)
            assert app.seen[-1]["path"] == path
            got = [each.lower() for each in proxied.values(app.seen[-1], "Upgrade") if each]
            assert got in ([], ["websocket"]), (path, asked)
            assert "root" not in proxied.values(app.seen[-1], "Remote-User")
    assert got == ["websocket"]


COOKIES = {
    "{pass}": "",
    "{pass}; a=1": "a=1",
    "a=1; {pass}": "a=1",
    "a=1; {pass}; b=2": "a=1; b=2",
    "{pass}; {state}; a=1; {mark}; b=2; {pass}": "a=1; b=2",
    "a=1;{pass};b=2": "a=1;b=2",
    "a=1;  {pass};\t{mark}; b=2": "a=1; b=2",
    "invited=1; my-invite-pass-photos=2; {pass}": "invited=1; my-invite-pass-photos=2",
    "{pass}; a=1; {pass}; b=2; {pass}; c=3; {pass}; d=4": "",  # nginx gives up, and leaves all out
}


@pytest.mark.parametrize("shown", COOKIES)
def test_the_app_gets_its_own_cookies_and_none_of_ours(shown, real, app, bob):
    mine = bob.jar["photos.example.org"][PASS]
    random = "0123456789abcdef01234567"
    state, mark = f"__Host-invite-state-photos-{random}=x.y-z", "invite-mark-photos=x"
    sent = shown.format(**{"pass": f"{PASS}={mine}", "state": state, "mark": mark})
    assert real.call("GET", f"{PHOTOS}/", ("Cookie", sent)).status == 200
    got = "; ".join(each for each in proxied.values(app.seen[-1], "Cookie") if each)
    wanted = "a=1; b=2; c=3; d=4" if real.name == "caddy" and "d=4" in shown else COOKIES[shown]
    assert got == wanted


def test_the_two_apps_at_one_host_have_passes_of_their_own(caller, town, app):
    town.person(f"ida-{caller.name}", "notes")
    ida = town.signed_in(caller.name, f"ida-{caller.name}")
    assert ida.visit(f"{APPS}/notes/today?x=1").status == 200
    assert app.seen[-1]["path"] == "/notes/today?x=1"
    assert ida.visit(f"{APPS}/wiki/").status == 403
    assert "You are not a member of Wiki" in ida.trail[-1].text
    assert ida.get(f"{APPS}/notes/", *NAVIGATION).status == 200
    name = "__Host-invite-pass-notes"
    stolen = ida.jar["apps.example.net"][name]
    wiki = (("Cookie", f"{name}={stolen}; {name.replace('notes', 'wiki')}={stolen}"),)
    assert caller.call("GET", f"{APPS}/wiki/", *wiki).status == 401


def test_an_app_over_plain_http_has_a_cookie_of_another_name(real, town, app):
    visitor = town.admitted(real.name, "bob", f"{PLAIN}/")
    plain = visitor.jar["plain.example.org"]["invite-pass-photos"]
    assert real.call("GET", f"{PLAIN}/", ("Cookie", f"invite-pass-photos={plain}")).status == 200
    for host, name in ((PLAIN, PASS), (PHOTOS, PASS), (PHOTOS, "invite-pass-photos")):
        assert real.call("GET", f"{host}/", ("Cookie", f"{name}={plain}")).status == 401


# The way in


@pytest.mark.parametrize(
    "path",
    ["/", "/albums?year=2026&sort=name", "/a%2Fb/%2e%2e/c?d=%26%3D%25&e=f+g&&h", "/?", "/~x/@y;z=1,2/$!*'()?/:@[]|",
     "/%C3%BC?q=%00"],
)  # fmt: skip
def test_what_was_asked_for_is_what_comes_back(path, caller, town, app):
    """tinyauth 1060: what stood behind the question mark was lost."""
    visitor = town.signed_in(caller.name, "bob")
    assert visitor.visit(f"{PHOTOS}{path}").status == 200
    assert app.seen[-1]["path"] == (path.replace("/a%2Fb/%2e%2e", "") if caller.name == "traefik" else path)
    assert [each.status for each in visitor.trail] == [302, 302, 303, 303, 200]
    assert visitor.visit(f"{PHOTOS}{path}").status == 200
    assert len(visitor.trail) == 1


def test_letters_beyond_ascii_in_an_address_are_encoded_on_the_way(real, town, app):
    visitor = town.signed_in(real.name, "bob")
    with real.connect(PHOTOS) as connection:
        connection.sendall(
            "GET /übersicht?q=ü HTTP/1.1\r\nHost: photos.example.org\r\nAccept: text/html\r\n\r\n".encode()
        )
        answer = connection.recv(65536).decode()
    assert visitor.visit(re.search("^Location: (.*?)\r$", answer, re.M | re.I)[1]).status == 200
    assert app.seen[-1]["path"] == f"/{quote('übersicht')}?q={quote('ü')}"


ELSEWHERE = (
    *("//evil.example", "//evil.example/%2f..", "/\\evil.example", "/\\/evil.example", "///evil.example"),
    *("/%09/evil.example", "/%0d%0aLocation:%20https://evil.example", "/.evil.example", "/@evil.example"),
    *("/:@evil.example/", "/%5cevil.example", "/%2f%2fevil.example", "/;@evil.example", "/?https://evil.example"),
    f"/{'a' * 2100}",
)  # fmt: skip


@pytest.mark.parametrize("path", ELSEWHERE)
def test_no_address_leads_elsewhere(path, caller, town):
    """oauth2-proxy 2635, vouch 335: a path that browsers take for another host."""
    visitor = town.signed_in(caller.name, "bob")
    enter = f"{PHOTOS}/.invite/photos/enter?"
    for asked in (
        f"{PHOTOS}{path}",
        f"{enter}{path}",
        f"{enter}https://evil.example{path}",
        f"{enter}{path}%0d%0aX-Evil:y",
    ):
        visitor.jar["photos.example.org"] = {}
        assert visitor.visit(asked).status == 200
        assert {urlsplit(each.url).netloc for each in visitor.trail} == {"photos.example.org", "invites.example.org"}
        assert all("X-Evil" not in each.headers for each in visitor.trail)


def test_tabs_that_were_opened_together_all_arrive(real, town, app):
    visitor = town.signed_in(real.name, "bob")
    begun = [visitor.get(f"{PHOTOS}/tab/{number}", *NAVIGATION) for number in range(5)]
    entered = [visitor.get(each.location, *NAVIGATION) for each in begun]
    before = len(app.seen)
    assert [visitor.visit(each.location).status for each in reversed(entered)] == [200] * 5
    assert {each["path"] for each in app.seen[before:]} == {f"/tab/{number}" for number in range(5)}
    assert not [name for name in visitor.jar["photos.example.org"] if "state" in name]


def test_a_hundred_pages_opened_at_once_lock_no_browser_out(real, app):
    """Each keeps a state of its own, and there is no telling which is the older of those that begin together."""
    enter = f"{PHOTOS}/.invite/photos/enter?"
    states = [real.call("GET", f"{enter}/{number}/picture.html") for number in range(100)]
    shown = "Cookie", "; ".join(each.headers["Set-Cookie"].partition(";")[0] for each in states)
    assert len(shown[1]) > 10_000
    assert real.call("GET", f"{PHOTOS}/", shown, *NAVIGATION).status == 302
    entered = real.call("GET", f"{enter}/", shown)
    assert (entered.status, len(entered.headers.get_all("Set-Cookie")) > 70) == (302, True)
    assert real.call("GET", f"{PHOTOS}/public/x", shown).status == 200


def test_a_browser_that_keeps_no_cookie_of_the_app_is_led_in_no_circle(caller, town, app):
    """authentik 910 and 6883, vouch 322: it was led round for ever."""

    class Forgetful(Visitor):
        def get(self, url, *headers, **more):
            self.jar.pop("photos.example.org", None)
            return super().get(url, *headers, **more)

    visitor = Forgetful(caller)
    visitor.jar = town.signed_in(caller.name, "bob").jar
    before = len(app.seen)
    page = visitor.visit(f"{PHOTOS}/")
    assert page.status == 400
    assert "allow cookies" in page.text
    assert len(visitor.trail) == 4
    assert len(app.seen) == before


def test_a_browser_that_keeps_no_cookie_at_all_sees_where_to_sign_in(caller):
    class Forgetful(Visitor):
        def get(self, url, *headers, **more):
            self.jar.clear()
            return super().get(url, *headers, **more)

    visitor = Forgetful(caller)
    assert visitor.visit(f"{PHOTOS}/").url.startswith(f"{SERVICE}/pass/photos?")
    assert len(visitor.trail) == 3


def test_somebody_elses_ticket_signs_nobody_in(real, town):
    """GHSA-f24x-5g9q-753f: a link that has its victim upload pictures to the account of who sent it."""
    attacker, victim = town.signed_in(real.name, "bob"), Visitor(real)
    state = attacker.get(attacker.get(f"{PHOTOS}/", *NAVIGATION).location, *NAVIGATION).location
    ticket = attacker.get(state, *NAVIGATION).location
    assert "/.invite/photos/done?" in ticket
    victim.get(victim.get(f"{PHOTOS}/", *NAVIGATION).location, *NAVIGATION)  # it has a state of its own
    page = victim.get(ticket, *NAVIGATION)
    assert (page.status, page.location) == (400, "")
    assert PASS not in victim.jar["photos.example.org"]


# A service that is not well


BROKEN_ANSWERS = {
    "says nothing": b"",
    "speaks another protocol": b"220 mail.example.org ESMTP\r\n",
    "speaks TLS": b"\x15\x03\x03\x00\x02\x02\x46",
    "is another program": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
    "is another program that knows nobody": b"HTTP/1.1 204 No Content\r\nRemote-User: \r\nConnection: close\r\n\r\n",
    "stops in the middle": b"HTTP/1.1 200 OK\r\nRemote-User: bo",
    "has no database": b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "has failed": b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "leads on": b"HTTP/1.1 302 Found\r\nLocation: https://evil.example/\r\nConnection: close\r\n\r\n",
    "limits": b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    "never answers": None,
}


@pytest.mark.parametrize("what", BROKEN_ANSWERS)
def test_a_service_that_is_broken_lets_nobody_in(what, town, app):
    town.fake.said = BROKEN_ANSWERS[what]
    """nginx makes a 500 of all but 2xx, 401 and 403 (tinyauth 754, oauth2-proxy 3314)."""
    before = len(app.seen)
    shown = ("Cookie", "__Host-invite-pass-broken=x")
    with ThreadPoolExecutor(2) as pool:
        ask = lambda proxy: town.callers[proxy].call("GET", f"{BROKEN}/", *NAVIGATION, *SPOOFED, shown)  # noqa: E731
        replies = list(pool.map(ask, ("nginx", "caddy")))
    assert [each.status for each in replies if each.status < 300] == []
    assert len(app.seen) == before


def test_a_service_that_is_gone_lets_nobody_in(caller, town, app):
    before = len(app.seen)
    with town.fake.gone():
        assert caller.call("GET", f"{BROKEN}/", *NAVIGATION, *SPOOFED).status in (500, 502)
    assert len(app.seen) == before


@pytest.mark.parametrize(
    "what", [each for each in BROKEN_ANSWERS if each not in ("never answers", "stops in the middle")]
)
def test_a_service_that_is_broken_names_nobody_to_an_app_behind_traefik(what, town, app):
    """It passes on a request that any 2xx has let in, whoever said that; the app has to ask for a name."""
    town.fake.said = BROKEN_ANSWERS[what]
    before = len(app.seen)
    town.callers["traefik"].call("GET", f"{BROKEN}/", *NAVIGATION, *SPOOFED)
    assert [each for sent in app.seen[before:] for each in proxied.values(sent, "Remote-User") if each] == []


# Requests of every form


def test_ten_megabytes_arrive_whole_and_only_once(caller, town, app):
    bob = town.admitted(caller.name, "bob", f"{PHOTOS}/")
    large = bytes(10 * MIB)
    assert caller.call("POST", f"{PHOTOS}/upload", *cookies(bob), body=large).status == 200
    assert app.seen[-1]["length"] == len(large)
    before = len(app.seen)
    assert caller.call("POST", f"{PHOTOS}/upload", body=large).status == 401
    assert len(app.seen) == before


@pytest.mark.parametrize(("path", "status"), [("/upload", 401), ("/.invite/photos/enter", 413)])
def test_nginx_keeps_nothing_on_its_disk_of_what_strangers_upload(path, status, town):
    """It answers before it has the body, and so has no file for it."""
    head = f"POST {path} HTTP/1.1\r\nHost: photos.example.org\r\nContent-Length: {2 * MIB}\r\n\r\n"
    with town.callers["nginx"].connect(PHOTOS) as connection:
        connection.settimeout(20)
        connection.sendall(head.encode() + bytes(4096))
        assert connection.recv(65536).startswith(f"HTTP/1.1 {status}".encode())


def test_a_form_whose_pass_has_lapsed_is_refused_and_sent_by_nobody(caller, town, app):
    town.person(f"june-{caller.name}", "photos")
    june = town.admitted(caller.name, f"june-{caller.name}", f"{PHOTOS}/")
    town.change(lambda: sessions.end_all(accounts.named(f"june-{caller.name}")))
    before = len(app.seen)
    refused = june.get(f"{PHOTOS}/comment", *NAVIGATION, method="POST", body=b"text=hello")
    assert (refused.status, refused.location) == (401, "")
    assert len(app.seen) == before


@pytest.mark.parametrize("shown", [True, False])
def test_an_upload_that_waits_for_leave_is_answered(shown, real, town, app):
    """As curl sends one; the question of the proxy has no body, and must not wait for one."""
    bob = town.admitted(real.name, "bob", f"{PHOTOS}/") if shown else None
    head = "PUT /upload HTTP/1.1\r\nHost: photos.example.org\r\nExpect: 100-continue\r\nContent-Length: 5\r\n"
    head += f"Cookie: {cookies(bob)[0][1]}\r\n" if bob else ""
    with real.connect(PHOTOS) as connection:
        connection.sendall(f"{head}\r\n".encode())
        body = b"hello"
        while (answer := connection.recv(65536)).startswith(b"HTTP/1.1 100"):  # Caddy says it, and passes on the app's
            connection.sendall(body)
            body = b""
    assert answer.startswith(b"HTTP/1.1 200" if shown else b"HTTP/1.1 401")
    if shown:
        assert (app.seen[-1]["method"], app.seen[-1]["length"]) == ("PUT", 5)


def test_a_body_in_chunks_arrives(real, app, bob):
    head = f"POST / HTTP/1.1\r\nHost: photos.example.org\r\nCookie: {cookies(bob)[0][1]}\r\n"
    with real.connect(PHOTOS) as connection:
        connection.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n".encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
    assert app.seen[-1]["length"] == 5


@pytest.mark.parametrize("host", ["photos.example.org", "apps.example.net", "evil.example", ""])
def test_a_whole_address_in_the_first_line_admits_nobody_else(host, real, app, bob):
    before = len(app.seen)
    for shown, wanted in (((), (401, 403, 400, 421)), (cookies(bob), (200, 401, 403, 400, 421))):
        for target in ("https://photos.example.org/x", "https://apps.example.net/notes/x"):
            head = f"GET {target} HTTP/1.1\r\nHost: {host}\r\n" + "".join(
                f"{name}: {value}\r\n" for name, value in shown
            )
            with real.connect(PHOTOS) as connection:
                connection.sendall(f"{head}Connection: close\r\n\r\n".encode())
                status = int(connection.recv(65536)[9:12])
            assert status in wanted
    admitted = {user for each in app.seen[before:] for user in proxied.values(each, "Remote-User")}
    assert admitted <= {"bob"}
    assert len(app.seen) - before <= 1


def test_what_the_app_itself_refuses_it_says_itself(caller, town, app):
    bob = town.admitted(caller.name, "bob", f"{PHOTOS}/")
    for status in (401, 403, 404, 500):
        reply = caller.call("GET", f"{PHOTOS}/status/{status}", *NAVIGATION, *cookies(bob))
        assert (reply.status, reply.headers["Content-Type"]) == (status, "application/json")


def test_a_page_of_another_site_gets_no_answer_to_its_preflight(caller, town):
    """No browser sends a cookie with one, so an app that is called from other sites needs public paths for it."""
    asks = ("Origin", "https://other.example"), ("Access-Control-Request-Method", "PUT"), ("Sec-Fetch-Mode", "cors")
    assert caller.call("OPTIONS", f"{PHOTOS}/", *asks).status == 401
    assert caller.call("OPTIONS", f"{PHOTOS}/public/", *asks).status == 200


def test_no_answer_of_the_gate_may_be_kept(caller, town):
    for kind in (NAVIGATION, (("Accept", "*/*"),)):
        for conditional in ((), (("If-None-Match", "*"),), (("Range", "bytes=0-0"),)):
            reply = caller.call("GET", f"{PHOTOS}/", *kind, *conditional)
            assert reply.status == (302 if kind is NAVIGATION else 401)
            assert "no-store" in reply.headers["Cache-Control"]


def test_a_cache_before_the_app_lets_nobody_in(town, app):
    """nginx is told to keep all answers, whoever asks: those of the app, and not those of the gate."""
    bob = town.admitted("nginx", "bob", f"{ALBUMS}/kept")
    before = len(app.seen)
    assert bob.get(f"{ALBUMS}/kept").status == 200
    assert len(app.seen) == before  # it came from the cache
    for _ in range(2):
        assert town.callers["nginx"].call("GET", f"{ALBUMS}/kept").status == 401
        assert town.callers["nginx"].call("GET", f"{ALBUMS}/kept", *NAVIGATION).status == 302
        assert bob.get(f"{ALBUMS}/kept").status == 200


# What is written down


def test_what_opens_an_app_stands_in_no_log(town):
    secrets = []
    for proxy in ("nginx", "caddy"):
        visitor = town.signed_in(proxy, "bob")
        assert visitor.visit(f"{PHOTOS}/logged/{proxy}?x=1").status == 200
        opening = [urlsplit(each.url).query for each in visitor.trail if "/done?" in each.url or "/pass/" in each.url]
        program = town.program("bob", "photos")
        for shown in (f"Bearer {program}", basic(program)):
            assert town.callers[proxy].call("GET", f"{PHOTOS}/logged/{proxy}", ("Authorization", shown)).status == 200
        secrets += [*opening, program, basic(program)[6:], *visitor.jar["photos.example.org"].values()]
    assert len(secrets) == 10
    for proxy in ("nginx", "caddy"):
        wait_for(lambda proxy=proxy: f"/logged/{proxy}" in town.logs(proxy))
    logs = "".join(town.logs(proxy) for proxy in ("nginx", "caddy", "traefik")) + town.served.log.read_text()
    assert [each for each in secrets if each in logs] == []


def test_what_caddy_is_told_to_log_has_no_ticket(town, tmp_path):
    """Neither in its access log nor where it says what has failed: the printed file alone, and nobody listens."""
    port = free_port()
    text = town.printed["caddy"]["broken"].replace("{\n\tlog", "{\n\tadmin off\n\tauto_https off\n\tlog", 1)
    (tmp_path / "Caddyfile").write_text(text.replace(f"{BROKEN} {{", f"http://127.0.0.1:{port} {{\n\tlog"))
    command = [require("caddy", "caddy"), "run", "--config", str(tmp_path / "Caddyfile")]
    with town.fake.gone(), test_proxies.running(command, tmp_path):
        wait_for(lambda: is_open(port))
        for path in ("/.invite/broken/done?a-ticket", "/page?of=the-app"):
            with closing(HTTPConnection("127.0.0.1", port)) as connection:
                connection.request("GET", path)
                assert connection.getresponse().status == 502
        log = tmp_path / "said.log"
        wait_for(lambda: log.read_text().count('"/page-"') == 2)
    assert log.read_text().count('"/.invite/broken/done-"') == 2
    assert "a-ticket" not in log.read_text()


def test_what_opens_an_app_is_in_no_log_of_the_printed_caddyfile_alone(town, tmp_path):
    """Of the app's site and the service's, in one file, where the operator has asked for logs."""
    ports = {each: free_port() for each in (80, 443, 8443)}
    told = f"{{\n\tadmin off\n\tauto_https off\n\thttp_port {ports[80]}\n\tlog"
    text = town.printed["caddy"]["photos"].replace("{\n\tlog", told, 1)
    text += f"{SERVICE} {{\n\treverse_proxy 127.0.0.1:{town.served.port}\n}}\n"
    (tmp_path / "Caddyfile").write_text(proxied.caddy_sites(text, town.folder / "nginx", ports))
    command = [require("caddy", "caddy"), "run", "--config", str(tmp_path / "Caddyfile")]
    caller = Caller("alone", ports, town.callers["caddy"].context)
    with test_proxies.running(command, tmp_path), closing(caller):
        wait_for(lambda: is_open(ports[443]))
        visitor = Visitor(caller)
        visitor.jar = town.signed_in("caddy", "bob").jar
        assert visitor.visit(f"{PHOTOS}/logged").status == 200
        opening = [urlsplit(each.url).query for each in visitor.trail if "/done?" in each.url or "/pass/" in each.url]
        assert caller.call("GET", f"{PHOTOS}/seen").status == 401
        log = tmp_path / "said.log"
        wait_for(lambda: '"/seen"' in log.read_text())
    secrets = [*opening, *(value for jar in visitor.jar.values() for value in jar.values())]
    assert len(secrets) == 4
    assert [each for each in secrets if each in log.read_text()] == []
    assert '"/.invite/photos/done-"' in log.read_text()
    assert '"/pass/photos-"' in log.read_text()


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
