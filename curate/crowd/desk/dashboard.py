"""The requester's dashboard: how far the work is, what it costs, who answers how, and where they differ."""

from __future__ import annotations

import threading
import time
from contextlib import closing
from typing import Any

from starlette.responses import Response

from curate.crowd.desk import facts as known
from curate.crowd.desk.actions import Actions
from curate.crowd.desk.facts import records
from curate.crowd.desk.room import Crowd, Room
from curate.crowd.desk.visit import Visit, route
from curate.crowd.figures import Figures, answers_an_hour, figures
from schemas.errors import UserError

FRESH = 5  # seconds that the crowd's figures are good for: it is asked page by page
SHOWN = 24  # disputes on the dashboard
_lock = threading.Lock()
_asked: dict[int, tuple[float, Figures, dict[str, str] | None]] = {}


def home(visit: Visit) -> Response:
    """The dashboard. Its script fetches it again and again, and puts the new figures in place of the old ones."""
    room, crowd = visit.room, _crowd(visit.room)
    facts, (now_, blocked) = crowd.facts(), _ask(visit.room, crowd)
    hours = answers_an_hour(facts.votes)
    agreed, enough = known.agreed(facts, room.task)
    disputed = known.disputes(facts, room.task, final=False)
    decided = room.deck.decided()
    read = facts.votes.loc[facts.votes["endpoint"] == crowd.requester.endpoint, "assignment_id"].nunique()
    there = now_.assignments["submitted"] + now_.assignments["judged"]
    return visit.page(
        "dashboard.html",
        figures=now_, hours=hours, most=max(hours), facts=facts, agreed=agreed, enough=enough,
        unread=max(0, there - read), waiting=len(_actions(visit).waiting()), workers=_workers(facts, blocked),
        disputed=len(disputed), open_disputes=sum(i not in decided for i in disputed),
        disputes=[(i, votes, decided.get(i)) for i, votes in known.said(facts, disputed[:SHOWN]).items()],
        final=set(known.disputes(facts, room.task)), said=visit.request.query_params.get("said", ""),
        names=_names(visit), blocks_known=blocked is not None, endpoint=crowd.requester.endpoint,
    )  # fmt: skip


def worker(visit: Visit) -> Response:
    """One worker: the record, the answers, and what can be done."""
    crowd, worker_id = _crowd(visit.room), visit.request.path_params["identifier"]
    facts, (_, blocked) = crowd.facts(), _ask(visit.room, crowd)
    votes = facts.votes[facts.votes["worker_id"] == worker_id]
    if votes.empty:
        raise UserError(f"worker {worker_id}: no answer of theirs to {visit.room.task.task} has been read")
    rows = [row for row in _workers(facts, blocked) if row["worker_id"] == worker_id]
    answers: dict[str, dict[str, Any]] = {}
    for vote in records(votes.sort_values("submitted_at", ascending=False)):
        one = answers.setdefault(vote["assignment_id"], {**vote, "votes": []})
        one["votes"].append(vote)
    return visit.page(
        "worker.html",
        worker_id=worker_id, row=rows[0] if rows else None, answers=list(answers.values()), names=_names(visit),
        waiting=len(_actions(visit).waiting(worker_id)), blocked=(blocked or {}).get(worker_id),
        endpoint=crowd.requester.endpoint, said=visit.request.query_params.get("said", ""),
    )  # fmt: skip


def ask(visit: Visit) -> Response:
    """Say what an action would do, and let the person confirm it."""
    token, plan = _actions(visit).plan(visit.fields)
    return visit.page("confirm.html", token=token, plan=plan, back=_back(visit.fields.get("back", "")))


def confirm(visit: Visit) -> Response:
    """Do what was confirmed, once."""
    said = _actions(visit).confirm(visit.fields.get("token", ""))
    _asked.clear()
    return visit.page("acted.html", said=said, back=_back(visit.fields.get("back", "")))


def collect(visit: Visit) -> Response:
    """Read the answers that came in, as `curate hits collect` does."""
    said = _crowd(visit.room).collect()
    _asked.clear()
    return visit.page("acted.html", said=said, back="/")


def _back(path: str) -> str:
    """Where the person came from, if that is a page of ours."""
    return path if path.startswith("/worker/") else "/"


def _crowd(room: Room) -> Crowd:
    assert room.crowd is not None
    return room.crowd


def _actions(visit: Visit) -> Actions:
    actions: Actions = visit.request.app.state.actions
    return actions


def _ask(room: Room, crowd: Crowd) -> tuple[Figures, dict[str, str] | None]:
    """The crowd's figures, and who is blocked (None where the crowd does not say); asked anew after some seconds."""
    with _lock:
        held = _asked.get(id(room))
        if held is None or time.monotonic() - held[0] > FRESH:
            with closing(room.workspace.project()) as project:
                found = figures(project, crowd.requester, room.task)
            try:
                blocked: dict[str, str] | None = crowd.requester.blocked()
            except UserError:
                blocked = None
            held = _asked[id(room)] = (time.monotonic(), found, blocked)
        return held[1], held[2]


def _workers(facts: known.Facts, blocked: dict[str, str] | None) -> list[dict[str, Any]]:
    """WORKERS with what waits for a verdict and who is blocked."""
    own = facts.votes[facts.votes["assignment_status"] == "Submitted"].drop_duplicates("assignment_id")
    waiting = own["worker_id"].value_counts().to_dict()
    rows = records(facts.workers)
    for row in rows:
        row["waiting"] = waiting.get(row["worker_id"], 0)
        row["blocked"] = (blocked or {}).get(row["worker_id"])
        row["flags"] = list(row["flags"]) if row["flags"] is not None else []
    return rows


def _names(visit: Visit) -> dict[str, str]:
    return {answer.key: answer.name for answer in visit.room.answers(visit.language)}


ROUTES = [
    route("/", home),
    route("/worker/{identifier}", worker),
    route("/ask", ask, "POST"),
    route("/confirm", confirm, "POST"),
    route("/collect", collect, "POST"),
]
