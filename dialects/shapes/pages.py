"""The forms that programs send as well, as types."""

from typing import Annotated, NotRequired, TypedDict

from msgspec import Meta

from dialects.shapes.values import TOKEN


class RegistrationForm(TypedDict):
    """The form of mod_invites_register_web."""

    user: Annotated[str, Meta(examples=["anne"], description="The user name.")]
    password: Annotated[str, Meta(examples=["correct horse battery"])]
    email: NotRequired[
        Annotated[str, Meta(examples=["anne@example.org"], description="Needed where the invite is for a domain.")]
    ]
    token: Annotated[str, Meta(examples=[TOKEN], description="The invite's. It may be the query instead.")]
