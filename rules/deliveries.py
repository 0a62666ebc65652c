"""Deliveries: which event is sent to which webhook, when, and what became of it.

They are written for events that are committed, in the order of commits, so that no event is left out and none is sent
of what was rolled back. Each webhook remembers up to which event that was done.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, and_, func, insert, select, update

import clock
from database import connection, session
from models import Delivery, Event, Webhook
from rules import activity, events, ids, timeline
from rules.refusals import DeliveryNotFound, Invalid, WebhookDisabled
from rules.timeline import Filter, Happened
from settings import settings

AT_ONCE = 500  # deliveries in one unit of work, since other writers wait for it
KEPT = 30 * clock.DAY  # how long it is known what became of one, and what came while its webhook was disabled is kept
STATES = ("sent", "waiting", "failed", "kept")

TEST = "webhook.test"  # sent to the webhook that is tested, and to no other

_WAITS = Delivery.due_at.is_not(None)
_UNSENT = and_(Delivery.sent_at.is_(None), Delivery.type != TEST)
_IN_STATE: Mapping[str, ColumnElement[bool]] = {
    "sent": Delivery.sent_at.is_not(None),
    "waiting": _WAITS,
    "failed": and_(Delivery.sent_at.is_(None), Delivery.due_at.is_(None), Delivery.attempts > 0),
    "kept": and_(Delivery.sent_at.is_(None), Delivery.due_at.is_(None), Delivery.attempts == 0),
}


@dataclass(frozen=True)
class Unwritten:
    """Events for which a webhook has no deliveries yet: those after the number `seen`, up to the number `until`."""

    webhook_id: str
    events: Sequence[Happened]
    seen: int
    until: int


def wanted_by(webhook: Webhook) -> Filter:
    """Which events a webhook is sent."""
    types = activity.types(webhook.types) if webhook.types else ()
    return Filter(types=types, project_id=webhook.project_id)


def are_wanted() -> bool:
    """Whether there is any webhook."""
    return session().scalar(select(Webhook.id).limit(1)) is not None


def unwritten(settled: int) -> list[Unwritten]:
    """For each webhook that is behind the next events, 500 in all; `settled` is from before this unit of work began."""
    last = timeline.last_number(settled)
    behind = session().scalars(select(Webhook).where(Webhook.seen < last).order_by(Webhook.id)).all()
    return [_of(each, last, max(1, AT_ONCE // len(behind))) for each in behind]


def _of(webhook: Webhook, last: int, limit: int) -> Unwritten:
    found = timeline.search_on(wanted_by(webhook), webhook.seen, last, limit)
    return Unwritten(webhook.id, found.rows, webhook.seen, last if found.next is None else found.next)


def write(unwritten: Unwritten) -> bool:
    """Write the deliveries of these events, unless another server has done so meanwhile; returns whether there are any.

    What happened while the webhook was disabled is kept, and not due.
    """
    webhook = session().get(Webhook, unwritten.webhook_id, with_for_update=True, populate_existing=True)
    if webhook is None or webhook.seen != unwritten.seen:
        return False
    rows = [_row(webhook, each) for each in unwritten.events if each.type != TEST]
    if rows:
        connection().execute(insert(Delivery), rows)
    webhook.seen = unwritten.until
    return bool(rows)


def _row(webhook: Webhook, event: Happened) -> Mapping[str, object]:
    now = clock.now()
    is_kept = webhook.disabled_at is not None or event.number <= webhook.kept
    return {
        "id": clock.new_id(),
        "webhook_id": webhook.id,
        "event": event.number,
        "type": event.type,
        "happened_at": event.at,
        "created_at": now,
        "due_at": None if is_kept else now,
        "attempts": 0,
    }


def test(webhook: Webhook) -> Delivery:
    """Write an event that says that a webhook is tested, and its delivery, due now, which is tried once.

    Raises WebhookDisabled.
    """
    if webhook.disabled_at:
        raise WebhookDisabled
    now = clock.now()
    delivery = Delivery(
        id=clock.new_id(),
        webhook_id=webhook.id,
        event=events.record_test(webhook.id, now),
        type=TEST,
        happened_at=now,
        created_at=now,
        due_at=now,
        attempts=0,
    )
    session().add(delivery)
    return delivery


def keep_all(webhook: Webhook) -> None:
    """Send none of what waits for a webhook any more; it is kept, to be sent on request."""
    waiting = update(Delivery).where(Delivery.webhook_id == webhook.id, _WAITS)
    session().execute(waiting.values(due_at=None).execution_options(synchronize_session=False))


def search(
    webhook: Webhook | None = None, state: str | None = None, before: int | None = None, limit: int = 50
) -> Sequence[Delivery]:
    """At most `limit` deliveries, the newest first: to one webhook or all, in one of STATES or any. Raises Invalid.

    `before` is the number of an event: only what happened before it.
    """
    order = [Delivery.event.desc()] if webhook else [Delivery.created_at.desc(), Delivery.event.desc()]
    query = select(Delivery).order_by(*order).limit(limit)
    if webhook:
        query = query.where(Delivery.webhook_id == webhook.id)
    if before is not None:
        query = query.where(Delivery.event < before)
    if state:
        if state not in _IN_STATE:
            raise Invalid.at("state", "enum", "must be one of %(words)s", words=", ".join(STATES))
        query = query.where(_IN_STATE[state])
    return session().scalars(query).all()


def retry(delivery_id: str) -> None:
    """Have a delivery sent at once, also one that was sent before; its tries begin anew.

    Named by its id, or the beginning of it. Raises DeliveryNotFound, or WebhookDisabled.
    """
    delivery = ids.find(Delivery, delivery_id.strip())
    if delivery is None:
        raise DeliveryNotFound
    if delivery.webhook.disabled_at:
        raise WebhookDisabled
    delivery.due_at, delivery.sent_at, delivery.attempts = clock.now(), None, 0


def retry_since(since: datetime, webhook: Webhook | None = None) -> int:
    """Have all that was not sent of what happened since then sent at once; returns how many there are.

    Of one webhook, or of all that are enabled. Raises WebhookDisabled for one that is not.
    """
    if webhook and webhook.disabled_at:
        raise WebhookDisabled
    which = Delivery.webhook_id == webhook.id if webhook else Delivery.webhook_id.in_(_ENABLED)
    again = update(Delivery).where(which, _UNSENT, Delivery.happened_at >= since)
    again = again.values(due_at=clock.now(), attempts=0).returning(Delivery.id)
    return len(session().execute(again.execution_options(synchronize_session=False)).all())


_ENABLED = select(Webhook.id).where(Webhook.disabled_at.is_(None))


@dataclass(frozen=True)
class Summary:
    """How many webhooks are in each state, how many deliveries wait, tried in vain or not yet.

    `oldest` is when the first thing happened of which nobody has tried to tell.
    """

    webhooks: Mapping[str, int]
    untried: int
    failed: int
    oldest: datetime | None


def summary() -> Summary:
    """The webhooks and what waits for them now."""
    states = dict.fromkeys(("enabled", "failing", "disabled"), 0)
    for each in session().scalars(select(Webhook)):
        states[each.state] += 1
    untried = Delivery.attempts == 0
    oldest = func.min(Delivery.happened_at).filter(untried)
    counted = session().execute(select(func.count(), func.count().filter(untried), oldest).where(_WAITS)).one()
    return Summary(states, counted[1], counted[0] - counted[1], counted[2])


def stuck_since(late: datetime) -> datetime | None:
    """Since when events wait that nobody tries to send, if that was before `late`; None if all goes on.

    A receiver that takes nothing does not count: it is tried, in vain.
    """
    webhooks = session().scalars(select(Webhook).where(Webhook.disabled_at.is_(None))).all()
    if not webhooks or any(each.tried_at and each.tried_at > late for each in webhooks):
        return None
    due = session().scalar(select(func.min(Delivery.due_at)).where(_WAITS, Delivery.webhook_id.in_(_ENABLED)))
    following = select(Event.at).where(Event.number > min(each.seen for each in webhooks)).order_by(Event.number)
    unseen = session().scalar(following.limit(1))
    return min((each for each in (due, unseen) if each and each <= late), default=None)


def old() -> ColumnElement[bool]:
    """The condition for a delivery of which nobody needs to know any more what became of it."""
    return and_(Delivery.due_at.is_(None), Delivery.created_at <= clock.now() - KEPT)


def needed_from() -> int | None:
    """The number of the first event that may still have to be sent to a webhook; None where there is none."""
    waiting = session().scalar(select(func.min(Delivery.event)).where(_WAITS))
    unseen = session().scalar(select(func.min(Webhook.seen) + 1))
    return min((each for each in (waiting, unseen, _first_kept()) if each is not None), default=None)


def _first_kept() -> int | None:
    """The number of the first event that was not sent and still can be; None where events are kept as long anyway."""
    forgotten = settings().events_kept
    if forgotten is None or forgotten >= KEPT:
        return None
    kept = Delivery.sent_at.is_(None), Delivery.created_at > clock.now() - KEPT
    return session().scalar(select(func.min(Delivery.event)).where(*kept))
