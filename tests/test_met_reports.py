"""What people reported of services like this one, and failed here as well: each is named after what went wrong."""

import json
import re
import urllib.request
from contextlib import closing

import pytest

from app import create_app
from conftest import HASH, MAILS, PASSWORD, Browser, Mailbox, led, make_settings
from delivery import mail
from delivery.outbox import deliver_one
from models import Letter
from rules import accounts, addresses, drafts, fields, guests, invites, resets, tokens
from settings import ConfigError, in_force, load_settings
from test_connections import listening_on
from test_mail import postfix
from web import limits

TOKEN = "5d0b4c1f" * 8
LINK = f"https://invites.example.org/invite?{TOKEN}"


@pytest.fixture
def settings(tmp_path):
    """A place that mails, and where anyone registers."""
    with in_force(make_settings(tmp_path / "instance", REGISTRATION="open", SMTP_URL=MAILS)) as chosen:
        yield chosen


@pytest.fixture
def waiting(house):
    def look():
        with house.reading() as unit:
            return [each.recipient for each in unit.session.query(Letter)]

    return look


# Links


def quoted(link):
    return link.replace(":", "%3A").replace("/", "%2F").replace("?", "%3F").replace("=", "%3D")


WRAPPED = {
    "outlook": f"https://eur02.safelinks.protection.outlook.com/?url={quoted(LINK)}&data=05%7C01&sdata=x%3D&reserved=0",
    "outlook with a name": "https://nam02.safelinks.protection.outlook.com/?url="
    + quoted(f"{LINK[:-64]}token={TOKEN}"),
    "outlook twice": "https://a.safelinks.protection.outlook.com/?url=" + quoted(LINK).replace("%", "%25") + "&data=1",
    "barracuda": f"https://linkprotect.cudasvc.com/url?a={quoted(LINK).lower()}&c=E,1,abc&typo=1",
    "proofpoint 2": "https://urldefense.proofpoint.com/v2/url?u="
    + quoted(LINK).replace("%2F", "_").replace("%", "-")
    + "&d=DwMFaQ&c=abc",
    "proofpoint 3": f"https://urldefense.com/v3/__{LINK}__;!!Abc-Def!xyz$",
    "google": f"https://www.google.com/url?q={quoted(LINK)}&sa=D&source=docs",
    "another query behind it": f"{LINK}?utm_source=mail",
    "two lines": f"{LINK[:60]}\n{LINK[60:]}",
    "two lines of an answer": f"> {LINK[:60]}\n> {LINK[60:]}",
    "an answer to an answer": f">> {LINK[:60]} >> {LINK[60:]}",
    "where a line may be broken": f"{LINK[:60]}\u200b{LINK[60:]}\u200b",
    "a soft hyphen": f"{LINK[:60]}\u00ad{LINK[60:]}",
    "from right to left": f"\u2067{LINK}\u2069",
}


@pytest.mark.any_database
@pytest.mark.parametrize("pasted", WRAPPED.values(), ids=WRAPPED)
def test_a_link_is_pasted_as_a_filter_of_mail_has_wrapped_it(pasted):
    assert tokens.in_text(pasted) == TOKEN
    assert tokens.in_text(pasted.replace("5d0b4c1f", "5D0B4C1F")) == TOKEN


@pytest.mark.any_database
@pytest.mark.parametrize(
    "pasted", [f"https://x/?a=%3F{TOKEN}&b=%3F{'ab' * 32}", f"https://x/?a=%3F{TOKEN}0", f"https://x/?a=%3F{TOKEN[1:]}"]
)
def test_of_two_wrapped_links_none_is_chosen_and_half_a_token_is_none(pasted):
    assert not tokens.is_token(tokens.in_text(pasted))


def test_a_wrapped_link_in_the_field_for_it_leads_to_its_invitation(client, make_invite):
    token = make_invite()
    pasted = WRAPPED["outlook"].replace(TOKEN, token)
    assert client.post("/code", data={"code": pasted}).location == f"/invite?{token}"


@pytest.mark.parametrize(
    "around", ["{}.", "{})", "{}>", "{}%3E", "{}!", "<{}>", "{},", "“{}”", "{}%20", "({}).", "{}="]
)
def test_the_end_of_a_sentence_is_taken_for_a_part_of_a_link_for_a_new_password(browser, house, around):
    with house.writing():
        token = resets.link(accounts.named("alice")).partition("?")[2]
    page = browser.client.get(f"/password/reset?{around.format(token)}")
    assert page.status_code == 200
    assert f'value="{token}"' in page.text
    assert browser.post("/password/reset", token=token, password="another horse battery").location == "/login?done"


@pytest.mark.any_database
def test_a_signed_text_that_begins_with_a_dot_keeps_it(settings):
    """As a long one does, which is compressed; and no signature ends in punctuation."""
    for number in range(200):
        signed = tokens.sign("test", ["x" * 200, number])
        assert signed[0] == "."
        assert tokens.in_query(f"{signed}.") == tokens.in_query(f"({signed})") == signed


# What is typed


UNSEEN = ["{}\u200b", "\ufeff{}", "\u202a{}\u202c", "{}\u00a0", "\t{}", "\u2066{}\u2069 ", "{}\u200e", "\u3000{}"]


@pytest.mark.parametrize("copied", UNSEEN, ids=ascii)
def test_what_cannot_be_seen_is_copied_with_an_address(browser, house, make_invite, waiting, copied):
    assert led(browser.sign_in(copied.format("alice@example.org"))) == "/"
    assert browser.post("/password/forgot", email=copied.format("alice@example.org")).status_code == 303
    browser.post("/logout")
    assert browser.post("/register/start", email=copied.format("new@example.org")).status_code == 200
    assert sorted(waiting()) == ["alice@example.org", "new@example.org"]
    for user in ("dora", "bob@example.org"):
        made = browser.client.post(
            "/register",
            data={"user": copied.format(user), "password": PASSWORD, "token": make_invite(), "csrf": browser.csrf()},
            headers={"Sec-Fetch-Site": "same-origin"},
        )
        assert made.status_code == 303, user
        browser.post("/logout")
    with house.reading():
        assert accounts.named("dora").username == "dora"
        assert accounts.named("bob@example.org").email == "bob@example.org"


@pytest.mark.any_database
@pytest.mark.parametrize("copied", UNSEEN, ids=ascii)
def test_what_cannot_be_seen_stands_in_the_cells_of_a_guest_list(copied):
    (row,) = guests.read(f"email,name\n{copied.format('anne@example.org')},Anne\n".encode())
    assert row.given["email"] == "anne@example.org"


@pytest.mark.any_database
@pytest.mark.parametrize("unseen", ["\u200b", "\ufeff", "\u202c", "\n"])
def test_a_program_is_told_which_character_of_an_address_cannot_be_seen(unseen):
    for written in (f"anne@example.org{unseen}", f"anne@exa{unseen}mple.org"):
        with pytest.raises(fields.Invalid, match=f"U\\+{ord(unseen):04X}"):
            fields.email(written)


TYPED = {
    "arabic": "٠١٢٣٤٥٦٧٨٩",
    "persian": "۰۱۲۳۴۵۶۷۸۹",
    "devanagari": "०१२३४५६७८९",
    "of full width": "０１２３４５６７８９",
}


@pytest.mark.parametrize("script", TYPED)
def test_the_digits_of_another_keyboard_are_no_code(browser, digits, script):
    browser.post("/register/start", email="new@example.org")
    code = digits().translate(str.maketrans("0123456789", TYPED[script]))
    answer = browser.post("/verify", email="new@example.org", code=f"{code[:3]}-{code[3:]}")
    assert (answer.status_code, "Choose a password" in answer.text) == (200, True)


def test_a_program_sends_a_code_as_it_was_typed(client, digits):
    client.post("/auth/register/start", json={"email": "new@example.org"})
    typed = digits().translate(str.maketrans("0123456789", TYPED["persian"]))
    body = {"email": "new@example.org", "code": f" {typed[:3]} {typed[3:]}"}
    assert client.post("/auth/register/verify", json=body).status_code == 200


@pytest.mark.parametrize("typed", ["anne@bücher.example", "Anne@BÜCHER.example", "anne@xn--bcher-kva.example"])
def test_who_has_a_domain_with_an_umlaut_cannot_sign_in(browser, house, typed):
    with house.writing():
        user = accounts.create(accounts.Names("anne", fields.email("anne@bücher.example")), HASH)
        addresses.prove(user, user.email)
    assert led(browser.sign_in(typed)) == "/"
    with house.reading():
        assert accounts.named(typed).username == "anne"
        assert [each.username for each in accounts.search(typed, None, 10)] == ["anne"]


def test_an_invitation_for_a_domain_with_an_umlaut_is_found_as_it_was_typed(house, make_invite, invite_api):
    make_invite(name="Jürgen", email="anne@bücher.example")
    make_invite(email="anne@bücher.example")
    house.close()
    for typed in ("anne@bücher.example", "anne@BÜCHER.example"):
        assert len(invite_api("invite", "list", "--text", typed).stdout.splitlines()) == 2


# Mail


@pytest.fixture
def deliver(tmp_path, house):
    """Mail an invite by a server, from a place that is reached so; the state of its letter and what is kept of it."""

    def deliver_by(port, public_url="https://invites.example.org"):
        with house.writing():
            invites.create(drafts.read({"email": "dora@example.org"}), drafts.SHELL, mailed=True)
        chosen = make_settings(tmp_path / "instance", SMTP_URL=f"smtp://127.0.0.1:{port}", PUBLIC_URL=public_url)
        with in_force(chosen):
            assert deliver_one(house)
        with house.reading() as unit:
            letter = unit.session.query(Letter).one()
            return letter.state, letter.last_error or ""

    return deliver_by


class Strict(Mailbox):
    """A mail server that wants to be greeted by a whole name, and says so where many do: at the recipient."""

    async def handle_RCPT(self, server, session, envelope, address, options):
        if not re.fullmatch(r"([a-z0-9-]+\.)+[a-z-]+", session.host_name):
            return f"504 5.5.2 <{session.host_name}>: Helo command rejected: need fully-qualified hostname"
        envelope.rcpt_tos.append(address)
        return "250 OK"


def test_a_mail_server_refuses_who_greets_it_by_what_a_machine_calls_itself(deliver):
    mailbox = Strict()
    with postfix(mailbox) as port:
        assert deliver(port) == ("sent", "")
    assert len(mailbox.mails) == 1


class SevenBits(Mailbox):
    """A mail server that does not offer to take anything but ASCII; `raw` is what came."""

    raw = b""

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        session.host_name = hostname
        return [each for each in responses if "8BITMIME" not in each]

    async def handle_DATA(self, server, session, envelope):
        self.raw = envelope.content
        return await super().handle_DATA(server, session, envelope)


def test_a_mail_server_that_takes_only_ascii_is_sent_umlauts(tmp_path, house):
    mailbox = SevenBits()
    with house.writing():
        invites.create(drafts.read({"email": "dora@example.org"}), drafts.SHELL, mailed=True)
    with postfix(mailbox) as port:
        url = f"smtp://127.0.0.1:{port}"
        with in_force(make_settings(tmp_path / "instance", SMTP_URL=url, LANGUAGE="de", SITE_NAME="Teegärtchen")):
            assert deliver_one(house)
    assert mailbox.raw.isascii()
    for kind in ("plain", "html"):
        text = mailbox.mails[0].get_body((kind,)).get_content()
        assert "Du bist zu Teegärtchen eingeladen." in re.sub("<[^>]*>", "", text)
        assert re.search(r"http://127\.0\.0\.1:8080/invite\?[0-9a-f]{64}\b", text)


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://example.org/join", "example.org"),
        ("http://192.0.2.7:8080", None),
        ("http://[2001:db8::7]", None),
        ("http://nas", None),
        ("http://127.0.0.1:8080", None),
    ],
)
def test_a_mail_server_is_greeted_by_the_host_of_our_links_if_that_is_a_name(tmp_path, url, name):
    with in_force(make_settings(tmp_path, PUBLIC_URL=url)):
        assert mail.own_name() == name


@pytest.mark.parametrize(
    "says",
    [
        {"RCPT": "504 5.5.2 <15b0717dc4c2>: Helo command rejected: need fully-qualified hostname"},
        {"RCPT": "553 5.7.1 <vault@example.org>: Sender address rejected: not owned by user anne"},
        {"MAIL": "553 5.7.1 <vault@example.org>: Sender address rejected: not owned by user anne"},
        {"MAIL": "501 5.1.7 Bad sender address syntax"},
        {"RCPT": "550 5.1.8 the domain of the sender does not exist"},
        {"RCPT": "550 Sender verify failed"},
        {"RCPT": "554 5.7.1 <dora@example.org>: Relay access denied"},
        {"RCPT": "550 relaying denied"},
        {"RCPT": "554 5.7.1 Service unavailable; Client host [192.0.2.7] blocked"},
        {"DATA": "554 5.2.252 SendAsDenied; anne@example.org not allowed to send as vault@example.org"},
    ],
    ids=str,
)
def test_a_wrong_sender_gives_up_every_letter_for_good(deliver, mailbox, says):
    with postfix(mailbox, says) as port:
        state, error = deliver(port)
    assert state == "waiting"
    assert next(iter(says.values())) in error


@pytest.mark.any_database
@pytest.mark.parametrize(
    "url", ["smtp://mail.example.org:465", "smtps://mail.example.org:587", "smtp://a:b@mail.example.org:465"]
)
def test_a_port_that_is_encrypted_from_the_start_is_waited_for_in_vain(url):
    with pytest.raises(ConfigError, match="INVITE_API_SMTP_URL: write smtps:// with port 465"):
        load_settings({"INVITE_API_SMTP_URL": url})
    for good in ("smtps://mail.example.org:465", "smtps://mail.example.org", "smtp://mail.example.org:587"):
        assert load_settings({"INVITE_API_SMTP_URL": good}).smtp_url == good


# Settings


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SITE_NAME", '"Tea Garden"'),
        ("SITE_NAME", "'Tea Garden'"),
        ("LANGUAGE", '"de"'),
        ("PUBLIC_URL", '"https://example.org"'),
        ("INSTANCE", "'/srv/invites'"),
        ("MAIL_FROM", '"invitations@example.org"'),
        ("SMTP_URL", '"smtp://anne:pw@mail.example.org"'),
        ("ADMIN_EMAILS", '"anne@example.org"'),
    ],
)
def test_quotes_that_docker_keeps_become_a_part_of_a_setting(name, value):
    with pytest.raises(ConfigError, match=f"INVITE_API_{name}: has quotes around it") as refused:
        load_settings({f"INVITE_API_{name}": value})
    assert "pw" not in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.any_database
def test_quotes_that_belong_to_a_setting_stay(tmp_path):
    assert make_settings(tmp_path, SITE_NAME="The “Tea” Garden").site_name == "The “Tea” Garden"
    assert (
        make_settings(tmp_path, MAIL_FROM='"Tea, Garden" <a@example.org>').mail_from == '"Tea, Garden" <a@example.org>'
    )
    secret = '"0123456789abcdef"'  # in use since the first start
    assert make_settings(tmp_path, SECRET_KEY=secret).secret_key == secret
    (tmp_path / "settings.env").write_text('INVITE_API_SITE_NAME="Tea Garden"\n')
    assert make_settings(tmp_path).site_name == "Tea Garden"


# Cookies


PLACES = ["http://nas.lan:8081", "http://nas.lan:8082", "http://nas.lan", "http://nas.lan/tea", "http://nas.lan/choir"]
PLACES += ["https://nas.lan", "https://nas.lan/tea", "https://nas.lan/choir", "https://nas.lan:8443"]


def test_of_two_places_on_one_host_each_signs_the_visitors_of_the_other_out(tmp_path, house, alice):
    """A browser sends all cookies of a host, whatever the port, and of one name it keeps the last."""
    kept = {}
    for place in PLACES:
        chosen = make_settings(tmp_path / "instance", PUBLIC_URL=place)
        client = create_app(chosen).test_client()
        Browser(client).sign_in("alice")
        kept[chosen.cookie_name] = client.get_cookie(chosen.cookie_name).value
    assert len(kept) == len(PLACES)
    assert all(re.fullmatch(r"(__Host-)?invite-session[A-Za-z0-9-]*", each) for each in kept)
    cookies = "; ".join(f"{name}={value}" for name, value in kept.items())
    for place in PLACES:
        app = create_app(make_settings(tmp_path / "instance", PUBLIC_URL=place))
        page = app.test_client(use_cookies=False).get("/", headers={"Cookie": cookies})
        assert "alice" in page.text, place


# Addresses


PROXIES = load_settings({"INVITE_API_TRUSTED_PROXIES": "10.0.0.0/8"}).trusted_proxies


@pytest.mark.any_database
@pytest.mark.parametrize(
    ("remote", "forwarded", "client"),
    [
        ("10.0.0.1", ["203.0.113.9", "::ffff:10.0.0.2"], "203.0.113.9"),
        ("::ffff:10.0.0.1", ["203.0.113.9"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9", "[::FFFF:10.0.0.2]:4711"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9", "::ffff:a00:2"], "203.0.113.9"),
        ("10.0.0.1", ["203.0.113.9", "::ffff:192.0.2.2"], "::ffff:192.0.2.2"),
    ],
)
def test_a_proxy_that_writes_ipv4_as_ipv6_is_taken_for_the_visitor(remote, forwarded, client):
    assert limits.client_address(remote, forwarded, PROXIES) == client
    assert limits.neighbourhood("::ffff:203.0.113.9") == limits.neighbourhood("203.0.113.9") == "203.0.113.9"


@pytest.mark.any_database
def test_a_server_on_every_address_does_not_hear_ipv4(tmp_path):
    with listening_on("::", tmp_path / "instance") as said:
        port = int(re.search(r":(\d+), its database", said)[1])
        for host in ("127.0.0.1", "[::1]"):
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with closing(opener.open(f"http://{host}:{port}/health", timeout=5)) as answer:
                assert answer.status == 200


# Programs


def test_json_with_a_byte_order_mark_is_json(client, key, stored):
    sent = b"\xef\xbb\xbf" + json.dumps({"email": "anne@example.org"}).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    assert client.post("/invites_api", data=sent, headers=headers).status_code == 201
    assert [each.email for each in stored()] == ["anne@example.org"]
    for wrong in (b"\xef\xbb\xbf", b"\xef\xbb\xbf\xef\xbb\xbf{}"):
        assert client.post("/invites_api", data=wrong, headers=headers).status_code == 400
