"""Passes of programs: what may be refused."""

from rules.refusals.base import N_, Refusal


class PassNotFound(Refusal):
    """There is no such pass."""

    code = "PASS_NOT_FOUND"
    sentence = N_("There is no such pass.")


class PassCreated(Refusal):
    """A form that creates a pass was sent twice."""

    code = "PASS_CREATED"
    sentence = N_(
        "This pass has been created already, and was shown then. "
        "If you have not seen it, delete the pass and create another one."
    )


class ProjectNotGated(Refusal):
    """A pass is for a project that has no app behind the gate."""

    code = "PROJECT_NOT_GATED"
    sentence = N_("This project has no app that a pass opens.")


class TooManyPasses(Refusal):
    """An account has as many passes as it may have."""

    code = "TOO_MANY_PASSES"
    sentence = N_("There are %(most)s passes already. Delete one that is not needed any more.")

    def __init__(self, most: int = 100) -> None:
        super().__init__(most=most)
