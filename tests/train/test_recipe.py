from __future__ import annotations

import dataclasses

import pytest

from schemas.errors import UserError
from train.recipe import METHODS, RECIPES, SemiSupervised, Supervised, recipe_for, with_budget
from train.recipe_changes import model_arguments


@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_the_four_recipes(method: str) -> None:
    assert set(RECIPES[method]) == {"default", "paper", "cpu", "cpu-quick"}
    for name in RECIPES[method]:
        recipe_for(method, name)


def test_the_published_numbers_are_the_defaults() -> None:
    recipe = SemiSupervised()
    assert (recipe.mu, recipe.lambda_u, recipe.threshold, recipe.smoothing) == (5, 5, 0.5, 0.1)
    assert recipe.lr == pytest.approx(5e-4)
    assert recipe.semi_lr == pytest.approx(5e-4)


def test_the_default_weights_are_free_and_the_papers_are_not() -> None:
    assert RECIPES["vit"]["default"].model.endswith("augreg_in21k")
    assert RECIPES["vit"]["paper"].model.endswith(".mae")


def test_cpu_recipes_start_from_random_weights_and_share_stage_1() -> None:
    vit, semi = RECIPES["vit"]["cpu"], RECIPES["semivit"]["cpu"]
    assert not vit.pretrained
    shared = [field.name for field in dataclasses.fields(Supervised)]
    assert {name: getattr(vit, name) for name in shared} == {name: getattr(semi, name) for name in shared}


def test_the_teachers_memory_is_a_share_of_the_run() -> None:
    long = SemiSupervised(semi_steps=180_000)
    assert long.decay == pytest.approx(0.9999, abs=1e-5)  # what Semi-ViT used for a run of that length
    assert SemiSupervised(semi_steps=13_000).decay == pytest.approx(0.9986, abs=1e-4)
    assert SemiSupervised(semi_steps=10).decay == 0
    assert SemiSupervised(ema_decay=0.5).decay == 0.5


def test_set_changes_numbers_by_name_and_type() -> None:
    recipe = recipe_for(
        "semivit", "default", ["epochs=3", "semi_steps=7", "pretrained=false", "ema_decay=0.9", "clip_grad=none"]
    )
    assert isinstance(recipe, SemiSupervised)
    assert (recipe.epochs, recipe.semi_steps, recipe.pretrained) == (3.0, 7, False)
    assert (recipe.ema_decay, recipe.clip_grad) == (0.9, None)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("epoch=3", "did you mean epochs?"),
        ("epochs", "write it as name=value"),
        ("epochs=many", "epochs is a number, got 'many'"),
        ("batch_size=1.5", "batch_size is a whole number, got '1.5'"),
        ("pretrained=yes", "pretrained is true or false"),
        ("batch_size=0", "batch_size must be 1 or more, got 0"),
        ("threshold=2", "threshold must be between 0 and 1, got 2.0"),
        ("mu=0", "mu must be above 0, got 0.0"),
        ("weight_decay=-1", "weight_decay must not be negative, got -1.0"),
        ("lambda_u=nan", "lambda_u must not be negative, got nan"),
        ("base_lr=inf", "base_lr must be finite"),
    ],
)
def test_a_wrong_change_is_one_clear_line(change: str, said: str) -> None:
    with pytest.raises(UserError) as error:
        recipe_for("semivit", "default", [change])
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_semivit_settings_are_refused_for_vit() -> None:
    with pytest.raises(UserError, match="no such name"):
        recipe_for("vit", "default", ["lambda_u=3"])


def test_an_unknown_recipe_names_the_known_ones() -> None:
    with pytest.raises(UserError, match="default, paper, cpu, cpu-quick"):
        recipe_for("vit", "gpu")


def test_model_arguments_are_numbers_and_words() -> None:
    recipe = Supervised(model_args="patch_size=4, drop=0.5,act_layer=gelu")
    assert model_arguments(recipe.model_args) == {"patch_size": 4, "drop": 0.5, "act_layer": "gelu"}
    with pytest.raises(UserError, match="name=value"):
        model_arguments("deep")


def test_a_budget_in_epochs_grows_with_the_pool_and_one_in_steps_does_not() -> None:
    steps = recipe_for("semivit", "default", ["semi_steps=500"])
    assert {with_budget(steps, 100, pool).semi_steps for pool in (640, 6400)} == {500}  # type: ignore[union-attr]
    epochs = recipe_for("semivit", "default", ["budget=epochs", "semi_epochs=20"])
    assert [with_budget(epochs, 200, pool).semi_steps for pool in (640, 6400)] == [20, 200]  # type: ignore[union-attr]
    few = with_budget(epochs, 10, 640)  # 10 labeled pictures draw 50 unlabeled ones a step
    assert few.semi_steps == 256  # type: ignore[union-attr]
    assert few.decay == 1 - 1 / (0.056 * 256)  # type: ignore[union-attr]  (the teacher's memory follows)
    with pytest.raises(UserError, match="budget must be steps or epochs, got hours"):
        recipe_for("semivit", "default", ["budget=hours"])


def test_the_papers_budget_of_100_passes_is_the_default_number_of_steps() -> None:
    paper = recipe_for("semivit", "paper", ["budget=epochs"])
    assert with_budget(paper, 20_000, 284_000).semi_steps == recipe_for("semivit", "paper").semi_steps  # type: ignore[union-attr]
