"""That invites expired: nobody does it, so the caretaker tells it, once for each moment at which one expired."""

from datetime import UTC, datetime

from sqlalchemy import ColumnElement, select

import clock
from database import session
from models import Event, Invite
from rules import events, states
from rules.events import Told
from settings import settings

AT_ONCE = 500  # invites in one unit of work, since other writers wait for it
LOOKED_BACK = clock.DAY  # so that nothing is left out when the clock was ahead for a while


def untold() -> list[str]:
    """The ids of at most 500 invites that expired without that being told, the first to expire first."""
    found = select(Invite.id).where(*_expired(), Invite.expires_at > _told_until(), ~_is_told())
    return list(session().scalars(found.order_by(Invite.expires_at).limit(AT_ONCE)))


def tell(ids: list[str]) -> None:
    """Tell of these invites that they expired, but of none that was extended, or of which it was told, meanwhile."""
    # Locked first: then what another process has told in the meantime is seen.
    session().execute(select(Invite.id).where(Invite.id.in_(ids)).order_by(Invite.id).with_for_update())
    found = select(Invite).where(Invite.id.in_(ids), *_expired(), ~_is_told()).order_by(Invite.expires_at)
    events.tell_all(
        "invite.expired",
        [
            Told({"invite_id": each.id, "project_id": each.project_id}, events.SERVICE, each.expires_at)
            for each in session().scalars(found)
        ],
    )


def _expired() -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return states.in_state("expired", clock.now()), Invite.expires_at.is_not(None)


def _is_told() -> ColumnElement[bool]:
    told = Event.invite_id == Invite.id, Event.type == "invite.expired", Event.at == Invite.expires_at
    return select(Event.number).where(events.NOT_CREATED, *told).exists()


def _told_until() -> datetime:
    """Up to which moment of expiry all is told: to look at all that ever expired would take longer every year."""
    last = (
        select(Event.at)
        .where(events.INDEXED_TYPE, Event.type == "invite.expired")
        .order_by(Event.number.desc())
        .limit(1)
    )
    told, kept = session().scalar(last), settings().events_kept
    until = min(told, clock.now() - LOOKED_BACK) if told else datetime.min.replace(tzinfo=UTC)
    return max(until, clock.now() - kept) if kept else until
