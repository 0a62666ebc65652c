"""Everything that one unit of work may write, about the same few rows: what calls, pages, commands and threads do.

Each is what happens inside of the unit, with the locks that its guard takes.
"""

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import clock
from conftest import HASH, PASSWORD
from database import session
from delivery import courier, mail
from delivery import outbox as mail_worker
from delivery.posting import Reply
from models import (
    AccessToken,
    Code,
    Counter,
    Invite,
    Letter,
    Member,
    Pass,
    Redemption,
    Session,
    User,
    Webhook,
)
from rules import (
    accounts,
    batches,
    blocked_addresses,
    branches,
    budgets,
    bulk,
    changing,
    deliveries,
    drafts,
    expiry,
    fast_holds,
    forgetting,
    gate,
    holds,
    invites,
    keys,
    legacy,
    outbox,
    own_account,
    own_invites,
    passes,
    presets,
    programs,
    projects,
    redemption,
    registration,
    resets,
    sessions,
    tokens,
    waiting,
    webhooks,
)
from rules.accounts import Names
from rules.drafts import Draft

Unit = Callable[[], object]

CLIENT = "192.0.2.1"


class Place:
    """A database with a few rows that all are about.

    Anne has created the invites and is an admin of the project, which is Bob's. Carol accepts; Dora claims the address
    that this proves. Root and Rita are admins of the site. Frank was a member of the project until an hour ago, and
    waits to be one again.
    """

    def __init__(self, house) -> None:
        with house.writing() as unit:
            people = {name: accounts.create(Names(name, f"{name}@example.org"), HASH, True) for name in _PEOPLE}
            people["carol"].email = people["carol"].email_verified_at = None
            people["dora"] = accounts.create(Names(email="dora@example.org"), HASH)
            for name in ("root", "rita"):
                accounts.set_admin(people[name], True)
            self.project = projects.create(people["bob"], projects.ProjectDraft("Orchard")).id
            gate.set_origins("orchard", ["https://orchard.example.org", "https://orchard.example.com"])
            joining = invites.create(drafts.read({"project": "orchard", "role": "admin"}), drafts.SHELL)
            redemption.accept(invites.token(joining), people["anne"])
            ending = projects.find_member(projects.find("orchard"), people["anne"])
            ending.joined_at, ending.ends_at = clock.now() - 30 * clock.DAY, clock.now() + clock.DAY
            self.member = ending.id
            self.ids = {name: each.id for name, each in people.items()}
            self.signed_in = {name: sessions.start(each) for name, each in people.items()}
            self.cookie = sessions.start_in_browser(people["anne"])
            self.replayed = sessions.start(people["anne"]).refresh
            sessions.refresh(self.replayed)
            unit.session.query(Session).update({"rotated_at": None})
            self._invite(people)
            self.key, self.other_key = keys.create("one"), keys.create("two")
            held = invites.find(self.open)
            self.held = holds.take(held, self.key.partition("/")[0], holds.Wanted("a guest of a program")).id
            approving = invites.find(invites.create_token(Draft(approve=True, uses=9), drafts.SHELL))
            asking = holds.Wanted("a guest of a program", complete=True)
            self.asking = holds.take(approving, self.key.partition("/")[0], asking).id
            self._wait(people)
            self._codes(people["dora"])
            presets.create("family", {"plan": "gold", "project": "orchard"})
            blocked_addresses.block_address("emil@example.org")
            self._give_passes(people)
            self.bound_key = keys.create("bound", preset="family")
            self.reset = resets.mailed_link(people["dora"], clock.DAY).partition("?")[2]
            self._webhooks()
            self._plant(people)
            self._expire(unit.session, people["anne"])

    def _invite(self, people) -> None:
        """The invites, of each inviter some whose ids are before and after that of the one which most are about."""
        anne, dora, root = (accounts.as_inviter(people[name]) for name in ("anne", "dora", "root"))
        draft = Draft(email="dora@example.org", project="orchard", uses=9)
        bound = invites.create(draft, anne, mailed=True, id_="7")
        self.bound, self.mailed = bound.id, invites.mail_token(bound)
        self.mailed_by_dora = invites.mail_token(invites.create(draft, dora, mailed=True, id_="8"))
        self.unmailed = invites.create(draft, anne, id_="70").id
        self.open = invites.token(invites.create(Draft(uses=9), anne))
        for number, inviter in enumerate((anne, dora, anne, dora, anne, dora)):
            invites.create(Draft(project="orchard"), inviter, id_=f"{number * 3}")
        self.by_dora = invites.token(invites.create(Draft(), dora))
        invites.create(drafts.read({}, makes_admin=True), root)
        self.short = legacy.create(anne)

    def _wait(self, people) -> None:
        """Uses that wait for a yes, for a proof and for a program, some of whose leases have ended."""
        anne, frank = (accounts.as_inviter(people[name]) for name in ("anne", "frank"))
        brief = invites.create(Draft(project="orchard", access=clock.DAY), anne)
        redemption.accept(invites.token(brief), people["frank"])
        invites.create(Draft(project="orchard", uses=9), frank, id_="05")
        ended = session().query(Member).filter_by(user_id=people["frank"].id)
        ended.update({"ends_at": clock.now() - clock.HOUR})
        asking, proving = (
            [invites.create(draft, anne, id_=id_) for id_ in ids]
            for draft, ids in (
                (Draft(project="orchard", approve=True, uses=9), ("1", "30")),
                (Draft(project="orchard", email="@example.org", uses=9), ("2", "31")),
            )
        )
        self.to_ask, self.to_prove = (invites.token(each[1]) for each in (asking, proving))
        for name in ("frank", "carol"):
            redemption.accept(invites.token(asking[0]), people[name])
        redemption.accept(invites.token(proving[0]), people["dora"])
        session().query(Counter).delete()  # a code may be mailed at once
        held = [invites.create(Draft(), anne, id_=f"4{number}") for number in range(3)]
        self.holds = [self._hold(each) for each in (*held, asking[0])]
        self._lapse(held[:2])
        self.lapsed = invites.token(held[0])
        self.asked = session().query(Redemption.id).filter_by(user_id=people["frank"].id, state="approval").scalar()

    def _hold(self, invite: Invite) -> str:
        return holds.take(invite, self.key.partition("/")[0], holds.Wanted(f"guest of {invite.id}")).id

    def _lapse(self, held: Sequence[Invite]) -> None:
        past, of = clock.now() - clock.SECOND, [each.id for each in held]
        session().query(Redemption).filter(Redemption.invite_id.in_(of)).update({"until": past})
        session().query(Invite).filter(Invite.id.in_(of)).update({"lapses_at": past})

    def _codes(self, dora) -> None:
        right = registration.create_code("register", "dora@example.org", None)
        right.used_at, right.client = clock.now(), CLIENT
        registration.create_code("register", "eve@example.org", None)
        proof = registration.create_code("verify", "dora@example.org", dora)
        self.code, self.digits = proof.id, tokens.mail_code(proof.nonce)

    def _give_passes(self, people) -> None:
        """The passes of those who were members: of anne some whose ids are before and after those of others."""
        project = projects.find("orchard")
        for name, id_ in (("anne", "5"), ("bob", "6"), ("anne", "7"), ("anne", "9"), ("frank", "8"), ("dora", "4")):
            passes.create(Member(project_id=project.id, user_id=people[name].id), id_=id_)

    def _expire(self, written, anne) -> None:
        """Rows that have expired, of anne among others."""
        past = clock.now() - 60 * clock.DAY
        for each in ("x1", "x2"):
            written.add(Session(id=each, user_id=anne.id, created_at=past, expires_at=past))
            written.add(AccessToken(hash=tokens.digest(each), session_id=each, expires_at=past))
            written.add(Code(id=each, purpose="register", email=each, nonce=each, created_at=past, expires_at=past))
            written.add(Counter(purpose="short code", subject=each, spent=1, since=past))
            of_anne = {"user_id": anne.id, "project_id": self.project, "created_at": past, "expires_at": past}
            written.add(Pass(id=each, hash=f"{each:>64}", **of_anne))
            written.add(Letter(id=each, kind="code", recipient=each, code_id=each, created_at=past, sent_at=past))

    def _plant(self, people) -> None:
        """The tree of inviters: Anne's branch has Carol, Dora and an admin in it; another one is disabled."""
        for name, inviter in (("carol", "anne"), ("frank", "anne"), ("dora", "carol"), ("rita", "frank")):
            people[name].inviter_id = people[inviter].id
        stem = accounts.create(Names("stem"), HASH)
        self.ids["stem"], self.ids["leaf"] = stem.id, accounts.create(Names("leaf"), HASH, inviter_id=stem.id).id
        branches.disable(stem)

    def _webhooks(self) -> None:
        """Two webhooks, one of them disabled; events that nobody has written deliveries for, and deliveries due."""
        wanted = webhooks.Wanted("http://127.0.0.1:1/", private=True)
        self.webhook, self.disabled = (webhooks.create(wanted, 0)[0].id for _ in "12")
        webhooks.disable(webhooks.named_locked(self.disabled))
        self.delivery = deliveries.test(webhooks.named(self.webhook)).id
        deliveries.test(webhooks.named(self.webhook))

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


_SEVERAL = ("7", "30", "1", "05", "40", "8", "3")  # of several inviters, and such as have uses that wait
_PEOPLE = ("anne", "bob", "carol", "frank", "root", "rita")


def by_calls(place: Place) -> dict[str, Unit]:
    """What calls and visitors' pages do."""

    def by_key() -> drafts.Inviter:
        return keys.authenticate(place.key).inviter

    def by_preset() -> str:
        inviter = keys.authenticate(place.bound_key).inviter
        return invites.create_token(presets.draft({}, inviter), inviter)

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
        inviter = by_key()
        changing.change(invites.find_locked(place.bound), {"ttl": "2d", "note": "x", "max_uses": 2}, inviter)

    def hold() -> None:
        caller = programs.by_key(keys.authenticate(place.key))
        caller.keep()
        fast_holds.take(caller.holder, holds.Wanted("a guest", place.open))

    def managed(name: str) -> projects.Member:
        return projects.of_manager("orchard", place.caller(name).user)

    def by_code(looked_up: Callable[[str], object]) -> None:
        with legacy.counted(CLIENT):
            looked_up(place.short)

    def create_pass() -> None:
        caller = place.caller("anne")
        sessions.keep(caller)
        passes.create(projects.of_member("orchard", caller.user))

    return {
        "create by key": lambda: invites.create_token(Draft(project="orchard"), by_key()),
        "create by a preset": by_preset,
        "create": lambda: invites.create_token(Draft(), accounts.as_inviter(place.caller("anne").account)),
        "create a short code": lambda: legacy.create(by_key()),
        "find by a short code": lambda: by_code(legacy.find_active),
        "use a short code": lambda: by_code(legacy.use),
        "accept a mailed link": lambda: accept(place.mailed),
        "accept a link": lambda: accept(place.open),
        "accept a mailed link of who claims the address": lambda: accept(place.mailed_by_dora),
        "decline": lambda: changing.decline(invites.find(place.by_dora)),
        "register": lambda: register(place.mailed, "erin"),
        "register by a link of who claims the address": lambda: register(place.mailed_by_dora, "erin"),
        "try to sign in": lambda: accounts.begin_login("anne", PASSWORD),
        "sign in": lambda: sign_in("anne"),
        "sign out": lambda: sessions.end(place.caller("anne").session_id),
        "refresh": lambda: sessions.refresh(place.signed_in["anne"].refresh),
        "replay": lambda: sessions.refresh(place.replayed),
        "block an address": lambda: blocked_addresses.block(tokens.address_hashes("dora@example.org")[0]),
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
        "revoke, by a program": lambda: (by_key(), changing.revoke(invites.find_locked(place.bound))),
        "rotate, by a program": lambda: (by_key(), changing.rotate(invites.find_locked(place.bound))),
        "resend, by a program": lambda: (by_key(), changing.resend(invites.find_locked(place.bound), inviter=by_key())),
        "hold, by a program": hold,
        "complete a hold, by a program": lambda: fast_holds.complete(place.held, str(by_key().key_id)),
        "release a hold, by a program": lambda: holds.release(place.held, str(by_key().key_id)),
        "approve, by a program": lambda: (by_key(), waiting.approve(place.asking)),
        "deny, by a program": lambda: (by_key(), waiting.deny(place.asking)),
        "create a project": lambda: projects.create(place.caller("anne").user, projects.ProjectDraft("Orchard")),
        "remove a member": lambda: projects.remove(managed("bob"), place.member),
        "invite to a project": lambda: projects.invite(
            managed("anne"), Draft(email="f@example.org", project="orchard")
        ),
        "revoke in a project": lambda: projects.revoke_invite(managed("bob"), place.bound),
        "approve in a project": lambda: (managed("bob"), waiting.approve(place.asked)),
        "deny in a project": lambda: (managed("bob"), waiting.deny(place.asked)),
        "create an own invite": lambda: own_invites.create(
            place.caller("anne").user, Draft(email="h@example.org", project="orchard"), True, "9999"
        ),
        "create an own invite to nothing": lambda: own_invites.create(
            place.caller("anne").user, Draft(email="h@example.org"), True, "9998"
        ),
        "resend an own invite": lambda: own_invites.resend(place.caller("anne").user, place.unmailed),
        "revoke an own invite": lambda: own_invites.revoke(place.caller("anne").user, place.bound),
        "rename": lambda: own_account.rename(place.caller("anne").user, "Anne"),
        "try the own password": lambda: own_account.begin(place.caller("anne"), PASSWORD),
        "confirm the own password": lambda: own_account.confirm(place.attempt("anne")),
        "change the password": lambda: own_account.change_password(place.attempt("anne"), HASH),
        "create a pass": create_pass,
        "delete the own pass": lambda: passes.delete_own(place.caller("anne").account.id, "7"),
        "end a session": lambda: sessions.end_one(place.caller("anne").user, "x1"),
        "end other sessions": lambda: sessions.end_others(place.caller("anne")),
        "delete the own account": lambda: own_account.delete(place.attempt("anne"), []),
        "delete an admin's own account": lambda: own_account.delete(place.attempt("root"), [place.ids["rita"]]),
    }


def that_wait(place: Place) -> dict[str, Unit]:
    """What is done to uses that wait, and to accesses that end."""

    def key() -> str:
        return keys.authenticate(place.key).id

    def take(token: str, subject: str, complete: bool = False) -> None:
        key_id = key()
        holds.take(invites.find(token), key_id, holds.Wanted(subject, complete=complete))

    def accept(token: str, name: str) -> None:
        redemption.accept(token, place.caller(name).account)

    def register(token: str, *names: str) -> None:
        sessions.start(accounts.register(token, Names(*names), HASH)[0])

    def extend() -> None:
        project = projects.find_locked("orchard")
        projects.extend(projects.find_member(project, place.user("anne")), clock.DAY)

    return {
        "hold again": lambda: take(invites.token(invites.find_by_id("42")), "guest of 42"),
        "hold what has lapsed": lambda: take(place.lapsed, "another guest"),
        "hold and complete": lambda: take(place.open, "a guest", complete=True),
        "hold and complete, for a yes": lambda: take(place.to_ask, "a guest", complete=True),
        "complete a hold late": lambda: holds.complete(place.holds[1], key()),
        "complete a hold, for a yes": lambda: holds.complete(place.holds[3], key()),
        "release a hold that has lapsed": lambda: holds.release(place.holds[0], key()),
        "accept what has lapsed": lambda: accept(place.lapsed, "carol"),
        "accept, and wait for a yes": lambda: accept(place.to_ask, "carol"),
        "accept, and wait for a proof": lambda: accept(place.to_prove, "dora"),
        "register, and wait for a yes": lambda: register(place.to_ask, "erin"),
        "register, and wait for a proof": lambda: register(place.to_prove, "erin", "erin@example.org"),
        "approve": lambda: waiting.approve(place.asked),
        "deny": lambda: waiting.deny(place.asked),
        "decline": lambda: changing.decline(invites.find(place.by_dora)),
        "revoke what waits": lambda: changing.revoke(invites.find_by_id("1")),
        "give back what has lapsed": lambda: expiry.give_back(expiry.lapsed()),
        "end an access": lambda: expiry.end(expiry.ended()),
        "extend an access": extend,
    }


def by_admins(place: Place) -> dict[str, Unit]:
    """What admins do by the command; and, with the locks of the guard of their pages, what is about accounts."""

    def found() -> Invite:
        return invites.find_by_id(place.bound)

    def create_pass() -> None:
        anne = place.user("anne")
        accounts.lock(anne)
        passes.create(projects.member("orchard", anne))

    acts: dict[str, Unit] = {
        "revoke": lambda: changing.revoke(found()),
        "extend": lambda: changing.extend(found(), clock.DAY),
        "resend": lambda: changing.resend(found()),
        "resend what was never mailed": lambda: changing.resend(invites.find_by_id(place.unmailed)),
        "rotate": lambda: changing.rotate(found()),
        "revoke several": lambda: bulk.revoke(_SEVERAL),
        "extend several": lambda: bulk.extend(_SEVERAL, 30 * clock.DAY),
        "create a key": lambda: keys.create("three"),
        "delete a key": lambda: keys.delete(place.key),
        "create a preset": lambda: presets.create("choir", {"plan": "gold", "project": "orchard"}),
        "delete a preset": lambda: presets.delete("family"),
        "make an admin": lambda: accounts.set_admin(place.user("anne"), True),
        "unmake an admin": lambda: accounts.set_admin(place.user("rita"), False),
        "enable": lambda: accounts.enable(place.user("anne")),
        "set a budget": lambda: budgets.set_budget(place.user("anne"), "5/7d"),
        "move in the tree": lambda: branches.move(place.user("carol"), place.user("frank")),
        "make a root": lambda: branches.move(place.user("carol"), None),
        "disable a branch": lambda: branches.disable(place.user("anne")),
        "disable a part of a branch": lambda: branches.disable(place.user("carol")),
        "enable a branch": lambda: branches.enable(place.user("stem")),
        "own": lambda: projects.create(place.user("anne"), projects.ProjectDraft("Orchard")),
        "hand over": lambda: projects.hand_over("orchard", place.user("anne")),
        "hand over to a stranger": lambda: projects.hand_over("orchard", place.user("carol")),
        "extend a member": lambda: projects.extend(projects.member("orchard", place.user("anne")), clock.HOUR),
        "set up a gate": lambda: gate.set_origins("orchard", ["https://orchard.example.org", "http://orchard.lan"]),
        "remove a member by a site admin": lambda: projects.end_membership(
            projects.member("orchard", place.user("anne"))
        ),
        "take a gate away": lambda: gate.set_origins("orchard", []),
        "delete a project": lambda: projects.delete("orchard"),
        "create a pass for a member": create_pass,
        "delete a pass": lambda: passes.delete("7"),
    }
    for name in ("anne", "bob", "carol", "dora", "frank"):
        acts[f"disable {name}"] = lambda name=name: accounts.disable(place.user(name))
    for name in ("anne", "carol", "dora", "frank"):
        acts[f"delete {name}"] = lambda name=name: accounts.remove(place.user(name))
    about_accounts = ("make an admin", "unmake an admin", "own", "hand over", "disable anne", "delete anne")
    others = (
        "revoke",
        "revoke several",
        "extend several",
        "extend a member",
        "remove a member by a site admin",
        "delete a pass",
    )
    on_pages = {f"{each}, on a page": lambda act=acts[each]: (place.admin(), act()) for each in about_accounts + others}
    return {**acts, **on_pages}


def about_webhooks(place: Place) -> dict[str, Unit]:
    """What is done to webhooks, and to what is sent to them."""

    def webhook() -> Webhook:
        return webhooks.named_locked(place.webhook)

    def write() -> None:
        for each in deliveries.unwritten(2**62):
            deliveries.write(each)

    def send(status: int) -> None:
        if claimed := courier.claim():
            courier.Deliveries().compose(claimed)
            courier.Deliveries().mark(claimed, [(each, Reply(status, 1)) for each in claimed.ids])

    return {
        "create a webhook": lambda: webhooks.create(webhooks.Wanted("https://app.example.org/"), 0),
        "rotate a webhook": lambda: webhooks.rotate(webhook()),
        "disable a webhook": lambda: webhooks.disable(webhook(), "failing"),
        "enable a webhook": lambda: webhooks.enable(webhooks.named_locked(place.disabled)),
        "delete a webhook": lambda: webhooks.delete(webhook()),
        "test a webhook": lambda: deliveries.test(webhooks.named(place.webhook)),
        "write deliveries": write,
        "claim and send": lambda: send(204),
        "claim, and find it gone": lambda: send(410),
        "drop a delivery": lambda: courier.Deliveries().mark(
            courier.Claimed(place.webhook, clock.now(), [place.delivery]), [(place.delivery, None)]
        ),
        "retry a delivery": lambda: deliveries.retry(place.delivery),
        "retry all deliveries": lambda: deliveries.retry_since(clock.now() - clock.DAY),
    }


def by_others(place: Place) -> dict[str, Unit]:
    """What only the admin's form, only the command, and threads in the background do."""

    def create_for_address() -> None:
        inviter = accounts.as_inviter(place.admin().account)
        invites.create(Draft(email="g@example.org", project="orchard"), inviter, mailed=True)

    def add() -> None:
        project = SimpleNamespace(id=place.project)
        draft = Draft(email="h@example.org", project="orchard")
        invites.add([invites.prepare(draft, drafts.SHELL, mailed=True, project_of=lambda _: project)])

    def deliver() -> None:
        if letter := mail_worker.claim():
            mail.compose(letter)
            mail_worker.mark(letter, None)

    def forget() -> None:
        for each in forgetting.deletions():
            session().execute(each.execution_options(synchronize_session=False))

    return {
        "create on a page": create_for_address,
        "approve, on a page": lambda: (place.admin(), waiting.approve(place.asked)),
        "deny, on a page": lambda: (place.admin(), waiting.deny(place.asked)),
        "add a list of guests": add,
        "add a list of guests, on a page": lambda: (place.admin(), add()),
        "create an account": lambda: accounts.set_admin(accounts.create(Names("ida", "ida@example.org")), True),
        "import a key": lambda: keys.add_imported(keys.ImportedKey("abc", "def")),
        "retry all mail": outbox.retry,
        "unblock an address": lambda: blocked_addresses.unblock_address("emil@example.org"),
        "warn a member": lambda: expiry.warn(expiry.ending()),
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
    many = (by_calls, that_wait, by_admins, about_webhooks, by_others, refused)
    return {name: unit for each in many for name, unit in each(place).items()}
