"""What happened, for people: which of it they ask for, a sentence for each event, and the names that stand in it."""

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

import clock
from database import session
from models import Event, Invite, Project, User
from rules import accounts, events, fields, invites
from rules.refusals import N_, Invalid, InviteNotFound, UserNotFound
from rules.timeline import Filter, Happened, until

FAMILIES = tuple(dict.fromkeys(each.partition(".")[0] for each in events.TYPES))
UNKNOWN = "unknown"  # who did what a migration told, which could not know it
_WITHOUT_ID = (events.SHELL.called, events.GUEST.called, events.SERVICE.called, UNKNOWN)
_EPOCH = datetime.fromtimestamp(0, UTC)

_SENTENCES: Mapping[str, str] = {
    "invite.created": N_("%(who)s created %(invite)s"),
    "invite.used": N_("%(who)s used %(invite)s"),
    "invite.extended": N_("%(who)s extended %(invite)s until %(until)s"),
    "invite.changed": N_("%(who)s changed %(invite)s"),
    "invite.rotated": N_("%(who)s gave %(invite)s a new link"),
    "invite.mailed": N_("%(who)s asked for %(invite)s to be mailed"),
    "invite.revoked": N_("%(who)s revoked %(invite)s"),
    "invite.expired": N_("expired: %(invite)s"),
    "invite.held": N_("%(who)s holds a use of %(invite)s"),
    "invite.released": N_("%(who)s gave back a use of %(invite)s"),
    "invite.waiting": N_("%(who)s waits for approval of a use of %(invite)s"),
    "invite.approved": N_("%(who)s approved a use of %(invite)s"),
    "invite.denied": N_("%(who)s denied a use of %(invite)s"),
    "invite.declined": N_("%(who)s declined %(invite)s"),
    "user.created": N_("%(who)s created an account for %(user)s"),
    "user.disabled": N_("%(who)s disabled the account of %(user)s"),
    "user.enabled": N_("%(who)s enabled the account of %(user)s"),
    "user.deleted": N_("%(who)s deleted the account of %(user)s"),
    "user.admin": N_("%(who)s made %(user)s an admin of this site"),
    "user.moved": N_("%(who)s moved %(user)s to another place in the tree of inviters"),
    "user.budget": N_("%(who)s changed how many people %(user)s can invite"),
    "member.joined": N_("%(who)s added %(user)s to the project %(project)s"),
    "member.removed": N_("%(who)s removed %(user)s from the project %(project)s"),
    "member.extended": N_("%(who)s extended the access of %(user)s to the project %(project)s until %(until)s"),
    "member.expired": N_("the access of %(user)s to the project %(project)s ended"),
    "project.created": N_("%(who)s created the project %(project)s"),
    "project.owner": N_("%(who)s made %(user)s the owner of the project %(project)s"),
    "project.gate": N_("%(who)s changed the gate of the project %(project)s"),
    "project.deleted": N_("%(who)s deleted the project %(project)s"),
    "key.created": N_("%(who)s created the API key %(key)s"),
    "key.deleted": N_("%(who)s deleted the API key %(key)s"),
    "preset.created": N_("%(who)s created the preset %(preset)s"),
    "preset.deleted": N_("%(who)s deleted the preset %(preset)s"),
    "pass.created": N_("%(who)s created a pass of %(user)s for %(project)s"),
    "pass.deleted": N_("%(who)s deleted a pass of %(user)s for %(project)s"),
    "webhook.created": N_("%(who)s created the webhook %(webhook)s"),
    "webhook.rotated": N_("%(who)s gave the webhook %(webhook)s a new secret"),
    "webhook.enabled": N_("%(who)s enabled the webhook %(webhook)s"),
    "webhook.disabled": N_("%(who)s disabled the webhook %(webhook)s"),
    "webhook.deleted": N_("%(who)s deleted the webhook %(webhook)s"),
    "webhook.test": N_("%(who)s tested the webhook %(webhook)s"),
}
_BY_THEMSELVES: Mapping[str, str] = {
    "user.created": N_("%(who)s created an account"),
    "user.deleted": N_("%(who)s deleted their own account"),
    "user.admin": N_("%(who)s became an admin of this site"),
    "member.joined": N_("%(who)s joined the project %(project)s"),
    "member.removed": N_("%(who)s left the project %(project)s"),
    "pass.created": N_("%(who)s created a pass for %(project)s"),
    "pass.deleted": N_("%(who)s deleted a pass for %(project)s"),
}
# Of a use that an account waits for; a program's guest has none here.
_OF_ACCOUNT: Mapping[str, str] = {
    "invite.released": N_("the use of %(invite)s by %(user)s was given back"),
    "invite.waiting": N_("%(user)s waits for approval to use %(invite)s"),
    "invite.approved": N_("%(who)s approved the use of %(invite)s by %(user)s"),
    "invite.denied": N_("%(who)s denied %(user)s the use of %(invite)s"),
}
_RELEASED: Mapping[str, str] = {
    "lapsed": N_("a use of %(invite)s lapsed: it was not completed in time"),
    "revoked": N_("a use of %(invite)s ended, since the invitation was revoked"),
}
_GIVEN_UP: Mapping[str, str] = {
    "gone": N_("the webhook %(webhook)s was disabled: its receiver is gone"),
    "failing": N_("the webhook %(webhook)s was disabled: it failed for five days"),
}
_PROVES = N_("%(user)s has to confirm an address to use %(invite)s")
_WITH_BRANCH: Mapping[str, str] = {
    "user.disabled": N_("%(who)s disabled the account of %(user)s, with a branch of the tree of inviters"),
    "user.enabled": N_("%(who)s enabled the account of %(user)s, with a branch of the tree of inviters"),
}
_NEVER_ENDS = N_("%(who)s extended the access of %(user)s to the project %(project)s: it never ends")
_NEVER_EXPIRES = N_("%(who)s extended %(invite)s: it never expires")
_NO_GATE = N_("%(who)s removed the gate of the project %(project)s")
_CHANGED = N_("%(who)s changed %(invite)s: %(fields)s")
_NO_ADMIN = N_("%(who)s took the admin role of this site from %(user)s")
_OTHER = N_("%(who)s: %(type)s")
_NO_TYPE = N_("is no type of event: %(word)s")
_NO_TYPE_BUT = N_("is no type of event: %(word)s; did you mean %(near)s?")


@dataclass(frozen=True)
class Subject:
    """A person or a thing in a sentence, as it is called; `id` names its page: an id, a slug, None where none is."""

    called: str
    id: str | None = None


@dataclass(frozen=True)
class Description:
    """An event for people: an English sentence to be translated, with places for what it is about.

    They are `who`, `user`, `invite` (the guest's name or address, "" for anyone), `project`, `until`, and those of
    `facts`: the id of a key or a webhook, a preset, the fields that were changed.
    """

    at: datetime
    sentence: str
    who: Subject
    user: Subject
    invite: Subject
    project: Subject
    until: datetime | None
    facts: Mapping[str, str]


def describe(happened: Sequence[Happened]) -> Sequence[Description]:
    """These events for people, with the names that what they are about has now."""
    users = _with_ids(User, *(each.actor_id for each in happened), *(each.user_id for each in happened))
    people = {each.id: Subject(each.called, each.id) for each in users if each.deleted_at is None}
    bidden = _with_ids(Invite, *(each.invite_id for each in happened))
    guests = {each.id: Subject(each.name or each.email or "", each.id) for each in bidden}
    groups = _with_ids(Project, *(each.project_id for each in happened))
    projects = {each.id: Subject(each.name, each.slug) for each in groups}
    return [
        Description(
            each.at,
            sentence(each),
            people.get(each.actor_id) or Subject(each.actor),
            people.get(each.user_id) or Subject(events.ERASED),
            guests.get(each.invite_id) or Subject(""),
            projects.get(each.project_id) or Subject(""),
            until(each.at, each.facts),
            _facts(each),
        )
        for each in happened
    ]


def sentence(event: Happened) -> str:
    """The English sentence that says what happened, with places as `Description` has them."""
    if special := _by_facts(event):
        return special
    if event.actor_id is not None and event.actor_id == event.user_id and event.type in _BY_THEMSELVES:
        return _BY_THEMSELVES[event.type]
    if event.user_id is not None and event.type in _OF_ACCOUNT:
        return _OF_ACCOUNT[event.type]
    return _SENTENCES.get(event.type, _OTHER)


def _by_facts(event: Happened) -> str | None:
    """The sentence for an event whose facts change what is said; None for all others."""
    facts = event.facts
    return {
        "invite.extended": None if facts.get("ttl") is not None else _NEVER_EXPIRES,
        "invite.changed": _CHANGED if facts.get("fields") else None,
        "invite.waiting": _PROVES if facts.get("for") == "proof" else None,
        "invite.released": _RELEASED.get(str(facts.get("why"))),
        "member.extended": None if facts.get("access") is not None else _NEVER_ENDS,
        "project.gate": None if facts.get("origins") else _NO_GATE,
        "user.admin": None if facts.get("admin") else _NO_ADMIN,
        "user.disabled": _WITH_BRANCH["user.disabled"] if facts.get("branch") else None,
        "user.enabled": _WITH_BRANCH["user.enabled"] if facts.get("branch") else None,
        "webhook.disabled": _GIVEN_UP.get(str(facts.get("why"))),
    }.get(event.type)


def _facts(event: Happened) -> Mapping[str, str]:
    named = {name: str(event.facts.get(name, "")) for name in ("key", "preset", "webhook")}
    return {**named, "fields": ", ".join(map(str, event.facts.get("fields", ()))), "type": event.type}


def _with_ids(table: Any, *ids: str | None) -> Sequence[Any]:
    wanted = {each for each in ids if each}
    return session().scalars(select(table).where(table.id.in_(wanted))).all() if wanted else []


def read(given: Mapping[str, Any]) -> Filter:
    """A Filter from the fields `type`, `invite`, `user`, `project`, `actor` and `since`; raises Invalid.

    `type` names types or whole families of them, with commas between. People are named by id, user name or address, an
    actor also by the id of an API key, or as one of shell, a guest, invite-api, unknown. `since` is a moment, or how
    long ago it was, such as 2d.
    """
    values: dict[str, Any] = {}
    for each in fields.read(_READERS, given).values():
        values |= each
    return Filter(**values)


def types(written: str, field: str = "type") -> Sequence[str]:
    """The types in a text such as ``invite.used,member``: a family stands for all of its types. Raises Invalid."""
    found: list[str] = []
    for word in (each.strip().lower() for each in written.split(",")):
        of_word = [each for each in events.TYPES if word in (each, each.partition(".")[0])]
        if not of_word:
            near = difflib.get_close_matches(word, (*events.TYPES, *FAMILIES), 1)
            text = _NO_TYPE_BUT if near else _NO_TYPE
            raise Invalid.at(field, "enum", text, word=word, near="".join(near))
        found += of_word
    return list(dict.fromkeys(found))


def since(written: str) -> datetime:
    """The moment that a text says: ``2d`` ago, the day ``2026-11-01``, or a moment in ISO 8601; raises Invalid."""
    otherwise = N_("must be a moment such as 2026-11-01, or how long ago it was, such as 2d")
    try:
        moment = datetime.fromisoformat(written.strip())
        moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        moment = _ago(written, otherwise)
    return max(moment, _EPOCH)


def _ago(written: str, otherwise: str) -> datetime:
    length = fields.duration(written, "since", otherwise)
    try:
        return clock.now() - length
    except OverflowError:
        return _EPOCH


def _invite(written: str) -> str:
    try:
        return invites.named(written).id
    except InviteNotFound:
        raise Invalid.at("invite", "exists", "names no invitation") from None


def _user(written: str, field: str = "user") -> str:
    """The id of an account, also of one that was deleted, if it is named by its whole id."""
    try:
        return accounts.named(written).id
    except UserNotFound:
        if session().get(User, written.strip()):
            return written.strip()
        raise Invalid.at(field, "exists", "names no account") from None


def _project(written: str) -> str:
    """The id of a project, also of one that was deleted, if it is named by its id."""
    found = session().scalar(select(Project.id).where(Project.slug == written.strip()))
    if found is None and session().get(Project, written.strip()) is None:
        raise Invalid.at("project", "exists", "names no project: %(slug)s", slug=written)
    return found or written.strip()


def _actor(written: str) -> dict[str, str]:
    if written in _WITHOUT_ID:
        return {"actor": written}
    key_id = written.strip().partition("/")[0]
    try:
        return {"actor_id": _user(written, "actor")}
    except Invalid:
        if session().scalar(select(Event.number).where(Event.actor_id == key_id).limit(1)) is None:
            raise
        return {"actor_id": key_id}


_READERS: Mapping[str, Callable[[Any], dict[str, Any]]] = {
    "type": lambda value: {"types": types(fields.text(value, "type", 1000))},
    "invite": lambda value: {"invite_id": _invite(fields.text(value, "invite", 2000))},
    "user": lambda value: {"user_id": _user(fields.text(value, "user", fields.MAX_ADDRESS))},
    "project": lambda value: {"project_id": _project(fields.text(value, "project", 100))},
    "actor": lambda value: _actor(fields.text(value, "actor", fields.MAX_ADDRESS)),
    "since": lambda value: {"since": since(fields.text(value, "since", 100))},
}
