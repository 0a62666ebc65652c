"""The codes of six digits that are mailed to an address, for the person who reads mail there to type."""

from contextlib import suppress

from sqlalchemy import delete

import clock
from database import session
from models import Code, User
from rules import outbox, tokens
from rules.refusals import RateLimited

TTL = 10 * clock.MINUTE
MAILS_A_DAY = 5


def create_code(purpose: str, email: str, user: User | None) -> Code:
    """Create a code for an address, in place of an older one of this purpose; `user` is the account that proves it."""
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


def limit(purpose: str, email: str) -> None:
    """Count a mail to an address; raises RateLimited beyond one in a minute or five in a day."""
    outbox.limit_mails(purpose, email, (1, clock.MINUTE), (MAILS_A_DAY, clock.DAY))


def mail_code(user: User, email: str) -> None:
    """Mail a code with which an account proves this address; raises RateLimited."""
    limit("verify", email)
    outbox.queue("code", email, code=create_code("verify", email, user), user=user)


def send_code(user: User) -> None:
    """Mail an account a code for its address, unless one was mailed there just now."""
    if user.email:
        with suppress(RateLimited):
            mail_code(user, user.email)
