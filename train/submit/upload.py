"""What a job needs, in S3: named after its content, and not sent again when it is there with the same size and sha256."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from schemas.errors import UserError
from schemas.files import sha256_of
from schemas.pack import SUMS, Pack
from schemas.progress import progress
from schemas.s3 import bucket_and_key, clear_errors, client, is_missing, load
from schemas.storage import AT_ONCE, is_remote, overlapped
from train.submit.asked import Checked

MANY = 20_000  # single pictures that take long to send, and as long to fetch at the start of each job


@dataclass(frozen=True)
class File:
    """A file and its place in the bucket: a path here, or the text itself."""

    to: str  # s3://bucket/key
    path: Path | None = None
    text: str = ""
    sha256: str | None = None  # where it is known already

    def bytes(self) -> int:
        """How long it is."""
        return self.path.stat().st_size if self.path else len(self.text.encode())


def picture_files(checked: Checked, to: str) -> tuple[str, list[File], int]:
    """Where the pictures go, below `to`, with the files, and how many pictures are missing here.

    A pack goes as it is. Else it is every picture that the runs read; those that are in a bucket already stay there, and
    the place is empty when all are.
    """
    if isinstance(checked.source, Pack):
        pack = checked.source
        place = f"{to}/data/{pack.task}-pack-{sha256_of(pack.folder / SUMS)[:12]}/"
        sent = [File(place + name, pack.folder / name, sha256=pack.sums[name]) for name in pack.sums]
        return place, [*sent, File(place + SUMS, pack.folder / SUMS)], 0
    root = checked.source
    place = f"{to}/data/{checked.manifest.task}-{checked.manifest.manifest_id[:12]}/"
    paths = [path for path in checked.rows["path"] if not is_remote(path)]
    strange = [path for path in paths if Path(path).is_absolute() or ".." in Path(path).parts]
    if strange:
        raise UserError(
            f"{checked.manifest.path}: {strange[0]} lies outside of {root}; `curate pack` makes one folder of it all"
        )
    there = [path for path in paths if (root / path).is_file()]
    if paths and 2 * len(there) <= len(paths):
        gone = next(path for path in paths if not (root / path).is_file())
        raise UserError(
            f"{len(paths) - len(there)} of {len(paths)} pictures cannot be read, the first is {root / gone}. "
            "Where are they? Name the folder that the manifest's paths start from, or a pack, with --pictures DIR"
        )
    return place if paths else "", [File(place + path, root / path) for path in there], len(paths) - len(there)


def upload(files: Sequence[File]) -> tuple[int, int]:
    """Send what is not there yet; how many files were sent, and how many were there. Run again, it goes on where it was."""
    load()
    bar = progress(sum(file.bytes() for file in files), "to S3", "B")
    sent = 0
    for file, new in zip(files, overlapped(_send, files, AT_ONCE), strict=True):
        sent += new
        bar.update(file.bytes())
    bar.close()
    return sent, len(files) - sent


def _send(file: File) -> bool:
    """Send one file unless the same bytes are there; whether it was sent."""
    from botocore.exceptions import ClientError

    bucket, key = bucket_and_key(file.to)
    size = file.bytes()
    digest = file.sha256 or (sha256_of(file.path) if file.path else hashlib.sha256(file.text.encode()).hexdigest())
    with clear_errors(file.to, "HeadObject"):
        try:
            head: dict[str, Any] = client().head_object(Bucket=bucket, Key=key)
            if head["ContentLength"] == size and head["Metadata"].get("sha256") == digest:
                return False
        except ClientError as error:
            if not is_missing(error):
                raise
    with clear_errors(file.to, "PutObject"):
        metadata = {"sha256": digest}
        if file.path is None:
            client().put_object(Bucket=bucket, Key=key, Body=file.text.encode(), Metadata=metadata)
        else:
            client().upload_file(str(file.path), bucket, key, ExtraArgs={"Metadata": metadata}, Config=_one_by_one())
    return True


def _one_by_one() -> Any:
    """Files are sent sixteen at a time; the parts of one are not spread over threads again."""
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(use_threads=False)
