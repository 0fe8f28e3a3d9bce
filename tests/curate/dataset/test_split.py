from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import CLASSES, EXAMPLES, Picture, World, image, of_sizes, policies, singles, worlds

from curate.dataset.split import Cut, quotas, split
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
