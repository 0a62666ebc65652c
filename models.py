"""One mapped class per table of schema.sql, and what a row knows of itself.

schema.sql is the truth; a test compares the two. No query is made here.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from sqlite3 import DatabaseError
from typing import Any, ClassVar

from sqlalchemy import TIMESTAMP, Boolean, Dialect, ForeignKey, Text, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator


class Moment(TypeDecorator[datetime]):
    """A moment in time: aware and UTC in Python, a TIMESTAMP without a zone in the database."""

    impl = TIMESTAMP
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        return None if value is None else value.astimezone(UTC).replace(tzinfo=None)

    def result_processor(self, dialect: Dialect, coltype: object) -> Callable[[Any], datetime | None]:
        """Read what is in a cell; raises DatabaseError for what is no moment: somebody else wrote there."""
        read = self.impl_instance.result_processor(dialect, coltype) or (lambda value: value)

        def process(value: Any) -> datetime | None:
            try:
                moment: datetime | None = read(value)
                return moment and moment.replace(tzinfo=UTC)
            except (AttributeError, TypeError, ValueError) as error:
                raise DatabaseError("a cell that should have a moment has none") from error

        return process


class Base(DeclarativeBase):
    """The parent of all tables."""

    type_annotation_map: ClassVar[dict[Any, Any]] = {str: Text, datetime: Moment, bool: Boolean}


class SchemaVersion(Base):
    """The one row that says which schema the database has."""

    __tablename__ = "schema_version"

    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)


class Person:
    """What an account's facts come to, be they read as an object or as a row."""

    @property
    def may_sign_in(self: Any) -> bool:
        """Whether the account is neither disabled nor deleted."""
        return self.disabled_at is None and self.deleted_at is None

    @property
    def called(self: Any) -> str:
        """What to call this person: the display name, else the user name, else the address's local part."""
        return called(self.display_name, self.username, self.email)


class User(Person, Base):
    """A person's account, by user name, by address, or both."""

    __tablename__ = "users"

    id: Mapped[str] = mapped_column(primary_key=True)
    username: Mapped[str | None] = mapped_column(unique=True)
    email: Mapped[str | None] = mapped_column(unique=True)
    email_verified_at: Mapped[datetime | None]
    display_name: Mapped[str | None]
    password_hash: Mapped[str | None]
    admin_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    disabled_at: Mapped[datetime | None]
    deleted_at: Mapped[datetime | None]


def called(display_name: str | None, username: str | None, email: str | None) -> str:
    """What to call the person whose account has these."""
    return display_name or username or (email or "a deleted account").partition("@")[0]


class Session(Base):
    """One signing in, by a program or a browser."""

    __tablename__ = "sessions"

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    refresh_hash: Mapped[str | None]
    parent_hash: Mapped[str | None]
    rotated_at: Mapped[datetime | None]
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]

    user: Mapped[User] = relationship()


class AccessToken(Base):
    """A token that stands for a session, for an hour."""

    __tablename__ = "access_tokens"

    hash: Mapped[str] = mapped_column(primary_key=True)
    session_id: Mapped[str] = mapped_column(ForeignKey("sessions.id"))
    expires_at: Mapped[datetime]

    session: Mapped[Session] = relationship()


class ApiKey(Base):
    """A key with which a program makes invites for the site."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str | None]
    secret_hash: Mapped[str]
    created_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    expires_at: Mapped[datetime | None]


class Project(Base):
    """What an invite may let people join."""

    __tablename__ = "projects"

    id: Mapped[str] = mapped_column(primary_key=True)
    name: Mapped[str]
    slug: Mapped[str | None] = mapped_column(unique=True)
    description: Mapped[str | None]
    is_public: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class Member(Base):
    """Who belongs to a project, and as what."""

    __tablename__ = "members"
    __table_args__ = (UniqueConstraint("project_id", "user_id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    role: Mapped[str]
    joined_at: Mapped[datetime]

    project: Mapped[Project] = relationship()
    user: Mapped[User] = relationship()


class Invite(Base):
    """An invitation. Its token is not here: it is derived from the nonce and the master secret."""

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

    project: Mapped[Project | None] = relationship()
    maker: Mapped[User | None] = relationship()
    redemptions: Mapped[list["Redemption"]] = relationship(back_populates="invite", order_by="Redemption.redeemed_at")

    def state(self, now: datetime) -> str:
        """``used``, ``revoked``, ``expired`` or ``active``: the first that holds."""
        return state_of(self, now)


def state_of(invite: Any, now: datetime) -> str:
    """The state of an invite, or of a row that has its `uses`, `max_uses`, `revoked_at` and `expires_at`."""
    if invite.uses >= invite.max_uses:
        return "used"
    if invite.revoked_at:
        return "revoked"
    if invite.expires_at and invite.expires_at <= now:
        return "expired"
    return "active"


class Redemption(Base):
    """One use of an invite; `user_id` is None only for a use that made nobody known."""

    __tablename__ = "redemptions"
    __table_args__ = (UniqueConstraint("invite_id", "user_id"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    invite_id: Mapped[str] = mapped_column(ForeignKey("invites.id"))
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    redeemed_at: Mapped[datetime]

    invite: Mapped[Invite] = relationship(back_populates="redemptions")
    user: Mapped[User | None] = relationship()


class Code(Base):
    """A six-digit code sent by mail."""

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
    """A mail to be sent; `kind` is ``invite``, ``code``, ``known`` or ``reset``."""

    __tablename__ = "outbox"

    id: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    recipient: Mapped[str]
    invite_id: Mapped[str | None] = mapped_column(ForeignKey("invites.id"))
    code_id: Mapped[str | None] = mapped_column(ForeignKey("codes.id"))
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id"))
    created_at: Mapped[datetime]
    due_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    sent_at: Mapped[datetime | None]
    dropped_at: Mapped[datetime | None]
    last_error: Mapped[str | None]

    invite: Mapped[Invite | None] = relationship()
    code: Mapped[Code | None] = relationship()
    user: Mapped[User | None] = relationship()


class Counter(Base):
    """How many tries at a secret have been spent."""

    __tablename__ = "counters"

    purpose: Mapped[str] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(primary_key=True)
    spent: Mapped[int]
    since: Mapped[datetime]
