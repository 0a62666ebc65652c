"""What HitKey's dialect takes and answers, as types."""

from functools import partial
from typing import Annotated, Literal, NotRequired, TypedDict

from msgspec import Meta

from dialects.shapes.values import (
    Access,
    Digits,
    DisplayName,
    Email,
    Id,
    Invited,
    InviteRole,
    Link,
    Message,
    Moment,
    Password,
    PersonalMessage,
    Preset,
    RedirectUrl,
    Refresh,
    Slug,
    Ticket,
    Token,
    Username,
    one_of,
)
from rules import fields


class Registration(TypedDict):
    """An invite, and the account to create with it."""

    invite_token: Annotated[Token, partial(fields.text, field="invite_token", longest=100)]
    email: Email
    password: Password
    username: NotRequired[Username]
    displayName: NotRequired[DisplayName]


class Credentials(TypedDict):
    """The password of the account."""

    email: Annotated[str, Meta(examples=["anne@example.org"], description="The address, or the user name.")]
    password: Annotated[str, Meta(examples=["correct horse battery"])]


class RefreshToken(TypedDict):
    """A refresh token; it is used up."""

    refresh_token: Refresh


class MaybeAddressed(TypedDict, total=False):
    """The address of a registration; not needed when signed in."""

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


class ProjectDraft(TypedDict):
    """A project to create."""

    name: Annotated[str, partial(fields.text, field="name", longest=100), Meta(max_length=100, examples=["Tea Garden"])]
    description: NotRequired[
        Annotated[str, partial(fields.text, field="description", longest=1000), Meta(max_length=1000)]
    ]
    is_public: NotRequired[Annotated[bool, partial(fields.boolean, field="is_public")]]


class PageQuery(TypedDict, total=False):
    """Which page of a list to show; without both all of it comes at once."""

    limit: Annotated[str, Meta(pattern="^[0-9]{1,9}$", examples=["100"], description="A page of so many, 1 to 1000.")]
    cursor: Annotated[str, Meta(description="Where to go on: it stands in the header `Link` of the page before.")]


class ProjectInvite(TypedDict):
    """The guest of a project."""

    email: Email
    role: NotRequired[InviteRole]
    redirect_url: NotRequired[RedirectUrl]
    message: NotRequired[PersonalMessage]
    preset: NotRequired[Preset]


class InvitedProject(TypedDict):
    """A project, as the person who is invited to it sees it."""

    name: Annotated[str, Meta(examples=["Tea Garden"])]
    slug: Slug


class Inviter(TypedDict):
    """Who invites; the site's name for API keys and the shell."""

    displayName: Annotated[str, Meta(examples=["Alice"])]


class Invitation(TypedDict):
    """What anyone with the link may know."""

    id: Id
    email: Invited | None
    role: InviteRole
    project: InvitedProject | None
    invitedBy: Inviter
    expiresAt: Moment | None
    is_expired: Literal[False]


class Joined(TypedDict):
    """Where an invite has led to."""

    project_slug: Slug | None
    redirect_url: RedirectUrl | None


WaitingFor = Annotated[
    str,
    one_of("approval", "proof"),
    Meta(description="`approval`: an admin has to approve. `proof`: the address of the account has to be proved."),
]


class WaitingUse(TypedDict):
    """A use that waits: until then the account has nothing of what the invite gives."""

    project_slug: Annotated[str | None, Meta(description="Null while the use waits.")]
    redirect_url: Annotated[str | None, Meta(description="Null while the use waits.")]
    state: Literal["waiting"]
    waiting_for: WaitingFor


class Person(TypedDict):
    """An account."""

    id: Id
    email: Email | None
    displayName: DisplayName


class TokenPair(TypedDict):
    """An access token, valid for `expires_in` seconds, and the refresh token for the next one."""

    type: Literal["bearer"]
    token: Access
    refresh_token: Refresh
    expires_in: Annotated[int, Meta(examples=[3600])]


class SignIn(TokenPair):
    """The tokens of a user who has signed in."""

    user: Person


class JoinedSignIn(SignIn, Joined):
    """The tokens of a user who has signed in, and where the invite has led to; the last two only if the use waits."""

    state: NotRequired[Literal["waiting"]]
    waiting_for: NotRequired[WaitingFor]


class FirstSignIn(SignIn):
    """The tokens of a new user, with a word of welcome."""

    message: Message


class Address(TypedDict):
    """An e-mail address of an account; its `id` is the account's."""

    id: Id
    email: Email
    isDefault: bool
    isVerified: bool


NoPart = Annotated[str | None, Meta(description="Always null.")]  # a bare null has no type in some languages


class Me(Person):
    """The account of the caller. The parts of a name are always null: there is one name, the `displayName`."""

    username: Username | None
    emailVerified: bool
    isAdmin: bool
    createdAt: Moment
    updatedAt: Annotated[Moment, Meta(description="When the account was created: later changes are not noted.")]
    name: DisplayName
    emails: list[Address]
    totpEnabled: Literal[False]
    surname: NoPart
    givenNames: NoPart
    nativeScript: NoPart
    preferredOrder: NoPart
    invitesLeft: Annotated[int | None, Meta(description="How many people one can invite now; null: any number.")]
    invitesBackAt: Annotated[Moment | None, Meta(description="When one can invite more; null if never.")]


class Notice(TypedDict):
    """It is done; a sentence for people."""

    message: Message


class VerifiedCode(Notice):
    """A sentence for people, and for a new account the token that allows to choose its password."""

    registration_token: NotRequired[Ticket]


class Project(TypedDict):
    """A project."""

    id: Id
    name: Annotated[str, Meta(examples=["Tea Garden"])]
    slug: Slug
    description: Annotated[str | None, Meta(examples=["Tea, cake and weeding"])]
    is_public: bool
    owner_id: Id | None
    created_at: Moment


class MemberAccount(TypedDict):
    """The account of a member."""

    id: Id
    email: Email | None
    display_name: DisplayName


class ProjectMember(TypedDict):
    """A member of a project."""

    id: Id
    user_id: Id
    role: Annotated[str, one_of("owner", "admin", "member")]
    user: MemberAccount
    permissions: Annotated[list[str], Meta(max_length=0, description="Always empty.")]
    created_at: Moment
    ends_at: Annotated[Moment | None, Meta(description="When the access to the project ends.")]


class InviteOfProject(TypedDict):
    """An invite to a project."""

    id: Id
    email: Invited | None
    role: InviteRole
    redirect_url: RedirectUrl | None
    expiresAt: Moment | None
    created_at: Moment


class SentInvite(InviteOfProject):
    """An invite to a project that was just created; with its link where no mail can be sent."""

    inviteUrl: NotRequired[Link]


class WaitingGuest(TypedDict):
    """A guest who waits: for `approval`, or for the `proof` of their own address."""

    redemption: Id
    who: Annotated[str, Meta(examples=["Bob"])]
    waiting_for: Annotated[str, one_of("approval", "proof")]
    since: Moment


class InviteOfProjectWithState(InviteOfProject):
    """An invite to a project, with its state and the guests who wait."""

    status: Annotated[str, one_of("active", "used", "expired", "revoked")]
    waiting: list[WaitingGuest]
    held: Annotated[int, Meta(ge=0, description="How many uses programs hold.")]


class ChosenUse(TypedDict):
    """The use that waits, as the list of them names it."""

    redemption: Id
