"""Pages for the admins of the site: many invites at once, one for each guest of a list, and what was created together.

A list is checked first, and shown with what is wrong in it. Then an invite is created for each guest, or for none.
"""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlencode

from flask import Response, make_response, request
from werkzeug.datastructures import FileStorage

import clock
from rules import accounts, batches, checks, durations, fields, guests, headings, invites, listing, pasted, presets
from rules.checks import Checked
from rules.drafts import Inviter
from rules.guests import Row
from rules.refusals import N_, Invalid, Problem, together
from rules.sessions import SignedIn
from web import choices, forms, guards, html, requests
from web.answer import committed, read_only
from web.contract import Answer
from web.html import Shown, page, see_other

HEADERS = forms.HEADERS

LARGEST = 2 * 1024 * 1024  # bytes of a file
MAX_LINKS = 250  # on a page that has nothing but links
MAX_SHOWN = 50  # of what is wrong, to be noted, or about to be created

_OF_GUESTS = (*(each for each in presets.FIELDS if each not in ("email", "uses", "data")), "preset")
_SENT = tuple(dict.fromkeys((*_OF_GUESTS, *durations.FIELDS, "mail", "once")))
_TOO_MUCH = N_("This is too much: send at most 2048 KiB.")  # what is said of a longer file

Table = Annotated[Response, Answer(200, str, "text/csv")]

refusal = forms.refusal


def new_list() -> str:
    """The form for a list of guests.

    `project` in the query is chosen in it. With `like` it has what the invite with this id has, but for the guest.
    """
    given = requests.query(("project", "like"))
    if "like" in given:
        given = choices.fields_of(given["like"], but=("name", "email"))
    return _form({**given, "once": clock.random_text(16), "guests": ""})()


def _sent_form(_: SignedIn) -> Shown:
    return _form({**forms.again(_SENT, clock.random_text(16)), "guests": request.form.get("guests", "")})


@html.form(_sent_form)
def create_list(caller: SignedIn) -> Response:
    """Check a list of guests and show what is wrong in it; or, where that is what was shown, create an invite for each.

    All are created, or none.
    """
    given, text = together(partial(forms.sent, *_SENT), _text)
    inviter, once = accounts.as_inviter(caller.account), forms.once(given["once"])
    left_out: list[str] = []
    rows = _rows(text, left_out)
    checked, mark = read_only(_check, rows, given, inviter, text)
    creates, is_good = request.form.get("act") == "create", all(each.invite for each in checked)
    if creates and is_good and request.form.get("checked") == mark:
        number = forms.number_for(once, mark)
        committed(_create, checked, listing.batch_ids(number, len(rows)))
        return see_other(f"/admin/made?{urlencode({'once': number, 'count': len(rows)})}")
    fresh = {**given, "once": clock.random_text(16), "guests": text}
    show = read_only(_form, fresh)
    answer = make_response(show(**_preview(checked), left_out=left_out, mark=mark, changed=creates and is_good))
    answer.status_code = 200 if is_good and not creates else 422
    return answer


def made() -> str:
    """The links of the invites that were created together, some of them at a time."""
    given = requests.query(("once", "count", "from"))
    once, count = forms.once(given.get("once", "")), _count(given)
    start = fields.count(given.get("from", "1"), "from", count)
    ids = listing.batch_ids(once, count)
    named = any(each.name or each.email for each in listing.with_ids(ids[:1]))
    size = forms.ROWS if named else MAX_LINKS
    rows = [_linked(each) for each in _in_order(ids[start - 1 : start - 1 + size])]
    following = start + size if start + size <= count else None
    this = {"once": once, "count": count}
    return page(
        "admin/made.html",
        rows=rows,
        count=count,
        start=start,
        named=named,
        mailed=sum(each["mailed"] for each in rows),
        first=ids[0] if rows else None,
        query=urlencode(this),
        following=following and urlencode({**this, "from": following}),
    )


def made_table() -> Table:
    """The invites that were created together as CSV: the name, the address and the link of each."""
    given = requests.query(("once", "count"))
    ids = listing.batch_ids(forms.once(given.get("once", "")), _count(given))
    out = io.StringIO()
    table = csv.writer(out)
    table.writerow(("name", "email", "link"))
    for each in map(_linked, _in_order(ids)):
        table.writerow(headings.guarded(each[name] or "") for name in ("name", "email", "link"))
    return _file(out.getvalue(), "text/csv", "invitations.csv")


def picture(invite_id: str) -> Annotated[Response, Answer(200, str, "image/png")]:
    """The link of an invite as a QR code, to be downloaded: a picture in PNG."""
    invite = invites.find_by_id(invite_id)
    name = f"invitation-{invite.id[:8]}.png"
    return _file(html.qr_png(invites.link(invites.token(invite))), "image/png", name)


def _file(content: str | bytes, media: str, name: str) -> Response:
    answer = Response(content, mimetype=media)
    answer.headers["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def _text() -> str:
    """The list that was sent, as a file or typed, with line breaks as they are here; a file comes first."""
    with closing(request.files.get("file") or FileStorage()) as sent:
        raw = sent.read()
    if not raw:
        text = requests.form_field("guests")
    else:
        try:
            text = guests.decoded(raw)
        except Invalid as refused:
            raise _at("file", refused) from None
        if "\0" in text:
            raise Invalid.at("file", "csv", "is no list of guests: save it as CSV UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _rows(text: str, left_out: list[str]) -> Sequence[Row]:
    try:
        return pasted.read(text, left_out)
    except Invalid as refused:
        raise _at("guests", refused) from None


def _at(field: str, refused: Invalid) -> Invalid:
    """A refusal of the list, at the field in which it came."""
    return Invalid(*(Problem(field, each.rule, each.text, each.facts) for each in refused.problems))


def _check(rows: Sequence[Row], given: Mapping[str, str], inviter: Inviter, text: str) -> tuple[Sequence[Checked], str]:
    """What becomes of each guest, and the mark of it all; raises Invalid for what is wrong beside the list."""
    invites.prepare(choices.draft(given, inviter), inviter)
    asked = {**given, **durations.read(given)}
    defaults = {name: asked[name] for name in _OF_GUESTS if asked[name]}
    checked = checks.check(rows, defaults, inviter, bool(given["mail"]))
    return checked, _mark(given, text, _presets(checked, given))


def _create(checked: Sequence[Checked], ids: Sequence[str]) -> None:
    """Create what was checked, for an admin who still is one, unless the same form was faster."""
    guards.admin_form()
    checks.create(checked, ids)


def _presets(checked: Sequence[Checked], given: Mapping[str, str]) -> Sequence[str]:
    """What the presets say by which the invites of a list are created."""
    named = {given["preset"], *(each.row.given.get("preset", "") for each in checked if each.invite)} - {""}
    return [presets.stored(presets.read_name(each)) or "" for each in sorted(named)]


def _mark(given: Mapping[str, str], text: str, said: Sequence[str]) -> str:
    """What tells a list, with what is asked for its guests and what presets say, from every other one."""
    return forms.number_for(*(given[name] for name in _SENT if name != "once"), text, *said)


def _preview(checked: Sequence[Checked]) -> dict[str, Any]:
    """The facts of the page that shows what was found in a list."""
    wrong = [(each.row, problem) for each in checked for problem in each.problems]
    noted = [(each.row, each.invite, note) for each in checked for note in each.notes]
    return {
        "count": len(checked),
        "wrong": wrong[:MAX_SHOWN],
        "more_wrong": len(wrong[MAX_SHOWN:]),
        "wrong_rows": sum(1 for each in checked if each.problems),
        "noted": noted[:MAX_SHOWN],
        "more_noted": len(noted[MAX_SHOWN:]),
        "ready": [] if wrong else _shown(checked),
        "risky": {kind: found for kind in checks.RISKS if (found := _lines(checked, kind))},
        "mailed": sum(each.is_mailed for each in checked),
        "domains": [each.invite for each in checked if each.domain],
    }


def _shown(checked: Sequence[Checked]) -> Sequence[Checked]:
    """The first guests of a list, and after them the first who get more from it than is usual."""
    return [*checked[:MAX_SHOWN], *[each for each in checked[MAX_SHOWN:] if each.risks][:MAX_SHOWN]]


def _lines(checked: Sequence[Checked], kind: str) -> Sequence[int]:
    """The lines of a list that give their guests more than is usual, in this way."""
    return [each.row.line for each in checked if kind in each.risks]


def _form(given: Mapping[str, str]) -> Callable[..., str]:
    """The form with what was sent."""
    return partial(page, "admin/guests.html", most=batches.MAX_INVITES, **choices.offered(given))


def _count(given: Mapping[str, str]) -> int:
    return fields.count(given.get("count", "1"), "count", batches.MAX_INVITES)


def _in_order(ids: Sequence[str]) -> list[Any]:
    """The invites with these ids, in their order."""
    place = {id_: number for number, id_ in enumerate(ids)}
    return sorted(listing.with_ids(ids), key=lambda each: place[each.id])


def _linked(invite: Any) -> dict[str, Any]:
    shown = {"id": invite.id, "name": invite.name, "email": invite.email, "mailed": invite.mail_token_hash is not None}
    return {**shown, "link": invites.link(invites.token(invite))}
