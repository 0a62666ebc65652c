"""Lists of guests on the admin's pages: what is pasted or sent as a file, its check, and what comes of it."""

import csv
import io
import re

import pytest

import clock
from conftest import seen
from database import session
from models import Invite, Letter
from rules import (
    accounts,
    batches,
    blocked_addresses,
    changing,
    durations,
    invites,
    pasted,
    presets,
    projects,
    redemption,
)
from rules.refusals import Invalid

FORM = "/admin/invites/new/list"


@pytest.fixture
def admin(browser, root):
    """A browser in which an admin of the site is signed in."""
    assert browser.sign_in("root").status_code == 303
    return browser


@pytest.fixture
def send(admin):
    """Send the form with this list: to be checked, or as the page that follows a check asks for it."""

    def post(guests="", act="check", **given):
        number = hidden(admin.client.get(FORM), "once")
        return admin.post(FORM, once=number, guests=guests, act=act, **given)

    return post


@pytest.fixture
def create(admin, send):
    """Check a list, then create what the page shows; the answer to that, and the form that was sent."""

    def both(guests, **given):
        page = send(guests, **given)
        assert page.status_code == 200, seen(page)
        sent = {"guests": guests, "once": hidden(page, "once"), "checked": hidden(page, "checked"), **given}
        return admin.post(FORM, act="create", **sent), sent

    return both


def hidden(page, name):
    return re.search(f'name="{name}" value="([^"]*)"', page.text)[1]


def rows(answer):
    return list(csv.reader(io.StringIO(answer.text)))


@pytest.mark.parametrize(
    ("line", "guests"),
    [
        ("Anne <anne@example.org>", [("Anne", "anne@example.org")]),
        ("anne@example.org", [("", "anne@example.org")]),
        ("Anne Müller", [("Anne Müller", "")]),
        ("Müller, Hans;hans@example.org", [("Müller, Hans", "hans@example.org")]),
        ("Müller, Hans", [("Müller, Hans", "")]),
        ('"Müller, Hans" <hans@example.org>', [("Müller, Hans", "hans@example.org")]),
        ("Anne, anne@example.org", [("Anne", "anne@example.org")]),
        ("anne@example.org (Anne)", [("Anne", "anne@example.org")]),
        ("Anne\tanne@example.org", [("Anne", "anne@example.org")]),
        ("anne@example.org,Anne", [("Anne", "anne@example.org")]),
        ("Anne <anne@gmail,com>", [("Anne", "anne@gmail,com")]),
        ("anne@gmail,com", [("", "anne@gmail,com")]),
        ("- Anne mailto:anne@example.org", [("Anne", "anne@example.org")]),
        ("Anne <a@example.org>, Bob <b@example.org>;", [("Anne", "a@example.org"), ("Bob", "b@example.org")]),
        ("a@example.org; b@example.org", [("", "a@example.org"), ("", "b@example.org")]),
        ("ジョン・スミス <john@example.org>", [("ジョン・スミス", "john@example.org")]),
        ("Martin Luther King, Jr.", [("Martin Luther King, Jr.", "")]),
        ("\N{ZERO WIDTH SPACE} anne@example.org\N{NO-BREAK SPACE}", [("", "anne@example.org")]),
        ("Vorname;Nachname;E-Mail\nHans;Müller;hans@example.org", [("Hans Müller", "hans@example.org")]),
    ],
)
def test_a_guest_is_found_however_the_line_was_written(line, guests):
    assert [(each.given["name"], each.given["email"]) for each in pasted.read(line, [])] == guests


def test_a_line_that_names_several_guests_in_an_unclear_way_is_wrong():
    first, second = pasted.read("Anne a@example.org, Bob b@example.org\n\nAnne;0123;choir;a@example.org", [])
    assert (first.line, first.problems[0].text[:30]) == (1, "has more than one address: wri")
    assert (second.line, second.problems[0].text[:30]) == (3, "has more cells than a name and")


@pytest.mark.parametrize("listed", ["", " \n;\n", "name,email\n"])
def test_a_list_without_guests_is_refused(listed):
    with pytest.raises(Invalid):
        pasted.read(listed, [])


def test_a_list_is_read_in_time_that_grows_with_its_length():
    pasted.read("x" * 200_000, [])
    began = clock.ticks()
    with pytest.raises(Invalid, match="has more than 1000 guests"):
        pasted.read("a\n" * 50_000, [])
    with pytest.raises(Invalid, match="has 50000 rows below its header"):
        pasted.read("name\n" + "a\n" * 50_000, [])
    with pytest.raises(Invalid, match="has more than 1000 guests"):
        pasted.read("a@ " * 40_000, [])
    assert clock.ticks() - began < 5


def test_columns_that_mean_nothing_are_left_out_and_named():
    left_out = []
    (row,) = pasted.read("Name,Shoe size\nAnne,38\n", left_out)
    assert (row.given, left_out) == ({"name": "Anne"}, ["Shoe size"])


def test_a_list_is_checked_first_then_an_invitation_is_created_for_each(admin, house, send, create, stored):
    listed = "Anne <anne@example.org>\nbob@example.org\nCharlie"
    page = send(listed, ttl="30d")
    assert (page.status_code, stored()) == (200, [])
    said = seen(page)
    assert "3 guests can be invited. Nothing has been created yet." in said
    assert "Create 3 invitations" in said
    done, _ = create(listed, ttl="30d")
    assert done.status_code == 303
    shown = seen(admin.follow(done))
    assert "3 invitations created" in shown
    with house.reading():
        made = [(each.name, each.email, invites.link(invites.token(each))) for each in session().query(Invite)]
        assert all(each.expires_at - each.created_at == 30 * clock.DAY for each in session().query(Invite))
    assert {each[:2] for each in made} == {("Anne", "anne@example.org"), (None, "bob@example.org"), ("Charlie", None)}
    table = admin.client.get(done.location.replace("made?", "made.csv?"))
    assert table.headers["Content-Disposition"] == 'attachment; filename="invitations.csv"'
    heading, *lines = rows(table)
    assert heading == ["name", "email", "link"]
    assert [each[:2] for each in lines] == [["Anne", "anne@example.org"], ["", "bob@example.org"], ["Charlie", ""]]
    assert {each[2] for each in lines} == {link for *_, link in made}
    assert all(link in admin.follow(done).text for *_, link in made)


def test_each_wrong_row_is_named_by_line_and_column_and_nothing_is_created(send, stored):
    page = send("Anne <anne@gmail,com>\nBob <bob@example.org>\n\nname<b>\n")
    assert page.status_code == 422
    assert stored() == []
    said = seen(page)
    assert "2 guests cannot be invited as written here." in said
    assert "Line 1, E-mail address: anne@gmail,com" in said
    assert "Line 4, Name:" in said
    assert "Line 2" not in said
    assert "Create 2 invitations" not in said
    table = send("Gast;E-Mail\nAnne;anne@example.org\nBob;bob\n")
    assert "Line 3, E-Mail: bob" in seen(table)
    assert "Gast;E-Mail\nAnne;anne@example.org" in table.text  # to be corrected there


@pytest.mark.parametrize(
    ("given", "field", "said"),
    [
        ({"guests": ""}, "guests", "Is empty: type one guest on each line"),
        ({"guests": "A\n" * 1001}, "guests", "Has more than 1000 guests: divide it"),
        ({"guests": "name\n" + "A\n" * 1001}, "guests", "Has 1001 rows below its header; 1 to 1000"),
        ({"guests": 'name\n"Anne'}, "guests", "Line 2: cannot be read as CSV"),
        ({"guests": "Anne", "ttl": "soon"}, "ttl", "Must be a number and a unit"),
        ({"guests": "Anne", "ttl": "date"}, "until", "Is empty: choose a day"),
        ({"guests": "Anne", "project": "nowhere"}, "project", "Names no project"),
        ({"guests": "Anne", "access": "90d"}, "access", "Needs a project"),
    ],
)
def test_what_is_wrong_beside_the_rows_is_said_at_its_field(send, stored, given, field, said):
    page = send(**given)
    assert (page.status_code, stored()) == (422, [])
    assert said in re.search(rf'id="{field}-problem">([^<]*)<', page.text)[1]


def test_a_file_is_read_as_spreadsheets_save_it(admin, send):
    def sent(raw):
        return send("", file=(io.BytesIO(raw), "guests.csv"))

    for raw in (
        "Name;E-Mail\r\nJosé;jose@example.org\r\n".encode("utf-8-sig"),
        "Name\tMail\nJosé\t\n".encode("utf-16"),
    ):
        page = sent(raw)
        assert page.status_code == 200, seen(page)
        assert "José" in seen(page)
    latin = sent("name\nJosé\n".encode("latin-1"))
    assert "Line 2: is not UTF-8; save the file as CSV UTF-8" in seen(latin)
    assert 'id="file-problem"' in latin.text
    assert "Is no list of guests" in seen(sent(b"PK\3\4\0\0"))


def test_a_long_file_is_taken_and_one_beyond_the_limit_refused(admin):
    number, token = hidden(admin.client.get(FORM), "once"), admin.csrf()

    def sent(size):
        lines = "name,note\n" + f"Anne,{'x' * 900}\n" * (size // 906)
        parts = {"csrf": token, "once": number, "act": "check", 'file"; filename="guests.csv': lines}
        body = "".join(
            f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in parts.items()
        )
        return admin.client.post(FORM, data=f"{body}--x--\r\n", content_type="multipart/form-data; boundary=x")

    assert "1000 guests can be invited" in seen(sent(906_000))
    too_much = sent(2_200_000)
    assert (too_much.status_code, "at most 2048 KiB" in seen(too_much)) == (413, True)


def test_what_is_known_of_an_address_is_noted_and_forbids_nothing(house, make_invite, charlie, send, create, stored):
    with house.writing():
        invites.create(presets.draft({"email": "dora@example.org"}, accounts.as_inviter(accounts.named("root"))), ROOT)
        accounts.named("charlie").email = "charlie@example.org"
    page = send("dora@example.org\ncharlie@example.org\neve@example.org\neve@example.org\n")
    said = seen(page)
    assert "Line 1: dora@example.org has an active invitation already. Show it" in said
    assert "Line 2: charlie@example.org has an account already: charlie." in said
    assert "Line 4: eve@example.org is in line 3 already." in said
    assert "Line 3:" not in said
    assert create("dora@example.org")[0].status_code == 303
    assert [each.email for each in stored()] == ["dora@example.org"] * 2


ROOT = batches.drafts.SHELL


def test_a_form_sent_twice_creates_once(admin, create, stored):
    done, sent = create("Anne\nBob")
    again = admin.post(FORM, act="create", **sent)
    assert (again.status_code, again.location) == (303, done.location)
    assert len(stored()) == 2


@pytest.mark.parametrize("changed", [{"guests": "Anne\nBob\nCharlie"}, {"ttl": "never"}, {"checked": ""}])
def test_what_was_changed_after_the_check_is_checked_again(admin, send, stored, changed):
    page = send("Anne\nBob")
    sent = {"guests": "Anne\nBob", "once": hidden(page, "once"), "checked": hidden(page, "checked"), **changed}
    again = admin.post(FORM, act="create", **sent)
    assert (again.status_code, stored()) == (422, [])
    assert "was changed after the check" in seen(again)
    done = admin.post(
        FORM, act="create", **{**sent, "checked": hidden(again, "checked"), "once": hidden(again, "once")}
    )
    assert done.status_code == 303
    assert len(stored()) == len(sent["guests"].split())


def test_what_is_said_by_a_preset_is_checked_again_when_it_was_changed(admin, house, send, stored):
    for named in ({"guests": "Anne", "preset": "family"}, {"guests": "name,preset\nAnne,family"}):
        with house.writing():
            presets.create("family", {"plan": "gold"})
        page = send(**named)
        sent = {**named, "once": hidden(page, "once"), "checked": hidden(page, "checked")}
        with house.writing():
            presets.delete("family")
            presets.create("family", {"plan": "all", "ttl": "never"})
        again = admin.post(FORM, act="create", **sent)
        assert (again.status_code, stored()) == (422, [])
        assert "was changed after the check" in seen(again)
        with house.writing():
            presets.delete("family")


def test_another_list_sent_with_the_same_number_is_created_too(admin, send, create, stored):
    _, sent = create("Anne")
    other = admin.post(FORM, act="create", **{**sent, "guests": "Zoe", "checked": hidden(send("Zoe"), "checked")})
    assert other.status_code == 303
    assert [each.name for each in stored()] == ["Anne", "Zoe"]
    assert "Zoe" in seen(admin.follow(other))


def test_who_wants_no_invitations_by_mail_is_named_by_line(house, send, stored):
    with house.writing():
        blocked_addresses.block_address("bob@example.org")
    page = send("Anne <anne@example.org>\nBob <bob@example.org>", mail="on")
    assert (page.status_code, stored()) == (422, [])
    assert "1 guest cannot be invited as written here." in seen(page)
    assert "Line 2, E-mail address: bob@example.org takes no invitations by mail" in seen(page)
    assert send("Bob <bob@example.org>").status_code == 200


def test_what_a_list_says_beyond_names_is_shown_before_anything_is_created(house, send):
    with house.writing():
        projects.create(accounts.named("root"), projects.ProjectDraft("Tea Garden"))
        presets.create("family", {"ttl": "never"})
    heading = "name,email,uses,ttl,role,project,redirect_url,message,preset\n"
    row = "Anne,anne@example.org,1000,never,admin,tea-garden,https://evil.example/,Call me,\n"
    plain = "Bob,,1,7d,member,,,,\n"
    page = send(f"{heading}{plain * 60}{row}Carl,,,,,,,,family\n")
    table = seen(page).partition("Also in the list")[2].partition("Change the list")[0]
    for said in ("uses: 1000", "ttl: never", "role: admin", "https://evil.example/", "message: Call me"):
        assert said in table
    warned = seen(page)
    assert "1 guest becomes an admin of a project (lines: 62)." in warned
    assert "2 invitations never expire (lines: 62, 63)." in warned
    assert "1 invitation can be used more than once (lines: 62)." in warned
    assert "1 guest gets a link after joining (lines: 62)." in warned
    assert "Some lines of the list" not in seen(send(f"{heading}{plain}", ttl="never"))


def test_the_page_says_how_many_may_use_an_invitation_for_a_domain(send):
    assert "for everyone with an address there, and 1 person can use it." in seen(send("@example.org"))
    page = send("email,uses\n@example.org,1000\n")
    assert re.search("for everyone with an address there, and 1.?000 people can use it.", seen(page))


def test_those_who_have_an_address_are_mailed_if_that_is_wanted(admin, house, create):
    done, _ = create("Anne <anne@example.org>\nBob\n@example.com", mail="on")
    with house.reading():
        assert [each.recipient for each in session().query(Letter)] == ["anne@example.org"]
    assert "1 of them will be sent by mail." in seen(admin.follow(done))


def test_a_row_wins_over_the_options(house, create, stored):
    with house.writing():
        projects.create(accounts.named("root"), projects.ProjectDraft("Tea Garden"))
    create("name,ttl,role\nAnne,,\nBob,2d,admin\n", project="tea-garden", access="typed", access_typed="12 weeks")
    anne, bob = sorted(stored(), key=lambda each: each.name)
    assert [each.access for each in (anne, bob)] == [7_257_600] * 2
    assert (anne.role, bob.role) == ("member", "admin")
    assert (bob.expires_at - bob.created_at, anne.expires_at - anne.created_at) == (2 * clock.DAY, 7 * clock.DAY)


def test_who_is_no_admin_any_more_creates_nothing(admin, house, send, stored):
    page = send("Anne")
    sent = {"guests": "Anne", "once": hidden(page, "once"), "checked": hidden(page, "checked")}
    with house.writing():
        accounts.set_admin(accounts.named("root"), False)
    assert admin.post(FORM, act="create", **sent).status_code == 403
    assert stored() == []


def test_a_list_from_elsewhere_creates_nothing(admin, send, stored):
    page = send("Anne")
    sent = {"guests": "Anne", "once": hidden(page, "once"), "checked": hidden(page, "checked"), "act": "create"}
    assert admin.post(FORM, csrf="wrong", **sent).status_code == 403
    assert admin.post(FORM, headers={"Sec-Fetch-Site": "cross-site"}, **sent).status_code == 403
    assert stored() == []


def test_the_table_of_links_gives_spreadsheets_nothing_to_calculate(admin, house, create):
    done, _ = create("Anne")
    with house.writing():
        session().query(Invite).one().name = "=HYPERLINK(1)"
    table = admin.client.get(done.location.replace("made?", "made.csv?"))
    assert rows(table)[1][0] == "'=HYPERLINK(1)"


def test_many_links_come_in_pages_in_the_order_of_the_list(admin, create):
    names = [f"Guest {number}" for number in range(120)]
    done, _ = create("\n".join(names))
    path, found = done.location, []
    while path:
        page = admin.client.get(path)
        assert len(page.text) < 30 * 1024
        found += re.findall(r"<bdi>(Guest \d+)</bdi>", page.text)
        path = (re.findall(r'rel="next" href="([^"]*)"', page.text) or [""])[0].replace("&amp;", "&")
    assert found == names


def test_another_invitation_begins_with_what_this_one_has(admin, house, make_invite, stored):
    with house.writing():
        projects.create(accounts.named("root"), projects.ProjectDraft("Tea Garden"))
    make_invite(
        name="Anne", email="anne@example.org", project="tea-garden", ttl="30d", uses=3, note="choir", access="90d"
    )
    (invite,) = stored()
    fields = {"name": "Anne", "email": "anne@example.org", "uses": "3", "note": "choir"}
    again = admin.client.get(f"/admin/invites/new?again={invite.id}").text
    like = admin.client.get(f"/admin/invites/new?like={invite.id}").text
    for name, value in fields.items():
        assert f'id="{name}" name="{name}" type="text" value="{value}"' in again
        assert (f'value="{value}"' in like) == (name in ("uses", "note"))
    for page in (again, like):
        chosen = re.findall(r'<option value="([^"]*)" selected>', page)
        assert [each for each in ("30d", "tea-garden", "90d", "member") if each not in chosen] == []
        assert '<details class="more" open>' in page
    assert "choir" in admin.client.get(f"{FORM}?like={invite.id}").text
    assert admin.client.get("/admin/invites/new?again=nothing").status_code == 404


@pytest.mark.parametrize("state", ["used", "expired", "revoked"])
def test_who_had_an_invitation_that_is_over_is_invited_again(admin, house, make_invite, stored, use, state):
    token = make_invite(name="Anne", ttl="1h")
    with house.writing():
        invite = invites.find(token)
        if state == "revoked":
            changing.revoke(invite)
        elif state == "expired":
            invite.expires_at = clock.now() - clock.HOUR
    if state == "used":
        use(token)
    page = admin.client.get(f"/admin/invites/{stored()[0].id}").text
    assert f"/admin/invites/new?again={stored()[0].id}" in page
    active = make_invite(name="Bob")
    with house.reading():
        id_ = invites.find(active).id
    assert "?again=" not in admin.client.get(f"/admin/invites/{id_}").text


def test_an_invitation_is_created_until_the_end_of_a_day_where_its_maker_is(admin, stored):
    day = clock.now() + 20 * clock.DAY
    for offset, hour in (("", "23:59"), ("-60", "22:59"), ("nonsense", "23:59"), ("9999", "23:59")):
        number = hidden(admin.client.get("/admin/invites/new"), "once")
        sent = admin.post("/admin/invites", once=number, ttl="date", until=f"{day:%Y-%m-%d}", offset=offset)
        assert sent.status_code == 303, seen(sent)
        assert f"{stored()[-1].expires_at:%Y-%m-%d %H:%M}" == f"{day:%Y-%m-%d} {hour}"


def test_a_length_that_is_no_usual_one_is_in_the_list_where_it_was_chosen(house):
    assert durations.lifetimes("3 weeks") == [clock.DAY, 7 * clock.DAY, 21 * clock.DAY, 30 * clock.DAY]
    assert durations.lifetimes("soon", clock.DAY) == [clock.DAY]


def test_a_preset_says_what_is_left_empty_in_the_lists(admin, house, stored):
    with house.writing():
        presets.create("family", {"ttl": "30d"})
    page = admin.client.get("/admin/invites/new").text
    assert '<option value="">7 days, or what the preset says</option>' in page
    for given, days in (({}, 30), ({"ttl": "7d"}, 7)):
        admin.post(
            "/admin/invites", once=hidden(admin.client.get("/admin/invites/new"), "once"), preset="family", **given
        )
        made = stored()[-1]
        assert made.expires_at - made.created_at == days * clock.DAY


def test_a_picture_of_the_link_is_downloaded_with_a_name(admin, make_invite, stored):
    make_invite(name="Anne")
    (invite,) = stored()
    answer = admin.client.get(f"/admin/invites/{invite.id}/qr.png")
    assert answer.data.startswith(b"\x89PNG")
    assert answer.headers["Content-Disposition"] == f'attachment; filename="invitation-{invite.id[:8]}.png"'
    assert answer.mimetype == "image/png"


def test_lists_are_in_the_language_of_their_reader(admin):
    german = {"Accept-Language": "de"}
    page = seen(admin.client.get("/admin/invites/new", headers=german))
    for text in ("7 Tage", "30 Tage", "1 Jahr", "bis zu einem Datum", "Name des Gastes"):
        assert text in page


def test_one_who_is_a_member_of_the_project_is_noted_as_that(house, charlie, make_invite, send):
    with house.writing():
        projects.create(accounts.named("root"), projects.ProjectDraft("Tea Garden"))
    token = make_invite(project="tea-garden")
    with house.writing():
        charlies = accounts.named("charlie")
        charlies.email = "charlie@example.org"
        redemption.accept(token, charlies)
    said = seen(send("charlie@example.org", project="tea-garden"))
    assert "charlie@example.org is a member of the project already: charlie." in said
