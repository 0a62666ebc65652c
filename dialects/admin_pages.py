"""Pages for the admins of the site: invites, API keys, people and projects.

A form that makes something carries a number that is used once, so that sending it again (a double
click, the back button) makes nothing more. What a form does ends in a redirect; only what can be
shown just once, the secret of a key, is the answer itself.
"""

import re
from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

from flask import Response, g, make_response, request
from werkzeug.exceptions import HTTPException

import clock
from config import settings
from dialects import html, wire
from dialects.html import page, see_other
from rules import accounts, fields, history, invites, keys, listing, places, projects, statistics, tokens
from rules.projects import Plan
from rules.refusals import Invalid, NotSignedIn, Refusal
from rules.sessions import SignedIn

HEADERS: Mapping[str, str] = html.HEADERS

ROWS = 50
MOST_AT_ONCE = 500
WEEKS = 12

_ONCE = re.compile("[A-Za-z0-9_-]{8,40}", re.ASCII)
_FILTER = ("status", "q", "project", "maker", "email", "cursor")
_DRAFT = ("name", "email", "project", "role", "plan", "ttl", "uses", "redirect_url", "note")


def list_invites(caller: SignedIn) -> Response | str:  # noqa: ARG001
    """The invites, filtered, a page at a time; a token or link that is searched for leads to its invite."""
    given = wire.query(_FILTER)
    token = tokens.in_text(given.get("q", ""))
    if tokens.is_token(token):
        return see_other(f"/admin/invites/{invites.find(token).id}")
    weeks = [] if given else statistics.weeks(WEEKS)
    show = partial(page, "admin/invites.html", given=given, weeks=weeks, **listing.counts())
    g.again = partial(show, rows=[], older=None)
    found = listing.search(listing.read(given), ROWS)
    return show(rows=found.rows, older=_older(given, found.next), until=found.next and found.next[0])


def new_invite(caller: SignedIn) -> str:  # noqa: ARG001
    """The form that makes one invite or many; `project` in the query is chosen in it."""
    return _invite_form({"once": clock.random_text(16), **wire.query(("project",))})()


def create_invites(caller: SignedIn) -> Response:
    """Make what the form asks for, once."""
    given = {name: wire.form_field(name) for name in (*_DRAFT, "count", "once", "admin", "mail")}
    g.again = _invite_form(given)
    count = fields.count(given["count"] or "1", "count", MOST_AT_ONCE)
    ids = invites.batch(_once(given["once"]), count)
    if not invites.with_ids(ids):
        draft = invites.read({name: given[name] for name in _DRAFT}, makes_admin=bool(given["admin"]))
        if count > 1 and draft.email:
            raise Invalid.at("count", "range", "must be 1 for an invitation to one address")
        for each in ids:
            invites.create(draft, accounts.as_maker(caller.account), mailed=bool(given["mail"]), id_=each)
    if count == 1:
        return see_other(f"/admin/invites/{ids[0]}?done=made")
    return see_other(f"/admin/made?{urlencode({'once': given['once'], 'count': count})}")


def made(caller: SignedIn) -> str:  # noqa: ARG001
    """The links of the invites that were made together."""
    given = wire.query(("once", "count"))
    ids = invites.batch(_once(given.get("once", "")), fields.count(given.get("count", "1"), "count", MOST_AT_ONCE))
    links = [invites.link(invites.token(each)) for each in invites.with_ids(ids)]
    return page("admin/made.html", links=links)


def show_invite(caller: SignedIn, invite_id: str) -> str:  # noqa: ARG001
    """All about one invite: its link, what has happened to it, and what can be done."""
    return _invite_page(invite_id)()


def revoke_invite(caller: SignedIn, invite_id: str) -> Response:  # noqa: ARG001
    """Withdraw an invite."""
    invites.revoke(invites.find_by_id(invite_id))
    return _done(f"/admin/invites/{invite_id}", "revoked")


def extend_invite(caller: SignedIn, invite_id: str) -> Response:  # noqa: ARG001
    """Let an invite live for so long from now."""
    g.again = _invite_page(invite_id)
    invites.extend(invites.find_by_id(invite_id), fields.ttl(wire.form_field("ttl")))
    return _done(f"/admin/invites/{invite_id}", "extended")


def send_invite(caller: SignedIn, invite_id: str) -> Response:  # noqa: ARG001
    """Mail an invite, perhaps once more."""
    g.again = _invite_page(invite_id)
    invites.resend(invites.find_by_id(invite_id))
    return _done(f"/admin/invites/{invite_id}", "sent")


def rotate_invite(caller: SignedIn, invite_id: str) -> Response:  # noqa: ARG001
    """Give an invite a new link."""
    g.again = _invite_page(invite_id)
    invites.rotate(invites.find_by_id(invite_id))
    return _done(f"/admin/invites/{invite_id}", "rotated")


def list_keys(caller: SignedIn) -> str:  # noqa: ARG001
    """The API keys, and the form that makes one."""
    return _key_page({"once": keys.new_id()})()


def create_key(caller: SignedIn) -> str:  # noqa: ARG001
    """Make a key and show its secret, now and never again."""
    given = {name: wire.form_field(name) for name in ("name", "expires", "once")}
    g.again = _key_page(given)
    lifetime = keys.lifetime(given["expires"]) if given["expires"] else None
    key = keys.create(given["name"] or None, lifetime, id_=_once(given["once"]))
    return _key_page({"once": keys.new_id()})(made=key)  # the answer itself: nobody can be told again


def delete_key(caller: SignedIn, key_id: str) -> Response:  # noqa: ARG001
    """Delete a key; what it made stays."""
    keys.delete(key_id)
    return _done("/admin/keys", "deleted")


def list_people(caller: SignedIn) -> str:  # noqa: ARG001
    """The accounts, a page at a time."""
    given = wire.query(("q", "cursor"))
    show = partial(page, "admin/people.html", given=given)
    g.again = partial(show, rows=[], older=None)
    wanted = listing.read(given)
    rows = accounts.search(wanted.text, wanted.after, ROWS + 1)
    older = places.of(rows[ROWS - 1]) if len(rows) > ROWS else None
    return show(rows=[_person(each) for each in rows[:ROWS]], older=_older(given, older))


def show_person(caller: SignedIn, user_id: str) -> str:
    """All about one account, and what can be done with it."""
    return _person_page(caller, user_id)()


def make_admin(caller: SignedIn, user_id: str) -> Response:
    """Make an account an admin of the site, or no longer."""
    g.again = _person_page(caller, user_id)
    user, on = accounts.named(user_id), wire.form_field("off") == ""
    if not on:
        accounts.refuse_self(caller.user, user)
    accounts.set_admin(user, on)
    return _done(f"/admin/people/{user_id}", "admin" if on else "no-admin")


def disable_person(caller: SignedIn, user_id: str) -> Response:
    """Shut an account out, or let it in again."""
    g.again = _person_page(caller, user_id)
    user = accounts.named(user_id)
    accounts.refuse_self(caller.user, user)
    if wire.form_field("off"):
        accounts.enable(user)
        return _done(f"/admin/people/{user_id}", "enabled")
    accounts.disable(user)
    return _done(f"/admin/people/{user_id}", "disabled")


def delete_person(caller: SignedIn, user_id: str) -> Response:
    """Delete an account and withdraw the open invites it made."""
    g.again = _person_page(caller, user_id)
    user = accounts.named(user_id)
    accounts.refuse_self(caller.user, user)
    accounts.remove(user)
    return _done("/admin/people", "deleted")


def reset_person(caller: SignedIn, user_id: str) -> str:
    """Show a link with which a new password can be set; nothing is changed by it."""
    return _person_page(caller, user_id)(reset_link=accounts.reset_link(accounts.named(user_id)))


def list_projects(caller: SignedIn) -> str:  # noqa: ARG001
    """The projects, and the form that makes one."""
    return _project_list({"once": clock.new_id()})()


def create_project(caller: SignedIn) -> Response:
    """Make a project, once."""
    given = {name: wire.form_field(name) for name in ("name", "owner", "description", "once")}
    g.again = _project_list(given)
    values = fields.read(_PROJECT, given)
    if "name" not in values:
        raise Invalid.at("name", "required", "is missing")
    owner = accounts.named(given["owner"]) if given["owner"] else caller.user
    project = projects.create(owner, Plan(**values), id_=clock.id_for(_once(given["once"])))
    return _done(f"/admin/projects/{project.slug}", "made")


def show_project(caller: SignedIn, slug: str) -> str:  # noqa: ARG001
    """A project, who belongs to it, and what can be done."""
    return _project_page(slug)()


def hand_over_project(caller: SignedIn, slug: str) -> Response:  # noqa: ARG001
    """Make somebody else the owner."""
    g.again = _project_page(slug)
    projects.hand_over(projects.find(slug), accounts.named(wire.form_field("owner")))
    return _done(f"/admin/projects/{slug}", "handed-over")


def delete_project(caller: SignedIn, slug: str) -> Response:  # noqa: ARG001
    """Delete a project and withdraw its open invites."""
    projects.remove_all(projects.find(slug))
    return _done("/admin/projects", "deleted")


def refusal(error: Refusal | HTTPException) -> Response:
    """Who is not signed in may do so, and comes back; all else is said as on every page."""
    if not isinstance(error, NotSignedIn):
        return html.refusal(error)
    here = request.path if request.method == "GET" else "/admin"
    return make_response(see_other(f"/login?{urlencode({'then': here})}"))


_OF_PROJECT = ("id", "slug", "name", "description", "created_at")
_PROJECT: Mapping[str, Callable[[Any], Any]] = {
    "name": lambda value: fields.text(value, "name", 100),
    "description": lambda value: fields.text(value, "description", 1000),
}


# What a form shows when it is shown again is looked up before anything is refused: then the unit of work is over.


def _invite_form(given: Mapping[str, str]) -> Callable[..., str]:
    """The form with what was typed."""
    named = [(each.slug, each.name) for each in projects.newest(200)]
    return partial(page, "admin/invite_new.html", given=given, projects=named, lifetime=_usual_lifetime())


def _invite_page(invite_id: str) -> Callable[..., str]:
    invite = listing.one(invite_id)
    events = history.of(invites.find_by_id(invite_id))
    link = invites.link(invite.token) if invite.token else None
    shown = {"invite": invite, "events": events, "link": link, "lifetime": _usual_lifetime()}
    return partial(page, "admin/invite.html", **shown, done=_what_was_done())


def _key_page(given: Mapping[str, str]) -> Callable[..., str]:
    rows = [_kept(each, "id", "name", "created_at", "last_used_at", "expires_at") for each in keys.newest()]
    return partial(page, "admin/keys.html", given=given, rows=rows, now=clock.now(), done=_what_was_done())


def _person_page(caller: SignedIn, user_id: str) -> Callable[..., str]:
    user = accounts.named(user_id)
    used = [(_kept(each, "id", "name", "email"), each.project and each.project.name) for each in accounts.used_by(user)]
    return partial(
        page,
        "admin/person.html",
        user=_person(user),
        is_self=user.id == caller.user.id,
        used=used,
        done=_what_was_done(),
    )


def _project_list(given: Mapping[str, str]) -> Callable[..., str]:
    rows = [(_kept(each, *_OF_PROJECT), _person(projects.owner(each))) for each in projects.newest(200)]
    return partial(page, "admin/projects.html", given=given, rows=rows, done=_what_was_done())


def _project_page(slug: str) -> Callable[..., str]:
    project = projects.find(slug)
    members = [(_person(each.user), each.role, each.joined_at) for each in projects.members(project)]
    kept = _kept(project, *_OF_PROJECT)
    return partial(page, "admin/project.html", project=kept, members=members, done=_what_was_done())


def _person(user: Any) -> SimpleNamespace:
    names = ("id", "called", "username", "email", "email_verified_at", "admin_at", "created_at", "disabled_at")
    return SimpleNamespace(**vars(_kept(user, *names)), is_admin=accounts.is_admin(user))


def _kept(row: Any, *names: str) -> SimpleNamespace:
    """What a page needs of a row."""
    return SimpleNamespace(**{name: getattr(row, name) for name in names})


def _usual_lifetime() -> str:
    return clock.spell(settings().invite_ttl)


def _what_was_done() -> str | None:
    return request.args.get("done")


def _once(text: str) -> str:
    if not _ONCE.fullmatch(text):
        raise Invalid.at("once", "format", "this form is damaged: open it anew")
    return text


def _older(given: Mapping[str, str], place: places.Place | None) -> str | None:
    """The address of the next page of a list."""
    return f"{settings().root}{request.path}?{urlencode({**given, 'cursor': places.cursor(place)})}" if place else None


def _done(path: str, what: str) -> Response:
    return see_other(f"{path}?done={what}")
