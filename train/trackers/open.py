"""The trackers of a run: opened when it begins to train, and given its record when it is finished."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from train import ranks
from train.request import Request
from train.trackers.told import About, Trackers, asked_for, made


def trackers_of(
    request: Request, recipe: dict[str, Any], known: dict[str, Any], license_: str, device: str
) -> Trackers:
    """Those asked for, told by the leader alone: the other processes have none.

    Args:
        recipe: its numbers by name.
        known: further parameters: counts, weights.
    """
    folder = request.folder
    params = {
        **recipe,
        "seed": request.seed,
        "label_fraction": request.label_fraction,
        "unlabeled": request.unlabeled,
        **known,
    }
    tags = {
        "task": request.manifest.stem, "method": request.method, "recipe": request.recipe, "folder": str(folder),
        "license": license_, "device": device,
    }  # fmt: skip
    about = About(folder.name, folder, params, tags)
    return Trackers(about, {name: made(name) for name in asked_for(request.log) if ranks.leads()}, ranks.say)


def tell_end(trackers: Trackers, record: dict[str, Any], folder: Path) -> None:
    """The figures of a finished run by name, and the small files of its folder."""
    metrics = {f"test/{name}": value for name, value in record.get("test", {}).items()}
    metrics |= {f"{stage}/best_val_acc1": row["val_acc1"] for stage, row in record.get("best", {}).items()}
    metrics |= {f"usage/{name}": value for name, value in record["usage"].items()}
    trackers.end(metrics, [folder / name for name in ("run.json", "metrics.json", "curve.json", "recipe.toml")])
