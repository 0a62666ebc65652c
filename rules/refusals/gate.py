"""The gate before a project's app: what may be refused."""

from rules.refusals.base import N_, Refusal


class PassNeeded(Refusal):
    """Nothing that was shown is a good pass for this app."""

    code = "PASS_NEEDED"
    sentence = N_("Only members may use this app: sign in, or show a pass.")


class AppNotFound(Refusal):
    """No project with this slug has an app at the host that the proxy names."""

    code = "APP_NOT_FOUND"
    sentence = N_("No project has an app at this address. The proxy names its host in X-Forwarded-Host.")
