"""The site around the invites: who uses them, waits, joins, is let in, and may invite how many; without a database."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from faults.model import DOMAIN, GOOD, HOUR, LEASE, PROOF, Invite, Use

ADDRESSES = {name: f"{name}@example.org" for name in ("anne", "bob", "nora")}
VERIFIED = {"anne", "bob"}
PLACES, WINDOW = 3, timedelta(days=3)  # the budget of each account


@dataclass
class Pass:
    """What opens the app of the project to somebody: a browser's, until it signs out, or a program's own.

    `shown` is the header in which it is sent.
    """

    who: str
    of_program: bool
    until: datetime | None
    shown: dict[str, str]
    id: str
    ended: bool = False


@dataclass
class Site:
    """All of it. What somebody tries returns the code of its refusal, or that it went well.

    `members` has until when each is one, None for ever; `happened` counts what happened to others than invites.
    """

    invites: list[Invite] = field(default_factory=list)
    addresses: set[str] = field(default_factory=lambda: set(ADDRESSES.values()))
    gone: set[str] = field(default_factory=set)
    disabled: set[str] = field(default_factory=set)
    members: dict[str, datetime | None] = field(default_factory=dict)
    passes: list[Pass] = field(default_factory=list)
    has_key: bool = True
    verified: set[str] = field(default_factory=lambda: set(VERIFIED))
    happened: Counter[str] = field(default_factory=Counter)

    @property
    def present(self) -> list[str]:
        """Who can sign in, of those who were there at the beginning."""
        return [each for each in ADDRESSES if not self.is_away(each)]

    def is_away(self, who: str) -> bool:
        return who in self.gone or who in self.disabled

    def accept(self, invite: Invite, who: str, now: datetime) -> str:
        if self.is_away(who):
            return "UNAUTHORIZED"
        if who in invite.redeemed or (invite.project and self.is_member(who, now)):
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
        if invite.project and self.is_member(who, now):
            return "ALREADY_MEMBER"
        if invite.email == DOMAIN and who not in self.verified:
            return invite.wait(Use(who, "proof", now, now + PROOF), now)
        if invite.approve:
            return invite.wait(Use(who, "approval", now), now)
        if (dead := invite.held_out(now)) == GOOD:
            invite.lapse(now)
            self._redeem(invite, who, now)
        return dead

    def prove(self, who: str, now: datetime) -> None:
        """An account proves its address; what waits for that goes on, in any order."""
        self.verified.add(who)
        for invite in self.invites:
            mine = [each for each in invite.uses if each.who == who and not each.id]
            last = [each for each in mine if each.counts] or [each for each in mine if each.state == "lapsed"]
            if invite.email == DOMAIN and last and who not in invite.redeemed:
                self._go_on(invite, last[-1], now)

    def _go_on(self, invite: Invite, use: Use, now: datetime) -> None:
        if invite.project and self.is_member(use.who, now):  # by another invite meanwhile
            invite.release([use] if use.counts else [], "released")
        elif invite.complete(use, now) == GOOD and use.state == "done":
            self.join(invite, use.who, now)

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
        said = invite.complete(use, now) if at_once else self._renew(invite, use, now)
        return said, use if said == GOOD else None

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

    def answer(self, invite: Invite, use: Use, yes: bool, now: datetime) -> str:
        """An admin says yes or no to a use that waits for it."""
        if not yes:
            invite.release([use], "denied")
        elif invite.project and not use.id and self.is_member(use.who, now):  # by another invite meanwhile
            invite.release([use], "released")
        else:
            use.state = "done"
            invite.told.append("approved")
            self._redeem(invite, use.who, now, joins=not use.id)
        return GOOD

    def delete_key(self) -> None:
        """It goes, and what it holds is given back."""
        self.has_key = False
        self.happened["key.deleted"] += 1
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
        self.happened["user.created"] += 1
        return self._use(invite, email, now)

    def validate(self, invite: Invite, now: datetime) -> str:
        """By its short code, gone with a new link, or an extension beyond the week of the code."""
        if not invite.code_works:
            return "INVITE_NOT_FOUND"
        return invite.dead(now) if invite.dead(now) != GOOD else self._use(invite, None, now)

    def extend(self, invite: Invite, until: datetime, now: datetime, by: str | None = None) -> str:
        """For one that has expired who does it needs room in their budget, but for the shell and keys."""
        if invite.state(now) in ("used", "revoked"):
            return invite.dead(now)
        if invite.state(now) == "expired":
            if by and self.left(by, now, but=invite) < invite.max_uses:
                return "BUDGET_SPENT"
            invite.spent_at = now
        invite.expires_at = until
        invite.code_works &= not invite.code_ends or until <= invite.code_ends
        invite.told.append("extended")
        return GOOD

    def change(self, invite: Invite, uses: int, name: str | None, until: datetime | None, now: datetime) -> str:
        """As our own API does it: more time, another name, more or fewer uses; all of it or nothing."""
        if invite.state(now) in ("used", "revoked"):
            return invite.dead(now)
        if uses < invite.taken(now):
            return "INVALID"
        if uses > invite.max_uses:
            invite.spent_at = now
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
            invite.code_works = False
            invite.told.append("rotated")
        return invite.dead(now)

    def tidy(self, now: datetime) -> None:
        """What the caretaker does: it tells what is over, and changes nothing that anybody may do."""
        for each in self.invites:
            each.expire(now)
            each.lapse(now)
            each.expire(now)
        for who in [each for each in self.members if not self.is_member(each, now)]:
            self.leave(who, "expired")

    def delete(self, who: str, now: datetime) -> None:
        """An account goes; so do the open invites that it made, also those that could be extended."""
        self._revoke_all_by(who)
        self._give_back_waiting(who)
        if who in self.members:
            self.leave(who, "removed" if self.is_member(who, now) else "expired")
        self.gone.add(who)
        self.addresses.discard(ADDRESSES[who])
        self.happened["user.deleted"] += 1

    def disable(self, who: str) -> None:
        self._revoke_all_by(who)
        self._give_back_waiting(who)
        self._end_passes(who, also_browsers=True)
        self.disabled.add(who)
        self.happened["user.disabled"] += 1

    def enable(self, who: str) -> None:
        self.disabled.discard(who)
        self.happened["user.enabled"] += 1

    def _give_back_waiting(self, who: str) -> None:
        for each in self.invites:
            each.release([use for use in each.uses if use.who == who and not use.id and use.counts], "released")

    def _revoke_all_by(self, who: str) -> None:
        for each in self.invites:
            if each.inviter == who:
                each.revoke()

    def is_member(self, who: str, now: datetime) -> bool:
        until = self.members.get(who)
        return who in self.members and (until is None or until > now)

    def join(self, invite: Invite, who: str, now: datetime) -> None:
        """Become a member by an invite to the project, again if an access has ended."""
        if invite.project:
            if who in self.members:
                self.leave(who, "expired")
            self.members[who] = now + invite.access if invite.access else None
            self.happened["member.joined"] += 1

    def leave(self, who: str, how: str) -> None:
        """Be a member no more: removed, or told to have expired. The passes of programs end with that."""
        del self.members[who]
        self.happened[f"member.{how}"] += 1
        self._end_passes(who)

    def stay(self, who: str, until: datetime | None) -> None:
        """The access of a member is prolonged, or cut short."""
        self.members[who] = until
        self.happened["member.extended"] += 1

    def admits(self, shown: Pass, now: datetime) -> str:
        """Whether the gate lets in who shows this."""
        is_over = shown.until is not None and shown.until <= now
        if shown.ended or is_over or self.is_away(shown.who):
            return "PASS_NEEDED"
        return GOOD if self.is_member(shown.who, now) else "NOT_PROJECT_MEMBER"

    def end(self, shown: Pass) -> None:
        """A browser signs out, or the pass of a program is deleted."""
        shown.ended = True
        self.happened["pass.deleted"] += shown.of_program

    def _end_passes(self, who: str, also_browsers: bool = False) -> None:
        for each in self.passes:
            if each.who == who and not each.ended and (each.of_program or also_browsers):
                self.end(each)

    def invite(self, who: str, places: int, now: datetime) -> str:
        """Somebody invites so many people, if the budget permits it."""
        if self.is_away(who):
            return "UNAUTHORIZED"
        return GOOD if self.left(who, now) >= places else "BUDGET_SPENT"

    def left(self, who: str, now: datetime, but: Invite | None = None) -> int:
        """How many people an account may still invite."""
        return max(0, PLACES - sum(places for _, places in self._spent(who, now, but)))

    def back_at(self, who: str, places: int, now: datetime) -> datetime | None:
        """When so many places will be left, if nothing else happens; None if they are."""
        spent = sorted(self._spent(who, now))
        moments = (now, *(moment for moment, _ in spent))
        enough = (each for each in moments if sum(count for moment, count in spent if moment > each) <= PLACES - places)
        found = next(enough)
        return None if found == now else found

    def _spent(self, who: str, now: datetime, but: Invite | None = None) -> Iterator[tuple[datetime, int]]:
        """Places that are spent, and when they come back: of an open invite all, of another one those that are used."""
        for each in self.invites:
            if each is but or each.inviter != who or each.spent_at is None or each.spent_at + WINDOW <= now:
                continue
            regrown = each.spent_at + WINDOW
            yield regrown, each.taken(now)
            if each.is_open(now):
                yield min(regrown, each.expires_at), each.max_uses - each.taken(now)

    def _use(self, invite: Invite, who: str | None, now: datetime) -> str:
        """Use a plain invite: one that waited and has lapsed, if no other is left."""
        if len(invite.redeemed) + sum(each.counts for each in invite.uses) >= invite.max_uses:
            invite.lapse(now)
        return self._redeem(invite, who, now)

    def _redeem(self, invite: Invite, who: str | None, now: datetime, joins: bool = True) -> str:
        invite.redeemed.append(who)
        invite.told.append("used")
        if who and joins:
            self.join(invite, who, now)
        return GOOD
