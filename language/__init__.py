"""The reader's language: translated texts, and dates and numbers as that language writes them.

The texts in the code are English. ``CODE.po`` beside this file has the translations into one language; a
new language needs no more than its file.
"""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date, datetime, timedelta
from functools import cache, lru_cache, partial
from typing import Any

from babel import Locale, dates, numbers, units
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.support import NullTranslations, Translations
from jinja2 import Environment, nodes
from jinja2.visitor import NodeTransformer
from markupsafe import Markup

import clock
from settings import LANGUAGES, TRANSLATIONS

_BRITISH = "en_GB"  # English dates begin with the day, as in the texts
_SPANS = (
    (365 * clock.DAY, "year"),
    (clock.DAY, "day"),
    (clock.HOUR, "hour"),
    (clock.MINUTE, "minute"),
    (clock.SECOND, "second"),
)


class Language:
    """One language: its texts, its dates and numbers.

    `direction` is how it is written, ``ltr`` or ``rtl``. `tag` names it and its dates to browsers, such as ``en-GB``.
    """

    def __init__(self, code: str) -> None:
        self.code = code
        self.locale = Locale.parse(_BRITISH if code == "en" else code)
        self.tag = str(self.locale).replace("_", "-")
        self.direction = self.locale.text_direction
        self._texts = catalogue(code)

    def text(self, text: str) -> str:
        """The translation of an English text; the text itself where there is none."""
        return str(self._texts.gettext(text))

    def plural(self, one: str, many: str, number: int) -> str:
        """The translation of the English text `one` or `many`, whichever the number needs; English where none is."""
        return str(self._texts.ngettext(one, many, number))

    def say(self, text: str, facts: Mapping[str, object]) -> str:
        """The translation of an English text, with `facts` in place of its ``%(NAME)s``; a datetime becomes a date."""
        written = {name: self.moment(fact) if isinstance(fact, datetime) else fact for name, fact in facts.items()}
        return self.text(text) % written

    def moment(self, moment: datetime) -> str:
        """A time as text: ``28 November 2026, 09:05 UTC``."""
        return f"{self.day(moment)}, {moment:%H:%M} UTC"

    def full_moment(self, moment: datetime) -> str:
        """A time as text, with the day of the week: ``Saturday, 28 November 2026, 09:05 UTC``."""
        return f"{dates.format_date(moment.date(), 'full', locale=self.locale)}, {moment:%H:%M} UTC"

    def day(self, moment: datetime) -> str:
        """The day of a time as text: ``28 November 2026``."""
        return written_day(self.tag, moment.date())

    def distance(self, moment: datetime) -> str:
        """The distance of a time from now, as text: ``in 6 days``, ``2 hours ago``."""
        away = moment - clock.now()
        return str(dates.format_timedelta(away, add_direction=True, threshold=1, locale=self.locale))

    def span(self, length: timedelta) -> str:
        """A length of time as text, in its largest whole unit: ``7 days``, ``1 year``, ``12 hours``."""
        size, unit = next((each for each in _SPANS if not length % each[0]), _SPANS[-1])
        return str(units.format_unit(length // size, f"duration-{unit}", locale=self.locale))

    def number(self, number: int) -> str:
        """A number as text: ``1,234``."""
        return str(numbers.format_decimal(number, locale=self.locale))


@cache
def named(code: str) -> Language:
    """The language with this code, which must be one of `LANGUAGES`. It is loaded once."""
    return Language(code)


@cache
def called(code: str) -> str:
    """What the language with this code calls itself: ``Deutsch``."""
    name = str(Locale.parse(code).get_display_name())
    return name[:1].upper() + name[1:]


@lru_cache(maxsize=4096)
def written_day(tag: str, day: date) -> str:
    """A day as text, in the language with this tag. It is kept: lists repeat few days, and each takes long."""
    return str(dates.format_date(day, "long", locale=Locale.parse(tag, sep="-")))


_current: ContextVar[str] = ContextVar("language", default=LANGUAGES[0])


def current() -> Language:
    """The language of the present context: as set by `using`, else English."""
    return named(_current.get())


@contextmanager
def using(code: str) -> Iterator[None]:
    """Set the language of the context inside to the one with this code."""
    before = _current.set(code)
    try:
        yield
    finally:
        _current.reset(before)


def say(text: str, **facts: object) -> str:
    """The translation of an English text into the current language, with its facts in place of ``%(NAME)s``."""
    return current().say(text, facts)


def install(environment: Environment) -> None:
    """Give templates the current language: ``_(TEXT)``, ``{% trans %}``, and filters for dates, numbers and names.

    The filters are `bdi`, and these methods of the current language: `moment`, `full_moment`, `day`, `distance`,
    `span` and `number`.
    """
    environment.add_extension("jinja2.ext.i18n")
    environment.policies["ext.i18n.trimmed"] = True
    environment.install_gettext_callables(  # type: ignore[attr-defined]
        lambda text: current().text(text), lambda *texts: current().plural(*texts), newstyle=True
    )
    for name in ("moment", "full_moment", "day", "distance", "span", "number"):
        environment.filters[name] = partial(filtered, name)
    environment.filters["bdi"] = bdi


def bdi(name: str) -> Markup:
    """A name inside of our sentence, whichever direction each of them is written in."""
    return Markup("<bdi>{}</bdi>").format(name)


def filtered(name: str, value: object) -> str:
    """What the method of this name of the current language makes of a value."""
    return str(getattr(current(), name)(value))


class Translated(Environment):
    """Templates in one language. Their texts are translated once, when a template is compiled."""

    _code: str = LANGUAGES[0]

    def in_language(self, code: str) -> "Translated":
        """The same templates in the language with this code."""
        translated: dict[str, Translated] = vars(self).setdefault("_translated", {})
        if code not in translated:
            other = self.overlay()
            other._code = code  # set before another thread can see it
            translated[code] = other
        return translated[code]

    def compile(
        self, source: str | nodes.Template, name: str | None = None, filename: str | None = None, *how: Any
    ) -> Any:
        """Translate the texts of a template, then compile it as Jinja does."""
        tree = self.parse(source, name, filename) if isinstance(source, str) else source
        return super().compile(_Translator(named(self._code)).visit(tree), name, filename, *how)


class _Translator(NodeTransformer):
    """Replaces ``_("text")``, which ``{% trans %}`` has become as well, by the text in one language."""

    def __init__(self, language: Language) -> None:
        self._language = language

    def visit_Call(self, call: nodes.Call) -> nodes.Expr:
        """The translated text, with its facts, for a call of ``_`` with a constant text; else the call itself."""
        self.generic_visit(call)
        if not (isinstance(call.node, nodes.Name) and call.node.name in ("_", "gettext")):
            return call
        (text,) = call.args
        if not isinstance(text, nodes.Const) or call.dyn_kwargs:
            return call
        facts = [nodes.Pair(nodes.Const(each.key), each.value) for each in call.kwargs]
        text_here = Markup(self._language.text(text.value))  # noqa: S704 (a text of ours)
        return nodes.Mod(nodes.Const(text_here), nodes.Dict(facts))


def catalogue(code: str) -> NullTranslations:
    """The translations into a language, from its .po file, which is compiled in memory; for English, none."""
    if code == LANGUAGES[0]:
        return NullTranslations()
    compiled = io.BytesIO()
    with (TRANSLATIONS / f"{code}.po").open("rb") as file:
        write_mo(compiled, read_po(file, locale=code))
    compiled.seek(0)
    return Translations(compiled)
