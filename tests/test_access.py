"""Access that ends: who joined a project for a while is no member from that moment on, and may come again."""

import json

import pytest
import time_machine

import clock
from conftest import HASH, MAILS, Browser, Person, make_settings, seen
from database import session
from delivery.outbox import deliver_one
from models import Event, Invite, Letter, Member
from rules import (
    accounts,
    changing,
    drafts,
    expiry,
    guests,
    invites,
    own_account,
    presets,
    projects,
    redemption,
    timeline,
    waiting,
)
from rules.refusals import Invalid, InviteExpired
from rules.timeline import Filter
from settings import in_force
from upkeep.caretaker import end_some

BEGAN = clock.now().replace(microsecond=0)
ACCESS = 60 * clock.DAY
ENDS = BEGAN + ACCESS
TICK = clock.SECOND / 1000


def at(moment):
    return time_machine.travel(moment, tick=False)


@pytest.fixture
def settings(tmp_path):
    with in_force(make_settings(tmp_path / "instance", SMTP_URL=MAILS)) as chosen, at(BEGAN):
        yield chosen


@pytest.fixture
def bob(house):
    return Person(house, "bob")


@pytest.fixture
def join(house):
    """Let somebody join the tea garden, for so long or for ever."""

    def joined(name, access="60d", **fields):
        with house.writing():
            draft = drafts.read({"project": "tea-garden", **fields} | ({"access": access} if access else {}))
            redemption.accept(invites.token(invites.create(draft, drafts.SHELL)), accounts.named(name))

    return joined


@pytest.fixture
def garden(house, alice, bob, join):
    """Alice's project, of which bob is an admin for 60 days."""
    bob.verify_address()
    with house.writing():
        projects.create(accounts.named("alice"), projects.ProjectDraft("Tea Garden", is_public=False))
    join("bob", role="admin")


@pytest.fixture
def call(client):
    """Call as somebody, who signs in for it; the answer."""

    def send(person, method, path, json=None):
        return client.open(path, method=method, headers=person.sign_in(), json=json)

    return send


@pytest.fixture
def by_bob(house, garden):
    """The token of an invite that bob created there, to expire long after his access."""
    with house.writing():
        member = projects.of_manager("tea-garden", accounts.named("bob"))
        made = projects.invite(
            member, drafts.read({"email": "eve@example.org", "project": "tea-garden", "ttl": "300d"})
        )
        return invites.token(made)


@pytest.fixture
def member(house):
    """What is stored of somebody's membership, over or not."""

    def look(name="bob"):
        with house.reading():
            query = session().query(Member).filter_by(user_id=accounts.named(name).id)
            return [(each.role, each.ends_at) for each in query]

    return look


@pytest.fixture
def told(house):
    """The events of these types: what, when, and to whom."""

    def look(*types):
        with house.reading():
            found = session().query(Event).filter(Event.type.in_(types)).order_by(Event.number)
            return [(each.type, each.at) for each in found]

    return look


@pytest.fixture
def care(house):
    """Let the caretaker do all there is to do."""

    def work():
        while end_some(house):
            pass

    return work


# What is seen of bob: whether he is a member.
READINGS = {
    "the owner's list of members": lambda _, call, alice, bob: (
        "bob" in call(alice, "GET", "/projects/tea-garden/members").text
    ),
    "his list of projects": lambda _, call, alice, bob: call(bob, "GET", "/projects/").json != [],
    "the project": lambda _, call, alice, bob: call(bob, "GET", "/projects/tea-garden").status_code == 200,
    "the members, for him": lambda _, call, alice, bob: (
        call(bob, "GET", "/projects/tea-garden/members").status_code == 200
    ),
    "the invites, for him": lambda _, call, alice, bob: (
        call(bob, "GET", "/projects/tea-garden/invites").status_code == 200
    ),
    "inviting": lambda _, call, alice, bob: (
        call(bob, "POST", "/projects/tea-garden/invites", {"email": "x@example.org"}).status_code == 201
    ),
    "inviting him": lambda _, call, alice, bob: (
        call(alice, "POST", "/projects/tea-garden/invites", {"email": "bob@example.org"}).status_code == 400
    ),
    "a preset that names the project": lambda house, *_: manages(house),
    "a list of guests": lambda house, *_: remarked(house),
    "the members as the command lists them": lambda house, *_: listed(house),
    "his own data": lambda house, *_: stored(house),
    "what the pages say of an account": lambda house, *_: shown(house),
    "whether he may use another invite": lambda house, *_: refused(house),
}


def manages(house):
    with house.writing():
        presets.create("tea", {"project": "tea-garden"})
        try:
            return bool(presets.draft({"preset": "tea"}, accounts.as_inviter(accounts.named("bob"))))
        except Invalid:
            return False


def remarked(house):
    with house.writing():
        draft = drafts.read({"email": "bob@example.org", "project": "tea-garden"})
        prepared = invites.prepare(draft, drafts.SHELL)
        return "is a member of the project already" in json.dumps(guests.remarks([(None, prepared)]))


def listed(house):
    with house.reading():
        return "bob" in {each.user.username for each in projects.members(projects.find("tea-garden"))}


def stored(house):
    with house.reading():
        return bool(own_account.account_data(accounts.named("bob"))["memberships"])


def shown(house):
    with house.reading():
        return bool(projects.memberships(accounts.named("bob")))


def refused(house):
    with house.writing():
        token = invites.token(invites.create(drafts.read({"project": "tea-garden"}), drafts.SHELL))
        return redemption.refusal_of(invites.find(token), accounts.named("bob"), token) is not None


@pytest.mark.parametrize("reading", READINGS)
def test_from_the_moment_at_which_access_ends_nothing_counts_it(house, call, alice, bob, garden, reading):
    with at(ENDS - TICK):
        assert READINGS[reading](house, call, alice, bob)
        if reading == "a preset that names the project":
            with house.writing():
                presets.delete("tea")
    with at(ENDS):
        assert not READINGS[reading](house, call, alice, bob)


def test_who_is_a_member_no_more_is_removed_by_nobody(house, call, alice, garden):
    with house.reading():
        id_ = projects.find_member(projects.find("tea-garden"), accounts.named("bob")).id
    with at(ENDS):
        assert call(alice, "DELETE", f"/projects/tea-garden/members/{id_}").json["code"] == "MEMBER_NOT_FOUND"


def test_access_counts_from_the_yes(house, alice, bob, member):
    with house.writing():
        projects.create(accounts.named("alice"), projects.ProjectDraft("Tea Garden"))
        draft = drafts.read({"project": "tea-garden", "access": "60d", "approve": "yes"})
        assert redemption.accept(invites.token(invites.create(draft, drafts.SHELL)), accounts.named("bob")).waiting_for
        use_id = invites.find_by_id(session().query(Invite).one().id).redemptions[0].id
    assert member() == []
    with at(BEGAN + 5 * clock.DAY), house.writing():
        waiting.approve(use_id)
    assert member() == [("member", ENDS + 5 * clock.DAY)]


def test_an_invite_expires_with_its_inviters_access(client, house, by_bob, care, told):
    with house.reading():
        invite = invites.find(by_bob)
        assert invite.expires_at == ENDS
    assert client.get(f"/invites/{by_bob}").status_code == 200
    with at(ENDS):
        assert client.get(f"/invites/{by_bob}").json["code"] == "INVITE_EXPIRED"
        care()
        with house.reading():
            assert invites.find(by_bob).revoked_at == ENDS
    assert told("member.expired", "invite.revoked") == [("invite.revoked", ENDS), ("member.expired", ENDS)]


def test_an_invite_by_a_preset_expires_with_its_inviters_access(house, garden):
    with house.writing():
        presets.create("tea", {"project": "tea-garden", "ttl": "300d"})
        inviter = accounts.as_inviter(accounts.named("bob"))
        assert invites.create(presets.draft({"preset": "tea"}, inviter), inviter).expires_at == ENDS


def test_nobody_extends_an_invite_beyond_its_inviters_access(house, by_bob):
    with house.writing():
        invite = invites.find(by_bob)
        changing.extend(invite, 30 * clock.DAY)
        assert invite.expires_at == BEGAN + 30 * clock.DAY
        for ttl in (90 * clock.DAY, None):
            changing.extend(invite, ttl)
            assert invite.expires_at == ENDS
    with at(ENDS), house.writing(), pytest.raises(InviteExpired):
        changing.extend(invites.find(by_bob), clock.DAY)


def test_what_others_created_there_is_as_it_was(house, garden, care, make_invite):
    token = make_invite(project="tea-garden", ttl="300d")
    with house.writing():
        own = invites.token(invites.create(drafts.read({"ttl": "300d"}), accounts.as_inviter(accounts.named("bob"))))
    with at(ENDS):
        care()
        with house.reading():
            assert [invites.find(each).state(clock.now()) for each in (token, own)] == ["active", "active"]


@pytest.mark.parametrize("tidied", [False, True])
def test_who_was_a_member_may_come_again(client, house, bob, garden, join, member, care, told, tidied):
    with at(ENDS):
        if tidied:
            care()
            assert member() == []
        join("bob", "30d")
        assert member() == [("member", ENDS + 30 * clock.DAY)]
        care()
        assert member() == [("member", ENDS + 30 * clock.DAY)]
    assert told("member.joined", "member.expired") == [
        ("member.joined", BEGAN),
        ("member.expired", ENDS),
        ("member.joined", ENDS),
    ]


@pytest.mark.parametrize("days", [0, 59, 60])
def test_a_project_is_handed_over_to_a_member_of_today_and_of_yesterday(house, garden, member, care, told, days):
    with at(BEGAN + days * clock.DAY):
        with house.writing():
            projects.hand_over("tea-garden", accounts.named("bob"))
        assert (member("bob"), member("alice")) == ([("owner", None)], [("admin", None)])
        care()
        assert member("bob") == [("owner", None)]
    assert len(told("member.joined")) == (2 if days == 60 else 1)


def test_with_an_account_its_access_is_over(house, garden, told):
    with at(ENDS), house.writing():
        accounts.remove(accounts.named("bob"))
    assert told("member.expired", "member.removed") == [("member.expired", ENDS)]


def test_access_that_is_extended_in_time_goes_on(house, garden, member, care, told):
    with at(ENDS - TICK), house.writing():
        projects.extend(projects.member("tea-garden", accounts.named("bob")), 30 * clock.DAY)
    with at(ENDS):
        care()
        assert member() == [("admin", ENDS - TICK + 30 * clock.DAY)]
    assert [each for each, _ in told("member.extended", "member.expired")] == ["member.extended"]


def test_what_was_extended_while_the_caretaker_looked_is_not_ended(house, garden, by_bob, member):
    with at(ENDS):
        with house.reading():
            found = expiry.ended()
        with house.writing():
            session().query(Member).filter_by(role="admin").one().ends_at = ENDS + clock.DAY
        with house.writing():
            expiry.end(found)
        assert member() == [("admin", ENDS + clock.DAY)]
        with house.reading():
            assert invites.find(by_bob).revoked_at is None


def test_a_shorter_access_ends_open_invites_sooner_and_a_longer_one_leaves_them(house, by_bob):
    def extended(length):
        with house.writing():
            projects.extend(projects.member("tea-garden", accounts.named("bob")), length)
            session().expire_all()
            return invites.find(by_bob).expires_at

    assert extended(90 * clock.DAY) == ENDS
    assert extended(10 * clock.DAY) == BEGAN + 10 * clock.DAY
    assert extended(None) == BEGAN + 10 * clock.DAY


BAD = {
    "the owner": (("tea-garden", "alice", "60d"), "WHO: is the owner, whose access never ends"),
    "no member": (("tea-garden", "dora", "60d"), "this account is not a member of this project"),
    "nobody": (("tea-garden", "nobody", "60d"), "no such account"),
    "no project": (("orchard", "bob", "60d"), "no such project"),
    "nothing": (("tea-garden", "bob", "0"), "ACCESS: must be between 1m and 3650d"),
    "nothing in days": (("tea-garden", "bob", "0d"), "ACCESS: must be between 1m and 3650d"),
    "more than ten years": (("tea-garden", "bob", "3651d"), "ACCESS: must be between 1m and 3650d"),
    "no length": (("tea-garden", "bob", "soon"), "ACCESS: must be a number and a unit"),
    "months or minutes": (("tea-garden", "bob", "3M"), "ACCESS: has an M"),
}


@pytest.mark.long
@pytest.mark.parametrize("what", BAD)
def test_the_command_names_what_is_wrong_and_changes_nothing(house, garden, member, invite_api, what):
    arguments, words = BAD[what]
    with house.writing():
        accounts.create(accounts.Names("dora"), HASH)
    done = invite_api("member", "extend", *arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert words in done.stderr
    assert member() == [("admin", ENDS)]


@pytest.mark.long
def test_the_command_lists_until_when_and_extends(house, garden, member, invite_api):
    rows = [each.split("\t") for each in invite_api("member", "list", "tea-garden").stdout.splitlines()]
    assert {(each[2], each[-1]) for each in rows} == {("alice", "-"), ("bob", clock.iso(ENDS))}
    listed = json.loads(invite_api("project", "members", "tea-garden", "--json").stdout)
    assert {each["ends_at"] for each in listed} == {None, clock.iso(ENDS)}
    assert invite_api("member", "extend", "tea-garden", "bob", "never").returncode == 0
    assert member() == [("admin", None)]
    began = clock.now()
    assert invite_api("member", "extend", "tea-garden", "bob@example.org", "12 weeks").returncode == 0
    ((_, ends_at),) = member()
    assert abs(ends_at - began - 12 * clock.WEEK) < clock.DAY


@pytest.mark.parametrize(
    "wanted", [{"access": "30d"}, {"access": "0", "project": "x"}, {"access": "11 years", "project": "x"}]
)
def test_an_access_that_no_invite_may_have_is_named(house, wanted):
    with house.writing(), pytest.raises(Invalid) as refused:
        invites.create(drafts.read(wanted), drafts.SHELL)
    assert [each.field for each in refused.value.problems] == ["access"]


def test_hitkeys_list_says_until_when(call, alice, garden):
    listed = call(alice, "GET", "/projects/tea-garden/members").json
    assert {(each["role"], each["ends_at"]) for each in listed} == {("owner", None), ("admin", clock.iso(ENDS))}


@pytest.fixture
def admin(client, root):
    """A browser in which an admin of the site is signed in."""
    browser = Browser(client)
    assert browser.sign_in("root").status_code == 303
    return browser


def test_the_pages_say_until_when_and_an_admin_changes_it(client, house, admin, garden, member):
    day = f"{ENDS.day} {ENDS:%B %Y}"
    assert day in client.get("/admin/projects/tea-garden").text
    with house.reading():
        bob = accounts.named("bob").id
    assert f"(admin until {day})" in client.get(f"/admin/people/{bob}").text
    done = admin.post("/admin/projects/tea-garden/extend", who="bob@example.org", access="never")
    assert done.location == "/admin/projects/tea-garden?done=access"
    assert "Access changed." in client.get(done.location).text
    assert member() == [("admin", None)]
    assert "(admin)" in client.get(f"/admin/people/{bob}").text
    client.delete_cookie("session")
    admin.post("/logout")
    Browser(client).sign_in("bob")
    assert "Tea Garden</bdi> (admin)" in client.get("/account").text


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"who": "bob", "access": ""}, "Is missing."),
        ({"who": "", "access": "60d"}, "Is missing."),
        ({"who": "bob", "access": "0"}, "Must be between 1m and 3650d."),
        ({"who": "alice", "access": "60d"}, "Is the owner, whose access never ends: name another owner first."),
        ({"who": "root", "access": "60d"}, "Is not a member of this project."),
        ({"who": "nobody", "access": "60d"}, "Is not a member of this project."),
    ],
)
def test_the_page_names_what_is_wrong_and_changes_nothing(admin, garden, member, given, words):
    refused = admin.post("/admin/projects/tea-garden/extend", **given)
    assert refused.status_code in (404, 422)
    assert words in refused.text
    assert member() == [("admin", ENDS)]


@pytest.mark.parametrize(
    ("language", "length", "fact"),
    [
        ("en", "30d", "After you join, you can use Tea Garden for 30 days."),
        ("en", "1d", "After you join, you can use Tea Garden for 1 day."),
        ("de", "30d", "Nach dem Beitritt kannst du Tea Garden 30 Tage lang nutzen."),
        ("de", "1d", "Nach dem Beitritt kannst du Tea Garden 1 Tag lang nutzen."),
    ],
)
def test_the_guest_sees_how_long_access_lasts(client, house, garden, language, length, fact):
    with house.writing():
        given = {"project": "tea-garden"}
        tokens = [
            invites.create_token(drafts.read({**given, **more}), drafts.SHELL) for more in ({"access": length}, {})
        ]
    shown = [fact in seen(client.get(f"/invite?{each}", headers={"Accept-Language": language})) for each in tokens]
    assert shown == [True, False]


def test_an_admin_removes_a_member_on_the_page_of_the_project(client, house, admin, member, by_bob):
    page, path = client.get("/admin/projects/tea-garden"), "/admin/projects/tea-garden/members"
    with house.reading():
        ids = {name: accounts.named(name).id for name in ("alice", "bob")}
    assert f'action="{path}/{ids["bob"]}/remove"' in page.text
    assert f'action="{path}/{ids["alice"]}/remove"' not in page.text
    assert "Cannot be removed: change the owner first" in page.text
    done = admin.post(f"{path}/{ids['bob']}/remove")
    assert done.location == "/admin/projects/tea-garden?done=removed"
    assert "Member removed." in client.get(done.location).text
    assert member() == []
    with house.reading():
        assert [each.type for each in timeline.newest(Filter(user_id=ids["bob"]), None, 1)] == ["member.removed"]
        assert invites.find(by_bob).revoked_at
    assert client.get("/admin/activity?type=member.removed").text.count("from the project") == 1
    assert admin.post(f"{path}/{ids['bob']}/remove").status_code == 404


def test_the_owner_is_not_removed_on_the_page_of_the_project(house, admin, garden, member):
    with house.reading():
        alice = accounts.named("alice").id
    refused = admin.post(f"/admin/projects/tea-garden/members/{alice}/remove")
    assert refused.status_code == 403
    assert member("alice") == [("owner", None)]


@pytest.fixture
def letters(house):
    """The mails about ending access: to whom, and what became of each."""

    def look():
        with house.reading():
            found = session().query(Letter).filter_by(kind="ending").order_by(Letter.created_at)
            return [(each.recipient, each.state) for each in found]

    return look


WARNED = ENDS - 3 * clock.DAY


def test_three_days_before_it_ends_a_member_is_mailed_once(garden, care, letters):
    with at(WARNED - TICK):
        care()
        assert letters() == []
    for moment in (WARNED, WARNED + clock.DAY, ENDS - TICK, ENDS):
        with at(moment):
            care()
        assert letters() == [("bob@example.org", "waiting")]


def no_address(house):
    bob = accounts.named("bob")
    bob.email = bob.email_verified_at = None


def disabled(house):
    accounts.disable(accounts.named("bob"))


def never(house):
    projects.extend(projects.member("tea-garden", accounts.named("bob")), None)


@pytest.mark.parametrize("change", [no_address, disabled, never])
def test_who_cannot_be_mailed_or_stays_is_not(house, garden, care, letters, member, change):
    with house.writing():
        change(house)
    with at(WARNED):
        care()
        assert letters() == []
        with house.reading():
            assert expiry.ending() == []


@pytest.mark.parametrize(("access", "mailed"), [("144h", True), ("143h", False), ("1h", False)])
def test_an_access_of_less_than_six_days_is_not_announced(
    house, alice, garden, charlie, join, care, letters, access, mailed
):
    join("charlie", access)
    hours = int(access[:-1])
    with at(BEGAN + max(hours - 72, 0) * clock.HOUR):
        care()
    assert letters() == ([("charlie@example.org", "waiting")] if mailed else [])


def extended(length):
    def change(house):
        projects.extend(projects.member("tea-garden", accounts.named("bob")), length)

    return change


def removed(house):
    owner = projects.of_manager("tea-garden", accounts.named("alice"))
    projects.remove(owner, projects.find_member(owner.project, accounts.named("bob")).id)


def moved(house):
    accounts.named("bob").email = "other@example.org"


@pytest.mark.parametrize("change", [extended(None), extended(60 * clock.DAY), removed, disabled, moved])
def test_a_mail_that_is_no_longer_true_is_dropped(house, smtp, mailbox, garden, care, letters, settings, change):
    with at(WARNED):
        care()
        with house.writing():
            change(house)
        with in_force(make_settings(settings.instance, SMTP_URL=smtp)):
            while deliver_one(house):
                pass
    assert letters() == [("bob@example.org", "dropped")]
    assert mailbox.mails == []


def test_after_an_extension_the_next_end_is_announced(house, garden, care, letters):
    with at(WARNED):
        care()
        with house.writing():
            extended(30 * clock.DAY)(house)
    with at(WARNED + 27 * clock.DAY - TICK):
        care()
        assert len(letters()) == 1
    with at(WARNED + 27 * clock.DAY):
        care()
        assert len(letters()) == 2


WORDS = {
    "en": ("Your access to Tea Garden ends on {day}", "To stay longer, ask the owner of the project before that day."),
    "de": ("Dein Zugang zu Tea Garden endet am {day}", "Wenn du länger bleiben willst, frag vorher"),
}


@pytest.mark.parametrize("language", WORDS)
def test_what_the_mail_says(house, smtp, mailbox, garden, care, settings, letters, language):
    import language as languages

    day = languages.named(language).day(ENDS)
    subject, advice = (each.format(day=day) for each in WORDS[language])
    with at(WARNED):
        care()
        with in_force(make_settings(settings.instance, SMTP_URL=smtp, LANGUAGE=language)):
            assert deliver_one(house)
    (mail,) = mailbox.mails
    assert (mail["To"], mail["Subject"]) == ("bob@example.org", subject)
    text, html = (mail.get_body((each,)).get_content() for each in ("plain", "html"))
    for each in (text, html):
        assert languages.named(language).moment(ENDS) in each
        assert "Tea Garden" in each
        assert advice in each
    assert f'lang="{language}"' in html
    assert "http" not in text
    assert letters() == [("bob@example.org", "sent")]


def test_in_a_mail_the_name_of_a_project_is_no_link(house, smtp, mailbox, garden, care, settings):
    with house.writing():
        projects.find("tea-garden").name = "Free money at evil.example.org/<b>"
    with at(WARNED):
        care()
        with in_force(make_settings(settings.instance, SMTP_URL=smtp)):
            assert deliver_one(house)
    assert "evil.example" not in mailbox.mails[0].as_string()
    assert "<b>" not in mailbox.mails[0].get_body(("html",)).get_content()


def test_many_that_end_at_once_end_one_after_the_other(house, garden, join, care, member):
    with house.writing():
        made = invites.create(drafts.read({"project": "tea-garden", "access": "60d", "uses": 25}), drafts.SHELL)
        for number in range(25):
            redemption.accept(invites.token(made), accounts.create(accounts.Names(f"guest{number}"), HASH))
    with at(WARNED):
        care()
    with at(ENDS):
        care()
        with house.reading():
            assert session().query(Member).count() == 1
