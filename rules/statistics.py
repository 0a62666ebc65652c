"""How many invites were made and used: week by week, and ever."""

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
    """Seven days from `start` on."""

    start: datetime
    made: int
    used: int


def weeks(count: int) -> Sequence[Week]:
    """So many weeks, the last of which ends at the end of today (UTC)."""
    tomorrow = clock.now().replace(hour=0, minute=0, second=0, microsecond=0) + clock.DAY
    starts = [tomorrow - clock.WEEK * number for number in range(count, 0, -1)]
    made, used = _counts(Invite.created_at, starts), _counts(Redemption.redeemed_at, starts)
    return [Week(*each) for each in zip(starts, made, used, strict=True)]


def redemptions() -> int:
    """How often an invite was used, ever."""
    return session().scalar(select(func.count()).select_from(Redemption)) or 0


def _counts(moment: Any, starts: Sequence[datetime]) -> Sequence[int]:
    """How many of these moments lie in each of these weeks: a range of an index for each."""
    within = [
        select(func.count()).where(moment >= start, moment < start + clock.WEEK).scalar_subquery() for start in starts
    ]
    return list(session().execute(select(*within)).one())
