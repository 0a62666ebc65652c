"""Sends the deliveries of webhooks, each at least once: one at a time to each webhook, and four at once in all.

How that is done is in delivery/at_least_once.py. The lease is on the webhook: nobody else sends to it meanwhile, so
that a slow one keeps one courier and no more; and one of the four sends nothing where the last try failed, so that
there may be any number of receivers that hang.
"""

import json
import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, func, or_, select, update

import clock
from database import Database, Unavailable, once_more, session
from database.background import BackgroundThread
from delivery import at_least_once, posting
from delivery.posting import Post, Reply
from models import Delivery, Event, Project, User, Webhook
from rules import deliveries, listing, webhooks
from settings import VERSION, Settings

LEASE = 30 * clock.SECOND
AT_ONCE, ROUND = 20, 2.0  # so many are sent to a webhook under one lease, and no new one after so many seconds
COURIERS = 4
PAUSE, GLANCE = 0.5, 0.2  # seconds between two looks for events, and for what the dispatcher has found to be due
# How long to wait after each try that failed: nothing follows the tenth.
WAITS = (
    *(5 * clock.SECOND, 5 * clock.MINUTE, 30 * clock.MINUTE),
    *(2 * clock.HOUR, 5 * clock.HOUR, 10 * clock.HOUR, 14 * clock.HOUR, 20 * clock.HOUR, 24 * clock.HOUR),
)
MAX_WAIT = clock.DAY

log = logging.getLogger("invite_api")


class Dispatcher(BackgroundThread):
    """The thread that writes deliveries for what has happened, and says whether any is due."""

    unavailable = "no deliveries of webhooks can be written: %s"
    failed = "an unexpected error, while deliveries of webhooks were written"

    def __init__(self, database: Database, settings: Settings) -> None:
        super().__init__("dispatcher", database, settings, PAUSE, patience=5)
        self.is_any_due = threading.Event()

    def work(self) -> bool:
        """Write some deliveries; returns whether there were any to be written."""
        wrote = dispatch(self.database)
        with self.database.reading():
            found = deliveries.are_wanted() and Deliveries().is_any_due()
        if found:
            self.is_any_due.set()
        else:
            self.is_any_due.clear()
        return wrote


class Courier(BackgroundThread):
    """A thread that sends deliveries. It asks the database nothing while the dispatcher finds none to be due."""

    unavailable = "no webhooks can be sent: %s"
    failed = "an unexpected error, while webhooks were sent"

    def __init__(self, number: int, dispatcher: Dispatcher) -> None:
        # A receiver may take 15 seconds: what is not marked in the end is sent again by the next process.
        super().__init__(f"courier-{number}", dispatcher.database, dispatcher.settings, GLANCE, patience=2)
        self._is_any_due, self._avoids_failing = dispatcher.is_any_due, number == 1

    def work(self) -> bool:
        """Send some deliveries; returns whether any was due."""
        return self._is_any_due.is_set() and deliver_some(self.database, self._avoids_failing)


def threads(database: Database, settings: Settings) -> list[BackgroundThread]:
    """The threads that send webhooks, to be started."""
    dispatcher = Dispatcher(database, settings)
    return [dispatcher, *(Courier(number, dispatcher) for number in range(1, COURIERS + 1))]


def dispatch(database: Database) -> bool:
    """Write deliveries for some of the events that have none yet; returns whether there were such."""
    with database.reading():
        if not deliveries.are_wanted():
            return False
    settled = database.settled()
    with database.reading():
        found = deliveries.unwritten(settled)
    if not found:
        return False
    with database.writing():
        return sum(map(deliveries.write, found)) > 0


@dataclass(frozen=True)
class Claimed:
    """Some deliveries to one webhook that are at hand, and until when it is left to who sends them."""

    webhook_id: str
    until: datetime
    ids: Sequence[str]


Prepared = Sequence[tuple[str, Post | Reply | None]]  # a Reply is of what cannot be composed, None of what is gone
Replies = Sequence[tuple[str, Reply | None]]


class Deliveries(at_least_once.Queue[Claimed, Prepared, Replies]):
    """The deliveries of all webhooks: some of one webhook are claimed together, by their ids."""

    def __init__(self, avoids_failing: bool = False) -> None:
        """`avoids_failing`: of no webhook whose last try failed."""
        self._avoids_failing = avoids_failing

    def is_any_due(self) -> bool:
        """Whether a delivery is due to a webhook to which nobody sends now."""
        now = clock.now()
        due = select(Webhook.id).where(_is_free(now), _is_due(_first_due(), now)).limit(1)
        return session().scalar(due) is not None

    def claim(self) -> Claimed | None:
        """The next deliveries of the webhook whose first one has been due longest; its lease begins."""
        return claim(self._avoids_failing)

    def compose(self, claimed: Claimed) -> Prepared | None:
        """What the webhook is told of each event; None if the webhook is gone."""
        webhook = session().get(Webhook, claimed.webhook_id)
        if webhook is None:
            return None
        rows = session().execute(
            select(Delivery, Event)
            .outerjoin(Event, Event.number == Delivery.event)
            .where(Delivery.id.in_(claimed.ids))
            .order_by(Delivery.due_at, Delivery.event)
        )
        return [(delivery.id, _prepare(webhook, delivery, event)) for delivery, event in rows]

    def send(self, prepared: Prepared) -> Replies:
        """Send them to their receiver, one after the other; what takes too long is left to the next time."""
        answers: list[tuple[str, Reply | None]] = []
        began = clock.ticks()
        for id_, post in prepared:
            answer = posting.send(post) if isinstance(post, Post) else post
            answers.append((id_, answer))
            if clock.ticks() - began > ROUND or (answer and answer.status == webhooks.GONE):
                break
        return answers

    def failed(self, claimed: Claimed, error: Exception) -> Replies:
        """Why none of them could be composed."""
        return [(each, _not_composed(error)) for each in claimed.ids]

    def mark(self, claimed: Claimed, answers: Replies) -> None:
        """Mark what was tried as sent, put it off, or give it up, and leave the webhook to others."""
        webhook = _released(claimed)
        if webhook is None:
            return
        wanted = select(Delivery).where(Delivery.id.in_([id_ for id_, _ in answers]))
        found = {each.id: each for each in session().scalars(wanted.execution_options(populate_existing=True))}
        for id_, answer in answers:
            if delivery := found.get(id_):
                mark(webhook, delivery, answer)

    def drop(self, claimed: Claimed) -> None:
        """Do nothing: the webhook is gone, and its deliveries with it."""


def deliver_some(database: Database, avoids_failing: bool = False) -> bool:
    """Send the deliveries that are next, all of one webhook; returns False if none is due."""
    return at_least_once.deliver_one(database, Deliveries(avoids_failing))


def test(database: Database, which: str) -> Reply:
    """Send a webhook a test at once, and log it like any delivery; returns what came of it.

    Raises WebhookNotFound, WebhookDisabled or Unavailable.
    """

    def begin() -> Claimed:
        with database.writing():
            delivery = deliveries.test(webhooks.named(which))
            delivery.due_at = None  # so that no courier takes it
            return Claimed(delivery.webhook_id, clock.now(), [delivery.id])

    answers = at_least_once.deliver(database, Deliveries(), once_more(begin))
    return (answers and answers[0][1]) or Reply(None, 0, "was deleted meanwhile")


def claim(avoids_failing: bool = False) -> Claimed | None:
    """The next deliveries; their webhook is left to nobody else for `LEASE`. None if none is due.

    A webhook whose last try failed comes after all others, or not at all if `avoids_failing`.
    """
    now = clock.now()
    first, until, is_well = _first_due(), now + LEASE, Webhook.failing_since.is_(None)
    chosen = select(Webhook.id).where(_is_free(now), _is_due(first, now)).order_by(~is_well, first).limit(1)
    if avoids_failing:
        chosen = chosen.where(is_well)
    webhook_id = session().scalar(
        update(Webhook)
        .where(Webhook.id == chosen.with_for_update(skip_locked=True).scalar_subquery(), _is_free(now))
        .values(busy_until=until)
        .returning(Webhook.id)
        .execution_options(synchronize_session=False)
    )
    if webhook_id is None:
        return None
    due = Delivery.webhook_id == webhook_id, _is_due(Delivery.due_at, now)
    ids = select(Delivery.id).where(*due).order_by(Delivery.due_at, Delivery.event).limit(AT_ONCE)
    return Claimed(webhook_id, until, session().scalars(ids).all())


def _first_due() -> Any:
    """When the first delivery of a webhook is due."""
    waiting = Delivery.webhook_id == Webhook.id, Delivery.due_at.is_not(None)
    return select(func.min(Delivery.due_at)).where(*waiting).correlate(Webhook).scalar_subquery()


def _is_free(now: datetime) -> ColumnElement[bool]:
    """The condition that nobody sends to a webhook now. A lease that is longer was begun while the clock was wrong."""
    idle = or_(Webhook.busy_until.is_(None), Webhook.busy_until <= now, Webhook.busy_until > now + 2 * LEASE)
    return and_(Webhook.disabled_at.is_(None), idle)


def _is_due(due_at: Any, now: datetime) -> ColumnElement[bool]:
    return at_least_once.is_due(due_at, now, MAX_WAIT)


def _released(claimed: Claimed) -> Webhook | None:
    """The webhook of a delivery that was at hand, locked, and left to others unless they have it by now."""
    webhook = session().get(Webhook, claimed.webhook_id, with_for_update=True, populate_existing=True)
    if webhook and webhook.busy_until == claimed.until:
        webhook.busy_until = None
    return webhook


def _prepare(webhook: Webhook, delivery: Delivery, event: Event | None) -> Post | Reply | None:
    try:
        return composed(webhook, delivery, event) if event else None
    except Unavailable:
        raise
    except Exception as error:  # one that cannot be composed must not delay the others
        return _not_composed(error)


def _not_composed(error: Exception) -> Reply:
    return Reply(None, 0, str(error) or type(error).__name__)


def composed(webhook: Webhook, delivery: Delivery, event: Event) -> Post:
    """The request that tells a webhook of an event, from what is true now. Raises SecretLost."""
    timestamp = int(clock.now().timestamp())
    body = json.dumps(payload(event), ensure_ascii=False, separators=(",", ":")).encode()
    headers = {
        "User-Agent": f"invite-api/{VERSION}",
        "Content-Type": "application/json",
        "webhook-id": delivery.event_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": webhooks.signature(webhook, delivery.event_id, timestamp, body),
    }
    return Post(webhook.url, webhook.is_private, headers, body)


def payload(event: Event) -> Mapping[str, Any]:
    """What a webhook is told of an event: what happened then, and what it is about as that is now."""
    facts = json.loads(event.facts) if event.facts else {}
    happened = {"id": event.id, "at": clock.iso(event.at), "actor": event.actor, "facts": facts}
    data: dict[str, Any] = {"event": happened}
    if event.invite_id:
        data["invite"] = listing.described(listing.one(event.invite_id))
        if own := data["invite"].pop("data"):
            data["data"] = own
    if project := session().get(Project, event.project_id) if event.project_id else None:
        data["project"] = {"id": project.id, "slug": project.slug, "name": project.name}
    if user := session().get(User, event.user_id) if event.user_id else None:
        data["user"] = {
            "id": user.id,
            "username": user.username,
            "name": user.called,
            "email": user.email,
            "email_verified": user.email_verified_at is not None,
        }
    return {"type": event.type, "timestamp": clock.iso(event.at), "data": data}


def mark(webhook: Webhook, delivery: Delivery, answer: Reply | None) -> None:
    """Mark a delivery by what came of it, None if its event is gone.

    A webhook whose receiver is gone, or that failed for five days, is disabled.
    """
    now = clock.now()
    if answer is None:
        delivery.due_at, delivery.last_error = None, "what happened is no longer kept"
        return
    delivery.attempts += 1
    facts = {"delivery": delivery.id, "webhook": webhook.id, "status": answer.status, "ms": answer.milliseconds}
    facts |= {"type": delivery.type, "attempt": delivery.attempts}
    delivery.status, delivery.milliseconds, delivery.last_error = answer.status, answer.milliseconds, answer.error
    webhook.tried_at = now
    if answer.is_success:
        delivery.due_at, delivery.sent_at, webhook.failing_since = None, now, None
        log.info("webhook sent", extra={"facts": facts})
        return
    delivery.due_at = None if webhook.disabled_at else _next_try(delivery, answer, now)
    level = logging.INFO if delivery.type == deliveries.TEST else logging.WARNING  # who tests is told
    log.log(level, "webhook not sent: %s", answer.error or "its receiver has refused it", extra={"facts": facts})
    if answer.status == webhooks.GONE:
        webhooks.disable(webhook, "gone")
    elif delivery.type != deliveries.TEST:
        webhook.failing_since = webhook.failing_since or now
        if now - webhook.failing_since >= webhooks.GIVEN_UP:
            webhooks.disable(webhook, "failing")


def _next_try(delivery: Delivery, answer: Reply, now: datetime) -> datetime | None:
    """When to send it again: as planned, or when the receiver asks for it, a day later at most; None for no more."""
    if delivery.type == deliveries.TEST or delivery.attempts > len(WAITS):
        return None
    asked = min(answer.retry_after or timedelta(), MAX_WAIT)
    return now + max(clock.about(WAITS[delivery.attempts - 1]), asked)
