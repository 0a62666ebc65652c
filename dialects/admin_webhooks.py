"""Pages for the admins of the site: webhooks, and the log of what was sent to each."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from flask import Response, g, request

import clock
from rules import activity, deliveries, durations, fields, timeline, webhooks
from rules.refusals import WebhookNotFound
from rules.webhooks import Wanted
from web import forms, guards, html, requests
from web.answer import committed, read_only, settled
from web.html import Shown, page

HEADERS = forms.HEADERS

_OF_WEBHOOK = ("url", "types", "project", "once")
_SHOWN = (
    "id",
    "url",
    "types",
    "is_private",
    "created_at",
    "rotated_at",
    "disabled_at",
    "failing_since",
    "why",
    "state",
)
_OF_DELIVERY = (
    *("id", "type", "happened_at", "state", "status", "milliseconds", "attempts", "due_at", "sent_at", "last_error"),
    "event_id",
)

refusal = forms.refusal


def list_webhooks() -> str:
    """The webhooks, and the form that creates one."""
    return _list_page(_new_webhook())()


@html.form(lambda _: _list_page(forms.again(_OF_WEBHOOK, clock.new_id())))
def create_webhook() -> str:
    """Create a webhook and show its secret, now and never again."""
    given = forms.sent(*_OF_WEBHOOK)
    wanted = Wanted(given["url"], given["types"] or None, given["project"] or None)
    secret = committed(_create, wanted, settled(), forms.once(given["once"]))
    return read_only(lambda: _list_page(_new_webhook())(made=secret))  # the answer itself: nobody can be told again


def show_webhook(webhook_id: str) -> str:
    """One webhook, what can be done with it, and the log of its deliveries, a page at a time."""
    webhook = _found(webhook_id)
    g.again = _page(webhook, {})
    given = requests.query(("state", "cursor"))
    before = forms.number(given.pop("cursor")) if "cursor" in given else None
    rows = deliveries.search(webhook, given.get("state"), before, forms.ROWS + 1)
    older = forms.next_page(given, str(rows[forms.ROWS - 1].event)) if len(rows) > forms.ROWS else None
    return _page(webhook, given, rows[: forms.ROWS], older)()


def _webhook_named(_: object) -> Shown:
    webhook = _found(forms.in_path("webhook_id"))
    return _page(webhook, {}, deliveries.search(webhook, limit=forms.ROWS))


@html.form(_webhook_named)
def rotate_webhook(webhook_id: str) -> str:
    """Give a webhook a new secret and show it, now and never again; the one before signs as well for a day."""
    webhook = _locked(webhook_id)
    return _page(webhook, {}, made=webhooks.rotate(webhook))()


@html.form(_webhook_named)
def disable_webhook(webhook_id: str) -> Response:
    """Disable a webhook, or enable it again."""
    webhook = _locked(webhook_id)
    if requests.form_field("off"):
        webhooks.enable(webhook)
        return forms.done(f"/admin/webhooks/{webhook_id}", "sends")
    webhooks.disable(webhook)
    return forms.done(f"/admin/webhooks/{webhook_id}", "sends-nothing")


@html.form(_webhook_named)
def test_webhook(webhook_id: str) -> Response:
    """Have a webhook sent a test; the log says what came of it."""
    deliveries.test(_locked(webhook_id))
    return forms.done(f"/admin/webhooks/{webhook_id}", "tested")


@html.form(_webhook_named)
def retry_deliveries(webhook_id: str) -> Response:
    """Have one delivery sent again, or all that were not sent since then."""
    webhook, which = _locked(webhook_id), requests.form_field("delivery")
    if which:
        deliveries.retry(which)
    else:
        given = forms.sent("since", "day")
        day = given["since"] == durations.DATE
        since = fields.text(given["day" if day else "since"], "day" if day else "since", 100)
        deliveries.retry_since(activity.since(since), webhook)
    return forms.done(f"/admin/webhooks/{webhook_id}", "retried")


@html.form(_webhook_named)
def delete_webhook(webhook_id: str) -> Response:
    """Delete a webhook, with the log of its deliveries."""
    webhooks.delete(_locked(webhook_id))
    return forms.done("/admin/webhooks", "deleted")


def _create(wanted: Wanted, until: int, id_: str) -> str:
    """Create a webhook, for the same admin, who may have been disabled meanwhile; its secret."""
    guards.admin_form()
    return webhooks.create(wanted, timeline.last_number(until), id_)[1]


def _found(webhook_id: str) -> Any:
    """The webhook with exactly this id; raises WebhookNotFound."""
    webhook = webhooks.named(webhook_id)
    if webhook.id != webhook_id:
        raise WebhookNotFound
    return webhook


def _locked(webhook_id: str) -> Any:
    return webhooks.named_locked(_found(webhook_id).id)


def _new_webhook() -> dict[str, str]:
    return {"once": clock.new_id()}


def _list_page(given: Mapping[str, str]) -> Callable[..., str]:
    rows = [(forms.kept(each, *_SHOWN), _project(each)) for each in webhooks.newest()]
    return partial(page, "admin/webhooks.html", given=given, rows=rows, done=request.args.get("done"))


def _page(
    webhook: Any, given: Mapping[str, str], rows: Any = (), older: str | None = None, made: str | None = None
) -> Callable[..., str]:
    kept = forms.kept(webhook, *_SHOWN)
    shown = {"project": _project(webhook), "rows": [forms.kept(each, *_OF_DELIVERY) for each in rows], "older": older}
    done = request.args.get("done")
    states = deliveries.STATES
    return partial(page, "admin/webhook.html", webhook=kept, given=given, states=states, made=made, done=done, **shown)


def _project(webhook: Any) -> str | None:
    """The name of the project that a webhook is about; None for all."""
    return webhook.project.name if webhook.project else None
