"""How a view says what it takes, what it answers, and what it may refuse.

What it takes and answers stands in its signature, as shapes: of a `body` (a JSON object, read by who reads
its fields), a `form`, a `query`, what is `asked` in any of these, or `flags` that are in the query or not.
What it may refuse is noted on it. openapi.py reads all of that; a row's steps get what they name by way of
`fed`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from inspect import get_annotations
from types import UnionType
from typing import Annotated, Any, Literal, NotRequired, TypeVar, Union, get_args, get_origin, get_type_hints

from flask import Response

from dialects import wire
from rules import fields
from rules.refusals import Refusal

T = TypeVar("T")
Step = Callable[..., Any]
Read = Callable[[Any], Any]


@dataclass(frozen=True)
class Answer:
    """An answer: its status, what its body is, in which media type, and a header that matters."""

    status: int
    shape: Any = None
    media: str = "application/json"
    header: str = ""


@dataclass(frozen=True)
class Refused:
    """How a refusal is told by one view: with a status that is not that of its dialect, in a shape of its own."""

    at: int | None = None
    shape: Any = None


DEPRECATED = "deprecated"
_UNIONS = Union, UnionType

Created = tuple[T, Literal[201]]
Deprecated = Annotated[tuple[T, dict[str, str]], DEPRECATED]
Linked = Annotated[Response, Answer(201, header="Location"), Answer(303, header="Location")]
Empty = Annotated[Response, Answer(200)]
Style = Annotated[Response, Answer(200, str, "text/css")]
Picture = Annotated[Response, Answer(200, str, "image/svg+xml")]
Document = Annotated[Response, Answer(200, dict[str, Any])]


def refuses(*refusals: type[Refusal], at: int | None = None, shape: Any = None) -> Callable[[Step], Step]:
    """Note on a view what it, and the steps before it, may refuse."""

    def note(view: Step) -> Step:
        view.__dict__.setdefault("refuses", {}).update(dict.fromkeys(refusals, Refused(at, shape)))
        return view

    return note


def refused_by(view: Step) -> Mapping[type[Refusal], Refused]:
    """What is noted on a view."""
    noted: Mapping[type[Refusal], Refused] = view.__dict__.get("refuses", {})
    return noted


def taken_by(step: Step) -> Mapping[str, Any]:
    """The shapes that a step names, by where they come from."""
    return {name: shape for name, shape in get_annotations(step).items() if name in SOURCES}


def fed(step: Step) -> Step:
    """The same step, given what it names beside its caller; it is read when the step is reached, not before."""
    sources = {name: SOURCES[name](shape) for name, shape in taken_by(step).items()}
    if not sources:
        return step

    def taking(*given: Any, **path: str) -> Any:
        return step(*given, **{name: read() for name, read in sources.items()}, **path)

    return taking


def answers(view: Step) -> list[Answer]:
    """What a view's return type promises; a Response beside a shape is a refusal."""
    return list(_answers(get_annotations(view)["return"]))


def pages(view: Step) -> list[Answer]:
    """Likewise of a page: text is one, and a Response leads on to another."""
    return list(_pages(get_annotations(view)["return"]))


def is_deprecated(view: Step) -> bool:
    """Whether a view is for old programs only."""
    return DEPRECATED in getattr(get_annotations(view)["return"], "__metadata__", ())


def _body(shape: Any) -> Callable[[], Any]:
    readers = _readers(shape)
    return partial(wire.body, readers, [name for name in readers if name in shape.__required_keys__])


def _readers(shape: Any) -> Mapping[str, Read]:
    """Who reads which field of a body: the function in its type; where there is none it must be text."""
    hints = get_type_hints(shape, include_extras=True).items()
    return {name: _reader(hint) or partial(fields.plain, field=name) for name, hint in hints}


def _reader(hint: Any) -> Read | None:
    if get_origin(hint) is NotRequired:
        (hint,) = get_args(hint)
    return next((each for each in getattr(hint, "__metadata__", ()) if callable(each)), None)


def _answers(hint: Any) -> Iterator[Answer]:
    noted, bare = _notes(hint)
    if noted:
        yield from noted
    elif get_origin(bare) in _UNIONS:
        for each in get_args(bare):
            yield from () if each is Response else _answers(each)
    elif get_origin(bare) is tuple:
        shape, beside = get_args(bare)
        yield Answer(get_args(beside)[0] if get_origin(beside) is Literal else 200, shape)
    else:
        yield Answer(200, hint)


def _pages(hint: Any) -> Iterator[Answer]:
    noted, bare = _notes(hint)
    kinds = get_args(bare) if get_origin(bare) in _UNIONS else (bare,)
    if noted:
        yield from noted
    elif str in kinds:
        yield Answer(200, str, "text/html")
    if not noted and Response in kinds:
        yield Answer(303, header="Location")


def _notes(hint: Any) -> tuple[list[Answer], Any]:
    """The answers that are noted on a type, and the type without any notes."""
    if get_origin(hint) is not Annotated:
        return [], hint
    bare, *notes = get_args(hint)
    return [each for each in notes if isinstance(each, Answer)], bare


# Where a step's arguments come from, by their names: from a shape to what reads it.
SOURCES: Mapping[str, Callable[[Any], Callable[[], Any]]] = {
    "body": _body,
    "form": lambda shape: partial(wire.form, list(shape.__annotations__)),
    "flags": lambda shape: partial(wire.flags, list(shape.__annotations__)),
    "query": lambda shape: partial(wire.query, list(shape.__annotations__)),
    "asked": lambda shape: partial(wire.query_or_body, list(shape.__annotations__)),
}
