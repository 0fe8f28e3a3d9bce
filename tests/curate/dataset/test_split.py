from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import CLASSES, EXAMPLES, Picture, World, image, of_sizes, policies, singles, worlds

from curate.dataset.split import Cut, crossing, quotas, split
from schemas.tables import SPLITS
from schemas.task import Split

calm = settings(deadline=None, max_examples=EXAMPLES)


def by_id(cut: Cut) -> pd.DataFrame:
    return cut.rows.set_index("image_id")


def side(split_name: str) -> str:
    """Where a row is looked at: unlabeled pictures are trained on."""
    return "train" if split_name == "unlabeled" else split_name


# ---- partition and leaks


@calm
@given(world=worlds, policy=policies)
def test_every_picture_has_one_row_and_no_group_two_sides(world: World, policy: dict) -> None:
    cut = world.split(**policy)
    assert sorted(cut.rows.image_id) == sorted(image(n) for n in world.pictures)
    inside = cut.rows[cut.rows.split != "out"]
    assert inside.assign(side=inside.split.map(side)).groupby("group_id").side.nunique().le(1).all()
    assert (cut.rows.split == "out").equals(cut.rows.split_reason.notna())


@calm
@given(world=worlds, more=worlds, policy=policies)
def test_no_listing_and_no_cluster_has_two_sides_even_after_growth(world: World, more: World, policy: dict) -> None:
    grown = world.more(more)
    cut = by_id(grown.split(before=world.split(**policy).rows, **policy))
    for name in ("listing", "cluster"):
        sides: dict[object, set[str]] = {}
        for n, picture in grown.pictures.items():
            hubs = picture.listings if name == "listing" else [picture.cluster] * (picture.cluster is not None)
            if cut.split[image(n)] != "out":
                for hub in hubs:
                    sides.setdefault(hub, set()).add(side(cut.split[image(n)]))
        assert all(len(found) <= 1 for found in sides.values()), name


@calm
@given(world=worlds, policy=policies)
def test_only_labeled_random_pictures_are_tested_on(world: World, policy: dict) -> None:
    cut = by_id(world.split(**policy))
    for n, picture in world.pictures.items():
        where = cut.split[image(n)]
        if where in ("val", "test"):
            assert picture.label
            assert picture.chosen_by == "random"
            assert not picture.dropped
        if where == "train":
            assert picture.label
        if where == "unlabeled":
            assert not picture.label
        if picture.dropped:
            assert cut.split_reason[image(n)] == "dropped"


# ---- invariance


@calm
@given(world=worlds, policy=policies, order=st.randoms(use_true_random=False))
def test_row_order_never_matters(world: World, policy: dict, order: object) -> None:
    places = list(world.pictures)
    order.shuffle(places)  # type: ignore[attr-defined]
    shuffled = World({n: world.pictures[n] for n in places})
    pd.testing.assert_frame_equal(world.split(**policy).rows, shuffled.split(**policy).rows)


@calm
@given(world=worlds, policy=policies)
def test_string_types_never_matter(world: World, policy: dict) -> None:
    pictures, labels, clusters, appearances = world.tables()
    objects = [frame.astype({"image_id": object}) for frame in (pictures, labels, clusters, appearances)]
    rules = {"policy": Split(**policy), "classes": CLASSES, "task": "t", "now": pd.Timestamp(0, tz="UTC")}
    plain = split(pictures, labels, clusters, appearances, SPLITS.empty(), **rules)
    other = split(*objects, SPLITS.empty(), **rules)
    pd.testing.assert_frame_equal(plain.rows, other.rows)


@calm
@given(world=worlds, policy=policies, names=st.permutations(CLASSES))
def test_renaming_classes_changes_nothing_else(world: World, policy: dict, names: Sequence[str]) -> None:
    new = dict(zip(CLASSES, names, strict=True))
    renamed = World(
        {n: Picture(new.get(p.label), p.listings, p.cluster, p.chosen_by, p.dropped) for n, p in world.pictures.items()}
    )
    pd.testing.assert_frame_equal(world.split(**policy).rows, renamed.split(**policy).rows)


def test_another_seed_is_another_split() -> None:
    world = of_sizes(dots=100, plain=100)
    one, two = world.split(seed=1), world.split(seed=2)
    assert not one.rows.split.equals(two.rows.split)
    assert one.classes.equals(two.classes)


# ---- quotas


@calm
@given(
    labeled=st.lists(st.integers(3, 500), min_size=1, max_size=12),
    test=st.sampled_from([0.02, 0.1, 0.3]),
    share=st.sampled_from([0.1, 0.3, 0.5]),
)
def test_the_water_stands_as_high_as_it_can(labeled: list[int], test: float, share: float) -> None:
    given_ = quotas(labeled, [True] * len(labeled), Split(test=test, max_test_share=share))
    limits = [max(1, int(n * share + 1e-9)) for n in labeled]
    level, room = max(given_), test * sum(labeled) + 1e-9
    assert all(quota == min(level, limit) for quota, limit in zip(given_, limits, strict=True))
    assert sum(given_) <= max(room, len(labeled))
    higher = [min(level + 1, limit) for limit in limits]
    assert higher == given_ or sum(higher) > room


@calm
@given(labeled=st.lists(st.integers(3, 500), min_size=1, max_size=12))
def test_a_strict_test_has_the_same_number_of_every_class(labeled: list[int]) -> None:
    given_ = quotas(labeled, [True] * len(labeled), Split(balance="strict"))
    assert len(set(given_)) == 1
    assert given_[0] <= max(1, int(min(labeled) * 0.3 + 1e-9))


def test_the_size_of_the_paper_gives_the_numbers_of_the_prototype() -> None:
    common = [(39_000 - 287) // 23 + (1 if i < (39_000 - 287) % 23 else 0) for i in range(23)]
    assert quotas([*common, 209, 60, 18], [True] * 26, Split()) == [*[165] * 23, 62, 18, 5]


@calm
@given(world=singles, policy=policies)
def test_single_pictures_fill_every_quota_exactly(world: World, policy: dict) -> None:
    table = world.split(**policy).classes
    assert (table.test == table.quota).all()


@calm
@given(world=worlds, policy=policies)
def test_no_class_goes_over_its_quota_but_for_its_only_group(world: World, policy: dict) -> None:
    cut = world.split(**policy)
    labels = pd.Series({image(n): p.label for n, p in world.pictures.items()})
    tested = cut.rows[cut.rows.split == "test"]
    groups = tested.groupby(tested.image_id.map(labels)).group_id.nunique()
    for key, row in cut.classes.iterrows():
        assert row.test <= row.quota or groups[key] <= len(CLASSES)


# ---- presence


@calm
@given(world=singles, policy=policies)
def test_a_class_with_three_groups_is_in_train_val_and_test(world: World, policy: dict) -> None:
    table = world.split(**policy).classes
    for _, row in table.iterrows():
        if row.labeled >= 3:
            assert row.train >= 1
            assert row.val >= 1 or policy["val"] == 0
            assert row.test >= 1 or policy["test"] == 0
        else:
            assert row.train == row.labeled


@calm
@given(world=worlds, policy=policies)
def test_a_class_with_labels_in_the_split_always_trains_unless_frozen_out(world: World, policy: dict) -> None:
    table = world.split(**policy).classes
    assert ((table.train > 0) | (table.test + table.val == 0)).all()


def test_a_class_of_large_groups_gives_its_smallest() -> None:
    sizes = {0: 3, 1: 4, 2: 5}
    numbers = [(listing, i) for listing, size in sizes.items() for i in range(size)]
    world = World({n: Picture("dots", (listing,)) for n, (listing, _) in enumerate(numbers)})
    row = world.split().classes.loc["dots"]
    assert (row.test, row.val, row.train) == (3, 4, 5)


def test_a_class_with_two_groups_only_trains_and_says_so() -> None:
    cut = of_sizes(dots=50, plain=2).split()
    assert cut.classes.train["plain"] == 2
    assert cut.classes.note["plain"] == "fewer than 3 groups: trains only"


def test_what_a_rare_class_lacks_is_told() -> None:
    cut = of_sizes(dots=100, plain=100, checks=10).split()
    assert cut.classes.short.to_dict() == {"checks": 6, "dots": 0, "plain": 0}
    assert cut.classes.test.to_dict() == {"checks": 3, "dots": 9, "plain": 9}


# ---- fractions


@calm
@given(world=worlds)
def test_ranks_nest_and_every_class_is_in_the_smallest_fraction(world: World) -> None:
    cut = by_id(world.split())
    labels = pd.Series({image(n): p.label for n, p in world.pictures.items()})
    train = cut[cut.split == "train"]
    assert train.label_rank.between(0, 1, inclusive="left").all()
    assert cut.label_rank.notna().equals(cut.split == "train")
    for key, rows in train.groupby(labels.reindex(train.index)):
        largest = rows.groupby("group_id").size().max()
        assert rows.label_rank.min() == 0, key
        for fraction in (0.25, 0.5, 0.75):
            assert abs((rows.label_rank < fraction).sum() - fraction * len(rows)) <= largest


@calm
@given(world=worlds)
def test_a_prefix_of_the_unlabeled_pool_has_just_so_many(world: World) -> None:
    cut = world.split().rows
    pool = cut[cut.split == "unlabeled"].unlabeled_rank
    assert cut.unlabeled_rank.notna().equals(cut.split == "unlabeled")
    assert sorted(pool) == pytest.approx([i / len(pool) for i in range(len(pool))])


# ---- frozen


@calm
@given(world=worlds, policy=policies)
def test_splitting_again_changes_nothing_whatever_the_seed(world: World, policy: dict) -> None:
    first = world.split(**policy)
    pd.testing.assert_frame_equal(first.rows, world.split(before=first.rows, **policy).rows)
    pd.testing.assert_frame_equal(first.rows, world.split(before=first.rows, seed=7, **policy).rows)


@calm
@given(world=worlds, more=worlds, policy=policies)
def test_growth_never_moves_test_and_never_tests_on_train(world: World, more: World, policy: dict) -> None:
    first = by_id(world.split(**policy))
    grown = by_id(world.more(more).split(before=first.reset_index(), **policy))
    for image_id, row in first.iterrows():
        now = grown.loc[image_id]
        if row.split == "test":
            assert now.split == "test"
        if row.split == "val":
            assert now.split == "val" or now.split_reason == "in a test group"
        if row.split == "train":
            assert now.split == "train" or now.split_reason in ("in a test group", "in a val group")


def test_new_labels_fill_the_test_from_new_groups() -> None:
    first = of_sizes(dots=50, plain=50)
    grown = first.more(of_sizes(dots=50, plain=50))
    one = first.split()
    two = grown.split(before=one.rows)
    assert (one.classes.test.sum(), two.classes.test.sum()) == (10, 20)


def test_a_test_picture_that_lost_its_label_goes_out_and_stays_out() -> None:
    world = of_sizes(dots=50, plain=50)
    first = world.split()
    tested = next(n for n in world.pictures if by_id(first).split[image(n)] == "test")
    world.pictures[tested].label = None
    second = world.split(before=first.rows)
    assert by_id(second).split_reason[image(tested)] == "label withdrawn"
    assert second.moved == {"test -> out (label withdrawn)": 1}
    assert by_id(world.split(before=second.rows)).split_reason[image(tested)] == "label withdrawn"


def test_a_near_twin_of_a_test_picture_leaves_train() -> None:
    world = of_sizes(dots=50, plain=50)
    first = by_id(world.split())
    tested = next(n for n in world.pictures if first.split[image(n)] == "test")
    trained = next(n for n in world.pictures if first.split[image(n)] == "train")
    world.pictures[tested].cluster = world.pictures[trained].cluster = "same"
    second = by_id(world.split(before=first.reset_index()))
    assert second.split[image(tested)] == "test"
    assert second.split_reason[image(trained)] == "in a test group"


def test_a_new_picture_that_ties_test_and_train_listings_leaves_instead_of_them() -> None:
    world = World({n: Picture("dots" if n % 2 else "plain", (n,)) for n in range(100)})
    first = by_id(world.split())
    tested = next(n for n in world.pictures if first.split[image(n)] == "test")
    trained = next(n for n in world.pictures if first.split[image(n)] == "train")
    world.pictures[100] = Picture(None, (tested, trained))
    second = by_id(world.split(before=first.reset_index()))
    assert second.split_reason[image(100)] == "bridge"
    assert (second.split[image(tested)], second.split[image(trained)]) == ("test", "train")


# ---- reasons


def test_an_unlabeled_sibling_of_a_test_picture_is_out() -> None:
    world = World({n: Picture("dots" if n % 2 else None, (n // 2,)) for n in range(100)})
    cut = by_id(world.split())
    for n in range(1, 100, 2):
        sibling = cut.loc[image(n - 1)]
        where = cut.split[image(n)]
        expected = {"test": "in a test group", "val": "in a val group"}
        assert sibling.split == ("out" if where in expected else "unlabeled")
        assert (sibling.split_reason if where in expected else None) == expected.get(where)


def test_gold_pictures_are_out() -> None:
    world = of_sizes(dots=30)
    cut = by_id(world.split(gold=[image(3)]))
    assert (cut.split[image(3)], cut.split_reason[image(3)]) == ("out", "gold")


def test_pictures_chosen_for_a_reason_only_train() -> None:
    world = World({n: Picture("dots", chosen_by="random" if n < 20 else "rare") for n in range(60)})
    cut = world.split(test=0.3)
    assert (cut.classes.test["dots"], cut.not_random) == (18, 40)


def test_labels_that_do_not_say_how_they_were_chosen_only_train() -> None:
    world = World({n: Picture("dots", chosen_by="random" if n < 20 else None) for n in range(60)})
    cut = world.split(test=0.3)
    assert (cut.classes.test["dots"], cut.not_random, cut.unknown) == (18, 0, 40)


# ---- sides last


def test_a_withdrawn_test_picture_that_gets_a_label_again_is_tested_on_again() -> None:
    world = of_sizes(dots=50, plain=50)
    first = world.split()
    for where in ("test", "val", "train"):
        n = next(n for n in world.pictures if by_id(first).split[image(n)] == where)
        world.pictures[n].label, was = None, world.pictures[n].label
        second = world.split(before=first.rows)
        world.pictures[n].label = was
        assert by_id(world.split(before=second.rows)).split[image(n)] == where


def test_a_test_picture_that_was_dropped_for_a_time_comes_back_to_the_test() -> None:
    world = of_sizes(dots=50, plain=50)
    first = world.split()
    tested = next(n for n in world.pictures if by_id(first).split[image(n)] == "test")
    world.pictures[tested].dropped = True
    second = world.split(before=first.rows)
    assert by_id(second).split_reason[image(tested)] == "dropped"
    world.pictures[tested].dropped = False
    assert by_id(world.split(before=second.rows)).split[image(tested)] == "test"


def test_the_near_twin_of_a_withdrawn_test_picture_does_not_train() -> None:
    world = World({n: Picture("dots", (n // 2,)) for n in range(100)})
    first = by_id(world.split())
    tested = next(n for n in range(0, 100, 2) if first.split[image(n)] == "test")
    world.pictures[tested].label = world.pictures[tested + 1].label = None
    second = world.split(before=first.reset_index())
    world.pictures[tested + 1].label = "dots"
    third = by_id(world.split(before=second.rows))
    assert (third.split[image(tested)], third.split[image(tested + 1)]) == ("out", "test")
    world.pictures[100] = Picture("dots", (tested // 2,))
    assert by_id(world.split(before=second.rows)).split_reason[image(100)] == "in a test group"


def test_a_test_picture_whose_label_changed_stays_under_its_new_label() -> None:
    world = of_sizes(dots=50, plain=50)
    first = world.split()
    tested = next(n for n in world.pictures if by_id(first).split[image(n)] == "test")
    world.pictures[tested].label = "checks"
    second = world.split(before=first.rows)
    assert by_id(second).split[image(tested)] == "test"
    assert second.classes.test["checks"] == 1


@calm
@given(world=worlds, more=worlds, policy=policies, lost=st.sets(st.integers(0, 39)))
def test_what_was_tested_on_never_trains_whatever_happens_to_labels(
    world: World, more: World, policy: dict, lost: set[int]
) -> None:
    first = world.split(**policy)
    without = World({n: replace(p, label=None if n in lost else p.label) for n, p in world.pictures.items()})
    second = without.more(more).split(before=first.rows, **policy)
    third = by_id(world.more(more).split(before=second.rows, **policy))
    was = by_id(first).split
    for n in world.pictures:
        now = third.split[image(n)]
        if was[image(n)] == "test":
            assert now == "test"
        if was[image(n)] in ("val", "train"):
            assert now in (was[image(n)], "out")


def test_tables_of_before_there_was_a_column_for_sides_are_read_right() -> None:
    world = of_sizes(dots=50, plain=50)
    first = world.split()
    older = first.rows.assign(side=None)
    pd.testing.assert_frame_equal(world.split(before=older, seed=5).rows, first.rows)


@calm
@given(world=worlds, more=worlds)
def test_growth_keeps_the_order_of_what_is_there(world: World, more: World) -> None:
    first = by_id(world.split())
    new_clusters = World({n: replace(p, listings=(), cluster=None) for n, p in more.pictures.items()})
    grown = by_id(world.more(new_clusters).split(before=first.reset_index()))
    assert grown.group_id[first.index].equals(first.group_id)
    labels = pd.Series({image(n): p.label for n, p in world.pictures.items()})
    both = first.index[(first.split == "train") & (grown.split.reindex(first.index) == "train")]
    for _, ids in labels[both].groupby(labels[both]):
        old, new = first.label_rank[ids.index], grown.label_rank[ids.index]
        starts = old.groupby(first.group_id[ids.index]).first().sort_values()
        assert new.groupby(first.group_id[ids.index]).first()[starts.index].is_monotonic_increasing
    pool = first.index[(first.split == "unlabeled") & (grown.split.reindex(first.index) == "unlabeled")]
    assert grown.unlabeled_rank[first.unlabeled_rank[pool].sort_values().index].is_monotonic_increasing


def test_a_group_keeps_its_id_when_a_smaller_one_joins() -> None:
    world = World({n: Picture("dots", cluster=n) for n in range(40)})
    first = by_id(world.split())
    newcomer = min(range(40, 400), key=image)
    last = max(range(40), key=image)
    world.pictures[newcomer] = Picture("dots", cluster=last)
    grown = by_id(world.split(before=first.reset_index()))
    assert grown.group_id[image(newcomer)] == grown.group_id[image(last)] == image(last)


def test_the_parts_of_a_group_that_falls_apart_have_ids_of_their_own() -> None:
    world = World({n: Picture("dots", cluster=n // 4) for n in range(40)})
    first = by_id(world.split())
    for n in range(2):
        world.pictures[n].cluster = "apart"
    apart = by_id(world.split(before=first.reset_index()))
    one, two = apart.group_id[image(0)], apart.group_id[image(2)]
    assert one != two
    assert {one, two} <= {image(n) for n in range(4)}


# ---- short classes, filled on request


def rare_dots(filled: bool) -> Cut:
    """100 plain pictures at random; of 30 dots only 3 were chosen at random."""
    pictures = {n: Picture("plain") for n in range(100)}
    pictures |= {n: Picture("dots", chosen_by="random" if n < 103 else "rare") for n in range(100, 130)}
    return World(pictures).split(test=0.1, fill_short=filled)


def test_a_short_class_is_filled_only_on_request_and_its_rows_say_so() -> None:
    without, cut = rare_dots(False), rare_dots(True)
    assert (without.classes.test["dots"], without.classes.val["dots"], without.classes.short["dots"]) == (3, 0, 3)
    assert (cut.classes.test["dots"], cut.classes.val["dots"]) == (6, 3)
    filled = cut.rows[cut.rows.split_reason == "filled"]
    assert filled.split.value_counts().to_dict() == {"test": 3, "val": 3}
    assert cut.classes.test["plain"] == without.classes.test["plain"]


def test_what_was_filled_stays_and_keeps_saying_so() -> None:
    first = rare_dots(True)
    pictures = {n: Picture("plain") for n in range(100)}
    pictures |= {n: Picture("dots", chosen_by="random" if n < 103 else "rare") for n in range(100, 130)}
    pd.testing.assert_frame_equal(World(pictures).split(before=first.rows, test=0.1).rows, first.rows)


# ---- a given split


def give(**sides: Sequence[int]) -> dict[str, str]:
    return {image(n): side for side, numbers in sides.items() for n in numbers}


def test_a_given_split_is_kept_and_the_rest_is_decided_around_it() -> None:
    world = of_sizes(dots=50, plain=50)
    cut = world.split(fixed=give(test=range(10), train=range(10, 20), out=[99]))
    rows = by_id(cut)
    assert set(rows.split[rows.split == "test"].index) == {
        image(n) for n in range(10)
    }  # what is given is the whole test
    assert all(rows.split[image(n)] == "train" for n in range(10, 20))
    assert (rows.split[image(99)], rows.split_reason[image(99)]) == ("out", "fixed out")
    assert (rows.split == "val").sum() == 10
    assert (rows.split_reason == "fixed").sum() == 20
    assert cut.classes.short.tolist() == [0, 0, 0]


def test_a_given_split_stays_without_its_file() -> None:
    world = of_sizes(dots=50, plain=50)
    first = world.split(fixed=give(test=range(10), train=range(10, 20), out=[99]))
    again = world.split(before=first.rows, seed=3)
    pd.testing.assert_frame_equal(again.rows, first.rows)
    grown = world.more(of_sizes(dots=50, plain=50)).split(before=first.rows)
    assert grown.classes.test.sum() == 10


def test_a_near_twin_of_a_given_test_picture_is_out() -> None:
    world = World({n: Picture("dots", cluster=n // 2) for n in range(60)})
    rows = by_id(world.split(fixed=give(test=[0], val=[2], train=[4])))
    assert [rows.split[image(n)] for n in (0, 2, 4, 5)] == ["test", "val", "train", "train"]
    assert (rows.split_reason[image(1)], rows.split_reason[image(3)]) == ("in a test group", "in a val group")


def test_a_given_picture_without_a_label_waits_and_its_twins_do_not_train() -> None:
    world = World({n: Picture("dots", cluster=n // 2) for n in range(60)})
    for n in (0, 4):
        world.pictures[n].label = None
    world.pictures[1].label = None
    first = world.split(fixed=give(test=[0], train=[4]))
    rows = by_id(first)
    assert (rows.split[image(0)], rows.split_reason[image(0)]) == ("out", "fixed, no label")
    assert rows.split_reason[image(1)] == "in a test group"
    assert (rows.split[image(4)], rows.split[image(5)]) == ("unlabeled", "train")
    for n in (0, 1, 4):
        world.pictures[n].label = "dots"
    rows = by_id(world.split(before=first.rows))
    assert [rows.split[image(n)] for n in (0, 1, 4)] == ["test", "out", "train"]
    assert [rows.split_reason[image(n)] for n in (0, 4)] == ["fixed", "fixed"]


def test_given_pictures_need_not_have_been_chosen_at_random() -> None:
    world = World({n: Picture("dots", chosen_by="rare" if n < 5 else "random") for n in range(60)})
    assert (by_id(world.split(fixed=give(test=range(5)))).split == "test").sum() == 5


def test_groups_that_cross_a_given_split_are_found() -> None:
    world = World({n: Picture("dots", cluster=n // 2) for n in range(60)})
    sides = give(test=[0, 2, 3], train=[1, 4], out=[5])
    cut = world.split(fixed=sides)
    found = crossing(cut.rows, sides)
    assert found.image_id.tolist() == [image(0), image(1)]
    assert found.side.tolist() == ["test", "train"]
    rows = by_id(cut)
    assert (rows.split[image(0)], rows.split[image(1)]) == ("test", "train")
    pd.testing.assert_frame_equal(world.split(before=cut.rows).rows, cut.rows)


@calm
@given(
    world=worlds, policy=policies, sides=st.dictionaries(st.integers(0, 39), st.sampled_from(["train", "val", "test"]))
)
def test_whatever_is_given_nothing_else_crosses(world: World, policy: dict, sides: dict[int, str]) -> None:
    given_ = {image(n): where for n, where in sides.items() if n in world.pictures}
    rows = world.split(fixed=given_, **policy).rows
    for row in rows[rows.image_id.isin(given_) & (rows.split != "out") & (rows.split != "unlabeled")].itertuples():
        assert row.split == given_[row.image_id]
    bad = set(crossing(rows, given_).group_id)
    inside = rows[(rows.split != "out") & ~rows.group_id.isin(bad)]
    assert inside.assign(side=inside.split.map(side)).groupby("group_id").side.nunique().le(1).all()


def test_one_group_always_stays_for_train_however_large_val_is() -> None:
    table = of_sizes(dots=3, plain=4, checks=40).split(test=0.3, val=0.6).classes
    assert table.test.gt(0).all()
    assert table.val.gt(0).all()
    assert table.train.gt(0).all()
