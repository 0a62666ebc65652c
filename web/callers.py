"""Whom each guard lets in, in words and as OpenAPI has it: what the description of the API says of callers."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rules import refusals
from rules.refusals import Refusal
from web import guards
from web.schemas import Object

NOTHING: Object = {}
KEY, KEY_IN_QUERY, TOKEN, COOKIE = ({name: list[str]()} for name in ("key", "key_in_query", "token", "cookie"))


@dataclass(frozen=True)
class Who:
    """Whom a guard lets in: in words, by what they show (any of these), and how others are refused."""

    called: str
    shows: Sequence[Object] = (NOTHING,)
    refused: Sequence[type[Refusal]] = ()


_SESSION = (TOKEN, COOKIE)
_PROGRAM = (KEY, TOKEN)
_NO_PROGRAM = (refusals.KeyRefused, refusals.NotSignedIn, refusals.Forbidden, refusals.ScopeMissing)
WHO: Mapping[Callable[[], Any], Who] = {
    guards.anyone: Who("anyone"),
    guards.api_key: Who("a program with an API key", (KEY, KEY_IN_QUERY), (refusals.KeyRefused, refusals.ScopeMissing)),
    guards.creator: Who("a program with an API key that may create, or an admin of the site", _PROGRAM, _NO_PROGRAM),
    guards.reader: Who("a program with an API key that may read, or an admin of the site", _PROGRAM, _NO_PROGRAM),
    guards.redeemer: Who("a program with an API key that may redeem, or an admin of the site", _PROGRAM, _NO_PROGRAM),
    guards.manager: Who("a program with an API key that may manage, or an admin of the site", _PROGRAM, _NO_PROGRAM),
    guards.changer: Who(
        "a program with an API key that may create, for its own invites, or manage, or an admin of the site",
        _PROGRAM,
        _NO_PROGRAM,
    ),
    guards.signed_in: Who("a signed-in user", _SESSION, (refusals.NotSignedIn,)),
    guards.maybe: Who("anyone; a signed-in user for their own address", (NOTHING, *_SESSION), (refusals.NotSignedIn,)),
    guards.signed_in_or_deleted: Who("a signed-in user", _SESSION, (refusals.NotSignedIn, refusals.UserNotFound)),
    guards.site_admin: Who("an admin of the site", _SESSION, (refusals.Forbidden,)),
    guards.key_or_admin: Who(
        "a program with an API key that may create, or an admin of the site",
        (KEY, KEY_IN_QUERY, *_SESSION),
        (refusals.NotSignedIn, refusals.ScopeMissing),
    ),
    guards.any_key_or_admin: Who(
        "a program with an API key, or an admin of the site",
        (KEY, KEY_IN_QUERY, *_SESSION),
        (refusals.NotSignedIn,),
    ),
    guards.visitor: Who("anyone", (NOTHING, COOKIE)),
    guards.own_form: Who("anyone, with a form of ours", (NOTHING, COOKIE)),
    guards.any_form: Who("anyone", (NOTHING, COOKIE)),
    guards.signed_in_visitor: Who("a signed-in user", (COOKIE,)),
    guards.signed_in_form: Who("a signed-in user, with a form of ours", (COOKIE,)),
    guards.admin_visitor: Who("an admin of the site", (COOKIE,)),
    guards.admin_form: Who("an admin of the site, with a form of ours", (COOKIE,)),
}
