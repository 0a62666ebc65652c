"""Agentbot's Invite API: create, verify, the admin's list; and its deprecated 12-hex codes.

The platform's promise: errors are ``{"error": TEXT, "code": CODE}``; creates answer 201; verify
answers ``{valid: true, plan}`` and nothing else, 410 for a used token. Where the original answered
"valid" to any token while its database was away, this one fails closed: 503.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from flask import Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.http import http_date

from clock import iso
from config import settings
from dialects import wire
from rules import accounts, fields, invites, legacy, listing, places, refusals, tokens
from rules.invites import Maker
from rules.listing import Filter, Listed
from rules.refusals import Invalid, InviteExpired, InviteNotFound, InviteUsed, Refusal
from rules.sessions import SignedIn

HEADERS: Mapping[str, str] = wire.HEADERS

STATUS = {**wire.STATUS, refusals.KeyRefused: 401}

VALIDATE = "/api/invite/validate"
DEPRECATED = ("/api/invite/generate", VALIDATE)
DEPRECATED_SINCE = "@1767225600"  # 2026-01-01, as RFC 9745 writes it
CHUNK = 500
STATES = {"active": ("active",), "used": ("used",), "expired": ("expired", "revoked")}

Created = tuple[dict[str, Any], int]
Headed = tuple[dict[str, Any], dict[str, str]]

_NO_GOOD_CODE = (Invalid, InviteNotFound, InviteExpired, InviteUsed)


def create_invite(caller: SignedIn) -> Created:
    """Invite a person by name, as whoever is signed in."""
    name = fields.name(wire.required(wire.json_object(), "name"))
    token = invites.mint(invites.Draft(name=name), accounts.as_maker(caller.user))
    return {"success": True, "inviteUrl": f"{_link(token)}&name={quote(name, safe='')}", "token": token}, 201


def verify(caller: None) -> dict[str, Any]:  # noqa: ARG001
    """Whether a token is good; it stays so."""
    body = wire.json_object()
    token = wire.required(body, "token" if body.get("token") is not None else "code")
    if not tokens.is_token(token):
        raise Invalid.at("token", "format", "must be 64 lower-case hexadecimal digits")
    return {"valid": True, "plan": invites.shown(token).plan}


def create_for_address(caller: SignedIn) -> Created:
    """Invite an address, as an admin. No mail is sent."""
    email = fields.email(wire.required(wire.json_object(), "email"))
    token = invites.mint(invites.Draft(email=email), accounts.as_maker(caller.user))
    return {"success": True, "code": token, "email": email, "inviteUrl": _link(token)}, 201


def list_invites(caller: SignedIn) -> Response | Iterator[str]:  # noqa: ARG001
    """All invites, the newest first, streamed; with ``?limit=`` a page, and where the next one starts.

    ``?status=`` and ``?q=`` filter; ``total`` and ``active`` always count all.
    """
    given = wire.query(("limit", "cursor", "status", "q"))
    wanted = listing.read(given, STATES)
    return _page(wanted, given) if "limit" in given else _stream(wanted)


def generate(caller: Maker) -> Headed:
    """Make an invite with a short code. Deprecated."""
    return {"code": legacy.create(caller)}, _deprecated()


def spend_try(caller: None) -> None:  # noqa: ARG001
    """Count a try at a short code, before it is looked at."""
    legacy.count_try(wire.neighbourhood())


def validate(caller: None, spent: None) -> Headed:  # noqa: ARG001
    """Spend the invite that has this short code. Deprecated."""
    legacy.spend(wire.required(wire.json_object(), "code"))
    legacy.forgive_try(wire.neighbourhood())
    return {"valid": True}, _deprecated()


def refusal(error: Refusal | HTTPException) -> Response:
    """``{"error": TEXT, "code": CODE}``; from validate also ``"valid": false``, and 400 for any bad code."""
    answer = wire.refusal(error, STATUS)
    path = request.path.rstrip("/")
    if path in DEPRECATED:
        answer.headers.update(_deprecated())
    if path == VALIDATE:
        answer.set_data(wire.dumps({"valid": False, **(answer.json or {})}) + "\n")
        if isinstance(error, _NO_GOOD_CODE):
            answer.status_code = 400
    return answer


def _deprecated() -> dict[str, str]:
    """What the deprecated calls say of themselves: that they are, until when, and what to call instead."""
    sunset = settings().legacy_sunset
    return {
        "Deprecation": DEPRECATED_SINCE,
        "Link": f'<{settings().public_url}/api/invites/verify>; rel="successor-version"',
        **({"Sunset": http_date(sunset)} if sunset else {}),
    }


def _page(wanted: Filter, given: dict[str, str]) -> Response:
    limit = fields.count(given["limit"], "limit", 1000)
    rows = listing.page(wanted, limit + 1)
    body: dict[str, Any] = {"invites": [_listed(each) for each in rows[:limit]], **listing.counts()}
    response = Response(mimetype="application/json")
    if len(rows) > limit:
        body["next"] = places.cursor(places.of(rows[limit - 1]))
        query = urlencode({**given, "cursor": body["next"]})
        response.headers["Link"] = f'<{settings().public_url}/api/admin/invites?{query}>; rel="next"'
    response.set_data(wire.dumps(body) + "\n")
    return response


def _stream(wanted: Filter) -> Iterator[str]:
    """The list in chunks. Each is fetched in a unit of work of its own, so a slow reader holds nothing up."""
    start = '{"invites":['
    while rows := listing.page(wanted, CHUNK):
        yield start + ",".join(wire.dumps(_listed(each)) for each in rows)
        start = ","
        wanted = wanted.following(rows[-1])
    yield ("" if start == "," else start) + "]," + wire.dumps(listing.counts())[1:] + "\n"


def _listed(row: Listed) -> dict[str, Any]:
    shown = {
        "id": row.id,
        "code": row.token,
        "email": row.email or "",
        "name": row.name,
        "status": "expired" if row.state == "revoked" else row.state,
        "uses": row.uses,
        "maxUses": row.max_uses,
        "plan": row.plan,
        "role": row.role,
        "madeBy": row.made_by,
        "createdAt": iso(row.created_at),
        "expiresAt": iso(row.expires_at) if row.expires_at else None,
    }
    moments = {"usedAt": row.used_at, "revokedAt": row.revoked_at}
    shown |= {name: iso(moment) for name, moment in moments.items() if moment}
    texts = {"userId": row.user_id, "legacyCode": row.legacy_code}
    return shown | {name: text for name, text in texts.items() if text}


def _link(token: str) -> str:
    return f"{settings().public_url}/invite?token={token}"
