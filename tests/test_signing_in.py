"""Being signed in with a browser: cookies, forms, and links for a new password."""

import re

import pytest
import time_machine

import clock
from app import create_app
from conftest import PASSWORD, Browser, led, make_settings, seen
from rules import accounts, resets


def test_signing_in_sets_a_careful_cookie_and_signing_out_takes_it_back(browser):
    answer = browser.sign_in("alice")
    assert (answer.status_code, led(answer)) == (303, "/")
    cookie = answer.headers["Set-Cookie"]
    assert cookie.startswith("invite-session=")
    assert all(manner in cookie for manner in ("HttpOnly", "SameSite=Lax", "Path=/", "Max-Age=2592000"))
    assert "alice" in browser.client.get("/").text
    stolen = browser.client.get_cookie("invite-session").value
    assert browser.post("/logout").status_code == 303
    assert "alice" not in browser.client.get("/").text
    browser.client.set_cookie("invite-session", stolen)
    assert "alice" not in browser.client.get("/").text


def test_on_https_the_cookie_belongs_to_this_host_alone(tmp_path, house, alice):
    app = create_app(make_settings(tmp_path / "instance", PUBLIC_URL="https://join.example.org"))
    cookie = Browser(app.test_client()).sign_in("alice").headers["Set-Cookie"]
    assert cookie.startswith("__Host-invite-session=")
    assert "Secure" in cookie
    assert "Domain" not in cookie


def test_a_wrong_password_shows_the_form_again_with_the_name(browser):
    page = browser.sign_in("alice", "wrong")
    assert page.status_code == 401
    assert 'value="alice"' in page.text
    assert "The name or the password is wrong" in page.text
    assert "Set-Cookie" not in page.headers


ELSEWHERE = [{"headers": {"Sec-Fetch-Site": each}} for each in ("cross-site", "same-site", "none")]


@pytest.mark.parametrize("spoil", [{"csrf": ""}, {"csrf": "x"}, *ELSEWHERE])
@pytest.mark.parametrize("path", ["/login", "/logout", "/accept"])
def test_forms_of_other_sites_do_nothing(browser, path, spoil):
    browser.sign_in("alice")
    page = browser.post(path, **spoil)
    assert page.status_code == 403
    assert "did not come from a page of ours" in page.text
    assert "alice" in browser.client.get("/").text


def test_a_form_of_another_visitor_does_nothing(client, browser):
    strangers = Browser(client.application.test_client()).csrf()
    browser.sign_in("alice")
    assert browser.post("/logout", csrf=strangers).status_code == 403


def test_a_form_of_a_session_that_is_over_does_nothing(browser):
    browser.sign_in("alice")
    before = browser.csrf()
    browser.post("/logout")
    assert browser.post("/login", csrf=before, user="alice", password=PASSWORD).status_code == 403


def test_what_fails_on_the_page_counts_among_the_hundred(browser, house):
    with house.writing():
        for _ in range(accounts.MAX_FAILURES - 1):
            accounts.begin_login("alice", "wrong")
    assert browser.sign_in("alice", "wrong").status_code == 401
    assert browser.sign_in("alice").status_code == 401


def test_our_own_form_signs_a_new_account_in_and_a_programs_does_not(client, browser, make_invite):
    program = client.post("/register", data={"token": make_invite(), "user": "bob", "password": PASSWORD})
    assert (program.status_code, "Set-Cookie" in program.headers) == (200, False)
    form = browser.post("/register", token=make_invite(), user="charlie", password=PASSWORD)
    assert (form.status_code, "Set-Cookie" in form.headers) == (303, True)
    assert "Welcome, charlie" in seen(browser.follow(form))


def test_a_program_that_registers_ignores_whose_cookie_it_has(browser, make_invite):
    browser.sign_in("alice")
    page = browser.post("/register", csrf="", token=make_invite(), user="bob", password=PASSWORD)
    assert (page.status_code, "Set-Cookie" in page.headers) == (200, False)
    assert "alice" in browser.client.get("/").text


def test_an_invitation_is_accepted_as_the_account_that_is_named(browser, make_invite):
    token = make_invite(redirect_url="https://app.example.org/")
    browser.sign_in("alice")
    assert "Accept as alice" in seen(browser.client.get(f"/invite?{token}"))
    for _ in ("once", "once more, by a double click"):
        done = browser.post("/accept", token=token)
        assert (done.status_code, done.location) == (303, f"/welcome?{token}")
    assert "Continue to app.example.org" in browser.follow(done).text
    assert browser.client.get(f"/invite?{token}").location == done.location


def test_accepting_again_takes_no_second_use(browser, make_invite, stored):
    token = make_invite(uses=3)
    browser.sign_in("alice")
    for _ in ("once", "once more, after going back"):
        assert browser.post("/accept", token=token).location.endswith(f"/welcome?{token}")
    assert stored()[0].uses == 1


def test_what_follows_an_invitation_is_for_who_has_used_it(browser, client, make_invite):
    token = make_invite(uses=2)
    browser.sign_in("alice")
    for each in (client, browser.client):
        assert each.get(f"/welcome?{token}").location == f"/invite?{token}"
    assert browser.client.get("/welcome").status_code == 404


def test_who_signs_in_to_accept_comes_back_to_the_invitation(browser, make_invite):
    token = make_invite()
    assert f"/login?t={token}" in browser.client.get(f"/invite?{token}").text
    sent = browser.post("/accept", token=token)
    assert sent.location == f"/login?t={token}"
    back = browser.sign_in("alice", token=token)
    assert led(back) == f"/invite?{token}"


@pytest.mark.parametrize("token", ["//evil.example", "https://evil.example", "x", "\r\nX: y"])
def test_signing_in_leads_nowhere_else(browser, token):
    assert led(browser.sign_in("alice", token=token)) == "/"


def test_edited_cookies_are_nobodys(browser):
    browser.sign_in("alice")
    good = browser.client.get_cookie("invite-session").value
    for spoilt in (good[:-1], good + "x", good.swapcase(), "", "a.b", good.partition(".")[0]):
        browser.client.set_cookie("invite-session", spoilt)
        assert "alice" not in browser.client.get("/").text
        assert browser.client.get("/auth/me").status_code == 401


def test_a_link_sets_a_new_password_once_and_ends_every_session(browser, house, client, alice):
    with house.writing():
        link = resets.link(accounts.named("alice")).removeprefix("http://127.0.0.1:8080")
    browser.sign_in("alice")
    assert "A new password for alice" in seen(client.get(link))
    token = link.partition("?")[2]
    weak = client.post("/password/reset", data={"token": token, "password": "short"})
    assert (weak.status_code, "at least 8" in weak.text) == (422, True)
    done = client.post("/password/reset", data={"token": token, "password": "another horse battery"})
    assert (done.status_code, done.location) == (303, "/login?done")
    assert "Your new password is set" in browser.client.get("/login?done").text
    assert client.get("/auth/me", headers=alice.bearer).status_code == 401
    assert "alice" not in browser.client.get("/").text
    assert browser.sign_in("alice").status_code == 401
    assert browser.sign_in("alice", "another horse battery").status_code == 303
    again = client.post("/password/reset", data={"token": token, "password": "a third horse battery"})
    assert (again.status_code, "has been used, or it is not complete" in again.text) == (400, True)
    assert client.get(link).status_code == 400


def test_a_link_for_a_new_password_lasts_a_day(client, house, alice):
    with house.writing():
        link = resets.link(accounts.named("alice")).removeprefix("http://127.0.0.1:8080")
    with time_machine.travel(clock.now() + clock.DAY - clock.MINUTE, tick=False):
        assert client.get(link).status_code == 200
    with time_machine.travel(clock.now() + clock.DAY + clock.MINUTE, tick=False):
        assert client.get(link).status_code == 400


@pytest.mark.parametrize("query", ["", "x", "a.b", "0" * 64])
def test_a_link_that_was_never_good_says_so(client, query):
    assert client.get(f"/password/reset?{query}").status_code == 400
    assert client.post("/password/reset", data={"token": query, "password": PASSWORD}).status_code == 400


def test_a_reset_changes_no_invite_and_proves_no_address(client, house, alice):
    with house.writing():
        user = accounts.named("alice")
        token = resets.link(user).partition("?")[2]
    client.post("/password/reset", data={"token": token, "password": "another horse battery"})
    with house.reading():
        assert accounts.named("alice").email_verified_at is None


def test_an_account_made_in_the_shell_signs_in_after_its_link(client, invite_api):
    link = invite_api("user", "create", "dora", "--email", "dora@example.org", "--admin").stdout.strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:8080/password/reset\?[\w.-]+", link)
    browser = Browser(client)
    assert browser.sign_in("dora", "").status_code == 401
    client.post("/password/reset", data={"token": link.partition("?")[2], "password": PASSWORD})
    assert browser.sign_in("dora@example.org").status_code == 303
    assert client.get("/api/admin/invites").status_code == 200
