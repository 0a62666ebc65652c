"""Bring the catalogues up to date: ``python translations/update.py``, then translate what is new in each .po file.

For one more language, copy a .po file under its code (``fr.po``, ``pt_BR.po``) and run this.
"""

import sys
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import DEFAULT_KEYWORDS, extract_from_dir
from babel.messages.pofile import read_po, write_po

CHECKOUT = Path(__file__).resolve().parent.parent
SOURCES = [
    ("rules/**.py", "python"),
    ("dialects/wire.py", "python"),
    ("dialects/html.py", "python"),
    ("dialects/pages.py", "python"),
    ("dialects/admin_pages.py", "python"),
    ("delivery/**.py", "python"),
    ("templates/**.*", "jinja2"),
]
# Where the text stands among the arguments of what makes a problem out of it.
KEYWORDS = {**DEFAULT_KEYWORDS, "N_": None, "say": None, "problem": (3,), "at": (3,), "_refuse": (3,)}
OPTIONS = {"templates/**.*": {"trimmed": "true", "silent": "false"}}


def collected() -> Catalog:
    """Every text that is to be translated, with the files it stands in."""
    catalogue = Catalog(project="invite-api")
    found = extract_from_dir(CHECKOUT, SOURCES, OPTIONS, KEYWORDS, comment_tags=("For translators:",))
    for file, _, text, comments, context in sorted(found, key=lambda each: (each[0], each[1])):
        catalogue.add(text, locations=[(file, None)], auto_comments=comments, context=context)
    return catalogue


def read(path: Path) -> Catalog:
    """The catalogue in a .po file."""
    with path.open("rb") as file:
        return read_po(file, locale=path.stem)


def untranslated(catalogue: Catalog) -> list[str]:
    """The texts that say nothing in this language, or lack a fact that they should have."""
    left = []
    for each in catalogue:
        said = each.string if each.pluralizable else (each.string,)
        if each.id and (not all(said) or any(each.check(catalogue))):
            left.append(str(each.id))
    return left


def main() -> None:
    """Write every .po file anew, and say on stderr what is left to translate."""
    template = collected()
    for path in sorted(Path(__file__).parent.glob("*.po")):
        catalogue = read(path)
        template.creation_date = catalogue.creation_date  # else every run would change every file
        catalogue.update(template, no_fuzzy_matching=True)
        catalogue.obsolete.clear()
        catalogue.msgid_bugs_address = catalogue.last_translator = catalogue.language_team = ""
        with path.open("wb") as file:
            write_po(file, catalogue, width=100, include_lineno=False, sort_output=False)
        print(f"{path.name}: {len(untranslated(catalogue))} of {len(catalogue)} texts are left", file=sys.stderr)


if __name__ == "__main__":
    main()
