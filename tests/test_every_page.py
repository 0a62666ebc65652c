"""Every page, in a real browser: nobody is kept out of it, and it fits where it is looked at."""

import re

import pytest
from selenium.webdriver.common.by import By

import axe
import scene
from app import ROUTES
from chromium import DESKTOP, Window
from dialects import account, admin, admin_guests, gate_pages, my_invites, pages, sign_in, unsubscribe

pytestmark = pytest.mark.any_database

PHONE = (320, 640)
WIDE = (1200, 900)
MAX_BYTES = 30 * 1024
LIGHT = re.compile("admin-(new|made|list|invite)")  # pages for admins that are as light as those for guests


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """All tests of a worker look at the same one."""
    with scene.opened(tmp_path_factory.mktemp("place")) as place:
        yield place


@pytest.fixture(scope="module")
def cleared(chromium):
    """A window that is cleared once: a page is shown to who is meant to see it, whoever looked before."""
    window = Window(chromium)
    window.fresh()
    return window


@pytest.fixture
def window(cleared):
    """A wide light window."""
    cleared.dark(False)
    cleared.size(*DESKTOP)
    return cleared


@pytest.fixture(scope="module")
def with_axe(chromium, axe_source):
    """Every page has axe in it from its beginning: to send it to each takes a quarter of a second."""
    told = chromium.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": axe_source})
    yield
    chromium.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", told)


def unfold(window):
    window.run("document.querySelectorAll('details').forEach((each) => { each.open = true; })")


@pytest.mark.long
@pytest.mark.parametrize("name", scene.PAGES)
@pytest.mark.usefixtures("with_axe")
def test_a_page_keeps_nobody_out_and_fits_where_it_is_looked_at(place, window, axe_source, name):
    place.show(window, name)
    unfold(window)
    assert axe.violations(window, axe_source) == []
    window.dark(True)
    window.size(*PHONE)
    assert axe.violations(window, axe_source) == []
    for direction in ("ltr", "rtl"):
        window.run("document.documentElement.dir = arguments[0]", direction)
        assert window.run("return [innerWidth, document.documentElement.scrollWidth]") == [PHONE[0], PHONE[0]]
        assert sticking_out(window) == []
    assert name.startswith(("admin", "docs")) or 0 < weight(window) <= MAX_BYTES
    assert not LIGHT.match(name) or 0 < weight(window, "navigation") <= MAX_BYTES


def weight(window, *kinds):
    """The bytes of a page and of all that it loads, or of these kinds, whether this browser had it already or not."""
    return window.run(
        """
        const kinds = arguments[0].length ? arguments[0] : ["navigation", "resource"];
        const each = performance.getEntries().filter((entry) => kinds.includes(entry.entryType));
        return each.reduce((sum, entry) => sum + entry.encodedBodySize, 0);
        """,
        kinds,
    )


def sticking_out(window):
    """What reaches beyond the sides of the window, and so cannot be seen even where nothing scrolls.

    A table that is wider than what it scrolls in is among it: its last column has the buttons.
    """
    return window.run("""
        const cut = [...document.querySelectorAll(".scroll")].filter((each) => each.scrollWidth > each.clientWidth + 1);
        return [...document.querySelectorAll("main *, header *")].filter((each) => {
            const { left, right, width } = each.getBoundingClientRect();
            const scrolls = each.closest(".scroll, pre, svg, .stack thead");
            return width && !scrolls && (left < -1 || right > innerWidth + 1);
        }).concat(cut).map((each) => each.outerHTML.slice(0, 100));
    """)


@pytest.mark.long
@pytest.mark.parametrize("name", ["admin-project-gate-refused", "admin-activity-refused"])
def test_what_is_wrong_with_a_field_has_the_width_of_a_phone(place, window, name):
    window.size(390, 780)
    place.show(window, name)
    widths = window.run("return [...document.querySelectorAll('.problem')].map((each) => each.offsetWidth)")
    assert widths
    assert min(widths) > 300


@pytest.mark.long
def test_the_filters_of_the_invitations_are_folded_on_a_phone_until_one_is_set(place, window):
    def is_seen():
        return window.run("return document.getElementById('q').checkVisibility({ contentVisibilityAuto: true })")

    for size, path, seen in ((WIDE, "", True), (PHONE, "", False), (PHONE, "?status=active", True)):
        window.size(*size)
        place.show(window, "admin")
        window.open(f"/admin{path}")
        assert is_seen() is seen
    window.size(*PHONE)
    window.open("/admin")
    window.named("Search").click()
    assert is_seen()


@pytest.mark.long
def test_a_phone_is_not_asked_to_scan_its_own_screen(place, window):
    for touch in (False, True):
        window.tell("Emulation.setTouchEmulationEnabled", enabled=touch)
        place.show(window, "invitation")
        assert window.run("return matchMedia('(pointer: coarse)').matches") is touch
        assert window.run("return document.querySelector('.to-phone').checkVisibility()") is not touch
    window.tell("Emulation.setTouchEmulationEnabled", enabled=False)


@pytest.mark.long
def test_a_length_and_its_day_are_whole_in_the_list_on_a_phone(place, window):
    window.size(390, 780)
    place.show(window, "admin-invite")
    assert window.run("return document.getElementById('ttl').offsetWidth") > 330


@pytest.mark.long
def test_the_narrow_phone_notices_what_does_not_fit(place, window):
    window.size(*PHONE)
    place.show(window, "home")
    window.run("document.querySelector('h1').style.inlineSize = '400px'")
    assert window.run("return document.documentElement.scrollWidth") > PHONE[0]
    assert len(sticking_out(window)) == 1


@pytest.mark.long
def test_the_narrow_phone_notices_a_table_that_is_wider_than_it(place, window):
    window.size(*PHONE)
    place.show(window, "account")
    window.run("document.querySelectorAll('.stack').forEach((each) => each.classList.remove('stack'))")
    found = sticking_out(window)
    assert found
    assert all(each.startswith('<div class="scroll">') for each in found)


@pytest.mark.long
def test_axe_notices_what_keeps_people_out(place, window, axe_source):
    place.show(window, "home")
    window.run("document.querySelector('main').insertAdjacentHTML('beforeend', '<img src=\"/qr\">')")
    (found,) = axe.violations(window, axe_source)
    assert found.startswith("image-alt: ")


@pytest.mark.long
def test_axe_notices_a_text_that_can_hardly_be_read_in_the_dark(place, window, axe_source):
    window.dark(True)
    place.show(window, "home")
    window.run("document.querySelector('.lead').style.color = '#343a37'")
    (found,) = axe.violations(window, axe_source, *axe.IN_THE_DARK)
    assert found.startswith("color-contrast: ")


def test_every_address_that_shows_a_page_is_among_them():
    shown = {each.path.partition("?")[0] for each in scene.PAGES.values()}
    wanted = {
        row.path
        for each in (pages, account, my_invites, sign_in, unsubscribe, admin, admin_guests, gate_pages)
        for row in ROUTES[each]
        if "GET" in row.methods
    }
    missing = {each for each in wanted if not any(same(each, path) for path in shown)}
    no_pages = {"/qr", "/account/data", "/.well-known/change-password"}
    no_pages |= {"/admin/made.csv", "/admin/invites/<invite_id>/qr.png"}
    assert missing == no_pages | {"/.invite/<slug>/enter", "/.invite/<slug>/leave"}


def same(row, path):
    """Whether a row of the map is this path, whatever stands in its braces."""
    ours, theirs = row.split("/"), path.split("/")
    return len(ours) == len(theirs) and all(a == b or a.startswith("<") for a, b in zip(ours, theirs, strict=True))


@pytest.mark.long
@pytest.mark.parametrize("name", ["invitation", "login", "admin", "admin-new", "admin-invite"])
def test_whatever_has_the_focus_is_seen_to_have_it(place, window, name):
    place.show(window, name)
    window.run("document.activeElement.blur()")
    buttons = window.driver.find_elements(By.CSS_SELECTOR, "main form button:not(.acts button)")
    last = [each for each in buttons if window.run("return arguments[0].checkVisibility()", each)][-1]
    window.tab_to(window.run("return arguments[0].id || arguments[0].textContent.trim()", last))
