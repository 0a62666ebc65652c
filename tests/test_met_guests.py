"""What guests met with forms, limits and cookies: each input failed once, and is named after what went wrong."""

import re
from functools import partial
from html.parser import HTMLParser
from types import SimpleNamespace

import pytest
import time_machine
from flask import g

import clock
from app import create_app
from conftest import HASH, MAILS, PASSWORD, Browser, make_settings, seen
from delivery import mail
from models import Code, Letter, User
from rules import accounts, changing, invites, projects, resets, tokens
from rules.refusals import Invalid, InvalidCode, InvalidCredentials, RateLimited, UsernameInvalid, UsernameTaken
from settings import HOME, in_force
from web import html

SENTENCE = "Please fix the field"


@pytest.fixture
def settings(tmp_path):
    """A place that mails, and where anyone registers."""
    with in_force(make_settings(tmp_path / "instance", REGISTRATION="open", SMTP_URL=MAILS)) as chosen:
        yield chosen


@pytest.fixture
def bound(make_invite):
    return make_invite(email="anne@example.org")


@pytest.fixture
def users(house):
    def look():
        with house.reading() as unit:
            return {each.username or each.email: each for each in unit.session.query(User)}

    return look


@pytest.fixture
def waiting(house):
    def look():
        with house.reading() as unit:
            return [each.kind for each in unit.session.query(Letter)]

    return look


class Forms(HTMLParser):
    """The forms of a page: method, path, and the fields with what stands in them; `hidden` are those nobody types in.

    Some of these are `readonly`, and seen.
    """

    def __init__(self, page):
        super().__init__()
        self.all, self.problems, self.alerts, self.readonly = [], set(), [], set()
        self._in_alert = self._list = None
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        given = dict(attributes)
        if given.get("role") == "alert":
            self._in_alert = []
        if given.get("id", "").endswith("-problem"):
            self.problems.add(given["id"].removesuffix("-problem"))
        if tag == "form":
            self.all.append((given.get("method", "get"), given["action"], {}, set()))
        elif tag in ("input", "select", "textarea") and given.get("name") and self.all:
            _, _, fields, hidden = self.all[-1]
            fields[given["name"]] = "" if given.get("type") == "checkbox" else given.get("value") or ""
            if given.get("type") == "hidden" or "hidden" in given or "readonly" in given:
                hidden.add(given["name"])
            if "readonly" in given and "hidden" not in given:
                self.readonly.add(given["name"])

    def handle_data(self, data):
        if self._in_alert is not None:
            self._in_alert.append(data)

    def handle_endtag(self, tag):
        if self._in_alert is not None and tag == "p":
            self.alerts.append(" ".join("".join(self._in_alert).split()))
            self._in_alert = None


# A refusal is said where something was typed


TYPED = {"user": "dora", "password": PASSWORD, "email": "dora@example.org", "code": "123456", "name": "Dora"}
TYPED |= {"owner": "root", "ttl": "3h", "uses": "1", "count": "1", "current_password": PASSWORD}
BAD = {
    "nobody": "nobody",
    "a comma for a dot": "anne@gmail,com",
    "an umlaut": "jürgen@example.org",
    "half an address": "anne@",
    "a NUL": "a\0b",
    "too much": "x" * 3000,
    "markup": "<b>",
    "nothing": "",
}


@pytest.fixture
def pages(house, root, make_invite):
    """The paths of all pages with forms, for a visitor and for an admin."""
    with house.writing():
        accounts.set_admin(accounts.create(accounts.Names("bob"), HASH), True)  # so that root may go
        projects.create(accounts.named("bob"), projects.ProjectDraft("Tea Garden"))
        reset = resets.link(accounts.named("bob")).partition("?")[2]
    token = make_invite(uses=1000)
    with house.reading():
        invite_id = invites.find(token).id
    bound, hers = (make_invite(email=f"{name}@example.org") for name in ("anne", "eve"))
    nobody = ["/", f"/invite?{token}", f"/invite?{bound}", f"/register?{hers}", "/register", "/verify", "/login"]
    nobody += ["/password/forgot", f"/password/reset?{reset}"]
    admin = ["/admin", "/admin/invites/new", f"/admin/invites/{invite_id}", "/admin/keys", "/admin/people"]
    admin += ["/admin/projects", "/admin/projects/tea-garden", f"/invite?{make_invite(uses=1000)}", "/verify"]
    admin += ["/account", "/account/delete"]  # last: they may end the session, and the account
    return {"nobody": nobody, "root": admin}


@pytest.mark.long
@pytest.mark.parametrize("who", ["nobody", "root"])
@pytest.mark.parametrize("bad", BAD)
def test_every_field_of_every_form_is_refused_where_it_was_typed(client, pages, who, bad):
    browser, walked = Browser(client), 0
    if who == "root":
        browser.sign_in("root")
    for path in pages[who]:
        if who == "nobody":  # the form of the page before may have created an account, and signed in
            browser.client = client.application.test_client()
        for method, action, fields, hidden in Forms(browser.client.get(path).text).all:
            for damaged in sorted(fields.keys() - {"csrf"}):
                filled = {
                    name: value or TYPED.get(name, "") for name, value in fields.items() if name not in ("csrf", "off")
                }
                filled |= {"user": f"dora{walked}"} if "user" in filled else {}
                if {
                    "who",
                    "until",
                } <= filled.keys() and damaged != "access":  # the date counts only if it is chosen in the list
                    filled |= {"access": "date", "until": f"{clock.now() + clock.DAY:%Y-%m-%d}"}
                sent = {**filled, damaged: BAD[bad]}
                answer = (
                    browser.client.get(action, query_string=sent) if method == "get" else browser.post(action, **sent)
                )
                assert answer.status_code < 500, (action, damaged)
                if answer.status_code >= 400:
                    assert_said(answer, damaged, damaged not in hidden)
                walked += 1
    assert walked >= 15


def assert_said(answer, damaged, is_shown):
    again = Forms(answer.text)
    shown = {name for _, _, fields, hidden in again.all for name in fields.keys() - hidden}
    assert again.problems <= shown | again.readonly, "a problem stands at a field that is not shown"
    if again.problems:
        assert not is_shown or damaged in again.problems, (damaged, again.problems)
    elif "This did not work" in answer.text:
        assert len(re.search('<p class="lead">(.*?)</p>', answer.text)[1]) > 20
    else:
        assert again.alerts, seen(answer)
        assert SENTENCE not in again.alerts[0], damaged


@pytest.mark.parametrize("typed", ["anne@gmail,com", "jürgen@example.org", "anne@", "@example.org", "a@b@c"])
@pytest.mark.parametrize("path", ["/invite?{}", "/register?t={}"])
def test_a_wrong_address_is_said_at_the_field_for_name_or_address(browser, make_invite, typed, path):
    token = make_invite()
    page = browser.client.get(path.format(token))
    assert 'for="user"' in page.text
    refused = browser.post("/register", token=token, user=typed, password=PASSWORD)
    assert (refused.status_code, Forms(refused.text).problems) == (422, {"user"})
    assert f'value="{typed}"' in refused.text


@pytest.mark.parametrize(
    "query", ["email=nobody", "cursor=zzz", "status=open!", "project=nowhere", "q=a&q=b", "inviter=%00", "cursor=%00"]
)
@pytest.mark.parametrize("path", ["/admin", "/admin/people"])
def test_a_filter_that_the_page_has_no_field_for_is_said_with_what_to_do(browser, root, path, query):
    browser.sign_in("root")
    answer = browser.client.get(f"{path}?{query}")
    if answer.status_code == 200:
        assert path == "/admin/people"
        return
    name, again = query.partition("=")[0], Forms(answer.text)
    if again.problems:
        assert again.problems == {name}
    else:
        (said,) = again.alerts
        assert said.startswith(f"{name}: ")
        assert "open the page without it" in said
        assert f'href="{path}"' in answer.text


def test_what_no_list_can_show_leads_to_the_page_without_it(browser, root):
    browser.sign_in("root")
    answer = browser.client.get("/admin/made?once=x")
    assert "once: Was changed: load the page again" in seen(answer)
    assert 'href="/admin/made"' in answer.text


@pytest.mark.parametrize("path", ["/admin/invites", "/admin/keys", "/admin/projects"])
def test_a_form_whose_hidden_number_was_damaged_can_be_sent_once_more(browser, root, path):
    browser.sign_in("root")
    refused = browser.post(path, once="x", name="Tea")
    assert "send the form once more" in Forms(refused.text).alerts[0]
    fields = next(fields for _, action, fields, _ in Forms(refused.text).all if action == path and "once" in fields)
    assert fields["name"] == "Tea"
    assert browser.post(path, **fields).status_code in (200, 303)


def fields_of_rules():
    """All names by which a rule refuses a field."""
    for path in (HOME / "rules").rglob("*.py"):
        yield from re.findall(r'(?:[.]at|problem|_refuse)[(]\s*"([^"]+)"', path.read_text())


TOLD = SimpleNamespace(to="Tea", email=None, name=None, inviter="Tea", expires_at=None)
TEMPLATES = {
    "home.html": {},
    "login.html": {},
    "begin.html": {},
    "forgot.html": {},
    "first_password.html": {"email": "a@example.org"},
    "reset.html": {"called": "anne"},
    "verify.html": {"awaited": True},
    "register.html": {"invitation": TOLD, "token": "0" * 64},
    "invitation.html": {"invitation": TOLD, "token": "0" * 64},
    "account.html": {"account": SimpleNamespace(username="anne"), "sessions": []},
    "account_delete.html": {"account": SimpleNamespace(username="anne"), "obstacles": None},
    "admin/invite_new.html": {"given": {}, "projects": []},
    "admin/keys.html": {"given": {}},
    "admin/projects.html": {"given": {}},
    "admin/people.html": {"given": {}},
}


@pytest.mark.parametrize("template", TEMPLATES)
def test_no_refusal_is_lost_whatever_field_a_rule_names(client, template):
    names = {*fields_of_rules(), "nothing of ours"}
    assert len(names) >= 15
    for name in names:
        for error in (Invalid.at(name, "rule", "is quite odd"), Invalid.at("", "rule", "is quite odd")):
            with client.application.test_request_context("/", method="POST"):
                client.application.preprocess_request()
                g.again = partial(html.page, template, **TEMPLATES[template])
                answer = html.refusal(error)
            assert "s quite odd" in answer.get_data(as_text=True), (template, name)


# Everything that is wrong, at once


def test_a_wrong_name_and_a_wrong_password_are_said_at_once(browser, make_invite):
    refused = browser.post("/register", token=make_invite(), user="a b", password="short")
    assert Forms(refused.text).problems == {"user", "password"}
    program = browser.client.post("/register", data={"token": make_invite(), "user": "", "password": ""})
    assert Forms(program.text).problems == {"user", "password"}


def test_a_taken_name_and_a_wrong_password_are_said_at_once(browser, make_invite, stored):
    refused = browser.post("/register", token=make_invite(), user="alice", password="password1")
    assert Forms(refused.text).problems == {"user", "password"}
    assert "taken" in seen(refused)
    taken = browser.post("/register", token=make_invite(), user="alice@example.org", password="password1")
    assert Forms(taken.text).problems == {"user", "password"}
    assert [each.uses for each in stored()] == [0, 0]


def test_who_has_no_invitation_does_not_learn_which_names_are_taken(browser):
    for name in ("alice", "nobody"):
        sent = browser.post("/register", token="0" * 64, user=name, password="password1")
        assert sent.location == f"/invite?{'0' * 64}"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"username": "a b", "password": "short"}, {"username", "password"}),
        ({"username": "a b", "password": "short", "email": "x"}, {"username", "password", "email"}),
        ({"password": "short", "email": None}, {"password", "email"}),
        ({"username": "a b", "invite_token": ""}, {"username", "invite_token"}),
        ({"displayName": "<b>", "username": "x", "password": None}, {"displayName", "username", "password"}),
    ],
)
def test_the_api_names_every_wrong_field_of_a_registration(client, make_invite, body, fields):
    good = {"invite_token": make_invite(), "email": "a@example.org", "password": PASSWORD, "username": "anne"}
    refused = client.post("/auth/register/with-invite", json={**good, **body})
    assert (refused.status_code, {each["field"] for each in refused.json["errors"]}) == (422, fields)
    assert not any(each["message"].endswith("..") for each in refused.json["errors"])


def test_a_wrong_user_name_alone_keeps_its_own_code(client, make_invite):
    body = {"invite_token": make_invite(), "email": "a@example.org", "password": PASSWORD, "username": "a b"}
    refused = client.post("/auth/register/with-invite", json=body)
    assert (refused.status_code, refused.json["code"]) == (400, "USERNAME_INVALID")


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("/admin/invites", {"count": "many", "ttl": "soon", "name": "<b>"}),
        ("/admin/keys", {"name": "x" * 200, "expires": "soon"}),
        ("/admin/projects", {"name": "", "owner": "nobody", "description": "x" * 2000}),
    ],
)
def test_an_admins_form_names_every_wrong_field_at_once(browser, root, path, sent):
    browser.sign_in("root")
    assert Forms(browser.post(path, once="12345678", **sent).text).problems == sent.keys()


def test_a_wrong_address_and_a_wrong_code_are_said_at_once(browser):
    assert Forms(browser.post("/verify", email="x", code="12").text).problems == {"email", "code"}


def test_a_program_is_told_everything_that_it_may_not_ask_for_at_once(client, key):
    asked = {"role": "admin", "ttl": "never", "project": "nowhere"}
    refused = client.post("/invites_api", json=asked, headers={"Authorization": f"Bearer {key}"})
    assert {each["field"] for each in refused.json["errors"]} == asked.keys()


def test_the_command_names_every_wrong_part_of_an_account(invite_api):
    refused = invite_api("user", "create", "a b", "--email", "x")
    assert refused.returncode == 1
    assert "USERNAME: A user name has" in refused.stderr
    assert "--email: is not a valid address" in refused.stderr


def test_refusals_are_gathered_and_others_are_raised_at_once():
    from rules.refusals import together

    def refuse(error):
        raise error

    assert together(lambda: 1, lambda: 2) == [1, 2]
    with pytest.raises(Invalid) as both:
        together(partial(refuse, UsernameInvalid()), partial(refuse, InvalidCode()))
    assert [each.field for each in both.value.problems] == ["username", "code"]
    with pytest.raises(UsernameTaken):
        together(lambda: 1, partial(refuse, UsernameTaken()))
    with pytest.raises(RateLimited):
        together(partial(refuse, UsernameTaken()), partial(refuse, RateLimited(7)))


def test_a_password_manager_finds_the_name_in_every_form_with_a_password():
    found = 0
    for path in (HOME / "templates").rglob("*.html"):
        for form in re.findall("<form.*?</form>", path.read_text(), re.DOTALL):
            if 'type="password"' in form or "new_password(" in form:
                assert form.count('autocomplete="username"') == 1, path
                found += 1
    assert found >= 4


def test_the_form_for_a_new_password_says_whose_it_is(client, house, alice):
    with house.reading():
        link = resets.link(accounts.named("alice")).removeprefix("http://127.0.0.1:8080")
    assert '<input hidden readonly value="alice" autocomplete="username">' in client.get(link).text


# An invitation for one address


@pytest.mark.parametrize("path", ["/invite?{}", "/register?t={}"])
def test_the_address_of_an_invitation_is_shown_and_locked(browser, bound, users, path):
    page = browser.client.get(path.format(bound))
    (form,) = [each for each in Forms(page.text).all if each[1] == "/register"]
    assert form[2]["email"] == "anne@example.org"
    assert "email" in form[3]
    assert form[2]["user"] == ""
    assert "User name or e-mail address" not in page.text
    damaged = {**form[2], "email": "eve@example.org", "user": "anne", "password": PASSWORD}
    assert browser.post("/register", **damaged).status_code == 422
    assert "anne" not in users()
    assert browser.post("/register", **{**damaged, "email": form[2]["email"]}).status_code == 303
    assert users()["anne"].email == "anne@example.org"


@pytest.mark.parametrize("typed", ["eve@example.org", "anne@gmail,com", "@"])
def test_another_address_is_refused_in_words_for_who_creates_an_account(browser, bound, typed):
    refused = browser.post("/register", token=bound, user=typed, password=PASSWORD)
    assert (refused.status_code, Forms(refused.text).problems) == (422, {"user"})
    assert "only for anne@example.org, and a new account gets that address" in seen(refused)
    assert "has not proved" not in seen(refused)


def test_a_program_is_told_in_the_same_words(client, bound):
    body = {"invite_token": bound, "email": "eve@example.org", "password": PASSWORD}
    refused = client.post("/auth/register/with-invite", json=body)
    assert (refused.status_code, refused.json["code"]) == (400, "EMAIL_MISMATCH")
    assert "only for anne@example.org" in refused.json["error"]


def test_a_page_from_before_that_sends_the_address_still_works(browser, bound, users):
    assert browser.post("/register", token=bound, user="Anne@example.org", password=PASSWORD).status_code == 303
    assert users()["anne@example.org"].username is None


def test_an_address_that_has_an_account_is_said_at_the_locked_field(browser, house, make_invite, charlie):
    token = make_invite(email="charlie@example.org")
    refused = browser.post("/register", token=token, user="charlie2", password=PASSWORD)
    assert Forms(refused.text).problems == {"email"}
    assert "Sign in with it instead" in seen(refused)


def test_who_accepts_with_another_account_sees_the_invitation_again(browser, bound, stored):
    browser.sign_in("alice")
    refused = browser.post("/accept", token=bound)
    assert refused.status_code == 422
    assert "You are signed in as alice, but this invitation is only for anne@example.org" in seen(refused)
    assert "use another account" in seen(refused)
    assert stored()[0].uses == 0


# A code that was not mailed yet


def test_a_code_is_offered_before_it_is_asked_for(browser, alice, waiting, house):
    browser.sign_in("alice")
    before = browser.client.get("/verify")
    assert "We will send a six-digit code to alice@example.org" in seen(before)
    assert "Enter the code" not in seen(before)
    (action,) = [action for _, action, fields, _ in Forms(before.text).all if action == "/verify/send"]
    assert waiting() == []
    assert "Enter the code that was mailed" in seen(browser.post(action))
    assert waiting() == ["code"]
    after = browser.client.get("/verify")
    assert "Enter the code that was mailed to alice@example.org" in seen(after)
    assert waiting() == ["code"]


def test_a_code_that_is_too_old_is_offered_anew(browser, alice, meddle):
    browser.sign_in("alice")
    browser.post("/verify/send")
    meddle("UPDATE codes SET expires_at = created_at")
    assert "We will send a six-digit code" in seen(browser.client.get("/verify"))


def test_an_account_without_an_address_is_told_so(browser, alice):
    alice.forget_address()
    browser.sign_in("alice")
    assert "has no e-mail address" in seen(browser.client.get("/verify"))


def test_another_code_is_sent_to_the_address_that_was_typed(browser, waiting):
    page = browser.client.get("/verify").text
    assert '<button class="link" formaction="/verify/send" formnovalidate>' in page
    sent = browser.post("/verify/send", email="dora@example.org", code="")
    assert "A mail with a six-digit code" in seen(sent)
    assert 'value="dora@example.org"' in sent.text
    assert waiting() == ["code"]


# A crowd behind one address


@pytest.fixture
def crowd(tmp_path, house, alice):
    """Browsers behind one address, where calls are counted."""
    with in_force(make_settings(tmp_path / "instance", LIMITS="on", REGISTRATION="open", SMTP_URL=MAILS)) as chosen:
        application = create_app(chosen)
        yield lambda: Browser(application.test_client())


def statuses(times, call):
    return [call(number).status_code for number in range(times)]


def test_forty_people_behind_one_address_use_one_invitation(crowd, make_invite, stored):
    token = make_invite(uses=40)

    def join(number):
        browser = crowd()
        csrf = Forms(browser.client.get(f"/invite?{token}").text).all[0][2]["csrf"]
        done = browser.post("/register", csrf=csrf, token=token, user=f"guest{number}", password=PASSWORD)
        assert browser.follow(done).status_code == 200
        return done

    assert statuses(40, join) == [303] * 40
    assert stored()[0].uses == 40
    late = crowd().post("/register", token=token, user="late", password=PASSWORD)
    assert late.status_code == 429  # an invite that is used up counts nothing


def test_forty_people_behind_one_address_use_one_invitation_through_programs(crowd, make_invite, stored):
    token, client = make_invite(uses=40), crowd().client

    def join(number):
        body = {"invite_token": token, "email": f"guest{number}@example.org", "password": PASSWORD}
        return client.post("/auth/register/with-invite", json=body)

    assert statuses(40, join) == [200] * 40
    text = {"data": f"user=x&password=x&token={make_invite()}", "content_type": "text/plain"}
    assert statuses(11, lambda _: client.post("/register", **text)) == [422] * 11


def test_who_guesses_at_links_spends_the_tries_of_the_address_and_of_nobody_with_a_link(crowd, make_invite):
    client, token = crowd().client, make_invite()
    guesses = statuses(12, lambda number: client.post("/register", data={"token": f"{number:064x}"}))
    assert guesses == [303] * 10 + [429] * 2
    assert client.post("/register", data={"token": token}).status_code == 422
    assert client.post("/register", data={"token": "0" * 64}).status_code == 429
    body = {"email": "a@example.org", "password": PASSWORD}
    guess = statuses(
        11, lambda n: client.post("/auth/register/with-invite", json={**body, "invite_token": f"{n:064x}"})
    )
    assert guess == [404] * 10 + [429]


@pytest.mark.parametrize("dead", ["revoked", "used"])
def test_a_link_that_is_dead_counts_nothing(crowd, make_invite, house, use, dead):
    client, token = crowd().client, make_invite()
    if dead == "used":
        use(token)
    with house.writing():
        changing.revoke(invites.find(token)) if dead == "revoked" else None
    assert statuses(11, lambda _: client.post("/register", data={"token": token})) == [303] * 10 + [429]


def test_one_link_is_tried_so_often_and_no_more(crowd, make_invite):
    client, token = crowd().client, make_invite()
    tried = statuses(131, lambda _: client.post("/register", data={"token": token, "user": "x", "password": "x"}))
    assert tried == [422] * 130 + [429]
    other = make_invite()
    assert client.post("/register", data={"token": other}).status_code == 422


@pytest.mark.long
def test_many_links_from_one_address_are_tried_so_often_and_no_more(crowd, make_invite):
    client, tokens_ = crowd().client, [make_invite() for _ in range(6)]
    tried = statuses(612, lambda number: client.post("/register", data={"token": tokens_[number % 6]}))
    assert tried[:600] == [422] * 600
    assert tried[-1] == 429


def test_a_good_link_buys_no_tries_to_sign_in(crowd, make_invite):
    browser, token = crowd(), make_invite()
    csrf = browser.csrf()
    wrong = {"csrf": csrf, "user": "alice", "password": "wrong", "token": token, "code": token}
    assert statuses(11, lambda _: browser.post(f"/login?{token}", **wrong)) == [401] * 10 + [429]
    body = {"email": "alice", "password": "wrong", "invite_token": token, "token": token}
    assert statuses(11, lambda _: browser.client.post("/auth/login", json=body)) == [401] * 10 + [429]


@pytest.mark.long
def test_who_signs_in_keeps_nobody_behind_the_same_address_from_it(crowd, house):
    with house.writing():
        for number in range(30):
            accounts.create(accounts.Names(f"guest{number}"), HASH)
    csrf = crowd().csrf()
    assert statuses(30, lambda n: crowd().post("/login", csrf=csrf, user=f"guest{n}", password=PASSWORD)) == [303] * 30
    client = crowd().client
    signed_in = statuses(30, lambda n: client.post("/auth/login", json={"email": f"guest{n}", "password": PASSWORD}))
    assert signed_in == [200] * 30


def test_an_account_of_ones_own_buys_no_tries_at_anothers(crowd, house, charlie):
    client, wrong = crowd().client, []
    for _ in range(40):
        client.post("/auth/login", json={"email": "charlie", "password": PASSWORD})
        wrong.append(client.post("/auth/login", json={"email": "alice", "password": "wrong"}).status_code)
    assert wrong.count(401) <= 10


def test_one_account_signs_in_so_often_and_no_more(crowd, charlie):
    client = crowd().client
    tried = statuses(25, lambda _: client.post("/auth/login", json={"email": "charlie", "password": PASSWORD}))
    assert tried == [200] * 20 + [429] * 5


def exhaust(browser, path, csrf, **fields):
    for _ in range(11):
        answer = browser.post(path, csrf=csrf, **fields)
    assert answer.status_code == 429
    assert int(answer.headers["Retry-After"]) <= 60
    assert re.search("Too many requests from here. Try again in (1 minute|[0-9]+ seconds)[.]", seen(answer))
    assert PASSWORD not in answer.text
    return answer


@pytest.mark.parametrize(
    ("path", "typed"),
    [
        ("/login", {"user": "alice", "password": PASSWORD + "x", "then": "/admin"}),
        ("/register/start", {"email": "dora@"}),
        ("/password/forgot", {"email": "dora@"}),
        ("/verify", {"email": "dora@example.org", "code": ""}),
        ("/register/password", {"email": "dora@example.org", "ticket": "x.y", "password": "short"}),
    ],
)
def test_who_is_sent_away_keeps_the_form(crowd, path, typed):
    browser = crowd()
    answer = exhaust(browser, path, browser.csrf(), **typed)
    (form,) = [fields for _, action, fields, _ in Forms(answer.text).all if action == path]
    assert {**form, **{name: text for name, text in typed.items() if name != "password"}} == form
    assert not form.get("password")
    assert Forms(answer.text).alerts


def test_who_is_sent_away_from_an_invitation_keeps_the_form_and_comes_back_to_it(crowd, make_invite):
    browser, token = crowd(), make_invite()
    csrf = browser.csrf()
    for _ in range(120):
        browser.client.post("/register", data={"token": token})
    answer = exhaust(browser, "/register", csrf, token=token, user="Dora", password=PASSWORD[:7])
    (form,) = [fields for _, action, fields, _ in Forms(answer.text).all if action == "/register"]
    assert (form["token"], form["user"], form["password"]) == (token, "Dora", "")
    assert f'href="/invite?{token}"' in answer.text


def test_who_is_sent_away_while_signing_in_to_accept_comes_back_to_the_invitation(crowd, make_invite):
    browser, token = crowd(), make_invite()
    answer = exhaust(browser, "/login", browser.csrf(), user="alice", password="wrong", token=token)
    assert f'href="/invite?{token}"' in answer.text
    assert f'name="token" value="{token}"' in answer.text
    made_up = browser.post("/login", user="alice", password="wrong", token='"><b>')
    assert "&lt;b&gt;" not in made_up.text


def test_a_form_of_another_site_is_not_filled_in(crowd):
    browser = crowd()
    exhaust(browser, "/login", browser.csrf(), user="alice", password="x")
    foreign = browser.post("/login", csrf="x", user="mallory", password="x")
    assert (foreign.status_code, "mallory" in foreign.text) == (429, False)


def test_an_invitation_that_is_opened_too_often_leads_back_to_itself(crowd, make_invite):
    client, token = crowd().client, make_invite()
    opened = statuses(731, lambda _: client.get(f"/invite?{token}"))
    assert opened[-1] == 429
    assert opened[:700] == [200] * 700
    page = client.get(f"/invite?{token}")
    assert "Try again in" in seen(page)
    assert f'href="/invite?{token}"' in page.text


def test_too_many_wrong_short_codes_are_said_on_the_page_with_the_field(crowd):
    browser = crowd()
    with time_machine.travel(clock.now(), tick=False):
        for number in range(11):
            answer = browser.post("/code", csrf="", code=f"{number:012x}")
    assert answer.status_code == 429
    assert "Try again in 1 minute" in Forms(answer.text).alerts[0]
    assert 'value="00000000000a"' in answer.text


@pytest.mark.parametrize("kind", ["application/json", "application/x-www-form-urlencoded", "text/plain"])
@pytest.mark.parametrize("path", ["/register", "/admin/keys", "/auth/register/with-invite"])
def test_a_body_that_is_too_long_is_not_read_for_its_invite(client, path, kind):
    refused = client.post(path, content_type=kind, environ_overrides={"CONTENT_LENGTH": "9" * 19})
    assert refused.status_code == 413


def test_how_long_to_wait_is_said_in_words(crowd, alice):
    browser = crowd()
    with time_machine.travel(clock.now(), tick=False):
        for _ in range(2):
            answer = browser.post("/password/forgot", email="alice@example.org")
        german = browser.post("/password/forgot", {"Accept-Language": "de"}, email="alice@example.org")
    assert "Try again in 1 minute." in seen(answer)
    assert "Versuche es in 1 Minute noch einmal." in seen(german)


# An account that is disabled


@pytest.fixture
def disable(house):
    def disable(name="alice", on=True):
        with house.writing():
            (accounts.disable if on else accounts.enable)(accounts.named(name))

    return disable


def test_a_link_for_a_disabled_account_is_refused_at_the_command(house, invite_api, alice, disable):
    disable()
    refused = invite_api("user", "reset", "alice")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "this account is disabled" in refused.stderr
    assert "invite-api user disable WHO --off" in refused.stderr
    assert invite_api("user", "disable", "alice", "--off").returncode == 0
    assert "/password/reset?" in invite_api("user", "reset", "alice").stdout


def test_a_link_for_a_disabled_account_is_refused_on_the_admins_page(browser, root, house, disable):
    disable()
    browser.sign_in("root")
    with house.reading():
        path = f"/admin/people/{accounts.named('alice').id}"
    assert f'action="{path}/reset"' not in browser.client.get(path).text
    refused = browser.post(f"{path}/reset")
    assert refused.status_code == 403
    assert "enable it first" in Forms(refused.text).alerts[0]


def test_who_has_the_password_of_a_disabled_account_is_told_so(browser, disable):
    disable()
    for name in ("alice", "alice@example.org"):
        page = browser.sign_in(name)
        assert page.status_code == 401
        assert "This account is disabled." in Forms(page.text).alerts[0]
        assert f'value="{name}"' in page.text
        assert not browser.client.get_cookie("invite-session")
        called = browser.client.post("/auth/login", json={"email": name, "password": PASSWORD})
        assert (called.status_code, called.json["code"]) == (401, "ACCOUNT_DISABLED")


def test_who_has_not_the_password_learns_nothing_of_it(browser, disable, alice):
    disable()
    pages, calls = [], []
    for name in ("alice", "nobody"):
        pages.append(seen(browser.sign_in(name, "wrong")))
        calls.append(browser.client.post("/auth/login", json={"email": name, "password": "wrong"}))
    assert pages[0] == pages[1]
    assert [each.status_code for each in calls] == [401, 401]
    assert calls[0].json == calls[1].json
    assert browser.client.get("/auth/me", headers=alice.bearer).json["code"] == "UNAUTHORIZED"
    refreshed = browser.client.post("/auth/token/refresh", json={"refresh_token": alice.pair.refresh})
    assert (refreshed.status_code, refreshed.json["code"]) == (401, "UNAUTHORIZED")


def test_a_hundred_wrong_passwords_end_the_tries_at_a_disabled_account_too(house, alice, disable):
    disable()
    with house.writing():
        for _ in range(100):
            accounts.begin_login("alice", "wrong")
    with house.writing():
        attempt = accounts.begin_login("alice", PASSWORD)
    with house.writing(), pytest.raises(InvalidCredentials):
        accounts.finish_login(accounts.check_password(attempt))


def test_a_link_from_before_an_account_was_disabled_says_so_and_sets_nothing(client, house, alice, disable, users):
    with house.reading():
        link = resets.link(accounts.named("alice")).removeprefix("http://127.0.0.1:8080")
    disable()
    token = link.partition("?")[2]
    for answer, status in (
        (client.get(link), 403),
        (client.post("/password/reset", data={"token": token, "password": "three wet umbrellas"}), 403),
        (client.post("/auth/password/reset", json={"token": token, "password": "three wet umbrellas"}), 400),
    ):
        assert answer.status_code == status
        assert "This account is disabled." in answer.get_data(as_text=True)
    assert users()["alice"].password_hash == HASH
    disable(on=False)
    assert client.post("/password/reset", data={"token": token, "password": "three wet umbrellas"}).status_code == 303


def test_a_forgotten_password_of_a_disabled_account_is_answered_by_mail_alone(browser, disable, house):
    disable()
    pages = [seen(browser.post("/password/forgot", email=f"{each}@example.org")) for each in ("alice", "nobody")]
    assert pages[0] == pages[1]
    with house.reading() as unit:
        message = mail.compose(unit.session.query(Letter).one())
    assert message["Subject"] == "Your account at 127.0.0.1:8080 is disabled"
    for part in message.iter_parts():
        assert "but your account is disabled, so there is no link in this mail." in part.get_content()
        assert "/password/reset" not in part.get_content()


# A browser that keeps no cookie


UNKEPT = "Your browser did not keep the cookie that signs you in"


@pytest.fixture
def forgetful(client, alice):
    """A browser that keeps no cookie."""
    return Browser(client.application.test_client(use_cookies=False))


def follow(browser, answer):
    """The page at which a browser arrives in the end."""
    for _ in range(5):
        answer = browser.follow(answer)
        if answer.status_code != 303:
            return answer
    raise AssertionError("it leads round and round")


@pytest.mark.parametrize("uses", [1, 5])
def test_who_registers_without_cookies_is_told_that_the_account_is_there(forgetful, make_invite, users, uses):
    token = make_invite(uses=uses, redirect_url="https://app.example.org/start")
    page = follow(forgetful, forgetful.post("/register", token=token, user="dora", password=PASSWORD))
    assert page.status_code == 200
    assert "Your account is created" in seen(page)
    assert UNKEPT in Forms(page.text).alerts[0]
    assert "https://app.example.org/start" in page.text
    assert 'href="/login"' in page.text
    assert "dora" in users()


@pytest.mark.parametrize("then", ["", "/admin", "/admin/invites/new", "/verify"])
def test_who_signs_in_without_cookies_is_told_why_nobody_is_signed_in(forgetful, then):
    page = follow(forgetful, forgetful.post("/login", user="alice", password=PASSWORD, then=then))
    assert page.status_code == 200
    assert UNKEPT in Forms(page.text).alerts[0]
    assert "Allow cookies for this site" in seen(page)


def test_who_signs_in_to_accept_without_cookies_keeps_the_invitation(forgetful, make_invite):
    page = follow(forgetful, forgetful.sign_in("alice", token=make_invite()))
    assert UNKEPT in Forms(page.text).alerts[0]
    assert "You're invited" in seen(page)


def test_who_registers_with_a_code_without_cookies_is_told_that_the_account_is_there(client, house):
    browser = Browser(client.application.test_client(use_cookies=False))
    browser.post("/register/start", email="dora@example.org")
    with house.reading() as unit:
        digits = tokens.mail_code(unit.session.query(Code).one().nonce)
    chosen = Forms(browser.post("/verify", email="dora@example.org", code=digits).text).all[0][2]
    page = follow(browser, browser.post("/register/password", **{**chosen, "password": PASSWORD}))
    assert "Your account is created" in seen(page)
    assert UNKEPT in Forms(page.text).alerts[0]
    assert "and you are signed in" not in seen(page)


def test_whose_cookie_was_kept_is_told_nothing(browser, make_invite):
    for answer in (browser.sign_in("alice"), browser.post("/login", user="alice", password=PASSWORD, then="/verify")):
        page = follow(browser, answer)
        assert UNKEPT not in seen(page)
    other = Browser(browser.client.application.test_client())
    welcome = follow(other, other.post("/register", token=make_invite(), user="dora", password=PASSWORD))
    assert "Welcome, dora" in seen(welcome)
    assert UNKEPT not in seen(welcome)


@pytest.mark.parametrize("since", ["", "x", "-1", "1", "9" * 400, "²", "%00"])
def test_an_address_from_long_ago_or_made_up_says_nothing(client, make_invite, since):
    assert UNKEPT not in seen(client.get(f"/?entered={since}"))
    token = make_invite()
    assert client.get(f"/welcome?{token}&entered={since}").location == f"/invite?{token}"


def test_a_place_at_https_says_where_it_is(tmp_path, house, alice, make_invite):
    with in_force(make_settings(tmp_path / "instance", PUBLIC_URL="https://join.example.org/in")) as chosen:
        browser = Browser(create_app(chosen).test_client(use_cookies=False))
        done = browser.post("/register", token=make_invite(), user="dora", password=PASSWORD)
        page = browser.client.get(done.location.removeprefix("/in"))
    (said,) = Forms(page.text).alerts
    assert "This site is at https://join.example.org/in" in said
    assert 'href="https://join.example.org/in/login"' in page.text
