"""What these tests share: every way to use an invite, and the rows that must not change."""

import itertools
from collections.abc import Callable

import pytest
from sqlalchemy import text

from conftest import PASSWORD, Browser, Person

Attempt = Callable[[], bool]


class Ways:
    """Every way to use an invite. Each gets somebody new ready, and returns the call that tells whether they are in."""

    def __init__(self, app, house) -> None:
        self.app, self.house = app, house
        self.numbers = itertools.count()

    def all(self) -> list[Callable[..., Attempt]]:
        return [self.form, self.own_form, self.registration, self.accept, self.page]

    def somebody(self) -> Person:
        person = Person(self.house, f"guest{next(self.numbers)}")
        person.verify_address()
        return person

    def form(self, token: str) -> Attempt:
        typed = {"token": token, "user": f"guest{next(self.numbers)}", "password": PASSWORD}
        return lambda: self._patiently("/register", data=typed).status_code == 200

    def own_form(self, token: str) -> Attempt:
        browser, user = Browser(self.app.test_client()), f"guest{next(self.numbers)}"
        csrf = browser.csrf()

        def post() -> bool:
            answer = browser.post("/register", csrf=csrf, token=token, user=user, password=PASSWORD)
            while answer.status_code == 503:
                answer = browser.post("/register", csrf=csrf, token=token, user=user, password=PASSWORD)
            return "/welcome?" in (answer.location or "")

        return post

    def registration(self, token: str, email: str = "") -> Attempt:
        email = email or f"guest{next(self.numbers)}@example.org"
        body = {"invite_token": token, "email": email, "password": PASSWORD}
        return lambda: self._patiently("/auth/register/with-invite", json=body).status_code == 200

    def accept(self, token: str, person: Person | None = None) -> Attempt:
        bearer = (person or self.somebody()).bearer
        client = self.app.test_client()
        return lambda: client.post(f"/invites/{token}/accept", headers=bearer).status_code == 200

    def page(self, token: str, person: Person | None = None) -> Attempt:
        browser = Browser(self.app.test_client())
        browser.sign_in((person or self.somebody()).name)
        csrf = browser.csrf()
        return lambda: "/welcome?" in (browser.post("/accept", csrf=csrf, token=token).location or "")

    def code(self, code: str) -> Attempt:
        where = {"REMOTE_ADDR": f"192.0.2.{next(self.numbers) % 250}"}
        client = self.app.test_client()
        validate = "/api/invite/validate"
        return lambda: client.post(validate, json={"code": code}, environ_base=where).status_code == 200

    def _patiently(self, path: str, **sent):
        """Post until there is room for the hashing of a password."""
        client = self.app.test_client()
        while (answer := client.post(path, **sent)).status_code == 503:
            pass
        return answer


@pytest.fixture
def ways(client, house) -> Ways:
    return Ways(client.application, house)


@pytest.fixture
def rows(house):
    """All rows of the tables that are named, as text; of every table but the counters where none is."""
    everything = ("users", "sessions", "access_tokens", "api_keys", "projects", "members", "invites", "redemptions")
    others = ("codes", "outbox")

    def look(*tables: str) -> dict[str, list[str]]:
        with house.reading() as unit:
            return {
                table: sorted(str(tuple(row)) for row in unit.session.execute(text(f"SELECT * FROM {table}")))
                for table in tables or everything + others
            }

    return look


@pytest.fixture
def uses(house):
    """The uses of the only invite, of which there must be as many as redemptions."""

    def look():
        with house.reading() as unit:
            (used,) = unit.session.execute(text("SELECT uses FROM invites")).scalars()
            assert used == unit.session.scalar(text("SELECT count(*) FROM redemptions"))
            return used

    return look
