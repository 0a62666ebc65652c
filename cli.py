"""The `invite-api` command. It shares models and rules with the server, which may run meanwhile or not.

Results go to stdout, everything else to stderr; exit 0 done, 1 refused, 2 wrong usage. The commands
themselves are in commands/.
"""

import io
import os
import sys

import click

from commands.lazy import Lazy

HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

COMMANDS = {
    "create": "keys:create",
    "list": "keys:list_keys",
    "delete": "keys:delete",
    "invite": "invites:invite",
    "user": "users:user",
    "project": "projects:project",
    "outbox": "outbox:outbox",
    "import": "prosody:import_keys",
    "db": "db:db",
    "serve": "server:serve",
    "routes": "server:routes",
    "completion": "shell:completion",
    "man": "shell:man",
}


def _version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:  # noqa: ARG001
    if wanted and not ctx.resilient_parsing:
        import config

        click.echo(f"invite-api {config.VERSION}")
        ctx.exit()


@click.group(cls=Lazy, found_in=COMMANDS, context_settings=HELP)
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Show the version.")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Make invites, and see who used them.

    An invite is made by `invite-api invite create`. The commands create, list and delete are about the
    API keys of programs, as those of prosodyctl's mod_invites_api are.
    """
    if os.environ.get("NO_COLOR"):  # see no-color.org
        ctx.color = False
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal that lacks a letter gets it as an escape
        sys.stdout.reconfigure(errors="backslashreplace")
