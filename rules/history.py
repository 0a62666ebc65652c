"""What has happened to an invite. Opening it is not here: that changes nothing."""

from dataclasses import dataclass
from datetime import datetime

import clock
from models import Invite, Letter, Redemption
from rules import outbox


@dataclass(frozen=True)
class Event:
    """When what happened, and by or to whom; `trouble` is what went wrong.

    `what` is one of ``made``, ``to be sent``, ``sent``, ``not sent``, ``used``, ``revoked``, ``expired``.
    """

    at: datetime
    what: str
    who: str = ""
    trouble: str = ""


def of(invite: Invite) -> list[Event]:
    """All that is known, the oldest first."""
    events = [
        Event(invite.created_at, "made", invite.made_by),
        *(_posted(each) for each in outbox.of_invite(invite)),
        *(_used(each) for each in invite.redemptions),
    ]
    if invite.revoked_at:
        events.append(Event(invite.revoked_at, "revoked"))
    elif invite.expires_at and invite.state(clock.now()) == "expired":
        events.append(Event(invite.expires_at, "expired"))
    return sorted(events, key=lambda event: event.at)


def _posted(letter: Letter) -> Event:
    if letter.sent_at:
        return Event(letter.sent_at, "sent", letter.recipient)
    if letter.dropped_at:
        return Event(letter.dropped_at, "not sent", letter.recipient)
    return Event(letter.created_at, "to be sent", letter.recipient, letter.last_error or "")


def _used(redemption: Redemption) -> Event:
    return Event(redemption.redeemed_at, "used", redemption.user.called if redemption.user else "")
