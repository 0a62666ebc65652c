"""Pages for the admins of the site: API keys, what they may do, and presets."""

from collections.abc import Callable, Mapping
from functools import partial

from flask import Response, request

import clock
from rules import durations, fields, keys, presets, projects
from rules.refusals import together
from settings import settings
from web import forms, html
from web.html import page

HEADERS = forms.HEADERS

_OF_KEY = ("name", "expires", "until", "offset", "preset", "once", *keys.SCOPES)
_OF_PRESET = ("preset", *presets.FIELDS)

refusal = forms.refusal


def list_keys() -> str:
    """The API keys, and the form that creates one."""
    return _key_page(_new_key())()


@html.form(lambda _: _key_page(forms.again(_OF_KEY, keys.new_id())))
def create_key() -> str:
    """Create a key and show its secret, now and never again."""
    given = forms.sent(*_OF_KEY)
    name, lifetime, preset, once = together(
        lambda: fields.text(given["name"], "name", 100) if given["name"] else None,
        lambda: keys.lifetime(durations.chosen(given, "expires") or "never"),
        lambda: presets.named(given["preset"]).name if given["preset"] else None,
        lambda: forms.once(given["once"]),
    )
    may = [each for each in keys.SCOPES if given[each]] or ["create"]
    key = keys.create(name, lifetime, once, may, preset)
    return _key_page(_new_key())(made=key)  # the answer itself: nobody can be told again


def delete_key(key_id: str) -> Response:
    """Delete a key; the invites that it created stay."""
    keys.delete(key_id)
    return forms.done("/admin/keys", "deleted")


def list_presets() -> str:
    """The presets, and the form that creates one."""
    return _preset_page({})()


@html.form(lambda _: _preset_page({name: request.form.get(name, "") for name in _OF_PRESET}))
def create_preset() -> Response:
    """Create a preset; a form that is sent twice creates one."""
    given = forms.sent(*_OF_PRESET)
    wanted = {name: given[name] if name != "approve" else True for name in presets.FIELDS if given[name]}
    if presets.find(given["preset"]) != wanted:
        presets.create(given["preset"], wanted)
    return forms.done("/admin/presets", "made")


def delete_preset(name: str) -> Response:
    """Delete a preset; the page names the API keys that are bound to it."""
    presets.delete(name)
    return forms.done("/admin/presets", "deleted")


def _new_key() -> dict[str, str]:
    return {"once": keys.new_id(), "create": "on"}


def _key_page(given: Mapping[str, str]) -> Callable[..., str]:
    named = [(each.name, each.name) for each in presets.by_name()]
    columns = ("id", "name", "created_at", "last_used_at", "expires_at", "may", "preset")
    shown = {"rows": [forms.kept(each, *columns) for each in keys.newest()], "presets": named, "now": clock.now()}
    return partial(page, "admin/keys.html", given=given, **shown, done=request.args.get("done"))


def _preset_page(given: Mapping[str, str]) -> Callable[..., str]:
    rows = [(each.name, presets.fields_of(each), each.created_at) for each in presets.by_name()]
    bound = [forms.kept(each, "id", "name", "preset") for each in keys.newest() if each.preset]
    named = [(each.slug, each.name) for each in projects.newest(200)]
    shown = {"rows": rows, "bound": bound, "projects": named, "lifetime": clock.spell(settings().invite_ttl)}
    return partial(page, "admin/presets.html", given=given, **shown, done=request.args.get("done"))
