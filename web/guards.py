"""Who may call: each guard returns the caller, or refuses.

The map in app.py names one for every row. They run inside the row's unit of work.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from flask import g, request

from rules import accounts, admins, budgets, events, keys, programs, sessions
from rules.drafts import Inviter
from rules.keys import VerifiedKey
from rules.programs import Program
from rules.refusals import CrossSite, Forbidden, KeyRefused, NotSignedIn, ScopeMissing, UserNotFound
from rules.sessions import SignedIn
from settings import settings
from web import cookies, requests

_BEARER = re.compile(r"Bearer[ \t](\S+)", re.IGNORECASE)
_HARMLESS = ("GET", "HEAD", "OPTIONS")


class SentForm(NamedTuple):
    """A form that a visitor sends, and whether it stood on a page of ours."""

    is_ours: bool
    visitor: SignedIn | None

    @property
    def actor(self) -> events.Actor:
        """Who does what this form does, for what is told of it: nobody is signed in for a form of others."""
        return self.visitor.actor if self.visitor and self.is_ours else events.GUEST


def anyone() -> None:
    """Anyone may call; the view learns nothing about them."""


def api_key() -> Inviter:
    """A program with an API key that may create, in ``Authorization: Bearer ID/SECRET`` or in ``?key=ID/SECRET``.

    As in mod_invites_api a header, even a bad one, overrides the query.
    """
    key = _shown_key()
    key.refuse_without("create")
    return key.inviter


def _shown_key() -> VerifiedKey:
    header = request.headers.get("Authorization")
    if header is not None:
        bearer = _BEARER.fullmatch(header)
        if not bearer:
            raise KeyRefused("The Authorization header is not of the form Bearer ID/SECRET.")
        return keys.authenticate(bearer[1])
    given = request.args.getlist("key")
    if not given:
        raise KeyRefused
    if not settings().allow_query_key:
        raise KeyRefused("Keys are not taken from the URL here.")
    if len(given) > 1:
        raise KeyRefused("There is more than one key in this URL.")
    return keys.authenticate(given[0])


def signed_in() -> SignedIn:
    """A user who has signed in: by ``Authorization: Bearer TOKEN``, else by the browser's cookie."""
    caller = _by_header_or_cookie()
    if not caller.account.may_sign_in:
        raise NotSignedIn
    return caller


def maybe() -> SignedIn | None:
    """Anyone; a caller who shows a token or cookie must be signed in by it. None for a caller without."""
    return signed_in() if requests.shows_session() else None


def signed_in_or_deleted() -> SignedIn:
    """A user who has signed in; raises UserNotFound for an account that was deleted since, as Agentbot does."""
    caller = _by_header_or_cookie()
    if caller.account.deleted_at:
        raise UserNotFound
    return signed_in()


def site_admin() -> SignedIn:
    """An admin of the site; raises Forbidden for everyone else, signed in or not."""
    try:
        caller = signed_in()
    except NotSignedIn:
        raise Forbidden from None
    if not admins.is_admin(caller.account):
        raise Forbidden
    return caller


def key_or_admin() -> Inviter:
    """A program with an API key that may create, or an admin of the site: no access token has a slash, a key has."""
    return _key_or_admin(api_key)


def any_key_or_admin() -> Inviter:
    """A program with an API key, whatever it may do, or an admin of the site."""
    return _key_or_admin(lambda: _shown_key().inviter)


def _key_or_admin(by_key: Callable[[], Inviter]) -> Inviter:
    header = request.headers.get("Authorization")
    try:
        if "/" in header if header is not None else "key" in request.args:
            return by_key()
        return accounts.as_inviter(site_admin().account)
    except (KeyRefused, Forbidden):
        raise NotSignedIn(takes_key=True) from None


def creator() -> Program:
    """A program with an API key that may create, or an admin of the site; by the Authorization header alone."""
    return _program("create")


def reader() -> Program:
    """A program with an API key that may read, or an admin of the site; by the Authorization header alone."""
    return _program("read")


def redeemer() -> Program:
    """A program with an API key that may redeem, or an admin of the site; by the Authorization header alone."""
    return _program("redeem")


def manager() -> Program:
    """A program with an API key that may manage, or an admin of the site; by the Authorization header alone."""
    return _program("manage")


def changer() -> Program:
    """A program with an API key that may create, or manage all, or an admin; by the Authorization header alone.

    Which invites it may change is asked of the Program that is returned.
    """
    return _program("manage", "create")


def _program(*scopes: str) -> Program:
    """Who shows a key with one of these scopes, or the access token of an admin: no token has a slash, a key has."""
    header = request.headers.get("Authorization")
    bearer = _BEARER.fullmatch(header) if header is not None else None
    if bearer is None:
        raise KeyRefused
    if "/" in bearer[1]:
        program = programs.by_key(keys.authenticate(bearer[1]))
    else:
        account = signed_in().account
        if not admins.is_admin(account):
            raise Forbidden
        program = programs.Program(accounts.as_inviter(account), keys.SCOPES)
    if not any(program.has(each) for each in scopes):
        raise ScopeMissing(scopes[0])
    return program


def visitor() -> SignedIn | None:
    """The user whose cookie the browser shows; None for anyone else."""
    caller = _by_cookie()
    g.visitor = caller.account.called if caller else None
    g.visitor_is_admin = caller is not None and admins.is_admin(caller.account)
    g.visitor_may_invite = caller is not None and budgets.may_invite(caller.account)
    g.form_token = lambda: sessions.form_token(caller) if caller else sessions.form_token(None, cookies.visit())
    return caller


def admin_visitor() -> SignedIn:
    """An admin of the site who looks at a page; raises NotSignedIn, or Forbidden for anyone else."""
    caller = signed_in_visitor()
    if not admins.is_admin(caller.account):
        raise Forbidden
    return caller


def signed_in_visitor() -> SignedIn:
    """A visitor who is signed in and looks at a page of their own; raises NotSignedIn for anyone else."""
    caller = visitor()
    if caller is None:
        raise NotSignedIn
    return caller


def signed_in_form() -> SignedIn:
    """A visitor who is signed in and sends a form that stood on a page of ours.

    Raises NotSignedIn without a session, and CrossSite for any other form.
    """
    caller = signed_in_visitor()
    _refuse_foreign_form(caller)
    return caller


def admin_form() -> SignedIn:
    """An admin of the site who sends a form that stood on a page of ours; raises CrossSite for any other form."""
    accounts.one_admin_at_a_time()
    caller = admin_visitor()
    _refuse_foreign_form(caller)
    return caller


def own_form() -> SignedIn | None:
    """A visitor who sends a form that stood on a page of ours; raises CrossSite for any other form."""
    caller = visitor()
    _refuse_foreign_form(caller)
    return caller


def any_form() -> SentForm:
    """Anyone, with a form whose token authorises it."""
    caller = visitor()
    return SentForm(_is_own_form(caller), caller)


def _by_header_or_cookie() -> SignedIn:
    header = request.headers.get("Authorization")
    if header is not None:
        bearer = _BEARER.fullmatch(header)
        if not bearer:
            raise NotSignedIn
        return sessions.of_access_token(bearer[1])
    caller = sessions.of_cookie(requests.session_cookie())
    ours = request.headers.get("Sec-Fetch-Site") == "same-origin" or request.headers.get("Origin") == settings().origin
    if request.method not in _HARMLESS and not (
        request.is_json and ours
    ):  # a form on another site sends the cookie too
        raise CrossSite
    return caller


def _by_cookie() -> SignedIn | None:
    cookie = request.cookies.get(settings().cookie_name)
    try:
        caller = sessions.of_cookie(cookie) if cookie else None
    except NotSignedIn:
        return None
    return caller if caller and caller.account.may_sign_in else None


def _refuse_foreign_form(caller: SignedIn | None) -> None:
    if not _is_own_form(caller):
        raise CrossSite


def _is_own_form(caller: SignedIn | None) -> bool:
    """Whether it has the CSRF token of this visitor, and no browser says that another site sent it."""
    given, site = request.form.get("csrf", ""), request.headers.get("Sec-Fetch-Site")
    if site not in ("same-origin", None):
        return False
    if caller:
        return sessions.is_form_token(given, caller)
    if site:
        return sessions.is_visitors_form_token(given)
    return bool(visit := cookies.shown_visit()) and sessions.is_form_token(given, None, visit)
