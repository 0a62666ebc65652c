"""A list of guests before anything is created: what an invite for each would be, and what is wrong or to be noted."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from models import Invite
from rules import fields, guests, invites, listing
from rules.drafts import Maker
from rules.guests import Batch, Remark, Row
from rules.refusals import Problem


class Checked(NamedTuple):
    """A guest of a list: the invite, prepared, or what is wrong; and what is to be known of the address."""

    row: Row
    invite: Invite | None
    problems: Sequence[Problem]
    notes: Sequence[Remark]

    @property
    def is_mailed(self) -> bool:
        """Whether the invite is to be mailed to the guest."""
        return bool(self.invite and self.invite.mail_token_hash)

    @property
    def domain(self) -> str | None:
        """``@example.org``, if the invite is for anyone with an address there."""
        return self.invite.email if self.invite and fields.is_domain(self.invite.email) else None


def check(rows: Sequence[Row], defaults: Mapping[str, object], maker: Maker, mailed: bool) -> Sequence[Checked]:
    """What becomes of each guest; `defaults` are the fields that a row leaves empty.

    With `mailed` those who have an address are mailed.
    """
    prepared = list(Batch(defaults, maker).prepare(rows))
    notes = guests.notes((row, invite) for row, invite, _ in prepared if invite)
    for _, invite, _ in prepared:
        if invite and mailed and invite.email and not fields.is_domain(invite.email):
            invites.give_mail_token(invite)
    return [Checked(*each, notes.get(each[1].id, ()) if each[1] else ()) for each in prepared]


def create(checked: Sequence[Checked], ids: Sequence[str]) -> None:
    """Create the invites of a list that is good, with these ids; nothing if they are there already."""
    if listing.with_ids(ids[:1]):
        return
    prepared = [each.invite for each in checked if each.invite]
    for invite, id_ in zip(prepared, ids, strict=True):
        invite.id = id_
    invites.add(prepared)
