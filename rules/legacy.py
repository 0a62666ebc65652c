"""Agentbot's deprecated short codes: 12 hex characters, a second name of an ordinary invite.

They have 48 bits, which can be guessed. So every try is counted for its client before the code is looked up, and all
calls that take a code share that counter.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from sqlalchemy import select

import clock
from database import session
from models import Invite
from rules import counters, drafts, invites, joining, presets, states, tokens, uses
from rules.idempotency import Once
from rules.refusals import Invalid, InviteNotFound, LegacyCodesOff, LinkLost, RateLimited, Refusal, problem
from rules.uses import REDEEM
from settings import settings

TRIES_A_MINUTE = 10

_CODE = re.compile(r"[0-9a-f]{12}", re.ASCII)


def is_code(text: str) -> bool:
    """Whether a text has the form of a short code."""
    return _CODE.fullmatch(text) is not None


def refuse_if_off() -> None:
    """Raise LegacyCodesOff where INVITE_API_LEGACY_CODES is off."""
    if not settings().legacy_codes:
        raise LegacyCodesOff


def create(inviter: drafts.Inviter, once: Once | None = None) -> str:
    """Create an invite that is valid for at most 7 days; returns its short code.

    Raises LegacyCodesOff, or Invalid if the preset of the inviter is gone. With `once` as `invites.create`; raises
    LinkLost if the code that it had before is none any more.
    """
    refuse_if_off()
    draft = presets.draft({}, inviter, once=once)
    wrong = [
        problem(name, "forbidden", "is not possible for an invitation with a short code")
        for name in ("email", "approve")
        if getattr(draft, name)
    ]
    if wrong:
        raise Invalid(*wrong)
    longest = min(drafts.SHORT_CODE_TTL, settings().invite_ttl_max)
    draft = replace(draft, ttl=min(draft.ttl or longest, longest))
    invite = invites.create(draft, inviter, once=once)
    code = tokens.legacy_code(invite.nonce)
    if once and once.replayed:
        if invite.legacy_hash not in tokens.legacy_hashes(code):
            raise LinkLost
        return code
    invite.legacy_hash = tokens.legacy_hashes(code)[0]
    return code


@contextmanager
def counted(client: str) -> Iterator[None]:
    """Count a client's try at a short code, which is looked up inside and nothing else is done: first in its unit.

    Only wrong tries stay counted: with the refusal their unit is kept. Raises RateLimited beyond ten of them in a
    minute, or LegacyCodesOff.
    """
    refuse_if_off()
    if counters.count("short code", client, clock.MINUTE) > TRIES_A_MINUTE:
        raise RateLimited(60)
    try:
        yield
    except Refusal as wrong:
        wrong.keeps = True
        raise
    counters.refund("short code", client)


def find(code: str) -> Invite:
    """The invite with this short code, in whatever state; raises InviteNotFound."""
    invite = session().scalar(select(Invite).where(Invite.legacy_hash.in_(tokens.legacy_hashes(code))))
    if invite is None:
        raise InviteNotFound
    return invite


def find_active(code: str) -> Invite:
    """The invite with this short code; raises InviteNotFound, InviteUsed or InviteExpired if it cannot be used now."""
    invite = find(code)
    states.refuse_unusable(invite)
    return invite


def use(code: str) -> None:
    """Use the invite with this short code, for no account; raises InviteNotFound, InviteUsed or InviteExpired."""
    invite = uses.take_one(Invite.legacy_hash.in_(tokens.legacy_hashes(code)))
    use_id = clock.new_id()
    REDEEM.run(id=use_id, invite_id=invite.id, user_id=None, redeemed_at=clock.now(), state="done")
    joining.give(invite, None, use_id)
