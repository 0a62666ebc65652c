"""Migration: the steps in migrations/ lead from the schema of one version to that of the next."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from database import ExclusiveDatabase, Unavailable, schema
from settings import HOME
from upkeep import backfill, folding, inviting, naming

FOLDER = HOME / "migrations"

# What a step does after its SQL, which cannot do it.
AFTERWARDS: Mapping[str, Callable[[ExclusiveDatabase], None]] = {
    "0002_search_in_any_script": folding.fold,
    "0004_events_and_presets": backfill.record_former_events,
    "0005_uses_that_wait": naming.name,
    "0007_webhooks": naming.name,
    "0009_inviters_and_budgets": inviting.derive,
}


def version_of(opened: ExclusiveDatabase) -> int:
    """The version of a database's schema; raises Unavailable if it is damaged or its tables are not ours."""
    version = opened.version
    if version is None:
        raise Unavailable("this is no database of invite-api")
    if not version:
        raise Unavailable(schema.mismatch(version))
    return version


def steps(version: int, folder: Path = FOLDER, to: int = schema.VERSION) -> list[Path]:
    """The files of the steps from one version to another, in order; raises Unavailable if a step is missing."""
    if version > to:
        raise Unavailable(schema.mismatch(version))
    found = {int(each.name[:4]): each for each in folder.glob("[0-9][0-9][0-9][0-9]_*.sql")}
    wanted = range(version + 1, to + 1)
    if missing := [number for number in wanted if number not in found]:
        raise Unavailable(f"there is no step to version {missing[0]} in {folder}")
    return [found[number] for number in wanted]


def migrate(opened: ExclusiveDatabase, chosen: list[Path]) -> Iterator[str]:
    """Take these steps, and yield the name of each that is done; raises Unavailable at the first that fails.

    Each step is kept whole or not at all.
    """
    for step in chosen:
        take(opened, step)
        yield step.stem


def take(opened: ExclusiveDatabase, step: Path) -> None:
    """Take one step, and set the version that its name begins with; raises Unavailable, and changes nothing then."""
    try:
        with opened.changing():
            for statement in schema.statements(step.read_text(), opened.dialect):
                opened.execute(statement)
            if finish := AFTERWARDS.get(step.stem):
                finish(opened)
            opened.execute(f"UPDATE schema_version SET version = {int(step.name[:4])}")  # noqa: S608
    except Unavailable as error:
        raise Unavailable(f"{step.name}: {error}; nothing of this step was done") from error
