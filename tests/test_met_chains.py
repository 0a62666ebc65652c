"""What several ordinary steps, one after the other, once led to: each is named after what went wrong."""

import pytest
import time_machine

import clock
from conftest import HASH, PASSWORD, make_settings, settings_with_mail
from models import Code, Delivery, Event, Invite, Member
from rules import (
    accounts,
    budgets,
    changing,
    deliveries,
    drafts,
    gate,
    invites,
    keys,
    own_invites,
    presets,
    projects,
    redemption,
    registration,
    tokens,
    waiting,
    webhooks,
)
from rules.accounts import Names
from rules.drafts import SHELL
from rules.refusals import Invalid, MayNotInvite, NoCode, NotAllowed, NotProjectMember
from rules.webhooks import Wanted
from settings import in_force
from upkeep import caretaker

BOSS = "boss@example.org"
settings = settings_with_mail(REGISTRATION="open", ADMIN_EMAILS=BOSS)


@pytest.fixture
def garden(house, alice):
    """Alice's project; its slug."""
    with house.writing():
        return projects.create(accounts.named("alice"), projects.ProjectDraft("Garden")).slug


def invited(name, **given):
    """Let an account create an invite; its id."""
    draft = drafts.read({"email": "sock@example.net", **given}, given.pop("makes_admin", False))
    return invites.create(draft, accounts.as_inviter(accounts.named(name))).id


# Rights that ended


def test_a_former_admin_revives_no_invite_that_makes_one(house, root, alice, garden):
    with house.writing():
        of_site = invited("root", ttl="1m", makes_admin=True)
        of_project = invited("root", ttl="1m", project=garden, role="admin")
    with time_machine.travel(clock.now() + clock.HOUR):
        with house.writing():
            accounts.named("root").admin_at = None  # as an address that is taken out of INVITE_API_ADMIN_EMAILS
        for each, refusal in ((of_site, NotAllowed), (of_project, NotProjectMember)):
            with house.writing(), pytest.raises(refusal):
                own_invites.resend(accounts.named("root"), each)
        with house.reading() as unit:
            states = {each.state(clock.now()) for each in unit.session.query(Invite)}
            assert states == {"expired"}


def test_with_the_ownership_goes_the_right_to_appoint(house, client, alice, charlie, garden):
    invite = client.post(
        f"/projects/{garden}/invites", json={"email": "a@example.org", "role": "admin"}, headers=alice.bearer
    )
    plain = client.post(f"/projects/{garden}/invites", json={"email": "b@example.org"}, headers=alice.bearer)
    assert (invite.status_code, plain.status_code) == (201, 201)
    with house.writing():
        assert projects.hand_over(garden, accounts.named("charlie")) == 1
    with house.reading() as unit:
        states = {each.email: each.state(clock.now()) for each in unit.session.query(Invite)}
    assert states == {"a@example.org": "revoked", "b@example.org": "active"}


def test_an_admin_of_the_site_invites_to_a_project_by_a_preset_without_end(house, client, root):
    with house.writing():
        slug = projects.create(accounts.named("root"), projects.ProjectDraft("Garden")).slug
        presets.create("forever", {"ttl": "never"})
    body = {"email": "a@example.org", "preset": "forever"}
    assert client.post(f"/projects/{slug}/invites", json=body, headers=root.bearer).status_code == 201


def test_an_invite_that_makes_an_admin_is_valid_no_longer_than_others(tmp_path, house, settings):
    with in_force(make_settings(tmp_path / "instance", INVITE_TTL="1h", INVITE_TTL_MAX="2h")), house.writing():
        made = invites.create(drafts.read({}, makes_admin=True), SHELL)
        assert made.expires_at - made.created_at == 2 * clock.HOUR


# Guests who are not let in yet


@pytest.mark.parametrize("answer", [None, "deny"])
def test_who_waits_for_a_yes_or_got_a_no_invites_nobody(house, client, make_invite, answer):
    token = make_invite(approve=True, uses=5)
    with house.writing():
        user, used = accounts.register(token, Names("dora"), HASH)
        use = redemption.use_of(invites.find(token), user)
        assert used.waiting_for == "approval"
        if answer:
            waiting.deny(use.id)
    with house.writing(), pytest.raises(MayNotInvite):
        budgets.spend(accounts.named("dora"), 1)
    with house.reading():
        assert budgets.left(accounts.named("dora")).places == 0


def test_who_was_let_in_and_who_came_otherwise_invite(house, make_invite, charlie):
    token = make_invite(approve=True, uses=5)
    with house.writing():
        user, _ = accounts.register(token, Names("dora"), HASH)
        waiting.approve(redemption.use_of(invites.find(token), user).id)
    with time_machine.travel(clock.now() + clock.HOUR), house.writing():
        redemption.accept(token, accounts.named("charlie"))  # whom the shell created, and who waits
        for name in ("dora", "charlie"):
            budgets.spend(accounts.named(name), 1)


def test_a_disabled_account_gives_back_what_waits_for_it(house, make_invite):
    token = make_invite(email="@corp.example", uses=1)
    with house.writing():
        accounts.register(token, Names("dora", "dora@corp.example"), HASH)
        assert invites.find(token).uses == 1
        accounts.disable(accounts.named("dora"))
        assert (invites.find(token).uses, invites.find(token).waiting) == (0, 0)


# Names, addresses and ids


def test_the_name_of_one_account_is_not_the_beginning_of_anothers_id(house, alice):
    with house.writing():
        meant = accounts.named("alice").id
        accounts.create(Names(meant[:8]), HASH)
    with house.reading():
        with pytest.raises(Invalid, match="whole id"):
            accounts.named(meant[:8])
        assert accounts.named(meant).username == "alice"


def test_an_address_that_makes_an_admin_is_registered_with_the_ticket_alone(house):
    for email, is_enough in (("nora@example.org", True), (BOSS, False)):
        with house.writing():
            registration.start(email)
        with house.reading() as unit:
            code = unit.session.query(Code).filter_by(email=email, purpose="register").one()
            digits, code_id = tokens.mail_code(code.nonce), code.id
        with house.writing():
            shown = registration.ticket(registration.check(code_id, 1, digits, "192.0.2.1"))
        with house.writing():
            if is_enough:
                assert registration.complete(email, HASH, "192.0.2.1", None).email == email
            else:
                with pytest.raises(NoCode):
                    registration.complete(email, HASH, "192.0.2.1", None)
                assert registration.complete(email, HASH, "192.0.2.9", shown).email == email


def test_prosodys_form_names_an_address_that_is_looked_at(client, house, make_invite):
    form = {"user": "dora", "password": PASSWORD, "token": make_invite(email="anne@example.org")}
    refused = client.post("/register", data={**form, "email": "eve@example.org"})
    assert refused.status_code == 422
    assert client.post("/register", data={**form, "email": "anne@example.org"}).status_code == 200
    with house.reading():
        assert accounts.named("dora").email == "anne@example.org"


def test_a_form_of_others_is_told_as_nobodys_though_a_cookie_comes_along(house, browser, make_invite):
    browser.sign_in("alice")
    form = {"user": "dora", "password": PASSWORD, "token": make_invite()}
    assert browser.client.post("/register", data=form).status_code == 200
    with house.reading() as unit:
        made = unit.session.query(Event).filter_by(type="user.created").order_by(Event.number.desc()).first()
        assert made.actor == "dora"


# Projects and presets


def test_a_deleted_project_takes_its_presets_along(house, garden, charlie, client):
    with house.writing():
        presets.create("family", {"project": garden})
        key = keys.create("bound", preset="family")
        projects.delete(garden)
        projects.create(accounts.named("charlie"), projects.ProjectDraft("Garden"))  # who gets the same slug
    assert client.get("/invites_api", headers={"Authorization": f"Bearer {key}"}).status_code == 400


def test_an_expiry_that_is_brought_forward_with_its_inviters_access_is_told(house, alice, charlie, garden):
    with house.writing() as unit:
        project = projects.find(garden)
        member = Member(
            id=clock.new_id(), project=project, user=accounts.named("charlie"), role="admin", joined_at=clock.now()
        )
        unit.session.add(member)
        unit.session.flush()
        invite_id = invited("charlie", project=garden)
        projects.extend(member, clock.DAY)
        told = [each.type for each in unit.session.query(Event).filter_by(invite_id=invite_id).order_by(Event.number)]
    assert told == ["invite.created", "invite.changed"]


# Uses


def test_what_is_used_is_not_revoked(house, make_invite, use):
    token = make_invite()
    use(token)
    with house.writing() as unit:
        changing.revoke(invites.find(token))
        assert invites.find(token).revoked_at is None
        assert unit.session.query(Event).filter_by(type="invite.revoked").count() == 0


def test_who_is_a_member_meanwhile_is_told_so_and_not_that_it_waits(house, client, make_invite, charlie, garden):
    asked, other = make_invite(approve=True, project=garden), make_invite(project=garden)
    assert client.post(f"/invites/{asked}/accept", headers=charlie.bearer).status_code == 202
    assert client.post(f"/invites/{other}/accept", headers=charlie.bearer).status_code == 200
    again = client.post(f"/invites/{asked}/accept", headers=charlie.bearer)
    assert (again.status_code, again.json["code"]) == (400, "ALREADY_MEMBER")


# Programs


def test_when_a_key_that_only_reads_was_used_is_stored_later(house, client, root):
    with house.writing():
        key = keys.create("reader", may=["read"])
    asked = clock.now()
    assert client.get("/v1/invites", headers={"Authorization": f"Bearer {key}"}).status_code == 200
    serving = client.application.extensions["invite_api"].database
    caretaker.end_some(serving)
    with house.reading():
        (kept,) = [each for each in keys.newest() if each.name == "reader"]
        assert kept.last_used_at >= asked
    assert not caretaker.end_some(serving)


@pytest.mark.parametrize("before", ["", " ", "\n", "\t", "\N{BYTE ORDER MARK}"])
def test_json_that_says_it_is_a_form_is_refused_whatever_stands_before_it(client, key, stored, before):
    body = f'{before}{{"email": "anne@example.org"}}'.encode()
    sent = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-www-form-urlencoded"}
    assert client.post("/invites_api", data=body, headers=sent).status_code == 415
    assert stored() == []


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", ""])
def test_rights_are_refused_in_a_form_of_any_type(client, house, make_invite, kind):
    body = f"user=dora&password={PASSWORD}&token={make_invite()}&makes_admin=1"
    answer = client.post("/register", data=body.replace(" ", "+"), headers={"Content-Type": kind})
    assert answer.status_code == 422
    with house.reading():
        assert accounts.find("dora") is None


@pytest.mark.parametrize("length", ["999999999w", "99999999999999d"])
def test_a_length_that_no_calendar_has_is_refused(client, key, length):
    headers = {"Authorization": f"Bearer {key}"}
    assert client.get("/invites_api", query_string={"ttl": length}, headers=headers).status_code == 400
    assert client.post("/v1/invites", json={"ttl": length}, headers=headers).status_code == 400


def test_one_key_without_a_field_and_with_null_are_one_request(client, key):
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": "one"}
    first = client.post("/v1/invites", json={"name": "Anne"}, headers=headers)
    again = client.post("/v1/invites", json={"name": "Anne", "email": None}, headers=headers)
    assert (first.status_code, again.status_code, again.headers["Idempotency-Replayed"]) == (201, 201, "true")


def test_a_webhook_works_with_its_new_secret_when_the_old_one_is_lost(house, tmp_path, settings):
    with house.writing():
        id_ = webhooks.create(Wanted("https://hooks.example.org/in"), 0)[0].id
    with in_force(make_settings(tmp_path / "instance", SECRET_KEY="x" * 40)), house.writing():
        webhook = webhooks.named_locked(id_)
        webhooks.rotate(webhook)
        assert len(webhooks.signature(webhook, "id", 1, b"{}").split()) == 1


def test_what_waits_while_a_webhook_is_disabled_is_kept_though_events_are_forgotten(tmp_path, house, key):
    with in_force(make_settings(tmp_path / "instance", EVENTS_KEPT="1m")):
        with house.writing() as unit:
            kept, _ = webhooks.create(Wanted("https://hooks.example.org/in"), 0)
            happened = unit.session.query(Event).order_by(Event.number.desc()).first()
            facts = {"type": happened.type, "happened_at": happened.at, "created_at": clock.now(), "due_at": None}
            unit.session.add(Delivery(id=clock.new_id(), webhook_id=kept.id, event=happened.number, **facts))
            kept.seen = happened.number + 10
        with house.reading():
            assert deliveries.needed_from() == happened.number


# What costs others their time


def test_the_gate_verifies_few_of_many_passes(house, client, garden):
    at = "https://photos.example.org"
    with house.writing():
        gate.set_origins(garden, [at])
    name = gate.cookie_name("pass", garden, at)
    shown = "; ".join(f"{name}=wrong{number}" for number in range(500))
    before = gate._signed.cache_info().misses
    asked = {"X-Forwarded-Host": "photos.example.org", "X-Forwarded-Proto": "https", "Cookie": shown}
    assert client.get(f"/gate/{garden}", headers=asked).status_code in (401, 302)
    assert gate._signed.cache_info().misses - before <= gate.MAX_SHOWN
