"""Clusters are stars around a kept representative, and what people have seen stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.clean.dedup import dedup
from schemas.errors import UserError
from schemas.tables import CLUSTERS, PICTURES

START = datetime(2026, 1, 1, tzinfo=UTC)
BASE = int("a5c3" * 4, 16)  # half of its bits set


def pictures(hashes: list[int], sizes: list[int] | None = None, fine: list[bytes] | None = None) -> pd.DataFrame:
    return PICTURES.frame(
        {
            "image_id": f"{n:064x}",
            "blob": "x",
            "bytes": 1,
            "hash_algo": "phash/1",
            "phash64": value,
            "phash256": fine[n] if fine else bytes(32),
            "width_px": sizes[n] if sizes else 100,
            "height_px": 100,
        }
        for n, value in enumerate(hashes)
    )


def seen(frame: pd.DataFrame) -> pd.Series:
    times = [pd.Timestamp(START + timedelta(hours=n)) for n in range(len(frame))]
    return pd.Series(times, index=frame["image_id"])


def flip(value: int, *bits: int) -> int:
    for bit in bits:
        value ^= 1 << bit
    return value


def run(frame: pd.DataFrame, before: pd.DataFrame | None = None, bits: int = 4):
    return dedup(frame, seen(frame), CLUSTERS.empty() if before is None else before, bits)


def names(clusters: pd.DataFrame) -> dict[int, int]:
    """Number of each picture to the number of its cluster."""
    return {int(i, 16): int(c, 16) for i, c in zip(clusters["image_id"], clusters["cluster_id"], strict=True)}


def test_twins_share_a_cluster_and_the_largest_represents_them() -> None:
    done = run(pictures([BASE, flip(BASE, 3), ~BASE & (2**64 - 1)], sizes=[100, 400, 100]))
    rows = done.clusters.set_index("image_id")
    assert names(done.clusters) == {0: 1, 1: 1, 2: 2}
    assert rows["representative"].tolist() == [True, False, True]  # in order of size
    assert rows["kind"].tolist() == ["verified", "verified", "single"]
    assert sorted(rows["distance"]) == [0, 0, 1]
    assert (done.groups, done.verified, done.unverified) == (1, 1, 0)


def test_a_candidate_that_the_finer_hash_refuses_stays_apart_and_is_counted() -> None:
    done = run(pictures([BASE, flip(BASE, 3)], fine=[bytes(32), b"\xff" * 7 + bytes(25)]))
    assert names(done.clusters) == {0: 0, 1: 1}
    assert (done.verified, done.unverified) == (0, 1)


def test_a_chain_does_not_pull_in_what_is_far_from_the_representative() -> None:
    chain = [BASE, flip(BASE, 0, 1, 2, 3), flip(BASE, *range(8)), flip(BASE, *range(12))]
    assert names(run(pictures(chain)).clusters) == {0: 0, 1: 0, 2: 2, 3: 2}


def test_new_pictures_leave_cluster_and_representative_as_they_were() -> None:
    first = run(pictures([BASE, flip(BASE, 1)]))
    again = run(pictures([BASE, flip(BASE, 1), flip(BASE, 2)], sizes=[100, 100, 900]), first.clusters)
    assert names(again.clusters) == {0: 0, 1: 0, 2: 0}
    assert again.clusters.loc[again.clusters["representative"], "image_id"].tolist() == [f"{0:064x}"]


def test_run_again_with_nothing_new_it_says_the_same() -> None:
    frame = pictures([BASE, flip(BASE, 1), flip(BASE, *range(30))])
    first = run(frame).clusters
    pd.testing.assert_frame_equal(run(frame, first).clusters, first)


def test_clusters_that_prove_to_be_one_keep_the_older_id() -> None:
    frame = pictures([BASE, flip(BASE, 1, 2, 3)], sizes=[100, 400])
    apart = run(frame, bits=2)
    assert names(apart.clusters) == {0: 0, 1: 1}
    together = run(frame, apart.clusters, bits=4)
    assert names(together.clusters) == {0: 0, 1: 0}
    assert (together.merged, int(together.clusters["representative"].sum())) == (1, 1)


def test_a_cluster_whose_representative_was_dropped_keeps_its_id() -> None:
    frame = pictures([BASE, flip(BASE, 1)])
    first = run(frame)
    frame.loc[0, "dropped"] = "blank"
    assert names(run(frame, first.clusters).clusters) == {1: 0}


def test_a_new_picture_between_two_clusters_joins_the_nearer_one_and_is_counted() -> None:
    two = [BASE, flip(BASE, *range(6))]
    first = run(pictures(two))
    done = run(pictures([*two, flip(BASE, 0, 1)]), first.clusters)
    assert names(done.clusters)[2] == 0
    assert done.bridges == 1


def test_an_exact_copy_goes_with_the_picture_that_was_kept() -> None:
    frame = pictures([BASE, BASE])
    frame["dropped"] = pd.Series([None, f"same pixels as {0:064x}"], dtype=object)
    done = run(frame)
    assert names(done.clusters) == {0: 0, 1: 0}
    assert done.clusters["kind"].tolist() == ["single", "exact"]
    assert done.pictures == 1


def test_hashes_without_content_are_never_called_twins() -> None:
    done = run(pictures([0, 0, 0]))
    assert names(done.clusters) == {0: 0, 1: 1, 2: 2}
    assert done.degenerate == 3


def test_unchecked_pictures_are_sent_to_check_first() -> None:
    frame = pictures([BASE])
    frame["phash64"] = None
    with pytest.raises(UserError, match="curate check"):
        run(frame)


def test_no_pictures_at_all_make_an_empty_table() -> None:
    assert run(pictures([])).clusters.empty


@settings(deadline=None, max_examples=50)
@given(
    flips=st.lists(st.lists(st.integers(0, 12), max_size=5), min_size=1, max_size=25),
    sizes=st.data(),
    cut=st.integers(0, 25),
)
def test_however_pictures_come_clusters_hold(flips: list[list[int]], sizes: st.DataObject, cut: int) -> None:
    hashes = [flip(BASE, *bits) for bits in flips]
    side = sizes.draw(st.lists(st.integers(64, 70), min_size=len(hashes), max_size=len(hashes)))
    frame = pictures(hashes, side)
    cut = min(cut, len(hashes))
    early = run(frame.iloc[:cut].reset_index(drop=True)).clusters
    late = run(frame, early).clusters
    assert sorted(late["image_id"]) == sorted(frame["image_id"]), "every picture is in exactly one cluster"
    assert (late.groupby("cluster_id")["representative"].sum() == 1).all(), "one representative a cluster"
    before, after = names(early), names(late)
    assert all(after[n] == before[n] for n in before), "what people have seen stays"
    center = late[late["representative"]].set_index("cluster_id")["image_id"].map(lambda i: int(i, 16))
    for number, cluster in after.items():
        apart = np.bitwise_count(np.uint64(hashes[number] ^ hashes[center[f"{cluster:064x}"]]))
        assert apart <= 4, "a member is near its representative"
