"""A list of guests before anything is created: what an invite for each would be, and what is wrong or to be noted."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from models import Invite
from rules import fields, guests, invites, listing
from rules.drafts import Inviter
from rules.guests import Batch, Remark, Row
from rules.refusals import Invalid, Problem

# What a row of a list, which others may have written, may give: it is to be seen before it is created.
RISKS: Mapping[str, Callable[[Invite], bool]] = {
    "role": lambda invite: invite.role == "admin",
    "ttl": lambda invite: invite.expires_at is None,
    "uses": lambda invite: invite.max_uses > 1,
    "redirect_url": lambda invite: invite.redirect_url is not None,
}


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
    def risks(self) -> Sequence[str]:
        """The fields, of those in RISKS, by which the list itself, or a preset that it names, gives more than usual."""
        own = self.row.given
        return [
            name
            for name, gives_more in RISKS.items()
            if self.invite and (own.get(name) or own.get("preset")) and gives_more(self.invite)
        ]

    @property
    def besides(self) -> Mapping[str, str]:
        """What the list says of this guest besides name and address, by the names of the fields."""
        return {name: said for name, said in self.row.given.items() if said and name not in ("name", "email")}

    @property
    def domain(self) -> str | None:
        """``@example.org``, if the invite is for anyone with an address there."""
        return self.invite.email if self.invite and fields.is_domain(self.invite.email) else None


def check(rows: Sequence[Row], defaults: Mapping[str, object], inviter: Inviter, mailed: bool) -> Sequence[Checked]:
    """What becomes of each guest; `defaults` are the fields that a row leaves empty.

    With `mailed` those who have an address are mailed.
    """
    prepared = list(Batch(defaults, inviter).prepare(rows))
    notes = guests.notes((row, invite) for row, invite, _ in prepared if invite)
    if mailed:
        prepared = [_mailed(*each) for each in prepared]
    return [Checked(*each, notes.get(each[1].id, ()) if each[1] else ()) for each in prepared]


def _mailed(
    row: Row, invite: Invite | None, problems: Sequence[Problem]
) -> tuple[Row, Invite | None, Sequence[Problem]]:
    """A guest whose invite is to be mailed, if it names an address; or why it cannot be."""
    if invite and invite.email and not fields.is_domain(invite.email):
        try:
            invites.give_mail_token(invite)
        except Invalid as refused:
            return row, None, refused.problems
    return row, invite, problems


def create(checked: Sequence[Checked], ids: Sequence[str]) -> None:
    """Create the invites of a list that is good, with these ids; nothing if they are there already."""
    if listing.with_ids(ids[:1]):
        return
    prepared = [each.invite for each in checked if each.invite]
    for invite, id_ in zip(prepared, ids, strict=True):
        invite.id = id_
    invites.add(prepared)
