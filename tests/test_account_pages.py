"""The pages about an account: confirming an address, a forgotten password, registering without an invite."""

import re

import pytest
import time_machine

import clock
from app import create_app
from conftest import MAILS, PASSWORD, Browser, make_settings, seen
from models import Letter, User
from rules import accounts
from settings import in_force


@pytest.fixture
def settings(tmp_path):
    with in_force(make_settings(tmp_path / "instance", REGISTRATION="open", SMTP_URL=MAILS)) as chosen:
        yield chosen


@pytest.fixture
def waiting(house):
    def look():
        with house.reading() as unit:
            return [(each.kind, each.recipient) for each in unit.session.query(Letter)]

    return look


def hidden(page, name):
    return re.search(rf'name="{name}" value="([^"]*)"', page.text)[1]


def test_without_an_invite_one_registers_with_a_mailed_code(browser, digits, house):
    assert "six-digit code" in seen(browser.client.get("/register"))
    sent = browser.post("/register/start", email="New@Example.org")
    assert "Enter the code that was mailed to new@example.org" in seen(sent)
    wrong = browser.post("/verify", email="new@example.org", code=f"{(int(digits()) + 1) % 1_000_000:06d}")
    assert (wrong.status_code, "not the code that was sent" in seen(wrong)) == (422, True)
    right = browser.post("/verify", email="new@example.org", code=f" {digits()[:3]} {digits()[3:]} ")
    assert "Choose a password" in seen(right)
    ticket = hidden(right, "ticket")
    weak = browser.post("/register/password", email="new@example.org", ticket=ticket, password="short")
    assert (weak.status_code, "Must have at least 8" in seen(weak)) == (422, True)
    assert hidden(weak, "ticket") == ticket
    done = browser.post("/register/password", email="new@example.org", ticket=ticket, password=PASSWORD)
    assert "Your account is ready, and you are signed in." in seen(browser.follow(done))
    with house.reading() as unit:
        assert unit.session.query(User).filter_by(email="new@example.org").one().email_verified_at
    again = browser.post("/register/password", email="new@example.org", ticket=ticket, password=PASSWORD)
    assert again.status_code == 422


@pytest.mark.parametrize("email", ["", "nobody", "a@b, c@d"])
def test_what_is_no_address_is_said_beside_the_field(browser, email, waiting):
    for path in ("/register/start", "/password/forgot"):
        answer = browser.post(path, email=email)
        assert (answer.status_code, 'id="email-problem"' in answer.text) == (422, True)
        assert f'value="{email}"' in answer.text or not email
    assert waiting() == []


def test_a_second_click_mails_nothing_more_and_leads_on(browser, waiting):
    for status in (200, 429):
        page = browser.post("/register/start", email="new@example.org")
        assert (page.status_code, "Enter the code" in seen(page)) == (status, True)
    assert waiting() == [("code", "new@example.org")]


def test_a_taken_address_gets_the_same_page_and_another_mail(browser, charlie, waiting):
    pages = [seen(browser.post("/register/start", email=f"{name}@example.org")) for name in ("charlie", "dora")]
    assert pages[0].replace("charlie", "dora") == pages[1]
    assert waiting() == [("known", "charlie@example.org"), ("code", "dora@example.org")]


def test_where_registration_is_closed_there_are_no_such_forms(tmp_path, house, alice):
    browser = Browser(create_app(make_settings(tmp_path / "instance")).test_client())
    assert browser.client.get("/register").location == "/invite"
    assert browser.client.get("/verify").location == "/login?then=/verify"
    assert browser.post("/register/start", email="new@example.org").status_code == 403
    assert browser.post("/verify", email="new@example.org", code="123456").status_code == 403
    assert "cannot send mail" in seen(browser.client.get("/password/forgot"))


def test_who_is_signed_in_confirms_the_own_address(browser, digits, house):
    browser.sign_in("alice")
    assert "not confirmed yet" in seen(browser.client.get("/"))
    assert "A mail with a six-digit code" in seen(browser.post("/verify/send"))
    assert browser.post("/verify/send").status_code == 429
    assert browser.post("/verify", code="1").status_code == 422
    done = browser.post("/verify", code=digits(), email="bob@example.org")  # whatever the form says
    assert "Your address is confirmed." in seen(browser.follow(done))
    with house.reading():
        alice = accounts.named("alice")
        assert (alice.email, alice.email_verified_at is not None) == ("alice@example.org", True)
    assert browser.client.get("/verify").location == "/"
    assert "not confirmed yet" not in seen(browser.client.get("/"))


def test_a_code_is_tried_three_times(browser, digits):
    browser.post("/register/start", email="new@example.org")
    wrong = f"{(int(digits()) + 1) % 1_000_000:06d}"
    for said in ("not the code", "not the code", "not the code", "tried too often"):
        assert said in seen(browser.post("/verify", email="new@example.org", code=wrong))
    assert "tried too often" in seen(browser.post("/verify", email="new@example.org", code=digits()))


def test_a_forgotten_password_is_asked_for_alike_by_all(browser, alice, waiting):
    pages = []
    for name in ("alice", "nobody"):
        answer = browser.post("/password/forgot", email=f"{name}@example.org")
        assert answer.location == "/password/forgot?sent"
        pages.append(seen(browser.follow(answer)))
    assert pages[0] == pages[1]
    assert "on its way" in pages[0]
    assert waiting() == [("reset", "alice@example.org")]
    with time_machine.travel(clock.now() + clock.SECOND):
        again = browser.post("/password/forgot", email="alice@example.org")
    assert (again.status_code, "on its way" in seen(again)) == (429, True)


def test_what_hinders_an_invitation_is_said_before_it_is_tried(browser, make_invite, house, alice):
    browser.sign_in("alice")
    mine = seen(browser.client.get(f"/invite?{make_invite(email='alice@example.org')}"))
    assert "confirm that alice@example.org is yours" in mine
    assert "Accept as" not in mine
    hers = seen(browser.client.get(f"/invite?{make_invite(email='dora@example.org')}"))
    assert "this invitation is only for dora@example.org" in hers
    assert "Sign out and use another account" in hers
    alice.verify_address()
    assert "Accept as alice" in seen(browser.client.get(f"/invite?{make_invite(email='alice@example.org')}"))
    twice = make_invite(uses=2)
    browser.post("/accept", token=twice)
    assert "have already joined" in seen(browser.client.get(f"/invite?{twice}"))


def test_who_signs_out_on_an_invitation_comes_back_to_it(browser, make_invite):
    token = make_invite()
    browser.sign_in("alice")
    assert browser.post("/logout", token=token).location == f"/invite?{token}"
    assert "Create your account" in seen(browser.client.get(f"/invite?{token}"))


def test_our_form_takes_an_address_for_a_name(browser, make_invite, house):
    done = browser.post("/register", token=make_invite(), user="Dora@Example.org", password=PASSWORD)
    assert done.status_code == 303
    with house.reading():
        dora = accounts.named("dora@example.org")
        assert (dora.username, dora.email_verified_at) == (None, None)
    taken = browser.post("/register", token=make_invite(), user="dora@example.org", password=PASSWORD)
    assert (taken.status_code, "There is an account with this e-mail address" in seen(taken)) == (422, True)
