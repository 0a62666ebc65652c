"""Projects: what an invite may let people join, and who may invite them.

Each has one owner. The owner and admins invite and cancel; only the owner makes admins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import joinedload

import clock
from database import may_write, session
from models import Invite, Member, Project, User
from rules import accounts, addresses, invites
from rules.refusals import (
    AlreadyMember,
    InviteAlreadyExists,
    InviteNotFound,
    MemberNotFound,
    NotAllowed,
    NotProjectMember,
    ProjectNotFound,
)

LONGEST_SLUG = 60


@dataclass(frozen=True)
class Plan:
    """What a new project is to be."""

    name: str
    description: str | None = None
    is_public: bool = False


def create(owner: User, plan: Plan, id_: str | None = None) -> Project:
    """Make a project; its slug is made from its name, whatever the script, and is its own.

    With an id it is made once, however often it is asked for.
    """
    now = clock.now()
    while True:
        if id_ and (made := session().get(Project, id_)):
            return made
        project = Project(
            id=id_ or clock.new_id(),
            name=plan.name,
            slug=_free_slug(plan.name),
            description=plan.description,
            is_public=plan.is_public,
            created_at=now,
        )
        try:
            with session().begin_nested():
                session().add(project)
            break
        except IntegrityError:  # somebody else took that slug, or sent that form, just now
            continue
    session().add(Member(id=clock.new_id(), project=project, user=owner, role="owner", joined_at=now))
    session().flush()
    return project


def find(slug: str) -> Project:
    """The project with this slug; raises ProjectNotFound."""
    project = session().scalar(select(Project).where(Project.slug == slug))
    if project is None:
        raise ProjectNotFound
    return project


def visible(slug: str, user: User) -> Project:
    """A project that this account may see: its own, a public one, any for an admin of the site."""
    project = find(slug)
    if not (project.is_public or accounts.is_admin(user)):
        _membership(project, user)
    return project


def of_member(slug: str, user: User) -> Member:
    """The membership of this account; raises NotProjectMember."""
    return _membership(find(slug), user)


def of_manager(slug: str, user: User) -> Member:
    """Likewise for the owner and the admins; raises NotAllowed for others."""
    member = of_member(slug, user)
    if member.role == "member":
        raise NotAllowed
    return member


def of_user(user: User) -> Sequence[Project]:
    """The projects that an account belongs to, by name."""
    mine = select(Project).join(Member, Member.project_id == Project.id).where(Member.user_id == user.id)
    return session().scalars(mine.order_by(Project.name, Project.id)).all()


def newest(limit: int) -> Sequence[Project]:
    """At most `limit` projects, the newest first."""
    query = select(Project).where(Project.deleted_at.is_(None)).order_by(Project.created_at.desc(), Project.id)
    return session().scalars(query.limit(limit)).all()


def beginning(text: str, limit: int) -> Sequence[Project]:
    """Projects whose slug begins so, at most `limit`."""
    return session().scalars(select(Project).where(Project.slug.startswith(text, autoescape=True)).limit(limit)).all()


def members(project: Project) -> Sequence[Member]:
    """Who belongs to a project, in the order they came."""
    query = select(Member).where(Member.project_id == project.id).order_by(Member.joined_at, Member.id)
    return session().scalars(query.options(joinedload(Member.user))).all()


def owner(project: Project) -> User:
    """The one who owns a project."""
    return session().scalars(select(User).join(Member, Member.user_id == User.id).where(*_owned(project))).one()


def invite(member: Member, draft: invites.Draft) -> Invite:
    """Invite an address to the project of a manager; raises what stands in the way."""
    project = session().get_one(Project, member.project_id, with_for_update=True)
    holder = addresses.verified_holder(draft.email) if draft.email else None
    if holder and _find_member(project, holder):
        raise AlreadyMember
    same = Invite.project_id == project.id, Invite.email == draft.email, invites.is_open(clock.now())
    if session().scalar(select(Invite.id).where(*same).limit(1)):
        raise InviteAlreadyExists
    if draft.role == "admin" and member.role != "owner":
        raise NotAllowed
    maker = invites.Maker(member.user.called, user=member.user, appoints=member.role == "owner")
    return invites.create(draft, maker, mailed=True)


def invites_of(project: Project) -> Sequence[Invite]:
    """All invites to a project, the newest first."""
    query = select(Invite).where(Invite.project_id == project.id)
    return session().scalars(query.order_by(Invite.created_at.desc(), Invite.id.desc())).all()


def cancel(member: Member, invite_id: str) -> None:
    """Withdraw an invite to the project of a manager; that of another is not found."""
    found = invites.find_by_id(invite_id)
    if found.project_id != member.project_id:
        raise InviteNotFound
    invites.revoke(found)


def remove(manager: Member, member_id: str) -> None:
    """Remove a member, and withdraw the open invites it made there. Admins remove members; nobody the owner."""
    gone = session().get(Member, member_id)
    if gone is None or gone.project_id != manager.project_id:
        raise MemberNotFound
    if gone.role == "owner" or (gone.role == "admin" and manager.role != "owner"):
        raise NotAllowed
    maker, project_id = gone.user, gone.project_id
    session().delete(gone)
    session().flush()  # first, so that it waits for what is still being made in this member's name
    invites.revoke_all_by(maker, project_id)


def hand_over(project: Project, user: User) -> None:
    """Make somebody else the owner; who was it becomes an admin."""
    now = clock.now()
    session().scalars(select(Member).where(*_owned(project))).one().role = "admin"
    session().flush()
    heir = _find_member(project, user)
    if heir is None:
        heir = Member(id=clock.new_id(), project=project, user=user, role="owner", joined_at=now)
        session().add(heir)
    heir.role = "owner"


def remove_all(project: Project) -> int:
    """Delete a project: its open invites are withdrawn (how many is returned), an empty row stays for history."""
    project.deleted_at, project.slug = clock.now(), None
    session().execute(delete(Member).where(Member.project_id == project.id))
    return invites.revoke_all_to(project)


def _owned(project: Project) -> tuple[ColumnElement[bool], ...]:
    return Member.project_id == project.id, Member.role == "owner"


def _find_member(project: Project, user: User) -> Member | None:
    return session().scalar(select(Member).where(Member.project_id == project.id, Member.user_id == user.id))


def _membership(project: Project, user: User) -> Member:
    mine = select(Member).where(Member.project_id == project.id, Member.user_id == user.id)
    member = session().scalar(mine.with_for_update(read=True) if may_write() else mine)
    if member is None:
        raise NotProjectMember
    return member


def _free_slug(name: str) -> str:
    from slugify import slugify  # slow to load

    wanted = slugify(name, max_length=LONGEST_SLUG) or "project"
    taken = set(session().scalars(select(Project.slug).where(Project.slug.startswith(wanted, autoescape=True))))
    if wanted not in taken:
        return wanted
    number = 2
    while f"{wanted}-{number}" in taken:
        number += 1
    return f"{wanted}-{number}"
