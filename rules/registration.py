"""Six-digit codes by mail: registering without an invite, in three steps, and proving an address.

A code lives ten minutes and is looked at three times, however many tries come at once: each is
counted, in a unit of its own, before the code is compared. An address that is taken is treated like any
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
    limit_mails("register", email)
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
    limit_mails("verify", user.email)
    outbox.queue("code", user.email, code=_new_code("verify", user.email, user), user=user)


def send_reset(email: str) -> None:
    """Mail a link for a new password to an address, if it belongs to an account. Raises RateLimited.

    For any other the letter is written too, and taken back: the time it takes should not tell who is here.
    """
    limit_mails("reset", email)
    user = addresses.holder(email)
    with session().begin_nested() as written:
        outbox.queue("reset", email, user=user)
        session().flush()
        if user is None or not user.may_sign_in:
            written.rollback()


def limit_mails(purpose: str, email: str) -> None:
    """Count a mail of this purpose to an address; raises RateLimited beyond one in a minute, or five in a day."""
    for most, window in ((1, clock.MINUTE), (MAILS_A_DAY, clock.DAY)):
        counter = f"{purpose} mail in {clock.spell(window)}", email
        if counters.spend(*counter, window) > most:
            raise RateLimited(counters.seconds_left(*counter, window))


def count_try(email: str, user: User | None) -> tuple[str, int]:
    """Count a try at the code of an address, before it is looked at: the code's id, and which try it is.

    With a session it is about that account's own code. Raises NoCode.
    """
    if user is None:
        refuse_if_closed()
    mine = Code.user_id == user.id if user else Code.user_id.is_(None)
    counted = (
        session()
        .execute(
            update(Code)
            .where(Code.email == email, mine, Code.used_at.is_(None))
            .values(attempts=Code.attempts + 1)
            .returning(Code.id, Code.attempts)
            .execution_options(synchronize_session=False)
        )
        .first()
    )
    if counted is None:
        raise NoCode
    return counted[0], counted[1]


def check(code_id: str, attempt: int, digits: str, client: str) -> Code:
    """The code that was sent, spent by whoever got it right; raises what is wrong with the try."""
    now = clock.now()
    code = session().get(Code, code_id, with_for_update=True)
    if code is None or code.used_at:
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
    now = clock.now()
    code = session().scalar(
        select(Code).where(Code.purpose == "register", Code.email == email, Code.used_at.between(now - TTL, now + TTL))
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
