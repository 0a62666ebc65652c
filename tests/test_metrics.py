"""What `/metrics` shows, to whom, and that the alerts speak of it."""

import json
import re
import sqlite3
import subprocess
from contextlib import closing

import pytest
import time_machine
from prometheus_client.parser import text_string_to_metric_families as parsed

import clock
import database
from app import create_app
from conftest import HASH, PASSWORD, make_settings
from models import Invite
from programs import require
from rules import accounts, changing, drafts, invites, keys
from settings import HOME

ALERTS = HOME / "deploy" / "prometheus" / "alerts.yml"
OURS = re.compile(r"\b(?:invite_api|process)_\w+")


@pytest.fixture
def scrape(client, key):
    """The value of one series, by its name and labels, or everything there is."""

    def read(name=None, client=client, **labels):
        answer = client.get("/metrics", headers={"Authorization": f"Bearer {key}"})
        assert answer.status_code == 200
        families = list(parsed(answer.text))
        samples = {(each.name, frozenset(each.labels.items())): each.value for f in families for each in f.samples}
        return samples[name, frozenset(labels.items())] if name else samples

    return read


def test_a_program_with_a_key_and_an_admin_may_read_them_and_nobody_else(client, key, root, alice):
    for allowed in ({"Authorization": f"Bearer {key}"}, root.bearer):
        assert client.get("/metrics", headers=allowed).status_code == 200
    assert client.get(f"/metrics?key={key}").status_code == 200
    for refused in ({}, alice.bearer, {"Authorization": f"Bearer {key}x"}, {"Authorization": "Basic a/b"}):
        answer = client.get("/metrics", headers=refused)
        assert (answer.status_code, answer.json["code"]) == (401, "UNAUTHORIZED")
    assert client.get(f"/metrics?key={key}x").status_code == 401
    assert client.get(f"/metrics?key={key}", headers=alice.bearer).status_code == 401


def test_a_key_is_not_taken_from_the_address_where_that_is_switched_off(tmp_path, house, key):
    client = create_app(make_settings(tmp_path / "instance", ALLOW_QUERY_KEY="off")).test_client()
    assert client.get(f"/metrics?key={key}").status_code == 401


@pytest.mark.sqlite
def test_a_scrape_writes_nothing_and_does_not_wait_for_who_does(client, house, key, settings):
    with closing(sqlite3.connect(database.files.file_of(settings), isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        answer = client.get("/metrics", headers={"Authorization": f"Bearer {key}"})
        other.execute("ROLLBACK")
    assert answer.status_code == 200
    assert 'invite_api_ready{check="writing"} 0.0' in answer.text
    assert 'invite_api_ready{check="database"} 1.0' in answer.text
    with house.reading():
        assert keys.newest()[0].last_used_at is None


def test_requests_are_counted_by_the_template_of_their_route(client, key, scrape, make_invite):
    tokens = [make_invite() for _ in range(3)]
    for token in tokens:
        assert client.get(f"/invites/{token}").status_code == 200
    client.get(f"/invites/{'0' * 64}")
    assert client.get(f"/invites_api?key={key}").status_code == 201
    view = {"method": "GET", "route": "/invites/<token>"}
    assert scrape("invite_api_requests_total", status="200", **view) == 3
    assert scrape("invite_api_requests_total", status="404", **view) == 1
    assert scrape("invite_api_requests_total", method="GET", route="/invites_api", status="201") == 1
    assert scrape("invite_api_request_seconds_count", route="/invites/<token>") == 4
    assert scrape("invite_api_request_seconds_bucket", route="/invites/<token>", le="+Inf") == 4
    assert 0 < scrape("invite_api_request_seconds_sum", route="/invites/<token>") < 4


def test_no_label_is_what_a_caller_wrote(client, key, scrape, make_invite):
    token = make_invite()
    for number in range(20):
        client.get(f"/nowhere/{number}/{token}")
        client.open("/health", method=f"BREW{number}")
        client.open(f"/elsewhere{number}", method=f"BREW{number}")
        client.get(f"/invites_api?key=guess{number}/{number}")
    assert scrape("invite_api_requests_total", method="GET", route="unknown", status="404") == 20
    assert scrape("invite_api_requests_total", method="other", route="/health", status="405") == 20
    assert scrape("invite_api_requests_total", method="other", route="unknown", status="404") == 20
    page = client.get("/metrics", headers={"Authorization": f"Bearer {key}"}).text
    for secret in (token, key, key.partition("/")[0], "BREW", "guess", "nowhere"):
        assert secret not in page


def test_invites_are_counted_by_what_can_be_done_with_them(house, scrape, make_invite, use):
    with time_machine.travel(clock.now() - clock.DAY):
        make_invite(ttl="1h")
        over = make_invite(ttl="1h")
    use(make_invite(uses=1), "bob")
    shared = make_invite(uses=3)
    for name in ("dora", "emil"):
        use(shared, name)
    make_invite(ttl="never")
    withdrawn = [make_invite() for _ in range(4)]
    with house.writing() as unit:
        for each in (*withdrawn, over):
            changing.revoke(invites.find(each))
        changing.revoke(invites.find(spent := make_spent(unit)))
    found = {state: scrape("invite_api_invites", state=state) for state in ("active", "used", "expired", "revoked")}
    assert found == {"active": 2, "used": 2, "expired": 1, "revoked": 5}
    with house.reading() as unit:
        states = [each.state(clock.now()) for each in unit.session.query(Invite)]
        assert invites.find(spent).state(clock.now()) == "used"
    assert found == {each: states.count(each) for each in found}
    assert scrape("invite_api_redemptions_total") == 4


def make_spent(unit):
    """The token of an invite that is used up, made in this unit of work."""
    token = invites.token(invites.create(drafts.Draft(), drafts.SHELL))
    accounts.register(token, accounts.Names("frida"), HASH)
    return token


def test_a_refusal_is_counted_by_its_kind_from_nought_on(client, scrape, alice):
    assert scrape("invite_api_refusals_total", reason="InvalidCredentials") == 0
    wrong = {"email": "alice", "password": "not that one"}
    assert client.post("/auth/login", json=wrong).status_code == 401
    page = client.get("/login").text
    csrf = re.search(r'name="csrf" value="([^"]+)"', page)[1]
    form = {"user": "alice", "password": "not that one", "csrf": csrf}
    assert client.post("/login", data=form).status_code in (401, 422)
    assert client.post("/auth/login", json={**wrong, "password": PASSWORD}).status_code == 200
    assert scrape("invite_api_refusals_total", reason="InvalidCredentials") == 2
    client.get("/invites_api?key=unknown0/xxxx")
    assert scrape("invite_api_refusals_total", reason="KeyRefused") == 1


def test_who_calls_too_often_is_counted(tmp_path, house, scrape):
    client = create_app(make_settings(tmp_path / "instance", LIMITS="on")).test_client()
    statuses = [client.post("/auth/login", json={}).status_code for _ in range(15)]
    assert scrape("invite_api_refusals_total", client, reason="RateLimited") == statuses.count(429) == 5


def test_mail_that_waits_is_counted(house, scrape, meddle):
    assert scrape("invite_api_outbox_oldest_seconds") == 0
    with house.writing():
        for name in ("dora", "emil", "frida"):
            draft = drafts.read({"email": f"{name}@example.org"})
            invites.create(draft, drafts.SHELL, mailed=True)
    meddle("UPDATE outbox SET last_error = 'x', attempts = 1 WHERE recipient LIKE 'dora%'")
    meddle("UPDATE outbox SET due_at = NULL, sent_at = created_at WHERE recipient LIKE 'emil%'")
    with time_machine.travel(clock.now() + clock.HOUR):
        assert scrape("invite_api_outbox_letters", state="untried") == 1
        assert scrape("invite_api_outbox_letters", state="failed") == 1
        assert scrape("invite_api_outbox_oldest_seconds") == pytest.approx(3600, abs=5)


def test_two_services_in_one_process_do_not_count_for_each_other(client, scrape, settings):
    other = create_app(settings).test_client()
    for _ in range(3):
        other.get("/health")
    client.get("/health")
    health = {"method": "GET", "route": "/health", "status": "200"}
    assert scrape("invite_api_requests_total", **health) == 1
    assert scrape("invite_api_requests_total", other, **health) == 3


def test_the_process_shows_what_it_weighs(scrape):
    assert scrape("process_resident_memory_bytes") > 10e6
    assert scrape("process_cpu_seconds_total") > 0


def promtool(*arguments):
    command = [require("promtool", "prometheus"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_prometheus_itself_finds_nothing_wrong_with_the_page(client, key):
    client.get("/health")
    page = client.get("/metrics", headers={"Authorization": f"Bearer {key}"}).data
    command = [require("promtool", "prometheus"), "check", "metrics"]
    checked = subprocess.run(command, input=page, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_the_alerts_are_rules_that_prometheus_takes_over_what_the_page_shows(client, scrape):
    checked = promtool("check", "rules", ALERTS)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    client.get("/health")
    shown = {name for name, _ in scrape()}
    named = {each for each in OURS.findall(ALERTS.read_text()) if not each.endswith("_")}
    assert len(named) >= 6
    assert named <= shown


def test_the_reasons_and_checks_that_the_alerts_name_exist(scrape):
    labels = {value for _, labels in scrape() for _, value in labels}
    listed = re.findall(r'(?:reason|check|state)=~?"([^"]+)"', ALERTS.read_text())
    assert listed
    for each in listed:
        assert set(each.split("|")) <= labels


REQUESTS = 'invite_api_requests_total{{instance="a", job="invite-api", method="GET", route="/", status="{}"}}'
BUCKET = 'invite_api_request_seconds_bucket{{instance="a", job="invite-api", route="/", le="{}"}}'
REFUSED = 'invite_api_refusals_total{{instance="a", job="invite-api", reason="{}"}}'
TROUBLE = {
    "InviteApiDown": {'up{instance="a", job="invite-api"}': "0x60"},
    "InviteApiNotReady": {'invite_api_ready{instance="a", job="invite-api", check="writing"}': "0x60"},
    "InviteApiErrors": {REQUESTS.format(200): "0+80x60", REQUESTS.format(500): "0+20x60"},
    "InviteApiSlow": {BUCKET.format(1): "0+90x60", BUCKET.format(5): "0+100x60", BUCKET.format("+Inf"): "0+100x60"},
    "InviteApiMailStuck": {
        'invite_api_outbox_oldest_seconds{instance="a", job="invite-api"}': "7200x60",
        'invite_api_outbox_letters{instance="a", job="invite-api", state="failed"}': "1x60",
    },
    "InviteApiWebhookFailing": {'invite_api_webhooks{instance="a", job="invite-api", state="failing"}': "1x60"},
    "InviteApiDeliveriesLate": {
        'invite_api_deliveries{instance="a", job="invite-api", state="untried"}': "7x60",
        'invite_api_deliveries_oldest_seconds{instance="a", job="invite-api"}': "1200x60",
    },
    "InviteApiBranchGrows": {'invite_api_fastest_branch_people{instance="a", job="invite-api"}': "101x60"},
    "InviteApiGuessing": {REFUSED.format("KeyRefused"): "0+100x60"},
}
WELL = {
    'up{instance="a", job="invite-api"}': "1x60",
    'invite_api_ready{instance="a", job="invite-api", check="writing"}': "1x60",
    REQUESTS.format(200): "0+1000x60",
    REQUESTS.format(500): "0+1x60",
    BUCKET.format(1): "0+1000x60",
    BUCKET.format("+Inf"): "0+1001x60",
    'invite_api_outbox_oldest_seconds{instance="a", job="invite-api"}': "90x60",
    'invite_api_outbox_letters{instance="a", job="invite-api", state="failed"}': "1x60",
    'invite_api_webhooks{instance="a", job="invite-api", state="failing"}': "0x60",
    'invite_api_fastest_branch_people{instance="a", job="invite-api"}': "100x60",
    'invite_api_deliveries{instance="a", job="invite-api", state="untried"}': "7x60",
    'invite_api_deliveries_oldest_seconds{instance="a", job="invite-api"}': "90x60",
    REFUSED.format("InviteNotFound"): "0+2x60",
}


@pytest.mark.parametrize("trouble", [*TROUBLE, None])
def test_an_alert_is_given_for_its_trouble_and_for_nothing_else(tmp_path, trouble):
    names = re.findall(r"alert: (\w+)", ALERTS.read_text())
    assert sorted(names) == sorted(TROUBLE)
    series = TROUBLE.get(trouble, WELL)
    given = {
        "rule_files": [str(ALERTS)],
        "tests": [
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {
                        "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                        "eval_time": "50m",
                        "exp_samples": [{"labels": f'{{alertname="{trouble}"}}', "value": 1}] if trouble else [],
                    }
                ],
            }
        ],
    }
    (tmp_path / "test.yml").write_text(json.dumps(given))
    told = promtool("test", "rules", tmp_path / "test.yml")
    assert told.returncode == 0, told.stdout + told.stderr
