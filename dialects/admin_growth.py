"""The page for the admins of the site that shows in whose branches most people join."""

from functools import partial
from types import SimpleNamespace

from flask import g

from rules import growth
from rules.refusals import Invalid
from web import forms, requests
from web.html import page

HEADERS = forms.HEADERS

SHOWN = 20

refusal = forms.refusal


def list_branches() -> str:
    """The branches that have grown fastest within a day or a week."""
    show = partial(page, "admin/growth.html")
    g.again = partial(show, by="week", rows=[], is_all=True)
    by = requests.query(("by",)).get("by", "week")
    if by not in growth.WINDOWS:
        raise Invalid.at("by", "enum", "must be one of %(words)s", words=", ".join(growth.WINDOWS))
    return show(by=by, rows=[_shown(each) for each in growth.fastest(SHOWN, by)], is_all=growth.is_all_looked_at())


def _shown(branch: growth.Branch) -> SimpleNamespace:
    person = forms.kept(branch.person, "id", "called", "disabled_at", "deleted_at")
    return SimpleNamespace(person=person, day=branch.day, week=branch.week, direct=branch.direct)
