"""From the schema of one version to that of the next: the steps in migrations/."""

from collections.abc import Iterator
from pathlib import Path

import config
from database import Unavailable, Whole, schema

FOLDER = config.CHECKOUT / "migrations"


def version_of(whole: Whole) -> int:
    """The version of a database's schema; raises Unavailable if it is none of ours."""
    version = whole.version
    if version is None:
        raise Unavailable("this is no database of invite-api")
    if not version:
        raise Unavailable(schema.misfit(version))
    return version


def steps(version: int, folder: Path = FOLDER, to: int = schema.VERSION) -> list[Path]:
    """The files that lead from a version to another; raises Unavailable where none do."""
    if version > to:
        raise Unavailable(schema.misfit(version))
    found = {int(each.name[:4]): each for each in folder.glob("[0-9][0-9][0-9][0-9]_*.sql")}
    wanted = range(version + 1, to + 1)
    if missing := [number for number in wanted if number not in found]:
        raise Unavailable(f"there is no step to version {missing[0]} in {folder}")
    return [found[number] for number in wanted]


def migrate(whole: Whole, chosen: list[Path]) -> Iterator[str]:
    """Take these steps, each as a whole or not at all, and give the name of each that is done."""
    for step in chosen:
        _take(whole, step)
        yield step.stem


def _take(whole: Whole, step: Path) -> None:
    try:
        with whole.changing():
            for statement in schema.statements(step.read_text()):
                whole.execute(statement)
            whole.execute(f"UPDATE schema_version SET version = {int(step.name[:4])}")  # noqa: S608
    except Unavailable as error:
        raise Unavailable(f"{step.name}: {error}; nothing of this step was done") from error
