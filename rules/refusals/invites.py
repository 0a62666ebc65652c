"""Invites and their use: what may be refused."""

from collections.abc import Sequence
from datetime import datetime

import clock
from rules.refusals.base import N_, Problem, Refusal


class InviteNotFound(Refusal):
    """No invite has this token; with `by_id`, no invite that the caller may see has this id."""

    code = "INVITE_NOT_FOUND"
    field = "code"  # what a form calls a link, a token or a short code
    sentence = N_("There is no such invitation. Check that the whole link was copied, or ask for a new one.")
    of_ids = N_("There is no invitation with this id.")

    def __init__(self, by_id: bool = False) -> None:
        super().__init__()
        if by_id:
            self.sentence = self.of_ids


class InviteUsed(Refusal):
    """The invite has no uses left."""

    code = "INVITE_USED"
    sentence = N_("This invitation has already been used. Ask the person who sent it for a new one.")


class InviteHeld(Refusal):
    """What is left of the invite waits for a program, until its first lease ends (`until`).

    With `for_proofs` as many as may wait at once for the proof of their address.
    """

    code = "INVITE_HELD"
    sentence = N_(
        "Someone else is using the last place of this invitation. Try again after %(until)s, "
        "or ask for another invitation."
    )
    of_proofs = N_(
        "Others have yet to confirm their address for this invitation. Try again after %(until)s, "
        "or ask for another invitation."
    )

    def __init__(self, until: datetime, for_proofs: bool = False) -> None:
        super().__init__(until=until)
        if for_proofs:
            self.sentence = self.of_proofs
        self.retry_after = clock.seconds_until(until)


class HoldNotFound(Refusal):
    """This caller has no hold with this id."""

    code = "HOLD_NOT_FOUND"
    sentence = N_("This API key has no hold with this id.")


class HoldReleased(Refusal):
    """A hold cannot be completed that was given back, or was denied."""

    code = "HOLD_RELEASED"
    sentence = N_("This hold was released or denied. Remove the account you created, or take a new hold.")


class HoldLost(Refusal):
    """A hold cannot be completed: its lease has ended and no use is left, or its invite was revoked."""

    code = "HOLD_LOST"
    sentence = N_("This hold has ended, and the invitation has no use left. Remove the account you created.")


class HoldDone(Refusal):
    """A hold cannot be given back that was completed."""

    code = "HOLD_DONE"
    sentence = N_("This hold is complete and cannot be released.")


class NotWaiting(Refusal):
    """No use of an invite waits for a yes under this id, or not any more."""

    code = "NOT_WAITING"
    sentence = N_("Nothing is waiting for approval here.")


class InviteExpired(Refusal):
    """The invite has expired, or was revoked (then `revoked_at` is set)."""

    code = "INVITE_EXPIRED"

    sentence = N_("This invitation expired on %(expired_at)s. Ask the person who sent it for a new one.")
    sentence_if_revoked = N_("This invitation has been revoked. Ask the person who sent it for a new one.")

    def __init__(self, expired_at: datetime | None, revoked_at: datetime | None = None) -> None:
        super().__init__(expired_at=expired_at, revoked_at=revoked_at)
        self.expired_at = expired_at
        self.revoked_at = revoked_at
        if revoked_at:
            self.sentence = self.sentence_if_revoked


class InviteAlreadyExists(Refusal):
    """There is an active invite to this project for this address."""

    code = "INVITE_ALREADY_EXISTS"
    sentence = N_("There is an active invitation for this address already. Revoke it first.")


class AlreadyMember(Refusal):
    """This account has used the invite before, or is a member of its project."""

    code = "ALREADY_MEMBER"
    sentence = N_("This account has accepted this invitation before, or is a member already.")


class EmailMismatch(Refusal):
    """The invite is for another address, or for one that this account has not verified.

    Of an account that is only being created, `bound_to` is the address that it must have, or its domain.
    """

    code = "EMAIL_MISMATCH"
    field = "username"  # in whose field another address was typed
    sentence = N_(
        "This invitation is for one e-mail address, which this account has not confirmed. "
        "Use the account and the address that it was sent to, or ask for one that names no address."
    )
    sentence_if_new = N_(
        "This invitation is only for %(email)s, and a new account gets that address. "
        "If yours is another one, ask for an invitation of your own."
    )
    sentence_of_domain = N_("This invitation is only for people with an e-mail address that ends in %(email)s.")

    def __init__(self, bound_to: str | None = None) -> None:
        super().__init__(email=bound_to)
        if bound_to and bound_to.startswith("@"):
            self.sentence = self.sentence_of_domain
        elif bound_to:
            self.sentence = self.sentence_if_new

    @property
    def problems(self) -> Sequence[Problem]:
        """What is wrong: with the address where that is asked for by itself."""
        field = "email" if self.sentence is self.sentence_of_domain else self.field
        return (Problem(field, self.code.lower(), self.sentence, self.facts),)


class NoneChosen(Refusal):
    """No invite was chosen for what is to be done to several."""

    code = "NONE_CHOSEN"
    sentence = N_("Select at least one invitation first.")


class TooManyChosen(Refusal):
    """More invites were chosen than are changed at once."""

    code = "TOO_MANY_CHOSEN"
    sentence = N_(
        "More than %(most)s invitations match. Search for fewer of them: at most %(most)s are changed at once."
    )

    def __init__(self, most: int = 1000) -> None:
        super().__init__(most=most)


class IdempotencyKeyReused(Refusal):
    """The caller has created something else with this Idempotency-Key."""

    code = "IDEMPOTENCY_KEY_REUSED"
    sentence = N_(
        "This Idempotency-Key was used for another request. Send that one again as it was, "
        "or take a new key for a new one."
    )


class LegacyCodesOff(Refusal):
    """Short codes are switched off here (INVITE_API_LEGACY_CODES)."""

    code = "LEGACY_CODES_OFF"
    field = "code"
    sentence = N_("Short codes are no longer taken here. Use the whole link, or its token of 64 characters.")


class LinkLost(Refusal):
    """The link cannot be shown: the master secret that it was derived from is no longer in the settings."""

    code = "LINK_LOST"
    sentence = N_(
        "The link still works, but cannot be shown: it was created under another master secret. "
        "Put that one in INVITE_API_SECRET_KEY_FALLBACKS, or give the invitation a new link."
    )
