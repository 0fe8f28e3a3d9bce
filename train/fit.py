"""The training loop: plain steps, a schedule, looks at val, checkpoints. The same one for all methods and stages."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from schemas.errors import Interrupted, UserError
from schemas.progress import progress
from train import ranks
from train.account import Account
from train.augment import Views
from train.checkpoint import load_checkpoint, save_checkpoint
from train.feed.ahead import in_turn
from train.feed.pictures import Pictures
from train.judge.metrics import cross_entropy
from train.log import Log
from train.models import parameter_groups
from train.ranks import stop_requests
from train.steps import Loss
from train.teacher import Teacher
from train.trackers.told import Trackers

LOG_EVERY = 20  # steps between two readings of the loss: reading it waits for the device


class Step(Protocol):
    """What makes the loss of a step, or of one of the parts that it is taken in: a dataclass with its student."""

    student: nn.Module

    def __call__(self, step: int, part: int = 0, parts: int = 1) -> Loss:
        """The loss, or the part's share of it."""
        ...

    def close(self) -> None:
        """End the threads that make its batches; a call begins new ones."""
        ...


Watch = Callable[[str, dict[str, Any]], None]  # told the stage and the row of the curve after each look at val


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
    accumulate: int = 1  # parts that each process takes a step in
    precision: str = "auto"
    compile: bool = False


@dataclass
class Held:
    """Pictures with known answers that are looked at while training."""

    pictures: Pictures
    positions: np.ndarray
    truth: np.ndarray
    views: Views
    device: torch.device

    def probs(self, model: nn.Module) -> np.ndarray:
        """The model's probabilities for them, each process its part. [n, K]"""
        work = partial(predict_probs, model, self.pictures, views=self.views, device=self.device)
        return ranks.in_parts(lambda positions: work(positions=positions), self.positions)


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
    loss_of: Step,
    stage: Stage,
    val: Held | None,
    checkpoint: Path,
    fingerprint: str,
    teacher: Teacher | None = None,
    say: Callable[[str], None] = print,
    checkpoint_seconds: float = 60.0,
    watch: Watch | None = None,
    trackers: Trackers | None = None,
    account: Account | None = None,
) -> Fitted:
    """Train one stage and return the weights with the best accuracy on val (ties: the lower cross entropy).

    Student and teacher are both looked at. Without `val` (pretraining) the last weights are the best. Goes on from
    `checkpoint` if it holds this stage of this very run; Ctrl-C and SIGTERM write one after the step that is under way and
    raise Interrupted. A checkpoint that cannot be written (a full disk) is said, and training goes on.
    """
    now = _Training(student, teacher, make_optimizer(student, stage), Log(stage, student))
    if stage.compile:
        for model in [student] if teacher is None else [student, teacher.model]:
            model.compile()
    loss_of = replace(loss_of, student=ranks.spread(student)) if ranks.size() > 1 else loss_of  # type: ignore[type-var]
    if now.take_up(checkpoint, fingerprint, stage):
        say(f"{stage.name}: goes on at step {now.step} of {stage.steps}")
    elif val is not None:
        _look(now.run, 0, stage.steps, student, teacher, val, {})
    tell(trackers, stage, now.run.curve)
    bar = progress(stage.steps * stage.images, stage.name, " pictures", now.step * stage.images, ranks.leads())
    began, saved = time.monotonic() - now.run.seconds, time.monotonic()
    with stop_requests() as stop, closing(loss_of):
        while now.step < stage.steps:
            now.log.add(
                update(student, loss_of, stage, now.step, now.optimizer, teacher, (ranks.number(), ranks.size()))
            )
            now.step += 1
            now.run.seconds = time.monotonic() - began
            bar.update(stage.images)
            if now.step % LOG_EVERY == 0:
                now.log.check(now.step)
            if now.step % stage.eval_every == 0 or now.step == stage.steps:
                row = _look(now.run, now.step, stage.steps, student, teacher, val, now.log.read(now.step))
                bar.set_postfix_str(f"val {row['val_acc1']:.1%}" if val else f"loss {row['loss']:.3f}", refresh=False)
                _tell(now.log.warnings(row), say)
                tell(trackers, stage, [row])
                if watch is not None:
                    watch(stage.name, row)
            stopping, due = ranks.any_of(stop.asked, ranks.leads() and time.monotonic() - saved > checkpoint_seconds)
            if not (stopping or due):
                continue
            lost = now.save(checkpoint, fingerprint, stage)
            if account is not None:
                account.note()
            saved = time.monotonic()
            if stopping:
                bar.close()
                where = f"but {lost}; it goes on from the one before" if lost else "the same command goes on from there"
                raise Interrupted(f"stopped at step {now.step} of {stage.steps} of {stage.name}; {where}")
            if lost:
                say(f"warning: {lost} Training goes on; a stop now would lose what came since the last one")
    bar.close()
    now.run.seconds = time.monotonic() - began
    return now.run


def tell(trackers: Trackers | None, stage: Stage, rows: list[dict[str, Any]]) -> None:
    """Rows of the curve, with the rate at their step; at a later start those of the earlier ones too."""
    if trackers is not None:
        for row in rows:
            trackers.row(stage.name, {**row, "lr": learning_rate(row["step"], stage)})


def _tell(lines: list[str], say: Callable[[str], None]) -> None:
    for line in lines:
        say(line)


@dataclass
class _Training:
    """Everything that the next step depends on; random numbers depend on its number alone."""

    student: nn.Module
    teacher: Teacher | None
    optimizer: torch.optim.Optimizer
    log: Log
    run: Fitted = field(default_factory=lambda: Fitted({}, {}))
    step: int = 0

    def save(self, path: Path, fingerprint: str, stage: Stage) -> str:
        """Write a checkpoint, the leader for all; returns what to say where that failed."""
        self.log.join()
        if not ranks.leads():
            return ""
        try:
            save_checkpoint(path, {
                "fingerprint": fingerprint, "stage": stage.name, "step": self.step, "student": self.student.state_dict(),
                "teacher": self.teacher.state_dict() if self.teacher else None, "optimizer": self.optimizer.state_dict(),
                "log": self.log.state_dict(), **vars(self.run),
            })  # fmt: skip
        except OSError as error:
            return f"the checkpoint cannot be written ({error.strerror or error}); is the disk of {path.parent} full?"
        return ""

    def take_up(self, path: Path, fingerprint: str, stage: Stage) -> bool:
        """Go on as the checkpoint says, if it holds this stage of this very run; all processes from the same one."""
        state = load_checkpoint(path)
        found = state is not None and (state["fingerprint"], state["stage"]) == (fingerprint, stage.name)
        self.step = int(state["step"]) if state is not None and found else 0
        if ranks.share(self.step) != self.step:
            raise UserError(
                f"{path}: processes see different checkpoints; the run folder must be on a disk that all share"
            )
        if state is None or not found:
            return False
        self.student.load_state_dict(state["student"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.log.load_state_dict(state["log"])
        if self.teacher is not None:
            self.teacher.load_state_dict(state["teacher"])
        self.run = Fitted(state["best"], state["best_row"], state["curve"], state["seconds"])
        return True


def make_optimizer(student: nn.Module, stage: Stage) -> torch.optim.Optimizer:
    """AdamW over the groups of the model, at the stage's peak rate."""
    groups = parameter_groups(student, stage.weight_decay, stage.layer_decay)
    return torch.optim.AdamW(groups, lr=stage.lr, betas=(0.9, stage.beta2), fused=True)


def update(
    student: nn.Module,
    loss_of: Step,
    stage: Stage,
    step: int,
    optimizer: torch.optim.Optimizer,
    teacher: Teacher | None,
    part: tuple[int, int] = (0, 1),
) -> Loss:
    """One optimizer step, then the teacher's. The loss is this process's share; `part` is its number and how many there are."""
    rate = learning_rate(step, stage)
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)
    student.train()
    device = next(student.parameters()).device.type
    number, processes = part
    optimizer.zero_grad(set_to_none=True)
    losses = []
    for turn in range(stage.accumulate):
        last = turn == stage.accumulate - 1
        with nullcontext() if last else ranks.unsynced(loss_of.student):
            with torch.autocast(device, torch.bfloat16, enabled=uses_bf16(stage.precision, device)):
                loss = loss_of(step, number * stage.accumulate + turn, processes * stage.accumulate)
            (loss.total * processes).backward()  # DDP takes the mean over processes, the parts are to be added
        losses.append(loss)
    if stage.clip_grad is not None:
        nn.utils.clip_grad_norm_(student.parameters(), stage.clip_grad)
    optimizer.step()
    if processes > 1:
        ranks.average_buffers(student)
    if teacher is not None:
        teacher.update(student)
    return losses[0] if len(losses) == 1 else _sum(losses)


def _sum(losses: list[Loss]) -> Loss:
    """The parts of a step as one."""
    parts = {name: torch.stack([loss.parts[name] for loss in losses]).sum() for name in losses[0].parts}
    guesses = [loss.guesses for loss in losses if loss.guesses is not None]
    return Loss(sum(loss.total.detach() for loss in losses), parts, sum(guesses) if guesses else None, losses[0].labels)  # type: ignore[arg-type]


def uses_bf16(precision: str, device: str) -> bool:
    """Whether a recipe's precision means bf16 on this kind of device."""
    return precision == "bf16" or (precision == "auto" and device == "cuda")


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
    batches = [positions[start : start + batch_size] for start in range(0, len(positions), batch_size)]
    for batch in in_turn(pictures, batches, device):
        with torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(views.recipe.precision, device.type)):
            logits = model(views.plain(batch))
        found.append(logits.float().softmax(dim=1))
    model.train(was_training)
    return torch.cat(found).cpu().numpy() if found else np.zeros((0, 0), dtype=np.float32)
