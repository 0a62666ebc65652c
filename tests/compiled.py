"""What each application compiles at its start and at its first requests, compiled once in this process.

These are the rules of its map, its templates and its statements. Every test has an application of its own; that it is
there and answers sooner is all that this changes.
"""

from collections.abc import Hashable, Mapping
from typing import Any, ClassVar

from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from sqlalchemy import Connection
from werkzeug.routing import Rule

_OWN = ("map", "methods", "endpoint")  # of a rule; the rest follows from what it is called with


class RuleCompiledOnce(Rule):
    """A rule that takes over what an equal one was compiled to."""

    _compiled: ClassVar[dict[Hashable, Mapping[str, Any]]] = {}

    def compile(self) -> None:
        """As in Werkzeug."""
        asked = self.rule, self.strict_slashes, self.merge_slashes, self.subdomain, self.host, self.build_only
        if asked not in self._compiled:
            super().compile()
            self._compiled[asked] = {name: value for name, value in vars(self).items() if name not in _OWN}
        vars(self).update(self._compiled[asked])


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
