"""How an error is answered: its status, its code for programs, its sentence for people."""

from collections.abc import Mapping
from typing import NotRequired, TypedDict

from flask import Response, jsonify
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from rules import refusals
from rules.refusals import N_, Invalid, Problem, Refusal
from web import contract, inviting, requests

# What browsers are told with every answer, whatever it is.
HEADERS: Mapping[str, str] = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "Vary": "Authorization, Cookie",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex, nofollow",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}

# The status of each refusal where a dialect's own documentation says nothing else.
STATUS: Mapping[type[Refusal], int] = {
    refusals.Invalid: 400,
    refusals.UnknownField: 400,
    refusals.KeyRefused: 403,
    refusals.ScopeMissing: 403,
    refusals.NoSuchKey: 404,
    refusals.KeyMade: 409,
    refusals.NotSignedIn: 401,
    refusals.InvalidCredentials: 401,
    refusals.AccountDisabled: 403,
    refusals.WrongPassword: 403,
    refusals.UserNotFound: 404,
    refusals.Forbidden: 403,
    refusals.CrossSite: 403,
    refusals.ResetInvalid: 400,
    refusals.ResetExpired: 400,
    refusals.RegistrationClosed: 403,
    refusals.NoCode: 400,
    refusals.InvalidCode: 400,
    refusals.CodeExpired: 400,
    refusals.TooManyAttempts: 400,
    refusals.EmailAlreadyVerified: 400,
    refusals.EmailNotVerified: 401,
    refusals.LetterNotFound: 404,
    refusals.WebhookNotFound: 404,
    refusals.WebhookCreated: 409,
    refusals.WebhookDisabled: 409,
    refusals.SecretLost: 409,
    refusals.DeliveryNotFound: 404,
    refusals.LegacyCodesOff: 410,
    refusals.InviteNotFound: 404,
    refusals.InviteUsed: 410,
    refusals.InviteExpired: 404,
    refusals.InviteHeld: 409,
    refusals.BudgetSpent: 429,
    refusals.MayNotInvite: 403,
    refusals.HoldNotFound: 404,
    refusals.HoldReleased: 409,
    refusals.HoldLost: 409,
    refusals.HoldDone: 409,
    refusals.NotWaiting: 409,
    refusals.InviteAlreadyExists: 400,
    refusals.ProjectNotFound: 404,
    refusals.MemberNotFound: 404,
    refusals.PassNotFound: 404,
    refusals.PassCreated: 409,
    refusals.ProjectNotGated: 409,
    refusals.TooManyPasses: 409,
    refusals.NoneChosen: 422,
    refusals.TooManyChosen: 422,
    refusals.NotProjectMember: 403,
    refusals.NotAllowed: 403,
    refusals.PassNeeded: 401,
    refusals.AppNotFound: 403,
    refusals.OwnAccount: 409,
    refusals.LastAdmin: 409,
    refusals.OwnsProjects: 409,
    refusals.AlreadyMember: 400,
    refusals.EmailMismatch: 400,
    refusals.EmailInUse: 400,
    refusals.UsernameInvalid: 400,
    refusals.UsernameTaken: 409,
    refusals.LinkLost: 409,
    refusals.IdempotencyKeyReused: 422,
    refusals.Overloaded: 503,
    refusals.RateLimited: 429,
    refusals.MailLimit: 429,
    refusals.MailUnwanted: 400,
    refusals.BlockingLinkInvalid: 404,
}


class FieldError(TypedDict):
    """What is wrong with one field; in a list `index` says of which, from 0."""

    message: str
    rule: str
    field: str
    index: NotRequired[int]


class ErrorBody(TypedDict):
    """Why not: `error` is for people, `code` for programs, `errors` is there where fields are not valid."""

    error: str
    code: str
    errors: NotRequired[list[FieldError]]


def refusal(error: Refusal | HTTPException, statuses: Mapping[type[Refusal], int] = STATUS) -> Response:
    """The JSON answer ``{"error": TEXT, "code": CODE}``, with ``errors`` for invalid fields."""
    return with_status(jsonify(body(error)), error, statuses)


def body(error: Refusal | HTTPException) -> ErrorBody:
    """The JSON body that tells a program of an error."""
    said: ErrorBody = {"error": sentence(error), "code": code(error)}
    if isinstance(error, Invalid):
        said["errors"] = [_field_error(each) for each in error.problems]
    return said


def _field_error(wrong: Problem) -> FieldError:
    told: FieldError = {"message": f"{wrong.place}: {wrong.message}", "rule": wrong.rule, "field": wrong.field}
    return told if wrong.index is None else {**told, "index": wrong.index}


def with_status(response: Response, error: Refusal | HTTPException, statuses: Mapping[type[Refusal], int]) -> Response:
    """Give an answer the status, and the headers, that go with an error."""
    if isinstance(error, MethodNotAllowed):
        row = requests.row()
        allowed = set(error.valid_methods or ()) - ({"HEAD"} if row and row.refuses_head else set())
        response.headers["Allow"] = ", ".join(sorted(allowed))
    retry_after = getattr(error, "retry_after", None) or (2 if isinstance(error, refusals.Overloaded) else None)
    if retry_after:
        response.headers["Retry-After"] = str(retry_after)
    if isinstance(error, refusals.BudgetSpent):
        response.headers.update(inviting.places_left(error.left))
    response.status_code = status(error, statuses)
    if response.status_code == 401 and isinstance(error, refusals.NotSignedIn | refusals.KeyRefused):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def status(error: Refusal | HTTPException, statuses: Mapping[type[Refusal], int]) -> int:
    """The status of the answer that says this error."""
    if not isinstance(error, Refusal):
        return error.code or 500
    row = requests.row()
    return contract.status_of(type(error), row and row.view, statuses)


def sentence(error: Refusal | HTTPException) -> str:
    """An error in one sentence for a person."""
    if isinstance(error, Refusal):
        return str(error)
    if isinstance(error, MethodNotAllowed):
        return f"This address takes {' and '.join(sorted(set(error.valid_methods or ()) - {'HEAD', 'OPTIONS'}))} only."
    if isinstance(error, requests.TooMuch):
        return str(error.description)
    return _SENTENCES.get(error.code or 500, error.description or "This request cannot be understood.")


def code(error: Refusal | HTTPException) -> str:
    """An error in one word for a program."""
    return error.code if isinstance(error, Refusal) else error.name.upper().replace(" ", "_")


_SENTENCES = {
    404: N_("There is nothing at this address."),
    413: N_("This is too much: send at most 64 KiB."),
    500: N_("Something went wrong here. It has been written to the log; nothing was changed."),
    503: N_("The invitations cannot be reached right now. Try again in a few seconds: nothing can be used twice."),
}
