"""Update the catalogues: run ``python language/update.py``, then translate what is new in each .po file.

For one more language, copy a .po file under its code (``fr.po``, ``pt_BR.po``) and run this.
"""

import sys
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [
    ("rules/**.py", "python"),
    ("web/forms.py", "python"),
    ("web/errors.py", "python"),
    ("web/html.py", "python"),
    ("web/requests.py", "python"),
    ("dialects/pages.py", "python"),
    ("dialects/sign_in.py", "python"),
    ("dialects/account.py", "python"),
    ("dialects/gate*.py", "python"),
    ("dialects/admin*.py", "python"),
    ("delivery/**.py", "python"),
    ("templates/**.*", "jinja2"),
]
# Functions that take texts to translate. A number says which argument is the text, if it is not the first.
KEYWORDS = {**DEFAULT_KEYWORDS, "N_": None, "say": None, "problem": (3,), "at": (3,), "_refuse": (3,)}
OPTIONS = {"templates/**.*": {"trimmed": "true", "silent": "false"}}


def collected() -> Catalog:
    """A catalogue of all texts to translate, with the files in which they are."""
    catalogue = Catalog(project="invite-api")
    found = extract_from_dir(ROOT, SOURCES, OPTIONS, KEYWORDS, comment_tags=("For translators:",))
    for file, _, text, comments, context in sorted(found, key=lambda each: (each[0], each[1])):
        catalogue.add(text, locations=[(file, None)], auto_comments=comments, context=context)  # type: ignore[list-item]
    return catalogue


def read(path: Path) -> Catalog:
    """The catalogue in a .po file."""
    with path.open("rb") as file:
        return read_po(file, locale=path.stem)


def untranslated(catalogue: Catalog) -> list[str]:
    """The English texts of a catalogue that have no translation, or one in which a fact is missing."""
    left = []
    for each in catalogue:
        translations = [each.string] if isinstance(each.string, str) else [*(each.string or ())]
        if each.id and (not all(translations) or any(each.check(catalogue))):
            left.append(str(each.id))
    return left


def main() -> None:
    """Write every .po file, and print on stderr how many texts are left to translate in each."""
    template = collected()
    for path in sorted(Path(__file__).parent.glob("*.po")):
        catalogue = read(path)
        template.creation_date = catalogue.creation_date  # otherwise each run would change each file
        catalogue.update(template, no_fuzzy_matching=True)
        catalogue.obsolete.clear()
        catalogue.msgid_bugs_address = catalogue.last_translator = catalogue.language_team = ""
        with path.open("wb") as file:
            write_po(file, catalogue, width=100, include_lineno=False, sort_output=False)
        print(f"{path.name}: {len(untranslated(catalogue))} of {len(catalogue)} texts are left", file=sys.stderr)


if __name__ == "__main__":
    main()
