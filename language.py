"""Saying things in the language of whoever reads them: translated texts, and dates as they are written there.

The texts in the code are English. ``translations/CODE.po`` holds those of one more language; a new
file is all that a new language needs.
"""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date, datetime
from functools import cache, lru_cache, partial

from babel import Locale, dates, numbers
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations
from jinja2 import Environment, nodes
from jinja2.visitor import NodeTransformer
from markupsafe import Markup

import clock
from config import LANGUAGES, TRANSLATIONS

_BRITISH = "en_GB"  # the English of the texts: its dates have the day first


class Language:
    """One language: its texts, its dates, and the direction it is written in, ``ltr`` or ``rtl``.

    `tag` is what browsers call the way its dates are written, such as ``en-GB``.
    """

    def __init__(self, code: str) -> None:
        self.code = code
        self.locale = Locale.parse(_BRITISH if code == "en" else code)
        self.tag = str(self.locale).replace("_", "-")
        self.direction = self.locale.text_direction
        self._texts = _texts(code)

    def text(self, text: str) -> str:
        """A text of the code as it is in this language; English where nobody has translated it."""
        return str(self._texts.gettext(text))

    def plural(self, one: str, many: str, number: int) -> str:
        """Likewise one of two texts, as the number asks for."""
        return str(self._texts.ngettext(one, many, number))

    def say(self, text: str, facts: Mapping[str, object]) -> str:
        """Likewise, with its facts in it."""
        said = {name: self.moment(fact) if isinstance(fact, datetime) else fact for name, fact in facts.items()}
        return self.text(text) % said

    def moment(self, moment: datetime) -> str:
        """A moment for people: ``28 November 2026, 09:05 UTC``."""
        return f"{self.day(moment)}, {moment:%H:%M} UTC"

    def day(self, moment: datetime) -> str:
        """Its day alone: ``28 November 2026``."""
        return _day(self.tag, moment.date())

    def distance(self, moment: datetime) -> str:
        """How far it is from now: ``in 6 days``, ``2 hours ago``."""
        away = moment - clock.now()
        return str(dates.format_timedelta(away, add_direction=True, threshold=1, locale=self.locale))

    def number(self, number: int) -> str:
        """A number as it is written: ``1,234``."""
        return str(numbers.format_decimal(number, locale=self.locale))


@cache
def named(code: str) -> Language:
    """The language with this code, which is one of `LANGUAGES`."""
    return Language(code)


@lru_cache(maxsize=4096)
def _day(tag: str, day: date) -> str:
    """A list has the same few days over and over, and each takes long to write."""
    return str(dates.format_date(day, "long", locale=Locale.parse(tag, sep="-")))


_current: ContextVar[str] = ContextVar("language", default=LANGUAGES[0])


def current() -> Language:
    """The language that is spoken here and now."""
    return named(_current.get())


@contextmanager
def using(code: str) -> Iterator[None]:
    """Speak this language inside."""
    before = _current.set(code)
    try:
        yield
    finally:
        _current.reset(before)


def say(text: str, **facts: object) -> str:
    """A text, with its facts in it, in the language that is spoken here."""
    return current().say(text, facts)


def teach(environment: Environment) -> None:
    """Let templates speak: ``_(TEXT)``, ``{% trans %}``, and the filters `moment`, `day`, `distance`, `number`."""
    environment.add_extension("jinja2.ext.i18n")
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        lambda text: current().text(text), lambda *texts: current().plural(*texts), newstyle=True
    )
    for name in ("moment", "day", "distance", "number"):
        environment.filters[name] = partial(_called, name)


class Translated(Environment):
    """Templates in one language: their texts are translated when they are compiled, not whenever they are shown."""

    _code: str = LANGUAGES[0]

    def speaking(self, code: str) -> "Translated":
        """The same templates in this language."""
        spoken: dict[str, Translated] = vars(self).setdefault("_spoken", {})
        if code not in spoken:
            other = self.overlay()
            other._code = code  # before it is seen by another thread
            spoken[code] = other
        return spoken[code]

    def _generate(
        self, source: nodes.Template, name: str | None, filename: str | None, defer_init: bool = False
    ) -> str:
        """As in Jinja, which leaves this to be extended."""
        return super()._generate(_Translator(named(self._code)).visit(source), name, filename, defer_init)


class _Translator(NodeTransformer):
    """Turns ``_("text")``, and what ``{% trans %}`` has become, into the text in one language."""

    def __init__(self, language: Language) -> None:
        self._language = language

    def visit_Call(self, call: nodes.Call) -> nodes.Expr:
        """A text that is known, with its facts if it has any; every other call stays as it is."""
        self.generic_visit(call)
        if not (isinstance(call.node, nodes.Name) and call.node.name in ("_", "gettext")):
            return call
        (text,) = call.args
        if not isinstance(text, nodes.Const) or call.dyn_kwargs:
            return call
        facts = [nodes.Pair(nodes.Const(each.key), each.value) for each in call.kwargs]
        known = Markup(self._language.text(text.value))  # noqa: S704 (a text of ours)
        return nodes.Mod(nodes.Const(known), nodes.Dict(facts))


def _called(name: str, value: object) -> str:
    return str(getattr(current(), name)(value))


def _texts(code: str) -> NullTranslations:
    """The catalogue of a language, made from its .po file as it is read: nothing is to be compiled."""
    if code == LANGUAGES[0]:
        return NullTranslations()
    compiled = io.BytesIO()
    with (TRANSLATIONS / f"{code}.po").open("rb") as file:
        write_mo(compiled, read_po(file, locale=code))
    compiled.seek(0)
    return Translations(compiled)
