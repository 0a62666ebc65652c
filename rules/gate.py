"""The gate: only members of a project use its app, since a reverse proxy asks here before each request to it.

Such a project has origins, at which its app answers. A browser shows a pass that is signed and names one of its
sessions, so that it ends with that; rules/way_in.py has how it gets one. A program shows the secret of a stored pass.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import sqlalchemy
from sqlalchemy import and_, bindparam, or_, select

import clock
from database import session
from database.statements import Statement
from models import Member, Origin, Pass, Project, Session, User
from rules import events, joining, passes, projects, tokens, urls
from rules.refusals import AppNotFound, Invalid, NotProjectMember, PassNeeded, ProjectNotFound, together
from rules.sessions import Account
from settings import exact_origin, origin, settings

MAX_ORIGINS = 20  # origins of one project
MAX_SHOWN = 10  # passes of one request: who sends hundreds of wrong ones holds up everyone, since each is verified
_HOST = re.compile(r"[a-z0-9.:\[\]-]{1,300}", re.IGNORECASE | re.ASCII)
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Admitted(NamedTuple):
    """What an app is told of who uses it: a name that stays the same, the one to show, a proved address, the role."""

    user: str
    name: str
    email: str
    role: str


class App(NamedTuple):
    """A project's app at one of its origins."""

    project_id: str
    name: str
    origin: str


class BrowserPass(NamedTuple):
    """The pass of a browser: the session on which it hangs, and the project and the origin for which it is good."""

    session_id: str
    project_id: str
    origin: str


def set_origins(slug: str, wanted: Sequence[str]) -> Sequence[str]:
    """Set the origins of a project's app, and return them; people are led to the first. Without any there is no gate.

    Raises ProjectNotFound, or Invalid with all that is wrong.
    """
    project = projects.find_locked(slug)
    chosen = list(dict.fromkeys(together(*(partial(_read, each) for each in wanted))))
    _refuse_confusable(chosen)
    if chosen == origins(project):
        return chosen
    session().execute(sqlalchemy.delete(Origin).where(Origin.project_id == project.id))
    for place, each in enumerate(chosen):
        session().add(Origin(project_id=project.id, origin=each, place=place))
    events.record("project.gate", project_id=project.id, facts={"origins": len(chosen)})
    return chosen


def origins(project: Project) -> Sequence[str]:
    """The origins of a project's app, the one to which people are led first; none without a gate."""
    mine = select(Origin.origin).where(Origin.project_id == project.id)
    return session().scalars(mine.order_by(Origin.place)).all()


def admit(slug: str, host: str, cookies: Callable[[str], Sequence[str]], secrets: Sequence[str] = ()) -> Admitted:
    """Who may use the app of this project at this host: by one of these secrets, else by a cookie.

    `host` is what the visitor has asked for, `cookies` gives all values of a cookie. Raises PassNeeded,
    NotProjectMember for a good pass whose bearer is no member, or AppNotFound, also for a host without an app.
    """
    is_good = False
    for *columns, role in _shown(slug, _at(host), cookies, secrets):
        account = Account(*columns)
        if account.may_sign_in and role:
            proved = account.email if account.email_verified_at else None
            return Admitted(_user(account), account.called, proved or "", role)
        is_good = is_good or account.may_sign_in
    find(slug, host)
    if is_good:
        raise NotProjectMember
    raise PassNeeded(f"{settings().public_url}/account" if any(map(passes.is_pass, secrets)) else None)


def find(slug: str, host: str) -> App:
    """The app of the project with this slug at a host that a visitor has asked for; raises AppNotFound."""
    here = _at(host)
    row = _AT_HOST.first(slug=slug, safe=here[0], plain=here[1]) if here else None
    if row is None:
        raise AppNotFound
    return App(*row)


def not_found(host: str, scheme: str) -> AppNotFound:
    """The refusal that names the origin for which a visitor has asked, unless it is none.

    `scheme` is what the proxy says; without it an app on this machine is reached by http, any other by https.
    """
    here = _at(host)
    if not here:
        return AppNotFound()
    is_plain = scheme == "http" or (scheme != "https" and urls.is_local(here[1]))
    return AppNotFound(here[1] if is_plain else here[0])


def app(slug: str, wanted: str | None = None) -> App:
    """The app of the project with this slug at this origin, at the first if it is at no such one.

    Raises ProjectNotFound, also for a project without a gate.
    """
    rows = _OF_PROJECT.run(slug=slug)
    if not rows:
        raise ProjectNotFound
    return next((App(*each) for each in rows if each.origin == wanted), App(*rows[0]))


def of(slug: str | None) -> App | None:
    """The app of the project with this slug, at the origin to which people are led; None if it has none."""
    rows = _OF_PROJECT.run(slug=slug) if slug else ()
    return App(*rows[0]) if rows else None


def of_member(user: User) -> Sequence[Project]:
    """The projects with an app of which an account is a member, by name."""
    mine = select(Project).join(Member, Member.project_id == Project.id).where(Member.user_id == user.id)
    gated = select(Origin.origin).where(Origin.project_id == Project.id).exists()
    mine = mine.where(gated, joining.is_current(clock.now()))
    return session().scalars(mine.order_by(Project.name, Project.id)).all()


def is_member(slug: str, account: Any) -> bool:
    """Whether an account may use the app of the project with this slug."""
    rows = _OF_PROJECT.run(slug=slug)
    return bool(rows) and joining.is_member(rows[0].id, account)


def cookie_name(kind: str, slug: str, at: str) -> str:
    """What a cookie of ours at an app's origin is called: over https it is held to this very host."""
    return f"{'__Host-' if at.startswith('https:') else ''}invite-{kind}-{slug}"


def sign_browser_pass(session_id: str, app: App) -> str:
    """The pass of a browser for an app, to be kept in a cookie there, as long as this session lives."""
    return tokens.sign("gate pass", BrowserPass(session_id, app.project_id, app.origin))


def _user(account: Account) -> str:
    """The name by which an app knows an account, and after which it may call a folder: so it is never ``..``."""
    name = account.username or ""
    return name if any(each.isalnum() for each in name) else account.id


def _shown(slug: str, here: Sequence[str], cookies: Callable[[str], Sequence[str]], secrets: Sequence[str]) -> Any:
    """A row for each account whose pass is shown, with its role: None if it is no member."""
    if not here:
        return
    now = clock.now()
    for secret in secrets:
        if passes.is_pass(secret):
            yield from _OF_PROGRAM.run(hash=tokens.digest(secret), slug=slug, safe=here[0], plain=here[1], now=now)
    for each in _browser_passes(slug, here, cookies):
        yield from _OF_BROWSER.run(**each._asdict(), slug=slug, now=now)


def _browser_passes(slug: str, here: Sequence[str], cookies: Callable[[str], Sequence[str]]) -> Iterator[BrowserPass]:
    """The passes of a browser that are for one of these origins: a cookie of the other kind counts nothing there."""
    for at in here:
        for text in cookies(cookie_name("pass", slug, at))[:MAX_SHOWN]:
            with suppress(ValueError):
                if (found := _signed(text, settings().secrets)).origin == at:
                    yield found


@lru_cache(maxsize=4096)
def _signed(text: str, secrets: tuple[bytes, ...]) -> BrowserPass:  # noqa: ARG001 (it changes with them)
    """The pass of a browser that a text is; raises ValueError for any other, so that only good ones are kept here.

    To look at a signature takes a quarter of the time that the gate has.
    """
    payload = tokens.unsign("gate pass", text)
    if payload is None:
        raise ValueError("this is no pass")
    return BrowserPass(*payload)


@lru_cache(maxsize=1024)
def _at(host: str) -> Sequence[str]:
    """The two origins for which a host may stand, https first; none for what is no host."""
    if not _HOST.fullmatch(host):
        return ()
    try:
        return origin(f"https://{host}"), origin(f"http://{host}")
    except ValueError:
        return ()


def _read(written: str) -> str:
    """An origin as it is stored; raises Invalid."""
    urls.refuse_other_letters(written.strip(), "origin")
    try:
        found = exact_origin(written.strip())
    except ValueError:
        raise Invalid.at(
            "origin", "origin", "must be an origin such as https://photos.example.org, and not %(given)s", given=written
        ) from None
    host = urlsplit(found).hostname
    if host == urlsplit(settings().origin).hostname and host not in _LOOPBACK:  # cookies ignore ports
        raise Invalid.at("origin", "own", "must not be at %(host)s, the host of this service itself", host=host)
    return found


def _refuse_confusable(chosen: Sequence[str]) -> None:
    """Raise Invalid for too many origins, and for two that a proxy names alike."""
    if len(chosen) > MAX_ORIGINS:
        raise Invalid.at("origin", "maxItems", "must be at most %(most)s origins", most=MAX_ORIGINS)
    for each in chosen:
        if each.startswith("http:") and f"https:{each.removeprefix('http:')}" in chosen:
            raise Invalid.at(
                "origin", "once", "must be http or https for one host, and not both: %(given)s", given=each
            )


# Built once, since building a query takes as long as SQLite takes to answer it.
_COLUMNS = (*(getattr(User, name) for name in Account._fields), Member.role)
_MEMBERSHIP = and_(Member.project_id == Project.id, Member.user_id == User.id, joining.is_current(bindparam("now")))
_HERE = or_(Origin.origin == bindparam("safe"), Origin.origin == bindparam("plain"))
_OF_BROWSER = Statement(
    select(*_COLUMNS)
    .select_from(Session)
    .join(User, User.id == Session.user_id)
    .join(Project, Project.id == bindparam("project_id"))
    .join(Origin, and_(Origin.project_id == Project.id, Origin.origin == bindparam("origin")))
    .outerjoin(Member, _MEMBERSHIP)
    .where(
        Session.id == bindparam("session_id"), Session.expires_at > bindparam("now"), Project.slug == bindparam("slug")
    )
)
_OF_PROGRAM = Statement(
    select(*_COLUMNS)
    .select_from(Pass)
    .join(User, User.id == Pass.user_id)
    .join(Project, Project.id == Pass.project_id)
    .join(Origin, and_(Origin.project_id == Project.id, _HERE))
    .outerjoin(Member, _MEMBERSHIP)
    .where(
        Pass.hash == bindparam("hash"),
        or_(Pass.expires_at.is_(None), Pass.expires_at > bindparam("now")),
        Project.slug == bindparam("slug"),
    )
)
_APP = select(Project.id, Project.name, Origin.origin).join(Origin, Origin.project_id == Project.id)
_APP = _APP.where(Project.slug == bindparam("slug"))
_AT_HOST = Statement(_APP.where(_HERE))
_OF_PROJECT = Statement(_APP.order_by(Origin.place))
