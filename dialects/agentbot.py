"""Agentbot's Invite API: create, verify, the admin's list; and its deprecated 12-hex codes.

The platform's promise: errors are ``{"error": TEXT, "code": CODE}``; creates answer 201; verify
answers ``{valid: true, plan}`` and nothing else, 410 for a used token. Where the original answered
"valid" to any token while its database was away, this one fails closed: 503.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated
from urllib.parse import quote, urlencode

from flask import Response
from werkzeug.exceptions import HTTPException
from werkzeug.http import http_date

from clock import iso
from dialects.shapes import agentbot as shapes
from rules import accounts, cursors, fields, invitations, invites, legacy, listing, presets, refusals, tokens
from rules.drafts import Inviter
from rules.idempotency import Once
from rules.listing import Filter, Listed
from rules.refusals import BudgetSpent, Invalid, InviteExpired, InviteNotFound, InviteUsed, MayNotInvite, Refusal
from rules.sessions import SignedIn
from settings import settings
from web import contract, errors, inviting, requests
from web.contract import Answer, Created, CreatedWith, Deprecated, refuses
from web.html import see_other
from web.paging import next_page
from web.replies import dumps

HEADERS: Mapping[str, str] = errors.HEADERS

FOR_FRONT_ENDS = True  # see web/cors.py

STATUS = {**errors.STATUS, refusals.KeyRefused: 401}

ANY_JSON = True  # the original's handlers read a body as JSON, whatever Content-Type it has

DEPRECATED_SINCE = "@1767225600"  # 2026-01-01, as RFC 9745 writes it
CHUNK = 500
STATES = {"active": ("active",), "used": ("used",), "expired": ("expired", "revoked"), "revoked": ("revoked",)}

Onward = Annotated[Response, Answer(303, header="Location")]
Listing = Annotated[Response | Iterator[str], Answer(200, shapes.InviteList)]


@refuses(BudgetSpent, MayNotInvite)
def create_invite(caller: SignedIn, body: shapes.InviteByName, once: Once | None) -> CreatedWith[shapes.CreatedInvite]:
    """Invite a person by name, as the user who is signed in."""
    token = _token(body, caller, once)
    url = f"{_link(token)}&name={quote(body['name'], safe='')}"
    return {"success": True, "inviteUrl": url, "token": token}, 201, inviting.left(caller.account)


@refuses(InviteNotFound, InviteExpired, InviteUsed)
def verify(body: shapes.TokenOrCode) -> shapes.Verified:
    """Check whether a token is valid; nothing is used."""
    token = body.get("token") or body.get("code") or ""
    if not tokens.is_token(token):
        raise Invalid.at("token", "format", "must be 64 lower-case hexadecimal digits")
    return {"valid": True, "plan": invitations.find(token).plan}


def create_for_address(
    caller: SignedIn, body: shapes.InviteByAddress, once: Once | None
) -> Created[shapes.CreatedInviteForAddress]:
    """Invite an address, as an admin. No mail is sent."""
    token = _token(body, caller, once)
    return {"success": True, "code": token, "email": body["email"], "inviteUrl": _link(token)}, 201


def list_invites(query: shapes.ListQuery) -> Listing:
    """All invites, the newest first, streamed; with ``?limit=`` a page, and where the next one starts.

    ``?status=`` and ``?q=`` filter; ``total`` and ``active`` always count all.
    """
    wanted = listing.read(query, STATES)
    return _page(wanted, query) if "limit" in query else _stream(wanted)


def join(query: shapes.JoinQuery) -> Onward:
    """Lead from the link that Agentbot's admin page copies to the invitation."""
    return see_other(f"/invite?{urlencode({'token': query.get('code', '')})}")


@refuses(refusals.LegacyCodesOff)
def generate(caller: Inviter, once: Once | None) -> Deprecated[shapes.ShortCode]:
    """Create an invite with a short code. Deprecated."""
    return {"code": legacy.create(caller, once)}, _deprecated()


@refuses(Invalid, InviteNotFound, InviteExpired, InviteUsed, at=400, shape=shapes.NotValid)
@refuses(refusals.LegacyCodesOff, shape=shapes.NotValid)
def validate(body: shapes.ShortCode) -> Deprecated[shapes.UsedCode]:
    """Use the invite that has this short code. Deprecated."""
    with legacy.counted(requests.neighbourhood()):
        legacy.use(body["code"])
    return {"valid": True}, _deprecated()


def refusal(error: Refusal | HTTPException) -> Response:
    """``{"error": TEXT, "code": CODE}``; from validate also ``"valid": false``."""
    answer, row = errors.refusal(error, STATUS), requests.row()
    if row and contract.is_deprecated(row.view):
        answer.headers.update(_deprecated())
    if row and row.view is validate:
        answer.set_data(dumps({"valid": False, **(answer.json or {})}) + "\n")
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
        body["next"] = cursors.written(cursors.of(rows[limit - 1]))
        response.headers.update(next_page("/api/admin/invites", given, body["next"]))
    response.set_data(dumps(body) + "\n")
    return response


def _stream(wanted: Filter) -> Iterator[str]:
    """The list in chunks. Each is fetched in a unit of work of its own, so a slow reader holds nothing up."""
    start = '{"invites":['
    while rows := listing.page(wanted, CHUNK):
        yield start + ",".join(dumps(_listed(each)) for each in rows)
        start = ","
        wanted = wanted.following(rows[-1])
    yield ("" if start == "," else start) + "]," + dumps(listing.counts())[1:] + "\n"


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
    if held := sum(each.state == "held" for each in row.waiting):
        shown["held"] = held
    if row.legacy_code:
        shown["legacyCode"] = row.legacy_code
    return shown


def _token(given: Mapping[str, object], caller: SignedIn, once: Once | None) -> str:
    """The token of a new invite of these fields, as this account may create one."""
    inviter = accounts.as_inviter(caller.account)
    return invites.create_token(presets.draft(given, inviter, once=once), inviter, once)


def _link(token: str) -> str:
    return f"{settings().public_url}/invite?token={token}"
