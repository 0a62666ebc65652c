"""A place with people, projects and invitations in it, and every page that it shows."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple

import time_machine
from slugify import slugify

import clock
import database
from chromium import Window
from conftest import HASH, PASSWORD, Mailbox, Served, make_settings, servers, smtp_server
from models import Code, Counter
from rules import (
    accounts,
    addresses,
    blocked_addresses,
    budgets,
    changing,
    deliveries,
    drafts,
    gate,
    holds,
    invites,
    keys,
    passes,
    presets,
    projects,
    redemption,
    resets,
    sessions,
    way_in,
    webhooks,
)
from rules.holds import Wanted
from settings import in_force

CALLED = {"SITE_NAME": "Garden Club", "BUDGET": "500/30d"}
# Who was invited, and how many weeks ago; most have come.
GUESTS = [
    ("Anne-Marie", 11),
    ("Yusuf", 10),
    ("Mei", 9),
    ("Tomás", 9),
    ("Grace", 8),
    ("Ingrid", 6),
    ("Samir", 6),
    ("Lucía", 5),
    ("Owen", 4),
    ("Nadia", 4),
    ("Ravi", 4),
    ("Zoë", 3),
    ("Henrik", 2),
    ("Amara", 2),
    ("Jonas", 1),
    ("ندى", 1),
    ("Priya", 1),
]
LATIN = {"ندى": "nada"}


class Page(NamedTuple):
    """Where a page is, whose eyes look at it, and what they do until it is there."""

    path: str
    who: str = ""
    then: Callable[[Window, "Place"], Any] | None = None
    plain: bool = False  # at the server that neither mails nor lets anybody register


class Place:
    """Two servers over one database; `facts` are what stands in the braces of paths."""

    def __init__(self, served: Served, plain: Served, mailbox: Mailbox) -> None:
        self.served, self.plain, self.mailbox = served, plain, mailbox
        self.settings = make_settings(served.instance, PUBLIC_URL=served.url, **CALLED)
        with in_force(self.settings):
            self.house = database.open_database(self.settings)
            self.facts = {**_people(self.house), **_invitations(self.house)}
            self.cookies = {name: self._cookie(name) for name in ("root", "alice", "bob", "charlie", "nora")}

    def show(self, window: Window, name: str) -> None:
        """Bring a page before somebody's eyes."""
        page = PAGES[name]
        window.origin = (self.plain if page.plain else self.served).url
        window.tell("Network.clearBrowserCookies")
        if page.who:
            cookie = {"name": self.settings.cookie_name, "value": self.cookies[page.who]}
            window.tell("Network.setCookie", url=window.origin, **cookie)
        window.open(page.path.format(**self.facts, now=int(clock.now().timestamp())))
        if page.then:
            page.then(window, self)

    def code(self, address: str) -> str:
        """The code that was mailed to an address."""
        deadline = time.monotonic() + 15
        while not any(each["To"] == address for each in self.mailbox.mails):
            assert time.monotonic() < deadline, f"no mail has come for {address}"
            time.sleep(0.01)
        return self.mailbox.digits([each["To"] for each in self.mailbox.mails].index(address))

    def _cookie(self, name: str) -> str:
        with self.house.writing():
            return sessions.start_in_browser(accounts.named(name))


@contextmanager
def opened(folder: Path) -> Iterator[Place]:
    """The place, in this folder, until the block ends."""
    mailbox = Mailbox()
    with smtp_server(mailbox) as smtp, servers(folder) as start:
        served = start(SMTP_URL=smtp, REGISTRATION="open", **CALLED)
        yield Place(served, start(**CALLED), mailbox)


def _people(house: database.Database) -> dict[str, str]:
    with _weeks_ago(12), house.writing():
        for name in ("root", "alice", "bob", "charlie", "nora"):
            user = accounts.create(accounts.Names(name, f"{name}@example.org", name.title()), HASH)
            if name != "nora":
                addresses.prove(user, f"{name}@example.org")
        accounts.set_admin(accounts.named("root"), True)
        for name, said in (
            ("Tea Garden", "Tea, cake and weeding, every Sunday"),
            ("Seed Library", "Take some, bring some"),
        ):
            projects.create(accounts.named("alice"), projects.ProjectDraft(name, said))
        gate.set_origins("seed-library", ["https://seeds.example.org"])
        gate.set_origins("tea-garden", ["https://garden.example.org"])
        keys.create("newsletter")
        presets.create("family", {"plan": "gold", "ttl": "30d", "uses": "5", "project": "tea-garden"})
        keys.create("sign-up", may=("create", "read"), preset="family")
        keys.create("old shop", preset="friends")
        hooks = _webhooks()
    with house.writing():
        away = accounts.create(accounts.Names("walter", "walter@example.org", "Walter"), HASH)
        accounts.disable(away)
        key = keys.newest()[0].id
        people = {"root": accounts.named("root").id, "bob": accounts.named("bob").id, "walter": away.id, "key": key}
        return people | hooks


def _webhooks() -> dict[str, str]:
    """A webhook that is disabled, with a log, and one that is sent everything that nothing happens to."""
    made = webhooks.create(webhooks.Wanted("https://shop.example.org/hooks/invitations", "member,invite.used"), 0)[0]
    for status, error in ((204, None), (500, None), (None, "its certificate is not trusted: certificate has expired")):
        sent = deliveries.test(made)
        sent.due_at, sent.attempts, sent.status, sent.last_error = None, 1, status, error
        sent.milliseconds, sent.sent_at = 38, clock.now() if status == 204 else None
    webhooks.disable(made, "gone")
    quiet = webhooks.create(webhooks.Wanted("https://chat.example.org/", "webhook.test", "tea-garden"), 0)[0]
    return {"hook": made.id, "quiet": quiet.id}


def _invitations(house: database.Database) -> dict[str, str]:
    """Tokens by what they are good for; with ``id_`` before it, the id of that invite."""
    for number, (name, weeks) in enumerate(GUESTS):
        with _weeks_ago(weeks), house.writing():
            token = _make(name=name, ttl="7d")
            if number % 5 != 3:
                called = LATIN.get(name) or slugify(name)
                accounts.register(token, accounts.Names(called, f"{called}@example.org", name), HASH)
    with _weeks_ago(1), house.writing():
        made = {
            "expired": _make(name="Martha", ttl="1d"),
            "used": _make(name="Bob"),
            "revoked": _make(name="Ted", ttl="2 weeks"),
        }
        redemption.accept(made["used"], accounts.named("bob"))
        changing.revoke(invites.find(made["revoked"]))
    with house.writing():
        made |= {
            "named": _make(name="Nora", project="tea-garden", redirect_url="https://garden.example.org/"),
            "plain": _make(),
            "shared": _make(note="for the summer party", uses=30, ttl="4 weeks"),
            "charlies": _make(name="Charlie", email="charlie@example.org", project="tea-garden"),
            "noras": _make(name="Nora", email="nora@example.org"),
            "asking": _make(name="Bob", approve=True, uses=9),
            "domain": _make(email="@example.org", uses=9, approve=True),
            "elsewhere": _make(email="@garden.example.org", uses=9),
            "seeds": _make(project="seed-library", uses=9),
            "asking for seeds": _make(project="seed-library", uses=9, approve=True),
        }
        redemption.accept(made["seeds"], accounts.named("nora"))
        redemption.accept(made["asking for seeds"], accounts.named("charlie"))
        redemption.accept(made["shared"], accounts.named("bob"))
        redemption.accept(made["shared"], accounts.named("nora"))
        redemption.accept(_make(project="tea-garden", access="60d"), accounts.named("bob"))
        for name, lifetime in (("the calendar on the phone that I share with Nadia", 90 * clock.DAY), (None, None)):
            passes.create(projects.member("tea-garden", accounts.named("bob")), name, lifetime)
        redemption.accept(made["asking"], accounts.named("bob"))
        redemption.accept(made["domain"], accounts.named("nora"))
        changing.decline(invites.find(declined := _make(name="Dora")))
        made["declined"] = declined
        made |= _that_wait() | _by_bob()
        for each in (Code, Counter):  # she has not asked for a code by herself yet
            database.session().query(each).delete()
        reset = resets.link(accounts.named("bob")).rpartition("?")[2]
        ids = {f"id_{name}": invites.find(token).id for name, token in made.items()}
    stop, stopped = (blocked_addresses.link(f"{name}@example.org").partition("?")[2] for name in ("dora", "emil"))
    with house.writing():
        blocked_addresses.block_address("emil@example.org")
    state = way_in.state(way_in.begin("seed-library", "https://seeds.example.org"))
    return made | ids | {"reset": reset, "unknown": "0" * 64, "state": state, "stop": stop, "stopped": stopped}


def _by_bob() -> dict[str, str]:
    """Invitations of somebody who is no admin; Charlie has created as many as he may, and Nora may create none."""
    inviter = accounts.as_inviter(accounts.named("bob"))
    many = [invites.create(drafts.read({"name": name}), inviter) for name in ("Theo", "Theo", "Theo", "Theo", "Ulla")]
    accounts.register(invites.token(many[-1]), accounts.Names("ulla", display_name="Ulla"), HASH)
    bound = invites.create(drafts.read({"email": "vera@example.org", "ttl": "30d"}), inviter, mailed=True)
    budgets.set_budget(accounts.named("charlie"), "1/30d")
    invites.create(drafts.read({"name": "Wilma"}), accounts.as_inviter(accounts.named("charlie")))
    budgets.set_budget(accounts.named("nora"), "0")
    return {"bobs": invites.token(bound)}


def _that_wait() -> dict[str, str]:
    """Invitations of which uses wait: for approval, for a program, for the proof of an address."""
    made = {
        "asking": _make(name="Choir", project="tea-garden", uses=9, access="30d", approve=True),
        "domain": _make(email="@example.org", uses=5, data='{"seat": 12, "hall": "north"}'),
    }
    for name in ("charlie", "nora"):
        redemption.accept(made["asking"], accounts.named(name))
    redemption.accept(made["domain"], accounts.named("nora"))
    key = keys.authenticate(keys.create("box office", may=("redeem",))).id
    holds.take(invites.find(made["asking"]), key, Wanted("customer-7@shop.example.org", lease=clock.HOUR))
    return made


def _make(**given: object) -> str:
    draft = drafts.read({"project": "seed-library", **given} if given.get("name") == "Mei" else given)
    return invites.token(invites.create(draft, accounts.as_inviter(accounts.named("alice"))))


def _weeks_ago(number: int) -> Any:
    return time_machine.travel(clock.now() - number * clock.WEEK + timedelta(minutes=number))


def _filled(button: str, **typed: str) -> Callable[[Window, Place], None]:
    """Fill a form in, and send it."""

    def send(window: Window, place: Place) -> None:
        window.write(**typed)
        window.press(button)

    return send


def _confirmed(window: Window, place: Place) -> None:
    address = f"dora{clock.random_hex(4)}@example.org"
    _filled("Send code", email=address)(window, place)
    _filled("Confirm", code=place.code(address))(window, place)


def _unwise(window: Window, place: Place) -> None:
    _confirmed(window, place)
    _filled("Create account", password="password1")(window, place)


def _posted_from_elsewhere(window: Window, place: Place) -> None:
    """As a form of another site does: it makes the account, and signs nobody in."""
    window.run("document.querySelector('[name=csrf]').remove()")
    _filled("Create account", user=f"dora{clock.random_hex(4)}", password=PASSWORD)(window, place)


def _rotated(window: Window, place: Place) -> None:
    window.press("New secret", sure=True)


def _selected(button: str, **chosen: str) -> Callable[[Window, Place], None]:
    """Select some invitations of the list, one of them used, and go on; then choose, and send the form."""

    def go_on(window: Window, place: Place) -> None:
        window.run("document.querySelectorAll('[name=which]').forEach((each, n) => { each.checked = n < 25; })")
        window.press(button)
        for name, value in chosen.items():
            window.choose(name, value)
            window.leave(lambda: window.run("document.querySelector('.acts button').click()"))

    return go_on


def _without_a_day(button: str, field: str, **typed: str) -> Callable[[Window, Place], None]:
    """Choose a date in a list, but type none beside it, and send the form."""

    def send(window: Window, place: Place) -> None:
        window.write(**typed)
        window.choose(field, "date")
        window.press(button)

    return send


def _revoked(window: Window, place: Place) -> None:
    window.press("Theo")
    window.press("Revoke", sure=True)


def _wrong_day(window: Window, place: Place) -> None:
    window.choose("ttl", "date")
    window.press("Change")


def _new_refused(window: Window, place: Place) -> None:
    window.named("More options").click()
    _filled("Create invitation", name="Dora", uses="many", data="{")(window, place)


def _by_date(window: Window, place: Place) -> None:
    window.choose("ttl", "date")
    window.press("Create invitation")


def _created_many(window: Window, place: Place) -> None:
    window.named("More options").click()
    _filled("Create invitation", count="5", note="for the fair")(window, place)


def _list_created(window: Window, place: Place) -> None:
    _filled("Check the list", guests=LISTED)(window, place)
    window.press("Create 30 invitations")


# Thirty guests, of whom some are known already.
LISTED = "\n".join(
    ["Charlie <charlie@example.org>", "Müller, Hans;hans@example.org", "ندى", "dora@example.org"]
    + [f"Guest Number {number} <guest{number}@example.org>" for number in range(26)]
)


PAGES = {
    "home": Page("/"),
    "home-signed-in": Page("/?welcome", "nora"),
    "home-confirmed": Page("/?confirmed", "bob"),
    "home-plain": Page("/", plain=True),
    "code-refused": Page("/code", then=_filled("Open invitation", code="7f3a-summer")),
    "invitation": Page("/invite?{named}"),
    "invitation-plain": Page("/invite?{plain}"),
    "invitation-bound": Page("/invite?{charlies}"),
    "invitation-accept": Page("/invite?{plain}", "bob"),
    "invitation-again": Page("/invite?{shared}", "bob"),
    "invitation-stranger": Page("/invite?{charlies}", "bob"),
    "invitation-unproven": Page("/invite?{noras}", "nora"),
    "invitation-asking": Page("/invite?{asking}"),
    "invitation-domain": Page("/invite?{domain}"),
    "invitation-domain-stranger": Page("/invite?{elsewhere}", "bob"),
    "invitation-waits": Page("/invite?{asking}", "bob"),
    "invitation-proof": Page("/invite?{domain}", "nora"),
    "dead-declined": Page("/invite?{declined}"),
    "dead-used": Page("/invite?{used}"),
    "dead-used-signed-in": Page("/invite?{used}", "charlie"),
    "dead-expired": Page("/invite?{expired}"),
    "dead-revoked": Page("/invite?{revoked}"),
    "dead-unknown": Page("/invite?{unknown}"),
    "dead-missing": Page("/invite"),
    "register": Page("/register?t={charlies}"),
    "register-domain": Page("/register?t={domain}"),
    "register-domain-refused": Page(
        "/invite?{domain}", then=_filled("Create account", user="dora", email="dora@example.com", password="password1")
    ),
    "register-refused": Page("/invite?{named}", then=_filled("Create account", user="bob", password=PASSWORD)),
    "register-unwise": Page("/invite?{named}", then=_filled("Create account", user="nora", password="password1")),
    "welcome": Page("/welcome?{used}", "bob"),
    "welcome-unproven": Page("/welcome?{shared}", "nora"),
    "welcome-waits": Page("/welcome?{asking}", "bob"),
    "welcome-proof": Page("/welcome?{domain}", "nora"),
    "welcome-unkept": Page("/welcome?{shared}&entered={now}"),
    "welcome-from-elsewhere": Page("/invite?{shared}", then=_posted_from_elsewhere),
    "register-stranger": Page(
        "/invite?{charlies}", then=_filled("Create account", user="eve@example.org", password="password1")
    ),
    "login": Page("/login?t={named}"),
    "login-refused": Page("/login", then=_filled("Sign in", user="bob", password="not that one")),
    "login-done": Page("/login?done", plain=True),
    "logout": Page("/logout", "bob"),
    "logout-done": Page("/logout"),
    "pass": Page("/pass/seed-library?{state}"),
    "pass-plain": Page("/pass/seed-library?{state}", plain=True),
    "pass-refused": Page("/pass/seed-library?{state}", then=_filled("Sign in", user="bob", password="not that one")),
    "pass-stranger": Page("/pass/seed-library?{state}", "bob"),
    "pass-stranger-waits": Page("/pass/seed-library?{state}", "charlie"),
    "pass-over": Page("/pass/seed-library", "bob"),
    "welcome-app": Page("/welcome?{seeds}", "nora"),
    "at-an-app": Page("/.invite/seed-library/done?nonsense"),
    "forgotten": Page("/password/forgot"),
    "forgotten-refused": Page("/password/forgot", then=_filled("Send link", email=".bob@example.org")),
    "forgotten-sent": Page("/password/forgot?sent"),
    "forgotten-plain": Page("/password/forgot", plain=True),
    "reset": Page("/password/reset?{reset}"),
    "reset-refused": Page("/password/reset?{reset}", then=_filled("Set password", password="password1")),
    "reset-dead": Page("/password/reset?nonsense"),
    "begin": Page("/register"),
    "begin-refused": Page("/register", then=_filled("Send code", email=".dora@example.org")),
    "verify": Page("/verify", "nora"),
    "verify-mailed": Page("/verify", "nora", _filled("Send code")),
    "verify-sent": Page("/register", then=_filled("Send code", email="emil@example.org")),
    "verify-refused": Page("/verify", then=_filled("Confirm", email="dora@example.org", code="123456")),
    "verify-open": Page("/verify"),
    "first-password": Page("/register", then=_confirmed),
    "first-password-refused": Page("/register", then=_unwise),
    "account": Page("/account", "bob"),
    "account-unproven": Page("/account", "nora"),
    "account-changed": Page("/account", "nora", _filled("Save name", display_name="Nora")),
    "account-refused": Page(
        "/account", "bob", _filled("Change password", current_password="not that one", password="password1")
    ),
    "account-pass-made": Page("/account", "bob", _filled("Create pass", name="backup")),
    "account-delete": Page("/account/delete", "bob"),
    "account-delete-refused": Page(
        "/account/delete", "bob", _filled("Delete account", current_password="not that one")
    ),
    "account-delete-last": Page("/account/delete", "root"),
    "account-deleted": Page("/?deleted"),
    "invites": Page("/invites", "bob"),
    "invites-of-many": Page("/invites", "alice"),
    "invites-over": Page("/invites", "charlie"),
    "invites-refused": Page("/invites", "bob", _filled("Create invitation", name="Dora", email="emil@example.org")),
    "invites-forbidden": Page("/invites", "nora"),
    "invites-created": Page("/invites", "bob", _filled("Create invitation", name="Dora")),
    "invites-mailed": Page("/invites", "bob", _filled("Create invitation", email="frida@example.org")),
    "invites-revoked": Page("/invites", "bob", _revoked),
    "invites-one": Page("/account/invites/{id_bobs}", "bob"),
    "invites-one-used": Page("/account/invites/{id_used}", "alice"),
    "unsubscribe": Page("/unsubscribe?{stop}"),
    "unsubscribe-done": Page("/unsubscribe?{stopped}"),
    "unsubscribe-damaged": Page("/unsubscribe?{unknown}"),
    "docs": Page("/docs"),
    "not-found": Page("/nothing"),
    "forbidden": Page("/admin", "bob"),
    "admin": Page("/admin", "root"),
    "admin-filtered": Page("/admin?status=used&q=a", "root"),
    "admin-nothing": Page("/admin?q=zebra", "root"),
    "admin-several-revoke": Page("/admin", "root", _selected("Revoke …")),
    "admin-several-extend": Page("/admin", "root", _selected("Extend …")),
    "admin-several-refused": Page("/admin", "root", _selected("Extend …", ttl="date")),
    "admin-several-none": Page("/admin?q=nora", "root", _filled("Revoke …")),
    "admin-refused": Page("/admin?project=nowhere", "root"),
    "admin-beside-no-field": Page("/admin?email=nobody", "root"),
    "admin-damaged": Page("/admin/made?once=x", "root"),
    "admin-new": Page("/admin/invites/new", "root"),
    "admin-new-refused": Page("/admin/invites/new", "root", _new_refused),
    "admin-new-by-date": Page("/admin/invites/new", "root", _by_date),
    "admin-new-again": Page("/admin/invites/new?again={id_revoked}", "root"),
    "admin-made": Page(
        "/admin/invites/new", "root", _filled("Create invitation", name="Dora", email="dora@example.org")
    ),
    "admin-made-many": Page("/admin/invites/new", "root", _created_many),
    "admin-list": Page("/admin/invites/new/list", "root"),
    "admin-list-checked": Page("/admin/invites/new/list", "root", _filled("Check the list", guests=LISTED)),
    "admin-list-wrong": Page(
        "/admin/invites/new/list", "root", _filled("Check the list", guests=f"{LISTED}\nBob <b@b@b>")
    ),
    "admin-list-refused": Page("/admin/invites/new/list", "root", _filled("Check the list", guests="")),
    "admin-list-created": Page("/admin/invites/new/list", "root", _list_created),
    "admin-invite": Page("/admin/invites/{id_named}", "root"),
    "admin-invite-shared": Page("/admin/invites/{id_shared}", "root"),
    "admin-invite-used": Page("/admin/invites/{id_used}", "root"),
    "admin-invite-expired": Page("/admin/invites/{id_expired}", "root"),
    "admin-invite-revoked": Page("/admin/invites/{id_revoked}", "root"),
    "admin-invite-asking": Page("/admin/invites/{id_asking}", "root"),
    "admin-invite-denied": Page("/admin/invites/{id_asking}", "root", _filled("Deny")),
    "admin-invite-domain": Page("/admin/invites/{id_domain}", "root"),
    "admin-invite-refused": Page("/admin/invites/{id_named}", "root", _wrong_day),
    "admin-keys": Page("/admin/keys", "root"),
    "admin-key-made": Page("/admin/keys", "root", _filled("Create key", name="shop")),
    "admin-keys-refused": Page("/admin/keys", "root", _without_a_day("Create key", "expires", name="shop")),
    "admin-presets": Page("/admin/presets", "root"),
    "admin-preset-made": Page("/admin/presets", "root", _filled("Create preset", preset="choir", plan="gold")),
    "admin-presets-refused": Page("/admin/presets", "root", _filled("Create preset", preset="a b", uses="many")),
    "admin-webhooks": Page("/admin/webhooks", "root"),
    "admin-webhook-created": Page("/admin/webhooks", "root", _filled("Create webhook", url="https://app.example.org/")),
    "admin-webhooks-refused": Page("/admin/webhooks", "root", _filled("Create webhook", url="http://10.0.0.1/")),
    "admin-webhook": Page("/admin/webhooks/{quiet}", "root"),
    "admin-webhook-disabled": Page("/admin/webhooks/{hook}", "root"),
    "admin-webhook-filtered": Page("/admin/webhooks/{hook}?state=failed", "root"),
    "admin-webhook-rotated": Page("/admin/webhooks/{quiet}", "root", _rotated),
    "admin-webhook-refused": Page("/admin/webhooks/{quiet}", "root", _without_a_day("Send again", "since")),
    "admin-people": Page("/admin/people", "root"),
    "admin-people-nobody": Page("/admin/people?q=zebra", "root"),
    "admin-person": Page("/admin/people/{bob}", "root"),
    "admin-person-self": Page("/admin/people/{root}", "root"),
    "admin-person-disabled": Page("/admin/people/{walter}", "root"),
    "admin-person-reset": Page("/admin/people/{bob}", "root", _filled("Link for a new password")),
    "admin-growth": Page("/admin/people/growth", "root"),
    "admin-growth-day": Page("/admin/people/growth?by=day", "root"),
    "admin-growth-refused": Page("/admin/people/growth?by=year", "root"),
    "admin-projects": Page("/admin/projects", "root"),
    "admin-projects-refused": Page("/admin/projects", "root", _filled("Create project", name="Tea", owner="nobody")),
    "admin-project": Page("/admin/projects/tea-garden", "root"),
    "admin-project-access-refused": Page(
        "/admin/projects/tea-garden", "root", _without_a_day("Change access", "access", who="bob")
    ),
    "admin-project-gate-refused": Page(
        "/admin/projects/tea-garden", "root", _filled("Save gate", origin="https://garden.example.org/seeds")
    ),
    "admin-activity": Page("/admin/activity", "root"),
    "admin-activity-filtered": Page("/admin/activity?type=member&user={bob}&since=30d", "root"),
    "admin-activity-nothing": Page("/admin/activity?type=preset", "root"),
    "admin-activity-refused": Page("/admin/activity?user=nobody&since=soon", "root"),
    "admin-project-refused": Page("/admin/projects/tea-garden", "root", _filled("Change owner", owner="nobody")),
}
