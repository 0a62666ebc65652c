"""Pages for the admins of the site: people and projects."""

from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import Any

from flask import Response, g, request

import clock
from rules import (
    accounts,
    activity,
    admins,
    branches,
    budgets,
    cursors,
    durations,
    fields,
    gate,
    listing,
    passes,
    projects,
    proxies,
    redemption,
    resets,
    timeline,
    urls,
)
from rules.projects import ProjectDraft
from rules.refusals import Invalid, MemberNotFound, UserNotFound, together
from rules.sessions import SignedIn
from rules.timeline import Filter
from web import forms, html, requests
from web.html import Shown, page

HEADERS = forms.HEADERS

LATEST = 20  # events that the page of a person shows
MAX_BELOW, MAX_SHOWN = 10_000, 100  # accounts of a person's branch that are counted, and that are shown

_OF_PROJECT_FORM = ("name", "owner", "description", "once")
_OF_PROJECT = ("id", "slug", "name", "description", "created_at", "join_url")
_OF_PASS = ("id", "name", "created_at", "expires_at")
_PROJECT: Mapping[str, Callable[[Any], Any]] = {
    "name": lambda value: fields.text(value, "name", 100),
    "description": lambda value: fields.text(value, "description", 1000),
}

refusal = forms.refusal


def list_people() -> str:
    """The accounts, a page at a time."""
    show = partial(page, "admin/people.html")
    g.again = partial(show, given=forms.as_typed("q", "cursor"), rows=[], older=None)
    given = requests.query(("q", "cursor"))
    wanted = listing.read(given)
    rows = accounts.search(wanted.text, wanted.after, forms.ROWS + 1)
    last = rows[forms.ROWS - 1] if len(rows) > forms.ROWS else None
    older = forms.next_page(given, cursors.written(cursors.of(last))) if last else None
    return show(given=given, rows=[_person(each) for each in rows[: forms.ROWS]], older=older)


def show_person(caller: SignedIn, user_id: str) -> str:
    """All about one account, and what can be done with it."""
    return _person_page(caller, user_id)()


def _person_named(caller: SignedIn) -> Shown:
    return _person_page(caller, forms.in_path("user_id"))


@html.form(_person_named)
def make_admin(caller: SignedIn, user_id: str) -> Response:
    """Make an account an admin of the site, or no longer."""
    user = accounts.named(user_id)
    if requests.form_field("off"):
        accounts.refuse_self(caller.user, user)
        accounts.set_admin(user, False)
        return forms.done(f"/admin/people/{user_id}", "no-admin")
    accounts.set_admin(user, True)
    return forms.done(f"/admin/people/{user_id}", "admin")


@html.form(_person_named)
def disable_person(caller: SignedIn, user_id: str) -> Response:
    """Disable an account, or enable it again."""
    user = accounts.named(user_id)
    accounts.refuse_self(caller.user, user)
    if requests.form_field("off"):
        accounts.enable(user)
        return forms.done(f"/admin/people/{user_id}", "enabled")
    accounts.disable(user)
    return forms.done(f"/admin/people/{user_id}", "disabled")


@html.form(_person_named)
def delete_person(caller: SignedIn, user_id: str) -> Response:
    """Delete an account, and revoke the active invites that it created."""
    user = accounts.named(user_id)
    accounts.refuse_self(caller.user, user)
    accounts.remove(user)
    return forms.done("/admin/people", "deleted")


@html.form(_person_named)
def delete_pass_of(user_id: str, pass_id: str) -> Response:
    """Delete a pass of this account: the program that has it is refused."""
    passes.delete_own(user_id, pass_id)
    return forms.done(f"/admin/people/{user_id}", "pass")


@html.form(_person_named)
def reset_person(caller: SignedIn, user_id: str) -> str:
    """Show a link with which a new password can be set; nothing is changed by it."""
    return _person_page(caller, user_id)(reset_link=resets.link(accounts.named(user_id)))


def list_projects() -> str:
    """The projects, and the form that creates one."""
    return _project_list({"once": clock.new_id()})()


@html.form(lambda _: _project_list(forms.again(_OF_PROJECT_FORM, clock.new_id())))
def create_project(caller: SignedIn) -> Response:
    """Create a project, once."""
    given = forms.sent(*_OF_PROJECT_FORM)
    _, values, owner, once = together(
        lambda: requests.require(given, "name"),
        lambda: fields.read(_PROJECT, given),
        lambda: accounts.named(given["owner"]) if given["owner"] else caller.user,
        lambda: forms.once(given["once"]),
    )
    project = projects.create(owner, ProjectDraft(**values), id_=clock.id_for(once))
    return forms.done(f"/admin/projects/{project.slug}", "made")


def show_project(slug: str) -> str:
    """A project, its members, and what can be done with it."""
    return _project_page(slug)()


@html.form(lambda _: _project_page(forms.in_path("slug")))
def change_owner(slug: str) -> Response:
    """Give the project another owner."""
    projects.hand_over(slug, accounts.named(requests.form_field("owner")))
    return forms.done(f"/admin/projects/{slug}", "handed-over")


@html.form(lambda _: _project_page(forms.in_path("slug")))
def extend_member(slug: str) -> Response:
    """Let the access of a member of the project end so long from now, or never."""
    given = forms.sent("who", "access", "until", "offset")
    _, length, member = together(
        lambda: requests.require(given, "who", "access"),
        lambda: fields.access(durations.chosen(given, "access")) if given["access"] else None,
        lambda: _member(slug, given["who"]) if given["who"] else None,
    )
    projects.extend(member, length)
    return forms.done(f"/admin/projects/{slug}", "access")


@html.form(lambda _: _project_page(forms.in_path("slug")))
def remove_member(slug: str, user_id: str) -> Response:
    """Remove a member from the project, whose invites to it are revoked and whose passes end."""
    projects.end_membership(projects.member(slug, accounts.named(user_id)))
    return forms.done(f"/admin/projects/{slug}", "removed")


@html.form(lambda _: _project_page(forms.in_path("slug")))
def set_origins(slug: str) -> Response:
    """Put the app of the project at these origins behind the gate; none of them takes it away."""
    gate.set_origins(slug, requests.typed("origin").split())
    return forms.done(f"/admin/projects/{slug}", "gate")


def delete_pass(slug: str, pass_id: str) -> Response:
    """Delete a pass for the project: the program that has it is refused."""
    passes.delete(pass_id)
    return forms.done(f"/admin/projects/{slug}", "pass")


def _member(slug: str, who: str) -> Any:
    try:
        return projects.member(slug, accounts.named(who))
    except (UserNotFound, MemberNotFound):
        raise Invalid.at("who", "exists", "is not a member of this project") from None


def delete_project(slug: str) -> Response:
    """Delete a project, and revoke its active invites."""
    projects.delete(slug)
    return forms.done("/admin/projects", "deleted")


def _person_page(caller: SignedIn, user_id: str) -> Callable[..., str]:
    user = accounts.named(user_id)
    used = [
        (forms.kept(each, "id", "name", "email"), each.project and each.project.name)
        for each in redemption.used_by(user)
    ]
    memberships = [
        (forms.kept(each.project, "slug", "name"), each.role, each.ends_at) for each in projects.memberships(user)
    ]
    branch = branches.of(user, MAX_BELOW)
    left = budgets.left(user)
    return partial(
        page,
        "admin/person.html",
        user=_person(user),
        memberships=memberships,
        is_self=user.id == caller.user.id,
        used=used,
        passes=_passes_of(user),
        now=clock.now(),
        inviter=user.inviter and forms.kept(user.inviter, "id", "called", "deleted_at"),
        branch=branch,
        below=branch.people[1 : MAX_SHOWN + 1],
        left=left.places,
        back_at=left.back_at,
        happened=activity.describe(timeline.newest(Filter(user_id=user.id), None, LATEST)),
        done=request.args.get("done"),
    )


def _passes_of(user: Any) -> list[tuple[SimpleNamespace, str, str]]:
    return [
        (forms.kept(each, *_OF_PASS), f"/admin/projects/{each.project.slug}", each.project.name)
        for each in passes.of_user(user.id)
    ]


def _project_list(given: Mapping[str, str]) -> Callable[..., str]:
    rows = [(forms.kept(each, *_OF_PROJECT), each.owner and _person(each.owner)) for each in projects.newest(200)]
    return partial(page, "admin/projects.html", given=given, rows=rows, done=request.args.get("done"))


def _project_page(slug: str) -> Callable[..., str]:
    project = projects.find(slug)
    members = [(_person(each.user), each.role, each.joined_at, each.ends_at) for each in projects.members(project)]
    opened = [
        (forms.kept(each, *_OF_PASS), f"/admin/people/{each.user_id}", each.user.called)
        for each in passes.of_project(project.id)
    ]
    shown = {"project": forms.kept(project, *_OF_PROJECT), "members": members, "passes": opened, "now": clock.now()}
    origins = gate.origins(project)
    printed = {each: proxies.configuration(each, slug, origins) for each in proxies.FILES} if origins else {}
    gated = {"origins": origins, "configurations": printed, "unencrypted": urls.unencrypted(origins)}
    return partial(page, "admin/project.html", **shown, **gated, done=request.args.get("done"))


def _person(user: Any) -> SimpleNamespace:
    names = ("id", "called", "username", "email", "email_verified_at", "admin_at", "created_at", "disabled_at")
    return SimpleNamespace(**vars(forms.kept(user, *names)), is_admin=admins.is_admin(user))
