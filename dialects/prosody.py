"""Prosody's mod_invites_api: one address that makes an invite.

The module's promise: a GET with ``Authorization: Bearer ID/SECRET`` or ``?key=ID/SECRET`` answers
201 with the invite's link in Location and an empty body, or 303 when ``redirect`` is in the query;
403 without a good key. Its documentation and the keys it makes speak of POST too, and it sends CORS
headers. Beyond it, the parameters of an invite are taken, in the query, a form or JSON.

https://modules.prosody.im/mod_invites_api
"""

from collections.abc import Mapping

from flask import Response
from werkzeug.exceptions import HTTPException

from dialects import shapes, wire
from dialects.contract import Empty, Linked
from rules import invites
from rules.refusals import Refusal

HEADERS: Mapping[str, str] = {
    **wire.HEADERS,
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, OPTIONS",
    "Access-Control-Allow-Headers": "Content-Type, Authorization",
    "Access-Control-Max-Age": "7200",
}

STATUS = wire.STATUS


def create_invite(caller: invites.Maker, flags: shapes.Redirecting, asked: shapes.InviteParameters) -> Linked:
    """Make an invite; 201, or 303 with ``redirect``, and the link in Location."""
    link = invites.link(invites.mint(invites.read(asked), caller))
    status = 303 if flags["redirect"] else 201
    return Response(status=status, headers={"Location": link}, mimetype="text/plain")


def preflight(caller: None) -> Empty:  # noqa: ARG001
    """Tell a browser that it may call; nothing is made and no key is needed."""
    return Response(status=200, mimetype="text/plain")


def refusal(error: Refusal | HTTPException) -> Response:
    """The status as Prosody has it, and a JSON body that says why."""
    return wire.refusal(error, STATUS)
