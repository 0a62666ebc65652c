"""The service as a whole: its outbox, and how much it takes at once."""

from rules.refusals.base import N_, Refusal


class LetterNotFound(Refusal):
    """No mail with this id waits in the outbox."""

    code = "LETTER_NOT_FOUND"
    sentence = N_("No such mail waits; see invite-api outbox list.")


class Overloaded(Refusal):
    """Too many passwords wait to be hashed; try again in a few seconds."""

    code = "OVERLOADED"
    sentence = N_("Too many people are registering or signing in right now. Try again in a few seconds.")


class RateLimited(Refusal):
    """The caller has called too often; `retry_after` says how many seconds to wait."""

    code = "RATE_LIMITED"

    sentence = N_("Too many requests. Try again in %(retry_after)s seconds.")

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after=retry_after)
        self.retry_after = retry_after
