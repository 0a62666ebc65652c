"""The house keeps its own rules: who imports whom, and the shape of the map."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import clock
import guards
from app import HASHING, LOOKING, QUICK, QUICK_UNCOUNTED, QUICK_WITH_FILE, ROUTES, STREAMING, WRITING, Unit
from config import CHECKOUT
from dialects import contract, hitkey, ops, wire
from rules import refusals

ROWS = [(dialect, row) for dialect, rows in ROUTES.items() for row in rows]

# A module may import these of ours; what is not listed may import none.
MAY_IMPORT = {
    "clock": set(),
    "envfile": set(),
    "config": {"envfile", "clock"},
    "language": {"config", "clock"},
    "database": {"database", "config", "clock"},
    "models": set(),
    "upkeep": {"upkeep", "models", "database", "config", "clock"},
    "logs": {"clock"},
    "flood": {"clock", "config", "logs", "rules"},
    "rules": {"rules", "models", "database", "config", "clock"},
    "guards": {"dialects", "rules", "config"},
    "dialects": {"dialects", "rules", "language", "config", "clock"},
    "delivery": {"delivery", "language", "rules", "models", "database", "config", "clock", "logs"},
    "schemas": {"dialects"},
    "openapi": {"schemas", "dialects", "guards", "rules", "config"},
    "readiness": {"rules", "database", "config", "clock", "logs"},
    "caretaker": {"rules", "database", "logs"},
    "metrics": {"readiness", "rules", "clock"},
    "replies": set(),
    "app": {
        "metrics",
        "openapi",
        "readiness",
        "replies",
        "dialects",
        "guards",
        "flood",
        "rules",
        "models",
        "database",
        "config",
        "clock",
        "logs",
    },
    "server": {"clock"},
    "terminal": {"clock"},
    "commands": {
        *("commands", "caretaker", "delivery", "terminal", "app", "server", "upkeep"),
        *("rules", "models", "database", "config", "clock", "logs"),
    },
    "cli": {"commands", "config"},
}
FOREIGN_TO = {
    "rules": {"flask", "werkzeug", "click", "waitress"},
    "dialects": {"sqlalchemy", "flask_sqlalchemy", "click"},
    "models": {"flask", "flask_sqlalchemy"},
    "database": {"flask", "flask_sqlalchemy"},
    "upkeep": {"flask", "flask_sqlalchemy", "click"},
    "terminal": {"sqlalchemy"},
    "commands": {"flask", "flask_sqlalchemy", "sqlalchemy"},
    "cli": {"flask", "flask_sqlalchemy", "sqlalchemy"},
}


def modules():
    for path in sorted(CHECKOUT.glob("*.py")) + sorted(CHECKOUT.glob("[!tb]*/*.py")):
        relative = path.relative_to(CHECKOUT)
        if relative.parts[0] == "docs":  # takes pictures of the service, and is no part of it
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


@pytest.mark.parametrize(("part", "path"), [pytest.param(*each, id=each[1].name) for each in modules()])
def test_modules_import_only_what_lies_beneath_them(part, path):
    used = {each.split(".")[0] for each in imported(path)}
    assert used & set(MAY_IMPORT) <= MAY_IMPORT[part]
    assert not used & FOREIGN_TO.get(part, set())


def test_the_dialects_do_not_know_each_other():
    names = {path.stem for part, path in modules() if part == "dialects"} - {
        "wire",
        "html",
        "contract",
        "shapes",
        "members",
    }
    for part, path in modules():
        if part == "dialects" and path.stem != "__init__":
            assert not {each.removeprefix("dialects.") for each in imported(path)} & names


def test_the_routes_are_one_map_and_nothing_else():
    for _, path in modules():
        assert "Blue" + "print" not in path.read_text()


@pytest.mark.parametrize(
    ("dialect", "row"), [pytest.param(*each, id=f"{each[1].methods} {each[1].path}") for each in ROWS]
)
def test_a_view_takes_its_caller_what_was_prepared_and_the_names_in_its_path(dialect, row):
    in_path = [part[1:-1].split(":")[-1] for part in row.path.split("/") if part.startswith("<")]
    parameters = [each for each in inspect.signature(row.view).parameters if each not in contract.SOURCES]
    assert parameters[0] == "caller"
    assert parameters[2 if row.spend or row.prepare else 1 :] == in_path


@pytest.mark.parametrize(
    ("dialect", "row"), [pytest.param(*each, id=f"{each[1].methods} {each[1].path}") for each in ROWS]
)
def test_every_row_says_who_may_call_and_has_a_docstring(dialect, row):
    assert row.guard in vars(guards).values()
    assert row.unit in Unit
    assert row.view.__doc__
    assert row.limit or row.path in ("/health", "/ready")


def all_refusals(parent=refusals.Refusal):
    for each in parent.__subclasses__():
        yield each
        yield from all_refusals(each)


@pytest.mark.parametrize("refusal", list(all_refusals()))
@pytest.mark.parametrize("dialect", ROUTES, ids=lambda dialect: dialect.__name__)
def test_every_refusal_has_a_wording_in_every_dialect(dialect, refusal, client):
    facts = {
        "InviteExpired": (clock.now(),),
        "RateLimited": (7,),
        "OwnsProjects": (["garden"],),
        "Invalid": (refusals.problem("name", "rule", "is odd"),),
    }
    with client.application.test_request_context("/"):
        client.application.preprocess_request()
        answer = dialect.refusal(refusal(*facts.get(refusal.__name__, ())))
    if (dialect.__name__, refusal) == ("dialects.admin_pages", refusals.NotSignedIn):
        assert answer.location == "http://127.0.0.1:8080/login?then=%2F"  # and back again
        return
    assert answer.status_code in range(400, 504)
    assert len(answer.get_data(as_text=True)) > 20


def test_the_statuses_name_each_refusal_once():
    assert set(wire.STATUS) == set(all_refusals())


@pytest.mark.parametrize("row", [row for _, row in ROWS], ids=lambda row: f"{row.methods} {row.path}")
def test_each_row_is_answered_in_its_lane(row):
    path = re.sub("<[a-z_]+>", "something", row.path).rstrip("/") or "/"  # as the server looks for it
    for method in row.methods.split():
        asked = f"{method} {path}"
        assert bool(HASHING.fullmatch(asked)) == bool(row.prepare)
        assert bool(STREAMING.fullmatch(asked)) == (row.unit is Unit.STREAMS)
        assert bool(LOOKING.fullmatch(asked)) == (row.view is ops.ready)
        assert bool(WRITING.fullmatch(asked)) == (row.unit is Unit.WRITES or bool(row.spend))
        if row.unit is Unit.READS and row.guard is guards.anyone:
            assert QUICK_WITH_FILE.fullmatch(asked)
            assert not QUICK.fullmatch(asked)
        if row.unit is Unit.WRITES or row.view in (*hitkey.LISTS, ops.metrics, ops.ready):
            assert not any(quick.fullmatch(asked) for quick in (QUICK, QUICK_UNCOUNTED, QUICK_WITH_FILE))
        if row.limit:
            assert not QUICK_UNCOUNTED.fullmatch(asked)
