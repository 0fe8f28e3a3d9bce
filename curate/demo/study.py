"""The paper's study on this machine: a drawn marketplace for each task becomes a data set, then `train study` runs on them.

Everything lies in one folder: TASK/ holds a marketplace and its workspace, study.toml what is trained, runs/ the runs and the
report pages. A data set that is finished is not touched again, so a stop of any kind costs only what was under way.
"""

from __future__ import annotations

import fcntl
import json
import tomllib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from curate.demo.process import run
from curate.demo.story import Size, Story, say, stopped_kindly, tell_story
from schemas.errors import UserError
from schemas.files import write_text

# within 6 bits are 97 % of the resellers' photos; 10 bits, the default, are near 200,000 strangers too among 7,000 tops on white
_SETTINGS = ("crowd.budget_usd=150", "pictures.near_bits=6")


def _size(scale: float) -> Size:
    """Enough pictures for the labels and for the largest pool that the study asks for."""
    return Size(scale, label_share=1.0, recipe="", workers=12, minutes="", asked=3_000, settings=_SETTINGS)


SIZES = {"vestneck": _size(6.0), "phone": _size(6.0), "apron": _size(12.0)}
QUICK_SIZES = {"apron": Size(scale=0.24, label_share=0.6, recipe="", workers=9, minutes="")}
HOURS, QUICK_HOURS = "a night (8 to 12 hours)", "about 4 minutes"


def tell(out: Path | None, quick: bool, images: Path | None, study: bool, seed: int) -> list[Path]:
    """What `curate demo` was asked for, the story or the study; returns the pages to open."""
    if study and images:
        raise UserError("--study draws its own pictures; leave --images out, or use `train study` on your manifests")
    if study:
        return tell_study(out or Path("study"), quick, seed)
    return [tell_story(out or Path("demo"), quick, images, seed)]


def tell_study(out: Path, quick: bool = False, seed: int = 0, max_hours: float = 12.0) -> list[Path]:
    """Make the data sets that the study names and train its runs; returns the report pages.

    Raises UserError or Interrupted with how to go on.
    """
    out = out.absolute()
    out.mkdir(parents=True, exist_ok=True)
    say(
        f"this takes {QUICK_HOURS if quick else HOURS} on 2 cores; all in {out}, Ctrl-C stops it, the same command goes on"
    )
    with alone(out), stopped_kindly(f"stopped; the same command with --out {out} goes on where it was"):
        same_as_before(out, {"quick": quick, "seed": seed})
        study = study_file(out, quick)
        for task in tasks_of(study, quick):
            make_data(out / task, task, (QUICK_SIZES if quick else SIZES)[task], seed)
        say(f"\n[study] every run, then a report page for each task\n    $ train study {study}")
        said = run("train", ["study", study, "--max-hours", str(max_hours)], {})
    return [Path(line.removeprefix("report -> ")) for line in said.splitlines() if line.startswith("report -> ")]


@contextmanager
def alone(out: Path) -> Iterator[None]:
    """Hold the folder for this process; freed even by kill -9."""
    with (out / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{out}: another process works there; wait for it, or name another --out") from None
        yield


def same_as_before(out: Path, asked: dict[str, bool | int]) -> None:
    """Note what the folder is for; UserError when it was begun for something else."""
    begun = out / "begun.json"
    if not begun.exists():
        write_text(begun, json.dumps(asked) + "\n")
    elif (found := json.loads(begun.read_text(encoding="utf-8"))) != asked:
        words = f"{'the quick' if found['quick'] else 'the whole'} study with seed {found['seed']}"
        raise UserError(f"{out}: holds {words}; go on with that, or name another --out")


def study_file(out: Path, quick: bool) -> Path:
    """The study's TOML in the folder; the one that comes with the tool unless there is one already."""
    path = out / "study.toml"
    if not path.exists():
        shipped = Path(__file__).parent / "studies" / ("quick.toml" if quick else "study.toml")
        write_text(path, shipped.read_text(encoding="utf-8"))
    return path


def tasks_of(study: Path, quick: bool) -> Sequence[str]:
    """The tasks whose manifests a study names; UserError for one that is not drawn here."""
    try:
        asked = tomllib.loads(study.read_text(encoding="utf-8"))
        grids = [asked, *asked.get("grid", [])]
        named = [Path(manifest) for grid in grids for manifest in grid.get("manifests", [])]
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, AttributeError, TypeError) as error:
        raise UserError(f"{study}: is no study ({error}); remove it to get the one that comes with the tool") from error
    known = QUICK_SIZES if quick else SIZES
    for manifest in named:
        if manifest.stem not in known or manifest != Path(f"{manifest.stem}/shop/{manifest.stem}.parquet"):
            places = ", ".join(f"{task}/shop/{task}.parquet" for task in known)
            raise UserError(f"{study}: manifest {manifest}: only {places} are drawn here; use `train study` for others")
    return list(dict.fromkeys(manifest.stem for manifest in named))


def make_data(out: Path, task: str, size: Size, seed: int) -> None:
    """Draw, scrape, ask, label and split one task, unless that is done."""
    from schemas.manifest import read_manifest

    manifest, done = out / "shop" / f"{task}.parquet", out / "data.json"
    if done.exists() and manifest.exists():
        known = json.loads(done.read_text(encoding="utf-8"))["manifest_id"]
        if read_manifest(manifest).manifest_id == known:
            say(f"\n[{task}] the data set is there: {manifest}")
            return
    say(f"\n[{task}] a marketplace becomes a data set")
    story = Story(out, size, seed, product=task)
    with story.servers_end():
        story.make_data()
    write_text(done, json.dumps({"manifest_id": read_manifest(manifest).manifest_id, "seconds": story.seconds}) + "\n")
