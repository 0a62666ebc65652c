"""Registering and codes by mail: what may be refused."""

from rules.refusals.base import N_, Refusal


class RegistrationClosed(Refusal):
    """Registering without an invite is switched off here (INVITE_API_REGISTRATION)."""

    code = "REGISTRATION_CLOSED"
    sentence = N_("You need an invitation to register here. Ask a member of this site for one.")


class NoCode(Refusal):
    """No code was sent to this address, or the code has been used."""

    code = "NO_CODE"
    sentence = N_("No code was sent to this address, or it was used. Ask for one first.")


class InvalidCode(Refusal):
    """The digits are not those of the code that was sent."""

    code = "INVALID_CODE"
    field = "code"
    sentence = N_("This is not the code that was sent. Check it; you have three tries.")


class CodeExpired(Refusal):
    """The code is older than ten minutes."""

    code = "CODE_EXPIRED"
    field = "code"
    sentence = N_("This code has expired. Ask for a new one.")


class TooManyAttempts(Refusal):
    """The code has been tried three times already."""

    code = "TOO_MANY_ATTEMPTS"
    field = "code"
    sentence = N_("This code has been tried too often. Ask for a new one.")


class EmailAlreadyVerified(Refusal):
    """The account's address is confirmed already."""

    code = "EMAIL_ALREADY_VERIFIED"
    sentence = N_("Your address is confirmed already.")


class EmailNotVerified(Refusal):
    """This address began to register in three steps and has not finished."""

    code = "EMAIL_NOT_VERIFIED"
    sentence = N_("This registration is not finished: enter the code that was mailed, and choose a password.")
