"""How many invites match a search of the list, and which: what is counted or changed together.

Counting looks at as many rows as a search of the list does, so that it is as quick among a million.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import func, select

import clock
from database import session
from models import Invite
from rules import cursors, listing
from rules.listing import Filter, SearchResult


@dataclass(frozen=True)
class Matches:
    """How many invites match: `number`, or more than that if `are_more`.

    `among` is how many of the newest invites were looked at; None for all of them.
    """

    number: int
    are_more: bool
    among: int | None


def count(wanted: Filter, most: int) -> Matches:
    """How many invites of the first 50,000 of the list match, counted up to `most`; raises Invalid as a search does."""
    first = replace(wanted, after=None)
    newest = select(Invite.id).order_by(*cursors.newest(Invite))  # so that it stops once it has counted enough
    query, last = listing.looked_at(listing.matching(first, clock.now(), newest), first)
    number = session().scalar(select(func.count()).select_from(query.limit(most + 1).subquery())) or 0
    return Matches(min(number, most), number > most, listing.LOOKED_AT if last else None)


def of_whole(found: SearchResult) -> Matches:
    """How many invites match, where the first page of a search has all that it found."""
    return Matches(len(found.rows), False, listing.LOOKED_AT if found.next else None)


def ids(wanted: Filter, limit: int) -> Sequence[str]:
    """The ids of at most `limit` invites that match, the newest first, wherever they stand in the list."""
    newest = select(Invite.id).order_by(*cursors.newest(Invite))
    return session().scalars(listing.matching(replace(wanted, after=None), clock.now(), newest).limit(limit)).all()
