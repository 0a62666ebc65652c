"""How many invites were created and used, in each week and in total."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, select

import clock
from database import session
from models import Invite, Redemption


@dataclass(frozen=True)
class Week:
    """The seven days from `start` on, with the number of invites created (`made`) and of uses."""

    start: datetime
    made: int
    used: int


def weeks(count: int) -> Sequence[Week]:
    """The last `count` weeks, the oldest first; the last one ends at midnight (UTC) after today."""
    tomorrow = clock.now().replace(hour=0, minute=0, second=0, microsecond=0) + clock.DAY
    starts = [tomorrow - clock.WEEK * number for number in range(count, 0, -1)]
    made, used = _counts(Invite.created_at, starts), _counts(Redemption.redeemed_at, starts)
    return [Week(*each) for each in zip(starts, made, used, strict=True)]


def redemptions() -> int:
    """The number of uses of all invites."""
    return session().scalar(select(func.count()).where(Redemption.redeemed_at.is_not(None))) or 0


def _counts(moment: Any, starts: Sequence[datetime]) -> Sequence[int]:
    """How many of these moments are in each week. One subquery for each, since each is a range of an index."""
    within = [
        select(func.count()).where(moment >= start, moment < start + clock.WEEK).scalar_subquery() for start in starts
    ]
    return list(session().execute(select(*within)).one())
