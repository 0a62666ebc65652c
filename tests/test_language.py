"""Pages and mail speak the language of their reader, and every text is there in every language."""

import importlib.util
import re
from datetime import UTC, datetime

import pytest
import time_machine
from babel.messages.catalog import Catalog

import clock
import language
from app import create_app
from conftest import make_settings, seen
from delivery import mail
from models import Letter
from rules import drafts, invites
from settings import HOME, LANGUAGES, TRANSLATIONS, ConfigError, in_force

pytestmark = pytest.mark.any_database

OTHERS = LANGUAGES[1:]


@pytest.fixture(scope="module")
def update():
    """language/update.py, which is a command and no module of the service."""
    spec = importlib.util.spec_from_file_location("update", TRANSLATIONS / "update.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("code", OTHERS)
def test_every_text_is_there_with_its_facts(update, code):
    catalogue = update.read(TRANSLATIONS / f"{code}.po")
    assert {each.id for each in catalogue} == {each.id for each in update.collected()}
    assert update.untranslated(catalogue) == []


def test_a_text_that_is_missing_or_lacks_a_fact_is_noticed(update):
    catalogue = Catalog(locale="de")
    catalogue.add("Sign in", "")
    catalogue.add("Welcome, %(name)s", "Willkommen, %(nam)s", flags=["python-format"])
    catalogue.add("Sign out", "Abmelden")
    assert len(update.untranslated(catalogue)) == 2


def test_the_texts_of_templates_rules_and_mail_are_collected(update):
    texts = {each.id for each in update.collected()}
    assert {"Sign in", "must have at least %(shortest)s characters", "Your invitation to %(to)s"} <= texts
    assert "This user name is taken. Choose another one." in texts


@pytest.mark.parametrize(
    ("asked", "spoken"),
    [
        ("de", "de"),
        ("de-AT,en;q=0.5", "de"),
        ("fr,de;q=0.7,en;q=0.3", "de"),
        ("en-GB,de;q=0.9", "en"),
        ("de;q=0,fr", "en"),
        ("fr", "en"),
        ("", "en"),
        ("*", "en"),
        ("\xff;;;q=x," * 50, "en"),
    ],
)
def test_a_page_is_in_the_language_its_reader_asks_for(client, asked, spoken):
    page = client.get("/", headers={"Accept-Language": asked})
    assert f'<html lang="{spoken}"' in page.text
    assert ("Hast du schon ein Konto?" in page.text) == (spoken == "de")
    assert "Accept-Language" in page.headers["Vary"]


def test_where_nothing_we_know_is_asked_for_the_setting_counts(tmp_path, house):
    client = create_app(make_settings(tmp_path / "instance", LANGUAGE="de")).test_client()
    assert "Hast du schon ein Konto?" in client.get("/").text
    assert "Already have an account?" in client.get("/", headers={"Accept-Language": "en"}).text
    with pytest.raises(ConfigError, match="write en or de"):
        make_settings(tmp_path, LANGUAGE="tlh")


def test_what_is_refused_is_said_in_the_readers_language(client, make_invite):
    german = {"Accept-Language": "de"}
    form = {"token": make_invite(), "user": "anne", "password": "short"}
    assert "Muss mindestens 8 Zeichen haben." in client.post("/register", data=form, headers=german).text
    with time_machine.travel(datetime(2026, 3, 1, 12, 0, tzinfo=UTC), tick=False):
        token = make_invite(ttl="1h")
    assert "Sie war bis 1. März 2026, 13:00 UTC gültig." in seen(client.get(f"/invite?{token}", headers=german))
    assert "expired" in client.get(f"/invites/{token}", headers=german).json["error"]  # programs read English


def test_mail_is_in_the_language_of_the_place(tmp_path, house):
    with in_force(make_settings(tmp_path / "instance", LANGUAGE="de", SITE_NAME="Villa")), house.writing() as unit:
        invites.create(drafts.Draft(email="anne@example.org"), drafts.SHELL, mailed=True)
        unit.session.flush()
        message = mail.compose(unit.session.query(Letter).one())
    assert message["Subject"] == "Deine Einladung zu Villa"
    text, html = (part.get_content() for part in message.iter_parts())
    assert "Öffne diesen Link, um beizutreten:" in text
    assert '<html lang="de" dir="ltr">' in html


def test_dates_and_numbers_are_written_as_the_language_does():
    moment = datetime(2026, 11, 28, 9, 5, tzinfo=UTC)
    english, german = language.named("en"), language.named("de")
    assert english.moment(moment) == "28 November 2026, 09:05 UTC"
    assert german.moment(moment) == "28. November 2026, 09:05 UTC"
    assert (english.number(12345), german.number(12345)) == ("12,345", "12.345")
    with time_machine.travel(moment - 6 * clock.DAY, tick=False):
        assert (english.distance(moment), german.distance(moment)) == ("in 6 days", "in 6 Tagen")
    assert english.direction == german.direction == "ltr"


def test_lengths_of_time_are_in_the_case_that_their_labels_need():
    """In lists they stand beside 7 days and others, as `span` writes them: never in the dative."""
    german = language.named("de")
    for text in ("1 day", "7 days", "30 days", "90 days", "1 year"):
        number, unit = text.split()
        length = int(number) * (clock.DAY * 365 if unit == "year" else clock.DAY)
        assert german.text(text) == german.span(length)


def test_english_texts_have_one_kind_of_apostrophe(update):
    curly = [each.id for each in update.collected() if "’" in "".join(each.id) and "%(characters)s" not in each.id]
    assert curly == []


def test_a_time_that_is_seen_is_written_as_the_reader_writes_it():
    """As a <time>, which the script writes in the reader's own time: only what is read aloud alone is plain text."""
    for path in sorted((HOME / "templates").rglob("*.html")):
        if path.parent.name != "mail":
            text = re.sub(r'aria-label="[^"]*(?:\{%.*?%\}|\{\{.*?\}\})[^"]*"', "", path.read_text())
            text = re.sub(r"<time datetime.*?</time>", "", text)
            assert "| moment" not in text, path.name


def test_nothing_in_a_template_is_left_untranslated():
    """Text between tags that is neither in a trans block nor comes from an expression."""
    strays = []
    for path in set((HOME / "templates").rglob("*.html")) - {HOME / "templates" / "docs.html"}:
        text = re.sub(
            r"\{%-?\s*trans.*?endtrans\s*-?%\}|\{% block (?:tab|kind).*?endblock %\}|\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}",
            "",
            path.read_text(),
            flags=re.S,
        )
        text = re.sub(r"<[^>]*>", "\n", text)
        strays += [(path.name, line.strip()) for line in text.splitlines() if re.search("[A-Za-z]{2}", line)]
    assert strays == []
