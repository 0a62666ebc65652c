"""Invites from JSON, one or many at once: all are created or none, and each that is wrong is named by its place."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

from models import Invite, Project
from rules import drafts, fields, invites, presets
from rules.drafts import MAX_USES, Draft, Inviter
from rules.idempotency import Once
from rules.refusals import Invalid, Problem, UnknownField, together

MAX_INVITES = 1000

# What an object of JSON may have in it; `uses` is called max_uses there.
MEMBERS = (*("max_uses" if name == "uses" else name for name in drafts.READERS), "makes_admin", "preset", "mail")

Asked = Mapping[str, Any]


class Prepared(NamedTuple):
    """An invite, and the slug of its project."""

    invite: Invite
    project: str | None


def prepare(asked: object, inviter: Inviter) -> Sequence[Prepared]:
    """Invites for `invites.add`, one for each object; raises Invalid or UnknownField with all that is wrong in any.

    `index` says there in which, from 0. There are at most 1,000 of them.
    """
    if not isinstance(asked, list):
        raise Invalid.at("invites", "array", "must be a list")
    if not 1 <= len(asked) <= MAX_INVITES:
        raise Invalid.at("invites", "maxItems", "must have 1 to %(most)s invites in it", most=MAX_INVITES)
    prepared, wrong = list[Prepared](), list[Problem]()
    refusal: type[Invalid] = Invalid
    project_of, find = cache(invites.find_project), cache(presets.stored)
    for index, each in enumerate(asked):
        try:
            prepared.append(_prepared(each, inviter, project_of, find))
        except Invalid as refused:
            refusal = UnknownField if isinstance(refused, UnknownField) else refusal
            wrong += (replace(told, index=index) for told in refused.problems)
    if wrong:
        raise refusal(*wrong)
    return prepared


def create(asked: Asked, inviter: Inviter, once: Once | None) -> Prepared:
    """Create one invite of the members that an object has, by the names in MEMBERS; once, with `once`.

    Raises Invalid or UnknownField, and what `invites.create` does.
    """
    with _as_called():
        draft, mailed = _read(asked, inviter, presets.stored)
        return Prepared(invites.create(draft, inviter, mailed, once=once), draft.project)


def _prepared(asked: object, inviter: Inviter, project_of: Callable[[str], Project], find: presets.Find) -> Prepared:
    with _as_called():
        draft, mailed = _read(asked, inviter, find)
        return Prepared(invites.prepare(draft, inviter, mailed, project_of), draft.project)


def _read(asked: object, inviter: Inviter, find: presets.Find) -> tuple[Draft, bool]:
    """What is asked for, and whether it is to be mailed; raises Invalid or UnknownField."""
    if not isinstance(asked, dict):
        raise Invalid.at("invites", "object", "must be an object")
    fields.refuse_unknown(asked, MEMBERS)
    given = {name: value for name, value in asked.items() if value is not None}
    mailed = given.pop("mail", False)
    return together(partial(_draft, given, inviter, find), partial(fields.boolean, mailed, "mail"))[0], mailed


def _draft(given: Mapping[str, Any], inviter: Inviter, find: presets.Find) -> Draft:
    """What is asked for; raises Invalid. An empty text is wrong, and not the same as none."""
    renamed = {"uses" if name == "max_uses" else name: value for name, value in given.items() if value != ""}
    makes_admin = renamed.pop("makes_admin", False)
    # As a text it would be read here, and no JSON has it so.
    wrong = [name for name, (kind, _) in _KINDS.items() if type(renamed.get(name, kind())) is not kind]
    refusals = [partial(_KINDS[name][1], renamed.pop(name)) for name in wrong]
    drafted: Draft = together(
        partial(fields.refuse_empty, given),
        partial(fields.boolean, makes_admin, "makes_admin"),
        *refusals,
        partial(presets.draft, renamed, inviter, makes_admin is True, find),
    )[-1]
    return drafted


_KINDS: Mapping[str, tuple[type, Callable[[object], object]]] = {
    "uses": (int, lambda value: fields.number(value, "max_uses", MAX_USES)),
    "approve": (bool, lambda value: fields.boolean(value, "approve")),
    "data": (dict, fields.json_data),
}


@contextmanager
def _as_called() -> Iterator[None]:
    """Inside, what is wrong with the uses is told of `max_uses`, as JSON calls them."""
    try:
        yield
    except UnknownField:
        raise
    except Invalid as refused:
        renamed = (replace(told, field="max_uses") if told.field == "uses" else told for told in refused.problems)
        raise Invalid(*renamed) from refused
