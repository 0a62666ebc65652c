"""What the README and the pages of docs/ say is so: their transcripts are executed, what they name is there."""

import json
import re
import subprocess
import sys
from contextlib import closing, suppress

import pytest

import documents
from app import ROUTES
from conftest import free_port, wait_for
from dialects import agentbot, gate, hitkey, holds, prosody, v1
from programs import require
from reader import Reader, steps
from rules import activity, events
from settings import HOME
from test_side_by_side import CASES, DIFFERENCES
from web import contract
from words import old_words

pytestmark = pytest.mark.any_database

DIALECTS = {"API": [v1, holds], "PROSODY": [prosody], "AGENTBOT": [agentbot], "HITKEY": [hitkey]}
SERVED = {"HITKEY": {"REGISTRATION": "open"}}  # what a page says it is served with
OWN = {"OPERATING"}  # is typed in a checkout of its own, by a test of its own
TYPED = [each for each in documents.PAGES if list(steps(each.read_text())) and each.stem not in OWN]


def by_name(paths):
    return [pytest.param(each, id=each.stem) for each in paths]


def typed_by_name(paths):
    """The README's transcript is followed by everybody, those of the other pages with --long."""
    return [pytest.param(each, id=each.stem, marks=[pytest.mark.long] * (each.stem != "README")) for each in paths]


@pytest.fixture
def mail_server(tmp_path):
    """The one that the pages have write down what it gets."""
    port = free_port()
    command = [sys.executable, "-u", "-m", "aiosmtpd", "-n", "-l", f"127.0.0.1:{port}"]
    with (tmp_path / "mails.txt").open("wb") as mails:
        process = subprocess.Popen(command, stdout=mails)
    yield f"smtp://127.0.0.1:{port}"
    process.terminate()
    process.wait()


@pytest.mark.parametrize("path", typed_by_name(TYPED))
def test_the_transcript_of_a_page_happens_as_it_is_written(path, serve, tmp_path, mail_server):
    require("curl", "curl")
    served = serve(SMTP_URL=mail_server, **SERVED.get(path.stem, {}))
    with closing(Reader(served, tmp_path)) as reader:
        for command, expected in steps(path.read_text()):
            printed = reader.type(command)
            missing = reader.misses(expected, printed)
            assert not missing, f"{command}\nprinted {printed}\nand not {missing}"
    if path.stem in DIALECTS:
        routes = [row for dialect in DIALECTS[path.stem] for row in ROUTES[dialect]]
        rows = {(method, row.path) for row in routes for method in row.methods.split()}
        with suppress(AssertionError):  # the line of the last call may be on its way
            wait_for(lambda: rows <= well_called(served), 5)
        assert rows - well_called(served) == set()


def well_called(served):
    """(method, path as in the map) of all calls that the server's log says were answered well."""
    lines = [json.loads(line) for line in served.log.read_text().splitlines() if line.startswith("{")]
    return {(line["method"], line["route"]) for line in lines if line.get("status", 500) < 400}


def test_a_call_that_was_refused_is_none_that_a_page_shows(serve):
    served = serve()
    served.get("/auth/me")
    served.get("/health")
    wait_for(lambda: well_called(served))
    assert well_called(served) == {("GET", "/health")}


def avoided(text):
    """Words that the product does not use, in the sentences of a page; figures are written by the tests."""
    prose = re.sub(r"<!-- figures: begin -->.*<!-- figures: end -->", "", text, flags=re.S)
    return old_words(re.sub(r"`[^`\n]*`", "", prose), "docs")


@pytest.mark.parametrize("path", by_name(documents.PAGES))
def test_a_page_uses_the_words_of_the_product(path):
    assert avoided(documents.read(path).prose) == []


def test_another_word_is_noticed_and_code_is_not():
    assert sorted(avoided("Whoever is logged in makes an invite. Send it to\nsomebody.")) == [
        *("Whoever", "logged in", "makes an invite", "somebody")
    ]
    assert avoided("`test_nobody` and create an invite") == []


@pytest.mark.parametrize("path", by_name(documents.PAGES))
def test_what_a_page_names_is_there(path):
    assert documents.complaints(documents.read(path)) == []


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("`invite-api frobnicate`", "no command invite-api frobnicate"),
        ("`invite-api invite frobnicate`", "no command invite-api invite frobnicate"),
        ("`invite-api list --frob`", "invite-api list has no --frob"),
        ("```sh\n.venv/bin/invite-api list --frob=1 | wc -l\n```\n", "invite-api list has no --frob"),
        ("```console\n$ invite-api invite show $(invite-api create --frob)\n```\n", "invite-api create has no --frob"),
        ("| `invite-api list` | all keys (`--long`, `--frob`) |", "invite-api list has no --frob"),
        ("`GET /frob`", "no GET /frob in the map"),
        ("`DELETE /api/invite`", "no DELETE /api/invite in the map"),
        ("`GET POST /auth/login`", "no GET POST /auth/login in the map"),
        ("`/invites/{token}/frob`", "no /invites/{token}/frob in the map"),
        ("```sh\ncurl http://127.0.0.1:8080/frob?x=y\n```\n", "no /frob in the map"),
        ("INVITE_API_FROB", "no setting INVITE_API_FROB"),
        ("`rules/frob.py`", "no file rules/frob.py"),
        ("`frob.py`", "no file frob.py"),
        ("```sh\npython bench/frob.py\n```\n", "no file bench/frob.py"),
        ("`frobnicate()`", "no function frobnicate()"),
        ("`redemption.take()`", "no function redemption.take()"),
        ("`test_that_nobody_wrote`", "no function test_that_nobody_wrote"),
        ("`FROB_NOT_FOUND`", "no code FROB_NOT_FOUND"),
        ("[frob](FROB.md)", "no FROB.md"),
        ("[frob](#frob)\n\n# Bar\n", "no #frob"),
        ("[frob](../README.md#frob)", "no ../README.md#frob"),
        ('<img src="screenshots/frob.png">', "no screenshots/frob.png"),
        ("## What is not here\n\n`POST /auth/login`", "there is POST /auth/login, after all"),
    ],
)
def test_what_is_not_there_is_complained_of(text, complaint):
    page = documents.Page(documents.README.parent / "docs" / "MADE_UP.md", text)
    assert documents.complaints(page) == [complaint]


@pytest.mark.parametrize(
    "text",
    [
        "`invite-api`, `invite-api --version` and `invite-api invite create --mail/--no-mail --ttl 3d`",
        "```sh\nsudo -u invite-api .venv/bin/invite-api list --json\ninstall -g invite-api /dev/null /etc/env\n```\n",
        "`GET POST /invites_api`, `/invites/{token}`, `/invite?TOKEN`, `/var/lib/prosody`, `/`",
        "`rules/invites.py`, `invites.py`, `schema.sql`, `tests/*.py`, `answer()`, `database.writing()`, `uses.take()`",
        "[up](../README.md#start) [here](#a-bcs-d) [away](https://example.org/x)\n\n# A `b`'c's d\n",
        "`INVITE_USED` INVITE_API_INSTANCE\n\n## What is not here\n\n`GET /users/search`",
    ],
)
def test_what_is_there_is_not_complained_of(text):
    page = documents.Page(documents.README.parent / "docs" / "MADE_UP.md", text)
    assert documents.complaints(page) == []


def test_the_reader_notices_what_was_not_printed(serve):
    key, other = "HTwALnKL/73UUylA-2ZJbu9x1XMATuIbjWpip8ow1", "AAwALnKL/73UUylA-2ZJbu9x1XMATuIbjWpip8ow1"
    with closing(Reader(serve())) as reader:
        assert reader.misses(["one", "…"], ["two"]) == ["one"]
        assert reader.misses(["one"], ["one", "two"]) == ["two"]
        assert reader.misses(["two", "one"], ["one", "two"]) == ["one"]
        assert reader.misses([f"key {key}"], [other]) == [f"key {key}"]
        assert reader.misses([key], [other]) == []
        assert reader.misses([key], [key]) == [key]  # it is the other one now
        assert reader.type("echo $((20 + 22))") == ["42"]


def test_every_call_of_a_dialect_is_on_its_page():
    for name, dialects in DIALECTS.items():
        page = documents.read(documents.README.parent / "docs" / f"{name}.md")
        spans = [re.sub(r"\{\w+\}", "<>", span) for span in page.spans]
        for row in [row for dialect in dialects for row in ROUTES[dialect]]:
            for method in row.methods.split():
                path = re.sub(r"<\w+>", "<>", row.path)
                assert any(method in span.split() and path in span.split() for span in spans), f"{method} {row.path}"


def test_every_code_with_which_a_call_may_be_refused_is_on_the_page_of_its_dialect():
    missing = []
    for name, dialects in {**DIALECTS, "API": [v1, holds, gate]}.items():
        spans = documents.read(HOME / "docs" / f"{name}.md").spans
        rows = [row for dialect in dialects for row in ROUTES[dialect]]
        codes = {(row.path, each.code) for row in rows for each in contract.refused_by(row.view)}
        missing += [(name, path, code) for path, code in codes if code not in spans]
    assert missing == []


def test_every_type_of_event_and_every_family_of_types_is_named_where_programs_learn_of_them():
    api, integrating = (documents.read(HOME / "docs" / f"{name}.md").spans for name in ("API", "INTEGRATING"))
    assert set(events.TYPES) - {*api} == set()
    assert set(activity.FAMILIES) - {*integrating} == set()


# | what | here | Prosody | why |, in docs/PROSODY.md
ROW = re.compile(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", re.M)
STATUSES = re.compile(r"answer: (\d+) .*, not (\d+) ")


def differing():
    """The statuses, ours and Prosody's, by the reason why they may differ."""
    found = {}
    for why, *lines in DIFFERENCES.values():
        ours, theirs = found.setdefault(why, (set(), set()))
        for our, their in STATUSES.findall("\n".join(lines)):
            ours.add(our)
            theirs.add(their)
    return found


def test_the_differences_from_prosody_are_those_that_the_comparison_finds():
    text = (documents.README.parent / "docs" / "PROSODY.md").read_text().partition("## What is different")[2]
    listed = {}
    for _, *sides, why in ROW.findall(text)[1:]:
        listed[why] = tuple(set(re.findall(r"\b[2345]\d\d\b", side)) for side in sides)
    assert listed == differing()
    assert len(CASES) > 80


def test_the_list_of_folders_names_every_module():
    listed = (HOME / "docs/CONTRIBUTING.md").read_text().partition("## The folders")[2].partition("\n## ")[0]
    folders = ("settings", "web", "dialects", "rules", "database", "delivery", "upkeep", "commands")
    names = {each.stem for folder in folders for each in (HOME / folder).glob("*.py")} - {"__init__"}
    assert [each for each in names if not each.startswith("admin_") and not re.search(rf"\b{each}\b", listed)] == []
