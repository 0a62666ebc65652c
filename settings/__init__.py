"""The settings, which the rest of the project takes from here.

`table` has every setting, with its default and what it means; `readers` what each may be; `file` reads them from
the environment and a file; `secret` keeps the master secret; `home` says where
things are, and whose.
"""

from settings.home import HOME, LANGUAGES, LOCAL_URL, PREFIX, TRANSLATIONS, as_owner
from settings.readers import Network, database_url, exact_origin, origin
from settings.secret import ConfigError, make_private, sync
from settings.table import Settings, in_force, load_settings, settings, table

VERSION = "0.2.0"

__all__ = [
    "HOME",
    "LANGUAGES",
    "LOCAL_URL",
    "PREFIX",
    "TRANSLATIONS",
    "VERSION",
    "ConfigError",
    "Network",
    "Settings",
    "as_owner",
    "database_url",
    "exact_origin",
    "in_force",
    "load_settings",
    "make_private",
    "origin",
    "settings",
    "sync",
    "table",
]
