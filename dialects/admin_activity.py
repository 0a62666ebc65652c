"""The page for the admins of the site that says what happened: who did what, the newest first."""

from functools import partial

from flask import g

from rules import activity, timeline
from rules.events import TYPES
from web import forms, requests
from web.html import page

HEADERS = forms.HEADERS

_FILTER = ("type", "user", "invite", "project", "actor", "since")

refusal = forms.refusal


def list_events() -> str:
    """What happened, filtered, a page at a time, the newest first; each with links to whom and what it is about."""
    show = partial(page, "admin/activity.html", families=activity.FAMILIES, types=TYPES)
    g.again = partial(show, given=forms.as_typed(*_FILTER), rows=[], older=None)
    given = requests.query((*_FILTER, "cursor"))
    before = forms.number(given.pop("cursor")) if "cursor" in given else None
    found = timeline.search(activity.read(given), before, forms.ROWS)
    older = forms.next_page(given, str(found.next)) if found.next else None
    return show(given=given, rows=activity.describe(found.rows), older=older)
