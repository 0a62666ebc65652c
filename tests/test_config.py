import os
import pwd
import stat
import threading
from types import SimpleNamespace

import pytest

from settings import HOME, ConfigError, home, load_settings


def test_nothing_needs_setting():
    settings = load_settings({})
    assert settings.public_url == "http://127.0.0.1:8080"
    assert settings.database_url == f"sqlite:///{HOME / 'instance' / 'invites.db'}"


@pytest.mark.parametrize(
    ("name", "nonsense"),
    [
        ("PUBLIC_URL", "example.org"),
        ("PUBLIC_URL", "https://user@example.org"),
        ("PUBLIC_URL", "https://example.org/?a"),
        ("PUBLIC_URL", "https://example.org:99999"),
        ("DATABASE_URL", "mysql://localhost"),
        ("DATABASE_URL", "sqlite:///:memory:"),
        ("DATABASE_URL", "postgresql://invites@db:port/invites"),
        ("DATABASE_URL", "postgresql://invites@db:65536/invites"),
        ("DATABASE_URL", "postgresql://invites:with an @ in it@db/invites"),
        ("DATABASE_URL", "postgresql://invites:with a # in it@db/invites"),
        ("DATABASE_URL", "postgresql://invites@one:5432,two:5433/invites"),
        ("LIMITS_URL", "redis://cache:port/0"),
        ("INVITE_TTL", "soon"),
        ("INVITE_TTL", "0d"),
        ("INVITE_TTL_MAX", "100000d"),
        ("PASSWORD_MIN_LENGTH", "4"),
        ("PASSWORD_MIN_LENGTH", "٨"),
        ("ALLOW_QUERY_KEY", "yes please"),
        ("TRUSTED_PROXIES", "10.0.0.1, proxy.local"),
        ("REDIRECT_ORIGINS", "https://app.example.org/path"),
        ("SECRET_KEY", "short"),
        ("SECRET_KEY", "with a comma, it would be cut in two"),
        ("SECRET_KEY_FALLBACKS", "short"),
        ("SECRET_KEY_FALLBACKS", "long-enough-by-itself,short"),
        ("SITE_NAME", "a\x1b[31m"),
        ("THREADS", "0"),
    ],
)
def test_nonsense_is_refused_by_name(name, nonsense):
    with pytest.raises(ConfigError, match=f"INVITE_API_{name}: "):
        load_settings({f"INVITE_API_{name}": nonsense})


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://invites@db/invites",
        "postgresql://invites:p%40ss@db:5432/invites?sslmode=verify-full",
        "postgresql://invites@one,two:5433/invites?target_session_attrs=read-write",
        "postgresql://invites@[2001:db8::1]:5432/invites",
        "postgresql://invites@/invites?host=/run/postgresql",
    ],
)
def test_a_url_of_postgresql_is_taken_as_it_is(url):
    settings = load_settings({"INVITE_API_DATABASE_URL": url, "INVITE_API_LIMITS_URL": "redis://[2001:db8::1]:6379/0"})
    assert settings.database_url == url.replace("postgresql", "postgresql+psycopg", 1)


def test_everything_that_is_wrong_is_said_at_once():
    with pytest.raises(ConfigError) as refused:
        load_settings({"INVITE_API_THREADS": "many", "INVITE_API_LIMITS": "perhaps"})
    assert len(str(refused.value).splitlines()) == 2


def test_a_misspelt_setting_is_not_passed_over():
    with pytest.raises(ConfigError, match="did you mean INVITE_API_PUBLIC_URL"):
        load_settings({"INVITE_API_PUBLICURL": "https://example.org"})


def test_a_default_life_longer_than_the_maximum_is_refused():
    with pytest.raises(ConfigError, match="INVITE_TTL: is longer"):
        load_settings({"INVITE_API_INVITE_TTL": "10d", "INVITE_API_INVITE_TTL_MAX": "5d"})


@pytest.mark.parametrize(
    ("url", "origin", "root"),
    [
        ("https://Example.org/", "https://example.org", ""),
        ("https://example.org:443/invites/", "https://example.org", "/invites"),
        ("http://[::1]:8080", "http://[::1]:8080", ""),
    ],
)
def test_the_public_url_knows_its_origin_and_its_path(url, origin, root):
    settings = load_settings({"INVITE_API_PUBLIC_URL": url})
    assert (settings.origin, settings.root) == (origin, root)


def test_a_key_file_is_made_once_and_is_private(tmp_path):
    environ = {"INVITE_API_INSTANCE": str(tmp_path / "new")}
    first = load_settings(environ).secrets
    assert first == load_settings(environ).secrets
    assert len(first[0]) == 64
    assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "new" / "secret.key").stat().st_mode) == 0o600
    assert os.listdir(tmp_path / "new") == ["secret.key"]


def test_first_starts_at_once_agree_on_one_secret(tmp_path):
    found, ready = [], threading.Barrier(16)

    def start():
        settings = load_settings({"INVITE_API_INSTANCE": str(tmp_path)})
        ready.wait()
        found.append(settings.secrets)

    threads = [threading.Thread(target=start) for _ in range(16)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(found) == 16
    assert len(set(found)) == 1


def test_a_secret_may_come_from_a_file_and_from_the_past(tmp_path):
    (tmp_path / "key").write_text("x" * 32 + "\n")
    settings = load_settings(
        {"INVITE_API_SECRET_KEY_FILE": str(tmp_path / "key"), "INVITE_API_SECRET_KEY_FALLBACKS": "y" * 20}
    )
    assert settings.secrets == (b"x" * 32, b"y" * 20)


def test_a_secret_that_would_be_cut_in_two_once_it_is_a_former_one_is_refused_with_what_to_do(tmp_path):
    secret = "a-secret-that-has,a-comma-in-its-middle"
    (tmp_path / "secret.key").write_text(f"{secret}\n")
    for environ in ({}, {"INVITE_API_SECRET_KEY_FILE": str(tmp_path / "secret.key")}):
        with pytest.raises(ConfigError, match=r"secret.key: .* comma .*SECRET_KEY_FALLBACKS, with %2C") as refused:
            _ = load_settings({"INVITE_API_INSTANCE": str(tmp_path), **environ}).secrets
        assert "a-secret" not in str(refused.value)
    with pytest.raises(ConfigError, match=r"^INVITE_API_SECRET_KEY: .* comma .*openssl.*with %2C") as refused:
        load_settings({"INVITE_API_SECRET_KEY": secret})
    assert "a-secret" not in str(refused.value)


def test_a_former_secret_keeps_its_commas_and_spaces(tmp_path):
    (tmp_path / "secret.key").write_text("that is to be that of all\n")
    former = "a%20secret%2Cwith-both, another-of-this-length"
    settings = load_settings({"INVITE_API_INSTANCE": str(tmp_path), "INVITE_API_SECRET_KEY_FALLBACKS": former})
    assert settings.secrets == (b"that is to be that of all", b"a secret,with-both", b"another-of-this-length")


def test_a_secret_file_that_is_not_there_is_named(tmp_path):
    settings = load_settings({"INVITE_API_SECRET_KEY_FILE": str(tmp_path / "nothing")})
    with pytest.raises(ConfigError, match="nothing: the master secret cannot be read"):
        _ = settings.secrets


@pytest.fixture
def settings_file(tmp_path):
    """Write a file of settings where it is looked for; the environment that leads there."""

    def write(text, name="settings.env"):
        (tmp_path / name).write_text(text)
        return {"INVITE_API_INSTANCE": str(tmp_path)}

    return write


def test_a_file_of_settings_is_read_as_systemd_reads_it(settings_file):
    environ = settings_file(
        "# ours\n; also a remark\n\nINVITE_API_SITE_NAME=Tea Garden\r\n"
        'INVITE_API_PUBLIC_URL = "https://example.org"\nINVITE_API_ACCENT=#102030\nINVITE_API_SMTP_URL=\n'
        "INVITE_API_SECRET_KEY='with a # and a \" in it'"
    )
    settings = load_settings(environ)
    assert (settings.site_name, settings.public_url, settings.accent) == (
        "Tea Garden",
        "https://example.org",
        "#102030",
    )
    assert settings.secret_key == 'with a # and a " in it'
    assert settings.smtp_url == ""


def test_the_environment_goes_before_the_file(settings_file):
    environ = settings_file("INVITE_API_THREADS=7\nINVITE_API_SITE_NAME=Tea\nINVITE_API_SMTP_URL=smtp://localhost")
    settings = load_settings(environ | {"INVITE_API_THREADS": "9", "INVITE_API_SMTP_URL": ""})
    assert (settings.threads, settings.site_name, settings.smtp_url) == (9, "Tea", "")


def test_the_file_may_be_elsewhere_and_may_say_where_the_instance_is(settings_file, tmp_path):
    settings_file("INVITE_API_INSTANCE=/srv/invites", "env")
    settings = load_settings({"INVITE_API_SETTINGS": str(tmp_path / "env")})
    assert settings.database_url == "sqlite:////srv/invites/invites.db"


def test_a_file_of_settings_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"INVITE_API_SETTINGS: there is no file .*nothing"):
        load_settings({"INVITE_API_SETTINGS": str(tmp_path / "nothing")})


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("INVITE_API_THREADS=0", "INVITE_API_THREADS: write a whole number"),
        ("INVITE_API_PUBLICURL=x", "did you mean INVITE_API_PUBLIC_URL"),
        ("PUBLIC_URL=https://example.org", "did you mean INVITE_API_PUBLIC_URL"),
        ("PATH=/usr/bin", "settings.env, line 3: PATH: there is no such setting\n"),
        ("export INVITE_API_THREADS=4", "write NAME=value"),
        ("INVITE_API_THREADS", "write NAME=value"),
        ('INVITE_API_SITE_NAME="Tea', "has a quote that is not around"),
        ("INVITE_API_SITE_NAME=O'Brien", "has a quote that is not around"),
        ("INVITE_API_SITE_NAME='O'Brien'", "has a quote that is not around"),
        ("INVITE_API_SITE_NAME=a\\", "has a backslash"),
        ("INVITE_API_SITE_NAME=Tea # ours", "has a remark behind the value"),
        ("\ufeffINVITE_API_THREADS=4", "begins with a byte order mark"),
        ("INVITE_API_LIMITS=off", "INVITE_API_LIMITS is set before, at line 1"),
        ("INVITE_API_SETTINGS=/etc/other", "only the environment can name the file"),
    ],
)
def test_a_line_with_nonsense_is_refused_by_its_number(settings_file, tmp_path, line, words):
    with pytest.raises(ConfigError) as refused:
        load_settings(settings_file(f"INVITE_API_LIMITS=on\n\n{line}\n"))
    assert str(refused.value).startswith(f"{tmp_path}/settings.env, line 3: ")
    assert words in f"{refused.value}\n"
    assert len(str(refused.value).splitlines()) == 1


def test_a_file_of_settings_that_is_no_text_is_refused(tmp_path):
    (tmp_path / "settings.env").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"settings\.env: the settings cannot be read: is not UTF-8"):
        load_settings({"INVITE_API_INSTANCE": str(tmp_path)})


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")
def test_whoever_may_not_look_into_the_instance_is_told_who_may(tmp_path):
    for each in (tmp_path, *tmp_path.parents[:2]):
        each.chmod(0o755)
    instance = tmp_path / "instance"
    instance.mkdir(mode=0o700)
    os.seteuid(65534)
    try:
        with pytest.raises(ConfigError, match="Permission denied; run this as its owner: sudo -u root invite-api …"):
            load_settings({"INVITE_API_INSTANCE": str(instance)})
    finally:
        os.seteuid(0)


@pytest.fixture
def at_home(tmp_path, monkeypatch):
    """A user's home, and where we are installed, which is no checkout: a call for the usual instance."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_DATA_HOME", "SUDO_UID"):
        monkeypatch.delenv(name, raising=False)
    return lambda: home.usual_instance(tmp_path / "site-packages" / "invite_api")


def test_an_installed_command_keeps_its_data_in_the_users_folder(at_home, tmp_path):
    assert at_home() == tmp_path / "home" / ".local" / "share" / "invite-api"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be a user that is not known")
def test_a_user_without_a_home_is_asked_for_a_folder(at_home, monkeypatch):
    at_home()  # what is slow to load can be read now
    monkeypatch.delenv("HOME")
    os.setresuid(54321, 0, 0)
    try:
        with pytest.raises(ValueError, match="no home and so no data folder: set it to the folder for the database"):
            at_home()
    finally:
        os.setresuid(0, 0, 0)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has come by sudo")
def test_who_types_sudo_before_an_installed_command_is_told_whose_the_database_is(at_home, tmp_path, monkeypatch):
    before = SimpleNamespace(pw_dir=str(tmp_path / "anne"), pw_name="anne")
    monkeypatch.setattr(pwd, "getpwuid", lambda _: before)
    monkeypatch.setenv("SUDO_UID", "54321")
    assert at_home().is_relative_to(tmp_path / "home")  # there is none yet
    data = tmp_path / "anne" / ".local" / "share" / "invite-api"
    data.mkdir(parents=True)
    os.chown(data, 54321, 54321)
    with pytest.raises(
        ValueError, match=f"the database is in {data}; run this as its owner: sudo -u anne invite-api …"
    ):
        at_home()
    (tmp_path / "home" / ".local" / "share" / "invite-api").mkdir(parents=True)
    assert at_home().is_relative_to(tmp_path / "home")  # root has one too, and means that
