"""What invites and their uses are, without a database, a dialect or a hash: the least that explains every answer."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

GOOD = "GOOD"
LEASE, HOUR, PROOF = timedelta(minutes=10), timedelta(hours=1), timedelta(days=1)
DOMAIN = "@example.org"


@dataclass
class Use:
    """A use that waits, or did: `state` is held, proof, approval, done, released, denied, revoked or lapsed.

    Who waits is an account, or, if `id` is that of a hold, a program's guest. One that has lapsed stays in its state
    until somebody else wants it.
    """

    who: str
    state: str
    since: datetime
    until: datetime | None = None
    id: str = ""
    late: bool = False

    @property
    def counts(self) -> bool:
        return self.state in ("held", "proof", "approval")

    def waits(self, now: datetime) -> bool:
        return self.counts and not (self.until and self.until <= now)


@dataclass
class Invite:
    """One invite; `redeemed` has the name of each account that used it, None for one that nobody knows.

    `uses` are those that waited once. `told` is what happened to it, in its order; `expiries` are the moments of expiry
    that were told. `access` is how long a guest stays in the project. `spent_at` is since when its places count against
    the budget of its inviter. `code_ends` is the end of the week for which its short code is valid at most.
    """

    token: str
    max_uses: int
    expires_at: datetime
    email: str | None = None
    project: bool = False
    inviter: str | None = None
    code: str | None = None
    code_ends: datetime | None = None
    code_works: bool = True
    revoked: bool = False
    id: str = ""
    name: str | None = None
    rotated: list[str] = field(default_factory=list)
    told: list[str] = field(default_factory=lambda: ["created"])
    redeemed: list[str | None] = field(default_factory=list)
    approve: bool = False
    uses: list[Use] = field(default_factory=list)
    access: timedelta | None = None
    spent_at: datetime | None = None
    expiries: set[datetime] = field(default_factory=set)

    @property
    def is_plain(self) -> bool:
        """Whether who accepts it waits for nothing."""
        return not self.approve and self.email != DOMAIN

    def taken(self, now: datetime) -> int:
        """How many uses are done, or wait."""
        return len(self.redeemed) + sum(each.waits(now) for each in self.uses)

    def state(self, now: datetime) -> str:
        if self.taken(now) >= self.max_uses:
            return "used"
        return "revoked" if self.revoked else "expired" if self.expires_at <= now else "active"

    def dead(self, now: datetime) -> str:
        """Why nobody can use it, or that it is good."""
        return {"used": "INVITE_USED", "active": GOOD}.get(self.state(now), "INVITE_EXPIRED")

    def is_open(self, now: datetime) -> bool:
        """Whether it has not ended: what is not used of it may still be used."""
        return not self.revoked and self.expires_at > now

    def expire(self, now: datetime) -> None:
        """The caretaker tells that it expired with uses left, once for each moment of expiry."""
        left = len(self.redeemed) + sum(each.counts for each in self.uses) < self.max_uses
        if left and self.state(now) == "expired" and self.expires_at not in self.expiries:
            self.expiries.add(self.expires_at)
            self.told.append("expired")

    def revoke(self) -> None:
        """Once: a second time changes nothing, nor is one revoked that is used. What waits ends."""
        if not self.revoked and len(self.redeemed) < self.max_uses:
            self.release([each for each in self.uses if each.counts], "revoked")
            self.revoked = True
            self.told.append("revoked")

    def release(self, uses: list[Use], state: str) -> None:
        """These uses, which wait or have lapsed, are given back."""
        for each in uses:
            each.state = state
            self.told.append("denied" if state == "denied" else "released")

    def lapse(self, now: datetime) -> None:
        """Somebody wants a use: those that have lapsed are given back."""
        self.release([each for each in self.uses if each.counts and not each.waits(now)], "lapsed")

    def held_out(self, now: datetime) -> str:
        """Why no use can be taken to let it wait, or that one can."""
        if self.state(now) == "used" and any(each.state == "held" and each.waits(now) for each in self.uses):
            return "INVITE_HELD"
        return self.dead(now)

    def wait(self, use: Use, now: datetime) -> str:
        """Take a use, and let it wait."""
        if (dead := self.held_out(now)) != GOOD:
            return dead
        self.lapse(now)
        self.uses.append(use)
        self.told.append("held" if use.state == "held" else "waiting")
        return GOOD

    def resume(self, use: Use, now: datetime) -> str:
        """Let a use go on that waits, or has lapsed, if one is left."""
        if not use.waits(now):
            if (dead := self.held_out(now)) != GOOD:
                return dead
            if not use.counts:
                self.lapse(now)
        return GOOD

    def complete(self, use: Use, now: datetime) -> str:
        """A hold becomes a use, or waits for a yes."""
        if (dead := self.resume(use, now)) != GOOD:
            return dead
        if self.approve:
            use.state, use.until = "approval", None
            self.told.append("waiting")
        else:
            use.late = use.until is not None and use.until <= now
            self.finish(use)
        return GOOD

    def finish(self, use: Use) -> None:
        use.state = "done"
        self.redeemed.append(use.who)
        self.told.append("used")
