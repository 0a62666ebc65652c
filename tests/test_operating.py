"""docs/OPERATING.md is followed to the letter: its transcripts happen."""

import os
import re
from contextlib import closing
from types import SimpleNamespace

import pytest

from conftest import free_port
from programs import require
from reader import Reader, steps
from settings import HOME, PREFIX

pytestmark = [pytest.mark.long, pytest.mark.any_database]

PAGE = (HOME / "docs" / "OPERATING.md").read_text()


def section(title):
    """What stands under a heading."""
    return re.search(rf"^##+ {title}\n(.*?)(?=^##+ |\Z)", PAGE, re.M | re.S)[1]


@pytest.fixture
def reader(checkout_copy):
    """Somebody in a checkout of their own, which has been served once."""
    require("curl", "curl")
    assert checkout_copy.run("create").returncode == 0
    environ = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
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


def test_the_files_that_the_page_names_are_those_of_an_instance(reader):
    found = set(os.listdir(reader.checkout.folder / "instance"))
    rows = re.findall(r"^\| (`.*?`) \|", section("Where things are"), re.M)
    assert found <= {name for row in rows for name in re.findall(r"`([^`]+)`", row)}


def test_a_program_gets_a_pass_as_the_page_says(reader):
    assert follow(reader, "Passes for programs") == 5
    assert reader.type("echo $PASS")[0].startswith("pass_")
