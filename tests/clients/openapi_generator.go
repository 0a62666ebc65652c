// What openapi-generator makes in Go: create, verify, view and accept invites, revoke one. Prints the outcome.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"made.example/openapi"
)

var address, inviter, guest, password, key = os.Args[1], os.Args[2], os.Args[3], os.Args[4], os.Args[5]

func client() *openapi.APIClient {
	configured := openapi.NewConfiguration()
	configured.Servers = openapi.ServerConfigurations{{URL: address}}
	return openapi.NewAPIClient(configured)
}

func showing(token string) context.Context {
	return context.WithValue(context.Background(), openapi.ContextAccessToken, token)
}

func done[T any](answer T, _ any, err error) T {
	if err != nil {
		panic(err)
	}
	return answer
}

func signedIn(who string) context.Context {
	asked := *openapi.NewCredentials(who, password)
	return showing(done(client().HitKeyAPI.PostAuthLogin(context.Background()).Credentials(asked).Execute()).Token)
}

func main() {
	api, anyone, byGuest := client(), context.Background(), signedIn(guest)
	created, err := api.ProsodyAPI.PostInvitesApi(showing(key)).Name("Anne").Uses(2).Execute()
	if err != nil {
		panic(err)
	}
	made := done(api.AgentbotAPI.PostApiInvite(signedIn(inviter)).InviteByName(*openapi.NewInviteByName("Anne")).Execute())
	asked := openapi.TokenOrCode{Token: &made.Token}
	verified := done(api.AgentbotAPI.PostApiInvitesVerify(anyone).TokenOrCode(asked).Execute())
	seen := done(api.HitKeyAPI.GetInvitesToken(anyone, made.Token).Execute())
	joined := done(api.HitKeyAPI.PostInvitesTokenAccept(byGuest, made.Token).Execute())
	me := done(api.HitKeyAPI.GetAuthMe(byGuest).Execute())
	_, _, err = api.AgentbotAPI.PostApiInvitesVerify(anyone).TokenOrCode(asked).Execute()
	var project *string
	if slug, known := joined.GetProjectSlugOk(); known {
		project = slug
	}
	draft, drafts := *openapi.NewInviteDraft(), *openapi.NewInviteDrafts()
	draft.SetName("Bob")
	draft.SetMaxUses(2)
	drafts.SetInvites([]openapi.InviteDraft{draft})
	v1, byKey := api.V1API, showing(key)
	created1 := done(v1.PostV1Invites(byKey).InviteDrafts(drafts).Execute())
	own := created1.GetInvites()[0]
	one := done(v1.GetV1InvitesInviteId(byKey, own.Id).Link("1").Execute())
	shown := one.Invite
	revoked := done(v1.PostV1InvitesInviteIdRevoke(byKey, own.Id).Execute())
	types := []string{}
	for _, each := range done(v1.GetV1Events(byKey).Invite(own.Id).Execute()).Events {
		types = append(types, each.Type)
	}
	said, err := json.Marshal(map[string]any{
		"links":   []string{created.Header.Get("Location")},
		"success": made.Success,
		"valid":   verified.Valid,
		"plan":    verified.Plan,
		"role":    seen.Role,
		"inviter": seen.InvitedBy.DisplayName,
		"year":    seen.GetExpiresAt().Year(),
		"project": project,
		"me":      me.Name,
		"shown":   []any{shown.GetName(), shown.MaxUses, shown.GetLink() == own.GetLink()},
		"state":   revoked.Invite.State,
		"told":    types,
		"refused": err.(*openapi.GenericOpenAPIError).Model().(openapi.ErrorBody).Code,
	})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(said))
}
