"""The tables of the README are those of the code."""

import re

import pytest

import documents
from settings import table
from test_cli import commands

pytestmark = pytest.mark.any_database

README = documents.README.read_text()


def test_the_table_of_settings_is_that_of_the_code():
    rows = re.findall(r"^\| `(INVITE_API_\w+)` \| (?:`([^`]*)`)? ?\| (.*) \|$", README, re.M)
    assert rows == table()


@pytest.mark.parametrize("path", [" ".join(path) for path, _ in commands()])
def test_every_command_is_in_the_table(path):
    assert re.search(rf"^\| `invite-api {path}[ `]", README, re.M)


def test_every_option_of_making_an_invite_is_named():
    (command,) = [each for path, each in commands() if path == ("invite", "create")]
    for option in command.params:
        assert option.opts[0] in README


def test_every_page_is_in_the_index():
    for path in documents.PAGES[1:]:
        assert f"](docs/{path.name})" in README
