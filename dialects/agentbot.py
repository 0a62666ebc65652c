"""Agentbot's Invite API: create, verify, the admin's list; and its deprecated 12-hex codes.

The platform's promise: errors are ``{"error": TEXT, "code": CODE}``; creates answer 201; verify
answers ``{valid: true, plan}`` and nothing else, 410 for a used token. Where the original answered
"valid" to any token while its database was away, this one fails closed: 503.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated
from urllib.parse import quote, urlencode

from flask import Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.http import http_date

from clock import iso
from config import settings
from dialects import shapes, wire
from dialects.contract import Answer, Created, Deprecated, refuses
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

Listing = Annotated[Response | Iterator[str], Answer(200, shapes.InviteList)]

_NO_GOOD_CODE = (Invalid, InviteNotFound, InviteExpired, InviteUsed)


def create_invite(caller: SignedIn, body: shapes.Named) -> Created[shapes.Made]:
    """Invite a person by name, as whoever is signed in."""
    name = body["name"]
    token = invites.mint(invites.Draft(name=name), accounts.as_maker(caller.account))
    return {"success": True, "inviteUrl": f"{_link(token)}&name={quote(name, safe='')}", "token": token}, 201


@refuses(InviteNotFound, InviteExpired, InviteUsed)
def verify(caller: None, body: shapes.TokenOrCode) -> shapes.Verified:  # noqa: ARG001
    """Whether a token is good; it stays so."""
    token = body.get("token") or body.get("code") or ""
    if not tokens.is_token(token):
        raise Invalid.at("token", "format", "must be 64 lower-case hexadecimal digits")
    return {"valid": True, "plan": invites.shown(token).plan}


def create_for_address(caller: SignedIn, body: shapes.Addressed) -> Created[shapes.MadeForAddress]:
    """Invite an address, as an admin. No mail is sent."""
    email = body["email"]
    token = invites.mint(invites.Draft(email=email), accounts.as_maker(caller.account))
    return {"success": True, "code": token, "email": email, "inviteUrl": _link(token)}, 201


def list_invites(caller: SignedIn, query: shapes.ListQuery) -> Listing:  # noqa: ARG001
    """All invites, the newest first, streamed; with ``?limit=`` a page, and where the next one starts.

    ``?status=`` and ``?q=`` filter; ``total`` and ``active`` always count all.
    """
    wanted = listing.read(query, STATES)
    return _page(wanted, query) if "limit" in query else _stream(wanted)


@refuses(refusals.LegacyCodesOff)
def generate(caller: Maker) -> Deprecated[shapes.ShortCode]:
    """Make an invite with a short code. Deprecated."""
    return {"code": legacy.create(caller)}, _deprecated()


def spend_try(caller: None) -> None:  # noqa: ARG001
    """Count a try at a short code, before it is looked at."""
    legacy.count_try(wire.neighbourhood())


@refuses(Invalid, InviteNotFound, InviteExpired, InviteUsed, at=400, shape=shapes.NotValid)
@refuses(refusals.LegacyCodesOff, shape=shapes.NotValid)
def validate(caller: None, spent: None, body: shapes.ShortCode) -> Deprecated[shapes.Spent]:  # noqa: ARG001
    """Spend the invite that has this short code. Deprecated."""
    legacy.spend(body["code"])
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


def _page(wanted: Filter, given: shapes.ListQuery) -> Response:
    limit = fields.count(given["limit"], "limit", 1000)
    rows = listing.page(wanted, limit + 1)
    counts = listing.counts()
    invites_ = [_listed(each) for each in rows[:limit]]
    body: shapes.InviteList = {"invites": invites_, "total": counts["total"], "active": counts["active"]}
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


def _listed(row: Listed) -> shapes.ListedInvite:
    shown: shapes.ListedInvite = {
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
    if row.used_at:
        shown["usedAt"] = iso(row.used_at)
    if row.revoked_at:
        shown["revokedAt"] = iso(row.revoked_at)
    if row.user_id:
        shown["userId"] = row.user_id
    if row.legacy_code:
        shown["legacyCode"] = row.legacy_code
    return shown


def _link(token: str) -> str:
    return f"{settings().public_url}/invite?token={token}"
