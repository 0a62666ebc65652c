"""A Flask application that answers 201 with a constant, under our server: what the stack costs by itself.

Run it with `python bench/hello.py PORT THREADS`. At /list it answers with a page, as an app may have it; at /row
after it has committed a row to a file of its own.
"""

import re
import sys
import tempfile
from pathlib import Path

from flask import Flask, Response

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from load import Rows

from web import logs
from web.lanes import Lanes
from web.server import Server

NAMES = [f"Name {number}" for number in range(100)]
PAGE = "<!doctype html><title>A list</title><ul>{% for each in names %}<li>{{ each | e }}</li>{% endfor %}</ul>"


def main() -> None:
    """Serve until told to stop."""
    logs.start()
    app = Flask("hello")
    page = app.jinja_env.from_string(PAGE)
    for start in ("/", "/public/"):  # bench/gate.py asks beneath both
        app.add_url_rule(start, start, lambda: Response("hello", 201), methods=["GET", "POST"])
        app.add_url_rule(f"{start}list", f"{start}list", lambda: page.render(names=NAMES))
    with tempfile.TemporaryDirectory() as folder, Rows(Path(folder)) as rows:

        def row() -> Response:
            rows.commit()
            return Response("hello", 201)

        app.add_url_rule("/row", view_func=row)
        Server(app, "127.0.0.1", int(sys.argv[1]), Lanes(int(sys.argv[2]), re.compile("(GET|POST) /.*"))).run()


if __name__ == "__main__":
    main()
