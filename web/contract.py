"""How a view says what it takes, what it answers, and what it may refuse.

What it takes and answers stands in its signature, as shapes: of a `body` (a JSON object, read by who reads
its fields), of what is `given` (a JSON object as it was sent, which a rule reads), a `form`, a `query`, the
`parameters` in any of these, or `flags` that are in the query or not. What it creates `once` is what a second call
with the same Idempotency-Key gets again.
What it may refuse is noted on it. openapi.py reads all of that; `with_arguments` gives a view what it names.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from inspect import get_annotations
from types import UnionType
from typing import Annotated, Any, Literal, NotRequired, TypeVar, Union, get_args, get_origin, get_type_hints

from flask import Response

from rules import fields
from rules.refusals import Refusal
from web import requests

T = TypeVar("T")
View = Callable[..., Any]
Read = Callable[[Any], Any]


@dataclass(frozen=True)
class Answer:
    """An answer: its status, what its body is, in which media type, and a header that matters."""

    status: int
    shape: Any = None
    media: str = "application/json"
    header: str = ""


@dataclass(frozen=True)
class Answered:
    """How one view answers a refusal: with a status that is not that of its dialect, in a shape of its own."""

    at: int | None = None
    shape: Any = None


DEPRECATED = "deprecated"
_UNIONS = Union, UnionType

Created = tuple[T, Literal[201]]
CreatedWith = tuple[T, Literal[201], dict[str, str]]  # with X-Invites-Left, unless there is no limit
Deprecated = Annotated[tuple[T, dict[str, str]], DEPRECATED]
Linked = Annotated[Response, Answer(201, header="Location"), Answer(303, header="Location")]
Empty = Annotated[Response, Answer(200)]
Style = Annotated[Response, Answer(200, str, "text/css")]
Picture = Annotated[Response, Answer(200, str, "image/svg+xml")]
Icon = Annotated[Response, Answer(200, bytes, "image/x-icon")]
AppManifest = Annotated[Response, Answer(200, dict[str, Any], "application/manifest+json")]
Document = Annotated[Response, Answer(200, dict[str, Any])]


def refuses(*refusals: type[Refusal], at: int | None = None, shape: Any = None) -> Callable[[View], View]:
    """Note on a view what it may refuse, and `at` which status, if that is not its dialect's."""

    def note(view: View) -> View:
        view.__dict__.setdefault("refuses", {}).update(dict.fromkeys(refusals, Answered(at, shape)))
        return view

    return note


def refused_by(view: View) -> Mapping[type[Refusal], Answered]:
    """The refusals that @refuses notes on a view, each with its status and shape."""
    noted: Mapping[type[Refusal], Answered] = view.__dict__.get("refuses", {})
    return noted


def status_of(refusal: type[Refusal], view: View | None, statuses: Mapping[type[Refusal], int]) -> int:
    """The status of a refusal: what the view says, else what its dialect says."""
    noted = refused_by(view).get(refusal) if view else None
    return (noted and noted.at) or statuses[refusal]


def taken_by(view: View) -> Mapping[str, Any]:
    """The shapes that a view names, by where they come from."""
    return {name: shape for name, shape in get_annotations(view).items() if name in SOURCES}


def creates_once(view: View) -> bool:
    """Whether a view takes an Idempotency-Key, as its `once`."""
    return "once" in get_annotations(view)


@cache
def with_arguments(view: View, is_strict: bool = False) -> View:
    """The same view, to be called with its caller and the names in its path: what else it names is read for it.

    A view that does not name its caller is not given one. If it `is_strict`, what it does not name is refused.
    """
    taken = taken_by(view)
    sources = {name: SOURCES[name](shape) for name, shape in taken.items()}
    takes_caller = "caller" in get_annotations(view)
    is_once = creates_once(view)
    body, given, parameters = (getattr(taken.get(name), "__annotations__", {}) for name in ("body", "given", "query"))
    members = [*body, *given]

    def called(caller: Any, **path: str) -> Any:
        if is_strict:
            requests.refuse_unknown(members, [*parameters])
        given = {name: read() for name, read in sources.items()}
        if is_once:
            given["once"] = requests.once(caller.identity, {**given, **path})
        return view(caller, **given, **path) if takes_caller else view(**given, **path)

    return called


def answers(view: View) -> list[Answer]:
    """What the return type of a view promises: status, shape and media type of each answer."""
    return list(_answers(get_annotations(view)["return"]))


def pages(view: View) -> list[Answer]:
    """What the return type of a page promises: text is the page itself, and a Response leads on to another page."""
    return list(_pages(get_annotations(view)["return"]))


def is_deprecated(view: View) -> bool:
    """Whether a view is for old programs only."""
    return DEPRECATED in getattr(get_annotations(view)["return"], "__metadata__", ())


def _body(shape: Any) -> Callable[[], Any]:
    readers = _readers(shape)
    return partial(requests.body, readers, [name for name in readers if name in shape.__required_keys__])


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
        shape, beside, *headers = get_args(bare)
        noted_header = get_args(beside)[1] if get_origin(beside) is Annotated else ""
        header = "X-Invites-Left" if headers else noted_header
        yield Answer(get_args(beside)[0] if get_origin(beside) is Literal else 200, shape, header=header)
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
    "given": lambda shape: requests.given,  # noqa: ARG005 (the shape is what openapi.py describes)
    "form": lambda shape: partial(requests.form, list(shape.__annotations__)),
    "flags": lambda shape: partial(requests.flags, list(shape.__annotations__)),
    "query": lambda shape: partial(requests.query, list(shape.__annotations__)),
    "parameters": lambda shape: partial(requests.query_or_body, list(shape.__annotations__)),
}
