from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from worlds import EXAMPLES, Picture, World, image

from curate.dataset.groups import Groups, make_groups


def groups_of(world: World, sides: dict[int, str] | None = None, giant: int = 50) -> Groups:
    pictures, _, clusters, appearances = world.tables()
    named = {image(n): side for n, side in (sides or {}).items()}
    return make_groups(pictures, clusters, appearances, named, giant_share=0, giant_least=giant)


def together(groups: Groups, a: int, b: int) -> bool:
    return bool(groups.group_id[image(a)] == groups.group_id[image(b)])


def test_a_listing_and_a_cluster_chain_pictures_together() -> None:
    world = World(
        {0: Picture(listings=("x",)), 1: Picture(listings=("x",), cluster="c"), 2: Picture(cluster="c"), 3: Picture()}
    )
    groups = groups_of(world)
    assert together(groups, 0, 2)
    assert not together(groups, 0, 3)
    assert groups.group_id[image(0)] == min(image(n) for n in (0, 1, 2))


def test_same_pixels_stay_together() -> None:
    pictures, _, clusters, appearances = World({0: Picture(), 1: Picture(), 2: Picture()}).tables()
    groups = make_groups(pictures.assign(pixels_sha256=["p", "p", None]), clusters, appearances)
    assert together(groups, 0, 1)
    assert not together(groups, 0, 2)


def test_a_dropped_picture_ties_no_listings_together() -> None:
    stock = Picture(listings=("x", "y"), dropped=True)
    groups = groups_of(World({0: Picture(listings=("x",)), 1: Picture(listings=("y",)), 2: stock}))
    assert not together(groups, 0, 1)


def stock_photo(sellers: int) -> World:
    """One stock photo (0) that every seller shows beside two photos of their own."""
    world = World({0: Picture(listings=tuple(range(sellers)))})
    for seller in range(sellers):
        world.pictures[2 * seller + 1] = world.pictures[2 * seller + 2] = Picture(listings=(seller,))
    return world


def test_a_stock_photo_of_many_sellers_leaves_and_their_listings_stay_whole() -> None:
    groups = groups_of(stock_photo(30))
    assert groups.bridges == {image(0)}
    assert groups.cut == 30
    assert groups.largest == (61,)
    assert all(together(groups, 2 * seller + 1, 2 * seller + 2) for seller in range(30))
    assert not together(groups, 1, 3)
    assert "30 listing edges of 1 bridge pictures cut" in groups.describe()


def test_a_stock_photo_of_few_sellers_stays() -> None:
    groups = groups_of(stock_photo(20))
    assert not groups.bridges
    assert together(groups, 1, 3)


def test_what_is_decided_is_never_cut_out() -> None:
    assert not groups_of(stock_photo(30), sides={0: "test"}).bridges


def test_only_the_worst_bridges_are_cut() -> None:
    world = stock_photo(30)
    world.pictures[100] = Picture(listings=(0, 1))
    assert groups_of(world).bridges == {image(0)}


def test_near_twins_are_never_pulled_apart() -> None:
    world = World({n: Picture(cluster="same") for n in range(80)})
    groups = groups_of(world)
    assert groups.group_id.nunique() == 1
    assert not groups.bridges


def test_no_pictures_make_no_groups() -> None:
    assert groups_of(World()).describe() == "0 groups"


def peeled(world: World, sides: dict[int, str], giant: int) -> set[int]:
    """The bridges as a person would find them: in every bad group cut the pictures of the most listings, until none is bad.

    Pictures without near twins only, so that a picture is what is cut.
    """
    cut: set[int] = set()
    while True:
        worst: set[int] = set()
        left = set(world.pictures) - cut
        while left:
            group, more = set(), {left.pop()}
            while more:
                group |= more
                hubs = {hub for n in more for hub in world.pictures[n].listings}
                more = {n for n in left if hubs & set(world.pictures[n].listings)} - group
                left -= more
            free = [n for n in group if n not in sides and len(world.pictures[n].listings) > 1]
            if len(group) > giant or len({sides[n] for n in group if n in sides}) > 1:
                most = max((len(world.pictures[n].listings) for n in free), default=0)
                worst |= {n for n in free if len(world.pictures[n].listings) == most}
        if not worst:
            return cut
        cut |= worst


@settings(deadline=None, max_examples=4 * EXAMPLES)
@given(
    listings=st.lists(st.sets(st.integers(0, 14), max_size=6), min_size=1, max_size=40),
    sides=st.dictionaries(st.integers(0, 39), st.sampled_from(["train", "val", "test"]), max_size=8),
    giant=st.integers(2, 12),
)
def test_bridges_are_the_most_tied_pictures_of_bad_groups(
    listings: list[set[int]], sides: dict[int, str], giant: int
) -> None:
    world = World({n: Picture(listings=tuple(sorted(some))) for n, some in enumerate(listings)})
    sides = {n: side for n, side in sides.items() if n in world.pictures}
    groups = groups_of(world, sides, giant)
    assert groups.bridges == {image(n) for n in peeled(world, sides, giant)}
    assert groups.cut == sum(len(world.pictures[n].listings) for n in world.pictures if image(n) in groups.bridges)
