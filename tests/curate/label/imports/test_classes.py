"""Labels become class keys by key, by a name in any language, or by a person's map."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.label.imports.classes import Classes, folded
from curate.tasks import make_task
from schemas.task import parse_task

APRON = Classes.of(make_task("apron"))


@pytest.mark.parametrize(
    ("label", "key"),
    [
        ("dots", "dots"), ("DOTS", "dots"), (" Dots ", "dots"), ("Lunares", "dots"), ("bolinhas", "dots"), ("xadréz", "checks"),
        ("Corações", "hearts"), ("coracoes", "hearts"), ("corac\u0327o\u0303es", "hearts"), ("Not an apron", "other"),
        ("not_an-apron", "other"), ("no es un delantal", "other"), ("spots", None), ("", None),
    ],
)  # fmt: skip
def test_a_label_by_any_of_its_names(label: str, key: str | None) -> None:
    assert APRON.key(label) == key


def test_a_name_that_two_classes_have_means_neither_and_a_key_always_its_own() -> None:
    names = [
        {"key": "plain", "name": {"en": "Plain", "es": "Liso"}},
        {"key": "flat", "name": {"en": "plain", "es": "liso"}},
    ]
    task = parse_task({"task": "t", "question": {"en": "?"}, "classes": names}, "t")
    classes = Classes.of(task)
    assert [classes.key(label) for label in ("Liso", "plain", "Plain", "flat")] == [None, "plain", "plain", "flat"]


@settings(deadline=None)
@given(st.sampled_from([(c.key, name) for c in make_task("apron").classes for name in c.name.values()]), st.data())
def test_case_spaces_and_accents_never_matter(pair: tuple[str, str], data: st.DataObject) -> None:
    key, name = pair
    change = data.draw(st.sampled_from([str.upper, str.lower, str.title, folded, lambda text: f"  {text}\t"]))
    assert APRON.key(change(name)) == key
