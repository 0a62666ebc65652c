"""The way into an app behind the gate, as a browser goes it: every step, and what others could make of each."""

import re
from urllib.parse import urlsplit

import pytest
import time_machine

import clock
from app import create_app
from conftest import MAILS, PASSWORD, make_settings
from gated import OPENED, OURS, PHOTOS, Visitor
from models import Member
from rules import accounts, changing, drafts, gate, invites, projects, sessions, tokens, way_in

WIKI = "https://wiki.example.com"
SLUGS = {PHOTOS: "photos", WIKI: "wiki", "http://photos.lan": "photos"}
DEEP = f"{PHOTOS}/albums/2024?sort=new&q=%C3%BC%2F"


@pytest.fixture
def apps(house, root):
    """Two projects, each with an app, which belong to root."""
    with house.writing():
        for name, origins in (("Photos", [PHOTOS, "http://photos.lan"]), ("Wiki", [WIKI])):
            projects.create(accounts.named("root"), projects.ProjectDraft(name))
            gate.set_origins(name.lower(), origins)


@pytest.fixture
def join(house, apps):
    """Make somebody a member of a project."""

    def joined(name, slug="photos"):
        with house.writing() as unit:
            row = {"project": projects.find(slug), "user": accounts.named(name), "joined_at": clock.now()}
            unit.session.add(Member(id=clock.new_id(), role="member", **row))

    return joined


@pytest.fixture
def visitor(client, apps, alice):
    """A browser in which nobody is signed in yet."""
    return Visitor(client.application, SLUGS)


@pytest.fixture
def sign_in(house, settings):
    """Sign somebody in at our own host."""

    def begin(visitor, name="alice"):
        with house.writing():
            visitor.jar(OURS)[settings.cookie_name] = sessions.start_in_browser(accounts.named(name))

    return begin


@pytest.fixture
def invite(house, apps):
    """An invite to a project; its token."""

    def make(**given):
        with house.writing():
            return invites.token(invites.create(drafts.read({"project": "photos", **given}), drafts.SHELL))

    return make


def state_of(visitor):
    """The cookies in which a browser keeps what it asked for at the app."""
    return {name: value for name, value in visitor.jar(PHOTOS).items() if "invite-state-" in name}


def on_the_way(visitor, url=DEEP):
    """Where a browser stands that has come to us: the address of our page."""
    answer = visitor.once(url, **OPENED)
    entered = visitor.once(answer.location, **OPENED)
    assert (answer.status_code, entered.status_code) == (302, 302)
    return entered.location


def ticket(visitor, url=DEEP):
    """The address to which a member is led back."""
    answer = visitor.once(on_the_way(visitor, url), **OPENED)
    assert answer.status_code == 303
    return answer.location


# The visitor's way.


def test_a_member_who_is_signed_in_is_led_in_without_a_page(visitor, sign_in, join):
    join("alice")
    sign_in(visitor)
    answer = visitor.open(DEEP)
    assert (answer.status_code, answer.headers["Remote-User"]) == (200, "alice")
    assert [urlsplit(each).path for each in visitor.hops] == [
        *("/albums/2024", "/.invite/photos/enter", "/pass/photos", "/.invite/photos/done", "/albums/2024"),
    ]
    assert visitor.hops[-1] == DEEP
    assert state_of(visitor) == {}
    assert visitor.open(DEEP).status_code == 200
    assert visitor.hops == [DEEP]


def test_a_member_signs_in_and_is_where_they_wanted_to_be(visitor, join):
    join("alice")
    page = visitor.open(DEEP)
    assert (page.status_code, urlsplit(visitor.hops[-1]).path) == (200, "/pass/photos")
    assert "Sign in to open" in page.text
    assert "Photos" in page.text
    again = visitor.send(page, "/login", user="alice", password="not that one")
    assert again.status_code == 401
    answer = visitor.send(again, "/login", user="alice", password=PASSWORD)
    assert (answer.status_code, visitor.hops[-1]) == (200, DEEP)
    assert answer.headers["Remote-User"] == "alice"


def test_a_stranger_enters_a_code_registers_and_is_where_they_wanted_to_be(visitor, invite):
    token = invite(name="Nora")
    page = visitor.open(DEEP)
    asked = visitor.send(page, "/code", code="nonsense")
    assert asked.status_code == 422
    page = visitor.send(asked, "/code", code=f"{OURS}/invite?{token}")
    assert "Nora, you're invited to" in re.sub("<[^>]*>", "", page.text)
    refused = visitor.send(page, "/register", user="x", password="short")
    assert refused.status_code == 422
    answer = visitor.send(refused, "/register", user="nora", password=PASSWORD)
    assert (answer.status_code, visitor.hops[-1]) == (200, DEEP)
    assert answer.headers["Remote-User"] == "nora"


def test_who_has_an_account_enters_a_code_and_signs_in_or_accepts(visitor, sign_in, invite):
    token = invite()
    page = visitor.send(visitor.open(DEEP), "/code", code=token)
    (link,) = re.findall('href="(/login[^"]*)"', page.text)
    page = visitor.open(f"{OURS}{link.replace('&amp;', '&')}")
    page = visitor.send(page, "/login", user="alice", password=PASSWORD)
    assert "Accept as" in page.text
    answer = visitor.send(page, "/accept")
    assert (answer.status_code, visitor.hops[-1]) == (200, DEEP)


def test_who_is_no_member_is_told_which_account_it_is_and_may_take_another(visitor, sign_in, join, invite, charlie):
    join("charlie")
    sign_in(visitor)
    page = visitor.open(DEEP)
    assert page.status_code == 403
    assert "You are signed in as <bdi>alice</bdi>" in page.text
    joined = visitor.send(page, "/logout")
    assert "Sign in to open" in joined.text
    answer = visitor.send(joined, "/login", user="charlie", password=PASSWORD)
    assert (answer.headers["Remote-User"], visitor.hops[-1]) == ("charlie", DEEP)


def test_who_is_no_member_enters_a_code_and_accepts(visitor, sign_in, invite):
    sign_in(visitor)
    page = visitor.send(visitor.open(DEEP), "/code", code=invite())
    answer = visitor.send(page, "/accept")
    assert (answer.status_code, visitor.hops[-1]) == (200, DEEP)


@pytest.mark.parametrize("given", [{"approve": True}, {"project": "wiki"}])
def test_who_may_not_use_the_app_yet_is_not_led_back_to_it(visitor, sign_in, invite, given):
    token = invite(**given)
    sign_in(visitor)
    page = visitor.send(visitor.open(DEEP), "/code", code=token)
    visitor.send(page, "/accept")
    assert visitor.hops[-1] == f"{OURS}/welcome?{token}"


def test_who_waits_for_a_yes_is_told_so_on_the_way_in(visitor, sign_in, invite):
    token = invite(approve=True)
    sign_in(visitor)
    visitor.send(visitor.open(f"{OURS}/invite?{token}"), "/accept")
    page = visitor.open(DEEP)
    assert page.status_code == 403
    assert "approval" in page.text
    assert 'action="/code"' not in page.text


def test_where_anyone_may_register_that_leads_back_too(tmp_path, house, apps, digits):
    settings = make_settings(tmp_path / "instance", REGISTRATION="open", SMTP_URL=MAILS)
    visitor = Visitor(create_app(settings), SLUGS)
    (link,) = re.findall('href="(/register[^"]*)"', visitor.open(DEEP).text)
    page = visitor.open(f"{OURS}{link.replace('&amp;', '&')}")
    page = visitor.send(page, "/register/start", email="nora@example.org")
    page = visitor.send(page, "/verify", code=digits())
    page = visitor.send(page, "/register/password", password=PASSWORD)
    assert urlsplit(visitor.hops[-1]).path == "/pass/photos"
    assert "You are not a member of" in page.text


def test_an_invite_to_an_app_ends_with_the_way_into_it(visitor, invite):
    token = invite()
    page = visitor.open(f"{OURS}/invite?{token}")
    page = visitor.send(page, "/register", user="nora", password=PASSWORD)
    assert urlsplit(visitor.hops[-1]).path == "/welcome"
    assert f'<a class="button" href="{PHOTOS}/">Open <bdi>Photos</bdi></a>' in page.text
    assert "You may close this page" not in page.text
    assert visitor.open(f"{PHOTOS}/").headers["Remote-User"] == "nora"
    again = visitor.open(f"{OURS}/invite?{invite()}")
    assert "Open <bdi>Photos</bdi>" in again.text


def test_where_an_invite_names_a_link_that_is_where_it_ends(visitor, invite):
    token = invite(redirect_url="https://start.example.org/")
    page = visitor.open(f"{OURS}/invite?{token}")
    page = visitor.send(page, "/register", user="nora", password=PASSWORD)
    assert "https://start.example.org/" in page.text
    assert "Open <bdi>Photos</bdi>" not in page.text


def test_a_second_app_needs_a_pass_of_its_own_and_gets_it_without_a_page(visitor, sign_in, join):
    join("alice")
    join("alice", "wiki")
    sign_in(visitor)
    visitor.open(DEEP)
    answer = visitor.open(f"{WIKI}/start")
    assert (answer.status_code, visitor.hops[-1], len(visitor.hops)) == (200, f"{WIKI}/start", 5)
    assert visitor.jar(WIKI).keys() == {"__Host-invite-pass-wiki"}
    assert visitor.jar(PHOTOS).keys() == {"__Host-invite-pass-photos"}


def test_two_apps_on_one_host_keep_their_passes_apart(client, house, sign_in, join, alice):
    join("alice")
    join("alice", "wiki")
    with house.writing():
        gate.set_origins("wiki", [PHOTOS])
    visitor = Visitor(client.application, {PHOTOS: "photos"})
    sign_in(visitor)
    visitor.open(DEEP)
    visitor.slugs[PHOTOS] = "wiki"  # what stands under another path
    assert visitor.open(f"{PHOTOS}/wiki/").status_code == 200
    assert len(visitor.hops) == 5
    assert visitor.jar(PHOTOS).keys() == {"__Host-invite-pass-photos", "__Host-invite-pass-wiki"}
    visitor.slugs[PHOTOS] = "photos"
    assert visitor.open(DEEP).status_code == 200
    assert visitor.hops == [DEEP]


def test_tabs_that_are_opened_together_all_arrive(visitor, join):
    join("alice")
    pages = [f"{PHOTOS}/{number}?tab" for number in range(8)]
    standing = [on_the_way(visitor, each) for each in pages]
    visitor.send(visitor.open(standing[0]), "/login", user="alice", password=PASSWORD)
    assert visitor.hops[-1] == pages[0]
    for page, address in zip(pages[1:], standing[1:], strict=True):
        assert visitor.open(address).status_code == 200
        assert visitor.hops[-1] == page
    assert state_of(visitor) == {}


def test_an_app_over_plain_http_has_cookies_without_the_prefix(visitor, sign_in, join):
    join("alice")
    sign_in(visitor)
    assert visitor.open("http://photos.lan/a").status_code == 200
    assert visitor.jar("http://photos.lan").keys() == {"invite-pass-photos"}


def test_where_our_own_address_has_a_path_the_way_is_the_same(tmp_path, house, apps, alice, join, invite):
    settings = make_settings(tmp_path / "instance", PUBLIC_URL=f"{OURS}/invites")
    visitor = Visitor(create_app(settings), SLUGS, root="/invites")
    page = visitor.open(DEEP)
    page = visitor.send(page, "/invites/code", code=invite())
    answer = visitor.send(page, "/invites/register", user="nora", password=PASSWORD)
    assert (answer.status_code, visitor.hops[-1]) == (200, DEEP)
    page = visitor.open(f"{PHOTOS}/.invite/photos/leave")
    assert visitor.hops[-1] == f"{OURS}/invites/logout"
    visitor.send(page, "/invites/logout")
    assert visitor.once(DEEP).status_code == 401


def test_signing_out_at_the_app_is_a_form_at_ours(visitor, sign_in, join):
    join("alice")
    sign_in(visitor)
    visitor.open(DEEP)
    page = visitor.open(f"{PHOTOS}/.invite/photos/leave")
    assert visitor.hops[-1] == f"{OURS}/logout"
    assert "You are signed in as <bdi>alice</bdi>" in page.text
    assert visitor.once(DEEP).status_code == 200
    visitor.send(page, "/logout")
    assert visitor.once(DEEP).status_code == 401
    assert "You are not signed in" in visitor.open(f"{PHOTOS}/.invite/photos/leave").text


# When it goes wrong.


def test_a_browser_that_keeps_no_cookies_gets_a_page_and_goes_in_no_circle(client, house, apps, alice, join, sign_in):
    join("alice")
    visitor = Visitor(client.application, SLUGS, keeps=False)
    sign_in(visitor)
    page = visitor.open(DEEP)
    assert page.status_code == 400
    assert urlsplit(visitor.hops[-1]).path == "/.invite/photos/done"
    assert "allow cookies" in page.text


def test_a_proxy_that_keeps_the_pass_from_the_gate_is_named(visitor, sign_in, join):
    join("alice")
    sign_in(visitor)
    visitor.open(DEEP)
    enter = f"{PHOTOS}/.invite/photos/enter?/albums"
    led = visitor.once(enter, **OPENED)  # the gate has refused the pass that is here
    assert (led.status_code, led.location) == (303, f"{PHOTOS}/albums")
    page = visitor.once(enter, **OPENED)
    assert page.status_code == 400
    assert "the proxy in front of this app does not send the cookies" in page.text
    with time_machine.travel(clock.now() + way_in.MARK_LIFETIME, tick=False):
        assert visitor.once(enter, **OPENED).status_code == 303


def test_tabs_that_come_after_the_pass_was_set_arrive_as_well(visitor, sign_in, join):
    join("alice")
    sign_in(visitor)
    enters = [visitor.once(f"{PHOTOS}/{number}", **OPENED).location for number in range(5)]
    assert visitor.open(f"{PHOTOS}/first").status_code == 200
    for number, each in enumerate(enters):  # they were refused before it was there
        assert visitor.open(each).status_code == 200
        assert visitor.hops == [each, f"{PHOTOS}/{number}"]


def test_the_way_in_is_only_at_the_apps_own_host(client, apps):
    for host in (None, "evil.example", "photos.example.org:8443"):
        headers = {"X-Forwarded-Host": host, **OPENED} if host else OPENED
        for step in ("enter", "done"):
            answer = client.get(f"/.invite/photos/{step}?/", headers=headers)
            assert answer.status_code == 403
            assert not {"Location", "Set-Cookie"} & {*answer.headers.keys()}


def test_pages_at_the_apps_host_load_nothing_from_there_and_say_nothing_of_the_visitor(visitor, sign_in, join, client):
    join("alice")
    sign_in(visitor)
    visitor.open(DEEP)
    visitor.once(f"{PHOTOS}/.invite/photos/enter?/")
    pages = [
        visitor.once(f"{PHOTOS}/.invite/photos/enter?/"),
        visitor.once(f"{PHOTOS}/.invite/photos/done?x"),
        visitor.once(f"{PHOTOS}/.invite/nothing/enter?/"),
        visitor.once(f"{PHOTOS}/.invite/photos/nothing", **OPENED),
        visitor.once(f"{PHOTOS}/.invite/", **OPENED),
        client.post("/.invite/photos/enter", headers={"X-Forwarded-Host": "photos.example.org"}),
    ]
    assert [each.status_code for each in pages] == [400, 400, 403, 404, 404, 405]
    for page in pages:
        assert page.mimetype == "text/html"
        links = [
            each for each in re.findall('(?:src|href|action)="([^"]*)"', page.text) if not each.startswith("data:")
        ]
        assert links == ["/"]
        assert not re.search("<form|<script|alice|Photos|@import|url[(]", page.text)
        policy = page.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'")
        assert "form-action 'none'" in policy
        assert page.headers["Cache-Control"] == "no-store"


def test_the_pages_at_the_apps_host_are_in_the_readers_language(visitor):
    page = visitor.once(f"{PHOTOS}/.invite/photos/done?x", **{"Accept-Language": "de"})
    assert '<html lang="de"' in page.text
    assert "Cookies" in page.text


def test_without_a_state_our_page_links_to_the_app(visitor, sign_in):
    sign_in(visitor)
    for query in ("", "?", "?x", "?x.y", "?%00", "?\u00fc"):
        page = visitor.open(f"{OURS}/pass/photos{query}")
        assert page.status_code == 200
        assert f'href="{PHOTOS}/"' in page.text
        assert 'action="/login"' not in page.text


def test_a_state_that_is_over_or_of_another_app_is_none(visitor, house, sign_in, join):
    join("alice")
    sign_in(visitor)
    address = on_the_way(visitor)
    with time_machine.travel(clock.now() + way_in.LIFETIME, tick=False):
        assert "This link has expired" in visitor.open(address).text
    other = visitor.open(address.replace("/pass/photos", "/pass/wiki"))
    assert f'href="{WIKI}/"' in other.text
    with house.writing():
        gate.set_origins("photos", ["https://new.example.org"])
    assert 'href="https://new.example.org/"' in visitor.open(address).text
    with house.writing():
        gate.set_origins("photos", [])
    assert visitor.open(address).status_code == 404


def test_there_is_no_way_to_a_project_without_an_app(visitor, house):
    with house.writing():
        projects.create(accounts.named("alice"), projects.ProjectDraft("Tea"))
    for slug, status in (("nothing", 404), ("tea", 404), ("%00", 400), ("x" * 300, 404)):
        assert visitor.open(f"{OURS}/pass/{slug}").status_code == status


# What was asked for is kept, and leads nowhere else.

# What the proxy says was asked for, and what is kept of it.
PATHS = [
    ("/", "/"),
    ("/albums?a=1&b=%2F%2f&c=?x", "/albums?a=1&b=%2F%2f&c=?x"),
    ("/a%0d%0aSet-Cookie:x", "/a%0d%0aSet-Cookie:x"),
    ("/%2f%2fevil.example", "/%2f%2fevil.example"),
    ("/%5cevil.example", "/%5cevil.example"),
    ("/.//evil.example", "/.//evil.example"),
    ("/@evil.example", "/@evil.example"),
    ("/a//b\\c", "/a//b\\c"),
    ("/\u00c3\u00bc", "/%C3%BC"),  # ü in UTF-8, as WSGI has it
    ("/a b", "/a%20b"),
    (f"/{'x' * 1999}", f"/{'x' * 1999}"),
    (f"/{'x' * 2000}", "/"),
    ("//evil.example", "/"),
    ("///evil.example", "/"),
    ("/\\evil.example", "/"),
    ("\\/evil.example", "/"),
    ("/\tx", "/"),
    ("/\x0b/evil.example", "/"),
    ("/x\x7f", "/"),
    ("https://evil.example/", "/"),
    ("http:evil.example", "/"),
    ("@evil.example", "/"),
    (".evil.example", "/"),
    (":80@evil.example/", "/"),
    ("javascript:alert(1)", "/"),
    ("evil", "/"),
    ("?x", "/"),
    ("*", "/"),
    ("", "/"),
]


def arrives(visitor, address, kept):
    """Whether a browser without a pass that opens this address comes to what was kept, and nowhere else meanwhile."""
    visitor.jar(PHOTOS).clear()
    assert visitor.open(address).status_code == 200, address
    assert {urlsplit(each)[:2] for each in visitor.hops} == {urlsplit(each)[:2] for each in (PHOTOS, OURS)}
    return visitor.hops[-1] == f"{PHOTOS}{kept}"


def test_what_was_asked_for_leads_to_the_app_and_nowhere_else(client, visitor, sign_in, join):
    join("alice")
    sign_in(visitor)
    for asked, kept in PATHS:
        told = {"X-Forwarded-Host": "photos.example.org", "X-Forwarded-Uri": asked, **OPENED}
        answer = client.get("/gate/photos?redirect", headers=told)
        assert answer.location == f"{PHOTOS}/.invite/photos/enter?{kept}"
        assert arrives(visitor, answer.location, kept)


def test_whoever_writes_the_address_of_the_way_in_leads_nobody_elsewhere(visitor, sign_in, join):
    join("alice")
    sign_in(visitor)
    for asked, kept in PATHS:
        if asked.isascii() and asked.isprintable() and " " not in asked:
            assert arrives(visitor, f"{PHOTOS}/.invite/photos/enter?{asked}", kept)


def test_neither_state_nor_ticket_says_what_was_asked_for(visitor, sign_in, join):
    join("alice")
    sign_in(visitor)
    hidden = f"{PHOTOS}/a-very-private-album"
    visitor.open(hidden)
    for address in (each for each in visitor.hops if "/pass/" in each or "/done" in each):
        text = urlsplit(address).query
        shown = [tokens.unsign(purpose, text) for purpose in ("gate state", "gate ticket")]
        assert any(shown)
        assert "private" not in f"{address}{shown}"


def test_a_browser_keeps_few_states(visitor, sign_in, join):
    join("alice")
    for number in range(40):
        last = on_the_way(visitor, f"{PHOTOS}/{number}/{clock.random_hex(number * 20)}")
        kept = state_of(visitor)
        assert len("; ".join(f"{name}={value}" for name, value in kept.items())) < 7000
    sign_in(visitor)
    assert visitor.open(last).status_code == 200
    assert visitor.hops[-1].startswith(f"{PHOTOS}/39/")
    with time_machine.travel(clock.now() + way_in.LIFETIME, tick=False):
        visitor.jar(PHOTOS).pop("__Host-invite-pass-photos")
        on_the_way(visitor)
    assert len(state_of(visitor)) == 1


def test_twenty_tabs_are_not_too_many(visitor, sign_in, join):
    join("alice")
    standing = [on_the_way(visitor, f"{PHOTOS}/albums/{number}") for number in range(20)]
    sign_in(visitor)
    assert [visitor.open(each).status_code for each in standing] == [200] * 20


# What others could make of it.


def flipped(text):
    """A text with each of its bits flipped, where that leaves what may stand in a cookie and an address."""
    for place, each in enumerate(text):
        for bit in range(7):
            other = chr(ord(each) ^ 1 << bit)
            if other.isalnum() or other in "-_.~!":
                yield f"{text[:place]}{other}{text[place + 1 :]}"


@pytest.mark.any_database
@pytest.mark.long
def test_each_bit_of_a_state_counts(visitor, sign_in, join):
    join("alice")
    sign_in(visitor)
    address, _, state = on_the_way(visitor).partition("?")
    answers = {visitor.once(f"{address}?{each}", **OPENED).status_code for each in flipped(state)}
    assert answers == {200}  # the page that links to the app, and no ticket
    assert visitor.once(f"{address}?{state}", **OPENED).status_code == 303


@pytest.mark.any_database
@pytest.mark.long
def test_each_bit_of_a_ticket_counts(visitor, sign_in, join):
    join("alice")
    sign_in(visitor)
    address, _, text = ticket(visitor).partition("?")
    assert {visitor.once(f"{address}?{each}").status_code for each in flipped(text)} == {400}
    assert visitor.once(f"{address}?{text}").location == DEEP


@pytest.mark.any_database
@pytest.mark.long
def test_each_bit_of_what_the_browser_keeps_counts(visitor, sign_in, join):
    join("alice")
    sign_in(visitor)
    address = ticket(visitor)
    ((name, value),) = state_of(visitor).items()
    for each in flipped(value):
        visitor.jar(PHOTOS)[name] = each
        assert visitor.once(address).status_code == 400
    visitor.jar(PHOTOS)[name] = value
    assert visitor.once(address).location == DEEP


def test_a_ticket_is_good_once_and_for_a_minute(visitor, sign_in, join):
    join("alice")
    sign_in(visitor)
    address = ticket(visitor)
    with time_machine.travel(clock.now() + way_in.TICKET_LIFETIME, tick=False):
        assert visitor.once(address).status_code == 400
    assert visitor.once(address).status_code == 303
    replayed = visitor.once(address)
    assert replayed.status_code == 400
    assert "Set-Cookie" not in replayed.headers


def test_a_ticket_is_good_for_its_app_and_origin_alone(client, visitor, house, sign_in, join):
    join("alice")
    join("alice", "wiki")
    with house.writing():
        gate.set_origins("wiki", [PHOTOS, WIKI])
    sign_in(visitor)
    address = ticket(visitor)
    _, _, text = address.partition("?")
    for origin, slug in ((PHOTOS, "wiki"), (WIKI, "wiki"), ("http://photos.lan", "photos")):
        visitor.jars[str(urlsplit(origin).hostname)] = {
            name.replace("photos", slug): value for name, value in visitor.jar(PHOTOS).items()
        } | visitor.jar(PHOTOS)
        other = visitor.once(f"{origin}/.invite/{slug}/done?{text}")
        assert other.status_code == 400, (origin, slug)
    assert visitor.once(address).status_code == 303


def test_somebody_elses_ticket_signs_nobody_in(client, visitor, house, sign_in, join, charlie):
    """Login CSRF: the attacker's ticket, behind a link, would have a victim use the app as the attacker."""
    join("alice")
    join("charlie")
    attacker = Visitor(client.application, SLUGS)
    sign_in(attacker, "charlie")
    sign_in(visitor)
    victims, attackers = ticket(visitor), ticket(attacker)
    page = visitor.open(attackers)
    assert page.status_code == 400
    assert not any("invite-pass" in name for name in visitor.jar(PHOTOS))
    assert attacker.open(victims).status_code == 400  # nor is a ticket that was seen of use to another browser
    assert visitor.open(victims).headers["Remote-User"] == "alice"


def test_somebody_elses_state_leads_nobody_in(client, visitor, sign_in, join):
    join("alice")
    attacker = Visitor(client.application, SLUGS)
    sign_in(visitor)
    page = visitor.open(on_the_way(attacker, f"{PHOTOS}/delete-everything"))
    assert page.status_code == 400
    assert not visitor.jar(PHOTOS)


def test_a_session_that_ends_meanwhile_opens_nothing(visitor, house, sign_in, join):
    join("alice")
    sign_in(visitor)
    address = ticket(visitor)
    with house.writing():
        sessions.end_all(accounts.named("alice"))
    visitor.once(address)
    assert visitor.once(DEEP).status_code == 401


@pytest.mark.parametrize("what", ["removed", "disabled", "signed out"])
def test_whoever_may_no_longer_use_the_app_is_refused_at_the_next_request(visitor, house, sign_in, join, root, what):
    join("alice")
    sign_in(visitor)
    assert visitor.open(DEEP).status_code == 200
    with house.writing():
        user = accounts.named("alice")
        if what == "removed":
            manager = projects.of_manager("photos", accounts.named("root"))
            projects.remove(manager, projects.find_member(manager.project, user).id)
        elif what == "disabled":
            accounts.disable(user)
        else:
            sessions.end_all(user)
    wanted = 403 if what == "removed" else 401
    for headers in ({"Sec-Fetch-Mode": "cors"}, {"Sec-Fetch-Mode": "no-cors"}, {}):
        assert visitor.once(f"{PHOTOS}/data", **headers).status_code == wanted
    assert visitor.once(f"{PHOTOS}/data", method="POST", **OPENED).status_code == wanted
    page = visitor.open(DEEP)
    assert urlsplit(visitor.hops[-1]).path == "/pass/photos"
    assert page.status_code == (403 if what == "removed" else 200)


# What forms may lead to.


def policy(answer):
    return re.search("form-action ([^;]*)", answer.headers["Content-Security-Policy"])[1]


def test_only_pages_whose_forms_lead_back_to_an_app_name_it(visitor, invite):
    token = invite()
    then = urlsplit(on_the_way(visitor))
    way = f"{then.path}?{then.query}"
    for path in (f"/login?then={way}", f"/invite?{token}&then={way}", f"/register?t={token}&then={way}", way):
        page = visitor.once(f"{OURS}{path}")
        assert page.status_code == 200
        assert policy(page) == f"'self' {PHOTOS}"
    for path in (f"/login?then={way}x", "/login?then=/account", f"/invite?{token}", "/login?then=https://evil.example"):
        assert policy(visitor.once(f"{OURS}{path}")) == "'self'"


# What a link to our page for signing in could say that it leads to.
ELSEWHERE = [
    *("https://evil.example", "//evil.example", "/pass/nowhere", "/pass/photos?x", "/pass/photos?x.y", "/logout"),
    *("/pass/photos/../../evil?x", "/.invite/photos/enter?/", "/pass/wiki?STATE", "/pass/photos?STATE%23x"),
]


def test_signing_in_leads_nowhere_that_is_not_ours(visitor, sign_in):
    state = urlsplit(on_the_way(visitor)).query
    for then in ELSEWHERE:
        page = visitor.open(f"{OURS}/login?then={then.replace('STATE', state)}")
        visitor.send(page, "/login", user="alice", password=PASSWORD)
        assert urlsplit(visitor.hops[-1]).path == "/", then
        visitor.jar(OURS).clear()


def test_who_signs_in_for_an_app_that_has_gone_meanwhile_is_at_ours(visitor, house):
    there = urlsplit(on_the_way(visitor))
    address = f"{OURS}/login?then={there.path}?{there.query}"
    page = visitor.open(address)
    assert "Sign in to open" in page.text
    with house.writing():
        gate.set_origins("photos", [])
    again = visitor.send(page, "/login", user="alice", password="not that one")
    assert (again.status_code, "/pass/" in again.text) == (401, False)
    assert PHOTOS not in again.headers["Content-Security-Policy"]
    assert visitor.send(page, "/login", user="alice", password=PASSWORD).status_code == 200
    assert urlsplit(visitor.hops[-1]).path == "/"
    late = visitor.open(address)
    assert (late.status_code, "/pass/" in late.text) == (200, False)


def test_who_signs_out_for_an_app_that_has_gone_meanwhile_is_at_ours(visitor, house, sign_in):
    sign_in(visitor)
    page = visitor.open(DEEP)
    with house.writing():
        gate.set_origins("photos", [])
    assert visitor.send(page, "/logout").status_code == 200
    assert visitor.hops[-1] == f"{OURS}/"


def test_an_app_that_has_gone_meanwhile_costs_no_use(visitor, house, sign_in, invite, stored):
    token = invite()
    sign_in(visitor)
    page = visitor.send(visitor.open(DEEP), "/code", code=token)
    with house.writing():
        gate.set_origins("photos", [])
    visitor.send(page, "/accept")
    assert visitor.hops[-1] == f"{OURS}/welcome?{token}"
    assert stored()[0].uses == 1


def test_from_a_dead_invitation_another_code_leads_on_to_the_app(visitor, house, sign_in, invite):
    dead, good = invite(), invite()
    with house.writing():
        changing.revoke(invites.find(dead))
    sign_in(visitor)
    page = visitor.send(visitor.open(DEEP), "/code", code=dead)
    assert page.status_code == 404
    page = visitor.send(page, "/code", code=good)
    visitor.send(page, "/accept")
    assert visitor.hops[-1] == DEEP
