"""How fast the hot paths are, beside what they can be compared with, in one run; writes bench/RESULTS.md.

Run it with `python bench/run.py` (wrk and Prosody from Debian's packages; Synapse is installed from PyPI), or `--smoke`
for a glance, with Synapse only if it is there. With `--of "hold, complete" "the gate"` it compares these alone with
what they are held to, and writes nothing.
Rates are medians of rounds that alternate, with minimum and maximum; what counts are the ratios, since
absolute figures say more about the machine. Durability is full everywhere, flood limits are off.
"""

import argparse
import statistics
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

from admin_list import fill
from common import Served, free_port, instance, machine, middle, row, serving, wait_until_it_listens
from load import HOLDS, Call, Result, commits, load
from prosody import missing, prosody
from synapse_server import NEW, VALIDITY, is_installed, synapse

import database
from models import Pass, User
from rules import accounts, drafts, gate, invites, keys, presets, projects, sessions, tokens, webhooks
from rules.drafts import MAX_USES
from settings import Settings

HERE = Path(__file__).resolve().parent
JSON = {"Content-Type": "application/json"}
WRONG_KEY = "unknown0/" + "x" * 32
AT_APP = {"X-Forwarded-Host": "photos.example.org", "X-Forwarded-Uri": "/album?a=1", "X-Forwarded-Method": "GET"}
FEW = 1000  # stored invites
ACCEPTS = 80_000  # invites that one run may spend
GUESTS = 32  # accounts that accept them in turn: calls of one account wait for each other over PostgreSQL


@dataclass(frozen=True)
class Plan:
    """How long, how often, with how many connections and stored invites; how many requests it is weighed after.

    `accepts` is how many invites one run may spend.
    """

    seconds: int
    rounds: int
    connections: tuple[int, ...]
    stored: tuple[int, ...]
    weighed: int
    accepts: int


FULL = Plan(1, 3, (1, 8, 32), (FEW, 20_000, 1_000_000), 200_000, ACCEPTS)
SMOKE = Plan(1, 1, (8,), (FEW,), 1000, 10_000)
PAIRED = Plan(1, 15, (8,), (FEW,), 0, ACCEPTS)


@dataclass(frozen=True)
class Contest:
    """What of ours is compared with what, and how many times as fast it should be at 8 connections."""

    ours: str
    other: str
    least: float


ONE_ROW = "hello that commits a row"
CONTESTS = [
    Contest("create by key", "Prosody on SQLite: create", 2.5),
    Contest("create by key", "Prosody's default storage: create", 25),
    Contest("create by key", "Synapse: create", 3),
    Contest("create by key", "commit", 0.45),
    Contest("create by key", ONE_ROW, 0.25),
    Contest("verify", "hello", 0.5),
    Contest("verify", "Synapse: check", 2.4),
    Contest("the gate", "verify", 0.9),
    Contest("the gate", "hello", 0.45),
    Contest("the gate, for a program", "verify", 0.9),
    Contest("view", "hello", 0.4),
    Contest("accept", "commit", 0.45),
    Contest("accept", ONE_ROW, 0.25),
    Contest("hold, complete", "commit", 0.4),
    Contest("hold, complete", ONE_ROW, 0.25),
    Contest("create by /v1", "create by key", 0.4),
    Contest("create by a preset", "create by key", 0.95),
    Contest("the invitation's page", "Prosody on SQLite: page", 10),
    Contest("a wrong key", "Prosody on SQLite: wrong key", 1),
]
PAIR = ("rate", "p99")
BESIDE = ", beside it: 1,000 stored"
LISTS = ("a page of the admin's list", "a page of /v1/invites", "a page of /v1/events")
ITSELF = ("create by key", "verify", "view", "accept", *LISTS)

Runner = Callable[[int], Result]


@contextmanager
def ours(stored: int, accepts: int = ACCEPTS, receiver: int | None = None) -> Iterator[tuple[Served, dict[str, Call]]]:
    """Our server with so many invites stored, and so many to be accepted; the calls to be made.

    All that happens is sent to a webhook at the port `receiver`, if that is given.
    """
    with instance() as settings:
        calls = furnish(settings, stored, accepts)
        if receiver:
            house = database.open_database(settings)
            until = house.settled()
            with house.writing():
                webhooks.create(webhooks.Wanted(f"http://127.0.0.1:{receiver}/", private=True), until)
        with serving(settings) as served:
            yield served, calls


def furnish(settings: Settings, stored: int, accepts: int) -> dict[str, Call]:
    """Make a database with so many invites, and so many to be accepted; the calls to be made."""
    admin = fill(settings, stored)
    house = database.open_database(settings)
    with house.writing():
        key = keys.create("bench", may=keys.SCOPES)
        presets.create("family", {"plan": "gold", "ttl": "30d", "uses": "5"})
        token, many = (invites.token(invites.create(drafts.Draft(uses=each), drafts.SHELL)) for each in (1, MAX_USES))
        guests = [accounts.create(accounts.Names(f"guest{number}")) for number in range(GUESTS)]
        callers = [f"Bearer {sessions.start(each).access}" for each in guests]
        passes = gated(guests[0])
    by_key = {**JSON, "Authorization": f"Bearer {key}"}
    with house.writing():
        spent = [invites.prepare(drafts.Draft(), drafts.SHELL) for _ in range(accepts)]
        invites.add(spent)
    accepted = [f"/invites/{tokens.invite_token(each.nonce)}/accept" for each in spent]
    return {
        "create by key": Call([f"/invites_api?key={key}"]),
        "create by /v1": Call(["/v1/invites"], "POST", by_key, '{"name": "Anne"}'),
        "create by a preset": Call([f"/invites_api?key={key}&preset=family"]),
        "hold, complete": Call(["/v1/holds"], "POST", by_key, f'{{"token": "{many}", "subject": "%s"}}', script=HOLDS),
        "verify": Call(["/api/invites/verify"], "POST", JSON, f'{{"token": "{token}"}}'),
        "the gate": Call(["/gate/photos"], headers={**AT_APP, "Cookie": passes[0]}),
        "the gate, for a program": Call(["/gate/photos"], headers={**AT_APP, "Authorization": f"Bearer {passes[1]}"}),
        "view": Call([f"/invites/{token}"]),
        "accept": Call(accepted, "POST", callers=callers),
        "the invitation's page": Call([f"/invite?{token}"], headers={"Sec-Fetch-Site": "none"}),
        "a wrong key": Call([f"/invites_api?key={WRONG_KEY}"], fails=True),
        "a page of the admin's list": Call(["/api/admin/invites?limit=100"], headers=admin),
        "a page of /v1/invites": Call(["/v1/invites?limit=100"], headers=by_key),
        "a page of /v1/events": Call(["/v1/events?limit=100"], headers=by_key),
    }


def gated(owner: User) -> tuple[str, str]:
    """Put an app behind the gate; the cookie and the program's pass with which its owner is let in."""
    project = projects.create(owner, projects.ProjectDraft("Photos"))
    gate.set_origins("photos", ["https://photos.example.org"])
    session_id = sessions.of_cookie(sessions.start_in_browser(owner)).session_id
    name = gate.cookie_name("pass", "photos", "https://photos.example.org")
    now = project.created_at
    hash_ = tokens.digest("pass_bench")
    database.session().add(Pass(id="pass", hash=hash_, user_id=owner.id, project_id=project.id, created_at=now))
    return f"{name}={gate.sign_browser_pass(session_id, gate.app('photos'))}", "pass_bench"


@contextmanager
def hello() -> Iterator[int]:
    """The port of a Flask application with a constant answer, under our server."""
    port = free_port()
    process = subprocess.Popen([sys.executable, HERE / "hello.py", str(port), "4"])
    try:
        wait_until_it_listens(port)
        yield port
    finally:
        process.terminate()
        process.wait()


def runners(stack: ExitStack, stored: int, plan: Plan) -> dict[str, Runner]:
    """Everything that is measured with so many invites stored, by its name."""
    found = our_runners(stack, stored, plan)
    if stored == plan.stored[-1] != FEW:
        fewer = our_runners(stack, FEW, plan)
        found |= {f"{name}{BESIDE}": fewer[name] for name in ITSELF}
    found |= bare(stack, plan)
    if stored <= 20_000:  # its default storage is past use then
        for title, storage in (("Prosody on SQLite", "sqlite"), ("Prosody's default storage", "internal")):
            other = stack.enter_context(prosody(storage, stored))
            found[f"{title}: create"] = asking(other.port, Call([f"/invites_api?key={other.key}"]), plan)
            if storage == "sqlite":
                found[f"{title}: page"] = asking(other.port, Call([f"/invite?{other.token}"]), plan)
                wrong = Call([f"/invites_api?key={WRONG_KEY}"], fails=True)
                found[f"{title}: wrong key"] = asking(other.port, wrong, plan)
        if plan is FULL or is_installed():
            third = stack.enter_context(synapse(stored))
            found["Synapse: create"] = asking(third.port, Call([NEW], "POST", third.headers, "{}"), plan)
            found["Synapse: check"] = asking(third.port, Call([f"{VALIDITY}?token={third.token}"]), plan)
    return found


def bare(stack: ExitStack, plan: Plan) -> dict[str, Runner]:
    """What does nothing but commit, or answer."""
    port = stack.enter_context(hello())
    asked = {"hello": asking(port, Call(["/"]), plan), ONE_ROW: asking(port, Call(["/row"]), plan)}
    return asked | {"commit": lambda _: Result(commits(plan.seconds), 0, 0)}


def our_runners(stack: ExitStack, stored: int, plan: Plan, receiver: int | None = None) -> dict[str, Runner]:
    """The measurements of ours alone, on a server of its own."""
    return asked_of(*stack.enter_context(ours(stored, plan.accepts, receiver)), plan)


def asked_of(served: Served, calls: Mapping[str, Call], plan: Plan) -> dict[str, Runner]:
    """The measurements of one server of ours."""
    spent = 0

    def accept(connections: int) -> Result:
        nonlocal spent
        call = calls["accept"]
        result = load(served.port, replace(call, paths=call.paths[spent:]), connections, plan.seconds)
        spent += int(result.rate * (plan.seconds + 1)) + connections  # wrk goes on a little, and counts less
        return result

    return {name: asking(served.port, call, plan) for name, call in calls.items()} | {"accept": accept}


def asking(port: int, call: Call, plan: Plan) -> Runner:
    """One call, again and again."""
    return lambda connections: load(port, call, connections, plan.seconds)


Measured = dict[tuple[int, str, int], list[Result]]  # stored invites, name, connections


def measure(plan: Plan) -> Measured:
    """All rounds; what is compared stands side by side in each."""
    results: Measured = defaultdict(list)
    for stored in plan.stored:
        with ExitStack() as stack:
            found = runners(stack, stored, plan)
            for number in range(plan.rounds):
                for connections in plan.connections:
                    for name, run in found.items():
                        results[stored, name, connections].append(run(connections))
                print(f"{stored:,} stored: round {number + 1} of {plan.rounds}", file=sys.stderr)
    return results


def compared(names: Sequence[str]) -> Iterator[str]:
    """The ratio of each of these to what it is held to: median, least and most of rounds, in turn at 8 connections."""
    with ExitStack() as stack:
        found = our_runners(stack, FEW, PAIRED) | bare(stack, PAIRED)
        for each in CONTESTS:
            if each.ours in names and each.other in found:
                ratios = [found[each.ours](8).rate / found[each.other](8).rate for _ in range(PAIRED.rounds)]
                yield row(each.ours, each.other, middle(ratios), f"wanted: {each.least:g}")


def report(plan: Plan, results: Measured) -> Iterator[str]:
    """RESULTS.md, line by line."""
    yield "# What the hot paths do, measured\n"
    yield f"{machine()}. Rounds of {plan.seconds} s, {plan.rounds} of each, alternating. `python bench/run.py`.\n"
    yield "## Ratios\n"
    yield "What is wanted is the least that we aim for at 8 connections.\n"
    yield row("ours", "compared with", "stored", "connections", "ratio", "wanted at 8")
    yield row(*["---"] * 6)
    for contest in CONTESTS:
        for stored, name, connections in results:
            if name == contest.other and (stored, contest.ours, connections) in results:
                pair = (rate(results, stored, each, connections) for each in (contest.ours, contest.other))
                ratio = compare(*pair, plan.seconds)
                yield row(contest.ours, contest.other, f"{stored:,}", connections, ratio, f"{contest.least:g}")
    many = plan.stored[-1]
    for name in ITSELF if many != FEW else ():
        for connections in plan.connections:
            pair = (rate(results, many, each, connections) for each in (name, f"{name}{BESIDE}"))
            yield row(name, f"itself with {FEW:,}", f"{many:,}", connections, compare(*pair, plan.seconds), "0.9")
    yield "\n## Rates\n\nA second: median (minimum to maximum); the 99th percentile and the slowest in ms.\n"
    yield row("what", "stored", "connections", "a second", "p99", "slowest")
    yield row(*["---"] * 6)
    for (stored, name, connections), found in results.items():
        rates = [each.rate for each in found]
        spread = f"{statistics.median(rates):,.0f} ({min(rates):,.0f} to {max(rates):,.0f})"
        p99, slowest = statistics.median(each.p99 for each in found), max(each.slowest for each in found)
        yield row(name, f"{stored:,}", connections, spread, f"{p99:.1f}", f"{slowest:.0f}")


def weigh(plan: Plan) -> Iterator[str]:
    """What the server weighs when it has started, and after so many requests of all kinds."""
    with ours(FEW, accepts=0) as (served, calls):
        idle, asked = served.memory(), 0.0
        for name in cycle(("create by key", "verify", "view", "the invitation's page", "a wrong key")):
            asked += load(served.port, calls[name], 8, plan.seconds).rate * plan.seconds
            if asked >= plan.weighed:
                break
        yield "\n## Memory\n"
        yield f"{idle:.0f} MB when it has started, {served.memory() - idle:+.0f} MB after {asked:,.0f} requests."


def webhooked(plan: Plan) -> Iterator[str]:
    """What creating loses while each invite is told to a webhook, on a server of its own: rates and p99 beside."""
    plan = replace(plan, accepts=0)
    with ExitStack() as stack:
        without, told = (our_runners(stack, FEW, plan), our_runners(stack, FEW, plan, stack.enter_context(hello())))
        yield "\n## Webhooks\n"
        yield row("create by key", "connections", "of it without a webhook", "p99, of it without")
        yield row(*["---"] * 4)
        for connections in plan.connections:
            each = [[found["create by key"](connections) for found in (told, without)] for _ in range(plan.rounds)]
            rates, p99s = ([getattr(one, what) / getattr(other, what) for one, other in each] for what in PAIR)
            yield row("with a webhook", connections, middle(rates), middle(p99s))


def compare(ours: float, other: float, seconds: int) -> str:
    """How many times as fast ours is; at least how many where the other has answered nothing in a round."""
    return f"{ours / other:.2f}" if other else f"over {ours * seconds:.0f}"


def rate(results: Measured, stored: int, name: str, connections: int) -> float:
    """The median."""
    return statistics.median(each.rate for each in results[stored, name, connections])


def main() -> None:
    """Measure, print, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a glance: short rounds, few invites, nothing written")
    names = sorted({each.ours for each in CONTESTS})
    parser.add_argument("--of", nargs="+", choices=names, default=[], metavar="NAME", help=", ".join(names))
    given = parser.parse_args()
    if given.of:
        print("\n".join(compared(given.of)))
        return
    if absent := missing():
        raise SystemExit(f"apt-get install {' '.join(absent)}")
    plan = SMOKE if given.smoke else FULL
    text = "\n".join([*report(plan, measure(plan)), *webhooked(plan), *weigh(plan)]) + "\n"
    print(text)
    if plan is FULL:
        (HERE / "RESULTS.md").write_text(text)


if __name__ == "__main__":
    main()
