"""What our own API takes and answers, as types."""

from typing import Annotated, Any, NotRequired, TypedDict

from msgspec import Meta

from dialects.shapes.values import (
    Approve,
    Data,
    Id,
    Invited,
    InviteRole,
    Link,
    Moment,
    Name,
    PersonalMessage,
    Plan,
    Preset,
    RedirectUrl,
    Slug,
    Stay,
    Token,
    one_of,
)
from rules.batches import MAX_INVITES
from rules.drafts import MAX_USES
from rules.events import TYPES

State = Annotated[
    str,
    one_of("active", "used", "expired", "revoked"),
    Meta(description="The first that holds of `used`, `revoked`, `expired`, `active`."),
]
Ttl = Annotated[
    str, Meta(examples=["3d"], description="How long it is valid from now on: `3d`, `12h`, or a number of seconds.")
]
Note = Annotated[
    str, Meta(max_length=1000, examples=["Summer party"], description="Your own note, never shown to the guest.")
]
MaxUses = Annotated[
    int, Meta(ge=1, le=MAX_USES, examples=[5], description=f"How many people may use it: 1 to {MAX_USES}.")
]
Limit = Annotated[
    str, Meta(pattern="^[0-9]{1,9}$", examples=["50"], description="At most so many, 1 to 200; else 100.")
]
Cursor = Annotated[str, Meta(description="Where to go on: `next` of the page before.")]
EventType = Annotated[str, one_of(*TYPES)]


class InviteDraft(TypedDict, total=False):
    """What an invite is to be. Everything has a default."""

    name: Name
    email: Annotated[Invited, Meta(description="Only for this address, or for any address at `@example.org`.")]
    project: Slug
    role: InviteRole
    access: Stay
    plan: Plan
    data: Data
    approve: Approve
    redirect_url: RedirectUrl
    message: PersonalMessage
    note: Note
    makes_admin: Annotated[bool, Meta(description="The guest becomes an admin of the site. For admins only.")]
    ttl: Ttl
    max_uses: MaxUses
    preset: Preset
    mail: Annotated[bool, Meta(description="Whether to mail it to its address.")]


class InviteDrafts(InviteDraft, total=False):
    """What an invite is to be; or, without any other member, a list of what several are to be: all or none."""

    invites: Annotated[
        list[InviteDraft],
        Meta(
            min_length=1,
            max_length=MAX_INVITES,
            description=f"Up to {MAX_INVITES:,} of them, and no other member beside them.",
        ),
    ]


class Changes(TypedDict, total=False):
    """What is to change; what is left out stays. Null takes a name, a message, a note or the data away."""

    ttl: Ttl
    name: Name | None
    message: PersonalMessage | None
    note: Note | None
    data: Data | None
    max_uses: Annotated[MaxUses, Meta(description="How many people may use it; no fewer than have.")]


class Waiting(TypedDict):
    """A use that waits for an admin's approval, or for the proof of an address."""

    redemption: Id
    who: Annotated[str, Meta(examples=["anne"], description="The account, or what a program calls its guest.")]
    since: Moment
    waiting_for: Annotated[str, one_of("approval", "proof")]


class WhichUse(TypedDict):
    """Which of the uses that wait is meant."""

    redemption: Id


class Invite(TypedDict):
    """An invite; `link` and `token` are there when it was just created, or if they were asked for."""

    id: Id
    state: State
    held: Annotated[int, Meta(examples=[0], description="How many of its uses programs hold.")]
    waiting: Annotated[list[Waiting], Meta(description="Its uses that wait for a yes or a proof, the oldest first.")]
    name: Name | None
    email: Invited | None
    project: Slug | None
    role: InviteRole
    access: Stay | None
    plan: Plan
    data: Data | None
    approve: Approve
    redirect_url: RedirectUrl | None
    message: PersonalMessage | None
    note: Note | None
    makes_admin: bool
    max_uses: MaxUses
    uses: Annotated[
        int, Meta(examples=[0], description="How many have used it, with those that wait and those that are held.")
    ]
    created_at: Moment
    made_by: Annotated[str, Meta(examples=["API key shop"])]
    expires_at: Moment | None
    revoked_at: Moment | None
    used_at: Annotated[Moment | None, Meta(description="When it was used last.")]
    user_id: Annotated[Id | None, Meta(description="The account that used it last.")]
    link: NotRequired[Link]
    token: NotRequired[Token]


class Event(TypedDict):
    """What happened, when, who did it, and to what; `facts` are ids, numbers and durations in seconds."""

    id: Id
    at: Moment
    type: EventType
    actor: Annotated[str, Meta(examples=["API key shop"])]
    actor_id: Annotated[str | None, Meta(examples=["HTwALnKL"], description="Of an account or an API key.")]
    invite_id: Id | None
    project_id: Id | None
    user_id: Id | None
    facts: dict[str, Any]


class OneInvite(TypedDict):
    """An invite."""

    invite: Invite


class InviteWithEvents(TypedDict):
    """An invite, and what happened to it: the newest 200 events, the oldest of them first."""

    invite: Invite
    events: list[Event]


class CreatedInvites(TypedDict):
    """What was created: `invite`, or `invites` in the order of the list that was sent."""

    invite: NotRequired[Invite]
    invites: NotRequired[list[Invite]]


class Invites(TypedDict):
    """Invites, the newest first."""

    invites: list[Invite]
    next: Annotated[str | None, Meta(description="The cursor of the next page; null on the last one.")]


class Events(TypedDict):
    """What happened, the oldest first."""

    events: list[Event]
    next: Annotated[str, Meta(description="The cursor of what happens after these; the same while nothing does.")]


class ListQuery(TypedDict, total=False):
    """Which invites to list."""

    limit: Limit
    cursor: Cursor
    state: State
    project: Annotated[Slug, Meta(description="To the project with this slug.")]
    inviter: Annotated[
        str, Meta(examples=["HTwALnKL"], description="By this account or API key, or with this in the inviter's name.")
    ]
    maker: Annotated[str, Meta(description="The former name of `inviter`.")]
    email: Annotated[str, Meta(examples=["anne@example.org"], description="For this address.")]
    text: Annotated[str, Meta(description="With this in the name, the address or the note.")]


class ShowQuery(TypedDict, total=False):
    """Whether to show the link, too."""

    link: Annotated[str, one_of("1"), Meta(description="With the link that opens it.")]


class EventQuery(TypedDict, total=False):
    """Which events to list."""

    limit: Limit
    cursor: Cursor
    type: EventType
    invite: Annotated[Id, Meta(description="About this invite.")]
    user: Annotated[Id, Meta(description="About this account, or by it.")]
