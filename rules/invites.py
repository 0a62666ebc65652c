"""The life of an invite but for its use (rules/redemption.py): made, mailed, shown, revoked."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, and_, bindparam, func, insert, or_, select, update

import clock
from config import settings
from database import session
from database.statements import Statement
from models import Invite, Project, Redemption, User, called, state_of
from rules import fields, ids, outbox, tokens
from rules.keys import Known
from rules.refusals import Invalid, InviteExpired, InviteNotFound, InviteUsed, problem
from rules.sessions import Account

MOST_USES = 1_000_000
ADMIN_TTL = clock.DAY
SHORT_CODE_TTL = 7 * clock.DAY


@dataclass(frozen=True)
class Maker:
    """Who makes an invite: `called` is kept as text for ever; `trusted` for the shell and site admins.

    Only who is trusted may make invites that never expire or make admins of the site; who is
    trusted, or `appoints` because the project is theirs, those with the role admin.
    """

    called: str
    trusted: bool = False
    appoints: bool = False
    user: User | Account | None = None
    key_id: str | None = None

    @property
    def identity(self) -> str:
        """Whose calls these are."""
        return self.user.id if self.user else f"key {self.key_id}" if self.key_id else self.called


SHELL = Maker("shell", trusted=True)


def by_key(key: Known) -> Maker:
    """The maker that an API key is."""
    return Maker(f"API key {key.name or key.id}", key_id=key.id)


@dataclass(frozen=True)
class Draft:
    """What an invite is to be. Read one from somebody's words with `read`."""

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


@dataclass(frozen=True)
class Invitation:
    """What the person who is invited is told: nothing of notes, keys or other people.

    `to` is the name of the project or of the site, `project` the slug of the one.
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
    """A draft out of what was given; raises Invalid with everything that is wrong."""
    defaults: dict[str, Any] = {"makes_admin": True, "ttl": ADMIN_TTL} if makes_admin else {}
    return Draft(**defaults | fields.read(READERS, given))


def create(draft: Draft, maker: Maker, mailed: bool = False, id_: str | None = None) -> Invite:
    """Make an invite, perhaps to be mailed to its address; raises Invalid for what this maker may not ask for."""
    invite = prepare(draft, maker, mailed)
    invite.id = id_ or invite.id
    session().add(invite)
    if mailed:
        post(invite)
    return invite


def mint(draft: Draft, maker: Maker) -> str:
    """Make an invite and return its token, for programs that need nothing else of it."""
    values, token = _values(draft, maker, project)
    _INSERT.run(**values)
    return token


def prepare(
    draft: Draft, maker: Maker, mailed: bool = False, project_of: Callable[[str], Project] | None = None
) -> Invite:
    """An invite that is not in the database until `add` puts it there; raises Invalid as `create` does.

    So that nobody waits for the database while thousands of them are prepared.
    """
    invite = Invite(**_values(draft, maker, project_of or project)[0])
    if mailed:
        _give_mail_token(invite)
    return invite


def _values(draft: Draft, maker: Maker, project_of: Callable[[str], Project]) -> tuple[dict[str, Any], str]:
    """The row of a new invite, and its token; raises Invalid for what this maker may not ask for."""
    _refuse_privileges(draft, maker)
    now, nonce = clock.now(), tokens.new_nonce()
    token = tokens.invite_token(nonce)
    row = {
        "id": clock.new_id(),
        "nonce": nonce,
        "token_hash": tokens.digest(token),
        "name": draft.name,
        "email": draft.email,
        "project_id": project_of(draft.project).id if draft.project else None,
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
    }
    return row, token


def add(prepared: Sequence[Invite]) -> None:
    """Make all the invites that were prepared, at once, and have those mailed that are to be.

    They do not become part of the session: that would take twice as long, while others wait.
    """
    letters = [
        outbox.write("invite", each.email, invite=each) for each in prepared if each.email and each.mail_token_hash
    ]
    session().bulk_save_objects(prepared)
    session().bulk_save_objects(letters)


def post(invite: Invite) -> None:
    """Have an invite mailed to its address, with a token of its own; raises Invalid without an address."""
    address = _give_mail_token(invite)
    session().flush()
    if not outbox.has_untried(invite):
        outbox.queue("invite", address, invite=invite)


def _give_mail_token(invite: Invite) -> str:
    """Have the link that is mailed be good; the address it goes to."""
    if invite.email is None:
        raise Invalid.at("email", "required", "is needed for an invite to be mailed")
    invite.mail_token_hash = invite.mail_token_hash or tokens.digest(tokens.mail_token(invite.nonce))
    return invite.email


def extend(invite: Invite, ttl: timedelta | None) -> None:
    """Let an invite live on for so long from now; an expired one comes to life. Raises what else is the matter.

    A short code does not live on beyond its week.
    """
    now = clock.now()
    refuse_spent(invite)
    if invite.makes_admin and (ttl is None or ttl > ADMIN_TTL):
        raise Invalid.at("ttl", "range", "must be at most 24h for an invite that makes an admin")
    invite.expires_at = None if ttl is None else now + ttl
    if ttl is None or now + ttl > invite.created_at + SHORT_CODE_TTL:
        invite.legacy_hash = None


def resend(invite: Invite) -> None:
    """Mail an invite once more, with the same link, and let it live on for at least as long as a new one."""
    ttl = min(settings().invite_ttl, ADMIN_TTL) if invite.makes_admin else settings().invite_ttl
    refuse_spent(invite)
    if invite.expires_at and invite.expires_at < clock.now() + ttl:
        extend(invite, ttl)
    post(invite)


def rotate(invite: Invite) -> None:
    """Give an invite a new link; the old ones, the mailed one too, are dead. A mailed invite is mailed anew."""
    refuse_dead(invite)
    was_mailed = invite.mail_token_hash is not None
    invite.nonce = tokens.new_nonce()
    invite.token_hash = tokens.digest(tokens.invite_token(invite.nonce))
    invite.mail_token_hash = invite.legacy_hash = None
    if was_mailed:
        post(invite)


def mail_token(invite: Invite) -> str:
    """The secret of the link in the mail; raises LinkLost."""
    return tokens.mail_token_shown_again(invite.nonce, invite.mail_token_hash or "")


def token(invite: Invite) -> str:
    """The secret of the link, 64 hex characters; raises LinkLost."""
    return tokens.shown_again(invite.nonce, invite.token_hash)


def link(token: str) -> str:
    """The link that people get, in Prosody's form: the token is the whole query."""
    return f"{settings().public_url}/invite?{token}"


def find(token: str) -> Invite:
    """The invite with this token, whatever its state; raises InviteNotFound."""
    invite = session().scalar(_FIND, {"digest": tokens.digest(token)}) if tokens.is_token(token) else None
    if invite is None:
        raise InviteNotFound
    return invite


def find_open(token: str) -> Invite:
    """The invite with this token if it can be redeemed now; raises what stands in the way."""
    invite = find(token)
    refuse_dead(invite)
    return invite


def batch(once: str, count: int) -> list[str]:
    """The ids of the invites that a form with this number, used once, makes: the same if it is sent again."""
    return [clock.id_for(f"{once} {number}") for number in range(count)]


def with_ids(ids: Sequence[str]) -> Sequence[Invite]:
    """Those of these invites that there are."""
    return session().scalars(select(Invite).where(Invite.id.in_(ids)).order_by(Invite.created_at, Invite.id)).all()


def find_by_id(invite_id: str) -> Invite:
    """The invite with this public id; raises InviteNotFound."""
    invite = session().get(Invite, invite_id)
    if invite is None:
        raise InviteNotFound
    return invite


def shown(token: str) -> Invitation:
    """What to tell whoever opens the invite with this token; raises what stands in the way of using it."""
    row = _SHOWN.first(digest=tokens.digest(token)) if tokens.is_token(token) else None
    if row is None:
        raise InviteNotFound
    refuse_dead(row)
    return _told(row)


def told(invite: Invite) -> Invitation:
    """Likewise of an invite that is there, whatever its state."""
    return _told(_TOLD.first(id=invite.id))


def _told(row: Any) -> Invitation:
    """For keys and the shell the site itself invites."""
    site = settings().site_name
    return Invitation(
        id=row.id,
        inviter=called(row.display_name, row.username, row.address) if row.maker_id else site,
        to=row.project_name or site,
        name=row.name,
        email=row.email,
        project=row.slug,
        role=row.role,
        plan=row.plan,
        expires_at=row.expires_at,
        redirect_url=redirect(row.redirect_url),
    )


def redirect(url: str | None) -> str | None:
    """Where to go after accepting, if the settings still permit it."""
    try:
        return fields.redirect_url(url) if url else None
    except Invalid:
        return None


def project(slug: str) -> Project:
    """The project that people are invited to; raises Invalid where there is none with this slug."""
    found = session().scalar(select(Project).where(Project.slug == slug))
    if found is None:
        raise Invalid.at("project", "exists", "names no project: %(slug)s", slug=slug)
    return found


def named(text: str) -> Invite:
    """The invite that somebody at a shell means by its id or the beginning of it, its token or its whole link."""
    token = tokens.in_text(text)
    found = find(token) if tokens.is_token(token) else ids.find(Invite, text.strip())
    if found is None:
        raise InviteNotFound
    return found


def miscounted() -> Sequence[str]:
    """The ids of invites whose uses are not the number of their redemptions: there must be none."""
    redeemed = select(func.count()).where(Redemption.invite_id == Invite.id).scalar_subquery()
    return session().scalars(select(Invite.id).where(Invite.uses != redeemed)).all()


def revoke(invite: Invite) -> None:
    """Withdraw an invite: nobody can use it any more. It stays in the table; again does nothing."""
    invite.revoked_at = invite.revoked_at or clock.now()


def revoke_all_by(maker: User, project_id: str | None = None) -> int:
    """Withdraw all open invites that an account made, or those to one project; returns how many."""
    to = [Invite.project_id == project_id] if project_id else []
    return _revoke_all(Invite.maker_id == maker.id, *to)


def revoke_admins_by(maker: User) -> int:
    """Withdraw the open invites of an account that make an admin of the site; returns how many."""
    return _revoke_all(Invite.maker_id == maker.id, Invite.makes_admin.is_(True))


def revoke_all_to(project: Project) -> int:
    """Withdraw all open invites to a project; returns how many."""
    return _revoke_all(Invite.project_id == project.id)


def is_open(now: Any) -> ColumnElement[bool]:
    """The state ``active``, as the database sees it; `Invite.state` is its other half."""
    return and_(
        Invite.uses < Invite.max_uses,
        Invite.revoked_at.is_(None),
        or_(Invite.expires_at.is_(None), Invite.expires_at > now),
    )


def refuse_dead(invite: Any) -> None:
    """Raise what stands in the way of using this invite, or row of one, now."""
    state = state_of(invite, clock.now())
    if state == "used":
        raise InviteUsed
    if state != "active":
        raise InviteExpired(invite.expires_at, invite.revoked_at)


def refuse_spent(invite: Invite) -> None:
    """Raise what keeps an invite from being given more time: that it is used, or withdrawn."""
    if invite.state(clock.now()) in ("used", "revoked"):
        refuse_dead(invite)


def _refuse_privileges(draft: Draft, maker: Maker) -> None:
    problems = []
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


def _revoke_all(*which: ColumnElement[bool]) -> int:
    unspent = Invite.uses < Invite.max_uses, Invite.revoked_at.is_(None)  # expired ones too: they could be extended
    withdrawn = update(Invite).where(*which, *unspent).values(revoked_at=clock.now()).returning(Invite.id)
    return len(session().execute(withdrawn.execution_options(synchronize_session=False)).all())


# What is asked for again and again is built once: building it takes as long as SQLite does.
WITH_TOKEN = or_(Invite.token_hash == bindparam("digest"), Invite.mail_token_hash == bindparam("digest"))
_FIND = select(Invite).where(WITH_TOKEN)
_INSERT = Statement(insert(Invite))
_WITH_NAMES = (
    select(
        *(getattr(Invite, name) for name in ("id", "name", "email", "role", "plan", "redirect_url", "maker_id")),
        *(getattr(Invite, name) for name in ("uses", "max_uses", "revoked_at", "expires_at")),
        Project.name.label("project_name"),
        Project.slug,
        User.display_name,
        User.username,
        User.email.label("address"),
    )
    .outerjoin(Project, Project.id == Invite.project_id)
    .outerjoin(User, User.id == Invite.maker_id)
)
_SHOWN = Statement(_WITH_NAMES.where(WITH_TOKEN))
_TOLD = Statement(_WITH_NAMES.where(Invite.id == bindparam("id")))
