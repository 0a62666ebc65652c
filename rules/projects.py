"""Projects: what an invite may let a guest join, and who may invite to them.

Each has one owner. The owner and its admins invite and revoke; only the owner gives the role admin.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import sqlalchemy
from sqlalchemy import ColumnElement, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import joinedload

import clock
from database import may_write, session
from models import Invite, Member, Origin, Project, User
from rules import (
    accounts,
    addresses,
    changing,
    drafts,
    events,
    invites,
    joining,
    outbox,
    passes,
    presets,
    slugs,
    states,
    waiting,
)
from rules.admins import is_admin
from rules.cursors import Cursor, after, later
from rules.events import About
from rules.idempotency import Once
from rules.refusals import (
    AlreadyMember,
    Invalid,
    InviteAlreadyExists,
    InviteNotFound,
    MemberNotFound,
    NotAllowed,
    NotProjectMember,
    ProjectNotFound,
)


@dataclass(frozen=True)
class ProjectDraft:
    """What a new project is to be."""

    name: str
    description: str | None = None
    is_public: bool = False


def create(owner: User, draft: ProjectDraft, id_: str | None = None) -> Project:
    """Create a project with this owner and return it. Its slug is made from its name, in any script, and is unique.

    If there is a project with the id `id_` already, that one is returned: a form that is sent twice creates one
    project. Raises Invalid if the account is disabled.
    """
    now = clock.now()
    _refuse_disabled(owner)
    while True:
        if id_ and (existing := session().get(Project, id_)):
            return existing
        project = Project(id=id_ or clock.new_id(), slug=slugs.free(draft.name), created_at=now, **vars(draft))
        try:
            with session().begin_nested():
                session().add(project)
            break
        except IntegrityError:  # another request took this slug, or sent this form, just now
            continue
    session().add(Member(id=clock.new_id(), project=project, user=owner, role="owner", joined_at=now))
    events.record("project.created", project_id=project.id, user_id=owner.id)
    return project


def find(slug: str) -> Project:
    """The project with this slug; raises ProjectNotFound."""
    project = session().scalar(select(Project).where(Project.slug == slug))
    if project is None:
        raise ProjectNotFound
    return project


def find_locked(slug: str) -> Project:
    """The project with this slug, locked until the unit ends; raises ProjectNotFound.

    Nobody else invites to it as a member, removes members, hands it over or deletes it meanwhile. Rows are locked in
    one order, since two units that each hold what the other wants would wait for each other: the caller, the project,
    its invites, its members.
    """
    project = session().scalar(select(Project).where(Project.slug == slug).with_for_update(key_share=True))
    if project is None:
        raise ProjectNotFound
    return project


def visible(slug: str, user: User) -> Project:
    """The project with this slug, if this account may see it: a member, an admin of the site, anyone if it is public.

    Raises ProjectNotFound or NotProjectMember.
    """
    project = find(slug)
    if not (project.is_public or is_admin(user)):
        membership(project, user)
    return project


def membership(project: Project, user: User) -> Member:
    """The membership of an account in a project; raises NotProjectMember.

    In a unit that writes, the row is locked, so that the member keeps this role until the unit ends.
    """
    mine = select(Member).where(*_of(project, user))
    member = session().scalar(mine.with_for_update(read=True) if may_write() else mine)
    if member is None:
        raise NotProjectMember
    return member


def find_member(project: Project, user: User) -> Member | None:
    """The membership of an account in a project; None if it is no member."""
    return session().scalar(select(Member).where(*_of(project, user)))


def _of(project: Project, user: User) -> Sequence[ColumnElement[bool]]:
    return Member.project_id == project.id, Member.user_id == user.id, joining.is_current(clock.now())


def of_member(slug: str, user: User) -> Member:
    """The membership of an account in the project with this slug; raises ProjectNotFound or NotProjectMember.

    In a unit that writes, the project is locked first, as `find_locked` says.
    """
    return membership(find_locked(slug) if may_write() else find(slug), user)


def of_manager(slug: str, user: User) -> Member:
    """The membership of an owner or admin of the project with this slug.

    Raises ProjectNotFound, NotProjectMember, or NotAllowed for one with the role member.
    """
    member = of_member(slug, user)
    if member.role == "member":
        raise NotAllowed
    return member


def of_user(user: User) -> Sequence[Project]:
    """The projects of which an account is a member, by name."""
    mine = select(Project).join(Member).where(Member.user_id == user.id, joining.is_current(clock.now()))
    return session().scalars(mine.order_by(Project.name, Project.id).options(joinedload(Project.owner))).all()


def newest(limit: int) -> Sequence[Project]:
    """At most `limit` projects, the newest first, without the deleted ones."""
    query = select(Project).where(Project.deleted_at.is_(None)).order_by(Project.created_at.desc(), Project.id)
    return session().scalars(query.limit(limit).options(joinedload(Project.owner))).all()


def starting_with(text: str, limit: int) -> Sequence[Project]:
    """At most `limit` projects whose slug starts with a text."""
    return session().scalars(select(Project).where(Project.slug.startswith(text, autoescape=True)).limit(limit)).all()


def member(slug: str, user: User) -> Member:
    """The membership of an account in the project with this slug, to be changed by who manages the site.

    The project is locked as `find_locked` says. Raises ProjectNotFound, or MemberNotFound, also for ended access.
    """
    found = find_member(find_locked(slug), user)
    if found is None:
        raise MemberNotFound
    return found


def memberships(user: User) -> Sequence[Member]:
    """The memberships of an account, by the names of the projects."""
    mine = select(Member).join(Project).where(Member.user_id == user.id, joining.is_current(clock.now()))
    return session().scalars(mine.order_by(Project.name, Project.id).options(joinedload(Member.project))).all()


def members(project: Project, cursor: Cursor | None = None, limit: int | None = None) -> Sequence[Member]:
    """The members of a project, in the order in which they joined: all, or at most `limit` of those after a cursor."""
    query = select(Member).where(Member.project_id == project.id, joining.is_current(clock.now()))
    query = later(query, Member.joined_at, Member.id, cursor).order_by(Member.joined_at, Member.id)
    return session().scalars(query.limit(limit).options(joinedload(Member.user))).all()


def invite(
    member: Member, draft: drafts.Draft, once: Once | None = None, mailed: bool = True, id_: str | None = None
) -> Invite:
    """Create an invite to a manager's project and mail it to the draft's address; with `once` as `invites.create`.

    One that is not `mailed` may be for anyone.

    Raises AlreadyMember, InviteAlreadyExists, NotAllowed where an admin would appoint another, RateLimited or
    MailLimit for too many mails, MailUnwanted, or Invalid.
    """
    if once and (before := once.made()):
        return before
    project = member.project
    holder = addresses.verified_holder(draft.email) if draft.email else None
    if holder and find_member(project, holder):
        raise AlreadyMember
    same = Invite.project_id == project.id, Invite.email == draft.email, states.is_active(clock.now())
    if draft.email and session().scalar(select(Invite.id).where(*same).limit(1)):
        raise InviteAlreadyExists
    is_owner, until = member.role == "owner", member.ends_at
    if draft.role == "admin" and not is_owner:
        raise NotAllowed
    if mailed and draft.email and not is_admin(member.user):
        outbox.limit_invitations(member.user_id, draft.email)
    inviter = drafts.Inviter(
        member.user.called, trusted=is_admin(member.user), user=member.user, appoints=is_owner, until=until
    )
    return invites.create(draft, inviter, mailed=mailed, id_=id_, once=once)


def invites_of(project: Project, cursor: Cursor | None = None, limit: int | None = None) -> Sequence[Invite]:
    """The invites to a project, the newest first: all, or at most `limit` of those after a cursor."""
    query = after(select(Invite).where(Invite.project_id == project.id), Invite, cursor)
    return session().scalars(query.order_by(Invite.created_at.desc(), Invite.id.desc()).limit(limit)).all()


def waiting_use(manager: Member, invite_id: str, use_id: str) -> str:
    """The id of a use of an invite to a manager's project that waits for approval.

    Raises InviteNotFound, also for an invite to another project, or NotWaiting for a use of another invite.
    """
    if invites.find_by_id(invite_id).project_id != manager.project_id:
        raise InviteNotFound(by_id=True)
    return waiting.named(invite_id, use_id)


def revoke_invite(member: Member, invite_id: str) -> None:
    """Revoke an invite to a manager's project; raises InviteNotFound, also for an invite to another project."""
    found = invites.find_by_id(invite_id)
    if found.project_id != member.project_id:
        raise InviteNotFound(by_id=True)
    changing.revoke(found)


def remove(manager: Member, member_id: str) -> None:
    """Remove a member; raises MemberNotFound, or NotAllowed for the owner, and for an admin if an admin asks."""
    here = Member.id == member_id, Member.project_id == manager.project_id, joining.is_current(clock.now())
    gone = session().scalar(select(Member).where(*here))
    if gone is None:
        raise MemberNotFound
    if gone.role == "admin" and manager.role != "owner":
        raise NotAllowed
    end_membership(gone)


def end_membership(gone: Member) -> int:
    """Remove a member with their passes, and revoke the invites to the project that this member created.

    The project is locked, as `find_locked` says. Returns how many were revoked; raises NotAllowed for the owner.
    """
    if gone.role == "owner":
        raise NotAllowed
    revoked = changing.revoke_all_by(gone.user, gone.project_id)
    events.record("member.removed", project_id=gone.project_id, user_id=gone.user_id)
    session().delete(gone)
    passes.end_for(gone.project_id, gone.user_id)
    return revoked


def extend(member: Member, length: timedelta | None) -> None:
    """Let the access of a member end so long from now, or never if it is None.

    The open invites to the project that this member created end with it at the latest. Raises Invalid for the owner, or
    MemberNotFound if the account was deleted meanwhile.
    """
    if member.role == "owner":
        raise Invalid.at("who", "owner", "is the owner, whose access never ends: name another owner first")
    until = None if length is None else clock.now() + length
    if until:
        changing.cap_all_by(member.user, member.project_id, until)  # first, in the order in which `find_locked` says
    extended = update(Member).where(Member.id == member.id).values(ends_at=until, warned_at=None)
    if session().scalar(extended.returning(Member.id)) is None:
        raise MemberNotFound
    seconds = None if length is None else int(length.total_seconds())
    about = About(project_id=member.project_id, user_id=member.user_id)
    events.record("member.extended", **about, facts={"access": seconds})


def join_url(project: Project, url: str | None) -> None:
    """Set where the guests of a project go, with ``{token}`` in the URL; None for this service's own page."""
    project.join_url = url


def hand_over(slug: str, user: User) -> int:
    """Make an account the owner of a project; the owner before becomes an admin of it, who may appoint none.

    So the invites of the owner before that make admins of the project are revoked; returns how many. Raises
    ProjectNotFound, or Invalid if the account is disabled.
    """
    now = clock.now()
    _refuse_disabled(user)
    project = find_locked(slug)
    before = session().scalars(select(Member).where(Member.project_id == project.id, Member.role == "owner")).one()
    if before.user_id == user.id:
        return 0
    revoked = 0 if is_admin(before.user) else changing.revoke_appointing_by(before.user, project.id)
    before.role = "admin"
    session().flush()  # first, since the database allows one owner
    about = About(project_id=project.id, user_id=user.id)
    heir = session().scalar(select(Member).where(Member.project_id == project.id, Member.user_id == user.id))
    if heir and heir.ends_at and heir.ends_at <= now:
        joining.end(heir.id)
        heir = None
    if heir is None:
        heir = Member(id=clock.new_id(), project=project, user=user, role="owner", joined_at=now)
        session().add(heir)
        events.record("member.joined", **about)
    heir.role, heir.ends_at, heir.warned_at = "owner", None, None
    events.record("project.owner", **about, facts={"before": before.user_id})
    return revoked


def delete(slug: str) -> int:
    """Delete a project; returns how many of its invites were revoked. An empty row stays, for history.

    Its members go, and the presets that name it: its slug is free for anyone. Raises ProjectNotFound.
    """
    project = find_locked(slug)
    revoked = changing.revoke_all_to(project)  # first: who accepts one locks that, and refers to the project after it
    presets.delete_all_for(slug)
    project.deleted_at, project.slug = clock.now(), None
    for each in (Member, Origin):
        session().execute(sqlalchemy.delete(each).where(each.project_id == project.id))
    passes.end_project(project.id)
    events.record("project.deleted", project_id=project.id)
    return revoked


def _refuse_disabled(owner: User) -> None:
    """Raise Invalid for an account that cannot sign in; it stays able to until this unit ends."""
    accounts.lock(owner)
    if not owner.may_sign_in:
        raise Invalid.at("owner", "disabled", "cannot be a disabled account: enable it first, or name another one")
