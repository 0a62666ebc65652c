"""What a proxy asks at the gate, as a type."""

from typing import Annotated, TypedDict

from msgspec import Meta


class Asked(TypedDict):
    """The query."""

    redirect: Annotated[str, Meta(description="Lead a browser that opens a page to where it gets a pass.")]
