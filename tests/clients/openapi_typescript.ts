// The types that openapi-typescript makes, with openapi-fetch: create, verify, view and accept invites, revoke one.
import createClient from "openapi-fetch";
import type { paths } from "./paths";

declare const process: { argv: string[] };
const [baseUrl, inviter, guest, password, key] = process.argv.slice(2);
const anyone = createClient<paths>({ baseUrl });
const showing = (token: string) => createClient<paths>({ baseUrl, headers: { Authorization: `Bearer ${token}` } });

async function signedIn(email: string) {
    const { data } = await anyone.POST("/auth/login", { body: { email, password } });
    return showing(data!.token);
}

async function main(): Promise<void> {
    const byGuest = await signedIn(guest);
    const created = await showing(key).POST("/invites_api", { body: { name: "Anne", uses: 2 } });
    const made = (await (await signedIn(inviter)).POST("/api/invite", { body: { name: "Anne" } })).data!;
    const verified = (await anyone.POST("/api/invites/verify", { body: { token: made.token } })).data!;
    const path = { params: { path: { token: made.token } } };
    const seen = (await anyone.GET("/invites/{token}", path)).data!;
    const joined = (await byGuest.POST("/invites/{token}/accept", path)).data!;
    const again = await anyone.POST("/api/invites/verify", { body: { token: made.token } });
    const body = { invites: [{ name: "Bob", max_uses: 2 }] };
    const byKey = showing(key);
    const own = (await byKey.POST("/v1/invites", { body })).data!.invites![0];
    const named = { path: { invite_id: own.id } };
    const shown = (await byKey.GET("/v1/invites/{invite_id}", { params: { ...named, query: { link: "1" } } })).data!;
    const revoked = (await byKey.POST("/v1/invites/{invite_id}/revoke", { params: named })).data!;
    const told = (await byKey.GET("/v1/events", { params: { query: { invite: own.id } } })).data!;
    console.log(JSON.stringify({
        links: [created.response.headers.get("Location")],
        success: made.success,
        valid: verified.valid,
        plan: verified.plan,
        role: seen.role,
        inviter: seen.invitedBy.displayName,
        year: new Date(seen.expiresAt!).getUTCFullYear(),
        project: joined.project_slug,
        me: (await byGuest.GET("/auth/me")).data!.name,
        refused: again.error!.code,
        shown: [shown.invite.name, shown.invite.max_uses, shown.invite.link === own.link],
        state: revoked.invite.state,
        told: told.events.map((each) => each.type),
    }));
}

main();
