"""Invites: how one is created, mailed and found. What one may be is in rules/drafts.py, how it changes in changing.py.

Its states are in rules/states.py, what its guest sees in rules/invitations.py, its use in rules/redemption.py.
"""

from collections.abc import Callable, Sequence, Set
from typing import Any

from sqlalchemy import bindparam, insert, select
from sqlalchemy.orm import make_transient_to_detached

import clock
from database import may_write, session
from database.statements import Statement
from models import Invite, Project
from rules import blocked_addresses, budgets, events, fields, ids, outbox, searching, tokens
from rules.drafts import Draft, Inviter, refuse_privileges
from rules.events import NewEvent
from rules.idempotency import Once
from rules.refusals import Invalid, InviteNotFound, together
from settings import settings


def create(
    draft: Draft, inviter: Inviter, mailed: bool = False, id_: str | None = None, once: Once | None = None
) -> Invite:
    """Create an invite, mailed if `mailed`; raises Invalid for what this inviter may not ask for, or no address.

    Raises BudgetSpent or MayNotInvite for an account that can invite fewer people now, or nobody. With `once` a second
    such call returns the same invite, and spends nothing; it raises IdempotencyKeyReused for another call's.
    """
    if once and (before := once.made()):
        return before
    budgets.spend(inviter.user, draft.uses)
    invite = Invite(**_insert(draft, inviter, id_, once)[0])
    make_transient_to_detached(invite)  # it is in the database already: to have the session write it takes longer
    session().add(invite)
    if mailed:
        with events.acting(inviter.actor):
            mail(invite, inviter.user.id if inviter.user else None)
    return invite


def create_token(draft: Draft, inviter: Inviter, once: Once | None = None) -> str:
    """Create an invite and return its token only; raises what `create` does, and LinkLost with `once`.

    Without `once` it takes a fraction of the time of `create`, which programs that create many invites notice.
    """
    if once:
        return token(create(draft, inviter, once=once))
    budgets.spend(inviter.user, draft.uses)
    return _insert(draft, inviter)[1]


def prepare(
    draft: Draft, inviter: Inviter, mailed: bool = False, project_of: Callable[[str], Project] | None = None
) -> Invite:
    """An invite that `add` will put into the database; raises Invalid as `create` does.

    Thousands can be prepared before the unit that writes them begins, so that no other writer waits meanwhile.
    `project_of` finds a project by its slug, `find_project` by default.
    """
    invite = Invite(**_values(draft, inviter, project_of or find_project)[0])
    if mailed:
        give_mail_token(invite)
    return invite


def add(prepared: Sequence[Invite]) -> None:
    """Put prepared invites into the database, and a mail for each that was prepared to be mailed into the outbox.

    Nobody's budget is asked: those who create many at once have none.

    The invites do not become part of the session: that would take twice as long, while other writers wait. Raises
    Invalid if a project was deleted since they were prepared.
    """
    _lock_projects({each.project_id for each in prepared if each.project_id})
    letters = [
        outbox.write("invite", each.email, invite=each) for each in prepared if each.email and each.mail_token_hash
    ]
    made = {each.id: _created(each) for each in prepared}
    for each, number in zip(prepared, events.record_all_created(list(made.values())), strict=True):
        each.created_event = number
    session().bulk_save_objects(prepared)
    session().bulk_save_objects(letters)
    mailed = ((made[str(each.invite_id)], each.id) for each in letters)
    events.record_all("invite.mailed", (of._replace(facts={"letter": letter_id}) for of, letter_id in mailed))


def _lock_projects(ids_: Set[str]) -> None:
    """Have nobody delete these projects before this unit ends; raises Invalid if one of them was deleted."""
    if ids_:
        there = select(Project.id).where(Project.id.in_(ids_), Project.deleted_at.is_(None)).order_by(Project.id)
        if len(session().scalars(there.with_for_update(read=True)).all()) < len(ids_):
            raise Invalid.at("project", "exists", "was deleted just now")


def _insert(
    draft: Draft, inviter: Inviter, id_: str | None = None, once: Once | None = None
) -> tuple[dict[str, Any], str]:
    """Write the row of a new invite, with the event that tells of it; returns the row and the invite's token.

    Raises Invalid for what this inviter may not ask for.
    """
    row, token = _values(draft, inviter, find_project)
    if once:
        row |= {"id": once.id, "asked": once.fingerprint}
    elif id_:
        row["id"] = id_
    row["created_event"] = events.record_created(row["id"], row["project_id"], inviter.actor, row["created_at"])
    _INSERT.run(**row)
    return row, token


def _created(invite: Invite) -> NewEvent:
    inviter = events.Actor(invite.made_by, invite.maker_id or invite.key_id)
    return NewEvent({"invite_id": invite.id, "project_id": invite.project_id}, inviter, invite.created_at)


def _values(draft: Draft, inviter: Inviter, project_of: Callable[[str], Project]) -> tuple[dict[str, Any], str]:
    """The row of a new invite, and its token; raises Invalid for what this inviter may not ask for."""
    _, project = together(
        lambda: refuse_privileges(draft, inviter), lambda: draft.project and project_of(draft.project)
    )
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
        "message": draft.message,
        "note": draft.note,
        "makes_admin": draft.makes_admin,
        "max_uses": draft.uses,
        "uses": 0,
        "created_at": now,
        "expires_at": min((each for each in (draft.ttl and now + draft.ttl, inviter.until) if each), default=None),
        "made_by": inviter.called,
        "maker_id": inviter.user.id if inviter.user else None,
        "key_id": inviter.key_id,
        "folded": searching.stored(draft.name, draft.email, draft.note),
        "made_by_folded": searching.stored(inviter.called),
        "access": None if draft.access is None else int(draft.access.total_seconds()),
        "data": draft.data,
        "approve": draft.approve,
        "waiting": 0,
        "spent_at": now if inviter.user else None,
        **dict.fromkeys(_LATER),
    }
    return row, token


def find_project(slug: str) -> Project:
    """The project to which an invite is to lead; raises Invalid if none has this slug.

    In a unit that writes, the project is not deleted before the unit ends (`projects.find_locked` is who deletes it).
    """
    named = select(Project).where(Project.slug == slug)
    found = session().scalar(named.with_for_update(read=True) if may_write() else named)
    if found is None:
        raise Invalid.at("project", "exists", "names no project: %(slug)s", slug=slug)
    return found


def mail(invite: Invite, sender_id: str | None = None) -> None:
    """Have an invite mailed to its address, with a token of its own; raises Invalid without one, or MailUnwanted.

    If one of its mails waits, no second one is written. `sender_id` is the account that has it
    mailed, if one does.
    """
    address = give_mail_token(invite)
    session().flush()
    if not outbox.has_waiting(invite):
        letter = outbox.queue("invite", address, invite=invite)
        letter.sender_id = sender_id
        facts = {"letter": letter.id}
        events.record("invite.mailed", invite_id=invite.id, project_id=invite.project_id, facts=facts)


def give_mail_token(invite: Invite) -> str:
    """Make the link that is mailed valid; returns the address to which it goes.

    Raises Invalid where there is no such address, and MailUnwanted where its person wants no invitations by mail.
    """
    if invite.email is None:
        raise Invalid.at("email", "required", "is needed for an invite to be mailed")
    if fields.is_domain(invite.email):
        raise Invalid.at("email", "domain", "is a whole domain: to send mail, name one address")
    blocked_addresses.refuse_blocked(invite.email)
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


def find_by_id(invite_id: str) -> Invite:
    """The invite with this public id; raises InviteNotFound."""
    invite = session().get(Invite, invite_id)
    if invite is None:
        raise InviteNotFound(by_id=True)
    return invite


def find_locked(invite_id: str) -> Invite:
    """The invite with this public id, which nobody else changes or uses before this unit ends.

    Raises InviteNotFound.
    """
    invite = session().get(Invite, invite_id, with_for_update=True)
    if invite is None:
        raise InviteNotFound(by_id=True)
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
# By one column each: once SQLite has counted the rows (ANALYZE), it reads all of them for an OR of the
# two, since most invites have no token that was mailed.
WITH_TOKEN = Invite.token_hash == bindparam("digest")
WITH_MAIL_TOKEN = Invite.mail_token_hash == bindparam("digest")
_FIND, _FIND_MAILED = select(Invite).where(WITH_TOKEN), select(Invite).where(WITH_MAIL_TOKEN)
_INSERT = Statement(insert(Invite))

_LATER = ("mail_token_hash", "legacy_hash", "revoked_at", "lapses_at", "asked", "created_event")  # none yet
