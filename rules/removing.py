"""How a membership of a project is ended, by who manages the project or the site."""

from database import session
from models import Member
from rules import changing, events, passes
from rules.refusals import NotAllowed


def end_membership(gone: Member) -> int:
    """Remove a member with their passes, and revoke the invites to the project that this member created.

    Returns how many were revoked. The project is locked, as `projects.held` says.

    Raises NotAllowed for the owner: another one is named first.
    """
    if gone.role == "owner":
        raise NotAllowed
    revoked = changing.revoke_all_by(gone.user, gone.project_id)
    events.tell("member.removed", project_id=gone.project_id, user_id=gone.user_id)
    session().delete(gone)
    passes.end_for(gone.project_id, gone.user_id)
    return revoked
