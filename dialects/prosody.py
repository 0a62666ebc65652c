"""Prosody's mod_invites_api: one address that creates an invite.

The module's promise: a GET with ``Authorization: Bearer ID/SECRET`` or ``?key=ID/SECRET`` answers
201 with the invite's link in Location and an empty body, or 303 when ``redirect`` is in the query;
403 without a good key. Its documentation and the keys it makes speak of POST too, and it sends CORS
headers. Beyond it, the parameters of an invite are taken, in the query, a form or JSON.

https://modules.prosody.im/mod_invites_api
"""

from collections.abc import Mapping

from flask import Response
from werkzeug.exceptions import HTTPException

from dialects.shapes import prosody as shapes
from rules import drafts, fields, invites, presets
from rules.idempotency import Once
from rules.refusals import Refusal
from web import errors
from web.contract import Empty, Linked

HEADERS: Mapping[str, str] = {
    **errors.HEADERS,
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, Authorization, Idempotency-Key",
    # Or a program in a browser cannot read what it created.
    "Access-Control-Expose-Headers": "Location, Idempotency-Replayed",
    "Access-Control-Max-Age": "7200",
}

STATUS = errors.STATUS


def create_invite(
    caller: drafts.Inviter, flags: shapes.Redirecting, parameters: shapes.InviteParameters, once: Once | None
) -> Linked:
    """Create an invite; 201, or 303 with ``redirect``, and the link in Location."""
    fields.refuse_empty(parameters)
    link = invites.link(invites.create_token(presets.draft(parameters, caller, once=once), caller, once))
    status = 303 if flags["redirect"] else 201
    return Response(status=status, headers={"Location": link}, mimetype="text/plain")


def preflight() -> Empty:
    """Tell a browser that it may call; nothing is created, and no key is needed."""
    return Response(status=200, mimetype="text/plain")


def refusal(error: Refusal | HTTPException) -> Response:
    """The status as Prosody has it, and a JSON body that says why."""
    return errors.refusal(error, STATUS)
