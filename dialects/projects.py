"""HitKey's projects: their members, the invites to them, and who waits for approval.

Its promises are those of dialects/hitkey.py, to whose rows of the map these views belong.
"""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast

from clock import iso, now
from dialects.shapes import hitkey as shapes
from dialects.shapes.values import Id, Slug
from rules import accounts, cursors, fields, invites, presets, projects, waiting
from rules.cursors import Cursor
from rules.idempotency import Once
from rules.refusals import (
    AlreadyMember,
    BudgetSpent,
    InviteAlreadyExists,
    InviteNotFound,
    MailLimit,
    MailUnwanted,
    MayNotInvite,
    MemberNotFound,
    NotAllowed,
    NotProjectMember,
    NotWaiting,
    ProjectNotFound,
)
from rules.sessions import SignedIn
from rules.waiting import Waiting
from settings import settings
from web import inviting
from web.contract import Created, CreatedWith, refuses
from web.paging import NextPage, next_page

Row = TypeVar("Row")

MAX_ROWS = 1000  # rows of a page


def create_project(caller: SignedIn, body: shapes.ProjectDraft) -> Created[shapes.Project]:
    """Create a project, as its owner."""
    return _project(projects.create(caller.user, projects.ProjectDraft(**body))), 201


def list_projects(caller: SignedIn) -> list[shapes.Project]:
    """The projects of which the caller is a member."""
    return [_project(each) for each in projects.of_user(caller.user)]


@refuses(ProjectNotFound, NotProjectMember)
def show_project(caller: SignedIn, slug: Slug) -> shapes.Project:
    """A project of which the caller is a member, or a public one."""
    return _project(projects.visible(slug, caller.user))


@refuses(ProjectNotFound, NotProjectMember)
def list_members(caller: SignedIn, slug: Slug, query: shapes.PageQuery) -> tuple[list[shapes.ProjectMember], NextPage]:
    """The members of a project, for its members, in the order in which they joined; with ``?limit=`` a page of them."""
    project = projects.of_member(slug, caller.user).project
    limit, cursor = _asked_for(query)
    found, rest = _page(projects.members(project, cursor, limit and limit + 1), limit)
    following = cursors.written((found[-1].joined_at, found[-1].id)) if rest else None
    return [_member(each) for each in found], next_page(f"/projects/{slug}/members", query, following)


@refuses(ProjectNotFound, NotProjectMember, NotAllowed, MemberNotFound)
def remove_member(caller: SignedIn, slug: Slug, member_id: Id) -> shapes.Notice:
    """Remove a member, and revoke the active invites to the project that this member created."""
    projects.remove(projects.of_manager(slug, caller.user), member_id)
    return {"message": "Member removed."}


@refuses(ProjectNotFound, NotProjectMember, NotAllowed, AlreadyMember, InviteAlreadyExists)
@refuses(BudgetSpent, MayNotInvite, MailLimit, MailUnwanted)
def invite_to_project(
    caller: SignedIn, slug: Slug, body: shapes.ProjectInvite, once: Once | None
) -> CreatedWith[shapes.SentInvite]:
    """Invite an address to a project, as its owner or admin, by mail; without SMTP_URL the link comes back."""
    manager = projects.of_manager(slug, caller.user)
    draft = presets.draft({**body, "project": slug}, accounts.as_inviter(caller.account), once=once)
    made = projects.invite(manager, draft, once)
    sent = cast(shapes.SentInvite, _invite(made))
    if not settings().smtp_url:
        sent["inviteUrl"] = invites.link(invites.token(made))
    return sent, 201, inviting.left(caller.account)


@refuses(ProjectNotFound, NotProjectMember, NotAllowed)
def list_project_invites(
    caller: SignedIn, slug: Slug, query: shapes.PageQuery
) -> tuple[list[shapes.InviteOfProjectWithState], NextPage]:
    """All invites to a project, the newest first, and who waits by each; with ``?limit=`` a page of them.

    For its owner and admins; without their links.
    """
    project = projects.of_manager(slug, caller.user).project
    limit, cursor = _asked_for(query)
    found, rest = _page(projects.invites_of(project, cursor, limit and limit + 1), limit)
    following = cursors.written(cursors.of(found[-1])) if rest else None
    return _stated(found), next_page(f"/projects/{slug}/invites", query, following)


@refuses(ProjectNotFound, NotProjectMember, NotAllowed, InviteNotFound)
def revoke_invite(caller: SignedIn, slug: Slug, invite_id: Id) -> shapes.Notice:
    """Revoke an invite to a project."""
    projects.revoke_invite(projects.of_manager(slug, caller.user), invite_id)
    return {"message": "Invite revoked."}


@refuses(ProjectNotFound, NotProjectMember, NotAllowed, InviteNotFound, NotWaiting)
def approve_use(caller: SignedIn, slug: Slug, invite_id: Id, body: shapes.ChosenUse) -> shapes.Notice:
    """Approve a guest who waits. If the guest is a member already, the use is given back."""
    manager = projects.of_manager(slug, caller.user)
    use = waiting.approve(projects.waiting_use(manager, invite_id, body["redemption"]))
    return {"message": "Guest approved." if use.state == "done" else "This guest is a member already."}


@refuses(ProjectNotFound, NotProjectMember, NotAllowed, InviteNotFound, NotWaiting)
def deny_use(caller: SignedIn, slug: Slug, invite_id: Id, body: shapes.ChosenUse) -> shapes.Notice:
    """Refuse a guest who waits for approval; the use is given back."""
    manager = projects.of_manager(slug, caller.user)
    waiting.deny(projects.waiting_use(manager, invite_id, body["redemption"]))
    return {"message": "Guest denied."}


def _project(project: Any) -> shapes.Project:
    return {
        "id": project.id,
        "name": project.name,
        "slug": project.slug,
        "description": project.description,
        "is_public": project.is_public,
        "owner_id": project.owner.id if project.owner else None,
        "created_at": iso(project.created_at),
    }


def _member(member: Any) -> shapes.ProjectMember:
    user = member.user
    return {
        "id": member.id,
        "user_id": user.id,
        "role": member.role,
        "user": {"id": user.id, "email": user.email, "display_name": user.called},
        "permissions": [],
        "created_at": iso(member.joined_at),
        "ends_at": iso(member.ends_at) if member.ends_at else None,
    }


def _asked_for(query: Mapping[str, Any]) -> tuple[int | None, Cursor | None]:
    """How many rows are asked for, None for all; and after which cursor, None for the first page."""
    limit = fields.count(query["limit"], "limit", MAX_ROWS) if "limit" in query else None
    return limit, cursors.read(query["cursor"]) if "cursor" in query else None


def _page(rows: Sequence[Row], limit: int | None) -> tuple[Sequence[Row], bool]:
    """As many rows as are asked for, and whether there are more; `rows` has one more then."""
    return rows[:limit], limit is not None and len(rows) > limit


def _stated(found: Sequence[Any]) -> list[shapes.InviteOfProjectWithState]:
    waits = waiting.of_invites(each.id for each in found if each.waiting)
    return [_with_state(each, waits.get(each.id, ())) for each in found]


def _with_state(invite: Any, waits: Sequence[Waiting]) -> shapes.InviteOfProjectWithState:
    asking = _asking(waits)
    return {**_invite(invite), "status": invite.state(now()), "waiting": asking, "held": len(waits) - len(asking)}


def _invite(invite: Any) -> shapes.InviteOfProject:
    return {
        "id": invite.id,
        "email": invite.email,
        "role": invite.role,
        "redirect_url": invite.redirect_url,
        "expiresAt": iso(invite.expires_at) if invite.expires_at else None,
        "created_at": iso(invite.created_at),
    }


def _asking(found: Sequence[Waiting]) -> list[shapes.WaitingGuest]:
    """The guests who wait for approval or a proof."""
    return [
        {"redemption": each.id, "who": each.who, "waiting_for": each.state, "since": iso(each.since)}
        for each in waiting.asking(found)
    ]
