"""Webhooks and what is sent to them: what may be refused."""

from rules.refusals.base import N_, Refusal


class WebhookNotFound(Refusal):
    """There is no webhook with this id."""

    code = "WEBHOOK_NOT_FOUND"
    sentence = N_("No such webhook: name one by its id; see invite-api webhook list.")


class WebhookCreated(Refusal):
    """A form that creates a webhook was sent twice."""

    code = "WEBHOOK_CREATED"
    sentence = N_(
        "This webhook has been created already, and its secret was shown then. "
        "If you have not seen it, give it a new secret."
    )


class WebhookDisabled(Refusal):
    """Nothing is sent to a webhook that is disabled."""

    code = "WEBHOOK_DISABLED"
    sentence = N_("This webhook is disabled, so nothing is sent to it. Enable it first.")


class SecretLost(Refusal):
    """A webhook's secret cannot be derived: the master secret has changed since."""

    code = "SECRET_LOST"
    sentence = N_("The secret of this webhook is lost with a former master secret. Give it a new one.")


class DeliveryNotFound(Refusal):
    """There is no delivery with this id."""

    code = "DELIVERY_NOT_FOUND"
    sentence = N_("No such delivery: name one by its id; see invite-api webhook deliveries.")
