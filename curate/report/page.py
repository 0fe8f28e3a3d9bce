"""The report: one HTML page with everything in it, pictures included, that can be mailed, printed and kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import jinja2

from curate.report import agreement, galleries, models, numbers
from curate.report.gather import Collection
from curate.report.models import Run
from schemas.question import say


def render(data: Collection, runs: Sequence[Run], now: datetime, seed: int = 0) -> str:
    """The whole page as text: what is not there yet is left out of it."""
    loader = jinja2.FileSystemLoader(Path(__file__).parent / "templates")
    pages = jinja2.Environment(
        loader=loader, autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    pages.filters["percent"] = numbers.percent
    return pages.get_template("report.html").render(
        data=data,
        now=now,
        question=say(data.task.question, "en"),
        names={one.key: say(one.name, "en") for one in data.task.classes},
        thumb=galleries.Thumbs(data),
        tiles=numbers.tiles(data),
        funnel=numbers.funnel(data),
        markets=numbers.markets(data),
        examples=galleries.examples(data, seed),
        glance=galleries.newest_pictures(data, seed) if data.labels.empty else [],
        splits=numbers.splits(data),
        people=numbers.people_confusion(data),
        workers=numbers.workers(data),
        agreed=agreement.agreement(data),
        confused=agreement.confused_pairs(data),
        disagreements=galleries.disagreements(data),
        clusters=galleries.clusters(data),
        runs=runs,
        table=models.paper_table(runs),
        notes=models.notes(runs) if runs else [],
        per_class=models.per_class(runs) if runs else [],
        confusions=models.confusions(runs),
        mistakes=[(run.title, models.mistakes(run)) for run in runs],
        truth=dict(zip(data.truth["image_id"], data.truth["label"], strict=True)),
    )
