"""What openapi-python-client makes: create, verify, view and accept invites, revoke one; prints the outcome as JSON."""

import json
import sys

from invite_api_client import AuthenticatedClient, Client
from invite_api_client.api.agentbot import post_api_invite, post_api_invites_verify
from invite_api_client.api.hit_key import get_auth_me, get_invites_token, post_auth_login, post_invites_token_accept
from invite_api_client.api.prosody import post_invites_api
from invite_api_client.api.v1 import (
    get_v1_events,
    get_v1_invites_invite_id,
    post_v1_invites,
    post_v1_invites_invite_id_revoke,
)
from invite_api_client.models import (
    Credentials,
    InviteByName,
    InviteDraft,
    InviteDrafts,
    InviteParameters,
    InviteParametersForm,
    TokenOrCode,
)

url, inviter, guest, password, key = sys.argv[1:]


def signed_in(who: str) -> AuthenticatedClient:
    """A client with the access token of an account."""
    session = post_auth_login.sync(client=Client(url), body=Credentials(email=who, password=password))
    return AuthenticatedClient(url, session.token)


by_key, anyone, by_guest = AuthenticatedClient(url, key), Client(url), signed_in(guest)
links = [
    post_invites_api.sync_detailed(client=by_key, body=body).headers["Location"]
    for body in (InviteParameters(name="Anne", uses=2), InviteParametersForm(name="Anne", uses=2))
]
made = post_api_invite.sync(client=signed_in(inviter), body=InviteByName(name="Anne"))
verified = post_api_invites_verify.sync(client=anyone, body=TokenOrCode(token=made.token))
seen = get_invites_token.sync(made.token, client=anyone)
joined = post_invites_token_accept.sync(made.token, client=by_guest)
again = post_api_invites_verify.sync(client=anyone, body=TokenOrCode(token=made.token))
drafts = InviteDrafts(invites=[InviteDraft(name="Bob", max_uses=2)])
(own,) = post_v1_invites.sync(client=by_key, body=drafts).invites
shown = get_v1_invites_invite_id.sync(own.id, client=by_key, link="1")
revoked = post_v1_invites_invite_id_revoke.sync(own.id, client=by_key)
told = get_v1_events.sync(client=by_key, invite=own.id)
result = {
    "links": links,
    "success": made.success,
    "valid": verified.valid,
    "plan": verified.plan,
    "role": str(seen.role),
    "inviter": seen.invited_by.display_name,
    "year": seen.expires_at.year,
    "project": joined.project_slug,
    "me": get_auth_me.sync(client=by_guest).name,
    "refused": again.code,
    "shown": [shown.invite.name, shown.invite.max_uses, shown.invite.link == own.link],
    "state": str(revoked.invite.state),
    "told": [str(each.type_) for each in told.events],
}
print(json.dumps(result))
