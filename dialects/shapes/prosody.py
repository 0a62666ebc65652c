"""What Prosody's dialect takes, as types."""

from typing import Annotated, TypedDict

from msgspec import Meta

from dialects.shapes.values import Approve, Invited, InviteRole, Name, PersonalMessage, Plan, Preset, RedirectUrl, Stay
from rules.drafts import MAX_USES


class Redirecting(TypedDict):
    """What is there or not, whatever its value."""

    redirect: Annotated[bool, Meta(description="Whatever its value: 303 instead of 201.")]


class InviteParameters(TypedDict, total=False):
    """What an invite is to be. Everything has a default."""

    name: Name
    email: Annotated[Invited, Meta(description="Only for this address, or for any address at `@example.org`.")]
    uses: Annotated[int, Meta(examples=[5], description=f"How many people may use it: 1 to {MAX_USES}.")]
    ttl: Annotated[str, Meta(examples=["3d"], description="How long it is valid: 3d, 12h, or seconds.")]
    project: Annotated[str, Meta(examples=["tea-garden"], description="The slug of the project that the guest joins.")]
    role: InviteRole
    access: Stay
    approve: Approve
    data: Annotated[
        str,
        Meta(examples=['{"seat": 12}'], description="A JSON object for the operator's programs, as text or as JSON."),
    ]
    plan: Plan
    preset: Preset
    redirect_url: RedirectUrl
    message: PersonalMessage
    note: Annotated[str, Meta(max_length=1000, description="Your own note, never shown to the guest.")]
