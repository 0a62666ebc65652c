"""Our own API: each call's answers, and each refusal, by which nothing is changed."""

import json
from functools import partial
from threading import Thread
from urllib.parse import parse_qs, urlparse

import pytest

import clock
from app import create_app
from conftest import PASSWORD, make_settings
from models import Event, Invite, Letter
from rules import accounts, batches, drafts, invites, keys, presets, projects
from rules.events import TYPES

NOBODY = "5b0e0c6e-8f0e-4c59-9a57-6f3d1f6b2a10"


@pytest.fixture
def shop(house, client):
    """A program with a key that may do everything."""
    return program(house, client, *keys.SCOPES)


class Program:
    """A program with a key, or whatever else it shows."""

    def __init__(self, client, headers):
        self.client, self.headers = client, headers

    def __getattr__(self, method):
        """Call by this method; a body is JSON."""
        return lambda path, body=None: self.client.open(path, method=method.upper(), json=body, headers=self.headers)

    def create(self, **given):
        """A new invite, as it is answered."""
        made = self.post("/v1/invites", given)
        assert made.status_code == 201, made.text
        return made.json["invite"]


def program(house, client, *may):
    with house.writing():
        return Program(client, {"Authorization": f"Bearer {keys.create('shop', may=may)}"})


@pytest.fixture
def facts(rows):
    """Everything that is stored of invites, mail and what happened."""
    return partial(rows, Invite, Letter, Event)


@pytest.fixture
def garden(house, alice):
    with house.writing():
        return projects.create(accounts.named("alice"), projects.ProjectDraft("Tea Garden")).slug


def refused(answer, status, code, *fields):
    """That an answer is this refusal, and is about these fields."""
    assert (answer.status_code, answer.json["code"]) == (status, code), answer.text
    told = [(each["index"], each["field"]) if "index" in each else each["field"] for each in answer.json["errors"]]
    assert told == [*fields]


# Creating


def test_an_invite_has_what_was_asked_for_its_link_and_its_token(shop, garden):
    asked = {"name": "Anne", "email": "anne@example.org", "project": garden, "role": "member", "plan": "gold"}
    asked |= {"redirect_url": "https://app.example.org/x", "message": "Hello!\nBye", "note": "Summer", "max_uses": 5}
    asked |= {"access": "30d", "data": {"seat": 12, "tags": ["é", None]}, "approve": True}
    made = shop.create(**asked, ttl="3d")
    assert {name: made[name] for name in asked} == asked
    assert (made["state"], made["uses"], made["held"], made["waiting"]) == ("active", 0, 0, [])
    assert made["made_by"] == "API key shop"
    assert made["link"] == f"http://127.0.0.1:8080/invite?{made['token']}"
    assert shop.client.post("/api/invites/verify", json={"token": made["token"]}).json["plan"] == "gold"


def test_without_a_body_an_invite_has_the_defaults(shop):
    made = shop.post("/v1/invites").json["invite"]
    assert (made["name"], made["project"], made["plan"], made["max_uses"]) == (None, None, "solo", 1)
    assert (made["access"], made["data"], made["approve"]) == (None, None, False)
    assert shop.create(name=None, ttl=None)["name"] is None


def test_the_members_of_an_invite_are_described_and_read(client):
    schemas = client.get("/openapi.json").json["components"]["schemas"]
    assert {*schemas["InviteDraft"]["properties"]} == {*batches.MEMBERS}
    assert {*schemas["InviteDrafts"]["properties"]} == {*batches.MEMBERS, "invites"}


def test_a_ttl_may_be_a_number_of_seconds(shop, stored):
    shop.create(ttl=3600)
    assert stored()[0].expires_at - stored()[0].created_at == clock.HOUR


def test_an_invite_is_mailed_if_that_is_asked_for(shop, house):
    made = shop.create(email="anne@example.org", mail=True)
    shop.create(email="bob@example.org", mail=False)
    with house.reading() as unit:
        assert [each.invite_id for each in unit.session.query(Letter)] == [made["id"]]


def test_a_list_is_created_whole_and_answered_in_its_order(shop, stored):
    made = shop.post("/v1/invites", {"invites": [{"name": name} for name in ("Anne", "Bob", "Carol")]})
    assert made.status_code == 201
    assert [each["name"] for each in made.json["invites"]] == ["Anne", "Bob", "Carol"]
    assert {each["token"] for each in made.json["invites"]} == {invites.token(each) for each in stored()}


def test_a_list_of_a_thousand_may_have_two_mib(shop, stored):
    made = shop.post("/v1/invites", {"invites": [{"name": "Anne", "note": "x" * 1000} for _ in range(1000)]})
    assert (made.status_code, len(stored())) == (201, 1000)


def test_a_key_that_is_used_is_noted(shop, house):
    shop.create()
    with house.reading():
        assert [each.last_used_at is not None for each in keys.newest()] == [True]


def test_an_admin_alone_may_create_what_makes_an_admin(client, root, shop, facts):
    made = Program(client, root.bearer).create(makes_admin=True)
    assert (made["makes_admin"], made["made_by"]) == (True, "root")
    before = facts()
    refused(shop.post("/v1/invites", {"makes_admin": True}), 400, "INVALID", "makes_admin")
    refused(
        Program(client, root.bearer).post("/v1/invites", {"makes_admin": True, "max_uses": 2, "ttl": "2d"}),
        *(400, "INVALID", "max_uses", "ttl"),
    )
    refused(
        Program(client, root.bearer).post(
            "/v1/invites", {"makes_admin": True, "approve": True, "email": "@example.org"}
        ),
        *(400, "INVALID", "approve", "email"),
    )
    assert facts() == before


@pytest.fixture
def bound(house, client):
    """A program with a key that is bound to the preset family."""
    with house.writing():
        presets.create("family", {"plan": "gold", "uses": "3", "ttl": "2d"})
        key = keys.create("kiosk", may=["create"], preset="family")
    return Program(client, {"Authorization": f"Bearer {key}"})


def test_a_preset_says_what_is_not_given(shop, bound):
    made = shop.create(preset="family", max_uses=2)
    assert (made["plan"], made["max_uses"]) == ("gold", 2)
    several = shop.post("/v1/invites", {"invites": [{"preset": "family"}, {}]}).json["invites"]
    assert [(each["plan"], each["max_uses"]) for each in several] == [("gold", 3), ("solo", 1)]
    refused(shop.post("/v1/invites", {"preset": "no-such"}), 400, "INVALID", "preset")


def test_a_key_that_is_bound_to_a_preset_creates_and_changes_nothing_else(bound, facts):
    made = bound.create(name="Anne", note="Summer")
    assert (made["plan"], made["max_uses"]) == ("gold", 3)
    before, path = facts(), f"/v1/invites/{made['id']}"
    refused(bound.post("/v1/invites", {"plan": "solo"}), 400, "INVALID", "plan")
    refused(bound.post("/v1/invites", {"max_uses": 500}), 400, "INVALID", "max_uses")
    refused(bound.post("/v1/invites", {"invites": [{}, {"preset": "other"}]}), 400, "INVALID", (1, "preset"))
    refused(bound.patch(path, {"max_uses": 500, "ttl": "300d", "note": "x"}), 400, "INVALID", "max_uses", "ttl")
    assert facts() == before
    assert bound.patch(path, {"note": "Winter"}).json["invite"]["note"] == "Winter"


def test_a_key_that_is_bound_to_a_preset_extends_nothing_by_mailing_it_again(bound, house, client, meddle):
    with house.writing():
        key = keys.create("root", may=["create", "manage"])
    made = bound.create(email="anne@example.org", mail=True)
    bound_id, until = made["id"], made["expires_at"]
    assert bound.post(f"/v1/invites/{bound_id}/resend").json["invite"]["expires_at"] == until
    meddle("UPDATE invites SET expires_at = created_at")
    assert bound.post(f"/v1/invites/{bound_id}/resend").json["code"] == "INVITE_EXPIRED"
    manager = Program(client, {"Authorization": f"Bearer {key}"})
    assert manager.post(f"/v1/invites/{bound_id}/resend").json["invite"]["expires_at"] > until


WRONG = [
    ({"nmae": "Anne"}, "UNKNOWN_FIELD", "nmae"),
    ({"uses": 2}, "UNKNOWN_FIELD", "uses"),
    ({"is_admin": True}, "UNKNOWN_FIELD", "is_admin"),
    ({"name": 5}, "INVALID", "name"),
    ({"name": ""}, "INVALID", "name"),
    ({"name": ["Anne"]}, "INVALID", "name"),
    ({"email": "nobody"}, "INVALID", "email"),
    ({"email": ""}, "INVALID", "email"),
    ({"project": "no-such"}, "INVALID", "project"),
    ({"role": "owner"}, "INVALID", "role"),
    ({"plan": {}}, "INVALID", "plan"),
    ({"access": "30d"}, "INVALID", "access"),
    ({"access": "soon"}, "INVALID", "access"),
    ({"access": "0d"}, "INVALID", "access"),
    ({"access": "3651d"}, "INVALID", "access"),
    ({"access": ""}, "INVALID", "access"),
    ({"data": "{}"}, "INVALID", "data"),
    ({"data": ""}, "INVALID", "data"),
    ({"data": ["seat", 12]}, "INVALID", "data"),
    ({"data": {"seat": "é" * 1024}}, "INVALID", "data"),
    ({"data": {"seat": "\ud800"}}, "INVALID", "data"),
    ({"approve": "yes"}, "INVALID", "approve"),
    ({"approve": 1}, "INVALID", "approve"),
    ({"approve": ""}, "INVALID", "approve"),
    ({"email": "@"}, "INVALID", "email"),
    ({"email": "@example.org", "mail": True}, "INVALID", "email"),
    ({"redirect_url": "javascript:alert(1)"}, "INVALID", "redirect_url"),
    ({"note": "x" * 1001}, "INVALID", "note"),
    ({"makes_admin": "yes"}, "INVALID", "makes_admin"),
    ({"ttl": "soon"}, "INVALID", "ttl"),
    ({"ttl": "never"}, "INVALID", "ttl"),
    ({"ttl": True}, "INVALID", "ttl"),
    ({"max_uses": "5"}, "INVALID", "max_uses"),
    ({"max_uses": 0}, "INVALID", "max_uses"),
    ({"max_uses": 1.5}, "INVALID", "max_uses"),
    ({"max_uses": True}, "INVALID", "max_uses"),
    ({"mail": "yes", "email": "anne@example.org"}, "INVALID", "mail"),
    ({"mail": True}, "INVALID", "email"),
    ({"invites": [], "name": "Anne"}, "INVALID", "invites"),
    ({"invites": []}, "INVALID", "invites"),
    ({"invites": {}}, "INVALID", "invites"),
    ({"invites": "Anne"}, "INVALID", "invites"),
    ({"invites": [{}] * 1001}, "INVALID", "invites"),
]


@pytest.mark.parametrize(("body", "code", "field"), WRONG, ids=[json.dumps(each[0])[:60] for each in WRONG])
def test_what_cannot_be_created_is_named_and_nothing_is(shop, facts, body, code, field):
    before = facts()
    refused(shop.post("/v1/invites", body), 400, code, field)
    assert facts() == before


def test_all_that_is_wrong_is_named_at_once(shop):
    body = {"name": "<b>", "email": "x", "ttl": "soon", "max_uses": -1, "mail": 3}
    told = {each["field"] for each in shop.post("/v1/invites", body).json["errors"]}
    assert told == {"name", "email", "ttl", "max_uses", "mail"}


def test_each_wrong_one_of_a_list_is_named_by_its_place_and_none_is_created(shop, facts):
    before = facts()
    rows = [{"name": "Anne"}, {"email": "x", "ttl": "soon"}, {"project": "no-such"}, {}, "Bob"]
    wrong = (1, "email"), (1, "ttl"), (2, "project"), (4, "invites")
    refused(shop.post("/v1/invites", {"invites": rows}), 400, "INVALID", *wrong)
    rows[3] = {"nmae": "Anne"}
    answer = shop.post("/v1/invites", {"invites": rows})
    refused(answer, 400, "UNKNOWN_FIELD", *wrong[:3], (3, "nmae"), wrong[3])
    assert "[3].nmae: is unknown; did you mean name?" in answer.json["error"]
    assert facts() == before


def test_a_thousand_wrong_ones_are_all_told_to_programs_and_some_to_people(shop):
    answer = shop.post("/v1/invites", {"invites": [{"email": "x"}] * 1000})
    assert len(answer.json["errors"]) == 1000
    assert answer.json["error"].endswith("And 980 more.")


def test_what_is_unknown_is_named_so_that_it_can_be_shown(shop):
    body = '{"\\ud800\\u0000\\u202eabc": 1, "%s": 2}' % ("x" * 60_000)
    answer = shop.client.post("/v1/invites", data=body, content_type="application/json", headers=shop.headers)
    refused(answer, 400, "UNKNOWN_FIELD", "\N{REPLACEMENT CHARACTER}" * 3 + "abc", "x" * 50)


def test_more_than_two_mib_are_refused_there_and_more_than_64_kib_elsewhere(shop, facts):
    before = facts()
    for path, size, kib in (("/v1/invites", 2 * 1024, 2048), (f"/v1/invites/{NOBODY}/revoke", 64, 64)):
        answer = shop.post(path, {"note": "x" * size * 1024})
        assert (answer.status_code, answer.json["code"]) == (413, "REQUEST_ENTITY_TOO_LARGE")
        assert f"{kib} KiB" in answer.json["error"]
    assert facts() == before


@pytest.mark.parametrize(
    ("data", "kind", "status"),
    [
        (b'{"name": "Anne"}', "application/x-www-form-urlencoded", 415),
        (b"{", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"name": "a", "name": "b"}', "application/json", 400),
    ],
)
def test_a_body_that_is_no_object_of_json_is_refused(shop, stored, data, kind, status):
    answer = shop.client.post("/v1/invites", data=data, content_type=kind, headers=shop.headers)
    assert (answer.status_code, stored()) == (status, [])


# Who may


CALLS = [
    ("POST", "/v1/invites", "create"),
    ("GET", "/v1/invites", "read"),
    ("GET", "/v1/invites/{id}", "read"),
    ("PATCH", "/v1/invites/{id}", "manage"),
    ("POST", "/v1/invites/{id}/revoke", "manage"),
    ("POST", "/v1/invites/{id}/rotate", "manage"),
    ("POST", "/v1/invites/{id}/resend", "manage"),
    ("GET", "/v1/events", "read"),
]
BODIES = {"PATCH": {"note": "Hello"}}


@pytest.mark.parametrize(("method", "path", "scope"), CALLS, ids=[f"{each[0]} {each[1]}" for each in CALLS])
def test_a_call_takes_its_scope_and_an_admin_and_no_other(client, house, shop, root, alice, facts, method, path, scope):
    made = shop.create(email="anne@example.org")
    others = program(house, client, *(each for each in keys.SCOPES if each != scope))
    before, body = facts(), BODIES.get(method)
    answer = getattr(others, method.lower())(path.format(**made), body)
    assert (answer.status_code, answer.json["code"]) == (403, "SCOPE"), answer.text
    assert scope in answer.json["error"]
    answer = getattr(Program(client, alice.bearer), method.lower())(path.format(**made), body)
    assert (answer.status_code, answer.json["code"]) == (403, "FORBIDDEN")
    assert facts() == before
    for caller in (program(house, client, scope), Program(client, root.bearer)):
        assert getattr(caller, method.lower())(path.format(**made), body).status_code in (200, 201)


@pytest.mark.parametrize(("method", "path", "scope"), CALLS, ids=[f"{each[0]} {each[1]}" for each in CALLS])
def test_without_a_good_key_in_the_header_it_is_401(client, shop, browser, root, facts, method, path, scope):
    made, key = shop.create(), shop.headers["Authorization"].removeprefix("Bearer ")
    browser.sign_in("root")
    before, path = facts(), path.format(**made)
    asked = [
        client.open(path, method=method),
        client.open(f"{path}?key={key}", method=method),
        client.open(path, method=method, headers={"Authorization": f"Basic {key}"}),
        client.open(path, method=method, headers={"Authorization": f"Bearer {key[:-1]}"}),
        client.open(path, method=method, headers={"Authorization": "Bearer hitkey_nonsense"}),
        browser.client.open(path, method=method, headers={"Sec-Fetch-Site": "same-origin"}, json={}),
    ]
    assert [each.status_code for each in asked] == [401] * len(asked)
    assert {each.headers["WWW-Authenticate"] for each in asked} == {"Bearer"}
    assert {each.json["code"] for each in asked} == {"KEY_REFUSED", "UNAUTHORIZED"}
    assert facts() == before


def test_a_body_is_not_read_before_the_caller_is_known(client, shop):
    for body in (b"{", b"[" * 50_000, b'{"is_admin": true}'):
        assert client.post("/v1/invites", data=body, content_type="application/json").status_code == 401
        answer = client.post("/v1/invites", data=body, content_type="application/json", headers=shop.headers)
        assert answer.status_code == 400


def test_with_the_scope_create_a_key_changes_its_own_invites_alone(client, house, shop, facts):
    kiosk, foreign = program(house, client, "create"), shop.create(email="anne@example.org")
    own = kiosk.create(email="bob@example.org")
    before = facts()
    for method, path, scope in CALLS:
        if scope == "manage":
            answer = getattr(kiosk, method.lower())(path.format(**foreign), BODIES.get(method))
            assert (answer.status_code, answer.json["code"]) == (403, "SCOPE")
    assert facts() == before
    assert kiosk.patch(f"/v1/invites/{own['id']}", {"note": "Mine"}).json["invite"]["note"] == "Mine"
    rotated = kiosk.post(f"/v1/invites/{own['id']}/rotate").json["invite"]
    assert rotated["link"] != own["link"]
    assert kiosk.post(f"/v1/invites/{own['id']}/resend").status_code == 200
    assert kiosk.post(f"/v1/invites/{own['id']}/revoke").json["invite"]["state"] == "revoked"


def test_no_key_opens_an_invite_that_makes_an_admin_but_may_revoke_it(client, root, shop, facts):
    made = Program(client, root.bearer).create(makes_admin=True, email="anne@example.org")
    before, path = facts(), f"/v1/invites/{made['id']}"
    asked = [
        shop.get(f"{path}?link=1"),
        shop.patch(path, {"ttl": "12h"}),
        shop.post(f"{path}/rotate"),
        shop.post(f"{path}/resend"),
    ]
    assert {(each.status_code, each.json["code"]) for each in asked} == {(403, "FORBIDDEN")}
    assert facts() == before
    assert shop.get(path).status_code == 200
    assert Program(client, root.bearer).get(f"{path}?link=1").json["invite"]["link"] == made["link"]
    assert shop.post(f"{path}/revoke").json["invite"]["state"] == "revoked"


def test_a_key_that_is_deleted_while_its_list_is_checked_creates_nothing(shop, house, stored, monkeypatch):
    prepare = batches.prepare

    def delete():
        with house.writing():
            keys.delete(shop.headers["Authorization"].removeprefix("Bearer "))

    def meanwhile(*given):
        prepared = prepare(*given)
        other = Thread(target=delete)
        other.start()
        other.join()
        return prepared

    monkeypatch.setattr(batches, "prepare", meanwhile)
    answer = shop.post("/v1/invites", {"invites": [{}]})
    assert (answer.status_code, answer.json["code"], stored()) == (401, "KEY_REFUSED", [])


def test_front_ends_that_are_listed_may_call(tmp_path, house, root):
    listed = create_app(make_settings(tmp_path / "instance", CORS_ORIGINS="https://app.example.org")).test_client()
    asked = {"Origin": "https://app.example.org", "Access-Control-Request-Method": "PATCH"}
    told = listed.options(f"/v1/invites/{NOBODY}", headers=asked)
    assert (told.status_code, told.headers["Access-Control-Allow-Methods"]) == (204, "GET, PATCH")
    answer = listed.get("/v1/events", headers=root.bearer | asked)
    assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (200, "https://app.example.org")


# Reading


def pages_of(program, path):
    """All pages from there on, by their Link; each has the same `next` in its body."""
    while path:
        page = program.get(path)
        assert page.status_code == 200, page.text
        yield page.json
        link = page.headers.get("Link")
        path = link and link.removeprefix("<http://127.0.0.1:8080").partition('>; rel="next"')[0]
        following = parse_qs(urlparse(path).query)["cursor"][0] if path else None
        assert page.json["next"] == following


def test_a_list_comes_in_pages_the_newest_first(shop):
    made = [shop.create(name="Anne")["id"] for _ in range(5)]
    pages = list(pages_of(shop, "/v1/invites?limit=2"))
    assert [len(each["invites"]) for each in pages] == [2, 2, 1]
    found = [each["id"] for page in pages for each in page["invites"]]
    assert sorted(found) == sorted(made)
    assert "token" not in pages[0]["invites"][0]
    assert "link" not in pages[0]["invites"][0]


def test_a_list_is_filtered_as_that_of_the_command(client, shop, house, garden, use):
    anne = shop.create(name="Anne", email="anne@example.org", project=garden)
    used = shop.create(note="Summer")
    use(used["token"])
    with house.writing():
        invites.create(drafts.Draft(), drafts.SHELL)
    shop.post(f"/v1/invites/{shop.create()['id']}/revoke")

    def found(query):
        return [each["id"] for page in pages_of(shop, f"/v1/invites?{query}") for each in page["invites"]]

    assert found("state=used") == found("text=summer") == [used["id"]]
    assert found(f"project={garden}") == found("email=Anne@example.org") == found("text=anne") == [anne["id"]]
    assert len(found("state=revoked")) == len(found("inviter=shell")) == 1
    key_id = shop.headers["Authorization"].removeprefix("Bearer ").partition("/")[0]
    assert len(found(f"inviter={key_id}")) == len(found(f"maker={key_id}")) == 3
    refused(shop.get("/v1/invites?maker=shell&inviter=shell"), 400, "INVALID", "maker")
    assert len(found("state=active&limit=1")) == 2


def test_an_invite_is_shown_with_what_happened_to_it(shop, use, house):
    made = shop.create(name="Anne")
    user_id = use(made["token"])
    shown = shop.get(f"/v1/invites/{made['id']}").json
    assert "link" not in shown["invite"]
    assert (shown["invite"]["state"], shown["invite"]["uses"], shown["invite"]["user_id"]) == ("used", 1, user_id)
    created, *_, spent = shown["events"]
    assert (created["type"], created["actor"], created["invite_id"]) == ("invite.created", "API key shop", made["id"])
    assert (spent["type"], spent["user_id"]) == ("invite.used", user_id)


def test_the_link_is_shown_to_who_created_it_or_may_manage(client, house, shop):
    made = shop.create()
    manager, looker = program(house, client, "read", "manage"), program(house, client, "read")
    assert manager.get(f"/v1/invites/{made['id']}?link=1").json["invite"]["link"] == made["link"]
    both = program(house, client, "create", "read")
    own = both.create()
    assert both.get(f"/v1/invites/{own['id']}?link=1").json["invite"]["link"] == own["link"]
    for caller in (looker, both):
        answer = caller.get(f"/v1/invites/{made['id']}?link=1")
        assert (answer.status_code, answer.json["code"]) == (403, "SCOPE")
    refused(shop.get(f"/v1/invites/{made['id']}?link=yes"), 400, "INVALID", "link")


def test_a_link_that_is_lost_is_409(shop, meddle):
    made = shop.create()
    meddle("UPDATE invites SET nonce = 'of another master secret'")
    answer = shop.get(f"/v1/invites/{made['id']}?link=1")
    assert (answer.status_code, answer.json["code"]) == (409, "LINK_LOST")


@pytest.mark.parametrize("path", ["/v1/invites", "/v1/events"])
@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        ("limit=201", "INVALID", "limit"),
        ("limit=0", "INVALID", "limit"),
        ("limit=many", "INVALID", "limit"),
        ("limit=1&limit=2", "INVALID", "limit"),
        ("cursor=", "INVALID", "cursor"),
        ("cursor=nonsense", "INVALID", "cursor"),
        ("cursor=%C3%A9", "INVALID", "cursor"),
        ("lmit=5", "UNKNOWN_FIELD", "lmit"),
    ],
)
def test_what_a_list_cannot_do_is_named(shop, path, query, code, field):
    refused(shop.get(f"{path}?{query}"), 400, code, field)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/invites?state=open-ended", "state"),
        ("/v1/invites?project=no-such", "project"),
        ("/v1/invites?email=nobody", "email"),
        ("/v1/events?type=invite.eaten", "type"),
        ("/v1/events?invite=", "invite"),
    ],
)
def test_a_filter_that_means_nothing_is_named(shop, path, field):
    refused(shop.get(path), 400, "INVALID", field)


def test_a_cursor_of_another_list_is_refused(shop):
    for _ in range(2):
        shop.create()
    of_invites, of_events = (shop.get(f"/v1/{each}?limit=1").json["next"] for each in ("invites", "events"))
    refused(shop.get(f"/v1/events?cursor={of_invites}"), 400, "INVALID", "cursor")
    refused(shop.get(f"/v1/invites?cursor={of_events}"), 400, "INVALID", "cursor")


@pytest.mark.parametrize(("method", "path", "scope"), [each for each in CALLS if "{id}" in each[1]])
def test_an_invite_that_there_is_not_is_404(shop, method, path, scope):
    for unknown in (NOBODY, "x" * 1000, "%F0%9F%8D%B5"):
        answer = getattr(shop, method.lower())(path.format(id=unknown), BODIES.get(method))
        assert (answer.status_code, answer.json["code"]) == (404, "INVITE_NOT_FOUND")
        assert answer.json["error"] == "There is no invitation with this id."


# Changing


def told(shop, made):
    """The types of what happened to an invite, and the facts of the last of it."""
    events = shop.get(f"/v1/invites/{made['id']}").json["events"]
    return [each["type"] for each in events], events[-1]["facts"]


def test_what_is_changed_is_changed_and_told(shop, stored):
    made = shop.create(name="Anne", note="Old", max_uses=2)
    path = f"/v1/invites/{made['id']}"
    assert shop.patch(path, {"data": {"seat": 12}}).json["invite"]["data"] == {"seat": 12}
    assert told(shop, made) == (["invite.created", "invite.changed"], {"fields": ["data"]})
    assert shop.patch(path, {"data": None}).json["invite"]["data"] is None
    changed = shop.patch(path, {"name": "Anne-Marie", "note": None, "max_uses": 2}).json["invite"]
    assert (changed["name"], changed["note"], changed["max_uses"]) == ("Anne-Marie", None, 2)
    assert told(shop, made) == (["invite.created", *["invite.changed"] * 3], {"fields": ["name", "note"]})
    before = clock.now()
    longer = shop.patch(path, {"ttl": "30d"}).json["invite"]
    assert clock.iso(before + 30 * clock.DAY) <= longer["expires_at"] <= clock.iso(clock.now() + 30 * clock.DAY)
    assert told(shop, made)[1] == {"ttl": 30 * 86400}
    assert [each["id"] for each in shop.get("/v1/invites?text=marie").json["invites"]] == [made["id"]]


def test_a_name_that_is_not_ascii_is_found_after_a_change(shop):
    made = shop.create(name="Anne")
    shop.patch(f"/v1/invites/{made['id']}", {"name": "Zoë Ñúñez"})
    assert [each["id"] for each in shop.get("/v1/invites?text=ÑÚÑEZ").json["invites"]] == [made["id"]]


@pytest.mark.parametrize("body", [{}, {"name": "Anne"}, {"max_uses": 1, "note": None}])
def test_what_changes_nothing_tells_nothing(shop, facts, body):
    made = shop.create(name="Anne")
    before = facts()
    answer = shop.patch(f"/v1/invites/{made['id']}", body)
    assert (answer.status_code, answer.json["invite"]["name"]) == (200, "Anne")
    assert facts() == before


def test_an_admin_alone_lets_an_invite_live_for_ever(client, root, shop, facts):
    made = shop.create()
    before = facts()
    refused(shop.patch(f"/v1/invites/{made['id']}", {"ttl": "never"}), 400, "INVALID", "ttl")
    assert facts() == before
    answer = Program(client, root.bearer).patch(f"/v1/invites/{made['id']}", {"ttl": "never"})
    assert answer.json["invite"]["expires_at"] is None


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({"max_uses": 1}, "INVALID", "max_uses"),
        ({"max_uses": None}, "INVALID", "max_uses"),
        ({"max_uses": "3"}, "INVALID", "max_uses"),
        ({"ttl": None}, "INVALID", "ttl"),
        ({"ttl": "400d"}, "INVALID", "ttl"),
        ({"name": ""}, "INVALID", "name"),
        ({"name": 5}, "INVALID", "name"),
        ({"note": "x" * 1001}, "INVALID", "note"),
        ({"data": "{}"}, "INVALID", "data"),
        ({"data": 5}, "INVALID", "data"),
        ({"approve": True}, "UNKNOWN_FIELD", "approve"),
        ({"plan": "gold"}, "UNKNOWN_FIELD", "plan"),
        ({"maxuses": 5}, "UNKNOWN_FIELD", "maxuses"),
    ],
)
def test_what_cannot_be_changed_is_named_and_nothing_is(shop, use, facts, body, code, field):
    made = shop.create(max_uses=3)
    use(made["token"], "bob")
    use(made["token"], "carol")
    before = facts()
    refused(shop.patch(f"/v1/invites/{made['id']}", body), 400, code, field)
    assert facts() == before


def test_as_few_uses_as_there_were_are_allowed(shop, use):
    made = shop.create(max_uses=3)
    use(made["token"])
    assert shop.patch(f"/v1/invites/{made['id']}", {"max_uses": 1}).json["invite"]["state"] == "used"


@pytest.mark.parametrize(("end", "code"), [("used", "INVITE_USED"), ("revoked", "INVITE_EXPIRED")])
def test_what_is_over_is_not_changed(shop, use, facts, end, code):
    made = shop.create(email="anne@example.org")
    path = f"/v1/invites/{made['id']}"
    if end == "used":
        use(made["token"])
    else:
        shop.post(f"{path}/revoke")
    before = facts()
    asked = shop.patch(path, {"ttl": "3d"}), shop.post(f"{path}/rotate"), shop.post(f"{path}/resend")
    assert [(each.status_code, each.json["code"]) for each in asked] == [(409, code)] * 3
    assert facts() == before


def test_what_has_expired_gets_no_new_link_but_more_time(shop, meddle, facts):
    made = shop.create()
    meddle("UPDATE invites SET expires_at = created_at")
    before = facts()
    answer = shop.post(f"/v1/invites/{made['id']}/rotate")
    assert (answer.status_code, answer.json["code"]) == (409, "INVITE_EXPIRED")
    assert facts() == before
    assert shop.patch(f"/v1/invites/{made['id']}", {"ttl": "1d"}).json["invite"]["state"] == "active"


def test_an_invite_is_revoked_once_however_often_it_is_asked_for(shop):
    made = shop.create()
    answers = [shop.post(f"/v1/invites/{made['id']}/revoke") for _ in range(2)]
    assert [each.status_code for each in answers] == [200, 200]
    assert answers[0].json == answers[1].json
    assert answers[0].json["invite"]["state"] == "revoked"
    assert told(shop, made)[0] == ["invite.created", "invite.revoked"]


def test_a_new_link_comes_with_the_answer_and_the_old_one_is_dead(shop):
    made = shop.create()
    rotated = shop.post(f"/v1/invites/{made['id']}/rotate").json["invite"]
    assert rotated["link"].endswith(rotated["token"])
    for token, status in ((made["token"], 404), (rotated["token"], 200)):
        assert shop.client.post("/api/invites/verify", json={"token": token}).status_code == status


def test_what_is_sent_again_needs_an_address(shop, facts, house):
    made, mailed = shop.create(), shop.create(email="anne@example.org")
    before = facts()
    refused(shop.post(f"/v1/invites/{made['id']}/resend"), 400, "INVALID", "email")
    assert facts() == before
    assert shop.post(f"/v1/invites/{mailed['id']}/resend").status_code == 200
    assert told(shop, mailed)[0][-1] == "invite.mailed"
    with house.reading() as unit:
        assert unit.session.query(Letter).count() == 1


@pytest.mark.parametrize("call", ["revoke", "rotate", "resend"])
def test_a_call_without_members_refuses_any(shop, facts, call):
    made = shop.create(email="anne@example.org")
    before = facts()
    refused(shop.post(f"/v1/invites/{made['id']}/{call}", {"tll": "3d"}), 400, "UNKNOWN_FIELD", "tll")
    refused(shop.post(f"/v1/invites/{made['id']}/{call}?ttl=3d"), 400, "UNKNOWN_FIELD", "ttl")
    assert facts() == before
    assert shop.post(f"/v1/invites/{made['id']}/{call}", {}).status_code == 200


# What happens


def test_who_follows_is_told_everything_once_and_in_its_order(shop, use, house):
    following = shop.get("/v1/events").json["next"]
    assert shop.get(f"/v1/events?cursor={following}").json == {"events": [], "next": following}
    made = shop.create(max_uses=2)
    use(made["token"])
    shop.post(f"/v1/invites/{made['id']}/revoke")
    seen = []
    while (page := shop.get(f"/v1/events?cursor={following}&limit=1")).json["events"]:
        seen += page.json["events"]
        following = page.json["next"]
        assert page.headers["Link"].endswith(f'/v1/events?limit=1&cursor={following}>; rel="next"')
    assert [each["type"] for each in seen if each["invite_id"]] == ["invite.created", "invite.used", "invite.revoked"]
    assert page.json["next"] == following
    with house.reading() as unit:
        told = [each.id for each in unit.session.query(Event).order_by(Event.number)]
    assert [each["id"] for each in seen] == told[-len(seen) :]


def test_before_anything_has_happened_there_is_a_cursor_too(client, root, meddle):
    meddle("DELETE FROM events")
    page = Program(client, root.bearer).get("/v1/events")
    assert (page.json["events"], page.headers["Link"].count(page.json["next"])) == ([], 1)
    assert Program(client, root.bearer).get(f"/v1/events?cursor={page.json['next']}").json == page.json


def test_what_happened_is_filtered_by_type_invite_and_user(shop, use):
    made, other = shop.create(), shop.create()
    user_id = use(made["token"])
    use(other["token"], "carol")

    def found(query):
        following, seen = "", []
        while True:
            page = shop.get(f"/v1/events?limit=1&{query}{following}").json
            if not page["events"]:
                return seen
            seen += [(each["type"], each["invite_id"]) for each in page["events"]]
            following = f"&cursor={page['next']}"

    assert found("type=invite.used") == [("invite.used", made["id"]), ("invite.used", other["id"])]
    assert found(f"invite={made['id']}")[0] == ("invite.created", made["id"])
    assert {each for _, each in found(f"invite={made['id']}")} == {made["id"]}
    assert ("invite.used", made["id"]) in found(f"user={user_id}")
    assert found(f"type=invite.used&invite={made['id']}") == [("invite.used", made["id"])]
    assert found(f"type=invite.used&user={user_id}") == [("invite.used", made["id"])]
    assert found(f"invite={NOBODY}") == found(f"user={NOBODY}") == []


def test_a_search_among_many_events_goes_on_where_it_stopped(shop, monkeypatch):
    """No index has what is of one type and by one key: one reading looks at so many, and says how to go on."""
    monkeypatch.setattr("rules.timeline.LOOKED_AT", 3)
    made = [shop.create() for _ in range(9)]
    shop.post(f"/v1/invites/{made[0]['id']}/revoke")
    key_id = shop.headers["Authorization"].removeprefix("Bearer ").partition("/")[0]
    following, seen, pages = "", [], 0
    while pages < 20:
        page = shop.get(f"/v1/events?type=invite.created&user={key_id}&limit=2{following}").json
        seen, pages = seen + page["events"], pages + 1
        if f"&cursor={page['next']}" == following:
            break
        following = f"&cursor={page['next']}"
    assert [each["invite_id"] for each in seen] == [each["id"] for each in made]
    assert 5 < pages < 20


def test_every_type_that_is_told_is_described(client):
    schemas = client.get("/openapi.json").json["components"]["schemas"]
    assert schemas["Event"]["properties"]["type"]["enum"] == [*TYPES]


def test_registering_shows_in_the_timeline_of_the_invite(shop):
    made = shop.create()
    body = {"invite_token": made["token"], "email": "zoe@example.org", "password": PASSWORD}
    assert shop.client.post("/auth/register/with-invite", json=body).status_code == 200
    assert "invite.used" in told(shop, made)[0]
