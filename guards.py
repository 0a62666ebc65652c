"""Who may call: each guard returns the caller, or refuses.

The map in app.py names one for every row. They run inside the row's unit of work.
"""

import re

from flask import g, request

from config import settings
from dialects import wire
from rules import accounts, invites, keys, sessions
from rules.invites import Maker
from rules.refusals import CrossSite, Forbidden, KeyRefused, NotSignedIn, UserNotFound
from rules.sessions import SignedIn

_BEARER = re.compile(r"Bearer[ \t](\S+)", re.IGNORECASE)
_HARMLESS = ("GET", "HEAD", "OPTIONS")


def anyone() -> None:
    """Everybody may; the view is told nothing about them."""


def api_key() -> Maker:
    """A program with an API key, in ``Authorization: Bearer ID/SECRET`` or in ``?key=ID/SECRET``.

    As in mod_invites_api a header, even a bad one, overrides the query.
    """
    header = request.headers.get("Authorization")
    if header is not None:
        bearer = _BEARER.fullmatch(header)
        if not bearer:
            raise KeyRefused("The Authorization header is not of the form Bearer ID/SECRET.")
        return invites.by_key(keys.authenticate(bearer[1]))
    given = request.args.getlist("key")
    if not given:
        raise KeyRefused
    if not settings().allow_query_key:
        raise KeyRefused("Keys are not taken from the URL here.")
    if len(given) > 1:
        raise KeyRefused("There is more than one key in this URL.")
    return invites.by_key(keys.authenticate(given[0]))


def signed_in() -> SignedIn:
    """Somebody who has signed in: by ``Authorization: Bearer TOKEN``, else by the browser's cookie."""
    caller = _by_header_or_cookie()
    if not caller.account.may_sign_in:
        raise NotSignedIn
    return caller


def maybe() -> SignedIn | None:
    """Anybody; but who shows a token must be signed in by it."""
    return signed_in() if wire.shows_session() else None


def known() -> SignedIn:
    """Likewise; but who was deleted is told so, as Agentbot does."""
    caller = _by_header_or_cookie()
    if caller.account.deleted_at:
        raise UserNotFound
    return signed_in()


def admin() -> SignedIn:
    """An admin of the site; everybody else is refused alike, signed in or not."""
    try:
        caller = signed_in()
    except NotSignedIn:
        raise Forbidden from None
    if not accounts.is_admin(caller.account):
        raise Forbidden
    return caller


def key_or_admin() -> Maker:
    """A program with an API key (it has a slash, which no access token has), or an admin of the site."""
    header = request.headers.get("Authorization")
    try:
        if "/" in header if header is not None else "key" in request.args:
            return api_key()
        return accounts.as_maker(admin().account)
    except (KeyRefused, Forbidden):
        raise NotSignedIn from None


def visitor() -> SignedIn | None:
    """Whoever looks at a page: signed in by the browser's cookie, or nobody known."""
    caller = _by_cookie()
    g.visitor = caller.account.called if caller else None
    g.visitor_is_admin = caller is not None and accounts.is_admin(caller.account)
    g.csrf = sessions.form_token(caller)
    return caller


def admin_visitor() -> SignedIn:
    """An admin of the site who looks at a page; raises NotSignedIn, or Forbidden for anybody else."""
    caller = visitor()
    if caller is None:
        raise NotSignedIn
    if not accounts.is_admin(caller.account):
        raise Forbidden
    return caller


def admin_form() -> SignedIn:
    """Likewise, who sends a form that stood on a page of ours."""
    caller = admin_visitor()
    if not _is_own_form(caller):
        raise CrossSite
    return caller


def own_form() -> SignedIn | None:
    """A visitor who sends a form that stood on a page of ours; raises CrossSite for any other."""
    caller = visitor()
    if not _is_own_form(caller):
        raise CrossSite
    return caller


def any_form() -> bool:
    """Anybody who posts what stands for itself; True if it came from a form on a page of ours."""
    return _is_own_form(visitor())


def _by_header_or_cookie() -> SignedIn:
    header = request.headers.get("Authorization")
    if header is not None:
        bearer = _BEARER.fullmatch(header)
        if not bearer:
            raise NotSignedIn
        return sessions.of_access_token(bearer[1])
    caller = sessions.of_cookie(request.cookies.get(settings().cookie_name, ""))
    if request.method not in _HARMLESS:
        _refuse_cross_site()
    return caller


def _refuse_cross_site() -> None:
    """Let a browser's call with a cookie change something only if a script of our own origin made it."""
    ours = request.headers.get("Sec-Fetch-Site") == "same-origin" or request.headers.get("Origin") == settings().origin
    if not (request.is_json and ours):
        raise CrossSite


def _by_cookie() -> SignedIn | None:
    cookie = request.cookies.get(settings().cookie_name)
    try:
        caller = sessions.of_cookie(cookie) if cookie else None
    except NotSignedIn:
        return None
    return caller if caller and caller.account.may_sign_in else None


def _is_own_form(caller: SignedIn | None) -> bool:
    """Whether it has the CSRF token of this visitor, and no browser says that another site sent it."""
    from_here = request.headers.get("Sec-Fetch-Site") in ("same-origin", None)
    return from_here and sessions.is_form_token(request.form.get("csrf", ""), caller)
