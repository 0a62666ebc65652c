"""One act, one word: the words that were given up are in no page, mail, help, refusal or description of the API."""

import re
from inspect import cleandoc

import click
import pytest
from babel.messages.pofile import read_po

import cli
import test_cli
from commands import base
from conftest import Browser
from rules import changing, invites, keys, refusals
from settings import HOME, LANGUAGES, TRANSLATIONS, table
from test_language import update  # noqa: F401 (a fixture)
from test_openapi import DOCUMENT
from web.openapi import TITLES
from words import old_words

pytestmark = pytest.mark.any_database

FOUND = [
    "It is good until 5 December.",
    "It is for anne@example.org alone.",
    "You now belong to Tea Garden.",
    "Make an account",
    "Is one of the first that anybody would guess",
    "I have forgotten my password",
    "Look among the spam, too.",
    "That did not work (404)",
    "Whom it is for",
    "It is made.",
    "The invitation lives on.",
    "The old one is dead.",
    "withdrawn",
    "shut out",
    "somebody unknown",
    "It was made by the maker for ever",
    "Older ones",
    "is no e-mail address such as anne@example.org",
    "WENT WRONG",
    "columns that are not known",
    "has an open invite already",
    "Ask whoever sent it",
    "Log in",
]
LEFT = [
    "Valid until 5 December.",
    "Only for anne@example.org.",
    "Create your account",
    "Invitation created.",
    "The old link no longer works.",
    "Make an account an admin of this site.",
    "must be 1 for an invite that makes an admin",
    "%(who)s made %(user)s the owner of the project",
    "Open invitation",
    "Forgot password?",
    "unknown fields are ignored",
    "the disk is full: make room on the disk",
    "made_by, makes_admin, --maker",
    "Everyone with an account may see it.",
]


@pytest.mark.parametrize("text", FOUND)
def test_a_word_that_was_given_up_is_found(text):
    assert old_words(text)


@pytest.mark.parametrize("text", LEFT)
def test_the_words_that_are_used_instead_are_left_alone(text):
    assert old_words(text) == []


@pytest.mark.parametrize("text", ["Die Einladung wurde zurückgezogen", "Sie gilt für immer", "Mache eine Einladung"])
def test_a_german_word_that_was_given_up_is_found(text):
    assert old_words(text, "de")
    assert old_words("Die Einladung wurde widerrufen. Lege ein Konto an. Gültig bis 5. Dezember.", "de") == []


def with_old_words(texts, language="en"):
    """Those (place, text) of some in which old words are, and which."""
    wrong = [(place, text, old_words(text, language)) for place, text in texts]
    return [each for each in wrong if each[2]]


def texts_to_translate(catalogue, of):
    """(places, text) of a catalogue."""
    for each in catalogue:
        if each.id:
            texts = [each.id] if of == "id" else [each.string]
            for text in texts:
                yield " ".join(place for place, _ in each.locations), text if isinstance(text, str) else " ".join(text)


def test_no_text_of_a_page_a_mail_or_a_refusal_has_old_words(update):  # noqa: F811
    assert with_old_words(texts_to_translate(update.collected(), "id")) == []


@pytest.mark.parametrize("code", LANGUAGES[1:])
def test_no_translation_has_old_words(code):
    with (TRANSLATIONS / f"{code}.po").open("rb") as file:
        catalogue = read_po(file, locale=code)
    assert with_old_words(texts_to_translate(catalogue, "string"), code) == []


def test_no_page_has_old_words_beside_its_translated_texts():
    pages = [*(HOME / "templates").rglob("*.html"), *(HOME / "templates").rglob("*.txt")]
    bare = [
        (str(each.relative_to(HOME)), re.sub(r"\{[{%#].*?[}%#]\}|<[^>]*>", " ", each.read_text(), flags=re.S))
        for each in pages
    ]
    assert with_old_words(bare) == []


def test_no_help_of_a_command_and_no_meaning_of_a_setting_has_old_words():
    root = click.Context(cli.main, info_name="invite-api")
    helps = [cli.main.get_help(root)]
    helps += [each.get_help(click.Context(each, info_name=" ".join(path))) for path, each in test_cli.commands()]
    helps += [meaning for _, _, meaning in table()]
    assert len(helps) > 90
    assert with_old_words(("commands/", each) for each in helps) == []


def test_no_sentence_of_a_refusal_has_old_words():
    kinds = [each for each in vars(refusals).values() if isinstance(each, type) and issubclass(each, refusals.Refusal)]
    members = [(name, value) for each in kinds for name, value in vars(each).items() if isinstance(value, str)]
    sentences = [value for name, value in members if name.startswith("sentence")]
    assert len(sentences) > 50
    assert with_old_words(("rules/", each) for each in [*sentences, *base._MESSAGES.values()]) == []


def described():
    """(place, text) of every sentence in the description of the API."""
    files = {title: f"dialects/{name}.py" for name, title in TITLES.items()}
    for path in DOCUMENT["paths"].values():
        for operation in path.values():
            place = files[operation["tags"][0]]
            yield place, f"{operation['summary']} {operation.get('description', '')}"
            for each in operation["parameters"]:
                yield from (("dialects/shapes/", text) for text in sentences(each))
    yield from (("dialects/shapes/", text) for text in sentences(DOCUMENT["components"]["schemas"]))
    yield "web/openapi.py", DOCUMENT["info"]["description"]
    yield from ((files[each["name"]], each["description"]) for each in DOCUMENT["tags"])


def sentences(found):
    """Every description in a part of the document, however deep."""
    if isinstance(found, list):
        for each in found:
            yield from sentences(each)
    elif isinstance(found, dict):
        for name, value in found.items():
            if name == "description" and isinstance(value, str):
                yield cleandoc(value)
            else:
                yield from sentences(value)


def test_no_description_of_the_api_has_old_words():
    texts = [*described()]
    assert len(texts) > 300
    assert with_old_words(texts) == []


@pytest.fixture
def one_active_and_one_revoked(make_invite, house):
    bobs = make_invite(name="Bob")
    with house.writing():
        changing.revoke(invites.find(bobs))
    make_invite(name="Anne")


def test_the_former_words_for_states_are_taken_by_every_filter(
    client, house, root, invite_api, one_active_and_one_revoked
):
    with house.writing():
        reader = {"Authorization": f"Bearer {keys.create('reader', may=('read',))}"}
    browser = Browser(client.application.test_client())
    browser.sign_in("root")
    for words, name, other in ((("active", "open"), "Anne", "Bob"), (("revoked", "withdrawn"), "Bob", "Anne")):
        for word in words:
            ours = client.get(f"/v1/invites?state={word}", headers=reader).json["invites"]
            theirs = client.get(f"/api/admin/invites?status={word}", headers=root.bearer).json["invites"]
            assert [[each["name"] for each in found] for found in (ours, theirs)] == [[name], [name]]
            page = browser.client.get(f"/admin?status={word}").text
            assert (f"<bdi>{name}</bdi>" in page, f"<bdi>{other}</bdi>" in page) == (True, False)
            assert invite_api("invite", "list", "--state", word).stdout.split("\t")[3] == name
    assert client.get("/v1/invites?state=dead", headers=reader).json["errors"][0]["field"] == "state"
    refused = invite_api("invite", "list", "--state", "dead").stderr
    assert "'active', 'used', 'expired', 'revoked'" in refused
    assert "withdrawn" not in refused
