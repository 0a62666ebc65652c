"""Creates an account elsewhere for everybody who joins a project, by a command of yours.

    WEBHOOK_SECRET=whsec_… ADD="/usr/local/bin/add-member" DONE=/var/lib/receiver python accounts.py 8090

The command is given the user name and the address. What it fails at is sent again later, so it should not mind an
account that is there already. A delivery that was done is remembered by its id, as a file in the folder DONE.
"""

import base64
import hmac
import json
import os
import shlex
import subprocess
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SECRET = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
ADD, DONE = shlex.split(os.environ["ADD"]), Path(os.environ["DONE"])


def is_signed(headers, body: bytes) -> bool:
    """Whether the holder of our secret sent this, within the last five minutes."""
    sent_at = headers.get("webhook-timestamp", "")
    if not sent_at.isdecimal() or abs(time.time() - int(sent_at)) > 300:
        return False
    signed = f"{headers.get('webhook-id')}.{sent_at}.".encode() + body
    wanted = "v1," + base64.b64encode(hmac.digest(SECRET, signed, "sha256")).decode()
    given = headers.get("webhook-signature", "").split()
    return any(hmac.compare_digest(wanted.encode(), each.encode()) for each in given)


def receive(headers, body: bytes) -> int:
    """The status to answer with: another one than 2xx has it sent again."""
    if not is_signed(headers, body):
        return 401
    event, done = json.loads(body), DONE / headers["webhook-id"]
    user = event["data"].get("user")
    if event["type"] != "member.joined" or not user or done.exists():
        return 204
    if subprocess.run([*ADD, user["username"] or user["id"], user["email"] or ""], check=False).returncode:
        return 500
    done.touch()
    return 204


class Receiver(BaseHTTPRequestHandler):
    """Takes what is posted, whatever the path."""

    def do_POST(self) -> None:
        """Answer one delivery."""
        body = self.rfile.read(min(int(self.headers.get("content-length", 0)), 65536))
        self.send_response(receive(self.headers, body))
        self.send_header("Content-Length", "0")
        self.end_headers()


if __name__ == "__main__":
    DONE.mkdir(parents=True, exist_ok=True)
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
