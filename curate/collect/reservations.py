"""What a site reserves by the TDM Reservation Protocol, in one file for all of it: /.well-known/tdmrep.json."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from curate.collect.robots import OncePerSite, Read

PLACE = "/.well-known/tdmrep.json"
MOST = 1_000  # entries of a file that are read
_SAYS = (("TDM-Reservation", "1 (tdmrep.json)"),)

Reserved = list[tuple[str, bool]]  # location, and whether it is reserved


class Reservations:
    """What every site met so far reserves. A site without the file, or with one that nobody can read, reserves nothing by it."""

    def __init__(self, read: Read, clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._sites = OncePerSite(self._fetch, clock)

    async def header(self, url: str) -> Sequence[tuple[str, str]]:
        """The header by which an answer would say what the file says of `url`; none where it is not reserved."""
        said = await self._sites.of(url)
        return _SAYS if said and is_reserved(said, url) else ()

    async def _fetch(self, origin: str) -> Reserved:
        try:
            status, body = await self._read(origin + PLACE)
        except OSError:
            return []
        return read_reservations(body) if status == 200 else []


def read_reservations(body: bytes) -> Reserved:
    """The entries of a tdmrep.json; those that say nothing of a location are left out."""
    try:
        entries = json.loads(body.decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        return []
    entries = entries if isinstance(entries, list) else [entries]
    return [said for entry in entries[:MOST] if (said := _entry(entry))]


def _entry(entry: Any) -> tuple[str, bool] | None:
    location = entry.get("location") if isinstance(entry, dict) else None
    if not isinstance(location, str) or location[:1] not in ("/", "*"):
        return None
    return unquote(location), str(entry.get("tdm-reservation")) in ("1", "True")


def is_reserved(said: Reserved, url: str) -> bool:
    """Whether the longest location that fits the address is reserved, as robots.txt is read; of equally long ones any."""
    parts = urlsplit(url)
    path = unquote(f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/")
    fitting = [(len(location), reserved) for location, reserved in said if _fits(location, path)]
    return max(fitting, default=(0, False))[1]


def _fits(location: str, path: str) -> bool:
    """Whether a path begins like a location, in which * stands for anything and $ for the end."""
    first, *rest = location.removesuffix("$").split("*")
    whole = location.endswith("$")
    if not path.startswith(first):
        return False
    if not rest:
        return path == first if whole else True
    at = len(first)
    for part in rest[:-1]:
        found = path.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return path.endswith(rest[-1]) and len(path) - len(rest[-1]) >= at if whole else path.find(rest[-1], at) >= 0
