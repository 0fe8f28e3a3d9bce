"""What a person asked of one training run, and the folder that it goes to."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from schemas.errors import UserError
from schemas.manifest import picture_root
from train.recipe import METHODS

HOLDS = ("auto", "device", "memory", "stream")  # where a run may keep its pictures: train/feed/hold.py


@dataclass(frozen=True)
class Request:
    """What a person asked for on the command line."""

    method: str
    manifest: Path
    recipe: str = "default"
    changes: tuple[str, ...] = ()
    label_fraction: float = 1.0
    unlabeled: str | None = None
    unlabeled_base: int | None = None  # what a share of `unlabeled` is a share of; None = the manifest's own pool
    out: Path | None = None
    weights: Path | None = None
    seed: int = 0
    stage1: Path | None = None
    pictures: Path | None = None
    hold: str = "auto"  # where the pictures are kept; changes the speed and nothing else
    max_hours: float = 2.0
    fresh: bool = False
    resume: bool = False  # go on with an unfinished run, or say that there is none
    checkpoint_minutes: float = 1.0
    log: tuple[str, ...] | None = None  # trackers to tell; None = TensorBoard where it is installed
    price_per_hour: float | None = None  # dollars for an hour of a GPU, without one of the machine
    blind: bool = False  # test is neither read nor judged, the pool not predicted: a trial of a search

    def __post_init__(self) -> None:
        if self.hold not in HOLDS:
            raise UserError(f"--hold {self.hold}: say one of {', '.join(HOLDS)}")

    @property
    def name(self) -> str:
        """<task>-<method>-<label percent>-s<seed>, with the share of the pool where one was asked for."""
        pool = f"-u{self.unlabeled.replace('%', 'pct')}" if self.unlabeled else ""
        return f"{self.manifest.stem}-{self.method}-{100 * self.label_fraction:g}{pool}-s{self.seed}"

    @property
    def folder(self) -> Path:
        """Where the run goes: a folder of its name in the workspace's `runs` unless said otherwise."""
        return self.out if self.out is not None else picture_root(self.manifest) / "runs" / self.name


def for_search(method: str, manifest: Path, **asked: Any) -> Request:
    """The run that a search is around; its folder, if none is named, is the search's own."""
    if method not in METHODS:
        raise UserError(f"--method {method}: choose {', '.join(METHODS)}")
    request = Request(method, manifest, **asked)
    if request.out is not None:
        return request
    folder = request.folder
    return replace(request, out=folder.with_name(f"{folder.name}-search"))
