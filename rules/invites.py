"""Invites: what one may be, and how it is created, mailed, found, changed and revoked.

Its states are in rules/states.py, what its guest sees in rules/invitations.py, its use in rules/redemption.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from sqlalchemy import bindparam, insert, select

import clock
from database import may_write, session
from database.statements import Statement
from models import Invite, Project, User
from rules import events, fields, ids, outbox, searching, states, tokens
from rules.events import Told
from rules.idempotency import Once
from rules.keys import VerifiedKey
from rules.refusals import Invalid, InviteNotFound, problem, together
from rules.sessions import Account
from settings import settings

MOST_USES = 1_000_000
ADMIN_TTL = clock.DAY
SHORT_CODE_TTL = 7 * clock.DAY


@dataclass(frozen=True)
class Maker:
    """The inviter: an account, an API key or the command.

    `called` is the inviter's name, which is stored with the invite as text: it stays when the account or key is gone.
    Only a `trusted` maker (the command, an admin of the site) may create invites that never expire or that make an
    admin of the site. Only one that is trusted, or `appoints` because it owns the project, may give the role admin.
    One with a `preset`, an API key that is bound to it, may create only invites by that.
    """

    called: str
    trusted: bool = False
    appoints: bool = False
    user: User | Account | None = None
    key_id: str | None = None
    preset: str | None = None

    @property
    def actor(self) -> events.Actor:
        """Who creates the invite, for what is told of it."""
        return events.Actor(self.called, self.user.id if self.user else self.key_id)

    @property
    def identity(self) -> str:
        """By what the requests of this inviter are counted against rate limits."""
        return self.user.id if self.user else f"key {self.key_id}" if self.key_id else self.called


SHELL = Maker("shell", trusted=True)


def by_key(key: VerifiedKey) -> Maker:
    """The Maker of the invites that an API key creates."""
    return Maker(f"API key {key.name or key.id}", key_id=key.id, preset=key.preset)


@dataclass(frozen=True)
class Draft:
    """What a new invite is to be; `read` and `presets.draft` make one from text or JSON.

    A `ttl` of None means that it never expires. `preset` is the name of the one by which it is created.
    """

    name: str | None = None
    email: str | None = None
    project: str | None = None
    role: str = "member"
    plan: str = "solo"
    ttl: timedelta | None = field(default_factory=lambda: settings().invite_ttl)
    uses: int = 1
    redirect_url: str | None = None
    note: str | None = None
    makes_admin: bool = False
    preset: str | None = None


READERS: Mapping[str, Callable[[object], Any]] = {
    "name": fields.name,
    "email": fields.email,
    "project": lambda value: fields.text(value, "project", 100),
    "role": fields.role,
    "plan": lambda value: fields.text(value, "plan", 100),
    "ttl": fields.ttl,
    "uses": lambda value: fields.count(value, "uses", MOST_USES),
    "redirect_url": fields.redirect_url,
    "note": lambda value: fields.text(value, "note", 1000),
}


def read(given: Mapping[str, object], makes_admin: bool = False) -> Draft:
    """A Draft from the fields that were given, by the names in READERS; raises Invalid with all that is wrong."""
    defaults: dict[str, Any] = {"makes_admin": True, "ttl": ADMIN_TTL} if makes_admin else {}
    return Draft(**defaults | fields.read(READERS, given))


def create(
    draft: Draft, maker: Maker, mailed: bool = False, id_: str | None = None, once: Once | None = None
) -> Invite:
    """Create an invite, mailed if `mailed`; raises Invalid for what this maker may not ask for, or no address.

    With `once` a second such call returns the same invite; it raises IdempotencyKeyReused for another call's.
    """
    if once and (before := once.made()):
        return before
    invite = prepare(draft, maker, mailed)
    invite.id = id_ or invite.id
    if once:
        once.give([invite])
    invite.created_event = events.tell_created(invite.id, invite.project_id, maker.actor, invite.created_at)
    session().add(invite)
    if mailed:
        with events.acting(maker.actor):
            mail(invite)
    return invite


def create_token(draft: Draft, maker: Maker, once: Once | None = None) -> str:
    """Create an invite and return its token only; raises what `create` does, and LinkLost with `once`.

    Without `once` it takes a fraction of the time of `create`, which programs that create many invites notice.
    """
    if once:
        return token(create(draft, maker, once=once))
    values, made = _values(draft, maker, find_project)
    number = events.tell_created(values["id"], values["project_id"], maker.actor, values["created_at"])
    _INSERT.run(**values, created_event=number)
    return made


def prepare(
    draft: Draft, maker: Maker, mailed: bool = False, project_of: Callable[[str], Project] | None = None
) -> Invite:
    """An invite that `add` will put into the database; raises Invalid as `create` does.

    Thousands can be prepared before the unit that writes them begins, so that no other writer waits meanwhile.
    `project_of` finds a project by its slug, `find_project` by default.
    """
    invite = Invite(**_values(draft, maker, project_of or find_project)[0])
    if mailed:
        give_mail_token(invite)
    return invite


def add(prepared: Sequence[Invite]) -> None:
    """Put prepared invites into the database, and a mail for each that was prepared to be mailed into the outbox.

    The invites do not become part of the session: that would take twice as long, while other writers wait. Raises
    Invalid if a project was deleted since they were prepared.
    """
    to = {each.project_id for each in prepared if each.project_id}
    there = select(Project.id).where(Project.id.in_(to), Project.deleted_at.is_(None)).order_by(Project.id)
    if to and len(session().scalars(there.with_for_update(read=True)).all()) < len(to):
        raise Invalid.at("project", "exists", "was deleted just now")
    letters = [
        outbox.write("invite", each.email, invite=each) for each in prepared if each.email and each.mail_token_hash
    ]
    made = {each.id: _created(each) for each in prepared}
    for each, number in zip(prepared, events.tell_all_created(list(made.values())), strict=True):
        each.created_event = number
    session().bulk_save_objects(prepared)
    session().bulk_save_objects(letters)
    mailed = ((made[str(each.invite_id)], each.id) for each in letters)
    events.tell_all("invite.mailed", (of._replace(facts={"letter": letter_id}) for of, letter_id in mailed))


def _created(invite: Invite) -> Told:
    maker = events.Actor(invite.made_by, invite.maker_id or invite.key_id)
    return Told({"invite_id": invite.id, "project_id": invite.project_id}, maker, invite.created_at)


def _values(draft: Draft, maker: Maker, project_of: Callable[[str], Project]) -> tuple[dict[str, Any], str]:
    """The row of a new invite, and its token; raises Invalid for what this maker may not ask for."""
    _, project = together(lambda: refuse_privileges(draft, maker), lambda: draft.project and project_of(draft.project))
    now, nonce = clock.now(), tokens.new_nonce()
    token = tokens.invite_token(nonce)
    row = {
        "id": clock.new_id(),
        "nonce": nonce,
        "token_hash": tokens.digest(token),
        "name": draft.name,
        "email": draft.email,
        "project_id": project.id if project else None,
        "role": draft.role,
        "plan": draft.plan,
        "redirect_url": draft.redirect_url,
        "note": draft.note,
        "makes_admin": draft.makes_admin,
        "max_uses": draft.uses,
        "uses": 0,
        "created_at": now,
        "expires_at": None if draft.ttl is None else now + draft.ttl,
        "made_by": maker.called,
        "maker_id": maker.user.id if maker.user else None,
        "key_id": maker.key_id,
        "folded": searching.stored(draft.name, draft.email, draft.note),
        "made_by_folded": searching.stored(maker.called),
    }
    return row, token


def refuse_privileges(draft: Draft, maker: Maker) -> None:
    """Raise Invalid if a draft asks for more than its maker may give: the role admin, no expiry, an admin's account.

    An invite that makes an admin of the site is for one use within 24 hours. A maker that is bound to a preset creates
    only invites by that.
    """
    problems = []
    if maker.preset and draft.preset != maker.preset:
        problems.append(
            problem("preset", "forbidden", "must be %(preset)s: this API key is bound to it", preset=maker.preset)
        )
    if draft.role == "admin" and not (maker.trusted or maker.appoints):
        problems.append(problem("role", "forbidden", "can be admin only if an admin of this site asks for it"))
    if draft.role == "admin" and not draft.project:
        problems.append(problem("role", "required", "can be admin only of a project"))
    if draft.ttl is None and not maker.trusted:
        problems.append(problem("ttl", "forbidden", "can be never only if an admin of this site asks for it"))
    if draft.makes_admin:
        if not maker.trusted:
            problems.append(problem("makes_admin", "forbidden", "can only be asked for by an admin"))
        if draft.uses != 1:
            problems.append(problem("uses", "range", "must be 1 for an invite that makes an admin"))
        if draft.ttl is None or draft.ttl > ADMIN_TTL:
            problems.append(problem("ttl", "range", "must be at most 24h for an invite that makes an admin"))
    if problems:
        raise Invalid(*problems)


def find_project(slug: str) -> Project:
    """The project to which an invite is to lead; raises Invalid if none has this slug.

    In a unit that writes, the project is not deleted before the unit ends (`projects.held` is who deletes it).
    """
    named = select(Project).where(Project.slug == slug)
    found = session().scalar(named.with_for_update(read=True) if may_write() else named)
    if found is None:
        raise Invalid.at("project", "exists", "names no project: %(slug)s", slug=slug)
    return found


def mail(invite: Invite) -> None:
    """Have an invite mailed to its address, with a token of its own; raises Invalid without an address.

    If one of its mails waits that was not tried yet, no second one is written.
    """
    address = give_mail_token(invite)
    session().flush()
    if not outbox.has_untried(invite):
        letter = outbox.queue("invite", address, invite=invite)
        facts = {"letter": letter.id}
        events.tell("invite.mailed", invite_id=invite.id, project_id=invite.project_id, facts=facts)


def give_mail_token(invite: Invite) -> str:
    """Make the link that is mailed valid; returns the address to which it goes."""
    if invite.email is None:
        raise Invalid.at("email", "required", "is needed for an invite to be mailed")
    invite.mail_token_hash = invite.mail_token_hash or tokens.digest(tokens.mail_token(invite.nonce))
    return invite.email


def token(invite: Invite) -> str:
    """The token in an invite's link, 64 hex characters; raises LinkLost if its master secret is gone."""
    return tokens.invite_token_again(invite.nonce, invite.token_hash)


def mail_token(invite: Invite) -> str:
    """The token in an invite's mail, 64 hex characters; raises LinkLost if its master secret is gone."""
    return tokens.mail_token_again(invite.nonce, invite.mail_token_hash or "")


def link(token: str) -> str:
    """The link with this token. As in Prosody's mod_invites_api, the token is the whole query."""
    return f"{settings().public_url}/invite?{token}"


def find(token: str) -> Invite:
    """The invite with this token, in whatever state; raises InviteNotFound."""
    shown = {"digest": tokens.digest(token)}
    invite = session().scalar(_FIND, shown) or session().scalar(_FIND_MAILED, shown) if tokens.is_token(token) else None
    if invite is None:
        raise InviteNotFound
    return invite


def find_active(token: str) -> Invite:
    """The invite with this token; raises InviteNotFound, InviteUsed or InviteExpired if it cannot be used now."""
    invite = find(token)
    states.refuse_unusable(invite)
    return invite


def find_by_id(invite_id: str) -> Invite:
    """The invite with this public id; raises InviteNotFound."""
    invite = session().get(Invite, invite_id)
    if invite is None:
        raise InviteNotFound
    return invite


def held(invite_id: str) -> Invite:
    """The invite with this public id, which nobody else changes or uses before this unit ends.

    Raises InviteNotFound.
    """
    invite = session().get(Invite, invite_id, with_for_update=True)
    if invite is None:
        raise InviteNotFound
    return invite


def named(text: str) -> Invite:
    """The invite that was typed at a shell: its id or the beginning of it, its token, or its whole link.

    Raises InviteNotFound, also where several ids begin so.
    """
    token = tokens.in_text(text)
    found = find(token) if tokens.is_token(token) else ids.find(Invite, text.strip())
    if found is None:
        raise InviteNotFound
    return found


# Built once, since building a query takes as long as SQLite takes to answer it.
# By one column each: once somebody has had SQLite count the rows (ANALYZE), it reads all of them for an OR of the two,
# since most invites have no token that was mailed.
WITH_TOKEN = Invite.token_hash == bindparam("digest")
WITH_MAIL_TOKEN = Invite.mail_token_hash == bindparam("digest")
_FIND, _FIND_MAILED = select(Invite).where(WITH_TOKEN), select(Invite).where(WITH_MAIL_TOKEN)
_INSERT = Statement(insert(Invite))
