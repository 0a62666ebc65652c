"""Pages for the admins of the site: the list of invites, and what is done to several of them at once.

What was selected in the list is shown once more, with how many it is and which, before anything is changed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from functools import partial
from typing import Any
from urllib.parse import urlencode

from flask import Response, g, request

import clock
from rules import bulk, cursors, durations, invites, listing, matching, tokens, waiting
from rules.bulk import Outcome
from rules.refusals import Invalid, NoneChosen, TooManyChosen
from rules.sessions import SignedIn
from rules.statistics import weeks
from settings import settings
from web import forms, html, requests
from web.html import Shown, page, see_other

HEADERS = forms.HEADERS

MAX_WAITING = 10  # who wait for approval, on the page with the list
WEEKS = 12
SHOWN = 20  # of the selected ones, before the others are unfolded

_SEARCH = ("status", "q", "project", "inviter", "email")
_FILTER = (*_SEARCH, "cursor")
_FORMER = "maker"  # what `inviter` was called in 0.2, in addresses that were kept
_REASONS = tuple(each.name for each in fields(Outcome))
_ACTS = ("revoke", "extend")

refusal = forms.refusal


def list_invites() -> Response | str:
    """The invites, filtered, a page at a time; a token or link that is searched for leads to its invite."""
    empty = _empty()
    g.again = partial(empty, given=forms.as_typed(*_FILTER))
    given = requests.query((*_FILTER, _FORMER))
    if former := given.pop(_FORMER, ""):
        given.setdefault("inviter", former)
    token = tokens.in_text(given.get("q", ""))
    if tokens.is_token(token):
        return see_other(f"/admin/invites/{invites.find(token).id}")
    return _list(given, empty)(done=request.args.get("done"), outcome=_outcome())


def _search_sent(_: SignedIn) -> Shown:
    return _list(_search(), _empty())


@html.form(_search_sent)
def choose() -> str:
    """Ask whether to revoke, or to extend, the invites that were selected or match; nothing is changed yet."""
    act = requests.form_field("act")
    if act not in _ACTS:
        raise Invalid.at("act", "enum", "must be one of %(words)s", words=", ".join(_ACTS))
    search = _search()
    if not requests.form_field("all"):
        return _question(act, requests.several("which"), search)()
    return _question(act, matching.ids(listing.read(search), bulk.MAX_INVITES + 1), search)()


def _question_sent(_: SignedIn) -> Shown:
    return _question(request.path.rpartition("/")[2], _ids(), _search())


@html.form(_question_sent)
def revoke_chosen() -> Response:
    """Revoke the invites that were chosen."""
    return _done("revoked-several", bulk.revoke(_ids()))


@html.form(_question_sent)
def extend_chosen() -> Response:
    """Extend the invites that were chosen: they expire so long from now."""
    ttl = durations.ttl(requests.form(durations.FIELDS))
    return _done("extended-several", bulk.extend(_ids(), ttl))


def _search() -> dict[str, str]:
    """The search that a form carries on from the list."""
    return {name: text for name in _SEARCH if (text := requests.form_field(name))}


def _ids() -> Sequence[str]:
    return requests.form_field("ids").split()


def _done(what: str, outcome: Outcome) -> Response:
    counted = {name: number for name, number in asdict(outcome).items() if number}
    return see_other(f"/admin?{urlencode({**_search(), 'done': what, **counted})}")


def _outcome() -> Outcome:
    """What the address says of what was done just now."""
    return Outcome(**{name: _number(request.args.get(name, "")) for name in _REASONS})


def _number(text: str) -> int:
    """How many invites an address says that it was; 0 for what no address of ours says."""
    is_number = text.isascii() and text.isdecimal() and len(text) <= len(str(bulk.MAX_INVITES))
    return int(text) if is_number and int(text) <= bulk.MAX_INVITES else 0


def _empty() -> Shown:
    """The page of the list, without its rows."""
    shown: dict[str, Any] = {"rows": [], "older": None, "asking": [], "weeks": [], "matches": None}
    shown["most_asking"] = MAX_WAITING
    return partial(page, "admin/invites.html", **listing.counts(), **shown)


def _list(given: Mapping[str, str], empty: Shown) -> Shown:
    """The page of the list; raises Invalid for a search that cannot be made."""
    wanted = listing.read(given)
    found = listing.search(wanted, forms.ROWS)
    shown: dict[str, Any] = {"rows": found.rows, "most": bulk.MAX_INVITES, "until": found.next and found.next[0]}
    shown["older"] = forms.next_page(given, cursors.written(found.next), "/admin") if found.next else None
    if wanted.narrows:
        is_whole = not wanted.after and len(found.rows) < forms.ROWS
        shown["matches"] = matching.of_whole(found) if is_whole else matching.count(wanted, bulk.MAX_INVITES)
    if not given:
        shown |= {"weeks": weeks(WEEKS), "asking": waiting.for_approval(MAX_WAITING + 1)}
    return partial(empty, given=given, **shown)


def _question(act: str, ids: Sequence[str], search: Mapping[str, str]) -> Shown:
    """The page that asks once more; raises NoneChosen, or TooManyChosen."""
    if not ids:
        raise NoneChosen
    if len(ids) > bulk.MAX_INVITES:
        raise TooManyChosen(bulk.MAX_INVITES)
    rows = listing.of_ids(ids)
    kept = [each for each in rows if each.state in ("used", "revoked")]
    shown: dict[str, Any] = {"rows": rows, "first": SHOWN, "kept": kept, "search": search, "back": _address(search)}
    typed = {name: request.form.get(name, "") for name in durations.FIELDS}
    typed["ttl"] = typed["ttl"] or clock.spell(settings().invite_ttl)
    lengths = [(clock.spell(each), each) for each in durations.lifetimes(typed["ttl"])]
    return partial(page, "admin/several.html", act=act, given=typed, lengths=lengths, **shown)


def _address(search: Mapping[str, str]) -> str:
    return f"/admin?{urlencode(search)}" if search else "/admin"
