"""Presets: fields of an invite under a name, in every way in which an invite is created; and keys bound to one."""

import json
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

import clock
from conftest import Person, led, seen
from models import Event, Invite, Preset
from rules import accounts, drafts, guests, invites, keys, presets, projects
from rules.guests import Batch
from rules.refusals import Invalid

FAMILY = {"plan": "gold", "ttl": "30d", "uses": "5"}


@dataclass
class Ways:
    """All that creates invites over HTTP, each with a preset, as one who may."""

    client: Any
    key: str
    owner: Person
    admin: Person
    once: dict[str, str] = field(default_factory=dict)

    def query(self, preset: str, **besides: str):
        return self.client.get(
            "/invites_api", query_string={"preset": preset, **besides}, headers=self.bearer(self.key)
        )

    def form(self, preset: str, **besides: str):
        return self.client.post("/invites_api", data={"preset": preset, **besides}, headers=self.bearer(self.key))

    def json(self, preset: str, **besides: str):
        return self.client.post("/invites_api", json={"preset": preset, **besides}, headers=self.bearer(self.key))

    def by_name(self, preset: str):
        return self.client.post(
            "/api/invite", json={"name": "Anne", "preset": preset}, headers={**self.owner.bearer, **self.once}
        )

    def for_address(self, preset: str):
        body = {"email": "anne@example.org", "preset": preset}
        return self.client.post("/api/admin/invites", json=body, headers={**self.admin.bearer, **self.once})

    def to_project(self, preset: str, **besides: str):
        body = {"email": "anne@example.org", "preset": preset, **besides}
        return self.client.post("/projects/tea-garden/invites", json=body, headers={**self.owner.bearer, **self.once})

    def short_code(self, key: str):
        return self.client.post("/api/invite/generate", headers=self.bearer(key))

    def bearer(self, key: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {key}", **self.once}


HTTP = ("query", "form", "json", "by_name", "for_address", "to_project")


@pytest.fixture
def ways(client, key, alice, root, house):
    with house.writing():
        projects.create(accounts.named("alice"), projects.ProjectDraft("Tea Garden"))
    return Ways(client, key, alice, root)


@pytest.fixture
def make(house) -> Callable[..., None]:
    """Create a preset."""

    def create(name: str = "family", **given: object) -> None:
        with house.writing():
            presets.create(name, given or FAMILY)

    return create


@pytest.fixture
def bound(house, make) -> str:
    """An API key that is bound to the preset family."""
    make()
    with house.writing():
        return keys.create("shop", preset="family")


@pytest.fixture
def drop(house) -> Callable[..., list[str | None]]:
    """Delete a preset; the names of the keys that are bound to it."""

    def delete(name: str = "family") -> list[str | None]:
        with house.writing():
            return [each.name for each in presets.delete(name)]

    return delete


def of(invite: Invite) -> tuple[str, int, timedelta]:
    """What a preset here says of an invite."""
    assert invite.expires_at
    return invite.plan, invite.max_uses, invite.expires_at - invite.created_at


def refused(answer: Any) -> dict[str, str]:
    """What is wrong with which field."""
    return {each["field"]: each["message"].partition(": ")[2] for each in answer.json["errors"]}


@pytest.mark.parametrize("way", HTTP)
def test_an_invite_is_what_its_preset_says_however_it_is_created(ways, make, stored, way):
    make()
    assert getattr(ways, way)("family").status_code == 201
    (invite,) = stored()
    assert of(invite) == ("gold", 5, 30 * clock.DAY)


@pytest.mark.parametrize("way", ["query", "form", "json"])
def test_what_is_given_besides_wins(ways, make, stored, way):
    make()
    assert getattr(ways, way)("family", plan="silver", uses="1").status_code == 201
    (invite,) = stored()
    assert of(invite) == ("silver", 1, 30 * clock.DAY)


def test_the_address_the_role_and_the_project_of_a_call_win(ways, make, stored):
    make(email="bob@example.org", role="admin", project="tea-garden", redirect_url="https://example.org/a")
    given = {"role": "member", "redirect_url": "https://example.org/b"}
    assert ways.to_project("family", **given).status_code == 201
    assert ways.by_name("family").status_code == 400  # the role that nobody took back
    (invite,) = stored()
    assert (invite.email, invite.role, invite.redirect_url) == ("anne@example.org", "member", "https://example.org/b")


@pytest.mark.parametrize("way", HTTP)
def test_an_unknown_preset_is_named_with_what_there_is_and_nothing_is_created(ways, make, stored, way):
    make("friends")
    make("choir")
    answer = getattr(ways, way)("family")
    assert answer.status_code == (422 if way == "to_project" else 400)
    assert refused(answer) == {"preset": "is unknown: family; there are choir, friends"}
    assert refused(getattr(ways, way)("Freinds"))["preset"] == "is unknown: Freinds; did you mean friends?"
    assert stored() == []


def test_where_there_are_no_presets_that_is_said(ways):
    assert refused(ways.query("family"))["preset"] == "is unknown: family; there are none here"


@pytest.mark.parametrize("odd", ["a b", "a/b", "-a", "..", "_a", "<b>", "x" * 51, "a\u200bb", ""])
def test_what_no_preset_may_be_called_is_refused_by_every_call_and_when_it_is_created(ways, house, stored, odd):
    for way in ("query", "form", "json"):
        assert refused(getattr(ways, way)(odd)).keys() == {"preset"}
    with house.writing(), pytest.raises(Invalid, match="preset: "):
        presets.create(odd, FAMILY)
    assert stored() == []


@pytest.mark.parametrize("way", ["json", "by_name", "for_address", "to_project"])
@pytest.mark.parametrize("odd", [5, True, ["family"], {"name": "family"}])
def test_a_preset_that_is_no_text_is_refused(ways, make, stored, way, odd):
    make()
    assert refused(getattr(ways, way)(odd)) == {"preset": "must be text"}
    assert stored() == []


@pytest.mark.parametrize("name", ["family", "Family", "f", "x" * 50, "garten-fest_2026.a", "gäste", "友達"])
def test_a_preset_is_called_as_people_type(house, name):
    with house.writing():
        presets.create(name, FAMILY)
        assert presets.find(name) == FAMILY
        assert presets.named(name).name == name


def test_a_preset_is_created_and_deleted_once_and_told(house, make, drop):
    make()
    with house.writing(), pytest.raises(Invalid, match="preset: is taken: there is a preset family already"):
        presets.create("family", {"plan": "silver"})
    with house.reading():
        assert [(each.name, presets.fields_of(each)) for each in presets.by_name()] == [("family", FAMILY)]
    assert drop() == []
    with house.writing(), pytest.raises(Invalid, match="preset: is unknown: family; there are none here"):
        presets.delete("family")
    with house.reading() as unit:
        told = unit.session.scalars(select(Event).where(Event.type.startswith("preset.")).order_by(Event.number)).all()
        assert [(each.type, json.loads(each.facts)) for each in told] == [
            ("preset.created", {"preset": "family"}),
            ("preset.deleted", {"preset": "family"}),
        ]


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        ({"ttl": "soon", "uses": "0", "role": "owner"}, {"ttl", "uses", "role"}),
        ({"email": "anne@"}, {"email"}),
        ({"redirect_url": "javascript:alert(1)"}, {"redirect_url"}),
        ({"project": "nowhere"}, {"project"}),
        ({"shoe_size": "39", "plan": "gold"}, {"shoe_size"}),
        ({"makes_admin": True}, {"makes_admin"}),
        ({"preset": "family"}, {"preset"}),
        ({"name": "Anne"}, {"name"}),
        ({"uses": 5.5}, {"uses"}),
        ({}, {"preset"}),
        ({"plan": "", "ttl": None}, {"preset"}),
    ],
)
def test_fields_that_no_invite_may_have_make_no_preset(house, given, wrong):
    with house.writing(), pytest.raises(Invalid) as refusal:
        presets.create("family", given)
    assert {each.field for each in refusal.value.problems} == wrong
    with house.reading():
        assert presets.by_name() == []


def test_what_is_wrong_with_name_and_fields_is_said_at_once(house):
    with house.writing(), pytest.raises(Invalid) as refusal:
        presets.create("a b", {"uses": "many"})
    assert [each.field for each in refusal.value.problems] == ["preset", "uses"]


def test_every_field_of_an_invite_but_its_guests_name_may_stand_in_a_preset():
    assert set(presets.FIELDS) == set(drafts.READERS) - {"name"}


@pytest.mark.parametrize(
    ("given", "wrong"), [({"role": "admin", "project": "tea-garden"}, "role"), ({"ttl": "never"}, "ttl")]
)
def test_a_preset_gives_nobody_more_than_they_may_ask_for(ways, make, stored, given, wrong):
    make(**given)
    for way in ("query", "form", "json", "by_name"):
        answer = getattr(ways, way)("family")
        assert (answer.status_code, [*refused(answer)]) == (400, [wrong])
    assert stored() == []
    assert ways.for_address("family").status_code == 201


def test_who_manages_a_project_invites_to_it_by_a_preset_and_nobody_else_by_an_account(ways, make, stored, charlie):
    make(project="tea-garden")
    body = {"name": "Anne", "preset": "family"}
    answer = ways.client.post("/api/invite", json=body, headers=charlie.bearer)
    assert (answer.status_code, refused(answer)) == (
        400,
        {"project": "can be tea-garden only if its owner or admin creates the invitation"},
    )
    assert stored() == []
    assert ways.by_name("family").status_code == 201
    assert ways.query("family").status_code == 201
    assert {each.project_id is None for each in stored()} == {False}


def test_a_preset_goes_with_its_project_and_creates_nothing(ways, make, stored, house):
    make(project="tea-garden")
    with house.writing():
        projects.delete("tea-garden")
    assert refused(ways.query("family")) == {"preset": "is unknown: family; there are none here"}
    assert stored() == []


def test_a_key_that_is_bound_creates_by_its_preset_named_or_not(ways, bound, stored):
    ways.key = bound
    assert ways.client.get("/invites_api", headers=ways.bearer(bound)).status_code == 201
    for way in ("query", "form", "json"):
        assert getattr(ways, way)("family", uses="5", ttl=str(30 * 24 * 3600), name="Anne").status_code == 201
    assert {of(each) for each in stored()} == {("gold", 5, 30 * clock.DAY)}
    assert [each.name for each in stored()] == [None, "Anne", "Anne", "Anne"]


@pytest.mark.parametrize("way", ["query", "form", "json"])
def test_what_its_preset_names_a_bound_key_cannot_change(ways, bound, stored, way):
    ways.key = bound
    answer = getattr(ways, way)("family", plan="silver", uses="6", note="mine")
    said = "is set by the preset family, to which this API key is bound"
    assert (answer.status_code, refused(answer)) == (400, {"plan": said, "uses": said})
    assert stored() == []


@pytest.mark.parametrize("way", ["query", "form", "json"])
def test_a_bound_key_cannot_use_another_preset(ways, bound, make, stored, way):
    make("friends")
    ways.key = bound
    for other in ("friends", "nothing"):
        assert refused(getattr(ways, way)(other)) == {"preset": "must be family: this API key is bound to it"}
    assert stored() == []


def test_a_key_whose_preset_was_deleted_creates_nothing(ways, bound, drop, stored, make):
    assert drop() == ["shop"]
    ways.key = bound
    for answer in (
        ways.client.get("/invites_api", headers=ways.bearer(bound)),
        ways.json("family"),
        ways.short_code(bound),
    ):
        said = "was deleted: family. An API key that is bound to it creates nothing"
        assert (answer.status_code, refused(answer)) == (400, {"preset": said})
    assert stored() == []
    make()
    assert ways.query("family").status_code == 201  # one of that name is there again


@pytest.mark.parametrize("way", HTTP)
def test_what_was_created_once_is_answered_again_without_its_preset(ways, make, drop, stored, way):
    make()
    ways.once = {"Idempotency-Key": "5b0e"}
    first = getattr(ways, way)("family")
    drop()
    again = getattr(ways, way)("family")
    assert (again.status_code, again.headers.get("Location"), again.data) == (
        first.status_code,
        first.headers.get("Location"),
        first.data,
    )
    assert len(stored()) == 1
    assert getattr(ways, way)("friends").json["code"] == "IDEMPOTENCY_KEY_REUSED"


def test_the_short_code_of_a_bound_key_is_for_an_invite_by_its_preset_and_lives_a_week(ways, bound, stored):
    assert ways.short_code(bound).status_code == 200
    (invite,) = stored()
    assert of(invite) == ("gold", 5, drafts.SHORT_CODE_TTL)


def test_whatever_creates_an_invite_without_asking_for_presets_is_refused_to_a_bound_key(house, bound):
    with house.writing():
        inviter = keys.authenticate(bound).inviter
        with pytest.raises(Invalid, match="preset: must be family"):
            invites.create(drafts.Draft(), inviter)


def test_a_row_of_a_guest_list_names_its_own_preset(house, make):
    make()
    make("friends", plan="bronze", note="by the sea")
    rows = guests.read(b"name,Preset,plan\nAnne,family,\nBob,,\nCarl,friends,silver\nDora,nothing,\n")
    with house.reading():
        batch = Batch({"preset": "friends", "ttl": "3d"}, drafts.SHELL)
        checked = list(batch.prepare(rows))
    made = [invite and (of(invite), invite.note) for _, invite, _ in checked]
    assert made == [
        (("gold", 5, 3 * clock.DAY), None),
        (("bronze", 1, 3 * clock.DAY), "by the sea"),
        (("silver", 1, 3 * clock.DAY), "by the sea"),
        None,
    ]
    assert [each.message for each in checked[3][2]] == ["is unknown: nothing; there are family, friends"]


def test_an_invite_that_makes_an_admin_is_for_one_whatever_a_preset_says(house, make):
    make()
    with house.writing(), pytest.raises(Invalid) as refusal:
        invites.create(presets.draft({"preset": "family"}, drafts.SHELL, makes_admin=True), drafts.SHELL)
    assert {each.field for each in refusal.value.problems} == {"uses", "ttl"}


def test_only_a_handful_of_presets_is_named_in_a_refusal(ways, house):
    with house.writing() as unit:
        fields = json.dumps(FAMILY)
        unit.session.add_all(Preset(name=f"p{each:03}", fields=fields, created_at=clock.now()) for each in range(500))
    said = refused(ways.query("zebra"))["preset"]
    assert said.startswith("is unknown: zebra; there are p000, p001, ")
    assert said.endswith(", p019, …")


@pytest.fixture
def command(invite_api, house):
    """Run a command that has to succeed; what it printed."""

    def run(*arguments: str) -> str:
        done = invite_api(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    return run


def test_a_preset_is_created_shown_used_and_deleted_at_a_shell(command, invite_api, stored):
    assert command("preset", "create", "family", "--plan", "gold", "--ttl", "30d", "--uses", "5") == ""
    key = command("create", "shop", "--may", "read,create", "--preset", "family").partition("/")[0]
    (listed,) = json.loads(command("preset", "list", "--json"))
    shown = json.loads(command("preset", "show", "family", "--json"))
    assert listed == {"name": "family", "fields": FAMILY, "created_at": listed["created_at"]}
    assert shown == {**listed, "keys": [{"id": key, "name": "shop"}]}
    assert command("preset", "list") == f"family\tplan=gold ttl=30d uses=5\t{listed['created_at']}\n"
    assert command("preset", "show", "family").splitlines()[1:4] == ["plan\tgold", "ttl\t30d", "uses\t5"]
    assert command("list", "--long").endswith("\tnever\tnever\tcreate,read\tfamily\n")
    (row,) = json.loads(command("list", "--json"))
    assert (row["may"], row["preset"]) == (["create", "read"], "family")
    command("invite", "create", "Anne", "--preset", "family", "--uses", "1")
    assert [(each.name, *of(each)) for each in stored()] == [("Anne", "gold", 1, 30 * clock.DAY)]
    done = invite_api("preset", "delete", "family")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == f"Note: API keys bound to it create nothing any more: {key} (shop)\n"
    assert command("preset", "list") == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("preset create family --plan gold", "Error: NAME: is taken: there is a preset family already"),
        ("preset create a/b --uses many", "Error: NAME: may not have / (U+002F) in its name"),
        ("preset create 'a b'", "Error: NAME: may not have “ ” (U+0020) in its name"),
        ("preset create choir", "Error: NAME: has no fields: give at least one"),
        ("preset create choir --project nowhere", "Error: --project: names no project: nowhere"),
        ("preset show famly", "Error: NAME: is unknown: famly; did you mean family?"),
        ("preset delete choir", "Error: NAME: is unknown: choir; there are family"),
        ("invite create --preset choir", "Error: --preset: is unknown: choir; there are family"),
        ("invite create --admin --preset family", "Error: --uses: must be 1 for an invite that makes an admin"),
        ("create shop --preset choir", "Error: --preset: is unknown: choir; there are family"),
        ("create shop --may create,everything", "Error: --may: must be some of create, redeem, read, manage"),
    ],
)
def test_what_a_command_cannot_do_is_said_with_the_option_and_nothing_is_changed(
    invite_api, make, house, stored, arguments, said
):
    make()
    done = invite_api(*shlex.split(arguments))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(said)
    assert stored() == []
    with house.reading():
        assert [each.name for each in presets.by_name()] == ["family"]
        assert keys.newest() == []


def test_an_option_that_a_script_left_empty_makes_no_preset_and_no_invite(invite_api, make, stored):
    make()
    for arguments in (["preset", "create", "choir", "--plan", ""], ["invite", "create", "--preset", ""]):
        done = invite_api(*arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert "is empty: say what it is to be, or leave it out." in done.stderr
    assert stored() == []


@pytest.fixture
def admin(browser, root):
    """A browser in which an admin of the site is signed in."""
    assert browser.sign_in("root").status_code == 303
    return browser


def once(browser: Any, path: str) -> str:
    """The number of a form that may be sent once."""
    return re.search(r'name="once" value="([^"]+)"', browser.client.get(path).text)[1]


def test_an_admin_creates_and_deletes_presets_on_a_page(admin, house):
    for _ in range(2):  # a double click
        answer = admin.post("/admin/presets", preset="family", plan="gold", ttl="30d", uses="5", project="", role="")
        assert led(answer) == "/admin/presets?done=made"
    with house.writing():
        assert presets.find("family") == {"plan": "gold", "ttl": "30d", "uses": "5"}
        keys.create("shop", preset="family")
    shown = seen(admin.follow(answer))
    assert "family Plan: gold Expires after: 30d Uses: 5 shop" in shown
    assert led(admin.post("/admin/presets/family/delete")) == "/admin/presets?done=deleted"
    shown = seen(admin.client.get("/admin/presets"))
    assert "The preset family was deleted: the API key shop creates nothing." in shown
    assert "family (deleted: the key creates nothing)" in seen(admin.client.get("/admin/keys"))


def test_what_is_wrong_with_a_new_preset_is_said_beside_what_was_typed(admin, make, house):
    make()
    page = admin.post("/admin/presets", preset="family", plan="silver", note="<b>mine</b>")
    assert page.status_code == 422
    assert 'id="preset-problem">Is taken: there is a preset family already.' in page.text
    assert "&lt;b&gt;mine&lt;/b&gt;" in page.text
    page = admin.post("/admin/presets", preset="a b", uses="many")
    assert ('id="preset-problem"' in page.text, 'id="uses-problem"' in page.text) == (True, True)
    page = admin.post("/admin/presets", preset="choir")
    assert "Has no fields: give at least one" in seen(page)
    assert admin.post("/admin/presets/nothing/delete").status_code == 422
    with house.reading():
        assert [each.name for each in presets.by_name()] == ["family"]


@pytest.mark.parametrize("path", ["/admin/presets", "/admin/presets/family/delete"])
def test_a_form_about_presets_that_stood_on_another_site_does_nothing(admin, make, house, path):
    make()
    assert admin.post(path, csrf="forged", preset="choir", plan="gold").status_code == 403
    with house.reading():
        assert [each.name for each in presets.by_name()] == ["family"]


def test_a_name_in_any_script_is_deleted_on_the_page(admin, make, house):
    make("gäste.友達")
    (path,) = re.findall(r'action="(/admin/presets/[^"]+/delete)"', admin.client.get("/admin/presets").text)
    assert admin.post(path).status_code == 303
    with house.reading():
        assert presets.by_name() == []


def test_the_form_of_an_invitation_has_the_presets_and_what_is_typed_wins(admin, make, stored):
    assert 'name="preset"' not in admin.client.get("/admin/invites/new").text
    make()
    assert '<option value="family">family</option>' in admin.client.get("/admin/invites/new").text
    for uses in ("", "2"):
        number = once(admin, "/admin/invites/new")
        assert admin.post("/admin/invites", once=number, preset="family", role="", uses=uses).status_code == 303
    assert sorted(map(of, stored())) == [("gold", 2, 30 * clock.DAY), ("gold", 5, 30 * clock.DAY)]
    page = admin.post("/admin/invites", once=once(admin, "/admin/invites/new"), preset="choir", role="")
    assert page.status_code == 422
    assert 'id="preset-problem">Is unknown: choir; there are family.' in page.text


def test_a_key_gets_its_scopes_and_its_preset_on_the_page(admin, make, house):
    make()
    form = {"name": "shop", "read": "on", "manage": "on", "preset": "family"}
    assert admin.post("/admin/keys", once=once(admin, "/admin/keys"), **form).status_code == 200
    assert admin.post("/admin/keys", once=once(admin, "/admin/keys"), name="plain").status_code == 200
    with house.reading():
        assert {(each.name, each.may, each.preset) for each in keys.newest()} == {
            ("shop", "read manage", "family"),
            ("plain", "create", None),
        }
    assert "read, manage family" in seen(admin.client.get("/admin/keys"))
    page = admin.post("/admin/keys", once=once(admin, "/admin/keys"), preset="choir", read="on")
    assert page.status_code == 422
    assert 'id="preset-problem">Is unknown: choir' in page.text
    assert re.search('name="read" value="on" checked', page.text)
    assert not re.search('name="create" value="on" checked', page.text)
