"""Which branches of people who invite people grow fastest: the admins' page, and the metric."""

import re

import pytest
import time_machine

import clock
from conftest import Browser, seen
from models import User
from rules import accounts, growth


@pytest.fixture
def joined(house):
    """Let people join, each under an inviter and so long ago: ``{"anne": ("bob", 2 days), ...}``."""

    def join(people, **columns):
        with house.writing() as unit:
            for name, (inviter, ago) in people.items():
                above = accounts.named(inviter).id if inviter else None
                created = clock.now() - ago
                unit.session.add(User(id=name, username=name, created_at=created, inviter_id=above, **columns))
                unit.session.flush()

    return join


@pytest.fixture
def grown(house):
    """The branches that grew fastest: name, in a day, in a week, directly."""

    def look(by="week", limit=20):
        with house.reading():
            found = growth.fastest(limit, by)
            return [(each.person.username, each.day, each.week, each.direct) for each in found]

    return look


@pytest.fixture
def most(house):
    def look():
        with house.reading():
            return growth.most_in_a_day()

    return look


YEAR = 365 * clock.DAY


def test_a_branch_counts_all_who_came_through_it(joined, grown, most):
    joined(
        {"anne": (None, YEAR), "bob": ("anne", 3 * clock.DAY), "carl": ("bob", clock.HOUR), "dora": ("bob", clock.HOUR)}
    )
    joined({"erin": ("anne", 2 * clock.DAY), "old": ("erin", 8 * clock.DAY)})
    assert grown() == [("anne", 2, 4, 2), ("bob", 2, 2, 2)]
    assert most() == 2


def test_who_passes_on_what_grows_beneath_is_left_out(joined, grown):
    chain = {"anne": (None, YEAR), "bob": ("anne", YEAR), "carl": ("bob", YEAR)}
    joined(chain | dict.fromkeys(("dora", "erin"), ("carl", clock.HOUR)))
    assert grown() == [("carl", 2, 2, 2)]


def test_the_order_is_by_the_time_that_is_asked_for(joined, grown):
    joined({"anne": (None, YEAR), "bob": (None, YEAR)})
    joined({f"week{number}": ("anne", 3 * clock.DAY) for number in range(3)})
    joined({f"day{number}": ("bob", clock.HOUR) for number in range(2)})
    assert [each[0] for each in grown("week")] == ["anne", "bob"]
    assert [each[0] for each in grown("day")] == ["bob"]
    assert grown(limit=1) == [("anne", 0, 3, 3)]


def test_admins_are_no_branch_and_in_nobodys(house, joined, grown, most):
    joined({"anne": (None, YEAR), "boss": ("anne", YEAR), "carl": ("boss", YEAR)})
    joined(dict.fromkeys(("dora", "erin"), ("carl", clock.HOUR)) | {"frida": ("boss", clock.HOUR)})
    with house.writing():
        accounts.set_admin(accounts.named("boss"), True)
    assert grown() == [("carl", 2, 2, 2)]
    assert most() == 2


def test_who_came_by_nobodys_invite_is_in_no_branch(joined, grown, most):
    joined(dict.fromkeys(("anne", "bob"), (None, clock.HOUR)))
    assert grown() == []
    assert most() == 0


def test_a_chain_of_ten_thousand_is_counted_and_a_circle_ends(house, meddle, grown):
    now = clock.now() - clock.HOUR
    with house.writing() as unit:
        rows = [
            User(
                id=f"u{number:05}",
                username=f"u{number}",
                created_at=now,
                inviter_id=f"u{number - 1:05}" if number else None,
            )
            for number in range(10_000)
        ]
        unit.session.add_all(rows)
    assert grown(limit=2) == [("u0", 9999, 9999, 1), ("u1", 9998, 9998, 1)]
    meddle("UPDATE users SET inviter_id = 'u09999' WHERE id = 'u00000'")
    assert isinstance(grown(limit=2), list)


def test_the_page_shows_names_numbers_and_where_to_look(client, root, joined):
    joined({"anne": (None, YEAR)} | dict.fromkeys(("bob", "carl"), ("anne", clock.HOUR)))
    admin = Browser(client.application.test_client())
    admin.sign_in("root")
    page = admin.client.get("/admin/people/growth")
    assert '<a href="/admin/people/anne"><bdi>anne</bdi></a>' in page.text
    assert re.search(r"anne\s+2\s+2\s+2", seen(page))
    assert "Only the newest" not in page.text
    assert "/admin/people/growth" in admin.client.get("/admin/people").text
    assert admin.client.get("/admin/people/growth?by=year").status_code in (400, 422)
    with time_machine.travel(clock.now() + 2 * clock.DAY):
        admin.sign_in("root")
        assert "Nobody who was invited by another" in seen(admin.client.get("/admin/people/growth?by=day"))


def test_only_admins_see_it(client, browser, alice):
    assert browser.client.get("/admin/people/growth").location.startswith("/login")
    browser.sign_in("alice")
    assert browser.client.get("/admin/people/growth").status_code == 403


def test_the_metric_says_how_fast_the_fastest_grows(client, key, joined):
    joined({"anne": (None, YEAR)} | {f"g{number}": ("anne", clock.HOUR) for number in range(7)})
    page = client.get("/metrics", headers={"Authorization": f"Bearer {key}"}).text
    assert "\ninvite_api_fastest_branch_people 7.0\n" in page


OTHERS = """
WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 100000)
INSERT INTO users (id, username, created_at, inviter_id)
SELECT 'x' || n, 'x' || n, '2020-01-01 00:00:00.000000', CASE WHEN n > 1 THEN 'x' || (n - 1) END FROM numbers
"""


@pytest.mark.sqlite  # counts the instructions of SQLite's machine
def test_it_takes_as_much_beside_a_hundred_thousand_who_came_before(house, joined, grown, most):
    joined({"anne": (None, YEAR)} | {f"g{number}": ("anne", clock.HOUR) for number in range(100)})
    with house.writing() as unit:
        unit.connection.exec_driver_sql(OTHERS)
    with house.reading() as unit:
        driver = unit.connection.connection.driver_connection
    done = []
    driver.set_progress_handler(lambda: done.append(1), 1000)
    try:
        assert grown() == [("anne", 100, 100, 100)]
        assert most() == 100
    finally:
        driver.set_progress_handler(None, 0)
    assert len(done) < 60
