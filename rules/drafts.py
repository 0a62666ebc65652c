"""What a new invite is to be, and what its inviter may ask for."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import clock
from models import User
from rules import events, fields, messages
from rules.refusals import Invalid, problem
from rules.sessions import Account
from settings import settings

MAX_USES = 1_000_000
ADMIN_TTL = clock.DAY
SHORT_CODE_TTL = 7 * clock.DAY


@dataclass(frozen=True)
class Inviter:
    """The inviter: an account, an API key or the command.

    `called` is the inviter's name, which is stored with the invite as text: it stays when the account or key is gone.
    Only a `trusted` inviter (the command, an admin of the site) may create invites that never expire or that make an
    admin of the site. Only one that is trusted, or `appoints` because it owns the project, may give the role admin.
    One with a `preset`, an API key that is bound to it, may create only invites by that. Its invites do not outlive
    `until`, when its own access to the project ends.
    """

    called: str
    trusted: bool = False
    appoints: bool = False
    user: User | Account | None = None
    key_id: str | None = None
    preset: str | None = None
    until: datetime | None = None

    @property
    def actor(self) -> events.Actor:
        """Who creates the invite, for what is told of it."""
        return events.Actor(self.called, self.user.id if self.user else self.key_id)

    @property
    def identity(self) -> str:
        """What the requests of this inviter are counted under, for rate limits."""
        return self.user.id if self.user else f"key {self.key_id}" if self.key_id else self.called


SHELL = Inviter("shell", trusted=True)


@dataclass(frozen=True)
class Draft:
    """What a new invite is to be; `read` and `presets.draft` make one from text or JSON.

    A `ttl` of None means that it never expires. `email` may be ``@example.org``, for anyone with an address there.
    `message` is what the inviter says to the guest, and `note` the operator's own.
    `access` is how long a guest stays in the project, None for ever; `data` is a JSON object, as text, for the
    operator's programs; with `approve` a use waits until an admin says yes. `preset` is the name of the one by which it
    is created.
    """

    name: str | None = None
    email: str | None = None
    project: str | None = None
    role: str = "member"
    plan: str = "solo"
    ttl: timedelta | None = field(default_factory=lambda: settings().invite_ttl)
    uses: int = 1
    redirect_url: str | None = None
    message: str | None = None
    note: str | None = None
    makes_admin: bool = False
    access: timedelta | None = None
    data: str | None = None
    approve: bool = False
    preset: str | None = None


READERS: Mapping[str, Callable[[object], Any]] = {
    "name": fields.name,
    "email": fields.invited_email,
    "project": lambda value: fields.text(value, "project", 100),
    "role": fields.role,
    "plan": lambda value: fields.text(value, "plan", 100),
    "ttl": fields.ttl,
    "uses": lambda value: fields.count(value, "uses", MAX_USES),
    "redirect_url": fields.redirect_url,
    "message": messages.read,
    "note": lambda value: fields.text(value, "note", 1000),
    "access": fields.access,
    "data": fields.data,
    "approve": lambda value: fields.flag(value, "approve"),
}


def read(given: Mapping[str, object], makes_admin: bool = False) -> Draft:
    """A Draft from the fields that were given, by the names in READERS; raises Invalid with all that is wrong."""
    return of(fields.read(READERS, given), makes_admin)


def of(values: Mapping[str, Any], makes_admin: bool = False) -> Draft:
    """A Draft with values that were read, by the names of its fields."""
    defaults: dict[str, Any] = {}
    if makes_admin:
        defaults = {"makes_admin": True, "ttl": min(ADMIN_TTL, settings().invite_ttl_max)}
    return Draft(**{**defaults, **values})


def refuse_privileges(draft: Draft, inviter: Inviter) -> None:
    """Raise Invalid if a draft asks for more than its inviter may give: the role admin, no expiry, an admin's account.

    An invite that makes an admin of the site is for one use within 24 hours. One who is bound to a preset creates only
    invites by that.
    """
    problems = []
    if inviter.preset and draft.preset != inviter.preset:
        problems.append(
            problem("preset", "forbidden", "must be %(preset)s: this API key is bound to it", preset=inviter.preset)
        )
    if draft.role == "admin" and not (inviter.trusted or inviter.appoints):
        problems.append(problem("role", "forbidden", "can be admin only for an admin of this site"))
    if draft.access and not draft.project:
        problems.append(problem("access", "required", "needs a project"))
    if draft.makes_admin and draft.approve:
        problems.append(problem("approve", "forbidden", "is not possible for an invite that makes an admin"))
    if draft.makes_admin and fields.is_domain(draft.email):
        problems.append(problem("email", "forbidden", "must be one address for an invite that makes an admin"))
    if draft.role == "admin" and not draft.project:
        problems.append(problem("role", "required", "can be admin only of a project"))
    if draft.ttl is None and not inviter.trusted:
        problems.append(problem("ttl", "forbidden", "can be never only for an admin of this site"))
    if draft.makes_admin:
        if not inviter.trusted:
            problems.append(problem("makes_admin", "forbidden", "can only be asked for by an admin"))
        if draft.uses != 1:
            problems.append(problem("uses", "range", "must be 1 for an invite that makes an admin"))
        if draft.ttl is None or draft.ttl > ADMIN_TTL:
            problems.append(problem("ttl", "range", "must be at most 24h for an invite that makes an admin"))
    if problems:
        raise Invalid(*problems)
