"""Label Studio: tasks that show each picture with its label, so that a person can review them, and the labeling config."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import pandas as pd

from curate.dataset.export.choose import Chosen
from curate.dataset.export.circumstances import Circumstances
from curate.dataset.export.encode import Encoding
from curate.dataset.export.files import place_pictures
from curate.dataset.export.place import Exported, Facts, Place, export
from schemas.files import whole, write_text

KNOWN = frozenset({".jpg", ".jpeg", ".png", ".gif", ".webp", ".avif", ".bmp"})  # what browsers show
PART_TASKS = 20_000  # in one file: Label Studio reads an import into memory
LOCAL = "/data/local-files/?d="  # how Label Studio serves files of its own machine


def export_label_studio(
    chosen: Chosen,
    out: Path,
    known: Circumstances,
    *,
    side: int | None = None,
    copy: bool = False,
    workers: bool = False,
    url: str | None = None,
    finished: bool = False,
) -> Exported:
    """Write `out/tasks-00000-of-00001.json` and so on, `out/config.xml` and the pictures below `out/images/`.

    A label is a prediction, which a person confirms or changes; with `finished` it is an annotation, which counts as done.
    `url` is what the file names are added to; left out, Label Studio serves the folder itself from beside the export.
    """
    encoding = Encoding(side, KNOWN)
    base = f"{LOCAL}{out.absolute().name}/images/" if url is None else f"{url.rstrip('/')}/"

    def make(place: Place) -> Facts:
        columns = (chosen.rows[name].tolist() for name in ("image_id", "path"))
        targets = [f"images/{encoding.name(i, path)}" for i, path in zip(*columns, strict=True)]
        placed = place_pictures(place, chosen, targets, encoding, copy=copy)
        write_text(place.part / "config.xml", config(chosen, known))
        parts = max(1, -(-len(placed.rows) // PART_TASKS))
        for number in range(parts):
            some = placed.rows.iloc[number * PART_TASKS : (number + 1) * PART_TASKS]
            name = f"tasks-{number:05d}-of-{parts:05d}.json"
            with whole(place.part / name) as part, part.open("w", encoding="utf-8") as sink:
                for n, row in enumerate(_records(some)):
                    task = _task(row, base, chosen.manifest.manifest_id, workers=workers, finished=finished)
                    sink.write("[\n" if n == 0 else ",\n")
                    sink.write(json.dumps(task, ensure_ascii=False))
                sink.write("\n]\n")
        how = (
            "start Label Studio with LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED=true and "
            "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT=$(dirname {out}), and add {out} as local storage"
        )
        return {"failed": placed.failed, "said": [*placed.said, *([how] if url is None else [])]}

    options = {"side": side, "copy": copy, "workers": workers, "url": base, "finished": finished}
    return export(chosen, out, "label-studio", options, make)


def config(chosen: Chosen, known: Circumstances) -> str:
    """The labeling config: question, picture, one choice a class with its hotkey and definition."""
    asked = known.task
    question = next(iter(asked.question.values())) if asked else f"Which {chosen.manifest.task}?"
    about = {each.key: each for each in asked.classes} if asked else {}
    lines = ["<View>", f"  <Header value={quoteattr(question)}/>", '  <Image name="image" value="$image" zoom="true"/>']
    lines.append('  <Choices name="label" toName="image" choice="single" required="true" showInline="true">')
    for key in chosen.classes:
        extra = ""
        if key in about:
            hint = next(iter(about[key].definition.values()), "")
            extra += f" hotkey={quoteattr(hotkey)}" if (hotkey := about[key].hotkey) else ""
            extra += f" hint={quoteattr(hint)}" if hint else ""
        lines.append(f"    <Choice value={quoteattr(key)}{extra}/>")
    return "\n".join([*lines, "  </Choices>", "</View>", ""])


def _records(rows: pd.DataFrame) -> Iterator[dict[str, Any]]:
    names = [str(name) for name in rows.columns]
    return (dict(zip(names, values, strict=True)) for values in rows.itertuples(index=False, name=None))


def _task(row: dict[str, Any], base: str, manifest_id: str, *, workers: bool, finished: bool) -> dict[str, Any]:
    """One picture as Label Studio imports it."""
    data: dict[str, Any] = {"image": base + row["target"].split("/", 1)[1], "image_id": row["image_id"]}
    for name in ("split", "marketplace", "listing_id"):
        if isinstance(row[name], str):
            data[name] = row[name]
    if workers and row["votes"] is not None:
        data["votes"] = [dict(vote) for vote in row["votes"]]
    if not isinstance(row["label"], str):
        return {"data": data}
    choice = {"from_name": "label", "to_name": "image", "type": "choices", "value": {"choices": [row["label"]]}}
    if finished:
        return {"data": data, "annotations": [{"result": [choice]}]}
    share = {} if pd.isna(row["n_votes"]) or not row["n_votes"] else {"score": row["n_agree"] / row["n_votes"]}
    made_by = f"consenso-{manifest_id[:8]}"
    return {"data": data, "predictions": [{"model_version": made_by, **share, "result": [choice]}]}
