"""JSON Schemas of the shapes that the dialects take and answer, and examples made from them."""

from dataclasses import dataclass, field
from typing import Any

import msgspec

from dialects import shapes

Object = dict[str, Any]


@dataclass(frozen=True)
class Schemas:
    """The schemas of shapes; those with names are collected as components."""

    named: Object = field(default_factory=dict)

    def of(self, shape: Any) -> Object:
        """The schema of a type, perhaps a reference."""
        (schema,), named = msgspec.json.schema_components((shape,), ref_template="#/components/schemas/{name}")
        self.named.update({name: _in_order(name, each) for name, each in named.items()})
        return schema

    def whole(self, schema: Object) -> Object:
        """A schema itself, where there was a reference to it."""
        return self.named[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema

    def members(self, shape: Any) -> Object:
        """The schemas of a shape's fields, by their names."""
        members: Object = self.whole(self.of(shape))["properties"]
        return members

    def example(self, schema: Object, sparse: bool = False) -> Any:
        """What it may look like; if `sparse`, with no more members than are needed, but one."""
        schema = self.whole(schema)
        if "examples" in schema:
            return schema["examples"][0]
        if "anyOf" in schema:
            return self.example(schema["anyOf"][0])
        if "enum" in schema:
            return schema["enum"][0]
        if schema.get("type") == "array":
            return [] if schema.get("maxItems") == 0 else [self.example(schema["items"])]
        if schema.get("type") == "object":
            members = schema.get("properties", {})
            names = (schema.get("required") or list(members)[:1]) if sparse else members
            return {name: self.example(members[name]) for name in members if name in names}
        return {"boolean": True, "integer": 1}.get(schema.get("type", ""), "…")


def _in_order(name: str, schema: Object) -> Object:
    """The schema of a shape, its members in the order in which they were written down."""
    order = list(getattr(shapes, name).__annotations__)
    needed = [each for each in order if each in schema.get("required", ())]
    properties = {each: schema["properties"][each] for each in order}
    return {**schema, "properties": properties, **({"required": needed} if needed else {})}
