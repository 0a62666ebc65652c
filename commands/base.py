"""What all commands share: how they are declared, how they come to the database, and how refusals are said."""

import errno
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import click
from click.shell_completion import CompletionItem

import config
import database
import terminal
from config import ConfigError
from database import Unavailable
from rules.refusals import (
    EmailInUse,
    Invalid,
    InviteExpired,
    InviteNotFound,
    InviteUsed,
    ProjectNotFound,
    Refusal,
    UserNotFound,
)

MOST_COMPLETIONS = 100

# What whoever runs the place needs to hear, where the refusal speaks to a guest.
_WORDS: Mapping[type[Exception], str] = {
    InviteNotFound: "no such invite: name one by its id, its token or its whole link; see invite-api invite list",
    InviteUsed: "this invite has been used; make a new one with invite-api invite create",
    UserNotFound: "no such account: name one by its id, user name or address; see invite-api user list",
    ProjectNotFound: "no such project: name one by its slug; see invite-api project list",
    EmailInUse: "there is an account with this address already; see invite-api user show ADDRESS",
}


class Refused(click.ClickException):
    """A refusal in words: exit 1."""


class Misused(click.ClickException):
    """What cannot be understood: exit 2."""

    exit_code = 2


class Examples(click.Command):
    """A command whose help ends with an example, given as `example=`."""

    def __init__(self, *args: Any, example: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        self.example = example

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Example"):
            for line in self.example.splitlines():
                formatter.write(f"  {line}\n" if line.startswith(" ") else f"  $ {line}\n")

    def invoke(self, ctx: click.Context) -> Any:
        """Run it; what goes wrong is said in a sentence, not a stack trace."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            raise Misused(f"these settings cannot be used:\n{error}") from error
        except Invalid as error:
            wrong = (f"{self._called(each.field)}: {each.message}" for each in error.problems)
            raise Refused("\n".join(wrong)) from error
        except UnicodeError as error:
            raise Misused("what was typed is not UTF-8") from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # whoever read along has seen enough: Click ends quietly
                raise
            raise Refused(f"the result cannot be written: {error.strerror}") from error
        except (Refusal, Unavailable) as error:
            raise Refused(_words(error)) from error

    def _called(self, field: str) -> str:
        """How somebody at a shell calls what the rules call so: ``--redirect-url``, ``TTL``."""
        for each in self.params:
            if each.name == field:
                return each.opts[0] if isinstance(each, click.Option) else each.human_readable_name
        return f"--{field.replace('_', '-')}"


class Group(click.Group):
    """A group of such commands."""

    command_class = Examples
    group_class = type


@contextmanager
def house() -> Iterator[database.Database]:
    """The database of the settings in the environment, with these settings in force."""
    os.umask(0o077)
    with config.using(config.load()) as settings, database.using(settings):
        yield database.open_database(settings)


class Note(str):
    """A line for the person at the terminal, beside the results."""


def say(line: str) -> None:
    """Print a line: a result on stdout, a note on stderr."""
    click.echo(line, err=isinstance(line, Note))


def writes(command: Callable[..., list[str]]) -> Callable[..., None]:
    """Run a command in one unit of work that changes something; then print the lines it returns."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        with house() as open_house:

            def work() -> list[str]:
                with open_house.writing():
                    return command(*args, **options)

            lines = database.once_more(work)
            for line in lines:  # only what is on disk is told
                say(line)

    return run


def reads(command: Callable[..., Iterable[str]]) -> Callable[..., None]:
    """Run a command in one unit of work that only looks; print the lines it gives as they come."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        with house() as open_house, open_house.reading():
            for line in command(*args, **options):
                say(line)

    return run


def completed(find: Callable[[str, int], Iterable[tuple[str, str]]]) -> Callable[..., list[CompletionItem]]:
    """Complete an argument with the (name, description) that begin as what was typed.

    The shell is waiting in the middle of a line: nothing is made, and nothing that goes wrong is said.
    """

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
        try:
            if not database.is_there(config.load()):
                return []
            with house() as open_house, open_house.reading():
                found = list(find(incomplete, MOST_COMPLETIONS))
        except Exception:
            return []
        return [CompletionItem(terminal.safe(name), help=terminal.safe(text)) for name, text in found]

    return complete


limit_option = click.option(
    "--limit", default=50, show_default=True, type=click.IntRange(1, 100_000), help="How many at most."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")


def withdrawn(count: int) -> list[str]:
    """What to say of the open invites that went with their maker."""
    return [Note(f"Note: {count} open invites were withdrawn with it")] if count else []


def _words(error: Exception) -> str:
    if isinstance(error, InviteExpired):
        state = (
            "was withdrawn; make" if error.revoked_at else "expired; invite-api invite extend lets it live on, or make"
        )
        return f"this invite {state} a new one with invite-api invite create"
    return _WORDS.get(type(error), str(error))
