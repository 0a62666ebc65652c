"""What a caller is told of how many people they can still invite."""

import clock
from rules import budgets
from rules.sessions import Account


def left(account: Account) -> dict[str, str]:
    """The headers of an answer to an account that has created an invite; none for one that has no limit.

    ``X-Invites-Left``, and ``Retry-After`` in seconds where nothing is left.
    """
    now = budgets.left(account)
    if now.places is None:
        return {}
    headers = places_left(now.places)
    if now.places == 0 and now.back_at:
        headers["Retry-After"] = str(clock.seconds_until(now.back_at))
    return headers


def places_left(places: int) -> dict[str, str]:
    """The header X-Invites-Left with this number, of an answer or of a refusal."""
    return {"X-Invites-Left": str(places)}
