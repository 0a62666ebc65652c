"""Webhooks: where events are sent, signed as Standard Webhooks has it, and how one is created, changed and ended.

What is sent to one, and what became of it, is in rules/deliveries.py.
"""

import base64
import hmac
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import func, select

import clock
from database import session
from models import Event, User, Webhook
from rules import activity, admins, deliveries, events, ids, invites, outbox, targets, tokens
from rules.refusals import LinkLost, SecretLost, WebhookCreated, WebhookNotFound, together

OVERLAP = clock.DAY  # for so long the former secret signs as well, after a rotation
GIVEN_UP = 5 * clock.DAY  # of failures and nothing else, until a webhook is disabled
GONE = 410  # the status with which a receiver says that it wants no more


@dataclass(frozen=True)
class Wanted:
    """What a webhook is to be: its `url`, which `types` of events (None for all), about which project (None for all).

    With `private` it may go to private and loopback addresses, and by http: only a shell may ask for that.
    """

    url: str
    types: str | None = None
    project: str | None = None
    private: bool = False


def create(wanted: Wanted, seen: int, id_: str | None = None) -> tuple[Webhook, str]:
    """Create a webhook; returns it and its secret, which is shown only now.

    It is sent what happens after the event with the number `seen`: the last one that `Database.settled` allows to be
    read, asked before this unit. Raises Invalid, ProjectNotFound, or WebhookCreated for an id that is taken.
    """
    if id_ and session().get(Webhook, id_):
        raise WebhookCreated
    url, types, project = together(
        lambda: targets.url(wanted.url.strip(), wanted.private),
        lambda: _types(wanted.types) if wanted.types else None,
        lambda: invites.find_project(wanted.project) if wanted.project else None,
    )
    nonce = tokens.new_nonce()
    secret = tokens.webhook_secret(nonce)
    webhook = Webhook(
        id=id_ or clock.new_id(),
        url=url,
        types=types,
        project_id=project.id if project else None,
        is_private=wanted.private,
        nonce=nonce,
        secret_hash=tokens.digest(secret),
        created_at=clock.now(),
        seen=seen,
    )
    session().add(webhook)
    _record("created", webhook, project_id=webhook.project_id)
    return webhook, written(secret)


def _types(asked: str) -> str:
    """Types and families of events as they are stored: ``invite.used,member``; raises Invalid."""
    activity.types(asked, "types")
    return ",".join(dict.fromkeys(each.strip().lower() for each in asked.split(",")))


def written(secret: str) -> str:
    """A secret as Standard Webhooks writes it: ``whsec_…``."""
    return "whsec_" + base64.b64encode(bytes.fromhex(secret)).decode()


def newest() -> Sequence[Webhook]:
    """All webhooks, the newest first."""
    return session().scalars(select(Webhook).order_by(Webhook.created_at.desc(), Webhook.id)).all()


def named(text: str) -> Webhook:
    """The webhook with this id, or the only one whose id begins so; raises WebhookNotFound."""
    webhook = ids.find(Webhook, text.strip())
    if webhook is None:
        raise WebhookNotFound
    return webhook


def named_locked(text: str) -> Webhook:
    """The webhook that `named` finds, locked until this unit ends; raises WebhookNotFound."""
    webhook = session().get(Webhook, named(text).id, with_for_update=True, populate_existing=True)
    if webhook is None:
        raise WebhookNotFound
    return webhook


def rotate(webhook: Webhook) -> str:
    """Give a webhook a new secret, and return it; the one before it signs as well for a day."""
    webhook.former_nonce, webhook.former_hash, webhook.rotated_at = webhook.nonce, webhook.secret_hash, clock.now()
    webhook.nonce = tokens.new_nonce()
    secret = tokens.webhook_secret(webhook.nonce)
    webhook.secret_hash = tokens.digest(secret)
    _record("rotated", webhook)
    return written(secret)


def disable(webhook: Webhook, why: str | None = None) -> None:
    """Send nothing more to a webhook; what happens meanwhile is kept for 30 days, to be sent later on request.

    `why` is ``gone`` or ``failing`` if the service does it by itself: the admins of the site are mailed then.
    """
    if webhook.disabled_at:
        return
    webhook.disabled_at, webhook.why = clock.now(), why
    deliveries.keep_all(webhook)
    _record("disabled", webhook, {"why": why} if why else {})
    if why:
        _mail_admins(webhook)


def enable(webhook: Webhook) -> None:
    """Send what happens from now on to a webhook again; what happened while it was disabled is not sent by itself."""
    if webhook.disabled_at is None:
        return
    webhook.kept = session().scalar(select(func.max(Event.number))) or 0
    webhook.disabled_at = webhook.why = webhook.failing_since = None
    _record("enabled", webhook)


def delete(webhook: Webhook) -> None:
    """Delete a webhook and the log of its deliveries."""
    _record("deleted", webhook)
    session().delete(webhook)


def signature(webhook: Webhook, id_: str, timestamp: int, body: bytes) -> str:
    """The signatures of a message, as Standard Webhooks writes them: one, or two for a day after a rotation.

    Raises SecretLost if the secret was derived from a master secret that is gone.
    """
    signed = b".".join([id_.encode(), str(timestamp).encode(), body])
    found = [base64.b64encode(hmac.digest(each, signed, "sha256")).decode() for each in _secrets(webhook)]
    return " ".join(f"v1,{each}" for each in found)


def _secrets(webhook: Webhook) -> Iterator[bytes]:
    yield _secret(webhook.nonce, webhook.secret_hash)
    is_new = webhook.rotated_at is not None and webhook.rotated_at > clock.now() - OVERLAP
    if is_new and webhook.former_nonce and webhook.former_hash:
        with suppress(SecretLost):  # the new one was given since it is lost
            yield _secret(webhook.former_nonce, webhook.former_hash)


def _secret(nonce: str, secret_hash: str) -> bytes:
    try:
        return bytes.fromhex(tokens.webhook_secret_again(nonce, secret_hash))
    except LinkLost:
        raise SecretLost from None


def _record(what: str, webhook: Webhook, facts: events.Facts | None = None, project_id: str | None = None) -> None:
    events.record(f"webhook.{what}", facts={"webhook": webhook.id, **(facts or {})}, project_id=project_id)


def _mail_admins(webhook: Webhook) -> None:
    """Queue a mail to each admin of the site that has an address."""
    addressed = select(User).where(admins.are_admins(), User.email.is_not(None), User.disabled_at.is_(None))
    for each in session().scalars(addressed.order_by(User.created_at, User.id)):
        letter = outbox.queue("webhook", str(each.email), user=each)
        letter.webhook_id = webhook.id
