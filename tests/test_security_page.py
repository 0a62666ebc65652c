"""What docs/SECURITY.md says is so: its numbers are ASVS's and each has a test; the libraries are pinned.

That the tests it names exist is held for all pages, in test_docs.py.
"""

import re
import tomllib
from importlib import metadata

import pytest
from packaging.requirements import Requirement

from settings import HOME

pytestmark = pytest.mark.any_database

PAGE = (HOME / "docs" / "SECURITY.md").read_text()
NUMBER = re.compile(r"V(1[0-7]|[1-9])\.\d{1,2}\.\d{1,2}")
# How many requirements each section of ASVS 5.0.0 has, chapter by chapter.
SECTIONS = {
    1: (2, 10, 12, 3, 3), 2: (3, 3, 5, 2), 3: (1, 3, 5, 8, 8, 1, 5), 4: (5, 5, 2, 4), 5: (1, 6, 3, 3),
    6: (3, 12, 8, 6, 8, 4, 2, 4), 7: (3, 4, 2, 5, 3, 2), 8: (4, 4, 3, 2), 9: (3, 4),
    10: (2, 3, 5, 16, 5, 2, 3), 11: (4, 5, 5, 4, 2, 2, 2),
    12: (5, 2, 5), 13: (4, 6, 4, 7), 14: (2, 8, 3), 15: (5, 5, 7, 4), 16: (1, 5, 4, 3, 4), 17: (2, 8, 2),
}  # fmt: skip


def rows(page, heading):
    """The rows of the table under a heading: numbers, words, and what is in the last column."""
    table = page.partition(f"### {heading}\n")[2].partition("\n### ")[0]
    return re.findall(r"^\| ([^|]*?) \| ([^|]*) \| (.*) \|$", table, re.M)[1:]


def strange_numbers(page):
    """What the page has for a number of ASVS 5.0 and is none."""
    numbers = [each for heading in HEADINGS for row in rows(page, heading) for each in row[0].split(", ")]
    return [each for each in numbers if not is_number(each)]


def is_number(text):
    if not NUMBER.fullmatch(text):
        return False
    chapter, section, requirement = (int(each) for each in text[1:].split("."))
    sections = SECTIONS.get(chapter, ())
    return 1 <= section <= len(sections) and 1 <= requirement <= sections[section - 1]


HEADINGS = ("Held by a test", "Met in part, or not")


def test_every_number_has_a_test_or_a_word_of_why_not():
    held = rows(PAGE, "Held by a test")
    assert len(held) >= 100
    assert [number for number, _, tests in held if not re.fullmatch(r"`test_\w+`(, `test_\w+`)*", tests)] == []


def test_every_number_is_one_of_asvs_and_is_there_once_and_in_order():
    assert strange_numbers(PAGE) == []
    held = [number for number, _, _ in rows(PAGE, "Held by a test")]
    assert held == sorted(held, key=lambda number: [int(each) for each in number[1:].split(".")])
    others = [each for row in rows(PAGE, "Met in part, or not") for each in row[0].split(", ")]
    assert len({*held, *others}) == len(held) + len(others)


@pytest.mark.parametrize("number", ["V1.2", "V1.2.99", "V18.1.1", "V6.9.1", "5.0.0-V1.2.1", "V4.0.3", "V17.4.1"])
def test_a_page_that_is_wrong_is_noticed(number):
    assert strange_numbers(PAGE.replace("| V1.1.2 |", f"| {number} |")) == [number]


def pinned():
    """What requirements.txt names, by name: the version."""
    lines = (HOME / "requirements.txt").read_text().splitlines()
    kept = [line for line in lines if not line.startswith(("#", "-e"))]
    kept = [line.partition(";")[0] for line in kept]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in kept)
    return {name(line.partition("==")[0]): line.partition("==")[2] for line in kept}


def name(text):
    return re.sub("[-_.]+", "-", text).lower()


def needed(wanted):
    """All that these libraries need, and what that needs in turn, on any machine that this could run on."""
    found, left = set(), [Requirement(each) for each in wanted]
    while left:
        each = left.pop()
        if name(each.name) in found or (each.marker and not each.marker.evaluate({"extra": ""})):
            continue
        found.add(name(each.name))
        left += [Requirement(more) for more in metadata.requires(each.name) or ()]
    return found


def test_every_library_is_pinned():
    project = tomllib.loads((HOME / "pyproject.toml").read_text())["project"]["dependencies"]
    versions = pinned()
    for each in map(Requirement, project):
        assert each.specifier.contains(versions[name(each.name)]), each
    assert needed(project) == set(versions)


def test_each_advisory_has_its_test():
    ours = (path for path in (HOME / "tests").rglob("test_*.py") if ".cache" not in path.parts)
    sources = "".join(path.read_text() for path in ours)
    ids = set(re.findall(r"(?:CVE-\d{4}-\d{4,}|GHSA(?:-\w{4}){3}|GitLab \d+)", sources))
    count = re.search(r"<!-- advisories -->(\d+) of them<!-- /advisories -->", PAGE)
    assert int(count[1]) == len(ids)
