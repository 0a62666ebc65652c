"""What the calls about holds take and answer, as types."""

from typing import Annotated, NotRequired, TypedDict

from msgspec import Meta

from dialects.shapes.values import (
    AnyCode,
    Data,
    Email,
    Id,
    Invited,
    InviteRole,
    Moment,
    Name,
    Plan,
    Slug,
    Token,
    one_of,
)
from rules.holds import MAX_SUBJECT

HoldState = Annotated[
    str,
    one_of("held", "waiting", "done", "released", "lapsed"),
    Meta(description="`waiting`: completed, and waits for an admin's approval."),
]


class WantedHold(TypedDict):
    """The invite of which a program wants a use, by its `token` or a `code`, and the guest."""

    token: NotRequired[Token]
    code: NotRequired[Annotated[AnyCode, Meta(description="Instead of a token: a short code, as the guest typed it.")]]
    subject: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=MAX_SUBJECT,
            examples=["anne"],
            description="What the program itself calls the guest. It uses an invite once for each.",
        ),
    ]
    email: NotRequired[
        Annotated[Email, Meta(description="The guest's address, which the program has proved; for a bound invite.")]
    ]
    lease: NotRequired[
        Annotated[str, Meta(examples=["10m"], description="How long it is held: 30s to 1h, 10m if it is not given.")]
    ]
    complete: NotRequired[Annotated[bool, Meta(description="Complete it at once.")]]


class HeldInvite(TypedDict):
    """The invite of a hold."""

    id: Id
    name: Name | None
    email: Invited | None
    plan: Plan
    role: InviteRole
    project: Slug | None
    data: Data | None


class Hold(TypedDict):
    """A use of an invite that a program has taken."""

    id: Id
    state: HoldState
    held_until: Annotated[Moment | None, Meta(description="The end of its lease, while it is held or has lapsed.")]
    late: Annotated[bool, Meta(description="Whether it was completed after its lease.")]
    invite: HeldInvite
