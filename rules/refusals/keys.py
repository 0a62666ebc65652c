"""API keys: what may be refused."""

from rules.refusals.base import N_, Refusal


class KeyRefused(Refusal):
    """There is no API key in the request, or it is not valid; `why` is a sentence that says more, or ""."""

    code = "KEY_REFUSED"
    sentence = N_(
        "An API key is needed: send the header Authorization: Bearer ID/SECRET, "
        "with a key that `invite-api create NAME` has printed."
    )

    def __init__(self, why: str = "") -> None:
        super().__init__(why)
        self.why = why

    def __str__(self) -> str:
        return f"{self.why} {self.sentence}".strip()


class ScopeMissing(Refusal):
    """The API key is good, and may not do this; `scope` is what it would need."""

    code = "SCOPE"
    sentence = N_(
        "This API key may not do this: it needs the scope %(scope)s. "
        "`invite-api create NAME --may %(scope)s` creates a key that has it."
    )

    def __init__(self, scope: str = "create") -> None:
        super().__init__(scope=scope)


class NoSuchKey(Refusal):
    """There is no API key with this id."""

    code = "KEY_NOT_FOUND"
    sentence = N_("key not found")


class KeyMade(Refusal):
    """A form that creates an API key was sent twice."""

    code = "KEY_MADE"
    sentence = N_(
        "This key has been created already, and its secret was shown then. "
        "If you have not seen it, delete the key and create another one."
    )
