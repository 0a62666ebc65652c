"""Programs that make typed clients make good ones of our description: they compile, and do what people do with invites.

Each client, in tests/clients/, creates invites, verifies, views, accepts and revokes them at a real server, and says
what came of it. `tests/clients/install` installs what makes them.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

import described
import programs
from conftest import PASSWORD
from rules import keys
from settings import HOME

pytestmark = pytest.mark.any_database

CLIENTS = HOME / "tests" / "clients"
SCHEMAS = described.ours().document["components"]["schemas"]
GENERATED = ("python", "typescript-fetch", "go")
DONE = {
    "success": True,
    "valid": True,
    "plan": "solo",
    "role": "member",
    "inviter": "alice",
    "project": None,
    "me": "charlie",
    "refused": "INVITE_USED",
    "shown": ["Bob", 2, True],
    "state": "revoked",
    "told": ["invite.created", "invite.revoked"],
}


def tool(name: str) -> Path:
    """A program that makes clients, or builds them."""
    return Path(programs.require(name, "tests/clients/install", by="run"))


def python() -> Path:
    """The interpreter that has what the clients in Python need."""
    return tool("openapi-python-client").parent / "python"


def run(*command: object, folder: Path, **environ: str) -> str:
    """What a program printed, on stderr too; its failure is a failure."""
    path = f"{tool('openapi-python-client').parent}:{os.environ['PATH']}"
    done = subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={**os.environ, "PATH": path, **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def description(tmp_path_factory) -> Path:
    """A folder with the description as the service gives it."""
    folder = tmp_path_factory.mktemp("described")
    (folder / "openapi.json").write_text(json.dumps(described.ours().document))
    return folder


@pytest.fixture
def does(served, house, alice, charlie, tmp_path):
    """Run a client beside the server; it must do all that it is for."""
    with house.writing():
        key = keys.create("client", may=keys.SCOPES)

    def check(*command: object, **environ: str) -> None:
        said = run(*command, served.url, "alice", "charlie", PASSWORD, key, folder=tmp_path, **environ)
        done = json.loads(said)
        assert all(link.startswith(f"{served.url}/invite?") for link in done.pop("links"))
        assert done.pop("year") >= 2026
        assert done == DONE

    return check


@pytest.mark.long
@pytest.mark.xdist_group("clients")
def test_openapi_python_client_makes_a_client_without_a_warning(description, does, tmp_path):
    making = [tool("openapi-python-client"), "generate", "--path", description / "openapi.json"]
    said = run(*making, "--output-path", tmp_path / "made", folder=tmp_path)
    assert "arning" not in said, said
    does(
        tool("openapi-python-client").parent / "python",
        CLIENTS / "openapi_python_client.py",
        PYTHONPATH=str(tmp_path / "made"),
    )


@pytest.fixture(scope="module")
def generated(description) -> Path:
    """A folder in which openapi-generator has made clients in each language."""
    for each in GENERATED:
        asked = {"generatorName": each, "inputSpec": "openapi.json", "outputDir": each}
        (description / f"{each}.json").write_text(json.dumps(asked))
    configured = [f"{each}.json" for each in GENERATED]
    run(tool("openapi-generator-cli"), "batch", "--fail-fast", *configured, folder=description)
    return description


@pytest.mark.long
@pytest.mark.xdist_group("clients")
def test_openapi_generator_makes_a_client_in_python(generated, does):
    does(
        tool("openapi-python-client").parent / "python",
        CLIENTS / "openapi_generator.py",
        PYTHONPATH=str(generated / "python"),
    )


@pytest.mark.long
@pytest.mark.xdist_group("clients")
def test_openapi_generator_makes_a_client_in_typescript(generated, does):
    made = generated / "typescript-fetch"
    shutil.copy(CLIENTS / "typescript_fetch.ts", made)
    compile_typescript(made, "typescript_fetch.ts")
    does(programs.require("node", "npm"), made / "typescript_fetch.js")


@pytest.mark.long
@pytest.mark.xdist_group("clients")
def test_openapi_generator_makes_a_client_in_go(generated, does, tmp_path):
    shutil.copytree(generated / "go", tmp_path / "openapi", ignore=shutil.ignore_patterns("go.*", "test"))
    shutil.copy(CLIENTS / "openapi_generator.go", tmp_path)
    (tmp_path / "go.mod").write_text("module made.example\n\ngo 1.23\n")
    kept = {"GOCACHE": str(tmp_path / "cache"), "GOPATH": str(tmp_path / "path")}
    alone = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOPROXY": "off", "GOFLAGS": "-buildvcs=false"}
    run(tool("go"), "build", "-o", "client", ".", folder=tmp_path, **kept, **alone)
    does(tmp_path / "client")


@pytest.mark.long
@pytest.mark.xdist_group("clients")
def test_openapi_typescript_makes_types_that_a_client_is_held_to(description, does, tmp_path):
    making = tool("openapi-typescript")
    (tmp_path / "node_modules").symlink_to(making.resolve().parents[2])
    run(making, description / "openapi.json", "-o", "paths.ts", folder=tmp_path)
    shutil.copy(CLIENTS / "openapi_typescript.ts", tmp_path)
    compile_typescript(tmp_path, "openapi_typescript.ts")
    does(programs.require("node", "npm"), tmp_path / "openapi_typescript.js")


def compile_typescript(folder: Path, name: str) -> None:
    """Compile a program, every type of which must be right."""
    chosen = ("--strict", "--target", "es2022", "--module", "commonjs", "--moduleResolution", "node10")
    run(tool("tsc"), *chosen, "--skipLibCheck", "--lib", "es2022,dom", name, folder=folder)


def schemas(node, where=""):
    """(where it is, schema) of every schema in the description, at any depth."""
    if isinstance(node, list):
        for number, each in enumerate(node):
            yield from schemas(each, f"{where}/{number}")
    elif isinstance(node, dict):
        if {"enum", "const", "type", "anyOf"} & set(node):
            yield where, node
        for name, each in node.items():
            if name not in ("example", "examples"):
                yield from schemas(each, f"{where}/{name}")


def test_every_choice_of_values_says_its_type_and_none_is_of_true_or_false():
    chosen = [(where, each) for where, each in schemas(described.ours().document) if {"enum", "const"} & set(each)]
    assert len(chosen) > 10
    assert [where for where, each in chosen if each.get("type") != "string"] == []


def test_nothing_is_of_the_type_null_alone():
    assert not [where for where, each in schemas(SCHEMAS) if each.get("type") == "null" and "/anyOf/" not in where]


def test_nothing_is_of_two_types_but_for_null():
    """Clients that send such a value as a form quote it, or ask for an object around it."""
    for where, each in schemas(described.ours().document):
        kinds = [kind for kind in each.get("anyOf", ()) if kind != {"type": "null"}]
        assert len(kinds) < 2, where
        assert not isinstance(each.get("type"), list), where


def test_no_schema_is_called_as_the_constructor_of_another():
    """Go's client has a function NewProject for a schema Project."""
    assert not {f"New{name}" for name in SCHEMAS} & set(SCHEMAS)


def test_a_reference_to_a_schema_has_nothing_beside_it():
    """What makes clients either ignores it, or makes of each place a schema that it names by a number."""

    def references(node):
        if isinstance(node, dict) and "$ref" in node:
            yield node
        for each in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
            yield from references(each)

    assert [each for each in references(described.ours().document) if len(each) > 1] == []


def test_no_name_is_both_in_the_query_and_in_the_body():
    for path, operations in described.ours().document["paths"].items():
        for method, operation in operations.items():
            queried = {each["name"] for each in operation["parameters"] if each["in"] == "query"}
            for content in operation.get("requestBody", {}).get("content", {}).values():
                schema = SCHEMAS[content["schema"]["$ref"].rpartition("/")[2]]
                assert not queried & set(schema["properties"]), f"{method} {path}"


def test_a_form_and_json_have_schemas_of_their_own():
    """Or a client cannot tell which is meant, and sends a form that says it is JSON."""
    for operations in described.ours().document["paths"].values():
        for operation in operations.values():
            bodies = operation.get("requestBody", {}).get("content", {})
            assert len({each["schema"]["$ref"] for each in bodies.values()}) == len(bodies)


def test_every_answer_is_of_a_type_that_clients_read():
    read = {"application/json", "text/html", "text/css", "text/csv", "text/plain"}
    for operations in described.ours().document["paths"].values():
        for operation in operations.values():
            for answer in operation["responses"].values():
                assert set(answer.get("content", ())) <= read
