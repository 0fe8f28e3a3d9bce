"""SageMaker: augmented manifests and .lst files for its built-in image classification, and the channels that point there."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from curate.dataset.export.choose import Chosen
from curate.dataset.export.circumstances import Circumstances
from curate.dataset.export.encode import Encoding
from curate.dataset.export.files import place_pictures
from curate.dataset.export.folder import targets
from curate.dataset.export.place import Exported, Facts, Place, export
from schemas.errors import UserError
from schemas.files import whole, write_text

KNOWN = frozenset({".jpg", ".jpeg", ".png"})  # what the built-in algorithm reads
CHANNELS = {"train": "train", "val": "validation", "test": "test"}


def export_sagemaker(
    chosen: Chosen,
    out: Path,
    known: Circumstances,
    *,
    s3_prefix: str,
    attribute: str = "label",
    side: int | None = None,
    copy: bool = False,
) -> Exported:
    """Write `out/train.manifest`, `out/train.lst` and so on, `out/channels.json`, and the pictures as split/class/name.

    `out` is meant to be uploaded to `s3_prefix` as it is. `channels.json` is an InputDataConfig for CreateTrainingJob.
    Raises UserError for a prefix that is no s3:// address.
    """
    prefix = s3_prefix.rstrip("/")
    if not prefix.startswith("s3://") or len(prefix) < len("s3://abc") or any(c.isspace() for c in prefix):
        raise UserError(f"--s3-prefix {s3_prefix!r}: is no S3 address; it looks like s3://bucket/folder")
    encoding = Encoding(side, KNOWN)

    def make(place: Place) -> Facts:
        placed = place_pictures(place, chosen, targets(chosen, encoding), encoding, copy=copy)
        for split, rows in placed.rows.groupby("split", sort=False):
            _write(place, str(split), rows, chosen, prefix, attribute, human=not known.simulated)
        channels = [channel(prefix, split, attribute) for split in chosen.splits]
        write_text(place.part / "channels.json", json.dumps(channels, indent=1))
        write_text(place.part / "classes.txt", "".join(f"{key}\n" for key in chosen.classes))
        said = f"upload it: aws s3 sync {{out}} {prefix}"
        return {"failed": placed.failed, "said": [*placed.said, said]}

    options = {"side": side, "copy": copy, "s3_prefix": prefix, "attribute": attribute}
    return export(chosen, out, "sagemaker", options, make)


def channel(prefix: str, split: str, attribute: str = "label") -> dict[str, Any]:
    """One channel of a training job that reads the augmented manifest of a split, picture first, then its class number."""
    source = {
        "S3DataType": "AugmentedManifestFile",
        "S3Uri": f"{prefix}/{split}.manifest",
        "S3DataDistributionType": "FullyReplicated",
        "AttributeNames": ["source-ref", attribute],
    }
    # augmented manifests are read in pipe mode only
    return {"ChannelName": CHANNELS[split], "DataSource": {"S3DataSource": source}, "InputMode": "Pipe",
            "ContentType": "application/x-image", "RecordWrapperType": "RecordIO", "CompressionType": "None"}  # fmt: skip


def _write(
    place: Place, split: str, rows: pd.DataFrame, chosen: Chosen, prefix: str, attribute: str, *, human: bool
) -> None:
    """Manifest and list of one split, in the same order; a row of the list is index, class number, path below the split."""
    numbers = {key: number for number, key in enumerate(chosen.classes)}
    names = ("target", "label", "n_votes", "n_agree")
    each = list(zip(*(rows[name].tolist() for name in names), strict=True))
    at = _made_at(chosen)
    with whole(place.part / f"{split}.manifest") as part, part.open("w", encoding="utf-8") as sink:
        for target, label, n_votes, n_agree in each:
            meta = {
                "class-name": label,
                "confidence": 1.0 if pd.isna(n_votes) or not n_votes else round(n_agree / n_votes, 4),
                "type": "groundtruth/image-classification",
                "job-name": f"consenso-{chosen.manifest.manifest_id[:8]}",
                "human-annotated": "yes" if human else "no",
                "creation-date": at,
            }
            line = {"source-ref": f"{prefix}/{target}", attribute: numbers[label], f"{attribute}-metadata": meta}
            sink.write(json.dumps(line, ensure_ascii=False) + "\n")
    with whole(place.part / f"{split}.lst") as part, part.open("w", encoding="utf-8") as sink:
        for index, (target, label, *_) in enumerate(each):
            sink.write(f"{index}\t{numbers[label]}\t{target.split('/', 1)[1]}\n")


def _made_at(chosen: Chosen) -> str:
    """When the manifest's file was written: the same export is the same on every day."""
    at = datetime.fromtimestamp(chosen.manifest.path.stat().st_mtime, UTC)
    return at.replace(tzinfo=None).isoformat(timespec="seconds")
