"""Six-digit codes by mail: registering without an invite, in three steps, and proving an address.

A code lives ten minutes and is looked at three times, however many tries come at once: each is
counted and committed before the code is compared. An address that is taken is treated like any
other; only its mail says so.
"""

from sqlalchemy import delete, select, update

import clock
from config import settings
from database import session
from models import Code, User
from rules import accounts, addresses, counters, outbox, tokens
from rules.accounts import Names
from rules.refusals import (
    CodeExpired,
    EmailAlreadyVerified,
    InvalidCode,
    NoCode,
    RateLimited,
    RegistrationClosed,
    TooManyAttempts,
)

TTL = 10 * clock.MINUTE
ATTEMPTS = 3
MAILS_A_DAY = 5


def refuse_if_closed() -> None:
    """Raise RegistrationClosed where one can only register with an invite."""
    if not settings().open_registration:
        raise RegistrationClosed


def start(email: str) -> None:
    """Send a code to an address; one that belongs to an account gets another mail. Raises RateLimited."""
    refuse_if_closed()
    limit_mails(email)
    holder = addresses.verified_holder(email)
    code = _new_code("register", email, None)
    if holder:
        outbox.queue("known", email, user=holder)
    else:
        outbox.queue("code", email, code=code)


def start_proof(user: User) -> None:
    """Send a code to an account's own address; raises EmailAlreadyVerified, NoCode without an address."""
    if user.email is None:
        raise NoCode
    if user.email_verified_at:
        raise EmailAlreadyVerified
    limit_mails(user.email)
    outbox.queue("code", user.email, code=_new_code("verify", user.email, user))


def send_reset(email: str) -> None:
    """Mail a link for a new password to an address, if it belongs to an account. Raises RateLimited."""
    limit_mails(email)
    user = addresses.holder(email)
    if user and user.may_sign_in:
        outbox.queue("reset", email, user=user)


def limit_mails(email: str) -> None:
    """Count a mail to an address; raises RateLimited beyond one in a minute, or five in a day."""
    if counters.spend("mail in a minute", email, clock.MINUTE) > 1:
        raise RateLimited(60)
    if counters.spend("mail in a day", email, clock.DAY) > MAILS_A_DAY:
        raise RateLimited(24 * 3600)


def count_try(purpose: str, email: str) -> int:
    """Count a try at a code, before it is looked at; which one it is. Raises NoCode."""
    if purpose == "register":
        refuse_if_closed()
    counted = session().scalar(
        update(Code)
        .where(Code.purpose == purpose, Code.email == email, Code.used_at.is_(None))
        .values(attempts=Code.attempts + 1)
        .returning(Code.attempts)
        .execution_options(synchronize_session=False)
    )
    if counted is None:
        raise NoCode
    return counted


def check(purpose: str, email: str, digits: str, attempt: int, client: str) -> Code:
    """The code that was sent, spent by whoever got it right; raises what is wrong with the try."""
    now = clock.now()
    code = session().scalar(select(Code).where(Code.purpose == purpose, Code.email == email, Code.used_at.is_(None)))
    if code is None:
        raise NoCode
    if code.expires_at <= now:
        raise CodeExpired
    if attempt > ATTEMPTS:
        raise TooManyAttempts
    if not tokens.is_mail_code(code.nonce, digits):
        raise InvalidCode
    code.used_at, code.client = now, client
    return code


def ticket(code: Code) -> str:
    """What shows, from another client address, that one has verified."""
    return tokens.sign("registration", code.id)


def complete(email: str, password_hash: str, client: str, shown: str | None) -> User:
    """Make the account for an address whose code was right within ten minutes; once. Raises NoCode."""
    refuse_if_closed()
    code = session().scalar(
        select(Code).where(Code.purpose == "register", Code.email == email, Code.used_at > clock.now() - TTL)
    )
    if code is None or not (code.client == client or tokens.unsign("registration", shown or "") == code.id):
        raise NoCode
    user = accounts.create(Names(email=email), password_hash, proven=True)
    session().delete(code)
    return user


def prove(user: User, code: Code) -> None:
    """Let an account have the address that its code was sent to."""
    if code.user_id != user.id:
        raise NoCode
    addresses.prove(user, code.email)


def _new_code(purpose: str, email: str, user: User | None) -> Code:
    now = clock.now()
    session().execute(delete(Code).where(Code.purpose == purpose, Code.email == email))
    code = Code(
        id=clock.new_id(),
        purpose=purpose,
        email=email,
        user_id=user.id if user else None,
        nonce=tokens.new_nonce(),
        created_at=now,
        expires_at=now + TTL,
    )
    session().add(code)
    session().flush()
    return code
