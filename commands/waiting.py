"""Uses of an invite that wait, in the command: what is shown of them, and which one a person means."""

from collections.abc import Sequence

from commands import terminal
from commands.base import CommandFailed
from commands.terminal import Facts
from database import session
from models import Invite, User
from rules import ids, waiting
from rules.waiting import Waiting

LISTED = 10  # who waits, at most so many in one message


def facts(found: Sequence[Waiting]) -> Facts:
    """What is shown of uses that wait: those that a program holds, and those that wait for a proof or an approval."""
    return {
        "holds": [held(each) for each in found if each.state == "held"],
        "waiting": list(map(unanswered, waiting.asking(found))),
    }


def held(use: Waiting) -> Facts:
    """What is shown of a use that a program holds: for whom, by which API key, until when."""
    return {"redemption": use.id, "who": use.who, "key_id": use.key_id, "since": use.since, "until": use.until}


def unanswered(use: Waiting) -> Facts:
    """What is shown of a use that waits for a proof or an approval: who waits for what, since when."""
    return {"redemption": use.id, "who": use.who, "for": use.state, "since": use.since, "until": use.until}


def in_brief(found: Sequence[Waiting]) -> str:
    """Who waits, for a cell of a table: ``bob waits``, ``3 wait``, ``2 held``; "" for nobody."""
    people = waiting.asking(found)
    holds = len(found) - len(people)
    waits = f"{people[0].who} waits" if len(people) == 1 else f"{len(people)} wait" if people else ""
    return ", ".join(filter(None, (waits, f"{holds} held" if holds else "")))


def approvable(invite: Invite, who: str | None) -> str:
    """The id of the use of an invite that waits for approval: the only one, or that of the one who is named.

    `who` is a name, user name or address, a program's name for its guest, or the id of the use, or its first eight
    characters. Raises CommandFailed, which says who waits.
    """
    found = [each for each in waiting.of_invite(invite) if each.state == "approval"]
    if not found:
        raise CommandFailed("nobody waits for approval of this invite; see invite-api invite show")
    meant = found if who is None else [each for each in found if who.strip() in names(each)]
    if len(meant) == 1:
        return meant[0].id
    there = ", ".join(f"{each.who} ({each.id[: ids.SHORTEST]})" for each in found[:LISTED])
    more = ", …" if found[LISTED:] else ""
    problem = "say WHO" if meant else f"{who} does not wait for approval of this invite"
    raise CommandFailed(terminal.safe(f"{problem}; those who wait: {there}{more}"))


def names(use: Waiting) -> set[str | None]:
    """All by which a use that waits may be named."""
    user = session().get(User, use.user_id) if use.user_id else None
    of_user = {user.username, user.email} if user else set()
    return {use.id, use.id[: ids.SHORTEST], use.who, *of_user} - {None}
