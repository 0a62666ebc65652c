"""docs/OPERATING.md is followed to the letter: its transcripts happen, its commands exist."""

import os
import re
from contextlib import closing
from types import SimpleNamespace

import pytest

import config
from conftest import free_port, require
from test_cli import commands
from reader import Reader

PAGE = (config.CHECKOUT / "docs" / "OPERATING.md").read_text()
PAGES = sorted((config.CHECKOUT / "docs").glob("*.md"))
COMMANDS = dict(commands())


def section(title):
    """What stands under a heading."""
    return re.search(rf"^##+ {title}\n(.*?)(?=^##+ |\Z)", PAGE, re.M | re.S)[1]


def steps(text):
    """(command, the lines that it prints) for every `$` line of every transcript in it."""
    transcripts = "".join(re.findall(r"^```console\n(.*?)^```$", text, re.M | re.S))
    return [(each[0], each[1].splitlines()) for each in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", transcripts, re.M)]


@pytest.fixture
def reader(checkout_copy):
    """Somebody in a checkout of their own, which has been served once."""
    require("curl", "curl")
    assert checkout_copy.run("create").returncode == 0
    environ = {name: value for name, value in os.environ.items() if not name.startswith(config.PREFIX)}
    served = SimpleNamespace(url="", environ=environ)
    with closing(Reader(served, checkout_copy.folder, checkout_copy.bin)) as reader:
        reader.meant = {"8090": str(free_port())}
        reader.checkout = checkout_copy
        yield reader


def follow(reader, title):
    done = 0
    for command, expected in steps(section(title)):
        printed = reader.type(command)
        assert not reader.misses(expected, printed), f"{command} printed {printed}"
        done += 1
    return done


def test_the_drill_brings_a_ruined_place_back(reader):
    before = reader.checkout.run("list").stdout
    there = set(os.listdir(reader.checkout.folder))
    assert follow(reader, "The drill") > 20
    assert reader.checkout.run("list").stdout == before
    assert set(os.listdir(reader.checkout.folder)) - there <= {"__pycache__"}


def test_after_a_new_master_secret_old_links_are_still_shown(reader):
    run = reader.checkout.run
    old = run("invite", "create", "--name", "Anne").stdout
    before = (reader.checkout.folder / "instance" / "secret.key").read_text()
    assert follow(reader, "A new master secret") == 2
    new = run("invite", "create").stdout
    assert (reader.checkout.folder / "instance" / "secret.key").read_text() != before
    for link in (old, new):
        assert f"link\t{link}" in run("invite", "show", link).stdout
    (reader.checkout.folder / "instance" / "settings.env").unlink()
    forgotten = run("invite", "show", old)
    assert (forgotten.returncode, f"link\t{old}" in forgotten.stdout) == (0, False)


def test_without_its_secret_a_place_goes_on_as_the_page_says(reader):
    run = reader.checkout.run
    link = run("invite", "create", "--name", "Anne").stdout
    (reader.checkout.folder / "instance" / "secret.key").unlink()
    assert "name\tAnne" in run("invite", "show", link).stdout
    assert link not in run("invite", "show", link).stdout
    assert run("invite", "rotate", link).stdout != link
    assert run("invite", "show", link).returncode == 1


def mentioned():
    """Every call of the command in the pages of docs/, as a list of words."""
    for page in PAGES:
        for call in re.findall(r"(?<![\w.])(?:\.venv/bin/)?invite-api ((?:[^\s`|;&)]+ ?)+)", page.read_text()):
            words = call.split()
            if re.fullmatch(r"[a-z]+", words[0]) and any(words[0] == path[0] for path in COMMANDS):
                yield page.name, words


@pytest.mark.parametrize(("page", "words"), [pytest.param(*each, id=" ".join(each[1])) for each in mentioned()])
def test_every_command_that_a_page_names_exists_with_its_options(page, words):
    named = [path for path in COMMANDS if tuple(words[: len(path)]) == path]
    assert named, f"{page}: there is no invite-api {' '.join(words)}"
    options = {option for param in COMMANDS[named[0]].params for option in param.opts}
    assert {word.partition("=")[0] for word in words if re.match("--[a-z]", word)} <= options


def test_the_commands_of_the_page_are_found():
    found = {" ".join(words[:2]) for page, words in mentioned() if page == "OPERATING.md"}
    assert found >= {"db backup", "db restore", "db migrate", "db check", "user reset", "invite rotate"}


def test_every_setting_that_a_page_names_exists():
    names = {name for name, _, _ in config.table()}
    for page in PAGES:
        assert set(re.findall(r"INVITE_API_[A-Z_]+", page.read_text())) <= names


def test_the_files_that_the_page_names_are_those_of_an_instance(reader):
    found = set(os.listdir(reader.checkout.folder / "instance"))
    rows = re.findall(r"^\| (`.*?`) \|", section("Where things are"), re.M)
    assert found <= {name for row in rows for name in re.findall(r"`([^`]+)`", row)}
