"""The table of planted faults fits the code: tests/faults/planted.py can plant each, and knows who should notice."""

import ast
from functools import cache
from pathlib import Path

import pytest

from faults import planted
from settings import HOME

pytestmark = pytest.mark.any_database

TABLE = [*planted.table(), *planted.CONTROLS]


read = cache(Path.read_text)


@pytest.mark.parametrize("file", sorted({each.file for each in TABLE}))
def test_a_fault_can_be_planted_and_has_tests_that_should_notice_it(file):
    code = read(HOME / file)
    meant = ast.dump(ast.parse(code))
    for fault in [each for each in TABLE if each.file == file]:
        assert ast.dump(ast.parse(fault.planted_in(code))) != meant, fault.name
        assert fault.breaks, fault.name
        assert fault.tests, fault.name
        for each in fault.tests:
            test, _, name = each.partition("::")
            assert (f"def {name}(" if name else "def test_") in read(HOME / "tests" / test), each


def test_each_fault_has_a_name_of_its_own():
    assert len({each.name for each in TABLE}) == len(TABLE) >= 50


def test_a_line_that_is_not_there_any_more_is_an_error():
    fault = TABLE[0]
    for text in ("", 2 * f"{fault.old}\n"):
        with pytest.raises(ValueError, match=r"its old text is (0|2) times in"):
            fault.planted_in(text)
