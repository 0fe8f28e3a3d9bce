"""What must not come back, as whoever takes listings and pictures in asks for it; see `curate/forgotten.py`.

forgotten = Forgotten.of(workspace)
if forgotten.image(image_id) or forgotten.refuses(marketplace, listing_id, attributes): leave it out, say REASON
"""

from __future__ import annotations

from curate.forgotten import REASON, Forgotten

__all__ = ["REASON", "Forgotten"]
