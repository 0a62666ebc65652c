"""Who may call: each guard returns the caller, or refuses.

The map in app.py names one for every row. They run inside the row's unit of work.
"""

import re

from flask import request

from config import settings
from rules import invites, keys
from rules.invites import Maker
from rules.refusals import KeyRefused

_BEARER = re.compile(r"Bearer[ \t](\S+)", re.IGNORECASE)


def anyone() -> None:
    """Everybody may; the view is told nothing about them."""


def api_key() -> Maker:
    """A program with an API key, in ``Authorization: Bearer ID/SECRET`` or in ``?key=ID/SECRET``.

    As in mod_invites_api a header, even a bad one, overrides the query.
    """
    header = request.headers.get("Authorization")
    if header is not None:
        bearer = _BEARER.fullmatch(header)
        if not bearer:
            raise KeyRefused("The Authorization header is not of the form Bearer ID/SECRET.")
        return invites.by_key(keys.authenticate(bearer[1]))
    given = request.args.getlist("key")
    if not given:
        raise KeyRefused
    if not settings().allow_query_key:
        raise KeyRefused("Keys are not taken from the URL here.")
    if len(given) > 1:
        raise KeyRefused("There is more than one key in this URL.")
    return invites.by_key(keys.authenticate(given[0]))


def credential() -> str | None:
    """What the caller shows to be let in, unchecked; None where nothing is shown."""
    return request.headers.get("Authorization") or request.args.get("key")
