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
    headers = {"X-Invites-Left": str(now.places)}
    if now.places == 0 and now.back_at:
        headers["Retry-After"] = str(clock.seconds_until(now.back_at))
    return headers
