"""What a value may be. Each function returns the value as it is stored, or raises Invalid with what is wrong.

Values come as text (from a query, a form or the command line) or as JSON has them. The callers take None and the
empty text for "not given" wherever a value may be left out.
"""

import difflib
import json
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from datetime import timedelta
from functools import cache, partial
from typing import Any, NoReturn

import clock
from rules import strict_json, urls
from rules.refusals import N_, Invalid, Problem, Refusal, UnknownField, UsernameInvalid, problem, together
from settings import origin, settings, texts

MAX_ADDRESS = 254
MAX_ACCESS = 3650 * clock.DAY
LARGEST_DATA = 2048  # bytes

_PLAIN_NAME = re.compile(r"[A-Za-z]+(?: [A-Za-z]+)*")
_IN_NAMES = ".'’-,&·・׳״()/_\u2010\u2011"
# A web address, or a quote that ends a text of SQL and goes on as its operators, made of what names have, too.
_NO_NAME = re.compile(
    r"//|--|\bwww\.|[\w-]+\.[^\W\d_]{2,}/|^[^(]*'\s*\)|(?<!\w)'(?!\w)|'\s*(?:or|and|union)\s+(?:'|\d|all\b|select\b)",
    re.IGNORECASE,
)
_USERNAME = re.compile(r"[a-z0-9._-]{2,30}", re.ASCII)


def plain(value: object, field: str) -> str:
    """The text, unchanged; raises Invalid for anything but text."""
    if not isinstance(value, str):
        _refuse(field, "string", "must be text")
    return value


def text(value: object, field: str, longest: int) -> str:
    """Printable text of at most `longest` characters, in Unicode's form NFC, without white space at its ends."""
    raw = plain(value, field)
    if len(raw) > 4 * longest:  # the time to normalise grows with the square of the length
        _refuse(field, "maxLength", "is longer than %(longest)s characters", longest=longest)
    kept = unicodedata.normalize("NFC", raw).strip()
    if not kept:
        _refuse(field, "required", "is empty")
    if len(kept) > longest:
        _refuse(field, "maxLength", "is longer than %(longest)s characters", longest=longest)
    _refuse_unseen(field, kept)
    return kept


def name(value: object, field: str = "name") -> str:
    """What a person is called: letters and marks of any script, digits, spaces, and what people put between them."""
    kept = text(value, field, 100)
    if _PLAIN_NAME.fullmatch(kept):
        return kept
    if odd := list(dict.fromkeys(each for each in _outside_words(kept) if each not in _IN_NAMES)):
        _refuse(
            field,
            "characters",
            "may not have %(characters)s; a name has letters, digits, spaces and . ' ’ - , & · ( ) / _ in it",
            characters=", ".join(map(texts.called, odd[:3])),
        )
    if not any(unicodedata.category(each)[0] in "LN" for each in kept):
        _refuse(field, "characters", "has no letter in it")
    if found := _NO_NAME.search(kept):
        _refuse(field, "characters", "may not have “%(part)s” in it, which is no part of a name", part=found[0].strip())
    return kept


def _outside_words(name: str) -> Iterator[str]:
    """The characters that are no letters, digits or spaces, nor joiners between letters."""
    for before, each, after in zip(f" {name[:-1]}", name, f"{name[1:]} ", strict=True):
        is_joined = each in texts.JOINERS and texts.is_letter(before) and texts.is_letter(after)
        if not (is_joined or texts.is_letter(each) or each.isdecimal() or texts.is_space(each)):
            yield each


def email(value: object) -> str:
    """One e-mail address in the form that is stored and compared: ASCII, lower case, the domain as IDNA has it."""
    address = plain(value, "email").strip(" ")
    if len(address) > MAX_ADDRESS:
        _refuse("email", "maxLength", "is longer than %(longest)s characters", longest=MAX_ADDRESS)
    _refuse_unseen("email", address)
    if "=?" in address:  # the start of an encoded word (RFC 2047), which mail programs decode
        _refuse("email", "email", "is not a valid address (example: anne@example.org)")
    if unicodedata.normalize("NFKC", address) != address:
        _refuse("email", "email", "has look-alike characters in it; type it with the plain ones")
    try:
        checked = _validator().validate_email(
            address, allow_smtputf8=False, check_deliverability=False, globally_deliverable=False, strict=True
        )
    except ValueError:
        _refuse("email", "email", "is not a valid address (example: anne@example.org)")
    # IDNA takes "。" for a dot, and drops invisible letters: two addresses would be one.
    if address.rpartition("@")[2].lower() not in (checked.domain, checked.ascii_domain):
        _refuse("email", "email", "has look-alike characters in it; type it with the plain ones")
    return f"{checked.local_part}@{checked.ascii_domain}".lower()


def invited_email(value: object) -> str:
    """For whom an invite is: one address, or ``@example.org`` for anyone with an address in exactly that domain."""
    written = plain(value, "email").strip(" ")
    if not written.startswith(("@", "*@")):
        return email(value)
    try:
        domain = domain_of(email(f"anyone{written}"))
    except Invalid:
        domain = ""
    if "." not in domain or written.startswith("*"):
        _refuse("email", "domain", "is not a valid domain (example: @example.org)")
    return domain


def is_domain(value: str | None) -> bool:
    """Whether what an invite is for is a whole domain, not one address."""
    return value is not None and value.startswith("@")


def domain_of(address: str) -> str:
    """The domain of a stored address, as ``@example.org``."""
    return "@" + address.rpartition("@")[2]


def mailbox(address: str) -> str:
    """A stored address without what follows a ``+`` in its local part: most mail servers deliver both to one person."""
    local, _, domain = address.rpartition("@")
    return f"{local.partition('+')[0] or local}@{domain}"


def is_at(address: str, domain: str) -> bool:
    """Whether a stored address is in exactly this domain, ``@example.org``; no sub-domain is."""
    return domain_of(address) == domain


def typed_name(value: str) -> str:
    """A user name or address as it is looked up: without spaces at its ends, in lower case if it is all ASCII.

    An address whose domain has other letters is looked up as it is stored. Other letters stay as they are: Unicode
    lowers the Kelvin sign to a k, which would find another's account. A NUL is replaced: PostgreSQL takes no text with
    one, and no name has one.
    """
    kept = value.strip(" ").replace("\0", "\N{REPLACEMENT CHARACTER}")
    if kept.isascii():
        return kept.lower()
    try:
        return email(kept) if "@" in kept else kept
    except Invalid:
        return kept


def digits(value: str) -> str:
    """The digits of a code as it is compared: 0 to 9, whichever script's were typed, without spaces and hyphens."""
    kept = (each for each in value if not each.isspace() and each not in "-\u2010\u2011")
    return "".join(str(unicodedata.decimal(each, each)) for each in kept)


def read(readers: Mapping[str, Callable[[Any], Any]], given: Mapping[str, Any]) -> dict[str, Any]:
    """The values that were given, by the names of their readers. None and "" count as not given.

    Raises Invalid with everything that is wrong, not only the first; UsernameInvalid if that is all.
    """
    wanted = [name for name in readers if given.get(name) not in (None, "")]
    try:
        return {name: readers[name](given[name]) for name in wanted}
    except Refusal:  # once more, for all that is wrong: to gather it each time would cost what is right
        together(*(partial(readers[name], given[name]) for name in wanted))
        raise


def refuse_empty(given: Mapping[str, object]) -> None:
    """Raise Invalid for all fields that are an empty text: for a caller who can leave a field out, it is a mistake."""
    if empty := [name for name, value in given.items() if value == ""]:
        raise Invalid(*(problem(name, "required", "is empty") for name in empty))


def refuse_unknown(given: Iterable[str], known: Collection[str]) -> None:
    """Raise UnknownField for the first five names that are not known, each with the one that was probably meant."""
    unknown = [each for each in given if each not in known]
    if unknown:
        raise UnknownField(*(_unknown(each, known) for each in unknown[:5]))


def _unknown(name: str, known: Collection[str]) -> Problem:
    near = difflib.get_close_matches(name[:50], known, 1)
    shown = "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in name[:50])
    if near:
        return Problem(shown, "unknown", N_("is unknown; did you mean %(near)s?"), {"near": near[0]})
    names = ", ".join(known) or "none"
    return Problem(shown, "unknown", N_("is unknown; there are: %(known)s"), {"known": names})


def username(value: object) -> str:
    """A user name in lower case: 2 to 30 of a-z 0-9 . _ - Raises UsernameInvalid."""
    kept = value.lower() if isinstance(value, str) and value.isascii() else ""
    if not _USERNAME.fullmatch(kept):
        raise UsernameInvalid
    return kept


def ttl(value: object) -> timedelta | None:
    """How long an invite is valid, from text such as ``3d`` or a number of seconds; None for ``never``."""
    written = _digits(value, "ttl")
    if written.strip().lower() == "never":
        return None
    length = duration(written, "ttl", N_("must be a number and a unit, such as 7d, 12h, 30m or 2 weeks"))
    longest = settings().invite_ttl_max
    if not clock.MINUTE <= length <= longest:
        _refuse("ttl", "range", "must be between 1m and %(longest)s", longest=clock.spell(longest))
    return length


def duration(written: str, field: str, otherwise: str) -> timedelta:
    """A length of time; raises Invalid, with the text `otherwise` for what is none."""
    try:
        return clock.duration(written)
    except clock.AmbiguousUnit:
        _refuse(field, "duration", "has an M, which may be minutes or months: write 30m or 30min, or days such as 90d")
    except ValueError:
        raise Invalid.at(field, "duration", otherwise) from None


def count(value: object, field: str, most: int) -> int:
    """A whole number from 1 to `most`."""
    written = _digits(value, field)
    if not re.fullmatch("[0-9]{1,9}", written, re.ASCII) or not 1 <= int(written) <= most:
        _refuse(field, "range", "must be a whole number from 1 to %(most)s", most=most)
    return int(written)


def number(value: object, field: str, most: int) -> int:
    """A whole number from 1 to `most`, as JSON has one: a text with digits in it is none."""
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= most:
        _refuse(field, "range", "must be a whole number from 1 to %(most)s", most=most)
    return value


def boolean(value: object, field: str) -> bool:
    """True or false, as JSON has them."""
    if not isinstance(value, bool):
        _refuse(field, "boolean", "must be true or false")
    return value


def flag(value: object, field: str) -> bool:
    """True or false, as JSON has them or as a form or a query says them: yes, on, true, 1, or no, off, false, 0."""
    known = {**dict.fromkeys(("yes", "on", "true", "1"), True), **dict.fromkeys(("no", "off", "false", "0"), False)}
    if isinstance(value, str) and (said := known.get(value.strip().lower())) is not None:
        return said
    return boolean(value, field)


def access(value: object, field: str = "access") -> timedelta | None:
    """How long a guest stays in the project, or a pass is valid, from text such as ``30d``; None if it never ends.

    That is said by ``never`` or ``forever``.
    """
    written = _digits(value, field)
    if written.strip().lower() in ("never", "forever"):
        return None
    length = duration(written, field, N_("must be a number and a unit, such as 30d or 12 weeks"))
    if not clock.MINUTE <= length <= MAX_ACCESS:
        _refuse(field, "range", "must be between 1m and %(longest)s", longest=clock.spell(MAX_ACCESS))
    return length


def data(value: object) -> str:
    """A JSON object of at most 2 KiB for the operator's programs, given as one or as its text; as text."""
    try:
        read = strict_json.decode(value) if isinstance(value, str) else value
        written = json.dumps(read, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
        size = len(written.encode())  # or an unpaired surrogate is found
    except (ValueError, RecursionError):
        _refuse("data", "json", 'must be a JSON object, such as {"seat": 12}')
    if not isinstance(read, Mapping):
        _refuse("data", "object", 'must be a JSON object, such as {"seat": 12}')
    if size > LARGEST_DATA:
        _refuse("data", "maxLength", "is longer than %(longest)s bytes", longest=LARGEST_DATA)
    return written


def json_data(value: object) -> str:
    """As `data`, as JSON has one: a text with an object in it is none."""
    return data(None if isinstance(value, str) else value)


def role(value: object) -> str:
    """The role that an invite gives in its project: ``member`` or ``admin``."""
    kept = plain(value, "role")
    if kept not in ("member", "admin"):
        _refuse("role", "enum", "must be member or admin")
    return kept


def redirect_url(value: object) -> str:
    """The URL to which a guest may go after accepting: https, or http on this machine or at a listed origin.

    Where INVITE_API_REDIRECT_ORIGINS lists origins, only to one of them or to this service.
    """
    url = plain(value, "redirect_url")
    urls.refuse_odd(url, "redirect_url")
    try:
        target = origin(url)
    except ValueError:
        _refuse("redirect_url", "url", "must be a whole URL such as https://app.example.org/start, without a password")
    allowed = settings().redirect_origins
    is_ours = target in (*allowed, settings().origin)
    if not (target.startswith("https://") or is_ours or urls.is_local(target)):
        _refuse("redirect_url", "url", "must start with https://")
    if allowed and not is_ours:
        facts = {"target": target, "origins": ", ".join(allowed)}
        _refuse("redirect_url", "origin", "may not lead to %(target)s; permitted are %(origins)s", **facts)
    return url


@cache
def _validator() -> Any:
    """The module email_validator: slow to load, so on first use. Made to take names of home networks such as .local."""
    import email_validator

    email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()
    return email_validator


def _digits(value: object, field: str) -> str:
    """A number as it is written, whether it came as text or as a number."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else plain(value, field)


def _refuse_unseen(field: str, text: str) -> None:
    if unseen := texts.unseen(text):
        _refuse(
            field,
            "characters",
            "has a line break, or another character that cannot be seen, in it: %(character)s",
            character=texts.called(text[unseen[0]]),
        )


def _refuse(field: str, rule: str, text: str, **facts: object) -> NoReturn:
    raise Invalid.at(field, rule, text, **facts)
