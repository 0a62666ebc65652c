"""What the dialects take and answer, as types.

A view names in its signature which of them it gets and answers. What comes in is read by them (contract.py),
mypy holds the answers to them, and openapi.py describes them.
"""

from functools import partial
from typing import Annotated, Literal, NotRequired, TypedDict

from msgspec import Meta

from dialects.members import (
    TOKEN,
    Access,
    AnyCode,
    Digits,
    DisplayName,
    Email,
    Id,
    InviteRole,
    Link,
    Message,
    Moment,
    Name,
    Password,
    Plan,
    RedirectUrl,
    Refresh,
    Slug,
    State,
    Ticket,
    Token,
    Username,
    one_of,
)
from rules import fields
from rules.invites import MOST_USES

# What every dialect answers when it refuses


class Trouble(TypedDict):
    """What is wrong with one field."""

    message: str
    rule: str
    field: str


class Refused(TypedDict):
    """Why not: `error` is for people, `code` for programs, `errors` is there where fields are not valid."""

    error: str
    code: str
    errors: NotRequired[list[Trouble]]


class NotValid(Refused):
    """Likewise, from validate."""

    valid: Literal[False]


# Prosody


class Redirecting(TypedDict):
    """What is there or not, whatever its value."""

    redirect: Annotated[bool, Meta(description="Whatever its value: 303 instead of 201.")]


class InviteParameters(TypedDict, total=False):
    """What an invite is to be. Everything has a default."""

    name: Name
    email: Annotated[Email, Meta(description="Only who has this address may use the invite.")]
    uses: Annotated[int | str, Meta(examples=[5], description=f"How many people may use it: 1 to {MOST_USES}.")]
    ttl: Annotated[int | str, Meta(examples=["3d"], description="How long it lives: 3d, 12h, or seconds.")]
    project: Annotated[str, Meta(examples=["tea-garden"], description="The slug of the project that one joins.")]
    role: InviteRole
    plan: Plan
    redirect_url: RedirectUrl
    note: Annotated[str, Meta(max_length=1000, description="For the operator's eyes only.")]


# Agentbot


class Named(TypedDict):
    """Whom to invite."""

    name: Name


class Addressed(TypedDict):
    """An e-mail address."""

    email: Email


class TokenOrCode(TypedDict, total=False):
    """A token, under either name; if both are there, `token` counts."""

    token: Token
    code: Annotated[Token, Meta(description="The same, as older programs call it.")]


class ShortCode(TypedDict):
    """A short code."""

    code: AnyCode


class Made(TypedDict):
    """The invite that was made."""

    success: Literal[True]
    inviteUrl: Link
    token: Token


class MadeForAddress(TypedDict):
    """The invite that was made for an address."""

    success: Literal[True]
    code: Token
    email: Email
    inviteUrl: Link


class Verified(TypedDict):
    """The token is good."""

    valid: Literal[True]
    plan: Plan


class Spent(TypedDict):
    """The short code was good, and now is spent."""

    valid: Literal[True]


class ListQuery(TypedDict, total=False):
    """Which invites to list."""

    limit: Annotated[str, Meta(pattern="^[0-9]{1,9}$", examples=["100"], description="A page of so many, 1 to 1000.")]
    cursor: Annotated[str, Meta(description="Where to go on: `next` of the page before.")]
    status: State
    q: Annotated[str, Meta(description="A text in the name, the address or the note.")]


class ListedInvite(TypedDict):
    """An invite, for an admin."""

    id: Id
    code: Annotated[Token | None, Meta(description="Null where its master secret is gone.")]
    email: Annotated[str, Meta(examples=["anne@example.org"], description="Empty where it is bound to none.")]
    name: Name | None
    status: State
    uses: int
    maxUses: int
    plan: Plan
    role: InviteRole
    madeBy: Annotated[str, Meta(examples=["shell"])]
    createdAt: Moment
    expiresAt: Moment | None
    usedAt: NotRequired[Moment]
    revokedAt: NotRequired[Moment]
    userId: NotRequired[Id]
    legacyCode: NotRequired[AnyCode]


class InviteList(TypedDict):
    """Invites, the newest first; `total` and `active` count all there are."""

    invites: list[ListedInvite]
    total: int
    active: int
    next: NotRequired[Annotated[str, Meta(description="The cursor of the next page; not there on the last one.")]]


# HitKey


class Registration(TypedDict):
    """An invite, and the account to make with it."""

    invite_token: Annotated[Token, partial(fields.text, field="invite_token", longest=100)]
    email: Email
    password: Password
    username: NotRequired[Username]
    displayName: NotRequired[DisplayName]


class Credentials(TypedDict):
    """What one signs in with."""

    email: Annotated[str, Meta(examples=["anne@example.org"], description="The address, or the user name.")]
    password: Annotated[str, Meta(examples=["correct horse battery"])]


class RefreshToken(TypedDict):
    """A refresh token; it is used up."""

    refresh_token: Refresh


class MaybeAddressed(TypedDict, total=False):
    """The address of a registration; not needed by who is signed in."""

    email: Email


class MailedCode(TypedDict):
    """The code that was mailed to an address."""

    email: Email
    code: Digits


class FirstPassword(TypedDict):
    """The password of an account whose address was proven; the token where the client's address has changed."""

    email: Email
    password: Password
    registration_token: NotRequired[Ticket]


class NewPassword(TypedDict):
    """A new password, and the token of the link that was mailed."""

    token: Annotated[str, Meta(examples=["eyJh.aGk"])]
    password: Password


class NewProject(TypedDict):
    """A project to make."""

    name: Annotated[str, partial(fields.text, field="name", longest=100), Meta(max_length=100, examples=["Tea Garden"])]
    description: NotRequired[
        Annotated[str, partial(fields.text, field="description", longest=1000), Meta(max_length=1000)]
    ]
    is_public: NotRequired[Annotated[bool, partial(fields.boolean, field="is_public")]]


class ProjectInvite(TypedDict):
    """Whom to invite to a project."""

    email: Email
    role: NotRequired[InviteRole]
    redirect_url: NotRequired[RedirectUrl]


class InProject(TypedDict):
    """A project, as the person who is invited to it sees it."""

    name: Annotated[str, Meta(examples=["Tea Garden"])]
    slug: Slug


class Inviter(TypedDict):
    """Who invites; the site's name for API keys and the shell."""

    displayName: Annotated[str, Meta(examples=["Alice"])]


class Invitation(TypedDict):
    """What whoever has the link may know."""

    id: Id
    email: Email | None
    role: InviteRole
    project: InProject | None
    invitedBy: Inviter
    expiresAt: Moment | None
    is_expired: Literal[False]


class Joined(TypedDict):
    """Where an invite has led to."""

    project_slug: Slug | None
    redirect_url: RedirectUrl | None


class Person(TypedDict):
    """An account."""

    id: Id
    email: Email | None
    displayName: DisplayName


class Pair(TypedDict):
    """Tokens; `expires_in` is in seconds, and of `token`."""

    type: Literal["bearer"]
    token: Access
    refresh_token: Refresh
    expires_in: Annotated[int, Meta(examples=[3600])]


class Session(Pair):
    """The tokens of somebody who has signed in."""

    user: Person


class JoinedSession(Session, Joined):
    """Likewise, and where the invite has led to."""


class FirstSession(Session):
    """Likewise, with a word of welcome."""

    message: Message


class Me(Person):
    """One's own account."""

    username: Username | None
    emailVerified: bool
    isAdmin: bool
    createdAt: Moment


class Said(TypedDict):
    """It is done; a sentence for people."""

    message: Message


class Ticketed(Said):
    """Likewise, and for a new account what allows to choose its password."""

    registration_token: NotRequired[Ticket]


class Project(TypedDict):
    """A project."""

    id: Id
    name: Annotated[str, Meta(examples=["Tea Garden"])]
    slug: Slug
    description: Annotated[str | None, Meta(examples=["Tea, cake and weeding"])]
    is_public: bool
    owner_id: Id
    created_at: Moment


class MemberPerson(TypedDict):
    """The account of a member."""

    id: Id
    email: Email | None
    display_name: DisplayName


class Member(TypedDict):
    """Somebody who belongs to a project."""

    id: Id
    user_id: Id
    role: Annotated[str, one_of("owner", "admin", "member")]
    user: MemberPerson
    permissions: Annotated[list[str], Meta(max_length=0, description="Always empty.")]
    created_at: Moment


class OpenInvite(TypedDict):
    """An invite to a project."""

    id: Id
    email: Email | None
    role: InviteRole
    redirect_url: RedirectUrl | None
    expiresAt: Moment | None
    created_at: Moment


class SentInvite(OpenInvite):
    """Likewise, when it was just made; with its link where no mail can be sent."""

    inviteUrl: NotRequired[Link]


class StatedInvite(OpenInvite):
    """Likewise, with its state."""

    status: Annotated[str, one_of("active", "used", "expired", "revoked")]


# Pages, for programs as well


class RegistrationForm(TypedDict):
    """The form of mod_invites_register_web."""

    user: Annotated[str, Meta(examples=["anne"], description="The user name.")]
    password: Annotated[str, Meta(examples=["correct horse battery"])]
    token: Annotated[str, Meta(examples=[TOKEN], description="The invite's. It may be the query instead.")]


# Operations


class Health(TypedDict):
    """The process answers."""

    status: Literal["ok"]


CHECKS = {"disk": "ok", "database": "ok", "schema": "ok", "outbox": "ok", "writing": "ok"}
FULL = "is nearly full: make room on the disk that holds the database"


class Ready(TypedDict):
    """All is well."""

    status: Literal["ready"]
    checks: Annotated[dict[str, str], Meta(examples=[CHECKS])]


class NotReady(TypedDict):
    """Something stands in the way: each check is ``ok``, or says what is wrong and what to do."""

    status: Literal["not ready"]
    checks: Annotated[dict[str, str], Meta(examples=[CHECKS | {"disk": FULL}])]
