"""Requests that are nearly good: well-formed ones for every row of the map, and what can befall their bytes."""

import json
import random
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from app import ROUTES
from web.contract import taken_by

Mutation = Callable[[random.Random, bytes], bytes]

NUMBERS = (b"-1", b"0", b"9" * 19, b"18446744073709551616", b"1e999", b"9" * 5000, b"-0", b"0x10", "٣".encode())
PERCENTS = (b"%", b"%zz", b"%00", b"%ff", b"%c0%af", b"%ed%a0%80", b"%u0041", b"%25" * 50, b"+", b"%0d%0a", b"%2f")
NO_UTF8 = (b"\xff", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe2\x82", b"\x80" * 9, "\ufeff".encode())
TEXTS = (b"\\ud800", b"\\u0000", b"{{7*7}}", b"' OR 1=1--", b"\r\n\r\n", "\u202e".encode(), "Å".encode(), b"NaN")
NESTED = (b"[" * 17, b"[" * 50_000, b'{"a":' * 20_000, b"[[]" * 3000, b"}" * 9, b'{"":' * 17 + b"1" + b"}" * 17)
HEADERS = (
    b"Content-Type: application/json; charset=utf-16",
    b"Content-Type: multipart/form-data; boundary=",
    b"Content-Type: multipart/form-data; boundary=\xff; x*0*=utf-8''%ff",
    b"Content-Type: text/plain",
    b"Content-Length: 5",
    b"Transfer-Encoding: chunked",
    b"Expect: 100-continue",
    b"Authorization: Bearer ",
    b"Authorization: Basic \xff",
    b"Cookie: session=\xff\xfe; session=.; \x01",
    b"Accept-Language: de;q=\xff, *;q=9e9, en--, " + b"x," * 500,
    b"Accept: text/html",
    b"Host: \xff[::1",
    b"Host: evil.example:99999999",
    b"Origin: null",
    b"Range: bytes=9-1,-",
    b"If-Modified-Since: Sun, 99 Foo 99999 99:99:99 GMT",
    b"If-None-Match: W/\xff",
    b"X-Forwarded-For: \xff, ::ffff:1.2.3.4%eth0",
    b"Sec-Fetch-Site: cross-site",
    b"Connection: keep-alive, close, \xff",
)
CHUNKS = (
    b"5\r\nab\r\n",
    b"fffffffff\r\n",
    b"-5\r\nhello\r\n",
    b"5;\xff=\xff\r\nhello\r\n0\r\n\r\n",
    b"0\r\nX: \xff\r\n\r\n",
)


@dataclass(frozen=True)
class Sent:
    """A request, in the parts that are mutated each for itself so that most of them get far."""

    method: bytes
    target: bytes
    headers: tuple[bytes, ...]
    body: bytes = b""
    length: bytes | None = None  # of the body, as it is told; nothing is told if it is empty
    whole: Mutation | None = None  # what befalls all of it

    def written(self, rng: random.Random) -> bytes:
        """As it goes onto the wire."""
        length = b"%d" % len(self.body) if self.length is None else self.length
        first = self.method + b" " + self.target + b" HTTP/1.1"
        lines = [first, b"Host: here", *self.headers, *([b"Content-Length: " + length] if length else [])]
        written = b"\r\n".join(lines) + b"\r\n\r\n" + self.body
        return self.whole(rng, written) if self.whole else written


def seeds(facts: Mapping[str, Sequence[str]], shown: Sequence[Sequence[bytes]]) -> list[Sent]:
    """A well-formed request for each row of the map, way to write its body, and way to show who one is.

    Unknown members and parameters are ignored, so that all of them can know all the facts; where they are refused, a
    request has those that are known there.
    """
    return [
        seed
        for dialect, rows in ROUTES.items()
        for row in rows
        for headers in shown
        for seed in (_strict if getattr(dialect, "STRICT", False) else _seeds)(row, facts, headers)
    ]


def _said(facts: Mapping[str, Sequence[Any]], number: int) -> dict[str, Any]:
    return {name: values[number % len(values)] for name, values in facts.items()}


def _path(row: Any, said: Mapping[str, Any]) -> str:
    return re.sub("<([a-z_]+)>", lambda found: str(said[found[1]]), row.path)


def _strict(row: Any, facts: Mapping[str, Sequence[Any]], shown: Sequence[bytes]) -> Iterator[Sent]:
    """Of a row that refuses what is unknown."""
    taken = taken_by(row.view)
    for number in range(2):
        said = _said(facts, number)
        path = _path(row, said)
        query, members = (
            {name: said[name] for name in getattr(taken.get(source), "__annotations__", ()) if name in said}
            for source in ("query", "given")
        )
        if row.methods == "GET":
            yield Sent(b"GET", f"{path}?{urlencode(query)}".encode(), tuple(shown))
            continue
        as_json = (*shown, b"Content-Type: application/json")
        several = {"invites": 2 * [members]} if row.path == "/v1/invites" and number else members
        yield Sent(row.methods.encode(), path.encode(), as_json, json.dumps(several).encode())


def _seeds(row: Any, facts: Mapping[str, Sequence[str]], shown: Sequence[bytes]) -> Iterator[Sent]:
    for number in range(2):
        said = _said(facts, number)
        path = _path(row, said)
        for method in row.methods.split():
            if method == "GET":
                some = {name: said[name] for name in ("status", "q", "limit", "cursor", "token", "once")}
                yield Sent(b"GET", f"{path}?{urlencode(some)}".encode(), tuple(shown))
                yield Sent(b"GET", f"{path}?{said['token']}".encode(), tuple(shown))
            else:
                as_json = (*shown, b"Content-Type: application/json")
                as_form = (*shown, b"Content-Type: application/x-www-form-urlencoded")
                yield Sent(method.encode(), path.encode(), as_json, json.dumps(said).encode())
                yield Sent(method.encode(), path.encode(), as_form, urlencode(said).encode())


def mutated(rng: random.Random, seeds: Sequence[Sent]) -> Sent:
    """One of these with one to four things wrong in it; a few stay as they are."""
    sent = rng.choice(seeds)
    for _ in range(rng.choice((0, 1, 1, 1, 1, 1, 2, 2, 3))):
        sent = rng.choices(CHANGES, weights=[each[1] for each in CHANGES_])[0](rng, sent, rng.choice(seeds))
    return sent


def _flip(rng: random.Random, data: bytes) -> bytes:
    return _set(data, (at := _at(rng, data)), at + 1, bytes([data[at] ^ 1 << rng.randrange(8)]) if data else b"")


def _insert(rng: random.Random, data: bytes) -> bytes:
    at = _at(rng, data)
    return _set(data, at, at, bytes(rng.randrange(256) for _ in range(rng.choice((1, 1, 2, 8)))))


def _delete(rng: random.Random, data: bytes) -> bytes:
    start, end = _span(rng, data)
    return _set(data, start, end, b"")


def _duplicate(rng: random.Random, data: bytes) -> bytes:
    start, end = _span(rng, data)
    return _set(data, end, end, data[start:end])


def _repeat(rng: random.Random, data: bytes) -> bytes:
    start, end = _span(rng, data)
    return _set(data, end, end, (data[start:end] * rng.choice((3, 100, 3000)))[:70_000])


def _number(rng: random.Random, data: bytes) -> bytes:
    found = [each.span() for each in re.finditer(rb"\d+", data)] or [_span(rng, data)]
    return _set(data, *rng.choice(found), rng.choice(NUMBERS))


def _value(rng: random.Random, data: bytes) -> bytes:
    """Another kind of value in JSON, or in a form."""
    found = [each.span() for each in re.finditer(rb'"[^"]*"|(?<==)[^&]*', data)] or [_span(rng, data)]
    return _set(data, *rng.choice(found), rng.choice((b"null", b"[]", b"{}", b"1.5", b"true", b'""', b"", b"[[1]]")))


def _put(what: Sequence[bytes]) -> Mutation:
    """Put one of these in, over something or between."""

    def put(rng: random.Random, data: bytes) -> bytes:
        start, end = _span(rng, data)
        return _set(data, start, rng.choice((start, end)), rng.choice(what))

    return put


def _set(data: bytes, start: int, end: int, new: bytes) -> bytes:
    return data[:start] + new + data[end:]


def _at(rng: random.Random, data: bytes) -> int:
    return rng.randrange(len(data)) if data else 0


def _span(rng: random.Random, data: bytes) -> tuple[int, int]:
    start = _at(rng, data)
    return start, min(len(data), start + rng.choice((1, 1, 2, 4, 16, 64)))


BYTES: Sequence[Mutation] = (
    *(_flip, _flip, _insert, _delete, _duplicate, _repeat, _number, _value),
    *(_put(each) for each in (PERCENTS, NO_UTF8, TEXTS, NESTED, NUMBERS, (b"\0",))),
)


def _in_target(rng: random.Random, sent: Sent, other: Sent) -> Sent:
    return replace(sent, target=rng.choice(BYTES)(rng, sent.target))


def _in_body(rng: random.Random, sent: Sent, other: Sent) -> Sent:
    return replace(sent, body=rng.choice(BYTES)(rng, sent.body))


def _in_header(rng: random.Random, sent: Sent, other: Sent) -> Sent:
    if not sent.headers:
        return _header(rng, sent, other)
    headers = list(sent.headers)
    which = rng.randrange(len(headers))
    headers[which] = rng.choice(BYTES)(rng, headers[which])
    return replace(sent, headers=tuple(headers))


def _header(rng: random.Random, sent: Sent, other: Sent) -> Sent:
    """One more, or one twice, or those of another request."""
    more = rng.choice(((rng.choice(HEADERS),), sent.headers, other.headers))
    return replace(sent, headers=rng.choice(((*sent.headers, *more), (*more, *sent.headers), tuple(more))))


def _method(rng: random.Random, sent: Sent, other: Sent) -> Sent:
    return replace(
        sent, method=rng.choice((other.method, b"HEAD", b"TRACE", b"get", b"G\xffT", _flip(rng, sent.method)))
    )


def _splice(rng: random.Random, sent: Sent, other: Sent) -> Sent:
    """The beginning of one, the end of another."""
    body = sent.body[: _at(rng, sent.body)] + other.body[_at(rng, other.body) :]
    return rng.choice((replace(sent, body=body), replace(sent, target=other.target), replace(sent, body=other.body)))


def _chunked(rng: random.Random, sent: Sent, other: Sent) -> Sent:
    """In chunks, some of them garbage."""
    chunk = b"%x\r\n%b\r\n" % (len(sent.body), sent.body) if sent.body else b""
    body = rng.choice((chunk + b"0\r\n\r\n", chunk + rng.choice(CHUNKS), rng.choice(BYTES)(rng, chunk + b"0\r\n\r\n")))
    return replace(sent, headers=(*sent.headers, b"Transfer-Encoding: chunked"), body=body, length=b"")


def _length(rng: random.Random, sent: Sent, other: Sent) -> Sent:
    """A body that is shorter or longer than it is said to be."""
    told = rng.choice((b"%d" % (len(sent.body) + rng.choice((-9, -1, 1))), rng.choice(NUMBERS), b"", b"1, 1"))
    return replace(sent, length=told)


def _anywhere(rng: random.Random, sent: Sent, other: Sent) -> Sent:
    """In all of it, whatever that does to the frame."""
    return replace(sent, whole=rng.choice((_flip, _insert, _delete, _cut, _put((b"\0", b"\r\n", b"\n", b"\r")))))


def _cut(rng: random.Random, data: bytes) -> bytes:
    return data[: _at(rng, data)]


CHANGES_ = (
    *((_in_body, 8), (_in_target, 5), (_in_header, 4), (_header, 3), (_splice, 3)),
    *((_method, 1), (_chunked, 1), (_length, 1), (_anywhere, 1)),
)
CHANGES = tuple(change for change, _ in CHANGES_)
