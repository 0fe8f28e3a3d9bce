"""Amazon Berkeley Objects comes in from a disk: listings, pictures, license, and what sellers say as weak labels."""

from __future__ import annotations

import contextlib
import csv
import json
import re
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from curate.collect.abo_files import AboFiles
from curate.collect.blobs import sweep
from curate.collect.export import export_here
from curate.collect.files import can_go_on, read_files
from curate.collect.intake import Bad, Entry, Intake, Picture, batches
from curate.collect.known import Known
from curate.collect.outcome import Outcome, outcome_of
from curate.collect.weak import write_weak_labels
from curate.forgotten import Forgotten
from curate.workspace import Workspace
from schemas.errors import UserError
from schemas.files import write_bytes
from schemas.progress import progress

SOURCE = "abo"
WEAK = ("pattern", "style", "color")
LONGEST = 500  # characters of an attribute that a listing keeps
_ATTRIBUTES = (
    "pattern", "style", "color", "material", "fabric_type", "finish_type", "item_shape", "model_name", "model_number",
    "model_year", "color_code", "product_type", "item_keywords", "spin_id", "3dmodel_id",
)  # fmt: skip
_LICENSES = (
    (r"CC[ -]BY[ -]NC[ -]4\.0|NonCommercial 4\.0", "CC BY-NC 4.0"),
    (r"CC[ -]BY[ -]4\.0|Attribution 4\.0", "CC BY 4.0"),
)


@dataclass(frozen=True)
class Ask:
    """Which listings and pictures, and what weak values mean."""

    folder: Path
    product_types: tuple[str, ...] = ()  # none: all
    small: bool = False  # pictures of at most 256 px, instead of the originals
    maps: Mapping[str, dict[str, str]] = field(default_factory=dict)  # attribute to value map
    permission: str | None = None


def import_abo(workspace: Workspace, ask: Ask) -> Outcome:
    """Take in the listings of a folder and their pictures. A listing is known by item and domain, as the data set has it.

    Nothing is fetched. Run again it goes on where it was; a picture that is not there is a failure with its reason.
    """
    unknown = sorted(set(ask.maps) - set(WEAK))
    if unknown:
        raise UserError(f"--weak {unknown[0]}: is none of {', '.join(WEAK)}")
    sweep(workspace.storage)
    with can_go_on(workspace.storage), AboFiles(ask.folder) as files, contextlib.closing(workspace.project()) as db:
        license = carry_license(workspace, files)
        intake = Intake(db, SOURCE, Forgotten.of(workspace))
        _read_images(db, files)
        intake.take_all(_entries(db, files, ask, license))
        if not intake.counts.rows:
            raise UserError(f"{ask.folder}: holds no listing of product type {', '.join(ask.product_types) or 'any'}")
        read_files(intake, workspace.storage, files.read)
        export_here(workspace)
        notes = write_weak_labels(workspace, intake, ask.maps)
        notes += [] if license else ["no LICENSE file was found: `license` is empty"]
        return replace(outcome_of(intake, Known(), vanished=0 if ask.product_types else intake.vanished()), notes=notes)


def carry_license(workspace: Workspace, files: AboFiles) -> str | None:
    """Copy the license files into `licenses/abo`; returns what the license is called, or where its text is."""
    called = None
    for name in files.licenses():
        text = "".join(files.lines(name))
        kept = workspace.root / "licenses" / SOURCE / name.rpartition("/")[2]
        write_bytes(kept, text.encode())
        found = next((short for pattern, short in _LICENSES if re.search(pattern, f"{name} {text}", re.I)), None)
        called = called or found or f"see {kept.relative_to(workspace.root).as_posix()}"
    return called


def _read_images(db: sqlite3.Connection, files: AboFiles) -> None:
    """The table of pictures, image_id to path, as a table that ends with the import."""
    db.execute("CREATE TEMP TABLE IF NOT EXISTS abo_image (image_id TEXT PRIMARY KEY, path TEXT) WITHOUT ROWID")
    rows = csv.DictReader(files.images_csv())
    if not {"image_id", "path"} <= set(rows.fieldnames or ()):
        found = ", ".join(rows.fieldnames or ()) or "nothing"
        raise UserError(f"{files.root}: images.csv.gz has no columns image_id and path; found {found}")
    for batch in batches(((row["image_id"], row["path"]) for row in rows), 10_000):
        db.execute("BEGIN")
        db.executemany("INSERT OR REPLACE INTO temp.abo_image VALUES (?, ?)", batch)
        db.execute("COMMIT")


def _entries(db: sqlite3.Connection, files: AboFiles, ask: Ask, license: str | None) -> Iterator[Entry | Bad]:
    with progress(None, "listings") as bar:
        for name in files.listings():
            for number, line in enumerate(files.lines(name), start=1):
                bar.update()
                row = _parsed(line)
                where = f"{name.rpartition('/')[2]}:{number}"
                if isinstance(row, str):
                    yield Bad(where, row)
                elif not ask.product_types or _product_type(row) in ask.product_types:
                    yield _entry(row, where, db, files, ask, license)


def _parsed(line: str) -> dict[str, Any] | str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"no JSON ({str(error)[:80]})"
    return row if isinstance(row, dict) else "JSON, but no listing"


def _entry(
    row: dict[str, Any], where: str, db: sqlite3.Connection, files: AboFiles, ask: Ask, license: str | None
) -> Entry | Bad:
    item, domain = row.get("item_id"), row.get("domain_name")
    if not isinstance(item, str) or not isinstance(domain, str) or not item or not domain:
        return Bad(where, "no item_id or no domain_name")
    country = row.get("country") if isinstance(row.get("country"), str) else None
    language, title = _said(row.get("item_name"), country)
    pictures, faults = _pictures(row, db, files, ask.small)
    columns = {
        "country": country,
        "language": language,
        "title": title,
        "brand": _said(row.get("brand"), country)[1],
        "category": _node(row.get("node")) or _product_type(row),
        "attributes": _attributes(row, country) or None,
        "license": license,
        "permission": ask.permission,
        "source": SOURCE,
        "weak": {name: found for name in WEAK if (found := weak_values(row.get(name)))},
    }
    return Entry(domain, item, columns, pictures, where, faults)


def _pictures(
    row: dict[str, Any], db: sqlite3.Connection, files: AboFiles, small: bool
) -> tuple[tuple[Picture, ...], tuple[str, ...]]:
    """The main picture, then the others, and which of them the data set does not have."""
    others = row.get("other_image_id")
    ids = [row.get("main_image_id"), *(others if isinstance(others, list) else ())]
    found, faults = [], []
    for image in dict.fromkeys(one for one in ids if isinstance(one, str) and one):
        path = db.execute("SELECT path FROM temp.abo_image WHERE image_id = ?", (image,)).fetchone()
        if path is None:
            faults.append(f"picture {image[:40]} is not in images.csv")
            continue
        name = f"images/{'small' if small else 'original'}/{path['path']}"
        found.append(Picture(f"abo:{name}", files.mark(name), name))
    return tuple(found), tuple(faults)


def _said(value: Any, country: str | None = None) -> tuple[str | None, str | None]:
    """Language and text of `[{language_tag, value}]`: in a language of the country, else English, else the first."""
    found = [(tag, text) for tag, text, *_ in weak_values(value)]
    at_home = [one for one in found if country and one[0].endswith(f"-{country}")]
    english = [one for one in found if one[0].startswith("en")]
    for language, text in [*at_home, *english, *found][:1]:
        return (language if language != "und" else None), text[: 4 * LONGEST]
    return None, None


def weak_values(value: Any) -> list[list[str]]:
    """Language, text and standardized texts of each thing said: `[{language_tag, value, standardized_values}]`."""
    found = []
    for one in value if isinstance(value, list) else [value]:
        said = one.get("value") if isinstance(one, dict) else one
        if isinstance(said, int | float) and not isinstance(said, bool):
            said = str(said)
        if isinstance(said, str) and said.strip():
            tag = one.get("language_tag") if isinstance(one, dict) else None
            standard = one.get("standardized_values") if isinstance(one, dict) else None
            known = [text for text in standard if isinstance(text, str)] if isinstance(standard, list) else []
            found.append([tag.replace("_", "-") if isinstance(tag, str) else "und", said.strip()[:LONGEST], *known])
    return found


def _attributes(row: dict[str, Any], country: str | None) -> dict[str, str]:
    found = {name: text for name in _ATTRIBUTES if (text := _said(row.get(name), country)[1])}
    if description := _said(row.get("bullet_point"), country)[1]:
        found["description"] = description
    return {name: text[:LONGEST] for name, text in found.items()}


def _product_type(row: dict[str, Any]) -> str | None:
    """`product_type` is text in the README, and `[{"value": "HOME"}]` in the files."""
    return _said(row.get("product_type"))[1]


def _node(value: Any) -> str | None:
    """The place in the catalogue: `path` in the README, `[{node_id, node_name}]` in the files."""
    first = value[0] if isinstance(value, list) and value else value
    name = first.get("node_name") or first.get("path") if isinstance(first, dict) else first
    return name if isinstance(name, str) and name else None
