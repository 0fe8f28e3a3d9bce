"""What the answer sheet shows, for our own HITs, for tests and for forms alike, and the answers that come back from it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from curate.crowd.server.answers import check_answers, form_answers_xml
from curate.crowd.server.errors import WorkerError
from curate.crowd.server.forms import Form, Question
from curate.crowd.server.questions import Asked, answers_xml
from schemas.question import CANNOT_SEE, SECONDS, Choice, PictureAsked, TaskPage, say

_POOL = "1234567890qwertyuiopasdfghjklzxcvbnm"
_LONGEST_SECONDS = 16  # characters of a time field
_OWN_PICTURE = re.compile(r"(?:https?://[^/?#]+)?/picture/([0-9a-f]{64})")


@dataclass(frozen=True)
class Answer:
    """One answer as the sheet shows it, in the worker's language."""

    key: str
    name: str
    hotkey: str
    definition: str = ""
    examples: tuple[str, ...] = ()
    confused_with: tuple[Answer, ...] = ()  # what people take for it, likeliest first


@dataclass(frozen=True)
class Item:
    """One question of the sheet: its form field, what to look at, and the answers (none: a free text)."""

    field: str
    texts: list[str]
    pictures: list[str]
    answers: list[Answer]
    several: bool = False
    required: bool = True
    truth: str = ""  # in practice: the right answer, and why
    explanation: str = ""


@dataclass(frozen=True)
class Sheet:
    """Everything the template needs."""

    question: str
    instructions: list[str]
    items: list[Item]
    cannot_see: Answer | None  # offered for every item, where it is an answer at all

    @property
    def one_by_one(self) -> bool:
        """Whether the page may show one item at a time: each has one picture and one choice to make."""
        return all(item.answers and not item.several and len(item.pictures) == 1 for item in self.items)

    @property
    def meanings(self) -> list[Answer]:
        """The answers of the first item, where there is more to say about them than their names."""
        answers = self.items[0].answers
        told = any(answer.definition or answer.examples or answer.confused_with for answer in answers)
        return answers if told else []


def sheet_of_task(task: TaskPage, language: str, cannot_see: str, here: Callable[[str], bool]) -> Sheet:
    """The sheet of a HIT of ours. `here` says whether the server has a picture itself, by image_id."""
    answers = _answers(task.choices, language, here)
    items = [Item(p.image_id, [], [_address(p.url, here)], answers) for p in task.pictures]
    spare = next(key for key in "0-" if key == "-" or key not in {answer.hotkey for answer in answers})
    return Sheet(
        say(task.question, language),
        [text for text in [say(task.instructions, language)] if text],
        items,
        Answer(CANNOT_SEE, cannot_see, spare),
    )


def shuffled(task: TaskPage, seed: str) -> TaskPage:
    """The task as one assignment (its id the seed) shows it: its pictures in an order of its own, always the same, and no
    practice: that stands on its own page."""

    def place(picture: PictureAsked) -> bytes:
        return hashlib.sha256(f"{seed}:{picture.image_id}".encode()).digest()

    return task.model_copy(update={"pictures": sorted(task.pictures, key=place), "practice": []})


def sheet_of_form(form: Form, title: str, task: TaskPage | None, language: str, here: Callable[[str], bool]) -> Sheet:
    """The sheet of a test or of any other form.

    `task` is the work that a test leads to, where it is ours: the test then has the same words and keys as the work.
    """
    known = {choice.key: choice for choice in task.choices} if task else {}
    keys = hotkeys(task.choices) if task else {}
    items = [_item(question, known, keys, language, here) for question in form.questions]
    if task and all(choice.id in known for question in form.questions for choice in question.choices):
        instructions = [text for text in [say(task.instructions, language)] if text]
        return Sheet(say(task.question, language), instructions, [_untitled(item) for item in items], None)
    common = items[0].texts if len({tuple(item.texts) for item in items}) == 1 and len(items[0].texts) == 1 else []
    if common:  # the same words on every question are the title
        items = [_untitled(item) for item in items]
    overview = [text for text in form.overview if text not in common]
    return Sheet(common[0] if common else title, overview, items, None)


def _untitled(item: Item) -> Item:
    return Item(item.field, [], item.pictures, item.answers, item.several, item.required)


def _item(
    question: Question, known: dict[str, Choice], keys: dict[str, str], language: str, here: Callable[[str], bool]
) -> Item:
    choices = [known.get(c.id) or Choice(key=c.id, name={"en": c.text}) for c in question.choices]
    if not all(choice.key in keys for choice in choices):
        keys = hotkeys(choices)
    pictures = [_address(url, here) for url in question.pictures]
    answers = _answers([c.model_copy(update={"hotkey": keys[c.key]}) for c in choices], language, here)
    return Item(question.id, question.texts, pictures, answers, question.several, question.required)


def _answers(choices: Sequence[Choice], language: str, here: Callable[[str], bool]) -> list[Answer]:
    keys = hotkeys(choices)
    plain = {
        choice.key: Answer(
            choice.key,
            say(choice.name, language) or choice.key,
            keys[choice.key],
            say(choice.definition, language),
            tuple(_address(url, here) for url in choice.examples),
        )
        for choice in choices
    }
    return [
        replace(plain[c.key], confused_with=tuple(plain[k] for k in c.confused_with if k in plain and k != c.key))
        for c in choices
    ]


def _address(url: str, here: Callable[[str], bool]) -> str:
    """A picture that this server has is shown from it, by whatever name the worker's browser reaches it."""
    own = _OWN_PICTURE.fullmatch(url)
    if own and here(own.group(1)):
        return f"/picture/{own.group(1)}"
    return url if url.startswith(("https://", "http://", "/")) else ""


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
        return form_answers_xml(check_answers(asked.form, fields))
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
        if len(seconds) <= _LONGEST_SECONDS and re.fullmatch(r"\d+(\.\d+)?", seconds, re.ASCII):
            fields.append((SECONDS + picture.image_id, seconds))
    return answers_xml(fields)
