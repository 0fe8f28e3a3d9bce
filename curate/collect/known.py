"""Known classes of pictures that an import read: they go to TRUTH, which only scoring and simulated workers may read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from curate.collect.intake import Intake
from curate.collect.merge import join_rows
from curate.workspace import Workspace
from schemas.tables import TRUTH


@dataclass(frozen=True)
class Known:
    """How many pictures have a known class, and how many stand under two, so have none."""

    labels: int = 0
    torn: int = 0


# Only of listings that this run read: what a source says no more is not taken from an earlier run.
_LABELS = """
SELECT p.image_id, min(json_extract(p.data, '$.label')), count(DISTINCT json_extract(p.data, '$.label'))
FROM frontier l JOIN gallery g USING (marketplace, listing_id) JOIN frontier p ON p.url = g.url
WHERE l.kind = 'listing' AND l.final_url = ? AND l.fetched_at = ? AND p.kind = 'file' AND p.state = 'done'
    AND json_extract(p.data, '$.label') IS NOT NULL
GROUP BY p.image_id
"""


def write_truth(workspace: Workspace, intake: Intake, task: str, source: str) -> Known:
    """Write TRUTH of a task from the files of a source; a picture filed under two classes has none."""
    db = intake.db
    db.execute("CREATE TEMP TABLE IF NOT EXISTS known (image_id TEXT PRIMARY KEY, label TEXT, labels INTEGER)")
    db.execute("DELETE FROM temp.known")
    db.execute(f"INSERT INTO temp.known {_LABELS}", (intake.source, intake.at))
    counts = db.execute("SELECT sum(labels = 1), sum(labels > 1) FROM temp.known").fetchone()
    found = Known(counts[0] or 0, counts[1] or 0)
    if found.labels or found.torn:
        join_rows(
            TRUTH, workspace.of_task(task, "truth"), _rows(intake, task, source), lambda row: not _is_told(intake, row)
        )
    return found


def _rows(intake: Intake, task: str, source: str) -> Iterator[dict[str, Any]]:
    for row in intake.db.execute("SELECT image_id, label FROM temp.known WHERE labels = 1 ORDER BY image_id"):
        yield {"image_id": row["image_id"], "task": task, "label": row["label"], "source": source}


def _is_told(intake: Intake, row: Any) -> bool:
    return intake.db.execute("SELECT 1 FROM temp.known WHERE image_id = ?", (row["image_id"],)).fetchone() is not None
