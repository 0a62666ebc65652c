"""What each application compiles at its start and at its first requests, compiled once in this process.

These are the rules of its map, its templates and its statements. Every test has an application of its own; that it is
there and answers sooner is all that this changes.
"""

from collections.abc import Hashable
from threading import RLock
from typing import Any, ClassVar

from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from sqlalchemy import Connection
from werkzeug.routing import Map, Rule


class MapDrawnOnce(Map):
    """A map of rules that takes over what an equal one was drawn to, when it is first asked for one."""

    _drawn: ClassVar[dict[Hashable, tuple[Any, Any]]] = {}
    _drawing = RLock()

    def __init__(self, *given: Any, **named: Any) -> None:
        self._undrawn: list[Rule] = []
        super().__init__(*given, **named)

    def add(self, rulefactory: Any) -> None:
        """Keep a rule for later."""
        self._undrawn.append(rulefactory)
        self._remap = True

    def update(self) -> None:
        """As in Werkzeug, but only for the first map of its kind."""
        with self._drawing:
            if self._remap:
                self._draw()

    def _draw(self) -> None:
        rules = [(each.rule, each.endpoint, frozenset(each.methods or ())) for each in self._undrawn]
        asked = self.strict_slashes, self.merge_slashes, *rules
        if asked not in self._drawn:
            for each in self._undrawn:
                super().add(each)
            super().update()
            self._drawn[asked] = self._matcher, self._rules_by_endpoint
        self._matcher, self._rules_by_endpoint = self._drawn[asked]
        self._remap = False


class TemplatesCompiledOnce(BytecodeCache):
    """Templates as they are in one language."""

    def __init__(self) -> None:
        self._compiled: dict[str, bytes] = {}

    def get_bucket(self, environment: Any, name: str, filename: str | None, source: str) -> Bucket:
        """As in Jinja, but for the language, which is compiled into them."""
        return super().get_bucket(environment, f"{environment._code} {name}", filename, source)

    def load_bytecode(self, bucket: Bucket) -> None:
        """Take what was compiled from the same source."""
        if bucket.key in self._compiled:
            bucket.bytecode_from_string(self._compiled[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep what has been compiled."""
        self._compiled[bucket.key] = bucket.bytecode_to_string()


class StatementsCompiledOnce(dict[Any, Any]):
    """Statements in the words of each kind of database; an engine's own cache ends with the test that made it."""

    def get(self, key: Any, default: Any = None) -> Any:
        """What was compiled for another engine of this kind, too: `key` begins with the engine's dialect."""
        return super().get(_of_any_engine(key), default)

    def __setitem__(self, key: Any, compiled: Any) -> None:
        super().__setitem__(_of_any_engine(key), compiled)


def _of_any_engine(key: Any) -> Hashable:
    dialect, *statement = key
    return dialect.name, *statement


_statements = StatementsCompiledOnce()


def share_statements(connection: Connection) -> None:
    """Have a connection that was just made find its statements among those of all engines."""
    connection.execution_options(compiled_cache=_statements)
