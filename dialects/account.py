"""Pages about one's own account: name, password, where one is signed in, passes of programs, one's data, its end.

What a form does ends in a redirect. A password is only changed, and an account only deleted, with the password that it
has: a browser that was left open is not enough.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from flask import Response, after_this_request, request
from werkzeug.exceptions import HTTPException

import clock
from rules import accounts, admins, fields, gate, own_account, passes, passwords, projects, sessions, waiting
from rules.accounts import Attempt
from rules.refusals import NotSignedIn, Refusal, together
from rules.sessions import SignedIn
from web import cookies, forms, html, requests
from web.answer import committed, read_only
from web.contract import Answer
from web.html import Shown, page, see_other
from web.replies import dumps

HEADERS: Mapping[str, str] = html.HEADERS

_OF_PASS = ("project", "name", "ttl", "once")
_SHOWN = ("id", "name", "created_at", "expires_at")
_USUAL_TTL = "90d"

Download = Annotated[Iterator[str], Answer(200, dict[str, Any])]


def lead_to_password() -> Response:
    """Lead password managers to where a password is changed, as the W3C has agreed with them."""
    return see_other("/account")


def _account_page(caller: SignedIn) -> Shown:
    given = forms.again(_OF_PASS, clock.new_id())
    return _page_with(caller, given if request.form.get("project") else {**given, "ttl": _USUAL_TTL})


def _page_with(caller: SignedIn, given: Mapping[str, str]) -> Shown:
    account = caller.account
    opened = [_opened(each, caller) for each in sessions.of_account(account.id)]
    opened.sort(key=lambda each: not each["is_this"])
    typed = request.form.get("display_name", account.display_name or "")
    joined = [(each.project.name, each.role, each.ends_at) for each in projects.memberships(caller.user)]
    shown = {"account": account, "sessions": opened, "memberships": joined, "awaited": waiting.of_account(account.id)}
    made = [(forms.kept(each, *_SHOWN), each.project.name) for each in passes.of_user(account.id)]
    gated = [(str(each.slug), each.name) for each in gate.of_member(caller.user)]
    opens = {"passes": made, "gated": gated, "given": given, "now": clock.now()}
    return partial(page, "account.html", **shown, **opens, display_name=typed)


def _opened(session: Any, caller: SignedIn) -> dict[str, Any]:
    """What the page says of a session; only programs have a token with which it is prolonged."""
    is_this, is_browser = session.id == caller.session_id, session.refresh_hash is None
    return {"id": session.id, "since": session.created_at, "is_this": is_this, "is_browser": is_browser}


def show_account(caller: SignedIn) -> str:
    """Your own account: the name that is shown, its address, its password, and where you are signed in."""
    return _account_page(caller)(done=request.args.get("done"))


@html.form(_account_page)
def rename(caller: SignedIn) -> Response:
    """Change the name that is shown, or have none."""
    typed = requests.form_field("display_name").strip()
    own_account.rename(caller.user, fields.name(typed, "display_name") if typed else None)
    return _done("name")


@html.form(_account_page)
def change_password(caller: SignedIn) -> Response:
    """Set a new password with the old one. Everyone who is signed in to this account is signed out but this browser."""
    confirmed, password = together(partial(_confirmed, caller), partial(_new_password, caller))
    password_hash = passwords.hash(password)
    return cookies.sign_in(_done("password"), committed(own_account.change_password, confirmed, password_hash))


@html.form(_account_page)
def end_session(caller: SignedIn) -> Response:
    """Sign out one browser or program of this account."""
    ended = requests.form_field("session")
    sessions.end_one(caller.user, ended)
    return cookies.sign_out(see_other("/")) if ended == caller.session_id else _done("session")


@html.form(_account_page)
def end_other_sessions(caller: SignedIn) -> Response:
    """Sign out all browsers and programs of this account but this one."""
    sessions.end_others(caller)
    return _done("sessions")


@html.form(_account_page)
def create_pass(caller: SignedIn) -> str:
    """Create a pass for a program and show it, now and never again."""
    given = forms.sent(*_OF_PASS)
    _, lifetime, once = together(
        lambda: requests.require(given, "project", "ttl"),
        lambda: fields.access(given["ttl"], "ttl") if given["ttl"] else None,
        lambda: forms.once(given["once"]),
    )
    sessions.keep(caller)
    member = projects.of_member(given["project"], caller.user)
    made, secret = passes.create(member, given["name"], lifetime, clock.id_for(once))
    shown = {"made": secret, "app": gate.origins(made.project)[0], "of": made.project.name}
    return _page_with(caller, {"once": clock.new_id(), "ttl": _USUAL_TTL})(**shown)  # the answer itself: said once


@html.form(_account_page)
def delete_pass(caller: SignedIn) -> Response:
    """Delete a pass: the program that has it is refused."""
    passes.delete_own(caller.account.id, requests.form_field("pass"))
    return _done("pass")


def download(caller: SignedIn) -> Download:
    """Everything that is stored about this account, as JSON; the invites that it created without their links."""

    @after_this_request
    def as_a_file(response: Response) -> Response:
        if response.mimetype == "application/json":
            response.headers["Content-Disposition"] = 'attachment; filename="account.json"'
        return response

    return _data(caller)


def _data(caller: SignedIn) -> Iterator[str]:
    """The data in chunks. Each is fetched in a unit of work of its own, so a slow reader holds nothing up."""
    user = caller.user
    yield dumps(_as_json(own_account.account_data(user)))[:-1]
    yield from _list("invites_created", own_account.invites_created(user))
    yield from _list("events", own_account.events_of(user))
    yield "}\n"


def _list(name: str, chunks: Iterable[Sequence[Mapping[str, Any]]]) -> Iterator[str]:
    """One more member of the object: a list, in chunks."""
    start = f',"{name}":['
    for rows in chunks:
        yield start + ",".join(dumps(_as_json(each)) for each in rows)
        start = ","
    yield "]" if start == "," else f"{start}]"


def _as_json(value: Any) -> Any:
    """The same, with moments written as everywhere."""
    if isinstance(value, datetime):
        return clock.iso(value)
    if isinstance(value, Mapping):
        return {name: _as_json(each) for name, each in value.items()}
    return [_as_json(each) for each in value] if isinstance(value, list) else value


def _deletion_page(caller: SignedIn) -> Shown:
    return partial(page, "account_delete.html", account=caller.account, obstacles=own_account.obstacles(caller.user))


def show_deletion(caller: SignedIn) -> str:
    """What is erased with an account and what stays; and the form that deletes it, unless something must come first."""
    return _deletion_page(caller)()


@html.form(_deletion_page)
def delete(caller: SignedIn) -> Response:
    """Delete this account, with its password."""
    confirmed = _confirmed(caller)
    others = read_only(admins.others, caller.account.id) if admins.is_admin(caller.account) else []
    committed(own_account.delete, confirmed, others)
    return cookies.sign_out(see_other("/?deleted"))


def refusal(error: Refusal | HTTPException) -> Response:
    """Who is not signed in may do so, and comes to the account; all else is said as on every page."""
    if not isinstance(error, NotSignedIn):
        return html.refusal(error)
    return html.sign_in_first("/account")


def _confirmed(caller: SignedIn) -> Attempt:
    """The try at the caller's own password that was sent: counted, compared, and right."""
    typed = requests.form_field("current_password")
    requests.require({"current_password": typed}, "current_password")
    with passwords.room():
        attempt = committed(own_account.begin, caller, typed)
        checked = accounts.check_password(attempt)
    committed(own_account.confirm, checked)
    return checked


def _new_password(caller: SignedIn) -> str:
    return passwords.check(requests.form_field("password"), caller.account.username)


def _done(what: str) -> Response:
    return see_other(f"/account?done={what}")
