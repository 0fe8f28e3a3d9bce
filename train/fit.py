"""The training loop: plain steps, a schedule, looks at val, checkpoints. The same one for all methods and stages."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from schemas.errors import Interrupted, UserError
from schemas.progress import progress
from train.augment import Views
from train.checkpoint import load_checkpoint, save_checkpoint
from train.data import Pictures
from train.metrics import cross_entropy
from train.models import parameter_groups
from train.steps import Loss
from train.teacher import Teacher

CHECKPOINT_SECONDS = 60.0
LOG_EVERY = 20  # steps between two readings of the loss: reading it waits for the device


@dataclass(frozen=True)
class Stage:
    """How one stage is optimized."""

    name: str
    steps: int
    warmup: int
    lr: float
    min_lr: float
    weight_decay: float
    layer_decay: float
    beta2: float
    clip_grad: float | None
    eval_every: int
    images: int  # pictures the student sees a step, for the rate


@dataclass
class Held:
    """Pictures with known answers that are looked at while training."""

    pictures: Pictures
    positions: np.ndarray
    truth: np.ndarray
    views: Views
    device: torch.device

    def probs(self, model: nn.Module) -> np.ndarray:
        """The model's probabilities for them. [n, K]"""
        return predict_probs(model, self.pictures, self.positions, self.views, self.device)


@dataclass
class Fitted:
    """What a stage leaves: the weights val chose, and the curve."""

    best: dict[str, Tensor]
    best_row: dict[str, Any]
    curve: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


def learning_rate(step: int, stage: Stage) -> float:
    """Linear from 0 during warm-up, then half a cosine down to min_lr."""
    if step < stage.warmup:
        return stage.lr * step / stage.warmup
    done = (step - stage.warmup) / max(1, stage.steps - stage.warmup)
    return stage.min_lr + (stage.lr - stage.min_lr) * 0.5 * (1 + math.cos(math.pi * done))


def fit(
    student: nn.Module,
    loss_of: Callable[[int], Loss],
    stage: Stage,
    val: Held | None,
    checkpoint: Path,
    fingerprint: str,
    teacher: Teacher | None = None,
    say: Callable[[str], None] = print,
) -> Fitted:
    """Train one stage and return the weights with the best accuracy on val (ties: the lower cross entropy).

    Student and teacher are both looked at. Without `val` (pretraining) the last weights are the best. Goes on from `checkpoint` if it holds this stage of this very run; Ctrl-C and
    SIGTERM write one and raise Interrupted.
    """
    optimizer = make_optimizer(student, stage)
    log = _Log(stage)
    state = load_checkpoint(checkpoint)
    if state and (state["fingerprint"], state["stage"]) == (fingerprint, stage.name):
        run, step = _take_up(state, student, teacher, optimizer, log)
        say(f"{stage.name}: goes on at step {step} of {stage.steps}")
    else:
        run, step = Fitted({}, {}), 0
        if val is not None:
            _look(run, 0, stage.steps, student, teacher, val, {})
    bar = progress(stage.steps * stage.images, stage.name, " pictures", done=step * stage.images)
    began, saved = time.monotonic() - run.seconds, time.monotonic()

    def save() -> None:
        run.seconds = time.monotonic() - began
        save_checkpoint(checkpoint, _state(run, fingerprint, stage, step, student, teacher, optimizer, log))

    try:
        while step < stage.steps:
            log.add(update(student, loss_of, stage, step, optimizer, teacher))
            step += 1
            bar.update(stage.images)
            if step % LOG_EVERY == 0:
                log.check(step)
            if step % stage.eval_every == 0 or step == stage.steps:
                row = _look(run, step, stage.steps, student, teacher, val, log.read(step))
                bar.set_postfix_str(f"val {row['val_acc1']:.1%}" if val else f"loss {row['loss']:.3f}", refresh=False)
                for line in log.warnings(row):
                    say(line)
            if time.monotonic() - saved > CHECKPOINT_SECONDS:
                save()
                saved = time.monotonic()
    except KeyboardInterrupt:
        bar.close()
        save()
        raise Interrupted(
            f"stopped at step {step} of {stage.steps} of {stage.name}; the same command goes on from there"
        ) from None
    bar.close()
    run.seconds = time.monotonic() - began
    return run


def make_optimizer(student: nn.Module, stage: Stage) -> torch.optim.Optimizer:
    """AdamW over the groups of the model, at the stage's peak rate."""
    groups = parameter_groups(student, stage.weight_decay, stage.layer_decay)
    return torch.optim.AdamW(groups, lr=stage.lr, betas=(0.9, stage.beta2), fused=True)


def update(
    student: nn.Module,
    loss_of: Callable[[int], Loss],
    stage: Stage,
    step: int,
    optimizer: torch.optim.Optimizer,
    teacher: Teacher | None,
) -> Loss:
    """One optimizer step, then the teacher's."""
    rate = learning_rate(step, stage)
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)
    student.train()
    device = next(student.parameters()).device.type
    with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
        loss = loss_of(step)
    optimizer.zero_grad(set_to_none=True)
    loss.total.backward()
    if stage.clip_grad is not None:
        nn.utils.clip_grad_norm_(student.parameters(), stage.clip_grad)
    optimizer.step()
    if teacher is not None:
        teacher.update(student)
    return loss


def _look(
    run: Fitted,
    step: int,
    last: int,
    student: nn.Module,
    teacher: Teacher | None,
    val: Held | None,
    said: dict[str, float],
) -> dict[str, Any]:
    """Judge student and teacher on val, note it in the curve, keep the best weights since the first step."""
    row: dict[str, Any] = {"step": step, **said}
    if val is None:
        run.curve.append(row)
        if step == last:
            run.best_row = {"who": "student", **row}
            run.best = {name: value.detach().cpu().clone() for name, value in student.state_dict().items()}
        return row
    for who, model in {"student": student, "teacher": teacher.model if teacher else None}.items():
        if model is None:
            continue
        probs = val.probs(model)
        acc = float((probs.argmax(axis=1) == val.truth).mean())
        ce = cross_entropy(probs, val.truth)
        row |= {f"{who}_acc1": acc, f"{who}_ce": ce}
        best = run.best_row
        if step == 0 < last:
            continue  # where the stage begins is the stage before, and its figure is reported beside this one
        if not best or (acc, -ce) > (best["val_acc1"], -best["val_ce"]):
            run.best_row = {"step": step, "who": who, "val_acc1": acc, "val_ce": ce}
            run.best = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}
    row["val_acc1"] = max(row["student_acc1"], row.get("teacher_acc1", 0.0))
    run.curve.append(row)
    return row


class _Log:
    """Means of what the steps said since the last look, and what is worth a warning."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._sums: dict[str, Tensor] = {}
        self._guesses: Tensor | None = None
        self._n = 0
        self._warned: set[str] = set()

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self._sums, "guesses": self._guesses, "n": self._n, "warned": sorted(self._warned)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._sums, self._guesses, self._n = state["sums"], state["guesses"], state["n"]
        self._warned = set(state["warned"])

    def add(self, loss: Loss) -> None:
        for name, value in loss.parts.items():
            self._sums[name] = self._sums[name] + value if name in self._sums else value
        if loss.guesses is not None:
            self._guesses = loss.guesses if self._guesses is None else self._guesses + loss.guesses
        self._n += 1

    def check(self, step: int) -> None:
        """Stop at once when a loss is no number any more, naming which."""
        bad = [name for name, value in self._sums.items() if name != "loss" and not torch.isfinite(value)]
        bad = bad or [name for name, value in self._sums.items() if not torch.isfinite(value)]
        if bad:
            raise UserError(
                f"{self._stage.name}: {bad[0]} is no longer a number before step {step}; the learning rate "
                f"({self._stage.lr:g}) is probably too high: try half with --set"
            )

    def read(self, step: int) -> dict[str, float]:
        self.check(step)
        row = {name: float(value) / self._n for name, value in self._sums.items()}
        if self._guesses is not None:
            shares = self._guesses.double() / self._guesses.sum()
            row["guess_entropy"] = float(-(shares * shares.clamp(min=1e-12).log()).sum() / math.log(len(shares)))
            row["guess_largest"] = float(shares.max())
        self._sums, self._guesses, self._n = {}, None, 0
        return row

    def warnings(self, row: dict[str, Any]) -> list[str]:
        """Each said once: a teacher that guesses one class, a teacher that is never sure."""
        lines = {}
        if row.get("guess_largest", 0) > 0.9:
            lines["collapse"] = (
                f"warning: {row['guess_largest']:.0%} of the teacher's guesses are one class (step {row['step']}): it is "
                "collapsing; try a lower --set lambda_u or more labels"
            )
        if row.get("sure", 1) < 0.02:
            lines["unsure"] = (
                f"warning: only {row['sure']:.1%} of the unlabeled pairs count at step {row['step']}: the teacher is unsure; "
                "a lower --set threshold lets it speak"
            )
        new = [line for name, line in lines.items() if name not in self._warned]
        self._warned |= set(lines)
        return new


def _state(
    run: Fitted,
    fingerprint: str,
    stage: Stage,
    step: int,
    student: nn.Module,
    teacher: Teacher | None,
    optimizer: torch.optim.Optimizer,
    log: _Log,
) -> dict[str, Any]:
    """Everything that the next step depends on; random numbers depend on the step alone."""
    return {
        "fingerprint": fingerprint,
        "stage": stage.name,
        "step": step,
        "student": student.state_dict(),
        "teacher": teacher.state_dict() if teacher else None,
        "optimizer": optimizer.state_dict(),
        "log": log.state_dict(),
        **vars(run),
    }


def _take_up(
    state: dict[str, Any], student: nn.Module, teacher: Teacher | None, optimizer: torch.optim.Optimizer, log: _Log
) -> tuple[Fitted, int]:
    """The run as its checkpoint left it, and the step it goes on with."""
    student.load_state_dict(state["student"])
    optimizer.load_state_dict(state["optimizer"])
    log.load_state_dict(state["log"])
    if teacher is not None:
        teacher.load_state_dict(state["teacher"])
    return Fitted(state["best"], state["best_row"], state["curve"], state["seconds"]), int(state["step"])


@torch.no_grad()
def predict_probs(
    model: nn.Module,
    pictures: Pictures,
    positions: np.ndarray,
    views: Views,
    device: torch.device,
    batch_size: int = 128,
) -> np.ndarray:
    """The model's probabilities for some pictures, calmly (evaluation mode), in their order. [n, K] float32"""
    was_training = model.training
    model.eval()
    found = []
    for start in range(0, len(positions), batch_size):
        batch = pictures.batch(positions[start : start + batch_size]).to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = model(views.plain(batch))
        found.append(logits.float().softmax(dim=1).cpu().numpy())
    model.train(was_training)
    return np.concatenate(found) if found else np.zeros((0, 0), dtype=np.float32)
