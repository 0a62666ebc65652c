"""Secrets: how they are derived, hashed and compared.

An invite's token is HMAC-SHA256(subkey, nonce), in hex. Its row holds the nonce and the token's SHA-256. So a stolen
database opens nothing; with the master secret a link can be shown again; and a link works even if the secret is lost.
"""

import hashlib
import hmac
import re
import unicodedata
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qs, unquote

from itsdangerous import BadData, URLSafeSerializer
from itsdangerous.encoding import base64_decode, base64_encode

import clock
from rules.refusals import LinkLost
from settings import settings

_TOKEN = re.compile(r"[0-9a-f]{64}", re.ASCII)
# Of a link that stands in another one, as filters of mail write it: %3F or -3F is its question mark.
_IN_LINK = re.compile(
    r"(?:\?|%(?:25)*3f|-3f)(?:t(?:oken)?(?:=|%(?:25)*3d|-3d))?([0-9a-f]{64})(?![0-9a-f])", re.IGNORECASE | re.ASCII
)


def is_token(text: str) -> bool:
    """Whether a text has the form of an invite's token: 64 lower-case hex characters."""
    return _TOKEN.fullmatch(text) is not None


def in_query(query: str) -> str:
    """The token in a link's query, which may be ``TOKEN``, ``t=TOKEN`` or ``token=TOKEN``, with more after it.

    It is an invite's, or what a link for a new password carries. Punctuation around it is dropped: mail programs take
    the end of a sentence for a part of a link, and some programs write a query without values as ``TOKEN=``. "" if the
    name is there twice.
    """
    first = _trimmed(unquote(query.partition("&")[0]))
    if is_token(first):
        return first
    named = parse_qs(query)
    for name in ("token", "t"):
        if name in named:
            return _trimmed(named[name][0]) if len(named[name]) == 1 else ""
    return first


def in_text(text: str) -> str:
    """The token or code in what was typed or pasted: by itself, or in a link, perhaps within punctuation.

    The link may stand in another one, behind which a filter of mail has put it, and may have been broken in two, as a
    mail that is answered has it.
    """
    pasted = "".join(each for each in text if not (each.isspace() or each == ">" or unicodedata.category(each) == "Cf"))
    if "?" not in pasted:
        return _without_punctuation(pasted).lower()
    found = in_query(pasted.partition("?")[2].partition("#")[0]).lower()
    inside = {each.lower() for each in _IN_LINK.findall(pasted)}
    return inside.pop() if len(inside) == 1 and not is_token(found) else found


def _trimmed(text: str) -> str:
    """A text without the punctuation around it, but for a dot at its start, with which a signed text may begin."""
    bare = _without_punctuation(text)
    dotted = f".{bare}"
    return dotted if bare and dotted in text and not is_token(bare) else bare


def _without_punctuation(text: str) -> str:
    """A text from its first letter or digit to its last; a pattern for that takes time that grows with the square."""
    kept = [place for place, each in enumerate(text) if each.isalnum()]
    return text[kept[0] : kept[-1] + 1] if kept else ""


def new_nonce() -> str:
    """32 random hex characters, from which the tokens of one invite, or the secret of a webhook, are derived."""
    return clock.random_hex(16)


def invite_token(nonce: str) -> str:
    """The token of a new invite, 64 lower-case hex characters, derived from its nonce."""
    return _derive(settings().secrets[0], "invite link", nonce)


def invite_token_again(nonce: str, token_hash: str) -> str:
    """The token of a stored invite; raises LinkLost if it was derived from no master secret of the settings."""
    return _derived_again("invite link", nonce, token_hash)


def mail_token(nonce: str) -> str:
    """The second token of a new invite, 64 lower-case hex characters, which is only ever in its mail."""
    return _derive(settings().secrets[0], "mailed link", nonce)


def mail_token_again(nonce: str, mail_token_hash: str) -> str:
    """The second token of a stored invite; raises LinkLost if it was derived from no master secret of the settings."""
    return _derived_again("mailed link", nonce, mail_token_hash)


def mail_code(nonce: str) -> str:
    """The six digits of a mailed code, derived from its nonce."""
    return _digits(settings().secrets[0], nonce)


def is_mail_code(nonce: str, digits: str) -> bool:
    """Whether these are the six digits that were mailed, under any master secret of the settings."""
    return any(hmac.compare_digest(_digits(secret, nonce).encode(), digits.encode()) for secret in settings().secrets)


def legacy_code(nonce: str) -> str:
    """The short code of a new invite, 12 hex characters, derived from its nonce."""
    return _derive(settings().secrets[0], "legacy code", nonce)[:12]


def legacy_code_again(nonce: str, legacy_hash: str) -> str | None:
    """The short code of a stored invite; None if it was derived from no master secret of the settings."""
    for secret in settings().secrets:
        code = _derive(secret, "legacy code", nonce)[:12]
        if hmac.compare_digest(_derive(secret, "legacy look-up", code), legacy_hash):
            return code
    return None


def legacy_hashes(code: str) -> list[str]:
    """The hashes under which a short code may be stored, one for each master secret.

    They are keyed: all 2**48 codes can be tried against a plain hash within hours.
    """
    return [_derive(secret, "legacy look-up", code) for secret in settings().secrets]


def name_hashes(username: str) -> list[str]:
    """The hashes of a deleted account's user name, one for each master secret; the first is the one to store.

    They are keyed: names are short, and few.
    """
    return [_derive(secret, "former name", username) for secret in settings().secrets]


def address_hashes(address: str) -> list[str]:
    """The hashes under which a blocked address is stored, one for each master secret; the first is the one to store.

    They are keyed: addresses can be guessed.
    """
    return [_derive(secret, "blocked address", address) for secret in settings().secrets]


def webhook_secret(nonce: str) -> str:
    """The secret of a new webhook, 64 hex characters, derived from its nonce."""
    return _derive(settings().secrets[0], "webhook", nonce)


def webhook_secret_again(nonce: str, secret_hash: str) -> str:
    """The secret of a stored webhook; raises LinkLost if it was derived from no master secret of the settings."""
    return _derived_again("webhook", nonce, secret_hash)


def successor(refresh_token: str) -> str:
    """The refresh token that follows this one, 64 hex characters: always the same for the same token."""
    return _derive(settings().secrets[0], "refresh token", refresh_token)


def sign(purpose: str, payload: object) -> str:
    """A text that carries a payload and a signature, so that only we can have made it, and only for this purpose."""
    return str(_serializer(purpose).dumps(payload))


def unsign(purpose: str, text: str) -> Any:
    """The payload of a text signed for this purpose; None for any other text."""
    try:
        payload = _serializer(purpose).loads(text)
        # Base64 has unused bits in its last character, so that several texts stand for one signature: only ours counts.
        signature = text.rpartition(".")[2]
        return payload if base64_encode(base64_decode(signature)).decode() == signature else None
    except (BadData, UnicodeError):
        return None


def digest(secret: str) -> str:
    """The SHA-256 of a secret in hex, to be stored; only for secrets of at least 128 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def matches(secret: str, stored: str) -> bool:
    """Whether a secret has this `digest`; the time it takes does not depend on the secret."""
    return hmac.compare_digest(digest(secret), stored)


def _serializer(purpose: str) -> URLSafeSerializer:
    """The last secret given to it signs, and all of them are accepted; in the settings the newest is the first."""
    newest_last = list(reversed(settings().secrets))
    return URLSafeSerializer(newest_last, salt=purpose, signer_kwargs={"digest_method": hashlib.sha256})


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
    """A key for one purpose, so that what is derived for one is useless for another."""
    return hmac.digest(master, purpose.encode(), "sha256")
