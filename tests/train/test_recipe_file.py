from __future__ import annotations

import dataclasses
import re
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from schemas.errors import UserError
from train.recipe import METHODS, RECIPES, SemiSupervised, Supervised, recipe_for
from train.recipe_file import field_notes, recipe_text, write_recipe
from train.run import Request, train

Make = Callable[..., Path]
Ask = Callable[..., Request]
SOURCES = re.compile(r"\b(mae|semi-vit|measured|ours|FixMatch|timm|arXiv|apache)\b")


@pytest.mark.parametrize("recipe", [Supervised, SemiSupervised])
def test_every_default_names_its_source(recipe: type) -> None:
    notes = field_notes(recipe)
    for field in dataclasses.fields(recipe):
        assert SOURCES.search(notes[field.name]), f"{field.name}: {notes[field.name]}"


@pytest.mark.parametrize("method", METHODS)
def test_a_saved_recipe_is_read_back_the_same(method: str, tmp_path: Path) -> None:
    for name in RECIPES[method]:
        recipe = recipe_for(method, name, ["clip_grad=0.5", "model_args=depth=2"])
        write_recipe(recipe, method, tmp_path / f"{name}.toml")
        assert recipe_for(method, str(tmp_path / f"{name}.toml")) == recipe


def test_a_file_may_say_little_and_set_changes_it_further(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('method = "vit"\nepochs = 7\nclip_grad = "none"\nsmoothing = 0.2\n')
    recipe = recipe_for("vit", str(tmp_path / "mine.toml"), ["smoothing=0.3"])
    assert recipe == dataclasses.replace(Supervised(), epochs=7.0, smoothing=0.3)


def test_a_recipe_text_says_what_each_number_is() -> None:
    text = recipe_text(Supervised(), "vit")
    assert tomllib.loads(text)["weight_decay"] == 0.05
    assert "weight_decay = 0.05  # not on 1-D parameters, position and class token, mae" in text.splitlines()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('method = "semivit"', "is a recipe of semivit; this is vit"),
        ("epochs = 3", "does not say of what method"),
        ('method = "vit"\nepoch = 3', "did you mean epochs"),
        ('method = "vit"\nepochs = "soon"', "epochs is a number, got 'soon'"),
        ('method = "vit"\nbatch_size = 2.5', "batch_size is a whole number"),
        ('method = "vit"\nepochs = [3]', r"epochs is \[3\]"),
        ("method = ", "cannot be read as TOML"),
    ],
)
def test_a_wrong_recipe_file_is_one_line(content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "r.toml").write_text(content)
    with pytest.raises(UserError, match=said):
        recipe_for("vit", str(tmp_path / "r.toml"))


def test_the_recipe_that_a_run_keeps_repeats_it(make_manifest: Make, ask: Ask, tmp_path: Path) -> None:
    path = make_manifest()
    first = train(ask(path, "vit", "epochs=2", "smoothing=0.05"))
    kept = path.parent / "runs" / "apron-vit-100-s0" / "recipe.toml"
    again = train(Request("vit", path, recipe=str(kept), out=tmp_path / "again"))
    assert again["recipe"] == first["recipe"]
    assert again["model_id"] == first["model_id"]
