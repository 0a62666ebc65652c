"""Who is an admin of the site. Who may create an invite that makes one is said in rules/drafts.py."""

from typing import Any

from settings import settings


def is_admin(account: Any) -> bool:
    """Whether this is an admin of the site: marked as one, or by a verified address in INVITE_API_ADMIN_EMAILS.

    A row with the columns `admin_at`, `email` and `email_verified_at` will do.
    """
    if account.admin_at is not None:
        return True
    return account.email_verified_at is not None and account.email in settings().admin_emails
