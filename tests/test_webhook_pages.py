"""The admin's pages of webhooks, and the command: what they show, what they do, and what they never show again."""

import json
import re

import pytest
from sqlalchemy import select

import clock
from conftest import HASH, forked, free_port, naming, seen, wait_for
from delivery import courier
from models import Delivery, Webhook
from receiver import listening
from rules import accounts, deliveries, events, timeline, webhooks
from rules.webhooks import Wanted


@pytest.fixture
def admin(browser, root):
    """A browser in which an admin of the site is signed in."""
    assert browser.sign_in("root").status_code == 303
    return browser


@pytest.fixture
def receiver():
    with listening() as receiver:
        yield receiver


@pytest.fixture
def hook(house, receiver):
    """A webhook to the receiver; its id."""
    settled = house.settled()
    with house.writing():
        return webhooks.create(Wanted(receiver.url, private=True), timeline.last_number(settled))[0].id


@pytest.fixture
def row(house):
    """A webhook as it is now."""

    def look(id_):
        with house.reading() as unit:
            return unit.session.get(Webhook, id_)

    return look


def deliver(house):
    while courier.dispatch(house) or courier.deliver_some(house):
        pass


def once(browser):
    return re.search(r'name="once" value="([^"]+)"', browser.client.get("/admin/webhooks").text)[1]


def test_an_admin_creates_one_and_sees_its_secret_once(admin, house):
    number = once(admin)
    fields = {"url": "https://app.example.org/hook", "types": "invite.used, member", "project": "", "once": number}
    made = admin.post("/admin/webhooks", **fields)
    assert made.status_code == 200
    (secret,) = set(re.findall(r"whsec_[A-Za-z0-9+/]{43}=", made.text))
    with house.reading():
        (found,) = webhooks.newest()
        assert (found.url, found.types, found.is_private) == (fields["url"], "invite.used,member", False)
        assert next(iter(webhooks.signature(found, "1", 1, b"x").split())).startswith("v1,")
    for path in ("/admin/webhooks", f"/admin/webhooks/{number}"):
        shown = admin.client.get(path)
        assert (shown.status_code, secret in shown.text) == (200, False)
        assert fields["url"] in seen(shown)
    again = admin.post("/admin/webhooks", **fields)
    assert again.status_code == 409
    assert "has been created already" in seen(again)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://app.example.org/", "Must start with https://"),
        ("https://10.0.0.1/", "Must have a name, and no address"),
    ],
)
def test_a_page_takes_no_private_webhook_and_says_so_at_the_field(admin, house, url, why):
    answer = admin.post("/admin/webhooks", url=url, types="zebra", project="", once=once(admin))
    assert answer.status_code == 422
    assert f'value="{url}"' in answer.text
    assert why in answer.text
    assert "Is no type of event: zebra" in answer.text
    with house.reading():
        assert not webhooks.newest()


@pytest.mark.parametrize(
    "path",
    ["/admin/webhooks", *(f"/admin/webhooks/x/{each}" for each in ("rotate", "disable", "test", "retry", "delete"))],
)
def test_who_is_no_admin_and_who_comes_from_elsewhere_changes_nothing(browser, root, path):
    browser.sign_in("alice")
    assert browser.post(path).status_code == 403
    browser.sign_in("root")
    assert browser.post(path, csrf="x").status_code == 403
    assert browser.post(path, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403


def test_the_log_says_what_came_of_each_and_one_is_sent_again_by_its_button(admin, house, hook, receiver, make_invite):
    receiver.usual = 503
    make_invite()
    deliver(house)
    page = admin.client.get(f"/admin/webhooks/{hook}")
    assert "invite.created" in seen(page)
    assert "503, " in seen(page)
    assert "failing" in seen(page)
    receiver.usual = 204
    with house.reading() as unit:
        waiting = unit.session.scalars(select(Delivery.id).order_by(Delivery.event)).all()
    assert len(waiting) == 2  # and that it was created itself
    led = admin.post(f"/admin/webhooks/{hook}/retry", delivery=waiting[0], since="")
    assert led.location == f"/admin/webhooks/{hook}?done=retried"
    deliver(house)
    assert len(receiver.got) == 3
    assert "204, " in seen(admin.client.get(f"/admin/webhooks/{hook}?state=sent"))
    assert "204, " not in seen(admin.client.get(f"/admin/webhooks/{hook}?state=waiting"))
    admin.post(f"/admin/webhooks/{hook}/retry", since="2d")
    deliver(house)
    assert len(receiver.got) == 4
    refused = admin.post(f"/admin/webhooks/{hook}/retry", since="soon")
    assert (refused.status_code, 'id="since-problem"' in refused.text) == (422, True)


def test_the_log_comes_in_pages(admin, house, hook, receiver):
    with house.writing():
        for _ in range(120):
            deliveries.test(webhooks.named(hook))
    path, ids = f"/admin/webhooks/{hook}", []
    while path:
        page = admin.client.get(path).text
        ids += re.findall(r'name="delivery" value="([0-9a-f-]{36})"', page)
        older = re.search(r'rel="next" href="([^"]+)"', page)
        path = older and older[1].replace("&amp;", "&")
    assert len(ids) == len(set(ids)) == 120


def test_what_can_be_done_with_one_is_done(admin, house, hook, receiver, row):
    before = row(hook).nonce
    rotated = admin.post(f"/admin/webhooks/{hook}/rotate")
    (secret,) = set(re.findall(r"whsec_[A-Za-z0-9+/]{43}=", rotated.text))
    assert row(hook).former_nonce == before != row(hook).nonce
    assert admin.post(f"/admin/webhooks/{hook}/test").location.endswith("?done=tested")
    deliver(house)
    assert "webhook.test" in [each.verified(secret)["type"] for each in receiver.got]
    admin.post(f"/admin/webhooks/{hook}/disable")
    assert row(hook).state == "disabled"
    assert admin.post(f"/admin/webhooks/{hook}/test").status_code == 409
    admin.post(f"/admin/webhooks/{hook}/disable", off="yes")
    assert row(hook).state == "enabled"
    assert admin.post(f"/admin/webhooks/{hook}/delete").location == "/admin/webhooks?done=deleted"
    assert row(hook) is None
    assert admin.client.get(f"/admin/webhooks/{hook}").status_code == 404
    shown = seen(admin.client.get("/admin/activity?type=webhook"))
    for each in ("created", "gave", "tested", "disabled", "enabled", "deleted"):
        assert f"{each} the webhook {hook}" in shown


# The command


@pytest.fixture
def shell(house, tmp_path, settings):
    """Run the command beside this test's database; what it printed, and how it ended."""
    house.close()

    def run(*arguments):
        return forked.run(("webhook", *arguments), {**naming(settings.instance)}, tmp_path)

    return run


def test_the_command_creates_lists_tests_and_deletes_one(shell, receiver):
    made = shell("create", receiver.url, "--private", "--types", "invite.used,member")
    id_, _, secret = made.stdout.strip().partition("\t")
    assert re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", secret)
    assert shell("list").stdout == f"{id_}\tenabled\t{receiver.url}\tinvite.used,member\tall\n"
    tested = shell("test", id_[:8])
    assert re.fullmatch(r"204\t\d+\n", tested.stdout)
    assert receiver.got[0].verified(secret)["type"] == "webhook.test"
    (logged,) = shell("deliveries", id_).stdout.splitlines()
    assert logged.split("\t")[1:2] + logged.split("\t")[3:5] == ["sent", "webhook.test", "204"]
    rotated = shell("rotate", id_).stdout.strip()
    shell("test", id_)
    assert receiver.got[1].verified(rotated) == receiver.got[1].verified(secret)
    shown = json.loads(shell("show", id_, "--json").stdout)
    assert (shown["state"], shown["private"], shown["types"]) == ("enabled", True, ["invite.used", "member"])
    assert not {secret, rotated} & set(map(str, shown.values()))
    assert shell("delete", id_).returncode == 0
    assert shell("list").stdout == ""


@pytest.mark.parametrize(("status", "said"), [(500, "500\t"), (301, "301\t"), (410, "410\t")])
def test_a_test_that_is_not_taken_exits_1_and_prints_the_status(shell, receiver, status, said):
    id_ = shell("create", receiver.url, "--private").stdout.partition("\t")[0]
    receiver.usual = status
    tested = shell("test", id_)
    assert (tested.returncode, tested.stdout[:4]) == (1, said)
    assert "Error: not accepted" in tested.stderr


def test_a_test_of_one_that_is_not_there_says_why(shell):
    id_ = shell("create", f"http://127.0.0.1:{free_port()}/", "--private").stdout.partition("\t")[0]
    tested = shell("test", id_)
    assert (tested.returncode, tested.stdout) == (1, "")
    assert tested.stderr == "Error: not accepted: connection refused\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["create", "http://app.example.org/"], "URL: must start with https://"),
        (["create", "https://10.0.0.1/"], "URL: must have a name"),
        (["create", "https://a@app.example.org/"], "URL: must have no user name"),
        (["create", "https://app.example.org/#x"], "URL: must have no #"),
        (["create", "http://169.254.169.254/", "--private"], "URL: has an address to which nothing is sent"),
        (["create", "https://app.example.org/", "--types", "zebra"], "--types: is no type of event"),
        (["create", "https://app.example.org/", "--project", "nowhere"], "--project: names no project"),
        (["test", "unknown"], "No such webhook"),
        (["retry", "unknown"], "No such delivery"),
        (["retry", "--since", "soon"], "--since: must be a moment"),
    ],
)
def test_a_refusal_exits_1_and_names_the_option(shell, arguments, said):
    done = shell(*arguments)
    assert (done.returncode, done.stdout) == (1, "")
    assert said in done.stderr


@pytest.mark.parametrize("arguments", [["retry"], ["retry", "x", "--since", "2d"], ["retry", "x", "--webhook", "y"]])
def test_retry_is_of_one_delivery_or_since_a_moment(shell, arguments):
    assert shell(*arguments).returncode == 2


def test_the_command_disables_and_enables_and_has_what_was_kept_sent(shell, receiver, house, make_invite):
    id_ = shell("create", receiver.url, "--private", "--types", "invite").stdout.partition("\t")[0]
    shell("disable", id_)
    make_invite()
    courier.dispatch(house)
    refused = shell("retry", "--since", "1d", "--webhook", id_)
    assert (refused.returncode, "webhook enable" in refused.stderr) == (1, True)
    shell("enable", id_)
    assert shell("retry", "--since", "1d", "--webhook", id_).stderr == "Note: 1 to be sent now by the server\n"
    deliver(house)
    assert len(receiver.got) == 1


# The server


def test_a_server_sends_what_happens_within_two_seconds(serve, receiver):
    served = serve()
    id_, secret = served.run("webhook", "create", receiver.url, "--private", "--types", "invite").split("\t")
    served.run("invite", "create", "Anne")
    began = clock.ticks()
    wait_for(lambda: receiver.got, 10)
    assert clock.ticks() - began < 2.5
    assert receiver.got[0].verified(secret)["data"]["invite"]["name"] == "Anne"
    wait_for(lambda: "\tsent\t" in served.run("webhook", "deliveries", id_), 10)
    log = served.log.read_text()
    assert id_ in log
    assert receiver.url not in log
    assert secret not in log


def test_who_enables_and_tests_is_named(house, hook, receiver):
    with house.writing():
        anne = accounts.create(accounts.Names("anne"), HASH)
        with events.acting(events.person(anne)):
            deliveries.test(webhooks.named(hook))
    deliver(house)
    told = [json.loads(each.body) for each in receiver.got]
    assert {each["data"]["event"]["actor"] for each in told if each["type"] == "webhook.test"} == {"anne"}
