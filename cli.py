"""The `invite-api` command. It shares models and rules with the server, which need not run, but may.

Results go to stdout, everything else to stderr. The exit status is 0 if it was done, 1 if it was refused
or failed, 2 if the usage was wrong. The commands are in commands/.
"""

import io
import os
import sys

import click

from commands.lazy import LazyGroup

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

COMMANDS = {
    "create": "keys:create",
    "list": "keys:list_keys",
    "delete": "keys:delete",
    "invite": "invites:invite",
    "user": "users:user",
    "project": "projects:project",
    "member": "members:member",
    "pass": "passes:pass_",
    "events": "events:events",
    "preset": "presets:preset",
    "outbox": "outbox:outbox",
    "webhook": "webhooks:webhook",
    "import": "prosody:import_keys",
    "db": "db:db",
    "serve": "server:serve",
    "routes": "server:routes",
    "completion": "shell:completion",
    "man": "shell:man",
}


def show_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:  # noqa: ARG001
    """Print the version and exit, if `--version` was given."""
    if wanted and not ctx.resilient_parsing:
        from settings import VERSION

        click.echo(f"invite-api {VERSION}")
        ctx.exit()


def open_missing_streams(ctx: click.Context) -> None:
    """Open /dev/null in the place of a standard stream that is closed; raises ClickException for stdout.

    Nobody would see a secret that is printed there, so nothing is done. Only the server, which prints nothing, runs.
    """
    is_closed = sys.stdout is None
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115
    if is_closed and ctx.invoked_subcommand != "serve":
        raise click.ClickException("stdout is closed, so nothing was done; > /dev/null leaves the result out")


@click.group(cls=LazyGroup, found_in=COMMANDS, context_settings=HELP)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=show_version, help="Show the version."
)
@click.pass_context
def main(ctx: click.Context) -> None:
    """Create invites, and see who used them.

    `invite-api invite create` creates an invite. The commands create, list and delete are about the API
    keys of programs, as those of prosodyctl's mod_invites_api are.
    """
    open_missing_streams(ctx)
    if os.environ.get("NO_COLOR"):  # see no-color.org
        ctx.color = False
    if isinstance(sys.stdout, io.TextIOWrapper):  # what its encoding lacks is printed as an escape
        sys.stdout.reconfigure(errors="backslashreplace")
