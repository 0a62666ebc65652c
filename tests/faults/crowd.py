"""Eight clients that use a server as fast as it answers, and remember what they were told is done."""

import json
import random
import sqlite3
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import Any, NamedTuple

from conftest import PASSWORD, Served

Execute = Callable[[str], Iterable[Any]]

CLIENTS = 8
BUDGET = 60  # places of each client, for so long that none comes back meanwhile
# What there must be none of, in a database in which every account was made with an invite.
WRONG = {
    "used more often than written down": """
        SELECT id FROM invites WHERE uses > max_uses
        OR uses <> (SELECT count(*) FROM redemptions WHERE invite_id = invites.id AND released_at IS NULL)
        OR waiting <> (SELECT count(*) FROM redemptions
            WHERE invite_id = invites.id AND released_at IS NULL AND redeemed_at IS NULL)""",
    "registered without an invite": """
        SELECT id FROM users WHERE NOT EXISTS (SELECT 1 FROM redemptions WHERE user_id = users.id)""",
    "created or revoked, and not told once": """
        SELECT id FROM invites LEFT JOIN (
            SELECT invite_id, sum(CASE WHEN type = 'invite.created' THEN 1 ELSE 0 END) AS created,
                sum(CASE WHEN type = 'invite.revoked' THEN 1 ELSE 0 END) AS revoked
            FROM events GROUP BY invite_id) AS told ON told.invite_id = invites.id
        WHERE coalesce(created, 0) <> 1 OR coalesce(revoked, 0) <> CASE WHEN revoked_at IS NULL THEN 0 ELSE 1 END""",
    "told of an invite that is not there": """
        SELECT number FROM events WHERE invite_id IS NOT NULL AND invite_id NOT IN (SELECT id FROM invites)""",
    "no delivery of what happened, to a webhook that is told of all": """
        SELECT number FROM webhooks JOIN events ON number <= seen
        LEFT JOIN deliveries ON event = number AND webhook_id = webhooks.id
        WHERE deliveries.id IS NULL AND number >= (SELECT min(number) FROM events WHERE type = 'webhook.created')""",
    "a delivery of what has not happened": """
        SELECT event FROM deliveries WHERE event NOT IN (SELECT number FROM events)""",
    "invited more than the budget permits": """
        SELECT maker_id FROM invites JOIN users ON users.id = maker_id WHERE budget LIKE '60/%'
        GROUP BY maker_id HAVING sum(CASE WHEN revoked_at IS NULL THEN max_uses ELSE uses END) > 60""",
    "given back more often than once": """
        SELECT facts FROM events WHERE type = 'invite.released' GROUP BY facts HAVING count(*) > 1""",
    "used, and not told once": """
        SELECT id FROM redemptions WHERE state = 'done'
        AND 1 <> (SELECT count(*) FROM events WHERE invite_id = redemptions.invite_id AND type = 'invite.used'
            AND facts LIKE '%' || redemptions.id || '%')""",
    "invited without a letter": """
        SELECT id FROM invites WHERE email IS NOT NULL
        AND id NOT IN (SELECT invite_id FROM outbox WHERE invite_id IS NOT NULL)""",
    "letters both due and done with, or neither": """
        SELECT id FROM outbox WHERE (due_at IS NULL) <> (sent_at IS NOT NULL OR dropped_at IS NOT NULL)""",
    "done more than once for one request": """
        SELECT name FROM invites WHERE name LIKE 'once %' GROUP BY name HAVING count(*) > 1
        UNION ALL SELECT email FROM invites WHERE email LIKE 'once.%' GROUP BY email HAVING count(*) > 1
        UNION ALL SELECT subject FROM redemptions WHERE subject LIKE 'once %' GROUP BY subject HAVING count(*) > 1""",
}
JSON = {"Content-Type": "application/json"}


class Fact(NamedTuple):
    """What a client was told is done: to which invite, and by whom. ``at`` is when, as time.time() has it."""

    what: str  # made, accepted, registered, cancelled, mailed; held, completed, released
    invite: str  # a token; of an invite to a project, its id; of a use that a program holds, the use's id
    by: str = ""
    at: float = 0


@dataclass
class Books:
    """What the clients know."""

    facts: list[Fact] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    rude: list[str] = field(default_factory=list)  # answers that say 5xx, and not when to come again
    shared: deque[str] = field(default_factory=lambda: deque(maxlen=24), repr=False)  # tokens that anybody may use

    @property
    def told(self) -> set[Fact]:
        """All that was said to be done, whenever."""
        return {each._replace(at=0) for each in self.facts}


@dataclass
class Place:
    """What a crowd needs to know of the instance it calls at."""

    key: str
    slug: str
    bearers: list[tuple[str, str]]  # a user's id, and the header that says it is them
    held: deque[str] = field(default_factory=deque)  # uses that programs hold, and of which they know no end

    @classmethod
    def furnish(cls, served: Served, budget: str = f"{BUDGET}/300d") -> "Place":
        """Make a key, an account with a budget for each client, a project of the first, and a webhook to nobody."""
        token = served.run("invite", "create", "--uses", str(CLIENTS)).partition("?")[2]
        bearers = [_account(served, token, number) for number in range(CLIENTS)]
        body = json.dumps({"name": "Tea Garden"}).encode()
        project = served.get("/projects/", "POST", body, Authorization=bearers[0][1], **JSON)
        for number in range(CLIENTS):
            served.run("user", "budget", f"client{number}@example.org", budget)
        served.run("webhook", "create", "http://127.0.0.1:1/", "--private")
        key = served.run("create", "test", "--may", "create,redeem")
        return cls(key, json.loads(project.body)["slug"], bearers)


def _account(served: Served, token: str, number: int) -> tuple[str, str]:
    body = {"invite_token": token, "email": f"client{number}@example.org", "password": PASSWORD}
    answer = json.loads(served.get("/auth/register/with-invite", "POST", json.dumps(body).encode(), **JSON).body)
    return answer["user"]["id"], f"Bearer {answer['token']}"


class Client:
    """One of the crowd: it makes invites, uses its own and others', registers with them, and withdraws some.

    As a person it invites others, as far as its budget goes. As a program it holds uses, and completes or releases its
    own and those that were left when a server died. It asks for each only once, under a name that nobody else uses: so
    what is there twice was done twice.
    """

    def __init__(self, number: int, port: int, place: Place, books: Books) -> None:
        self._connection = HTTPConnection("127.0.0.1", port, timeout=30)
        self._place, self._books, self._shared = place, books, books.shared
        self._user, self._bearer = place.bearers[number]
        self._cancellable: list[str] = []

    def work(self, over: threading.Event) -> None:
        """Go on until it is over, or the server is."""
        wants = (
            [self._make] * 4
            + [self._accept] * 3
            + [self._register, self._invite, self._invite_by_mail, self._cancel, self._hold, self._end_hold]
        )
        with closing(self._connection):
            while not over.is_set():
                try:
                    random.choice(wants)()
                except (OSError, HTTPException):
                    return

    def _make(self) -> None:
        answer, _ = self._ask("GET", f"/invites_api?key={self._place.key}&name=once+{random.getrandbits(64):x}")
        if answer.status == 201:
            token = answer.headers["Location"].partition("?")[2]
            self._note("made", token)
            self._shared.append(token)

    def _accept(self) -> None:
        if not self._shared:
            return
        token = random.choice(self._shared)  # two may choose the same: one of them gets it
        answer, _ = self._ask("POST", f"/invites/{token}/accept", {})
        if answer.status == 200:
            self._note("accepted", token, self._user)

    def _register(self) -> None:
        if not self._shared:
            return
        token, email = random.choice(self._shared), f"{random.getrandbits(64):x}@example.org"
        body = {"invite_token": token, "email": email, "password": PASSWORD}
        answer, made = self._ask("POST", "/auth/register/with-invite", body)
        if answer.status == 200:
            self._note("registered", token, made["user"]["id"])

    def _invite(self) -> None:
        answer, made = self._ask("POST", "/api/invite", {"name": f"once {random.getrandbits(64):x}"})
        if answer.status == 201:
            self._note("made", made["token"])
            self._shared.append(made["token"])

    def _invite_by_mail(self) -> None:
        body = {"email": f"once.{random.getrandbits(64):x}@example.org"}
        answer, made = self._ask("POST", f"/projects/{self._place.slug}/invites", body, self._place.bearers[0][1])
        if answer.status == 201:
            self._note("mailed", made["id"])
            self._cancellable.append(made["id"])

    def _cancel(self) -> None:
        if not self._cancellable:
            return
        invite = self._cancellable.pop()
        path = f"/projects/{self._place.slug}/invites/{invite}"
        answer, _ = self._ask("DELETE", path, bearer=self._place.bearers[0][1])
        if answer.status == 200:
            self._note("cancelled", invite)

    def _hold(self) -> None:
        if not self._shared:
            return
        body = {"token": random.choice(self._shared), "subject": f"once {random.getrandbits(64):x}", "lease": "1h"}
        answer, made = self._ask("POST", "/v1/holds", body, f"Bearer {self._place.key}")
        if answer.status == 201:
            self._note("held", made["id"])
            self._place.held.append(made["id"])

    def _end_hold(self) -> None:
        if not self._place.held:
            return
        hold = random.choice(self._place.held)  # two may choose the same: the first decides
        ends = random.choice(("complete", "release"))
        way = ("POST", f"/v1/holds/{hold}/complete") if ends == "complete" else ("DELETE", f"/v1/holds/{hold}")
        answer, _ = self._ask(*way, bearer=f"Bearer {self._place.key}")
        if answer.status < 300:
            self._note("completed" if ends == "complete" else "released", hold)
        if answer.status < 500:  # it is known what has become of it
            with suppress(ValueError):
                self._place.held.remove(hold)

    def _ask(
        self, method: str, path: str, body: dict[str, str] | None = None, bearer: str | None = None
    ) -> tuple[HTTPResponse, Any]:
        """An answer and, if it is JSON, what it says."""
        sent = None if body is None else json.dumps(body)
        headers = {} if "key=" in path else {**JSON, "Authorization": bearer or self._bearer}
        self._connection.request(method, path, sent, headers)
        answer = self._connection.getresponse()
        text = answer.read()
        self._books.statuses[answer.status] += 1
        if answer.status >= 500 and not (answer.status == 503 and int(answer.headers["Retry-After"] or 0) > 0):
            self._books.rude.append(f"{method} {path}: {answer.status} {text[:200]!r}")
        return answer, json.loads(text) if text and answer.status < 500 else None

    def _note(self, what: str, invite: str, by: str = "") -> None:
        self._books.facts.append(Fact(what, invite, by, time.time()))


@contextmanager
def crowd(served: Served, place: Place) -> Iterator[Books]:
    """Let eight clients work during the block, or until the server ends."""
    books, over = Books(), threading.Event()
    clients = [Client(number, served.port, place, books) for number in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as pool:
        working = [pool.submit(each.work, over) for each in clients]
        try:
            yield books
        finally:
            over.set()
    for each in working:
        each.result()


def lost(instance: Path, told: set[Fact]) -> set[Fact]:
    """What was told but is not in the file. It must be sound, and nothing in it done by half."""
    with closing(sqlite3.connect(instance / "invites.db")) as file:
        assert file.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert file.execute("PRAGMA foreign_key_check").fetchall() == []
        return lost_from(file.execute, told)


def lost_from(execute: Execute, told: set[Fact]) -> set[Fact]:
    """What was told but is not in the database that `execute` asks; nothing in it may be done by half."""
    wrong = {what: rows for what, query in WRONG.items() if (rows := list(execute(query)))}
    assert not wrong, wrong
    return told - kept(execute, told)


def kept(execute: Execute, told: set[Fact]) -> set[Fact]:
    """Those of the facts that are in the database."""
    ids = dict(execute("SELECT token_hash, id FROM invites"))
    written = {
        "mailed": {(each, "") for (each,) in execute("SELECT invite_id FROM outbox")},
        "cancelled": {(each, "") for (each,) in execute("SELECT id FROM invites WHERE revoked_at IS NOT NULL")},
        "made": {(each, "") for each in ids.values()},
    }
    written["accepted"] = written["registered"] = set(execute("SELECT invite_id, user_id FROM redemptions"))
    uses = list(execute("SELECT id, state FROM redemptions"))
    written["held"] = {(each, "") for each, _ in uses}
    written["completed"] = {(each, "") for each, state in uses if state == "done"}
    written["released"] = {(each, "") for each, state in uses if state == "released"}

    def is_written(fact: Fact) -> bool:
        invite = ids.get(sha256(fact.invite.encode()).hexdigest(), fact.invite)
        return (invite, fact.by) in written[fact.what]

    return {each for each in told if is_written(each)}
