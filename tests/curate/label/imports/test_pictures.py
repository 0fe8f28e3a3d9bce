"""A picture is found by all that it is called, and never guessed when two have a name."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.label.imports.pictures import Pictures

IDS = {name: name * 64 for name in "abcdef"}
PLACES = {
    "a": "https://shop.example/pictures/mx/MX100-1.jpg",
    "b": "https://shop.example/img.php?id=2",
    "c": "https://shop.example/img.php?id=3",
    "d": "photos/kitchen/0001.jpg",
    "e": "photos/garden/0001.jpg",
    "f": "photos/garden/uma foto.jpg",
}


def pictures() -> Pictures:
    stored = pd.DataFrame({"image_id": list(IDS.values()), "blob": [f"blobs/{i[:2]}/{i}.jpg" for i in IDS.values()]})
    shown = pd.DataFrame({"image_id": [IDS[name] for name in PLACES], "url": list(PLACES.values())})
    return Pictures(stored, shown)


@pytest.mark.parametrize(
    ("reference", "picture", "by_name"),
    [
        ("a" * 64, "a", False),
        ("A" * 64, "a", False),
        (f"blobs/aa/{'a' * 64}.jpg", "a", False),
        (f"https://cdn.example/x/{'a' * 64}.webp?w=200", "a", False),
        ("https://shop.example/pictures/mx/MX100-1.jpg", "a", False),
        ("http://shop.example/pictures/mx/MX100-1.jpg?v=2#top", "a", False),
        ("s3://bucket/pictures/mx/MX100-1.jpg", "a", False),
        ("https://bucket.s3.amazonaws.com/mx/MX100-1.jpg?X-Amz-Signature=0f", "a", False),
        ("MX100-1.jpg", "a", False),
        ("s3://bucket/2024/MX100-1.jpg", "a", True),
        ("https://shop.example/img.php?id=3", "c", False),
        ("https://shop.example/img.php?id=9", None, False),
        ("https://shop.example/img.php", None, False),
        ("photos/kitchen/0001.jpg", "d", False),
        ("C:\\data\\photos\\garden\\0001.jpg", "e", False),
        ("garden/0001.jpg", "e", False),
        ("0001.jpg", None, False),
        ("attic/0001.jpg", None, False),
        ("photos/garden/uma%20foto.jpg", "f", False),
        ("/data/local-files/?d=photos/garden/uma%20foto.jpg", "f", False),
        ("https://ls.example/data/upload/3/9f3c1a2b-MX100-1.jpg", "a", True),
        ("nothing.jpg", None, False),
        ("", None, False),
    ],
)
def test_what_a_reference_means(reference: str, picture: str | None, by_name: bool) -> None:
    matches = pictures().match([reference])
    assert matches.found.get(reference) == (IDS[picture] if picture else None)
    assert (reference in matches.by_name) == by_name
    assert (picture is None) == (reference in matches.ambiguous or reference in matches.unknown)


def test_a_name_that_several_pictures_have_is_ambiguous_and_not_unknown() -> None:
    matches = pictures().match(["0001.jpg", "no.jpg"])
    assert (matches.ambiguous, matches.unknown) == (["0001.jpg"], ["no.jpg"])


def test_two_folders_never_mean_one_picture_by_its_name_alone() -> None:
    matches = pictures().match(["s3://b/dots/MX100-1.jpg", "s3://b/stars/MX100-1.jpg"])
    assert matches.found == {}
    assert len(matches.ambiguous) == 2


parts = st.lists(st.sampled_from(["x", "y", "z"]), min_size=1, max_size=4).map("/".join)


@settings(deadline=None)
@given(st.dictionaries(parts.map(lambda path: f"{path}.jpg"), st.sampled_from(sorted(IDS)), min_size=1, max_size=8))
def test_every_own_path_means_its_own_picture_and_every_reference_is_accounted_for(places: dict[str, str]) -> None:
    stored = pd.DataFrame({"image_id": list(IDS.values()), "blob": [f"blobs/{i}.jpg" for i in IDS.values()]})
    shown = pd.DataFrame({"image_id": [IDS[name] for name in places.values()], "url": list(places)})
    known = Pictures(stored, shown)
    asked = [*places, *(f"other/{place}" for place in places), "q.jpg"]
    matches = known.match(asked)
    assert {place: matches.found[place] for place in places} == {place: IDS[name] for place, name in places.items()}
    assert sorted([*matches.found, *matches.ambiguous, *matches.unknown]) == sorted(set(asked))
