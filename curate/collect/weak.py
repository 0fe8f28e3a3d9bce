"""WEAK_LABELS: what sellers say of a picture's product, in any language, and the class it stands for. Never a label."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from curate.collect.intake import Intake
from curate.collect.merge import join_rows
from curate.collect.value_map import alike
from curate.workspace import Workspace
from schemas.tables import WEAK_LABELS

SHOWN = 10  # values without a class that are printed
_PICTURES = """
SELECT DISTINCT p.image_id FROM gallery g JOIN frontier p ON p.url = g.url AND p.state = 'done'
WHERE g.marketplace = ? AND g.listing_id = ?
"""
_LISTINGS = """
SELECT marketplace, listing_id, data FROM frontier
WHERE kind = 'listing' AND final_url = ? AND json_extract(data, '$.weak') <> '{}'
"""


def write_weak_labels(workspace: Workspace, intake: Intake, maps: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Write WEAK_LABELS of a source anew from its listings; returns what is worth saying of values without a class.

    Args:
        maps: for an attribute, class key by value, as `value_map.alike` writes it.
    """
    db = intake.db
    unmapped: dict[str, Counter[str]] = {name: Counter() for name in maps}
    db.execute(
        "CREATE TEMP TABLE IF NOT EXISTS weak (image_id TEXT, attribute TEXT, language TEXT, value TEXT, label TEXT,"
        " PRIMARY KEY (image_id, attribute, language, value)) WITHOUT ROWID"
    )
    db.execute("DELETE FROM temp.weak")
    db.execute("BEGIN")
    for listing in db.execute(_LISTINGS, (intake.source,)):
        shown = [row[0] for row in db.execute(_PICTURES, (listing["marketplace"], listing["listing_id"]))]
        for attribute, language, value, label in _said(json.loads(listing["data"])["weak"], maps):
            if label is None and attribute in maps:
                unmapped[attribute][value] += 1
            rows = ((image_id, attribute, language, value, label) for image_id in shown)
            db.executemany("INSERT OR IGNORE INTO temp.weak VALUES (?, ?, ?, ?, ?)", rows)
    db.execute("COMMIT")
    join_rows(WEAK_LABELS, workspace.table("weak_labels"), _rows(intake), lambda row: row["source"] != intake.source)
    return [_told(name, counts) for name, counts in unmapped.items() if counts]


def _said(
    weak: dict[str, list[list[str]]], maps: Mapping[str, Mapping[str, str]]
) -> Iterator[tuple[str, str, str, str | None]]:
    """Attribute, language, value and class of each thing said; the class by the text, else by a standardized one."""
    for attribute, values in weak.items():
        known = maps.get(attribute, {})
        for language, *texts in values:
            yield attribute, language, texts[0], next((known[alike(one)] for one in texts if alike(one) in known), None)


def _rows(intake: Intake) -> Iterator[dict[str, Any]]:
    for row in intake.db.execute("SELECT * FROM temp.weak ORDER BY image_id, attribute, language, value"):
        yield {**dict(row), "source": intake.source}


def _told(attribute: str, counts: Counter[str]) -> str:
    most = ", ".join(f"{value!r} {count}" for value, count in counts.most_common(SHOWN))
    rest = f" and {len(counts) - SHOWN} more" if len(counts) > SHOWN else ""
    return f"{attribute}: {counts.total()} values are in no class of the map: {most}{rest}"
