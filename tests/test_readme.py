"""The README is short and begins with what one does; the tables of docs/ are those of the code."""

import re

import pytest

import documents
from settings import HOME, table
from test_cli import commands

pytestmark = pytest.mark.any_database

README = documents.README.read_text()
COMMAND = (HOME / "docs" / "COMMAND.md").read_text()
SETTINGS = (HOME / "docs" / "SETTINGS.md").read_text()
WHAT_FOR = (HOME / "docs" / "WHAT_FOR.md").read_text()
LONGEST = 200  # lines
SCREEN = 32  # lines that are seen without scrolling


def test_the_readme_is_short_and_begins_with_a_picture_a_command_and_the_way_on():
    first = README.partition("\n## From a shell")[0]
    assert len(README.splitlines()) <= LONGEST
    assert len(first.splitlines()) <= SCREEN
    for each in ("<img ", "```sh\n", "invite-api serve\n", "(docs/INTEGRATING.md)"):
        assert each in first
    assert "API key" not in first


def test_the_readmes_first_two_commands_run_the_service_and_the_tests():
    """As .ci/run reads them."""
    first, second = re.findall(r"^```sh\n(.*)\n```$", README, re.M)[:2]
    assert first.endswith("invite-api serve")
    assert second.endswith("-m pytest")


def test_the_table_of_settings_is_that_of_the_code():
    rows = re.findall(r"^\| `(INVITE_API_\w+)` \| (?:`([^`]*)`)? ?\| (.*) \|$", SETTINGS, re.M)
    assert rows == table()


@pytest.mark.parametrize("path", [" ".join(path) for path, _ in commands()])
def test_every_command_is_in_the_table(path):
    assert re.search(rf"^\| `invite-api {path}[ `]", COMMAND, re.M)


def test_every_option_of_making_an_invite_is_named():
    (command,) = [each for path, each in commands() if path == ("invite", "create")]
    for option in command.params:
        assert option.opts[0] in COMMAND


def test_every_page_is_in_the_index():
    for path in documents.PAGES[1:]:
        assert f"](docs/{path.name})" in README


def test_every_case_of_what_it_is_for_says_which_part_one_needs_and_where_to_begin():
    head, *rows = re.findall(r"^\| (.*) \|$", WHAT_FOR, re.M)
    assert head.split(" | ")[1:-1] == ["pages", "gate", "holds", "webhooks", "/v1", "dialects"]
    needed = [[each.strip() for each in row.split("|")] for row in rows]
    assert all("**yes**" in row[1:-1] for row in needed)
    assert all("**yes**" in column for column in list(zip(*needed, strict=True))[1:-1])
    assert all("](" in row[-1] for row in needed)
