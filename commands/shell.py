"""`invite-api completion` and `man`: what makes the command at home in a shell."""

from collections.abc import Iterator
from inspect import cleandoc

import click
from click.shell_completion import get_completion_class

import config
from commands.base import Examples, Refused

VARIABLE = "_INVITE_API_COMPLETE"

_PLAIN = str.maketrans({"\\": "\\e", "-": "\\-", "'": "\\(aq", "`": "\\(ga", '"': "\\(dq", "^": "\\(ha", "~": "\\(ti"})


@click.command(cls=Examples, example="invite-api completion bash >> ~/.bashrc")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes a shell complete commands and names. Put it into the shell's start-up file.

    For fish: invite-api completion fish > ~/.config/fish/completions/invite-api.fish
    """
    root = ctx.find_root()
    found = get_completion_class(shell)
    if found is None:
        raise Refused(f"there is nothing for {shell}")
    click.echo(found(root.command, {}, root.info_name or "invite-api", VARIABLE).source())


@click.command(cls=Examples, example="invite-api man > invite-api.1")
@click.pass_context
def man(ctx: click.Context) -> None:
    """Print the manual of this command, for man. It is made from the help of all commands."""
    for line in _manual(ctx.find_root()):
        click.echo(line)


def _manual(root: click.Context) -> Iterator[str]:
    """The whole page, in roff's man macros: see man(7)."""
    yield '.TH INVITE\\-API 1 "" "" "User Commands"'
    yield ".SH NAME\ninvite\\-api \\- make invites, and see who used them"
    yield ".SH SYNOPSIS\n.B invite\\-api\nCOMMAND [ARGUMENTS]"
    yield ".SH DESCRIPTION"
    yield _escaped(root.command.help or "")
    yield ".SH COMMANDS"
    yield from _pages(root.command, root)
    yield ".SH EXIT STATUS\n0 done, 1 refused, 2 wrong usage.\n.SH ENVIRONMENT"
    for name, default, meaning in config.table():
        yield from _item(name, f"{meaning} [{default}]" if default else meaning)


def _pages(command: click.Command, ctx: click.Context) -> Iterator[str]:
    """The part of the manual on a command, or on each in a group."""
    if isinstance(command, click.Group):
        for name in command.list_commands(ctx):
            if each := command.get_command(ctx, name):
                yield from _pages(each, click.Context(each, parent=ctx, info_name=name))
        return
    usage = " ".join([ctx.command_path, *command.collect_usage_pieces(ctx)])
    yield f'.SS "{_escaped(usage)}"'
    yield _escaped(command.help or "")
    for parameter in command.params:
        if record := parameter.get_help_record(ctx) if isinstance(parameter, click.Option) else None:
            yield from _item(*record)
    yield ".PP\n.RS\n.nf"
    yield _escaped(getattr(command, "example", ""))
    yield ".fi\n.RE"


def _item(name: str, meaning: str) -> Iterator[str]:
    yield f".TP\n.B {_escaped(name)}\n{_escaped(meaning)}"


def _escaped(text: str) -> str:
    """Text as roff prints it: nothing in it is an instruction, an empty line begins a paragraph."""
    lines = cleandoc(text).translate(_PLAIN).splitlines()
    return "\n".join(f"\\&{line}" if line.startswith(".") else line or ".PP" for line in lines)
