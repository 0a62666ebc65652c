"""What openapi-generator makes in Python: create, verify, view and accept invites, revoke one; prints the outcome."""

import json
import sys

from openapi_client import (
    AgentbotApi,
    ApiClient,
    ApiException,
    Configuration,
    Credentials,
    HitKeyApi,
    InviteByName,
    InviteDraft,
    InviteDrafts,
    ProsodyApi,
    TokenOrCode,
    V1Api,
)

url, inviter, guest, password, key = sys.argv[1:]


def client(token: str | None = None) -> ApiClient:
    """A client that shows this token, or none."""
    return ApiClient(Configuration(host=url, access_token=token))


def signed_in(who: str) -> ApiClient:
    """A client with the access token of an account."""
    return client(HitKeyApi(client()).post_auth_login(Credentials(email=who, password=password)).token)


anyone, by_guest = client(), signed_in(guest)
created = ProsodyApi(client(key)).post_invites_api_with_http_info(name="Anne", uses=2)
made = AgentbotApi(signed_in(inviter)).post_api_invite(InviteByName(name="Anne"))
verified = AgentbotApi(anyone).post_api_invites_verify(TokenOrCode(token=made.token))
seen = HitKeyApi(anyone).get_invites_token(made.token)
joined = HitKeyApi(by_guest).post_invites_token_accept(made.token)
try:
    refused = AgentbotApi(anyone).post_api_invites_verify(TokenOrCode(token=made.token)).plan
except ApiException as error:
    refused = error.data.code
by_key = V1Api(client(key))
(own,) = by_key.post_v1_invites(InviteDrafts(invites=[InviteDraft(name="Bob", max_uses=2)])).invites
shown = by_key.get_v1_invites_invite_id(own.id, link="1").invite
revoked = by_key.post_v1_invites_invite_id_revoke(own.id).invite
result = {
    "links": [created.headers["Location"]],
    "success": made.success,
    "valid": verified.valid,
    "plan": verified.plan,
    "role": seen.role,
    "inviter": seen.invited_by.display_name,
    "year": seen.expires_at.year,
    "project": joined.project_slug,
    "me": HitKeyApi(by_guest).get_auth_me().name,
    "refused": refused,
    "shown": [shown.name, shown.max_uses, shown.link == own.link],
    "state": revoked.state,
    "told": [each.type for each in by_key.get_v1_events(invite=own.id).events],
}
print(json.dumps(result))
