"""Predictions as a table: a probability per class for pictures of a manifest, or of any other place."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from schemas.errors import Partial, UserError
from schemas.files import write_text
from schemas.manifest import Manifest
from schemas.tables import ANSWERS, PREDICTIONS
from train.text import counted

if TYPE_CHECKING:
    from train.bundle import Bundle
    from train.predict.infer import Predicted
    from train.predict.places import Items


def predictions_frame(
    manifest: Manifest, image_ids: list[str], probs: np.ndarray, run: str, model_id: str, temperature: float = 1.0
) -> pd.DataFrame:
    """One PREDICTIONS row for each picture, with the label and split that the manifest gives it."""
    known = manifest.rows.set_index("image_id").loc[image_ids]
    guess = probs.argmax(axis=1)
    return pd.DataFrame(
        {
            "image_id": image_ids,
            "run": run,
            "task": manifest.task,
            "manifest_id": manifest.manifest_id,
            "model_id": model_id,
            "fold": pd.array([pd.NA] * len(image_ids), dtype="Int32"),
            "split": known["split"].to_numpy(),
            "label": known["label"].to_numpy(),
            "predicted": [manifest.classes[i] for i in guess],
            "probs": list(probs.astype(np.float32)),
            "temperature": temperature,
        }
    )


def write_predictions(frame: pd.DataFrame, path: Path, classes: list[str], record: dict[str, Any]) -> None:
    """Write predictions whole; the file carries the class order of `probs` and what made them."""
    PREDICTIONS.write(frame, path, file_facts(classes, record))


def file_facts(classes: list[str], record: dict[str, Any]) -> dict[str, str]:
    """Metadata of a file with lists of probabilities."""
    return {"consenso.classes": json.dumps(classes), "consenso.run": json.dumps(record, ensure_ascii=False)}


@dataclass(frozen=True)
class Wish:
    """What a person wants of a bundle and some places."""

    bundle: Path | None
    places: tuple[Path, ...]
    out: Path = Path("predictions.parquet")
    listings: bool = False
    precision: float | None = None
    pictures: Path | None = None


def predict(wish: Wish) -> str:
    """Predict the pictures of all places and write PREDICTIONS, with `listings` also ANSWERS; says what was done in a line.

    Pictures that cannot be read, and copies of others, stand in a CSV beside. Raises Partial, everything written, when some
    could not be read.
    """
    from train.bundle import open_bundle
    from train.predict.infer import predict_items
    from train.predict.places import items_at

    if wish.bundle is None:
        raise UserError("name a bundle (a run folder) and what to predict, or --folds and --manifest")
    bundle = open_bundle(wish.bundle)
    needed = _check(wish, bundle)
    items = [items_at(place, bundle.classes, wish.pictures) for place in wish.places]
    if len(items) > 1:
        items = [_under(one, place) for one, place in zip(items, wish.places, strict=True)]
    work = wish.out.with_name(f"{wish.out.name}.parts")
    found = [predict_items(bundle, one, work / str(number)) for number, one in enumerate(items)]
    rows = pd.concat([one.rows for one in found], ignore_index=True).drop_duplicates("image_id", ignore_index=True)
    record = {**bundle.ours, "examples": [], "places": [str(place) for place in wish.places]}
    write_predictions(rows, wish.out, bundle.classes, record)
    said = [f"{counted(len(rows), 'picture')} predicted -> {wish.out}"]
    if wish.listings:
        said.append(_write_answers(wish, bundle, items, found, needed))
    unread, beside = _write_skipped(wish.out, [pair for one in found for pair in one.skipped])
    shutil.rmtree(work)
    if unread:
        raise Partial("; ".join([*said, f"{unread:,} could not be read: {beside}"]))
    return "; ".join(said)


def _check(wish: Wish, bundle: Bundle) -> dict[str, float | None] | None:
    """The thresholds of the wished precision; UserError for what cannot be done, before any picture is read."""
    if not wish.places:
        raise UserError("name what to predict: a folder of pictures, a manifest, or a Parquet with a column path")
    if wish.out.resolve() == (bundle.folder / "predictions.parquet").resolve():
        raise UserError(f"--out {wish.out}: holds the predictions of the run itself; choose another name")
    if wish.out.suffix != ".parquet":
        raise UserError(f"--out {wish.out}: predictions are a Parquet file; end it with .parquet")
    if wish.precision is None:
        return None
    if not wish.listings:
        raise UserError("--precision is for --listings: each listing gets an answer or none; add --listings")
    return bundle.thresholds(wish.precision)


def _under(items: Items, place: Path) -> Items:
    """The items with their place in the names, so that two folders with a 1.jpg each do not mix."""
    if items.rows["manifest_id"].notna().any():
        return items
    local = items.listings["marketplace"] == "local"
    names = items.listings["listing_id"].where(~local, f"{place}/" + items.listings["listing_id"])
    return replace(items, said=str(place), listings=items.listings.assign(listing_id=names))


def _write_answers(
    wish: Wish, bundle: Bundle, items: list[Items], found: list[Predicted], needed: dict[str, float | None] | None
) -> str:
    """One answer per listing, beside the predictions."""
    from train.predict.listings import answers

    starts = np.cumsum([0, *(len(one) for one in items)])
    shown = pd.concat(
        [one.listings.assign(row=one.listings["row"] + start) for one, start in zip(items, starts[:-1], strict=True)]
    ).drop_duplicates(ignore_index=True)
    readable = np.concatenate([one.image_id != "" for one in found])
    made = answers(shown, np.concatenate([one.probs for one in found]), readable, bundle.classes, needed)
    made = made.assign(run=bundle.ours["run"], task=bundle.ours["task"], model_id=bundle.model_id,
                       precision=wish.precision, temperature=bundle.temperature)  # fmt: skip
    out = wish.out.with_name(f"{wish.out.stem}-listings.parquet")
    ANSWERS.write(made, out, file_facts(bundle.classes, {**bundle.ours, "examples": []}))
    given = int(made["answer"].notna().sum())
    return f"{given:,} of {len(made):,} listings answered -> {out}"


def _write_skipped(out: Path, skipped: Sequence[tuple[str, str]]) -> tuple[int, Path]:
    """The pictures without a row as a CSV beside the predictions, an older one of which goes; how many could not be read."""
    beside = out.with_name(f"{out.stem}-skipped.csv")
    beside.unlink(missing_ok=True)
    if skipped:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([("path", "reason"), *skipped])
        write_text(beside, text.getvalue())
    return sum(not reason.startswith("same bytes as ") for _, reason in skipped), beside
