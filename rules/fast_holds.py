"""The usual course of a hold: one is taken of an invite that has a use left, and completed within its lease.

It is that of rules/holds.py in as few statements as there can be, since programs do it for every guest. Each function
returns None, and has changed nothing, where anything is not usual: then holds.py says what follows.
"""

from typing import Any

from sqlalchemy import bindparam, case, func, insert, or_, select, update

import clock
from database.statements import Statement
from models import Invite, Project, Redemption
from rules import events, invites, joining, states, tokens, uses
from rules.events import About
from rules.holds import LIVE, Hold, Wanted


def take(key_id: str, wanted: Wanted) -> Hold | None:
    """Take a use for a guest for whom this key has none of an invite that is for anyone, named by its token."""
    if wanted.token is None:
        return None
    now, digest = clock.now(), tokens.digest(wanted.token)
    invite = _LOOK.first(digest=digest, key_id=key_id, subject=wanted.subject)
    if not invite or invite.mine or invite.email or invite.makes_admin or wanted.complete:
        return None
    until = now + wanted.lease
    if not _TAKE.run(digest=digest, now=now, until=until):
        return None
    use = {"id": clock.new_id(), "invite_id": invite.id, "key_id": key_id, "subject": wanted.subject}
    _HOLD.run(**use, state="held", since=now, until=until)
    about = About(invite_id=invite.id, project_id=invite.project_id)
    events.record("invite.held", facts={"redemption": use["id"], "lease": round(wanted.lease.total_seconds())}, **about)
    return Hold(use["id"], "held", until, invite, invite.slug, is_new=True)


def complete(hold_id: str, key_id: str) -> Hold | None:
    """Complete a hold whose lease has not ended, and which needs nobody's approval."""
    now = clock.now()
    invite = _HELD.first(hold_id=hold_id, key_id=key_id, now=now)
    if not invite or invite.approve:
        return None
    if not _DONE.run(hold_id=hold_id, now=now):
        return None
    _COUNT.run(invite_id=invite.id)
    joining.give(invite, None, hold_id)
    return Hold(hold_id, "done", invite.until, invite, invite.slug)


def _facts() -> list[Any]:
    names = ("id", "name", "email", "plan", "role", "data", "approve", "makes_admin", "project_id")
    return [*(getattr(Invite, name) for name in names), Project.slug]


# Built once, since building a query takes as long as SQLite takes to answer it.
_MINE = (
    select(Redemption.id)
    .where(Redemption.invite_id == Invite.id, Redemption.key_id == bindparam("key_id"))
    .where(Redemption.subject == bindparam("subject"), LIVE)
    .scalar_subquery()
)
_LOOK = Statement(
    select(*_facts(), _MINE.label("mine"))
    .select_from(Invite)
    .outerjoin(Project, Project.id == Invite.project_id)
    .where(invites.WITH_TOKEN)
)
_IS_FIRST = or_(Invite.lapses_at.is_(None), Invite.lapses_at > bindparam("until", type_=Invite.lapses_at.type))
_TAKE = Statement(
    update(Invite)
    .where(invites.WITH_TOKEN, Invite.uses < Invite.max_uses, states.is_open(bindparam("now")))
    .values(
        uses=Invite.uses + 1,
        waiting=Invite.waiting + 1,
        lapses_at=case((_IS_FIRST, bindparam("until", type_=Invite.lapses_at.type)), else_=Invite.lapses_at),
    )
    .returning(Invite.id)
)
_HOLD = Statement(insert(Redemption))
_WAITS = Redemption.state == "held", Redemption.until > bindparam("now")
_HELD = Statement(
    select(*_facts(), Redemption.until)
    .join(Redemption, Redemption.invite_id == Invite.id)
    .outerjoin(Project, Project.id == Invite.project_id)
    .where(Redemption.id == bindparam("hold_id"), Redemption.key_id == bindparam("key_id"), *_WAITS)
    .with_for_update(of=Invite)  # whatever waits is changed while its invite is locked
)
_DONE = Statement(
    update(Redemption)
    .where(Redemption.id == bindparam("hold_id"), *_WAITS)
    .values(state="done", redeemed_at=bindparam("now"))
    .returning(Redemption.id)
)
_NEXT = select(func.min(Redemption.until)).where(Redemption.invite_id == Invite.id, uses.WAITS).scalar_subquery()
_COUNT = Statement(
    update(Invite).where(Invite.id == bindparam("invite_id")).values(waiting=Invite.waiting - 1, lapses_at=_NEXT)
)
