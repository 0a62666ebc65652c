"""How something leaves the house, a mail or a delivery to a webhook, at least once.

It is claimed in a unit of work of its own, which keeps others from it for a lease. It is composed from what is true
then, sent while no unit is open, and marked. If the process ends in between, it is due again after the lease.
"""

from abc import ABC, abstractmethod
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from sqlalchemy import ColumnElement, and_, or_

from database import Database, Unavailable

Item = TypeVar("Item")
Message = TypeVar("Message")
Outcome = TypeVar("Outcome")


class Queue(ABC, Generic[Item, Message, Outcome]):
    """Rows of one kind, which are delivered in this way."""

    @abstractmethod
    def is_any_due(self) -> bool:
        """Whether anything is due; in a unit that reads, so that writers do not wait for the search."""

    @abstractmethod
    def claim(self) -> Item | None:
        """The next that is due, which nobody else takes before its lease ends; None if none is. In a unit that writes.

        On a server that several processes share, what another one is about to claim is passed over.
        """

    @abstractmethod
    def compose(self, item: Item) -> Message | None:
        """What is to be sent, None if that no longer applies; in a unit that reads. Any error puts the item off."""

    @abstractmethod
    def send(self, message: Message) -> Outcome:
        """Send it, while no unit is open; returns what came of it, and raises nothing for that."""

    @abstractmethod
    def failed(self, item: Item, error: Exception) -> Outcome:
        """What came of an item that could not be composed."""

    @abstractmethod
    def mark(self, item: Item, outcome: Outcome) -> None:
        """Mark an item as sent, put it off, or give it up; in a unit that writes."""

    @abstractmethod
    def drop(self, item: Item) -> None:
        """Mark an item that no longer applies, and is never sent; in a unit that writes."""


def deliver_one(database: Database, queue: Queue[Item, Message, Outcome]) -> bool:
    """Send what has been due longest; returns False if nothing is due.

    What cannot be sent is put off, and the error is kept with it; nothing is raised for it. Raises Unavailable.
    """
    with database.reading():
        if not queue.is_any_due():
            return False
    with database.writing():
        item = queue.claim()
    if item is None:
        return False
    deliver(database, queue, item)
    return True


def deliver(database: Database, queue: Queue[Item, Message, Outcome], item: Item) -> Outcome | None:
    """Send what was claimed, and mark it; returns what came of it, None if it no longer applies. Raises Unavailable."""
    try:
        with database.reading():
            message = queue.compose(item)
        if message is None:
            with database.writing():
                queue.drop(item)
            return None
        outcome = queue.send(message)
    except Unavailable:
        raise
    except Exception as error:  # one that cannot be composed must not delay the others
        outcome = queue.failed(item, error)
    with database.writing():
        queue.mark(item, outcome)
    return outcome


def is_due(due_at: Any, now: datetime, longest: timedelta) -> ColumnElement[bool]:
    """The condition that a moment has come.

    Nothing is put off for longer than `longest`: a later moment was written while the clock was wrong.
    """
    return and_(due_at.is_not(None), or_(due_at <= now, due_at > now + 2 * longest))
