"""A create that is sent again with its Idempotency-Key creates nothing more, and is answered the same."""

import json
import os
import re
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from app import create_app
from conftest import HASH, make_settings
from models import Event, Invite, Letter
from rules import accounts, changing, invites, keys, projects
from settings import in_force

MADE = {  # each way to create: who calls, method, path, body, another body
    "Prosody's": ("key", "POST", "/invites_api", {"name": "Anne"}, {"name": "Bob"}),
    "Agentbot's user": ("anne", "POST", "/api/invite", {"name": "Anne"}, {"name": "Bob"}),
    "Agentbot's admin": (
        *("root", "POST", "/api/admin/invites"),
        *({"email": "dora@example.org"}, {"email": "erin@example.org"}),
    ),
    "a short code": ("key", "POST", "/api/invite/generate", None, None),
    "our own": ("key", "POST", "/v1/invites", {"name": "Anne"}, {"name": "Bob"}),
    "our own, a list": (
        *("key", "POST", "/v1/invites", {"invites": [{"email": "dora@example.org", "mail": True}, {}]}),
        {"invites": [{}, {"email": "dora@example.org", "mail": True}]},
    ),
    "HitKey's": (
        *("anne", "POST", "/projects/tea-garden/invites"),
        *({"email": "dora@example.org"}, {"email": "dora@example.org", "role": "admin"}),
    ),
}
COUNTS = {"our own, a list": 2}  # how many a way creates at once, where that is not one
STATES = re.compile(r'"(?:state|uses|used_at|revoked_at)":[^,}]*')  # what an invite of our own API is now
EVERY_WAY = pytest.mark.parametrize("way", MADE)


@pytest.fixture
def callers(house):
    """What each caller shows: a key, another key, anne who owns the Tea Garden, and root, an admin of the site."""
    from rules import sessions

    with house.writing():
        shown = {name: keys.create(name) for name in ("key", "another key")}
        for name in ("anne", "root"):
            user = accounts.create(accounts.Names(name), HASH)
            shown[name] = sessions.start(user).access
        accounts.set_admin(accounts.named("root"), True)
        projects.create(accounts.named("anne"), projects.ProjectDraft("Tea Garden"))
    return {name: {"Authorization": f"Bearer {each}"} for name, each in shown.items()}


@pytest.fixture
def create(client, callers):
    """Create in one of these ways, with this Idempotency-Key."""

    def send(way, key="once", other=False, by=None):
        who, method, path, body, another = MADE[way]
        headers = callers[by or who] | ({"Idempotency-Key": key} if key is not None else {})
        return client.open(path, method=method, json=another if other else body, headers=headers)

    return send


@pytest.fixture
def there(house):
    """How many invites, letters and events of invites there are."""

    def count():
        with house.reading() as unit:
            told = unit.session.query(Event).filter(Event.invite_id.is_not(None))
            return unit.session.query(Invite).count(), unit.session.query(Letter).count(), told.count()

    return count


def said(answer):
    """What an answer says, but for its header that says that it is one again."""
    return answer.status_code, answer.headers.get("Location"), answer.text


@EVERY_WAY
def test_the_same_call_again_creates_nothing_and_is_answered_the_same(create, there, way):
    first = create(way)
    assert first.status_code in (200, 201), first.text
    assert "Idempotency-Replayed" not in first.headers
    before = there()
    for key in ("once", '"once"'):
        again = create(way, key)
        assert said(again) == said(first)
        assert again.headers["Idempotency-Replayed"] == "true"
    count = COUNTS.get(way, 1)
    assert there() == before == (count, before[1], count + before[1])
    assert create(way, None).status_code != 409
    assert "Idempotency-Replayed" not in create(way, "twice").headers


@pytest.mark.parametrize("way", [each for each in MADE if MADE[each][4]])
def test_a_key_is_not_for_another_body(create, there, way):
    create(way)
    before = there()
    refused = create(way, other=True)
    assert (refused.status_code, refused.json["code"]) == (422, "IDEMPOTENCY_KEY_REUSED")
    assert there() == before


def test_a_key_is_not_for_other_data(client, callers):
    def create(data):
        headers = callers["key"] | {"Idempotency-Key": "once"}
        return client.post("/v1/invites", json={"data": data}, headers=headers).status_code

    assert [create({"seat": 12}), create({"seat": 12}), create({"seat": "12"})] == [201, 201, 422]


def test_a_key_is_not_for_another_route_or_method(create, client, callers):
    create("Prosody's")
    assert create("a short code").status_code == 422
    got = client.get("/invites_api?name=Anne", headers=callers["key"] | {"Idempotency-Key": "once"})
    assert got.status_code == 422


def test_what_is_asked_counts_and_not_how_it_is_written(client, callers, house):
    headers = callers["key"] | {"Idempotency-Key": "once"}
    key = callers["key"]["Authorization"].removeprefix("Bearer ")
    first = client.post("/invites_api?uses=3&name=Anne", headers=headers)
    for path, body in (
        ("/invites_api?name=Anne&uses=3", {}),
        ("/invites_api", {"json": {"name": "Anne", "uses": 3}}),
        ("/invites_api", {"data": {"uses": "3", "name": "Anne"}}),
    ):
        assert client.post(path, headers=headers, **body).headers["Location"] == first.headers["Location"]
    by_query = client.post(f"/invites_api?key={key}&uses=3&name=Anne", headers={"Idempotency-Key": "once"})
    assert by_query.headers["Location"] == first.headers["Location"]
    assert client.post("/invites_api?uses=3&name=Anne&redirect", headers=headers).status_code == 422


@pytest.mark.parametrize("key", ["", '""', "x" * 256, f'"{"x" * 256}"', "a\tb", "naïve", "\x7f"])
def test_what_can_be_no_key_is_refused(create, there, key):
    refused = create("Prosody's", key)
    assert refused.status_code == 400
    assert refused.json["errors"][0]["field"] == "Idempotency-Key"
    assert there() == (0, 0, 0)


@pytest.mark.parametrize("key", ["x", '"', "x" * 255, f'"{"x" * 255}"', "with a space", '"quo"ted"'])
def test_what_can_be_a_key_is_one(create, key):
    first = create("Prosody's", key)
    assert first.status_code == 201
    assert said(create("Prosody's", key)) == said(first)


def test_a_key_belongs_to_its_caller(create, there):
    assert said(create("Prosody's")) != said(create("Prosody's", by="another key"))
    assert there()[0] == 2


@pytest.mark.long
@EVERY_WAY
@pytest.mark.parametrize("meanwhile", ["used", "revoked", "rotated", "restarted"])
def test_it_is_the_same_after_whatever_happened_to_the_invite(create, house, settings, there, way, meanwhile):
    first = create(way)
    with house.writing() as unit:
        made = unit.session.query(Invite).first()
        if meanwhile == "used":
            unit.session.execute(text("UPDATE invites SET uses = max_uses"))
        elif meanwhile == "revoked":
            changing.revoke(made)
        elif meanwhile == "rotated":
            changing.rotate(made)
        link = invites.link(invites.token(made))
    before = there()
    again = create(way)
    assert there() == before
    if meanwhile == "rotated" and way == "a short code":
        assert (again.status_code, again.json["code"]) == (409, "LINK_LOST")
        return
    assert again.status_code == first.status_code
    if meanwhile == "rotated":  # the link as it is now
        assert link.partition("?")[2] in again.text + again.headers.get("Location", "")
    else:
        assert [STATES.sub("", str(each)) for each in said(again)] == [
            STATES.sub("", str(each)) for each in said(first)
        ]


@pytest.mark.sqlite  # PostgreSQL lets no server in that has another secret than those that are there
def test_a_link_whose_secret_is_lost_is_said_to_be(create, callers, settings, tmp_path):
    create("Prosody's")
    with in_force(make_settings(tmp_path / "instance", SECRET_KEY="another secret than before")) as changed:
        client = create_app(changed).test_client()
        headers = callers["key"] | {"Idempotency-Key": "once"}
        again = client.post("/invites_api", json={"name": "Anne"}, headers=headers)
    assert (again.status_code, again.json["code"]) == (409, "LINK_LOST")
    assert "Idempotency-Replayed" not in again.headers


def test_a_refusal_is_not_remembered(client, callers, there):
    headers = callers["key"] | {"Idempotency-Key": "once"}
    assert client.post("/invites_api", json={"uses": 0}, headers=headers).status_code == 400
    assert there() == (0, 0, 0)
    assert client.post("/invites_api", json={"uses": 1}, headers=headers).status_code == 201


@pytest.mark.long
@EVERY_WAY
def test_fifty_at_once_create_one(serve, house, callers, there, way):
    served = serve()
    who, method, path, body, _ = MADE[way]

    def send(_):
        headers = callers[who] | {"Idempotency-Key": "once", "Content-Type": "application/json"}
        return served.get(path, method, json.dumps(body or {}).encode(), **headers)

    with ThreadPoolExecutor(50) as many:
        answers = list(many.map(send, range(50)))
    assert len({(each.status, each.headers.get("Location"), each.body) for each in answers}) == 1, answers
    assert sum("Idempotency-Replayed" in each.headers for each in answers) == 49
    invites_, letters, told = there()
    count = COUNTS.get(way, 1)
    assert (invites_, told) == (count, count + letters)


@pytest.mark.long
def test_an_answer_that_was_lost_with_the_server_is_given_by_the_next(serve, callers, settings, there):
    served = serve()
    headers = callers["key"] | {"Idempotency-Key": "once"}
    first = served.get("/invites_api?name=Anne", "POST", b"", **headers)
    os.kill(served.process.pid, signal.SIGKILL)
    served.process.wait()
    again = serve().get("/invites_api?name=Anne", "POST", b"", **headers)
    assert (again.status, again.headers["Location"].partition("?")[2]) == (
        201,
        first.headers["Location"].partition("?")[2],
    )
    assert there()[0] == 1
