"""The personal message of an invite: what it may be, every way to give it, and where its guest reads it."""

import csv
import io
import time

import pytest

from conftest import seen
from delivery import mail
from models import Letter
from rules import accounts, drafts, invites, keys, messages, presets, projects
from rules.refusals import Invalid

SAID = "See you on Saturday!\n\nBring <b>cake</b>."


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("Welcome!", "Welcome!"),
        (" One \r\ntwo\rthree\t\n", "One\ntwo\nthree"),
        ("One\n\n\n\n\ntwo", "One\n\ntwo"),
        ("x" * 500, "x" * 500),
        ("Ｂ e\u0301", "Ｂ é"),
        ("Do you know example.com? Or Anne.Bob?!", "Do you know example.com? Or Anne.Bob?!"),
        (
            "At 8:00, z.B. 1.50/2.00 or Anne/Bob :) 👩\u200d👩\u200d👧 ❤️",
            "At 8:00, z.B. 1.50/2.00 or Anne/Bob :) 👩\u200d👩\u200d👧 ❤️",
        ),
    ],
)
def test_a_message_is_plain_text_with_line_breaks(typed, kept):
    assert messages.read(typed) == kept


@pytest.mark.parametrize(
    ("typed", "rule"),
    [
        *((each, "link") for each in ("See https://x.example", "HTTP://x", "www.example.org", "ftp://x")),
        *((each, "link") for each in ("on example.org/join", "example.org:8080", "１０.0.0.1/x", "ｅvil．com/x")),
        *((each, "link") for each in ("हिन्दी.com/login", "evil.भारत/x", "evil\ufe0f.com/x", "evilq\u0331.com/x")),
        *((each, "link") for each in ("evil\u200d.com/x", "evil.co\u200dm/x", "💩.la/x", "evil。com/x", "9https://x")),
        *((each, "link") for each in ("evil.com?x=1", "evil.com#x", "evil.com\\x", "wwｗ｡x.org")),
        *((each, "characters") for each in ("a\x1b[31m", "a\u202eb", "a\u200bb", "a\u034fb", "a\u2800b", "a\u17b4b")),
        ("a" + 5 * "\ufe0f", "characters"),
        *((each, "maxLength") for each in ("x" * 501, "x" * 3000)),
        *((each, "required") for each in ("\n \n", "\t")),
        *((each, "string") for each in (5, ["x"])),
    ],
)
def test_a_message_with_a_link_or_too_long_or_of_what_cannot_be_seen_is_refused(typed, rule):
    with pytest.raises(Invalid) as refused:
        messages.read(typed)
    assert [(each.field, each.rule) for each in refused.value.problems] == [("message", rule)]


@pytest.mark.parametrize("part", ["\ufb03", "\ufdfa", "1", "a-"])
def test_a_message_is_read_in_time_that_grows_with_its_length(part):
    typed = part * (500 // len(part))
    began = time.thread_time()  # of the processor: what else runs here does not count
    for _ in range(200):
        messages.read(typed)
    assert time.thread_time() - began < 1.5


WAYS = {  # who, where, in what, and what else
    "query": ("key", "/invites_api", "query_string", {}),
    "form": ("key", "/invites_api", "data", {}),
    "JSON": ("key", "/invites_api", "json", {}),
    "our own": ("key", "/v1/invites", "json", {}),
    "by name": ("alice", "/api/invite", "json", {"name": "Dora"}),
    "for address": ("root", "/api/admin/invites", "json", {"email": "dora@example.org"}),
    "to project": ("alice", "/projects/tea-garden/invites", "json", {"email": "dora@example.org"}),
}
EVERY_WAY = pytest.mark.parametrize("way", WAYS)


@pytest.fixture
def send(client, house, alice, root, key):
    """Create an invite in one of the ways, with this and the same Idempotency-Key; the answer."""
    with house.writing():
        projects.create(accounts.named("alice"), projects.ProjectDraft("Tea Garden"))
        presets.create("family", {"message": SAID})
    shown = {"key": {"Authorization": f"Bearer {key}"}, "alice": alice.bearer, "root": root.bearer}

    def create(way, **given):
        who, path, kind, besides = WAYS[way]
        return client.post(path, **{kind: besides | given}, headers=shown[who] | {"Idempotency-Key": "once"})

    return create


@EVERY_WAY
def test_a_message_is_given_in_every_way_and_is_a_part_of_what_was_asked(send, stored, way):
    assert send(way, message=SAID).status_code == 201
    assert [each.message for each in stored()] == [SAID]
    assert send(way, message=SAID).headers["Idempotency-Replayed"] == "true"
    assert send(way, message="Another one").json["code"] == "IDEMPOTENCY_KEY_REUSED"
    assert len(stored()) == 1


@EVERY_WAY
def test_a_message_with_a_link_is_refused_in_every_way_and_named(send, stored, way):
    answer = send(way, message="See www.example.org")
    assert answer.status_code == (422 if way == "to project" else 400)
    assert "message: may not have a link in it; take out www.example.org" in answer.json["error"]
    assert stored() == []


@EVERY_WAY
def test_a_preset_may_say_the_message(send, stored, way):
    assert send(way, preset="family").status_code == 201
    assert [each.message for each in stored()] == [SAID]


def test_a_program_changes_a_message_and_takes_it_away(client, house, stored):
    with house.writing():
        shown = keys.create("shop", may=("create", "read"))
    bearer = {"Authorization": f"Bearer {shown}"}
    made = client.post("/v1/invites", json={"message": SAID}, headers=bearer).json["invite"]
    assert made["message"] == SAID
    path = f"/v1/invites/{made['id']}"
    assert client.patch(path, json={"message": "x\r\ny"}, headers=bearer).json["invite"]["message"] == "x\ny"
    assert client.patch(path, json={"message": "www.x.org"}, headers=bearer).status_code == 400
    assert client.patch(path, json={"message": None}, headers=bearer).json["invite"]["message"] is None
    assert client.patch(path, json={"message": None}, headers=bearer).status_code == 200
    told = client.get(path, headers=bearer).json["events"]
    assert [each["facts"] for each in told[1:]] == [{"fields": ["message"]}] * 2


def test_the_page_quotes_the_message_with_the_name_of_who_wrote_it(client, house, alice, make_invite):
    with house.writing():
        accounts.named("alice").display_name = "Alice & Co"
        made = invites.create(drafts.read({"message": SAID}), accounts.as_inviter(accounts.named("alice")))
        hers = invites.token(made)
    page = client.get(f"/invite?{hers}")
    quoted = '<blockquote dir="auto">See you on Saturday!<br><br>Bring &lt;b&gt;cake&lt;/b&gt;.</blockquote>'
    assert quoted in page.text
    assert "cake</b>. – Alice & Co" in seen(page)
    assert "<blockquote" not in client.get(f"/invite?{make_invite()}").text


def test_the_mail_has_the_message_and_nothing_that_becomes_a_link(house, settings):
    with house.writing() as unit:
        given = {"email": "dora@example.org", "message": "It is <at> evil.com, नि.com, ask eve@evil.com\nBye"}
        invites.create(drafts.read(given), drafts.SHELL, mailed=True)
        unit.session.flush()
        message = mail.compose(unit.session.query(Letter).one())
    text, html = (part.get_content() for part in message.iter_parts())
    assert "> It is <at> evil. com, नि. com, ask eve @ evil. com\n> Bye\n" in text
    assert "It is &lt;at&gt; evil. com, नि. com, ask eve @ evil. com<br>Bye</blockquote>" in html


def test_a_message_stays_like_a_note_when_who_wrote_it_is_deleted(house, alice, stored):
    with house.writing():
        given = {"message": SAID, "note": "from school"}
        made = invites.create(drafts.read(given), accounts.as_inviter(accounts.named("alice")))
        assert made.message == SAID
        accounts.remove(accounts.named("alice"))
    (left,) = stored()
    assert (left.message, left.note, left.revoked_at is None) == (SAID, "from school", False)


def test_the_command_takes_shows_exports_and_imports_a_message(invite_api, tmp_path):
    link = invite_api("invite", "create", "Anne", "--message", SAID).stdout.strip()
    shown = invite_api("invite", "show", link).stdout
    assert "message\tSee you on Saturday!\nmessage\t\nmessage\tBring <b>cake</b>.\n" in shown
    exported = invite_api("invite", "export").stdout
    (row,) = csv.DictReader(io.StringIO(exported))
    assert row["message"] == SAID
    (tmp_path / "again.csv").write_text(exported.replace("Anne", "Bob"))
    again = invite_api("invite", "create", "--from", str(tmp_path / "again.csv")).stdout.strip()
    assert "message\tSee you on Saturday!\nmessage\t\nmessage\tBring" in invite_api("invite", "show", again).stdout
    refused = invite_api("invite", "create", "--message", "See https://x.example")
    assert refused.returncode == 1
    assert "--message: may not have a link in it; take out https://x.example" in refused.stderr
