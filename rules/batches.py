"""Many invites at once, from JSON: all of them are created or none, and each that is wrong is named by its place."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, NamedTuple

from models import Invite, Project
from rules import drafts, fields, invites, presets
from rules.drafts import MOST_USES, Draft, Maker
from rules.refusals import Invalid, Problem, UnknownField, problem, together

MOST = 1000

# What an object of JSON may have in it; `uses` is called max_uses there.
MEMBERS = (*("max_uses" if name == "uses" else name for name in drafts.READERS), "makes_admin", "preset", "mail")

Asked = Mapping[str, Any]


class Prepared(NamedTuple):
    """An invite that `invites.add` will put into the database, and the slug of its project."""

    invite: Invite
    project: str | None


def prepare(asked: object, maker: Maker) -> Sequence[Prepared]:
    """An invite for each object of a list; raises Invalid or UnknownField with all that is wrong in any of them.

    `index` says there in which, from 0. There are at most 1,000 of them.
    """
    if not isinstance(asked, list):
        raise Invalid.at("invites", "array", "must be a list")
    if not 1 <= len(asked) <= MOST:
        raise Invalid.at("invites", "maxItems", "must have 1 to %(most)s invites in it", most=MOST)
    prepared, wrong = list[Prepared](), list[Problem]()
    refusal: type[Invalid] = Invalid
    project_of, find = cache(invites.find_project), cache(presets.stored)
    for index, each in enumerate(asked):
        try:
            prepared.append(prepare_one(each, maker, project_of, find))
        except Invalid as refused:
            refusal = UnknownField if isinstance(refused, UnknownField) else refusal
            wrong += (replace(told, index=index) for told in refused.problems)
    if wrong:
        raise refusal(*wrong)
    return prepared


def prepare_one(
    asked: object,
    maker: Maker,
    project_of: Callable[[str], Project] | None = None,
    find: presets.Find = presets.stored,
) -> Prepared:
    """An invite of the members that an object has, by the names in MEMBERS; raises Invalid or UnknownField.

    `project_of` finds a project by its slug, `invites.find_project` by default, and `find` a preset by its name.
    """
    if not isinstance(asked, dict):
        raise Invalid.at("invites", "object", "must be an object")
    fields.refuse_unknown(asked, MEMBERS)
    given = {name: value for name, value in asked.items() if value is not None}
    mailed = given.pop("mail", False)
    try:
        draft: Draft = together(partial(_draft, given, maker, find), partial(fields.boolean, mailed, "mail"))[0]
        return Prepared(invites.prepare(draft, maker, mailed, project_of), draft.project)
    except Invalid as refused:
        raise Invalid(*map(_as_called, refused.problems)) from refused


def _draft(given: Mapping[str, Any], maker: Maker, find: presets.Find) -> Draft:
    """What is asked for; raises Invalid. An empty text is wrong, and not the same as none."""
    renamed = {"uses" if name == "max_uses" else name: value for name, value in given.items() if value != ""}
    makes_admin = renamed.pop("makes_admin", False)
    # As a text it would be read here, and no JSON has it so.
    wrong = [name for name, (kind, _) in _KINDS.items() if type(renamed.get(name, kind())) is not kind]
    refusals = [partial(_KINDS[name][1], renamed.pop(name)) for name in wrong]
    drafted: Draft = together(
        partial(_refuse_empty, given),
        partial(fields.boolean, makes_admin, "makes_admin"),
        *refusals,
        partial(presets.draft, renamed, maker, makes_admin is True, find),
    )[-1]
    return drafted


def _refuse_empty(given: Mapping[str, Any]) -> None:
    if empty := [name for name, value in given.items() if value == ""]:
        raise Invalid(*(problem(name, "required", "is empty") for name in empty))


_KINDS: Mapping[str, tuple[type, Callable[[object], object]]] = {
    "uses": (int, lambda value: fields.number(value, "max_uses", MOST_USES)),
    "approve": (bool, lambda value: fields.boolean(value, "approve")),
    "data": (dict, fields.json_data),
}


def _as_called(told: Problem) -> Problem:
    return replace(told, field="max_uses") if told.field == "uses" else told
