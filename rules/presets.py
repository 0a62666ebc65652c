"""Presets: fields of an invite under a name, to be used again and again; an API key may be bound to one.

`draft` is where a preset becomes part of an invite, whatever the way in which that is created.
"""

import difflib
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import lru_cache, partial
from typing import Any

from sqlalchemy import bindparam, select
from sqlalchemy.exc import IntegrityError

import clock
from database import session
from database.statements import Statement
from models import ApiKey, Member, Preset, Project
from rules import drafts, events, fields, invites, joining, keys
from rules.drafts import READERS, Draft, Inviter
from rules.idempotency import Once
from rules.refusals import Invalid, Problem, problem, together
from settings import Settings, settings, texts

Find = Callable[[str], str | None]

MAX_NAME = 50
MAX_NAMED = 20  # presets that a refusal names, where one is not there
FIELDS = tuple(each for each in READERS if each != "name")  # whom an invite is for is said for each

_FIND = Statement(select(Preset.fields).where(Preset.name == bindparam("name")))


def create(name: str, given: Mapping[str, object]) -> Preset:
    """Create a preset of these fields, by the names in FIELDS, as text or as JSON has them; None and "" are left out.

    Raises Invalid for a name that is taken or is none, no field at all, an unknown field, or a value that no invite
    may have. Whether its user may ask for that is looked at when an invite is created.
    """
    kept = {field: value for field, value in given.items() if value not in (None, "")}
    called, _, draft = together(lambda: read_name(name), lambda: _refuse_fields(kept), lambda: drafts.read(kept))
    if draft.project:
        invites.find_project(draft.project)
    preset = Preset(name=called, fields=json.dumps(kept, ensure_ascii=False), created_at=clock.now())
    try:
        with session().begin_nested():
            session().add(preset)
    except IntegrityError:
        raise Invalid.at("preset", "unique", "is taken: there is a preset %(preset)s already", preset=called) from None
    events.record("preset.created", facts={"preset": called})
    return preset


def read_name(value: object) -> str:
    """The name of a preset: 1 to 50 letters of any script, digits and . _ - beginning with a letter or a digit.

    Raises Invalid for anything else. Capitals and small letters are not the same.
    """
    return _checked(fields.plain(value, "preset"))


@lru_cache  # here and below: programs create by the same preset again and again
def _checked(value: str) -> str:
    kept = fields.text(value, "preset", MAX_NAME)
    if odd := [each for each in kept if not (texts.is_letter(each) or each.isdecimal() or each in "._-")]:
        raise Invalid.at(
            "preset",
            "characters",
            "may not have %(character)s in its name; a name has letters, digits and . _ - in it",
            character=texts.called(odd[0]),
        )
    if kept[0] in "._-":  # a path, or an option of a command
        raise Invalid.at("preset", "characters", "must begin with a letter or a digit")
    return kept


def _refuse_fields(kept: Mapping[str, object]) -> None:
    if not kept:
        raise Invalid.at("preset", "required", "has no fields: give at least one, such as plan or ttl")
    there = ", ".join(FIELDS)
    unknown = [
        problem(each, "unknown", "is no field of a preset; there are %(there)s", there=there)
        for each in kept
        if each not in FIELDS
    ]
    if unknown:
        raise Invalid(*unknown)


def by_name() -> Sequence[Preset]:
    """All presets, in the order of their names."""
    return sorted(session().scalars(select(Preset)), key=lambda each: (each.name.casefold(), each.name))


def find(name: str) -> Mapping[str, Any] | None:
    """The fields of the preset with this name, as they were given; None if there is none."""
    kept = stored(name)
    return None if kept is None else _read(kept)


def stored(name: str) -> str | None:
    """The fields of the preset with this name, as JSON; None if there is none."""
    kept: str | None = _FIND.value(name=name)
    return kept


def named(name: str) -> Preset:
    """The preset with this name; raises Invalid, which says which there are."""
    called = read_name(name)
    preset = session().get(Preset, called)
    if preset is None:
        raise _unknown(called)
    return preset


def fields_of(preset: Preset) -> Mapping[str, Any]:
    """The fields of a preset, as they were given."""
    return _read(preset.fields)


def _read(text: str) -> Mapping[str, Any]:
    kept: Mapping[str, Any] = json.loads(text)
    return kept


@lru_cache
def _values(kept: str, but: frozenset[str], _: Settings) -> Mapping[str, Any]:
    """The fields of a preset as the settings in force read them, but for some; raises Invalid for what is wrong now."""
    return fields.read(READERS, {name: value for name, value in _read(kept).items() if name not in but})


def delete(name: str) -> Sequence[ApiKey]:
    """Delete a preset; returns the API keys that are bound to it, which create nothing from now on.

    The invites that were created by it stay. Raises Invalid for one that is not there.
    """
    preset = named(name)
    session().delete(preset)
    events.record("preset.deleted", facts={"preset": preset.name})
    return keys.bound_to(preset.name)


def delete_all_for(slug: str) -> None:
    """Delete the presets that name a project, which is deleted: whoever takes its slug would get their guests."""
    for each in session().scalars(select(Preset).order_by(Preset.name)).all():
        if json.loads(each.fields).get("project") == slug:
            delete(each.name)


def draft(
    given: Mapping[str, object],
    inviter: Inviter,
    makes_admin: bool = False,
    find: Find = stored,
    once: Once | None = None,
) -> Draft:
    """A Draft from what was given for an invite: fields by the names in READERS, and by `preset` the name of one.

    What is given besides a preset wins over it; None and "" are not given. An inviter that is bound to a preset
    creates by that, named or not, and changes nothing that it names. Raises Invalid with all that is wrong; what the
    inviter may not ask for is refused when the invite is created. `find` is what looks a preset up. What was created
    `once` stays so, whatever became of its preset.
    """
    if given.get("preset") is None and not inviter.preset:
        return drafts.read(given, makes_admin)
    if once and once.made():
        return Draft()
    called = _chosen(given.get("preset"), inviter)
    kept = find(called)
    if kept is None:
        raise _missing(called, inviter)
    besides = {name: given[name] for name in READERS if given.get(name) not in (None, "")}
    said, asked = together(
        partial(_values, kept, frozenset(besides), settings()), partial(fields.read, READERS, besides)
    )
    if inviter.preset:
        _refuse_changes(kept, asked, called)
    wanted = drafts.of({**said, **asked, "preset": called}, makes_admin)
    if wanted.project and "project" not in asked and (until := _managed_until(wanted.project, inviter)):
        left = until - clock.now()
        wanted = replace(wanted, ttl=min(wanted.ttl or left, left))
    return wanted


def refuse_changes(inviter: Inviter, changed: Mapping[str, str]) -> None:
    """Raise Invalid if an inviter that is bound to a preset is to change a field of an invite that the preset names.

    `changed` are the fields that are to change, by what they are called there.
    """
    named = bound_fields(inviter)
    if said := [called for called, name in changed.items() if name in named]:
        raise Invalid(*(_said_by(str(inviter.preset), name) for name in said))


def bound_fields(inviter: Inviter) -> Collection[str]:
    """The fields that the preset to which an inviter is bound names, none without one; raises Invalid if it is gone."""
    if inviter.preset is None:
        return ()
    kept = find(inviter.preset)
    if kept is None:
        raise _missing(inviter.preset, inviter)
    return kept


def _said_by(called: str, name: str) -> Problem:
    return problem(name, "forbidden", "is set by the preset %(preset)s, to which this API key is bound", preset=called)


def _chosen(asked: object, inviter: Inviter) -> str:
    """The name of the preset by which an invite is to be created."""
    called = inviter.preset if asked is None else read_name(asked)
    if inviter.preset and called != inviter.preset:
        raise Invalid.at(
            "preset", "forbidden", "must be %(preset)s: this API key is bound to it", preset=inviter.preset
        )
    return str(called)


def _missing(called: str, inviter: Inviter) -> Invalid:
    """The refusal of a name that no preset has, and of a key that is bound to one that is gone."""
    if inviter.preset:
        return Invalid.at(
            "preset", "exists", "was deleted: %(preset)s. An API key that is bound to it creates nothing", preset=called
        )
    return _unknown(called)


def _unknown(called: str) -> Invalid:
    """The refusal of a name that no preset has: it names the one that is like it, or those that there are."""
    there = [each.name for each in by_name()]
    folded = {each.casefold(): each for each in there}
    if near := difflib.get_close_matches(called.casefold(), folded, 1):
        meant = folded[near[0]]
        return Invalid.at(
            "preset", "exists", "is unknown: %(preset)s; did you mean %(meant)s?", preset=called, meant=meant
        )
    if not there:
        return Invalid.at("preset", "exists", "is unknown: %(preset)s; there are none here", preset=called)
    listed = ", ".join(there[:MAX_NAMED]) + (", …" if there[MAX_NAMED:] else "")
    return Invalid.at("preset", "exists", "is unknown: %(preset)s; there are %(there)s", preset=called, there=listed)


def _refuse_changes(kept: str, asked: Mapping[str, object], called: str) -> None:
    """Raise Invalid for every field of a preset that was asked for with another value."""
    said = _values(kept, frozenset(), settings())
    changed = [_said_by(called, name) for name, value in said.items() if asked.get(name, value) != value]
    if changed:
        raise Invalid(*changed)


def _managed_until(slug: str, inviter: Inviter) -> datetime | None:
    """When the access of an account to the project to which it invites ends; None if never.

    Raises Invalid if an account that is no admin of the site would invite to a project that it does not manage.
    """
    if inviter.trusted or not inviter.user:
        return None
    mine = select(Member.id, Member.ends_at).join(Project, Project.id == Member.project_id)
    mine = mine.where(Project.slug == slug, Member.user_id == inviter.user.id, joining.manages(clock.now()))
    found = session().execute(mine).first()
    if found is None:
        raise Invalid.at(
            "project",
            "forbidden",
            "can be %(project)s only if its owner or admin creates the invitation",
            project=slug,
        )
    until: datetime | None = found.ends_at
    return until
