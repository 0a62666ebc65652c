"""`invite-api completion` and `man`: completion in the shell, and the manual."""

from collections.abc import Iterator
from inspect import cleandoc

import click
from click.shell_completion import get_completion_class

from commands.base import CommandFailed, Examples
from settings import table

VARIABLE = "_INVITE_API_COMPLETE"

_PLAIN = str.maketrans({"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", '"': "\\(dq", "^": "\\(ha", "~": "\\(ti"})


@click.command(cls=Examples, example="invite-api completion bash >> ~/.bashrc")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the completion script. Put it into the shell's start-up file.

    For fish: invite-api completion fish > ~/.config/fish/completions/invite-api.fish
    """
    root = ctx.find_root()
    found = get_completion_class(shell)
    if found is None:
        raise CommandFailed(f"there is no completion for {shell}")
    click.echo(found(root.command, {}, root.info_name or "invite-api", VARIABLE).source())


@click.command(cls=Examples, example="invite-api man > invite-api.1")
@click.pass_context
def man(ctx: click.Context) -> None:
    """Print the manual of this command, for man."""
    for line in manual(ctx.find_root()):
        click.echo(line)


def manual(root: click.Context) -> Iterator[str]:
    """The lines of the manual page, in roff's man macros: see man(7)."""
    yield '.TH INVITE\\-API 1 "" "" "User Commands"'
    yield ".SH NAME\ninvite\\-api \\- create invites, and see who used them"
    yield ".SH SYNOPSIS\n.B invite\\-api\nCOMMAND [ARGUMENTS]"
    yield ".SH DESCRIPTION"
    yield escaped(root.command.help or "")
    yield ".SH COMMANDS"
    yield from pages(root.command, root)
    yield ".SH EXIT STATUS\n0 done, 1 refused, 2 wrong usage.\n.SH ENVIRONMENT"
    for name, default, meaning in table():
        yield from item(name, f"{meaning} [{default}]" if default else meaning)


def pages(command: click.Command, ctx: click.Context) -> Iterator[str]:
    """The lines of the manual on a command, or on each command of a group."""
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            if each := command.get_command(ctx, name):
                yield from pages(each, click.Context(each, parent=ctx, info_name=name))
        return
    usage = " ".join([ctx.command_path, *command.collect_usage_pieces(ctx)])
    yield f'.SS "{escaped(usage)}"'
    yield escaped(command.help or "")
    for parameter in command.params:
        if record := parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None:
            yield from item(*record)
    yield ".PP\n.RS\n.nf"
    yield escaped(getattr(command, "example", ""))
    yield ".fi\n.RE"


def item(name: str, meaning: str) -> Iterator[str]:
    """A paragraph whose heading is the name of an option or a setting."""
    yield f".TP\n.B {escaped(name)}\n{escaped(meaning)}"


def escaped(text: str) -> str:
    """Text for roff, in which nothing is taken for a request; an empty line begins a paragraph."""
    lines = cleandoc(text).translate(_PLAIN).splitlines()
    return "\n".join(f"\\&{line}" if line.startswith(".") else line or ".PP" for line in lines)
