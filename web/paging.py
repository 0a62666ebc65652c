"""Lists that come in pages: the header that leads to the next one."""

from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import urlencode

from settings import settings

LINK = "Link"
NextPage = Annotated[dict[str, str], LINK]  # headers: none at the end of a list


def next_page(path: str, query: Mapping[str, Any], cursor: str | None) -> NextPage:
    """The header ``Link: …; rel="next"`` to the same list after `cursor`, for clients that do not look into the body.

    No header if there is no cursor: the list ends here.
    """
    if cursor is None:
        return {}
    return {LINK: f'<{settings().public_url}{path}?{urlencode({**query, "cursor": cursor})}>; rel="next"'}
