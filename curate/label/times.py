"""Times as people's tools write them become UTC: ISO 8601 with or without a zone, MTurk's own way, seconds since 1970.

A time without a zone is taken as UTC. Day-first and month-first dates (05/01/2026) are refused rather than guessed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from schemas.errors import UserError

UTC: Final = "datetime64[us, UTC]"

# Hours from UTC of the zone names that MTurk's results carry: it writes them in the time of the United States.
ZONES = {
    "UTC": 0, "GMT": 0, "Z": 0, "EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7,
    "AKST": -9, "AKDT": -8, "HST": -10,
}  # fmt: skip
_MONTHS = dict(
    zip(["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"], range(1, 13), strict=True)
)  # in any locale

_ISO = re.compile(
    r"(?P<day>\d{4}[-/]\d{2}[-/]\d{2})"
    r"(?:[T ](?P<clock>\d{2}:\d{2}(?::\d{2}(?:[.,]\d{1,9})?)?)\s*(?P<zone>Z|[A-Z]{3,4}|[+-]\d{2}(?::?\d{2})?)?)?"
)
_MTURK = re.compile(
    r"(?:[A-Z][a-z]{2},? )?(?P<month>[A-Z][a-z]{2}) +(?P<day>\d{1,2}) (?P<clock>\d{2}:\d{2}:\d{2}) (?P<zone>[A-Z]{1,4}) (?P<year>\d{4})"
)
_NUMBER = re.compile(r"(?P<whole>\d{9,20})(?P<part>[.]\d+)?")
_SLASHED = re.compile(r"\d{1,2}[/.-]\d{1,2}[/.-]\d{2,4}\b.*")

# From which size on a number counts seconds, milli-, micro- or nanoseconds since 1970: each covers 1973 to 5138.
_UNITS = ((100_000_000_000, 1_000_000), (100_000_000_000_000, 1_000), (100_000_000_000_000_000, 1))
_FIRST = 100_000_000  # 1973: a smaller number is a year, a day of Excel or a count, not a time


def to_utc(series: pd.Series, where: str | Path, rows: Sequence[object] | None = None) -> pd.Series:
    """The times as `datetime64[us, UTC]`, same index, formats and zones mixed as they come; missing stays missing.

    Args:
        series: text, numbers (seconds, milli-, micro- or nanoseconds since 1970) or times. Empty text is missing. A time
            without a zone is UTC.
        where: what a message calls the place, e.g. a file and a column.
        rows: what a message calls each row; default: `row 1`, `row 2`, …
    Raises:
        UserError: names `where`, the first value that is no time (or could be two), and its row.
    """
    if isinstance(series.dtype, pd.DatetimeTZDtype):
        return series.dt.tz_convert("UTC").astype(UTC)
    if pd.api.types.is_datetime64_dtype(series.dtype):
        return series.dt.tz_localize("UTC").astype(UTC)
    text = _as_text(series)
    codes, unique = pd.factorize(text)  # people who label together submit together: few different times
    read = _read(pd.Series(unique, dtype="str"))
    bad = np.flatnonzero(read.isna().to_numpy())
    if len(bad):
        place = int(np.flatnonzero(np.isin(codes, bad))[0])
        count = int(np.isin(codes, bad).sum())
        raise UserError(_complaint(str(unique[codes[place]]), where, rows, place, count))
    values = np.append(read.to_numpy(dtype="datetime64[us]"), np.datetime64("NaT"))[codes]
    return pd.Series(values, index=series.index, name=series.name).dt.tz_localize("UTC").astype(UTC)


def _as_text(series: pd.Series) -> pd.Series:
    """Every value as text; numbers without an exponent and without the `.0` of a whole one."""
    if series.dtype.kind == "f" or series.dtype == object:
        plain = [None if pd.isna(value) else _plain(value) for value in series]
        series = pd.Series(plain, index=series.index, dtype=object)
    text = series.astype("str").str.strip()
    return text.mask(text.isin(["", "None", "NaT", "nan", "null"]))


def _plain(value: object) -> str:
    if not isinstance(value, float):
        return str(value)
    return str(int(value)) if value.is_integer() and abs(value) < 2**63 else f"{value:.6f}"


def _read(text: pd.Series) -> pd.Series:
    """Each text as a time without zone, in UTC; NaT where it is none."""
    read = pd.Series(np.datetime64("NaT", "us"), index=text.index)
    for pattern, make in ((_ISO, _iso), (_MTURK, _mturk), (_NUMBER, _number)):
        fits = text.str.fullmatch(pattern.pattern)
        if fits.any():
            parts = text[fits].str.extract(f"^(?:{pattern.pattern})$")
            read[fits.to_numpy()] = make(parts).to_numpy(dtype="datetime64[us]")
    return read


def _iso(parts: pd.DataFrame) -> pd.Series:
    clock = parts["clock"].fillna("00:00").str.replace(",", ".").astype("str")
    clock = clock.where(clock.str.len() > 5, clock + ":00")
    moment = _moment(parts["day"].str.replace("/", "-"), clock)
    return moment - _offset(parts["zone"])


def _mturk(parts: pd.DataFrame) -> pd.Series:
    month = parts["month"].map(_MONTHS).astype("Int64").astype("str").str.zfill(2)
    day = parts["year"] + "-" + month + "-" + parts["day"].str.zfill(2)
    return _moment(day, parts["clock"]) - _offset(parts["zone"])


def _moment(day: pd.Series, clock: pd.Series) -> pd.Series:
    """A day and a time of day; NaT for one that no calendar has."""
    read = pd.to_datetime(day + "T" + clock, format="ISO8601", errors="coerce", utc=True)
    return read.dt.tz_localize(None).astype("datetime64[us]")


def _offset(zone: pd.Series) -> pd.Series:
    """What a zone is ahead of UTC; missing for a name that is not known or could be several, zero without a zone."""
    hours = zone.map(ZONES).astype("float64")
    signed = zone.str.extract(r"^([+-])(\d{2}):?(\d{2})?$")
    minutes = signed[1].astype("float64") * 60 + signed[2].astype("float64").fillna(0)
    minutes = minutes.where(minutes <= 14 * 60)  # no place on Earth is further ahead
    ahead = minutes * signed[0].map({"+": 1, "-": -1}).astype("float64")
    total = (hours * 60).where(hours.notna(), ahead)
    return pd.to_timedelta(total.mask(zone.isna(), 0), unit="min")


def _number(parts: pd.DataFrame) -> pd.Series:
    whole = [int(value) for value in parts["whole"]]
    part = [float(value) if isinstance(value, str) else 0.0 for value in parts["part"]]
    micro = [_micro(number, rest) for number, rest in zip(whole, part, strict=True)]
    values = np.array([np.datetime64(m, "us") if m is not None else np.datetime64("NaT", "us") for m in micro])
    return pd.Series(values.astype("datetime64[us]"), index=parts.index)


def _micro(number: int, rest: float) -> int | None:
    """A count since 1970 as microseconds, its unit told by its size; None where it is too small to be one."""
    if number < _FIRST:
        return None
    for limit, scale in _UNITS:
        if number < limit:
            return number * scale + round(rest * scale)
    return number // 1000


def _complaint(value: str, where: str | Path, rows: Sequence[object] | None, place: int, count: int) -> str:
    row = rows[place] if rows is not None else f"row {place + 1}"
    more = f" (and {count - 1} more)" if count > 1 else ""
    if _SLASHED.fullmatch(value):
        said = "could be day or month first"
    elif (zone := re.search(r"\b([A-Z]{2,5})\b(?: \d{4})?$", value)) and zone.group(1) not in ZONES:
        said = f"has a zone {zone.group(1)!r} that is not known here"
    else:
        said = "is not a time"
    return (
        f"{where}: {row}: {value!r} {said}{more}; write times like 2026-01-05T10:20:30Z or 2026-01-05 10:20:30-03:00, "
        "as MTurk does (Mon Jan 05 10:20:30 PST 2026), or as seconds since 1970"
    )
