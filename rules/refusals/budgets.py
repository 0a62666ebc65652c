"""Inviting as a person: what may be refused."""

from datetime import datetime

import clock
from rules.refusals.base import N_, Refusal


class BudgetSpent(Refusal):
    """An account has fewer places left to invite people than it asks for; enough are back at `back_at`."""

    code = "BUDGET_SPENT"
    sentence = N_("You have no invitations left. You can invite again after %(back_at)s.")
    sentence_if_some = N_("You can invite %(left)s more people now, and not %(places)s. More after %(back_at)s.")

    def __init__(self, left: int, places: int, back_at: datetime) -> None:
        super().__init__(left=left, places=places, back_at=back_at)
        self.left = left
        self.retry_after = clock.seconds_until(back_at)
        if left:
            self.sentence = self.sentence_if_some


class MayNotInvite(Refusal):
    """An account may invite nobody; one that is too new may after `back_at`, one whose own invite waits not yet."""

    code = "MAY_NOT_INVITE"
    sentence = N_("You cannot invite people here.")
    sentence_if_waiting = N_("You can invite people once your own invitation has been confirmed.")
    sentence_if_new = N_("Your account is too new to invite people. You can invite after %(back_at)s.")

    def __init__(self, back_at: datetime | None = None, waits: bool = False) -> None:
        super().__init__(back_at=back_at)
        self.waits = waits
        if back_at:
            self.sentence = self.sentence_if_new
        elif waits:
            self.sentence = self.sentence_if_waiting
