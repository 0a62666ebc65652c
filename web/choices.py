"""What the forms of the admins that create invites offer to choose from, and how what was sent is read."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import clock
from rules import drafts, durations, invites, listing, presets, projects
from rules.drafts import Draft, Inviter
from rules.listing import Listed
from rules.refusals import together
from settings import settings

MAX_PROJECTS = 200

_READ_ANOTHER_WAY = ("plan", "ttl", "uses", "access", "approve")  # those that `fields_of` writes itself
_SAME = tuple(name for name in drafts.READERS if name not in _READ_ANOTHER_WAY)

FIELDS = tuple(dict.fromkeys((*drafts.READERS, "preset", *durations.FIELDS)))  # what such a form sends of an invite


def offered(given: Mapping[str, str]) -> dict[str, Any]:
    """The facts of the page of such a form: what was `given`, and the choices of its lists.

    The usual lifetime has the value "", which with presets means what the preset says.
    """
    stored = [(each.name, each.name) for each in presets.by_name()]
    usual, typed = settings().invite_ttl, given.get("ttl", "")
    lifetimes = _values(durations.lifetimes(typed), None if stored else usual)
    accesses = _values(durations.accesses(given.get("access", "")))
    chosen = {"ttl": _value(typed, lifetimes), "access": _value(given.get("access", ""), accesses)}
    return {
        "given": {**given, **chosen},
        "projects": [(each.slug, each.name) for each in projects.newest(MAX_PROJECTS)],
        "presets": stored,
        "usual": usual,
        "lifetimes": lifetimes,
        "accesses": accesses,
    }


def draft(given: Mapping[str, str], inviter: Inviter, makes_admin: bool = False) -> Draft:
    """What a form that has FIELDS asks for; raises Invalid with all that is wrong."""
    plain = {name: given.get(name) or None for name in (*drafts.READERS, "preset")} | {"ttl": None, "access": None}
    said, _ = together(partial(durations.read, given), partial(presets.draft, plain, inviter, makes_admin))
    return presets.draft({**plain, **said}, inviter, makes_admin)


def fields_of(invite_id: str, but: Sequence[str] = ()) -> dict[str, str]:
    """What such a form says of this invite, `but` for some of it, for another one like it; raises InviteNotFound."""
    row = listing.one(invite_id)
    given = {name: getattr(row, name) or "" for name in _SAME if name not in but}
    given |= {
        "plan": "" if row.plan == drafts.Draft.plan else row.plan,
        "access": clock.spell_seconds(row.access) or "",
    }
    given |= {"uses": str(row.max_uses) if row.max_uses > 1 else "", "approve": "on" if row.approve else ""}
    was_mailed = invites.find_by_id(invite_id).mail_token_hash is not None
    return given | {"admin": "on" if row.makes_admin else "", "mail": "on" if was_mailed else "", **_expiry_of(row)}


def _expiry_of(row: Listed) -> dict[str, str]:
    """How long an invite was valid, as the form says it; the day on which it expires, if it was that long by chance."""
    if row.expires_at is None:
        return {"ttl": "never"}
    ttl, left = row.expires_at - row.created_at, row.expires_at - clock.now()
    if row.makes_admin or ttl % clock.HOUR == timedelta(0):
        return {"ttl": "" if row.makes_admin else clock.spell(ttl)}
    return {"ttl": durations.DATE, "until": f"{row.expires_at:%Y-%m-%d}"} if left > clock.DAY else {}


def _values(lengths: Iterable[timedelta], usual: timedelta | None = None) -> list[tuple[str, timedelta]]:
    return [("" if each == usual else clock.spell(each), each) for each in lengths]


def _value(typed: str, choices: Iterable[tuple[str, timedelta]]) -> str:
    """The value of the choice that says the same as what was typed; what was typed if there is none."""
    try:
        length = clock.duration(typed)
    except ValueError:
        return typed
    return next((value for value, each in choices if each == length), typed)
