"""The group of all commands, which loads of them only what is asked for: a listing should feel instant."""

import gc
from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class Lazy(click.Group):
    """A group that loads a command's module, ``module:command`` in this package, when the command is asked for."""

    def __init__(self, *args: Any, found_in: Mapping[str, str], **options: Any) -> None:
        super().__init__(*args, **options)
        self._found_in = found_in

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        return list(self._found_in)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in self._found_in:
            return None
        module, _, name = self._found_in[cmd_name].partition(":")
        command: click.Command = getattr(_loaded(f"commands.{module}"), name)
        return command


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
