"""`curate pack --check`: whether a pack is whole, fits its manifest, and opens."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from curate.dataset.pack import Plan, plan_pack
from schemas.errors import TableError, UserError
from schemas.files import sha256_of
from schemas.pack import SUMS, Pack, Part, open_pack
from schemas.picture import as_seen, open_picture

SAMPLE = 64  # pictures that are opened, spread over the pack


@dataclass(frozen=True)
class Checked:
    """What a pack that passed holds."""

    pack: Pack
    pictures: int
    dropped: int
    opened: int

    def describe(self) -> str:
        """One line for a person."""
        reasons = f", {self.dropped} of them with a reason in place of a picture" if self.dropped else ""
        return (
            f"{self.pack.folder} is whole: {len(self.pack.sums)} files match {SUMS}, all {self.pictures} pictures of the "
            f"manifest are there{reasons}, {self.opened} opened"
        )


def check_pack(folder: Path) -> Checked:
    """Read every file of a pack once and compare it with its checksum and its manifest, and decode a sample of the pictures.

    Raises UserError that names the first thing that is wrong: an unfinished pack, a file that differs, a manifest row
    without its picture, a picture that does not open or has another size than its row says.
    """
    pack = open_pack(folder)
    differ = [name for name, digest in pack.sums.items() if _sha256(pack.folder / name) != digest]
    if differ:
        raise UserError(
            f"{pack.folder}: {len(differ)} of {len(pack.sums)} files differ from {SUMS}, the first is {differ[0]}; "
            "copy it again, or run `curate pack`"
        )
    plan = plan_pack(pack.manifest, pack.format, pack.splits)
    absent = pack.missing([image_id for image_id, _ in plan.jobs])
    if absent:
        raise UserError(
            f"{pack.folder}: {len(absent)} pictures of the manifest are not in it, the first is {absent[0]}"
        )
    dropped = {image_id for path in pack.parts for image_id in _part_reasons(path)}
    opened = sum(1 for _ in _open_some(pack, plan, dropped))
    return Checked(pack, len(plan.jobs), len(dropped), opened)


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); copy it again, or run `curate pack`") from error


def _part_reasons(path: Path) -> dict[str, str]:
    with Part(path) as part:
        return part.reasons()


def _open_some(pack: Pack, plan: Plan, dropped: set[str]) -> Iterator[str]:
    """Decode pictures spread over the pack; yields each that opened."""
    good = [image_id for image_id, _ in plan.jobs if image_id not in dropped]
    sample = good[:: max(1, len(good) // SAMPLE)]
    for image_id, jpeg, _ in pack.read(sample):
        try:
            with open_picture(jpeg or b"") as image:
                short = min(as_seen(image).size)
        except (OSError, ValueError, SyntaxError) as error:
            raise TableError(
                f"{pack.folder}: picture {image_id} does not open ({error}); run `curate pack` anew"
            ) from error
        if short > pack.format.side_px:
            raise TableError(
                f"{pack.folder}: picture {image_id} has a short side of {short} px, not {pack.format.side_px}"
            )
        yield image_id
