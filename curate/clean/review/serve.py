"""Run the review on loopback."""

from __future__ import annotations

from curate.clean.review.app import make_app
from curate.clean.review.deck import Deck
from curate.pages.serve import serve
from curate.workspace import Workspace


def review_pairs(workspace: Workspace, by: str, port: int, as_json: bool, browser: bool) -> str:
    """Serve the pairs until SIGTERM or Ctrl-C; returns how many were decided, in words.

    Raises UserError, before anything is served, when `curate dedup` did not look for pairs yet, and when the port is taken.
    """
    deck = Deck(workspace, by)
    waiting = [key for key in deck.pairs("open") if key not in deck.decided()]
    serve(lambda secret: make_app(deck, secret), port, as_json, browser)
    left = [key for key in deck.pairs("open") if key not in deck.decided()]
    return f"{deck.done} pairs decided, {len(left)} of {len(waiting)} left"
