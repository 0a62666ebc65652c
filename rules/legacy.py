"""Agentbot's deprecated short codes: 12 hex characters, a second name of an ordinary invite.

48 bits can be guessed at, so every try is counted, by client and before the code is looked at; all
ways in share one counter.
"""

import re

from sqlalchemy import select

import clock
from config import settings
from database import session
from models import Invite, Redemption
from rules import counters, invites, redemption, tokens
from rules.refusals import InviteNotFound, LegacyCodesOff, RateLimited

TRIES_A_MINUTE = 10

_CODE = re.compile(r"[0-9a-f]{12}", re.ASCII)


def is_code(text: str) -> bool:
    """Whether this could be a short code."""
    return _CODE.fullmatch(text) is not None


def refuse_if_off() -> None:
    """Raise LegacyCodesOff where the settings say so."""
    if not settings().legacy_codes:
        raise LegacyCodesOff


def create(maker: invites.Maker) -> str:
    """Make an invite that lives at most a week, and return its short code."""
    refuse_if_off()
    invite = invites.create(invites.Draft(ttl=min(invites.SHORT_CODE_TTL, settings().invite_ttl)), maker)
    code = tokens.legacy_code(invite.nonce)
    invite.legacy_hash = tokens.legacy_hashes(code)[0]
    return code


def count_try(client: str) -> None:
    """Count a client's try, in a unit of work of its own; raises RateLimited beyond ten in a minute."""
    refuse_if_off()
    if counters.spend("short code", client, clock.MINUTE) > TRIES_A_MINUTE:
        raise RateLimited(60)


def forgive_try(client: str) -> None:
    """Take a try back that was right: only wrong ones are limited."""
    counters.refund("short code", client)


def find_open(code: str) -> Invite:
    """The invite with this short code if it can be used now; raises what stands in the way."""
    invite = session().scalar(select(Invite).where(Invite.legacy_hash.in_(tokens.legacy_hashes(code))))
    if invite is None:
        raise InviteNotFound
    invites.refuse_dead(invite)
    return invite


def spend(code: str) -> None:
    """Use the invite with this short code, for nobody known; raises what stands in the way."""
    invite = redemption.take_one(Invite.legacy_hash.in_(tokens.legacy_hashes(code)))
    if invite is None:
        find_open(code)
        raise InviteNotFound
    session().add(Redemption(id=clock.new_id(), invite_id=invite.id, user_id=None, redeemed_at=clock.now()))
