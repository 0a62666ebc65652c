"""JSON Schemas of the shapes that the dialects take and answer, and examples made from them."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, get_args, get_type_hints, is_typeddict

import msgspec

Object = dict[str, Any]


@dataclass(frozen=True)
class Schemas:
    """The schemas of shapes; those with names are collected as components."""

    named: Object = field(default_factory=dict)

    def of(self, shape: Any) -> Object:
        """The schema of a type, perhaps a reference."""
        (schema,), named = msgspec.json.schema_components((shape,), ref_template="#/components/schemas/{name}")
        orders = {each.__name__: list(each.__annotations__) for each in _typed_dicts(shape)}
        for name, each in named.items():
            found = _typed(_in_order(orders[name], each))
            if self.named.setdefault(name, found) != found:
                raise ValueError(f"two different shapes are called {name}")
        return dict(_typed(schema))

    def of_form(self, shape: Any) -> Object:
        """The schema of a type as it is in a form: under a name of its own, for it is written in another way."""
        schema = self.whole(self.of(shape))
        title = f"{schema['title']}Form"
        self.named[title] = {**schema, "title": title}
        return {"$ref": f"#/components/schemas/{title}"}

    def whole(self, schema: Object) -> Object:
        """A schema itself, where there was a reference to it."""
        return self.named[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema

    def members(self, shape: Any) -> Object:
        """The schemas of a shape's fields, by their names."""
        members: Object = self.whole(self.of(shape))["properties"]
        return members

    def example(self, schema: Object, sparse: bool = False) -> Any:
        """What it may look like; if `sparse`, with no more members than are needed, and the first."""
        schema = self.whole(schema)
        if "examples" in schema:
            return schema["examples"][0]
        if "anyOf" in schema:
            return self.example(schema["anyOf"][0])
        if "const" in schema or "enum" in schema:
            return schema.get("const") or schema["enum"][0]
        if schema.get("type") == "array":
            return [] if schema.get("maxItems") == 0 else [self.example(schema["items"])]
        if schema.get("type") == "object":
            members = schema.get("properties", {})
            names = {*schema.get("required", ()), *list(members)[:1]} if sparse else members
            return {name: self.example(members[name]) for name in members if name in names}
        return {"boolean": True, "integer": 1, "null": None}.get(schema.get("type", ""), "…")


def _typed(schema: Any) -> Any:
    """The same schema, in which every choice of values says its type, and a choice of one is a constant.

    Of true or false alone only the type is said, with the value as an example: some of the programs that make
    typed clients compare it with the word ``true``, and refuse every good answer.
    """
    if isinstance(schema, list):
        return [_typed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: _typed(each) for name, each in schema.items()}
    match kept.pop("enum", []):
        case [bool() as only]:
            return {"type": "boolean", "examples": [only], "description": f"Always {json.dumps(only)}.", **kept}
        case [str() as only]:
            return {"type": "string", "const": only, **kept}
        case [_, *_] as words:
            return {"type": "string", "enum": words, **kept}
    return kept


def _typed_dicts(shape: Any) -> Iterator[type]:
    """The TypedDicts of which a type consists, at any depth."""
    if is_typeddict(shape):
        yield shape
    for each in get_type_hints(shape).values() if is_typeddict(shape) else get_args(shape):
        yield from _typed_dicts(each)


def _in_order(order: Sequence[str], schema: Object) -> Object:
    """The schema of a shape, its members in the order in which they were written down."""
    needed = [each for each in order if each in schema.get("required", ())]
    properties = {each: schema["properties"][each] for each in order}
    rest = {name: each for name, each in schema.items() if name not in ("properties", "required")}
    return {**rest, "properties": properties, **({"required": needed} if needed else {})}
