"""The real command, in a process that tells what it should not: `python talkative.py HOW invite-api's…`."""

import sys
from typing import Any

from flask import request


def logs_addresses() -> None:
    """A request is logged with its address, as most servers do."""
    from web import answer

    answer.template = lambda: request.full_path


def keeps_tokens() -> None:
    """Each invite's token lies in a column beside it."""
    from rules import invites

    of_draft = invites._values

    def values(*given: Any) -> tuple[dict[str, Any], str]:
        made, token = of_draft(*given)
        return {**made, "note": token}, token

    invites._values = values


if __name__ == "__main__":
    globals()[sys.argv.pop(1)]()
    from cli import main

    main()
