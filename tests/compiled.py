"""What each application compiles at its start, the rules of its map and its templates, compiled once in this process.

Every test has an application of its own; that it is there sooner is all that this changes.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

from jinja2 import BytecodeCache
from jinja2.bccache import Bucket
from werkzeug.routing import Rule

_OWN = ("map", "methods", "endpoint")  # of a rule; the rest follows from what it is called with


class RuleCompiledOnce(Rule):
    """A rule that takes over what an equal one was compiled to."""

    _compiled: ClassVar[dict[str, Mapping[str, Any]]] = {}

    def compile(self) -> None:
        """As in Werkzeug."""
        asked = repr(sorted((name, value) for name, value in vars(self).items() if name not in _OWN))
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
