"""A thread that works in the background while the server runs."""

import logging
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence

import clock
from database.abstract import Database
from database.units import Unavailable
from settings import Settings, in_force

log = logging.getLogger("invite_api")


class BackgroundThread(threading.Thread, ABC):
    """A thread that repeats its work until it is stopped, with its settings in force.

    An error is logged, and the work is tried again.

    A subclass defines `work` and two texts for the log: `unavailable`, in which ``%s`` is what is wrong
    with the database, and `failed`, for an error that nothing provides for.
    """

    unavailable: str
    failed: str

    def __init__(self, name: str, database: Database, settings: Settings, pause: float, patience: float) -> None:
        """`pause`: seconds to wait when there is nothing to do. `patience`: seconds that `stop` waits at most."""
        super().__init__(name=name, daemon=True)
        self.database, self.settings = database, settings
        self.pause, self.patience = pause, patience
        self._stopped = threading.Event()

    @abstractmethod
    def work(self) -> bool:
        """Do a small piece of work; returns whether there was any, so that the next one follows at once."""

    def run(self) -> None:
        """Work until `stop` is called, with a pause when there is nothing to do and after an error."""
        with in_force(self.settings):
            while not self._stopped.is_set():
                if not self._worked():
                    self._stopped.wait(self.pause)

    def stop(self) -> None:
        """End the thread after the piece of work that it is doing."""
        self._stopped.set()
        self.join(timeout=self.patience)

    @staticmethod
    def stop_all(threads: "Sequence[BackgroundThread]") -> None:
        """End these threads, as `stop` does for one; they are waited for together."""
        began = clock.ticks()
        for each in threads:
            each._stopped.set()
        for each in threads:
            each.join(timeout=max(0.0, began + each.patience - clock.ticks()))

    def _worked(self) -> bool:
        try:
            return self.work()
        except Unavailable as error:
            log.error(self.unavailable, error)
        except Exception as error:
            log.error(self.failed, exc_info=error)
        return False
