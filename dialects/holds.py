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
from rules import fast_holds, holds, refusals
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
    InviteExpired,
    InviteHeld,
    InviteNotFound,
    InviteUsed,
    LegacyCodesOff,
    Refusal,
)
from web import errors, requests
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
def take_hold(caller: Program, given: shapes.WantedHold, once: Once | None) -> Taken:
    """Take a use of an invite for a guest of the program, until the lease ends or it is completed.

    For the same guest again it is the same hold, held for longer: 200. With `complete` it is completed at once; 202 if
    it waits for an admin's approval then.
    """
    wanted = holds.read(given)
    before = holds.again(once) if once else None
    return _taken(before or _take(caller, wanted, once), wanted)


@refuses(HoldNotFound, HoldReleased, HoldLost)
def complete_hold(caller: Program, hold_id: Id) -> Again | Waits:
    """Complete a hold: the guest has an account. To complete it again changes nothing.

    After its lease the use is taken anew if one is left. 202: it waits for an admin's approval.
    """
    hold = fast_holds.complete(hold_id, caller.holder) or holds.complete(hold_id, caller.holder)
    return (_shown(hold), 202) if hold.state == "waiting" else (_shown(hold), 200)


@refuses(HoldNotFound)
def show_hold(caller: Program, hold_id: Id) -> shapes.Hold:
    """Show the state of a hold, for example after your program was restarted."""
    return _shown(holds.find(hold_id, caller.holder))


@refuses(HoldNotFound, HoldDone)
def release_hold(caller: Program, hold_id: Id) -> Gone:
    """Give a use back: the guest gets no account. To do so again changes nothing."""
    holds.release(hold_id, caller.holder)
    return Response(status=204)


def refusal(error: Refusal | HTTPException) -> Response:
    """``{"error": TEXT, "code": CODE}``, with ``errors`` where something cannot be used."""
    return errors.refusal(error, STATUS)


def _take(caller: Program, wanted: Wanted, once: Once | None) -> Hold:
    caller.keep()
    hold = None if once else fast_holds.take(caller.holder, wanted)
    return hold or holds.take(holds.invite_of(wanted, requests.neighbourhood()), caller.holder, wanted, once)


def _taken(hold: Hold, wanted: Wanted) -> Taken:
    if (wanted.complete and hold.invite.approve) if hold.is_new else hold.state == "waiting":
        return _shown(hold), 202
    return (_shown(hold), 201) if hold.is_new else (_shown(hold), 200)


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
