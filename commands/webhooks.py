"""`invite-api webhook`: where events are sent, and what became of each."""

from collections.abc import Iterable, Iterator

import click

from commands import terminal
from commands.base import (
    CommandFailed,
    Group,
    StderrLine,
    completed,
    json_option,
    limit_option,
    opened_database,
    print_result,
    reads,
    writes,
)
from commands.events import any_type
from commands.projects import any_project
from commands.terminal import Cell, Facts, Kind
from database import once_more
from models import Delivery, Webhook
from rules import activity, deliveries, ids, timeline, webhooks


def row(webhook: Webhook) -> list[Cell]:
    """The cells of a webhook in the list: id, state, URL, types, project; ``all`` where it is sent everything."""
    return [webhook.id, webhook.state, webhook.url, webhook.types or "all", slug(webhook) or "all"]


def facts(webhook: Webhook) -> Facts:
    """What JSON says of a webhook: all but its secret."""
    return {
        "id": webhook.id,
        "state": webhook.state,
        "url": webhook.url,
        "types": webhook.types.split(",") if webhook.types else None,
        "project": slug(webhook),
        "private": webhook.is_private,
        "created_at": webhook.created_at,
        "rotated_at": webhook.rotated_at,
        "tried_at": webhook.tried_at,
        "failing_since": webhook.failing_since,
        "disabled_at": webhook.disabled_at,
        "why": webhook.why,
    }


def slug(webhook: Webhook) -> str | None:
    """The project that a webhook is about, by its slug, or its name once it is deleted; None for all projects."""
    project = webhook.project
    return (project.slug or project.name) if project else None


def delivery_row(delivery: Delivery) -> list[Cell]:
    """The cells of a delivery in the list: id, state, when and what happened, status, ms, tries, next try, error."""
    number = [str(each) if each is not None else "-" for each in (delivery.status, delivery.milliseconds)]
    what: list[Cell] = [delivery.id, delivery.state, delivery.happened_at, delivery.type]
    return [*what, *number, str(delivery.attempts), delivery.due_at or "-", delivery.last_error or "-"]


def delivery_facts(delivery: Delivery) -> Facts:
    """What JSON says of a delivery: everything."""
    columns = ("created_at", "due_at", "sent_at", "attempts", "status", "milliseconds", "last_error")
    return {
        "id": delivery.id,
        "state": delivery.state,
        "webhook": delivery.webhook_id,
        "event": delivery.event_id,
        "type": delivery.type,
        "happened_at": delivery.happened_at,
        **{name: getattr(delivery, name) for name in columns},
    }


WEBHOOKS = Kind(("ID", "STATE", "URL", "TYPES", "PROJECT"), row, facts)
DELIVERIES = Kind(
    ("ID", "STATE", "HAPPENED", "TYPE", "STATUS", "MS", "TRIES", "NEXT TRY", "ERROR"), delivery_row, delivery_facts
)


@completed
def any_webhook(typed: str, limit: int) -> Iterator[tuple[str, str]]:
    """Completions of a webhook: the ids that begin with what was typed, and the URLs."""
    yield from ((each.id, each.url) for each in ids.starting_with(Webhook, typed, limit))


@completed
def any_delivery(typed: str, limit: int) -> Iterator[tuple[str, str]]:
    """Completions of a delivery: the ids that begin with what was typed, and the types of the events."""
    yield from ((each.id, each.type) for each in ids.starting_with(Delivery, typed, limit))


webhook_argument = click.argument("webhook", shell_complete=any_webhook)


@click.group(cls=Group)
def webhook() -> None:
    """Send events to other programs."""


@webhook.command(
    name="create",
    example="invite-api webhook create https://app.example.org/hook --types invite.used,member",
    lost="invite-api webhook list names the webhook, and invite-api webhook rotate WEBHOOK prints a new secret",
)
@click.argument("url")
@click.option("--types", help="Only these types of events, or families such as member. [all]", shell_complete=any_type)
@click.option("--project", help="Only what happens in the project with this slug. [all]", shell_complete=any_project)
@click.option("--private", is_flag=True, help="Allow private and loopback addresses, and http.")
def create(url: str, types: str | None, project: str | None, private: bool) -> None:
    """Create a webhook, and print its id, a tab, and its secret.

    The secret is shown only once. Events are sent from now on. The URL begins with https:// and has a host
    name, whose addresses are checked at each sending: nothing is sent to one that is not on the Internet.
    """
    wanted = webhooks.Wanted(url, types, project, private)
    with opened_database() as opened:
        settled = once_more(opened.settled)

        def work() -> str:
            with opened.writing():
                made, secret = webhooks.create(wanted, timeline.last_number(settled))
                return f"{made.id}\t{secret}"

        print_result([once_more(work)])


@webhook.command(name="list", example="invite-api webhook list")
@json_option
@reads
def list_webhooks(as_json: bool) -> Iterable[str]:
    """List the webhooks, the newest first. The columns: id, state, URL, types, project."""
    return terminal.listing(webhooks.newest(), WEBHOOKS, as_json)


@webhook.command(name="show", example="invite-api webhook show 0d6f2c1a")
@webhook_argument
@json_option
@reads
def show(webhook: str, as_json: bool) -> Iterable[str]:
    """Show a webhook, and since when it fails or is disabled."""
    return terminal.details(facts(webhooks.named(webhook)), as_json)


@webhook.command(name="test", example="invite-api webhook test 0d6f2c1a")
@webhook_argument
def test(webhook: str) -> None:
    """Send a webhook a test; print its status and milliseconds.

    The command sends it, once. The exit status is 1 if the webhook does not accept it.
    """
    from delivery import courier

    with opened_database() as opened:
        answer = courier.test(opened, webhook)
    if answer.status is not None:
        print_result([f"{answer.status}\t{answer.milliseconds}"])
    if not answer.is_success:
        raise CommandFailed(f"not accepted: {answer.error or 'the receiver refuses it'}")


@webhook.command(
    name="rotate",
    example="invite-api webhook rotate 0d6f2c1a",
    lost="it has a new secret; invite-api webhook rotate WEBHOOK prints another",
)
@webhook_argument
@writes
def rotate(webhook: str) -> list[str]:
    """Give a webhook a new secret, and print it.

    The former one is valid for 24 more hours.
    """
    return [webhooks.rotate(webhooks.named_locked(webhook))]


@webhook.command(name="enable", example="invite-api webhook enable 0d6f2c1a")
@webhook_argument
@writes
def enable(webhook: str) -> list[str]:
    """Send new events to a webhook again.

    Events from the time when it was disabled are sent by retry --since.
    """
    webhooks.enable(webhooks.named_locked(webhook))
    return []


@webhook.command(name="disable", example="invite-api webhook disable 0d6f2c1a")
@webhook_argument
@writes
def disable(webhook: str) -> list[str]:
    """Send nothing more to a webhook.

    New events are kept for 30 days.
    """
    webhooks.disable(webhooks.named_locked(webhook))
    return []


@webhook.command(name="delete", example="invite-api webhook delete 0d6f2c1a")
@webhook_argument
@writes
def delete(webhook: str) -> list[str]:
    """Delete a webhook, with the log of its deliveries."""
    webhooks.delete(webhooks.named_locked(webhook))
    return []


@webhook.command(name="deliveries", example="invite-api webhook deliveries 0d6f2c1a --state failed")
@click.argument("webhook", required=False, shell_complete=any_webhook)
@click.option("--state", type=click.Choice(deliveries.STATES), help="Only those in this state.")
@limit_option
@json_option
@reads
def list_deliveries(webhook: str | None, state: str | None, limit: int, as_json: bool) -> Iterable[str]:
    """List what was sent to a webhook, or to all, the newest first.

    The columns: id, state, when it happened, type, status, milliseconds, tries, next try, error.
    A delivery is sent, waiting for its next try, failed at its last, or kept since its webhook was disabled.
    """
    found = webhooks.named(webhook) if webhook else None
    return terminal.listing(deliveries.search(found, state, limit=limit), DELIVERIES, as_json)


@webhook.command(name="retry", example="invite-api webhook retry --since 2d --webhook 0d6f2c1a")
@click.argument("delivery", required=False, shell_complete=any_delivery)
@click.option("--since", help="All events since then that were not sent: 2d, or a day such as 2026-11-01.")
@click.option("--webhook", help="Of this webhook only.", shell_complete=any_webhook)
@writes
def retry(delivery: str | None, since: str | None, webhook: str | None) -> list[str]:
    """Let the server send a delivery again, now.

    With --since it sends all events since then that were not sent. The tries start again.
    """
    if (delivery is None) == (since is None):
        raise click.UsageError("Name a delivery, or say since when with --since.")
    if delivery is not None:
        if webhook:
            raise click.UsageError("--webhook goes with --since.")
        deliveries.retry(delivery)
        count = 1
    else:
        count = deliveries.retry_since(activity.since(str(since)), webhooks.named_locked(webhook) if webhook else None)
    return [StderrLine(f"Note: {count} to be sent now by the server")]
