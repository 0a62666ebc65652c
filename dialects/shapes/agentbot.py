"""What Agentbot's dialect takes and answers, as types."""

from typing import Annotated, Literal, NotRequired, TypedDict

from msgspec import Meta

from dialects.shapes.values import (
    TOKEN,
    AnyCode,
    Email,
    Id,
    InviteRole,
    Link,
    Moment,
    Name,
    PersonalMessage,
    Plan,
    Preset,
    State,
    Token,
    one_of,
)
from web.errors import ErrorBody


class NotValid(ErrorBody):
    """Why not, as validate answers it: the error of every call, and ``"valid": false``."""

    valid: Literal[False]


class InviteByName(TypedDict):
    """The guest."""

    name: Name
    message: NotRequired[PersonalMessage]
    preset: NotRequired[Preset]


class InviteByAddress(TypedDict):
    """The address to invite."""

    email: Email
    message: NotRequired[PersonalMessage]
    preset: NotRequired[Preset]


class TokenOrCode(TypedDict, total=False):
    """A token, under either name; if both are there, `token` counts."""

    token: Token
    code: Annotated[Token, Meta(description="The same, as older programs call it.")]


class ShortCode(TypedDict):
    """A short code."""

    code: AnyCode


class CreatedInvite(TypedDict):
    """The invite that was created."""

    success: Literal[True]
    inviteUrl: Link
    token: Token


class CreatedInviteForAddress(TypedDict):
    """The invite that was created for an address."""

    success: Literal[True]
    code: Token
    email: Email
    inviteUrl: Link


class Verified(TypedDict):
    """The token is valid."""

    valid: Literal[True]
    plan: Plan


class UsedCode(TypedDict):
    """The short code was valid, and is now used."""

    valid: Literal[True]


class JoinQuery(TypedDict, total=False):
    """The invite that a copied link is about."""

    code: Annotated[str, Meta(examples=[TOKEN], description="The invite's token.")]


class ListQuery(TypedDict, total=False):
    """Which invites to list."""

    limit: Annotated[str, Meta(pattern="^[0-9]{1,9}$", examples=["100"], description="A page of so many, 1 to 1000.")]
    cursor: Annotated[str, Meta(description="Where to go on: `next` of the page before.")]
    status: Annotated[
        str,
        one_of("active", "used", "expired", "revoked"),
        Meta(description="`expired` also lists what was revoked; `revoked` lists nothing else."),
    ]
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
    held: NotRequired[Annotated[int, Meta(examples=[1], description="How many of its uses programs hold, if any.")]]
    legacyCode: NotRequired[AnyCode]


class InviteList(TypedDict):
    """Invites, the newest first; `total` and `active` count all there are."""

    invites: list[ListedInvite]
    total: int
    active: int
    next: NotRequired[Annotated[str, Meta(description="The cursor of the next page; not there on the last one.")]]
