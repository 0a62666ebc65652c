"""Projects: who belongs to one, who may invite to it, and what goes with whom."""

import re
import threading

import pytest
from sqlalchemy import Engine, event

import clock
import database
from conftest import Person
from models import Member
from rules import accounts, drafts, invites, projects
from rules.refusals import OwnsProjects
from settings import in_force


@pytest.fixture
def bob(house):
    return Person(house, "bob")


@pytest.fixture
def call(client):
    """Call as somebody; the answer."""

    def send(person, method, path, json=None):
        return client.open(path, method=method, headers=person.bearer, json=json)

    return send


@pytest.fixture
def garden(call, alice):
    """Alice's project."""
    return call(alice, "POST", "/projects/", {"name": "Tea Garden"}).json


@pytest.fixture
def join(call, garden):
    """Let somebody join alice's project with an invite."""

    def joined(owner, person, role="member"):
        person.verify_address()
        body = {"email": f"{person.name}@example.org", "role": role}
        made = call(owner, "POST", "/projects/tea-garden/invites", body).json
        token = made["inviteUrl"].partition("?")[2]
        assert call(person, "POST", f"/invites/{token}/accept").json["project_slug"] == "tea-garden"
        listed = call(owner, "GET", "/projects/tea-garden/members").json
        return next(each["id"] for each in listed if each["user"]["display_name"] == person.name)

    return joined


def test_a_project_is_made_and_belongs_to_its_maker(call, alice):
    body = {"name": "My App", "description": "Something", "is_public": True, "slug": "mine", "nonsense": 1}
    answer = call(alice, "POST", "/projects/", body)
    made = answer.json
    assert answer.status_code == 201
    assert list(made) == ["id", "name", "slug", "description", "is_public", "owner_id", "created_at"]
    assert (made["name"], made["slug"], made["is_public"]) == ("My App", "my-app", True)
    assert made["owner_id"] == call(alice, "GET", "/auth/me").json["id"]
    assert call(alice, "GET", "/projects/").json == [made]
    assert call(alice, "GET", "/projects/my-app").json == made
    (member,) = call(alice, "GET", "/projects/my-app/members").json
    assert (member["role"], member["user_id"], member["permissions"]) == ("owner", made["owner_id"], [])
    assert member["user"] == {"id": made["owner_id"], "email": "alice@example.org", "display_name": "alice"}


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("My App", "my-app"),
        ("李小龙", "li-xiao-long"),
        ("Ñandú & Söhne", "nandu-sohne"),
        ("!!!", "project"),
        ("x" * 100, "x" * 60),
    ],
)
def test_slugs_are_made_from_names_of_any_script(call, alice, name, slug):
    assert [call(alice, "POST", "/projects/", {"name": name}).json["slug"] for _ in range(3)] == [
        slug,
        f"{slug}-2",
        f"{slug}-3",
    ]


def test_projects_of_one_name_are_numbered_without_gaps(house, alice):
    with house.writing():
        made = [projects.create(accounts.named("alice"), projects.ProjectDraft("Tea")).slug for _ in range(9)]
    assert made == ["tea", *(f"tea-{number}" for number in range(2, 10))]


def test_slugs_are_unique_in_a_race(house, settings, alice):
    slugs, ready = [], threading.Barrier(32)

    def make():
        with in_force(settings):
            ready.wait()
            with house.writing():
                slugs.append(projects.create(accounts.named("alice"), projects.ProjectDraft("Tea")).slug)

    threads = [threading.Thread(target=make) for _ in range(32)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(set(slugs)) == 32


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": 7}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x", "is_public": "yes"}, "is_public"),
        ({"name": "x", "description": "y" * 1001}, "description"),
    ],
)
def test_what_cannot_be_a_project_is_422(call, alice, body, field):
    answer = call(alice, "POST", "/projects/", body)
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, field)
    assert call(alice, "GET", "/projects/").json == []


def test_an_address_is_invited_and_joins(call, alice, garden, client):
    body = {
        "email": "Dora@Example.org",
        "redirect_url": "https://app.example.org/",
        "ttl": "1m",
        "uses": 9,
        "note": "x",
    }
    answer = call(alice, "POST", "/projects/tea-garden/invites", body)
    made = answer.json
    assert answer.status_code == 201
    assert list(made) == ["id", "email", "role", "redirect_url", "expiresAt", "created_at", "inviteUrl"]
    assert (made["email"], made["role"]) == ("dora@example.org", "member")
    token = made["inviteUrl"].partition("?")[2]
    viewed = client.get(f"/invites/{token}").json
    assert viewed["project"] == {"name": "Tea Garden", "slug": "tea-garden"}
    assert viewed["invitedBy"] == {"displayName": "alice"}
    registered = client.post(
        "/auth/register/with-invite",
        json={"invite_token": token, "email": "dora@example.org", "password": "correct horse battery"},
    ).json
    assert (registered["project_slug"], registered["redirect_url"]) == ("tea-garden", "https://app.example.org/")
    assert [each["role"] for each in call(alice, "GET", "/projects/tea-garden/members").json] == ["owner", "member"]
    (listed,) = call(alice, "GET", "/projects/tea-garden/invites").json
    assert (listed["status"], "inviteUrl" in listed) == ("used", False)


def test_one_address_has_one_open_invite_at_a_time(call, alice, garden):
    first = call(alice, "POST", "/projects/tea-garden/invites", {"email": "dora@example.org"})
    again = call(alice, "POST", "/projects/tea-garden/invites", {"email": "DORA@example.org"})
    assert (again.status_code, again.json["code"]) == (400, "INVITE_ALREADY_EXISTS")
    assert call(alice, "POST", "/projects/tea-garden/invites", {"email": "erin@example.org"}).status_code == 201
    gone = call(alice, "DELETE", f"/projects/tea-garden/invites/{first.json['id']}")
    assert gone.status_code == 200
    assert call(alice, "POST", "/projects/tea-garden/invites", {"email": "dora@example.org"}).status_code == 201


def test_a_member_is_not_invited_again(call, alice, bob, join):
    join(alice, bob)
    answer = call(alice, "POST", "/projects/tea-garden/invites", {"email": "bob@example.org"})
    assert (answer.status_code, answer.json["code"]) == (400, "ALREADY_MEMBER")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "email"),
        ({"email": "nonsense"}, "email"),
        ({"email": ["a@b.example"]}, "email"),
        ({"email": "a@b.example", "role": "owner"}, "role"),
        ({"email": "a@b.example", "redirect_url": "//evil"}, "redirect_url"),
        ({"email": "a@b.example", "makes_admin": True}, "makes_admin"),
    ],
)
def test_what_cannot_be_invited_is_422_and_makes_nothing(call, alice, garden, body, field):
    answer = call(alice, "POST", "/projects/tea-garden/invites", body)
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, field)
    assert call(alice, "GET", "/projects/tea-garden/invites").json == []


def test_only_the_owner_makes_admins(call, alice, bob, charlie, join):
    join(alice, bob, "admin")
    asked = call(bob, "POST", "/projects/tea-garden/invites", {"email": "x@example.org", "role": "admin"})
    assert (asked.status_code, asked.json["code"]) == (403, "NOT_ALLOWED")
    assert call(bob, "POST", "/projects/tea-garden/invites", {"email": "x@example.org"}).status_code == 201


MANAGING = [
    ("GET", "/projects/tea-garden/invites"),
    ("POST", "/projects/tea-garden/invites"),
    ("DELETE", "/projects/tea-garden/invites/x"),
    ("DELETE", "/projects/tea-garden/members/x"),
]


@pytest.mark.parametrize(
    ("method", "path"), [*MANAGING, ("GET", "/projects/tea-garden"), ("GET", "/projects/tea-garden/members")]
)
def test_strangers_see_and_do_nothing(call, client, alice, charlie, garden, method, path):
    refused = call(charlie, method, path, {"email": "eve@example.org"})
    assert (refused.status_code, refused.json["code"]) == (403, "NOT_PROJECT_MEMBER")
    assert client.open(path, method=method, json={"email": "eve@example.org"}).status_code == 401
    missing = call(charlie, method, path.replace("tea-garden", "nowhere"), {"email": "eve@example.org"})
    assert (missing.status_code, missing.json["code"]) == (404, "PROJECT_NOT_FOUND")
    assert call(alice, "GET", "/projects/tea-garden/invites").json == []


@pytest.mark.parametrize(("method", "path"), MANAGING)
def test_members_look_and_do_not_manage(call, alice, bob, join, method, path):
    join(alice, bob)
    refused = call(bob, method, path, {"email": "eve@example.org"})
    assert (refused.status_code, refused.json["code"]) == (403, "NOT_ALLOWED")
    assert len(call(bob, "GET", "/projects/tea-garden/members").json) == 2


def test_a_public_project_is_seen_by_everybody_and_its_members_are_not(call, alice, charlie):
    call(alice, "POST", "/projects/", {"name": "Open", "is_public": True})
    assert call(charlie, "GET", "/projects/open").status_code == 200
    assert call(charlie, "GET", "/projects/open/members").status_code == 403


def test_who_is_removed_takes_the_invites_made_there_along(call, house, alice, bob, join):
    bobs_id = join(alice, bob, "admin")
    call(bob, "POST", "/projects/", {"name": "Bob's own"})
    here = call(bob, "POST", "/projects/tea-garden/invites", {"email": "x@example.org"}).json
    there = call(bob, "POST", "/projects/bob-s-own/invites", {"email": "x@example.org"}).json
    assert call(alice, "DELETE", f"/projects/tea-garden/members/{bobs_id}").status_code == 200
    with house.reading():
        states = [invites.find_by_id(each["id"]).state(clock.now()) for each in (here, there)]
    assert states == ["revoked", "active"]
    assert call(bob, "GET", "/projects/tea-garden/members").status_code == 403


def test_who_is_deleted_belongs_to_no_project(call, house, alice, bob, join):
    join(alice, bob)
    with house.writing():
        accounts.remove(accounts.named("bob"))
    listed = call(alice, "GET", "/projects/tea-garden/members").json
    assert [each["user"]["display_name"] for each in listed] == ["alice"]


def test_admins_remove_members_and_nobody_the_owner(call, alice, bob, charlie, join):
    bobs_id, charlies_id = join(alice, bob, "admin"), join(alice, charlie)
    owner_id = call(alice, "GET", "/projects/tea-garden/members").json[0]["id"]
    for person, member_id, status in (
        (bob, owner_id, 403),
        (bob, bobs_id, 403),
        (bob, charlies_id, 200),
        (alice, owner_id, 403),
    ):
        assert call(person, "DELETE", f"/projects/tea-garden/members/{member_id}").status_code == status
    assert call(alice, "DELETE", f"/projects/tea-garden/members/{bobs_id}").status_code == 200


def test_a_project_that_goes_takes_its_invites_along_and_leaves_its_history(call, house, alice, garden):
    made = call(alice, "POST", "/projects/tea-garden/invites", {"email": "dora@example.org"}).json
    with house.writing():
        assert projects.delete("tea-garden") == 1
    with house.reading():
        invite = invites.find_by_id(made["id"])
        assert (invite.state(clock.now()), invite.project.name) == ("revoked", "Tea Garden")
    assert call(alice, "GET", "/projects/").json == []
    assert call(alice, "POST", "/projects/", {"name": "Tea Garden"}).json["slug"] == "tea-garden"


def test_an_owner_cannot_go_before_the_project_has_another(call, house, alice, bob, garden):
    with house.writing(), pytest.raises(OwnsProjects, match="tea-garden"):
        accounts.remove(accounts.named("alice"))
    with house.writing():
        projects.hand_over("tea-garden", accounts.named("bob"))
    assert [each["role"] for each in call(bob, "GET", "/projects/tea-garden/members").json] == ["admin", "owner"]
    with house.writing():
        accounts.remove(accounts.named("alice"))
    assert [each["role"] for each in call(bob, "GET", "/projects/tea-garden/members").json] == ["owner"]


def test_an_account_that_joined_meanwhile_is_not_let_in_twice(call, house, alice, bob, garden):
    tokens = []
    for _ in range(2):
        with house.writing():
            tokens.append(invites.token(invites.create(drafts.read({"project": "tea-garden"}), drafts.SHELL)))
    assert call(bob, "POST", f"/invites/{tokens[0]}/accept").status_code == 200
    again = call(bob, "POST", f"/invites/{tokens[1]}/accept")
    assert (again.status_code, again.json["code"]) == (400, "ALREADY_MEMBER")
    with house.reading():
        assert invites.find(tokens[1]).uses == 0


@pytest.mark.long
def test_the_shell_makes_lists_hands_over_and_deletes_projects(invite_api):
    for name in ("anne", "bob"):
        assert invite_api("user", "create", name).returncode == 0
    assert invite_api("project", "create", "Tea Garden", "--owner", "anne").stdout == "tea-garden\n"
    assert invite_api("project", "list").stdout == "tea-garden\tTea Garden\tanne\n"
    assert invite_api("user", "delete", "anne").stderr.startswith("Error: This account owns tea-garden: ")
    assert invite_api("project", "owner", "tea-garden", "bob").returncode == 0
    rows = [line.split("\t")[1:3] for line in invite_api("project", "members", "tea-garden").stdout.splitlines()]
    assert rows == [["admin", "anne"], ["owner", "bob"]]
    assert invite_api("invite", "create", "--project", "tea-garden", "--role", "admin").returncode == 0
    gone = invite_api("project", "delete", "tea-garden")
    assert (gone.returncode, gone.stderr) == (0, "Note: 1 invite was revoked with it\n")
    again = invite_api("project", "delete", "tea-garden")
    assert again.stderr == "Error: no such project: name one by its slug; see invite-api project list\n"


def statements_of(ask) -> int:
    """How many statements the database is asked while this is called."""
    statements = []
    note = lambda *facts: statements.append(facts[2])  # noqa: E731
    event.listen(Engine, "before_cursor_execute", note)
    ask()
    event.remove(Engine, "before_cursor_execute", note)
    return len(statements)


def test_a_project_of_many_is_listed_and_invited_to_as_quickly_as_one_of_few(call, alice, garden, house):
    def ask():
        assert len(call(alice, "GET", "/projects/tea-garden/members").json) == 1 + members
        body = {"email": f"guest{members}@example.org"}
        assert call(alice, "POST", "/projects/tea-garden/invites", body).status_code == 201

    members = 0
    few = statements_of(ask)
    now, members = clock.now(), 50
    with house.writing():
        for number in range(members):
            user = accounts.create(accounts.Names(f"member{number}", f"member{number}@example.org"), proven=True)
            member = Member(id=clock.new_id(), project_id=garden["id"], user=user, role="member", joined_at=now)
            database.session().add(member)
    assert 0 < statements_of(ask) <= few


def test_many_projects_are_listed_with_as_many_questions_as_one(call, alice, bob, garden, house):
    def ask():
        assert {each["owner_id"] for each in call(bob, "GET", "/projects/").json} == owners

    with house.writing():
        owners = {accounts.named("bob").id}
        projects.create(accounts.named("bob"), projects.ProjectDraft("Orchard"))
    few = statements_of(ask)
    with house.writing():
        now, me = clock.now(), accounts.named("bob")
        for number in range(20):
            owner = accounts.create(accounts.Names(f"owner{number}"))
            project = projects.create(owner, projects.ProjectDraft(f"Bed {number}"))
            member = Member(id=clock.new_id(), project=project, user=me, role="member", joined_at=now)
            database.session().add(member)
            owners.add(owner.id)
    assert 0 < statements_of(ask) <= few


@pytest.fixture
def crowded(house, garden):
    """Alice's project with six members more and six invites, some of the same moment."""
    now = clock.now()
    with house.writing():
        project = projects.find("tea-garden")
        for number in range(6):
            user = accounts.create(accounts.Names(f"member{number}"))
            joined = now + (number // 3) * clock.SECOND
            member = Member(id=clock.new_id(), project=project, user=user, role="member", joined_at=joined)
            database.session().add(member)
            draft = drafts.Draft(project="tea-garden", name=f"Guest {number}")
            invites.create(draft, drafts.SHELL).created_at = joined
    return garden


def pages(client, person, path):
    """What a list has on its pages, one after the other, as their headers lead on."""
    found, led = [], path
    while led:
        answer = client.get(led, headers=person.bearer)
        assert answer.status_code == 200
        found.append(answer.json)
        following = re.fullmatch(r'<http://127\.0\.0\.1:8080(/.+)>; rel="next"', answer.headers.get("Link", ""))
        led = following and following[1]
    return found


@pytest.mark.parametrize(("what", "count"), [("members", 7), ("invites", 6)])
@pytest.mark.parametrize("limit", [1, 2, 3, 6, 7, 1000])
def test_a_list_comes_whole_or_in_pages_and_has_the_same_in_it(client, alice, crowded, what, count, limit):
    (whole,) = pages(client, alice, f"/projects/tea-garden/{what}")
    assert len(whole) == count
    cut = pages(client, alice, f"/projects/tea-garden/{what}?limit={limit}")
    assert [each for page in cut for each in page] == whole
    assert [len(each) for each in cut[:-1]] == [limit] * (len(cut) - 1)
    assert 1 <= len(cut[-1]) <= limit


def test_an_invite_that_is_created_between_two_pages_shifts_nothing(client, house, alice, crowded):
    (whole,) = pages(client, alice, "/projects/tea-garden/invites")
    first = client.get("/projects/tea-garden/invites?limit=4", headers=alice.bearer)
    with house.writing():
        invites.create(drafts.Draft(project="tea-garden"), drafts.SHELL).created_at = clock.now() + clock.MINUTE
    led = re.search("<http://127.0.0.1:8080(/.+)>", first.headers["Link"])[1]
    assert first.json + pages(client, alice, led)[0] == whole


def test_a_member_who_goes_between_two_pages_hides_nobody(client, call, alice, crowded):
    (whole,) = pages(client, alice, "/projects/tea-garden/members")
    first = client.get("/projects/tea-garden/members?limit=4", headers=alice.bearer)
    assert call(alice, "DELETE", f"/projects/tea-garden/members/{first.json[-1]['id']}").status_code == 200
    led = re.search("<http://127.0.0.1:8080(/.+)>", first.headers["Link"])[1]
    assert first.json + pages(client, alice, led)[0] == whole


@pytest.mark.parametrize("what", ["members", "invites"])
@pytest.mark.parametrize(
    ("query", "field"), [("limit=0", "limit"), ("limit=1001", "limit"), ("limit=x", "limit"), ("cursor=x", "cursor")]
)
def test_a_page_that_cannot_be_is_422(call, alice, garden, what, query, field):
    answer = call(alice, "GET", f"/projects/tea-garden/{what}?{query}")
    assert answer.status_code == 422
    assert [each["field"] for each in answer.json["errors"]] == [field]


@pytest.mark.long
def test_the_shell_removes_a_member_with_passes_and_invites(shell, house):
    with house.writing():
        bob = projects.member("tea-garden", accounts.named("bob"))
        bob.role = "admin"
        bob.user.created_at -= clock.HOUR  # so that what waits for bob is not what created the account
        projects.invite(bob, drafts.Draft(project="tea-garden"), mailed=False)
    done = shell("invite-api member remove tea-garden bob")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "Note: 1 invite was revoked with it\n"
    assert "bob" not in shell("invite-api member list tea-garden").stdout
    assert shell("invite-api pass list").stdout == ""
    assert "\tmember.removed\tshell\t" in shell("invite-api events --type member.removed").stdout
    again = shell("invite-api member remove tea-garden bob")
    assert (again.returncode, "is not a member of this project" in again.stderr) == (1, True)


@pytest.mark.long
def test_the_shell_does_not_remove_the_owner(shell):
    done = shell("invite-api member remove tea-garden alice")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: this is the owner of the project; invite-api project owner SLUG WHO gives")
    assert "alice" in shell("invite-api member list tea-garden").stdout
    assert shell("invite-api project owner tea-garden bob").returncode == 0
    assert shell("invite-api member remove tea-garden alice").returncode == 0
