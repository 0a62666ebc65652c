"""What a guest meets whose use of an invite waits: for the proof of an address, or for somebody's approval."""

import ast
import re

import pytest
import time_machine

import clock
from app import create_app
from conftest import MAILS, PASSWORD, Browser, led, make_settings, seen
from models import Code, Event, Letter, Redemption
from rules import accounts, changing, drafts, holds, invites, projects, redemption, resets, tokens, uses, waiting
from settings import HOME, in_force


@pytest.fixture
def settings(tmp_path):
    """A site that can send mail."""
    with in_force(make_settings(tmp_path / "instance", SMTP_URL=MAILS, SITE_NAME="Garden Club")) as chosen:
        yield chosen


@pytest.fixture
def by_alice(house, alice):
    """Have alice invite to her project; the token."""

    def make(**given):
        with house.writing():
            user = accounts.named("alice")
            if not projects.of_user(user):
                projects.create(user, projects.ProjectDraft("Tea Garden"))
            draft = drafts.read({"project": "tea-garden", **given})
            return invites.token(invites.create(draft, accounts.as_inviter(user)))

    return make


@pytest.fixture
def answer(house):
    """Say yes or no to the one use of an invite that waits."""

    def say(act, token):
        with house.writing():
            (use,) = waiting.of_invite(invites.find(token))
            act(use.id)

    return say


@pytest.fixture
def mailed(house):
    """The kinds and recipients of the mails that were written, and the codes among them."""

    def look():
        with house.reading() as unit:
            return [(each.kind, each.recipient) for each in unit.session.query(Letter).order_by(Letter.created_at)]

    return look


@pytest.fixture
def code_of(house):
    """The digits that were mailed to an address."""

    def look(address):
        with house.reading() as unit:
            return tokens.mail_code(unit.session.query(Code).filter_by(email=address).one().nonce)

    return look


def register(client, token, name="bob", email="bob@example.org"):
    body = {"invite_token": token, "email": email, "username": name, "password": PASSWORD}
    return client.post("/auth/register/with-invite", json=body)


def bearer(answer):
    return {"Authorization": f"Bearer {answer.json['token']}"}


def members(client, alice):
    shown = client.get("/projects/tea-garden/members", headers=alice.bearer).json
    return {each["user"]["display_name"] for each in shown}


WAITS = {"project_slug": None, "redirect_url": None, "state": "waiting"}


# In JSON


def test_accepting_waits_for_approval_and_says_the_same_once_more(client, by_alice, charlie, alice, answer):
    token = by_alice(approve=True, redirect_url="https://app.example.org/")
    for _ in "12":
        got = client.post(f"/invites/{token}/accept", headers=charlie.bearer)
        assert (got.status_code, got.json) == (202, {**WAITS, "waiting_for": "approval"})
    assert members(client, alice) == {"alice"}
    assert client.get("/projects/", headers=charlie.bearer).json == []
    answer(waiting.approve, token)
    assert members(client, alice) == {"alice", "charlie"}
    assert client.post(f"/invites/{token}/accept", headers=charlie.bearer).json["code"] == "ALREADY_MEMBER"


def test_registering_waits_for_approval_and_signs_in(client, by_alice, alice, answer):
    token = by_alice(approve=True)
    got = register(client, token)
    assert got.status_code == 200
    assert {**got.json, **WAITS, "waiting_for": "approval"} == got.json
    assert client.get("/auth/me", headers=bearer(got)).json["username"] == "bob"
    again = client.post(f"/invites/{token}/accept", headers=bearer(got))
    assert (again.status_code, again.json["waiting_for"]) == (202, "approval")
    assert members(client, alice) == {"alice"}
    answer(waiting.approve, token)
    assert members(client, alice) == {"alice", "bob"}


def test_an_address_in_the_domain_waits_for_its_proof(client, by_alice, alice, mailed, code_of):
    token = by_alice(email="@example.org")
    assert client.get(f"/invites/{token}").json["email"] == "@example.org"
    got = register(client, token)
    assert {**got.json, **WAITS, "waiting_for": "proof"} == got.json
    assert mailed() == [("code", "bob@example.org")]
    again = client.post(f"/invites/{token}/accept", headers=bearer(got))
    assert (again.status_code, again.json["waiting_for"]) == (202, "proof")
    assert len(mailed()) == 1
    body = {"email": "bob@example.org", "code": code_of("bob@example.org")}
    assert client.post("/auth/register/verify", headers=bearer(got), json=body).status_code == 200
    assert members(client, alice) == {"alice", "bob"}


def test_who_has_proved_an_address_in_the_domain_joins_at_once(client, by_alice, charlie, mailed):
    got = client.post(f"/invites/{by_alice(email='@example.org')}/accept", headers=charlie.bearer)
    assert (got.status_code, got.json) == (200, {"project_slug": "tea-garden", "redirect_url": None})
    assert mailed() == []


def test_a_domain_and_approval_wait_for_one_after_the_other(client, by_alice, alice, code_of, answer):
    token = by_alice(email="@example.org", approve=True)
    got = register(client, token)
    assert got.json["waiting_for"] == "proof"
    body = {"email": "bob@example.org", "code": code_of("bob@example.org")}
    client.post("/auth/register/verify", headers=bearer(got), json=body)
    assert client.post(f"/invites/{token}/accept", headers=bearer(got)).json["waiting_for"] == "approval"
    assert members(client, alice) == {"alice"}
    answer(waiting.approve, token)
    assert members(client, alice) == {"alice", "bob"}


def test_a_domain_invite_needs_an_address(client, by_alice):
    body = {"invite_token": by_alice(email="@example.org"), "password": PASSWORD, "username": "bob"}
    got = client.post("/auth/register/with-invite", json=body)
    assert (got.status_code, [each["field"] for each in got.json["errors"]]) == (422, ["email"])


def test_what_is_held_is_told_with_the_time_after_which_to_try_again(client, house, by_alice):
    token = by_alice(email="@example.org", uses=9)
    for number in range(redemption.MAX_PROOFS):
        assert register(client, token, f"bob{number}", f"bob{number}@example.org").status_code == 200
    got = register(client, token)
    assert (got.status_code, got.json["code"]) == (409, "INVITE_HELD")
    assert 0 < int(got.headers["Retry-After"]) <= redemption.PROOF_WAITS.total_seconds()
    assert "Others have yet to confirm their address" in got.text


# Through every door


def test_a_program_that_completes_its_hold_waits_for_approval_too(house, by_alice, answer):
    token = by_alice(approve=True, uses=9)
    for complete in (True, False):
        with house.writing():
            held = holds.take(invites.find(token), "shop", holds.Wanted(f"guest {complete}", complete=complete))
            done = held if complete else holds.complete(held.id, "shop")
            assert done.state == holds.complete(held.id, "shop").state == "waiting"
    with house.reading() as unit:
        assert unit.session.query(Redemption).filter_by(state="done").count() == 0
        assert unit.session.query(Event).filter_by(type="invite.used").count() == 0


def test_nothing_but_these_rules_gives_what_an_invite_promises():
    """Whoever adds another door looks whether approval and proof are asked for there (CVE-2022-21684)."""
    calls = {}
    for path in sorted((HOME / "rules").glob("*.py")):
        for rule in (each for each in ast.walk(ast.parse(path.read_text())) if isinstance(each, ast.FunctionDef)):
            called = {ast.unparse(each.func) for each in ast.walk(rule) if isinstance(each, ast.Call)}
            calls[f"{path.stem}.{rule.name}"] = called
    giving = {name for name, called in calls.items() if "joining.give" in called}
    holding = {"holds._taken", "holds._complete", "fast_holds.complete"}
    assert giving == {"redemption.settle", "legacy.use", "waiting.approve", "waiting._go_on"} | holding
    settling = {name for name, called in calls.items() if called & {"settle", "redemption.settle"}}
    assert settling == {"redemption.accept", "redemption._accept_later", "accounts.register"}


def test_a_page_says_when_to_try_again_what_is_held(client, by_alice, house):
    token = by_alice(email="@example.org", uses=9)
    for number in range(redemption.MAX_PROOFS):
        register(client, token, f"bob{number}", f"bob{number}@example.org")
    form = {"user": "bob", "password": PASSWORD, "token": token, "email": "bob@example.org"}
    page = client.post("/register", data=form)
    assert (page.status_code, "Try again after" in seen(page)) == (409, True)
    assert 'value="bob@example.org"' in page.text
    with house.reading():
        assert invites.find(token).uses == redemption.MAX_PROOFS


def test_an_account_that_is_deleted_waits_for_nothing(client, house, by_alice, charlie):
    token = by_alice(approve=True)
    client.post(f"/invites/{token}/accept", headers=charlie.bearer)
    with house.writing():
        accounts.remove(accounts.named("charlie"))
    assert client.get(f"/invites/{token}").status_code == 200
    with house.reading():
        assert redemption.miscounted() == []


# No code goes out before the invite was looked at


@pytest.mark.parametrize("wrong", ["unknown", "revoked", "used", "expired", "another domain", "a taken name"])
def test_no_code_goes_out_if_the_invite_cannot_be_used(client, house, by_alice, charlie, mailed, wrong):
    with time_machine.travel(clock.now() - clock.DAY):
        token = by_alice(email="@example.org", ttl="1h" if wrong == "expired" else "7d")
    if wrong == "revoked":
        with house.writing():
            changing.revoke(invites.find(token))
    if wrong == "used":
        assert client.post(f"/invites/{token}/accept", headers=charlie.bearer).status_code == 200
    if wrong == "unknown":
        token = "0" * 64
    email = "bob@example.com" if wrong == "another domain" else "bob@example.org"
    got = register(client, token, "alice" if wrong == "a taken name" else "bob", email)
    assert got.status_code >= 400
    assert mailed() == []
    with house.reading() as unit:
        assert unit.session.query(Code).count() == 0


# On pages


@pytest.fixture
def guest(client):
    """A browser in which nobody is signed in."""
    return Browser(client.application.test_client())


def test_the_form_of_an_approving_invite_leads_to_a_page_that_says_whose_yes_is_needed(
    guest, by_alice, alice, client, answer
):
    token = by_alice(approve=True)
    assert "alice has to approve your request before you join." in seen(guest.client.get(f"/invite?{token}"))
    sent = guest.post("/register", token=token, user="bob", password=PASSWORD)
    assert led(sent) == f"/welcome?{token}"
    for path in (f"/welcome?{token}", f"/invite?{token}"):
        shown = guest.client.get(path, follow_redirects=True)
        assert shown.status_code == 200
        assert "Waiting for alice's approval." in seen(shown)
        assert "joined" not in seen(shown)
        assert "belong" not in seen(shown)
    assert "Tea Garden: waiting for alice's approval since" in seen(guest.client.get("/account"))
    answer(waiting.approve, token)
    assert "Welcome, bob" in seen(guest.client.get(f"/invite?{token}", follow_redirects=True))
    assert "waiting" not in seen(guest.client.get("/account"))


def test_who_waits_sees_it_though_others_may_still_use_the_invite_or_nobody_may(client, by_alice, charlie):
    with time_machine.travel(clock.now() - clock.HOUR):
        token = by_alice(approve=True, uses=5, ttl="2h")
    browser = Browser(client.application.test_client())
    browser.sign_in("charlie")
    assert led(browser.post("/accept", token=token)) == f"/welcome?{token}"
    open_ = browser.client.get(f"/invite?{token}")
    assert (open_.status_code, "Waiting for alice's approval." in seen(open_)) == (200, True)
    assert "Accept as" not in seen(open_)
    with time_machine.travel(clock.now() + clock.DAY):
        late = browser.client.get(f"/invite?{token}", follow_redirects=True)
        assert "Waiting for alice's approval." in seen(late)
        assert "has expired" in seen(client.get(f"/invite?{token}"))


def test_who_was_denied_sees_it_and_may_ask_again(client, by_alice, charlie, answer):
    token = by_alice(approve=True)
    browser = Browser(client.application.test_client())
    browser.sign_in("charlie")
    browser.post("/accept", token=token)
    answer(waiting.deny, token)
    page = browser.client.get(f"/welcome?{token}", follow_redirects=True)
    assert "Your last request was not approved." in seen(page)
    browser.post("/accept", token=token)
    assert "Waiting for alice's approval." in seen(browser.client.get(f"/welcome?{token}"))


def test_a_program_that_posts_the_form_is_told_that_it_waits(client, by_alice, alice):
    form = {"user": "bob", "password": PASSWORD, "token": by_alice(approve=True)}
    page = client.post("/register", data=form)
    assert (page.status_code, "Waiting for alice's approval." in seen(page)) == (200, True)
    assert members(client, alice) == {"alice"}


def test_a_form_without_an_address_comes_back_with_the_field_for_it(client, by_alice, house, mailed):
    token = by_alice(email="@example.org")
    form = {"user": "bob", "password": PASSWORD, "token": token}
    refused = client.post("/register", data=form)
    assert refused.status_code == 422
    assert re.search(r'<input id="email" name="email" type="email"[^>]*aria-invalid="true"', refused.text)
    assert "Is needed: this invitation is for addresses at @example.org." in seen(refused)
    for email, said in (("bob@", "not a valid address"), ("bob@example.com", "ends in @example.org")):
        refused = client.post("/register", data={**form, "email": email})
        assert (refused.status_code, said in refused.text) == (422, True)
        assert f'value="{email}"' in refused.text
    assert mailed() == []
    page = client.post("/register", data={**form, "email": "bob@example.org"})
    assert (page.status_code, "we have sent a code to bob@example.org" in seen(page)) == (200, True)
    assert mailed() == [("code", "bob@example.org")]


def test_a_domain_shows_on_the_page_and_its_form_asks_for_name_and_address(guest, by_alice):
    page = guest.client.get(f"/invite?{by_alice(email='@example.org')}")
    assert "Only for people with an e-mail address at example.org." in seen(page)
    assert [each for each in ("email", "user", "password") if f'<label for="{each}"' in page.text] == [
        "email",
        "user",
        "password",
    ]
    assert 'readonly value="' not in page.text


def test_the_right_code_lets_in_at_once_and_the_next_page_says_so(guest, by_alice, alice, client, code_of):
    token = by_alice(email="@example.org", redirect_url="https://app.example.org/")
    sent = guest.post("/register", token=token, user="bob", password=PASSWORD, email="bob@example.org")
    shown = seen(guest.client.get(led(sent)))
    assert "Confirm your address: we have sent a code to bob@example.org." in shown
    assert "app.example.org" not in shown
    assert "confirm your e-mail address by" in seen(guest.client.get("/account"))
    proved = guest.post("/verify", code=code_of("bob@example.org"))
    assert led(proved) == f"/welcome?{token}"
    page = seen(guest.client.get(led(proved)))
    assert "Welcome, bob" in page
    assert "Tea Garden" in page
    assert members(client, alice) == {"alice", "bob"}


def test_the_right_code_may_lead_on_to_the_wait_for_approval(guest, by_alice, code_of):
    token = by_alice(email="@example.org", approve=True)
    sent = guest.post("/register", token=token, user="bob", password=PASSWORD, email="bob@example.org")
    assert "Then alice has to approve your request." in seen(guest.client.get(led(sent)))
    proved = guest.post("/verify", code=code_of("bob@example.org"))
    assert "Waiting for alice's approval." in seen(guest.client.get(led(proved)))


def test_a_mailed_link_for_a_new_password_proves_the_address_too(guest, house, by_alice, alice, client):
    token = by_alice(email="@example.org")
    guest.post("/register", token=token, user="bob", password=PASSWORD, email="bob@example.org")
    with house.reading():
        link = resets.mailed_link(accounts.named("bob"), clock.HOUR).partition("?")[2]
    done = guest.client.post("/password/reset", data={"token": link, "password": "three wet umbrellas"})
    assert members(client, alice) == {"alice", "bob"}
    assert done.location == f"/login?t={token}&done"
    login = guest.client.get(done.location)
    assert "Your new password is set" in seen(login)
    fresh = Browser(client.application.test_client())
    entered = fresh.sign_in("bob", "three wet umbrellas", token)
    assert "Welcome, bob" in seen(fresh.client.get(led(entered), follow_redirects=True))


def test_an_address_that_is_not_proved_waits_when_it_accepts(client, by_alice, alice, charlie, mailed, house):
    with house.writing():
        accounts.named("charlie").email_verified_at = None
    token = by_alice(email="@example.org")
    browser = Browser(client.application.test_client())
    browser.sign_in("charlie")
    assert "When you accept, we will send a code to charlie@example.org" in seen(browser.client.get(f"/invite?{token}"))
    assert mailed() == []
    sent = browser.post("/accept", token=token)
    assert mailed() == [("code", "charlie@example.org")]
    assert "we have sent a code to charlie@example.org" in seen(browser.client.get(led(sent)))
    assert members(client, alice) == {"alice"}


def test_another_domain_is_told_so(client, by_alice, house, charlie):
    token = by_alice(email="@example.com")
    browser = Browser(client.application.test_client())
    browser.sign_in("charlie")
    page = seen(browser.client.get(f"/invite?{token}"))
    assert "this invitation is only for people with an e-mail address at example.com." in page
    assert "Accept as" not in page
    refused = browser.post("/accept", token=token)
    assert (refused.status_code, "only for people with an e-mail address at example.com" in seen(refused)) == (
        422,
        True,
    )
    got = client.post(f"/invites/{token}/accept", headers=charlie.bearer)
    assert (got.status_code, got.json["code"]) == (400, "EMAIL_MISMATCH")
    assert got.json["error"] == "This invitation is only for people with an e-mail address that ends in @example.com."


def test_used_and_expired_are_told_before_another_domain(client, by_alice, charlie, alice, house):
    with time_machine.travel(clock.now() - clock.DAY):
        expired = by_alice(email="@example.com", ttl="1h")
    got = client.post(f"/invites/{expired}/accept", headers=charlie.bearer)
    assert got.json["code"] == "INVITE_EXPIRED"


def test_without_a_mail_server_the_page_says_that_no_code_comes(tmp_path, house, by_alice):
    token = by_alice(email="@example.org")
    with in_force(make_settings(tmp_path / "instance")) as chosen:
        client = create_app(chosen).test_client()
        form = {"user": "bob", "password": PASSWORD, "token": token, "email": "bob@example.org"}
        page = seen(client.post("/register", data=form))
    assert "This site cannot send you a code. Ask alice for help." in page
    assert "we have sent" not in page


def test_a_proof_that_lapsed_is_begun_anew(client, by_alice, charlie, house, mailed):
    with house.writing():
        accounts.named("charlie").email_verified_at = None
    token = by_alice(email="@example.org")
    browser = Browser(client.application.test_client())
    browser.sign_in("charlie")
    browser.post("/accept", token=token)
    with time_machine.travel(clock.now() + redemption.PROOF_WAITS):
        page = browser.client.get(f"/welcome?{token}", follow_redirects=True)
        assert "Accept as charlie" in seen(page)
        browser.post("/accept", token=token)
        assert "we have sent a code" in seen(browser.client.get(f"/welcome?{token}"))
    assert mailed() == [("code", "charlie@example.org")] * 2
    with house.reading():
        assert redemption.miscounted() == []


def test_a_second_proof_leaves_a_use_alone_that_another_one_has_replaced(house, by_alice, charlie):
    """The first use lapsed and nobody has it; the account joined otherwise since: proving again must not join twice."""
    token = by_alice(email="@example.org")
    with house.writing():
        accounts.named("charlie").email_verified_at = None
        redemption.accept(token, accounts.named("charlie"))
    with time_machine.travel(clock.now() + redemption.PROOF_WAITS), house.writing():
        user = accounts.named("charlie")
        uses.give_back_all(Redemption.user_id == user.id, "lapsed")
        user.email_verified_at = clock.now()
        redemption.accept(token, user)
    with house.writing():
        link = resets.mailed_link(accounts.named("charlie"), clock.HOUR).partition("?")[2]
        assert resets.use(link, "a hash") == []
    with house.reading():
        assert redemption.miscounted() == []
        assert invites.find(token).uses == 1


# Declining


def test_an_invitation_for_one_person_can_be_declined(guest, client, by_alice, alice, key):
    token = by_alice(name="Bob")
    page = guest.client.get(f"/invite?{token}")
    assert "Decline this invitation" in seen(page)
    assert guest.client.get("/decline").status_code == 405
    declined = guest.post("/decline", token=token)
    assert (declined.status_code, declined.location) == (303, f"/invite?{token}")
    page = guest.client.get(f"/invite?{token}")
    assert (page.status_code, "This invitation has been declined" in seen(page)) == (404, True)
    assert "taken it back" not in seen(page)
    assert client.get(f"/invites/{token}").json["code"] == "INVITE_EXPIRED"
    assert client.post("/api/invites/verify", json={"token": token}).status_code == 404
    (listed,) = client.get("/projects/tea-garden/invites", headers=alice.bearer).json
    assert listed["status"] == "revoked"


def test_only_a_form_of_ours_declines_and_opening_changes_nothing(client, guest, by_alice, stored):
    token = by_alice()
    for path in ("/invite", "/welcome", "/register", "/qr", "/decline"):
        guest.client.get(f"{path}?{token}")
    assert client.post("/decline", data={"token": token}).status_code == 403
    elsewhere = guest.post("/decline", token=token, headers={"Sec-Fetch-Site": "cross-site"})
    assert elsewhere.status_code == 403
    assert stored()[0].revoked_at is None


def test_an_invitation_for_several_cannot_be_declined_for_all(guest, by_alice, stored):
    token = by_alice(uses=2)
    assert "Decline" not in seen(guest.client.get(f"/invite?{token}"))
    refused = guest.post("/decline", token=token)
    assert (refused.status_code, "for several people" in seen(refused)) == (422, True)
    assert stored()[0].revoked_at is None


def test_a_used_invitation_cannot_be_declined(guest, client, by_alice, charlie, stored):
    token = by_alice()
    client.post(f"/invites/{token}/accept", headers=charlie.bearer)
    declined = guest.post("/decline", token=token)
    assert (declined.status_code, declined.location) == (303, f"/invite?{token}")
    assert guest.client.get(declined.location).status_code == 410
    assert stored()[0].revoked_at is None


def test_a_revoked_invitation_is_not_called_declined(guest, client, house, by_alice):
    token = by_alice()
    with house.writing():
        changing.revoke(invites.find(token))
    assert "has been declined" not in seen(guest.client.get(f"/invite?{token}"))
