"""What README.md and the pages of docs/ name, compared with what there is: complaints about what is not."""

import ast
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatch
from functools import cache
from pathlib import Path
from typing import NamedTuple

import click
from werkzeug.exceptions import HTTPException, MethodNotAllowed
from werkzeug.routing import Map, RequestRedirect, Rule

import app
import cli
import programs
from reader import ADDRESS
from rules import refusals
from settings import HOME, PREFIX, table

README = HOME / "README.md"
PAGES = [README, *sorted((HOME / "docs").glob("*.md"))]
FOLDERS = (
    "bench|commands|database|delivery|deploy|dialects|docs|language|migrations|rules|settings|static|templates|tests"
)
FOLDERS += "|upkeep|web"
# Where paths begin that are not those of the API: files' on some machine, and those that a proxy takes away.
ELSEWHERE = ("data", "dev", "etc", "home", "join", "opt", "path", "proc", "run", "share", "srv", "tmp", "usr", "var")

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.M | re.S)
_SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
_COMMAND = re.compile(r"(?:(?<=bin/)|(?<![\w./-]))(?<!-[ug] )(?<!exec )invite-api((?: [^\s|;&<>`()]+)*)")
_CALL = re.compile(r"((?:(?:GET|POST|PUT|PATCH|DELETE|HEAD|OPTIONS) )*)(/[^\s`]*)")
_FILE = re.compile(rf"(?:{FOLDERS})/[\w./*-]*|[\w-]+\.(?:py|sql|md|toml|po)")
_HEADING = re.compile(r"^(#+) (.+)$", re.M)


class Page(NamedTuple):
    """A page: where it lies, and its text."""

    path: Path
    text: str

    @property
    def prose(self) -> str:
        """The text without its blocks of code."""
        return _FENCE.sub("", self.text)

    @property
    def spans(self) -> list[str]:
        """Code within the sentences."""
        return _SPAN.findall(self.prose)

    @property
    def typed(self) -> list[str]:
        """What somebody is to type: the lines of shell, and those after a prompt."""
        lines = []
        for language, block in _FENCE.findall(self.text):
            if language == "console":
                lines += [line[2:] for line in block.splitlines() if line.startswith("$ ")]
            elif language == "sh":
                lines += block.splitlines()
        return lines

    def without(self) -> "Page":
        """All but the sections about what is not here."""
        return self._replace(text="".join(text for heading, text in self.sections() if not _is_absent(heading)))

    def absent(self) -> "Page":
        """The sections about what is not here."""
        return self._replace(text="".join(text for heading, text in self.sections() if _is_absent(heading)))

    def sections(self) -> Iterator[tuple[str, str]]:
        """(heading, text) of each section."""
        parts = re.split(r"^(?=#+ )", self.text, flags=re.M)
        for part in parts:
            yield part.partition("\n")[0], part


def read(path: Path) -> Page:
    """The page in a file."""
    return Page(path, path.read_text())


def _is_absent(heading: str) -> bool:
    return heading.startswith("#") and "not here" in heading


def complaints(page: Page) -> list[str]:
    """Whatever a page names that is not there; and what it says is not here, and is."""
    here = page.without()
    named = [*_commands(here), *_calls(here), *_settings(here), *_files(here), *_code(here), *_links(page)]
    return named + [
        f"there is {each}, after all" for each in page.absent().spans if _CALL.fullmatch(each) and _is(each)
    ]


def _commands(page: Page) -> Iterator[str]:
    for line in page.typed + page.spans:
        for found in _COMMAND.findall(line):
            yield from misused(found.split())
    for row in re.findall(r"^\| `invite-api .*$", page.text, re.M):
        first, *others = _SPAN.findall(row)
        options = [word for span in others for word in span.split() if word.startswith("--")]
        yield from misused(first.split()[1:] + options)


def misused(words: Sequence[str]) -> Iterator[str]:
    """What is wrong with the words after `invite-api`."""
    command: click.Command = cli.main
    path = ["invite-api"]
    rest = list(words)
    while rest and isinstance(command, click.Group) and not rest[0].startswith("-"):
        path.append(rest.pop(0))
        found = command.commands.get(path[-1])
        if found is None:
            yield f"no command {' '.join(path)}"
            return
        command = found
    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help", "-h"}
    given = {name.partition("=")[0] for word in rest if word.startswith("--") for name in word.split("/")}
    yield from (f"{' '.join(path)} has no {option}" for option in sorted(given - known))


def _calls(page: Page) -> Iterator[str]:
    paths = re.findall(re.escape(ADDRESS) + r"(/[^\s\"'`?#)]*)", page.text)
    spans = [each for each in page.spans if _CALL.fullmatch(each)]
    yield from (f"no {each} in the map" for each in paths + spans if not _is(each) and not _lies_elsewhere(each))


def _is(call: str) -> bool:
    """Whether the map has such a call, by all methods that are named with it, or by any."""
    methods, path = _CALL.fullmatch(call).groups()
    path = re.sub(r"\{\w+\}|\$\w+|\b[A-Z]+\b", "x", path.partition("?")[0])
    return all(_is_in_map(path, each) for each in methods.split() or [None])


def _is_in_map(path: str, method: str | None) -> bool:
    try:
        _map().bind("").match(path, method=method or "GET")
    except (MethodNotAllowed, RequestRedirect) as other:
        return method is None or isinstance(other, RequestRedirect)
    except HTTPException:
        return False
    return True


@cache
def _map() -> Map:
    rows = [row for rows in app.ROUTES.values() for row in rows]
    rules = [Rule(row.path, endpoint=row.path, methods=row.methods.split()) for row in rows]
    return Map([*rules, Rule("/static/<path:name>", endpoint="static")], strict_slashes=False)


def _lies_elsewhere(call: str) -> bool:
    return call.split("/")[1] in ELSEWHERE


def _settings(page: Page) -> Iterator[str]:
    known = {name for name, _, _ in table()}
    yield from (f"no setting {each}" for each in re.findall(r"INVITE_API_[A-Z_]*[A-Z]", page.text) if each not in known)


def _files(page: Page) -> Iterator[str]:
    spans = [each for each in page.spans if _FILE.fullmatch(each)]
    words = [word for line in page.typed for word in line.split() if re.match(rf"(?:{FOLDERS})/", word)]
    yield from (f"no file {each}" for each in spans + words if not _is_file(each))


def _is_file(name: str) -> bool:
    return any(HOME.glob(name)) if "/" in name else any(fnmatch(each, name) for each in _file_names())


@cache
def _file_names() -> set[str]:
    """The names of all files and folders of the project, without what is hidden, such as the environment."""
    ours = [path for path in HOME.iterdir() if not path.name.startswith(".")]
    return {each.name for path in ours for each in (path, *path.rglob("*"))}


def _code(page: Page) -> Iterator[str]:
    """Functions, tests and codes of refusals."""
    known, codes = _defined(), {each.code for each in _refusals()} | {"NO_COLOR", programs.PATH_ALONE}
    codes |= {name.removeprefix(PREFIX) for name, _, _ in table()}
    for span in page.spans:
        function = re.fullmatch(r"(?:\w+\.)*?(?:(\w+)\.)?(\w+)\(\)|(test_\w+)", span)
        if function and (function[2] or function[3]) not in _defined_in(function[1]):
            yield f"no function {span}"
        if re.fullmatch(r"[A-Z]+(_[A-Z]+)+", span) and not span.startswith(PREFIX) and span not in codes | known:
            yield f"no code {span}"


def _refusals(parent: type[refusals.Refusal] = refusals.Refusal) -> Iterator[type[refusals.Refusal]]:
    for each in parent.__subclasses__():
        yield each
        yield from _refusals(each)


def _defined_in(module: str | None) -> set[str]:
    """The names that a module or package defines; those of all modules where none is called so, as for an object."""
    return set().union(*(names for path, names in _modules() if module in (path.stem, path.parent.name))) or _defined()


def _defined() -> set[str]:
    """The names of all functions, classes and constants of the project."""
    return set().union(*({path.stem, *names} for path, names in _modules()))


@cache
def _modules() -> Sequence[tuple[Path, set[str]]]:
    """Each module of the project, and the names that it defines."""
    return [(path, _names(path)) for each in ("*.py", "[a-z]*/*.py", "tests/*/*.py") for path in HOME.glob(each)]


def _names(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def _links(page: Page) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)|src=\"([^\"]+)\"", page.prose):
        link = "".join(target)
        if re.match("https?:", link):
            continue
        name, _, anchor = link.partition("#")
        path = (page.path.parent / name).resolve()
        if not path.exists() or (anchor and anchor not in anchors(path.read_text() if name else page.text)):
            yield f"no {link}"


def anchors(text: str) -> set[str]:
    """What the headings of a page are called in links."""
    headings = [heading for _, heading in _HEADING.findall(_FENCE.sub("", text))]
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
