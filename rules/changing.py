"""How an invite that exists is changed: given more time, mailed again, given a new link, revoked."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, and_, case, or_, select, true, update

import clock
from database import connection, session
from models import Event, Invite, Project, User
from rules import (
    blocked_addresses,
    budgets,
    events,
    fields,
    invites,
    joining,
    messages,
    presets,
    searching,
    states,
    tokens,
    uses,
)
from rules.drafts import ADMIN_TTL, MAX_USES, SHORT_CODE_TTL, Inviter
from rules.events import NewEvent
from rules.refusals import Invalid, InviteExpired, together
from rules.sessions import Account
from settings import settings

# What can be revoked: also what has expired, since it could be extended, and what has all its last uses waiting.
_UNSPENT = Invite.uses - Invite.waiting < Invite.max_uses, Invite.revoked_at.is_(None)


# What waits of an invite that is revoked has been released.
_REVOKED: Mapping[str, Any] = {"uses": Invite.uses - Invite.waiting, "waiting": 0, "lapses_at": None}


def extend(invite: Invite, ttl: timedelta | None, by: User | Account | None = None) -> None:
    """Let an invite expire `ttl` from now, or never if it is None; an expired one becomes active again.

    For an expired one the account `by` which it is done needs room in its budget, as for a new one; without an account,
    as for the shell and API keys, nothing is asked. At most until the access of its inviter to its project ends. Raises
    InviteUsed, InviteExpired if it was revoked or that access has ended, what `budgets.spend` does, and Invalid for
    more than 24 hours where it makes an admin. A short code does not outlive its week: it can be
    guessed, with patience.
    """
    states.refuse_used_or_revoked(invite)
    longer = bounded(invite, ttl)
    _revive(invite, by)
    _extend(invite, longer)


def _revive(invite: Invite, by: User | Account | None) -> None:
    """Spend the places of an invite that has expired anew, before it is changed: they had come back."""
    if invite.state(clock.now()) == "expired":
        _spend(invite, by, invite.max_uses)


def _spend(invite: Invite, by: User | Account | None, places: int) -> None:
    budgets.spend(by, places, again=invite)
    invite.spent_at = clock.now() if invite.maker_id else None


def bounded(invite: Any, ttl: timedelta | None) -> timedelta | None:
    """How long an invite may be extended where `ttl` is asked for; raises what `extend` does of its inviter and role.

    It is asked before the invite is changed, so that it is changed once.
    """
    now = clock.now()
    if invite.maker_id and invite.project_id and (until := joining.ends_at(invite.project_id, invite.maker_id)):
        if until <= now:
            raise InviteExpired(until, None)
        ttl = min(ttl or until - now, until - now)
    if invite.makes_admin and (ttl is None or ttl > ADMIN_TTL):
        raise Invalid.at("ttl", "range", "must be at most 24h for an invite that makes an admin")
    return ttl


def would_shorten(invite: Invite, ttl: timedelta | None) -> bool:
    """Whether an invite would expire earlier than it does, if it expired `ttl` from now, or never for None."""
    if ttl is None:
        return False
    return invite.expires_at is None or invite.expires_at > clock.now() + ttl


def _extend(invite: Invite, ttl: timedelta | None) -> None:
    now = clock.now()
    invite.expires_at = None if ttl is None else now + ttl
    if ttl is None or now + ttl > invite.created_at + SHORT_CODE_TTL:
        invite.legacy_hash = None
    _record("invite.extended", invite, {"ttl": None if ttl is None else int(ttl.total_seconds())})


def extend_all(ids: Sequence[str], ttl: timedelta | None) -> None:
    """Extend locked invites as `extend` does, by one statement; what `bounded` permits of each has been asked."""
    now = clock.now()
    until = None if ttl is None else now + ttl
    outlived = true() if until is None else Invite.created_at < until - SHORT_CODE_TTL
    code = case((outlived, None), else_=Invite.legacy_hash)
    revived = and_(Invite.maker_id.is_not(None), Invite.expires_at <= now)
    spent = case((revived, now), else_=Invite.spent_at)  # as `_revive` does; admins, who alone do this, have no budget
    extended = update(Invite).where(Invite.id.in_(ids)).values(expires_at=until, legacy_hash=code, spent_at=spent)
    rows = connection().execute(extended.returning(Invite.id, Invite.project_id)).all()
    facts = {"ttl": None if ttl is None else int(ttl.total_seconds())}
    told = (NewEvent({"invite_id": each.id, "project_id": each.project_id}, facts=facts) for each in rows)
    events.record_all("invite.extended", told)


CHANGES = ("ttl", "name", "message", "note", "data", "max_uses")


def change(invite: Invite, given: Mapping[str, Any], inviter: Inviter) -> None:
    """Change what is given of CHANGES, by a caller who may create invites as `inviter`. A `ttl` counts from now.

    A name, message, note or data of None is taken away. What has changed is told, and nothing if nothing has. Raises
    InviteUsed, InviteExpired if it was revoked, and Invalid with all that is wrong: fewer uses than there were, for
    example. The invite is locked (`invites.find_locked`), so that it is not used meanwhile.
    """
    states.refuse_used_or_revoked(invite)
    presets.refuse_changes(inviter, {name: "uses" if name == "max_uses" else name for name in given})
    read = {name: partial(_CHANGES[name], given[name]) for name in CHANGES if name in given}
    values = dict(zip(read, together(*read.values()), strict=True))
    if "max_uses" in values:
        _refuse_uses(invite, values["max_uses"])
    is_prolonged, ttl = "ttl" in values, values.pop("ttl", None)
    if is_prolonged and ttl is None and not inviter.trusted:
        raise Invalid.at("ttl", "forbidden", "can be never only for an admin of this site")
    is_prolonged = is_prolonged and (ttl, invite.expires_at) != (None, None)
    ttl = bounded(invite, ttl) if is_prolonged else None
    if (most := values.get("max_uses", 0)) > invite.max_uses:
        _spend(invite, inviter.user, most)
    elif is_prolonged:
        _revive(invite, inviter.user)
    _drop_lapsed(invite)
    changed = [name for name, value in values.items() if getattr(invite, name) != value]
    for name in changed:  # in one change of the row with its expiry: a second one would lock the inviter's row, too
        setattr(invite, name, values[name])
    if changed:
        invite.folded = searching.stored(invite.name, invite.email, invite.note)
    if is_prolonged:
        _extend(invite, ttl)  # it had a use left, and perhaps no more, by fewer uses
    if changed:
        _record("invite.changed", invite, {"fields": changed})


def _drop_lapsed(invite: Invite) -> None:
    """Take the uses that have lapsed out of the count, in one change of the row with all others."""
    if lapsed := uses.lapse(invite):
        invite.uses, invite.waiting, invite.lapses_at = (
            invite.uses - lapsed,
            invite.waiting - lapsed,
            uses.first_lapse(invite),
        )


def _refuse_uses(invite: Invite, most: int) -> None:
    used = invite.uses - uses.lapsed(invite)
    if most < used:
        raise Invalid.at("max_uses", "range", "must be at least %(uses)s, since it was used as often", uses=used)
    if invite.makes_admin and most != 1:
        raise Invalid.at("max_uses", "range", "must be 1 for an invite that makes an admin")


def _or_none(read: Callable[[object], str]) -> Callable[[object], str | None]:
    return lambda value: None if value is None else read(value)


_CHANGES: Mapping[str, Callable[[object], Any]] = {
    "ttl": fields.ttl,
    "name": _or_none(fields.name),
    "message": _or_none(messages.read),
    "note": _or_none(lambda value: fields.text(value, "note", 1000)),
    "data": _or_none(fields.json_data),
    "max_uses": lambda value: fields.number(value, "max_uses", MAX_USES),
}


def resend(invite: Invite, by: User | Account | None = None, inviter: Inviter | None = None) -> None:
    """Mail an invite again, with the same link, and extend it to at least the time that a new one has.

    Not if its `inviter`, who has it sent, is bound to a preset that says how long it is valid: then it is sent while
    it is active. `by` is as for `extend`. Raises InviteUsed, InviteExpired if it was revoked, Invalid without an
    address, MailUnwanted, and what `budgets.spend` does.
    """
    ttl = min(settings().invite_ttl, ADMIN_TTL) if invite.makes_admin else settings().invite_ttl
    states.refuse_used_or_revoked(invite)
    is_fixed = inviter is not None and "ttl" in presets.bound_fields(inviter)
    if is_fixed:
        states.refuse_unusable(invite)
    is_short = not is_fixed and invite.expires_at and invite.expires_at < clock.now() + ttl
    longer = bounded(invite, ttl) if is_short else None
    _revive(invite, by)
    invites.give_mail_token(invite)  # in one change with its expiry, as in `rotate`
    if is_short:
        _extend(invite, longer)
    invites.mail(invite, by.id if by else None)


def rotate(invite: Invite) -> None:
    """Give an invite a new link: its old links, the mailed one and the short code no longer work.

    An invite that was mailed is mailed again, unless its person wants no more mail. Raises InviteUsed or InviteExpired
    unless it is active.
    """
    states.refuse_unusable(invite)
    was_mailed = invite.mail_token_hash is not None and not blocked_addresses.blocked_since(invite.email or "")
    invite.nonce = tokens.new_nonce()
    invite.token_hash = tokens.digest(tokens.invite_token(invite.nonce))
    invite.mail_token_hash = invite.legacy_hash = None
    if was_mailed:
        invites.give_mail_token(invite)  # in one change with the others: a second one would lock the inviter's row, too
    _record("invite.rotated", invite)
    if was_mailed:
        invites.mail(invite)


def revoke(invite: Invite) -> None:
    """Revoke an invite, so that it cannot be used any more; what waits ends. Its row stays.

    To revoke it again changes nothing, nor does it to revoke one that is used.
    """
    _revoke(invite, "invite.revoked")


def decline(invite: Invite) -> None:
    """Revoke an invite for one person, since that person does not want it.

    Raises InviteUsed or InviteExpired unless it is active, and Invalid for one that several may use.
    """
    uses.lock(invite)
    states.refuse_unusable(invite)
    if invite.max_uses > 1:
        raise Invalid.at("token", "shared", "is for several people and cannot be declined")
    _revoke(invite, "invite.declined")


def was_declined(invite: Invite) -> bool:
    """Whether a revoked invite was declined, as far as its timeline is kept."""
    told = Event.invite_id == invite.id, Event.type == "invite.declined"
    return session().scalar(select(Event.number).where(events.NOT_CREATED, *told).limit(1)) is not None


def _revoke(invite: Invite, told: str) -> None:
    this = Invite.id == invite.id, *_UNSPENT
    if uses.lock(invite).waiting:  # read anew: a program may have taken one just now
        uses.end_all(and_(*this))
    revoked = update(Invite).where(*this).values(**_REVOKED, revoked_at=clock.now())
    if session().execute(revoked.returning(Invite.id)).first():
        _record(told, invite)


def revoke_all_by(inviter: User, project_id: str | None = None) -> int:
    """Revoke the invites that an account created, or only those to one project; returns how many were revoked."""
    to = [Invite.project_id == project_id] if project_id else []
    return _revoke_all(Invite.maker_id == inviter.id, *to)


def revoke_all_of(inviters: Sequence[str]) -> int:
    """Revoke the invites that the accounts with these ids created; returns how many were revoked."""
    return _revoke_all(Invite.maker_id.in_(inviters))


def revoke_admins_by(inviter: User) -> int:
    """Revoke the invites of an account that make an admin of the site; returns how many were revoked."""
    return _revoke_all(Invite.maker_id == inviter.id, Invite.makes_admin.is_(True))


def revoke_appointing_by(inviter: User, project_id: str) -> int:
    """Revoke the invites of an account that make admins of a project; returns how many were revoked."""
    return _revoke_all(Invite.role == "admin", Invite.maker_id == inviter.id, Invite.project_id == project_id)


def revoke_all(ids: Sequence[str]) -> int:
    """Revoke those of these invites that are neither used nor revoked; returns how many were revoked."""
    return _revoke_all(Invite.id.in_(ids))


def revoke_all_to(project: Project) -> int:
    """Revoke all invites to a project; returns how many were revoked."""
    return _revoke_all(Invite.project_id == project.id)


def lock_all_by(inviter: User, also: ColumnElement[bool]) -> Sequence[str]:
    """Lock the invites that `revoke_all_by` would revoke, and those for which a condition holds; returns their ids."""
    return uses.lock_all(or_(and_(Invite.maker_id == inviter.id, *_UNSPENT), also))


def cap_all_by(inviter: User, project_id: str, until: datetime) -> None:
    """Let the open invites that an account created to a project expire at this moment at the latest."""
    these = and_(Invite.maker_id == inviter.id, Invite.project_id == project_id, *_UNSPENT)
    uses.lock_all(these)
    late = or_(Invite.expires_at.is_(None), Invite.expires_at > until)
    earlier = update(Invite).where(these, late).values(expires_at=until).returning(Invite.id)
    changed = sorted(connection().execute(earlier).scalars())
    facts = {"fields": ["ttl"]}
    told = (NewEvent({"invite_id": each, "project_id": project_id}, facts=facts) for each in changed)
    events.record_all("invite.changed", told)


def _revoke_all(*which: ColumnElement[bool]) -> int:
    these = and_(*which, *_UNSPENT)
    if not uses.lock_all(these):
        return 0
    uses.end_all(these)
    revoke = update(Invite).where(these).values(**_REVOKED, revoked_at=clock.now())
    revoked = connection().execute(revoke.returning(Invite.id, Invite.project_id)).all()
    events.record_all(
        "invite.revoked", (NewEvent({"invite_id": each.id, "project_id": each.project_id}) for each in revoked)
    )
    return len(revoked)


def _record(type_: str, invite: Invite, facts: dict[str, Any] | None = None) -> None:
    events.record(type_, invite_id=invite.id, project_id=invite.project_id, facts=facts)
