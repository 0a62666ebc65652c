"""The first admin of a site: while there is none, the person who starts the service gets a link that makes one."""

from sqlalchemy import select

import clock
from database import session
from models import Invite, User
from rules import admins, drafts, events, invites, states
from rules.refusals import LinkLost

FEW = 100  # accounts, among which an admin is looked for on each visit of a page

INVITER = drafts.Inviter(events.SERVICE.called, trusted=True)


def is_wanted() -> bool:
    """Whether nobody administrates this site. If so it has looked through all accounts: not in a unit that writes."""
    return not admins.exist()


def is_missed() -> bool:
    """Whether nobody administrates this site, which has at most 100 accounts; False for a site with more.

    Pages may ask it on each visit: other than `is_wanted` it looks at few accounts, however many there are.
    """
    one_more = select(User.id).order_by(User.created_at, User.id).offset(FEW).limit(1)
    return session().scalar(one_more) is None and is_wanted()


def link() -> str:
    """A link that makes the first account that is created with it an admin, for 24 hours at most, once.

    As long as such a link can be used it is given again: a service that is restarted often makes one a day.
    """
    given = Invite.makes_admin.is_(True), Invite.made_by == INVITER.called, Invite.maker_id.is_(None)
    newest = select(Invite).where(*given, states.is_active(clock.now())).order_by(Invite.created_at.desc()).limit(1)
    found = session().scalar(newest)
    try:
        if found:
            return invites.link(invites.token(found))
    except LinkLost:  # made under another master secret
        pass
    return invites.link(invites.token(invites.create(drafts.read({}, makes_admin=True), INVITER)))
