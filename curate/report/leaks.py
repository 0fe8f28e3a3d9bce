"""One page with the pairs that `curate leaks` found, side by side: a person sees in a second what a number cannot say."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from PIL import Image

from schemas.manifest import Manifest
from schemas.picture import as_seen, open_picture

if TYPE_CHECKING:
    import pandas as pd

THUMB_PX = 220
MOST = 200  # pairs a group on the page; the table has all


def render(pairs: pd.DataFrame, manifest: Manifest, facts: dict[str, Any]) -> str:
    """The page as text, pictures included.

    Args:
        pairs: LEAKS, in its order.
        manifest: whose pictures they are.
        facts: counts (by split), bits, similarity, model_id, as they were used.
    """
    pages = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined,
    )  # fmt: skip
    firm = pairs["kind"] != "look-alike"
    groups = [
        ("leaks", "Leaks", "Test pictures that the model can learn by heart.", pairs[pairs["leak"]]),
        ("val", "Twins of val pictures", "They make a model look better while it is chosen; the test stays honest.", pairs[firm & ~pairs["leak"]]),
        ("alike", "Look-alikes", "Near in what they show, but not the same photo as far as can be told. For you to judge.", pairs[~firm]),
    ]  # fmt: skip
    return pages.get_template("leaks.html").render(
        manifest=manifest,
        facts=facts,
        groups=[(key, title, text, _rows(rows.head(MOST)), len(rows)) for key, title, text, rows in groups],
        thumb=lambda path: thumbnail(manifest.picture(path)),
    )


def _rows(pairs: pd.DataFrame) -> list[dict[Any, Any]]:
    """The pairs as plain values, missing ones None."""
    return pairs.astype(object).where(pairs.notna(), None).to_dict("records")


def thumbnail(path: Path | str) -> str:
    """A small copy as a data: address; empty where the picture cannot be opened."""
    try:
        with open_picture(path) as original:
            original.draft("RGB", (2 * THUMB_PX, 2 * THUMB_PX))
            seen = as_seen(original)
    except (OSError, ValueError, SyntaxError, EOFError):
        return ""
    seen.thumbnail((THUMB_PX, THUMB_PX), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    seen.save(buffer, "WEBP", quality=72, method=4)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
