"""The house keeps its own rules: who imports whom, and the shape of the map."""

import ast
import inspect
import re
from pathlib import Path

import httptools
import pytest
from flask import Flask
from flask_sqlalchemy import SQLAlchemy

import clock
from app import ROUTES, create_app
from conftest import make_settings
from dialects import manual, ops
from rules import refusals
from settings import HOME, in_force
from web import contract, errors, guards
from web.map import Work, matching

pytestmark = pytest.mark.any_database

ROWS = [(dialect, row) for dialect, rows in ROUTES.items() for row in rows]

# A module may import these of ours; what is not listed may import none.
MAY_IMPORT = {
    "clock": set(),
    "settings": {"settings", "clock"},
    "language": {"language", "settings", "clock"},
    "database": {"database", "settings", "clock"},
    "models": {"clock"},
    "rules": {"rules", "models", "database", "settings", "clock"},
    "upkeep": {"upkeep", "rules", "models", "database", "settings", "clock"},
    "delivery": {"delivery", "language", "rules", "models", "database", "settings", "clock"},
    "web": {"web", "language", "rules", "database", "settings", "clock"},
    "dialects": {"dialects", "web", "language", "rules", "settings", "clock"},
    "app": {"dialects", "web", "rules", "models", "database", "settings", "clock"},
    "commands": {
        *("commands", "app", "web", "delivery", "upkeep"),
        *("rules", "models", "database", "settings", "clock"),
    },
    "cli": {"commands", "settings"},
    "invite_api": {"invite_api", "cli"},
}
FOREIGN_TO = {
    "rules": {"flask", "werkzeug", "click", "asyncio", "httptools"},
    "dialects": {"sqlalchemy", "flask_sqlalchemy", "click"},
    "models": {"flask", "flask_sqlalchemy"},
    "database": {"flask", "flask_sqlalchemy"},
    "upkeep": {"flask", "flask_sqlalchemy", "click"},
    "web": {"flask_sqlalchemy", "click"},
    "commands": {"flask", "flask_sqlalchemy", "sqlalchemy"},
    "cli": {"flask", "flask_sqlalchemy", "sqlalchemy"},
}


def modules():
    for path in sorted(HOME.glob("*.py")) + sorted(HOME.glob("[!.tb]*/**/*.py")):
        relative = path.relative_to(HOME)
        if relative.parts[0] in ("docs", "examples"):  # looks at the service, and is no part of it
            continue
        yield relative.parts[0].removesuffix(".py"), path


def imported(path: Path) -> set[str]:
    """The full names that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{each.name}" for each in node.names}
    return names


@pytest.mark.parametrize("part", sorted({part for part, _ in modules()}))
def test_modules_import_only_what_lies_beneath_them(part):
    for path in [path for each, path in modules() if each == part]:
        used = {each.split(".")[0] for each in imported(path)}
        assert used & set(MAY_IMPORT) <= MAY_IMPORT[part], path
        assert not used & FOREIGN_TO.get(part, set()), path


OF_LIBRARIES = {
    "httptools": {"HttpParserError", "HttpParserUpgrade", "HttpRequestParser"},
    "uvloop": {"new_event_loop"},
}


def test_the_server_uses_few_names_of_its_libraries_and_none_that_they_keep_to_themselves():
    """A class of theirs that ours is made from has no other names than those the standard library describes."""
    for each in ("connection", "lanes", "reader", "server"):
        path = HOME / "web" / f"{each}.py"
        tree = ast.parse(path.read_text())
        for name in imported(path):
            library, _, used = name.partition(".")
            assert not used or used in OF_LIBRARIES.get(library, {used}), name
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
                assert node.attr in OF_LIBRARIES.get(node.value.id, {node.attr}), node.attr
            if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
                assert isinstance(node.value, ast.Name), node.attr
                assert node.value.id == "self", node.attr
    assert {"HttpParserError", "HttpParserUpgrade", "HttpRequestParser"} <= set(httptools.__all__)


def test_no_module_has_more_than_350_lines():
    long = {path for path in HOME.glob("[!.]*/**/*.py") if len(path.read_text().splitlines()) > 350}
    assert {each for each in long if each.relative_to(HOME).parts[0] not in ("tests", "bench")} == set()


def test_the_dialects_do_not_know_each_other():
    names = {path.stem for path in (HOME / "dialects").glob("*.py")} - {"__init__"}
    for part, path in modules():
        if part == "dialects" and path.stem != "__init__":
            assert not {each.removeprefix("dialects.") for each in imported(path)} & names


def test_the_routes_are_one_map_and_nothing_else():
    for _, path in modules():
        assert "Blue" + "print" not in path.read_text()


@pytest.mark.parametrize("dialect", ROUTES, ids=lambda dialect: dialect.__name__)
def test_a_view_takes_its_caller_if_it_needs_one_and_the_names_in_its_path(dialect):
    for row in ROUTES[dialect]:
        in_path = [part[1:-1].split(":")[-1] for part in row.path.split("/") if part.startswith("<")]
        named = [each for each in inspect.signature(row.view).parameters if each not in (*contract.SOURCES, "once")]
        assert named in (in_path, ["caller", *in_path]), row.path


@pytest.mark.parametrize("dialect", ROUTES, ids=lambda dialect: dialect.__name__)
def test_every_row_says_who_may_call_and_has_a_docstring(dialect):
    for row in ROUTES[dialect]:
        assert row.guard in vars(guards).values(), row.path
        assert row.work in Work, row.path
        assert row.view.__doc__, row.path
        is_asked_often = row.path in ("/health", "/ready") or row.path.startswith(("/gate/", "/.invite/"))
        assert row.limit or is_asked_often, row.path


def all_refusals(parent=refusals.Refusal):
    for each in parent.__subclasses__():
        yield each
        yield from all_refusals(each)


@pytest.fixture(scope="module")
def application(tmp_path_factory):
    """One for all that only speaks."""
    with in_force(make_settings(tmp_path_factory.mktemp("house"))) as settings:
        yield create_app(settings)


FACTS = {
    "InviteExpired": (clock.now(),),
    "InviteHeld": (clock.now(),),
    "BudgetSpent": (0, 1, clock.now()),
    "RateLimited": (7,),
    "MailLimit": (50, clock.now()),
    "OwnsProjects": (["garden"],),
    "Invalid": (refusals.problem("name", "rule", "is odd"),),
}


@pytest.mark.parametrize("dialect", ROUTES, ids=lambda dialect: dialect.__name__)
def test_every_refusal_has_a_wording_in_every_dialect(dialect, application):
    led = {"admin": "/login?then=/", "account": "/login?then=/account", "my": "/login?then=/"}  # and back again
    family = dialect.__name__.removeprefix("dialects.").partition("_")[0]
    for refusal in all_refusals():
        with application.test_request_context("/"):
            application.preprocess_request()
            answer = dialect.refusal(refusal(*FACTS.get(refusal.__name__, ())))
        if refusal is refusals.NotSignedIn and family in led:
            assert answer.location == led[family]
        else:
            assert answer.status_code in range(400, 504), refusal
            assert len(answer.get_data(as_text=True)) > 20, refusal


def test_the_statuses_name_each_refusal_once():
    assert set(errors.STATUS) == set(all_refusals())


@pytest.mark.parametrize("dialect", ROUTES, ids=lambda dialect: dialect.__name__)
def test_a_request_is_taken_for_one_of_a_row_that_is_answered_alike(dialect):
    others = {work: matching(row for _, row in ROWS if row.work is not work) for work in Work}
    for row in ROUTES[dialect]:
        path = re.sub("<[a-z_]+>", "something", row.path).rstrip("/") or "/"  # as the server looks for it
        for method in row.methods.split():
            asked = f"{method} {path}"
            assert matching([row]).fullmatch(asked), asked
            assert not others[row.work].fullmatch(asked), asked


def test_only_look_ups_by_key_are_answered_in_the_loop():
    """What is called a list, searches or counts whole tables would keep everybody waiting."""
    in_the_loop = {row.view for _, row in ROWS if row.work in (Work.ALONE, Work.LOOKS)}
    assert not {view.__name__ for view in in_the_loop if "list" in view.__name__}
    assert not in_the_loop & {ops.metrics, ops.ready, manual.document, manual.show}


def test_flask_sqlalchemy_adds_one_function_after_each_request_and_no_more():
    """app.py takes it away; another one might be needed."""
    bare = Flask("bare")
    bare.config["SQLALCHEMY_DATABASE_URI"] = "sqlite://"
    SQLAlchemy().init_app(bare)
    assert len(bare.teardown_appcontext_funcs) == 1
