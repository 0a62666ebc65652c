"""What all commands share: how they are declared, how they open the database, and how errors are shown."""

import errno
import functools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import click
from click.shell_completion import CompletionItem

import database
from commands import terminal
from database import Unavailable
from rules import events, fields
from rules.refusals import (
    AccountDisabled,
    EmailInUse,
    Invalid,
    InviteExpired,
    InviteNotFound,
    InviteUsed,
    LinkLost,
    MemberNotFound,
    NoSuchKey,
    NotAllowed,
    PassNotFound,
    ProjectNotFound,
    ProjectNotGated,
    Refusal,
    TooManyChosen,
    UserNotFound,
    WebhookDisabled,
)
from settings import ConfigError, in_force, load_settings, settings

MAX_COMPLETIONS = 100
NOT_UTF_8 = "what was typed is not UTF-8"
IS_DONE = "invite-api.done"  # in the context of a command: what it changes is kept, and only to be printed

# Texts for the operator, for refusals whose own text is written for a guest.
_MESSAGES: Mapping[type[Exception], str] = {
    InviteNotFound: "no such invite: name one by its id, its token or its whole link; see invite-api invite list",
    InviteUsed: "this invite has been used; create a new one with invite-api invite create",
    UserNotFound: "no such account: name one by its id, user name or address; see invite-api user list",
    ProjectNotFound: "no such project: name one by its slug; see invite-api project list",
    NoSuchKey: "key not found\nName one by its id: see invite-api list",  # prosodyctl's own line comes first
    LinkLost: "the link still works, but cannot be shown: it was created under another master secret; put that one in "
    "INVITE_API_SECRET_KEY_FALLBACKS, or give the invite a new link with invite-api invite rotate ID",
    MemberNotFound: "this account is not a member of this project; see invite-api member list SLUG",
    NotAllowed: "this is the owner of the project; invite-api project owner SLUG WHO gives it another owner first",
    ProjectNotGated: "this project has no app behind the gate; invite-api project gate SLUG ORIGIN puts one there",
    TooManyChosen: "at most 1000 invites are changed at once",
    PassNotFound: "no such pass: name one by its id; see invite-api pass list",
    AccountDisabled: "this account is disabled; enable it first with invite-api user disable WHO --off",
    WebhookDisabled: "this webhook is disabled, so nothing is sent to it; invite-api webhook enable WEBHOOK enables it",
    EmailInUse: "there is an account with this address already; see invite-api user show ADDRESS",
}


# How what SQLite says of a damaged file ends, and how to go on then.
_DAMAGES = ("file is not a database", "malformed")
_DAMAGED = "stop the server, and restore a backup with invite-api db restore FILE (docs/OPERATING.md)"


class CommandFailed(click.ClickException):
    """The command was refused or failed; the message is shown, and the exit status is 1."""


class InvalidInput(click.ClickException):
    """An argument or a setting cannot be understood; the message is shown, and the exit status is 2."""

    exit_code = 2


class Examples(click.Command):
    """A command whose help ends with an example, given as `example=`.

    A complaint about too many words ends with `hint=`. `lost=` says how to go on where a result could not be printed.
    """

    def __init__(self, *args: Any, example: str = "", hint: str = "", lost: str = "", **options: Any) -> None:
        super().__init__(*args, **options)
        self.example, self.hint, self.lost = example, hint, lost

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; raises UsageError, also for one that is empty: a variable that a script did not set."""
        typed = [*args]  # Click takes from `args` what it has read
        try:
            rest = super().parse_args(ctx, args)
        except click.UsageError as error:
            if not (self.hint and "extra argument" in error.message):
                raise
            raise click.UsageError(f"{error.message} {self.hint}", ctx) from error
        if not ctx.resilient_parsing:
            self._refuse_unusable(ctx, typed)
        return rest

    def _refuse_unusable(self, ctx: click.Context, typed: list[str]) -> None:
        """Raise UsageError for an empty option or argument, which a rule or a type may take for none.

        Raises InvalidInput for one that is not UTF-8; only the path of a file may be so.
        """
        given, _, order = self.make_parser(ctx).parse_args(typed)
        for each in order:
            value = given.get(str(each.name))
            values = value if isinstance(value, (list, tuple)) else [value]
            if not isinstance(each.type, (click.Path, click.File)) and any(map(_is_undecoded, values)):
                raise InvalidInput(NOT_UTF_8)
            if "" in values:
                rest = "" if each.required else ", or leave it out"
                raise click.UsageError(f"{self._as_typed(each)} is empty: say what it is to be{rest}.", ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Example"):
            for line in self.example.splitlines():
                formatter.write(f"  {line}\n" if line.startswith(" ") else f"  $ {line}\n")

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Errors that are foreseen become CommandFailed or InvalidInput, which Click shows."""
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            raise InvalidInput(f"these settings cannot be used:\n{error}") from error
        except Invalid as error:
            wrong = (f"{self.parameter_name(each.field)}: {each.message}" for each in error.problems)
            raise CommandFailed("\n".join(wrong)) from error
        except UnicodeError as error:
            raise InvalidInput(NOT_UTF_8) from error
        except OSError as error:
            if error.errno == errno.EPIPE:  # the reader of the pipe has ended, such as `head`: Click exits silently
                raise
            done = f"; {self._what_is_done()}" if ctx.meta.get(IS_DONE) else ""
            raise CommandFailed(f"the result cannot be written: {error.strerror}{done}") from error
        except (Refusal, Unavailable) as error:
            hint = _meant(ctx) if isinstance(error, ProjectNotFound) else ""
            raise CommandFailed(message_of(error) + hint) from error

    def _what_is_done(self) -> str:
        done = "what was asked for was done all the same"
        return f"{done}: {self.lost}" if self.lost else done

    def parameter_name(self, field: str) -> str:
        """The option or argument for a field of the rules, as it is typed: ``--redirect-url``, ``TTL``."""
        for each in self.params:
            if each.name == field:
                return self._as_typed(each)
        return f"--{field.replace('_', '-')}"

    @staticmethod
    def _as_typed(param: click.Parameter) -> str:
        return param.opts[0] if isinstance(param, click.Option) else param.human_readable_name.strip("[]")


def _is_undecoded(value: object) -> bool:
    return isinstance(value, str) and any("\udc80" <= each <= "\udcff" for each in value)


def _meant(ctx: click.Context) -> str:
    """The end of the sentence on an unknown project: the slug that was meant by its name; "" if there is none."""
    from rules import projects

    typed = str(ctx.params.get("slug") or ctx.params.get("project") or "")
    meant = "-".join(typed.lower().split())
    with opened_database() as opened, opened.reading():
        is_there = any(each.slug == meant for each in projects.starting_with(meant, MAX_COMPLETIONS))
    return f"; did you mean {meant}?" if meant and is_there else ""


class Number(click.IntRange):
    """A whole number between two; what is none is refused in a sentence."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The number; raises BadParameter."""
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"must be a number from {self.min} to {self.max}", param, ctx)


class Group(click.Group):
    """A group whose commands have an `example`. `aliases=` has further names of some, which no list shows."""

    command_class = Examples
    group_class = type

    def __init__(self, *args: Any, aliases: Mapping[str, str] | None = None, **options: Any) -> None:
        super().__init__(*args, **options)
        self.aliases = aliases or {}

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of this name or alias; None if there is none."""
        return super().get_command(ctx, self.aliases.get(cmd_name, cmd_name))

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Completions of a command's name; an alias only where no name begins as what was typed."""
        named = super().shell_complete(ctx, incomplete)
        return named or [CompletionItem(each) for each in self.aliases if each.startswith(incomplete)]


@contextmanager
def opened_database() -> Iterator[database.Database]:
    """The database of the settings in the environment, open; inside, they are in force, and the shell is who acts.

    Raises ConfigError or Unavailable.
    """
    os.umask(0o077)
    with in_force(load_settings()) as chosen, database.using(chosen), events.acting(events.SHELL):
        yield database.open_database(chosen)


class StderrLine(str):
    """A line for the person at the terminal, which is not part of the results and goes to stderr."""


def print_result(lines: Iterable[str]) -> None:
    """Print what a command did that is kept already: if that fails, `Examples` says that it was done all the same."""
    click.get_current_context().meta[IS_DONE] = True
    for line in lines:
        print_line(line)


def print_line(line: str) -> None:
    """Print a line: a StderrLine on stderr, any other on stdout."""
    click.echo(line, err=isinstance(line, StderrLine))


def writes(command: Callable[..., list[str]]) -> Callable[..., None]:
    """A decorator that runs a command in a unit of work that writes, and prints the lines that it returns.

    They are printed after the commit, so that nothing is printed that was not kept.
    """

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        with opened_database() as opened:

            def work() -> list[str]:
                with opened.writing():
                    return command(*args, **options)

            print_result(database.once_more(work))

    return run


def reads(command: Callable[..., Iterable[str]]) -> Callable[..., None]:
    """A decorator that runs a command in a unit of work that only reads, and prints its lines as they come."""

    @functools.wraps(command)
    def run(*args: Any, **options: Any) -> None:
        with opened_database() as opened, opened.reading():
            for line in command(*args, **options):
                print_line(line)

    return run


def completed(find: Callable[[str, int], Iterable[tuple[str, str]]]) -> Callable[..., list[CompletionItem]]:
    """A function for Click's `shell_complete`, made of one that finds (name, description) by their beginning.

    `find` is called with what was typed and how many to return at most. The shell waits in the middle of
    a line, so that no database is created, and after an error there are no completions.
    """

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:  # noqa: ARG001
        try:
            if not database.is_there(load_settings()):
                return []
            with opened_database() as opened, opened.reading():
                found = list(find(incomplete, MAX_COMPLETIONS))
        except Exception:
            return []
        return [CompletionItem(terminal.safe(name), help=terminal.safe(text)) for name, text in found]

    return complete


limit_option = click.option("--limit", default=50, show_default=True, type=Number(1, 100_000), help="How many at most.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead.")


def expiry_note(moment: datetime | None) -> list[str]:
    """When what was asked for expires, for the person at the terminal; [] in a pipe."""
    return [StderrLine(f"It {terminal.expiry(moment)}")] if terminal.is_interactive() else []


def mail_note() -> list[str]:
    """The note that mail which was just queued is sent by nobody for now; [] if a mail server is set."""
    if settings().smtp_url:
        return []
    return [StderrLine("Note: the mail waits in the outbox: INVITE_API_SMTP_URL is not set, so nothing sends it")]


def proof_note(email: str | None) -> list[str]:
    """The note that nobody can confirm an address of an invite's domain; [] for an invite that needs no proof."""
    if settings().smtp_url or not fields.is_domain(email):
        return []
    why = "INVITE_API_SMTP_URL is not set, so no code is mailed"
    return [StderrLine(f"Note: nobody can confirm an address at {email}: {why}")]


def revoked_note(count: int) -> list[str]:
    """The note on how many active invites were revoked with their account or project; [] for none."""
    return [StderrLine(f"Note: {were(count, 'invite')} revoked with it")] if count else []


def loopback_line() -> list[str]:
    """At a terminal the note on links that open on this machine only; [] elsewhere."""
    note = terminal.loopback_note() if terminal.is_interactive() else ""
    return [StderrLine(note)] if note else []


def were(count: int, thing: str) -> str:
    """So many things as the beginning of a sentence: ``1 invite was``, ``3 invites were``."""
    return f"{count} {thing} was" if count == 1 else f"{count} {thing}s were"


def message_of(error: Exception) -> str:
    """The text of an error for the operator, who is told which command helps."""
    if isinstance(error, InviteExpired):
        state = "was revoked;" if error.revoked_at else "expired; extend it with invite-api invite extend, or"
        return f"this invite {state} create a new one with invite-api invite create"
    text = _MESSAGES.get(type(error), str(error))
    return f"{text}; {_DAMAGED}" if isinstance(error, Unavailable) and text.endswith(_DAMAGES) else text
