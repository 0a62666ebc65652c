import re

import pytest
import time_machine

import clock
from conftest import PASSWORD, led, seen
from database import session
from models import ApiKey, Invite, Letter, Project
from rules import accounts, invites, keys, listing, projects


@pytest.fixture
def admin(browser, root):
    """A browser in which an admin of the site is signed in."""
    assert browser.sign_in("root").status_code == 303
    return browser


@pytest.fixture
def count(house):
    """How many rows of a table there are."""

    def rows(table):
        with house.reading():
            return session().query(table).count()

    return rows


def once(browser, path):
    return re.search(r'name="once" value="([^"]+)"', browser.client.get(path).text)[1]


def invite_id(answer):
    return re.search(r"/admin/invites/([0-9a-f-]{36})", answer.location)[1]


PAGES = [
    "/admin",
    "/admin/invites/new",
    "/admin/made",
    "/admin/keys",
    "/admin/presets",
    "/admin/webhooks",
    "/admin/people",
    "/admin/projects",
]


@pytest.mark.parametrize("path", [*PAGES, "/admin/invites/x", "/admin/people/x", "/admin/projects/x"])
def test_who_is_not_signed_in_may_do_so_and_comes_back(client, path):
    answer = client.get(path)
    assert answer.status_code == 303
    login = client.get(answer.location.removeprefix("http://127.0.0.1:8080"))
    assert f'name="then" value="{path}"' in login.text


@pytest.mark.parametrize("path", PAGES)
def test_who_is_no_admin_is_refused(browser, path):
    browser.sign_in("alice")
    assert browser.client.get(path).status_code == 403


@pytest.mark.parametrize(
    ("then", "kept"),
    [
        ("/admin/invites/new", True),
        ("/verify", True),
        ("//evil.example/admin", False),
        ("/admin//evil.example", False),
        ("https://evil.example/admin", False),
        ("/admin\\@evil.example", False),
        ("/admin?next=https://evil.example", False),
    ],
)
def test_signing_in_leads_nowhere_else(browser, then, kept):
    answer = browser.post("/login", user="alice", password=PASSWORD, token="", then=then)
    assert led(answer) == (then if kept else "/")


def test_one_invitation_is_made_with_every_field(admin, house, stored):
    with house.writing():
        projects.create(accounts.named("root"), projects.Plan("Tea Garden"))
    given = {
        "name": "Anne",
        "email": "anne@example.org",
        "project": "tea-garden",
        "role": "admin",
        "plan": "team",
        "ttl": "never",
        "uses": "3",
        "redirect_url": "https://app.example.org/",
        "note": "met at the fair",
        "mail": "on",
    }
    answer = admin.post("/admin/invites", once=once(admin, "/admin/invites/new"), **given)
    assert answer.status_code == 303
    (made,) = stored()
    assert invite_id(answer) == made.id
    assert (made.name, made.email, made.role, made.plan, made.max_uses, made.note, made.expires_at, made.made_by) == (
        "Anne",
        "anne@example.org",
        "admin",
        "team",
        3,
        "met at the fair",
        None,
        "root",
    )
    page = seen(admin.follow(answer))
    for shown in ("Invitation for Anne", "active", "0 / 3", "tea-garden, admin", "for ever", "met at the fair"):
        assert shown in page
    assert "to be mailed to anne@example.org" in page
    with house.reading():
        link = invites.link(invites.token(invites.find_by_id(made.id)))
    assert link in admin.follow(answer).text


def test_a_form_sent_twice_makes_nothing_twice(admin, count):
    number = once(admin, "/admin/invites/new")
    many = [admin.post("/admin/invites", once=number, count="3", name="Anne").location for _ in range(2)]
    assert many[0] == many[1]
    assert count(Invite) == 3
    links = re.findall(r"/invite\?[0-9a-f]{64}", admin.client.get(many[0].removeprefix("http://127.0.0.1:8080")).text)
    assert len(set(links)) == 3

    number = once(admin, "/admin/projects")
    assert len({admin.post("/admin/projects", once=number, name="Tea").location for _ in range(2)}) == 1
    assert count(Project) == 1

    number = once(admin, "/admin/keys")
    first, again = (admin.post("/admin/keys", once=number, name="script") for _ in range(2))
    assert (first.status_code, again.status_code, count(ApiKey)) == (200, 409, 1)
    assert "has been made already" in seen(again)


@pytest.mark.parametrize(
    ("typed", "field", "said"),
    [
        ({"ttl": "soon"}, "ttl", "Must be a number and a unit"),
        ({"uses": "0"}, "uses", "Must be a whole number"),
        ({"email": "anne"}, "email", "Is no e-mail address"),
        ({"redirect_url": "http://evil.example"}, "redirect_url", "Must start with https://"),
        ({"role": "admin"}, "role", "Can be admin only of a project"),
        ({"count": "501"}, "count", "from 1 to 500"),
        ({"count": "2", "email": "anne@example.org"}, "count", "Must be 1"),
        ({"mail": "on"}, "email", "Is needed for an invite to be mailed"),
        ({"name": "<b>"}, "name", "May not have"),
        ({"admin": "on", "uses": "2"}, "uses", "Must be 1"),
    ],
)
def test_a_refused_form_says_what_is_wrong_beside_its_field_and_keeps_the_rest(admin, count, typed, field, said):
    kept = {"note": "for the fair", "name": "Anne", **typed}
    answer = admin.post("/admin/invites", once=once(admin, "/admin/invites/new"), **kept)
    assert (answer.status_code, count(Invite)) == (422, 0)
    assert said in re.search(rf'id="{field}-problem">([^<]*)<', answer.text)[1]
    assert 'value="for the fair"' in answer.text
    assert "<b>" not in answer.text.replace("<bdi>", "").replace("<body", "")


def test_an_invitation_is_extended_sent_rotated_and_revoked(admin, house, make_invite, count):
    token = make_invite(email="anne@example.org", ttl="1h")
    with house.reading():
        path = f"/admin/invites/{invites.find(token).id}"
    assert "in 3 weeks" in seen(admin.follow(admin.post(f"{path}/extend", ttl="3 weeks")))
    assert admin.post(f"{path}/extend", ttl="x").status_code == 422
    for _ in ("once", "and again, by a double click"):
        assert "The mail is on its way" in seen(admin.follow(admin.post(f"{path}/send")))
    assert count(Letter) == 1
    assert token not in admin.follow(admin.post(f"{path}/rotate")).text
    revoked = seen(admin.follow(admin.post(f"{path}/revoke")))
    assert "Invitation revoked." in revoked
    assert "What you can do" not in revoked
    refused = admin.post(f"{path}/rotate")
    assert (refused.status_code, "has been withdrawn" in seen(refused)) == (404, True)


def test_a_form_from_elsewhere_changes_nothing(admin, make_invite, house, stored):
    make_invite()
    (invite,) = stored()
    for post in (
        {"csrf": "wrong"},
        {"headers": {"Sec-Fetch-Site": "cross-site"}},
    ):
        assert admin.post(f"/admin/invites/{invite.id}/revoke", **post).status_code == 403
    assert stored()[0].revoked_at is None


def test_the_list_is_searched_filtered_and_paged(admin, make_invite, house, monkeypatch):
    token = make_invite(name="Anne")
    for number in range(5):
        make_invite(name=f"Guest {number}", note="class of 2026")
    rows = re.compile(r'<th scope="row" data-label="[^"]*"><a[^>]*><bdi>([^<]*)</bdi>')
    assert rows.findall(admin.client.get("/admin?q=anne").text) == ["Anne"]
    assert len(rows.findall(admin.client.get("/admin?status=active&q=class").text)) == 5
    assert rows.findall(admin.client.get("/admin?status=used").text) == []
    assert "Nothing found." in seen(admin.client.get("/admin?status=used"))
    with house.reading():
        annes = invites.find(token).id
    assert invite_id(admin.client.get(f"/admin?q={token}")) == annes
    wrong = admin.client.get("/admin?project=nowhere&q=x")
    assert (wrong.status_code, "names no project: nowhere" in wrong.text.lower()) == (422, True)
    assert 'value="x"' in wrong.text

    monkeypatch.setattr("web.desk.ROWS", 2)
    found, path = [], "/admin?q=guest"
    while path:
        page = admin.client.get(path).text
        found += rows.findall(page)
        path = (re.findall(r'rel="next" href="([^"]*)"', page) or [""])[0].replace("&amp;", "&")
    assert sorted(found) == [f"Guest {number}" for number in range(5)]


def test_a_last_page_that_is_full_leads_nowhere(admin, make_invite, monkeypatch):
    monkeypatch.setattr("web.desk.ROWS", 2)
    for number in range(2):
        make_invite(name=f"Guest {number}")
    assert 'rel="next"' not in admin.client.get("/admin?q=guest").text


def test_a_search_looks_at_so_many_rows_and_goes_on_from_there(house, make_invite, monkeypatch):
    monkeypatch.setattr(listing, "LOOKED_AT", 3)
    with time_machine.travel(clock.now() - clock.HOUR):
        make_invite(name="Anne")
    for _ in range(6):
        make_invite()
    with house.reading():
        wanted = listing.Filter(text="anne")
        steps = []
        while True:
            found = listing.search(wanted, 10)
            steps.append([each.name for each in found.rows])
            if found.next is None:
                break
            wanted = listing.Filter(text="anne", after=found.next)
    assert steps == [[], [], ["Anne"]]


def test_the_picture_counts_what_was_made_and_used(admin, make_invite, use):
    with time_machine.travel(clock.now(), tick=False):  # or it may be another day by then
        use(make_invite())
        make_invite()
        answer = admin.client.get("/admin")
    assert re.findall(r'<td class="num">(\d)</td><td class="num">(\d)</td>', answer.text)[-1] == ("2", "1")
    assert "2 invitations, 1 of them active" in seen(answer)
    assert "bob" in answer.text


def test_a_key_is_shown_once(admin, client, house):
    page = admin.post("/admin/keys", once=once(admin, "/admin/keys"), name="script", expires="90d")
    key = re.search(r'value="([\w-]{8}/[\w-]{32})"', page.text)[1]
    assert client.get(f"/invites_api?key={key}").status_code == 201
    assert key.partition("/")[2] not in admin.client.get("/admin/keys").text
    with house.reading():
        (stored,) = keys.newest()
        assert stored.expires_at > clock.now() + 89 * clock.DAY
    assert admin.post(f"/admin/keys/{stored.id}/delete").status_code == 303
    assert client.get(f"/invites_api?key={key}").status_code == 403
    assert admin.post("/admin/keys", once=once(admin, "/admin/keys"), expires="soon").status_code == 422
    assert admin.post("/admin/keys", once="../x", name="script").status_code == 422


def test_people_are_found_made_admins_disabled_and_deleted(admin, house, charlie):
    assert "charlie" in admin.client.get("/admin/people?q=charl").text
    assert "Nothing found." in seen(admin.client.get("/admin/people?q=zebra"))
    with house.reading():
        charlies = accounts.named("charlie").id
        own = accounts.named("root").id
    path = f"/admin/people/{charlies}"
    assert "This account is an admin now." in seen(admin.follow(admin.post(f"{path}/admin")))
    assert "no longer an admin" in seen(admin.follow(admin.post(f"{path}/admin", off="yes")))
    link = re.search(r'value="(http[^"]*/password/reset\?[^"]+)"', admin.post(f"{path}/reset").text)[1]
    assert admin.client.get(link.removeprefix("http://127.0.0.1:8080")).status_code == 200
    assert "Account disabled." in seen(admin.follow(admin.post(f"{path}/disable")))
    assert admin.client.get("/auth/me", headers=charlie.bearer).status_code == 401
    assert "Account enabled." in seen(admin.follow(admin.post(f"{path}/disable", off="yes")))
    assert admin.post(f"{path}/delete").location.endswith("/admin/people?done=deleted")
    assert admin.client.get(path).status_code == 404
    for verb, fields in (("admin", {"off": "yes"}), ("disable", {}), ("delete", {})):
        refused = admin.post(f"/admin/people/{own}/{verb}", **fields)
        assert (refused.status_code, "your own account" in seen(refused)) == (409, True)


def test_a_project_is_made_handed_over_and_deleted(admin, house, alice, count):
    made = admin.post("/admin/projects", once=once(admin, "/admin/projects"), name="Tea Garden", description="Tea")
    assert made.location.endswith("/admin/projects/tea-garden?done=created")
    assert "root owner" in seen(admin.follow(made))
    assert admin.client.get("/admin/projects").text.count("tea-garden") == 2
    handed = admin.post("/admin/projects/tea-garden/owner", owner="alice")
    assert "alice owner" in seen(admin.follow(handed)).replace("root admin", "")
    nobody = admin.post("/admin/projects/tea-garden/owner", owner="nobody")
    assert (nobody.status_code, "There is no such account" in seen(nobody)) == (404, True)
    assert admin.post("/admin/projects/tea-garden/delete").status_code == 303
    assert admin.client.get("/admin/projects/tea-garden").status_code == 404
    assert admin.post("/admin/projects", once=once(admin, "/admin/projects"), name="").status_code == 422


def test_a_name_written_from_right_to_left_stays_apart(admin, make_invite):
    make_invite(name="نادية")
    assert "<bdi>نادية</bdi>" in admin.client.get("/admin").text
