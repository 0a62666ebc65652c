"""Agentbot's dialect: the seven calls of its Invite API."""

import json
import sqlite3
from datetime import UTC, datetime

import pytest
import time_machine
from sqlalchemy import text

import clock
from app import create_app
from conftest import make_settings, seen
from database.files import file_of
from models import Redemption
from rules import accounts, changing, invites, legacy

NAMES_REFUSED = ["<b>Anne</b>", "x' OR '1'='1", "https://evil.example", "{{7*7}}", "${7*7}", "a\tb", "", " ", "x" * 101]


def test_somebody_signed_in_invites_a_person_by_name(client, alice):
    answer = client.post("/api/invite", headers=alice.bearer, json={"name": "José Ñúñez"})
    token = answer.json["token"]
    assert (answer.status_code, list(answer.json)) == (201, ["success", "inviteUrl", "token"])
    assert answer.json["inviteUrl"] == (
        f"http://127.0.0.1:8080/invite?token={token}&name=Jos%C3%A9%20%C3%91%C3%BA%C3%B1ez"
    )
    page = client.get(answer.json["inviteUrl"].removeprefix("http://127.0.0.1:8080"))
    assert "José Ñúñez, you're invited" in seen(page)


@pytest.mark.parametrize("name", ["O'Brien", "Anne-Marie", "José Ñúñez", "李小龙"])
def test_names_of_people_pass(client, alice, name):
    assert client.post("/api/invite", headers=alice.bearer, json={"name": name}).status_code == 201


@pytest.mark.parametrize("body", [{}, {"name": None}, {"name": 7}, *({"name": name} for name in NAMES_REFUSED)])
def test_what_nobody_is_called_is_400_and_makes_nothing(client, alice, stored, body):
    answer = client.post("/api/invite", headers=alice.bearer, json=body)
    assert (answer.status_code, answer.json["code"]) == (400, "INVALID")
    assert answer.json["error"].startswith("name: ")
    assert stored() == []


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer hitkey_nonsense", "Basic eDp5", "Bearer a/b", ""])
def test_without_a_session_it_is_401(client, stored, header):
    headers = {} if header is None else {"Authorization": header}
    answer = client.post("/api/invite", headers=headers, json={"name": "Anne"})
    assert (answer.status_code, answer.json["code"]) == (401, "UNAUTHORIZED")
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert stored() == []


def test_a_deleted_user_is_not_found_here_and_signed_out_elsewhere(client, house, alice):
    with house.writing():
        accounts.remove(accounts.named("alice"))
    gone = client.post("/api/invite", headers=alice.bearer, json={"name": "Anne"})
    assert (gone.status_code, gone.json["code"]) == (404, "USER_NOT_FOUND")
    assert client.get("/auth/me", headers=alice.bearer).status_code == 401
    assert client.post(f"/invites/{'0' * 64}/accept", headers=alice.bearer).status_code == 401


def test_verify_says_valid_and_the_plan_and_nothing_else(client, make_invite):
    for name in ("token", "code"):
        answer = client.post("/api/invites/verify", json={name: make_invite(plan="team")})
        assert (answer.status_code, answer.json) == (200, {"valid": True, "plan": "team"})


def test_verify_spends_nothing(client, make_invite, stored):
    token = make_invite()
    for _ in range(20):
        assert client.post("/api/invites/verify", json={"token": token}).status_code == 200
    assert stored()[0].uses == 0


@pytest.mark.parametrize(
    "body",
    [{}, {"token": None}, {"token": 7}, {"token": ""}, {"token": "0" * 63}, {"token": "A" * 64}, {"token": ["0" * 64]}],
)
def test_verify_of_what_is_no_token_is_400(client, body):
    answer = client.post("/api/invites/verify", json=body)
    assert (answer.status_code, answer.json["code"]) == (400, "INVALID")


def test_verify_tells_unknown_expired_revoked_and_used_apart(client, house, make_invite, use):
    def verify(token):
        answer = client.post("/api/invites/verify", json={"token": token})
        return answer.status_code, answer.json["code"]

    used, revoked, expired = make_invite(), make_invite(), make_invite(ttl="1h")
    use(used)
    with house.writing():
        changing.revoke(invites.find(revoked))
    assert verify("0" * 64) == (404, "INVITE_NOT_FOUND")
    assert verify(revoked) == (404, "INVITE_EXPIRED")
    assert verify(used) == (410, "INVITE_USED")
    assert "used" in client.post("/api/invites/verify", json={"token": used}).json["error"]
    with time_machine.travel(clock.now() + clock.DAY):
        assert verify(expired) == (404, "INVITE_EXPIRED")


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        ({"data": "token=x"}, 400, "not JSON that can be used"),
        ({"data": "x", "content_type": "application/json"}, 400, "not JSON that can be used"),
        ({"data": "", "content_type": "application/json"}, 400, "not JSON that can be used"),
        ({"json": ["token"]}, 400, "A JSON object is needed"),
        ({"data": "[" * 60_000, "content_type": "application/json"}, 400, "not JSON that can be used"),
        ({"data": '{"token": "a", "token": "b"}', "content_type": "application/json"}, 400, "named twice"),
        ({"data": '{"token": "\\u0000"}', "content_type": "application/json"}, 400, "token: has a NUL"),
        ({"data": '{"token": "\\ud800"}', "content_type": "application/json"}, 400, "token: has a NUL"),
        ({"data": '{"token": 9223372036854775808}', "content_type": "application/json"}, 400, "beyond 64 bits"),
        ({"json": {"token": "0" * 64, "is_admin": True}}, 400, "is_admin: cannot be set"),
        ({"data": "x" * 1_000_000, "content_type": "application/json"}, 413, "at most 64 KiB"),
    ],
)
@pytest.mark.parametrize("path", ["/api/invites/verify", "/api/invite", "/api/admin/invites", "/api/invite/validate"])
def test_bodies_that_cannot_be_used_are_refused_in_words_and_change_nothing(
    client, root, stored, path, sent, status, said
):
    answer = client.post(path, headers=root.bearer, **sent)
    assert answer.status_code == status
    assert said in answer.json["error"]
    assert stored() == []


def test_an_admin_invites_an_address(client, root):
    answer = client.post("/api/admin/invites", headers=root.bearer, json={"email": "Anne@Example.org"})
    token = answer.json["code"]
    assert (answer.status_code, answer.json) == (
        201,
        {
            "success": True,
            "code": token,
            "email": "anne@example.org",
            "inviteUrl": f"http://127.0.0.1:8080/invite?token={token}",
        },
    )


@pytest.mark.parametrize(
    "body", [{}, {"email": "nonsense"}, {"email": ["a@b.example", "c@d.example"]}, {"email": "a@b.example,c@d.example"}]
)
def test_what_is_no_address_is_400(client, root, stored, body):
    answer = client.post("/api/admin/invites", headers=root.bearer, json=body)
    assert (answer.status_code, answer.json["error"].partition(":")[0]) == (400, "email")
    assert stored() == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_admins_calls_are_403_for_everybody_else(client, alice, key, stored, method):
    for headers in ({}, alice.bearer, {"Authorization": f"Bearer {key}"}, {"Authorization": "nonsense"}):
        answer = client.open("/api/admin/invites", method=method, headers=headers, json={"email": "a@example.org"})
        assert (answer.status_code, answer.json["code"]) == (403, "FORBIDDEN")
    assert stored() == []


def test_the_list_shows_every_invite_the_newest_first(client, root, house, make_invite, use):
    tokens = []
    for number, given in enumerate(({}, {"email": "anne@example.org"}, {"ttl": "1h"}, {})):
        with time_machine.travel(clock.now() - clock.MINUTE + number * clock.SECOND):
            tokens.append(make_invite(**given))
    with house.writing():
        changing.revoke(invites.find(tokens[3]))
    user_id = use(tokens[0])
    with time_machine.travel(clock.now() + 2 * clock.HOUR, tick=False):
        listed = client.get("/api/admin/invites", headers=root.sign_in()).json
    assert (listed["total"], listed["active"]) == (4, 1)
    rows = listed["invites"]
    assert [each["code"] for each in rows] == tokens[::-1]
    assert [each["status"] for each in rows] == ["expired", "expired", "active", "used"]
    assert [each["email"] for each in rows] == ["", "", "anne@example.org", ""]
    assert [("usedAt" in each, each.get("userId")) for each in rows] == [(False, None)] * 3 + [(True, user_id)]
    assert ["revokedAt" in each for each in rows] == [True, False, False, False]


def test_an_empty_list_is_still_a_list(client, root):
    assert client.get("/api/admin/invites", headers=root.bearer).json == {"invites": [], "total": 0, "active": 0}


def test_the_whole_list_comes_in_chunks_and_is_complete(client, root, fill):
    fill(1201)
    answer = client.get("/api/admin/invites", headers=root.bearer, buffered=False)
    assert answer.is_streamed
    body = json.loads(b"".join(answer.response))
    assert len({each["id"] for each in body["invites"]}) == body["total"] == 1201


def test_pages_follow_each_other_without_gaps(client, root, fill):
    fill(25)
    path, seen = "/api/admin/invites?limit=10&status=active", []
    while path:
        answer = client.get(path, headers=root.bearer)
        seen += [each["id"] for each in answer.json["invites"]]
        assert answer.json["total"] == 25
        link = answer.headers.get("Link")
        assert (link is None) == ("next" not in answer.json)
        path = link and link.partition(">")[0].removeprefix("<http://127.0.0.1:8080")
    assert len(seen) == len(set(seen)) == 25


def test_the_list_can_be_searched_and_filtered(client, root, make_invite, use):
    use(make_invite(name="Anne"))
    make_invite(note="met Anne_1 in Rome")
    make_invite(email="joanne@example.org")
    make_invite(name="Bob")

    def found(query):
        return len(client.get(f"/api/admin/invites?{query}", headers=root.bearer).json["invites"])

    assert [found("q=anne"), found("q=anne_1"), found("q=%25"), found("q=nobody")] == [3, 1, 0, 0]
    assert [found("status=used"), found("status=active"), found("status=expired")] == [1, 3, 0]
    assert found("status=used&q=bob") == 0


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=1001",
        "limit=x",
        "cursor=!!!",
        "cursor=AAAA",
        "cursor=MDAwMS0wMS0wMVQwMDowMDowMCsxNDowMCB4",
        "status=dead",
        "q=a&q=b",
    ],
)
def test_nonsense_in_the_lists_query_is_400(client, root, query):
    answer = client.get(f"/api/admin/invites?{query}", headers=root.bearer)
    assert (answer.status_code, answer.json["code"]) == (400, "INVALID")


def test_a_short_code_is_made_and_spent_once(client, house, key, stored):
    made = client.post("/api/invite/generate", headers={"Authorization": f"Bearer {key}"})
    assert (made.status_code, len(made.json["code"]), list(made.json)) == (200, 12, ["code"])
    assert (stored()[0].expires_at - stored()[0].created_at) == 7 * clock.DAY
    spent = client.post("/api/invite/validate", json={"code": made.json["code"]})
    assert (spent.status_code, spent.json) == (200, {"valid": True})
    again = client.post("/api/invite/validate", json={"code": made.json["code"]})
    assert (again.status_code, again.json["valid"]) == (400, False)
    with house.reading() as unit:
        assert [each.user_id for each in unit.session.query(Redemption)] == [None]
    assert stored()[0].uses == 1


def test_a_short_code_is_a_second_name_of_an_ordinary_invite(client, root, use, house):
    code = client.post("/api/invite/generate", headers=root.bearer).json["code"]
    row = client.get("/api/admin/invites", headers=root.bearer).json["invites"][0]
    assert row["legacyCode"] == code
    opened = client.post("/code", data={"code": f" {code.upper()} "})
    assert (opened.status_code, opened.location) == (303, f"/invite?{row['code']}")
    use(row["code"])
    assert client.post("/api/invite/validate", json={"code": code}).status_code == 400


def test_a_short_code_does_not_outlive_its_week(client, house, key):
    codes = [client.post(f"/api/invite/generate?key={key}").json["code"] for _ in range(3)]
    for code, ttl in zip(codes, (6 * clock.DAY, 8 * clock.DAY, None), strict=True):
        with house.writing():
            changing.extend(legacy.find_active(code), ttl)
    found = [client.post("/api/invite/validate", json={"code": each}).status_code for each in codes]
    assert found == [200, 400, 400]


def test_a_short_code_lives_a_week_where_invites_live_longer(tmp_path, key, stored):
    client = create_app(make_settings(tmp_path / "instance", INVITE_TTL="30d")).test_client()
    client.post("/api/invite/generate", headers={"Authorization": f"Bearer {key}"})
    (made,) = stored()
    assert made.expires_at - made.created_at == 7 * clock.DAY


@pytest.mark.parametrize("headers", [{}, {"Authorization": "Bearer x/y"}, {"Authorization": "Bearer hitkey_x"}])
def test_making_a_short_code_needs_a_key_or_an_admin(client, alice, headers):
    for each in (headers, alice.bearer):
        refused = client.post("/api/invite/generate", headers=each)
        assert (refused.status_code, refused.json["error"][:21]) == (401, "An API key is needed,")


@pytest.mark.parametrize("body", [{}, {"code": 7}, {"code": "zz"}, {"code": "0" * 12}, {"code": "0" * 64}])
def test_any_code_that_is_not_good_is_400_and_not_valid(client, body):
    answer = client.post("/api/invite/validate", json=body)
    assert (answer.status_code, answer.json["valid"]) == (400, False)


def test_ten_wrong_codes_a_minute_are_enough_for_all_ways_in(client, key, settings):
    good = client.post("/api/invite/generate", headers={"Authorization": f"Bearer {key}"}).json["code"]
    now, numbers = clock.now(), range(5)
    with time_machine.travel(now, tick=False):
        statuses = [client.post("/api/invite/validate", json={"code": f"{each:012x}"}).status_code for each in numbers]
        statuses += [client.post("/code", data={"code": f"{each:012x}"}).status_code for each in numbers]
        assert statuses == [400] * 5 + [404] * 5
        refused = client.post("/api/invite/validate", json={"code": good})
        assert (refused.status_code, refused.json["valid"], refused.headers["Retry-After"]) == (429, False, "60")
        assert client.post("/code", data={"code": good}).status_code == 429
        restarted = create_app(settings).test_client()
        assert restarted.post("/code", data={"code": good}).status_code == 429  # that forgives none
    with time_machine.travel(now + clock.MINUTE, tick=False):
        assert client.post("/api/invite/validate", json={"code": good}).status_code == 200


def test_right_codes_are_not_counted(client, key):
    for _ in range(15):
        code = client.post("/api/invite/generate", headers={"Authorization": f"Bearer {key}"}).json["code"]
        assert client.post("/api/invite/validate", json={"code": code}).status_code == 200


def test_the_list_is_not_asked_for_by_its_headers_alone(client, root):
    """The whole of it would be made, and the server cannot say that nothing of it is to be sent."""
    answer = client.head("/api/admin/invites", headers=root.bearer)
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, POST")


def test_the_deprecated_pair_says_that_it_is(tmp_path, house):
    client = create_app(make_settings(tmp_path / "instance", LEGACY_SUNSET="2027-06-30")).test_client()
    for path in ("/api/invite/generate", "/api/invite/validate"):
        headers = client.post(path, json={}).headers
        assert headers["Deprecation"] == "@" + str(int(datetime(2026, 1, 1, tzinfo=UTC).timestamp()))
        assert headers["Sunset"] == "Wed, 30 Jun 2027 00:00:00 GMT"
        assert headers["Link"] == '<http://127.0.0.1:8080/api/invites/verify>; rel="successor-version"'
    assert "Deprecation" not in client.post("/api/invites/verify", json={}).headers


def test_short_codes_can_be_switched_off(tmp_path, house, root, key):
    client = create_app(make_settings(tmp_path / "instance", LEGACY_CODES="off")).test_client()
    made = client.post("/api/invite/generate", headers={"Authorization": f"Bearer {key}"})
    spent = client.post("/api/invite/validate", json={"code": "0" * 12})
    assert (made.status_code, spent.status_code, spent.json["code"]) == (410, 410, "LEGACY_CODES_OFF")


def test_a_list_that_cannot_be_read_is_503_and_never_half_a_list(client, root, house, settings):
    with house.writing() as unit:
        unit.session.execute(text("ALTER TABLE redemptions RENAME TO gone"))
    answer = client.get("/api/admin/invites", headers=root.bearer)
    assert (answer.status_code, answer.json["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert int(answer.headers["Retry-After"]) > 0


def test_the_link_to_the_next_page_has_nothing_in_it_that_nobody_asked_for(client, root, fill):
    fill(2)
    answer = client.get("/api/admin/invites?limit=1&key=secret&status=active", headers=root.bearer)
    assert "status=active" in answer.headers["Link"]
    assert "secret" not in answer.headers["Link"]


@pytest.mark.long
@pytest.mark.sqlite
@pytest.mark.parametrize("harm", ["gone", "replaced", "corrupt", "locked"])
def test_verify_fails_closed_when_the_database_cannot_answer(client, house, settings, make_invite, harm):
    token = make_invite()
    path, other = file_of(settings), sqlite3.connect(file_of(settings))
    assert client.post("/api/invites/verify", json={"token": token}).status_code == 200
    for each in (house, client.application.extensions["invite_api"].database):
        each.close()
    if harm == "gone":
        path.rename(path.with_suffix(".away"))
    if harm == "replaced":
        path.rename(path.with_suffix(".away"))
        path.write_bytes(path.with_suffix(".away").read_bytes())
    if harm == "corrupt":
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        path.write_bytes(b"SQLite format 3\x00" + b"\xff" * path.stat().st_size)
    if harm == "locked":
        other.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
    answer = client.post("/api/invites/verify", json={"token": token})
    other.close()
    assert (answer.status_code, answer.json["code"]) == (503, "SERVICE_UNAVAILABLE")
    assert "valid" not in answer.json
    assert "sqlite" not in answer.text.lower()
