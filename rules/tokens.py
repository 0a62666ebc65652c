"""Secrets: how they are derived, hashed and compared.

An invite's token is HMAC-SHA256(subkey, nonce), in hex. The row keeps the nonce and the token's
SHA-256: a stolen database opens nothing, whoever has the master secret too can show a link again,
and a link works even if the master secret is lost.
"""

import hashlib
import hmac
import re
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, unquote

from itsdangerous import BadData, URLSafeSerializer
from itsdangerous.encoding import base64_decode, base64_encode

import clock
from config import settings
from rules.refusals import LinkLost

_TOKEN = re.compile(r"[0-9a-f]{64}", re.ASCII)


def is_token(text: str) -> bool:
    """Whether this could be an invite's token: 64 lower-case hex characters."""
    return _TOKEN.fullmatch(text) is not None


def in_query(query: str) -> str:
    """The token in a link's query: ``TOKEN``, ``t=TOKEN`` or ``token=TOKEN``, whatever follows it.

    A ``=`` behind it is none of it. What is named twice names nothing: "".
    """
    first = unquote(query.partition("&")[0]).removesuffix("=")
    if is_token(first):
        return first
    named = parse_qs(query)
    for name in ("token", "t"):
        if name in named:
            return named[name][0].removesuffix("=") if len(named[name]) == 1 else ""
    return first


def in_text(text: str) -> str:
    """The token in what somebody typed or pasted: a token, or a whole link with one."""
    pasted = re.sub(r"\s", "", text)
    return (in_query(pasted.partition("?")[2].partition("#")[0]) if "?" in pasted else pasted).lower()


def new_nonce() -> str:
    """What makes one invite's token differ from all others'."""
    return clock.random_hex(16)


def invite_token(nonce: str) -> str:
    """The token, 64 lower-case hex characters, that belongs to a new invite's nonce."""
    return _derive(settings().secrets[0], "invite link", nonce)


def shown_again(nonce: str, token_hash: str) -> str:
    """The token of a stored invite; raises LinkLost where no master secret we have made it."""
    return _derived_again("invite link", nonce, token_hash)


def mail_token(nonce: str) -> str:
    """The second token of a new invite, which appears in its mail and nowhere else."""
    return _derive(settings().secrets[0], "mailed link", nonce)


def mail_token_shown_again(nonce: str, mail_token_hash: str) -> str:
    """Likewise of a stored invite; raises LinkLost."""
    return _derived_again("mailed link", nonce, mail_token_hash)


def mail_code(nonce: str) -> str:
    """The six digits that are mailed."""
    return _digits(settings().secrets[0], nonce)


def is_mail_code(nonce: str, digits: str) -> bool:
    """Whether these are the six digits that were mailed, under any of our master secrets."""
    return any(hmac.compare_digest(_digits(secret, nonce).encode(), digits.encode()) for secret in settings().secrets)


def legacy_code(nonce: str) -> str:
    """The 12 hex characters that are a second, deprecated name of a new invite."""
    return _derive(settings().secrets[0], "legacy code", nonce)[:12]


def legacy_shown_again(nonce: str, legacy_hash: str) -> str | None:
    """The short code of a stored invite; None where no master secret we have made it."""
    for secret in settings().secrets:
        code = _derive(secret, "legacy code", nonce)[:12]
        if hmac.compare_digest(_derive(secret, "legacy look-up", code), legacy_hash):
            return code
    return None


def legacy_hashes(code: str) -> list[str]:
    """What a short code may be stored under. Keyed: 48 bits under a plain hash are found in hours."""
    return [_derive(secret, "legacy look-up", code) for secret in settings().secrets]


def successor(refresh_token: str) -> str:
    """What follows a refresh token, 64 hex characters: always the same for the same token."""
    return _derive(settings().secrets[0], "refresh token", refresh_token)


def sign(purpose: str, payload: object) -> str:
    """Text that can travel through other hands and only we can have made, for this purpose alone."""
    return str(_serializer(purpose).dumps(payload))


def unsign(purpose: str, text: str) -> Any:
    """What was signed for this purpose; None for anything else."""
    try:
        payload = _serializer(purpose).loads(text)
        return payload if _is_canonical(text.rpartition(".")[2]) else None
    except (BadData, UnicodeError):
        return None


def digest(secret: str) -> str:
    """The SHA-256 under which a secret of at least 128 random bits is stored, in hex."""
    return hashlib.sha256(secret.encode()).hexdigest()


def matches(secret: str, stored: str) -> bool:
    """Whether a secret is the one stored as `digest`, without telling by the time it takes."""
    return hmac.compare_digest(digest(secret), stored)


def _serializer(purpose: str) -> URLSafeSerializer:
    """The last of the secrets signs, all of them are recognised."""
    newest_last = list(reversed(settings().secrets))
    return URLSafeSerializer(newest_last, salt=purpose, signer_kwargs={"digest_method": hashlib.sha256})


def _is_canonical(signature: str) -> bool:
    """Base64 has bits to spare in its last character: two texts would be one signature."""
    return base64_encode(base64_decode(signature)).decode() == signature


def _derived_again(purpose: str, nonce: str, stored: str) -> str:
    for secret in settings().secrets:
        token = _derive(secret, purpose, nonce)
        if matches(token, stored):
            return token
    raise LinkLost


def _digits(master: bytes, nonce: str) -> str:
    return f"{int(_derive(master, 'mailed code', nonce), 16) % 1_000_000:06d}"


def _derive(master: bytes, purpose: str, nonce: str) -> str:
    return hmac.digest(_subkey(master, purpose), nonce.encode(), "sha256").hex()


@lru_cache(maxsize=64)
def _subkey(master: bytes, purpose: str) -> bytes:
    """One for each purpose, so that what is made for one is no use for another."""
    return hmac.digest(master, purpose.encode(), "sha256")
