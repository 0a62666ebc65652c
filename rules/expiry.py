"""What ends by itself: invites expire, uses that wait lapse, an access to a project ends. The caretaker tells it.

Members are mailed before their access ends.

Nothing waits for the caretaker to be over: what has ended counts no more from that moment on.
"""

from datetime import UTC, datetime

from sqlalchemy import ColumnElement, Select, and_, select

import clock
from database import session
from models import Event, Invite, Member, Project, Redemption
from rules import accounts, changing, events, joining, outbox, timeline, uses
from rules.events import NewEvent
from settings import settings

WARNED, LONG_ENOUGH = 3 * clock.DAY, 6 * clock.DAY  # before an access ends, if it was as long in all
AT_ONCE = 500  # invites in one unit of work, since other writers wait for it
LOOKED_BACK = clock.DAY  # so that nothing is left out when the clock was ahead for a while


def unrecorded() -> list[str]:
    """The ids of at most 500 invites that expired without that being told, the first to expire first.

    Before these, those that had expired long before their last use was given back.
    """
    found = select(Invite.id).where(_expired(), ~_is_recorded()).limit(AT_ONCE)
    late = session().scalars(found.where(Invite.id.in_(_given_back()))).all()
    new = session().scalars(found.where(Invite.expires_at > _told_until()).order_by(Invite.expires_at))
    return list(dict.fromkeys([*late, *new]))[:AT_ONCE]


def record_expired(ids: list[str]) -> None:
    """Tell of these invites that they expired, but of none that was extended, or of which it was told, meanwhile."""
    # Locked first: then what another process has told in the meantime is seen.
    session().execute(select(Invite.id).where(Invite.id.in_(ids)).order_by(Invite.id).with_for_update())
    found = select(Invite).where(Invite.id.in_(ids), _expired(), ~_is_recorded()).order_by(Invite.expires_at)
    events.record_all(
        "invite.expired",
        [
            NewEvent({"invite_id": each.id, "project_id": each.project_id}, events.SERVICE, each.expires_at)
            for each in session().scalars(found)
        ],
    )


def lapsed() -> list[str]:
    """The ids of at most 500 uses that have lapsed, and are still in the counts of their invites."""
    found = select(Redemption.id).where(uses.WAITS, Redemption.until <= clock.now())
    return list(session().scalars(found.order_by(Redemption.until).limit(AT_ONCE)))


def give_back(ids: list[str]) -> None:
    """Give these uses back, but for those that go on meanwhile."""
    uses.give_back_all(and_(Redemption.id.in_(ids), Redemption.until <= clock.now()), "lapsed")


def ended() -> list[str]:
    """The id of a membership whose access has ended, the first to end; [] for none.

    One alone: what several accounts have created, and their memberships, would be locked in another order than others
    lock it.
    """
    found = select(Member.id).where(Member.ends_at <= clock.now())
    return list(session().scalars(found.order_by(Member.ends_at).limit(1)))


def end(ids: list[str]) -> None:
    """End these memberships, with the open invites that they created there, but for those extended meanwhile."""
    for member_id in ids:
        member = session().get(Member, member_id, populate_existing=True)
        if member is None:
            continue
        uses.lock_all(Invite.maker_id == member.user_id, Invite.project_id == member.project_id)
        member = session().get(Member, member_id, populate_existing=True, with_for_update=True)
        if member and member.ends_at and member.ends_at <= clock.now():
            changing.revoke_all_by(member.user, member.project_id)
            joining.end(member_id)


def ending() -> list[str]:
    """The id of a membership whose access ends within three days, and of which its member was not warned; [] for none.

    One alone, as in `ended`.
    """
    now = clock.now()
    soon = Member.ends_at > now, Member.ends_at <= now + WARNED, Member.warned_at.is_(None)
    return list(session().scalars(select(Member.id).where(*soon).order_by(Member.ends_at).limit(1)))


def warn(ids: list[str]) -> None:
    """Mail these members that their access ends, but for those extended or warned meanwhile.

    Those with an access of less than six days in all knew it when they joined; they are mailed nothing, and neither are
    those without an address.
    """
    for member_id in ids:
        member = session().get(Member, member_id, populate_existing=True)
        if member is None:
            continue
        accounts.lock(member.user)
        session().get(Project, member.project_id, with_for_update={"read": True, "key_share": True})
        member = session().get(Member, member_id, populate_existing=True, with_for_update=True)
        if member and member.ends_at and member.warned_at is None and member.ends_at <= clock.now() + WARNED:
            member.warned_at = _warn(member, member.ends_at)


def _warn(member: Member, ends_at: datetime) -> datetime:
    """Queue the mail to a member, if there is one to be sent; returns when that was."""
    user = member.user
    if not (user.email and user.may_sign_in and ends_at - member.joined_at >= LONG_ENOUGH):
        return clock.now()
    letter = outbox.queue("ending", user.email, user=user)
    letter.project_id = member.project_id
    return letter.created_at


def _expired() -> ColumnElement[bool]:
    """The condition for an invite that expired with uses left; one whose last use waits is told of once that lapsed."""
    return and_(Invite.uses < Invite.max_uses, Invite.revoked_at.is_(None), Invite.expires_at <= clock.now())


def _is_recorded() -> ColumnElement[bool]:
    told = Event.invite_id == Invite.id, Event.type == "invite.expired", Event.at == Invite.expires_at
    return select(Event.number).where(events.NOT_CREATED, *told).exists()


def _given_back() -> Select[str | None]:
    """The invites of which uses were given back within a day: until then they were used, and no expiry was told."""
    types = Event.type.in_(("invite.released", "invite.denied"))
    lately = Event.number >= timeline.first_since(clock.now() - LOOKED_BACK)
    return select(Event.invite_id).where(events.INDEXED_TYPE, types, lately)


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
