"""`invite-api project gate`: where an app is, and what its proxy is told."""

import re
import subprocess

import pytest
import yaml

from conftest import HASH, make_settings
from programs import require
from rules import accounts, gate, projects, proxies
from rules.refusals import Invalid
from settings import HOME, in_force

PHOTOS = "https://photos.example.org"
KEPT = {"nginx": "nginx/photos.conf", "caddy": "caddy/photos.Caddyfile", "traefik": "traefik/photos.yml"}


@pytest.fixture
def photos(house):
    """A project for an app."""
    with house.writing():
        projects.create(accounts.create(accounts.Names("alice"), HASH), projects.ProjectDraft("Photos"))


@pytest.fixture
def command(invite_api, photos):
    """Run `project gate photos` with these arguments."""
    return lambda *arguments, **environ: invite_api("project", "gate", "photos", *arguments, **environ)


def origins(house):
    with house.reading():
        return [*gate.origins(projects.find("photos"))]


def test_the_command_sets_shows_and_takes_away_the_origins(command, house):
    done = command(PHOTOS, "https://photos.example.org:8443")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert command().stdout == f"{PHOTOS}\nhttps://photos.example.org:8443\n"
    assert command("https://albums.example.org").returncode == 0
    assert origins(house) == ["https://albums.example.org"]
    done = command("--off")
    assert (done.returncode, done.stdout, origins(house)) == (0, "", [])


def test_an_origin_that_is_not_encrypted_is_noted_but_on_this_machine(command):
    done = command("http://photos.example.org", "http://127.0.0.1:9000", PHOTOS.replace("photos", "albums"))
    assert (done.returncode, done.stdout) == (0, "")
    assert (
        done.stderr
        == "Note: http://photos.example.org is not encrypted, so anyone on the way can read a pass and use it\n"
    )
    printed = command("--print", "caddy")
    assert printed.stderr == done.stderr
    assert "Note:" not in printed.stdout


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("https://a b.example", "must be an origin such as https://photos.example.org, and not https://a b.example"),
        ("https://müller.example", "must have its host as links have it: xn--mller-kva.example"),
    ],
)
def test_an_origin_that_is_none_is_told_how_it_is_written(command, house, typed, said):
    done = command(typed)
    assert (done.returncode, said in done.stderr, origins(house)) == (1, True, [])


def test_what_is_no_origin_is_refused_by_its_name(command, house):
    wrong = [
        f"{PHOTOS}/albums",
        "https://bob@photos.example.org",
        "https://*.example.org",
        "https://invites.example.org:8443",
    ]
    done = command(PHOTOS, *wrong, PUBLIC_URL="https://invites.example.org")
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.removeprefix("Error: ").splitlines()
    assert [each[:12] for each in lines] == ["ORIGIN: must"] * len(wrong)
    assert origins(house) == []


def test_what_is_wrong_with_an_app_is_named_by_its_options(command):
    command(PHOTOS)
    done = command("--print", "nginx", "--app", "x", "--public", "x", "--user-header", "x")
    assert (done.returncode, done.stdout) == (1, "")
    lines = done.stderr.removeprefix("Error: ").splitlines()
    assert [each.partition(": must")[0] for each in lines] == ["--app", "--public", "--user-header"]


@pytest.mark.parametrize(
    "app",
    [{"address": "localhost:99999"}, {"address": "localhost:0"}, {"address": "127.0.0.1"},
     {"address": "a:80; return 200"}, {"address": "a:1\n}"}, {"public": ["share/"]},
     {"public": ["/"]}, {"public": ["/../x"]}, {"public": ["/x/.."]}, {"public": ["/a b"]}, {"public": ["/a;b/"]},
     {"public": ["/x\n"]}, {"header": "X-Remote-User: x"}, {"header": "Remote"}, {"header": "X-Remote_User"}],
)  # fmt: skip
def test_what_would_not_stand_for_itself_in_a_configuration_is_refused(app):
    with pytest.raises(Invalid) as refused:
        proxies.app(**{"address": "127.0.0.1:3000", **app})
    assert [each.field for each in refused.value.problems] == [*app]


def test_nothing_is_printed_for_a_project_without_a_gate(command):
    done = command("--print", "nginx")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "Error: ORIGIN: is missing: this project has no gate yet\n"


def test_off_stands_alone(command, house):
    command(PHOTOS)
    for beside in ([PHOTOS], ["--print", "nginx"]):
        done = command("--off", *beside)
        assert (done.returncode, "Give an ORIGIN" in done.stderr) == (2, True)
    assert origins(house) == [PHOTOS]


@pytest.mark.parametrize("option", ["--app 127.0.0.1:3000", "--public /share/", "--user-header X-Remote-User"])
@pytest.mark.parametrize("beside", [PHOTOS, "--off", ""])
def test_what_is_about_a_configuration_is_refused_without_one(command, house, option, beside):
    command(PHOTOS)
    done = command(*beside.split(), *option.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert f"{option.split()[0]} is about what --print prints: give --print, too." in done.stderr
    assert origins(house) == [PHOTOS]
    assert command("--print", "nginx", *option.split()).returncode == 0


def test_traefik_cannot_set_another_header(command):
    command(PHOTOS)
    done = command("--print", "traefik", "--user-header", "X-Remote-User")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Error: --user-header: ")


@pytest.mark.parametrize("proxy", KEPT)
def test_deploy_has_what_the_command_prints(command, proxy):
    assert command(PHOTOS, "--print", proxy).stdout == (HOME / "deploy" / KEPT[proxy]).read_text()


@pytest.mark.parametrize(
    ("given", "there"),
    [
        ({"HOST": "0.0.0.0", "PORT": "9000"}, "127.0.0.1:9000"),
        ({"HOST": "::"}, "[::1]:8080"),
        ({"HOST": "192.0.2.7"}, "192.0.2.7:8080"),
    ],
)
def test_what_is_printed_names_the_service_where_it_listens(tmp_path, given, there):
    with in_force(make_settings(tmp_path, **given)):
        assert all(there in proxies.configuration(each, "photos", [PHOTOS]) for each in KEPT)


@pytest.fixture
def settled(settings):
    """The settings, by which the service is found."""


SLUGS = ("photos", "2026", "a" * 60, f"{'a' * 59}b")
MANY = [PHOTOS, "https://photos.example.org:8443", "http://photos.example.net:8081", "http://[::1]:9000"]
APP = proxies.App("[::1]:3000", ("/share/", "/robots.txt"), "X-Remote-User")


def test_nginx_takes_all_that_is_printed_side_by_side(settled, tmp_path):
    text = "".join(proxies.configuration("nginx", slug, MANY, APP) for slug in SLUGS)
    for kind in ("fullchain", "privkey"):
        text = re.sub(rf"/etc/letsencrypt/live/\S+/{kind}", str(tmp_path / kind), text)
    certify(tmp_path)
    conf = tmp_path / "nginx.conf"
    conf.write_text(f"error_log stderr; pid {tmp_path}/pid; events {{}} http {{ access_log off; {text} }}")
    nginx = require("nginx", "nginx-light")
    done = subprocess.run([nginx, "-t", "-c", conf, "-e", "stderr"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [each for each in done.stderr.splitlines() if "conflicting server name" not in each and "[" in each] == []


def certify(folder):
    import trustme

    made = trustme.CA().issue_cert("photos.example.org")
    made.private_key_pem.write_to_path(folder / "privkey.pem")
    made.cert_chain_pems[0].write_to_path(folder / "fullchain.pem")


def test_caddy_takes_what_is_printed(settled, tmp_path):
    caddy = require("caddy", "caddy")
    for slug in SLUGS[:2]:
        (tmp_path / "Caddyfile").write_text(proxies.configuration("caddy", slug, MANY, APP))
        command = [caddy, "adapt", "--validate", "--adapter", "caddyfile", "--config", tmp_path / "Caddyfile"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        )
        assert done.returncode == 0, done.stderr


def test_traefik_is_told_of_services_and_middlewares_that_are_there(settled):
    told = yaml.safe_load(proxies.configuration("traefik", "photos", MANY, proxies.App(public=("/share/",))))["http"]
    for each in told["routers"].values():
        assert each["service"] in told["services"]
        assert set(each.get("middlewares", ())) <= set(told["middlewares"])
        assert len({"photos-no-upgrade", "photos-websocket"} & set(each["middlewares"])) == 1
    guarded = [each for each in told["routers"].values() if "photos-gate" in each["middlewares"]]
    assert len(guarded) == 2 * len(MANY)  # one for websockets
    assert {each["entryPoints"][0] for each in guarded} == {"websecure", "port8443", "port8081", "port9000"}


def test_projects_with_long_slugs_share_no_app_in_nginx(settled):
    """nginx has a limit on the length of a variable, and takes the last of two that are called alike."""
    apps = [
        re.findall(r"map \$invite_user \$(\w+)|upstream (\w+)", proxies.configuration("nginx", each, MANY))
        for each in SLUGS
    ]
    names = ["".join(each) for found in apps for each in found]
    assert len(set(names)) == len(names) == 4 * len(SLUGS)
    assert max(map(len, names)) < 48
