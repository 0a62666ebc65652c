"""Webhooks, while their receivers lie, drip, flood and hang up, and while who sends is killed."""

import base64
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import time_machine
import trustme

import clock
import database
import receiver as moods
from conftest import SHARED_SECRET, ask, at_last, make_settings, servers, wait_for
from faults import tampered
from receiver import Got, Receiver, answer, listening
from rules import deliveries, drafts, invites, timeline, webhooks
from rules.webhooks import Wanted
from settings import in_force

pytestmark = pytest.mark.long

KILLS, RECEIVERS = "webhooks: kill -9 between send and mark", "webhooks: receivers that lie, drip, flood and hang up"
AWAY, SPEED = "webhooks: a receiver that is away", "webhooks: how many, and one that is slow"
HASTY = "webhook_lease=1"
TAMPERED = (sys.executable, tampered.__file__)


class Undone(Exception):
    """What was to be done is not done after all."""


class Site:
    """An instance with webhooks in it, and its secret for each receiver."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.settings = make_settings(folder / "instance", **settings)
        self.secrets: dict[str, str] = {}

    def hook(self, url: str, types: str = "invite.created") -> str:
        """Create a webhook; its id."""
        with in_force(self.settings):
            house = database.open_database(self.settings)
            settled = house.settled()
            with house.writing():
                made, secret = webhooks.create(Wanted(url, types, private=True), timeline.last_number(settled))
                id_ = made.id
            house.close()
        self.secrets[url] = secret
        return id_

    def happen(self, count: int) -> None:
        """Create so many invites; and as many that are rolled back."""
        with in_force(self.settings):
            house = database.open_database(self.settings)
            for first in range(0, count, 500):
                with house.writing():
                    for number in range(first, min(first + 500, count)):
                        invites.create(drafts.Draft(name=f"Guest {number}"), drafts.SHELL)
            try:
                with house.writing():
                    for _ in range(count):
                        invites.create(drafts.Draft(name="Nobody"), drafts.SHELL)
                    raise Undone
            except Undone:
                house.close()

    def count(self, condition: str) -> int:
        """How many deliveries there are of which this is true."""
        return int(ask(self.settings.instance, f"SELECT count(*) FROM deliveries WHERE {condition}")[0][0])

    def names(self, receiver: Receiver) -> list[str]:
        """Whom the receiver was told of, in the order in which it was told; each is verified."""
        return [self._verified(each, self.secrets[receiver.url])["data"]["invite"]["name"] for each in [*receiver.got]]

    def _verified(self, got: Got, secret: str) -> Any:
        """What was told, as it was verified when it came: the library refuses what is older than five minutes."""
        with time_machine.travel(int(got.headers["webhook-timestamp"])):
            return got.verified(secret)


@pytest.fixture
def site(tmp_path):
    return Site(tmp_path)


def guests(count):
    return [f"Guest {number}" for number in range(count)]


def killed(site, folder, receiver, kills, how):
    """Have what waits delivered by servers that are killed so often, each with a delivery that is not marked."""
    with servers(folder) as start:
        for _ in range(kills):
            before = len(receiver.got)
            served = start((*TAMPERED, f"{how},kill_after_send=3"))
            served.process.wait(timeout=120)
            assert len(receiver.got) > before
        start((*TAMPERED, how))
        wait_for(lambda: site.count("due_at IS NOT NULL") == 0 and site.count("sent_at IS NOT NULL"), 300)
        wait_for(lambda: not ask(site.settings.instance, "SELECT 1 FROM webhooks WHERE seen = 0"), 60)


def test_every_event_arrives_with_the_same_id_whoever_is_killed(site, tmp_path, profile, figures):
    kills = profile(3, 100)
    count = 4 * kills + 20
    with listening() as receiver:
        site.hook(receiver.url)
        site.happen(count)
        killed(site, tmp_path, receiver, kills, HASTY)
        told = site.names(receiver)
        ids = {(each.id, name) for each, name in zip(receiver.got, told, strict=True)}
    lost, twice = set(guests(count)) - set(told), len(told) - len(ids)
    figures(KILLS).shows(
        f"{count:,} events, {kills} kills, each once a delivery has arrived that is not marked yet",
        f"{len(lost)} lost; {twice} arrived again, under the same id; 0 of {count:,} that were rolled back",
    )
    assert lost == set()
    assert len(ids) == len(dict(ids)) == count
    assert twice >= kills
    assert "Nobody" not in told


def test_who_marks_a_delivery_before_it_is_sent_is_caught(site, tmp_path, figures):
    count, kills = 60, 2
    with listening() as receiver:
        site.hook(receiver.url)
        site.happen(count)
        killed(site, tmp_path, receiver, kills, f"{HASTY},mark_deliveries_first")
        lost = set(guests(count)) - set(site.names(receiver))
    figures(KILLS).catches(f"marks a delivery as sent before it is: {len(lost)} of {count} lost in {kills} kills")
    assert lost


def test_what_happens_while_a_receiver_is_away_is_all_sent_later_the_oldest_first(site, serve, profile, figures):
    count = profile(200, 10_000)
    with listening() as receiver:
        id_, port = site.hook(receiver.url), receiver.port
    served = serve()
    site.happen(count)
    wait_for(lambda: site.count("attempts > 0") > 20, 60)  # in vain
    wait_for(lambda: site.count("TRUE") == count, 60)
    back = Receiver(port=port)
    began = clock.ticks()
    served.run("webhook", "retry", "--since", "1d", "--webhook", id_)
    wait_for(lambda: site.count("sent_at IS NOT NULL") == count, 900)
    took = clock.ticks() - began
    told = site.names(back)
    back.close()
    behind = out_of_order([int(each.split()[1]) for each in told])
    figures(AWAY).shows(
        f"{count:,} events while nobody listens",
        f"{count - len(set(told))} lost; {behind} out of order; sent in {took:.0f} s once it is back",
    )
    assert set(told) == set(guests(count))
    assert behind <= 40  # two rounds may have begun before all were asked for again


def out_of_order(numbers):
    """How many come right behind a greater one."""
    return sum(one > other for one, other in pairwise(numbers))


@pytest.mark.own_postgresql
@pytest.mark.xdist_group("postgresql")
def test_several_servers_share_the_deliveries_and_send_each_once(tmp_path, url, fleet, profile, figures):
    count = profile(60, 3000)
    site = Site(tmp_path / "site", DATABASE_URL=url, SECRET_KEY=SHARED_SECRET)
    with ExitStack() as stack:
        receivers = [stack.enter_context(listening()) for _ in range(4)]
        for each in receivers:
            site.hook(each.url)
        fleet(3)
        site.happen(count)
        wait_for(lambda: all(len(each.got) >= count for each in receivers), 300)
        time.sleep(1)  # in which what is sent twice would come
        told = [site.names(each) for each in receivers]
    again = sum(len(each) - len(set(each)) for each in told)
    figures(SPEED).catches(f"3 servers on PostgreSQL, {count:,} events to 4 webhooks: {again} sent twice")
    assert all(set(each) == set(guests(count)) for each in told)
    assert again == 0


def test_one_that_is_slow_holds_up_no_other(site, serve, figures):
    with ExitStack() as stack:
        quick = [stack.enter_context(listening()) for _ in range(3)]
        slow = stack.enter_context(listening(usual=moods.hangs))
        for each in (slow, *quick):
            site.hook(each.url)
        served = serve()
        site.happen(1)
        wait_for(lambda: slow.got, 30)  # from now on it has a courier for itself
        late = at_last(lambda: slowest(site, quick), 2.0)
        served.process.terminate()  # also while that one hangs
        assert served.process.wait(timeout=15) == 0
    figures(SPEED).catches(f"one slow receiver of four: what is sent to the others arrives within {late:.1f} s")
    assert late < 2


def slowest(site, receivers):
    """The seconds until each has been told of what happens now."""
    before = [len(each.got) for each in receivers]
    site.happen(1)
    began = time.monotonic()
    wait_for(lambda: all(len(each.got) > count for each, count in zip(receivers, before, strict=True)), 30)
    return max(each.got[-1].at for each in receivers) - began


def test_a_hundred_a_second_are_sent_to_one_receiver(site, serve, profile, figures):
    count = profile(200, 5000)
    with listening() as receiver:
        id_ = site.hook(receiver.url)
        served = serve()
        served.run("webhook", "disable", id_)
        site.happen(count)
        wait_for(lambda: site.count("TRUE") == count, 60)
        served.run("webhook", "enable", id_)
        served.run("webhook", "retry", "--since", "1d", "--webhook", id_)
        wait_for(lambda: len(receiver.got) == count, 300)
        seconds = receiver.got[-1].at - receiver.got[0].at
    rate = (count - 1) / seconds
    figures(SPEED).shows(f"{count:,} deliveries to one receiver on this machine", f"{rate:,.0f} a second")
    assert rate > profile(10, 100)  # where else much goes on, this says little


MOODS = {
    "200": 200,
    "204": 204,
    "301": answer(301, "Location: http://127.0.0.1:1/"),
    "410": 410,
    "429": answer(429, "Retry-After: 3600"),
    "500": 500,
    "drips": moods.drips,
    "hangs": moods.hangs,
    "closes": moods.closes,
    "resets": moods.resets,
    "floods": moods.floods,
    "floods at once": moods.floods_at_once,
}


def create_times(served, key, count):
    """How long each of so many creates took, and each look at /health, in seconds."""
    taken: dict[str, list[float]] = {"create": [], "health": []}
    for _ in range(count):
        for name, call in (("create", ("/invites_api", "POST", b"")), ("health", ("/health",))):
            began = time.perf_counter()
            assert served.get(*call, Authorization=f"Bearer {key}").status < 300
            taken[name].append(time.perf_counter() - began)
    return taken


def p99(taken):
    return statistics.quantiles(taken, n=100)[98]


@pytest.mark.any_database
def test_receivers_in_any_mood_harm_nobody_and_are_answered_for(site, serve, profile, figures):
    """What a webhook is told of here, the others make: so many creates are told of to none of them."""
    count = profile(100, 3000)
    served = serve()
    key = served.run("create")
    with ExitStack() as stack:
        receivers = {name: stack.enter_context(listening(usual=mood)) for name, mood in MOODS.items()}
        receivers["self-signed"] = stack.enter_context(listening(trustme.CA().issue_cert("127.0.0.1")))
        ids = {name: site.hook(each.url, "webhook.test") for name, each in receivers.items()}
        ids["not there"] = site.hook("http://127.0.0.1:1/", "webhook.test")
        rss = resident(served)
        meanwhile = at_last(lambda: disturbed(site, served, key, count, ids), profile(3, 1.2), times=3)
        grown = resident(served) - rss
        found = outcomes(site, ids)
    figures(RECEIVERS).shows(
        f"{len(ids)} receivers, {count:,} creates meanwhile: " + ", ".join(ids),
        f"p99 of creates {meanwhile:.2f} of what it is without; {grown / 1024:.0f} MB more in memory",
    )
    assert found == {name: int(name) if name.isdecimal() else 200 if name == "floods" else None for name in ids}
    assert receivers["self-signed"].got == []
    assert meanwhile < profile(3, 1.2)
    assert grown < 40 * 1024


def disturbed(site, served, key, count, ids):
    """How many times as long as just before creates take while all are sent to."""
    wait_for(lambda: site.count("due_at IS NOT NULL") == 0, 120)
    before = create_times(served, key, count)
    with in_force(site.settings):
        house = database.open_database(site.settings)
        for each in ids.values():  # one at a time, as people do: the server takes them in another order
            with house.writing():
                webhook = webhooks.named_locked(each)
                webhooks.enable(webhook)
                deliveries.test(webhook)
        house.close()
    taken = create_times(served, key, count)
    assert p99(taken["health"]) < 0.5
    return (p99(taken["create"]) - 0.002) / p99(before["create"])  # so much is what chance makes of it here


def outcomes(site, ids):
    """The last status of each webhook."""
    wait_for(lambda: site.count("due_at IS NOT NULL") == 0, 120)
    rows = ask(site.settings.instance, "SELECT webhook_id, status FROM deliveries ORDER BY event")
    return {name: dict(rows)[id_] for name, id_ in ids.items()}


def resident(served):
    """The kilobytes that a server has in memory."""
    said = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(served.process.pid)], capture_output=True, text=True, check=True
    )
    return int(said.stdout)


@pytest.mark.sqlite  # of which there is a backup to look into
def test_a_canary_of_secrets_is_nowhere_after_much_was_sent(site, serve, tmp_path, figures):
    """Of webhooks and the master secret: in no log, header, body, event, delivery or backup."""
    with listening(usual=500) as receiver:
        id_ = site.hook(receiver.url, "webhook,invite")
        served = serve()
        secrets = [site.secrets[receiver.url], served.run("webhook", "rotate", id_)]
        site.happen(5)
        wait_for(lambda: site.count("attempts > 0") >= 6, 60)
        served.run("db", "backup", str(tmp_path / "backup.db"))
        said = b"".join(str(dict(each.headers)).encode() + each.body for each in receiver.got)
        assert receiver.got[0].verified(secrets[1])
    secrets.append((site.settings.instance / "secret.key").read_text().strip())
    places = [*tmp_path.glob("*.log"), *tmp_path.glob("backup.db*"), *site.settings.instance.glob("invites.db*")]
    there = said + b"".join(each.read_bytes() for each in places)
    for name in ("webhook list --json", "webhook deliveries --json", "events --json"):
        there += served.run(*name.split()).encode()
    assert id_.encode() in there
    hits = [each for each in secrets for form in forms(each) if form in there]
    figures("secret canary").catches(f"webhooks: {len(secrets)} secrets, {len(there):,} bytes")
    assert hits == []


def forms(secret):
    bare = secret.removeprefix("whsec_")
    yield from (secret.encode(), bare.encode())
    if bare != secret:
        yield from (base64.b64decode(bare), base64.b64decode(bare).hex().encode())
