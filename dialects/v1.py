"""Create, check, change and revoke invites, and follow what happens: our own API, for programs with an API key.

Names are written in snake_case, what is unknown is refused and named, errors are ``{"error": TEXT, "code": CODE}``
with ``errors`` where something cannot be used, and lists come in pages.
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast

from flask import Response
from werkzeug.exceptions import HTTPException

from clock import iso
from dialects.shapes import v1 as shapes
from dialects.shapes.values import Id
from rules import batches, changing, cursors, fields, invites, listing, refusals, timeline, waiting
from rules.batches import Prepared
from rules.events import TYPES
from rules.idempotency import Once
from rules.listing import Listed
from rules.programs import Program
from rules.refusals import (
    Forbidden,
    Invalid,
    InviteExpired,
    InviteNotFound,
    InviteUsed,
    LinkLost,
    MailUnwanted,
    NotWaiting,
    Refusal,
    ScopeMissing,
)
from rules.timeline import Happened
from rules.waiting import Waiting
from web import errors, guards
from web.answer import committed, read_only, settled
from web.contract import Created, refuses
from web.paging import NextPage, next_page

HEADERS: Mapping[str, str] = errors.HEADERS

FOR_FRONT_ENDS = True  # see web/cors.py

STRICT = True  # members and parameters that mean nothing are refused, and a body is read after its caller is known

STATUS = {**errors.STATUS, refusals.KeyRefused: 401, InviteUsed: 409, InviteExpired: 409}

LARGEST = 2 * 1024 * 1024  # bytes of a list of a thousand invites

MAX_ROWS, USUAL = 200, "100"  # rows of a page

Page = tuple[shapes.Invites, NextPage]
Followed = tuple[shapes.Events, NextPage]


def create_invites(caller: Program, given: shapes.InviteDrafts, once: Once | None) -> Created[shapes.CreatedInvites]:
    """Create an invite, or up to 1,000 of a list: all or none. Each has its link and its token.

    An invite is mailed with `mail`. What is wrong in a list is named by `index`, from 0.
    """
    if "invites" not in given:
        return {"invite": committed(_create, given, once)}, 201
    if len(given) > 1:
        raise Invalid.at("invites", "alone", "must be the only member")
    created = read_only(_created_before, once, given["invites"]) if once else []
    if not created:
        prepared = read_only(batches.prepare, given["invites"], caller.inviter)
        if committed(_add, prepared, once):
            created = [_new(each) for each in prepared]
        elif once:
            created = read_only(_created_before, once, given["invites"])
    return {"invites": created}, 201


def list_invites(query: shapes.ListQuery) -> Page:
    """List invites, the newest first, a page at a time: those in a state, to a project, by an inviter, for an address.

    A search looks at 50,000 invites at most: it may find none, and still has a `next`.
    """
    limit = _limit(query)
    found = listing.search(listing.read(_by_inviter(query), state="state", text="text"), limit)
    following = cursors.written(found.next) if found.next else None
    shown: shapes.Invites = {"invites": [_shown(each) for each in found.rows], "next": following}
    return shown, next_page("/v1/invites", query, following)


@refuses(InviteNotFound, ScopeMissing, Forbidden, LinkLost)
def show_invite(caller: Program, invite_id: Id, query: shapes.ShowQuery) -> shapes.InviteWithEvents:
    """Show an invite and its events; with ``?link=1`` its link too, for its own key or one with `manage`."""
    if query.get("link", "1") != "1":
        raise Invalid.at("link", "enum", "must be 1")
    invite = invites.find_by_id(invite_id)
    shown = _shown(listing.one(invite_id))
    if "link" in query:
        caller.refuse_opening(invite)
        shown["link"] = invites.link(invites.token(invite))
    happened = timeline.newest(timeline.Filter(invite_id=invite_id), None, MAX_ROWS)
    return {"invite": shown, "events": [_event(each) for each in reversed(happened)]}


@refuses(InviteNotFound, InviteUsed, InviteExpired, ScopeMissing, Forbidden)
def change_invite(caller: Program, invite_id: Id, given: shapes.Changes) -> shapes.OneInvite:
    """Change how long an invite is valid, how often it may be used, its name, message, note or data.

    What is used or revoked cannot be changed.
    """
    invite = caller.locked_invite(invite_id)
    caller.refuse_opening(invite)
    changing.change(invite, given, caller.inviter)
    return _one(invite_id)


@refuses(InviteNotFound, ScopeMissing)
def revoke_invite(caller: Program, invite_id: Id) -> shapes.OneInvite:
    """Revoke an invite: its link no longer works. To revoke it again changes nothing."""
    changing.revoke(caller.locked_invite(invite_id))
    return _one(invite_id)


@refuses(InviteNotFound, InviteUsed, InviteExpired, ScopeMissing, Forbidden)
def rotate_invite(caller: Program, invite_id: Id) -> shapes.OneInvite:
    """Give an active invite a new link, with which it comes back; the old one no longer works.

    If it was mailed, it is mailed again.
    """
    invite = caller.locked_invite(invite_id)
    caller.refuse_opening(invite)
    changing.rotate(invite)
    shown = _one(invite_id)
    return {"invite": _opened(shown["invite"], invites.token(invite))}


@refuses(InviteNotFound, InviteUsed, InviteExpired, ScopeMissing, Forbidden, MailUnwanted)
def resend_invite(caller: Program, invite_id: Id) -> shapes.OneInvite:
    """Mail an invite to its address again, with the same link; it is valid at least as long as a new one.

    By a key that is bound to a preset with a `ttl` it is not extended: it is mailed while it is active.
    """
    invite = caller.locked_invite(invite_id)
    caller.refuse_opening(invite)
    changing.resend(invite, inviter=caller.inviter)
    return _one(invite_id)


@refuses(InviteNotFound, NotWaiting)
def approve_use(invite_id: Id, body: shapes.WhichUse) -> shapes.OneInvite:
    """Approve a use that waits for it: the guest gets what the invite promises, and a mail that says so."""
    waiting.approve(waiting.named(invite_id, body["redemption"]))
    return _one(invite_id)


@refuses(InviteNotFound, NotWaiting)
def deny_use(invite_id: Id, body: shapes.WhichUse) -> shapes.OneInvite:
    """Deny a use that waits for approval: it is released, and the guest gets a mail that says so."""
    waiting.deny(waiting.named(invite_id, body["redemption"]))
    return _one(invite_id)


def list_events(query: shapes.EventQuery) -> Followed:
    """List what happened, the oldest first, from a cursor on. Go on with `next` to miss nothing and read nothing twice.

    `next` is always there. While nothing is new it stays the same.
    """
    limit = _limit(query)
    after = timeline.read_cursor(query["cursor"]) if "cursor" in query else 0
    if query.get("type", TYPES[0]) not in TYPES:
        raise Invalid.at("type", "enum", "must be one of %(words)s", words=", ".join(TYPES))
    types = [query["type"]] if "type" in query else []
    wanted = timeline.Filter(types, query.get("invite"), user_id=query.get("user"))
    until = settled()
    found, last = read_only(timeline.follow, wanted, after, until, limit)
    following = timeline.cursor(last)
    return {"events": [_event(each) for each in found], "next": following}, next_page("/v1/events", query, following)


def refusal(error: Refusal | HTTPException) -> Response:
    """``{"error": TEXT, "code": CODE}``, with ``errors`` where something cannot be used."""
    return errors.refusal(error, STATUS)


def _create(given: Mapping[str, Any], once: Once | None) -> shapes.Invite:
    """Create one invite, for the same caller, who may have been deleted or disabled meanwhile."""
    inviter = guards.creator().inviter
    if once and once.made():
        return _as_it_is(once.id)
    return _new(batches.create(given, inviter, once))


def _add(prepared: Sequence[Prepared], once: Once | None) -> bool:
    """Create what was prepared, for the same caller, as `_create` does.

    False if the same call was faster.
    """
    guards.creator()
    if once and once.made():
        return False
    wanted = [each.invite for each in prepared]
    if once:
        once.give(wanted)
    invites.add(wanted)
    return True


def _created_before(once: Once, asked: Sequence[object]) -> list[shapes.Invite]:
    """What the same call has created before, as it is now; [] if it has not."""
    return [_as_it_is(each) for each in once.ids(len(asked))] if once.made() else []


def _as_it_is(invite_id: str) -> shapes.Invite:
    return _opened(_shown(listing.one(invite_id)), invites.token(invites.find_by_id(invite_id)))


def _new(created: Prepared) -> shapes.Invite:
    token = invites.token(created.invite)
    return _opened(_shown(listing.of_new(created.invite, created.project, token)), token)


def _one(invite_id: str) -> shapes.OneInvite:
    return {"invite": _shown(listing.one(invite_id))}


def _opened(shown: shapes.Invite, token: str) -> shapes.Invite:
    return {**shown, "link": invites.link(token), "token": token}


def _by_inviter(query: shapes.ListQuery) -> dict[str, Any]:
    """The query with `inviter` for `maker`, as 0.2 called it; raises Invalid for both."""
    if "maker" in query and "inviter" in query:
        raise Invalid.at("maker", "once", "is the former name of inviter: give one of them")
    return {("inviter" if name == "maker" else name): value for name, value in query.items()}


def _shown(row: Listed) -> shapes.Invite:
    waits = [_waiting(each) for each in waiting.asking(row.waiting)]
    first = {"id": row.id, "state": row.state, "held": len(row.waiting) - len(waits), "waiting": waits}
    return cast(shapes.Invite, {**first, **listing.described(row)})


def _waiting(use: Waiting) -> shapes.Waiting:
    return {"redemption": use.id, "who": use.who, "since": iso(use.since), "waiting_for": use.state}


def _event(happened: Happened) -> shapes.Event:
    return {
        "id": happened.id,
        "at": iso(happened.at),
        "type": happened.type,
        "actor": happened.actor,
        "actor_id": happened.actor_id,
        "invite_id": happened.invite_id,
        "project_id": happened.project_id,
        "user_id": happened.user_id,
        "facts": dict(happened.facts),
    }


def _limit(query: Mapping[str, Any]) -> int:
    return fields.count(query.get("limit", USUAL), "limit", MAX_ROWS)
