"""Everything that may be refused, by subject; the one place that names all refusals.

A rule raises a `Refusal`. It carries facts, and no HTTP status: each dialect gives it one (web/errors.py).
`code` is the word for programs; ``str(refusal)`` is one sentence for a person, in English. Pages translate
`sentence`, in which ``%(fact)s`` stands for one of the `facts`.
"""

from rules.refusals.accounts import (
    AccountDisabled,
    CrossSite,
    EmailInUse,
    Forbidden,
    InvalidCredentials,
    LastAdmin,
    NotSignedIn,
    OwnAccount,
    OwnsProjects,
    ResetExpired,
    ResetInvalid,
    UsernameInvalid,
    UsernameTaken,
    UserNotFound,
    WrongPassword,
)
from rules.refusals.base import N_, Facts, Invalid, Problem, Refusal, UnknownField, ended, filled, problem, together
from rules.refusals.invites import (
    AlreadyMember,
    EmailMismatch,
    IdempotencyKeyReused,
    InviteAlreadyExists,
    InviteExpired,
    InviteNotFound,
    InviteUsed,
    LegacyCodesOff,
    LinkLost,
)
from rules.refusals.keys import KeyMade, KeyRefused, NoSuchKey, ScopeMissing
from rules.refusals.projects import MemberNotFound, NotAllowed, NotProjectMember, ProjectNotFound
from rules.refusals.registration import (
    CodeExpired,
    EmailAlreadyVerified,
    EmailNotVerified,
    InvalidCode,
    NoCode,
    RegistrationClosed,
    TooManyAttempts,
)
from rules.refusals.service import LetterNotFound, Overloaded, RateLimited

__all__ = [
    "N_",
    "AccountDisabled",
    "AlreadyMember",
    "CodeExpired",
    "CrossSite",
    "EmailAlreadyVerified",
    "EmailInUse",
    "EmailMismatch",
    "EmailNotVerified",
    "Facts",
    "Forbidden",
    "IdempotencyKeyReused",
    "Invalid",
    "InvalidCode",
    "InvalidCredentials",
    "InviteAlreadyExists",
    "InviteExpired",
    "InviteNotFound",
    "InviteUsed",
    "KeyMade",
    "KeyRefused",
    "LastAdmin",
    "LegacyCodesOff",
    "LetterNotFound",
    "LinkLost",
    "MemberNotFound",
    "NoCode",
    "NoSuchKey",
    "NotAllowed",
    "NotProjectMember",
    "NotSignedIn",
    "Overloaded",
    "OwnAccount",
    "OwnsProjects",
    "Problem",
    "ProjectNotFound",
    "RateLimited",
    "Refusal",
    "RegistrationClosed",
    "ResetExpired",
    "ResetInvalid",
    "ScopeMissing",
    "TooManyAttempts",
    "UnknownField",
    "UserNotFound",
    "UsernameInvalid",
    "UsernameTaken",
    "WrongPassword",
    "ended",
    "filled",
    "problem",
    "together",
]
