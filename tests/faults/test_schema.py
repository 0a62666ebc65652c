"""Every call of the API with what schemathesis makes up from its description, good and bad.

What it makes up is the same whenever it is run.
"""

from itertools import count

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import described
from app import create_app
from conftest import Person, make_settings
from database import open_database
from dialects import hitkey
from dialects import projects as project_calls
from faults.furnished import Kept, in_memory
from rules import drafts, invites, keys, projects, sessions
from rules.accounts import named
from settings import in_force

pytestmark = pytest.mark.long

OPERATIONS = [
    (method, path) for path, operations in described.ours().document["paths"].items() for method in operations
]
A_LIFE = 25  # calls by two, until all is there again: sessions end, and lists grow
FAULT = "calls made up from the description of the API"
CAUGHT = "a status that is not described, a body that is not, an error nobody foresaw: each is noticed"
CHECKS = (
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
)


class Service:
    """A service with people and invites in it, and what one may show it."""

    def __init__(self, folder):
        self.settings = make_settings(folder / "instance", REGISTRATION="open", ADMIN_EMAILS="root@example.org")
        with in_force(self.settings):
            self.house = open_database(self.settings)
            self.root = Person(self.house, "root")
            self.root.verify_address()
            with self.house.writing():
                self.key = keys.create("fuzz")
                projects.create(named("root"), projects.ProjectDraft("Tea Garden"))
                self.token = invites.token(invites.create(drafts.Draft(uses=1000), drafts.SHELL))
        self.kept = Kept(self.settings)
        self.app = create_app(self.settings)
        self.schema = schemathesis.openapi.from_wsgi("/openapi.json", self.app)

    def credentials(self, path):
        """What is asked for, as headers and cookies; and what somebody else may show: nothing, nonsense, another's."""
        with in_force(self.settings):
            token = self.root.sign_in(), {}
        with in_force(self.settings), self.house.writing():
            cookie = {}, {self.settings.cookie_name: sessions.start_in_browser(named("root"))}
        key = {"Authorization": f"Bearer {self.key}"}, {}
        good = {"key": key, "token": token, "cookie": cookie}[asked_for(path)]
        return good, st.sampled_from([cookie, token, ({}, {}), ({"Authorization": "nonsense"}, {}), key])

    def facts(self):
        """Now and then what there is, in the path and in the body."""
        return st.sampled_from([{}, {"token": self.token, "slug": "tea-garden", "invite_token": self.token}])


def asked_for(path):
    """The first thing that a path wants to be shown: key, token or cookie."""
    operation = next(iter(described.ours().document["paths"][path].values()))
    return next((name for shown in operation["security"] for name in shown), "token")


@pytest.fixture(scope="module")
def whole_service():
    with in_memory() as folder:
        yield Service(folder)


@pytest.fixture
def service(whole_service, hurried):
    whole_service.kept.put_back()
    return whole_service


def fuzz(service, method, path, cases):
    """Make up so many calls, or all that differ, if those are fewer; have each made by who may, and by somebody else.

    How many were made. What is found wrong is raised.
    """
    operation, made = service.schema[path][method.upper()], count()
    made_up = st.one_of(*(operation.as_strategy(generation_mode=mode) for mode in GenerationMode))
    (good, others), begun = service.credentials(path), Kept(service.settings)

    @settings(
        max_examples=cases,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=made_up, other=others, facts=service.facts())
    def call(case, other, facts):
        if next(made) % A_LIFE == 0:
            begun.put_back()
        for values in (case.path_parameters, case.body if isinstance(case.body, dict) else {}):
            values.update({name: fact for name, fact in facts.items() if name in values})
        for headers, cookies in (good, other):
            case.validate_response(case.call(headers=headers, cookies=cookies), checks=CHECKS)

    call()
    return 2 * next(made)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_whatever_is_sent_the_answer_is_as_described(service, method, path, profile, figures):
    """Of what takes no parameters there is little that differs; so the others are called more often."""
    row = figures(FAULT)
    row.counts(fuzz(service, method, path, profile(3, 950)))
    row.shows(f"{{count}} calls of {len(OPERATIONS)} operations", "0 × 5xx, 0 not as described")


def test_a_status_that_is_not_described_is_noticed(service, monkeypatch, figures):
    monkeypatch.setattr(hitkey, "STATUS", dict.fromkeys(hitkey.STATUS, 418))
    with pytest.raises(FailureGroup, match="Undocumented status code"):
        fuzz(service, "post", "/projects/", 20)
    figures(FAULT).catches(CAUGHT)


def test_a_body_that_is_not_described_is_noticed(service, monkeypatch, figures):
    monkeypatch.setattr(project_calls, "_project", lambda project: {"id": project.id})
    with pytest.raises(FailureGroup, match="violates schema"):
        fuzz(service, "post", "/projects/", 40)
    figures(FAULT).catches(CAUGHT)


def test_an_error_nobody_foresaw_is_noticed(service, monkeypatch, figures):
    monkeypatch.setattr(project_calls, "_project", lambda project: 1 / 0)
    with pytest.raises(FailureGroup, match="Server error"):
        fuzz(service, "post", "/projects/", 40)
    figures(FAULT).catches(CAUGHT)
