"""A letter as a mail: how it is composed, and how it is handed to the mail server."""

import re
import smtplib
import ssl
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import default
from functools import cache
from urllib.parse import unquote, urlsplit

from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

import clock
import language
from delivery import colours
from language import say
from models import Letter
from rules import admins, blocked_addresses, invitations, invites, projects, resets, tokens, waiting
from rules.refusals import N_
from settings import HOME, settings, texts

MAX_REPLY = 500  # characters of it are kept
TIMEOUT = 30  # seconds for each answer of the mail server
_UNWRAPPED = default.clone(max_line_length=998)  # so that a link is not broken in two in the mail's source
_HARMLESS = " .,'’-!?&()·・׳״/_\u2010\u2011"
Facts = dict[str, object]
Content = tuple[str, Facts]

_HERE = ("localhost", "127.0.0.1", "::1")
_ABOUT_THE_MAIL = (smtplib.SMTPSenderRefused, smtplib.SMTPRecipientsRefused, smtplib.SMTPDataError)
_ABOUT_ACCESS = (530, 534, 535, 538)
_TOO_LONG = 552
# Of a reply to the recipient or the text, which many servers give only there: the sender or this server is refused.
_ABOUT_US = re.compile(
    r"\b5\.1\.[78]\b|\b5\.5\.\d|\b(?:helo|ehlo|sender|sendasdenied|client host|relay(?:ing)?)\b", re.IGNORECASE
)
_NAME = re.compile(r"(?:[a-z0-9-]+\.)+[a-z0-9-]*[a-z][a-z0-9-]*", re.ASCII)


def compose(letter: Letter) -> EmailMessage | None:
    """The mail of a letter, in the language of the settings; None if the letter no longer applies.

    A letter no longer applies if, for example, its invite was used or its code has expired.
    """
    with language.using(settings().language):
        content = CONTENTS[letter.kind](letter)
        return rendered(letter, *content) if content else None


def rendered(letter: Letter, subject: str, facts: Facts) -> EmailMessage:
    """A mail with this subject, in plain text and in HTML. The letter's kind names the templates."""
    accent = settings().accent
    look: Facts = {"subject": subject, "accent": accent, "on_accent": colours.text_on(accent)}
    facts = {**facts, **look, "site": settings().site_name, "language": language.current()}
    message = EmailMessage(_UNWRAPPED)
    message["Subject"] = subject
    message["From"] = settings().mail_from
    message["To"] = Address(addr_spec=letter.recipient)
    message["Date"] = letter.created_at
    message["Message-ID"] = f"<{letter.id}@{urlsplit(settings().public_url).hostname}>"
    message["Auto-Submitted"] = "auto-generated"
    text = templates().get_template(f"{letter.kind}.txt").render(facts)
    message.set_content(re.sub("\n{3,}", "\n\n", text).strip() + "\n")
    if stop := facts.get("stop"):
        message["List-Unsubscribe"] = f"<{stop}>"
        if str(stop).startswith("https:"):  # RFC 8058 has it for no other
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
    message.add_alternative(templates().get_template(f"{letter.kind}.html").render(facts), subtype="html")
    return message


@dataclass(frozen=True)
class Failure:
    """Why a mail was not sent, as a text; `is_final` if the server will never take this one, whenever it is tried."""

    text: str
    is_final: bool = False


def send(message: EmailMessage) -> Failure | None:
    """Hand a mail to the server of SMTP_URL. Returns None if the server took it, else why it did not."""
    server = urlsplit(settings().smtp_url)
    try:
        with connected(server.scheme, server.hostname or "", server.port) as connection:
            if server.username:
                connection.login(unquote(server.username), unquote(server.password or ""))
            hand_over(connection, message)
    except (smtplib.SMTPException, OSError, ValueError) as error:
        return failure_of(error)
    return None


def hand_over(connection: smtplib.SMTP, message: EmailMessage) -> None:
    """Send a mail by a connection; raises smtplib.SMTPException or OSError. Only ASCII where that is all it takes."""
    connection.ehlo_or_helo_if_needed()
    takes_8_bits = connection.has_extn("8bitmime")
    if not takes_8_bits:
        message.policy = message.policy.clone(cte_type="7bit")
    connection.send_message(message, mail_options=["BODY=8BITMIME"] if takes_8_bits else [])


def failure_of(error: Exception) -> Failure:
    """What an error says of a mail that was not sent.

    A reply 5xx to its recipient or its text is final. One to the greeting, the login or the sender is about us, and so
    is one that asks for a login or encryption (530, 534, 535, 538), or that says at the recipient what is wrong with
    the greeting or the sender: the operator can put that right, and until then all letters wait.
    """
    code: int = 0
    reply: bytes | str = b""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        ((code, reply),) = error.recipients.values()  # a mail has one recipient
    elif isinstance(error, smtplib.SMTPResponseException):
        code, reply = error.smtp_code, error.smtp_error
    words = reply.decode(errors="replace") if isinstance(reply, bytes) else reply
    text = " ".join(f"{code} {words}".split()) if code else str(error)
    is_ours = code in _ABOUT_ACCESS or isinstance(error, smtplib.SMTPSenderRefused) or _ABOUT_US.search(text)
    is_final = isinstance(error, _ABOUT_THE_MAIL) and 500 <= code < 600 and (code == _TOO_LONG or not is_ours)
    return Failure(f"{type(error).__name__}: {text[:MAX_REPLY]}", is_final)


def harmless(text: str) -> str:
    """A text of a user without what a mail program would turn into a link, or what reverses the text's direction."""
    kept = "".join(each if each in texts.JOINERS or _is_harmless(each) else " " for each in text)
    alone = set(texts.unseen(kept))
    kept = "".join(each for place, each in enumerate(kept) if place not in alone)
    return " ".join(re.sub(r"\.(?=\S)", " ", kept).split())


def _is_harmless(character: str) -> bool:
    return unicodedata.category(character)[0] in "LMN" or character in _HARMLESS


def harmless_name(name: str) -> str:
    """A name as it may stand in a mail. The name of the site is the operator's own, and stays as it is."""
    return name if name == settings().site_name else harmless(name)


def harmless_message(text: str) -> str:
    """What an inviter says to a guest, without what a mail program would turn into a link: ``example. org``."""
    return re.sub(r"(?<=[^\s.。．｡])([.。．｡])(?=[^\W\d_])", r"\1 ", re.sub(r"(?<=\S)[@＠](?=\S)", " @ ", text))


@contextmanager
def connected(scheme: str, host: str, port: int | None) -> Iterator[smtplib.SMTP]:
    """A connection to a mail server, which is closed at the end; raises smtplib.SMTPException or OSError.

    It is encrypted, and the server's certificate verified. This machine's own server need not prove who it is,
    since its certificate is seldom one that could, and need not encrypt: what it offers is used.
    """
    trust, name = ssl.create_default_context(), own_name()
    if host in _HERE:
        trust.check_hostname, trust.verify_mode = False, ssl.CERT_NONE
    if scheme == "smtps":
        connection: smtplib.SMTP = smtplib.SMTP_SSL(host, port or 465, name, timeout=TIMEOUT, context=trust)
    else:
        connection = smtplib.SMTP(host, port or 587, name, timeout=TIMEOUT)
    try:
        if scheme == "smtp":
            start_tls(connection, trust, required=host not in _HERE)
        yield connection
    finally:
        with suppress(smtplib.SMTPException, OSError):  # what was sent is sent, however the server says goodbye
            connection.quit()
        connection.close()


def own_name() -> str | None:
    """The name by which we greet a mail server: the host of PUBLIC_URL; None where that is no name with a dot.

    Many servers refuse any other: what a machine or a container calls itself is seldom a whole name.
    """
    host = urlsplit(settings().public_url).hostname or ""
    return host if _NAME.fullmatch(host) else None


def start_tls(connection: smtplib.SMTP, trust: ssl.SSLContext, required: bool) -> None:
    """Encrypt a connection; unless that is `required`, only if the server offers it and does not refuse it then."""
    connection.ehlo_or_helo_if_needed()
    if required:
        connection.starttls(context=trust)
    elif connection.has_extn("starttls"):
        with suppress(smtplib.SMTPResponseException):  # "454 TLS not available": its certificate cannot be read
            connection.starttls(context=trust)


def invitation(letter: Letter) -> Content | None:
    """The mail with the link of an invite; None if it is no longer active, or its person wants no more of them."""
    invite = invites.find_by_id(letter.invite_id or "")
    if invite.state(clock.now()) != "active" or invite.mail_token_hash is None:
        return None
    if blocked_addresses.blocked_since(letter.recipient):
        return None
    shown = invitations.of(invite)
    inviter, to = harmless_name(shown.inviter), harmless_name(shown.to)
    link = invites.link(invites.mail_token(invite))
    facts: Facts = {"inviter": inviter, "to": to, "link": link, "until": shown.expires_at}
    facts |= {"called": harmless(shown.name or ""), "message": harmless_message(shown.message or "")}
    facts |= {"stop": blocked_addresses.link(letter.recipient), "by_site": shown.is_by_site}
    return say("Your invitation to %(to)s", to=to), facts


def verification_code(letter: Letter) -> Content | None:
    """The mail with a code of digits; None if the code was used or expired, or the account's address has changed."""
    code = letter.code
    if code is None or code.used_at or code.expires_at <= clock.now():
        return None
    if code.user_id and (letter.user is None or letter.user.email != code.email):
        return None
    digits = tokens.mail_code(code.nonce)
    subject = say("%(digits)s is your code for %(site)s", digits=digits, site=settings().site_name)
    return subject, {"digits": digits}


def account_exists(letter: Letter) -> Content | None:
    """The mail that says that there is an account with this address; None after a day, or if that has changed."""
    user = letter.user
    if user is None or user.email != letter.recipient or letter.created_at <= clock.now() - clock.DAY:
        return None
    subject = say("You have an account at %(site)s", site=settings().site_name)
    return subject, {"link": f"{settings().public_url}/login"}


def password_reset(letter: Letter) -> Content | None:
    """The mail with a link to set a new password, or that says that the account is disabled.

    None if the link would have expired, or the address is no longer the account's.
    """
    user, now = letter.user, clock.now()
    left = letter.created_at + resets.MAILED_TTL - now
    if user is None or user.email != letter.recipient or left <= clock.SECOND:
        return None
    called = harmless(user.called)
    if user.disabled_at:
        return say("Your account at %(site)s is disabled", site=settings().site_name), {"link": None, "called": called}
    link = resets.mailed_link(user, left, letter.project.slug if letter.project else None)
    subject = say("A new password for %(site)s", site=settings().site_name)
    return subject, {"link": link, "called": called}


def access_ending(letter: Letter) -> Content | None:
    """The mail that says when an access to a project ends; None if it was extended or has ended, or another address."""
    user, project = letter.user, letter.project
    member = projects.find_member(project, user) if user and project else None
    if member is None or member.ends_at is None or member.warned_at != letter.created_at:
        return None
    if not member.user.may_sign_in or member.user.email != letter.recipient:
        return None
    facts: Facts = {"project": harmless(member.project.name), "day": language.current().day(member.ends_at)}
    subject = say("Your access to %(project)s ends on %(day)s", **facts)
    return subject, {**facts, "until": member.ends_at, "called": harmless(member.user.called)}


def approved(letter: Letter) -> Content | None:
    """The mail that says that a guest has joined; None if that no longer holds, or the address has changed."""
    return _outcome(letter, "approved", N_("You've joined %(to)s"))


def denied(letter: Letter) -> Content | None:
    """The mail that says that a guest's request was not approved; None if another one waits, or was, meanwhile."""
    return _outcome(letter, "denied", N_("Your request to join %(to)s was not approved"))


def webhook_disabled(letter: Letter) -> Content | None:
    """The mail to an admin that says that a webhook was disabled; None if it is enabled again or gone, or so are they.

    The path of its URL is left out: receivers have secrets in theirs.
    """
    user, webhook = letter.user, letter.webhook
    if user is None or user.email != letter.recipient or not (user.may_sign_in and admins.is_admin(user)):
        return None
    if webhook is None or webhook.disabled_at is None or webhook.why is None:
        return None
    host = urlsplit(webhook.url).hostname or ""
    link = f"{settings().public_url}/admin/webhooks/{webhook.id}"
    facts: Facts = {"host": host, "why": webhook.why, "link": link, "called": harmless(user.called)}
    return say("The webhook to %(host)s was disabled", host=host), facts


def _outcome(letter: Letter, said: str, subject: str) -> Content | None:
    user = letter.user
    if user is None or user.email != letter.recipient or not user.may_sign_in:
        return None
    if letter.invite is None or waiting.outcome(letter.invite.id, user) != said:
        return None
    shown = invitations.of(letter.invite)
    inviter, to = harmless_name(shown.inviter), harmless_name(shown.to)
    facts: Facts = {"called": harmless(user.called), "inviter": inviter, "to": to}
    return say(subject, to=to), {**facts, "link": f"{settings().public_url}/account"}


# What each kind of letter says: its subject, and the facts for its templates.
CONTENTS = {
    "invite": invitation,
    "code": verification_code,
    "known": account_exists,
    "reset": password_reset,
    "ending": access_ending,
    "approved": approved,
    "denied": denied,
    "webhook": webhook_disabled,
}


@cache
def templates() -> Environment:
    """The templates of mail, with the functions for translated texts."""
    folder = FileSystemLoader(HOME / "templates" / "mail")
    environment = Environment(loader=folder, autoescape=select_autoescape(), undefined=StrictUndefined)
    language.install(environment)
    return environment
