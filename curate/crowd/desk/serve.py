"""Run the desk on loopback."""

from __future__ import annotations

from curate.crowd.desk.app import make_app
from curate.crowd.desk.room import Room
from curate.pages.serve import serve as serve_pages


def serve(room: Room, port: int, as_json: bool, browser: bool) -> None:
    """Serve until SIGTERM or Ctrl-C. Raises UserError when the port is taken."""
    serve_pages(lambda secret: make_app(room, secret), port, as_json, browser)
