"""What invites are, without a database, a dialect or a hash: the least that explains every answer."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

GOOD = "GOOD"
LEASE, HOUR, PROOF = timedelta(minutes=10), timedelta(hours=1), timedelta(days=1)
DOMAIN = "@example.org"
ADDRESSES = {name: f"{name}@example.org" for name in ("anne", "bob", "nora")}
VERIFIED = {"anne", "bob"}


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

    `uses` are those that waited once.

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
    approve: bool = False
    uses: list[Use] = field(default_factory=list)

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

    def revoke(self) -> None:
        """Once: a second time changes nothing. What waits ends."""
        if not self.revoked:
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


@dataclass
class Model:
    """All of it. What somebody tries returns the code of its refusal, or that it went well."""

    invites: list[Invite] = field(default_factory=list)
    addresses: set[str] = field(default_factory=lambda: set(ADDRESSES.values()))
    gone: set[str] = field(default_factory=set)
    members: set[str] = field(default_factory=set)
    has_key: bool = True
    verified: set[str] = field(default_factory=lambda: set(VERIFIED))

    def accept(self, invite: Invite, who: str, now: datetime) -> str:
        if who in self.gone:
            return "UNAUTHORIZED"
        if who in invite.redeemed or (invite.project and who in self.members):
            return "ALREADY_MEMBER"
        if (dead := invite.dead(now)) != GOOD:
            return dead
        if invite.email and (who not in self.verified or invite.email != ADDRESSES[who]):
            return "EMAIL_MISMATCH"
        return self._use(invite, who, now)

    def accept_later(self, invite: Invite, who: str, now: datetime) -> str:
        """Accept an invite for a domain, or one that needs a yes."""
        if who in invite.redeemed:
            return "ALREADY_MEMBER"
        if any(each.who == who and not each.id and each.waits(now) for each in invite.uses):
            return GOOD
        if invite.email == DOMAIN and who not in self.verified:
            return invite.wait(Use(who, "proof", now, now + PROOF), now)
        if invite.approve:
            return invite.wait(Use(who, "approval", now), now)
        if (dead := invite.dead(now)) == GOOD:
            invite.lapse(now)
            self._redeem(invite, who)
        return dead

    def prove(self, who: str, now: datetime) -> None:
        """An account proves its address; what waits for that goes on, in any order."""
        self.verified.add(who)
        for invite in self.invites:
            mine = [each for each in invite.uses if each.who == who and not each.id]
            last = [each for each in mine if each.counts] or [each for each in mine if each.state == "lapsed"]
            if invite.email == DOMAIN and last and who not in invite.redeemed:
                invite.complete(last[-1], now)

    def hold(self, invite: Invite, subject: str, at_once: bool, now: datetime) -> tuple[str, Use | None]:
        """A program takes a use for a guest of its own, or the same again."""
        mine = [each for each in invite.uses if each.id and each.who == subject]
        live = [each for each in mine if each.state not in ("released", "denied", "revoked")]
        if not live:
            state = ("approval" if invite.approve else "done") if at_once else "held"
            use = Use(subject, state, now, None if at_once else now + LEASE, id="new")
            if state != "done":
                said = invite.wait(use, now)
            elif (said := invite.held_out(now)) == GOOD:
                invite.lapse(now)
                invite.uses.append(use)
                invite.finish(use)
            return said, use if said == GOOD else None
        use = live[0]
        if use.state not in ("held", "lapsed"):
            return GOOD, use
        if at_once:
            said = invite.complete(use, now)
        elif (said := self._renew(invite, use, now)) != GOOD:
            return said, None
        return said, use

    def _renew(self, invite: Invite, use: Use, now: datetime) -> str:
        since = use.since if use.waits(now) else now
        if (dead := invite.resume(use, now)) == GOOD:
            if use.state == "lapsed":
                invite.told.append("held")
            use.state, use.since, use.until = "held", since, max(min(now + LEASE, since + HOUR), now)
        return dead

    def complete(self, invite: Invite, use: Use, now: datetime) -> str:
        """A program completes a hold."""
        if use.state in ("released", "denied"):
            return "HOLD_RELEASED"
        if use.state == "revoked":
            return "HOLD_LOST"
        if use.state in ("held", "lapsed") and invite.complete(use, now) != GOOD:
            return "HOLD_LOST"
        return GOOD

    def give_back(self, invite: Invite, use: Use) -> str:
        """A program releases a hold."""
        if use.state == "done":
            return "HOLD_DONE"
        if use.counts:
            invite.release([use], "released")
        elif use.state == "lapsed":
            use.state = "released"
        return GOOD

    def answer(self, invite: Invite, use: Use, yes: bool) -> str:
        """An admin says yes or no to a use that waits for it."""
        if use.state != "approval":
            return "NOT_WAITING"
        if yes:
            use.state = "done"
            invite.redeemed.append(use.who)
            invite.told += ["approved", "used"]
        else:
            invite.release([use], "denied")
        return GOOD

    def delete_key(self) -> None:
        """It goes, and what it holds is given back."""
        self.has_key = False
        for invite in self.invites:
            invite.release([each for each in invite.uses if each.id and each.counts], "released")

    def register(self, invite: Invite, email: str, now: datetime) -> str:
        if (dead := invite.dead(now)) != GOOD:
            return dead
        if invite.email not in (None, email):
            return "EMAIL_MISMATCH"
        if email in self.addresses:
            return "EMAIL_ALREADY_IN_USE"
        self.addresses.add(email)
        return self._use(invite, email, now)

    def validate(self, invite: Invite, now: datetime) -> str:
        """By its short code, which dies when the link is made anew."""
        if invite.rotated:
            return "INVITE_NOT_FOUND"
        return invite.dead(now) if invite.dead(now) != GOOD else self._use(invite, None, now)

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
        if uses < invite.taken(now):
            return "INVALID"
        invite.lapse(now)
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
            each.release([use for use in each.uses if use.who == who and not use.id and use.counts], "released")

    def _use(self, invite: Invite, who: str | None, now: datetime) -> str:
        """Use a plain invite: one that waited and has lapsed, if no other is left."""
        if len(invite.redeemed) + sum(each.counts for each in invite.uses) >= invite.max_uses:
            invite.lapse(now)
        return self._redeem(invite, who)

    def _redeem(self, invite: Invite, who: str | None) -> str:
        invite.redeemed.append(who)
        invite.told.append("used")
        if invite.project and who:
            self.members.add(who)
        return GOOD
