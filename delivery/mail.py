"""Letters as mail: what they say, and how they go to the mail server."""

import re
import smtplib
import ssl
import unicodedata
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import default
from functools import cache
from urllib.parse import unquote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

import clock
import language
from config import CHECKOUT, settings
from language import say
from models import Letter
from rules import accounts, invites, tokens

PATIENCE = 30  # seconds for each step of talking to the mail server
_WHOLE_LINES = default.clone(max_line_length=998)  # a link should be one piece in the mail's source too
_TAME = " .,'’-!?&()"
Facts = dict[str, object]

_HERE = ("localhost", "127.0.0.1", "::1")


def compose(letter: Letter) -> EmailMessage | None:
    """The mail that a letter is, in the language of this place, or None if what it says is no longer so."""
    with language.using(settings().language):
        told = _TELL[letter.kind](letter)
        return _written(letter, *told) if told else None


def _written(letter: Letter, subject: str, facts: Facts) -> EmailMessage:
    facts = {**facts, "site": settings().site_name, "language": language.current()}
    message = EmailMessage(_WHOLE_LINES)
    message["Subject"] = subject
    message["From"] = settings().mail_from
    message["To"] = Address(addr_spec=letter.recipient)
    message["Date"] = letter.created_at
    message["Message-ID"] = f"<{letter.id}@{urlsplit(settings().public_url).hostname}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(_templates().get_template(f"{letter.kind}.txt").render(facts))
    message.add_alternative(_templates().get_template(f"{letter.kind}.html").render(facts), subtype="html")
    return message


def send(message: EmailMessage) -> str | None:
    """Hand a mail to the server of SMTP_URL; None if it took it, else what went wrong."""
    server = urlsplit(settings().smtp_url)
    try:
        with _connect(server.scheme, server.hostname or "", server.port) as connection:
            if server.username:
                connection.login(unquote(server.username), unquote(server.password or ""))
            connection.send_message(message)
    except (smtplib.SMTPException, OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return None


def tame(text: str) -> str:
    """Somebody's words without anything that a mail program would make a link of, or that turns text about."""
    kept = "".join(each if unicodedata.category(each)[0] in "LMN" or each in _TAME else " " for each in text)
    return " ".join(re.sub(r"\.(?=\S)", " ", kept).split())


def _called(name: str) -> str:
    """A name as it may stand in a mail; the operator's own is left as it is."""
    return name if name == settings().site_name else tame(name)


def _connect(scheme: str, host: str, port: int | None) -> smtplib.SMTP:
    """A connection that is encrypted to a server which proved its name; in the clear only to this machine."""
    trust = ssl.create_default_context()
    if scheme == "smtps":
        return smtplib.SMTP_SSL(host, port or 465, timeout=PATIENCE, context=trust)
    connection = smtplib.SMTP(host, port or 587, timeout=PATIENCE)
    if host not in _HERE:
        try:
            connection.starttls(context=trust)
        except (smtplib.SMTPException, OSError):
            connection.close()
            raise
    return connection


def _tell_invite(letter: Letter) -> tuple[str, Facts] | None:
    invite = invites.find_by_id(letter.invite_id or "")
    if invite.state(clock.now()) != "active" or invite.mail_token_hash is None:
        return None
    told = invites.told(invite)
    inviter, to = _called(told.inviter), _called(told.to)
    link = invites.link(invites.mail_token(invite))
    facts: Facts = {"inviter": inviter, "to": to, "link": link, "until": told.expires_at}
    return say("Your invitation to %(to)s", to=to), facts


def _tell_code(letter: Letter) -> tuple[str, Facts] | None:
    code = letter.code
    if code is None or code.used_at or code.expires_at <= clock.now():
        return None
    if code.user_id and (letter.user is None or letter.user.email != code.email):
        return None
    digits = tokens.mail_code(code.nonce)
    subject = say("%(digits)s is your code for %(site)s", digits=digits, site=settings().site_name)
    return subject, {"digits": digits}


def _tell_known(letter: Letter) -> tuple[str, Facts] | None:
    user = letter.user
    if user is None or user.email != letter.recipient or letter.created_at <= clock.now() - clock.DAY:
        return None
    subject = say("You have an account at %(site)s", site=settings().site_name)
    return subject, {"link": f"{settings().public_url}/login"}


def _tell_reset(letter: Letter) -> tuple[str, Facts] | None:
    user, now = letter.user, clock.now()
    left = letter.created_at + accounts.MAILED_RESET_TTL - now
    if user is None or not user.may_sign_in or user.email != letter.recipient or left <= clock.SECOND:
        return None
    link = accounts.mailed_reset_link(user, left)
    subject = say("A new password for %(site)s", site=settings().site_name)
    return subject, {"link": link, "called": tame(user.called)}


_TELL = {"invite": _tell_invite, "code": _tell_code, "known": _tell_known, "reset": _tell_reset}


@cache
def _templates() -> Environment:
    folder = FileSystemLoader(CHECKOUT / "templates" / "mail")
    made = Environment(loader=folder, autoescape=select_autoescape(), undefined=StrictUndefined)
    language.teach(made)
    return made
