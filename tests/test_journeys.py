"""From the link to the end of an account, in a real browser: by keyboard, without scripts, on a narrow phone, in the
dark, in German.

Each journey is gone once; the ways to look at it are spread over them.
"""

import re
import time

import pytest
from selenium.webdriver.common.keys import Keys

import database
from chromium import Window
from conftest import HASH, PASSWORD, Mailbox, make_settings, servers, smtp_server
from rules import accounts, drafts, invites, sessions
from settings import in_force

pytestmark = [pytest.mark.any_database, pytest.mark.long]

NARROW = (320, 640)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A server that can send mail; all tests of this file use it, each with people of its own."""
    mailbox = Mailbox()
    with smtp_server(mailbox) as smtp, servers(tmp_path_factory.mktemp("place")) as start:
        yield start(SMTP_URL=smtp, SITE_NAME="Garden Club"), mailbox


@pytest.fixture
def house(place):
    with in_force(make_settings(place[0].instance)) as settings:
        yield database.open_database(settings)


@pytest.fixture
def person(house):
    """Somebody with an account; a cookie of theirs, as if they had signed in elsewhere."""

    def create(name):
        with house.writing():
            return sessions.start_in_browser(accounts.create(accounts.Names(name, f"{name}@example.org"), HASH))

    return create


@pytest.fixture
def link(house):
    """The path of an invitation's link."""

    def invite(**given):
        with house.writing():
            return f"/invite?{invites.token(invites.create(drafts.read(given), drafts.SHELL))}"

    return invite


@pytest.fixture
def window(window, place) -> Window:
    window.origin = place[0].url
    return window


def fits(window) -> bool:
    return window.run("return document.documentElement.scrollWidth") == NARROW[0]


def is_dark(window) -> bool:
    shown = window.run("return getComputedStyle(document.querySelector('main')).backgroundColor")
    return max(map(int, re.findall("[0-9]+", shown)[:3])) < 64


def enter(window):
    window.leave(lambda: window.keys(Keys.ENTER))


def test_by_keyboard_on_a_narrow_phone_a_guest_arrives_registers_and_goes_on(window, link):
    window.size(*NARROW)
    window.open(link(name="Anne"))
    assert (window.heading, fits(window)) == ("Anne, you're invited to Garden Club", True)
    assert "The people of Garden Club invite you." in window.seen
    window.tab_to("user")
    window.keys("anne")
    window.tab_to("password")
    window.keys("password1")
    enter(window)
    assert "Please fix the field below and enter your password again." in window.seen
    assert (window.value("user"), window.focused, fits(window)) == ("anne", "password", True)
    window.keys(PASSWORD)
    enter(window)
    assert (window.heading, fits(window)) == ("Welcome, anne", True)
    assert "You've joined Garden Club." in window.seen
    window.tab_to("Open your account")
    enter(window)
    assert (window.heading, fits(window)) == ("Your account", True)


def test_without_scripts_in_german_a_forgotten_password_is_replaced(window, place, person):
    person("ben")
    window.scripts(False)
    window.open("/login")
    window.press("Deutsch")
    assert (window.path, window.heading) == ("/login", "Anmelden")
    window.write(user="ben", password="nicht dieses")
    window.press("Anmelden")
    assert "Der Name oder das Passwort ist falsch." in window.seen
    assert window.value("user") == "ben"
    window.press("Passwort vergessen?")
    window.write(email="ben@example.org")
    window.press("Link schicken")
    assert "Der Link ist 15 Minuten gültig. Sieh auch im Spam-Ordner nach." in window.seen
    window.open(mailed(place[1], "ben@example.org"))
    assert window.heading == "Ein neues Passwort für ben"
    window.write(password="drei nasse Schirme")
    window.press("Passwort setzen")
    assert "Dein neues Passwort ist gesetzt. Du bist überall abgemeldet." in window.seen
    window.write(user="ben", password="drei nasse Schirme")
    window.press("Anmelden")
    assert "ben Abmelden" in window.seen
    window.press("English")
    assert "ben Sign out" in window.seen


def mailed(mailbox, address):
    """The link that was mailed to an address, once it is there."""
    deadline = time.monotonic() + 15
    while not (found := [number for number, each in enumerate(mailbox.mails) if each["To"] == address]):
        assert time.monotonic() < deadline, "no mail has come"
        time.sleep(0.02)
    return mailbox.link(found[0])


def test_in_the_dark_a_password_is_changed_and_a_session_ended(window, person):
    person("cleo")
    window.dark(True)
    window.size(*NARROW)
    window.open("/account")
    assert is_dark(window)
    window.write(user="cleo", password=PASSWORD)
    window.press("Sign in")
    assert (window.heading, fits(window)) == ("Your account", True)
    window.press("Sign out there")
    assert "Signed out there." in window.seen
    assert "Another browser" not in window.seen
    window.write(current_password="not that one", password="another good one")
    window.press("Change password")
    assert "This is not your password." in window.seen
    window.write(current_password=PASSWORD, password="another good one")
    window.press("Change password")
    assert "Password changed. You are signed out everywhere else." in window.seen
    assert (is_dark(window), fits(window)) == (True, True)


def test_by_keyboard_in_german_an_account_is_deleted(window, place, person):
    person("dora")
    window.tell("Network.setCookie", url=window.origin, name="invite-language", value="de")
    window.open("/account")
    window.tab_to("user")
    window.keys("dora", Keys.TAB, PASSWORD)
    enter(window)
    assert window.heading == "Dein Konto"
    window.tab_to("Was gelöscht wird, was bleibt und wie du dein Konto löschst")
    enter(window)
    window.tab_to("current_password")
    window.keys(PASSWORD)
    enter(window)
    assert "Dein Konto ist gelöscht, und du bist überall abgemeldet." in window.seen
    window.open("/account")
    assert window.heading == "Anmelden"


@pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])
def test_an_invitation_is_printed_with_its_qr_code_and_without_forms(window, link, scripts):
    window.scripts(scripts)
    window.open(link(name="Emil"))
    loaded = "return performance.getEntriesByType('resource').filter((each) => each.name.includes('/qr?')).length"
    assert window.run(loaded) == (0 if scripts else 1)  # without scripts a browser loads all pictures at once
    assert window.tell("Page.printToPDF")["data"]
    assert window.run(loaded) == 1
    window.tell("Emulation.setEmulatedMedia", media="print")
    shown = window.run("""
        return ["form", "footer", "summary", ".qr img", ".paper"].map(
            (each) => [...document.querySelectorAll(each)].some((one) => one.checkVisibility()));
    """)
    window.tell("Emulation.setEmulatedMedia", media="")
    assert shown == [False, False, False, True, True]
    assert window.run("return document.querySelector('.paper').textContent") == window.driver.current_url
