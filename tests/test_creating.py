"""How an admin invites one guest and thirty, in a real browser: by keyboard, without scripts, on a narrow phone."""

import base64
import re

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import clock
import scene
from chromium import Window, started
from programs import require
from rules import invites
from settings import in_force

pytestmark = [pytest.mark.any_database, pytest.mark.long]

BOTH = pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """All tests of a worker look at the same one."""
    with scene.opened(tmp_path_factory.mktemp("place")) as place:
        yield place


@pytest.fixture
def desk(window, place):
    """The admin's form for a new invitation."""
    place.show(window, "admin-new")
    return window


@pytest.fixture
def stored(place):
    """The invite whose page is shown."""

    def look(window):
        with in_force(place.settings), place.house.reading():
            return invites.find_by_id(window.path.rpartition("/")[2])

    return look


def link(window):
    return window.driver.find_element(By.CSS_SELECTOR, ".copy input").get_attribute("value")


@BOTH
def test_one_invitation_is_created_extended_and_given_a_new_link(desk, stored, scripts):
    desk.scripts(scripts)
    desk.open("/admin/invites/new")
    desk.write(name="Bob")
    desk.choose("ttl", "30d")
    desk.press("Create invitation")
    assert desk.heading == "Invitation for Bob"
    assert "Invitation created." in desk.seen
    made = stored(desk)
    assert made.expires_at - made.created_at == 30 * clock.DAY
    before = link(desk)
    desk.choose("ttl", "never")
    desk.press("Change")
    assert "It never expires now." in desk.seen
    desk.press("Give it a new link", sure=scripts)
    assert "The old link no longer works." in desk.seen
    assert link(desk) != before
    desk.press("Revoke", sure=scripts)
    desk.press("Invite again")
    assert desk.value("name") == "Bob"
    desk.press("Create invitation")
    assert "Invitation created." in desk.seen
    desk.press("Create another")
    assert (desk.value("name"), desk.value("ttl")) == ("", "never")


@BOTH
def test_an_invitation_expires_at_the_end_of_a_day_that_is_chosen(desk, stored, scripts):
    desk.tell("Emulation.setTimezoneOverride", timezoneId="Asia/Tokyo")  # nine hours earlier than elsewhere
    desk.scripts(scripts)
    desk.open("/admin/invites/new")
    assert desk.driver.find_element(By.ID, "until").is_displayed() is not scripts
    desk.choose("ttl", "date")
    day = clock.now() + 40 * clock.DAY
    desk.run("document.getElementById('until').value = arguments[0]", f"{day:%Y-%m-%d}")
    desk.press("Create invitation")
    assert f"{stored(desk).expires_at:%Y-%m-%d %H:%M}" == f"{day:%Y-%m-%d} {'14:59' if scripts else '23:59'}"
    desk.tell("Emulation.setTimezoneOverride", timezoneId="")


def test_a_link_is_shared_with_words_that_are_ready(desk):
    stub = "navigator.share = async (what) => { window.shared = what; }"
    added = desk.tell("Page.addScriptToEvaluateOnNewDocument", source=stub)["identifier"]
    desk.press("Create invitation")
    desk.named("Share").click()
    shared = desk.until(lambda: desk.run("return window.shared"))
    assert shared["text"] == f"You're invited to Garden Club: {link(desk)}"
    desk.open("/admin/invites/new/list")
    desk.write(guests="Anne\nBob")
    desk.press("Check the list")
    desk.press("Create 2 invitations")
    desk.driver.find_elements(By.XPATH, "//button[.='Share']")[1].click()
    links = [each.get_attribute("value") for each in desk.driver.find_elements(By.CSS_SELECTOR, ".copy input")]
    shared = desk.until(lambda: desk.run("return window.shared"))
    assert shared["text"] == f"You're invited to Garden Club: {links[1]}"
    desk.size(320, 700)
    assert desk.run("return document.documentElement.scrollWidth") == 320
    desk.tell("Page.removeScriptToEvaluateOnNewDocument", identifier=added)
    desk.open("/admin/invites/new")
    desk.press("Create invitation")
    assert desk.run("return [...document.querySelectorAll('[data-share]')].every((each) => each.hidden)") is (
        not desk.run("return 'share' in navigator")
    )
    mailto = desk.named("Write a mail").get_attribute("href")
    assert mailto.startswith("mailto:?subject=You%27re%20invited%20to%20Garden%20Club&body=You%27re%20invited")


def test_a_link_is_copied_where_the_site_is_not_encrypted(place):
    """There is no clipboard for scripts there."""
    flags = "--host-resolver-rules=MAP invites.lan 127.0.0.1", "--disable-features=HttpsUpgrades"
    with started(require("chromium", "chromium"), require("chromedriver", "chromium-driver"), *flags) as driver:
        window = Window(driver, f"http://invites.lan:{place.served.port}")
        cookie = {"name": place.settings.cookie_name, "value": place.cookies["root"]}
        window.tell("Network.setCookie", url=window.origin, **cookie)
        window.open("/admin/invites/{id_named}".format(**place.facts))
        assert window.run("return navigator.clipboard === undefined")
        wanted = link(window)
        window.named("Copy").click()
        window.until(lambda: window.named("Copied"))
        assert window.focused == "Copied"
        window.open("/admin/invites/new/list")
        window.driver.find_element(By.ID, "guests").send_keys(Keys.CONTROL, "v")
        assert window.value("guests") == wanted


def test_an_invitation_is_printed_as_a_poster(place, window):
    window.dark(True)
    place.show(window, "admin-invite")
    wanted = link(window)
    pdf = base64.b64decode(window.tell("Page.printToPDF")["data"])
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) == 1
    window.tell("Emulation.setEmulatedMedia", media="print")
    assert window.seen == f"Garden Club You're invited {wanted}"
    assert window.run("return document.querySelector('.poster img').getBoundingClientRect().width") > 300
    window.tell("Emulation.setEmulatedMedia", media="")


@BOTH
def test_thirty_guests_are_invited_once_on_a_narrow_phone(desk, scripts):
    desk.scripts(scripts)
    desk.size(320, 700)
    desk.open("/admin/invites/new")
    desk.press("Invite a list of guests")
    desk.write(guests=f"{scene.LISTED}\nBob <bob@example,org>")
    desk.press("Check the list")
    assert "Line 31, E-mail address:" in desk.seen
    desk.write(guests=scene.LISTED)
    desk.press("Check again")
    assert "30 guests can be invited." in desk.seen
    assert desk.run("return document.documentElement.scrollWidth") == 320
    desk.press_twice("Create 30 invitations")
    desk.until(lambda: desk.heading == "30 invitations created")
    assert desk.run("return document.documentElement.scrollWidth") == 320
    links = [each.get_attribute("value") for each in desk.driver.find_elements(By.CSS_SELECTOR, ".copy input")]
    assert len(set(links)) == 30
    desk.open(links[7])
    assert desk.heading.startswith("Guest Number 3")


def test_a_file_is_checked_and_corrected_on_the_page(desk, tmp_path):
    file = tmp_path / "guests.csv"
    file.write_text("Vorname;Nachname;E-Mail\nHans;Müller;hans@example,org\n", encoding="utf-8-sig")
    desk.open("/admin/invites/new/list")
    desk.driver.find_element(By.ID, "file").send_keys(str(file))
    desk.press("Check the list")
    assert "Line 2, E-Mail: hans@example,org" in desk.seen
    desk.write(guests="Vorname;Nachname;E-Mail\nHans;Müller;hans@example.net\n")
    desk.press("Check again")
    desk.press("Create 1 invitation")
    assert desk.heading == "1 invitation created"
    assert "Hans Müller" in desk.seen


def test_a_file_that_is_longer_than_what_other_forms_take_is_checked(desk, tmp_path):
    file = tmp_path / "guests.csv"
    file.write_text("Name,Note\n" + f"Anne,{'x' * 300}\n" * 400)
    desk.open("/admin/invites/new/list")
    desk.driver.find_element(By.ID, "file").send_keys(str(file))
    desk.press("Check the list")
    assert "400 guests can be invited." in desk.seen
    assert "and 350 more" in desk.seen
    desk.press("Create 400 invitations")
    assert desk.heading == "400 invitations created"
    desk.press("Next page")
    assert "51 to 100 of 400" in desk.seen


def test_a_list_is_created_by_keyboard_alone(desk):
    desk.tab_to("Invite a list of guests")
    desk.leave(lambda: desk.keys(Keys.ENTER))
    desk.tab_to("guests")
    desk.keys("Anne", Keys.ENTER, "bob@example.net")
    desk.tab_to("Check the list")
    desk.leave(lambda: desk.keys(Keys.ENTER))
    desk.tab_to("Create 2 invitations")
    desk.leave(lambda: desk.keys(Keys.ENTER))
    assert desk.heading == "2 invitations created"
    desk.tab_to("Copy")


def test_the_forms_are_in_german_and_fit_a_narrow_phone(desk):
    desk.tell("Network.enable")
    desk.tell("Network.setExtraHTTPHeaders", headers={"Accept-Language": "de"})
    desk.size(320, 700)
    desk.open("/admin/invites/new")
    assert desk.heading == "Neue Einladung"
    lengths = desk.driver.find_element(By.ID, "ttl").text
    assert [each for each in ("1 Tag", "30 Tage", "unbegrenzt", "bis zu einem Datum") if each not in lengths] == []
    assert desk.run("return document.documentElement.scrollWidth") == 320
    desk.open("/admin/invites/new/list")
    desk.write(guests="Anne <anne@example,org>")
    desk.press("Liste prüfen")
    assert "Zeile 1, E-Mail-Adresse:" in desk.seen
    assert desk.run("return document.documentElement.scrollWidth") == 320
    desk.tell("Network.setExtraHTTPHeaders", headers={})
