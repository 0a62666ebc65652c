"""What the guest sees of an invite. How the invite is created and changed is in rules/invites.py."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, select

import clock
from database.statements import Statement
from models import Invite, Project, User, called
from rules import fields, invites, states, tokens
from rules.refusals import Invalid, InviteNotFound
from settings import settings


@dataclass(frozen=True)
class Invitation:
    """What a guest may know of an invite: nothing of notes, keys or other people.

    `to` is the name of the project, or of the site; `project` is the project's slug. `inviter` is the name of the
    account that created the invite, or of the site where an API key or the command did (`is_by_site`). `message` is
    what the inviter says to the guest, with line breaks in it. With `approve` a guest joins once an admin has said yes;
    `is_shared` says that several may use it, `makes_admin` that the guest becomes an admin of the site. `access` is how
    long a guest stays in the project; None without an end. `join_url` is where a program of the operator's own lets the
    guests of the project in, with ``{token}`` in it.
    """

    id: str
    inviter: str
    to: str
    name: str | None
    email: str | None
    project: str | None
    role: str
    plan: str
    expires_at: datetime | None
    redirect_url: str | None
    approve: bool
    is_shared: bool
    message: str | None
    join_url: str | None = None
    is_by_site: bool = False
    makes_admin: bool = False
    access: timedelta | None = None

    @property
    def domain(self) -> str | None:
        """The domain at which a guest needs an address, such as ``example.org``; None for any address, or for one."""
        return self.email[1:] if self.email and fields.is_domain(self.email) else None


def find(token: str) -> Invitation:
    """The invitation with this token; raises InviteNotFound, InviteUsed or InviteExpired if it cannot be used."""
    digest = tokens.digest(token)
    row = tokens.is_token(token) and (_BY_TOKEN.first(digest=digest) or _BY_MAIL_TOKEN.first(digest=digest))
    if not row:
        raise InviteNotFound
    states.refuse_unusable(row)
    return _read(row)


def of(invite: Invite) -> Invitation:
    """What the guest sees of this invite, in whatever state it is."""
    return _read(_BY_ID.first(id=invite.id))


def redirect(url: str | None) -> str | None:
    """Where the guest may go after accepting; None without a URL, or if the settings no longer permit it."""
    try:
        return fields.redirect_url(url) if url else None
    except Invalid:
        return None


def _read(row: Any) -> Invitation:
    site = settings().site_name
    return Invitation(
        id=row.id,
        inviter=called(row.display_name, row.username, row.address) if row.maker_id else site,
        is_by_site=not row.maker_id,
        to=row.project_name or site,
        name=row.name,
        email=row.email,
        project=row.slug,
        role=row.role,
        plan=row.plan,
        expires_at=row.expires_at,
        redirect_url=redirect(row.redirect_url),
        approve=row.approve,
        is_shared=row.max_uses > 1,
        message=row.message,
        makes_admin=row.makes_admin,
        access=row.access * clock.SECOND if row.access else None,
        join_url=None if row.makes_admin else row.join_url,  # no program may hold one that makes an admin
    )


# Built once, since building a query takes as long as SQLite takes to answer it.
_WITH_NAMES = (
    select(
        *(getattr(Invite, name) for name in ("id", "name", "email", "role", "plan", "redirect_url", "maker_id")),
        *(getattr(Invite, name) for name in ("uses", "max_uses", "lapses_at", "revoked_at", "expires_at", "approve")),
        Invite.access,
        Invite.makes_admin,
        Invite.message,
        Project.join_url,
        Project.name.label("project_name"),
        Project.slug,
        User.display_name,
        User.username,
        User.email.label("address"),
    )
    .outerjoin(Project, Project.id == Invite.project_id)
    .outerjoin(User, User.id == Invite.maker_id)
)
_BY_TOKEN = Statement(_WITH_NAMES.where(invites.WITH_TOKEN))
_BY_MAIL_TOKEN = Statement(_WITH_NAMES.where(invites.WITH_MAIL_TOKEN))
_BY_ID = Statement(_WITH_NAMES.where(Invite.id == bindparam("id")))
