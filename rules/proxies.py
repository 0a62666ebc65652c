"""What a reverse proxy is told so that it asks the gate before each request: whole configurations, to be pasted."""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from urllib.parse import urlsplit

from rules import tokens
from rules.refusals import N_, Invalid, together
from settings import HOME, settings

FILES = {"nginx": "nginx.conf", "caddy": "Caddyfile", "traefik": "traefik.yml"}
HEADERS = ("Remote-User", "Remote-Name", "Remote-Email", "Remote-Groups")
_ADDRESS = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9.-]*|\[[0-9a-fA-F:.]+\]):[0-9]{1,5}", re.ASCII)
_HEADER = re.compile(r"[A-Za-z][A-Za-z0-9]*(?:-[A-Za-z0-9]+){1,4}", re.ASCII)
_PATH = re.compile(r"(?:/(?!\.\.?(?:/|$))[A-Za-z0-9._~-]+)+/?", re.ASCII)
_LAST_PORT = 65535
_EVERY = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 (who listens at every address)
_LONGEST_NAME = 24  # nginx takes no variable that is much longer


@dataclass(frozen=True)
class App:
    """An app as a proxy meets it: the address where it listens, and the `public` paths that everyone reaches.

    It reads who uses it in Remote-User, and in `header` as well.
    """

    address: str = "127.0.0.1:3000"
    public: Sequence[str] = ()
    header: str | None = None


@dataclass(frozen=True)
class Origin:
    """An origin of an app: the URL, and its parts as proxies want them."""

    url: str

    @property
    def host(self) -> str:
        """The host, without a port."""
        return _bracketed(urlsplit(self.url).hostname or "")

    @property
    def is_https(self) -> bool:
        """Whether it is reached by https."""
        return self.url.startswith("https:")

    @property
    def port(self) -> int:
        """The port, also where the URL leaves it out."""
        return urlsplit(self.url).port or (443 if self.is_https else 80)

    @property
    def entry(self) -> str:
        """What Traefik's documentation calls the entry point at this port."""
        return {80: "web", 443: "websecure"}.get(self.port, f"port{self.port}")


def app(address: str, public: Sequence[str] = (), header: str | None = None) -> App:
    """An app as it was typed; raises Invalid with all that is wrong."""
    readers: list[Callable[[], object]] = [
        partial(_plain_address, address),
        *(
            partial(_plain, _PATH, "public", each, N_("must be a path such as /share/ or /robots.txt"))
            for each in public
        ),
    ]
    if header is not None:
        what = N_("must be the name of a header, such as X-Remote-User")
        readers.append(partial(_plain, _HEADER, "header", header, what))
    together(*readers)
    return App(address, public, header)


def configuration(proxy: str, slug: str, origins: Sequence[str], app: App = App()) -> str:
    """The configuration of a proxy, one of FILES, for a project and the origins of its app; it ends with a newline.

    Raises Invalid without an origin, and for a header beside Remote-User where the proxy cannot set one.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # slow to load

    if not origins:
        raise Invalid.at("origin", "required", "is missing: this project has no gate yet")
    if proxy == "traefik" and app.header:
        raise Invalid.at("header", "proxy", "is nothing that Traefik can set: it hands on Remote-User alone")
    folder = FileSystemLoader(HOME / "templates" / "proxies")
    plain = Environment(loader=folder, undefined=StrictUndefined, trim_blocks=True, keep_trailing_newline=True)  # noqa: S701 (it is no HTML)
    more = [app.header] if app.header and app.header not in HEADERS else []
    return plain.get_template(FILES[proxy]).render(
        slug=slug,
        name=_name(slug),
        service=service(),
        origins=[*map(Origin, origins)],
        address=app.address,
        public=app.public,
        pattern="|".join(f"^{re.escape(each)}{'' if each.endswith('/') else '$'}" for each in app.public),
        header="".join(more),
        spellings=[each for header in (*HEADERS, *more) for each in _spellings(header)],
        others=[each for header in more for each in (header, *_spellings(header))],
    )


def service() -> str:
    """Where a proxy on this machine reaches the service, as HOST:PORT."""
    host = settings().host
    return f"{_bracketed(_EVERY.get(host, host))}:{settings().port}"


def _plain(form: re.Pattern[str], field: str, value: str, wrong: str) -> None:
    """Raise Invalid for what has another form, and would not stand for itself in a configuration."""
    if not form.fullmatch(value):
        raise Invalid.at(field, "pattern", wrong)


def _plain_address(value: str) -> None:
    wrong = N_("must be a host and a port, such as 127.0.0.1:3000")
    _plain(_ADDRESS, "address", value, wrong)
    if not 0 < int(value.rpartition(":")[2]) <= _LAST_PORT:
        raise Invalid.at("address", "pattern", wrong)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _spellings(header: str) -> Iterator[str]:
    """The other names that programs take for this header: with _ or . for each -."""
    first, *parts = header.split("-")
    for joints in product("-_.", repeat=len(parts)):
        if set(joints) != {"-"}:
            yield first + "".join(map("".join, zip(joints, parts, strict=True)))


def _name(slug: str) -> str:
    """What a slug's variables begin with; a long slug is cut, and told apart by a digest."""
    short = slug if len(slug) <= _LONGEST_NAME else f"{slug[: _LONGEST_NAME - 9]}-{tokens.digest(slug)[:8]}"
    return f"invite_{short.replace('-', '_')}"
