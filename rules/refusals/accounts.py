"""Accounts and signing in: what may be refused."""

from collections.abc import Sequence

from rules.refusals.base import N_, Refusal


class NotSignedIn(Refusal):
    """There is no session, or it has ended or expired; with `takes_key` there is no good API key either."""

    code = "UNAUTHORIZED"
    sentence = N_("Sign in first: send the header Authorization: Bearer TOKEN with a token from /auth/login.")
    sentence_if_key = N_(
        "An API key is needed, or the session of an admin: send the header Authorization: Bearer ID/SECRET, "
        "with a key that `invite-api create NAME` has printed."
    )

    def __init__(self, takes_key: bool = False) -> None:
        super().__init__()
        if takes_key:
            self.sentence = self.sentence_if_key


class InvalidCredentials(Refusal):
    """Signing in failed. Which part was wrong is not said: it would show who has an account."""

    code = "INVALID_CREDENTIALS"
    sentence = N_("The name or the password is wrong. After too many wrong attempts the password has to be reset.")


class WrongPassword(Refusal):
    """A signed-in person was asked for the password of the account, and gave another one."""

    code = "WRONG_PASSWORD"
    field = "current_password"
    sentence = N_("This is not your password. After too many wrong attempts it has to be reset.")


class AccountDisabled(Refusal):
    """The account is disabled. Only who has shown its password or a link for a new one is told, or an operator."""

    code = "ACCOUNT_DISABLED"
    sentence = N_("This account is disabled. Ask an admin of this site to enable it.")
    sentence_for_operators = N_("This account is disabled: enable it first, then give out a link.")

    def __init__(self, for_operators: bool = False) -> None:
        super().__init__()
        if for_operators:
            self.sentence = self.sentence_for_operators


class Forbidden(Refusal):
    """Only an admin of the site may do this."""

    code = "FORBIDDEN"
    sentence = N_("Only an admin of this site may do this. Sign in as one.")


class CrossSite(Refusal):
    """A browser sent this from a page of another site, or from a page of ours that is older than the last sign-in."""

    code = "CROSS_SITE"
    sentence = N_(
        "This did not come from a page of ours, or you have signed in or out since it was opened, "
        "or your browser keeps no cookies. Open the page again and try once more."
    )


class UserNotFound(Refusal):
    """There is no such account, or it was deleted."""

    code = "USER_NOT_FOUND"
    field = "owner"  # nobody else is asked for in a form
    sentence = N_("There is no such account.")


class ResetInvalid(Refusal):
    """A link for a new password that was used, was changed, or is not one of ours."""

    code = "INVALID_TOKEN"
    sentence = N_("This link for a new password has been used, or it is not complete. Ask for a new one.")


class ResetExpired(Refusal):
    """A link for a new password that has expired."""

    code = "TOKEN_EXPIRED"
    sentence = N_("This link for a new password has expired. Ask for a new one.")


class UsernameInvalid(Refusal):
    """The user name has characters or a length that user names may not have."""

    code = "USERNAME_INVALID"
    field = "username"
    sentence = N_("A user name has 2 to 30 characters out of a-z 0-9 . _ -")


class UsernameTaken(Refusal):
    """Another account has this user name."""

    code = "USERNAME_TAKEN"
    field = "username"
    sentence = N_("This user name is taken. Choose another one.")


class EmailInUse(Refusal):
    """Another account has this address."""

    code = "EMAIL_ALREADY_IN_USE"
    field = "email"
    sentence = N_("There is an account with this e-mail address already. Sign in with it instead.")


class OwnAccount(Refusal):
    """An admin may not disable or delete their own account, nor stop being an admin: it could lock out the last one."""

    code = "OWN_ACCOUNT"
    sentence = N_("This is your own account: have another admin do it, or use the command invite-api.")


class LastAdmin(Refusal):
    """The last admin of the site who can sign in may not delete their own account."""

    code = "LAST_ADMIN"
    sentence = N_("You are the last admin of this site. Make another person an admin first, then delete your account.")


class OwnsProjects(Refusal):
    """An account that owns projects cannot be deleted; the fact `slugs` names them, separated by commas."""

    code = "OWNS_PROJECTS"

    sentence = N_("This account owns %(slugs)s: delete them first, or give them another owner.")

    def __init__(self, slugs: Sequence[str]) -> None:
        super().__init__(slugs=", ".join(slugs))
