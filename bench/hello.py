"""A Flask application that answers 201 with a constant, under our server: what the stack costs by itself.

Run it with `python bench/hello.py PORT THREADS`.
"""

import re
import sys
from pathlib import Path

from flask import Flask, Response

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from web import logs
from web.lanes import Lanes
from web.server import Server


def main() -> None:
    """Serve until told to stop."""
    logs.start()
    app = Flask("hello")
    app.add_url_rule("/", view_func=lambda: Response("hello", 201), methods=["GET", "POST"])
    Server(app, "127.0.0.1", int(sys.argv[1]), Lanes(int(sys.argv[2]), re.compile("(GET|POST) /"))).run()


if __name__ == "__main__":
    main()
