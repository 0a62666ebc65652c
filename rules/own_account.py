"""What those who are signed in do with their own account: a name, a new password, what is stored, its end."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

import clock
from database import session
from models import Invite, Member, Project, Redemption, User
from rules import (
    accounts,
    admins,
    cursors,
    forbidden_names,
    invitations,
    passes,
    projects,
    searching,
    sessions,
    timeline,
    uses,
)
from rules.accounts import Attempt
from rules.cursors import Cursor
from rules.refusals import InvalidCredentials, LastAdmin, WrongPassword
from rules.sessions import SignedIn
from rules.timeline import Filter, Happened

AT_ONCE = 500  # invites that are read in one unit of work
_OF_OTHERS = ("before", "under", "branch")  # facts of an event that name other accounts

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Obstacles:
    """What must be done before an account can be deleted: these projects get another owner, or the site an admin."""

    projects: Sequence[str]
    is_last_admin: bool

    def __bool__(self) -> bool:
        return bool(self.projects) or self.is_last_admin


def rename(user: User, display_name: str | None) -> None:
    """Set the name that is shown for an account; without one it is the user name, or what is before the @.

    Raises Invalid for the name of the site.
    """
    forbidden_names.refuse_name_of_site(display_name, "display_name")
    user.display_name, user.folded = display_name, searching.stored(display_name)


def begin(caller: SignedIn, password: str) -> Attempt:
    """Count a try at the caller's own password, before it is compared: the same count as that of signing in."""
    return accounts.begin_check(caller.user, password)


def confirm(attempt: Attempt) -> User:
    """The account whose password was right, with its failed tries forgotten, and locked until the unit ends.

    Raises WrongPassword, also if the account was deleted or got another password since the attempt began, and
    AccountDisabled.
    """
    try:
        return accounts.finish_login(attempt)
    except InvalidCredentials:
        raise WrongPassword from None


def change_password(attempt: Attempt, password_hash: str) -> str:
    """Set a new password; ends all sessions and passes, and returns the cookie of a new session, for this browser.

    This browser gets another one, since a person who has copied its cookie must not stay either. Raises WrongPassword
    or AccountDisabled.
    """
    user = confirm(attempt)
    user.password_hash = password_hash
    sessions.end_all(user)
    return sessions.start_in_browser(user)


def obstacles(user: User) -> Obstacles:
    """What must be done before this account can be deleted."""
    owned = select(Project.name).join(Member).where(Member.user_id == user.id, Member.role == "owner")
    is_last = admins.is_admin(user) and not admins.others(user.id)
    return Obstacles(session().scalars(owned.order_by(Project.name)).all(), is_last)


def delete(attempt: Attempt, others: Sequence[str]) -> int:
    """Delete the account whose password was given; returns how many of its invites were revoked with it.

    `others` are what `admins.others` found. Raises WrongPassword, AccountDisabled, OwnsProjects, and LastAdmin if it is
    an admin of the site and none of the others still is one.
    """
    accounts.one_admin_at_a_time()  # of two who delete themselves at once, one sees that the other is gone
    user = confirm(attempt)
    if admins.is_admin(user) and not admins.one_stays(others):
        raise LastAdmin
    return accounts.remove(user)


def account_data(user: User) -> Facts:
    """What is stored about an account: itself, its sessions, memberships and passes, and the invites that it used."""
    names = ("id", "username", "email", "email_verified_at", "display_name", "created_at")
    return {
        "account": {**{name: getattr(user, name) for name in names}, "admin_since": user.admin_at},
        "sessions": [
            {"since": each.created_at, "expires_at": each.expires_at} for each in sessions.of_account(user.id)
        ],
        "memberships": _memberships(user),
        "passes": _passes(user),
        "invites_used": _uses(user),
    }


def invites_created(user: User) -> Iterator[Sequence[Facts]]:
    """The invites that an account created, the newest first, some at a time; without anything that opens them.

    Each step may be taken in another unit of work.
    """
    user_id, last = user.id, None
    while rows := _created(user_id, last):
        yield [_of_invite(invite, slug) for invite, slug in rows]
        last = cursors.of(rows[-1][0])


def events_of(user: User) -> Iterator[Sequence[Facts]]:
    """What the account did and what happened to it, the oldest first, some at a time; without any name.

    Each step may be taken in another unit of work.
    """
    mine, last = Filter(user_id=user.id), 0
    while happened := timeline.oldest(mine, last, limit=AT_ONCE):
        yield [_own(each, user.id) for each in happened]
        last = happened[-1].number


def _own(event: Happened, user_id: str) -> Facts:
    """An event as the account sees that did it or that it is about; another account in it stays unnamed."""
    kept = {name: getattr(event, name) for name in ("id", "at", "type", "invite_id", "project_id")}
    facts = {name: value for name, value in event.facts.items() if name not in _OF_OTHERS}
    return {**kept, "by_you": event.actor_id == user_id, "about_you": event.user_id == user_id, "facts": facts}


_OF_INVITE = (
    *("id", "name", "email", "role", "plan", "redirect_url", "message", "note", "makes_admin"),
    *("access", "approve", "data", "max_uses", "created_at", "expires_at", "revoked_at"),
)


def _of_invite(invite: Invite, slug: str | None) -> Facts:
    facts = {name: getattr(invite, name) for name in _OF_INVITE}
    counted = invite.uses - uses.lapsed(invite)
    return {**facts, "uses": counted, "project": slug, "state": invite.state(clock.now())}


def _created(user_id: str, last: Cursor | None) -> Sequence[Any]:
    query: Any = select(Invite, Project.slug).outerjoin(Project, Project.id == Invite.project_id)
    query = query.where(Invite.maker_id == user_id).order_by(*cursors.newest(Invite))
    return session().execute(cursors.after(query, Invite, last).limit(AT_ONCE)).all()


def _memberships(user: User) -> Sequence[Facts]:
    return [
        {"name": each.project.name, "slug": each.project.slug, "role": each.role}
        | {"joined_at": each.joined_at, "ends_at": each.ends_at}
        for each in projects.memberships(user)
    ]


def _passes(user: User) -> Sequence[Facts]:
    names = ("id", "name", "created_at", "expires_at")
    found = passes.of_user(user.id)
    return [{**{name: getattr(each, name) for name in names}, "project": each.project.slug} for each in found]


def _uses(user: User) -> Sequence[Facts]:
    mine = select(Redemption, Invite).join(Invite).where(Redemption.user_id == user.id)
    rows = session().execute(mine.order_by(Redemption.redeemed_at.desc(), Redemption.id)).all()
    return [{"used_at": use.redeemed_at, "state": use.state, **_as_guest(invite)} for use, invite in rows]


def _as_guest(invite: Invite) -> Facts:
    """What a guest who used an invite may know of it."""
    seen = invitations.of(invite)
    return {"id": seen.id, "name": seen.name, "email": seen.email, "invited_by": seen.inviter, "to": seen.to}
