"""What people with a real browser meet at apps behind the gate, by the real nginx and the real Caddy."""

import pytest
from sqlalchemy import delete, update

import clock
from chromium import Window, started
from conftest import PASSWORD
from database import session
from models import Member
from programs import require
from proxied import APPS, PHOTOS
from rules import accounts, drafts, invites, sessions

pytestmark = [pytest.mark.any_database, pytest.mark.long, pytest.mark.xdist_group("gate_proxies")]


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def proxy(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def driver(proxy, town):
    """A browser for which all hosts are at this proxy."""
    ports = town.callers[proxy].ports
    rules = ",".join(f"MAP *:{port} 127.0.0.1:{here}" for port, here in ports.items())
    flags = f"--host-resolver-rules={rules}", "--ignore-certificate-errors", "--disable-features=HttpsUpgrades"
    with started(require("chromium", "chromium"), require("chromedriver", "chromium-driver"), *flags) as driver:
        yield driver


@pytest.fixture
def window(driver) -> Window:
    window = Window(driver)
    window.fresh()
    return window


@pytest.fixture
def visitor(window, proxy, town):
    """Have somebody new, who is a member of these projects, sit down at the browser, where they are signed in."""

    def sit_down(name, *slugs):
        town.person(f"{name}-{proxy}", *slugs)
        cookie = town.change(lambda: sessions.start_in_browser(accounts.named(f"{name}-{proxy}")))
        window.tell(
            "Network.setCookie", url="https://invites.example.org/", secure=True, httpOnly=True, sameSite="Lax",
            path="/", name=town.settings.cookie_name, value=cookie,
        )  # fmt: skip
        return f"{name}-{proxy}"

    return sit_down


def at(window) -> str:
    return window.driver.current_url


def asked(window, url="/fetched") -> int:
    """The status that a script on the page gets."""
    script = "const done = arguments[1]; fetch(arguments[0]).then(got => done(got.status), () => done(0))"
    return window.driver.execute_async_script(script, url)


def test_a_guest_goes_from_the_link_to_an_account_to_the_app(window, proxy, town):
    def invite():
        return invites.token(invites.create(drafts.read({"project": "photos", "name": "Kim"}), drafts.SHELL))

    window.open(f"https://invites.example.org/invite?{town.change(invite)}")
    window.write(user=f"kim-{proxy}", password=PASSWORD)
    window.press("Create account")
    window.press("Open Photos")
    assert at(window) == f"{PHOTOS}/"
    assert f"kim-{proxy}" in window.seen
    window.open(f"{PHOTOS}/albums?year=2026")
    assert at(window) == f"{PHOTOS}/albums?year=2026"


def test_who_comes_to_the_app_first_signs_in_and_is_where_they_wanted(window, proxy, town):
    town.person(f"lee-{proxy}", "photos")
    window.open(f"{PHOTOS}/albums?year=2026#top")
    assert at(window).startswith("https://invites.example.org/pass/photos?")
    window.write(user=f"lee-{proxy}", password=PASSWORD)
    window.press("Sign in")
    assert at(window).partition("#")[0] == f"{PHOTOS}/albums?year=2026"
    assert f"lee-{proxy}" in window.seen
    before = len(town.app.seen)
    window.open(f"{PHOTOS}/again")
    assert [each["path"] for each in town.app.seen[before:] if "icon" not in each["path"]] == ["/again"]


def test_a_second_app_at_another_domain_gets_its_own_pass_without_a_page(window, proxy, town, visitor):
    visitor("mia", "photos", "wiki")
    window.open(f"{PHOTOS}/")
    window.open(f"{APPS}/wiki/start")
    assert at(window) == f"{APPS}/wiki/start"
    assert f"mia-{proxy}" in window.seen
    kept = {
        each["name"]: each["domain"]
        for each in window.tell("Network.getAllCookies")["cookies"]
        if "pass" in each["name"]
    }
    assert kept == {"__Host-invite-pass-photos": "photos.example.org", "__Host-invite-pass-wiki": "apps.example.net"}


def removed(user):
    session().execute(delete(Member).where(Member.user_id == user.id))


def signed_out(user):
    for each in sessions.of_account(user.id):
        sessions.end(each.id)


def run_out(user):
    session().execute(update(Member).where(Member.user_id == user.id).values(ends_at=clock.now()))


@pytest.mark.parametrize(
    ("end", "refused"), [(removed, 403), (accounts.disable, 401), (signed_out, 401), (run_out, 403)]
)
def test_the_next_request_is_refused_of_page_script_and_program(end, refused, window, proxy, town, visitor):
    name = visitor(f"nia-{end.__name__.replace('_', '-')}", "photos")
    program = town.program(name, "photos")
    window.open(f"{PHOTOS}/")
    curl = lambda: town.callers[proxy].call("GET", f"{PHOTOS}/", ("Authorization", f"Bearer {program}")).status  # noqa: E731
    assert (asked(window), curl()) == (200, 200)
    town.change(lambda: end(accounts.named(name)))
    before = len(town.app.seen)
    assert asked(window) == refused
    assert curl() == (200 if end is signed_out else 401 if end is accounts.disable else 403)
    window.open(f"{PHOTOS}/")
    assert at(window).startswith("https://invites.example.org/pass/photos?")
    assert len(town.app.seen) == before + (end is signed_out)


def test_who_signs_out_by_the_app_is_refused_there(window, proxy, town, visitor):
    visitor("ola", "photos")
    window.open(f"{PHOTOS}/")
    window.open(f"{PHOTOS}/.invite/photos/leave")
    assert at(window).startswith("https://invites.example.org/")
    assert asked_at(window, f"{PHOTOS}/") == f"{PHOTOS}/"  # opening the page has changed nothing
    window.open(f"{PHOTOS}/.invite/photos/leave")
    window.press("Sign out")
    assert asked_at(window, f"{PHOTOS}/").startswith("https://invites.example.org/pass/photos?")


def asked_at(window, url) -> str:
    window.open(url)
    return at(window)
