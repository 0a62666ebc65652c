"""Six-digit codes by mail, for registering without an invite in three steps, and for proving an address.

A code is valid for ten minutes and compared at most three times, even if many tries come at once: each is counted, in
a unit of work of its own, before the code is compared. An address that has an account gets the same answer as any
other; only its mail says so.
"""

from collections.abc import Sequence

from sqlalchemy import select, update

import clock
from database import session
from models import Code, Invite, User
from rules import accounts, addresses, fields, outbox, proofs, tokens
from rules.accounts import Names
from rules.proofs import TTL, create_code
from rules.refusals import (
    CodeExpired,
    EmailAlreadyVerified,
    InvalidCode,
    NoCode,
    RegistrationClosed,
    TooManyAttempts,
)
from rules.sessions import Account
from settings import settings

ATTEMPTS = 3


def refuse_if_closed() -> None:
    """Raise RegistrationClosed where one can only register with an invite (INVITE_API_REGISTRATION)."""
    if not settings().open_registration:
        raise RegistrationClosed


def start(email: str) -> None:
    """Mail a code to an address; one that belongs to an account gets a mail that says so instead.

    For an address whose code was right within the last ten minutes nothing is mailed: its owner chooses a password
    now, and anyone could undo that with a new code. Raises RegistrationClosed or RateLimited.
    """
    refuse_if_closed()
    proofs.limit("register", email)
    if _confirmed(email):
        return
    holder = addresses.verified_holder(email)
    code = create_code("register", email, None)
    if holder:
        outbox.queue("known", email, user=holder)
    else:
        outbox.queue("code", email, code=code)


def start_proof(user: User) -> None:
    """Mail a code to an account's address; raises EmailAlreadyVerified, RateLimited, or NoCode without an address."""
    if user.email is None:
        raise NoCode
    if user.email_verified_at:
        raise EmailAlreadyVerified
    proofs.mail_code(user, user.email)


def is_code_awaited(account: Account) -> bool:
    """Whether a code was mailed with which this account can prove its address now."""
    mailed = Code.purpose == "verify", Code.email == account.email, Code.user_id == account.id
    good = Code.used_at.is_(None), Code.expires_at > clock.now()
    return session().scalar(select(Code.id).where(*mailed, *good)) is not None


def send_reset(email: str, project_id: str | None = None) -> None:
    """Mail a link for a new password to an address if it belongs to an account. Raises RateLimited.

    With the id of a project the link leads to the app of that afterwards.

    If that account is disabled, the mail says so, and has no link.

    For any other address the mail is written, too, and rolled back: the time it takes must not show who has an
    account.
    """
    proofs.limit("reset", email)
    user = addresses.holder(email)
    with session().begin_nested() as written:
        outbox.queue("reset", email, user=user).project_id = project_id
        session().flush()
        if user is None:
            written.rollback()


def count_try(email: str, user_id: str | None) -> tuple[str, int]:
    """Count a try at the code of an address before it is compared; returns the code's id and the number of the try.

    With the id of an account it is about that account's own code. Raises NoCode, and without one RegistrationClosed.
    """
    if user_id is None:
        refuse_if_closed()
    mine = Code.user_id == user_id if user_id else Code.user_id.is_(None)
    count = update(Code).where(Code.email == email, mine, Code.used_at.is_(None)).values(attempts=Code.attempts + 1)
    count = count.execution_options(synchronize_session=False)
    counted = session().execute(count.returning(Code.id, Code.attempts)).first()
    if counted is None:
        raise NoCode
    return counted[0], counted[1]


def check(code_id: str, attempt: int, digits: str, client: str) -> Code:
    """The code with this id, marked as used by this client, if the digits are right.

    Raises NoCode, CodeExpired, TooManyAttempts or InvalidCode.
    """
    now = clock.now()
    code = session().get(Code, code_id, with_for_update=True)
    if code is None or code.used_at:
        raise NoCode
    if code.expires_at <= now:
        raise CodeExpired
    if attempt > ATTEMPTS:
        raise TooManyAttempts
    if not tokens.is_mail_code(code.nonce, fields.digits(digits)):
        raise InvalidCode
    code.used_at, code.client = now, client
    return code


def ticket(code: Code) -> str:
    """A signed text that shows, also from another client address, that the code was right."""
    return tokens.sign("registration", code.id)


def complete(email: str, password_hash: str, client: str, shown: str | None) -> User:
    """Create the account for an address whose code was right within the last ten minutes; this works once.

    The request must come from the client that entered the code, or show its ticket: only by its ticket for an address
    that makes an admin, since a client may be a whole office. Raises NoCode, RegistrationClosed or EmailInUse.
    """
    refuse_if_closed()
    code = _confirmed(email)
    is_near = code is not None and code.client == client and email not in settings().admin_emails
    if code is None or not (is_near or tokens.unsign("registration", shown or "") == code.id):
        raise NoCode
    user = accounts.create(Names(email=email), password_hash, proven=True)
    session().delete(code)
    return user


def _confirmed(email: str) -> Code | None:
    """The code to register with this address that was right within the last ten minutes; None if there is none."""
    now = clock.now()
    right = Code.used_at.between(now - TTL, now + TTL)
    return session().scalar(select(Code).where(Code.purpose == "register", Code.email == email, right))


def prove(user: User, code: Code) -> Sequence[Invite]:
    """Give an account the address to which its code was sent, as verified; raises NoCode or EmailInUse.

    It is NoCode, too, for an account that was disabled or deleted meanwhile. Returns the invites whose uses waited for
    this proof, and go on.
    """
    if code.user_id != user.id or not user.may_sign_in:
        raise NoCode
    return addresses.prove(user, code.email)
