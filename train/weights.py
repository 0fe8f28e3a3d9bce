"""Published weights that cannot be had are said before torch and timm are imported, which alone takes seconds."""

from __future__ import annotations

import os
from pathlib import Path

from schemas import packaged_weights
from schemas.errors import UserError
from schemas.hub import hub_answers
from schemas.manifest import read_manifest
from train.recipe import PRETRAINING, RECIPES, Masked, Recipe, pretraining_for, recipe_for
from train.request import Request


def check_weights(request: Request) -> None:
    """Raise UserError, within five seconds, when the run needs published weights that are not here and not to be had."""
    if model := missing_weights(request):
        raise no_weights(model)


def missing_weights(request: Request) -> str | None:
    """The model whose published weights a run needs, if they are not here and not to be had.

    None where that is not certain: `build_model` then tries.
    """
    begun = any(
        (request.folder / name).exists() for name in ("run.json", "search.db")
    )  # perhaps there is nothing to do
    if request.weights is not None or request.stage1 is not None or begun:
        return None
    pretrain = request.method == "pretrain"
    asked: Masked | Recipe = (
        pretraining_for(request.recipe, request.changes)
        if pretrain
        else recipe_for(request.method, request.recipe, request.changes)
    )
    if asked.pretrained and not may_be_here(asked.model) and not hub_answers():
        read_manifest(request.manifest)  # what is wrong with it is said first
        return asked.model
    return None


def no_weights(model: str) -> UserError:
    """What to do without the published weights of a model. A name that no recipe of ours has may be a misspelled one."""
    ours = {recipe.model for recipes in RECIPES.values() for recipe in recipes.values()}
    ours |= {recipe.model for recipe in PRETRAINING.values()}
    spelled = "" if model in ours else ", if there is a model of that name"
    return UserError(
        f"the weights of {model} are not on this machine and cannot be fetched{spelled}. Give a file with --weights FILE, "
        "or start from random weights with `--recipe cpu` or `--set pretrained=false`"
    )


def may_be_here(model: str) -> bool:
    """False only where this machine surely has no published weights of a timm model.

    timm keeps weights in a repository of its own name and tag, those of others under their name, and some as plain files;
    a few install as a package.
    """
    from huggingface_hub.constants import HF_HUB_CACHE

    if packaged_weights.find_file(model) or any(_plain_files().glob("*")):
        return True
    tag = model.partition(".")[2]
    names = [folder.name.split("--", 2)[1:] for folder in Path(HF_HUB_CACHE).glob("models--*--*")]
    return any(owner != "timm" or not tag or name.partition(".")[2] == tag for owner, name in names)


def _plain_files() -> Path:
    """Where torch.hub keeps what it fetched."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    return Path(os.environ.get("TORCH_HOME", cache / "torch")).expanduser() / "hub" / "checkpoints"
