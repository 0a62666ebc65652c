"""Webhooks: what is sent, how it is signed, when it is tried again, and who is told that one was disabled."""

import json

import pytest
import time_machine
from sqlalchemy import func, select
from standardwebhooks.webhooks import Webhook as Verifier
from standardwebhooks.webhooks import WebhookVerificationError

import clock
from conftest import HASH, MAILS, make_settings
from delivery import courier, mail
from models import Delivery, Event, Invite, Letter, Webhook
from receiver import answer, listening
from rules import accounts, changing, deliveries, drafts, events, invites, projects, timeline, webhooks
from rules.refusals import DeliveryNotFound, Invalid, WebhookCreated, WebhookDisabled, WebhookNotFound
from rules.webhooks import Wanted
from settings import in_force
from upkeep import caretaker


@pytest.fixture
def settings(tmp_path):
    with in_force(make_settings(tmp_path / "instance", SMTP_URL=MAILS, ADMIN_EMAILS="root@example.org")) as chosen:
        yield chosen


@pytest.fixture
def receiver():
    with listening() as receiver:
        yield receiver


@pytest.fixture
def create(house, receiver):
    """Create a webhook to the receiver; its id and its secret."""

    def create(url=None, **wanted):
        settled = house.settled()
        with house.writing():
            made, secret = webhooks.create(
                Wanted(url or receiver.url, private=True, **wanted), timeline.last_number(settled)
            )
            return made.id, secret

    return create


@pytest.fixture
def deliver(house):
    """Send what is due; how many deliveries were tried, by the log."""

    def tries():
        with house.reading() as unit:
            return unit.session.scalar(select(func.sum(Delivery.attempts))) or 0

    def until_none_is_due():
        while courier.dispatch(house):
            pass
        before = tries()
        while courier.deliver_some(house):
            pass
        return tries() - before

    return until_none_is_due


@pytest.fixture
def log(house):
    """The log of deliveries, the oldest event first: type, state, status and tries of each."""

    def look():
        with house.reading() as unit:
            rows = unit.session.scalars(select(Delivery).order_by(Delivery.event)).all()
            return [(each.type, each.state, each.status, each.attempts) for each in rows]

    return look


@pytest.fixture
def state(house):
    """How a webhook is."""

    def look(id_):
        with house.reading():
            return webhooks.named(id_).state

    return look


def test_what_happens_is_sent_signed_and_says_what_it_is_about(house, receiver, create, deliver, log):
    with house.writing():
        anne = accounts.create(accounts.Names("anne", "anne@example.org", "Anne"), HASH)
        projects.create(anne, projects.ProjectDraft("Tea Garden"))
    _, secret = create()
    with house.writing():
        draft = drafts.read({"name": "Dora", "project": "tea-garden", "data": '{"seat": 12}', "note": "window"})
        invite = invites.create(draft, accounts.as_inviter(accounts.named("anne")))
        token = invites.token(invite)
        accounts.register(token, accounts.Names("dora", "dora@example.org"), HASH)
        dora = accounts.named("dora").id
    assert deliver() == 5
    told = [each.verified(secret) for each in receiver.got]
    assert [each["type"] for each in told] == [
        "webhook.created",
        *("invite.created", "user.created", "invite.used", "member.joined"),
    ]
    joined = told[-1]
    assert joined["data"]["event"]["actor"] == "dora"
    assert joined["data"]["event"]["id"] == receiver.got[-1].id
    assert joined["timestamp"] == joined["data"]["event"]["at"]
    assert joined["data"]["user"] == {
        **{"id": dora, "username": "dora", "name": "dora"},
        **{"email": "dora@example.org", "email_verified": False},
    }
    assert joined["data"]["project"]["slug"] == "tea-garden"
    used = told[3]["data"]
    assert used["invite"] | {"state": "used", "name": "Dora", "note": "window", "uses": 1} == used["invite"]
    assert used["data"] == {"seat": 12}
    assert token not in str(told)
    assert all(state == "sent" and status == 204 for _, state, status, _ in log())
    (headers,) = {tuple(each.headers) for each in receiver.got}
    assert {"host", "user-agent", "content-type", "webhook-id", "webhook-timestamp", "webhook-signature"} <= {*headers}


def test_an_act_that_is_rolled_back_sends_nothing(house, receiver, create, deliver, make_invite):
    create(types="invite")
    with pytest.raises(ZeroDivisionError), house.writing():
        invites.create(drafts.read({}), drafts.SHELL)
        1 / 0  # noqa: B018
    assert deliver() == 0
    make_invite()
    assert deliver() == 1
    assert len(receiver.got) == 1


def test_what_happened_before_it_was_created_is_not_sent(receiver, create, deliver, make_invite):
    make_invite()
    create(types="invite")
    assert deliver() == 0


def test_only_the_types_and_the_project_that_were_asked_for_are_sent(house, receiver, create, deliver, make_invite):
    with house.writing():
        anne = accounts.create(accounts.Names("anne"), HASH)
        for name in ("Garden", "Shed"):
            projects.create(anne, projects.ProjectDraft(name))
    create(types=" Invite.created , member ", project="garden")
    for slug in ("garden", "shed", None):
        make_invite(**({"project": slug} if slug else {}))
    with house.writing() as unit:
        for each in unit.session.scalars(select(Invite)).all():
            changing.revoke(each)
    assert deliver() == 1
    assert json.loads(receiver.got[0].body)["data"]["project"]["slug"] == "garden"
    with house.reading():
        assert webhooks.newest()[0].types == "invite.created,member"


@pytest.mark.parametrize(
    ("wanted", "field"),
    [({"types": "zebra"}, "types"), ({"types": "invite.use"}, "types"), ({"url": "https://127.0.0.1/"}, "url")],
)
def test_what_cannot_be_is_refused_by_its_name(house, wanted, field):
    with house.writing(), pytest.raises(Invalid) as refused:
        webhooks.create(Wanted(**{"url": "https://app.example.org/", **wanted}), 0)
    assert [each.field for each in refused.value.problems] == [field]


def test_a_form_that_is_sent_twice_creates_one(house):
    with house.writing():
        webhooks.create(Wanted("https://app.example.org/"), 0, "once-and-once")
        with pytest.raises(WebhookCreated):
            webhooks.create(Wanted("https://app.example.org/"), 0, "once-and-once")


# Signing


def test_both_secrets_sign_for_a_day_after_a_rotation_and_then_the_new_one_alone(
    house, receiver, create, deliver, make_invite
):
    id_, old = create(types="invite")
    with house.writing():
        new = webhooks.rotate(webhooks.named_locked(id_))
    make_invite()
    deliver()
    for secret in (old, new):
        assert receiver.got[-1].verified(secret)["type"] == "invite.created"
    assert len(receiver.got[-1].headers["webhook-signature"].split()) == 2
    with time_machine.travel(clock.now() + clock.DAY + clock.SECOND):
        make_invite()
        deliver()
        assert receiver.got[-1].verified(new)
        with pytest.raises(WebhookVerificationError):
            receiver.got[-1].verified(old)


def test_of_three_secrets_the_newest_two_sign(house, receiver, create, deliver, make_invite):
    id_, first = create(types="invite")
    with house.writing():
        second, third = (webhooks.rotate(webhooks.named_locked(id_)) for _ in "12")
    make_invite()
    deliver()
    assert receiver.got[-1].verified(second) == receiver.got[-1].verified(third)
    with pytest.raises(WebhookVerificationError):
        receiver.got[-1].verified(first)


def test_a_changed_body_or_id_is_not_verified(receiver, create, deliver, make_invite):
    """A control: the library does look."""
    _, secret = create(types="invite")
    make_invite()
    deliver()
    got = receiver.got[0]
    for body, headers in ((got.body + b" ", got.headers), (got.body, {**got.headers, "webhook-id": "x"})):
        with pytest.raises(WebhookVerificationError):
            Verifier(secret).verify(body, dict(headers))


def test_secrets_live_on_under_a_fallback_and_without_one_the_log_says_so(
    house, tmp_path, receiver, create, deliver, make_invite, log, settings
):
    _, secret = create(types="invite")
    former = settings.secrets[0].decode()
    make_invite()
    with in_force(make_settings(tmp_path / "instance", SECRET_KEY="x" * 40, SECRET_KEY_FALLBACKS=former)):
        deliver()
    assert receiver.got[-1].verified(secret)
    with in_force(make_settings(tmp_path / "instance", SECRET_KEY="x" * 40)):
        make_invite()
        assert deliver() == 1
    assert (len(receiver.got), log()[-1]) == (1, ("invite.created", "waiting", None, 1))
    with house.reading() as unit:
        assert "secret" in unit.session.scalars(select(Delivery.last_error).order_by(Delivery.event)).all()[-1]


def test_neither_a_secret_nor_a_name_lies_in_the_database(house, create, deliver, make_invite, at_rest, caplog):
    id_, secret = create()
    make_invite(name="Zebediah")
    with house.writing():
        new = webhooks.rotate(webhooks.named_locked(id_))
    deliver()
    house.close()
    stored = at_rest()
    assert id_.encode() in stored
    for each in (secret, new):
        bare = Verifier(each)._whsecret
        for form in (each.encode(), bare, bare.hex().encode(), each.removeprefix("whsec_").encode()):
            assert form not in stored
        assert each not in caplog.text
    assert stored.count(b"Zebediah") == 1  # in the invite


def test_an_erased_person_is_told_of_without_a_name(house, receiver, create, deliver, at_rest):
    with house.writing():
        user = accounts.create(accounts.Names("zebediah", "zebediah@example.org"), HASH)
    create(types="user")
    receiver.usual = 500
    with house.writing():
        accounts.disable(accounts.named("zebediah"))
    deliver()
    assert b"zebediah" in receiver.got[-1].body
    with house.writing():
        accounts.remove(accounts.named("zebediah"))
    receiver.usual = 204
    with time_machine.travel(clock.now() + clock.MINUTE):
        assert deliver() == 2
    for each in receiver.got[-2:]:
        assert b"zebediah" not in each.body
        assert json.loads(each.body)["data"]["user"] | {"id": user.id, "username": None, "email": None}
    house.close()
    assert b"zebediah" not in at_rest()


def test_a_body_has_at_most_16_kilobytes(house, receiver, create, deliver):
    create(types="invite")
    wide, high = "𝔐" * 100, "\N{HORSE}" * 500
    given = {
        **{
            "name": "M" * 100,
            "message": high,
            "note": high + high,
            "redirect_url": "https://example.org/" + "x" * 1900,
        },
        **{"data": json.dumps({"x": "y" * 2000}), "email": f"{'a' * 60}@{'b' * 60}.example.org"},
    }
    with house.writing():
        inviter = accounts.create(accounts.Names("anne", display_name=wide), HASH)
        invites.create(drafts.read(given), accounts.as_inviter(inviter))
    assert deliver() == 1
    assert 8000 < len(receiver.got[0].body) <= 16 * 1024


# Tries

HOURS = [clock.HOUR * each for each in (2, 5, 10, 14, 20, 24)]
PLAN = [5 * clock.SECOND, 5 * clock.MINUTE, 30 * clock.MINUTE, *HOURS]


def test_what_is_not_taken_is_tried_ten_times_with_the_same_id_over_three_days(
    house, receiver, create, deliver, make_invite, log
):
    _, secret = create(types="invite")
    make_invite()
    receiver.usual = 500
    now = clock.now()
    for number, wait in enumerate([*PLAN, None], 1):
        with time_machine.travel(now, tick=False):
            assert deliver() == 1
            assert log() == [("invite.created", "waiting" if wait else "failed", 500, number)]
            assert receiver.got[-1].verified(secret)
            with house.reading() as unit:
                due = unit.session.scalar(select(Delivery.due_at))
        if wait is None:
            assert due is None
        else:
            assert 0.8 * wait <= due - now <= 1.2 * wait + clock.SECOND
            with time_machine.travel(due - clock.SECOND, tick=False):
                assert deliver() == 0
            now = due + clock.SECOND
    assert len({each.id for each in receiver.got}) == 1
    assert len({each.headers["webhook-timestamp"] for each in receiver.got}) == 10
    with time_machine.travel(now + clock.WEEK):
        assert deliver() == 0


def test_tries_that_failed_together_are_not_all_tried_again_together(house, receiver, create, deliver, make_invite):
    create(types="invite")
    for _ in range(20):
        make_invite()
    receiver.usual = 500
    with time_machine.travel(clock.now(), tick=False):
        deliver()
    with house.reading() as unit:
        assert len(set(unit.session.scalars(select(Delivery.due_at)))) > 10


@pytest.mark.parametrize(
    ("asked", "wait"),
    [
        ("60", clock.MINUTE),
        ("1", 4 * clock.SECOND),
        ("999999", clock.DAY),
        ("Sun, 29 Nov 2026 14:00:00 GMT", 2 * clock.HOUR),
        ("Sun, 29 Nov 2026 11:00:00 GMT", 4 * clock.SECOND),
        ("soon", 4 * clock.SECOND),
    ],
)
def test_retry_after_counts_between_the_plan_and_a_day(house, receiver, create, deliver, make_invite, asked, wait):
    with time_machine.travel("2026-11-29T12:00:00Z", tick=False):
        create(types="invite")
        make_invite()
        receiver.moods.append(answer(429, f"Retry-After: {asked}"))
        deliver()
        with house.reading() as unit:
            due = unit.session.scalar(select(Delivery.due_at)) - clock.now()
    assert wait <= due <= max(wait, 6 * clock.SECOND) + clock.SECOND


def test_a_redirect_is_a_failure_and_is_not_followed(receiver, create, deliver, make_invite, log):
    create(types="invite")
    make_invite()
    with listening() as elsewhere:
        receiver.moods.append(answer(301, f"Location: {elsewhere.url}"))
        assert deliver() == 1
        assert elsewhere.got == []
    assert log() == [("invite.created", "waiting", 301, 1)]


def test_410_disables_and_the_admins_are_mailed(house, receiver, create, deliver, make_invite, state, settings):
    with house.writing():
        anne = accounts.create(accounts.Names("anne", "anne@example.org"), HASH)
        accounts.set_admin(anne, True)
        accounts.create(accounts.Names("root", "root@example.org"), HASH, proven=True)
        accounts.create(accounts.Names("bob", "bob@example.org"), HASH, proven=True)
        accounts.set_admin(accounts.create(accounts.Names("nobody"), HASH), True)
    id_, _ = create(types="invite", url=f"{receiver.url}/with-a-secret-in-it")
    make_invite()
    receiver.usual = 410
    deliver()
    assert state(id_) == "disabled"
    make_invite()
    assert deliver() == 0
    with house.reading() as unit:
        letters = unit.session.scalars(select(Letter).where(Letter.kind == "webhook").order_by(Letter.recipient)).all()
        assert [each.recipient for each in letters] == ["anne@example.org", "root@example.org"]
        written = [mail.compose(each) for each in letters]
        happened = unit.session.scalars(select(Event).where(Event.type == "webhook.disabled")).one()
        assert json.loads(happened.facts) == {"webhook": id_, "why": "gone"}
        assert happened.actor == "invite-api"
    assert written[0]["Subject"] == "The webhook to 127.0.0.1 was disabled"
    text = written[0].get_body(("plain",)).get_content()
    assert "says that it is gone" in text
    assert f"/admin/webhooks/{id_}" in text
    assert "with-a-secret-in-it" not in text
    with house.writing():
        webhooks.enable(webhooks.named_locked(id_))
    with house.reading() as unit:
        assert mail.compose(unit.session.scalars(select(Letter)).first()) is None


def test_five_days_of_failures_only_disable(house, receiver, create, deliver, make_invite, state):
    id_, _ = create(types="invite")
    receiver.usual = 500
    began = clock.now()
    for days in (0, 1, 2, 3, 4):
        with time_machine.travel(began + days * clock.DAY):
            make_invite()
            deliver()
            assert state(id_) == "failing"
    with time_machine.travel(began + 5 * clock.DAY + clock.HOUR):
        make_invite()
        deliver()
        assert state(id_) == "disabled"
        with house.reading() as unit:
            assert webhooks.named(id_).why == "failing"
            assert unit.session.scalars(select(Delivery.due_at)).all() == [None] * 6


def test_a_single_success_ends_the_five_days(house, receiver, create, deliver, make_invite, state):
    id_, _ = create(types="invite")
    began = clock.now()
    for days, status in ((0, 500), (3, 200), (6, 500)):
        receiver.usual = status
        with time_machine.travel(began + days * clock.DAY):
            make_invite()
            deliver()
    assert state(id_) == "failing"


# Disabled, enabled, retried


def test_what_comes_while_one_is_disabled_is_kept_and_sent_only_on_request(
    house, receiver, create, deliver, make_invite, log
):
    id_, _ = create(types="invite")
    receiver.usual = 500
    make_invite()
    deliver()
    with house.writing():
        webhooks.disable(webhooks.named_locked(id_))
    make_invite()
    deliver()
    make_invite()  # the dispatcher has not seen it before the webhook is enabled
    with house.writing():
        webhooks.enable(webhooks.named_locked(id_))
    make_invite()
    receiver.usual = 204
    assert deliver() == 1
    assert [state for _, state, _, _ in log()] == ["failed", "kept", "kept", "sent"]
    with house.writing():
        assert deliveries.retry_since(clock.now() - clock.HOUR, webhooks.named(id_)) == 3
    assert deliver() == 3
    assert [state for _, state, _, _ in log()] == ["sent"] * 4
    events_sent = [json.loads(each.body)["data"]["event"]["id"] for each in receiver.got]
    assert events_sent[2:] == sorted(events_sent[2:])  # the oldest first
    assert events_sent[0] in events_sent[2:]


def test_what_was_kept_is_forgotten_after_thirty_days_and_what_waits_is_not(
    house, receiver, create, deliver, make_invite, log
):
    id_, _ = create(types="invite")
    create(types="invite.created", url="http://127.0.0.1:1/")
    with house.writing():
        webhooks.disable(webhooks.named_locked(id_))
    make_invite()
    deliver()
    assert len(log()) == 2
    with time_machine.travel(clock.now() + deliveries.KEPT - clock.HOUR):
        assert not caretaker.forget_some(house)
    with time_machine.travel(clock.now() + deliveries.KEPT + clock.HOUR):
        assert caretaker.forget_some(house)
    assert [state for _, state, _, _ in log()] == ["waiting"]


def test_events_that_are_still_to_be_sent_are_not_deleted(
    house, receiver, create, deliver, make_invite, tmp_path, settings
):
    create(types="invite")
    make_invite()
    month = make_settings(tmp_path / "instance", EVENTS_KEPT="30d")
    with time_machine.travel(clock.now() + 40 * clock.DAY), in_force(month):
        make_invite()
        assert not caretaker.forget_some(house)
        assert deliver() == 2
        assert caretaker.forget_some(house)
        with house.reading() as unit:
            assert len(unit.session.scalars(select(Event.number)).all()) == 1


def test_one_delivery_is_sent_again_by_its_id_and_under_the_events(house, receiver, create, deliver, make_invite, log):
    create(types="invite")
    make_invite()
    deliver()
    with house.writing() as unit:
        deliveries.retry(unit.session.scalar(select(Delivery.id))[:8])
        with pytest.raises(DeliveryNotFound):
            deliveries.retry("nonsense")
    assert deliver() == 1
    assert receiver.got[0].id == receiver.got[1].id
    assert log() == [("invite.created", "sent", 204, 1)]


def test_nothing_is_sent_again_to_one_that_is_disabled(house, create, deliver, make_invite, receiver):
    id_, _ = create(types="invite")
    make_invite()
    deliver()
    with house.writing() as unit:
        webhooks.disable(webhooks.named_locked(id_))
        with pytest.raises(WebhookDisabled):
            deliveries.retry(unit.session.scalar(select(Delivery.id)))
        with pytest.raises(WebhookDisabled):
            deliveries.retry_since(clock.now() - clock.DAY, webhooks.named(id_))
        with pytest.raises(WebhookDisabled):
            deliveries.test(webhooks.named(id_))
        assert deliveries.retry_since(clock.now() - clock.DAY) == 0


def test_a_test_is_sent_to_the_one_that_is_tested_once_and_to_no_other(house, receiver, create, deliver, log, state):
    id_, secret = create()
    with listening() as elsewhere:
        create(url=elsewhere.url)
        deliver()
        before, receiver.usual = len(elsewhere.got), 500
        with house.writing():
            deliveries.test(webhooks.named(id_))
        with time_machine.travel(clock.now() + clock.SECOND):
            assert deliver() == 1
        assert len(elsewhere.got) == before
    assert receiver.got[-1].verified(secret)["data"]["event"]["facts"] == {"webhook": id_}
    assert (log()[-1], state(id_)) == (("webhook.test", "failed", 500, 1), "enabled")


def test_a_test_is_sent_by_who_asks_for_it(house, receiver, create, log):
    id_, secret = create()
    sent = courier.test(house, id_)
    assert (sent.status, sent.is_success, sent.milliseconds < 5000) == (204, True, True)
    assert receiver.got[-1].verified(secret)["type"] == "webhook.test"
    assert log() == [("webhook.test", "sent", 204, 1)]


def test_a_deleted_one_is_gone_with_its_log_and_others_are_told(house, receiver, create, deliver, make_invite, log):
    id_, _ = create(types="invite")
    make_invite()
    deliver()
    with listening() as elsewhere:
        create(types="webhook.deleted", url=elsewhere.url)
        with house.writing():
            webhooks.delete(webhooks.named_locked(id_))
        assert deliver() == 1
        assert json.loads(elsewhere.got[0].body)["data"]["event"]["facts"] == {"webhook": id_}
    assert [each for each, *_ in log()] == ["webhook.deleted"]
    with house.reading(), pytest.raises(WebhookNotFound):
        webhooks.named(id_)


# Leases


def test_a_delivery_is_due_again_when_its_lease_ends_however_its_courier_ended(
    house, receiver, create, deliver, make_invite, monkeypatch, log
):
    create(types="invite")
    make_invite()
    courier.dispatch(house)
    monkeypatch.setattr(courier.posting, "send", lambda post: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        courier.deliver_some(house)
    monkeypatch.undo()
    with time_machine.travel(clock.now() + courier.LEASE - clock.SECOND):
        assert deliver() == 0
    with time_machine.travel(clock.now() + courier.LEASE + clock.SECOND):
        assert deliver() == 1
    assert log() == [("invite.created", "sent", 204, 1)]


def test_nobody_else_sends_to_a_webhook_to_which_somebody_sends(house, create, make_invite, monkeypatch):
    create(types="invite")
    for _ in range(3):
        make_invite()
    courier.dispatch(house)
    monkeypatch.setattr(courier, "AT_ONCE", 2)
    with house.writing():
        first = courier.claim()
        assert first
        assert courier.claim() is None
    with house.writing():
        courier.Deliveries().mark(first, [(each, courier.Reply(204, 1)) for each in first.ids])
        second = courier.claim()
        assert second
        assert (len(first.ids), len(second.ids), {*first.ids} & {*second.ids}) == (2, 1, set())


def test_any_number_of_receivers_that_fail_leave_a_courier_to_one_that_does_not(house, receiver, create, make_invite):
    failing = [create(types="invite")[0] for _ in range(6)]
    with house.writing():
        for each in failing:
            webhooks.named_locked(each).failing_since = clock.now()
    make_invite()
    courier.dispatch(house)
    with time_machine.travel(clock.now() + clock.MINUTE):  # those have been due for longer
        well, _ = create(types="invite")
        with house.writing():
            assert courier.claim(avoids_failing=True) is None
        make_invite()
        courier.dispatch(house)
        with house.writing():
            assert courier.claim().webhook_id == well
            assert courier.claim().webhook_id in failing
    with time_machine.travel(clock.now() + clock.HOUR):
        assert courier.deliver_some(house, avoids_failing=True)
        assert len(receiver.got) == 1


def test_a_lease_and_a_wait_that_a_wrong_clock_has_written_do_not_last(house, receiver, create, deliver, make_invite):
    create(types="invite")
    receiver.usual = 500
    with time_machine.travel(clock.now() + 400 * clock.DAY):
        make_invite()
        deliver()
        make_invite()
        courier.dispatch(house)
        with house.writing(), time_machine.travel(clock.now() + clock.MINUTE):
            assert courier.claim()
    receiver.usual = 204
    assert deliver() == 2


def test_two_dispatchers_write_each_delivery_once(house, create, make_invite, log):
    create(types="invite")
    for _ in range(5):
        make_invite()
    settled = house.settled()
    with house.reading():
        found = deliveries.unwritten(settled)
    for expected in (True, False):
        with house.writing():
            assert deliveries.write(found[0]) is expected
    assert len(log()) == 5


def test_many_events_are_written_some_at_a_time(house, create, make_invite, log, monkeypatch):
    monkeypatch.setattr(deliveries, "AT_ONCE", 2)
    create(types="invite")
    for _ in range(5):
        make_invite()
    rounds = 0
    while courier.dispatch(house):
        rounds += 1
    assert (rounds, len(log())) == (3, 5)


def test_one_that_cannot_be_composed_holds_up_no_other(house, receiver, create, deliver, make_invite, monkeypatch, log):
    create(types="invite")
    make_invite(name="Anne")
    make_invite(name="Bob")
    payload = courier.payload

    def choke(event):
        found = payload(event)
        if found["data"]["invite"]["name"] == "Anne":
            raise KeyError("Anne")
        return found

    monkeypatch.setattr(courier, "payload", choke)
    assert deliver() == 2
    assert [state for _, state, _, _ in log()] == ["waiting", "sent"]


# What happens to webhooks is told


def test_what_happens_to_a_webhook_is_told(house, create):
    id_, _ = create()
    with house.writing(), events.acting(events.SHELL):
        webhook = webhooks.named_locked(id_)
        webhooks.rotate(webhook)
        for _ in "12":
            webhooks.disable(webhook)
        for _ in "12":
            webhooks.enable(webhook)
        webhooks.delete(webhook)
    with house.reading() as unit:
        rows = unit.session.execute(select(Event.type, Event.facts).order_by(Event.number)).all()
    assert [each for each, _ in rows] == [
        f"webhook.{each}" for each in ("created", "rotated", "disabled", "enabled", "deleted")
    ]
    assert {facts for _, facts in rows} == {json.dumps({"webhook": id_}, separators=(",", ":"))}


def test_the_number_of_webhooks_and_of_what_waits_is_known(house, receiver, create, deliver, make_invite):
    for _ in range(2):
        create(types="invite")
    receiver.usual = 500
    make_invite()
    deliver()
    make_invite()
    courier.dispatch(house)
    with house.writing():
        webhooks.disable(webhooks.newest()[0])
    with house.reading() as unit:
        assert unit.session.query(Webhook).count() == 2
        found = deliveries.summary()
    assert dict(found.webhooks) == {"enabled": 0, "failing": 1, "disabled": 1}
    assert (found.untried, found.failed) == (1, 1)
