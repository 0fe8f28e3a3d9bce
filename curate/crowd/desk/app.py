"""The desk as an application."""

from __future__ import annotations

from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import FileResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from curate.crowd.desk import cards, dashboard
from curate.crowd.desk.actions import Actions
from curate.crowd.desk.room import Room
from curate.crowd.desk.visit import Visit, go, route, server_static
from curate.pages.guard import Guard, Secrets


def make_app(room: Room, secret: Secrets) -> Starlette:
    """The pages of one desk: the dashboard where it has a crowd, and the pictures to decide."""
    static = StaticFiles(directory=server_static(), packages=None)
    own = StaticFiles(directory=Path(__file__).parent / "static")
    routes = [
        *cards.ROUTES,
        *(dashboard.ROUTES if room.crowd else [route("/", _to_cards)]),
        route("/picture/{identifier}", _picture),
        Mount("/static", static),
        Mount("/own", own),
    ]
    app = Starlette(routes=routes, middleware=[Middleware(Guard, secret=secret)])
    app.state.room = room
    app.state.secret = secret
    app.state.actions = Actions(room, room.crowd) if room.crowd else None
    return app


def _to_cards(visit: Visit) -> Response:
    return go("/cards")


def _picture(visit: Visit) -> Response:
    path = visit.room.pictures.copy(visit.request.path_params["identifier"])
    if path is None:
        return Response(status_code=404)
    return FileResponse(
        path, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=31536000, immutable"}
    )
