"""What `invite-api invite show` says of one invite: everything."""

import json

import click

import clock
from commands import waiting
from commands.base import message_of
from commands.terminal import Facts
from models import Invite, Redemption
from rules import invites, timeline, uses
from rules import waiting as waits
from rules.listing import Listed
from rules.refusals import LinkLost


def facts(invite: Invite, as_json: bool) -> Facts:
    """What is shown of one invite: everything, with its link, its uses and its timeline."""
    return {
        "id": invite.id,
        "state": invite.state(clock.now()),
        "uses": invite.uses - uses.lapsed(invite),
        "max_uses": invite.max_uses,
        "name": invite.name,
        "email": invite.email,
        "project": invite.project.slug or invite.project.name if invite.project else None,
        "role": invite.role,
        "plan": invite.plan,
        "makes_admin": invite.makes_admin,
        "redirect_url": invite.redirect_url,
        "message": invite.message if as_json or not invite.message else invite.message.split("\n"),
        "note": invite.note,
        **promised(invite, as_json),
        "made_by": invite.made_by,
        "created_at": invite.created_at,
        "expires_at": invite.expires_at,
        "revoked_at": invite.revoked_at,
        "link": link_of(invite),
        **waiting.facts(waits.of_invite(invite)),
        "used_by": [use_facts(each) for each in invite.redemptions if each.redeemed_at],
        "timeline": [
            {
                "what": "created" if each.what == "made" and not as_json else each.what,
                "who": each.who or None,
                "whom": each.whom or None,
                "by": each.by or None,
                "detail": detail(each),
                "at": each.at,
                "trouble": each.trouble or None,
            }
            for each in timeline.of_invite(invite)
        ],
    }


def detail(entry: timeline.Entry) -> str | None:
    """More on what happened: ``until MOMENT``, the names of fields, what a use waits for; None for all else."""
    if entry.what in ("extended", "held"):
        return f"until {clock.iso(entry.until)}" if entry.until else "never expires"
    if entry.what == "waiting":
        return f"for {entry.facts.get('for', 'approval')}"
    if entry.what == "released":
        return str(entry.facts.get("why", ""))
    return ", ".join(entry.facts.get("fields", ())) or None


def promised(invite: Invite | Listed, as_json: bool) -> Facts:
    """What an invite has for a while, for programs, or after a yes: `access` as ``30d``, `data`, `approve`.

    `data` is an object in JSON, text for a person.
    """
    data = json.loads(invite.data) if invite.data and as_json else invite.data
    return {"access": clock.spell_seconds(invite.access), "data": data, "approve": invite.approve}


def link_of(invite: Invite) -> str | None:
    """The link of an invite; None, with a note on stderr, if it cannot be shown again."""
    try:
        return invites.link(invites.token(invite))
    except LinkLost as lost:
        click.echo(f"Note: {message_of(lost)}", err=True)
        return None


def use_facts(redemption: Redemption) -> Facts:
    """What is shown of a use: when, and by which account, or by which guest of a program."""
    user = redemption.user
    by = {"user": user.called if user else None, "user_id": redemption.user_id}
    return {"at": redemption.redeemed_at, **by, "guest": redemption.subject, "key_id": redemption.key_id}
