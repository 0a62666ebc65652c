"""Holds: a program that keeps its own accounts takes a use of an invite, creates its account, and completes the use.

There is no exactly-once between two systems. The program creates its account under the hold's subject, then completes
the hold; if the hold is lost by then (HoldLost), it takes its account back.

From the end of its lease on a hold counts no more: its use is for the next who wants it (rules/uses.py).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import select, text

import clock
from database import session
from models import Invite, Redemption
from rules import fields, invites, joining, legacy, tokens, uses
from rules.idempotency import Once
from rules.refusals import (
    N_,
    EmailMismatch,
    Forbidden,
    HoldDone,
    HoldLost,
    HoldNotFound,
    HoldReleased,
    Invalid,
    InviteExpired,
    InviteHeld,
    InviteUsed,
    problem,
    together,
)

MAX_SUBJECT = 200
# In the words of the index of schema.sql; with parameters in them SQLite would look at all uses there are.
LIVE = text("subject IS NOT NULL AND state NOT IN ('released', 'denied', 'revoked')")
SHORTEST, LEASE, MAX_LEASE = 30 * clock.SECOND, 10 * clock.MINUTE, clock.HOUR


@dataclass(frozen=True)
class Wanted:
    """What a program asks for: a use for its guest `subject`, of whom it knows the address `email`, for so long.

    The invite is named by its `token`, or by a `code`, as the guest has typed it. With `complete` the guest has an
    account already.
    """

    subject: str
    token: str | None = None
    code: str | None = None
    email: str | None = None
    lease: timedelta = LEASE
    complete: bool = False


@dataclass(frozen=True)
class Hold:
    """A use that a program has taken. `state` is ``held``, ``waiting`` (for a yes), ``done``, ``released``, ``lapsed``.

    `invite` may be a row of one, and `project` is the slug of its project. `is_new` says that it was taken just now,
    `late` that it was completed after its lease.
    """

    id: str
    state: str
    until: datetime | None
    invite: Any
    project: str | None = None
    late: bool = False
    is_new: bool = False


def read(given: Mapping[str, Any]) -> Wanted:
    """What a program asks for, from the members of a JSON object; raises Invalid with all that is wrong.

    None is not given; an empty text is wrong, and not the same.
    """
    asked = {name: value for name, value in given.items() if value is not None}
    read = together(partial(_refuse_missing, asked), *(partial(_READERS[name], asked[name]) for name in asked))
    return Wanted(**dict(zip(asked, read[1:], strict=True)))


def invite_of(wanted: Wanted, client: str) -> Invite:
    """The invite that a program names, by its token or link, or by the code that its guest typed.

    A wrong code is counted for the client, since it could be guessed. Raises InviteNotFound, Invalid for a code of
    another form, and RateLimited and LegacyCodesOff as `legacy.counted`.
    """
    typed = tokens.in_text(wanted.token or wanted.code or "")
    if wanted.token or tokens.is_token(typed):
        return invites.find(typed)
    if not legacy.is_code(typed):
        raise Invalid.at("code", "format", "is no short code of 12 characters, 0 to 9 and a to f, and no token")
    with legacy.counted(client):
        return legacy.find(typed)


def again(once: Once) -> Hold | None:
    """The hold that the same call has taken before, as it is now; None if it has not. Raises IdempotencyKeyReused."""
    use = once.taken()
    return None if use is None else _shown(use, is_new=True)


def take(invite: Invite, key_id: str, wanted: Wanted, once: Once | None = None) -> Hold:
    """Take a use for a program's guest, until its lease ends; for the same guest again the same hold, held for longer.

    A hold is renewed up to an hour in all. One that has lapsed is taken anew, if a use is left. With `once` the same
    call finds it by `again`. Raises InviteHeld, InviteUsed, InviteExpired, EmailMismatch, or Forbidden for an invite
    that makes an admin.
    """
    uses.lock(invite)
    if once and (before := again(once)):  # taken while this call waited for the invite
        return before
    if invite.makes_admin:
        raise Forbidden
    _refuse_other_address(invite, wanted.email)
    now = clock.now()
    mine = Redemption.key_id == key_id, Redemption.subject == wanted.subject
    use = session().scalar(select(Redemption).where(Redemption.invite_id == invite.id, *mine, LIVE))
    is_new = use is None
    if use is None:
        row = {"id": once.id, "asked": once.fingerprint} if once else {}
        use = _taken(invite, wanted, key_id=key_id, subject=wanted.subject, **row)
    elif wanted.complete and use.state in ("held", "lapsed"):
        _complete(invite, use)
    elif use.state in ("held", "lapsed"):
        began = (use.since or now) if use.is_waiting(now) else now
        use.since = began
        uses.go_on(invite, use, "held", max(min(now + wanted.lease, began + MAX_LEASE), now))
    return _shown(use, is_new)


def complete(hold_id: str, key_id: str) -> Hold:
    """Complete a hold: the guest has an account. To complete it again changes nothing.

    After its lease it is taken anew if a use is left. If the invite needs an admin's yes, it waits for that. Raises
    HoldNotFound, HoldReleased or HoldLost.
    """
    use = _locked(hold_id, key_id)
    if use.state in ("released", "denied"):
        raise HoldReleased
    if use.state == "revoked":
        raise HoldLost
    if use.state in ("held", "lapsed"):
        try:
            _complete(use.invite, use)
        except (InviteUsed, InviteExpired, InviteHeld):
            raise HoldLost from None
    return _shown(use)


def release(hold_id: str, key_id: str) -> None:
    """Give a hold back; to do so again changes nothing. Raises HoldNotFound or HoldDone."""
    use = _locked(hold_id, key_id)
    if use.state == "done":
        raise HoldDone
    if use.released_at is None:
        uses.give_back(use.invite, use, "released")
    elif use.state == "lapsed":
        use.state = "released"


def find(hold_id: str, key_id: str) -> Hold:
    """The hold with this id; raises HoldNotFound, also for another key's."""
    return _shown(_found(hold_id, key_id))


def end_all_of(key_id: str) -> None:
    """Give back all that a key holds; what it has completed stays."""
    uses.give_back_all(Redemption.key_id == key_id, "released")


def _taken(invite: Invite, wanted: Wanted, **whose: str | None) -> Redemption:
    """A new use, as it is wanted, by one change of the invite's row: a second one would lock its inviter's row, too."""
    if not wanted.complete:
        return uses.wait(invite, "held", clock.now() + wanted.lease, **whose)
    if invite.approve:
        return uses.wait(invite, "approval", None, **whose)
    taken, use = uses.redeem(invite, **whose)
    joining.give(taken, None, use.id)
    return use


def _complete(invite: Invite, use: Redemption) -> None:
    if invite.approve:
        uses.go_on(invite, use, "approval", None)
    else:
        joining.give(uses.complete(invite, use), None, use.id)


def _refuse_other_address(invite: Invite, email: str | None) -> None:
    """Raise EmailMismatch unless an address is one for which the invite is; the program has proved it."""
    if invite.email is None:
        return
    is_for = email is not None and (fields.is_at(email, invite.email) or email == invite.email)
    if not is_for:
        raise EmailMismatch(bound_to=invite.email)


def _locked(hold_id: str, key_id: str) -> Redemption:
    """A hold, whose invite nobody else changes or uses before this unit ends."""
    use = _found(hold_id, key_id)
    uses.lock(use.invite)
    session().refresh(use)
    return use


def _found(hold_id: str, key_id: str) -> Redemption:
    use = session().get(Redemption, hold_id)
    if use is None or use.key_id != key_id:
        raise HoldNotFound
    return use


def _shown(use: Redemption, is_new: bool = False) -> Hold:
    now = clock.now()
    state = {"approval": "waiting", "denied": "released", "revoked": "released"}.get(use.state, use.state)
    if state == "held" and not use.is_waiting(now):
        state = "lapsed"
    late = use.redeemed_at is not None and use.until is not None and use.redeemed_at >= use.until
    project = use.invite.project
    return Hold(use.id, state, use.until, use.invite, project.slug if project else None, late, is_new)


def _refuse_missing(asked: Mapping[str, Any]) -> None:
    """Raise Invalid unless a guest is named, and an invite: in one way, not in two."""
    missing = [] if "subject" in asked else [problem("subject", "required", "is missing")]
    if "token" not in asked and "code" not in asked:
        missing.append(problem("token", "required", "is missing; or name the invite by a short code, as code"))
    if "token" in asked and "code" in asked:
        missing.append(problem("code", "alone", "cannot be beside token: name the invite by one of them"))
    if missing:
        raise Invalid(*missing)


def _named(field: str, value: object) -> str:
    written = fields.plain(value, field)
    if not written:
        raise Invalid.at(field, "required", "is empty")
    return written


def _lease(value: object) -> timedelta:
    written = str(value) if type(value) is int else fields.plain(value, "lease")
    length = fields.duration(written, "lease", N_("must be a number and a unit, such as 10m, or a number of seconds"))
    if not SHORTEST <= length <= MAX_LEASE:
        raise Invalid.at("lease", "range", "must be between 30s and 1h")
    return length


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "token": partial(_named, "token"),
    "code": partial(_named, "code"),
    "subject": lambda value: fields.text(value, "subject", MAX_SUBJECT),
    "email": fields.email,
    "lease": _lease,
    "complete": lambda value: fields.boolean(value, "complete"),
}
