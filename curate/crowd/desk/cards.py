"""Pictures one by one, as workers see them: a key decides, and the next one is there."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote

from starlette.responses import Response

from curate.crowd.desk.facts import Said
from curate.crowd.desk.visit import Visit, go, route
from schemas.errors import UserError


def first(visit: Visit) -> Response:
    """On with the first picture that is not decided."""
    deck = visit.room.deck
    decided, cards = deck.decided(), deck.cards()
    open_ = [image_id for image_id in cards if image_id not in decided]
    return go(f"/cards/{open_[0]}") if open_ else go("/cards/done")


def done(visit: Visit) -> Response:
    """All are decided, or there are none."""
    deck = visit.room.deck
    decided, cards = deck.decided(), deck.cards()
    names = {answer.key: answer.name for answer in visit.room.answers(visit.language)}
    shown = [(image_id, names.get(decided[image_id], decided[image_id])) for image_id in cards if image_id in decided]
    return visit.page("done.html", deck=deck, total=len(cards), shown=shown)


def card(visit: Visit) -> Response:
    """One picture with its votes and the classes."""
    deck, image_id = visit.room.deck, visit.request.path_params["identifier"]
    cards = deck.cards()
    if image_id not in cards:
        return go("/cards")
    decided, at = deck.decided(), cards.index(image_id)
    hidden = deck.blind and image_id not in decided
    after = _next(cards, decided, image_id)
    answers = visit.room.answers(visit.language)
    votes = [] if hidden else deck.votes(image_id)
    return visit.page(
        "card.html",
        deck=deck, image_id=image_id, number=at + 1, total=len(cards), done=sum(i in decided for i in cards),
        chosen=decided.get(image_id, ""), answers=answers, names={answer.key: answer.name for answer in answers},
        votes=votes, tally=_tally(votes), hidden=hidden, explanation=deck.explanation(image_id),
        back=cards[at - 1] if at else "", after=after or "done", page=visit.room.page,
    )  # fmt: skip


def decide(visit: Visit) -> Response:
    """Write a decision down and go on; in a blind deck first show what the workers said."""
    deck, image_id = visit.room.deck, visit.request.path_params["identifier"]
    label, cards = visit.fields.get("label", ""), deck.cards()
    if image_id not in cards:
        raise UserError("this picture is not one of those to decide here any more")
    if label not in visit.room.task.keys:
        raise UserError(f"{label!r} is no class of {visit.room.task.task}; nothing was written")
    first_time = image_id not in deck.decided()
    deck.decide(image_id, label, " ".join(visit.fields.get("text", "").split()))
    if deck.blind and first_time:
        return go(f"/cards/{image_id}")
    return go(f"/cards/{_next(cards, deck.decided(), image_id) or 'done'}")


def undo(visit: Visit) -> Response:
    """Take the last decision back and show its picture again."""
    image_id = visit.room.deck.take_back()
    return go(f"/cards/{quote(image_id)}" if image_id else "/cards")


def _next(cards: Sequence[str], decided: dict[str, str], image_id: str) -> str | None:
    """The next picture without a decision, from the beginning again after the last one; None where all the others have one."""
    at = cards.index(image_id)
    return next((i for i in [*cards[at + 1 :], *cards[:at]] if i not in decided), None)


def _tally(votes: Sequence[Said]) -> dict[str, int]:
    """How often each answer was given by votes that count."""
    tally: dict[str, int] = {}
    for vote in votes:
        if vote.dropped is None and vote.answer:
            tally[vote.answer] = tally.get(vote.answer, 0) + 1
    return tally


ROUTES = [
    route("/cards", first),
    route("/cards/done", done),
    route("/cards/undo", undo, "POST"),
    route("/cards/{identifier}", card),
    route("/cards/{identifier}", decide, "POST"),
]
