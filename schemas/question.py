"""What a HIT of ours asks, carried as JSON inside its HTML page: the contract between the requester's side and any page that
shows it. A crowd that knows it (our server) shows its own labeling page; elsewhere the HTML around it works by itself.

Answers come back with one field per picture: its image_id, holding a class key or `cannot_see`. A field `seconds.<image_id>`
may say how long the person looked.
"""

from __future__ import annotations

import html
import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

SCRIPT_ID = "consenso-task"
CANNOT_SEE = (
    "cannot_see"  # the answer of somebody whose picture did not load; no class key has an underscore at its place
)
SECONDS = "seconds."  # prefix of the optional time field of a picture

Text = Annotated[dict[str, str], Field(description="language code to text")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Choice(_Part):
    """One class as the page shows it."""

    key: str
    name: Text
    hotkey: str = ""
    definition: Text = Field(default_factory=dict)
    examples: list[str] = Field(default_factory=list, description="addresses of example pictures")
    confused_with: list[str] = Field(default_factory=list, description="keys of choices that people take for this one")


class PictureAsked(_Part):
    """One picture of the HIT."""

    image_id: str
    url: str


class PracticePicture(PictureAsked):
    """A picture to learn on: the page says at once whether the answer was right, and why."""

    label: str
    explanation: str = ""


class TaskPage(_Part):
    """Everything the labeling page needs."""

    consenso: Literal[1] = 1
    task: str
    question: Text
    instructions: Text = Field(default_factory=dict)
    question_version: int
    taxonomy_version: int
    choices: list[Choice]
    pictures: list[PictureAsked]
    practice: list[PracticePicture] = Field(default_factory=list, description="shown before the entry test, on demand")


def embed(page: TaskPage) -> str:
    """The script element that carries the page; safe inside HTML whatever the texts hold."""
    body = page.model_dump_json().replace("<", "\\u003c").replace("&", "\\u0026")
    return f'<script type="application/json" id="{SCRIPT_ID}">{body}</script>'


def extract(page_html: str) -> TaskPage | None:
    """The task that an HTML page carries, or None for a page of anybody else."""
    found = re.search(rf'<script type="application/json" id="{SCRIPT_ID}">(.*?)</script>', page_html, re.DOTALL)
    if not found:
        return None
    try:
        return TaskPage.model_validate_json(
            html.unescape(found.group(1)) if "&quot;" in found.group(1) else found.group(1)
        )
    except ValidationError:
        return None


def say(text: Text, language: str) -> str:
    """The text in a language, else in English, else in the first language it has."""
    return text.get(language) or text.get("en") or next(iter(text.values()), "")
