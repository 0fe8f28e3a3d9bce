"""A batch of pictures as an HTMLQuestion: a page that our own crowd shows in its own way and any other can show as it is."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence

from schemas.errors import UserError
from schemas.question import CANNOT_SEE, Choice, PictureAsked, PracticePicture, TaskPage, embed, say
from schemas.task import Task

LIMIT = 65_535  # bytes of a Question, by MTurk's documentation
NAMESPACE = "http://mechanicalturk.amazonaws.com/AWSMechanicalTurkDataSchemas/2011-11-11/HTMLQuestion.xsd"
_POOL = "1234567890qwertyuiopasdfghjklxcvbnm"
_RESERVED = {"z"}  # undo on the labeling page; a task file may still give it to a class on purpose


Place = str | Callable[[str], str]  # where pictures stand: an address before /<image_id>, or the address of each one


def address(place: Place, image_id: str) -> str:
    """Where a worker's browser finds a picture."""
    return f"{place}/{image_id}" if isinstance(place, str) else place(image_id)


def task_page(task: Task, image_ids: Sequence[str], place: Place, practice: Sequence[PracticePicture] = ()) -> TaskPage:
    """Everything a labeling page needs to ask about these pictures, with pictures to practice on."""
    keys = hotkeys(task)
    return TaskPage(
        task=task.task,
        question=task.question,
        instructions=task.instructions,
        question_version=task.question_version,
        taxonomy_version=task.taxonomy_version,
        choices=[
            Choice(
                key=c.key,
                name=c.name,
                hotkey=keys[c.key],
                definition=c.definition,
                examples=[address(place, image_id) for image_id in c.examples],
                confused_with=c.confused_with or [],
            )
            for c in task.classes
        ],
        pictures=[PictureAsked(image_id=image_id, url=address(place, image_id)) for image_id in image_ids],
        practice=list(practice),
    )


def with_confused(task: Task, found: Mapping[str, Sequence[str]]) -> Task:
    """The task with up to three classes that people take for each one; what the task file says itself stays, also `[]`."""
    keys = set(task.keys)
    classes = [
        c
        if c.confused_with is not None
        else c.model_copy(update={"confused_with": [key for key in found.get(c.key, []) if key in keys - {c.key}][:3]})
        for c in task.classes
    ]
    return task.model_copy(update={"classes": classes})


def hotkeys(task: Task) -> dict[str, str]:
    """A key for each class: its own, else the first free letter of its name, else a free one; none left gives ''."""
    chosen = {c.key: c.hotkey for c in task.classes if c.hotkey}
    for c in task.classes:
        if c.key in chosen:
            continue
        free = set(_POOL) - set(chosen.values()) - _RESERVED
        wishes = [letter for letter in say(c.name, "en").lower() + c.key if letter.isalpha()] + list(_POOL)
        chosen[c.key] = next((letter for letter in wishes if letter in free), "")
    return chosen


def html_question(page: TaskPage, height_px: int = 0) -> str:
    """The page as HTMLQuestion XML; raises UserError above MTurk's limit, saying how many pictures fit.

    Where the room is short, what classes are confused with is left out first, then the practice from its end: a round never
    fails for a hint.
    """
    question = _wrap(_page_html(page), height_px)
    if len(question.encode()) > LIMIT:
        page = _without_hints(page)
        question = _wrap(_page_html(page), height_px)
    while len(question.encode()) > LIMIT and page.practice:
        page = page.model_copy(update={"practice": page.practice[: len(page.practice) // 2]})
        question = _wrap(_page_html(page), height_px)
    size = len(question.encode())
    if size > LIMIT:
        empty = len(_wrap(_page_html(page.model_copy(update={"pictures": []})), height_px).encode())
        each = (size - empty) / len(page.pictures)
        fit = max(0, int((LIMIT - empty) // each))
        raise UserError(
            f"task {page.task}: a HIT of {len(page.pictures)} pictures takes {size:,} bytes and a question may have {LIMIT:,}; "
            + (f"{fit} fit: lower crowd.pictures_per_hit" if fit else "not one fits: shorten the texts of the classes")
        )
    return question


def _without_hints(page: TaskPage) -> TaskPage:
    choices = [choice.model_copy(update={"confused_with": []}) for choice in page.choices]
    return page.model_copy(update={"choices": choices})


def _wrap(page_html: str, height_px: int) -> str:
    """HTML as the text of an HTMLQuestion; a height of 0 lets the page fill the window."""
    text = page_html.replace("]]>", "]]]]><![CDATA[>")
    return (
        f'<HTMLQuestion xmlns="{NAMESPACE}"><HTMLContent><![CDATA[{text}]]></HTMLContent>'
        f"<FrameHeight>{height_px}</FrameHeight></HTMLQuestion>"
    )


def _page_html(page: TaskPage) -> str:
    """A whole page: the task as JSON, and a small script that makes a plain form of it."""
    title = html.escape(say(page.question, "en"))
    return _HTML.replace("{cannot_see}", CANNOT_SEE).replace("{question}", title).replace("{task}", embed(page))


# The form is built from the JSON, so that a picture costs its address once and 50 of them fit. It posts to wherever the
# crowd says (turkSubmitTo) with the assignment it is told, as every page made for MTurk does.
_HTML = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{question}</title><style>
body{font:16px/1.5 system-ui,sans-serif;max-width:44rem;margin:1rem auto;padding:0 1rem}
figure{margin:2rem 0}img{display:block;max-width:100%;max-height:60vh;margin-bottom:.5rem}
select,button{font:inherit;padding:.6rem;min-height:44px}dt{font-weight:600}
</style></head><body>
<h1>{question}</h1><p id="instructions"></p><details><summary>The answers</summary><dl id="answers"></dl></details>
<form id="form" method="post"><input type="hidden" name="assignmentId"><div id="pictures"></div>
<button id="send">Send</button></form>
{task}
<script>
"use strict";
const task = JSON.parse(document.getElementById("consenso-task").textContent);
const query = new URLSearchParams(location.search);
const say = (text) => text[(navigator.language || "en").slice(0, 2)] || text.en || Object.values(text)[0] || "";
const make = (tag, facts, ...inside) => {
  const made = Object.assign(document.createElement(tag), facts);
  made.append(...inside);
  return made;
};
const form = document.getElementById("form");
form.action = (query.get("turkSubmitTo") || "https://www.mturk.com").replace(/\\/$/, "") + "/mturk/externalSubmit";
form.elements.assignmentId.value = query.get("assignmentId") || "";
document.querySelector("h1").textContent = say(task.question);
document.getElementById("instructions").textContent = say(task.instructions);
for (const choice of task.choices) {
  const like = task.choices.filter((other) => (choice.confused_with || []).includes(other.key));
  const hint = like.length ? ` (often confused with: ${like.map((other) => say(other.name)).join(", ")})` : "";
  document.getElementById("answers").append(
    make("dt", {textContent: say(choice.name)}), make("dd", {textContent: say(choice.definition) + hint}));
}
task.pictures.forEach((picture, at) => {
  const where = `${at + 1} / ${task.pictures.length}`;
  const select = make("select", {name: picture.image_id, required: true, ariaLabel: where},
    make("option", {value: "", textContent: "…"}),
    ...task.choices.map((choice) => make("option", {value: choice.key, textContent: say(choice.name)})),
    make("option", {value: "{cannot_see}", textContent: "I cannot see the picture"}));
  document.getElementById("pictures").append(
    make("figure", {}, make("img", {src: picture.url, alt: where}), make("label", {}, where + " ", select)));
});
if ((query.get("assignmentId") || "ASSIGNMENT_ID_NOT_AVAILABLE") === "ASSIGNMENT_ID_NOT_AVAILABLE")
  document.getElementById("send").disabled = true;
</script></body></html>
"""
