"""Several invitations at once, in a real browser: by keyboard, without scripts, on a narrow phone, in German."""

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import axe
import clock
from conftest import PASSWORD
from database import session
from models import Invite
from rules import drafts, invites

pytestmark = [pytest.mark.any_database, pytest.mark.long]

NAMES = ("Anne", "Bob", "Mei", "Nora")


@pytest.fixture
def desk(window, served, house, root):
    """The list of four invitations, before the eyes of an admin."""
    with house.writing():
        for name in NAMES:
            invites.create(drafts.read({"name": name, "email": f"{name.lower()}@example.org"}), drafts.SHELL)
    window.origin = served.url
    window.open("/admin")
    window.write(user="root", password=PASSWORD)
    window.leave(lambda: window.keys(Keys.ENTER))
    return window


@pytest.fixture
def german(window):
    """Pages are asked for in German."""
    window.tell("Network.enable")
    window.tell("Network.setExtraHTTPHeaders", headers={"Accept-Language": "de"})
    yield
    window.tell("Network.setExtraHTTPHeaders", headers={})


def box(window, name):
    """The id of the box that selects the invitation for somebody."""
    row = "[...document.querySelectorAll('tr')].find((each) => each.textContent.includes(arguments[0]))"
    return window.run(f"return {row}.querySelector('input').id", name)


def select(window, *names):
    for name in names:
        window.run("arguments[0].click()", window.driver.find_element(By.ID, box(window, name)))


def fits(window, axe_source, width, scripts=True):
    """Whether nobody is kept out of this page, and nothing of it sticks out."""
    window.scripts(True)  # axe waits by itself
    found = axe.violations(window, axe_source)
    window.scripts(scripts)
    return found == [] and window.run("return document.documentElement.scrollWidth") == width


def stored(house):
    with house.reading():
        return {each.name: each for each in session().query(Invite)}


def states(house):
    return {name: each.state(clock.now()) for name, each in stored(house).items()}


def test_several_are_revoked_by_keyboard_alone(desk, house):
    for name in sorted(("Nora", "Bob"), key=lambda each: box(desk, each)):
        desk.tab_to(box(desk, name))
        desk.keys(Keys.SPACE)
    desk.tab_to("Revoke …")
    desk.leave(lambda: desk.keys(Keys.ENTER))
    assert desk.heading == "Revoke 2 invitations"
    assert "Nora nora@example.org" in desk.seen
    assert set(states(house).values()) == {"active"}
    desk.tab_to("Revoke 2 invitations")
    desk.leave(lambda: desk.keys(Keys.ENTER))
    assert "2 revoked." in desk.seen
    assert states(house) == {"Anne": "active", "Mei": "active", "Bob": "revoked", "Nora": "revoked"}


def test_all_on_a_page_are_selected_at_once_and_one_is_left_out(desk, house):
    desk.driver.find_element(By.CSS_SELECTOR, "[data-all]").click()
    select(desk, "Mei")
    assert not desk.driver.find_element(By.CSS_SELECTOR, "[data-all]").is_selected()
    desk.press("Extend …")
    assert desk.heading == "Extend 3 invitations"
    desk.choose("ttl", "30d")
    desk.press("Extend 3 invitations")
    assert "3 extended." in desk.seen
    late = clock.now() + 29 * clock.DAY
    assert {name for name, each in stored(house).items() if each.expires_at > late} == {"Anne", "Bob", "Nora"}


def test_several_are_extended_until_a_day_without_scripts_on_a_narrow_phone(desk, house, axe_source):
    desk.scripts(False)
    desk.size(320, 640)
    desk.open("/admin?q=example.org")
    assert "4 of 4 invitations" in desk.seen
    assert fits(desk, axe_source, 320, scripts=False)
    desk.press("Extend …")
    assert "Select at least one invitation first." in desk.seen
    desk.driver.find_element(By.NAME, "all").click()
    desk.press("Extend …")
    assert fits(desk, axe_source, 320, scripts=False)
    desk.choose("ttl", "date")
    desk.press("Extend 4 invitations")
    assert desk.focused == "until"
    day = (clock.now() + 40 * clock.DAY).date()
    desk.run("document.getElementById('until').value = arguments[0]", f"{day}")
    desk.press("Extend 4 invitations")
    assert "4 extended." in desk.seen
    assert desk.value("q") == "example.org"
    assert {each.expires_at.date() for each in stored(house).values()} == {day}


def test_several_are_revoked_in_german(desk, german, house, axe_source):
    desk.open("/admin?status=active")
    assert "4 von 4 Einladungen" in desk.seen
    select(desk, "Anne", "Mei")
    desk.press("Widerrufen …")
    assert desk.heading == "2 Einladungen widerrufen"
    assert "Ihre Links funktionieren dann nie mehr." in desk.seen
    assert fits(desk, axe_source, 1200)
    desk.press("Abbrechen")
    assert set(states(house).values()) == {"active"}
    select(desk, "Anne")
    desk.press("Widerrufen …")
    desk.press("1 Einladung widerrufen")
    assert "1 widerrufen." in desk.seen
    assert "3 von 4 Einladungen" in desk.seen
