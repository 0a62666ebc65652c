"""Pages for the admins of the site: creating invites, and each of them.

A form that creates something carries a number that is used once, so that sending it again (a double click, the back
button) creates nothing more. What a form does ends in a redirect.
"""

from collections.abc import Callable, Mapping
from functools import partial
from urllib.parse import urlencode

from flask import Response, request

import clock
from rules import (
    accounts,
    changing,
    drafts,
    durations,
    fields,
    invites,
    listing,
    timeline,
    waiting,
)
from rules.refusals import Invalid, together
from rules.sessions import SignedIn
from settings import settings
from web import choices, forms, html, requests
from web.html import Shown, page, see_other

HEADERS = forms.HEADERS

MAX_AT_ONCE = 500

_OF_INVITE = (*choices.FIELDS, "count", "once", "admin", "mail")

refusal = forms.refusal


def new_invite() -> str:
    """The form that creates one invite or many.

    `project` in the query is chosen in it. With `like` it has what the invite with this id has, but for the guest;
    with `again` also that.
    """
    asked = requests.query(("project", "like", "again"))
    given = {"project": asked.get("project", "")}
    if "like" in asked:
        given = choices.fields_of(asked["like"], but=("name", "email"))
    elif "again" in asked:
        given = choices.fields_of(asked["again"])
    return _invite_form({"once": clock.random_text(16), **given})()


@html.form(lambda _: _invite_form(forms.again(_OF_INVITE, clock.random_text(16))))
def create_invites(caller: SignedIn) -> Response:
    """Create the invites that the form asks for, once."""
    given, inviter = forms.sent(*_OF_INVITE), accounts.as_inviter(caller.account)
    count, draft, _ = together(
        lambda: fields.count(given["count"] or "1", "count", MAX_AT_ONCE),
        lambda: choices.draft(given, inviter, bool(given["admin"])),
        lambda: forms.once(given["once"]),
    )
    number = forms.number_for(*given.values())
    ids = listing.batch_ids(number, count)
    if not listing.with_ids(ids):
        if count > 1 and draft.email and not fields.is_domain(draft.email):
            raise Invalid.at("count", "range", "must be 1 for an invitation to one address")
        for each in ids:
            invites.create(draft, inviter, mailed=bool(given["mail"]), id_=each)
    if count == 1:
        return forms.done(f"/admin/invites/{ids[0]}", "created")
    return see_other(f"/admin/made?{urlencode({'once': number, 'count': count})}")


def show_invite(invite_id: str) -> str:
    """All about one invite: its link, what has happened to it, and what can be done."""
    return _invite_page(invite_id)()


def revoke_invite(invite_id: str) -> Response:
    """Revoke an invite."""
    changing.revoke(invites.find_by_id(invite_id))
    return forms.done(f"/admin/invites/{invite_id}", "revoked")


def _invite_named(_: SignedIn) -> Shown:
    return _invite_page(forms.in_path("invite_id"))


@html.form(_invite_named)
def extend_invite(invite_id: str) -> Response:
    """Extend an invite: it expires so long from now, or at the end of a day."""
    changing.extend(invites.find_by_id(invite_id), durations.ttl(forms.sent("ttl", "until", "offset")))
    return forms.done(f"/admin/invites/{invite_id}", "extended")


@html.form(_invite_named)
def resend_invite(invite_id: str) -> Response:
    """Mail an invite, perhaps once more."""
    changing.resend(invites.find_by_id(invite_id))
    return forms.done(f"/admin/invites/{invite_id}", "sent")


@html.form(_invite_named)
def rotate_invite(invite_id: str) -> Response:
    """Give an invite a new link."""
    changing.rotate(invites.find_by_id(invite_id))
    return forms.done(f"/admin/invites/{invite_id}", "rotated")


@html.form(_invite_named)
def approve_use(invite_id: str) -> Response:
    """Let a guest in who waits for approval."""
    use = waiting.approve(_waiting_use(invite_id))
    return forms.done(f"/admin/invites/{invite_id}", "approved" if use.state == "done" else "member")


@html.form(_invite_named)
def deny_use(invite_id: str) -> Response:
    """Refuse a guest who waits for approval; the use is given back."""
    waiting.deny(_waiting_use(invite_id))
    return forms.done(f"/admin/invites/{invite_id}", "denied")


def _waiting_use(invite_id: str) -> str:
    """The id of the use of this invite that the form names; raises NotWaiting."""
    return waiting.named(invite_id, requests.form_field("redemption"))


def _invite_form(given: Mapping[str, str]) -> Callable[..., str]:
    """The form with what was typed."""
    return partial(page, "admin/invite_new.html", **choices.offered(given))


def _invite_page(invite_id: str) -> Callable[..., str]:
    invite = listing.one(invite_id)
    events = timeline.of_invite(invites.find_by_id(invite_id))
    link = invites.link(invite.token) if invite.token else None
    typed = forms.again(("ttl", "until", "once"), "")
    longest = drafts.ADMIN_TTL if invite.makes_admin else None
    lengths = [(clock.spell(each), each, clock.now() + each) for each in durations.lifetimes(typed["ttl"], longest)]
    shown = {"invite": invite, "events": events, "link": link, "lengths": lengths, "given": typed}
    shown["usual"] = clock.spell(settings().invite_ttl)
    shown["access"] = invite.access and invite.access * clock.SECOND
    shown["domain"] = fields.is_domain(invite.email)
    return partial(page, "admin/invite.html", **shown, done=request.args.get("done"))
