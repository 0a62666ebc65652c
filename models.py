"""One mapped class for each table of schema.sql, and what a single row says by itself.

schema.sql is the truth; a test compares the two. Nothing here asks the database.
"""

from datetime import UTC, datetime
from sqlite3 import DatabaseError
from typing import Any, ClassVar

from sqlalchemy import TIMESTAMP, BigInteger, Boolean, Dialect, ForeignKey, Integer, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator, TypeEngine, UserDefinedType

import clock


class _Text(UserDefinedType[str]):
    """What SQLite has in a TIMESTAMP, as it is."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "TIMESTAMP"


class Moment(TypeDecorator[datetime]):
    """A moment in time: aware and UTC in Python, a TIMESTAMP without a zone in the database."""

    impl = TIMESTAMP
    cache_ok = True
    python_type = datetime

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """What is in a cell."""
        return _Text() if dialect.name == "sqlite" else TIMESTAMP()

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | str | None:
        """What to write into a cell."""
        moment = None if value is None else value.astimezone(UTC).replace(tzinfo=None)
        return moment.isoformat(" ", "microseconds") if moment and dialect.name == "sqlite" else moment

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """The moment in a cell; raises DatabaseError if a cell holds none: the file was changed or damaged."""
        try:
            moment: datetime | None = datetime.fromisoformat(value) if isinstance(value, str) else value
            return None if moment is None else moment.replace(tzinfo=UTC)
        except (AttributeError, TypeError, ValueError) as error:
            raise DatabaseError("a cell that should have a moment has none") from error


class Base(DeclarativeBase):
    """The parent of all tables."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {str: Text, datetime: Moment, bool: Boolean}


class SchemaVersion(Base):
    """The one row that says which schema the database has."""

    __tablename__ = "schema_version"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class Person:
    """What an account's columns say, read as a mapped object (User) or as a row (rules.sessions.Account)."""

    @property
    def may_sign_in(self: Any) -> bool:
        """Whether the account is neither disabled nor deleted."""
        return self.disabled_at is None and self.deleted_at is None

    @property
    def called(self: Any) -> str:
        """The name to show: the display name, else the user name, else the address up to its @."""
        return called(self.display_name, self.username, self.email)


class User(Person, Base):
    """A person's account; it has a user name, an e-mail address, or both."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(primary_key=True)
    username: Mapped[str | None] = mapped_column(unique=True)
    email: Mapped[str | None] = mapped_column(unique=True)
    email_verified_at: Mapped[datetime | None]
    display_name: Mapped[str | None]
    former_name: Mapped[str | None]
    password_hash: Mapped[str | None]
    admin_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]
    folded: Mapped[str | None]
    inviter_id: Mapped[str | None]
    budget: Mapped[str | None]
    disabled_event: Mapped[int | None] = mapped_column(BigInteger)

    inviter: Mapped["User | None"] = relationship(primaryjoin="foreign(User.inviter_id) == User.id", remote_side=[id])


def called(display_name: str | None, username: str | None, email: str | None) -> str:
    """The name to show for an account with these names; ``a deleted account`` where it has none."""
    return display_name or username or (email or "a deleted account").partition("@")[0]


class Session(Base):
    """One sign-in, by a program or a browser. (SQLAlchemy's session is `database.session()`.)"""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    refresh_hash: Mapped[str | None]
    parent_hash: Mapped[str | None]
    rotated_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]

    user: Mapped[User] = relationship()


class AccessToken(Base):
    """A token that stands for a session: valid for an hour, or in a browser's cookie as long as the session."""

    __tablename__ = "access_tokens"

    hash: Mapped[str] = mapped_column(primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"))
    expires_at: Mapped[datetime]

    session: Mapped[Session] = relationship()


class ApiKey(Base):
    """A key with which a program creates invites for the site."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    secret_hash: Mapped[str]
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]
    may: Mapped[str] = mapped_column(default="create")
    preset: Mapped[str | None]


class Preset(Base):
    """Fields of an invite under a name; `fields` is JSON, with the names and texts that drafts.read takes."""

    __tablename__ = "presets"

    name: Mapped[str] = mapped_column(primary_key=True)
    fields: Mapped[str]
    created_at: Mapped[datetime]


class Project(Base):
    """A group of accounts that an invite may let a guest join."""

    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    slug: Mapped[str | None] = mapped_column(unique=True)
    description: Mapped[str | None]
    is_public: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
    join_url: Mapped[str | None]

    owner: Mapped[User | None] = relationship(  # only to look at: rules/projects.py says who owns one
        secondary="members",
        primaryjoin="and_(Project.id == Member.project_id, Member.role == 'owner')",
        viewonly=True,
    )


class Member(Base):
    """The membership of an account in a project; `role` is ``owner``, ``admin`` or ``member``.

    From `ends_at` on the account is no member, though the row may still be there.
    """

    __tablename__ = "members"
    __table_args__ = (UniqueConstraint("project_id", "user_id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    role: Mapped[str]
    joined_at: Mapped[datetime]
    ends_at: Mapped[datetime | None]
    warned_at: Mapped[datetime | None]

    project: Mapped[Project] = relationship()
    user: Mapped[User] = relationship()


class Origin(Base):
    """An origin at which the app of a project answers; people are led to the one whose `place` is 0."""

    __tablename__ = "origins"

    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), primary_key=True)
    origin: Mapped[str] = mapped_column(primary_key=True)
    place: Mapped[int]


class Pass(Base):
    """A pass with which a program gets to a project's app as an account; the secret itself is not stored."""

    __tablename__ = "passes"

    id: Mapped[str] = mapped_column(primary_key=True)
    hash: Mapped[str] = mapped_column(unique=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    name: Mapped[str | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]

    user: Mapped[User] = relationship()
    project: Mapped[Project] = relationship()


class Invite(Base):
    """An invite. Its token is not stored: it is derived from `nonce` and the master secret (rules/tokens.py)."""

    __tablename__ = "invites"

    id: Mapped[str] = mapped_column(primary_key=True)
    nonce: Mapped[str]
    token_hash: Mapped[str] = mapped_column(unique=True)
    mail_token_hash: Mapped[str | None] = mapped_column(unique=True)
    legacy_hash: Mapped[str | None] = mapped_column(unique=True)
    name: Mapped[str | None]
    email: Mapped[str | None]
    project_id: Mapped[str | None] = mapped_column(ForeignKey("projects.id"))
    role: Mapped[str] = mapped_column(default="member")
    plan: Mapped[str] = mapped_column(default="solo")
    redirect_url: Mapped[str | None]
    note: Mapped[str | None]
    makes_admin: Mapped[bool] = mapped_column(default=False)
    max_uses: Mapped[int] = mapped_column(default=1)
    uses: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]
    made_by: Mapped[str]
    maker_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    key_id: Mapped[str | None]
    folded: Mapped[str | None]
    made_by_folded: Mapped[str | None]
    asked: Mapped[str | None]
    created_event: Mapped[int | None] = mapped_column(BigInteger)
    access: Mapped[int | None] = mapped_column(BigInteger)
    data: Mapped[str | None]
    approve: Mapped[bool] = mapped_column(default=False)
    waiting: Mapped[int] = mapped_column(default=0)
    lapses_at: Mapped[datetime | None]
    message: Mapped[str | None]
    spent_at: Mapped[datetime | None]

    project: Mapped[Project | None] = relationship()
    inviter: Mapped[User | None] = relationship()
    redemptions: Mapped[list["Redemption"]] = relationship(back_populates="invite", order_by="Redemption.redeemed_at")

    def state(self, now: datetime) -> str:
        """The state at this moment: ``used``, ``revoked``, ``expired`` or ``active``, the first that holds."""
        return state_of(self, now)


def state_of(invite: Any, now: datetime) -> str:
    """The state of an invite: ``used``, ``revoked``, ``expired`` or ``active``, the first that holds.

    A row with the columns `uses`, `max_uses`, `lapses_at`, `revoked_at` and `expires_at` will do. A use that waits
    counts like any other, until it lapses.
    """
    if invite.uses >= invite.max_uses and (invite.lapses_at is None or invite.lapses_at > now):
        return "used"
    if invite.revoked_at:
        return "revoked"
    if invite.expires_at and invite.expires_at <= now:
        return "expired"
    return "active"


class Redemption(Base):
    """One use of an invite, which is done or waits, or is released and counts no more.

    `state` is ``done``; ``held`` for a program, ``proof`` or ``approval`` while it waits; ``released``, ``denied``,
    ``revoked`` or ``lapsed``. `user_id` is None for a use by short code, which names no account, and for one by a
    program that keeps its own accounts: the API key `key_id`, which calls the guest `subject`.
    """

    __tablename__ = "redemptions"

    id: Mapped[str] = mapped_column(primary_key=True)
    invite_id: Mapped[str] = mapped_column(ForeignKey("invites.id"))
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    state: Mapped[str] = mapped_column(default="done")
    redeemed_at: Mapped[datetime | None]
    released_at: Mapped[datetime | None]
    since: Mapped[datetime | None]
    until: Mapped[datetime | None]
    key_id: Mapped[str | None]
    subject: Mapped[str | None]
    asked: Mapped[str | None]

    invite: Mapped[Invite] = relationship(back_populates="redemptions")
    user: Mapped[User | None] = relationship()

    def is_waiting(self, now: datetime) -> bool:
        """Whether it waits at this moment: it is neither done nor released, and has not lapsed."""
        return not (self.redeemed_at or self.released_at or (self.until and self.until <= now))


class Code(Base):
    """A six-digit code sent by mail; `purpose` is ``register`` or ``verify``."""

    __tablename__ = "codes"
    __table_args__ = (UniqueConstraint("purpose", "email"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    purpose: Mapped[str]
    email: Mapped[str]
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    nonce: Mapped[str]
    attempts: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
    client: Mapped[str | None]


class Letter(Base):
    """A mail in the outbox, which waits while `due_at` is set.

    `kind` is ``invite``, ``code``, ``reset``, or ``known``: a code was asked for by an address that has an account;
    ``approved`` or ``denied``, which is how an approval ended; ``ending``: an access to a project ends soon; or
    ``webhook``: the service has disabled a webhook. `sender_id` is the account that had an invitation
    mailed, if one did. A server sends it now if `busy_until` is yet to come, or did so when it ended.
    """

    __tablename__ = "outbox"

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    recipient: Mapped[str]
    invite_id: Mapped[str | None] = mapped_column(ForeignKey("invites.id"))
    code_id: Mapped[str | None] = mapped_column(ForeignKey("codes.id"))
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    project_id: Mapped[str | None] = mapped_column(ForeignKey("projects.id"))
    webhook_id: Mapped[str | None] = mapped_column(ForeignKey("webhooks.id"))
    created_at: Mapped[datetime]
    due_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    sent_at: Mapped[datetime | None]
    dropped_at: Mapped[datetime | None]
    last_error: Mapped[str | None]
    sender_id: Mapped[str | None]
    busy_until: Mapped[datetime | None]

    invite: Mapped[Invite | None] = relationship()
    code: Mapped[Code | None] = relationship()
    user: Mapped[User | None] = relationship()
    project: Mapped[Project | None] = relationship()
    webhook: Mapped["Webhook | None"] = relationship()

    @property
    def state(self) -> str:
        """``sent``, ``waiting``, ``refused`` by the mail server for good, or ``dropped`` since it no longer applied."""
        if self.sent_at:
            return "sent"
        if self.dropped_at:
            return "refused" if self.last_error else "dropped"
        return "waiting"


class BlockedAddress(Base):
    """An address to which no invitation is mailed; `hash` is a keyed hash of it (rules/tokens.py)."""

    __tablename__ = "blocked_addresses"

    hash: Mapped[str] = mapped_column(primary_key=True)
    blocked_at: Mapped[datetime]


class Webhook(Base):
    """Where events are sent. Its secret is derived from `nonce` and the master secret (rules/tokens.py).

    `types` are types and families of events with commas between, None for all. `why` is ``gone`` or ``failing`` if the
    service itself disabled it. Deliveries are written for all events up to the number `seen`.
    """

    __tablename__ = "webhooks"

    id: Mapped[str] = mapped_column(primary_key=True)
    url: Mapped[str]
    types: Mapped[str | None]
    project_id: Mapped[str | None] = mapped_column(ForeignKey("projects.id"))
    is_private: Mapped[bool] = mapped_column(default=False)
    nonce: Mapped[str]
    secret_hash: Mapped[str]
    former_nonce: Mapped[str | None]
    former_hash: Mapped[str | None]
    rotated_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    why: Mapped[str | None]
    seen: Mapped[int] = mapped_column(BigInteger)
    kept: Mapped[int] = mapped_column(BigInteger, default=0)
    busy_until: Mapped[datetime | None]
    tried_at: Mapped[datetime | None]
    failing_since: Mapped[datetime | None]

    project: Mapped[Project | None] = relationship()

    @property
    def state(self) -> str:
        """``disabled``; ``failing`` if the last try failed; else ``enabled``."""
        if self.disabled_at:
            return "disabled"
        return "failing" if self.failing_since else "enabled"


class Delivery(Base):
    """An event that one webhook is told of, which waits while `due_at` is set.

    `event` is the event's number, and `type` and `happened_at` are the event's, too.
    """

    __tablename__ = "deliveries"
    __table_args__ = (UniqueConstraint("webhook_id", "event"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhooks.id"))
    event: Mapped[int] = mapped_column(BigInteger)
    type: Mapped[str]
    happened_at: Mapped[datetime]
    created_at: Mapped[datetime]
    due_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    sent_at: Mapped[datetime | None]
    status: Mapped[int | None]
    milliseconds: Mapped[int | None]
    last_error: Mapped[str | None]

    webhook: Mapped[Webhook] = relationship()

    @property
    def event_id(self) -> str:
        """The id of its event, under which it is sent, however often."""
        return clock.id_of(self.happened_at, self.event)

    @property
    def state(self) -> str:
        """``sent``, ``waiting`` for its next try, ``failed`` at its last, or ``kept``: its webhook was disabled."""
        if self.sent_at:
            return "sent"
        if self.due_at:
            return "waiting"
        return "failed" if self.attempts else "kept"


class Counter(Base):
    """How many tries at a secret were counted (`spent`), for one purpose and one subject, since a moment."""

    __tablename__ = "counters"

    purpose: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    spent: Mapped[int]
    since: Mapped[datetime]


class Event(Base):
    """One thing that happened to an invite, a person, a project, a key, a preset or a webhook.

    rules/events.py has the types.

    `number` grows in the order of commits. `actor` is who did it, as text; `facts` is JSON.
    """

    __tablename__ = "events"

    number: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)
    at: Mapped[datetime]
    type: Mapped[str]
    actor: Mapped[str]
    actor_id: Mapped[str | None]
    invite_id: Mapped[str | None]
    project_id: Mapped[str | None]
    user_id: Mapped[str | None]
    facts: Mapped[str | None]

    @property
    def id(self) -> str:
        """What it is called elsewhere; it sorts by the time."""
        return clock.id_of(self.at, self.number)
