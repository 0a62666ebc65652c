"""Pages for people who invite people: their invitations, what is left to invite, and who came.

What a form does ends in a redirect. Only the list is at /invites: what follows that is HitKey's.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from flask import Response, request

import clock
from rules import (
    accounts,
    admins,
    budgets,
    changing,
    cursors,
    durations,
    fields,
    invites,
    listing,
    outbox,
    own_invites,
    presets,
)
from rules.refusals import LinkLost, together
from rules.sessions import SignedIn
from settings import settings
from web import forms, html, requests
from web.html import Shown, page, see_other

HEADERS: Mapping[str, str] = html.HEADERS
refusal = partial(forms.refusal, home="/invites")

PATH = "/account/invites"
_DRAFT = ("name", "email", "project", "ttl", "message")
_FORM = (*_DRAFT, "mail", "once")


def list_mine(caller: SignedIn) -> str:
    """What is left to invite, the form that creates an invitation, the caller's invitations and who came."""
    given = {"once": clock.random_text(16), "mail": "on", "ttl": clock.spell(settings().invite_ttl)}
    return _list(caller, given)(done=request.args.get("done"))


@html.form(lambda caller: _list(caller, forms.again(_FORM, clock.random_text(16))))
def create(caller: SignedIn) -> Response:
    """Create the invitation that the form asks for, once; without an address it is not mailed."""
    given = forms.sent(*_FORM)
    draft, _ = together(
        lambda: presets.draft({name: given[name] or None for name in _DRAFT}, accounts.as_inviter(caller.account)),
        lambda: forms.once(given["once"]),
    )
    mailed = bool(given["mail"] and draft.email and settings().smtp_url)
    id_ = clock.id_for(f"{caller.account.id} {forms.number_for(*given.values())}")
    made = own_invites.create(caller.user, draft, mailed, id_)
    return see_other(f"{PATH}/{made.id}?done={'mailed' if mailed else 'created'}")


def show(caller: SignedIn, invite_id: str) -> str:
    """One invitation of the caller: its link, to copy or share, and what can be done with it."""
    return _one(caller, invite_id)()


def _shown(caller: SignedIn) -> Shown:
    return _one(caller, forms.in_path("invite_id"))


@html.form(_shown)
def resend(caller: SignedIn, invite_id: str) -> Response:
    """Mail an invitation of the caller again."""
    own_invites.resend(caller.user, invite_id)
    return see_other(f"{PATH}/{invite_id}?done=reminded")


@html.form(_shown)
def revoke(caller: SignedIn, invite_id: str) -> Response:
    """Revoke an invitation of the caller."""
    own_invites.revoke(caller.user, invite_id)
    return see_other("/invites?done=revoked")


def _list(caller: SignedIn, given: Mapping[str, str]) -> Shown:
    query = requests.query(("cursor",))
    found = own_invites.page(caller.account.id, cursors.read(query["cursor"]) if query else None)
    shown: dict[str, Any] = {
        "given": given,
        "rows": found.rows,
        "older": forms.next_page({}, cursors.written(found.next)) if found.next else None,
        "guests": [] if query else own_invites.guests(caller.account.id),
        "is_first": not query,
        "left": budgets.left(caller.account),
        "may_invite": budgets.may_invite(caller.account),
        "mail_at": _mail_at(caller),
        "lifetimes": [(clock.spell(each), each) for each in durations.lifetimes()],
        "projects": own_invites.inviting_to(caller.user),
    }
    return partial(page, "invites.html", **shown)


def _mail_at(caller: SignedIn) -> Any:
    """When the caller can have one more invitation mailed; None if that is now."""
    at = outbox.room_at(caller.account.id)
    return None if admins.is_admin(caller.account) or at <= clock.now() else at


def _one(caller: SignedIn, invite_id: str) -> Shown:
    invite = own_invites.find(caller.user, invite_id)
    row = listing.one(invite_id)
    try:
        link = invites.link(invites.token(invite))
    except LinkLost:
        link = None
    domain = fields.is_domain(invite.email)
    can_mail = bool(invite.email and not domain and settings().smtp_url)
    facts = {
        "domain": domain,
        "was_declined": invite.revoked_at is not None and changing.was_declined(invite),
        "was_mailed": invite.mail_token_hash is not None,
        "can_mail": can_mail,
    }
    return partial(page, "invites_one.html", invite=row, link=link, done=request.args.get("done"), **facts)
