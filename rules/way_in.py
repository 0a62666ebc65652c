"""The way in: how a browser that the gate has refused gets a pass, and then what it asked for.

It goes from the app to us and back. A state, kept in a cookie at the app, remembers what was asked for, and is named in
the address that leads to us. A member is led back with a ticket, for which that browser alone gets a pass:
it has the state. Neither state nor ticket says what was asked for, and both are of use to nobody else.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import NamedTuple
from urllib.parse import quote

import clock
from rules import gate, tokens
from rules.gate import App

LIFETIME = clock.HOUR
TICKET_LIFETIME = clock.MINUTE
MARK_LIFETIME = 10 * clock.SECOND
MAX_PATH = 2000
MAX_STATES = 20  # that are verified: who sends hundreds of wrong ones would hold up everyone
MAX_KEPT = 3000  # characters of states in the cookies of one app: a request with long cookies is refused
_ID = 24  # hex digits of a state's id
_PLAIN = bytes(range(0x21, 0x7F)).decode()  # characters that stand for themselves, as % does


class Visit(NamedTuple):
    """A visit on its way in: the app's slug, the visit's own id, the origin to which it goes back, when it is over."""

    slug: str
    id: str
    origin: str
    until: int

    @property
    def cookie(self) -> str:
        """What the cookie with its state is called."""
        return f"{gate.cookie_name('state', self.slug, self.origin)}-{self.id}"


class Arrived(NamedTuple):
    """A visit that has come back: the pass that it gets, and where it goes on."""

    visit: Visit
    browser_pass: str
    path: str


def path(raw: bytes) -> str:
    """What was asked for, as it was, to be put after an origin; ``/`` for what could lead elsewhere or is too long.

    Characters that are not ASCII are percent-encoded; what is encoded already is not decoded.
    """
    kept = quote(raw, safe=_PLAIN)
    unsafe = any(each < 0x20 or each == 0x7F for each in raw)
    is_good = raw[:1] == b"/" and raw[1:2] not in (b"/", b"\\") and not unsafe and len(kept) <= MAX_PATH
    return kept if is_good else "/"


def begin(slug: str, origin: str) -> Visit:
    """A visit that begins."""
    return Visit(slug, clock.random_hex(_ID // 2), origin, _in(LIFETIME))


def state(visit: Visit) -> str:
    """What names a visit in the address that leads to us."""
    return tokens.sign("gate state", visit)


def of_state(text: str) -> Visit | None:
    """The visit that a state names; None if it is over, or for any other text."""
    visit = tokens.unsign("gate state", text)
    return Visit(*visit) if visit and not _is_over(visit[3]) else None


def kept(visit: Visit, path: str) -> str:
    """What the browser keeps of a visit at the app: where it goes on."""
    return tokens.sign(_purpose(visit.cookie, visit.origin), [visit.until, path])


def surplus(slug: str, origin: str, cookies: Mapping[str, str]) -> Sequence[str]:
    """The names of cookies with states that are over, and of the oldest ones that are too much to keep."""
    start = f"{gate.cookie_name('state', slug, origin)}-"
    names = [each for each in cookies if each.startswith(start) and len(each) == len(start) + _ID]
    found = {}
    for name in names[-MAX_STATES:]:  # browsers send the newest last
        stored = tokens.unsign(_purpose(name, origin), cookies[name])
        found[name] = stored[0] if stored and not _is_over(stored[0]) else 0
    room, left_out = MAX_KEPT, names[:-MAX_STATES]
    for name in sorted(found, key=lambda each: found[each], reverse=True):
        room -= len(name) + len(cookies[name])
        if room < 0 or not found[name]:
            left_out.append(name)
    return left_out


def ticket(visit: Visit, app: App, session_id: str) -> str:
    """For what the browser with this visit's state gets a pass, within a minute."""
    until = _in(TICKET_LIFETIME)
    return tokens.sign("gate ticket", [visit.slug, visit.id, visit.origin, until, app.project_id, session_id])


def finish(slug: str, app: App, text: str, cookies: Mapping[str, str]) -> Arrived | None:
    """What a browser with these cookies gets for a ticket at this app; None if it is not its own, or over."""
    signed = tokens.unsign("gate ticket", text)
    if signed is None:
        return None
    *shown, project_id, session_id = signed
    visit = Visit(*shown)
    stored = tokens.unsign(_purpose(visit.cookie, visit.origin), cookies.get(visit.cookie, ""))
    is_here = (visit.slug, visit.origin, project_id) == (slug, app.origin, app.project_id)
    if stored is None or not is_here or _is_over(visit.until) or _is_over(stored[0]):
        return None
    return Arrived(visit, gate.sign_browser_pass(session_id, app), stored[1])


def mark(slug: str, origin: str, path: str) -> str:
    """What a browser with a good pass gets when it is led on: within 10 s it does not come again for the same page.

    It may come for others: those that it asked for before it had the pass.
    """
    return tokens.sign("gate mark", [slug, origin, tokens.digest(path), _in(MARK_LIFETIME)])


def is_marked(slug: str, origin: str, path: str, text: str) -> bool:
    """Whether a browser was led on to this page just now."""
    marked = tokens.unsign("gate mark", text)
    return bool(marked) and marked[:3] == [slug, origin, tokens.digest(path)] and not _is_over(marked[3])


def _purpose(cookie: str, origin: str) -> str:
    """What a state is signed for: one cookie of one visit at one origin, so that it is good in no other place."""
    return f"gate visit {cookie} {origin}"


def _in(length: timedelta) -> int:
    return int((clock.now() + length).timestamp())


def _is_over(until: int) -> bool:
    return clock.now().timestamp() >= until
