"""Panels: strangers arrive by an address that carries who they are there, and leave by a completion address or a code."""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any
from urllib.parse import quote, urlsplit

from sqlalchemy import Connection, func, insert, select, update

from curate.crowd.server import rules, sessions
from curate.crowd.server.errors import WorkerError
from curate.crowd.server.schema import arrivals, assignments, emails, invitations, panels, workers
from curate.crowd.server.sessions import Place
from curate.crowd.server.store import Store, now, one
from schemas.errors import UserError

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_VALUE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@:-]{0,127}")  # never {{%PROLIFIC_PID%}}, the template left unfilled
_FIELDS = ("code", "worker", "study", "session")
KNOWN: Mapping[str, Mapping[str, str]] = {
    "prolific": {
        "worker_parameter": "PROLIFIC_PID",
        "study_parameter": "STUDY_ID",
        "session_parameter": "SESSION_ID",
        "completion_url": "https://app.prolific.com/submissions/complete?cc={code}",
    },
    "connect": {
        "worker_parameter": "participantId",
        "study_parameter": "projectId",
        "session_parameter": "assignmentId",
    },
}


@dataclass(frozen=True)
class Arrival:
    """Who comes, as the panel says it."""

    worker: str
    study: str | None
    session: str | None


def add(store: Store, name: str, given: Mapping[str, Any], min_assignments: int = 1) -> Any:
    """Make a panel; what is not given comes from the known one of that name. Raises UserError for what cannot be."""
    values = {**KNOWN.get(name, {}), **{key: value for key, value in given.items() if value is not None}}
    _check(name, values, min_assignments)
    row = {"panel": name, **values, "min_assignments": min_assignments, "created_at": now()}
    with store.writing() as connection:
        if one(connection, select(panels).where(panels.c.panel == name)):
            changed = update(panels).where(panels.c.panel == name)
            connection.execute(changed.values(**{**_EMPTY, **row, "closed_at": None}))
        else:
            connection.execute(insert(panels).values(**row))
        return one(connection, select(panels).where(panels.c.panel == name))


_EMPTY = dict.fromkeys(("study_parameter", "session_parameter", "completion_url", "completion_code"))


def _check(name: str, values: Mapping[str, Any], min_assignments: int) -> None:
    if not _NAME.fullmatch(name):
        raise UserError(f"a panel's name has lower-case letters, digits and dashes, got {name!r}")
    if "worker_parameter" not in values:
        raise UserError(f"panel {name}: --worker-parameter says which part of the arrival address names the person")
    for key in ("worker_parameter", "study_parameter", "session_parameter"):
        if (value := values.get(key)) and not _PARAMETER.fullmatch(value):
            raise UserError(f"--{key.replace('_', '-')} is no name of a query parameter: {value!r}")
    if (code := values.get("completion_code")) and not _VALUE.fullmatch(code):
        raise UserError(f"--completion-code has letters, digits, dots and dashes, got {code!r}")
    if not 1 <= min_assignments <= 10_000:
        raise UserError(f"--min-assignments goes from 1 to 10000, got {min_assignments}")
    if url := values.get("completion_url"):
        _check_url(name, url, values)


def _check_url(name: str, url: str, values: Mapping[str, Any]) -> None:
    try:
        fields = {field for _, field, spec, how in Formatter().parse(url) if field is not None and not (spec or how)}
    except ValueError:
        fields = {url}
    if not fields <= set(_FIELDS) or urlsplit(url).scheme not in ("https", "http") or not urlsplit(url).hostname:
        raise UserError(f"--completion-url {url!r}: give a https address; it may hold {{{'}, {'.join(_FIELDS)}}}")
    if name == "prolific" and "{code}" in url and not values.get("completion_code"):
        raise UserError("panel prolific: --completion-code is needed; the study's page at Prolific shows it")


def close(store: Store, name: str) -> None:
    """Nobody arrives from there any more; who came stays."""
    with store.writing() as connection:
        closed = update(panels).where(panels.c.panel == name, panels.c.closed_at.is_(None)).values(closed_at=now())
        if not connection.execute(closed).rowcount:
            raise UserError(f"no open panel {name!r}; `curate crowd panels list` shows them")


def listing(store: Store) -> list[Any]:
    """The panels, each with how many people `came` and `left`."""
    came, gone = func.count(arrivals.c.worker_id).label("came"), func.count(arrivals.c.left_at).label("left")
    counted = select(panels, came, gone).outerjoin(arrivals, arrivals.c.panel == panels.c.panel)
    with store.reading() as connection:
        return list(connection.execute(counted.group_by(panels.c.panel).order_by(panels.c.panel)).all())


def arrival_url(base: str, row: Any) -> str:
    """Where the panel sends people, as it is typed there."""
    if row.panel == "prolific":
        return f"{base}/arrive/prolific?PROLIFIC_PID={{{{%PROLIFIC_PID%}}}}&STUDY_ID={{{{%STUDY_ID%}}}}&SESSION_ID={{{{%SESSION_ID%}}}}"
    names = [name for name in (row.worker_parameter, row.study_parameter, row.session_parameter) if name]
    return f"{base}/arrive/{row.panel}?" + "&".join(f"{name}=…" for name in names)


def look(store: Store, name: str) -> Any:
    """An open panel; raises WorkerError when there is none."""
    with store.reading() as connection:
        row = one(connection, select(panels).where(panels.c.panel == name))
    if row is None or row.closed_at is not None:
        raise WorkerError("no_panel", 404)
    return row


def read_arrival(panel: Any, query: Mapping[str, str]) -> Arrival:
    """Who arrives, from the query of the address; raises WorkerError where it names nobody or holds something odd."""
    names = (panel.worker_parameter, panel.study_parameter, panel.session_parameter)
    values = [query.get(name) if name else None for name in names]
    if not values[0] or any(value and not _VALUE.fullmatch(value) for value in values):
        raise WorkerError("bad_arrival", 400)
    return Arrival(values[0], values[1] or None, values[2] or None)


def arrive(store: Store, panel: Any, who: Arrival, place: Place) -> str:
    """The session token of the panel's person: the same one as last time, else somebody new.

    An arrival address is no secret, so it never opens the account of somebody who has another way in.
    """
    table = arrivals.c
    with store.writing() as connection:
        mine = (table.panel == panel.panel, table.panel_worker == who.worker)
        known = one(connection, select(arrivals).where(*mine))
        if known is None:
            worker_id = sessions.new_worker(connection, panel.panel, False, f"panel {panel.panel}").worker_id
            values = {"panel": panel.panel, "panel_worker": who.worker, "worker_id": worker_id}
            connection.execute(insert(arrivals).values(**values, arrived_at=now()))
        elif _has_another_way(connection, known.worker_id):
            raise WorkerError("arrived_otherwise", 403)
        else:
            worker_id = known.worker_id
        left = known.left_at if known is not None and known.session == who.session else None
        changed = update(arrivals).where(*mine)
        connection.execute(changed.values(study=who.study, session=who.session, left_at=left))
        return sessions.admit(connection, worker_id, place)


def _has_another_way(connection: Connection, worker_id: str) -> bool:
    came_by = connection.scalar(select(workers.c.came_by).where(workers.c.worker_id == worker_id)) or ""
    mailed = connection.scalar(select(func.count()).where(emails.c.worker_id == worker_id))
    invited = connection.scalar(select(func.count()).where(invitations.c.worker_id == worker_id))
    return not came_by.startswith("panel ") or bool(mailed or invited)


def lets_in_again(store: Store, worker_id: str) -> bool:
    """Whether somebody comes in again as themselves by the address at which they arrived."""
    here = select(arrivals.c.panel).join(panels, panels.c.panel == arrivals.c.panel)
    still = here.where(arrivals.c.worker_id == worker_id, panels.c.closed_at.is_(None)).limit(1)
    with store.reading() as connection:
        return connection.scalar(still) is not None and not _has_another_way(connection, worker_id)


def panel_of(store: Store, worker_id: str) -> Any:
    """The panel from which a worker came last, with their arrival, or None."""
    rows = select(arrivals, panels).join(panels, panels.c.panel == arrivals.c.panel)
    mine = rows.where(arrivals.c.worker_id == worker_id).order_by(arrivals.c.arrived_at.desc()).limit(1)
    with store.reading() as connection:
        return one(connection, mine)


@dataclass(frozen=True)
class Leaving:
    """Whether somebody from a panel is done, and how they say so there."""

    submitted: int
    needed: int
    code: str
    url: str | None

    @property
    def done(self) -> bool:
        """Whether they have sent in enough."""
        return self.submitted >= self.needed


def leaving(store: Store, secret: str, worker_id: str) -> Leaving:
    """How a worker leaves; raises WorkerError when they came from no panel. Once they are done, this is when they left."""
    row = panel_of(store, worker_id)
    if row is None:
        raise WorkerError("no_panel", 404)
    sent = select(func.count()).where(assignments.c.worker_id == worker_id, assignments.c.status.in_(rules.DONE))
    with store.reading() as connection:
        submitted = connection.scalar(sent) or 0
    code = row.completion_code or worker_code(secret, row.panel, row.study, worker_id)
    values = {"code": code, "worker": row.panel_worker, "study": row.study or "", "session": row.session or ""}
    quoted = {name: quote(value, safe="") for name, value in values.items()}
    found = Leaving(submitted, row.min_assignments, code, row.completion_url and row.completion_url.format(**quoted))
    if found.done and row.left_at is None:
        _left(store, row)
    return found


def _left(store: Store, row: Any) -> None:
    mine = (arrivals.c.panel == row.panel, arrivals.c.panel_worker == row.panel_worker)
    with store.writing() as connection:
        connection.execute(update(arrivals).where(*mine, arrivals.c.left_at.is_(None)).values(left_at=now()))


def worker_code(secret: str, panel: str, study: str | None, worker_id: str) -> str:
    """The code of one worker in one study: an HMAC that nobody makes up, and that the owner can check."""
    mac = hmac.new(secret.encode(), f"completion\0{panel}\0{study or ''}\0{worker_id}".encode(), hashlib.sha256)
    return base64.b32encode(mac.digest())[:10].decode()


def codes(store: Store, secret: str, name: str) -> list[dict[str, Any]]:
    """Who came from a panel, with what they sent in and the code that they were shown: for paying them there."""
    sent = func.count(assignments.c.assignment_id).label("submitted")
    mine = (assignments.c.worker_id == arrivals.c.worker_id) & assignments.c.status.in_(rules.DONE)
    rows = select(arrivals, sent).outerjoin(assignments, mine).where(arrivals.c.panel == name)
    with store.reading() as connection:
        panel = one(connection, select(panels).where(panels.c.panel == name))
        if panel is None:
            raise UserError(f"no panel {name!r}; `curate crowd panels list` shows them")
        found = connection.execute(rows.group_by(*arrivals.c).order_by(arrivals.c.arrived_at)).all()
    return [
        {
            "panel_worker": row.panel_worker,
            "worker_id": row.worker_id,
            "study": row.study,
            "session": row.session,
            "submitted": row.submitted,
            "code": panel.completion_code or worker_code(secret, name, row.study, row.worker_id),
            "left": row.left_at is not None,
        }
        for row in found
    ]
