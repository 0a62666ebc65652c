"""Your own account: the name that is shown, a new password, where you are signed in, your data, and its end."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import replace
from threading import Barrier

import pytest

import database
from app import create_app
from conftest import HASH, MAILS, PASSWORD, Browser, Person, led, make_settings, seen
from models import Counter, Session, User
from rules import (
    accounts,
    admins,
    changing,
    drafts,
    invites,
    own_account,
    passwords,
    projects,
    redemption,
    resets,
    sessions,
)
from rules.refusals import Invalid, LastAdmin, WrongPassword
from settings import in_force

NEW = "a few words are better"


@pytest.fixture
def settings(tmp_path):
    """A place that mails, and has an admin by an address."""
    given = {"SMTP_URL": MAILS, "ADMIN_EMAILS": "boss@example.org"}
    with in_force(make_settings(tmp_path / "instance", **given)) as chosen:
        yield chosen


@pytest.fixture
def elsewhere(client):
    """A browser that is signed in as somebody, beside others."""

    def made(name="alice", password=PASSWORD):
        browser = Browser(client.application.test_client())
        assert browser.sign_in(name, password).status_code == 303
        return browser

    return made


@pytest.fixture
def mine(elsewhere, alice):
    """Alice's browser."""
    return elsewhere()


@pytest.fixture
def user(house):
    def look(name="alice"):
        with house.reading() as unit:
            return unit.session.query(User).filter_by(username=name).one_or_none()

    return look


@pytest.fixture
def failures(house):
    def look(name="alice"):
        with house.reading() as unit:
            counted = unit.session.get(Counter, ("login", accounts.named(name).id))
            return counted.spent if counted else 0

    return look


def is_signed_in(browser):
    return browser.client.get("/account").status_code == 200


def change(browser, old=PASSWORD, new=NEW, **more):
    return browser.post("/account/password", current_password=old, password=new, **more)


def leave(browser, password=PASSWORD):
    return browser.post("/account/delete", current_password=password)


def at(field, page):
    """What is said at a field of a page."""
    found = re.search(rf'id="{field}-problem">([^<]*)<', page.text)
    return found[1] if found else ""


# Who comes to it


@pytest.mark.parametrize("path", ["/account", "/account/data", "/account/delete"])
def test_who_is_not_signed_in_does_so_and_comes_to_the_account(browser, path):
    asked = browser.client.get(path)
    assert (asked.status_code, asked.location) == (303, "/login?then=/account")
    assert 'name="then" value="/account"' in browser.follow(asked).text
    done = browser.post("/login", user="alice", password=PASSWORD, then="/account")
    assert led(done) == "/account"
    assert "Your account" in seen(browser.follow(done))


FORMS = ["name", "password", "sessions/end", "sessions/end-others", "passes", "passes/delete", "delete"]


@pytest.mark.parametrize("path", FORMS)
def test_a_form_of_the_account_that_is_sent_after_signing_out_leads_to_signing_in(browser, alice, path, user):
    sent = browser.post(f"/account/{path}", current_password=PASSWORD, password=NEW, display_name="Mallory")
    assert (sent.status_code, sent.location) == (303, "/login?then=/account")
    assert (user().display_name, user().password_hash) == (None, HASH)


@pytest.mark.parametrize("path", FORMS)
def test_another_site_does_nothing_to_an_account(mine, elsewhere, path, user):
    other = elsewhere()
    fields = {"current_password": PASSWORD, "password": NEW, "display_name": "Mallory"}
    for spoilt in ({"csrf": "x"}, {"headers": {"Sec-Fetch-Site": "cross-site"}}, {"csrf": other.csrf()}):
        assert mine.post(f"/account/{path}", **fields, **spoilt).status_code == 403
    assert (user().display_name, user().password_hash) == (None, HASH)
    assert is_signed_in(other)


def test_every_page_links_to_the_account_where_the_name_stands(mine):
    for path in ("/", "/verify", "/account"):
        assert re.search(r'<a href="/account"[^>]*><bdi>alice</bdi></a>', mine.client.get(path).text)


def test_password_managers_find_where_a_password_is_changed(mine, browser):
    for each in (mine, browser):
        answer = each.client.get("/.well-known/change-password")
        assert (answer.status_code, answer.location) == (303, "/account")
    unknown = "/.well-known/resource-that-should-not-exist-whose-status-code-should-not-be-200"
    assert browser.client.get(unknown).status_code == 404
    page = mine.client.get("/account").text
    assert re.findall('autocomplete="((?:current|new)-password|username)"', page) == [
        "username",
        "current-password",
        "new-password",
    ]


def test_a_token_of_a_program_is_no_cookie(client, alice):
    assert client.get("/account", headers=alice.bearer).location == "/login?then=/account"
    assert client.post("/account/delete", headers=alice.bearer, data={"current_password": PASSWORD}).status_code == 303


# The name and the address


def test_the_name_that_is_shown_is_changed_and_found(mine, user, house):
    done = mine.post("/account/name", display_name=" Ирина Müller ")
    assert (done.status_code, done.location) == (303, "/account?done=name")
    page = mine.follow(done)
    assert "Name changed." in seen(page)
    assert 'value="Ирина Müller"' in page.text
    assert "<bdi>Ирина Müller</bdi>" in page.text
    with house.reading():
        assert [each.username for each in accounts.search("ирина", None, 9)] == ["alice"]
    assert mine.post("/account/name", display_name="").status_code == 303
    assert (user().display_name, user().folded) == (None, None)
    assert "<bdi>alice</bdi>" in mine.client.get("/account").text


@pytest.mark.parametrize("name", ["<b>", "x" * 101, "www.example.org", "a\nb", "a\0b"])
def test_what_nobody_is_called_is_said_at_the_name(mine, user, name):
    page = mine.post("/account/name", display_name=name)
    assert (page.status_code, at("display_name", page) != "") == (422, True)
    assert user().display_name is None


@pytest.mark.parametrize("name", ["Garden Club", "garden club", "Ｇarden\u00a0ＣLUB"])
def test_no_account_is_called_as_the_site_is(tmp_path, house, alice, name):
    with in_force(make_settings(tmp_path / "instance", SITE_NAME="Garden Club")), house.writing():
        with pytest.raises(Invalid, match="cannot be the name of this site"):
            own_account.rename(accounts.named("alice"), name)
        with pytest.raises(Invalid, match="cannot be the name of this site"):
            accounts.create(accounts.Names("eve", display_name=name))
        own_account.rename(accounts.named("alice"), f"{name} Alice")


def test_the_address_is_shown_and_whether_it_is_proved(mine, alice):
    assert "alice@example.org (not confirmed)" in seen(mine.client.get("/account"))
    assert 'href="/verify"' in mine.client.get("/account").text
    alice.verify_address()
    assert "alice@example.org (confirmed)" in seen(mine.client.get("/account"))
    assert 'href="/verify"' not in mine.client.get("/account").text
    alice.forget_address()
    assert "E-mail address–" in seen(mine.client.get("/account"))


# The password


def test_a_new_password_ends_all_other_sessions_and_this_browser_goes_on(mine, elsewhere, alice, client, house):
    other, stolen = elsewhere(), mine.client.get_cookie("invite-session").value
    done = change(mine)
    assert led(done) == "/account?done=password"
    assert "Password changed." in seen(mine.follow(done))
    assert is_signed_in(mine)
    assert not is_signed_in(other)
    assert client.get("/auth/me", headers=alice.bearer).status_code == 401
    other.client.set_cookie("invite-session", stolen)  # whoever has copied this browser's cookie is out, too
    assert not is_signed_in(other)
    with house.reading() as unit:
        assert unit.session.query(Session).count() == 1
    assert Browser(client.application.test_client()).sign_in("alice").status_code == 401
    assert elsewhere(password=NEW)


def test_a_link_for_a_new_password_dies_with_the_old_one(mine, house, client):
    with house.reading():
        link = resets.link(accounts.named("alice"))
    assert change(mine).status_code == 303
    assert "has been used" in seen(client.get(link.removeprefix("http://127.0.0.1:8080")))


@pytest.mark.parametrize(
    ("new", "said"),
    [
        ("short", "at least 8"),
        ("password1", "too easy to guess"),
        ("long enough alice", ""),
        ("x" * 129, "at most 128"),
        ("tab\tin the midst", "cannot be typed again"),
        ("", "at least 8"),
    ],
)
def test_a_new_password_is_checked_as_everywhere(mine, user, new, said):
    page = change(mine, new=new)
    assert said in at("password", page)
    assert page.status_code == (422 if said else 303)
    assert (user().password_hash == HASH) == bool(said)
    assert at("current_password", page) == ""


def test_the_user_name_is_no_new_password(client, house, elsewhere):
    Person(house, "alexandra")
    page = change(elsewhere("alexandra"), new="Alexandra")
    assert "too easy to guess" in at("password", page)


def test_a_wrong_and_a_bad_password_are_said_at_once(mine, user, failures):
    page = change(mine, old="not that one", new="short")
    assert (page.status_code, page.text.count('aria-invalid="true"')) == (422, 2)
    wrong = "This is not your password. After too many wrong attempts it has to be reset."
    assert at("current_password", page) == wrong
    assert "at least 8" in at("password", page)
    assert (user().password_hash, failures()) == (HASH, 1)
    missing = change(mine, old="", new="short")
    assert (at("current_password", missing), failures()) == ("Is missing.", 1)  # nothing was tried
    assert "at least 8" in at("password", missing)


def test_tries_at_the_own_password_are_tries_to_sign_in(mine, failures, house, user):
    for _ in range(3):
        assert change(mine, old="not that one").status_code == 422
    Browser(mine.client.application.test_client()).sign_in("alice", "nor that one")
    assert leave(mine, "nor this one").status_code == 422
    assert failures() == 5
    assert change(mine).status_code == 303
    assert failures() == 0


def test_a_hundred_wrong_ones_are_the_end_of_it(mine, house, user):
    alice = user()
    with house.writing() as unit:
        unit.session.add(Counter(purpose="login", subject=alice.id, spent=100, since=alice.created_at))
    for tried in (change(mine), leave(mine)):
        assert (tried.status_code, "not your password" in at("current_password", tried)) == (422, True)
    assert user().password_hash == HASH
    assert is_signed_in(mine)


def test_a_flood_of_passwords_keeps_the_form(mine):
    with ExitStack() as crowd:
        for _ in range(passwords.ROOM):
            crowd.enter_context(passwords.room())
        for tried in (change(mine), leave(mine)):
            assert (tried.status_code, tried.headers["Retry-After"]) == (503, "2")
            assert 'name="current_password"' in tried.text


def test_too_many_tries_in_a_minute_are_refused_with_the_form(tmp_path, house, alice):
    browser = Browser(create_app(make_settings(tmp_path / "instance", LIMITS="on")).test_client())
    browser.sign_in("alice")
    csrf = browser.csrf()
    answers = [change(browser, old="not that one", csrf=csrf) for _ in range(11)]
    assert [each.status_code for each in answers] == [422] * 10 + [429]
    assert "Too many requests" in seen(answers[-1])
    assert 'name="current_password"' in answers[-1].text


def test_a_password_that_was_reset_meanwhile_stays(house, alice, user):
    """Whoever has an old password, and knows that a link for a new one is used, is not the quicker one."""
    with house.writing():
        caller = sessions.of_access_token(alice.pair.access)
        attempt = accounts.check_password(own_account.begin(caller, PASSWORD))
        reset = resets.link(accounts.named("alice")).rpartition("?")[2]
    with house.writing():
        resets.use(reset, passwords.hash(NEW))
    kept = user().password_hash
    for too_late in (lambda: own_account.change_password(attempt, HASH), lambda: own_account.delete(attempt, [])):
        with pytest.raises(WrongPassword), house.writing():
            too_late()
    assert user().password_hash == kept


# Where one is signed in


def ids(page):
    return re.findall('name="session" value="([^"]*)"', page.text)


def test_one_sees_where_one_is_signed_in_and_signs_out_there(mine, elsewhere, alice, client):
    other = elsewhere()
    page = mine.client.get("/account")
    assert [seen(page).count(each) for each in ("This browser", "Another browser", "A program")] == [1, 1, 1]
    assert len(ids(page)) == 2
    for each in ids(page):
        done = mine.post("/account/sessions/end", session=each)
        assert (done.status_code, done.location) == (303, "/account?done=session")
    assert "Signed out there." in seen(mine.follow(done))
    assert is_signed_in(mine)
    assert not is_signed_in(other)
    assert client.get("/auth/me", headers=alice.bearer).status_code == 401
    assert mine.post("/account/sessions/end", session=each).status_code == 303  # it has ended already


def test_one_signs_out_everywhere_else(mine, elsewhere, alice, client):
    others = [elsewhere() for _ in range(3)]
    done = mine.post("/account/sessions/end-others")
    assert "You are signed out everywhere else." in seen(mine.follow(done))
    assert is_signed_in(mine)
    assert not any(map(is_signed_in, others))
    assert client.get("/auth/me", headers=alice.bearer).status_code == 401
    assert ids(mine.client.get("/account")) == []


def test_nobody_ends_a_session_of_another_account(mine, elsewhere, charlie, house):
    theirs = elsewhere("charlie")
    with house.reading() as unit:
        all_of_them = [each.id for each in unit.session.query(Session).join(User).filter(User.username == "charlie")]
    for each in [*all_of_them, "nonsense", "", "%"]:
        assert mine.post("/account/sessions/end", session=each).status_code == 303
    assert mine.post("/account/sessions/end-others").status_code == 303
    assert is_signed_in(theirs)


def test_to_end_this_session_is_to_sign_out(mine, house):
    with house.reading() as unit:
        (this,) = unit.session.query(Session).filter(Session.refresh_hash.is_(None))
    assert mine.post("/account/sessions/end", session=this.id).location == "/"
    assert not is_signed_in(mine)


# What is stored


@pytest.fixture
def history(house, alice, charlie, key):
    """The tokens of invites that alice created and used."""
    with house.writing():
        alice_, charlie_ = accounts.named("alice"), accounts.named("charlie")
        projects.create(charlie_, projects.ProjectDraft("Tea Garden"))
        hers = [
            invites.create(drafts.read({"name": name, "note": "from school"}), accounts.as_inviter(alice_))
            for name in ("Anne", "Bob")
        ]
        his = invites.create(drafts.read({"project": "tea-garden", "note": "a secret"}), accounts.as_inviter(charlie_))
        redemption.accept(invites.token(his), alice_)
        redemption.accept(invites.token(hers[0]), charlie_)
        changing.revoke(hers[1])
        return [invites.token(each) for each in (*hers, his)]


def test_what_is_stored_about_an_account_is_a_file(mine, history, alice):
    answer = mine.client.get("/account/data")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="account.json"'
    assert (answer.mimetype, answer.headers["Cache-Control"]) == ("application/json", "no-store")
    data = json.loads(answer.text)
    assert {name: data["account"][name] for name in ("username", "email", "email_verified_at", "display_name")} == {
        "username": "alice",
        "email": "alice@example.org",
        "email_verified_at": None,
        "display_name": None,
    }
    assert [(each["slug"], each["role"]) for each in data["memberships"]] == [("tea-garden", "member")]
    created = {each["name"]: (each["state"], each["uses"], each["note"]) for each in data["invites_created"]}
    assert created == {"Anne": ("used", 1, "from school"), "Bob": ("revoked", 0, "from school")}
    assert [(each["invited_by"], each["to"]) for each in data["invites_used"]] == [("charlie", "Tea Garden")]
    assert len(data["sessions"]) == 2
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", data["account"]["created_at"])


def test_the_file_opens_nothing_and_names_nobody_else(mine, history, alice):
    text = mine.client.get("/account/data").text
    opens = [*history, HASH, alice.pair.access, alice.pair.refresh, mine.client.get_cookie("invite-session").value]
    assert [each for each in opens if each in text or each.partition(".")[0] in text] == []
    assert "a secret" not in text
    assert "charlie@example.org" not in text


def test_the_file_has_all_invites_however_many(mine, house, monkeypatch):
    monkeypatch.setattr(own_account, "AT_ONCE", 2)
    with house.writing():
        for number in range(5):
            invites.create(drafts.read({"name": f"Guest {number}"}), accounts.as_inviter(accounts.named("alice")))
    created = json.loads(mine.client.get("/account/data").text)["invites_created"]
    assert sorted(each["name"] for each in created) == [f"Guest {number}" for number in range(5)]


# The end


def test_an_account_is_deleted_with_its_password(mine, elsewhere, alice, user, house, make_invite, client):
    with house.writing():
        invite = invites.create(drafts.read({"name": "Anne"}), accounts.as_inviter(accounts.named("alice")))
        token = invites.token(invite)
    other, page = elsewhere(), mine.client.get("/account/delete")
    for each in ("Erased:", "Stays:"):
        assert each in seen(page)
    assert 'autocomplete="username"' in page.text
    refused = leave(mine, "not that one")
    assert (refused.status_code, at("current_password", refused)[:24]) == (422, "This is not your passwor")
    done = leave(mine)
    assert (done.status_code, done.location) == (303, "/?deleted")
    assert "Your account is deleted" in seen(mine.follow(done))
    assert user() is None
    assert not is_signed_in(mine)
    assert not is_signed_in(other)
    assert client.get(f"/invite?{token}").status_code == 404
    assert Browser(client.application.test_client()).sign_in("alice").status_code == 401


def test_an_owner_of_projects_is_told_what_comes_first(mine, user, house):
    with house.writing():
        for name in ("Tea Garden", "Orchard"):
            projects.create(accounts.named("alice"), projects.ProjectDraft(name))
    page = mine.client.get("/account/delete")
    assert "an admin of this site has to give them another owner" in seen(page)
    assert "Orchard" in seen(page)
    assert 'name="current_password"' not in page.text
    refused = leave(mine)
    assert (refused.status_code, "This account owns" in seen(refused)) == (422, True)
    assert user()


def another_admin(house, how):
    with house.writing():
        if how == "marked":
            accounts.set_admin(accounts.create(accounts.Names("boss"), HASH), True)
        else:
            accounts.create(accounts.Names("boss", "boss@example.org"), HASH, proven=how == "by address")
        if how == "disabled":
            accounts.set_admin(accounts.named("boss"), True)
            accounts.disable(accounts.named("boss"))
        if how == "without a password":
            accounts.set_admin(accounts.named("boss"), True)
            accounts.named("boss").password_hash = None


@pytest.mark.parametrize("how", ["marked", "by address", "disabled", "without a password", "unproved", "nobody"])
def test_the_last_admin_who_can_sign_in_stays(elsewhere, root, house, user, how):
    if how != "nobody":
        another_admin(house, how)
    browser = elsewhere("root")
    may_go = how in ("marked", "by address")
    page = browser.client.get("/account/delete")
    assert ("You are the last admin" not in seen(page)) == may_go
    answer = leave(browser)
    assert answer.status_code == (303 if may_go else 422)
    assert may_go or "Make another person an admin first" in seen(answer)
    assert (user("root") is None) == may_go


def test_an_admin_by_address_is_the_last_one_too(elsewhere, house, user):
    another_admin(house, "by address")
    assert leave(elsewhere("boss")).status_code == 422
    assert user("boss")


def test_of_the_last_two_admins_who_delete_themselves_at_once_one_stays(elsewhere, house, root, caplog):
    for number in range(4):
        with house.writing():
            name = f"admin{number}"
            accounts.set_admin(accounts.create(accounts.Names(name), HASH), True)
            (other,) = admins.others(accounts.named(name).id)
            stays = accounts.named(other).username
        browsers = [elsewhere(name), elsewhere(stays)]
        forms = [each.csrf() for each in browsers]

        def go(number, browsers=browsers, forms=forms):
            return browsers[number].post("/account/delete", csrf=forms[number], current_password=PASSWORD).status_code

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(go, (0, 1))) == [303, 422]
        with house.reading():
            assert len(admins.others("nobody")) == 1
    assert [each for each in caplog.records if "once more" in each.getMessage()] == []  # they waited in no circle


def test_two_admins_whose_passwords_were_compared_already_do_not_both_go(house, settings, caplog):
    """Without the slow part before, which one thread does for all, both units begin at the same moment."""

    def leave_at_once(going):
        attempt, others = going
        with in_force(settings), suppress(LastAdmin):
            start.wait()
            database.once_more(lambda: leave_in_a_unit(attempt, others), caplog.records.append)
            return "gone"

    def leave_in_a_unit(attempt, others):
        with house.writing():
            own_account.delete(attempt, others)

    with ThreadPoolExecutor(2) as pool:
        for number in range(12):
            start, going = Barrier(2), []
            with house.writing():
                pair = [accounts.create(accounts.Names(f"{name}{number}"), HASH) for name in ("adam", "eve")]
                for each in pair:
                    accounts.set_admin(each, True)
                for one, other in (pair, pair[::-1]):
                    going.append((replace(accounts.begin_check(one, PASSWORD), verified=True), [other.id]))
            assert sorted(map(str, pool.map(leave_at_once, going))) == ["None", "gone"]
    assert caplog.records == []  # they waited in no circle


def test_whoever_was_the_other_admin_is_looked_at_once_more(house, root, alice):
    """Between the look for other admins and the end of the account somebody may have ended the other's rights."""
    with house.writing():
        caller = sessions.of_access_token(root.pair.access)
        attempt = accounts.check_password(own_account.begin(caller, PASSWORD))
        other = accounts.named("alice").id
    with pytest.raises(LastAdmin), house.writing():
        own_account.delete(attempt, [other])
