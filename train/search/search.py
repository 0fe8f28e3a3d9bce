"""`train search`: the numbers of a recipe that are best on val, by Bayesian search (Optuna). Test is never read.

OUT/
  search.db       the trials; several processes, also on several machines with --storage, work on one search
  stage1/         semivit: the ViT run that all trials start from     trial-*/   a run folder a trial; the best keeps its weights
  best.toml       the best recipe so far, for --recipe                index.html   the search in pictures
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from schemas.errors import UserError
from schemas.files import write_text
from schemas.manifest import read_manifest
from train import ranks
from train.folder import Busy, state_of
from train.recipe import recipe_for
from train.recipe_file import write_recipe
from train.request import Request
from train.run import train
from train.search.space import Axis, parse_axis, space_around

# What decides stage 1 alone: where one of these is searched, every Semi-ViT trial trains a stage 1 of its own.
_STAGE1 = ("base_lr", "layer_decay", "epochs", "warmup_epochs", "batch_size")


def search(
    request: Request, trials: int = 30, sampler: str = "gp", axes: tuple[str, ...] = (), storage: str | None = None
) -> dict[str, Any]:
    """Search until `trials` are finished, pruned and failed ones counted; goes on with what is there. Returns what the best one is.

    Any number of processes may do this at once. A trial that a killed process left is given back and tried again, from
    its last checkpoint.
    """
    import optuna

    ranks.alone("search")
    _quiet(optuna)
    request = replace(request, blind=True)
    recipe = recipe_for(request.method, request.recipe, request.changes)
    space = dict(parse_axis(text, recipe) for text in axes) or space_around(recipe)
    out = request.folder
    out.mkdir(parents=True, exist_ok=True)
    with _working(out) as worker:
        study = _open(optuna, request, storage, _identity(request, recipe, space))
        study.sampler = _sampler(optuna, sampler, request.seed * 1000 + len(study.trials))
        request = _with_stage1(request, recipe, space, out)
        study.enqueue_trial(
            {n: getattr(recipe, n) for n, a in space.items() if a.holds(getattr(recipe, n))}, skip_if_exists=True
        )
        while _counted(study, out) < trials:
            trial = study.ask()
            trial.set_user_attr("worker", worker)
            _try(optuna, study, trial, request, space, out)
            _tell_people(study, out, request, recipe)
        return _tell_people(study, out, request, recipe)


def _try(optuna: Any, study: Any, trial: Any, request: Request, space: Mapping[str, Axis], out: Path) -> None:
    """Train one trial, as far as it is worth it."""
    values = {name: _suggest(trial, name, axis) for name, axis in space.items()}
    changes = tuple(
        f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in values.items()
    )
    name = f"trial-{hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:10]}"
    trial.set_user_attr("folder", name)
    last = "stage2" if request.method == "semivit" else "train"

    def watch(stage: str, row: dict[str, Any]) -> None:
        if stage == last:
            trial.report(row["val_acc1"], row["step"])
            if trial.should_prune():
                raise optuna.TrialPruned

    _say(f"trial {trial.number}: {', '.join(f'{key} {_short(value)}' for key, value in values.items())}")
    try:
        record = train(replace(request, out=out / name, changes=(*request.changes, *changes)), watch)
    except optuna.TrialPruned:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        shutil.rmtree(out / name, ignore_errors=True)
        _say(f"trial {trial.number}: pruned, worse than most at this step")
        return
    except Busy:  # two workers drew the very same numbers
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        return
    except UserError as error:
        if error.exit_code != 1:
            raise
        trial.set_user_attr("failed", str(error))
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        if not _knows_trials(study):  # nothing has ever worked: the search cannot
            raise
        _say(f"trial {trial.number}: failed: {error}")
        return
    best = record["best"][last]
    trial.set_user_attr("val_ce", best["val_ce"])
    study.tell(trial, best["val_acc1"])
    _say(f"trial {trial.number}: val {best['val_acc1']:.1%}, best so far {study.best_value:.1%}")
    _drop_weights(out, study.best_trial.user_attrs["folder"], name)


def _drop_weights(out: Path, best: str, name: str) -> None:
    """Only the best trial keeps its weights; the others keep their record and curve."""
    for folder in out.glob("trial-*"):
        if folder.name != best and (folder / "run.json").exists():
            (folder / "model.safetensors").unlink(missing_ok=True)


def _suggest(trial: Any, name: str, axis: Axis) -> Any:
    if axis.choices:
        return trial.suggest_categorical(name, list(axis.choices))
    if axis.whole:
        return trial.suggest_int(name, round(axis.low), round(axis.high), log=axis.log)
    return trial.suggest_float(name, axis.low, axis.high, log=axis.log)


def _open(optuna: Any, request: Request, given: str | None, identity: str) -> Any:
    """The search on its storage, new or to go on with; UserError when another one is there."""
    out = request.folder
    url = given or f"sqlite:///{(out / 'search.db').resolve()}"
    name = out.name
    storage = optuna.storages.RDBStorage(
        url, engine_kwargs={"connect_args": {"timeout": 60}} if url.startswith("sqlite") else None
    )
    study = optuna.create_study(
        study_name=name, storage=storage, direction="maximize", load_if_exists=True,
        pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=1),
    )  # fmt: skip
    if "identity" not in study.user_attrs:
        study.set_user_attr("identity", identity)
    elif study.user_attrs["identity"] != identity:
        raise UserError(f"{out}: holds another search (other recipe, data or space); choose another --out")
    return study


def _sampler(optuna: Any, name: str, seed: int) -> Any:
    """What proposes trials. Each worker has a seed of its own: those that draw the same numbers would do the same work."""
    kinds: dict[str, Callable[[], Any]] = {
        "gp": lambda: optuna.samplers.GPSampler(seed=seed, n_startup_trials=8),
        "tpe": lambda: optuna.samplers.TPESampler(seed=seed, multivariate=True, constant_liar=True, n_startup_trials=8),
    }
    if name not in kinds:
        raise UserError(f"--sampler {name}: choose gp (Gaussian process) or tpe")
    return kinds[name]()


def _counted(study: Any, out: Path) -> int:
    """Trials finished, pruned, or under way in a living process; those of dead ones are given back."""
    counted = 0
    for trial in study.get_trials(deepcopy=False):
        state = trial.state.name
        if state == "RUNNING" and not _lives(out, trial.user_attrs.get("worker")):
            if _gave_up(study, trial):
                study.enqueue_trial(trial.params)
                _say(f"trial {trial.number} was left by a process that is gone: it is tried again")
        elif state in ("COMPLETE", "PRUNED", "RUNNING") or "failed" in trial.user_attrs:
            counted += 1
    return counted


def _gave_up(study: Any, trial: Any) -> bool:
    """Mark a dead process's trial as failed; False where another worker, who saw it at the same time, was quicker."""
    from optuna.exceptions import UpdateFinishedTrialError

    try:
        study.tell(trial.number, state=type(trial.state).FAIL)
    except (UpdateFinishedTrialError, ValueError):  # found finished before, or while, it is written
        return False
    return True


@contextmanager
def _working(out: Path) -> Iterator[str]:
    """A name for this process that others can see living: a locked file, free again however the process ends."""
    name = f"{os.uname().nodename}-{os.getpid()}"
    folder = out / "workers"
    folder.mkdir(exist_ok=True)
    with (folder / name).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield name
        finally:
            (folder / name).unlink(missing_ok=True)


def _lives(out: Path, worker: str | None) -> bool:
    """Whether a worker's process is there; one that has not said its name yet has only just begun."""
    if worker is None:
        return True
    path = out / "workers" / worker
    if not path.exists():
        return False
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    path.unlink(missing_ok=True)
    return False


def _with_stage1(request: Request, recipe: Any, space: Mapping[str, Axis], out: Path) -> Request:
    """semivit: the request with a stage 1 that all trials share, trained here where it is missing."""
    if request.method != "semivit" or request.stage1 is not None or set(space) & set(_STAGE1):
        return request
    folder = out / "stage1"
    own = {name: value for name, value in asdict(recipe).items() if name in asdict(recipe_for("vit"))}
    write_recipe(type(recipe_for("vit"))(**own), "vit", out / "stage1.toml")
    first = replace(request, method="vit", recipe=str(out / "stage1.toml"), changes=(), out=folder, unlabeled=None,
                    unlabeled_base=None)  # fmt: skip
    while state_of(folder) != "done":
        _say("stage 1, which all trials start from:")
        try:
            train(first)
        except Busy:
            _say("another worker is training it; waiting")
            time.sleep(5)
    train(first)  # finished: says so if it is another one
    return replace(request, stage1=folder)


def _identity(request: Request, recipe: Any, space: Mapping[str, Axis]) -> str:
    manifest = read_manifest(request.manifest).manifest_id
    axes = {name: asdict(axis) for name, axis in space.items()}
    parts = [
        request.method,
        asdict(recipe),
        axes,
        manifest,
        request.label_fraction,
        request.unlabeled,
        request.unlabeled_base,
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _knows_trials(study: Any) -> bool:
    return any(trial.state.name in ("COMPLETE", "PRUNED") for trial in study.get_trials(deepcopy=False))


def _tell_people(study: Any, out: Path, request: Request, recipe: Any) -> dict[str, Any]:
    """Write the best recipe and the page; returns the best trial."""
    from train.search.page import page

    if not any(trial.state.name == "COMPLETE" for trial in study.get_trials(deepcopy=False)):
        return {}
    best = study.best_trial
    write_recipe(replace(recipe, **best.params), request.method, out / "best.toml")
    write_text(out / "index.html", page(study, recipe))
    return {"trial": best.number, "val_acc1": best.value, "params": best.params, "recipe": out / "best.toml",
            "page": out / "index.html"}  # fmt: skip


def _short(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _quiet(optuna: Any) -> None:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
