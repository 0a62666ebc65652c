"""What the command prints: a list or one thing, as lines of text or as JSON."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import TypeVar

import click

import clock
from models import ApiKey, Invite, Letter, Member, Project, Redemption, User
from rules import accounts, invites, projects
from rules.listing import Listed
from rules.refusals import LinkLost

T = TypeVar("T")

Facts = dict[str, object]


def safe(text: str) -> str:
    """Stored text as it may be printed: what would command a terminal is shown as an escape."""
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def listing(
    found: Sequence[T], row: Callable[[T], Sequence[str]], facts: Callable[[T], Facts], as_json: bool
) -> Iterable[str]:
    """Many things: one JSON array, or a line for each with tabs between its columns."""
    if as_json:
        return [_json([facts(each) for each in found])]
    return ["\t".join(safe(column) for column in row(each)) for each in found]


def details(facts: Mapping[str, object], as_json: bool) -> Iterable[str]:
    """All about one thing: a JSON object, or a line of name, tab and value for each fact."""
    if as_json:
        yield _json(facts)
        return
    for name, value in facts.items():
        for each in value if isinstance(value, list) else [value]:
            yield f"{name}\t{safe(_words(each))}"


def key_row(key: ApiKey) -> list[str]:
    """As prosodyctl lists it."""
    return [key.id, key.name or "<unknown>"]


def key_facts(key: ApiKey) -> Facts:
    """All but the secret."""
    return {
        "id": key.id,
        "name": key.name,
        "created_at": _moment(key.created_at),
        "last_used_at": _moment(key.last_used_at),
        "expires_at": _moment(key.expires_at),
    }


def listed_row(row: Listed) -> list[str]:
    """Id, state, uses, for whom, until when, made by."""
    return [
        row.id,
        row.state,
        f"{row.uses}/{row.max_uses}",
        row.email or row.name or "-",
        _moment(row.expires_at) or "never",
        row.made_by,
    ]


def listed_facts(row: Listed) -> Facts:
    """All but what would let somebody in."""
    shown = {name: value for name, value in vars(row).items() if name not in ("token", "legacy_code")}
    return {name: _moment(value) if isinstance(value, datetime) else value for name, value in shown.items()}


def invite_facts(invite: Invite) -> Facts:
    """Everything, with the link and who used it."""
    return {
        "id": invite.id,
        "state": invite.state(clock.now()),
        "uses": invite.uses,
        "max_uses": invite.max_uses,
        "name": invite.name,
        "email": invite.email,
        "project": invite.project.slug if invite.project else None,
        "role": invite.role,
        "plan": invite.plan,
        "makes_admin": invite.makes_admin,
        "redirect_url": invite.redirect_url,
        "note": invite.note,
        "made_by": invite.made_by,
        "created_at": _moment(invite.created_at),
        "expires_at": _moment(invite.expires_at),
        "revoked_at": _moment(invite.revoked_at),
        "link": _link(invite),
        "used_by": [_use(each) for each in invite.redemptions],
    }


def account_row(user: User) -> list[str]:
    """Id, what it may do, user name, address, since when."""
    state = "disabled" if user.disabled_at else "admin" if accounts.is_admin(user) else "user"
    return [user.id, state, user.username or "-", user.email or "-", clock.iso(user.created_at)]


def account_facts(user: User) -> Facts:
    """All but the password's hash."""
    return {
        "id": user.id,
        "username": user.username,
        "email": user.email,
        "email_verified_at": _moment(user.email_verified_at),
        "display_name": user.display_name,
        "admin": accounts.is_admin(user),
        "created_at": _moment(user.created_at),
        "disabled_at": _moment(user.disabled_at),
    }


def project_row(project: Project) -> list[str]:
    """Slug, name, owner."""
    return [project.slug or "-", project.name, projects.owner(project).called]


def project_facts(project: Project) -> Facts:
    """Everything."""
    return {
        "id": project.id,
        "slug": project.slug,
        "name": project.name,
        "description": project.description,
        "is_public": project.is_public,
        "owner_id": projects.owner(project).id,
        "created_at": _moment(project.created_at),
    }


def member_row(member: Member) -> list[str]:
    """Account's id, role, user name, address, since when."""
    user = member.user
    return [user.id, member.role, user.username or "-", user.email or "-", clock.iso(member.joined_at)]


def member_facts(member: Member) -> Facts:
    """The role, and the account it belongs to."""
    return {"role": member.role, "joined_at": _moment(member.joined_at), "user": account_facts(member.user)}


def letter_row(letter: Letter) -> list[str]:
    """Id, state, kind, to whom, tries, what went wrong last."""
    return [letter.id, _state(letter), letter.kind, letter.recipient, str(letter.attempts), letter.last_error or "-"]


def letter_facts(letter: Letter) -> Facts:
    """Everything; a letter has no secret in it."""
    return {
        "id": letter.id,
        "state": _state(letter),
        "kind": letter.kind,
        "recipient": letter.recipient,
        "invite_id": letter.invite_id,
        "attempts": letter.attempts,
        "last_error": letter.last_error,
        "created_at": _moment(letter.created_at),
        "due_at": _moment(letter.due_at),
        "sent_at": _moment(letter.sent_at),
    }


def _state(letter: Letter) -> str:
    return "sent" if letter.sent_at else "dropped" if letter.dropped_at else "waiting"


def _use(redemption: Redemption) -> Facts:
    user = redemption.user
    return {"at": _moment(redemption.redeemed_at), "user": user.called if user else None, "user_id": redemption.user_id}


def _link(invite: Invite) -> str | None:
    try:
        return invites.link(invites.token(invite))
    except LinkLost as lost:
        click.echo(f"Note: {lost}", err=True)
        return None


def _json(value: object) -> str:
    written = json.dumps(value, ensure_ascii=False)
    return "".join(each if each.isprintable() else json.dumps(each)[1:-1] for each in written)


def _words(value: object) -> str:
    if isinstance(value, dict):
        return " ".join(_words(each) for each in value.values())
    return "" if value is None else str(value)


def _moment(moment: datetime | None) -> str | None:
    return clock.iso(moment) if moment else None
