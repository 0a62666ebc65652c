"""The group of all commands, which loads of them only what is asked for: a listing should feel instant."""

import gc
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

import click


class Commands(Mapping[str, click.Command]):
    """Commands by their names; each is ``module:command`` in this package, and is loaded when it is looked up."""

    def __init__(self, found_in: Mapping[str, str]) -> None:
        self._found_in = found_in

    def __getitem__(self, name: str) -> click.Command:
        module, _, attribute = self._found_in[name].partition(":")
        command: click.Command = getattr(_loaded(f"commands.{module}"), attribute)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(self._found_in)

    def __len__(self) -> int:
        return len(self._found_in)


class Lazy(click.Group):
    """A group of such commands, listed in their order."""

    def __init__(self, found_in: Mapping[str, str], **options: Any) -> None:
        found: Any = Commands(found_in)
        super().__init__(commands=found, **options)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self.commands)


def _loaded(module: str) -> Any:
    """Import a module without looking for garbage meanwhile or later: all of it is needed, and looking takes long.

    A fifth of the time that `invite-api list` would take, in fact.
    """
    gc.disable()
    try:
        return import_module(module)
    finally:
        gc.freeze()
        gc.enable()
