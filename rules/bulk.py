"""What is done to several invites at once, in one unit of work: a refusal changes none of them.

An invite that is used or revoked already stays as it is, and is counted.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import func, select

import clock
from database import session
from models import Invite, state_of
from rules import changing, uses
from rules.refusals import InviteExpired, InviteNotFound, NoneChosen, TooManyChosen

MAX_INVITES = 1000  # invites: all other writers wait meanwhile


@dataclass(frozen=True)
class Outcome:
    """How many invites were changed, and how many were left as they are, by the reason for it.

    `used`, `revoked`: they were so already; `later`: they expire later anyway; `ended`: their inviter's access to the
    project has ended.
    """

    changed: int = 0
    used: int = 0
    revoked: int = 0
    later: int = 0
    ended: int = 0


def revoke(ids: Sequence[str]) -> Outcome:
    """Revoke these invites; raises NoneChosen, TooManyChosen, or InviteNotFound if one of them is not there."""
    locked = lock(ids)
    spent = select(func.count()).where(Invite.id.in_(locked), Invite.uses - Invite.waiting >= Invite.max_uses)
    used = session().scalar(spent) or 0
    changed = changing.revoke_all(locked)
    return Outcome(changed=changed, used=used, revoked=len(locked) - changed - used)


def extend(ids: Sequence[str], ttl: timedelta | None) -> Outcome:
    """Let these invites expire `ttl` from now, or never if it is None; none of them expires earlier than before.

    Raises what `revoke` does, and Invalid for more than 24 hours where one makes an admin.
    """
    locked = lock(ids)
    columns = (getattr(Invite, name) for name in _COLUMNS)
    rows = session().execute(select(*columns).where(Invite.id.in_(locked)).order_by(Invite.id)).all()
    kept = {row.id: _kept(row, ttl) for row in rows}
    lengths: dict[timedelta | None, list[str]] = {}
    for row in (each for each in rows if not kept[each.id]):
        try:
            lengths.setdefault(changing.bounded(row, ttl), []).append(row.id)
        except InviteExpired:
            kept[row.id] = "ended"
    for length, these in lengths.items():
        changing.extend_all(these, length)
    return Outcome(**Counter(each or "changed" for each in kept.values()))


def lock(ids: Sequence[str]) -> Sequence[str]:
    """Lock these invites in the order of their ids, which it returns, each once; raises as `revoke` does."""
    wanted = set(ids)
    if not wanted:
        raise NoneChosen
    if len(wanted) > MAX_INVITES:
        raise TooManyChosen(MAX_INVITES)
    locked = uses.lock_all(Invite.id.in_(wanted))
    if len(locked) < len(wanted):
        raise InviteNotFound
    return locked


def _kept(invite: Any, ttl: timedelta | None) -> str:
    """Why an invite is not extended, as Outcome calls it; "" if it may be."""
    now = clock.now()
    state = state_of(invite, now)
    if state in ("used", "revoked"):
        return state
    is_later = invite.expires_at is None or (ttl is not None and invite.expires_at >= now + ttl)
    return "later" if is_later else ""


# What states, and what an invite may be extended to, are found from.
_COLUMNS = (
    *("id", "uses", "max_uses", "created_at", "expires_at", "revoked_at", "lapses_at"),
    *("maker_id", "project_id", "makes_admin"),
)
