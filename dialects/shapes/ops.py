"""What the operator's calls answer, as types."""

from typing import Annotated, Literal, TypedDict

from msgspec import Meta


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
