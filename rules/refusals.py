"""Everything that may be refused. A Refusal carries facts; the dialects give it a status and words.

`code` is the word programs go by; ``str(refusal)`` is one sentence for a person, in English. Pages
translate `sentence`, in which ``%(fact)s`` stands for one of the `facts`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from clock import iso

Facts = Mapping[str, object]


def N_(text: str) -> str:
    """Mark a text for the translators' catalogues; it is translated where it is said."""
    return text


def filled(text: str, facts: Facts) -> str:
    """A text with its facts in it, moments as they are written on the wire."""
    return text % {name: iso(fact) if isinstance(fact, datetime) else fact for name, fact in facts.items()}


@dataclass(frozen=True)
class Problem:
    """One thing wrong with one field: `rule` for programs, `text` and its `facts` for people."""

    field: str
    rule: str
    text: str
    facts: Facts

    @property
    def message(self) -> str:
        """What is wrong, in English: a sentence that begins with the field's name has it as its rest."""
        return filled(self.text, self.facts)


def problem(field: str, rule: str, text: str, **facts: object) -> Problem:
    """One thing wrong with one field."""
    return Problem(field, rule, text, facts)


class Refusal(Exception):
    """The parent of all refusals."""

    code: ClassVar[str]
    sentence: str

    def __init__(self, *arguments: object, **facts: object) -> None:
        super().__init__(*arguments, *facts.values())
        self.facts: Facts = facts

    def __str__(self) -> str:
        return filled(self.sentence, self.facts)


class Invalid(Refusal):
    """What was sent cannot be used; `problems` says why, field by field."""

    code = "INVALID"
    sentence = N_("Something in this request cannot be used.")

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems: Sequence[Problem] = problems

    @classmethod
    def at(cls, field: str, rule: str, text: str, **facts: object) -> "Invalid":
        """Just one thing wrong."""
        return cls(problem(field, rule, text, **facts))

    def __str__(self) -> str:
        return " ".join(f"{each.field}: {each.message}." for each in self.problems)


class KeyRefused(Refusal):
    """No API key, or none that is good."""

    code = "KEY_REFUSED"
    sentence = N_(
        "An API key is needed: send the header Authorization: Bearer ID/SECRET, "
        "with a key that `invite-api create NAME` has printed."
    )

    def __init__(self, why: str = "") -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"{self.why} {self.sentence}".strip()


class NoSuchKey(Refusal):
    """There is no API key with this id."""

    code = "KEY_NOT_FOUND"
    sentence = N_("key not found")


class KeyMade(Refusal):
    """A form that makes a key was sent twice."""

    code = "KEY_MADE"
    sentence = N_(
        "This key has been made already, and its secret was shown then. "
        "If you have not seen it, delete the key and make another one."
    )


class NotSignedIn(Refusal):
    """No session, or one that is over."""

    code = "UNAUTHORIZED"
    sentence = N_("Sign in first: send the header Authorization: Bearer TOKEN with a token from /auth/login.")


class InvalidCredentials(Refusal):
    """Signing in failed; it is not said whether the name, the password or the account is to blame."""

    code = "INVALID_CREDENTIALS"
    sentence = N_("The name or the password is wrong. After too many wrong ones the password has to be reset.")


class UserNotFound(Refusal):
    """There is no such account, or it was deleted."""

    code = "USER_NOT_FOUND"
    sentence = N_("There is no such account.")


class Forbidden(Refusal):
    """Whoever calls is not allowed to do this."""

    code = "FORBIDDEN"
    sentence = N_("Only an admin of this site may do this. Sign in as one.")


class CrossSite(Refusal):
    """A browser that is signed in was made to call by another site, or by an old form of ours."""

    code = "CROSS_SITE"
    sentence = N_(
        "This did not come from a page of ours, or you have signed in or out since it was opened. "
        "Open the page again and try once more."
    )


class ResetInvalid(Refusal):
    """A link for a new password that was used, is too old, or was never good."""

    code = "INVALID_TOKEN"
    sentence = N_("This link for a new password has been used, or is not whole. Ask for a new one.")


class LegacyCodesOff(Refusal):
    """Short codes are not in use here any more."""

    code = "LEGACY_CODES_OFF"
    sentence = N_("Short codes are no longer taken here. Use the whole link, or its token of 64 characters.")


class ResetExpired(Refusal):
    """A link for a new password that is too old."""

    code = "TOKEN_EXPIRED"
    sentence = N_("This link for a new password is too old. Ask for a new one.")


class RegistrationClosed(Refusal):
    """Without an invite nobody registers here."""

    code = "REGISTRATION_CLOSED"
    sentence = N_("One can only register here with an invitation. Ask somebody who is here for one.")


class NoCode(Refusal):
    """No code was sent that this could be, or it has been used."""

    code = "NO_CODE"
    sentence = N_("No code is awaited for this address. Ask for one first.")


class InvalidCode(Refusal):
    """Not the code that was sent."""

    code = "INVALID_CODE"
    sentence = N_("This is not the code that was sent. Look again; there are three tries.")


class CodeExpired(Refusal):
    """The code was good for ten minutes."""

    code = "CODE_EXPIRED"
    sentence = N_("This code is too old. Ask for a new one.")


class TooManyAttempts(Refusal):
    """The code has been tried three times."""

    code = "TOO_MANY_ATTEMPTS"
    sentence = N_("This code has been tried too often. Ask for a new one.")


class EmailAlreadyVerified(Refusal):
    """The account's own address is verified."""

    code = "EMAIL_ALREADY_VERIFIED"
    sentence = N_("Your address is verified already.")


class EmailNotVerified(Refusal):
    """A registration in three steps that was not finished."""

    code = "EMAIL_NOT_VERIFIED"
    sentence = N_("This registration is not finished: enter the code that was mailed, and choose a password.")


class LetterNotFound(Refusal):
    """No mail with this id waits in the outbox."""

    code = "LETTER_NOT_FOUND"
    sentence = N_("No such mail waits; see invite-api outbox list.")


class InviteNotFound(Refusal):
    """No invite has this token or id."""

    code = "INVITE_NOT_FOUND"
    sentence = N_("There is no such invitation. Check that the whole link was copied, or ask for a new one.")


class InviteUsed(Refusal):
    """All uses of the invite have been made."""

    code = "INVITE_USED"
    sentence = N_("This invitation has already been used. Ask whoever sent it for a new one.")


class InviteExpired(Refusal):
    """The invite's time is over, or it was revoked (then `revoked_at` is set)."""

    code = "INVITE_EXPIRED"

    sentence = N_("This invitation expired on %(expired_at)s. Ask whoever sent it for a new one.")
    withdrawn = N_("This invitation has been withdrawn. Ask whoever sent it for a new one.")

    def __init__(self, expired_at: datetime | None, revoked_at: datetime | None = None) -> None:
        super().__init__(expired_at=expired_at, revoked_at=revoked_at)
        self.expired_at = expired_at
        self.revoked_at = revoked_at
        if revoked_at:
            self.sentence = self.withdrawn


class InviteAlreadyExists(Refusal):
    """There is an open invite to this project for this address."""

    code = "INVITE_ALREADY_EXISTS"
    sentence = N_("There is an open invitation for this address already. Cancel it first, or let it be used.")


class ProjectNotFound(Refusal):
    """No project has this slug."""

    code = "PROJECT_NOT_FOUND"
    sentence = N_("There is no such project.")


class MemberNotFound(Refusal):
    """Nobody in this project has this id."""

    code = "MEMBER_NOT_FOUND"
    sentence = N_("There is no such member in this project.")


class NotProjectMember(Refusal):
    """Only for members of the project."""

    code = "NOT_PROJECT_MEMBER"
    sentence = N_("Only members of this project may do this.")


class NotAllowed(Refusal):
    """A member whose role in the project does not allow it."""

    code = "NOT_ALLOWED"
    sentence = N_("Your role in this project does not allow this. Ask its owner.")


class OwnAccount(Refusal):
    """Somebody would shut themselves out."""

    code = "OWN_ACCOUNT"
    sentence = N_("This is your own account: have another admin do it, or use the command invite-api.")


class OwnsProjects(Refusal):
    """An account cannot go while it owns projects."""

    code = "OWNS_PROJECTS"

    sentence = N_("This account owns %(slugs)s: delete that, or make somebody else its owner, first.")

    def __init__(self, slugs: Sequence[str]) -> None:
        super().__init__(slugs=", ".join(slugs))


class AlreadyMember(Refusal):
    """This account has used the invite before, or belongs to its project already."""

    code = "ALREADY_MEMBER"
    sentence = N_("This account has accepted this invitation before, or is a member already.")


class EmailMismatch(Refusal):
    """The invite is for another address."""

    code = "EMAIL_MISMATCH"
    sentence = N_(
        "This invitation is for one e-mail address, and this account has not proved that it is its own. "
        "Use the account and the address that it was sent to, or ask for one that names no address."
    )


class EmailInUse(Refusal):
    """Another account has this address."""

    code = "EMAIL_ALREADY_IN_USE"
    sentence = N_("There is an account with this e-mail address already. Sign in with it instead.")


class UsernameInvalid(Refusal):
    """The user name has characters or a length that user names may not have."""

    code = "USERNAME_INVALID"
    sentence = N_("A user name has 2 to 30 characters out of a-z 0-9 . _ -")


class UsernameTaken(Refusal):
    """Another account has this user name."""

    code = "USERNAME_TAKEN"
    sentence = N_("This user name is taken. Choose another one.")


class LinkLost(Refusal):
    """The master secret that made this invite's link is gone, so that it cannot be shown again."""

    code = "LINK_LOST"
    sentence = N_(
        "The link still works for whoever has it, but cannot be shown: it was made under another master secret. "
        "Put that one in INVITE_API_SECRET_KEY_FALLBACKS, or make a new invite."
    )


class Overloaded(Refusal):
    """Too much is waiting to be done; worth another try soon."""

    code = "OVERLOADED"
    sentence = N_("Too many people are registering or signing in right now. Try again in a few seconds.")


class RateLimited(Refusal):
    """The caller has called too often; `retry_after` says how many seconds to wait."""

    code = "RATE_LIMITED"

    sentence = N_("Too many requests. Try again in %(retry_after)s seconds.")

    def __init__(self, retry_after: int) -> None:
        super().__init__(retry_after=retry_after)
        self.retry_after = retry_after
