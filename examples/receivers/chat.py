"""Says in a chat, or on a phone by ntfy, who has used an invitation.

    WEBHOOK_SECRET=whsec_… CHAT=https://ntfy.sh/our-garden python chat.py 8091
    WEBHOOK_SECRET=whsec_… CHAT=https://chat.example.org/hooks/… FIELD=text python chat.py 8091

The sentence is posted to the address in CHAT: as plain text, as ntfy takes it, or with FIELD as JSON that has it under
this name: `text` for Mattermost, Rocket.Chat and Slack, `content` for Discord.
"""

import base64
import hmac
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.error import URLError
from urllib.request import Request, urlopen

SECRET = base64.b64decode(os.environ["WEBHOOK_SECRET"].removeprefix("whsec_"))
SENTENCES = {
    "invite.used": "{who} has used an invitation.",
    "invite.waiting": "{who} waits for approval.",
    "member.joined": "{who} has joined {project}.",
    "webhook.test": "This is a test.",
}


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
    event = json.loads(body)
    if event["type"] not in SENTENCES:
        return 204
    who = event["data"].get("user", {}).get("name") or event["data"].get("invite", {}).get("name") or "A guest"
    project = event["data"].get("project", {}).get("name", "")
    said = SENTENCES[event["type"]].format(who=who, project=project)
    try:
        urlopen(request(said), timeout=10).close()
    except URLError:
        return 502
    return 204


def request(sentence: str) -> Request:
    """What posts a sentence to the chat."""
    field = os.environ.get("FIELD")
    body = json.dumps({field: sentence}) if field else sentence
    kind = "application/json" if field else "text/plain; charset=utf-8"
    # Some chats refuse what Python calls itself.
    return Request(os.environ["CHAT"], body.encode(), {"Content-Type": kind, "User-Agent": "invite-api"})


class Receiver(BaseHTTPRequestHandler):
    """Takes what is posted, whatever the path."""

    def do_POST(self) -> None:
        """Answer one delivery."""
        body = self.rfile.read(min(int(self.headers.get("content-length", 0)), 65536))
        self.send_response(receive(self.headers, body))
        self.send_header("Content-Length", "0")
        self.end_headers()


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Receiver).serve_forever()
