"""A program with a sign-up of its own that only guests with an invitation get through.

    INVITE_API=http://127.0.0.1:8080 INVITE_KEY=ID/SECRET flask --app signup run --port 5000

It holds a use of the invitation, creates its account, and completes the hold. An account counts only once its hold is
complete (`hold` is NULL). One that is left in between, since the program was killed, is settled at the next start or
the next sign-up.
"""

import json
import os
import sqlite3
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from flask import Flask, g, request
from markupsafe import escape
from werkzeug.security import generate_password_hash

INVITE_API, KEY = os.environ["INVITE_API"], os.environ["INVITE_KEY"]
FORM = """<!doctype html><title>Sign up</title><p>{said}<form method=post><input name=i type=hidden value="{token}">
<label>Name <input name=name></label> <label>Password <input name=password type=password></label>
<button>Sign up</button></form>"""

app = Flask(__name__)


def accounts() -> sqlite3.Connection:
    """The accounts: a name, a password's hash, and the hold by which each came, until that is complete."""
    if "accounts" not in g:
        g.accounts = sqlite3.connect(os.environ.get("ACCOUNTS", "accounts.db"), isolation_level=None)
        g.accounts.execute("CREATE TABLE IF NOT EXISTS accounts (name TEXT PRIMARY KEY, password TEXT, hold TEXT)")
    return g.accounts


def invite_api(method: str, path: str, body: dict | None = None) -> dict:
    """Call the invitation service; returns its answer. An error's answer has `error`, a sentence, and a `code`."""
    sent = json.dumps(body).encode() if body else None
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    try:
        answer = urlopen(Request(INVITE_API + path, sent, headers, method=method), timeout=10)
    except HTTPError as error:
        answer = error
    except URLError:
        return {"error": "Please try again in a minute."}
    with answer:
        return json.load(answer)


def settle(name: str, hold: str) -> str:
    """Complete a hold. Its account is finished then; if the hold was lost meanwhile, the account is taken back."""
    answer = invite_api("POST", f"/v1/holds/{hold}/complete")
    if answer.get("state") == "done":
        accounts().execute("UPDATE accounts SET hold = NULL WHERE name = ?", [name])
        return "Welcome!"
    if answer.get("state") == "waiting":
        return "Your sign-up waits for approval."
    if answer.get("code") in ("HOLD_LOST", "HOLD_RELEASED"):
        accounts().execute("DELETE FROM accounts WHERE name = ? AND hold = ?", [name, hold])
    return answer["error"]


def settle_all() -> None:
    """Settle what an earlier run left in between."""
    for each in accounts().execute("SELECT name, hold FROM accounts WHERE hold IS NOT NULL").fetchall():
        settle(*each)


@app.route("/join", methods=["GET", "POST"])
def join() -> str:
    """Show the form, and sign a guest up."""
    token, name, said = request.values.get("i", ""), request.form.get("name", ""), ""
    if request.method == "POST":
        settle_all()
        if accounts().execute("SELECT 1 FROM accounts WHERE name = ?", [name]).fetchone():
            return "There is an account with this name."
        held = invite_api("POST", "/v1/holds", {"token": token, "subject": name})
        if "id" in held:
            password = generate_password_hash(request.form["password"])
            accounts().execute("INSERT INTO accounts VALUES (?, ?, ?)", [name, password, held["id"]])
            return settle(name, held["id"])
        said = held["error"]
    return FORM.format(token=escape(token), said=escape(said))


with app.app_context():
    settle_all()
