"""`curate hits create` killed with -9 at random moments, again and again, then finished: HITs and money are exact.

CI runs 5 kills; CONSENSO_KILLS=50 runs as many as you say.
"""

from __future__ import annotations

import os
import random
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from curate.crowd import budget, journal
from curate.crowd.requester import Requester
from schemas.tables import CLUSTERS, PICTURES

if TYPE_CHECKING:
    from tests.curate.crowd.conftest import Shop

KILLS = int(os.environ.get("CONSENSO_KILLS", "5"))
EACH = 150  # HITs that a run would make


def many_pictures(shop: Shop, count: int) -> None:
    """Pictures that only HITs name, each a HIT of its own, and money for all of them."""
    ids = [f"{number:064x}" for number in range(count)]
    PICTURES.write(
        PICTURES.frame({"image_id": i, "blob": "b", "bytes": 1} for i in ids), shop.workspace.table("pictures")
    )
    alone = {"representative": True, "kind": "single", "distance": 0}
    clusters = CLUSTERS.frame({"image_id": i, "cluster_id": i, **alone} for i in ids)
    CLUSTERS.write(clusters, shop.workspace.table("clusters"))
    path = shop.workspace.root / "tasks" / "apron.yaml"
    text = path.read_text().replace("pictures_per_hit: 10", "pictures_per_hit: 1")
    path.write_text(text.replace("budget_usd: 100.0", "budget_usd: 100000.0"))


@pytest.mark.timeout(120 + 30 * KILLS)
def test_hits_create_killed_at_random_moments_makes_each_hit_once(
    open_shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop, moments = open_shop, random.Random(7)
    many_pictures(shop, EACH * (KILLS + 1))
    left_waiting = killed = 0
    for number in range(1, KILLS + 1):
        run = shop.start("hits", "create", "--images", str(EACH * number), "--yes")
        try:
            run.wait(moments.uniform(0.5, 5.0))
        except subprocess.TimeoutExpired:
            run.kill()
            killed += 1
        run.wait()
        with closing(shop.workspace.project()) as project:
            left_waiting += bool(journal.entries(project, "apron", state="pending"))
    shop.curate("hits", "create", "--images", str(EACH * (KILLS + 1)), "--yes")
    with closing(shop.workspace.project()) as project:
        written, spent = journal.entries(project, "apron"), budget.spent(project, "apron")
    for name, value in shop.keys.items():
        monkeypatch.setenv(name, value)
    there = [hit["RequesterAnnotation"] for hit in Requester(shop.url).hits()]
    assert len(there) == len(set(there)) == EACH * (KILLS + 1), "never two HITs for one batch"
    assert sorted(there) == sorted(entry.token for entry in written), "none is forgotten"
    assert {entry.state for entry in written} == {"created"}
    assert len(journal.asked(written)) == EACH * (KILLS + 1)
    assert spent == len(written) * 3 * 10 * budget.CENT
    print(f"{killed} of {KILLS} runs killed, {left_waiting} of them with HITs written down and not noted as made")
    assert killed > 0
