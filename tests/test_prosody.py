"""Prosody's dialect over WSGI; test_side_by_side.py compares it with the real one."""

import re

import pytest

from app import create_app
from conftest import make_settings
from rules import keys

LINK = re.compile(r"http://127\.0\.0\.1:8080/invite\?[0-9a-f]{64}")


@pytest.fixture
def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def test_a_get_with_a_key_makes_an_invite(client, key, stored):
    answer = client.get(f"/invites_api?key={key}")
    assert (answer.status, answer.data, answer.content_length) == ("201 Created", b"", 0)
    assert LINK.fullmatch(answer.location)
    assert [each.uses for each in stored()] == [0]


@pytest.mark.parametrize("query", ["redirect", "redirect=", "redirect=no", "redirect=1&x=y"])
def test_redirect_in_the_query_makes_it_a_303(client, bearer, query):
    answer = client.get(f"/invites_api?{query}", headers=bearer)
    assert answer.status_code == 303
    assert LINK.fullmatch(answer.location)


def test_a_post_works_too(client, bearer, stored):
    assert client.post("/invites_api", headers=bearer).status_code == 201
    assert len(stored()) == 1


@pytest.mark.parametrize(
    "sent",
    [
        {"query_string": {"name": "Anne", "uses": "3", "plan": "team", "ttl": "2d", "nonsense": "x"}},
        {"data": {"name": "Anne", "uses": "3", "plan": "team", "ttl": "2d", "nonsense": "x"}},
        {"json": {"name": "Anne", "uses": 3, "plan": "team", "ttl": "2d", "nonsense": None}},
        {"json": {"name": "Anne", "uses": "3", "plan": "team"}, "query_string": {"ttl": "172800"}},
    ],
)
def test_an_invites_fields_are_taken_from_query_form_and_json(client, bearer, stored, sent):
    assert client.post("/invites_api", headers=bearer, **sent).status_code == 201
    made = stored()[0]
    assert (made.name, made.max_uses, made.plan, (made.expires_at - made.created_at).days) == ("Anne", 3, "team", 2)


@pytest.mark.parametrize(
    ("sent", "status", "said"),
    [
        ({"query_string": "ttl=soon"}, 400, "ttl: must be a number and a unit"),
        ({"query_string": "ttl=400d"}, 400, "ttl: must be between 1m and 365d"),
        ({"query_string": "ttl=never"}, 400, "ttl: can be never only for an admin"),
        ({"query_string": "uses=0"}, 400, "uses: must be a whole number"),
        ({"query_string": "uses=1&uses=2"}, 400, "uses: is given more than once"),
        ({"query_string": "uses=1", "data": {"uses": "1"}}, 400, "uses: is given more than once"),
        ({"query_string": "email=nonsense"}, 400, "email: is not a valid address"),
        ({"query_string": "email="}, 400, "email: is empty"),
        ({"query_string": "approve=&ttl="}, 400, "approve: is empty"),
        ({"data": {"email": ""}}, 400, "email: is empty"),
        ({"json": {"email": ""}}, 400, "email: is empty"),
        ({"query_string": 'data={"a":1,"a":2}'}, 400, "data: must be a JSON object"),
        ({"query_string": "project=nowhere"}, 400, "project: names no project: nowhere"),
        ({"query_string": "name=a%00b"}, 400, "name: has a NUL"),
        ({"json": {"makes_admin": True}}, 400, "makes_admin: cannot be set from outside"),
        ({"data": {"is_admin": "1"}}, 400, "is_admin: cannot be set from outside"),
        ({"json": {"uses": 1.5}}, 400, "uses: must be text"),
        ({"json": {"uses": True}}, 400, "uses: must be text"),
        ({"json": {"name": "\ud800"}}, 400, "name: has a NUL or an unpaired surrogate"),
        ({"json": {"name": ["Anne"]}}, 400, "name: must be text"),
        ({"json": [1]}, 400, "A JSON object is needed"),
        ({"data": "{", "content_type": "application/json"}, 400, "not JSON that can be used"),
        ({"data": "[" * 60_000, "content_type": "application/json"}, 400, "not JSON that can be used"),
        ({"data": '{"a":' * 20 + "1" + "}" * 20, "content_type": "application/json"}, 400, "nested more than 16"),
        ({"data": '{"uses": 1, "uses": 2}', "content_type": "application/json"}, 400, "named twice"),
        ({"data": '{"uses": NaN}', "content_type": "application/json"}, 400, "NaN is no number"),
        ({"data": '{"x": 9223372036854775808}', "content_type": "application/json"}, 400, "beyond 64 bits"),
        ({"data": b'{"name": "\xff"}', "content_type": "application/json"}, 400, "not JSON that can be used"),
        ({"data": "<x/>", "content_type": "text/xml"}, 415, "Send a form, or JSON"),
        ({"data": "x" * 70_000, "content_type": "application/json"}, 413, "at most 64 KiB"),
    ],
)
def test_what_cannot_be_used_is_said_and_makes_nothing(client, bearer, stored, sent, status, said):
    answer = client.post("/invites_api", headers=bearer, **sent)
    assert (answer.status_code, answer.is_json) == (status, True)
    assert said in answer.json["error"]
    assert stored() == []


@pytest.mark.parametrize(
    ("query", "header"),
    [
        ("", None),
        ("key=", None),
        ("key=half", None),
        ("key={id}/", None),
        ("key={id}/wrong", None),
        ("key={key}x", None),
        ("key={key}&key={key}", None),
        ("", "Bearer"),
        ("", "Bearer {id}"),
        ("", "Bearer  {key}"),
        ("", "Bearer {key} x"),
        ("", "Basic {key}"),
        ("", "{key}"),
        ("key={key}", "Bearer nonsense"),
        ("key={key}", "Basic eDp5"),
        ("key={key}", ""),
    ],
)
def test_without_a_good_key_it_is_403_and_nothing_is_made(client, key, stored, query, header):
    facts = {"key": key, "id": key.partition("/")[0]}
    headers = {} if header is None else {"Authorization": header.format(**facts)}
    answer = client.get(f"/invites_api?{query.format(**facts)}", headers=headers)
    assert answer.status_code == 403
    assert "invite-api create NAME" in answer.json["error"]
    assert stored() == []


def test_a_deleted_key_opens_nothing_at_once(client, house, key, stored):
    with house.writing():
        keys.delete(key.partition("/")[0])
    assert client.get(f"/invites_api?key={key}").status_code == 403
    assert stored() == []


def test_keys_in_urls_can_be_switched_off(tmp_path, house, key):
    client = create_app(make_settings(tmp_path / "instance", ALLOW_QUERY_KEY="off")).test_client()
    refused = client.get(f"/invites_api?key={key}")
    assert refused.status_code == 403
    assert "not taken from the URL" in refused.json["error"]
    assert client.get("/invites_api", headers={"Authorization": f"Bearer {key}"}).status_code == 201


@pytest.mark.parametrize("method", ["HEAD", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"])
def test_other_methods_are_405_before_the_key_is_looked_at(client, key, stored, method):
    for query in (f"key={key}", "key=nonsense", ""):
        answer = client.open(f"/invites_api?{query}", method=method)
        assert (answer.status_code, answer.headers["Allow"]) == (405, "GET, OPTIONS, POST")
    assert stored() == []


def test_options_needs_no_key_and_makes_nothing(client, key, stored):
    for query in (f"key={key}", ""):
        answer = client.options(f"/invites_api?{query}")
        assert (answer.status_code, answer.data) == (200, b"")
    assert stored() == []


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "PUT", "HEAD"])
@pytest.mark.parametrize("query", ["key={}", "key=wrong/key", "key={}&ttl=x", "key={}&redirect"])
def test_every_answer_has_prosodys_cors_headers(client, key, method, query):
    headers = client.open(f"/invites_api?{query.format(key)}", method=method).headers
    assert headers["Access-Control-Allow-Origin"] == "*"
    assert headers["Access-Control-Allow-Methods"] == "GET, POST, OPTIONS"
    assert headers["Access-Control-Allow-Headers"] == "Content-Type, Authorization, Idempotency-Key"
    assert headers["Access-Control-Max-Age"] == "7200"
    assert "Access-Control-Allow-Credentials" not in headers


def test_links_come_from_the_settings_and_never_from_the_request(tmp_path, house, key):
    client = create_app(make_settings(tmp_path / "instance", PUBLIC_URL="https://join.example.org/in/")).test_client()
    answer = client.get(
        f"/invites_api?key={key}",
        headers={"Host": "evil.example", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "ftp"},
    )
    assert re.fullmatch(r"https://join\.example\.org/in/invite\?[0-9a-f]{64}", answer.location)


def test_a_key_may_make_600_invites_a_minute_and_others_are_not_held_up(tmp_path, house, key):
    client = create_app(make_settings(tmp_path / "instance", LIMITS="on")).test_client()
    statuses = [client.get(f"/invites_api?key={key}").status_code for _ in range(601)]
    assert statuses == [201] * 600 + [429]
    refused = client.get(f"/invites_api?key={key}")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.json["code"] == "RATE_LIMITED"
    with house.writing():
        other = keys.create("other")
    assert client.get(f"/invites_api?key={other}").status_code == 201


def test_trying_one_key_after_another_meets_the_limit(tmp_path, house, key):
    client = create_app(make_settings(tmp_path / "instance", LIMITS="on")).test_client()
    statuses = [client.get(f"/invites_api?key=guess/{number}").status_code for number in range(601)]
    assert statuses == [403] * 600 + [429]
    assert client.get(f"/invites_api?key={key}").status_code == 201


def test_a_key_has_one_limit_from_wherever_it_is_used(tmp_path, house, key):
    client = create_app(make_settings(tmp_path / "instance", LIMITS="on")).test_client()
    addresses = [{"REMOTE_ADDR": f"192.0.2.{number % 200}"} for number in range(601)]
    statuses = [client.get(f"/invites_api?key={key}", environ_base=each).status_code for each in addresses]
    assert statuses == [201] * 600 + [429]


def test_a_key_that_may_not_create_is_told_which_scope_it_lacks(client, house, stored):
    with house.writing():
        key = keys.create("reader", may=["read"])
    for path in ("/invites_api", "/api/invite/generate"):
        refused = client.post(path, headers={"Authorization": f"Bearer {key}"})
        assert (refused.status_code, refused.json["code"]) == (403, "SCOPE")
        assert "needs the scope create" in refused.json["error"]
    assert client.get("/metrics", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    assert stored() == []
