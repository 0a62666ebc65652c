"""The words that were given up: docs/CONTRIBUTING.md has those that are used instead."""

import re

# In whatever is written in English: pages, mails, commands, the API, and the pages of docs/.
EVERYWHERE = (
    r"\b(?:some|any|every)body\b|\bwho(?:m|so)?ever\b|(?<![-?`])\bmakers?\b",
    r"\bwithdr[ae]w(?:n|s|ing|al)?\b|\bshuts? out\b|\bcancel(?:s|led)? (?:it|the|an|this)\b|\bcancelled\b",
    r"\bgood (?:until|for|till)\b|\bfor ever\b|\bforever\b|\bthe deaf\b",
    r"(?<!the )\blog(?:s|ged|ging)? (?:in|out)\b|\bfor \S+ alone\b|\bnow belong\b|\b(?-i:WENT WRONG)\b",
    r"\bnobody foresaw\b|\bolder ones\b|\bamong the spam\b|\bwould guess\b|\bfurnished\b",
    r"\bthat did not work\b|\bwhom it is for\b|\bhave forgotten my password\b",
)
OF = {
    "en": (
        *EVERYWHERE,
        r"\b(?:make|makes|made|making|mint|minted)\b(?! room\b)(?!(?: \S+){0,4} (?:an? admin\b|the owner\b))",
        r"\blives?\b|\bdead\b|\bnot known\b|\bis no e-mail address\b",
        r"\b(?:an|the|has|\d+) open invit|\bopen (?:invites|invitations)\b",
    ),
    "de": (
        r"\bzurück(?:gezogen|ziehen|zuziehen|genommen)\b|\bausgesperrt\b|\baussperren\b|\bfür immer\b",
        r"\b(?:ist|war) gut bis\b|\b(?:ein|aus)(?:ge)?logg(?:en|t)\b|\btote?[rns]?\b|\birgend(?:wer|jemand)\b",
        r"(?<!Eigentümer )(?<!Admin dieser Seite )\bgemacht\b|\bmache? (?:dir )?eine?n? |\bmacht eine?n? \b",
    ),
    # In prose a proxy may make an error, and a mistake that was found is quoted.
    "docs": (
        *EVERYWHERE,
        r"\bnobody\b",
        r"\b(?:mak(?:e|es|ing)|made) (?:an? |new |the )?(?:invit\w+|accounts?|(?:API )?keys?)\b",
    ),
}


def old_words(text: str, of: str = "en") -> list[str]:
    """The words in a text that were given up, in a language or in the pages of docs/."""
    return [found[0] for each in OF[of] for found in re.finditer(each, text, re.IGNORECASE)]
