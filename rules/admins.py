"""Who is an admin of the site. Who may create an invite that makes one is said in rules/drafts.py."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, and_, or_, select

from database import session
from models import User
from settings import settings

MAX_OTHERS = 100  # admins that are looked for; one who stays is enough


def is_admin(account: Any) -> bool:
    """Whether this is an admin of the site: marked as one, or by a verified address in INVITE_API_ADMIN_EMAILS.

    A row with the columns `admin_at`, `email` and `email_verified_at` will do.
    """
    if account.admin_at is not None:
        return True
    return account.email_verified_at is not None and account.email in settings().admin_emails


def are_admins() -> ColumnElement[bool]:
    """Return the SQL condition that an account is an admin of the site, as `is_admin` has it."""
    by_address = and_(User.email.in_(settings().admin_emails), User.email_verified_at.is_not(None))
    return or_(User.admin_at.is_not(None), by_address)


def others(user_id: str) -> Sequence[str]:
    """The ids of other accounts that administrate the site and can sign in; at most 100.

    It looks through all accounts: not in a unit that writes.
    """
    return session().scalars(select(User.id).where(User.id != user_id, *_administrates()).limit(MAX_OTHERS)).all()


def exist() -> bool:
    """Whether an account administrates the site and can sign in."""
    return session().scalar(select(User.id).where(*_administrates()).limit(1)) is not None


def one_stays(these: Sequence[str]) -> bool:
    """Whether one of these accounts is an admin now; until the unit ends it stays one."""
    query = select(User.id).where(User.id.in_(these), *_administrates()).order_by(User.id).limit(1)
    return session().scalar(query.with_for_update(read=True)) is not None


def _administrates() -> Sequence[ColumnElement[bool]]:
    """That an account is an admin of the site, and can sign in."""
    can_sign_in = User.disabled_at.is_(None), User.deleted_at.is_(None), User.password_hash.is_not(None)
    return are_admins(), *can_sign_in
