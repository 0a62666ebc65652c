"""Pages for people: the invitation, the code field, and the form of Prosody's mod_invites_register_web.

That module's promise: ``GET /register?t=TOKEN`` shows a form; ``POST /register`` with ``user``,
``password`` and ``token`` makes the account; a dead token leads to the invitation's page. Old
programs take the token as everything after the ``?`` of the link, put ``/register`` in the place of
``/invite`` and post there. The token itself is what authorises the post, so no cookie counts. Beyond
it, an invite for a domain needs an address there, for which its form has ``email``.

What a form of ours does ends in a redirect to a page that may be reloaded.

https://modules.prosody.im/mod_invites_register_web
"""

from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from flask import Response, g, make_response, request
from werkzeug.exceptions import HTTPException, NotFound

from dialects.shapes import pages as shapes
from rules import (
    accounts,
    changing,
    fields,
    first_admin,
    gate,
    invitations,
    invites,
    legacy,
    passwords,
    redemption,
    sessions,
    tokens,
    waiting,
)
from rules.accounts import Names
from rules.refusals import EmailMismatch, Invalid, InviteExpired, InviteNotFound, InviteUsed, Refusal, together
from rules.sessions import SignedIn
from settings import settings, texts
from web import cookies, errors, html, requests, return_to
from web.answer import committed, read_only
from web.contract import Picture
from web.guards import SentForm
from web.html import Shown, page, see_other, to_invitation, token_in_link

HEADERS: Mapping[str, str] = html.HEADERS

DEAD = (InviteNotFound, InviteExpired, InviteUsed)


def home(caller: SignedIn | None) -> str:
    """What this is, and a field for an invitation that came as text."""
    unproven = caller is not None and _unproven(caller) is not None
    arrived = caller or cookies.was_refused()
    done = arrived and next((each for each in ("welcome", "confirmed") if each in request.args), None)
    if caller is None and "deleted" in request.args:
        done = "deleted"
    return page("home.html", done=done, unproven=unproven, no_admin=caller is None and first_admin.is_missed())


def _code_form(caller: SignedIn | None) -> Shown:
    no_admin = caller is None and first_admin.is_missed()
    return partial(page, "home.html", typed=request.form.get("code", ""), no_admin=no_admin)


@html.form(_code_form)
def enter_code() -> Response:
    """Lead from a code, token or pasted link to the invitation's page; nothing is used."""
    code = tokens.in_text(requests.form_field("code"))
    if tokens.is_token(code):  # nobody can guess a whole token
        return to_invitation(code)
    if not legacy.is_code(code):
        raise Invalid.at(
            "code", "format", "a part of the link is missing: copy all of it, from the first character to the last"
        )

    def find() -> str:
        with legacy.counted(requests.neighbourhood()):
            return invites.token(legacy.find_active(code))

    return to_invitation(committed(find))


def invitation(caller: SignedIn | None) -> Response | str:
    """Who invites you to what; opening it changes nothing. A visitor who has used it, or waits, is welcomed again.

    An invitation to a project whose guests a program lets in leads to that.
    """
    token = token_in_link()
    try:
        told = invitations.find(token)
    except (InviteUsed, InviteExpired) as error:
        use = redemption.use_of(invites.find(token), caller.account) if caller else None
        if use and (isinstance(error, InviteUsed) or use.state != "done"):
            return see_other(f"/welcome?{token}")
        raise
    if told.join_url:
        return _readable(_onward(told.join_url.replace("{token}", token)))
    return _readable(_invitation_page(told, token, caller)())


def _onward(url: str) -> Response | str:
    """To the program that lets the guests of a project in.

    From a page of ours by a link, since no browser follows a form of ours to another site (form-action).
    """
    if request.headers.get("Sec-Fetch-Site") == "same-origin":
        return page("onward.html", url=url)
    return Response(status=303, headers={"Location": url})


def picture() -> Picture:
    """The link of an invitation that can be used as a QR code, for a phone's camera."""
    token = token_in_link()
    invitations.find(token)
    return Response(html.qr(invites.link(token)), mimetype="image/svg+xml")


def _accept_form(caller: SignedIn | None) -> Shown:
    token = requests.form_field("token")
    return _invitation_page(invitations.find(token), token, caller)


@html.form(_accept_form)
def accept(caller: SignedIn | None) -> Response:
    """Use the invite, as the account that is signed in; sent again, it does no harm."""
    token = requests.form_field("token")
    if caller is None:
        return see_other(return_to.onward(f"/login?t={token}" if tokens.is_token(token) else "/login"))
    if not redemption.has_used(invites.find(token), caller.account):
        redemption.accept(token, caller.account)
    return _welcomed(token, caller.account)


@html.form(_accept_form)
def decline() -> Response:
    """Decline an invitation for one person, signed in or not: nobody can use it any more."""
    token = requests.form_field("token")
    with suppress(*DEAD):  # its page says so
        changing.decline(invites.find(token))
    return to_invitation(token)


def welcome(caller: SignedIn | None) -> Response | str:
    """What follows for a user who has used the invite, or whose use waits; for anyone else, the invitation."""
    token = token_in_link()
    invite = invites.find(token)
    if caller is None and cookies.was_refused():  # just now they created their account
        return _welcome_page(invitations.of(invite), waits=redemption.waits_first(invite))
    use = redemption.use_of(invite, caller.account) if caller else None
    if caller is None or use is None:
        return to_invitation(token)
    return _welcome_page(
        invitations.of(invite),
        called=caller.account.called,
        unproven=_unproven(caller),
        waits=_waits(use),
        email=caller.account.email,
    )


def show_registration(caller: SignedIn | None) -> Response | str:
    """The form that creates an account; the token of an invitation that is over leads to its page.

    So does any for who is signed in.
    """
    token = token_in_link()
    if caller:
        return to_invitation(token) if tokens.is_token(token) else see_other(return_to.destination() or "/")
    if settings().open_registration and not (tokens.is_token(token) if return_to.visit() else token):
        return page("begin.html", email="")
    try:
        told = invitations.find(token)
    except DEAD:
        return to_invitation(token)
    return _registration_page(told, token)()


def _registration_form(_: SentForm) -> Shown:
    token = request.form.get("token", "").strip() or token_in_link()
    typed = {name: request.form.get(name, "") for name in ("user", "email")}
    return _registration_page(invitations.find(token), token, **typed)


@html.form(_registration_form)
def register(caller: SentForm, form: shapes.RegistrationForm) -> Response | str:
    """Create the account and use the invite, both or neither; only our own form signs in as well.

    In that an address will do for a user name, too; and a session that the browser had before ends.
    """
    token = form["token"].strip() or token_in_link()
    try:
        return _register(token, form, caller)
    except DEAD:
        return to_invitation(token)


def refusal(error: Refusal | HTTPException) -> Response:
    """A dead link says why it is one and what to do; all else is said as on every page."""
    if isinstance(error, NotFound) and (mended := html.mended(request.path)):
        return make_response(see_other(mended))
    if not isinstance(error, DEAD):
        return html.refusal(error)
    return errors.with_status(_readable(page("dead.html", kind=_kind(error), error=error)), error, html.STATUS)


def _readable(made: Response | str) -> Response:
    """A page about an invitation that scripts of other sites may read: Prosody's call leads there with ``redirect``.

    Only who has the token finds it, and browsers send no cookie along.
    """
    response = make_response(made)
    response.headers["Access-Control-Allow-Origin"] = "*"
    return response


def _register(token: str, form: shapes.RegistrationForm, sent: SentForm) -> Response | str:
    told = read_only(invitations.find, token)
    typed, email = (texts.stripped(form[name]) for name in ("user", "email"))
    g.again = _registration_page(told, token, typed, email)

    def read_names() -> Names:
        return read_only(accounts.refuse_names, token, _names(told, typed, email, sent.is_ours))

    check = partial(passwords.check, form["password"], username=typed.lower())
    names, password = together(read_names, check)
    password_hash = passwords.hash(password)

    def register() -> tuple[Any, str | None, Response | None]:
        user, used = accounts.register(token, names, password_hash)
        if not sent.is_ours:
            return user, used.waiting_for, None
        if sent.visitor:
            sessions.end(sent.visitor.session_id)
        return user, used.waiting_for, cookies.sign_in(_welcomed(token, user), sessions.start_in_browser(user))

    user, waits, signed_in = committed(register)
    if signed_in:
        return signed_in
    names_ = {"called": user.called, "username": user.username, "email": user.email}
    return read_only(_welcome_page, told, waits=waits, **names_)


def _names(told: invitations.Invitation, typed: str, email: str, is_ours: bool) -> Names:
    """The names of a new account; where the invitation names no address, our own form takes one for a user name."""
    if told.domain or not (is_ours and "@" in typed):
        name, address = together(partial(fields.username, typed), lambda: fields.email(email) if email else None)
        return Names(name, address)
    if told.email in (None, fields.typed_name(typed)):
        return Names(email=fields.email(typed))
    raise EmailMismatch(bound_to=told.email)  # typed where the form of such an invitation asks for a user name


def _invitation_page(told: invitations.Invitation, token: str, caller: SignedIn | None) -> Shown:
    is_first = told.makes_admin and first_admin.is_missed()
    shown = partial(page, "invitation.html", invitation=told, token=token, hindrance=None, is_first=is_first)
    if caller is None:
        return shown
    invite = invites.find(token)
    use = redemption.use_of(invite, caller.account)
    if use and use.state != "done":
        return partial(shown, waits=_waits(use), email=caller.account.email)
    hindrance = _hindered(redemption.refusal_of(invite, caller.account, token), told.email, caller)
    unproven = told.domain and not hindrance and not caller.account.email_verified_at
    is_denied = told.approve and waiting.outcome(told.id, caller.user) == "denied"
    app = gate.of(told.project) if hindrance == "again" else None
    facts = {"email": caller.account.email, "unproven": unproven, "denied": is_denied, "app": app}
    return partial(shown, hindrance=hindrance, **facts)


def _registration_page(told: invitations.Invitation, token: str, user: str = "", email: str = "") -> Shown:
    return partial(page, "register.html", invitation=told, token=token, user=user, email=email)


def _welcomed(token: str, account: Any) -> Response:
    """To the app that has sent a guest here, if they are a member now; else to the page that welcomes them."""
    visit = return_to.visit()
    if visit and gate.is_member(visit.slug, account):
        return see_other(return_to.path())
    return see_other(f"/welcome?{token}")


def _welcome_page(told: invitations.Invitation, **facts: Any) -> str:
    return page("welcome.html", invitation=told, app=gate.of(told.project), **facts)


def _waits(use: Any) -> str | None:
    """What a use waits for: ``proof`` or ``approval``; None if it is done."""
    return None if use.state == "done" else str(use.state)


def _unproven(caller: SignedIn) -> str | None:
    """The address that an account could still prove, where mail can be sent."""
    return caller.account.email if settings().smtp_url and not caller.account.email_verified_at else None


def _hindered(why: Refusal | None, wanted: str | None, caller: SignedIn | None) -> str | None:
    """What keeps the visitor from an invite, in a word for the template: ``again``, ``unproven``, ``stranger``."""
    if isinstance(why, EmailMismatch) and caller:
        return "unproven" if caller.account.email == wanted and settings().smtp_url else "stranger"
    return "again" if why else None


def _kind(error: Refusal) -> str:
    if isinstance(error, InviteExpired):
        if error.revoked_at is None:
            return "expired"
        return "declined" if read_only(_was_declined, requests.invite_token()) else "revoked"
    if isinstance(error, InviteUsed):
        return "used"
    return "missing" if request.method == "GET" and not request.query_string else "unknown"


def _was_declined(token: str) -> bool:
    return changing.was_declined(invites.find(token))
