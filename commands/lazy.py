"""The group of all commands. It imports only the command that is run, so that a listing takes no time."""

import gc
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import click


class Commands(Mapping[str, click.Command]):
    """Commands by their names. `found_in` has ``module:command`` for each; it is imported when it is looked up."""

    def __init__(self, found_in: Mapping[str, str]) -> None:
        self._found_in = found_in

    def __getitem__(self, name: str) -> click.Command:
        module, _, attribute = self._found_in[name].partition(":")
        command: click.Command = getattr(import_without_collection(f"commands.{module}"), attribute)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(self._found_in)

    def __len__(self) -> int:
        return len(self._found_in)


class LazyGroup(click.Group):
    """A group of commands that are imported when they are run, listed in the order of `found_in`."""

    def __init__(self, found_in: Mapping[str, str], **options: Any) -> None:
        found: Any = Commands(found_in)
        super().__init__(commands=found, **options)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)


def import_without_collection(module: str) -> Any:
    """Import a module while garbage collection is off, and leave its objects out of later collections.

    All of them are needed. To search them would take a fifth of the time of `invite-api list`.
    """
    gc.disable()
    try:
        return import_module(module)
    finally:
        gc.freeze()
        gc.enable()
