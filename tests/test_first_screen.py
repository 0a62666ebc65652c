"""The first screen of the README, followed to the letter: from a clean clone to the account of a friend.

In a browser as wide as a phone. `python -m pytest -n 0 -s tests/test_first_screen.py` prints how long it takes.
"""

import json
import os
import re
import resource
import subprocess
import time

import pytest
from selenium.webdriver.common.by import By

from conftest import PASSWORD, free_port
from programs import require
from screen import Screen
from settings import HOME, PREFIX

pytestmark = [pytest.mark.long, pytest.mark.sqlite]

README = (HOME / "README.md").read_text()
FIRST_SCREEN = README.partition("\n## From a shell")[0]
PHONE = (390, 844)
TIMEOUT = 120  # seconds for all of it


class Walk:
    """What a person does: each page that they see is counted."""

    def __init__(self, window) -> None:
        self.window, self.pages = window, 0

    def open(self, link):
        self.window.open(link)
        self._look()

    def press(self, text):
        self.window.press(text)
        self._look()

    def send(self, **typed):
        """Fill in the form that has these fields, and press its button."""
        self.window.write(**typed)
        field = self.window.driver.find_element(By.ID, next(iter(typed)))
        button = field.find_element(By.XPATH, "ancestor::form//button[not(@type='button')]")
        self.window.leave(button.click)
        self._look()

    def _look(self):
        self.pages += 1
        assert self.window.run("return [innerWidth, document.documentElement.scrollWidth]") == [PHONE[0], PHONE[0]]
        assert not self.window.driver.find_elements(By.CSS_SELECTOR, ".alarm, .problem"), self.window.seen


@pytest.fixture
def environ():
    """A person's own environment, at a port that nobody else uses here."""
    port = free_port()
    own = {name: value for name, value in os.environ.items() if not name.startswith((PREFIX, "PYTEST", "VIRTUAL_ENV"))}
    return own | {"INVITE_API_PORT": str(port), "INVITE_API_PUBLIC_URL": f"http://127.0.0.1:{port}"}


def processor():
    """Seconds that the processes which this one has started, and which have ended, have worked."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def steps():
    """What is pressed in each numbered step, in its order."""
    found = re.findall(r"^[0-9]\. (.*)$", FIRST_SCREEN, re.M)
    return [re.findall(r"\*\*(.+?)\*\*", each)[1:] for each in found]


def test_the_first_screen_leads_from_a_clean_clone_to_the_account_of_a_friend(tmp_path, window, environ):
    before, began, commands = processor(), time.monotonic(), 0
    clone = tmp_path / "invite-api"
    subprocess.run([require("git", "git"), "clone", "-q", HOME, clone], check=True)
    (command,) = re.findall(r"^```sh\n(.*)\n```$", FIRST_SCREEN, re.M)
    commands += 2
    with Screen(["bash", "-c", command], clone, environ) as screen:
        link = screen.until(r"^  (http://\S+/invite\?[0-9a-f]{64})$", 3 * TIMEOUT)[1]
        served = time.monotonic() - began
        window.size(*PHONE)
        walk = Walk(window)
        you, invitation, friend = steps()
        assert (you, friend) == ([], [])
        walk.open(link)
        walk.send(user="alice", password=PASSWORD)
        for each in invitation:
            walk.press(each)
        walk.send(name="Bob")
        sent = window.run("return document.querySelector('[data-copy]').dataset.copy")
        window.fresh()
        window.size(*PHONE)
        walk.open(sent)
        assert "Bob" in window.heading
        walk.send(user="bob", password=PASSWORD)
        took = time.monotonic() - began
        call = [clone / ".venv/bin/invite-api", "user", "list", "--json"]
        listed = json.loads(subprocess.run(call, env=environ, capture_output=True, check=True).stdout)
        assert {each["username"]: each["admin"] for each in listed} == {"alice": True, "bob": False}
        assert screen.stop() == 0
    worked = processor() - before
    print(f"\n{commands} commands, {walk.pages} pages, {took:.0f} seconds: {served:.0f} until it serves", end="")
    print(f"; {worked:.0f} seconds of processor, beside the browser's")
    assert f"That is {commands} commands (the clone and this one) and {walk.pages} pages" in README
    assert min(took, worked) < TIMEOUT  # what else runs here may keep it waiting
