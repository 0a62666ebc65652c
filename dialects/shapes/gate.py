"""What a proxy asks at the gate, as a type."""

from typing import Annotated, TypedDict

from msgspec import Meta


class Asked(TypedDict):
    """The query."""

    redirect: Annotated[str, Meta(description="Lead a browser that opens a page to where it gets a pass.")]
    cookies: Annotated[str, Meta(description="Answer with the request's cookies, but those of this service.")]
