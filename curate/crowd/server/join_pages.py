"""How people come in by name and go: sign-up and sign-out."""

from __future__ import annotations

from starlette.responses import JSONResponse, RedirectResponse, Response

from curate.crowd.server import panels, sessions
from curate.crowd.server.errors import WorkerError
from curate.crowd.server.visit import COOKIE, VISITOR, Visit, offer_form, route, sign_in


def join_page(visit: Visit) -> Response:
    """The sign-up form."""
    known = sessions.who(visit.store, visit.token)
    form_csrf, way = sessions.csrf(visit.visitor), visit.request.app.state.signup
    if visit.json:
        reply: Response = JSONResponse({"csrf": form_csrf, "open": way == "open"})
    else:
        reply = visit.page("join.html", worker=known, way=way, join_csrf=form_csrf)
    return offer_form(visit, reply)


def join(visit: Visit) -> Response:
    """Sign up by name."""
    visit.check_form(visit.request.cookies.get(VISITOR))
    if visit.request.app.state.signup != "open":
        raise WorkerError("closed", 403)
    simulated = visit.form.get("simulated") == "1"
    _, token = sessions.join(visit.store, str(visit.form.get("name", "")), simulated, visit.place)
    return sign_in(visit, token)


def leave(visit: Visit) -> Response:
    """Sign out; asked twice, since a session may be all that ties a person to their record."""
    visit.check_form(visit.token)
    if visit.form.get("sure") != "1":
        return visit.page("leave.html", way_back=_way_back(visit))
    sessions.leave(visit.store, visit.token or "")
    reply = RedirectResponse("/join", 303)
    reply.delete_cookie(COOKIE)
    return reply


def _way_back(visit: Visit) -> str:
    """How somebody who signs out comes in again as themselves: email, panel, invitation, or none (empty)."""
    worker = visit.worker(consenting=True)
    if visit.request.app.state.signup == "email" and sessions.has_email(visit.store, worker):
        return "email"
    if panels.lets_in_again(visit.store, worker.worker_id):
        return "panel"
    return "invitation" if worker.came_by != "name" else ""


ROUTES = [
    route("/join", join_page),
    route("/join", join, "POST"),
    route("/leave", leave, "POST"),
]
