"""Pages of people who invite people: what is left, creating, sharing, reminding and revoking, and who came."""

import re

import pytest
import time_machine

import clock
from conftest import HASH, Browser, led, seen, settings_with_mail
from models import Invite, Letter
from rules import accounts, blocked_addresses, budgets, changing, drafts, invites, own_invites, projects, redemption

ONCE = "a-form-of-alice"


settings = settings_with_mail(BUDGET="3/30d")


def having(**given):
    return pytest.mark.parametrize("settings", [given], indirect=True)


@pytest.fixture
def mine(browser):
    """Alice's browser."""
    assert browser.sign_in("alice").status_code == 303
    return browser


@pytest.fixture
def create(mine):
    """Have alice send the form of her page; the answer."""

    def send(once=ONCE, **fields):
        return mine.post("/account/invites", once=once, **{"ttl": "7d", **fields})

    return send


@pytest.fixture
def user(house):
    """Somebody's account, inside a unit of work."""
    return accounts.named


@pytest.fixture
def invite_of(house, alice):
    """An invite that somebody has created; its id."""

    def made(who="alice", mailed=False, **given):
        with house.writing():
            inviter = accounts.as_inviter(accounts.named(who))
            return invites.create(drafts.read(given), inviter, mailed=mailed).id

    return made


@pytest.fixture
def letters(house):
    def count():
        with house.reading() as unit:
            return unit.session.query(Letter).count()

    return count


def test_who_is_not_signed_in_does_so_and_comes_back(browser):
    answer = browser.client.get("/invites")
    assert (answer.status_code, answer.location) == (303, "/login?then=/invites")
    assert led(browser.post("/login", user="alice", password="correct horse battery", then="/invites")) == "/invites"
    assert browser.client.get("/account/invites/x").status_code == 404
    signed_out = Browser(browser.client.application.test_client())
    assert signed_out.post("/account/invites", once=ONCE).location == "/login?then=/invites"


def test_only_the_list_is_there_and_what_follows_is_hitkeys(mine, make_invite):
    assert mine.post("/invites").status_code == 405
    assert mine.client.get(f"/invites/{make_invite()}").json["is_expired"] is False


def test_what_is_created_has_a_link_to_copy_and_share_and_a_picture(mine, create, settings):
    answer = create(name="Dora")
    assert re.fullmatch(r"/account/invites/[0-9a-f-]{36}\?done=created", answer.location)
    page = mine.client.get(answer.location)
    link = re.search(rf'value="({settings.public_url}/invite\?[0-9a-f]{{64}})"', page.text)[1]
    assert f'data-copy="{link}"' in page.text
    assert f"""data-share="You're invited to {settings.site_name}: {link}\"""" in page.text
    assert "Invitation for Dora" in seen(page)
    token = link.partition("?")[2]
    assert f"/qr?{token}" in page.text
    assert mine.client.get(f"/invite?{token}").status_code == 200
    assert "Dora" in seen(mine.client.get("/invites"))


def test_a_form_that_is_sent_twice_creates_one(create, stored):
    assert create(name="Dora").location == create(name="Dora").location
    assert len(stored()) == 1


def test_who_goes_back_and_types_another_guest_invites_both(create, mine, stored):
    anne, bert = (create(email=each, mail="on") for each in ("anne@example.org", "bert@example.org"))
    assert anne.location != bert.location
    assert "bert@example.org" in seen(mine.follow(bert))
    assert [each.email for each in stored()] == ["anne@example.org", "bert@example.org"]
    assert create(email="bert@example.org", mail="on").location == bert.location


def test_the_form_of_another_person_creates_another(create, client, charlie, stored):
    create(name="Dora")
    other = Browser(client.application.test_client())
    other.sign_in("charlie")
    assert other.post("/account/invites", once=ONCE, ttl="7d").status_code == 303
    assert [each.made_by for each in stored()] == ["alice", "charlie"]


def test_nobody_gives_more_than_a_friend_may_have(create, stored):
    more = {"role": "admin", "admin": "on", "makes_admin": "on", "uses": "50", "plan": "gold", "redirect_url": "https:"}
    refused = create(**more)
    assert refused.status_code == 422  # what nobody may set from outside
    del more["makes_admin"]
    assert create(**more, approve="on", note="x", data="{}", preset="family").status_code == 303
    (made,) = stored()
    assert (made.role, made.makes_admin, made.max_uses, made.plan) == ("member", False, 1, "solo")
    assert (made.redirect_url, made.approve, made.note, made.data) == (None, False, None, None)


@pytest.mark.parametrize("ttl", ["never", "400d", "soon"])
def test_how_long_is_chosen_within_bounds(create, stored, ttl):
    refused = create(ttl=ttl)
    assert refused.status_code == 422
    assert 'id="ttl-problem"' in refused.text
    assert stored() == []


def test_one_invites_to_the_projects_that_one_manages_and_no_other(mine, create, house, charlie, stored):
    with house.writing():
        projects.create(accounts.named("alice"), projects.ProjectDraft("Tea Garden"))
        projects.create(accounts.named("charlie"), projects.ProjectDraft("Orchard"))
        joining = invites.create(drafts.read({"project": "orchard"}), drafts.SHELL)
        redemption.accept(invites.token(joining), accounts.named("alice"))
    page = mine.client.get("/invites").text
    assert ("tea-garden" in page, "orchard" in page) == (True, False)
    assert create(project="orchard").status_code == 403
    assert create(project="nowhere").status_code == 404
    for number in range(2):  # without an address there may be several
        assert create(once=f"{ONCE}{number}", project="tea-garden").status_code == 303
    assert _made(house) == 2 * [("member", "tea-garden")]
    assert create(once=f"{ONCE}-bound", project="tea-garden", email="dora@example.org").status_code == 303
    assert create(once=f"{ONCE}-again", project="tea-garden", email="dora@example.org").status_code == 400


def _made(house):
    """Role and project of the invites that alice has created."""
    with house.reading() as unit:
        by_alice = unit.session.query(Invite).filter(Invite.maker_id.is_not(None))
        return [(each.role, each.project.slug) for each in by_alice]


# What is left


def test_what_is_left_is_said_and_when_more_come(mine, create):
    start = clock.now()
    assert "You can invite 3 more people." in seen(mine.client.get("/invites"))
    with time_machine.travel(start + clock.SECOND):
        create(name="Dora")
        page = seen(mine.client.get("/invites"))
        assert "You can invite 2 more people." in page
        assert f"You can invite more after {(start + 7 * clock.DAY):%-d %B %Y}." in page


def test_beyond_the_budget_the_form_is_gone_and_nothing_is_created(mine, create, stored):
    for number in range(3):
        assert create(once=f"{ONCE}{number}").status_code == 303
    refused = create(once=f"{ONCE}-more", name="Dora")
    assert (refused.status_code, len(stored())) == (429, 3)
    assert int(refused.headers["Retry-After"]) > 6 * 86400
    page = mine.client.get("/invites")
    assert "You have no invitations left. You can invite again after" in seen(page)
    assert "Create invitation" not in page.text
    mine.post(f"/account/invites/{stored()[0].id}/revoke")
    assert "You can invite 1 more person." in seen(mine.client.get("/invites"))


def test_who_may_not_invite_sees_no_way_to_and_has_none(mine, create, house, stored):
    assert '<a href="/invites"' in mine.client.get("/account").text
    with house.writing():
        budgets.set_budget(accounts.named("alice"), "0")
    page = mine.client.get("/invites")
    assert "You cannot invite people here." in seen(page)
    assert ">Invite</a>" not in page.text
    assert create().status_code == 403
    assert stored() == []


@having(BUDGET="0")
def test_an_admin_is_not_limited(client, root, stored):
    admin = Browser(client.application.test_client())
    admin.sign_in("root")
    page = admin.client.get("/invites")
    assert "more people" not in seen(page)
    assert ">Invite</a>" in page.text
    assert admin.post("/account/invites", once=ONCE, ttl="7d").status_code == 303


# Mail


@pytest.mark.parametrize(
    ("fields", "mailed"),
    [
        ({"email": "dora@example.org", "mail": "on"}, 1),
        ({"email": "dora@example.org"}, 0),
        ({"mail": "on"}, 0),
    ],
)
def test_it_is_mailed_where_there_is_an_address_and_that_is_asked_for(create, letters, fields, mailed):
    answer = create(**fields)
    assert answer.location.endswith("mailed" if mailed else "created")
    assert letters() == mailed


@having(SMTP_URL="")
def test_without_a_mail_server_nothing_is_mailed_and_nobody_asked(mine, create, letters):
    page = mine.client.get("/invites").text
    assert 'name="email"' in page
    assert 'name="mail"' not in page
    create(email="dora@example.org", mail="on")
    assert letters() == 0


def test_whom_no_invitation_reaches_gets_one_without_mail(create, house, stored, letters):
    with house.writing():
        blocked_addresses.block_address("dora@example.org")
    refused = create(email="Dora@example.org", mail="on")
    assert (refused.status_code, stored()) == (422, [])
    assert 'id="email-problem">Takes no invitations by mail' in refused.text
    assert create(email="Dora@example.org").status_code == 303
    assert letters() == 0


@having(MAILS_PER_DAY="1")
def test_beyond_the_days_mail_the_link_is_left(mine, create, stored, letters):
    assert create(email="dora@example.org", mail="on").status_code == 303
    refused = create(once=f"{ONCE}2", email="erin@example.org", mail="on")
    assert (refused.status_code, len(stored())) == (429, 1)
    assert "You have reached your limit of invitations by mail (1 a day)." in seen(refused)
    assert "erin@example.org" in refused.text
    page = mine.client.get("/invites")
    assert 'name="mail"' not in page.text
    assert "The next mail is possible after" in seen(page)
    assert create(once=f"{ONCE}2", email="erin@example.org").status_code == 303
    assert letters() == 1


def test_a_guest_is_reminded_but_not_twice_of_what_is_still_on_its_way(mine, house, invite_of, letters):
    invite_id = invite_of(email="dora@example.org", mailed=True, ttl="1h")
    path = f"/account/invites/{invite_id}/send"
    assert mine.post(path).location == f"/account/invites/{invite_id}?done=reminded"
    assert letters() == 1
    with house.writing() as unit:
        unit.session.query(Letter).update({"attempts": 1, "due_at": None, "sent_at": clock.now()})
    mine.post(path)
    assert letters() == 2
    with house.reading() as unit:
        made = unit.session.get(Invite, invite_id)
        assert made.expires_at > clock.now() + 6 * clock.DAY
        assert {each.sender_id for each in unit.session.query(Letter)} == {made.maker_id}
    assert "Send it by mail again" in mine.client.get(f"/account/invites/{invite_id}").text


def test_a_mail_that_waits_for_the_mail_server_is_not_written_again(mine, house, invite_of, letters):
    invite_id = invite_of(email="dora@example.org", mailed=True)
    with house.writing() as unit:
        unit.session.query(Letter).update({"attempts": 4, "last_error": "ConnectionRefusedError"})
    assert mine.post(f"/account/invites/{invite_id}/send").status_code == 303
    assert letters() == 1


@having(MAILS_PER_DAY="1")
def test_a_reminder_counts_as_a_mail(mine, house, invite_of, letters):
    invite_id = invite_of(email="dora@example.org", mailed=True)
    with house.writing() as unit:
        unit.session.query(Letter).update({"due_at": None, "sent_at": clock.now()})
    refused = mine.post(f"/account/invites/{invite_id}/send")
    assert (refused.status_code, letters()) == (429, 1)
    assert "You have reached your limit of invitations by mail (1 a day)." in seen(refused)


def test_what_has_no_address_is_not_mailed(mine, invite_of, letters):
    for given in ({}, {"email": "@example.org"}):
        invite_id = invite_of(**given)
        assert "/send" not in mine.client.get(f"/account/invites/{invite_id}").text
        assert mine.post(f"/account/invites/{invite_id}/send").status_code == 422
    assert letters() == 0


# One invitation


def test_what_is_revoked_no_longer_works(mine, invite_of, stored, client):
    invite_id = invite_of(name="Dora")
    assert mine.post(f"/account/invites/{invite_id}/revoke").location == "/invites?done=revoked"
    assert stored()[0].revoked_at
    page = mine.client.get(f"/account/invites/{invite_id}")
    assert "revoked" in seen(page)
    assert "data-copy" not in page.text


def test_what_a_guest_has_declined_is_said_so(mine, house, invite_of):
    invite_id = invite_of(name="Dora")
    with house.writing():
        changing.decline(invites.find_by_id(invite_id))
    assert "declined by the guest" in seen(mine.client.get(f"/account/invites/{invite_id}"))


def test_somebody_elses_invitation_is_none_of_ones_business(mine, charlie, invite_of, stored):
    invite_id = invite_of("charlie", email="dora@example.org")
    path = f"/account/invites/{invite_id}"
    assert mine.client.get(path).status_code == 404
    assert [mine.post(f"{path}/{act}").status_code for act in ("send", "revoke")] == [404, 404]
    assert mine.client.get("/account/invites/nonsense").status_code == 404
    assert stored()[0].revoked_at is None
    assert "dora" not in seen(mine.client.get("/invites"))


def test_a_form_of_another_site_does_nothing(mine, invite_of, stored):
    invite_id = invite_of(name="Dora")
    for path in ("/account/invites", f"/account/invites/{invite_id}/revoke", f"/account/invites/{invite_id}/send"):
        assert mine.post(path, headers={"Sec-Fetch-Site": "cross-site"}, once=ONCE).status_code == 403
        assert mine.post(path, csrf="made up", once=ONCE).status_code == 403
    assert [each.revoked_at for each in stored()] == [None]


@having(BUDGET="off")
def test_the_list_goes_on_on_the_next_page(mine, invite_of):
    for number in range(own_invites.ROWS + 3):
        with time_machine.travel(clock.now() + number * clock.SECOND):
            invite_of(name=f"Guest {number:02}")
    first = mine.client.get("/invites").text
    following = re.search(r'rel="next" href="([^"]+)"', first)[1].replace("&amp;", "&")
    second = mine.client.get(following).text
    names = re.findall(r"Guest \d\d", first) + re.findall(r"Guest \d\d", second)
    assert names == [f"Guest {number:02}" for number in reversed(range(own_invites.ROWS + 3))]
    assert 'rel="next"' not in second
    assert mine.client.get("/invites?cursor=nonsense").status_code in (400, 422)


# Who came


def test_who_came_is_named_and_nothing_is_said_of_what_became_of_them(mine, house, invite_of):
    for name in ("dora", "erin", "frida"):
        invite_id = invite_of(name=name)
        with house.writing():
            token = invites.token(invites.find_by_id(invite_id))
            accounts.register(token, accounts.Names(name, display_name=name.title()), HASH)
    before = seen(mine.client.get("/invites")).partition("with your invitations ")[2]
    assert all(f"{name}, since" in before for name in ("Dora", "Erin", "Frida"))
    with house.writing():
        accounts.disable(accounts.named("erin"))
        budgets.set_budget(accounts.named("dora"), "0")
        accounts.remove(accounts.named("frida"))
    rows, _, after = seen(mine.client.get("/invites")).partition("with your invitations ")
    assert (rows.count("Used by"), rows.count("Used on")) == (2, 1)
    last = seen(mine.client.get(f"/account/invites/{invite_id}"))
    assert re.search(r"Used\s*\d+ \w+ \d{4}", last)
    assert "deleted" not in rows + after + last
    assert after == re.sub(r"Frida, since \d+ \w+ \d{4} ?", "", before).strip()


def test_the_account_leads_to_ones_invitations(mine):
    assert (
        'href="/invites">How many people you can invite, and whom you invited</a>' in mine.client.get("/account").text
    )
