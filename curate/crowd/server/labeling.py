"""Our own labeling page: what it shows, and the answers that come back from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from curate.crowd.server.errors import WorkerError
from curate.crowd.server.questions import Asked, answers_xml
from schemas.question import CANNOT_SEE, SECONDS, Choice, PictureAsked, TaskPage, say

_POOL = "1234567890qwertyuiopasdfghjklzxcvbnm"
_LONGEST_SECONDS = 16  # characters of a time field


@dataclass(frozen=True)
class Answer:
    """One answer as the page shows it, in the worker's language."""

    key: str
    name: str
    hotkey: str
    definition: str
    examples: list[str]


@dataclass(frozen=True)
class LabelingPage:
    """Everything the template needs, in the worker's language."""

    question: str
    instructions: str
    answers: list[Answer]
    pictures: list[PictureAsked]


def prepare(task: TaskPage, language: str) -> LabelingPage:
    """The task in a language, with a key for every answer as far as keys go."""
    keys = hotkeys(task.choices)
    answers = [
        Answer(
            choice.key, say(choice.name, language), keys[choice.key], say(choice.definition, language), choice.examples
        )
        for choice in task.choices
    ]
    return LabelingPage(say(task.question, language), say(task.instructions, language), answers, task.pictures)


def hotkeys(choices: Sequence[Choice]) -> dict[str, str]:
    """A key for each answer: its own, else the first free letter of its name, else a free one, else none."""
    chosen = {choice.key: choice.hotkey for choice in choices if choice.hotkey}
    for choice in choices:
        if choice.key not in chosen:
            wanted = [*say(choice.name, "en").lower(), *choice.key, *_POOL]
            free = (letter for letter in wanted if letter in _POOL and letter not in chosen.values())
            chosen[choice.key] = next(free, "")
    return chosen


def answered(asked: Asked, fields: Sequence[tuple[str, str]]) -> str:
    """The answer XML of a HIT of ours or of a form; raises WorkerError when an answer is missing or is none of the choices."""
    if asked.task:
        return _of_task(asked.task, dict(fields))
    if asked.form:
        from curate.crowd.server.workers import check_answers

        answers = check_answers(asked.form, fields)
        chosen = [question.id for question in asked.form.questions if question.choices]
        return answers_xml([(name, value) for name, values in answers.items() for value in values], chosen)
    raise WorkerError("no_assignment", 404)  # a page in a frame sends to /mturk/externalSubmit


def _of_task(task: TaskPage, given: dict[str, str]) -> str:
    allowed = {CANNOT_SEE, *(choice.key for choice in task.choices)}
    fields = []
    for picture in task.pictures:
        value = given.get(picture.image_id, "")
        if not value:
            raise WorkerError("not_all", 400)
        if value not in allowed:
            raise WorkerError("bad_answer", 400)
        fields.append((picture.image_id, value))
        seconds = given.get(SECONDS + picture.image_id, "")
        if 0 < len(seconds) <= _LONGEST_SECONDS and seconds.replace(".", "", 1).isdigit():
            fields.append((SECONDS + picture.image_id, seconds))
    return answers_xml(fields)
