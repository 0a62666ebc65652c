"""The description of the API is that of the API: nothing is missing in it, and nothing in it is a lie.

That every answer is as described is seen to in all tests, by their client; see described.py.
"""

import json
import re
import subprocess
from typing import TypedDict

import pytest
from jsonschema import Draft202012Validator
from selenium.webdriver.common.by import By

import described
from app import ROUTES
from described import Undescribed
from dialects import hitkey, manual
from dialects.shapes import prosody as shapes
from dialects.shapes import values
from programs import require
from rules import drafts, holds, invites, keys
from web.schemas import Schemas

pytestmark = pytest.mark.any_database

DOCUMENT = described.ours().document
OPERATIONS = {
    f"{method.upper()} {path}": operation
    for path, operations in DOCUMENT["paths"].items()
    for method, operation in operations.items()
}
SOME_ID = "5b0e0c6e-8f0e-4c59-9a57-6f3d1f6b2a10"
# What the examples cannot do: there is no such code, token, id, password or open registration.
IN_VAIN = {
    "GET /gate/{slug}": 403,
    "POST /api/invite/validate": 400,
    "POST /auth/token/refresh": 401,
    "POST /auth/login": 401,
    "POST /auth/register/start": 403,
    "POST /auth/register/resend": 403,
    "POST /auth/register/verify": 403,
    "POST /auth/register/password": 403,
    "POST /auth/password/reset": 400,
    "DELETE /projects/{slug}/members/{member_id}": 404,
    "DELETE /projects/{slug}/invites/{invite_id}": 404,
    "POST /projects/{slug}/invites/{invite_id}/approve": 404,
    "POST /projects/{slug}/invites/{invite_id}/deny": 404,
}


def schemas_with_examples(node, where=""):
    """(where it is, schema, example) of every example in the document."""
    if isinstance(node, list):
        for number, each in enumerate(node):
            yield from schemas_with_examples(each, f"{where}/{number}")
    elif isinstance(node, dict):
        schema = node.get("schema", node)
        if "example" in node:
            yield where, schema, node["example"]
        examples = node.get("examples", {})
        for name, each in examples.items() if isinstance(examples, dict) else enumerate(examples):
            yield f"{where}/{name}", schema, each["value"] if isinstance(examples, dict) else each
        for name, each in node.items():
            if name not in ("example", "examples"):
                yield from schemas_with_examples(each, f"{where}/{name}")


def test_the_description_is_openapi():
    from openapi_spec_validator import validate  # slow to load

    validate(DOCUMENT)


def test_every_row_of_the_map_is_described_and_nothing_else():
    rows = [row for rows in ROUTES.values() for row in rows]
    paths = [(method, re.sub("<(.*?)>", r"{\1}", row.path)) for row in rows for method in row.methods.split()]
    assert sorted(OPERATIONS) == sorted(f"{method} {path}" for method, path in paths)


def test_every_example_is_as_its_schema_says():
    validated = 0
    for where, schema, example in schemas_with_examples(DOCUMENT):
        validator = Draft202012Validator({**schema, "components": described.ours().closed})
        assert not list(validator.iter_errors(example)), where
        validated += 1
    assert validated > 300


def test_an_example_that_is_not_as_its_schema_says_would_be_noticed():
    (found,) = schemas_with_examples({"schema": {"type": "string"}, "example": 5})
    assert list(Draft202012Validator(found[1]).iter_errors(found[2]))


@pytest.mark.parametrize("path", ["/openapi.json", "/swagger.json"])
def test_it_is_served_to_programs(client, path):
    answer = client.get(path)
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.json == DOCUMENT
    assert answer.headers["Cache-Control"] == "public, max-age=300"


def test_the_parameters_of_an_invite_are_those_that_are_read():
    assert set(shapes.InviteParameters.__annotations__) == {*drafts.READERS, "preset"}


def test_a_member_that_is_not_described_is_noticed(client, alice, monkeypatch):
    tell = hitkey._user
    monkeypatch.setattr(hitkey, "_user", lambda user: {**tell(user), "shoe_size": 39})
    with pytest.raises(Undescribed, match="shoe_size"):
        client.get("/auth/me", headers=alice.bearer)


def test_a_member_that_is_missing_or_of_another_type_is_noticed(client, alice, monkeypatch):
    tell = hitkey._user
    monkeypatch.setattr(hitkey, "_user", lambda user: {**tell(user), "displayName": None})
    with pytest.raises(Undescribed, match="None is not of type 'string'"):
        client.get("/auth/me", headers=alice.bearer)
    monkeypatch.setattr(hitkey, "_user", lambda user: {"id": user.id, "email": user.email})
    with pytest.raises(Undescribed, match="'displayName' is a required property"):
        client.get("/auth/me", headers=alice.bearer)


def test_a_refusal_that_is_not_described_is_noticed(client, alice, monkeypatch):
    monkeypatch.setattr(hitkey, "STATUS", dict.fromkeys(hitkey.STATUS, 418))
    with pytest.raises(Undescribed, match="418"):
        client.get("/auth/me")


def test_the_page_shows_every_call_and_how_to_make_it(client):
    page = client.get("/docs", headers={"Accept-Language": "de"})
    assert '<html lang="en"' in page.text
    text = page.text.replace("&#34;", '"').replace("&#39;", "'")
    for name, operation in OPERATIONS.items():
        assert f"<code>{name}</code></h3>" in text
        for sample in operation.get("x-codeSamples", ()):
            assert sample["source"] in text


def test_what_the_page_says_once_for_all_calls_is_said_there():
    codes = {code for _, code, _ in manual.facts(DOCUMENT)["common"]}
    assert codes == manual.COMMON


@pytest.mark.long
def test_every_line_to_copy_does_what_it_is_for(serve, house, root, make_invite):
    """With a key, a token and invites that there are; the rest stays as it is on the page."""
    require("curl", "curl")
    served = serve()
    with house.writing():
        key = keys.create("docs", may=keys.SCOPES)
    root.verify_address()
    document = json.loads(served.get("/openapi.json").body)
    answered = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            for sample in operation.get("x-codeSamples", ()):
                line = sample["source"].replace(values.TOKEN, make_invite()).replace("ID/SECRET", key)
                line = line.replace("ACCESS_TOKEN", root.sign_in()["Authorization"].removeprefix("Bearer "))
                with house.writing():
                    draft = drafts.Draft(email="dora@example.org", approve=True, uses=3)
                    invite, of = invites.find(invites.create_token(draft, drafts.SHELL)), key.partition("/")[0]
                    held = holds.take(invite, of, holds.Wanted("anne", email=draft.email))
                    asking = holds.take(invite, of, holds.Wanted("bob", email=draft.email, complete=True))
                line = line.replace(f'"redemption": "{SOME_ID}"', f'"redemption": "{asking.id}"')
                line = line.replace(f"/v1/invites/{SOME_ID}", f"/v1/invites/{invite.id}")
                line = line.replace(f"/v1/holds/{SOME_ID}", f"/v1/holds/{held.id}")
                line = line.replace("anne@", f"anne{len(answered)}@").replace("=anne", f"=anne{len(answered)}")
                answered[f"{method.upper()} {path}"] = curl(line)
    unsuccessful = {name: status for name, status in answered.items() if status not in (200, 201, 202, 204, 303)}
    assert unsuccessful == IN_VAIN
    assert len(answered) > 30


@pytest.mark.long
def test_the_first_lines_of_the_page_create_check_use_and_revoke(serve):
    """In this order, with the key, token and id that they ask to be put in."""
    require("curl", "curl")
    served = serve()
    key = served.run("create", "shop", "--may", "create,redeem,manage")
    acts = manual.facts(json.loads(served.get("/openapi.json").body))["acts"]
    lines = {act: line.replace("{key}", key) for act, _, line in acts}
    assert list(lines) == ["Create", "Check", "Use", "Revoke"]
    assert all(f"{served.url}/" in line for line in lines.values())
    invite = answered(lines["Create"])["invite"]
    put = {name: line.replace("{token}", invite["token"]).replace("{id}", invite["id"]) for name, line in lines.items()}
    assert answered(put["Check"])["valid"] is True
    assert answered(put["Use"])["state"] == "done"
    assert answered(put["Revoke"])["invite"]["state"] == "revoked"
    assert answered(put["Check"])["code"] == "INVITE_EXPIRED"


def answered(line):
    """The JSON that a line of shell prints."""
    return json.loads(subprocess.run(["bash", "-c", f"{line} -s"], capture_output=True, check=True).stdout)


TALLEST = 8000  # CSS pixels of the page in a window of 1280, folded


@pytest.mark.long
def test_the_page_is_folded_and_opens_where_its_links_lead(served, window):
    window.origin = served.url
    window.size(1280, 900)
    window.open("/docs")
    folded = window.run("return document.documentElement.scrollHeight")
    assert folded <= TALLEST
    assert "POST /v1/invites" not in window.seen
    texts = [each.text for each in window.driver.find_elements(By.CSS_SELECTOR, "main > details > summary")]
    assert texts[2:7] == ["/v1, the API of this service", "Holds", "Prosody", "Agentbot", "HitKey"]
    window.open("/docs#post_v1_invites")
    assert window.until(lambda: "POST /v1/invites" in window.seen)
    window.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert window.run("return document.documentElement.scrollHeight") > 5 * TALLEST  # all of it is there


def test_two_different_shapes_of_one_name_are_refused():
    schemas = Schemas()
    schemas.of(TypedDict("Guest", {"name": str}))
    schemas.of(TypedDict("Guest", {"name": str}))
    with pytest.raises(ValueError, match="Guest"):
        schemas.of(TypedDict("Guest", {"name": int}))


@pytest.mark.long
def test_a_line_is_copied_as_it_stands(served, window):
    window.origin = served.url
    window.tell("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    window.open("/docs")
    line = window.driver.find_element(By.CSS_SELECTOR, ".line pre").text
    window.named("Copy").click()
    window.until(lambda: window.named("Copied"))
    copied = window.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert copied == line
    assert line.startswith('curl -H "Authorization: Bearer {key}"')


def curl(line):
    done = subprocess.run(
        ["bash", "-c", f"{line} -s -o /dev/null -w '%{{http_code}}'"], capture_output=True, text=True, check=True
    )
    return int(done.stdout)
