// What openapi-generator makes for fetch: create, verify, view and accept invites, revoke one. Prints the outcome, as JSON.
import { AgentbotApi, Configuration, HitKeyApi, ProsodyApi, ResponseError, V1Api } from "./index";

declare const process: { argv: string[] };
const [basePath, inviter, guest, password, key] = process.argv.slice(2);
const anyone = new Configuration({ basePath });
const showing = (accessToken: string) => new Configuration({ basePath, accessToken });

async function signedIn(email: string): Promise<Configuration> {
    return showing((await new HitKeyApi(anyone).postAuthLogin({ credentials: { email, password } })).token);
}

async function refusal(call: Promise<unknown>): Promise<string> {
    try {
        await call;
        return "";
    } catch (error) {
        return (await (error as ResponseError).response.json()).code;
    }
}

async function main(): Promise<void> {
    const byGuest = await signedIn(guest);
    const created = await new ProsodyApi(showing(key)).postInvitesApiRaw({ name: "Anne", uses: 2 });
    const made = await new AgentbotApi(await signedIn(inviter)).postApiInvite({ inviteByName: { name: "Anne" } });
    const asked = { tokenOrCode: { token: made.token } };
    const verified = await new AgentbotApi(anyone).postApiInvitesVerify(asked);
    const seen = await new HitKeyApi(anyone).getInvitesToken({ token: made.token });
    const joined = await new HitKeyApi(byGuest).postInvitesTokenAccept({ token: made.token });
    const byKey = new V1Api(showing(key));
    const inviteDrafts = { invites: [{ name: "Bob", maxUses: 2 }] };
    const own = (await byKey.postV1Invites({ inviteDrafts })).invites![0];
    const shown = (await byKey.getV1InvitesInviteId({ inviteId: own.id, link: "1" })).invite;
    const revoked = (await byKey.postV1InvitesInviteIdRevoke({ inviteId: own.id })).invite;
    const told = await byKey.getV1Events({ invite: own.id });
    console.log(JSON.stringify({
        links: [created.raw.headers.get("Location")],
        success: made.success,
        valid: verified.valid,
        plan: verified.plan,
        role: seen.role,
        inviter: seen.invitedBy.displayName,
        year: seen.expiresAt?.getUTCFullYear(),
        project: joined.projectSlug,
        me: (await new HitKeyApi(byGuest).getAuthMe()).name,
        shown: [shown.name, shown.maxUses, shown.link === own.link],
        state: revoked.state,
        told: told.events.map((each) => each.type),
        refused: await refusal(new AgentbotApi(anyone).postApiInvitesVerify(asked)),
    }));
}

main();
