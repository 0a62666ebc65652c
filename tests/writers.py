"""Everything that one unit of work may write, about the same few rows: what calls, pages, commands and threads do.

Each is what happens inside of the unit, with the locks that its guard takes.
"""

from collections.abc import Callable
from types import SimpleNamespace

import clock
from conftest import HASH, PASSWORD
from database import session
from delivery import mail
from delivery import outbox as postman
from models import AccessToken, Code, Counter, Invite, Letter, Session, User
from rules import (
    accounts,
    batches,
    changing,
    forgetting,
    invites,
    keys,
    legacy,
    outbox,
    own_account,
    presets,
    projects,
    redemption,
    registration,
    resets,
    sessions,
    tokens,
)
from rules.accounts import Names
from rules.invites import Draft

Unit = Callable[[], object]

CLIENT = "192.0.2.1"


class Place:
    """A database with a few rows that all are about.

    Anne has created the invites and is an admin of the project, which is Bob's. Carol accepts; Dora claims the address
    that this proves. Root and Rita are admins of the site.
    """

    def __init__(self, house) -> None:
        with house.writing() as unit:
            people = {name: accounts.create(Names(name, f"{name}@example.org"), HASH, True) for name in _PEOPLE}
            people["carol"].email = people["carol"].email_verified_at = None
            people["dora"] = accounts.create(Names(email="dora@example.org"), HASH)
            for name in ("root", "rita"):
                accounts.set_admin(people[name], True)
            self.project = projects.create(people["bob"], projects.Plan("Orchard")).id
            joining = invites.create(invites.read({"project": "orchard", "role": "admin"}), invites.SHELL)
            redemption.accept(invites.token(joining), people["anne"])
            self.member = projects.find_member(projects.find("orchard"), people["anne"]).id
            self.ids = {name: each.id for name, each in people.items()}
            self.signed_in = {name: sessions.start(each) for name, each in people.items()}
            self.cookie = sessions.start_in_browser(people["anne"])
            self.replayed = sessions.start(people["anne"]).refresh
            sessions.refresh(self.replayed)
            unit.session.query(Session).update({"rotated_at": None})
            self._invite(people)
            self._codes(people["dora"])
            self.key, self.other_key = keys.create("one"), keys.create("two")
            presets.create("family", {"plan": "gold", "project": "orchard"})
            self.bound_key = keys.create("bound", preset="family")
            self.reset = resets.mailed_link(people["dora"], clock.DAY).partition("?")[2]
            self._expire(unit.session, people["anne"])

    def _invite(self, people) -> None:
        """The invites, of each maker some whose ids are before and after that of the one which most are about."""
        anne, dora, root = (accounts.as_maker(people[name]) for name in ("anne", "dora", "root"))
        draft = Draft(email="dora@example.org", project="orchard", uses=9)
        bound = invites.create(draft, anne, mailed=True, id_="7")
        self.bound, self.mailed = bound.id, invites.mail_token(bound)
        self.mailed_by_dora = invites.mail_token(invites.create(draft, dora, mailed=True, id_="8"))
        self.unmailed = invites.create(draft, anne, id_="70").id
        self.open = invites.token(invites.create(Draft(uses=9), anne))
        for number, maker in enumerate((anne, dora, anne, dora, anne, dora)):
            invites.create(Draft(project="orchard"), maker, id_=f"{number * 3}")
        self.by_dora = invites.token(invites.create(Draft(), dora))
        invites.create(invites.read({}, makes_admin=True), root)
        self.short = legacy.create(anne)

    def _codes(self, dora) -> None:
        right = registration.create_code("register", "dora@example.org", None)
        right.used_at, right.client = clock.now(), CLIENT
        registration.create_code("register", "eve@example.org", None)
        proof = registration.create_code("verify", "dora@example.org", dora)
        self.code, self.digits = proof.id, tokens.mail_code(proof.nonce)

    def _expire(self, written, anne) -> None:
        """Rows that have expired, of anne among others."""
        past = clock.now() - 60 * clock.DAY
        for each in ("x1", "x2"):
            written.add(Session(id=each, user_id=anne.id, created_at=past, expires_at=past))
            written.add(AccessToken(hash=tokens.digest(each), session_id=each, expires_at=past))
            written.add(Code(id=each, purpose="register", email=each, nonce=each, created_at=past, expires_at=past))
            written.add(Counter(purpose="short code", subject=each, spent=1, since=past))
            written.add(Letter(id=each, kind="code", recipient=each, code_id=each, created_at=past, sent_at=past))

    def caller(self, name: str) -> sessions.SignedIn:
        """What the guard of a call finds."""
        return sessions.of_access_token(self.signed_in[name].access)

    def admin(self) -> sessions.SignedIn:
        """What the guard of an admin's form finds."""
        accounts.one_admin_at_a_time()
        return self.caller("root")

    def user(self, name: str) -> User:
        """An account, as a command finds it."""
        return accounts.named(self.ids[name])

    def attempt(self, name: str) -> accounts.Attempt:
        """A try to sign in whose password was right."""
        return accounts.Attempt(PASSWORD, self.ids[name], HASH, verified=True)


_PEOPLE = ("anne", "bob", "carol", "root", "rita")


def by_calls(place: Place) -> dict[str, Unit]:
    """What calls and visitors' pages do."""

    def by_key() -> invites.Maker:
        return invites.by_key(keys.authenticate(place.key))

    def by_preset() -> str:
        maker = invites.by_key(keys.authenticate(place.bound_key))
        return invites.create_token(presets.draft({}, maker), maker)

    def accept(token: str) -> None:
        redemption.accept(token, place.caller("carol").account)

    def register(token: str, *names: str) -> None:
        sessions.start(accounts.register(token, Names(*names), HASH)[0])

    def sign_in(name: str) -> None:
        sessions.start(accounts.finish_login(place.attempt(name)))
        sessions.end(sessions.of_cookie(place.cookie).session_id)

    def prove() -> None:
        caller = place.caller("dora")
        registration.prove(caller.user, registration.check(place.code, 1, place.digits, CLIENT))

    def change() -> None:
        maker = by_key()
        changing.change(invites.held(place.bound), {"ttl": "2d", "note": "x", "max_uses": 2}, maker)

    def managed(name: str) -> projects.Member:
        return projects.of_manager("orchard", place.caller(name).user)

    return {
        "create by key": lambda: invites.create_token(Draft(project="orchard"), by_key()),
        "create by a preset": by_preset,
        "create": lambda: invites.create_token(Draft(), accounts.as_maker(place.caller("anne").account)),
        "create a short code": lambda: legacy.create(by_key()),
        "try a short code": lambda: legacy.count_try(CLIENT),
        "find by a short code": lambda: (legacy.find_active(place.short), legacy.forgive_try(CLIENT)),
        "use a short code": lambda: (legacy.use(place.short), legacy.forgive_try(CLIENT)),
        "accept a mailed link": lambda: accept(place.mailed),
        "accept a link": lambda: accept(place.open),
        "accept a mailed link of who claims the address": lambda: accept(place.mailed_by_dora),
        "register": lambda: register(place.mailed, "erin"),
        "register by a link of who claims the address": lambda: register(place.mailed_by_dora, "erin"),
        "try to sign in": lambda: accounts.begin_login("anne", PASSWORD),
        "sign in": lambda: sign_in("anne"),
        "sign out": lambda: sessions.end(place.caller("anne").session_id),
        "refresh": lambda: sessions.refresh(place.signed_in["anne"].refresh),
        "replay": lambda: sessions.refresh(place.replayed),
        "start to register": lambda: registration.start("eve@example.org"),
        "mail a code": lambda: registration.start_proof(place.caller("dora").user),
        "try a code": lambda: registration.count_try("dora@example.org", place.ids["dora"]),
        "prove by a code": prove,
        "complete": lambda: sessions.start(registration.complete("dora@example.org", HASH, CLIENT, None)),
        "forget a password": lambda: registration.send_reset("dora@example.org"),
        "reset": lambda: resets.use(place.reset, HASH),
        "create a list": lambda: invites.add(
            [each.invite for each in batches.prepare([{"project": "orchard"}, {"email": "f@example.org"}], by_key())]
        ),
        "change, by a program": change,
        "revoke, by a program": lambda: (by_key(), changing.revoke(invites.held(place.bound))),
        "rotate, by a program": lambda: (by_key(), changing.rotate(invites.held(place.bound))),
        "resend, by a program": lambda: (by_key(), changing.resend(invites.held(place.bound))),
        "create a project": lambda: projects.create(place.caller("anne").user, projects.Plan("Orchard")),
        "remove a member": lambda: projects.remove(managed("bob"), place.member),
        "invite to a project": lambda: projects.invite(
            managed("anne"), Draft(email="f@example.org", project="orchard")
        ),
        "revoke in a project": lambda: projects.revoke_invite(managed("bob"), place.bound),
        "rename": lambda: own_account.rename(place.caller("anne").user, "Anne"),
        "try the own password": lambda: own_account.begin(place.caller("anne"), PASSWORD),
        "confirm the own password": lambda: own_account.confirm(place.attempt("anne")),
        "change the password": lambda: own_account.change_password(place.attempt("anne"), HASH),
        "end a session": lambda: sessions.end_one(place.caller("anne").user, "x1"),
        "end other sessions": lambda: sessions.end_others(place.caller("anne")),
        "delete the own account": lambda: own_account.delete(place.attempt("anne"), []),
        "delete an admin's own account": lambda: own_account.delete(place.attempt("root"), [place.ids["rita"]]),
    }


def by_admins(place: Place) -> dict[str, Unit]:
    """What admins do by the command; and, with the locks of the guard of their pages, what is about accounts."""

    def found() -> Invite:
        return invites.find_by_id(place.bound)

    acts: dict[str, Unit] = {
        "revoke": lambda: changing.revoke(found()),
        "extend": lambda: changing.extend(found(), clock.DAY),
        "resend": lambda: changing.resend(found()),
        "resend what was never mailed": lambda: changing.resend(invites.find_by_id(place.unmailed)),
        "rotate": lambda: changing.rotate(found()),
        "create a key": lambda: keys.create("three"),
        "delete a key": lambda: keys.delete(place.key),
        "create a preset": lambda: presets.create("choir", {"plan": "gold", "project": "orchard"}),
        "delete a preset": lambda: presets.delete("family"),
        "make an admin": lambda: accounts.set_admin(place.user("anne"), True),
        "unmake an admin": lambda: accounts.set_admin(place.user("rita"), False),
        "enable": lambda: accounts.enable(place.user("anne")),
        "own": lambda: projects.create(place.user("anne"), projects.Plan("Orchard")),
        "hand over": lambda: projects.hand_over("orchard", place.user("anne")),
        "hand over to a stranger": lambda: projects.hand_over("orchard", place.user("carol")),
        "delete a project": lambda: projects.delete("orchard"),
    }
    for name in ("anne", "bob", "carol", "dora"):
        acts[f"disable {name}"] = lambda name=name: accounts.disable(place.user(name))
    for name in ("anne", "carol", "dora"):
        acts[f"delete {name}"] = lambda name=name: accounts.remove(place.user(name))
    about_accounts = ("make an admin", "unmake an admin", "own", "hand over", "disable anne", "delete anne", "revoke")
    on_pages = {f"{each}, on a page": lambda act=acts[each]: (place.admin(), act()) for each in about_accounts}
    return {**acts, **on_pages}


def by_others(place: Place) -> dict[str, Unit]:
    """What only the admin's form, only the command, and threads in the background do."""

    def create_for_address() -> None:
        maker = accounts.as_maker(place.admin().account)
        invites.create(Draft(email="g@example.org", project="orchard"), maker, mailed=True)

    def add() -> None:
        project = SimpleNamespace(id=place.project)
        draft = Draft(email="h@example.org", project="orchard")
        invites.add([invites.prepare(draft, invites.SHELL, mailed=True, project_of=lambda _: project)])

    def deliver() -> None:
        if letter := postman.claim():
            mail.compose(letter)
            postman.mark(letter, None)

    def forget() -> None:
        for each in forgetting.deletions():
            session().execute(each.execution_options(synchronize_session=False))

    return {
        "create on a page": create_for_address,
        "add a list of guests": add,
        "create an account": lambda: accounts.set_admin(accounts.create(Names("ida", "ida@example.org")), True),
        "import a key": lambda: keys.add_imported(keys.ImportedKey("abc", "def")),
        "retry all mail": outbox.retry,
        "deliver": deliver,
        "forget": forget,
    }


def refused(place: Place) -> dict[str, Unit]:
    """What is refused late, after it has locked something; not so if another unit has freed a name by then."""

    def register(token: str, **names: str) -> None:
        accounts.register(token, Names(**names), HASH)

    return {
        "register under a name that is taken": lambda: register(place.open, username="anne"),
        "register with an address that is claimed": lambda: register(place.by_dora, email="dora@example.org"),
        "register with an address that is proved": lambda: register(place.open, email="anne@example.org"),
        "delete an owner": lambda: accounts.remove(place.user("bob")),
    }


def all_of(place: Place) -> dict[str, Unit]:
    """All of them, by name."""
    return {**by_calls(place), **by_admins(place), **by_others(place), **refused(place)}
