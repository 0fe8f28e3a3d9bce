"""Clusters are stars around a kept representative, and what people have seen stays."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.clean.dedup import Dedup, dedup
from curate.clean.looks import LOOK_ALGO
from curate.clean.twins import find_pairs
from curate.neighbors import Skipped
from schemas.errors import UserError
from schemas.tables import CLUSTERS, DECISIONS, LOOKS, PAIRS, PICTURES

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


def looks(frame: pd.DataFrame) -> pd.DataFrame:
    """How pictures look that have no border, are like nothing in a mirror, and are all of one color."""
    return LOOKS.frame(
        {
            "image_id": i,
            "look_algo": LOOK_ALGO,
            "mirror64": 0,
            "mirror256": bytes(32),
            "inner64": 0,
            "inner256": bytes(32),
            "colors": bytes(128),
            "inner_colors": bytes(128),
        }
        for i in frame["image_id"]
    )


def twins(frame: pd.DataFrame, bits: int) -> pd.DataFrame:
    """PAIRS of the pictures that count, by their hashes alone."""
    kept = frame[frame["dropped"].isna()]
    return find_pairs(kept, looks(kept), Path("/nowhere"), bits)[0]


def run(frame: pd.DataFrame, before: pd.DataFrame | None = None, bits: int = 4, **more: Any) -> Dedup:
    before = CLUSTERS.empty() if before is None else before
    pairs = twins(frame, bits) if frame["phash64"].notna().all() else PAIRS.empty()
    return dedup(frame, seen(frame), before, pairs, **more)


def decided(*pairs: tuple[int, int, str]) -> pd.DataFrame:
    return DECISIONS.frame(
        {
            "image_id_a": f"{a:064x}",
            "image_id_b": f"{b:064x}",
            "decision": said,
            "decided_by": "Ana",
            "decided_at": START,
        }
        for a, b, said in pairs
    )


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
    assert (done.verified, done.unverified) == (0, 1)  # it waits for a person


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


def test_a_pair_that_was_refused_waits_for_nobody() -> None:
    frame = pictures([BASE, flip(BASE, 3)], fine=[bytes(32), b"\xff" * 7 + bytes(25)])
    pairs = twins(frame, 4).assign(reason="refused")
    assert dedup(frame, seen(frame), CLUSTERS.empty(), pairs).unverified == 0


def test_complete_link_asks_a_member_to_be_near_every_other() -> None:
    fan = [BASE, flip(BASE, 0, 1, 2, 3), flip(BASE, 10, 11, 12, 13)]  # both near the first, 8 bits from one another
    assert names(run(pictures(fan)).clusters) == {0: 0, 1: 0, 2: 0}
    assert names(run(pictures(fan), link="complete").clusters) == {0: 0, 1: 0, 2: 2}
    with pytest.raises(UserError, match="star or complete"):
        run(pictures(fan), link="chain")


@pytest.mark.parametrize(
    ("sizes", "weights", "labeled", "best"),
    [
        ([100, 200], [9, 9], [0], 0),  # a label goes before resolution
        ([100, 200], [900, 9], [], 1),  # resolution before bytes
        ([100, 100], [9, 900], [], 1),  # bytes a pixel before age
        ([100, 100], [9, 9], [], 0),  # the one seen first
    ],
)
def test_the_best_picture_represents_its_cluster(
    sizes: list[int], weights: list[int], labeled: list[int], best: int
) -> None:
    frame = pictures([BASE, BASE], sizes).assign(bytes=weights)
    done = run(frame, labeled=frozenset(f"{n:064x}" for n in labeled))
    assert done.clusters.loc[done.clusters["representative"], "image_id"].tolist() == [f"{best:064x}"]


def test_what_a_person_called_the_same_is_one_cluster_and_taken_back_two_again() -> None:
    frame = pictures([BASE, flip(BASE, *range(30)), flip(BASE, *range(30), 40)])
    apart = run(frame)
    assert names(apart.clusters) == {0: 0, 1: 1, 2: 1}
    joined = run(frame, apart.clusters, decisions=decided((0, 2, "same")))
    assert names(joined.clusters) == {0: 0, 1: 0, 2: 0}
    assert joined.clusters.set_index("image_id")["kind"].tolist() == ["verified", "decided", "decided"]
    assert joined.joined == 1
    pd.testing.assert_frame_equal(
        run(frame, joined.clusters, decisions=decided((0, 2, "same"))).clusters, joined.clusters
    )
    assert names(run(frame, joined.clusters).clusters) == {0: 0, 1: 1, 2: 1}


def test_what_a_person_called_different_parts_and_stays_apart() -> None:
    frame = pictures([BASE, flip(BASE, 1), flip(BASE, 2)])
    together = run(frame).clusters
    said = decided((0, 1, "different"))
    parted = run(frame, together, decisions=said)
    assert names(parted.clusters) == {0: 0, 1: 1, 2: 0}
    assert parted.parted == 1
    assert names(run(frame, parted.clusters, decisions=said).clusters) == {0: 0, 1: 1, 2: 0}
    assert names(run(frame, decisions=said).clusters) == {0: 0, 1: 1, 2: 0}


def test_a_picture_that_leaves_takes_the_name_of_its_cluster_along() -> None:
    frame = pictures([BASE, flip(BASE, 1), flip(BASE, 2)], sizes=[100, 400, 100])
    early = run(frame.iloc[:1]).clusters  # named 0
    late = run(frame, early).clusters.assign(representative=lambda rows: rows["image_id"].eq(f"{1:064x}"))
    done = run(frame, late, decisions=decided((0, 1, "different")))
    assert names(done.clusters)[1] != names(done.clusters)[0]
    assert done.clusters["cluster_id"].nunique() == len(set(names(done.clusters).values())) == 2


def test_different_wins_where_decisions_contradict_and_that_is_said() -> None:
    frame = pictures([BASE, flip(BASE, *range(20)), flip(BASE, *range(40))])
    said = decided((0, 1, "same"), (1, 2, "same"), (0, 2, "different"))
    done = run(frame, decisions=said)
    assert names(done.clusters) == {0: 0, 1: 0, 2: 2}
    assert done.contradictions == 1


@settings(deadline=None, max_examples=50)
@given(
    flips=st.lists(st.lists(st.integers(0, 12), max_size=5), min_size=2, max_size=12),
    said=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11), st.booleans()), max_size=8),
    link=st.sampled_from(["star", "complete"]),
)
def test_whatever_people_decide_every_picture_is_in_one_cluster_and_different_ones_never_share(
    flips: list[list[int]], said: list[tuple[int, int, bool]], link: str
) -> None:
    frame = pictures([flip(BASE, *bits) for bits in flips])
    pairs = {(min(a, b), max(a, b)): ok for a, b, ok in said if a != b and max(a, b) < len(flips)}
    decisions = decided(*((a, b, "same" if ok else "different") for (a, b), ok in pairs.items()))
    done = run(frame, run(frame).clusters, decisions=decisions, link=link)
    home = names(done.clusters)
    assert sorted(home) == list(range(len(flips)))
    assert (done.clusters.groupby("cluster_id")["representative"].sum() == 1).all()
    assert all(home[a] != home[b] for (a, b), ok in pairs.items() if not ok)
    again = run(frame, done.clusters, decisions=decisions, link=link)
    assert all(home[a] != home[b] for (a, b), ok in pairs.items() if not ok)
    assert sorted(names(again.clusters)) == sorted(home)


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


def family(seed: int, count: int = 60) -> tuple[pd.DataFrame, pd.DataFrame]:
    """PICTURES and LOOKS of random pictures of which many are near in some form, some in several."""
    rng = np.random.default_rng(seed)
    centers = [int.from_bytes(rng.bytes(8), "big") for _ in range(20)]

    def near() -> int:
        return flip(centers[rng.integers(20)], *rng.permutation(64)[: rng.integers(0, 6)].tolist())

    frame = pictures([near() for _ in range(count)], fine=[rng.bytes(4) + bytes(28) for _ in range(count)])
    colors = [rng.integers(120, 136, 128, dtype=np.uint8).tobytes() for _ in range(count)]
    seen_as = looks(frame).assign(
        colors=colors, mirror64=[near() for _ in range(count)], inner64=[near() for _ in range(count)]
    )
    return frame, LOOKS.check(seen_as)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("new", [0, 1, 10, 40])
def test_looking_for_pairs_of_new_pictures_gives_what_looking_for_all_gives(seed: int, new: int) -> None:
    frame, seen_as = family(seed)
    order = np.random.default_rng(seed).permutation(len(frame))  # the new ones stand anywhere
    old = frame.iloc[np.sort(order[new:])].reset_index(drop=True)
    before, _ = find_pairs(old, seen_as, Path("/nowhere"), 8)
    whole, _ = find_pairs(frame, seen_as, Path("/nowhere"), 8)
    found, _ = find_pairs(frame, seen_as, Path("/nowhere"), 8, before=before, searched=set(old["image_id"]))
    assert len(before) > 0
    assert len(before) < len(whole) or new == 0
    pd.testing.assert_frame_equal(found, whole)


def test_pairs_of_old_pictures_are_not_looked_for_again_and_those_of_a_dropped_one_go() -> None:
    frame, seen_as = family(1)
    before, _ = find_pairs(frame, seen_as, Path("/nowhere"), 8)
    searched = set(frame["image_id"])
    less, _ = find_pairs(frame, seen_as, Path("/nowhere"), 8, before=before.iloc[3:], searched=searched)
    pd.testing.assert_frame_equal(less, before.iloc[3:].reset_index(drop=True))
    gone = before["image_id_a"].iloc[0]
    left, _ = find_pairs(
        frame[frame["image_id"] != gone], seen_as, Path("/nowhere"), 8, before=before, searched=searched
    )
    expected = before[before["image_id_a"].ne(gone) & before["image_id_b"].ne(gone)]
    pd.testing.assert_frame_equal(left, expected.reset_index(drop=True))


def test_a_crowd_of_equal_hashes_is_listed_and_not_compared() -> None:
    frame = pictures([BASE] * 30 + [flip(BASE, 1), ~BASE & (2**64 - 1)])
    crowds: list[Skipped] = []
    found, _ = find_pairs(frame, looks(frame), Path("/nowhere"), 4, cap=20, skipped=crowds)
    assert found.empty
    assert [(crowd.value, crowd.count) for crowd in crowds] == [(BASE, 30)]
    again: list[Skipped] = []
    find_pairs(frame, looks(frame), Path("/nowhere"), 4, None, found, set(frame["image_id"][:-1]), 20, again)
    assert again == crowds, "also when only new pictures are looked for"
    assert len(find_pairs(frame, looks(frame), Path("/nowhere"), 4)[0]) == 31 * 30 / 2
