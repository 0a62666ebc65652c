"""Who an invite is for, and who may see and manage it. Each is what went wrong elsewhere."""

import re

import pytest
from sqlalchemy import text

import clock
import postgres
from app import ROUTES, create_app
from conftest import PASSWORD, Browser, Person, make_settings
from dialects import agentbot, hitkey, ops, v1
from rules import accounts, addresses, drafts, invites, legacy, projects, redemption, resets, tokens

pytestmark = pytest.mark.long


@pytest.mark.parametrize("role", ["member", "admin"])
def test_an_invite_for_one_address_gives_another_nothing(client, house, alice, ways, rows, role):
    """CVE-2026-34389, CVE-2022-39306: another address than the invited one got the account and the role."""
    charlie = ways.somebody()
    with house.writing():
        projects.create(accounts.named("alice"), projects.ProjectDraft("Tea"))
        draft = drafts.read({"email": "dora@example.org", "project": "tea", "role": role})
        token = invites.token(invites.create(draft, drafts.SHELL))
    before = rows("users", "invites", "redemptions", "members")
    strangers = ["eve@example.org", "dora@example.org.evil.example", "dora+x@example.org", "d.ora@example.org"]
    strangers += ["dora@example.com", "xdora@example.org", "dora@sub.example.org", "eve@evil.example,dora@example.org"]
    for email in strangers:
        body = {"invite_token": token, "email": email, "password": PASSWORD}
        answer = client.post("/auth/register/with-invite", json=body)
        assert answer.json["code"] == ("INVALID" if "," in email else "EMAIL_MISMATCH")
        form = Browser(client.application.test_client())
        assert form.post("/register", token=token, user=email, password=PASSWORD).status_code == 422
    accepted = client.post(f"/invites/{token}/accept", headers=charlie.bearer)
    assert (accepted.status_code, accepted.json["code"]) == (400, "EMAIL_MISMATCH")
    assert not ways.page(token, charlie)()
    assert rows("users", "invites", "redemptions", "members") == before
    assert ways.registration(token, "DORA@Example.org")()


def test_an_address_that_was_only_claimed_accepts_nothing(house, alice, ways, uses, make_invite):
    """CVE-2026-53514: an account with the invited address, which it had never proved, was let in."""
    token = make_invite(email="alice@example.org")
    assert not ways.accept(token, alice)()
    assert not ways.page(token, alice)()
    assert uses() == 0
    alice.verify_address()
    assert ways.accept(token, alice)()


@pytest.mark.long
@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("proof", ["invite", "code", "link"])
def test_who_claimed_an_address_first_is_out_when_its_holder_comes(tmp_path, house, proof, named):
    """CVE-2026-53516: the attacker registers the victim's address and waits for the victim to accept."""
    client = create_app(make_settings(tmp_path / "instance", REGISTRATION="open")).test_client()
    secret, victim = "attackers horse battery", "victim@example.org"
    with house.writing():
        invite = invites.token(invites.create(drafts.Draft(), drafts.SHELL))
    body = {"invite_token": invite, "email": victim, "password": secret} | ({"username": "mallory"} if named else {})
    attacker = client.post("/auth/register/with-invite", json=body).json
    browser = Browser(client.application.test_client())
    assert browser.sign_in(victim, secret).status_code == 303
    assert browser.client.get("/auth/me").status_code == 200
    assert prove(client, house, proof, victim) == 200
    assert browser.client.get("/auth/me").status_code == 401
    assert client.get("/auth/me", headers={"Authorization": f"Bearer {attacker['token']}"}).status_code == 401
    refresh = client.post("/auth/token/refresh", json={"refresh_token": attacker["refresh_token"]})
    assert refresh.status_code == 401
    assert client.post("/auth/login", json={"email": victim, "password": secret}).status_code == 401
    mine = client.post("/auth/login", json={"email": victim, "password": PASSWORD}).json
    assert mine["user"]["email"] == victim
    with house.reading():
        assert addresses.verified_holder(victim).id == mine["user"]["id"]
        if not named and proof != "link":  # nothing is left to sign in by
            assert accounts.named(attacker["user"]["id"]).disabled_at


def prove(client, house, proof, victim):
    """Have the victim come, with what was mailed there; the status of the last call."""
    if proof == "invite":
        with house.writing():
            made = invites.create(drafts.read({"email": victim}), drafts.SHELL, mailed=True)
            body = {"invite_token": invites.mail_token(made), "email": victim, "password": PASSWORD}
        return client.post("/auth/register/with-invite", json=body).status_code
    if proof == "link":
        with house.writing():
            link = resets.mailed_link(accounts.named(victim), clock.HOUR)
        body = {"token": link.partition("?")[2], "password": PASSWORD}
        return client.post("/auth/password/reset", json=body).status_code
    client.post("/auth/register/start", json={"email": victim})
    with house.reading() as unit:
        digits = tokens.mail_code(unit.session.execute(text("SELECT nonce FROM codes")).scalar_one())
    assert client.post("/auth/register/verify", json={"email": victim, "code": digits}).status_code == 200
    return client.post("/auth/register/password", json={"email": victim, "password": PASSWORD}).status_code


def test_a_link_to_one_project_opens_no_other(client, house, alice, charlie, make_invite):
    """CVE-2022-21706: an invitation to one organisation was good for joining another on the same server."""
    with house.writing():
        for owner, name in (("alice", "Tea"), ("charlie", "Cake")):
            projects.create(accounts.named(owner), projects.ProjectDraft(name))
    token = make_invite(project="tea", uses=9)
    bob = Person(house, "bob")
    asked = {"project": "cake", "project_slug": "cake", "slug": "cake", "project_id": "cake", "role": "owner"}
    joined = client.post(f"/invites/{token}/accept?project=cake", headers=bob.bearer, json=asked)
    assert joined.json["project_slug"] == "tea"
    body = {"invite_token": token, "email": "dora@example.org", "password": PASSWORD, **asked}
    assert client.post("/auth/register/with-invite?project=cake", json=body).json["project_slug"] == "tea"
    form = {"token": token, "user": "emil", "password": PASSWORD, **asked}
    assert client.post("/register?project=cake", data=form).status_code == 200
    with house.reading() as unit:
        joined = unit.session.execute(text("SELECT slug, role FROM members JOIN projects ON project_id = projects.id"))
        assert sorted(map(tuple, joined)) == [("cake", "owner"), *[("tea", "member")] * 3, ("tea", "owner")]


@pytest.fixture
def people(house, alice, charlie, root):
    """Somebody of every role in alice's project; charlie, whose project is another, is the stranger."""
    people = {"owner": alice, "stranger": charlie, "root": root}
    with house.writing():
        for owner, name in (("alice", "Tea"), ("charlie", "Cake"), ("root", "Staff")):
            projects.create(accounts.named(owner), projects.ProjectDraft(name))
    for role in ("admin", "member"):
        people[role] = Person(house, role)
        with house.writing():
            draft = drafts.read({"project": "tea", "role": role})
            redemption.accept(invites.token(invites.create(draft, drafts.SHELL)), accounts.named(role))
    return people


VERBS = [
    ("GET", "/projects/{slug}"),
    ("GET", "/projects/{slug}/members"),
    ("GET", "/projects/{slug}/invites"),
    ("POST", "/projects/{slug}/invites"),
    ("DELETE", "/projects/{slug}/invites/{invite}"),
    ("DELETE", "/projects/{slug}/members/{member}"),
]
# What each role may do where the invite and the member are those of the project itself.
MAY = {"owner": 6, "admin": 5, "member": 2, "stranger": 0}  # an admin removes no other admin


@pytest.mark.parametrize("role", ["owner", "admin", "member", "root"])
def test_a_role_in_one_project_moves_nothing_in_another(client, house, people, rows, role):
    """CVE-2024-10452: the admin of one organisation deleted an invitation to another."""
    with house.writing():
        foreign = invites.create(drafts.read({"email": "a@example.org", "project": "cake"}), drafts.SHELL).id
        theirs = projects.members(projects.find("cake"))[0].id
    before = rows("invites", "members", "projects")
    for slug, verbs in (("cake", VERBS), ("tea", VERBS[4:])):  # what is theirs, by their project's name and by ours
        for method, path in verbs:
            address = path.format(slug=slug, invite=foreign, member=theirs)
            body = {"email": "eve@example.org"}
            answer = client.open(address, method=method, headers=people[role].bearer, json=body)
            if (role, method, path) == ("root", *VERBS[0]):  # an admin of the site may look at every project
                assert answer.status_code == 200
            else:
                manages = slug == "tea" and role in ("owner", "admin")
                assert answer.status_code == (404 if manages else 403), address
    assert rows("invites", "members", "projects") == before


@pytest.mark.parametrize("role", MAY)
def test_each_role_may_do_in_its_own_project_what_it_may_and_no_more(client, house, people, role):
    """CVE-2024-10452: the control of the test above, in the project that the role is for."""
    with house.writing():
        own = invites.create(drafts.read({"email": "a@example.org", "project": "tea"}), drafts.SHELL).id
        members = projects.members(projects.find("tea"))
        other = next(each.id for each in members if each.role == "admin")
    done = 0
    for method, path in VERBS:
        address = path.format(slug="tea", invite=own, member=other)
        body = {"email": "eve@example.org"}
        done += client.open(address, method=method, headers=people[role].bearer, json=body).status_code < 300
    assert done == MAY[role]


EVERYBODY = "nobody stranger member admin owner root key"
PROJECT = "created_at description id is_public name owner_id slug"
# What is in an answer, and who gets one; everybody else is told why not.
INVITE = (
    "access approve created_at data email expires_at held id made_by makes_admin max_uses message name note plan "
    "project redirect_url revoked_at role state used_at user_id uses waiting"
)


def of(name, members):
    """A member, and those in it."""
    return " ".join([name, *(f"{name}.{each}" for each in members.split())])


EVENT = "actor actor_id at facts facts.letter id invite_id project_id type user_id"
DISK = "" if postgres.is_used() else "checks.disk "
ANSWERS = {
    "/health": (EVERYBODY, "status"),
    "/ready": (
        EVERYBODY,
        f"checks checks.database {DISK}checks.outbox checks.schema checks.webhooks checks.writing status",
    ),
    "/invites/{token}": (
        EVERYBODY,
        "email expiresAt id invitedBy invitedBy.displayName is_expired project project.name project.slug role",
    ),
    "/auth/me": (
        "stranger member admin owner root",
        "createdAt displayName email emailVerified emails emails.email emails.id emails.isDefault emails.isVerified "
        "givenNames id invitesBackAt invitesLeft isAdmin name nativeScript preferredOrder surname totpEnabled "
        "updatedAt username",
    ),
    "/projects/": ("stranger member admin owner root", PROJECT),
    "/projects/tea": ("member admin owner root", PROJECT),
    "/projects/tea/members": (
        "member admin owner",
        "created_at ends_at id permissions role user user.display_name user.email user.id user_id",
    ),
    "/projects/tea/invites": ("admin owner", "created_at email expiresAt held id redirect_url role status waiting"),
    "/api/admin/invites": (
        "root",
        "active invites invites.code invites.createdAt invites.email invites.expiresAt invites.id invites.legacyCode "
        "invites.madeBy invites.maxUses invites.name invites.plan invites.role invites.status invites.usedAt "
        "invites.userId invites.uses total",
    ),
    "/v1/invites": ("root", f"{of('invites', INVITE)} next"),
    "/v1/invites/{invite}": ("root", f"{of('events', EVENT)} {of('invite', INVITE)}"),
}


# What is no JSON, or the same for everybody.
OTHERS = {"/v1/events", "/openapi.json", "/swagger.json", "/metrics", "/join"}


def names_in(value, prefix=""):
    """The names of all members of some JSON, those of lists as of their elements."""
    if isinstance(value, list):
        return {name for each in value for name in names_in(each, prefix)}
    if not isinstance(value, dict):
        return set()
    inner = [names_in(each, f"{prefix}{name}.") for name, each in value.items()]
    return {prefix + name for name in value}.union(*inner)


@pytest.fixture
def secrets(house, people, key):
    """What is kept from people, by who may not see it; the token of an open invite is among it."""
    with house.writing():
        legacy.create(drafts.SHELL)
        draft = drafts.read({"email": "dora@example.org", "project": "tea", "note": "nosy neighbour"})
        made = invites.create(draft, drafts.SHELL, mailed=True)
        return {
            "token": invites.token(made),
            "id": made.id,
            "for admins": [invites.token(made), "nosy neighbour"],
            "for nobody": [
                *(invites.mail_token(made), made.nonce, made.token_hash, made.mail_token_hash),
                *(key.partition("/")[2], tokens.digest(key.partition("/")[2]), "argon2"),
                *(secret for each in people.values() for secret in (each.pair.access, each.pair.refresh)),
            ],
        }


def shown(key, people):
    """The headers of everybody."""
    bearers = {role: person.bearer for role, person in people.items()}
    return {"nobody": {}, **bearers, "key": {"Authorization": f"Bearer {key}"}}


@pytest.mark.parametrize("path", ANSWERS)
def test_an_answer_has_these_fields_for_these_roles_and_no_others(client, key, people, secrets, path):
    """CVE-2026-2463: the ids of invitations were told to people who may not invite."""
    roles, fields = ANSWERS[path]
    for role, headers in shown(key, people).items():
        answer = client.get(path.format(token=secrets["token"], invite=secrets["id"]), headers=headers)
        if role in roles.split():
            assert (answer.status_code, " ".join(sorted(names_in(answer.json)))) == (200, fields), role
        else:
            assert answer.status_code in (401, 403), role
            assert names_in(answer.json) == {"code", "error"}, role


def test_every_answer_of_json_is_in_the_table():
    """CVE-2026-2463: the control of the test above."""
    rows = [row.path for dialect in (v1, agentbot, hitkey, ops) for row in ROUTES[dialect] if row.methods == "GET"]
    named = {"<token>": "{token}", "<slug>": "tea", "<invite_id>": "{invite}"}
    asked = {re.sub("<[a-z_]+>", lambda found: named[found[0]], path) for path in rows}
    assert asked == set(ANSWERS) | OTHERS


@pytest.mark.long
def test_no_page_and_no_answer_has_a_secret_for_those_without_the_right(client, house, key, people, secrets):
    """CVE-2025-47870: a team's invite id was in an answer to people who may not invite."""
    with house.reading():
        facts = {"<slug>": "tea", "<key_id>": key[:8], "<user_id>": accounts.named("alice").id}
        facts["<invite_id>"] = invites.find(secrets["token"]).id
    seen = 0
    for role, person in [*people.items(), ("nobody", None)]:
        browser = Browser(client.application.test_client())
        if person:
            browser.sign_in(person.name)
        for row in (row for rows in ROUTES.values() for row in rows if row.methods == "GET"):
            path = row.path
            for name, fact in facts.items():
                path = path.replace(name, fact)
            answer = browser.client.get(path.replace("<token>", "0" * 64), headers={"Accept": "text/html"})
            hidden = secrets["for nobody"] + (secrets["for admins"] if role != "root" else [])
            said = answer.data.decode(errors="replace")  # the icon is no text
            assert [each for each in hidden if each in said] == [], (role, path)
            seen += role == "root" and secrets["token"] in said
    assert seen  # an admin of the site is shown a link again
