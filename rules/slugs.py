"""The names of projects in addresses, made from what they are called, in any script."""

from sqlalchemy import select

from database import session
from models import Project

MAX_LENGTH = 60


def free(name: str) -> str:
    """A slug made from a name that no project has: ``tea-garden``, or ``tea-garden-2`` if that is taken."""
    from slugify import slugify  # slow to load

    wanted = slugify(name, max_length=MAX_LENGTH) or "project"
    if not _is_taken(wanted):
        return wanted
    # Doubled, then halved: to look at each number would take as many queries as there are projects of this name.
    free = 2
    while _is_taken(f"{wanted}-{free}"):
        free *= 2
    taken = free // 2
    while free - taken > 1:
        middle = (taken + free) // 2
        taken, free = (middle, free) if _is_taken(f"{wanted}-{middle}") else (taken, middle)
    return f"{wanted}-{free}"


def _is_taken(slug: str) -> bool:
    return session().scalar(select(Project.id).where(Project.slug == slug)) is not None
