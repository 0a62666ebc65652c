"""What a value in a body may be: a type, with the function that reads it, what it means, and an example."""

from functools import partial
from typing import Annotated, Any, TypedDict

from msgspec import Meta

from rules import fields, messages, passwords, presets

TOKEN = "5d0b4c1f7d7e3cf1c9b9f0a6fd3b9d1b3c84c1f1cbb2e9a2f2b7c7a3d1e0f945"  # noqa: S105 (an example)
_CODE = "3f9a0c27be51"
_PERSON = "Anne-Marie"


def one_of(*words: str) -> Meta:
    """That a text is one of these; for types whose values come from elsewhere as texts."""
    return Meta(extra_json_schema={"enum": [*words]})


Id = Annotated[str, Meta(examples=["5b0e0c6e-8f0e-4c59-9a57-6f3d1f6b2a10"], extra_json_schema={"format": "uuid"})]
Moment = Annotated[
    str, Meta(examples=["2026-03-25T21:00:00.000Z"], extra_json_schema={"format": "date-time"}, description="UTC.")
]
Token = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", examples=[TOKEN], description="The secret of an invite's link.")]
Language = Annotated[str, Meta(examples=["de"], description="The code of a language that the pages speak.")]
AnyCode = Annotated[str, Meta(examples=[_CODE], description="A short code: 12 hexadecimal digits.")]
Link = Annotated[str, Meta(examples=[f"https://invite.example.org/invite?{TOKEN}"], description="The invite's link.")]
Email = Annotated[
    str,
    fields.email,
    Meta(
        max_length=fields.MAX_ADDRESS,
        examples=["anne@example.org"],
        description="An e-mail address.",
        extra_json_schema={"format": "email"},
    ),
]
Invited = Annotated[
    str,
    fields.invited_email,
    Meta(
        max_length=fields.MAX_ADDRESS,
        examples=["anne@example.org"],
        description="An e-mail address, or a domain such as `@example.org` for anyone with an address there.",
    ),
]
Name = Annotated[
    str,
    fields.name,
    Meta(
        max_length=100,
        examples=[_PERSON],
        description="The guest's name: letters of any script, digits, spaces and . ' ’ - , & · ( ) / _",
    ),
]
DisplayName = Annotated[
    str,
    partial(fields.name, field="displayName"),
    Meta(examples=[_PERSON], description="What to call the person; else the user name or what is before the @."),
]
Username = Annotated[
    str, fields.username, Meta(examples=["anne"], description="2 to 30 of a-z 0-9 . _ -; capitals are lowered.")
]
Password = Annotated[
    str,
    passwords.check,
    Meta(
        max_length=passwords.MAX_LENGTH,
        examples=["correct horse battery"],
        description="Not too short, and not easy to guess.",
    ),
]
PersonalMessage = Annotated[
    str,
    messages.read,
    Meta(
        max_length=messages.MAX_LENGTH,
        examples=["See you on Saturday!"],
        description="What the inviter says to the guest, in the mail and on the page: plain text without links.",
    ),
]
InviteRole = Annotated[
    str, fields.role, one_of("member", "admin"), Meta(description="The guest's role in the project.")
]
Plan = Annotated[
    str, partial(fields.text, field="plan", longest=100), Meta(examples=["solo"], description="A label for programs.")
]
RedirectUrl = Annotated[
    str,
    fields.redirect_url,
    Meta(
        max_length=2000,
        examples=["https://app.example.org/start"],
        extra_json_schema={"format": "uri"},
        description="Link after joining: https, or http on this machine.",
    ),
]
Preset = Annotated[
    str,
    presets.read_name,
    Meta(
        max_length=presets.MAX_NAME,
        examples=["family"],
        description="The name of a preset, whose fields apply where none is given.",
    ),
]
Stay = Annotated[
    str,
    fields.access,
    Meta(examples=["30d"], description="How long a guest stays in the project: `30d`, `12 weeks`, or `never`: no end."),
]
Approve = Annotated[bool, Meta(description="Whether each use waits until an admin says yes.")]
Data = Annotated[
    dict[str, Any],
    Meta(examples=[{"seat": 12}], description="For the operator's programs, at most 2 KiB; guests never see it."),
]
Slug = Annotated[str, Meta(examples=["tea-garden"], description="The slug of the project, as in its address.")]
Access = Annotated[
    str, Meta(examples=["hitkey_Wm1vX0pJcVQ2bT9y"], description="For `Authorization: Bearer`, for an hour.")
]
Refresh = Annotated[
    str,
    Meta(examples=["0b5e7a52-41c4-4a0e-9d8c-3f6a7c1b2d90.Jk2v"], description="Valid for one `/auth/token/refresh`."),
]
Ticket = Annotated[str, Meta(examples=["eyJh.aGk"], description="What allows to choose the first password.")]
Digits = Annotated[str, Meta(examples=["408213"], description="The six digits that were mailed.")]
Message = Annotated[str, Meta(examples=["Done."], description="A sentence for people.")]
State = Annotated[str, one_of("active", "used", "expired"), Meta(description="A revoked invite counts as expired.")]


class Addressed(TypedDict):
    """An e-mail address."""

    email: Email
