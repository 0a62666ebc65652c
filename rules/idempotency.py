"""Idempotency-Key: a program that lost the answer to a create calls again, and gets the same invite and answer.

No answer is stored. The key gives the invite its id, and the row keeps a fingerprint of what was asked; the answer is
built again from the row. So a key is known as long as its invite is there. A refusal is not remembered: nothing was
created. Holds are taken once in the same way.

https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header/
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import clock
from database import session
from models import Invite, Redemption
from rules import tokens
from rules.refusals import IdempotencyKeyReused, Invalid

MAX_KEY_LENGTH = 255

Row = TypeVar("Row", Invite, Redemption)


@dataclass
class Once:
    """What is to be created once: under which id, and for which request; `replayed` says that it was there already.

    A key that has created an invite takes no hold, and the other way round.
    """

    id: str
    fingerprint: str
    replayed: bool = False

    def made(self) -> Invite | None:
        """The invite that the same call has created before; raises IdempotencyKeyReused if another call has.

        Of two such calls at the same moment the later finds its id taken when it writes, and its unit of work is done
        once more: then it finds the invite here.
        """
        return self._before(Invite)

    def taken(self) -> Redemption | None:
        """The hold that the same call has taken before, as `made` finds an invite."""
        return self._before(Redemption)

    def ids(self, count: int) -> Sequence[str]:
        """The ids of so many invites that are created by one call; the first is `id`."""
        return [self.id, *(clock.id_for(f"{self.id} {number}") for number in range(1, count))]

    def give(self, prepared: Sequence[Invite]) -> None:
        """Give invites that are prepared their ids, and what was asked, so that `made` finds them."""
        for invite, id_ in zip(prepared, self.ids(len(prepared)), strict=True):
            invite.id, invite.asked = id_, self.fingerprint

    def _before(self, kind: type[Row]) -> Row | None:
        found = session().get(Invite, self.id) or session().get(Redemption, self.id)
        if found is None:
            return None
        if not isinstance(found, kind) or found.asked != self.fingerprint:
            raise IdempotencyKeyReused
        self.replayed = True
        return found


def read(header: str, caller: str, asked: Any) -> Once:
    """What a request with this Idempotency-Key creates once; raises Invalid for a key that cannot be one.

    A key belongs to its `caller`. `asked` is all that distinguishes the request: its route and its fields, as they
    were asked for, in JSON's types; numbers in a form and in JSON are the same, but not inside of `data`.
    """
    key = header[1:-1] if len(header) > 1 and header[0] == header[-1] == '"' else header
    if not (1 <= len(key) <= MAX_KEY_LENGTH and key.isascii() and key.isprintable()):
        text = "must be 1 to 255 printable characters of ASCII, such as a UUID"
        raise Invalid.at("Idempotency-Key", "format", text)
    return Once(
        clock.id_for(f"{caller}\0{key}"),
        tokens.digest(json.dumps(_canonical(asked), sort_keys=True, default=str)),
    )


def _canonical(asked: Any) -> Any:
    if isinstance(asked, dict):
        given = {name: value for name, value in asked.items() if value is not None}
        return {name: value if _is_data(name, value) else _canonical(value) for name, value in given.items()}
    if isinstance(asked, list):
        return [_canonical(each) for each in asked]
    return asked if asked is None or isinstance(asked, bool) else str(asked)


def _is_data(name: str, value: Any) -> bool:
    """Whether this is the data of an invite, as JSON: the program that gets it again sees 12 and "12" as two things."""
    return name == "data" and isinstance(value, dict)
