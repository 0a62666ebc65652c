"""The service as a whole: its outbox, and how much it takes at once."""

from datetime import datetime

import clock
from rules.refusals.base import N_, Invalid, Refusal, problem


class LetterNotFound(Refusal):
    """No mail with this id waits in the outbox."""

    code = "LETTER_NOT_FOUND"
    sentence = N_("No mail with this id waits; see invite-api outbox list.")


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


class MailLimit(Refusal):
    """The account has had as many invitations mailed as it may within a day; there is room for one more at `until`."""

    code = "MAIL_LIMIT"
    field = "mail"
    sentence = N_(
        "You have reached your limit of invitations by mail (%(most)s a day). The next mail is possible after "
        "%(until)s. You can create the invitation without mail and send its link yourself."
    )

    def __init__(self, most: int, until: datetime) -> None:
        super().__init__(most=most, until=until)
        self.retry_after = clock.seconds_until(until)


class MailUnwanted(Invalid):
    """The person at this address wants no invitations by mail. The invite can be created without."""

    code = "MAIL_UNWANTED"

    def __init__(self) -> None:
        super().__init__(
            problem(
                "email",
                "unwanted",
                "takes no invitations by mail: create the invitation without mail, and send its link yourself",
            )
        )


class BlockingLinkInvalid(Refusal):
    """A link that should stop invitations by mail was changed, or is not one of ours."""

    code = "INVALID_TOKEN"
    sentence = N_("This link is not whole, or not from this site. Open the link in the invitation mail once more.")
