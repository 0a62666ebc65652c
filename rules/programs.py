"""Who calls our own API: a program with an API key, or an admin of the site; and which invites they may change."""

from collections.abc import Collection
from dataclasses import dataclass

from models import Invite
from rules import events, invites, keys
from rules.drafts import Inviter
from rules.keys import VerifiedKey
from rules.refusals import Forbidden, ScopeMissing


@dataclass(frozen=True)
class Program:
    """A caller of our own API: whose invites it creates, and its scopes; an admin of the site has all of them."""

    inviter: Inviter
    may: Collection[str]

    @property
    def actor(self) -> events.Actor:
        """Who does what this caller does, for what is told of it."""
        return self.inviter.actor

    @property
    def identity(self) -> str:
        """By what this caller's requests are counted against rate limits."""
        return self.inviter.identity

    @property
    def holder(self) -> str:
        """Under which id this caller holds uses: the key's, or that of the admin's account."""
        return self.inviter.key_id or self.inviter.user.id  # type: ignore[union-attr]

    def keep(self) -> None:
        """Have this caller's key not be deleted before this unit ends; raises KeyRefused if it was, meanwhile."""
        if self.inviter.key_id:
            keys.keep(self.inviter.key_id)

    def has(self, scope: str) -> bool:
        """Whether this caller has the scope, one of keys.SCOPES."""
        return scope in self.may

    def locked_invite(self, invite_id: str) -> Invite:
        """The invite with this id, to be changed: nobody else changes or uses it before this unit ends.

        Raises InviteNotFound, and ScopeMissing for an invite of others without the scope `manage`.
        """
        invite = invites.find_locked(invite_id)
        self._refuse_foreign(invite)
        return invite

    def refuse_opening(self, invite: Invite) -> None:
        """Raise unless this caller may have the link of an invite, and extend it.

        That is ScopeMissing for an invite of others without the scope `manage`, and Forbidden for an invite that makes
        an admin of the site unless one asks: with its link, the holder of the key would become one.
        """
        self._refuse_foreign(invite)
        if invite.makes_admin and not self.inviter.trusted:
            raise Forbidden

    def _refuse_foreign(self, invite: Invite) -> None:
        created_it = self.inviter.key_id is not None and invite.key_id == self.inviter.key_id
        if not (created_it or self.has("manage")):
            raise ScopeMissing("manage")


def by_key(key: VerifiedKey) -> Program:
    """The caller who shows this key."""
    return Program(key.inviter, key.may)
