"""Practice: pictures to learn on before the entry test. The page says at once what was right and why; nothing is scored or kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sqlalchemy import select
from starlette.responses import JSONResponse, Response

from curate.crowd.server import qualifying, rules, workers
from curate.crowd.server.errors import WorkerError
from curate.crowd.server.labeling import Sheet, sheet_of_task
from curate.crowd.server.schema import hit_types
from curate.crowd.server.sheet_page import sheet_page
from curate.crowd.server.store import one
from curate.crowd.server.visit import Visit, route
from schemas.question import TaskPage


def practice_page(visit: Visit) -> Response:
    """The practice of a HIT type, for everybody who can see its HITs."""
    worker, hit_type_id = visit.worker(), visit.request.path_params["identifier"]
    with visit.store.reading() as connection:
        kind = one(connection, select(hit_types).where(hit_types.c.hit_type_id == hit_type_id))
        task = workers.task_of(connection, hit_type_id) if kind else None
        held = rules.values_of(connection, worker.worker_id)
        blocked = kind is not None and qualifying.blocked(connection, kind.requester, worker.worker_id)
    if kind is None or task is None or not task.practice or blocked or not rules.may("Discover", kind, held):
        raise WorkerError("no_practice", 404)
    if visit.json:
        return JSONResponse({"title": kind.title, "practice": [each.model_dump() for each in task.practice]})
    group = next((g for g in workers.work_for(visit.store, worker) if g.hit_type_id == hit_type_id), None)
    tests = [q.test_url for q in group.qualifications if q.test_url and not q.retry_at] if group else []
    sheet = _sheet(task, visit)
    return sheet_page(visit, sheet, "practice", hit_type_id, kind.title, tests=tests)


def _sheet(task: TaskPage, visit: Visit) -> Sheet:
    asked: dict[str, Any] = {"pictures": list(task.practice)}
    sheet = sheet_of_task(task.model_copy(update=asked), visit.language, "", visit.has_picture)
    items = [
        replace(item, truth=each.label, explanation=each.explanation)
        for item, each in zip(sheet.items, task.practice, strict=True)
    ]
    return replace(sheet, items=items, cannot_see=None)


ROUTES = [route("/practice/{identifier}", practice_page)]
