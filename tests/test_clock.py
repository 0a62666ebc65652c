from datetime import UTC, datetime, timedelta

import pytest

import clock

pytestmark = pytest.mark.any_database


@pytest.mark.parametrize(
    ("written", "length"),
    [
        ("7d", timedelta(days=7)),
        ("12h", timedelta(hours=12)),
        ("12 hours", timedelta(hours=12)),
        ("2 weeks", timedelta(weeks=2)),
        ("30m", timedelta(minutes=30)),
        ("1 MIN", timedelta(minutes=1)),
        ("90", timedelta(seconds=90)),
        (" 3d ", timedelta(days=3)),
    ],
)
def test_durations_are_read_as_people_write_them(written, length):
    assert clock.duration(written) == length


@pytest.mark.parametrize("written", ["", "d", "3x", "-1d", "1.5d", "1e3", "٣d", "3d3h", "never", "9" * 40])
def test_what_is_no_duration_is_refused(written):
    with pytest.raises(ValueError, match="number and a unit"):
        clock.duration(written)


@pytest.mark.parametrize("written", ["7d", "365d", "12h", "90m", "45s", "2w"])
def test_a_duration_is_spelt_as_it_was_written(written):
    assert clock.spell(clock.duration(written)) == written


def test_moments_go_on_the_wire_in_utc_with_milliseconds():
    assert clock.iso(datetime(2026, 3, 25, 21, 0, 0, 5999, tzinfo=UTC)) == "2026-03-25T21:00:00.005Z"


def test_now_has_no_more_precision_than_the_wire():
    assert clock.now().microsecond % 1000 == 0


@pytest.mark.parametrize(
    ("away", "said"),
    [
        (timedelta(seconds=2), "now"),
        (timedelta(seconds=-4), "now"),
        (timedelta(seconds=5), "in 5 seconds"),
        (timedelta(seconds=-89), "89 seconds ago"),
        (timedelta(seconds=90), "in 2 minutes"),
        (timedelta(minutes=-59), "59 minutes ago"),
        (timedelta(minutes=90), "in 2 hours"),
        (timedelta(hours=-23, minutes=-59), "24 hours ago"),
        (timedelta(hours=36), "in 2 days"),
        (timedelta(days=3, seconds=-1), "in 3 days"),
        (timedelta(days=-89), "89 days ago"),
        (timedelta(days=90), "in 3 months"),
        (timedelta(days=365), "in 12 months"),
        (timedelta(days=-3650), "10 years ago"),
        (timedelta(days=900_000), "in 2464 years"),
    ],
)
def test_how_far_off_a_moment_is(away, said):
    moment = datetime(2500, 1, 1, tzinfo=UTC) if abs(away.days) < 400_000 else datetime(1, 1, 2, tzinfo=UTC)
    assert clock.relative(moment + away, moment) == said
