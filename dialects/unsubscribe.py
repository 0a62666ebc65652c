"""The way out of invitations by mail: each has a link to this page, and mail programs send their one click here.

The signed link is what authorises: no cookie counts, and no form of another site has one. Opening it changes nothing.

https://www.rfc-editor.org/rfc/rfc8058
"""

from collections.abc import Mapping
from typing import Annotated

from flask import Response

from rules import blocked_addresses
from rules.blocked_addresses import PATH
from rules.refusals import BlockingLinkInvalid
from web import html
from web.contract import Answer, refuses
from web.html import page, see_other, token_in_link
from web.requests import form_field

HEADERS: Mapping[str, str] = html.HEADERS

Stopped = Annotated[Response | str, Answer(200, str, "text/html"), Answer(303, header="Location")]

refusal = html.refusal


@refuses(BlockingLinkInvalid)
def show() -> str:
    """Ask whether invitations by mail are to stop, or say that they have."""
    token = token_in_link()
    return page("unsubscribe.html", token=token, is_blocked=blocked_addresses.is_blocked(blocked_addresses.read(token)))


@refuses(BlockingLinkInvalid)
def stop() -> Stopped:
    """Stop invitations by mail to the address that the link is about.

    A mail program's one click is answered by a page: by RFC 8058 it follows no redirect.
    """
    token = token_in_link()
    blocked_addresses.block(blocked_addresses.read(token))
    if form_field("List-Unsubscribe"):
        return page("unsubscribe.html", token=token, is_blocked=True)
    return see_other(f"{PATH}?{token}")
