"""How a wheel is laid out: all that runs lies in one folder, so that `invite_api` is the only name in site-packages.

hatchling runs this when it builds one; it is not in the wheel. An editable install leads to the checkout as it is.
"""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class OneFolder(BuildHookInterface):  # type: ignore[type-arg]
    """Puts what pyproject.toml lists as `beneath` beside the launcher."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Say what goes where, before a wheel is built."""
        if version == "standard":
            build_data["force_include"] = {each: f"invite_api/{each}" for each in self.config["beneath"]}
