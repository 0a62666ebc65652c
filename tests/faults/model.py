"""What invites are, without a database, a dialect or a hash: the least that explains every answer."""

from dataclasses import dataclass, field
from datetime import datetime

GOOD = "GOOD"
ADDRESSES = {name: f"{name}@example.org" for name in ("anne", "bob", "nora")}
VERIFIED = {"anne", "bob"}


@dataclass
class Invite:
    """One invite; `redeemed` has the name of each account that used it, None for one that nobody knows.

    `told` is what happened to it, in its order.
    """

    token: str
    max_uses: int
    expires_at: datetime
    email: str | None = None
    project: bool = False
    maker: str | None = None
    code: str | None = None
    revoked: bool = False
    id: str = ""
    name: str | None = None
    rotated: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=lambda: ["created"])
    redeemed: list[str | None] = field(default_factory=list)

    def state(self, now: datetime) -> str:
        if len(self.redeemed) >= self.max_uses:
            return "used"
        return "revoked" if self.revoked else "expired" if self.expires_at <= now else "active"

    def dead(self, now: datetime) -> str:
        """Why nobody can use it, or that it is good."""
        return {"used": "INVITE_USED", "active": GOOD}.get(self.state(now), "INVITE_EXPIRED")

    def revoke(self) -> None:
        """Once: a second time changes nothing."""
        if not self.revoked:
            self.revoked = True
            self.told.append("revoked")


@dataclass
class Model:
    """All of it. What somebody tries returns the code of its refusal, or that it went well."""

    invites: list[Invite] = field(default_factory=list)
    addresses: set[str] = field(default_factory=lambda: set(ADDRESSES.values()))
    gone: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)
    has_key: bool = True

    def accept(self, invite: Invite, who: str, now: datetime) -> str:
        if who in self.gone:
            return "UNAUTHORIZED"
        if who in invite.redeemed or (invite.project and who in self.members):
            return "ALREADY_MEMBER"
        if (dead := invite.dead(now)) != GOOD:
            return dead
        if invite.email and (who not in VERIFIED or invite.email != ADDRESSES[who]):
            return "EMAIL_MISMATCH"
        return self._redeem(invite, who)

    def register(self, invite: Invite, email: str, now: datetime) -> str:
        if (dead := invite.dead(now)) != GOOD:
            return dead
        if invite.email not in (None, email):
            return "EMAIL_MISMATCH"
        if email in self.addresses:
            return "EMAIL_ALREADY_IN_USE"
        self.addresses.add(email)
        return self._redeem(invite, email)

    def validate(self, invite: Invite, now: datetime) -> str:
        """By its short code, which dies when the link is made anew."""
        if invite.rotated:
            return "INVITE_NOT_FOUND"
        return invite.dead(now) if invite.dead(now) != GOOD else self._redeem(invite, None)

    def extend(self, invite: Invite, until: datetime, now: datetime) -> str:
        if invite.state(now) in ("used", "revoked"):
            return invite.dead(now)
        invite.expires_at = until
        invite.told.append("extended")
        return GOOD

    def change(self, invite: Invite, uses: int, name: str | None, until: datetime | None, now: datetime) -> str:
        """As our own API does it: more time, another name, more or fewer uses; all of it or nothing."""
        if invite.state(now) in ("used", "revoked"):
            return invite.dead(now)
        if uses < len(invite.redeemed):
            return "INVALID"
        if until:
            self.extend(invite, until, now)
        if (uses, name) != (invite.max_uses, invite.name):
            invite.max_uses, invite.name = uses, name
            invite.told.append("changed")
        return GOOD

    def rotate(self, invite: Invite, now: datetime) -> str:
        if invite.dead(now) == GOOD:
            invite.rotated.append(invite.token)
            invite.told.append("rotated")
        return invite.dead(now)

    def delete(self, who: str) -> None:
        """An account goes; so do the open invites that it made, also those that could be extended."""
        self.gone.add(who)
        self.members.discard(who)
        self.addresses.discard(ADDRESSES[who])
        for each in self.invites:
            if each.maker == who and len(each.redeemed) < each.max_uses:
                each.revoke()

    def _redeem(self, invite: Invite, who: str | None) -> str:
        invite.redeemed.append(who)
        invite.told.append("used")
        if invite.project and who:
            self.members.add(who)
        return GOOD
