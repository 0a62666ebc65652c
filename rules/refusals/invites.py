"""Invites and their use: what may be refused."""

from datetime import datetime

from rules.refusals.base import N_, Refusal


class InviteNotFound(Refusal):
    """No invite has this token or id."""

    code = "INVITE_NOT_FOUND"
    field = "code"  # what a form calls a link, a token or a short code
    sentence = N_("There is no such invitation. Check that the whole link was copied, or ask for a new one.")


class InviteUsed(Refusal):
    """The invite has no uses left."""

    code = "INVITE_USED"
    sentence = N_("This invitation has already been used. Ask whoever sent it for a new one.")


class InviteExpired(Refusal):
    """The invite has expired, or was revoked (then `revoked_at` is set)."""

    code = "INVITE_EXPIRED"

    sentence = N_("This invitation expired on %(expired_at)s. Ask whoever sent it for a new one.")
    sentence_if_revoked = N_("This invitation has been withdrawn. Ask whoever sent it for a new one.")

    def __init__(self, expired_at: datetime | None, revoked_at: datetime | None = None) -> None:
        super().__init__(expired_at=expired_at, revoked_at=revoked_at)
        self.expired_at = expired_at
        self.revoked_at = revoked_at
        if revoked_at:
            self.sentence = self.sentence_if_revoked


class InviteAlreadyExists(Refusal):
    """There is an active invite to this project for this address."""

    code = "INVITE_ALREADY_EXISTS"
    sentence = N_("There is an open invitation for this address already. Cancel it first, or let it be used.")


class AlreadyMember(Refusal):
    """This account has used the invite before, or is a member of its project."""

    code = "ALREADY_MEMBER"
    sentence = N_("This account has accepted this invitation before, or is a member already.")


class EmailMismatch(Refusal):
    """The invite is for another address, or for one that this account has not verified.

    Of an account that is only being created, `bound_to` is the address that it must have.
    """

    code = "EMAIL_MISMATCH"
    field = "username"  # in whose field another address was typed
    sentence = N_(
        "This invitation is for one e-mail address, and this account has not proved that it is its own. "
        "Use the account and the address that it was sent to, or ask for one that names no address."
    )
    sentence_if_new = N_(
        "This invitation is only for %(email)s, and a new account gets that address. "
        "If yours is another one, ask for an invitation of your own."
    )

    def __init__(self, bound_to: str | None = None) -> None:
        super().__init__(email=bound_to)
        if bound_to:
            self.sentence = self.sentence_if_new


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
        "The link still works for whoever has it, but cannot be shown: it was made under another master secret. "
        "Put that one in INVITE_API_SECRET_KEY_FALLBACKS, or make a new invite."
    )
