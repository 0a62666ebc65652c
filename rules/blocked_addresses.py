"""Addresses to which no invitation is mailed, no matter who sends it: their people want none. Other mail goes out.

Each invitation mail has a link with which its recipient says so. The link carries a keyed hash of the address, and is
signed: nothing is stored for it, so it works as long as the master secret is kept. It is the hash of the address
without a tag: who blocks anne+shop@example.org gets none at anne@example.org, nor with another tag.
"""

from collections.abc import Sequence

from sqlalchemy import bindparam, delete, select, text

import clock
from database import session
from models import BlockedAddress
from rules import fields, tokens
from rules.refusals import BlockingLinkInvalid, MailUnwanted
from settings import settings

PATH = "/unsubscribe"
_PURPOSE = "no invitations"


def link(address: str) -> str:
    """The link with which the person at this address blocks it; only for a mail to that address."""
    return f"{settings().public_url}{PATH}?{tokens.sign(_PURPOSE, _hashes(address)[0])}"


def read(token: str) -> str:
    """The hash of the address that such a link is about; raises BlockingLinkInvalid for a link that is not ours."""
    hashed = tokens.unsign(_PURPOSE, token)
    if not isinstance(hashed, str):
        raise BlockingLinkInvalid
    return hashed


def block(hashed: str) -> None:
    """Have no more invitations mailed to the address with this hash; once more changes nothing."""
    session().execute(_BLOCK, {"hash": hashed, "now": clock.now()})


def block_address(address: str) -> None:
    """Have no more invitations mailed to this address; once more changes nothing."""
    if blocked_since(address) is None:
        block(_hashes(address)[0])


def unblock_address(address: str) -> bool:
    """Let invitations be mailed to this address again; returns False if it was not blocked."""
    unblocked = delete(BlockedAddress).where(BlockedAddress.hash.in_(_hashes(address)))
    return bool(session().execute(unblocked.returning(BlockedAddress.hash)).all())


def is_blocked(hashed: str) -> bool:
    """Whether the address with this hash is blocked."""
    return session().get(BlockedAddress, hashed) is not None


def blocked_since(address: str) -> BlockedAddress | None:
    """The row of this address if it is blocked, else None."""
    with session().no_autoflush:  # an invite is given a new link by one change: a second would lock its inviter, too
        return session().scalar(select(BlockedAddress).where(BlockedAddress.hash.in_(_hashes(address))))


def refuse_blocked(address: str) -> None:
    """Raise MailUnwanted for an address that is blocked."""
    if blocked_since(address):
        raise MailUnwanted


def _hashes(address: str) -> Sequence[str]:
    """The hashes under which this address may be blocked; the first is the one to store."""
    # Formerly a tagged address was blocked as it is.
    each = dict.fromkeys((fields.mailbox(address), address))
    return [hashed for written in each for hashed in tokens.address_hashes(written)]


def newest(limit: int) -> Sequence[BlockedAddress]:
    """At most `limit` blocked addresses, the latest first."""
    latest = select(BlockedAddress).order_by(BlockedAddress.blocked_at.desc(), BlockedAddress.hash)
    return session().scalars(latest.limit(limit)).all()


_BLOCK = text(
    "INSERT INTO blocked_addresses (hash, blocked_at) VALUES (:hash, :now) ON CONFLICT (hash) DO NOTHING"
).bindparams(bindparam("now", type_=BlockedAddress.blocked_at.type))
