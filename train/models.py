"""Models by timm's name, with their weights, their license and their own normalization."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from schemas import packaged_weights
from schemas.errors import UserError
from schemas.hub import hub_answers
from train.recipe import Masked, Recipe
from train.recipe_changes import model_arguments
from train.weights import may_be_here, no_weights


@dataclass(frozen=True)
class ModelFacts:
    """What a person must know about a model: its name, where its weights come from, and under which license."""

    name: str
    weights: str  # "random", the published tag, or the file
    license: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    parameters: int

    def as_json(self) -> dict[str, Any]:
        """For the run record."""
        return asdict(self)


def build_model(
    recipe: Recipe | Masked, n_classes: int, seed: int, weights: Path | None = None
) -> tuple[nn.Module, ModelFacts]:
    """The recipe's model with a fresh head for `n_classes`, and the facts about it.

    Weights come from `weights` if given (a .safetensors or .pth file; other heads and decoders in it are ignored), else from
    an installed package or timm's published ones when the recipe says pretrained, else they are random. Raises UserError,
    within seconds also when offline, for an unknown model, a missing file, and weights that do not fit.
    """
    if weights is not None and not weights.is_file():
        raise UserError(f"--weights {weights}: no such file")
    wants_published = recipe.pretrained and weights is None
    package = packaged_weights.find_file(recipe.model) if wants_published else None
    if wants_published and package is None and not hub_answers():
        _stay_offline()
        if not may_be_here(recipe.model):  # before a model of some hundred million numbers is made: that takes seconds
            raise no_weights(recipe.model)
    import timm
    from timm.data.config import resolve_model_data_config

    torch.manual_seed(seed)
    model = _create(recipe, n_classes)
    published: Any = timm.models.get_pretrained_cfg(recipe.model)
    if weights is not None or wants_published:
        torch.manual_seed(seed)
        loaded = _create_loaded(recipe, n_classes, weights, package)
        if not _took_weights(model, loaded):
            raise UserError(f"{weights}: its weights do not fit {recipe.model}; was it saved from another model?")
        model = loaded
    if recipe.head_std is not None and (weights is not None or wants_published):
        _begin_near_zero(model, recipe.head_std)
    if n_classes:
        _check_answers(model, recipe, n_classes)
    config = resolve_model_data_config(model)
    license_ = "none: random weights" if not (weights or wants_published) else _license(published, weights)
    source = str(weights) if weights else (published.hf_hub_id or recipe.model) if wants_published else "random"
    if package is not None:
        source, license_ = f"package {packaged_weights.PACKAGE}", packaged_weights.LICENSE
    count = sum(p.numel() for p in model.parameters())
    return model, ModelFacts(recipe.model, source, license_, tuple(config["mean"]), tuple(config["std"]), count)


def _begin_near_zero(model: nn.Module, std: float) -> None:
    """Give the fresh head small weights, so that it disturbs no loaded ones: some of timm's begin with logits of 10."""
    heads: Any = model.get_classifier()  # type: ignore[operator]
    for head in heads if isinstance(heads, tuple) else (heads,):  # distilled models have two
        for part in head.modules():
            if isinstance(part, nn.Linear | nn.Conv2d):
                nn.init.trunc_normal_(part.weight, std=std)


def check_model(recipe: Recipe | Masked, n_classes: int) -> None:
    """Raise the UserError that `build_model` would for an unknown model or arguments it does not take; no weights are made."""
    with torch.device("meta"):
        _create(recipe, n_classes)


def _license(published: Any, weights: Path | None) -> str:
    """The license of published weights; of a file only what its name's published twin has."""
    known = getattr(published, "license", None) or "unknown"
    return known if weights is None else f"of your file; the published weights of this name are {known}"


def _arguments(recipe: Recipe | Masked, n_classes: int) -> dict[str, Any]:
    """What timm.create_model is asked for. A model that does not know its picture size or drop-path is not asked."""
    arguments = model_arguments(recipe.model_args) | {"num_classes": n_classes}
    if recipe.drop_path:
        arguments["drop_path_rate"] = recipe.drop_path
    if recipe.pool:
        arguments["global_pool"] = recipe.pool
    return arguments


def _create(recipe: Recipe | Masked, n_classes: int, **loading: Any) -> nn.Module:
    import timm

    arguments = _arguments(recipe, n_classes)
    hints = {"img_size": recipe.image_size, **arguments}
    try:
        while True:
            try:
                return timm.create_model(recipe.model, **hints, **loading)
            except TypeError as error:  # most convolutional networks take any size and know no img_size
                unknown = [name for name in ("img_size", "drop_path_rate") if f"'{name}'" in str(error)]
                if not unknown or unknown[0] not in hints:
                    raise
                del hints[unknown[0]]
    except (RuntimeError, ValueError, TypeError, AssertionError) as error:
        if "nknown model" in str(error) or "nvalid pretrained tag" in str(error):
            near = timm.list_models(f"*{recipe.model.split('.')[0][:8]}*")[:4]
            hint = f"; near: {', '.join(near)}" if near else "; timm.list_models() names all"
            raise UserError(f"--set model={recipe.model}: timm has no such model{hint}") from error
        raise UserError(
            f"{recipe.model} cannot be made with {arguments}: {' '.join(str(error).split())[:300]}"
        ) from error


def _create_loaded(recipe: Recipe | Masked, n_classes: int, weights: Path | None, package: Path | None) -> nn.Module:
    """The model with its weights, or one line about what is wrong with them."""
    given: dict[str, Any] = {"file": str(weights)} if weights else {}
    if package is not None:
        given = {"state_dict": packaged_weights.read_weights(package)}
    overlay = {"pretrained_cfg_overlay": given} if given else {}
    try:
        with _calm_loading():
            return _create(recipe, n_classes, pretrained=True, **overlay)
    except UserError:
        if weights is None:
            raise
        raise UserError(
            f"--weights {weights}: its weights do not fit {recipe.model} at {recipe.image_size} px; saved from another model, or "
            "at an image_size that this one cannot change?"
        ) from None
    except Exception as error:  # the hub's client, pickle and safetensors each have their own exceptions
        if weights is not None:
            said = " ".join(str(error).split())[:200] or type(error).__name__
            raise UserError(f"--weights {weights}: cannot be read as .safetensors or .pth weights ({said})") from error
        raise no_weights(recipe.model) from error


@contextlib.contextmanager
def _calm_loading() -> Iterator[None]:
    """No lines of timm's about keys that are left (a head, a decoder, a last norm) and of torch's about its speed."""
    import logging

    builder = logging.getLogger("timm.models._builder")
    level = builder.level
    builder.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        builder.setLevel(level)


def _check_answers(model: nn.Module, recipe: Recipe | Masked, n_classes: int) -> None:
    """Show the model one picture, and say in a line what it cannot do, before any picture is read."""
    size = recipe.image_size
    try:
        found = model.eval()(torch.zeros(1, 3, size, size))
    except (RuntimeError, ValueError, TypeError, AssertionError, IndexError, ZeroDivisionError) as error:
        own = getattr(model, "default_cfg", {}).get("input_size")
        hint = f"; it is published for {own[-1]} px: --set image_size={own[-1]}" if own and own[-1] != size else ""
        said = " ".join(str(error).split())[:160] or type(error).__name__
        raise UserError(f"{recipe.model} cannot take pictures of {size} px ({said}){hint}") from error
    finally:
        model.train()
    if not isinstance(found, torch.Tensor) or found.shape != (1, n_classes):
        shape = list(found.shape) if isinstance(found, torch.Tensor) else type(found).__name__
        raise UserError(f"{recipe.model} does not classify: for one picture it gives {shape}, not [1, {n_classes}]")


def _took_weights(fresh: nn.Module, loaded: nn.Module) -> bool:
    """True when most tensors of two or more dimensions, the head aside, differ from the fresh model of the same seed."""
    before = {name: value for name, value in fresh.state_dict().items() if value.ndim > 1}
    after = loaded.state_dict()
    changed = sum(not torch.equal(value, after[name]) for name, value in before.items())
    return changed >= 0.5 * (len(before) - 1)


def _stay_offline() -> None:
    """Make a missing file an answer at once, not a minute of retries; what is cached on this machine is still found."""
    from huggingface_hub import constants

    os.environ["HF_HUB_OFFLINE"] = "1"  # for libraries that are still to be imported
    constants.HF_HUB_OFFLINE = True  # the client read the variable when `hub_answers` imported it


def parameter_groups(model: nn.Module, weight_decay: float, layer_decay: float) -> list[dict[str, Any]]:
    """AdamW's groups: no decay on 1-D parameters and what the model exempts; `lr_scale` falls with distance from the head."""
    import timm.optim

    make: Any = timm.optim  # it exports these names without saying so

    exempt: Any = model.no_weight_decay() if hasattr(model, "no_weight_decay") else ()  # type: ignore[operator]
    if layer_decay == 1:
        return make.param_groups_weight_decay(model, weight_decay, no_weight_decay_list=exempt)
    return make.param_groups_layer_decay(model, weight_decay, no_weight_decay_list=exempt, layer_decay=layer_decay)


def has_batch_norm(model: nn.Module) -> bool:
    """True when pictures of one batch influence each other's output."""
    return any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in model.modules())
