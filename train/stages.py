"""How long each stage of a recipe is and how fast it learns, from the counts of pictures alone: nothing is read or built."""

from __future__ import annotations

from typing import Any

from schemas.errors import UserError
from train import ranks
from train.fit import Stage
from train.recipe import Recipe, SemiSupervised


def stages_of(recipe: Recipe, n_labeled: int, n_pool: int, stage1_given: bool = False) -> list[Stage]:
    """The stages that a run of this recipe has: one, or stage 1 (unless it is given) and stage 2 of Semi-ViT.

    A batch larger than the set is the whole set; the number of pictures seen stays what `epochs` says.
    """
    batch = min(recipe.batch_size, n_labeled)
    common: dict[str, Any] = {"min_lr": recipe.min_lr, "weight_decay": recipe.weight_decay, "beta2": recipe.beta2,
              "clip_grad": recipe.clip_grad, "eval_every": recipe.eval_every, "accumulate": recipe.accumulate,
              "precision": recipe.precision, "compile": recipe.compile}  # fmt: skip
    semi = isinstance(recipe, SemiSupervised)
    first = Stage(
        "stage1" if semi else "train", max(1, round(recipe.epochs * n_labeled / batch)),
        round(recipe.warmup_epochs * n_labeled / batch), recipe.lr, layer_decay=recipe.layer_decay, images=batch, **common,
    )  # fmt: skip
    stages = [] if stage1_given else [check_parts(first, batch)]
    if isinstance(recipe, SemiSupervised):
        few = min(recipe.semi_batch, n_labeled)
        a_step = min(round(recipe.mu * few), n_pool + n_labeled * recipe.pool_has_labeled)
        second = Stage(
            "stage2", recipe.semi_steps, round(recipe.semi_warmup * recipe.semi_steps), recipe.semi_lr,
            layer_decay=recipe.semi_layer_decay, images=few + a_step, **common,
        )  # fmt: skip
        if not a_step:
            raise UserError(
                f"mu={recipe.mu:g} times {few} labeled pictures is no unlabeled picture a step; raise --set mu"
            )
        stages.append(check_parts(second, min(few, a_step)))
    return stages


def check_parts(stage: Stage, pictures: int) -> Stage:
    """The stage itself when a step's pictures, the fewer of labeled and unlabeled, are enough for the parts it is taken in."""
    parts = ranks.size() * stage.accumulate
    if pictures < parts:
        raise UserError(
            f"{stage.name}: a step of {pictures} pictures cannot be taken in {parts} parts ({ranks.size()} processes x "
            f"accumulate={stage.accumulate}); lower --set accumulate, or use fewer processes"
        )
    return stage
