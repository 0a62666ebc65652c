"""Take a use of an invite, and complete it or give it back: for programs that keep their own accounts.

The program takes a use before it creates the account, and completes it afterwards, so that no invite is burnt by a form
that failed. A part of our own API: see v1.
"""

import json
from collections.abc import Mapping
from typing import Annotated, Literal

from flask import Response
from werkzeug.exceptions import HTTPException

from clock import iso
from dialects.shapes import holds as shapes
from dialects.shapes.values import Id
from rules import holds, invites, legacy, refusals, tokens, usual
from rules.holds import Hold, Wanted
from rules.idempotency import Once
from rules.programs import Program
from rules.refusals import (
    EmailMismatch,
    Forbidden,
    HoldDone,
    HoldLost,
    HoldNotFound,
    HoldReleased,
    Invalid,
    InviteExpired,
    InviteHeld,
    InviteNotFound,
    InviteUsed,
    LegacyCodesOff,
    Refusal,
)
from web import errors, guards, requests
from web.answer import committed, read_only
from web.contract import Answer, Created, refuses

HEADERS: Mapping[str, str] = errors.HEADERS

FOR_FRONT_ENDS = True  # see web/cors.py

STRICT = True  # as in v1

STATUS = {**errors.STATUS, refusals.KeyRefused: 401, InviteUsed: 410, InviteExpired: 410}

Waits = tuple[shapes.Hold, Literal[202]]
Again = tuple[shapes.Hold, Literal[200]]
Taken = Created[shapes.Hold] | Again | Waits
Gone = Annotated[Response, Answer(204)]


@refuses(InviteNotFound, InviteUsed, InviteExpired, InviteHeld, EmailMismatch, Forbidden, LegacyCodesOff)
def take_hold(given: shapes.WantedHold, once: Once | None) -> Taken:
    """Take a use of an invite for a guest of the program, until the lease ends or it is completed.

    For the same guest again it is the same hold, held for longer: 200. With `complete` it is completed at once; 202 if
    it waits for an admin's approval then.
    """
    wanted = holds.read(given)
    if once and (before := read_only(_taken_before, wanted, once)):
        return before
    named = _counted(wanted.code) if wanted.code else str(wanted.token)
    return committed(_take, named, wanted, once)


@refuses(HoldNotFound, HoldReleased, HoldLost)
def complete_hold(caller: Program, hold_id: Id) -> Again | Waits:
    """Complete a hold: the guest has an account. To complete it again changes nothing.

    After its lease the use is taken anew if one is left. 202: it waits for an admin's approval.
    """
    hold = usual.complete(hold_id, caller.holder) or holds.complete(hold_id, caller.holder)
    return (_shown(hold), 202) if hold.state == "waiting" else (_shown(hold), 200)


@refuses(HoldNotFound)
def show_hold(caller: Program, hold_id: Id) -> shapes.Hold:
    """What has become of a hold: for a program that was restarted."""
    return _shown(holds.find(hold_id, caller.holder))


@refuses(HoldNotFound, HoldDone)
def release_hold(caller: Program, hold_id: Id) -> Gone:
    """Give a use back: the guest gets no account. To do so again changes nothing."""
    holds.release(hold_id, caller.holder)
    return Response(status=204)


def refusal(error: Refusal | HTTPException) -> Response:
    """``{"error": TEXT, "code": CODE}``, with ``errors`` where something cannot be used."""
    return errors.refusal(error, STATUS)


def _taken_before(wanted: Wanted, once: Once) -> Taken | None:
    hold = holds.again(once)
    return _taken(hold, wanted) if hold else None


def _take(named: str, wanted: Wanted, once: Once | None) -> Taken:
    """Take the hold, for the same caller, whose key may have been deleted meanwhile."""
    caller = guards.redeemer()
    caller.keep()
    hold = None if once or legacy.is_code(named) else usual.take(named, caller.holder, wanted)
    if hold is None:
        invite = legacy.find(named) if legacy.is_code(named) else invites.find(named)
        hold = holds.take(invite, caller.holder, wanted, once)
    return _taken(hold, wanted)


def _taken(hold: Hold, wanted: Wanted) -> Taken:
    if hold.state == "waiting" or (hold.is_new and wanted.complete and hold.invite.approve):
        return _shown(hold), 202
    return (_shown(hold), 201) if hold.is_new else (_shown(hold), 200)


def _counted(typed: str) -> str:
    """The short code or token that a guest typed; a wrong code is counted, for it could be guessed."""
    code, client = tokens.in_text(typed), requests.neighbourhood()
    if tokens.is_token(code):  # nobody can guess a whole token
        return code
    if not legacy.is_code(code):
        raise Invalid.at("code", "format", "is no short code of 12 characters, 0 to 9 and a to f, and no token")
    committed(legacy.count_try, client)  # counted before the code is looked at, whatever comes of it

    def find() -> None:
        legacy.find(code)
        legacy.forgive_try(client)

    committed(find)
    return code


def _shown(hold: Hold) -> shapes.Hold:
    invite, is_open = hold.invite, hold.state in ("held", "lapsed")
    return {
        "id": hold.id,
        "state": hold.state,
        "held_until": iso(hold.until) if hold.until and is_open else None,
        "late": hold.late,
        "invite": {
            "id": invite.id,
            "name": invite.name,
            "email": invite.email,
            "plan": invite.plan,
            "role": invite.role,
            "project": hold.project,
            "data": json.loads(invite.data) if invite.data else None,
        },
    }
