"""An image folder: split/class/picture, as torchvision's ImageFolder and many others read it."""

from __future__ import annotations

from pathlib import Path

from curate.dataset.export.choose import Chosen
from curate.dataset.export.encode import Encoding
from curate.dataset.export.files import place_pictures
from curate.dataset.export.place import Exported, Facts, Place, export
from schemas.files import write_text

# what torchvision takes for a picture; it passes over all others without a word
KNOWN = frozenset({".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp"})


def export_folder(chosen: Chosen, out: Path, *, side: int | None = None, copy: bool = False) -> Exported:
    """Write `out/train/<class>/<image_id>.jpg` and so on; unlabeled pictures lie in `out/unlabeled/`.

    Every split has a folder for every class, also an empty one: ImageFolder numbers classes by the folders it finds, and
    a class that is missing from one split would shift the numbers there. `classes.txt` holds our class order.
    """
    encoding = Encoding(side, KNOWN)

    def make(place: Place) -> Facts:
        for split in chosen.splits:
            for key in chosen.classes if split != "unlabeled" else []:
                (place.part / split / key).mkdir(parents=True, exist_ok=True)
        placed = place_pictures(place, chosen, targets(chosen, encoding), encoding, copy=copy)
        write_text(place.part / "classes.txt", "".join(f"{key}\n" for key in chosen.classes))
        return {"failed": placed.failed, "said": [*placed.said, *_empty(chosen)]}

    return export(chosen, out, "folder", {"side": side, "copy": copy}, make)


def targets(chosen: Chosen, encoding: Encoding) -> list[str]:
    """Where each picture goes: split/class/name, or unlabeled/name."""
    rows = chosen.rows
    columns = (rows[name].tolist() for name in ("split", "label", "image_id", "path"))
    return [
        f"{split}/{'' if split == 'unlabeled' else label + '/'}{encoding.name(image_id, path)}"
        for split, label, image_id, path in zip(*columns, strict=True)
    ]


def _empty(chosen: Chosen) -> list[str]:
    """A warning when a class has no picture in some split."""
    found = chosen.rows.groupby("split")["label"].unique()
    lacks = {
        split: [key for key in chosen.classes if key not in set(found[split])]
        for split in chosen.splits
        if split != "unlabeled"
    }
    said = "; ".join(f"{split}: {', '.join(keys)}" for split, keys in lacks.items() if keys)
    return [f"classes without a picture ({said}): read with ImageFolder(…, allow_empty=True)"] if said else []
