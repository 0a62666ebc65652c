"""The gate before a project's app: what may be refused."""

from rules.refusals.base import N_, Refusal


class PassNeeded(Refusal):
    """Nothing that was shown is a good pass for this app; `url` is where its owner creates one, if one was shown."""

    code = "PASS_NEEDED"
    sentence = N_("Only members may use this app: sign in, or show a pass.")
    of_bad_pass = N_(
        "This pass cannot be used here: it was mistyped, has expired or was deleted. Create one on %(url)s."
    )

    def __init__(self, url: str | None = None) -> None:
        super().__init__(**{"url": url} if url else {})
        if url:
            self.sentence = self.of_bad_pass


class AppNotFound(Refusal):
    """No project with this slug has an app at `origin`, which is "" where the proxy names no host."""

    code = "APP_NOT_FOUND"
    sentence = N_("No project has an app at this address. The proxy names its host in X-Forwarded-Host.")

    def __init__(self, origin: str = "") -> None:
        super().__init__(**({"origin": origin} if origin else {}))
        self.origin = origin
        if origin:
            self.sentence = N_(
                "No project of this name has an app at %(origin)s. An admin can add this address on the page of the "
                "project, or set it with `invite-api project gate SLUG %(origin)s`."
            )
