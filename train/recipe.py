"""Recipes: every number of a training run, where it comes from, and how a person changes one with `--set name=value`.

One frozen dataclass per kind of training; its defaults are the published numbers. A named recipe is the same dataclass
with other values. The run folder keeps the whole of it as JSON.

Sources: "mae" is the fine-tuning recipe of the masked-autoencoder study for ViT-B, "semi-vit" the published commands of
Semi-ViT for ViT-B at 10 % labels, "measured" our own runs on two CPU cores, "ours" a choice of this program.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from schemas.errors import UserError
from train.recipe_changes import check, parse

METHODS = ("resnet18", "vit", "semivit")


@dataclass(frozen=True)
class Supervised:
    """Supervised fine-tuning: `train resnet18`, `train vit`, and stage 1 of `train semivit`."""

    # model
    model: str = "vit_base_patch16_224.augreg_in21k"  # timm name; these weights are apache-2.0, MAE's are cc-by-nc-4.0
    model_args: str = ""  # further arguments of timm.create_model, e.g. "patch_size=4,depth=6"; ours: none
    pretrained: bool = True  # published weights, mae; False = random ones, for machines without
    pool: str = ""  # "avg" = mean of the patch tokens (mae); "" = as the model is published, timm
    head_std: float | None = 2e-5  # spread of a fresh head's weights on loaded ones, mae; None = the model's own
    drop_path: float = 0.1  # semi-vit, ViT-B 10 % labels
    # pictures
    image_size: int = 224  # px, mae
    crop_pct: float = 0.875  # evaluation: short side to image_size / crop_pct, then the center (224 of 256), mae
    crop_scale: float = 0.08  # least share of the picture in a random crop, mae
    flip: float = 0.5  # share mirrored left to right, mae
    rand_ops: int = 2  # RandAugment operations a picture, mae
    rand_magnitude: float = 9.0  # of 10, mae (rand-m9-mstd0.5-inc1)
    recolor: float = 0.0  # share of pictures with swapped color channels; ours, where color does not decide the class
    erase: float = 0.25  # share of pictures with a noise box, semi-vit
    mixup: float = 0.8  # Beta parameter, 0 = off, semi-vit
    cutmix: float = 1.0  # Beta parameter, 0 = off, semi-vit
    smoothing: float = 0.1  # of labels, mae
    # optimization
    batch_size: int = 512  # semi-vit: 8 GPUs x 64
    epochs: float = 100.0  # passes over the labeled pictures, semi-vit
    warmup_epochs: float = 5.0  # mae
    base_lr: float = 2.5e-4  # lr = base_lr x batch_size / 256, semi-vit
    min_lr: float = 1e-6  # mae
    weight_decay: float = 0.05  # not on 1-D parameters, position and class token, mae
    beta2: float = 0.999  # AdamW, mae
    layer_decay: float = 0.65  # each layer further from the head learns slower by this; 1 = off, semi-vit
    clip_grad: float | None = None  # largest gradient norm; none in mae
    accumulate: int = 1  # parts that a step is taken in, for less memory; the batch stays what it is, ours
    precision: str = "auto"  # bf16 on a GPU and fp32 on a CPU, or one of these for both; ours, the papers had fp16
    compile: bool = False  # torch.compile: faster on a GPU after a minute of thought, ours
    # judging
    eval_every: int = 100  # steps between two looks at val, ours

    @property
    def lr(self) -> float:
        """Peak learning rate: base_lr for 256 pictures, scaled to the batch."""
        return self.base_lr * self.batch_size / 256


@dataclass(frozen=True)
class SemiSupervised(Supervised):
    """Semi-ViT: stage 1 as above, then an EMA teacher and probabilistic pseudo mixup on the unlabeled pictures."""

    budget: str = "steps"  # "epochs" = semi_epochs passes over the pool, as in the paper; ours: the same for every pool
    semi_epochs: float = 100.0  # passes over the unlabeled pool with budget=epochs, semi-vit
    semi_steps: int = 44_375  # semi-vit: 100 passes over 284K unlabeled pictures, 640 a step; independent of the pool
    semi_batch: int = 128  # labeled pictures a step, semi-vit
    mu: float = 5.0  # unlabeled pictures per labeled one, semi-vit
    semi_base_lr: float = 1e-3  # lr = this x semi_batch / 256, semi-vit
    semi_warmup: float = 0.05  # share of the steps; semi-vit: 5 of 100 epochs
    semi_layer_decay: float = 0.75  # semi-vit
    threshold: float = 0.5  # semi-vit, ViT-B 10 %: the pair's greater confidence must reach it
    lambda_u: float = 5.0  # weight of the unlabeled loss, semi-vit
    lambda_warmup: float = 0.0  # share of the steps in which that weight grows from 0; semi-vit: none
    semi_cutmix: float = 0.5  # share of pairs joined by CutMix instead of Mixup, semi-vit
    semi_mixup_labeled: bool = True  # Mixup/CutMix on the labeled pictures in stage 2 too; semi-vit: off at 1 % labels
    ema_horizon: float = 0.056  # share of the run that the teacher remembers; semi-vit: 1e4 of 180K steps
    ema_decay: float | None = None  # overrides ema_horizon; semi-vit: .9999
    jitter: float = 0.4  # brightness, contrast, color of the weak view, semi-vit
    pool_has_labeled: bool = False  # labeled pictures in the unlabeled pool too; FixMatch does, semi-vit does not

    @property
    def semi_lr(self) -> float:
        """Peak learning rate of stage 2."""
        return self.semi_base_lr * self.semi_batch / 256

    @property
    def decay(self) -> float:
        """How much of the teacher stays at each step: the horizon is a share of the run, so short runs forget faster."""
        if self.ema_decay is not None:
            return self.ema_decay
        return max(0.0, 1 - 1 / max(1.0, self.ema_horizon * self.semi_steps))


@dataclass(frozen=True)
class Masked:
    """`train pretrain`: a masked autoencoder on pictures without labels, to start vit and semivit from."""

    # model
    model: str = "vit_base_patch16_224"  # timm name of a plain vision transformer, mae
    model_args: str = ""  # further arguments of timm.create_model, e.g. "patch_size=4,depth=6"; ours: none
    pretrained: bool = False  # random weights, mae; --weights FILE goes on from others
    pool: str = ""  # as the model is published: its last norm belongs to what is learned, mae
    head_std: float | None = None  # there is no head, mae
    drop_path: float = 0.0  # mae
    decoder_width: int = 512  # mae
    decoder_depth: int = 8  # mae
    decoder_heads: int = 16  # mae
    mask: float = 0.75  # share of the patches that the encoder does not see, mae
    normalize_patches: bool = True  # each patch's pixels by its own mean and spread before they are compared, mae
    # pictures
    image_size: int = 224  # px, mae
    crop_pct: float = 0.875  # only how large pictures are decoded, mae
    crop_scale: float = 0.2  # least share of the picture in a random crop, mae
    flip: float = 0.5  # share mirrored left to right, mae
    jitter: float = 0.0  # colors stay as they are, mae
    # optimization
    batch_size: int = 1024  # ours: fits one large GPU; mae has 4096, and the rate is for 256 either way
    epochs: float = 800.0  # passes over the pictures, mae
    warmup_epochs: float = 40.0  # mae
    base_lr: float = 1.5e-4  # lr = base_lr x batch_size / 256, mae
    min_lr: float = 0.0  # mae
    weight_decay: float = 0.05  # mae
    beta2: float = 0.95  # AdamW, mae
    layer_decay: float = 1.0  # off, mae
    clip_grad: float | None = None  # none in mae
    accumulate: int = 1  # parts that a step is taken in, for less memory; the batch stays what it is, ours
    precision: str = "auto"  # bf16 on a GPU and fp32 on a CPU, or one of these for both; ours, the papers had fp16
    compile: bool = False  # torch.compile: faster on a GPU after a minute of thought, ours
    eval_every: int = 100  # steps between two points of the loss curve, ours

    @property
    def lr(self) -> float:
        """Peak learning rate: base_lr for 256 pictures, scaled to the batch."""
        return self.base_lr * self.batch_size / 256


Recipe = Supervised | SemiSupervised


def with_budget(recipe: Recipe, n_labeled: int, n_pool: int) -> Recipe:
    """The recipe with the number of steps that its budget comes to on a pool of this size; a budget in steps stays."""
    if not isinstance(recipe, SemiSupervised) or recipe.budget == "steps" or not n_pool:
        return recipe
    pool = n_pool + n_labeled * recipe.pool_has_labeled
    a_step = min(round(recipe.mu * min(recipe.semi_batch, n_labeled)), pool)
    return replace(recipe, semi_steps=max(1, round(recipe.semi_epochs * pool / a_step)))


# timm's published fine-tuning of ResNet18 is for ImageNet from scratch; for a few thousand pictures a gentler one is usual.
_RESNET = Supervised(
    model="resnet18.a1_in1k", drop_path=0.0, crop_scale=0.2, base_lr=1e-3, layer_decay=1.0, batch_size=128, epochs=50,
    erase=0.0, mixup=0.0, cutmix=0.0,
)  # fmt: skip
_MAE: dict[str, Any] = {
    "model": "vit_base_patch16_224.mae",
    "pool": "avg",
}  # mae; weights are cc-by-nc-4.0

# Small models that start from random weights and train in about two minutes on two cores, for demos, tests and trying out.
# All measured on the drawn marketplace; they say nothing about what pretrained models reach.
_SMALL: dict[str, Any] = {
    "pretrained": False, "drop_path": 0.0, "recolor": 0.8, "image_size": 64, "crop_scale": 0.35, "rand_ops": 1, "rand_magnitude": 5.0,
    "erase": 0.0, "mixup": 0.0, "cutmix": 0.0, "batch_size": 32, "layer_decay": 1.0, "min_lr": 1e-5, "eval_every": 50,
}  # fmt: skip
_RESNET_CPU = Supervised(**_SMALL | {"model": "resnet18", "epochs": 24, "warmup_epochs": 2, "base_lr": 8e-3})
_VIT_CPU: dict[str, Any] = _SMALL | {  # a vision transformer with a convolutional stem: a plain one learns nothing from 500 pictures
    "model": "levit_128s", "epochs": 70, "warmup_epochs": 4, "base_lr": 8e-3, "eval_every": 100,
}  # fmt: skip
_SEMI_CPU: dict[str, Any] = _VIT_CPU | {
    "semi_steps": 300, "semi_epochs": 20, "semi_batch": 32, "mu": 2.0, "semi_base_lr": 1e-3, "semi_layer_decay": 1.0, "threshold": 0.6,
    "semi_mixup_labeled": False, "lambda_u": 1.0, "ema_horizon": 0.2,
}  # fmt: skip
# a quarter of the pictures: smaller batches, so that there are steps enough to learn in
_QUICK: dict[str, Any] = {"batch_size": 16, "base_lr": 1.2e-2, "epochs": 40, "eval_every": 80}

_MASKED_CPU = Masked(
    model="vit_tiny_patch16_224", model_args="patch_size=8,depth=6", image_size=64, decoder_width=96, decoder_depth=2,
    decoder_heads=3, batch_size=64, epochs=40, warmup_epochs=4, base_lr=1e-3,
)  # fmt: skip

PRETRAINING = {"default": Masked(), "paper": Masked(), "cpu": _MASKED_CPU}
RECIPES: dict[str, dict[str, Recipe]] = {
    "resnet18": {
        "default": _RESNET,
        "paper": _RESNET,
        "cpu": _RESNET_CPU,
        "cpu-quick": Supervised(**asdict(_RESNET_CPU) | _QUICK | {"epochs": 18}),
    },
    "vit": {
        "default": Supervised(),
        "paper": replace(Supervised(), **_MAE),
        "cpu": Supervised(**_VIT_CPU),
        "cpu-quick": Supervised(**_VIT_CPU | _QUICK),
    },
    "semivit": {
        "default": SemiSupervised(),
        "paper": replace(SemiSupervised(), **_MAE),
        "cpu": SemiSupervised(**_SEMI_CPU),
        "cpu-quick": SemiSupervised(**_SEMI_CPU | _QUICK | {"semi_steps": 60}),
    },
}


def recipe_for(method: str, name: str = "default", changes: Sequence[str] = ()) -> Recipe:
    """A method's recipe, named or from a TOML file, with `name=value` changes; a wrong name, type or range is one clear line."""
    return _changed(method, RECIPES[method], name, changes)


def pretraining_for(name: str = "default", changes: Sequence[str] = ()) -> Masked:
    """The same for `train pretrain`."""
    recipe = _changed("pretrain", PRETRAINING, name, changes)
    if recipe.decoder_width % recipe.decoder_heads or recipe.decoder_width % 4:
        raise UserError(f"decoder_width must divide by decoder_heads and by 4, got {recipe.decoder_width}")
    if not recipe.mask:
        raise UserError("mask must be above 0: what is not hidden is not learned from")
    return recipe


_R = typing.TypeVar("_R", Recipe, Masked)


def _changed(method: str, known: Mapping[str, _R], name: str, changes: Sequence[str]) -> _R:
    if name.endswith(".toml"):
        from train.recipe_file import read_changes

        name, changes = "default", [*read_changes(Path(name), method), *changes]
    if name not in known:
        raise UserError(f"--recipe {name}: {method} has the recipes {', '.join(known)}, or name a file.toml")
    recipe = known[name]
    values = dict(parse(type(recipe), change) for change in changes)
    return check(replace(recipe, **values))
