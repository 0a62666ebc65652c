"""The invites of a person, for themselves: creating one, mailing it again, revoking it, and who came by them.

Nobody gives more than they have: such an invite makes no admin, and leads to a project only if its inviter may invite
to it. Nothing is said of what became of a guest's account.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select

import clock
from database import session
from models import Invite, Member, Project, User
from rules import accounts, admins, changing, cursors, fields, invites, joining, listing, outbox, projects, states
from rules.cursors import Cursor
from rules.drafts import Draft
from rules.listing import Filter, SearchResult
from rules.refusals import InviteNotFound, NotAllowed

ROWS = 20  # invites, and guests, on one page
MAX_PROJECTS = 100


@dataclass(frozen=True)
class Guest:
    """A person who created an account with an invite of a person: the name that is shown, and since when."""

    called: str
    since: datetime


def create(user: User, draft: Draft, mailed: bool, id_: str) -> Invite:
    """Create an invite as this account, and mail it if `mailed`; returns the one that is there under this id already.

    Raises what `invites.create` and, to a project, `projects.invite` does; RateLimited or MailLimit for too many mails.
    """
    if before := session().get(Invite, id_):
        return _own(user, before)
    if draft.project:
        return projects.invite(projects.of_manager(draft.project, user), draft, mailed=mailed, id_=id_)
    if mailed:
        _limit_mail(user, draft.email)
    return invites.create(draft, accounts.as_inviter(user), mailed=mailed, id_=id_)


def resend(user: User, invite_id: str) -> None:
    """Mail an invite of this account again; it expires no earlier than a new one. One that waits is not mailed twice.

    Raises InviteNotFound for one of another account, and what `changing.resend` does; RateLimited or MailLimit; and
    NotAllowed, or what `projects.of_manager` does, where the account may not invite so any more.
    """
    _refuse_more_than_now(user, _own(user, invites.find_by_id(invite_id)))
    invite = invites.find_locked(invite_id)
    if not outbox.has_waiting(invite):
        _limit_mail(user, invite.email)
    changing.resend(invite, by=user)


def revoke(user: User, invite_id: str) -> None:
    """Revoke an invite of this account; raises InviteNotFound for one of another account."""
    changing.revoke(_own(user, invites.find_locked(invite_id)))


def find(user: User, invite_id: str) -> Invite:
    """An invite of this account; raises InviteNotFound for one of another account."""
    return _own(user, invites.find_by_id(invite_id))


def page(user_id: str, after: Cursor | None) -> SearchResult:
    """The invites of an account after a cursor, the newest first, and the cursor of the next page."""
    rows = listing.page(Filter(inviter=user_id, after=after), ROWS + 1)
    return SearchResult(rows[:ROWS], cursors.of(rows[ROWS - 1]) if len(rows) > ROWS else None)


def active(user: User) -> int:
    """How many active invites an account has created."""
    query = select(func.count()).select_from(Invite).where(Invite.maker_id == user.id, states.is_active(clock.now()))
    return session().scalar(query) or 0


def guests(user_id: str) -> Sequence[Guest]:
    """Who came by an account's invites, the latest first, at most 20; without those whose accounts are gone."""
    came = select(User).where(User.inviter_id == user_id, User.deleted_at.is_(None))
    found = session().scalars(came.order_by(User.created_at.desc()).limit(ROWS))
    return [Guest(each.called, each.created_at) for each in found]


def inviting_to(user: User) -> Sequence[tuple[str, str]]:
    """Slug and name of projects to which an account may invite people, by name, at most 100."""
    managed = select(Project.slug, Project.name).join(Member)
    managed = managed.where(Member.user_id == user.id, joining.manages(clock.now()))
    found = session().execute(managed.limit(MAX_PROJECTS)).all()
    return sorted(((str(slug), name) for slug, name in found), key=lambda each: each[1].casefold())


def _refuse_more_than_now(user: User, invite: Invite) -> None:
    """Refuse to let an invite be valid again that its inviter could not create now, as a former admin."""
    if admins.is_admin(user):
        return
    if invite.makes_admin:
        raise NotAllowed
    if invite.project and invite.project.slug:
        member = projects.of_manager(invite.project.slug, user)
        if invite.role == "admin" and member.role != "owner":
            raise NotAllowed


def _own(user: User, invite: Invite) -> Invite:
    if invite.maker_id != user.id:
        raise InviteNotFound(by_id=True)
    return invite


def _limit_mail(user: User, address: str | None) -> None:
    """Count a mail to one address; what has no such address is refused where it would be mailed."""
    if address and not fields.is_domain(address) and not admins.is_admin(user):
        outbox.limit_invitations(user.id, address)
