"""The crowd server as an application: the requester protocol on POST /, worker pages on everything else."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from curate.crowd.server import arrival_pages, inbox_pages, join_pages, pages, practice, settings
from curate.crowd.server.errors import WorkerError
from curate.crowd.server.health import healthz
from curate.crowd.server.pictures import Originals
from curate.crowd.server.protocol import requester_endpoint
from curate.crowd.server.store import Store
from curate.crowd.server.traffic import Traffic
from curate.crowd.server.visit import Visit


def make_app(store: Store, pictures: Originals | None = None, signup: str = "open") -> Starlette:
    """The application over a store. `pictures` says where the original bytes are; `signup` lets people in by name (open), by e-mail or not at all (closed)."""
    routes = [
        Route("/", requester_endpoint, methods=["POST"]),
        Route("/healthz", healthz),
        *pages.ROUTES,  # asked for most, so matched first
        *join_pages.ROUTES,
        *arrival_pages.ROUTES,
        *inbox_pages.ROUTES,
        *practice.ROUTES,
        Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(Traffic)], exception_handlers={HTTPException: _no_page})
    app.state.store = store
    app.state.pictures = pictures
    app.state.signup = signup
    app.state.secret = settings.secret(store)
    return app


def _no_page(request: Request, error: Exception) -> Response:
    """A page of ours for what is not there, and for forms that are too large."""
    assert isinstance(error, HTTPException)
    message = {404: "not_found", 405: "not_found", 400: "bad_form", 408: "too_slow", 413: "too_large"}.get(
        error.status_code, "server_error"
    )
    return Visit(request).error(WorkerError(message, error.status_code))
