"""A member invites a friend from a phone: four taps, and what the phone's own way to share is given."""

import pytest

from conftest import PASSWORD, Person, make_settings
from database import open_database
from settings import in_force

pytestmark = [pytest.mark.long, pytest.mark.any_database]

PHONE = (360, 740)
SHARES = "navigator.share = async (what) => { window.shared = what; };"


@pytest.fixture
def served(serve):
    return serve(SITE_NAME="Garden Club")


@pytest.fixture
def house(served):
    with in_force(make_settings(served.instance)) as settings:
        yield open_database(settings)


@pytest.fixture
def phone(window, served, house):
    """A phone on which alice is signed in, with her account open."""
    Person(house, "alice")
    window.origin = served.url
    window.size(*PHONE)
    window.open("/login")
    window.write(user="alice", password=PASSWORD)
    window.press("Sign in")
    window.open("/account")
    return window


def tap(window, text):
    """One tap on what bears this text, which must be large enough for a thumb and inside the window."""
    box = window.run("return arguments[0].getBoundingClientRect().toJSON()", window.named(text))
    assert box["height"] >= 24, text
    assert box["left"] >= 0, text
    assert box["right"] <= PHONE[0], text
    window.press(text)


def test_four_taps_from_the_account_to_the_friend(phone):
    script = phone.tell("Page.addScriptToEvaluateOnNewDocument", source=SHARES)["identifier"]
    try:
        tap(phone, "Invite")
        field = phone.driver.find_element("id", "name")
        field.click()  # the second tap
        field.send_keys("Dora")
        tap(phone, "Create invitation")
        phone.named("Share").click()  # the fourth
        shared = phone.until(lambda: phone.run("return window.shared"))
    finally:
        phone.tell("Page.removeScriptToEvaluateOnNewDocument", identifier=script)
    link = phone.run("return document.querySelector('.copy input').value")
    assert shared == {"title": "You're invited to Garden Club", "text": f"You're invited to Garden Club: {link}"}
    phone.tell("Network.clearBrowserCookies")
    phone.open(link)
    assert phone.heading == "Dora, you're invited to Garden Club"


def test_where_a_browser_cannot_share_there_is_no_button_for_it(phone):
    phone.press("Invite")
    phone.press("Create invitation")
    assert phone.run("return navigator.share === undefined")
    assert not phone.named("Share").is_displayed()
    assert phone.named("Write a mail").is_displayed()


def test_without_scripts_one_invites_and_revokes(phone):
    phone.scripts(False)
    phone.open("/invites")
    phone.write(name="Dora")
    phone.press("Create invitation")
    assert "/invite?" in phone.run("return document.querySelector('.copy input').value")
    phone.press("Revoke")
    assert "Invitation revoked." in phone.seen


@pytest.mark.parametrize("width", [320, 360])
def test_nothing_stands_out_of_a_narrow_phone_in_german(phone, width):
    phone.tell("Network.setExtraHTTPHeaders", headers={"Accept-Language": "de"})
    try:
        phone.size(width, 740)
        phone.open("/invites")
        phone.write(name="Donaudampfschifffahrtsgesellschaftskapitän")
        for _ in range(2):
            assert phone.run("return document.documentElement.scrollWidth") == width
            if phone.heading == "Deine Einladungen":
                phone.press("Einladung anlegen")
    finally:
        phone.tell("Network.setExtraHTTPHeaders", headers={})
