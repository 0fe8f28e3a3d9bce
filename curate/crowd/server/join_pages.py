"""How people come in and go: sign-up and sign-out."""

from __future__ import annotations

from starlette.responses import JSONResponse, RedirectResponse, Response

from curate.crowd.server import sessions
from curate.crowd.server.errors import WorkerError
from curate.crowd.server.visit import COOKIE, VISITOR, YEAR, Visit, route, set_cookie


def join_page(visit: Visit) -> Response:
    """The sign-up form."""
    known = sessions.who(visit.store, visit.token)
    if visit.json:
        reply: Response = JSONResponse({"csrf": sessions.csrf(visit.visitor), "open": visit.request.app.state.signup})
    else:
        form_csrf = sessions.csrf(visit.visitor)
        reply = visit.page("join.html", worker=known, open=visit.request.app.state.signup, join_csrf=form_csrf)
    set_cookie(visit, reply, VISITOR, visit.visitor, 24 * 3600)
    return reply


def join(visit: Visit) -> Response:
    """Sign up by name."""
    visit.check_form(visit.request.cookies.get(VISITOR))
    if not visit.request.app.state.signup:
        raise WorkerError("closed", 403)
    simulated = visit.form.get("simulated") == "1"
    _, token = sessions.join(visit.store, str(visit.form.get("name", "")), simulated)
    reply = RedirectResponse("/work", 303)
    set_cookie(visit, reply, COOKIE, token, YEAR)
    return reply


def leave(visit: Visit) -> Response:
    """Sign out; asked twice, since a session is all that ties a person to their record."""
    visit.check_form(visit.token)
    if visit.form.get("sure") != "1":
        return visit.page("leave.html")
    sessions.leave(visit.store, visit.token or "")
    reply = RedirectResponse("/join", 303)
    reply.delete_cookie(COOKIE)
    return reply


ROUTES = [
    route("/join", join_page),
    route("/join", join, "POST"),
    route("/leave", leave, "POST"),
]
