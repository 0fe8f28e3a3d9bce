"""Times of any tool become UTC, and what could be two times is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.label.times import ZONES, to_utc
from schemas.errors import UserError

NOON = pd.Timestamp("2026-01-05T18:20:30Z")


@pytest.mark.parametrize(
    "written",
    [
        "Mon Jan 05 10:20:30 PST 2026",
        "Mon Jan  5 18:20:30 GMT 2026",
        "Mon Jan 05 18:20:30 UTC 2026",
        "2026-01-05T18:20:30Z",
        "2026-01-05 18:20:30",
        "2026-01-05T18:20:30.000000",
        "2026-01-05T15:20:30-03:00",
        "2026-01-05T23:50:30.000+0530",
        "2026-01-05 12:20:30-06",
        "2026/01/05 18:20:30",
        "2026-01-05 18:20:30 UTC",
        "1767637230",
        "1767637230.0",
        "1767637230000",
        "1767637230000000",
        "1767637230000000000",
        1767637230,
        1767637230.0,
        1767637230000,
        datetime(2026, 1, 5, 18, 20, 30, tzinfo=UTC),
    ],
)
def test_one_moment_in_every_way_of_writing(written: object) -> None:
    read = to_utc(pd.Series([written]), "votes.csv")
    assert read.dtype == "datetime64[us, UTC]"
    assert read[0] == NOON


def test_formats_and_zones_mix_in_one_column_and_missing_stays_missing() -> None:
    series = pd.Series(
        ["Mon Jan 05 10:20:30 PST 2026", None, "1767637230", "", "2026-01-05T19:20:30+01:00"], index=[9, 7, 5, 3, 1]
    )
    read = to_utc(series, "votes.csv")
    assert list(read.index) == [9, 7, 5, 3, 1]
    assert read.isna().tolist() == [False, True, False, True, False]
    assert set(read.dropna()) == {NOON}


def test_times_that_are_times_already_keep_their_moment() -> None:
    aware = pd.Series(pd.to_datetime(["2026-01-05T19:20:30+01:00"]).tz_convert("America/Lima"))
    naive = pd.Series(pd.to_datetime(["2026-01-05T18:20:30"]))
    assert to_utc(aware, "x")[0] == NOON == to_utc(naive, "x")[0]
    assert to_utc(pd.Series([], dtype="str"), "x").dtype == "datetime64[us, UTC]"


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("05/01/2026 10:20", "could be day or month first"),
        ("5-1-2026", "could be day or month first"),
        ("yesterday", "is not a time"),
        ("2026-02-30T10:00:00Z", "is not a time"),
        ("2026-01-05T25:00:00Z", "is not a time"),
        ("45662.4", "is not a time"),
        ("20260105", "is not a time"),
        ("Mon Jan 05 10:20:30 BRT 2026", "has a zone 'BRT' that is not known here"),
        ("2026-01-05 10:20:30 IST", "has a zone 'IST' that is not known here"),
        ("2026-01-05T10:20:30+99:00", "is not a time"),
        ("Mon Foo 05 10:20:30 PST 2026", "is not a time"),
    ],
)
def test_what_is_no_time_is_named_with_its_row(written: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        to_utc(pd.Series(["2026-01-05T10:20:30Z", None, written, written]), "votes.csv")
    assert str(error.value).startswith(f"votes.csv: row 3: '{written}' {said} (and 1 more); write times like")
    with pytest.raises(UserError, match=r"votes\.csv: line 8: "):
        to_utc(pd.Series([written]), "votes.csv", ["line 8"])


moments = st.datetimes(datetime(1975, 1, 1), datetime(2100, 1, 1))
zones = st.integers(-12 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@settings(deadline=None)
@given(st.lists(st.tuples(moments, zones, st.sampled_from(sorted(ZONES)), st.integers(0, 5)), min_size=1, max_size=8))
def test_a_moment_comes_back_from_every_format(cases: list[tuple[datetime, timezone, str, int]]) -> None:
    """Formats and zones mixed at random in one column; each written as its tool would, to that tool's precision."""
    written, expected = [], []
    for naive, zone, name, kind in cases:
        moment = naive.replace(tzinfo=UTC)
        second = moment.replace(microsecond=0)
        there = second.astimezone(timezone(timedelta(hours=ZONES[name])))
        milli = moment.replace(microsecond=moment.microsecond // 1000 * 1000)
        text, truth = [
            (moment.astimezone(zone).isoformat(), moment),
            (naive.isoformat(sep=" "), moment),
            (there.strftime(f"%a %b %d %H:%M:%S {name} %Y"), second),
            (str(int(second.timestamp())), second),
            (str((milli - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)), milli),
            (moment.isoformat().replace("+00:00", "Z"), moment),
        ][kind]
        written.append(text)
        expected.append(pd.Timestamp(truth))
    assert to_utc(pd.Series(written), "votes.csv").tolist() == expected
