"""Using an invite: once, in time, by whom it is for, and by nothing else. Each is what went wrong elsewhere."""

import re

import pytest
import time_machine

import clock
from app import ROUTES, create_app
from conftest import PASSWORD, Browser, Person, make_settings
from rules import accounts, changing, drafts, invites, keys, legacy, registration, resets, sessions, tokens
from test_durability import race
from web.map import Work

pytestmark = pytest.mark.long

RACERS = 64
WAYS = ["form", "own_form", "registration", "accept", "page"]
LOOKS = ["/invite?{}", "/invite?token={}", "/register?t={}", "/qr?{}", "/invites/{}"]


@pytest.mark.long
def test_of_64_who_come_through_different_doors_at_once_one_is_in(house, ways, uses):
    """CVE-2026-32602: an invite was checked, an account made, and the invite deleted, one after the other."""
    with house.writing():
        code = legacy.create(drafts.SHELL)
        token = invites.token(legacy.find_active(code))
    doors = [ways.form, ways.own_form, ways.registration, ways.accept, ways.page]
    attempts = [door(token) for door in doors for _ in range(RACERS // 6)]
    attempts += [ways.code(code) for _ in range(RACERS - len(attempts))]
    assert race(lambda number: attempts[number](), RACERS).count(True) == uses() == 1


@pytest.mark.long
def test_an_edited_cookie_does_not_revive_a_used_invite(client, settings, ways, make_invite, rows):
    """CVE-2022-23485: a cookie kept from the first use, or edited to name the invite, let somebody in once more."""
    token = make_invite()
    first = Browser(client.application.test_client())
    assert "/welcome?" in first.post("/register", token=token, user="anne", password=PASSWORD).location
    kept = first.client.get_cookie(settings.cookie_name).value
    before = rows("users", "invites", "redemptions")
    access = tokens.unsign("cookie", kept)
    forged = [kept, token, tokens.sign("cookie", token), tokens.sign("cookie", [access, token])]
    forged += [tokens.sign("cookie", f"{access}&invite={token}"), kept + "&" + token]
    for value in forged:
        for name in (settings.cookie_name, "invite", "pending-invite", "invite_token", "session"):
            late = Browser(client.application.test_client())
            late.client.set_cookie(name, value)
            late.post("/accept", token=token)
            late.post("/register", token=token, user="eve", password=PASSWORD)
            late.client.post(f"/invites/{token}/accept", json={}, headers={"Sec-Fetch-Site": "same-origin"})
    assert rows("users", "invites", "redemptions") == before


def test_no_cookie_has_an_invite_in_it(browser, make_invite):
    """CVE-2022-23485: there is nothing to edit, since what invites somebody is in no cookie."""
    token = make_invite()
    for path in LOOKS:
        answer = browser.client.get(path.format(token), headers={"Sec-Fetch-Site": "none"})
        assert "Set-Cookie" not in answer.headers
    set_ = [
        browser.post("/register", token=token, user="anne", password=PASSWORD),
        browser.sign_in("alice", token=make_invite()),
    ]
    for answer in set_:
        value = answer.headers["Set-Cookie"].partition("=")[2].partition(";")[0]
        assert tokens.unsign("cookie", value).startswith("hitkey_")
        assert len(value) < 4000  # so that every browser keeps it


@pytest.mark.parametrize("way", WAYS)
def test_an_invite_is_over_on_the_second_with_nothing_to_sweep_it(ways, make_invite, uses, way):
    """CVE-2025-64708: an expired invitation worked until a task had deleted it."""
    end = clock.now().replace(microsecond=0) + clock.HOUR
    with time_machine.travel(end - clock.HOUR, tick=False):
        token = make_invite(ttl="1h", uses=2)
    for moment, good in ((end + clock.SECOND, False), (end, False), (end - clock.SECOND, True)):
        with time_machine.travel(moment, tick=False):
            assert getattr(ways, way)(token)() is good
    assert uses() == 1


@pytest.mark.parametrize("look", [*LOOKS, "verify", "short code", "validate"])
def test_nothing_shows_an_invite_as_good_after_its_last_second(client, house, look):
    """CVE-2025-64708: likewise for everything that only looks."""
    end = clock.now().replace(microsecond=0) + clock.HOUR
    with time_machine.travel(end - clock.HOUR, tick=False), house.writing():
        code = legacy.create(drafts.SHELL)
        invite = legacy.find_active(code)
        invite.expires_at = end
        token = invites.token(invite)
    asked = {
        "verify": lambda: client.post("/api/invites/verify", json={"token": token}).status_code,
        "short code": lambda: client.post("/code", data={"code": code}).status_code == 303 and 200,
        "validate": lambda: client.post("/api/invite/validate", json={"code": code}).status_code,
    }
    ask = asked.get(look) or (lambda: client.get(look.format(token)).status_code)
    for moment, good in ((end + clock.SECOND, False), (end, False), (end - clock.SECOND, True)):
        with time_machine.travel(moment, tick=False):
            assert (ask() == 200) is good


def wrong_kinds(house, token, person):
    """Every other secret that this place gives out, and what is nearly the token."""
    with house.writing():
        user = accounts.named(person.name)
        invite = invites.find(token)
        code = legacy.create(drafts.SHELL)
        return {
            "an access token": person.pair.access,
            "a refresh token": person.pair.refresh,
            "a cookie": sessions.start_in_browser(user),
            "a form's token": sessions.form_token(None),
            "a link for a new password": resets.link(user).partition("?")[2],
            "a key": keys.create("x"),
            "a short code": code,
            "its id": invite.id,
            "its nonce": invite.nonce,
            "its hash": invite.token_hash,
            "a mailed token that was never mailed": tokens.mail_token(invite.nonce),
            "in capitals": token.upper(),
            "with a letter more": token + "0",
            "cut short": token[:-1],
            "a pattern": "%" * 64,
            "any": "_" * 64,
            "nothing": "",
        }


@pytest.mark.long
@pytest.mark.parametrize("way", WAYS)
def test_no_way_in_passes_over_what_an_invite_is(house, ways, make_invite, rows, way, charlie):
    """CVE-2021-43791: one way to register did not ask whether the confirmation had expired."""
    use = getattr(ways, way)
    dead = {"expired": make_invite(ttl="1h"), "used": make_invite(), "revoked": make_invite()}
    assert ways.form(dead["used"])()
    with house.writing():
        changing.revoke(invites.find(dead["revoked"]))
    dead |= wrong_kinds(house, make_invite(), charlie)
    with time_machine.travel(clock.now() + 2 * clock.HOUR, tick=False):
        charlie.sign_in()
        person = {"person": charlie} if way in ("accept", "page") else {}
        before = rows("invites", "redemptions", "members")
        let_in = [name for name, token in dead.items() if use(token, **person)()]
        assert let_in == []
        assert rows("invites", "redemptions", "members") == before


# What may change an invite: it makes, uses or manages one. A short code is looked at before it is counted right.
CHANGES_INVITES = {
    *("/invites_api", "/api/invite", "/api/admin/invites", "/api/invite/generate", "/api/invite/validate"),
    *("/invites/<token>/accept", "/auth/register/with-invite", "/accept", "/register"),
    *("/projects/<slug>/invites", "/projects/<slug>/invites/<invite_id>", "/projects/<slug>/members/<member_id>"),
    *(
        "/admin/invites",
        "/admin/invites/new/list",
        "/admin/invites/<invite_id>/revoke",
        "/admin/invites/<invite_id>/extend",
    ),
    *("/admin/invites/<invite_id>/send", "/admin/invites/<invite_id>/rotate", "/admin/projects/<slug>/delete"),
    *("/admin/people/<user_id>/disable", "/admin/people/<user_id>/delete", "/account/delete"),
}


NOT_ABOUT_INVITES = [
    row
    for rows in ROUTES.values()
    for row in rows
    if row.work in (Work.WRITES, Work.OWN) and row.path not in CHANGES_INVITES and not row.path.endswith("/logout")
]
DONE = (
    *("/auth/login", "/auth/token/refresh", "/auth/register/verify", "/auth/register/password"),
    *("/auth/password/forgot", "/auth/password/reset"),
)


class Errands:
    """What dora does who is invited, and is about something else."""

    def __init__(self, house, client) -> None:
        self.client, self.browser = client, Browser(client)
        with house.writing():
            dora = accounts.named("dora")
            self.id, pair = dora.id, sessions.start(dora)
            codes = [
                registration.create_code("verify", "dora@example.org", dora),
                registration.create_code("register", "new@example.org", None),
            ]
            hers, new = (tokens.mail_code(each.nonce) for each in codes)
            link = resets.mailed_link(dora, clock.HOUR).partition("?")[2]
        self.bearer = {"Authorization": f"Bearer {pair.access}"}
        self.body = {"email": "dora@example.org", "password": PASSWORD, "code": hers, "token": link}
        self.body |= {"refresh_token": pair.refresh, "name": "Tea"}
        newcomer = {"email": "new@example.org", "password": PASSWORD, "code": new}
        self.others = dict.fromkeys(["/auth/register/verify", "/auth/register/password"], newcomer)

    def run(self, row) -> int:
        """Send what this row of the map is for; the status of the answer."""
        path = row.path.replace("<slug>", "tea").replace("<user_id>", self.id)
        if row.guard.__name__ in ("own_form", "signed_in_form", "admin_form", "any_form"):
            return self.browser.post(path, **self.body, user="dora", ttl="1d").status_code
        headers = self.bearer if row.guard.__name__ == "signed_in" else {}
        return self.client.post(path, headers=headers, json=self.others.get(row.path, self.body)).status_code


@pytest.fixture
def dora(house) -> None:
    """An admin of the site, with two invites, one of which will have expired in a day."""
    Person(house, "dora")
    with house.writing():
        accounts.set_admin(accounts.named("dora"), True)
        for name, ttl in (("expired", "1h"), ("open", "9d")):
            invites.create(drafts.read({"email": "dora@example.org", "name": name, "ttl": ttl}), drafts.SHELL)


def test_no_flow_that_is_not_about_invites_changes_one(tmp_path, house, rows, dora):
    """CVE-2023-48220: whoever set a new password had accepted an invitation that had long expired."""
    client, reached = create_app(make_settings(tmp_path / "instance", REGISTRATION="open")).test_client(), {}
    with time_machine.travel(clock.now() + clock.DAY, tick=False):
        before, errands = rows("invites", "redemptions"), Errands(house, client)
        for row in NOT_ABOUT_INVITES:
            reached[row.path] = errands.run(row)
            assert rows("invites", "redemptions") == before, row.path
    assert {reached[path] for path in DONE} == {200}
    assert reached["/login"] == reached["/admin/people/<user_id>/admin"] == 303


SCANNERS = [
    {"Purpose": "prefetch"},
    {"Sec-Purpose": "prefetch;prerender"},
    {"X-Moz": "prefetch"},
    {"User-Agent": "Mozilla/5.0 (compatible; MSIE 9.0; Windows NT 6.1; Trident/5.0; MailScanner)"},
    {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "cross-site"},
    {"Range": "bytes=0-0"},
    {"If-None-Match": "*"},
]


@pytest.mark.long
def test_a_thousand_openings_of_a_link_change_nothing(tmp_path, house, make_invite, charlie, rows):
    """CVE-2019-1020018: a scanner that opened the link had used it up."""
    client = create_app(make_settings(tmp_path / "instance", REGISTRATION="open")).test_client()
    bound = make_invite(email="charlie@example.org")
    with house.writing():
        reset = resets.mailed_link(accounts.named("charlie"), clock.HOUR).rpartition("?")[2]
    secrets = [make_invite(), bound, make_invite(uses=5)]
    paths = [each.format(token) for token in secrets for each in (*LOOKS, "/welcome?{}", "/login?t={}")]
    paths += [f"/password/reset?{reset}", f"/?{bound}", "/verify"]
    signed_in = Browser(client.application.test_client())
    signed_in.sign_in("charlie")
    before = rows()
    visits = 0
    while visits < 1000:
        for path in paths:
            for method in ("GET", "HEAD"):
                visitor = signed_in.client if visits % 3 == 0 else client
                answer = visitor.open(path, method=method, headers=SCANNERS[visits % len(SCANNERS)])
                assert answer.status_code in (200, 303, 304, 404), path
                visits += 1
    for method in ("OPTIONS", "PUT", "DELETE", "PATCH", "TRACE"):
        for path in paths:
            assert client.open(path, method=method).status_code in (404, 405)
    assert rows() == before


def test_every_invite_ends_unless_an_admin_says_otherwise(client, house, key, alice, root, rows, settings):
    """GitLab 222349: invitations never expired."""
    ours = {"Sec-Fetch-Site": "same-origin"}
    client.post("/projects/", headers=alice.bearer, json={"name": "Tea"})
    page = Browser(client.application.test_client())
    page.sign_in("root")
    started = clock.now()
    made = [
        client.get(f"/invites_api?key={key}"),
        client.post("/invites_api", headers={"Authorization": f"Bearer {key}"}, json={"ttl": None}),
        client.post("/api/invite", headers=alice.bearer, json={"name": "Bob"}),
        client.post("/api/admin/invites", headers=root.bearer, json={"email": "bob@example.org"}),
        client.post("/api/invite/generate", headers=root.bearer),
        client.post("/projects/tea/invites", headers=alice.bearer, json={"email": "dora@example.org"}),
        page.post("/admin/invites", ours, once="once-upon-a-time", ttl=""),
    ]
    assert [each.status_code for each in made] == [201, 201, 201, 201, 200, 201, 303]
    with house.writing():
        invites.create(drafts.read({}), drafts.SHELL)
    with house.reading() as unit:
        ends = [invite.expires_at for invite in unit.session.query(invites.Invite)]
    assert len(ends) == 8
    assert all(started < end <= clock.now() + settings.invite_ttl for end in ends)
    before = rows("invites")
    for ttl in ("never", "366d", "0", "-1", "9999999999", "1e9", "inf"):
        refused = client.post("/invites_api", headers={"Authorization": f"Bearer {key}"}, json={"ttl": ttl})
        assert refused.status_code == 400, ttl
    assert rows("invites") == before


def test_a_secret_is_good_once_whatever_its_kind(tmp_path, house, alice, ways):
    """CVE-2026-28268: a link for a new password could be used again and again."""
    client = create_app(make_settings(tmp_path / "instance", REGISTRATION="open")).test_client()

    def reset(token):
        body = {"token": token, "password": "another horse battery"}
        return client.post("/auth/password/reset", json=body).status_code == 200

    def verify(digits):
        return (
            client.post("/auth/register/verify", json={"email": "new@example.org", "code": digits}).status_code == 200
        )

    def first_password(ticket):
        body = {"email": "new@example.org", "password": PASSWORD, "registration_token": ticket}
        return client.post("/auth/register/password", json=body).status_code == 200

    with house.writing():
        user = accounts.named("alice")
        links = [resets.link(user), resets.mailed_link(user, clock.HOUR)]
        short = legacy.create(drafts.SHELL)
        digits = tokens.mail_code(registration.create_code("register", "new@example.org", None).nonce)
        token = invites.token(invites.create(drafts.Draft(), drafts.SHELL))
    assert [reset(link.partition("?")[2]) for link in (*links, *links)] == [True, False, False, False]
    assert [ways.code(short)() for _ in range(2)] == [True, False]
    assert [getattr(ways, way)(token)() for way in WAYS] == [True, False, False, False, False]
    ticket = client.post("/auth/register/verify", json={"email": "new@example.org", "code": digits}).json
    assert verify(digits) is False
    assert [first_password(ticket["registration_token"]) for _ in range(2)] == [True, False]
    assert re.fullmatch(r"\d{6}", digits)
