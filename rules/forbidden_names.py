"""What an account may not be called."""

from sqlalchemy import select

from database import session
from models import User
from rules import searching, tokens
from rules.refusals import Invalid
from settings import settings


def refuse_name_of_site(display_name: str | None, field: str = "displayName") -> None:
    """Raise Invalid for an account that would be called as the site is: its mails would seem to be the site's."""
    if display_name and searching.alike(display_name, settings().site_name):
        raise Invalid.at(field, "forbidden", "cannot be the name of this site")


def was_given(username: str) -> bool:
    """Whether this user name belonged to an account that was deleted: programs may keep what is its own under it."""
    return session().scalar(select(User.id).where(User.former_name.in_(tokens.name_hashes(username)))) is not None
