"""What the pages for the admins of the site, and that of one's account, share: forms, lists, who may not see them."""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

from flask import Response, request
from werkzeug.exceptions import HTTPException

from rules.refusals import Invalid, NotSignedIn, Refusal, together
from settings import settings
from web import html, requests
from web.html import see_other

HEADERS: Mapping[str, str] = html.HEADERS
ROWS = 50  # of a list on one page

_ONCE = re.compile("[A-Za-z0-9_-]{8,40}", re.ASCII)


def refusal(error: Refusal | HTTPException, home: str = "/admin") -> Response:
    """Who is not signed in may do so, and comes back, from a form to `home`; all else is said as on every page."""
    if not isinstance(error, NotSignedIn):
        return html.refusal(error)
    return html.sign_in_first(request.path if request.method == "GET" else home)


def in_path(name: str) -> str:
    """What the address of this request names."""
    return str((request.view_args or {})[name])


def as_typed(*names: str) -> dict[str, str]:
    """What was given in the query under these names, good or not, to be shown again."""
    return {name: text for name in names if (text := request.args.get(name))}


def again(names: Sequence[str], number: str) -> dict[str, str]:
    """What was sent in a form, good or not, to be shown again; its `once` is `number` if its own came damaged."""
    given = {name: request.form.get(name, "") for name in names}
    return given if _ONCE.fullmatch(given["once"]) else {**given, "once": number}


def sent(*names: str) -> dict[str, str]:
    """The fields of a form; raises Invalid with all that are there twice or hold what nobody wrote."""
    return dict(zip(names, together(*(partial(requests.typed, name) for name in names)), strict=True))


def once(text: str) -> str:
    """The number of a form that may be used once; raises Invalid for one that no page of ours had."""
    if not _ONCE.fullmatch(text):
        raise Invalid.at("once", "format", "was changed: load the page again")
    return text


def number_for(*sent: str) -> str:
    """The number of what a form creates that was sent with its own number and these fields.

    It is another one if a field was changed: who goes back and types another guest creates another invite.
    """
    return hashlib.sha256(json.dumps(sent).encode()).hexdigest()[:32]


def kept(row: Any, *names: str) -> SimpleNamespace:
    """These columns of a row, for a page that is written when its unit of work is over."""
    return SimpleNamespace(**{name: getattr(row, name) for name in names})


def next_page(given: Mapping[str, str], cursor: str, path: str = "") -> str:
    """The address of the page of this list, or of that at `path`, filtered alike, that begins at a cursor."""
    return f"{settings().root}{path or request.path}?{urlencode({**given, 'cursor': cursor})}"


def number(cursor: str) -> int:
    """The number of the event at which a page begins; raises Invalid for what no page of ours has."""
    if not (cursor.isascii() and cursor.isdecimal() and len(cursor) < 19):
        raise Invalid.at("cursor", "format", "names no place in this list; take `next` of the page before")
    return int(cursor)


def done(path: str, what: str) -> Response:
    """303, to the page at `path`, which says what was done (templates/admin/layout.html has the sentences)."""
    return see_other(f"{path}?done={what}")
