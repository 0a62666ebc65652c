"""How many people an account may invite: its budget, so many places within a length of time.

Nothing is counted along: what is spent is computed from the invites that the account created. While one is active all
of its places are spent; once it has ended only its uses are, so that what was not used comes back. Both come back, too,
when the time of the budget has passed since they were spent (`Invite.spent_at`). The shell, API keys and admins of the
site have no budget.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import bindparam, case, func, select, text

import clock
from database.statements import Statement
from models import Invite, Redemption, User
from rules import admins, events
from rules.refusals import BudgetSpent, Invalid, MayNotInvite
from rules.sessions import Account
from settings import readers, settings
from settings.readers import Budget

DEFAULT = "default"
_AS_IS = "%(message)s"  # not for translators: only the command shows it, and it speaks English
_LOOKED_AT = 100  # unused invites that are read in the order of one index before the other one is tried


@dataclass(frozen=True)
class Left:
    """How many people an account can invite now, None for any number; `back_at` is when it can invite more.

    `back_at` is None where nothing comes back: nothing is spent, there is no limit, or it may never invite. It `waits`
    where its own invitation is yet to be confirmed.
    """

    places: int | None
    back_at: datetime | None = None
    waits: bool = False


class _Spent(NamedTuple):
    """Places that are spent, and when they come back."""

    back_at: datetime
    places: int


def left(account: User | Account) -> Left:
    """How many people an account can invite now, and when it can invite more."""
    budget = _budget(account)
    if budget is None:
        return Left(None)
    if refused := _refused_until_let_in(account) or _refusal(account, budget):
        return Left(0, refused.facts["back_at"], refused.waits)  # type: ignore[arg-type]
    spent = _spent(account.id, budget)
    total = sum(each.places for each in spent)
    places = max(0, budget.places - total)
    return Left(places, _back_at(spent, budget.places - places - 1))


def may_invite(account: User | Account) -> bool:
    """Whether an account may invite people at all, be it only later, when some of what it has spent comes back."""
    budget = _budget(account)
    return budget is None or _refusal(account, budget) is None


def spend(account: User | Account | None, places: int, again: Invite | None = None) -> None:
    """Refuse an account an invite for so many people, if that is beyond its budget; call it first in the unit of work.

    Nobody else spends of it before this unit ends, since its row is locked. Without an account, as for the shell and
    API keys, nothing is refused. An invite that is used `again` is one that ended, or gets more places: what it has
    spent so far is given back for it. Raises MayNotInvite, BudgetSpent, or Invalid for more than all of it.
    """
    person = _PERSON_HELD.first(id=account.id) if account else None
    budget = _budget(person) if person else None
    if account is None or budget is None:
        return
    if refused := _refused_until_let_in(person) or _refusal(person, budget):
        raise refused
    if (most := budget.places) < places:
        raise Invalid.at("uses", "range", "must be at most %(most)s, which is all you can invite", most=most)
    spent = _spent(account.id, budget, again.id if again else None)
    room = max(0, budget.places - sum(each.places for each in spent))
    if places > room:
        raise BudgetSpent(room, places, _back_at(spent, budget.places - places) or clock.now())


def set_budget(user: User, written: str) -> None:
    """Give an account a budget of its own: ``5/7d``, ``0``, ``off`` for no limit, or ``default``; raises Invalid."""
    budget = None if written.strip().lower() == DEFAULT else written_as(read(written))
    if budget != user.budget:
        user.budget = budget
        events.record("user.budget", user_id=user.id, facts={"budget": budget or DEFAULT})


def read(written: str) -> Budget | None:
    """The budget that a text says, ``5/7d`` or ``0``; None for ``off``, which is no limit. Raises Invalid."""
    try:
        return readers.budget(written)
    except ValueError as error:
        raise Invalid.at("budget", "format", _AS_IS, message=str(error)) from None


def written_as(budget: Budget | None) -> str:
    """A budget as text, as `read` takes it."""
    return "off" if budget is None else str(budget)


def _budget(person: Any) -> Budget | None:
    """The budget of a person; None for one who may invite without a limit."""
    if admins.is_admin(person):
        return None
    return settings().budget if person.budget is None else readers.budget(person.budget)


def _refusal(person: Any, budget: Budget) -> MayNotInvite | None:
    """Why a person may invite nobody. Who was given a budget of their own need not wait until the account is old."""
    if not budget.places:
        return MayNotInvite()
    allowed = person.created_at + settings().budget_after
    if person.budget is None and settings().budget_after and allowed > clock.now():
        return MayNotInvite(allowed)
    return None


def _refused_until_let_in(person: Any) -> MayNotInvite | None:
    """Why an account may not invite that was created by an invite whose use waits, or was denied, and has used none."""
    used = _USES.run(id=person.id)
    came = [each for each in used if each.since and each.since <= person.created_at + clock.MINUTE]
    return MayNotInvite(waits=True) if came and not any(each.redeemed_at for each in used) else None


def _spent(user_id: str, budget: Budget, but: str | None = None) -> Sequence[_Spent]:
    """What an account has spent of its budget: of more than all of it, only as much as was spent last."""
    now, most = clock.now(), budget.places + 1
    # What is from after that was created while the clock was wrong, and would count for years.
    window = {"after": now - budget.window, "until": now + budget.window}
    found = [*_USED.run(id=user_id, most=most, now=now, **window), *_unused(user_id, most, now, window)]
    return [part for each in found if each.id != but for part in _parts(each, budget, now)]


def _unused(user_id: str, most: int, now: datetime, window: dict[str, datetime]) -> Sequence[Any]:
    """The active invites of an account that nobody has used, and that were spent within a time; at most so many.

    They are found among those that were spent then, if these are not too many, else among all that are active: with
    thousands of either, an account has few of the other, or has had no budget before.
    """
    some = _LOOKED_AT + most
    spent_then = _UNUSED.run(id=user_id, most=some, **window)
    active = [each for each in spent_then if each.expires_at is None or each.expires_at > now]
    if len(spent_then) < some or len(active) >= most:
        return active[:most]
    expiring = _UNUSED_UNTIL.run(id=user_id, most=most, now=now, **window)
    return [*_UNUSED_FOR_EVER.run(id=user_id, most=most, **window), *expiring]


def _parts(invite: Any, budget: Budget, now: datetime) -> Iterator[_Spent]:
    """What an invite has spent: its uses, and while it is active its other places, which come back when it ends."""
    regrown = invite.spent_at + budget.window
    if invite.uses:
        yield _Spent(regrown, invite.uses)
    unused = invite.max_uses - invite.uses
    if unused and invite.revoked_at is None and (invite.expires_at is None or invite.expires_at > now):
        yield _Spent(min(regrown, invite.expires_at or regrown), unused)


def _back_at(spent: Sequence[_Spent], most: int) -> datetime | None:
    """When no more than so many places will be spent, if nothing else is; None if that is so now."""
    still = sum(each.places for each in spent)
    for back_at, places in sorted(spent):
        if still <= most:
            break
        still -= places
        if still <= most:
            return back_at
    return None


# Built once, since building a query takes as long as SQLite takes to answer it. What the indexes of schema.sql have as
# their conditions is said in the same words.
_person = select(User.id, User.budget, User.created_at, User.admin_at, User.email, User.email_verified_at)
_person = _person.where(User.id == bindparam("id"))
_PERSON_HELD = Statement(_person.with_for_update(key_share=True))
_USES = Statement(select(Redemption.since, Redemption.redeemed_at).where(Redemption.user_id == bindparam("id")))
_columns = Invite.id, Invite.spent_at, Invite.expires_at, Invite.revoked_at, Invite.uses, Invite.max_uses
_within = Invite.spent_at > bindparam("after"), Invite.spent_at <= bindparam("until")
_of_inviter = Invite.maker_id == bindparam("id"), *_within
_never_used = select(*_columns).where(*_of_inviter).limit(bindparam("most"))
_never_used = _never_used.where(text("uses = 0"), Invite.revoked_at.is_(None))
# A use that has lapsed counts nowhere, also before the next one who wants it, or the caretaker, gives it back.
_lapses = Redemption.redeemed_at.is_(None), Redemption.released_at.is_(None), Redemption.until <= bindparam("now")
_lapsed = select(func.count()).where(Redemption.invite_id == Invite.id, *_lapses).scalar_subquery()
_uses = case((Invite.lapses_at <= bindparam("now"), Invite.uses - _lapsed), else_=Invite.uses)
_used = select(*(_uses.label("uses") if each is Invite.uses else each for each in _columns)).where(*_of_inviter)
_USED = Statement(_used.where(text("invites.uses > 0")).order_by(Invite.spent_at.desc()).limit(bindparam("most")))
_UNUSED = Statement(_never_used.order_by(Invite.spent_at.desc()))
_UNUSED_UNTIL = Statement(_never_used.where(Invite.expires_at > bindparam("now")).order_by(Invite.expires_at.desc()))
_UNUSED_FOR_EVER = Statement(_never_used.where(Invite.expires_at.is_(None)).order_by(Invite.spent_at.desc()))
