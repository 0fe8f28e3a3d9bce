"""How people get in by a link, by e-mail or from a panel; the consent text; how people from a panel leave.

A GET shows a page and a POST with that page's secret does it: no other site signs anybody in, no mail scanner spends a code.
"""

from __future__ import annotations

from starlette.responses import JSONResponse, RedirectResponse, Response

from curate.crowd.server import consent, invitations, panels, sessions, signup
from curate.crowd.server.errors import WorkerError
from curate.crowd.server.visit import VISITOR, Visit, offer_form, route, sign_in


def invited_page(visit: Visit) -> Response:
    """The page of an invitation link."""
    row = invitations.look(visit.store, visit.request.path_params["code"])
    again = row.worker_id is not None
    page = visit.page("invited.html", again=again, join_csrf=sessions.csrf(visit.visitor))
    page.headers["Referrer-Policy"] = "no-referrer"  # the code stands in the address
    return offer_form(visit, page)


def invited(visit: Visit) -> Response:
    """Come in with an invitation."""
    visit.check_form(visit.request.cookies.get(VISITOR))
    code, name = visit.request.path_params["code"], str(visit.form.get("name", ""))
    return sign_in(visit, invitations.come(visit.store, code, name, visit.place))


def email_page(visit: Visit) -> Response:
    """Where the code from the mail is typed."""
    _by_email(visit)
    return offer_form(visit, visit.page("email.html", email="", sent=False, join_csrf=sessions.csrf(visit.visitor)))


def ask_code(visit: Visit) -> Response:
    """Have a code mailed."""
    visit.check_form(visit.request.cookies.get(VISITOR))
    _by_email(visit)
    email, name = signup.check_email(str(visit.form.get("email", ""))), str(visit.form.get("name", ""))
    base = str(visit.request.base_url).rstrip("/")
    secret = visit.request.app.state.secret
    signup.send_code(visit.store, secret, email, name, visit.place, base, visit.language)
    return visit.page("email.html", email=email, sent=True, join_csrf=sessions.csrf(visit.visitor))


def spend_code(visit: Visit) -> Response:
    """Come in with a code from a mail."""
    visit.check_form(visit.request.cookies.get(VISITOR))
    _by_email(visit)
    email, code = str(visit.form.get("email", "")), str(visit.form.get("code", ""))
    return sign_in(visit, signup.spend_code(visit.store, visit.request.app.state.secret, email, code, visit.place))


def _by_email(visit: Visit) -> None:
    if visit.request.app.state.signup != "email":
        raise WorkerError("closed", 403)


def arrive_page(visit: Visit) -> Response:
    """The page on which people from a panel arrive."""
    panel = panels.look(visit.store, visit.request.path_params["panel"])
    panels.read_arrival(panel, visit.request.query_params)
    names = (panel.worker_parameter, panel.study_parameter, panel.session_parameter)
    query = visit.request.query_params
    kept = [(name, query[name]) for name in names if name and name in query]
    page = visit.page("arrive.html", panel=panel, values=kept, join_csrf=sessions.csrf(visit.visitor))
    page.headers["Referrer-Policy"] = "no-referrer"
    return offer_form(visit, page)


def arrive(visit: Visit) -> Response:
    """Start as somebody from a panel."""
    visit.check_form(visit.request.cookies.get(VISITOR))
    panel = panels.look(visit.store, visit.request.path_params["panel"])
    who = panels.read_arrival(panel, dict(visit.fields()))
    return sign_in(visit, panels.arrive(visit.store, panel, who, visit.place))


def done_page(visit: Visit) -> Response:
    """How somebody from a panel says there that they are done."""
    found = panels.leaving(visit.store, visit.request.app.state.secret, visit.worker().worker_id)
    if visit.json:
        return JSONResponse({"done": found.done, "submitted": found.submitted, "needed": found.needed})
    return visit.page("done.html", leaving=found)


def consent_page(visit: Visit) -> Response:
    """The words to accept, or the ones accepted already."""
    worker = visit.worker(consenting=True)
    held = consent.current(visit.store)
    if held is None:
        return RedirectResponse("/work", 303)
    if visit.json:
        words = {"version": held.version, "text": held.text, "text_hash": held.text_hash}
        return JSONResponse({**words, "accepted": worker.consented, "csrf": visit.csrf})
    return visit.page("consent.html", worker=worker, consent=held)


def accept_consent(visit: Visit) -> Response:
    """Keep that somebody accepted the words they saw."""
    worker = visit.worker(consenting=True)
    visit.check_form(visit.token)
    version, text_hash = str(visit.form.get("version", "")), str(visit.form.get("text_hash", ""))
    consent.accept(visit.store, worker.worker_id, version, text_hash)
    return JSONResponse({"accepted": True}) if visit.json else RedirectResponse("/work", 303)


ROUTES = [
    route("/invited/{code}", invited_page),
    route("/invited/{code}", invited, "POST"),
    route("/email", email_page),
    route("/email", ask_code, "POST"),
    route("/email/code", spend_code, "POST"),
    route("/arrive/{panel}", arrive_page),
    route("/arrive/{panel}", arrive, "POST"),
    route("/done", done_page),
    route("/consent", consent_page),
    route("/consent", accept_consent, "POST"),
]
