"""What people do, in a real browser against the real server: with scripts and without, by keyboard alone, twice."""

import os
import re
import subprocess
import time

import pytest
import time_machine
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

import clock
import database
from chromium import Window, started
from conftest import HASH, PASSWORD, Mailbox, free_port, make_settings, servers, smtp_server, wait_for
from database import session
from models import Base, SchemaVersion
from programs import require
from rules import accounts, changing, drafts, invites, legacy, projects, waiting
from settings import in_force

pytestmark = pytest.mark.any_database

BOTH = pytest.mark.parametrize("scripts", [True, False], ids=["with scripts", "without scripts"])


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A server that can send mail, and lets anybody register; all tests of a worker use it."""
    mailbox = Mailbox()
    with smtp_server(mailbox) as smtp, servers(tmp_path_factory.mktemp("place")) as start:
        yield start(SMTP_URL=smtp, REGISTRATION="open", SITE_NAME="Garden Club"), mailbox


@pytest.fixture
def served(place):
    return place[0]


@pytest.fixture
def mailbox(place):
    place[1].mails.clear()
    return place[1]


@pytest.fixture
def settings(served):
    with in_force(make_settings(served.instance)) as chosen:
        yield chosen


@pytest.fixture
def house(settings):
    """The server's database, with nobody and nothing in it."""
    house = database.open_database(settings)
    with house.writing():
        for table in reversed(Base.metadata.sorted_tables):
            if table is not SchemaVersion.__table__:
                session().execute(table.delete())
    return house


@pytest.fixture
def window(window, served, house):
    window.origin = served.url
    return window


@pytest.fixture
def other_window(served):
    """Another browser, on another machine."""
    with started(require("chromium", "chromium"), require("chromedriver", "chromium-driver")) as driver:
        other = Window(driver, served.url)
        other.fresh()
        yield other


@pytest.fixture
def garden(house, alice):
    """A project of alice's."""
    with house.writing():
        projects.create(accounts.named("alice"), projects.ProjectDraft("Tea Garden"))


@pytest.fixture
def invite_by_alice(house, garden):
    """Have alice invite somebody to her project; the link's query."""

    def make(mailed=False, **given):
        with house.writing():
            draft = drafts.read({"project": "tea-garden", **given})
            return invites.token(invites.create(draft, accounts.as_inviter(accounts.named("alice")), mailed=mailed))

    return make


@pytest.fixture
def mail(mailbox):
    """Wait for the mails up to this number."""

    def come(number=1):
        deadline = time.monotonic() + 15
        while len(mailbox.mails) < number:
            assert time.monotonic() < deadline, "no mail has come"
            time.sleep(0.01)
        return mailbox

    return come


def sign_in(window, name, password=PASSWORD):
    window.write(user=name, password=password)
    window.press("Sign in")


@pytest.fixture
def desk(window, root):
    """The admin's desk, where root has signed in."""
    window.open("/admin")
    sign_in(window, "root")
    return window


# From a link to an account


@BOTH
def test_a_guest_makes_an_account_with_a_link(window, invite_by_alice, scripts):
    window.scripts(scripts)
    window.open(f"/invite?{invite_by_alice(name='Bob', redirect_url='https://app.example.org/start')}")
    assert window.heading == "Bob, you're invited to Tea Garden"
    assert "alice invites you." in window.seen
    window.write(user="bob", password=PASSWORD)
    window.press("Create account")
    assert window.heading == "Welcome, bob"
    assert "You've joined Tea Garden." in window.seen
    onward = window.named("Continue to app.example.org")
    assert onward.get_attribute("href") == "https://app.example.org/start"
    assert window.path == "/welcome"


def test_a_page_at_another_host_name_goes_on_there(window, served, invite_by_alice):
    """The browser forbids a form to lead to another host: nothing was to be seen, and the use was gone."""
    window.origin = f"http://localhost:{served.port}"  # PUBLIC_URL says 127.0.0.1
    window.open(f"/invite?{invite_by_alice()}")
    window.write(user="bob", password=PASSWORD)
    window.press("Create account")
    assert window.heading == "Welcome, bob"
    assert window.driver.current_url.startswith(window.origin)
    window.press("Sign out")
    window.open("/login")
    sign_in(window, "bob")
    assert window.driver.current_url == f"{window.origin}/"
    window.write(code=invite_by_alice(name="Carol"))
    window.press("Open invitation")
    assert window.heading == "Carol, you're invited to Tea Garden"


@pytest.mark.long
@BOTH
def test_a_member_signs_in_to_accept(window, invite_by_alice, charlie, scripts):
    window.scripts(scripts)
    window.open(f"/invite?{invite_by_alice()}")
    window.press("Sign in to accept")
    sign_in(window, "charlie")
    window.press("Accept as charlie")
    assert window.heading == "Welcome, charlie"


@pytest.mark.long
@BOTH
def test_who_is_signed_in_as_somebody_else_changes_over_and_keeps_the_invitation(
    window, invite_by_alice, charlie, root, scripts
):
    window.scripts(scripts)
    window.open("/login")
    sign_in(window, "root")
    window.open(f"/invite?{invite_by_alice(email='charlie@example.org')}")
    assert "You are signed in as root, but this invitation is only for charlie@example.org." in window.seen
    window.press("Sign out and use another account")
    assert window.heading == "You're invited to Tea Garden"
    window.press("Sign in to accept")
    sign_in(window, "charlie@example.org")
    window.press("Accept as charlie")
    assert window.heading == "Welcome, charlie"


@pytest.mark.long
@BOTH
def test_a_mailed_invitation_is_for_its_address_and_proves_it(window, invite_by_alice, mail, scripts):
    window.scripts(scripts)
    invite_by_alice(email="dora@example.org", mailed=True)
    window.open(mail().link())
    assert "Only for dora@example.org." in window.seen
    assert window.value("email") == "dora@example.org"
    window.write(user="dora", password=PASSWORD)
    window.press("Create account")
    assert window.heading == "Welcome, dora"
    assert "Confirm it" not in window.seen


@pytest.mark.long
@BOTH
def test_a_guest_waits_for_approval_and_is_let_in(window, house, invite_by_alice, scripts):
    window.scripts(scripts)
    link = f"/invite?{invite_by_alice(approve=True)}"
    window.open(link)
    window.write(user="bob", password=PASSWORD)
    window.press("Create account")
    assert window.heading == "Almost there, bob"
    assert "Waiting for alice's approval." in window.seen
    window.press("bob")
    assert "Tea Garden: waiting for alice's approval since" in window.seen
    with house.writing():
        (use,) = waiting.of_account(accounts.named("bob").id)
        waiting.approve(use.id)
    window.open(link)
    assert window.heading == "Welcome, bob"


@pytest.mark.long
@BOTH
def test_a_guest_proves_an_address_in_the_domain_and_is_let_in(window, invite_by_alice, mail, scripts):
    window.scripts(scripts)
    window.open(f"/invite?{invite_by_alice(email='@example.org', uses=9)}")
    window.write(user="dora", email="dora@example.com", password=PASSWORD)
    window.press("Create account")
    assert "only for people with an e-mail address that ends in @example.org." in window.seen
    window.write(email="dora@example.org", password=PASSWORD)
    window.press("Create account")
    assert window.heading == "Almost there, dora"
    window.press("Enter the code")
    window.write(code=mail().digits())
    window.press("Confirm")
    assert window.heading == "Welcome, dora"
    assert "Tea Garden" in window.seen


@pytest.mark.long
@BOTH
def test_a_guest_declines(window, invite_by_alice, scripts):
    window.scripts(scripts)
    link = f"/invite?{invite_by_alice()}"
    window.open(link)
    window.driver.find_element(By.XPATH, "//summary[.='Decline this invitation']").click()
    window.press("Decline")
    assert window.heading == "This invitation has been declined"
    window.open(link)
    assert window.heading == "This invitation has been declined"


@pytest.mark.long
def test_the_code_field_takes_links_tokens_and_short_codes(window, house, make_invite):
    with house.writing():
        code = legacy.create(drafts.SHELL)
    token = make_invite()
    for typed in (code, token, f"  {window.origin}/invite?{token} "):
        window.open("/")
        window.write(code=typed)
        window.press("Open invitation")
        assert window.heading == "You're invited to Garden Club"


@pytest.mark.long
def test_what_is_no_invitation_stays_in_the_field(window):
    window.open("/")
    window.write(code="hello")
    window.press("Open invitation")
    assert (window.value("code"), window.focused) == ("hello", "code")


@pytest.mark.long
@BOTH
def test_a_guest_reaches_the_program_of_a_project_from_the_link_and_from_the_code_field(
    window, house, invite_by_alice, scripts
):
    window.scripts(scripts)
    token = invite_by_alice()
    with house.writing():  # another origin to a browser
        elsewhere = window.origin.replace("127.0.0.1", "localhost")
        projects.join_url(projects.find("tea-garden"), f"{elsewhere}/docs?i={{token}}")
    window.open(f"/invite?{token}")
    assert window.driver.current_url == f"{elsewhere}/docs?i={token}"
    window.open("/")
    window.write(code=token)
    window.press("Open invitation")
    assert (window.path, window.heading) == ("/invite", "Your invitation")
    window.press(f"Continue to {elsewhere.partition('//')[2]}")
    assert window.driver.current_url == f"{elsewhere}/docs?i={token}"


DEAD = {
    "used": "This invitation has been used",
    "expired": "This invitation has expired",
    "revoked": "This invitation has been revoked",
    "unknown": "Invitation not found",
    "missing": "No invitation in this link",
}


@pytest.fixture
def dead_link(house, make_invite, use):
    """The path of a link that is dead in this way."""

    def make(kind):
        if kind in ("unknown", "missing"):
            return "/invite" if kind == "missing" else f"/invite?{'0' * 64}"
        with time_machine.travel(clock.now() - (clock.DAY if kind == "expired" else clock.MINUTE)):
            token = make_invite(ttl="1h")
        if kind == "used":
            use(token)
        if kind == "revoked":
            with house.writing():
                changing.revoke(invites.find(token))
        return f"/invite?{token}"

    return make


@pytest.mark.long
@pytest.mark.parametrize("kind", DEAD)
def test_a_dead_link_says_why_and_leads_on_with_another(window, dead_link, make_invite, kind):
    window.open(dead_link(kind))
    assert window.heading == DEAD[kind]
    window.write(code=make_invite())
    window.press("Open invitation")
    assert window.heading == "You're invited to Garden Club"


# Accounts


@pytest.mark.long
@BOTH
def test_a_forgotten_password_is_replaced_by_mail(window, charlie, mail, scripts):
    window.scripts(scripts)
    window.open("/login")
    window.press("Forgot password?")
    window.write(email="charlie@example.org")
    window.press("Send link")
    assert "a mail with a link to set a new password is on its way" in window.seen
    window.open(mail().link())
    assert window.heading == "A new password for charlie"
    window.write(password="three wet umbrellas")
    window.press("Set password")
    sign_in(window, "charlie", "three wet umbrellas")
    assert "charlie Sign out" in window.seen


@pytest.mark.long
@BOTH
def test_where_it_is_open_anybody_makes_an_account_with_a_mailed_code(window, mail, scripts):
    window.scripts(scripts)
    window.open("/login")
    window.press("Create account")
    window.write(email="dora@example.org")
    window.press("Send code")
    digits = mail().digits()
    window.write(code=f"{(int(digits) + 1) % 1_000_000:06d}")
    window.press("Confirm")
    assert window.focused == "code"
    window.write(code=digits)
    window.press("Confirm")
    assert "Your address dora@example.org is confirmed." in window.seen
    window.write(password=PASSWORD)
    window.press("Create account")
    assert "Your account is ready, and you are signed in." in window.seen


@pytest.mark.long
def test_an_address_is_confirmed_with_a_mailed_code(window, alice, mail):
    window.open("/login")
    sign_in(window, "alice")
    window.press("Confirm it")
    window.press("Send code")
    window.write(code=mail().digits())
    window.press("Confirm")
    assert "Your address is confirmed." in window.seen


# The admin


@pytest.mark.long
def test_an_admin_makes_an_invitation_a_guest_accepts_and_the_admin_sees_who(desk, other_window):
    desk.press("New invitation")
    desk.write(name="Bob")
    desk.choose("ttl", "1d")
    desk.press("Create invitation")
    assert desk.heading == "Invitation for Bob"
    other_window.open(copied(desk, "Copy"))
    other_window.write(user="bob", password=PASSWORD)
    other_window.press("Create account")
    desk.press("Invitations")
    assert "Bob used 1 / 1" in desk.seen
    desk.press("bob")
    assert desk.heading == "bob"
    assert "the invitation for Bob" in desk.seen


def copied(window, button):
    """What a copy button puts into the clipboard."""
    window.tell("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    window.named(button).click()
    window.until(lambda: window.named("Copied"))
    return window.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")


@pytest.mark.long
@BOTH
def test_an_admin_makes_many_invitations_at_once(desk, scripts):
    desk.scripts(scripts)
    desk.open("/admin/invites/new")
    desk.named("More options").click()
    desk.write(count="3", note="for the fair")
    desk.press("Create invitation")
    assert desk.heading == "3 invitations created"
    links = desk.value("links").split()
    assert len(set(links)) == 3
    if scripts:
        assert copied(desk, "Copy all").split() == links
    for link in links:
        desk.open(link)
        assert desk.heading == "You're invited to Garden Club"


@pytest.mark.long
@BOTH
def test_an_admin_makes_a_key_that_works_until_it_is_deleted(desk, served, scripts):
    desk.scripts(scripts)
    desk.open("/admin/keys")
    desk.write(name="newsletter")
    desk.press("Create key")
    key = desk.driver.find_element(By.CSS_SELECTOR, ".copy input").get_attribute("value")
    assert served.get(f"/invites_api?key={key}").status == 201
    desk.open("/admin/keys")
    assert key.partition("/")[2] not in desk.driver.page_source
    desk.press("Delete", sure=scripts)
    assert "Deleted." in desk.seen
    assert served.get(f"/invites_api?key={key}").status == 403


@pytest.mark.long
@BOTH
def test_an_admin_extends_rotates_and_withdraws_an_invitation(desk, make_invite, scripts):
    desk.scripts(scripts)
    old = make_invite(name="Bob", ttl="1h")
    desk.open(f"/admin?q={old}")
    desk.choose("ttl", "30d")
    desk.press("Change")
    assert "Valid until" in desk.seen
    desk.press("Give it a new link", sure=scripts)
    new = desk.driver.find_element(By.CSS_SELECTOR, ".copy input").get_attribute("value")
    assert old not in new
    desk.press("Revoke", sure=scripts)
    assert "Invitation revoked." in desk.seen
    for link in (f"/invite?{old}", new):
        desk.open(link)
        assert desk.heading in (DEAD["unknown"], DEAD["revoked"])


@pytest.mark.long
def test_who_does_not_mean_it_withdraws_nothing(desk, make_invite, stored):
    desk.open(f"/admin?q={make_invite()}")
    desk.named("Revoke").click()
    desk.driver.switch_to.alert.dismiss()
    assert stored()[0].revoked_at is None
    desk.press("Revoke", sure=True)
    assert stored()[0].revoked_at


# Twice, and back


@pytest.mark.long
@BOTH
def test_a_double_click_and_the_back_button_make_no_second_account(window, make_invite, house, scripts):
    window.scripts(scripts)
    token = make_invite(uses=5)
    window.open(f"/invite?{token}")
    window.write(user="bob", password=PASSWORD)
    window.press_twice("Create account")
    window.until(lambda: uses(house, token) == 1)
    window.open(f"/invite?{token}")
    window.back()
    window.open(f"/welcome?{token}")
    assert uses(house, token) == 1


def uses(house, token):
    with house.reading():
        return invites.find(token).uses


@pytest.mark.long
@BOTH
def test_a_double_click_accepts_once(window, make_invite, house, charlie, scripts):
    token = make_invite(uses=5)
    window.open("/login")
    sign_in(window, "charlie")
    window.scripts(scripts)
    window.open(f"/invite?{token}")
    window.press_twice("Accept as charlie")
    window.until(lambda: window.heading == "Welcome, charlie")
    window.back()
    window.press("Accept as charlie")  # what the browser kept of the page still offers it
    assert window.heading == "Welcome, charlie"
    window.open(f"/invite?{token}")
    assert "have already joined" in window.seen
    assert uses(house, token) == 1


@pytest.mark.long
@BOTH
def test_an_admin_who_goes_back_and_presses_again_makes_nothing_more(desk, stored, scripts):
    desk.scripts(scripts)
    desk.open("/admin/invites/new")
    desk.named("More options").click()
    desk.write(name="Bob", count="2")
    desk.press_twice("Create invitation")
    desk.until(lambda: desk.heading == "2 invitations created")
    desk.back()
    assert desk.value("name") == "Bob"
    desk.press("Create invitation")
    assert desk.heading == "2 invitations created"
    assert len(stored()) == 2


@pytest.mark.long
def test_who_has_signed_out_leaves_nothing_to_go_back_to(desk, make_invite):
    make_invite(name="Bob")
    desk.open("/admin")
    assert "Bob" in desk.seen
    desk.press("Sign out")
    desk.back()
    assert "Bob" not in desk.seen
    assert desk.heading == "Sign in"


# By keyboard


@pytest.mark.long
def test_everything_on_the_way_to_an_account_is_done_by_keyboard(window, make_invite):
    window.open(f"/invite?{make_invite(name='Bob')}")
    window.keys(Keys.TAB)
    assert window.focused == "Skip to the content"
    assert window.shows_focus()
    window.keys(Keys.ENTER)
    window.tab_to("user")
    window.keys("bob")
    window.tab_to("password")
    window.keys(PASSWORD)
    window.tab_to("Show")
    window.keys(Keys.SPACE)
    assert window.driver.find_element(By.ID, "password").get_attribute("type") == "text"
    window.tab_to("Create account")
    window.leave(lambda: window.keys(Keys.ENTER))
    assert window.heading == "Welcome, bob"


@pytest.mark.long
def test_the_skip_link_leads_past_the_header(window, alice):
    window.open("/login")
    sign_in(window, "alice")
    window.keys(Keys.TAB, Keys.ENTER)
    window.tab_to("code")


@pytest.mark.long
def test_an_admin_works_by_keyboard(window, root, stored):
    window.open("/admin")
    window.tab_to("user")
    window.keys("root", Keys.TAB, PASSWORD)
    window.leave(lambda: window.keys(Keys.ENTER))
    window.tab_to("New invitation")
    window.leave(lambda: window.keys(Keys.ENTER))
    window.tab_to("name")
    window.keys("Bob")
    window.tab_to("Create invitation")
    window.leave(lambda: window.keys(Keys.ENTER))
    assert window.heading == "Invitation for Bob"
    window.tab_to("Revoke")
    window.leave(lambda: (window.keys(Keys.ENTER), window.driver.switch_to.alert.accept()))
    assert stored()[0].revoked_at


# What was typed


@pytest.mark.long
@BOTH
def test_a_refused_form_keeps_what_was_typed_but_the_password_and_leads_to_what_is_wrong(
    window, make_invite, house, scripts
):
    window.scripts(scripts)
    with house.writing():
        accounts.create(accounts.Names("bob"), HASH)
    token = make_invite()
    window.open(f"/invite?{token}")
    window.write(user="bob", password=PASSWORD)
    window.press("Create account")
    assert "This user name is taken" in window.seen
    assert (window.value("user"), window.value("password"), window.focused) == ("bob", "", "user")
    window.write(user="b b", password="password1")
    window.press("Create account")
    assert window.focused == "user"  # the first of those that are wrong
    assert "out of a-z 0-9 . _ - " in window.seen
    window.write(user="bobby", password="password1")
    window.press("Create account")
    assert (window.value("user"), window.value("password"), window.focused) == ("bobby", "", "password")
    assert uses(house, token) == 0


@pytest.mark.long
def test_an_admins_refused_form_keeps_all_that_was_typed(desk):
    desk.open("/admin/invites/new")
    desk.named("More options").click()
    desk.choose("ttl", "30d")
    desk.write(name="Bob", note="for the fair", uses="many")
    desk.driver.find_element(By.ID, "mail").click()
    desk.press("Create invitation")
    assert [desk.value(each) for each in ("name", "note", "ttl", "uses")] == ["Bob", "for the fair", "30d", "many"]
    assert desk.driver.find_element(By.ID, "mail").is_selected()
    first = desk.driver.find_element(By.CSS_SELECTOR, "[aria-invalid]").get_attribute("id")
    assert desk.focused == first


@pytest.mark.long
def test_an_account_that_is_not_there_is_said_beside_its_field(desk, garden):
    desk.open("/admin/projects/tea-garden")
    desk.write(owner="nobody")
    desk.press("Change owner")
    assert "There is no such account." in desk.seen
    assert desk.focused == "owner"


@pytest.mark.long
def test_from_a_project_one_invites_to_it(desk, garden):
    desk.open("/admin/projects/tea-garden")
    desk.press("Invite to this project")
    desk.press("Create invitation")
    assert "tea-garden, member" in desk.seen


@pytest.mark.long
def test_the_meter_says_how_good_a_password_is_and_hides_it_when_it_is_sent(window, make_invite):
    window.open(f"/invite?{make_invite()}")
    said = []
    for typed in ("short", "eightish", "twelve chars", "correct horse battery"):
        window.write(password=typed)
        said.append(window.driver.find_element(By.CSS_SELECTOR, ".meter span").text)
    assert said == ["too short", "fair", "good", "strong"]


# What it costs


@pytest.mark.long
def test_the_first_paint_waits_for_two_requests_and_30_kb_hold_all(window, make_invite):
    window.open(f"/invite?{make_invite(name='x' * 100)}")
    window.run("for (const each of document.querySelectorAll('details')) each.open = true")
    loaded = window.until(lambda: [] if len(entries(window)) < 5 else entries(window))
    blocking = [each["name"] for each in loaded if each["blocks"]]
    assert [re.sub(r".*/|[?].*", "", each) for each in blocking] == ["invite", "style.css"]
    names = {re.sub(r".*/|[?].*", "", each["name"]) for each in loaded}
    assert names - {"manifest"} == {"invite", "style.css", "script.js", "qr"}
    assert all(each["bytes"] > 0 for each in loaded)
    assert sum(each["bytes"] for each in loaded) <= 30 * 1024


def entries(window):
    """What the page has loaded, with the bytes that went over the wire, headers too."""
    return window.run("""
        return performance.getEntries().filter((each) => "transferSize" in each).map((each) => ({
            name: each.name,
            bytes: each.responseEnd && each.transferSize,
            blocks: each.entryType === "navigation" || each.renderBlockingStatus === "blocking",
        }));
    """)


# Wherever the page stands


def somewhere(*flags, cookies=True):
    """A browser of one test's own, which finds invites.lan on this machine."""
    found = ("--host-resolver-rules=MAP invites.lan 127.0.0.1", "--disable-features=HttpsUpgrades")
    chromium = require("chromium", "chromium"), require("chromedriver", "chromium-driver")
    return started(*chromium, *found, *flags, cookies=cookies)


def joins(window, token):
    window.open(f"/invite?{token}")
    window.write(user="bob", password=PASSWORD)
    window.press("Create account")


def whole_story(window, make_invite):
    """From a link to an account, out again, in as an admin, round the admin's pages, and out."""

    def stays():
        assert window.driver.current_url.startswith(f"{window.origin}/"), window.driver.current_url

    joins(window, make_invite())
    assert window.heading == "Welcome, bob"
    assert "entered" not in window.driver.current_url
    stays()
    window.press("Sign out")
    stays()
    window.open("/admin/keys")
    assert window.heading == "Sign in"
    sign_in(window, "root")
    assert window.heading == "API keys"
    window.press("Invitations")
    window.press("New invitation")
    window.named("More options").click()
    window.write(name="Carol", uses="many")
    window.press("Create invitation")
    assert window.focused == "uses"
    window.write(uses="2")
    window.press("Create invitation")
    assert window.heading == "Invitation for Carol"
    stays()
    window.press("People")
    window.press("bob")
    window.press("Make an admin")
    assert "This account is an admin now." in window.seen
    window.press("Sign out")
    stays()
    window.open(f"/invite?{make_invite()}")
    window.press("Sign in to accept")
    sign_in(window, "bob")
    window.press("Accept as bob")
    assert window.heading == "Welcome, bob"
    stays()


@pytest.mark.long
@pytest.mark.parametrize("host", ["localhost", "invites.lan"])
def test_the_whole_story_happens_at_another_name_of_the_place(served, make_invite, root, host):
    with somewhere() as driver:
        whole_story(Window(driver, f"http://{host}:{served.port}"), make_invite)


NGINX = """
daemon off; pid {folder}/pid; error_log {folder}/error.log crit; events {{}}
http {{
  access_log off; {temporary}
  server {{ listen 127.0.0.1:{port}; location /join/ {{ proxy_pass http://127.0.0.1:{upstream}/; }} }}
}}
"""


@pytest.fixture
def below(served, tmp_path):
    """A server of the same place under a path, behind a proxy that takes the path away; its address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/join"
    kinds = ("proxy", "client_body", "fastcgi", "uwsgi", "scgi")
    temporary = "".join(f"{each}_temp_path {tmp_path}/{each};" for each in kinds)
    with servers(served.instance.parent) as start:
        upstream = start(PUBLIC_URL=url).port
        text = NGINX.format(folder=tmp_path, temporary=temporary, port=port, upstream=upstream)
        user = "" if os.geteuid() else "user root;"
        (tmp_path / "nginx.conf").write_text(user + text)
        command = [require("nginx", "nginx-light"), "-p", tmp_path, "-c", "nginx.conf", "-e", tmp_path / "error.log"]
        nginx = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        try:
            wait_for((tmp_path / "pid").exists)
            yield url
        finally:
            nginx.terminate()
            nginx.wait(20)


@pytest.mark.long
@pytest.mark.parametrize("host", ["127.0.0.1", "invites.lan"])
def test_the_whole_story_happens_under_a_path(below, make_invite, root, host):
    with somewhere() as driver:
        whole_story(Window(driver, below.replace("127.0.0.1", host)), make_invite)


UNKEPT = "Your browser did not keep the cookie that signs you in, so you are not signed in. Nothing is lost."


def assert_told(window, make_invite, house):
    token = make_invite()
    joins(window, token)
    assert window.heading == "Your account is created"
    assert UNKEPT in window.seen
    assert uses(house, token) == 1
    for path in ("/login", "/admin", f"/login?t={make_invite()}"):
        window.open(path)
        sign_in(window, "bob")
        assert UNKEPT in window.seen


@pytest.mark.long
@BOTH
def test_where_cookies_are_blocked_nothing_is_lost_and_the_page_says_why(served, make_invite, house, scripts):
    with somewhere(cookies=False) as driver:
        window = Window(driver, served.url)
        window.scripts(scripts)
        assert_told(window, make_invite, house)
        assert "Allow cookies for this site" in window.seen


@pytest.mark.long
def test_where_a_place_at_https_is_visited_by_http_nothing_is_lost_and_the_page_says_why(served, make_invite, house):
    with servers(served.instance.parent) as start, somewhere() as driver:
        other = start(PUBLIC_URL="https://invites.lan")
        window = Window(driver, f"http://invites.lan:{other.port}")
        assert_told(window, make_invite, house)
        assert "This site is at https://invites.lan" in window.seen
        assert window.named("Sign in there").get_attribute("href") == "https://invites.lan/login"


@pytest.mark.long
def test_a_place_at_https_may_be_visited_on_this_machine_by_http(served, make_invite, root):
    """Browsers keep such a cookie of localhost, or say why not: nobody is left without an answer."""
    with servers(served.instance.parent) as start, somewhere() as driver:
        other = start(PUBLIC_URL="https://invites.lan")
        window = Window(driver, f"http://localhost:{other.port}")
        joins(window, make_invite())
        assert window.heading in ("Welcome, bob", "Your account is created")
        assert (window.heading == "Welcome, bob") != (UNKEPT in window.seen)


@pytest.mark.long
@BOTH
def test_somebody_changes_name_and_password_signs_out_elsewhere_and_leaves(window, other_window, charlie, scripts):
    window.scripts(scripts)
    for each in (other_window, window):
        each.open("/.well-known/change-password")
        assert each.heading == "Sign in"
        sign_in(each, "charlie")
        assert each.heading == "Your account"
    window.size(320, 700)
    assert "Another browser" in window.seen
    window.write(display_name="Charlie Brown")
    window.press("Save name")
    window.write(current_password=PASSWORD, password="another good one")
    window.press("Change password")
    assert "Password changed. You are signed out everywhere else." in window.seen
    assert "Charlie Brown" in window.seen
    assert "Another browser" not in window.seen
    assert window.run("return document.documentElement.scrollWidth") == 320
    other_window.open("/account")
    assert other_window.heading == "Sign in"
    window.press("What is erased, what stays, and how to delete your account")
    window.write(current_password="another good one")
    window.press("Delete account")
    assert "Your account is deleted" in window.seen
    window.open("/account")
    assert window.heading == "Sign in"
