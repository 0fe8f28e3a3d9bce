"""The labeling page in a browser, as tests reach it: pictures, a task, who sits in front of it, what they see."""

from __future__ import annotations

import hashlib
import io
import re
from contextlib import contextmanager

from PIL import Image

from schemas.question import Choice, PictureAsked, PracticePicture, TaskPage

WORDS = re.split(
    ",",
    "Animal print,Argyle,Abstract,Camouflage,Checks,Chevron,Damask,Dots,Embroidered,Fair isle,Floral,Geometric,Gingham,"
    "Herringbone,Houndstooth,Ikat,Lace,Letters,Ombré,Paisley,Patchwork,Plain,Stripes,Tie-dye,Tropical,Other",
)
DESK = {"viewport": {"width": 1280, "height": 800}, "locale": "en-US"}
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True, "locale": "en-US"}


def paint(folder):
    ids = []
    for n in range(10):
        buffer = io.BytesIO()
        Image.new("RGB", (1600, 1200), (25 * n, 200 - 15 * n, 90)).save(buffer, "PNG")
        ids.append(hashlib.sha256(buffer.getvalue()).hexdigest())
        path = folder / ids[-1][:2] / f"{ids[-1]}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(buffer.getvalue())
    return ids


def task(ids, classes=26, practice=()):
    keys = [re.sub(r"\W+", "-", word.lower()) for word in WORDS]
    pairs = list(zip(keys, WORDS, strict=True))[:classes]
    choices = [
        Choice(
            key=key,
            name={"en": word},
            definition={"en": f"What {word} means."},
            examples=[f"/picture/{ids[0]}"],
            confused_with=["checks"] if key == "chevron" else [],
        )
        for key, word in pairs
    ]
    return TaskPage(
        task="pattern",
        question={"en": "Which pattern?"},
        question_version=1,
        taxonomy_version=1,
        choices=choices,
        pictures=[PictureAsked(image_id=i, url=f"/picture/{i}") for i in ids],
        practice=[PracticePicture(image_id=i, url=f"/picture/{i}", label="argyle", explanation="Lozenges.") for i in practice],
    )  # fmt: skip


@contextmanager
def browser_of(chromium, person, **options):
    """A page of a new browser context in which this person is signed in; it must raise no error."""
    context = chromium.new_context(**{**DESK, **options})
    base = str(person.http.base_url)
    context.add_cookies([{"name": c.name, "value": c.value, "url": base} for c in person.http.cookies.jar])
    page = context.new_page()
    page.set_default_timeout(10_000)
    failures = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    page.on("console", lambda said: failures.append(said.text) if "Content Security" in said.text else None)
    yield page
    context.close()
    assert failures == []


def count(page):
    return page.locator("#count").inner_text()


def chosen(page):
    """What is chosen, in the page's order."""
    return page.locator(".item").evaluate_all(
        "items => items.map(i => i.querySelector('input:checked')?.value || null)"
    )


def settle(page, position):
    """Wait until this picture (0, 1, …) is in view."""
    page.wait_for_function("n => document.querySelectorAll('.item')[n]?.classList.contains('current')", arg=position)


def in_review(page):
    page.wait_for_selector("#review.current")


def saved(page):
    page.wait_for_selector("#saved.saved")


def fast(page):
    """The keys of the first three classes, one a picture; the second picture is then in view, and so on."""
    for position, key in enumerate("ar"):
        page.keyboard.press(key)
        settle(page, position + 1)
