import re

import pytest
import time_machine

import clock
from conftest import PASSWORD, led, seen
from database import session
from models import ApiKey, Event, Invite, Letter, Member, Project
from rules import accounts, changing, drafts, gate, invites, keys, legacy, listing, passes, projects, redemption
from rules.accounts import Names


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
        projects.create(accounts.named("root"), projects.ProjectDraft("Tea Garden"))
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
    for shown in ("Invitation for Anne", "active", "0 / 3", "tea-garden, admin", "Expiresnever", "met at the fair"):
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

    other = admin.post("/admin/invites", once=number, count="3", name="Bob").location
    assert (other != many[0], count(Invite)) == (True, 6)

    number = once(admin, "/admin/projects")
    assert len({admin.post("/admin/projects", once=number, name="Tea").location for _ in range(2)}) == 1
    assert count(Project) == 1

    number = once(admin, "/admin/keys")
    first, again = (admin.post("/admin/keys", once=number, name="script") for _ in range(2))
    assert (first.status_code, again.status_code, count(ApiKey)) == (200, 409, 1)
    assert "has been created already" in seen(again)


@pytest.mark.parametrize(
    ("typed", "field", "said"),
    [
        ({"ttl": "soon"}, "ttl", "Must be a number and a unit"),
        ({"uses": "0"}, "uses", "Must be a whole number"),
        ({"email": "anne"}, "email", "Is not a valid address"),
        ({"redirect_url": "http://evil.example"}, "redirect_url", "Must start with https://"),
        ({"role": "admin"}, "role", "Can be admin only of a project"),
        ({"count": "501"}, "count", "from 1 to 500"),
        ({"count": "2", "email": "anne@example.org"}, "count", "Must be 1"),
        ({"mail": "on"}, "email", "Is needed for an invite to be mailed"),
        ({"ttl": "date"}, "until", "Is empty: choose a day"),
        ({"ttl": "date", "until": "soon"}, "until", "Must be a date such as"),
        ({"until": "2020-02-02"}, "until", "Is over already"),
        ({"ttl": "date", "until": "2999-12-31"}, "until", "Must be at most 365 days from now"),
        ({"ttl": "30d", "until": "2999-12-31"}, "until", "Counts only with “a date”"),
        ({"access": "typed"}, "access_typed", "Is empty: type a length of time"),
        ({"access": "typed", "access_typed": "soon"}, "access_typed", "Must be a number and a unit"),
        ({"access": "90d"}, "access", "Needs a project"),
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


def test_an_invitation_that_is_shortened_is_not_called_extended(admin, house, make_invite):
    token = make_invite(ttl="30d")
    with house.reading():
        path = f"/admin/invites/{invites.find(token).id}"
    page, sooner = seen(admin.client.get(path)), clock.now() + clock.DAY
    assert "Valid from now for" in page
    assert "Extend" not in page
    done = seen(admin.follow(admin.post(f"{path}/extend", ttl="1d")))
    assert f"Valid until {sooner.day} {sooner:%B %Y}." in done
    assert "Extended" not in done


def test_an_invitation_is_extended_sent_rotated_and_revoked(admin, house, make_invite, count):
    token = make_invite(email="anne@example.org", ttl="1h")
    with house.reading():
        path = f"/admin/invites/{invites.find(token).id}"
    assert "in 3 weeks" in seen(admin.follow(admin.post(f"{path}/extend", ttl="3 weeks")))
    assert "It never expires now." in seen(admin.follow(admin.post(f"{path}/extend", ttl="never")))
    day = clock.now() + 20 * clock.DAY
    by_date = admin.follow(admin.post(f"{path}/extend", ttl="date", until=f"{day:%Y-%m-%d}", offset="-60"))
    assert f"Valid until {day.day} {day:%B %Y}." in seen(by_date)
    assert f'datetime="{day:%Y-%m-%d}T22:59:' in by_date.text  # where it is an hour later
    for wrong, field in (({"ttl": "x"}, "ttl"), ({}, "ttl"), ({"ttl": "date"}, "until")):
        refused = admin.post(f"{path}/extend", **wrong)
        assert (refused.status_code, f'id="{field}-problem"' in refused.text) == (422, True)
    for _ in ("once", "and again, by a double click"):
        assert "The mail is on its way" in seen(admin.follow(admin.post(f"{path}/send")))
    assert count(Letter) == 1
    rotated = admin.follow(admin.post(f"{path}/rotate"))
    assert token not in rotated.text
    assert "The old link no longer works." in seen(rotated)
    revoked = admin.follow(admin.post(f"{path}/revoke"))
    assert f"{path}/extend" not in revoked.text
    assert f"{path}/revoke" not in revoked.text
    assert "Invite again" in seen(revoked)
    refused = admin.post(f"{path}/rotate")
    assert (refused.status_code, "has been revoked" in seen(refused)) == (404, True)


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
    rows = re.compile(r'<th scope="row"[^>]*><a[^>]*><bdi>([^<]*)</bdi>')
    assert rows.findall(admin.client.get("/admin?q=anne").text) == ["Anne"]
    assert len(rows.findall(admin.client.get("/admin?status=active&q=class").text)) == 5
    assert rows.findall(admin.client.get("/admin?status=used").text) == []
    assert "Nothing found." in seen(admin.client.get("/admin?status=used"))
    assert len(rows.findall(admin.client.get("/admin?maker=shell").text)) == 6
    with house.reading():
        annes = invites.find(token).id
    assert invite_id(admin.client.get(f"/admin?q={token}")) == annes
    wrong = admin.client.get("/admin?project=nowhere&q=x")
    assert (wrong.status_code, "names no project: nowhere" in wrong.text.lower()) == (422, True)
    assert 'value="x"' in wrong.text

    monkeypatch.setattr("web.forms.ROWS", 2)
    found, path = [], "/admin?q=guest"
    while path:
        page = admin.client.get(path).text
        found += rows.findall(page)
        path = (re.findall(r'rel="next" href="([^"]*)"', page) or [""])[0].replace("&amp;", "&")
    assert sorted(found) == [f"Guest {number}" for number in range(5)]


def test_a_last_page_that_is_full_leads_nowhere(admin, make_invite, monkeypatch):
    monkeypatch.setattr("web.forms.ROWS", 2)
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
    disabled = seen(admin.follow(admin.post(f"{path}/disable")))
    assert "Account disabled." in disabled
    assert "RoleDisabled" in disabled
    assert admin.client.get("/auth/me", headers=charlie.bearer).status_code == 401
    assert "Account enabled." in seen(admin.follow(admin.post(f"{path}/disable", off="yes")))
    assert admin.post(f"{path}/delete").location.endswith("/admin/people?done=deleted")
    assert admin.client.get(path).status_code == 404
    for verb, fields in (("admin", {"off": "yes"}), ("disable", {}), ("delete", {})):
        refused = admin.post(f"/admin/people/{own}/{verb}", **fields)
        assert (refused.status_code, "your own account" in seen(refused)) == (409, True)


def test_a_project_is_made_handed_over_and_deleted(admin, house, alice, count):
    made = admin.post("/admin/projects", once=once(admin, "/admin/projects"), name="Tea Garden", description="Tea")
    assert made.location.endswith("/admin/projects/tea-garden?done=made")
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


# Several at once


@pytest.fixture
def invited(house):
    """Create invites, and one that is used and one that is revoked; the ids by the names."""

    def create(*names, **given):
        with house.writing():
            made = {each: invites.create(drafts.read({"name": each, **given}), drafts.SHELL).id for each in names}
            if "Used" in made:
                redemption.accept(invites.token(invites.find_by_id(made["Used"])), accounts.create(Names("dora")))
            if "Revoked" in made:
                changing.revoke(invites.find_by_id(made["Revoked"]))
            return made

    return create


def hidden(page, name="ids"):
    return re.search(rf'name="{name}" value="([^"]*)"', page.text)[1]


def choose(admin, act, *ids, **more):
    return admin.client.post("/admin/chosen", data={"csrf": admin.csrf(), "act": act, "which": [*ids], **more})


def happened_to(house, type_):
    with house.reading():
        return [each.invite_id for each in session().query(Event).filter_by(type=type_).order_by(Event.number)]


def test_several_are_revoked_after_a_question_and_what_is_over_is_left_alone_and_counted(admin, house, invited):
    made = invited("Anne", "Bob", "Used", "Revoked", "Other")
    asked = choose(admin, "revoke", *(made[each] for each in ("Anne", "Bob", "Used", "Revoked")))
    assert asked.status_code == 200
    assert "Revoke 2 invitations" in seen(asked)
    assert "2 are used or revoked already, and stay as they are." in seen(asked)
    assert len(happened_to(house, "invite.revoked")) == 1  # nothing yet
    done = admin.post("/admin/chosen/revoke", ids=hidden(asked), q="n")
    assert led(done).startswith("/admin?q=n&")
    assert "2 revoked, 1 had been used already, 1 had been revoked already." in seen(admin.follow(done))
    told = happened_to(house, "invite.revoked")
    assert sorted(told[1:]) == sorted((made["Anne"], made["Bob"]))
    again = admin.post("/admin/chosen/revoke", ids=hidden(asked))  # a double click
    assert "0 revoked, 1 had been used already, 3 had been revoked already." in seen(admin.follow(again))
    assert happened_to(house, "invite.revoked") == told
    with house.reading():
        assert {each.name: each.state(clock.now()) for each in session().query(Invite)} == {
            **dict.fromkeys(("Anne", "Bob", "Revoked"), "revoked"),
            **{"Used": "used", "Other": "active"},
        }


@pytest.mark.parametrize("made_up", ["9" * 400, "-3", "1001", "²", "1.5", "x"])
def test_a_number_that_no_address_of_ours_says_is_not_believed(admin, made_up):
    page = admin.client.get("/admin", query_string={"done": "revoked-several", "changed": made_up, "used": "2"})
    assert page.status_code == 200
    assert ("0 revoked" in seen(page), "2 had been used already" in seen(page)) == (True, True)


def test_several_are_extended_by_a_length_or_until_a_day_and_none_expires_earlier(admin, house, invited):
    made = invited("Anne", "Used", ttl="2d") | invited("Later", ttl="90d")
    asked = choose(admin, "extend", *made.values())
    assert "Extend 2 invitations" in seen(asked)
    ids = hidden(asked)
    no_day = {"ttl": "date", "until": "1"}
    for typed, field in (({"ttl": "soon"}, "ttl"), ({"ttl": "date"}, "until"), (no_day, "until")):
        refused = admin.post("/admin/chosen/extend", ids=ids, **typed)
        assert (refused.status_code, f'id="{field}-problem"' in refused.text) == (422, True)
        assert hidden(refused) == ids
    assert happened_to(house, "invite.extended") == []
    done = admin.post("/admin/chosen/extend", ids=ids, ttl="30d")
    assert "1 extended, 1 had been used already, 1 expires later already." in seen(admin.follow(done))
    day = (clock.now() + 40 * clock.DAY).date()
    assert admin.post("/admin/chosen/extend", ids=ids, ttl="date", until=f"{day}").status_code == 303
    assert happened_to(house, "invite.extended") == [made["Anne"]] * 2
    with house.reading():
        assert invites.find_by_id(made["Anne"]).expires_at.date() == day


def test_what_somebody_created_in_a_project_whose_access_has_ended_is_not_extended(admin, house, invited):
    made = invited("Anne", ttl="2d")
    with house.writing():
        project = projects.create(accounts.named("root"), projects.ProjectDraft("Tea Garden"))
        brief = invites.create(drafts.read({"project": project.slug, "access": "5d"}), drafts.SHELL)
        dora = accounts.create(Names("dora"))
        redemption.accept(invites.token(brief), dora)
        by_dora = invites.create(drafts.read({"project": project.slug, "ttl": "2d"}), accounts.as_inviter(dora)).id
    ids = f"{made['Anne']} {by_dora}"
    done = admin.post("/admin/chosen/extend", ids=ids, ttl="30d")
    assert "2 extended." in seen(admin.follow(done))
    with house.reading():  # but not beyond the access
        assert invites.find_by_id(by_dora).expires_at < clock.now() + 6 * clock.DAY
    with house.writing():
        session().query(Member).filter_by(role="member").update({"ends_at": clock.now() - clock.HOUR})
        session().query(Invite).filter_by(id=by_dora).update({"expires_at": clock.now() + clock.HOUR})
    done = admin.post("/admin/chosen/extend", ids=ids, ttl="60d")
    said = "1 extended, 1 cannot be extended, since its inviter has left the project."
    assert said in seen(admin.follow(done))


def test_a_short_code_does_not_outlive_its_week_where_several_are_extended(admin, house):
    with house.writing():
        legacy.create(drafts.SHELL)
        invite = session().query(Invite).one()
        invite.expires_at, id_ = clock.now() + clock.HOUR, invite.id
    for ttl, is_kept in (("6d", True), ("8d", False)):
        admin.post("/admin/chosen/extend", ids=id_, ttl=ttl)
        with house.reading():
            assert bool(invites.find_by_id(id_).legacy_hash) == is_kept


def test_one_that_makes_an_admin_keeps_all_of_them_from_being_extended_for_long(admin, house, invited):
    ids = list(invited("Anne").values())
    with house.writing():
        ids.append(invites.create(drafts.read({}, makes_admin=True), drafts.SHELL).id)
    refused = admin.post("/admin/chosen/extend", ids=" ".join(ids), ttl="30d")
    assert (refused.status_code, "at most 24h" in seen(refused)) == (422, True)
    assert happened_to(house, "invite.extended") == []


def test_all_that_match_are_chosen_wherever_they_stand_in_the_list(admin, invited, monkeypatch):
    monkeypatch.setattr("web.forms.ROWS", 2)
    invited(*(f"Guest {number}" for number in range(5)))
    invited("Anne")
    page = admin.client.get("/admin?q=guest")
    assert "5 of 6 invitations" in seen(page)
    assert "All 5 that match" in seen(page)
    assert "Revoke 5 invitations" in seen(choose(admin, "revoke", all="on", q="guest"))
    assert "Revoke 6 invitations" in seen(choose(admin, "revoke", all="on"))
    monkeypatch.setattr("rules.bulk.MAX_INVITES", 4)
    assert "More than 4 of 6 invitations" in seen(admin.client.get("/admin?q=guest"))
    refused = choose(admin, "revoke", all="on", q="guest")
    assert (refused.status_code, "More than 4 invitations match." in seen(refused)) == (422, True)
    assert 'value="guest"' in refused.text


def test_a_search_that_has_not_looked_at_all_says_so(admin, invited, monkeypatch):
    monkeypatch.setattr(listing, "LOOKED_AT", 3)
    invited("Anne", *(f"Guest {number}" for number in range(5)))
    page = admin.client.get("/admin?status=active")
    assert "3 of the newest 3 invitations" in seen(page)
    assert "All that match" in seen(page)
    assert "Revoke 6 invitations" in seen(choose(admin, "revoke", all="on", status="active"))


def test_nothing_is_done_to_none_to_too_many_or_to_what_is_not_there(admin, house, invited):
    ids = list(invited("Anne").values())
    for typed in ({}, {"q": "anne"}):
        none = choose(admin, "revoke", **typed)
        assert (none.status_code, "Select at least one invitation first." in seen(none)) == (422, True)
        assert "Anne" in seen(none)
    assert choose(admin, "burn", *ids).status_code == 422
    many = [clock.new_id() for _ in range(1001)]
    for act in ("revoke", "extend"):
        for sent, status in (([*ids, "nothing"], 404), (many, 422), ([], 422)):
            answer = admin.post(f"/admin/chosen/{act}", ids=" ".join(sent), ttl="3d")
            assert (answer.status_code, act, len(sent)) == (status, act, len(sent))
    foreign = admin.post("/admin/chosen/revoke", ids=ids[0], csrf="wrong")
    assert (foreign.status_code, happened_to(house, "invite.revoked")) == (403, [])


def test_a_thousand_are_revoked_in_one_unit(admin, house, invited):
    made = invited(*(f"Guest{number}" for number in range(1000)))
    asked = choose(admin, "revoke", all="on")
    assert "Revoke 1,000 invitations" in seen(asked)
    done = admin.post("/admin/chosen/revoke", ids=hidden(asked))
    assert "1,000 revoked." in seen(admin.follow(done))
    assert sorted(happened_to(house, "invite.revoked")) == sorted(made.values())


def test_name_and_address_both_tell_guests_apart_in_the_list(admin, invited):
    invited("Anne", email="anne@example.org")
    invited("Anne", email="anne@example.com")
    page = seen(admin.client.get("/admin"))
    assert "Anne anne@example.org" in page
    assert "Anne anne@example.com" in page


def test_a_person_has_their_passes_on_their_page_where_one_is_deleted(admin, house):
    with house.writing():
        project = projects.create(accounts.create(Names("dora")), projects.ProjectDraft("Tea Garden"))
        gate.set_origins(project.slug, ["https://garden.example.org"])
        member = projects.member(project.slug, accounts.named("dora"))
        made = [passes.create(member, name)[0].id for name in ("calendar", "phone")]
        path = f"/admin/people/{member.user_id}"
        other = f"/admin/people/{accounts.named('root').id}"
    page = seen(admin.client.get(path))
    assert "calendar Tea Garden" in page
    assert "phone Tea Garden" in page
    assert admin.post(f"{other}/passes/{made[0]}/delete").status_code == 303  # of somebody else: nothing happens
    assert "calendar Tea Garden" in seen(admin.client.get(path))
    for _ in ("once", "and again, by a double click"):
        done = seen(admin.follow(admin.post(f"{path}/passes/{made[0]}/delete")))
        assert "Pass deleted." in done
        assert "calendar Tea Garden" not in done
        assert "phone Tea Garden" in done


def test_a_length_of_time_is_chosen_from_a_list_or_ends_with_a_day(admin, house):
    day = (clock.now() + 20 * clock.DAY).date()
    lengths = [({"expires": "90d"}, 90), ({"expires": "date", "until": f"{day}"}, 20), ({"expires": "never"}, 0)]
    for given, left in lengths:
        assert admin.post("/admin/keys", once=once(admin, "/admin/keys"), name=f"k{left}", **given).status_code == 200
        with house.reading():
            key = next(each for each in keys.newest() if each.name == f"k{left}")
            assert (key.expires_at - clock.now() > (left - 1) * clock.DAY) if left else key.expires_at is None
    for given, said in (
        ({"expires": "date"}, "Is empty: choose a day"),
        ({"expires": "date", "until": "soon"}, "Must be a date such as"),
        ({"expires": "90d", "until": f"{day}"}, "Counts only with “a date”"),
    ):
        refused = admin.post("/admin/keys", once=once(admin, "/admin/keys"), name="no", **given)
        assert (refused.status_code, 'id="until-problem"' in refused.text, said in refused.text) == (422, True, True)


def test_pages_for_admins_have_titles_of_their_own(admin, invited):
    invited("Anne")
    paths = [*(each for each in PAGES if each != "/admin/made"), "/admin/activity", "/admin?q=anne"]
    titles = [re.search("<title>([^<]*)</title>", admin.client.get(each).text)[1] for each in paths]
    assert len(set(titles)) == len(titles)


def test_from_the_list_one_invites_again_who_has_not_come(admin, invited):
    made = invited("Anne", "Used", "Revoked")
    with time_machine.travel(clock.now() - 30 * clock.DAY):
        made |= invited("Expired")
    page = admin.client.get("/admin").text
    assert {name for name, id_ in made.items() if f"/admin/invites/new?again={id_}" in page} == {"Revoked", "Expired"}


def test_a_use_that_waits_is_nobodys_yet_in_the_list(admin, house):
    with house.writing():
        token = invites.token(invites.create(drafts.read({"name": "Choir", "approve": True, "uses": 9}), drafts.SHELL))
        redemption.accept(token, accounts.create(Names("dora")))
    page = seen(admin.client.get("/admin?q=choir"))
    assert "1 waiting 1 / 9" in page
    assert "Unknown account" not in page
