"""The training loop: plain steps, a schedule, looks at val, checkpoints. The same one for all methods and stages."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import nullcontext
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
from train.augment import Views
from train.checkpoint import load_checkpoint, save_checkpoint
from train.data import Pictures
from train.metrics import cross_entropy
from train.models import parameter_groups
from train.ranks import stop_requests
from train.steps import Loss
from train.teacher import Teacher

LOG_EVERY = 20  # steps between two readings of the loss: reading it waits for the device


class Step(Protocol):
    """What makes the loss of a step, or of one of the parts that it is taken in: a dataclass with its student."""

    student: nn.Module

    def __call__(self, step: int, part: int = 0, parts: int = 1) -> Loss:
        """The loss, or the part's share of it."""
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
) -> Fitted:
    """Train one stage and return the weights with the best accuracy on val (ties: the lower cross entropy).

    Student and teacher are both looked at. Without `val` (pretraining) the last weights are the best. Goes on from `checkpoint` if it holds this stage of this very run; Ctrl-C and
    SIGTERM write one after the step that is under way and raise Interrupted. A checkpoint that cannot be written (a full
    disk) is said, and training goes on.
    """
    optimizer = make_optimizer(student, stage)
    log = _Log(stage, student)
    if stage.compile:
        student.compile()
        if teacher is not None:
            teacher.model.compile()
    loss_of = replace(loss_of, student=ranks.spread(student)) if ranks.size() > 1 else loss_of  # type: ignore[type-var]
    state = load_checkpoint(checkpoint)
    if state and (state["fingerprint"], state["stage"]) == (fingerprint, stage.name):
        run, step = _take_up(state, student, teacher, optimizer, log)
        say(f"{stage.name}: goes on at step {step} of {stage.steps}")
        _check_same(step, checkpoint)
    else:
        run, step = Fitted({}, {}), 0
        if val is not None:
            _look(run, 0, stage.steps, student, teacher, val, {})
    total = stage.steps * stage.images
    bar = progress(total, stage.name, " pictures", done=step * stage.images, shown=ranks.leads())
    began, saved = time.monotonic() - run.seconds, time.monotonic()
    part = ranks.number(), ranks.size()

    def save() -> str:
        """Write a checkpoint; what to say where that failed."""
        run.seconds = time.monotonic() - began
        log.join()
        if not ranks.leads():
            return ""
        try:
            save_checkpoint(checkpoint, _state(run, fingerprint, stage, step, student, teacher, optimizer, log))
        except OSError as error:
            return f"the checkpoint cannot be written ({error.strerror or error}); is the disk of {checkpoint.parent} full?"
        return ""

    with stop_requests() as stop:
        while step < stage.steps:
            log.add(update(student, loss_of, stage, step, optimizer, teacher, part))
            step += 1
            bar.update(stage.images)
            if step % LOG_EVERY == 0:
                log.check(step)
            if step % stage.eval_every == 0 or step == stage.steps:
                row = _look(run, step, stage.steps, student, teacher, val, log.read(step))
                bar.set_postfix_str(f"val {row['val_acc1']:.1%}" if val else f"loss {row['loss']:.3f}", refresh=False)
                for line in log.warnings(row):
                    say(line)
                if watch is not None:
                    watch(stage.name, row)
            stopping, due = ranks.any_of(stop.asked, ranks.leads() and time.monotonic() - saved > checkpoint_seconds)
            if stopping:
                bar.close()
                lost = save()
                where = f"but {lost}; it goes on from the one before" if lost else "the same command goes on from there"
                raise Interrupted(f"stopped at step {step} of {stage.steps} of {stage.name}; {where}")
            if due:
                if lost := save():
                    say(f"warning: {lost} Training goes on; a stop now would lose what came since the last one")
                saved = time.monotonic()
    bar.close()
    run.seconds = time.monotonic() - began
    return run


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
    return Loss(sum(loss.total.detach() for loss in losses), parts, sum(guesses) if guesses else None)  # type: ignore[arg-type]


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


class _Log:
    """Means of what the steps said since the last look, and what is worth a warning."""

    def __init__(self, stage: Stage, student: nn.Module) -> None:
        self._stage, self._student = stage, student
        self._sums: dict[str, Tensor] = {}
        self._guesses: Tensor | None = None
        self._n = 0
        self._warned: set[str] = set()

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self._sums, "guesses": self._guesses, "n": self._n, "warned": sorted(self._warned)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        mine = int(ranks.leads())  # the sums in a checkpoint are those of all processes together
        self._sums = {name: value * mine for name, value in state["sums"].items()}
        self._guesses, self._n = None if state["guesses"] is None else state["guesses"] * mine, state["n"]
        self._warned = set(state["warned"])

    def add(self, loss: Loss) -> None:
        for name, value in loss.parts.items():
            self._sums[name] = self._sums[name].to(value.device) + value if name in self._sums else value
        if (new := loss.guesses) is not None:
            self._guesses = new if self._guesses is None else self._guesses.to(new.device) + new
        self._n += 1

    def join(self) -> None:
        """The leader's sums become those of all processes, the others' zero: a checkpoint then holds everything."""
        if ranks.size() == 1:
            return
        self._sums = {name: ranks.total(value) * int(ranks.leads()) for name, value in self._sums.items()}
        self._guesses = None if self._guesses is None else ranks.total(self._guesses) * int(ranks.leads())

    def check(self, step: int) -> None:
        """Stop at once when a loss is no number any more, naming which; all processes at the same step."""
        self.join()
        sums = {name: ranks.share(float(value)) for name, value in self._sums.items()}
        bad = [name for name, value in sums.items() if name != "loss" and not math.isfinite(value)]
        bad = bad or [name for name, value in sums.items() if not math.isfinite(value)]
        if bad:
            broken = [name for name, value in self._student.named_parameters() if not torch.isfinite(value).all()]
            where = f"so is {broken[0]} ({len(broken)} of the weights)" if broken else "the weights still are numbers"
            raise UserError(
                f"{self._stage.name}: {bad[0]} is no longer a number before step {step}, {where}; the learning rate "
                f"({self._stage.lr:g}) is probably too high: try half with --set, or --set clip_grad=1"
            )

    def read(self, step: int) -> dict[str, float]:
        self.check(step)
        row = {name: ranks.share(float(value)) / self._n for name, value in self._sums.items()}
        self._guesses = ranks.share(self._guesses)
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


def _check_same(step: int, checkpoint: Path) -> None:
    """All processes go on from the same checkpoint, or none does."""
    if ranks.share(step) != step:
        raise UserError(
            f"{checkpoint}: processes see different checkpoints; the run folder must be on a disk that all share"
        )


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
        with torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(views.recipe.precision, device.type)):
            logits = model(views.plain(batch))
        found.append(logits.float().softmax(dim=1).cpu().numpy())
    model.train(was_training)
    return np.concatenate(found) if found else np.zeros((0, 0), dtype=np.float32)
