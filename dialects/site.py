"""What all pages share: the style sheet, the pictures and the name of this place, and the language of its reader."""

from collections.abc import Mapping

from flask import Response, jsonify, request
from werkzeug.exceptions import NotFound

from dialects.shapes.values import Language
from rules import way_in
from settings import HOME, LANGUAGES, settings
from web import cookies, html
from web.contract import AppManifest, Icon, Style
from web.html import see_other

HEADERS: Mapping[str, str] = html.HEADERS

refusal = html.refusal


def style() -> Style:
    """The style sheet. Its address changes with it, so browsers may keep it."""
    kept = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(html.style(), headers=kept, mimetype="text/css")


def favicon() -> Icon:
    """The picture of this place, for browsers that look for it here."""
    kept = {"Cache-Control": "public, max-age=3600"}
    return Response((HOME / "static" / "favicon.ico").read_bytes(), headers=kept, mimetype="image/x-icon")


def manifest() -> AppManifest:
    """What this place is called and looks like, for phones that keep it on their first screen."""
    root = settings().root
    icons = [
        {"src": f"{root}/static/icon.svg", "sizes": "any", "type": "image/svg+xml"},
        {"src": f"{root}/static/apple-touch-icon.png", "sizes": "180x180", "type": "image/png"},
    ]
    described = {"name": settings().site_name, "start_url": f"{root}/", "display": "browser", "icons": icons}
    response = jsonify(described | {"theme_color": settings().accent, "background_color": "#f6f5f1"})
    response.mimetype = "application/manifest+json"
    response.headers["Cache-Control"] = "public, max-age=3600"
    return response


def choose_language(code: Language) -> Response:
    """Speak this language from now on, beginning with the page whose path is the query; only a cookie is changed."""
    if code not in LANGUAGES:
        raise NotFound
    return cookies.keep_language(see_other(way_in.path(request.query_string)), code)
