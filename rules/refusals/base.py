"""What every refusal is made of: a code for programs, a sentence for people, and facts."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar

from clock import iso

Facts = Mapping[str, object]

MAX_QUOTED = 20  # of the things that are wrong, in the sentence for people; programs get all of them


def N_(text: str) -> str:
    """Return the text unchanged, marked for the translators' catalogues.

    It is translated where it is shown, since only there the reader's language is known.
    """
    return text


class Refusal(Exception):
    """The parent of all refusals: a class says its `code` and its `sentence`, an instance has the `facts`.

    `field` names the field that it is about, "" where it is about none. With `keeps` the unit of work in which it is
    raised is kept: a try at a secret stays counted.
    """

    code: ClassVar[str]
    field: ClassVar[str] = ""
    sentence: str
    keeps = False

    def __init__(self, *arguments: object, **facts: object) -> None:
        super().__init__(*arguments, *facts.values())
        self.facts: Facts = facts

    def __str__(self) -> str:
        return filled(self.sentence, self.facts)

    @property
    def problems(self) -> "Sequence[Problem]":
        """What is wrong, field by field."""
        return (Problem(self.field, self.code.lower(), self.sentence, self.facts),)


@dataclass(frozen=True)
class Problem:
    """One thing wrong with one field: `rule` for programs, `text` and its `facts` for people.

    In a list `index` is the place, from 0, of the one that has the field.
    """

    field: str
    rule: str
    text: str
    facts: Facts
    index: int | None = None

    @property
    def message(self) -> str:
        """What is wrong, in English, without a full stop. It continues the name of its field: "is empty"."""
        return filled(self.text, self.facts).removesuffix(".")

    @property
    def place(self) -> str:
        """The field as a sentence names it: ``email``, or in a list ``[3].email``."""
        return self.field if self.index is None else f"[{self.index}].{self.field}".removesuffix(".")


def problem(field: str, rule: str, text: str, **facts: object) -> Problem:
    """Return a Problem whose facts are given by name.

    language/update.py collects the third argument of each call of this name for translation.
    """
    return Problem(field, rule, text, facts)


class Invalid(Refusal):
    """What was sent cannot be used; `problems` says why."""

    code = "INVALID"
    sentence = N_("Something in this request cannot be used.")

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self._problems = problems

    @property
    def problems(self) -> Sequence[Problem]:
        """What is wrong, field by field."""
        return self._problems

    @classmethod
    def at(cls, field: str, rule: str, text: str, **facts: object) -> "Invalid":
        """Return a refusal of a single field."""
        return cls(problem(field, rule, text, **facts))

    def __str__(self) -> str:
        said = [ended(f"{each.place}: {each.message}") for each in self.problems[:MAX_QUOTED]]
        more = len(self.problems) - MAX_QUOTED
        return " ".join([*said, f"And {more} more."] if more > 0 else said)


class UnknownField(Invalid):
    """A JSON object has a member, or a query a parameter, that means nothing here."""

    code = "UNKNOWN_FIELD"


def together(*checks: Callable[[], Any]) -> list[Any]:
    """Return what each check returns, in their order; if some refuse, raise one refusal with everything that is wrong.

    A refusal that is alone is raised as it is, and one that is about no field at once.
    """
    results, refused = list[Any](), list[Refusal]()
    for check in checks:
        try:
            results.append(check())
        except Refusal as refusal:
            if not all(each.field for each in refusal.problems):
                raise
            refused.append(refusal)
    if len(refused) == 1:
        raise refused[0]
    if refused:
        raise Invalid(*(each for refusal in refused for each in refusal.problems))
    return results


def ended(text: str) -> str:
    """Return a sentence with a full stop at its end, unless a sign stands there that is meant as it is."""
    return f"{text}." if text[-1:].isalnum() or text[-1:] in ")’”" else text


def filled(text: str, facts: Facts) -> str:
    """Return a text with its facts put in; a datetime is written as `clock.iso` writes it."""
    return text % {name: iso(fact) if isinstance(fact, datetime) else fact for name, fact in facts.items()}
