"""A changed copy fits into its original and a stranger does not, whichever of the two comes first."""

from __future__ import annotations

from pathlib import Path

import pytest
from photos import CHANGES, photo, save

from curate.alignment import SMALL_SET, fit, fits, gray_copy, same_pixels
from curate.dataset.leaks import CONTRADICTS, FITS


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_fits(tmp_path: Path, change: str) -> None:
    one = gray_copy(save(tmp_path / "a.jpg", photo(1)))
    copy = gray_copy(save(tmp_path / "b.jpg", CHANGES[change](photo(1)), 70))
    for found in (fit(one, copy), fit(copy, one)):
        assert found.detail > FITS
        assert found.mirrored == ("mirrored" in change)


def test_strangers_do_not_fit(tmp_path: Path) -> None:
    copies = [gray_copy(save(tmp_path / f"{n}.jpg", photo(n))) for n in range(8)]
    details = [fit(copies[a], copies[b]).detail for a in range(8) for b in range(a)]
    assert max(details) < CONTRADICTS


def test_many_pairs_go_to_several_processes_and_each_is_answered_once(tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{n}.jpg", photo(n % 3, (60, 50))) for n in range(6)]
    (tmp_path / "5.jpg").write_bytes(b"no picture")
    pairs = [(paths[n % 6], paths[n // 6 % 6]) for n in sorted(range(SMALL_SET + 10), key=lambda n: n % 6)]
    found = dict(fits(pairs))
    assert sorted(found) == list(range(len(pairs)))
    for at, (a, b) in enumerate(pairs):
        one = found[at]
        if paths[5] in (a, b):
            assert one is None
        else:
            assert one is not None
            assert (one.detail > FITS) == (int(a.stem) % 3 == int(b.stem) % 3)


def test_a_flat_picture_fits_nothing(tmp_path: Path) -> None:
    flat = gray_copy(save(tmp_path / "flat.png", photo(1).point(lambda _: 255)))
    assert fit(flat, gray_copy(save(tmp_path / "a.jpg", photo(1)))).detail == 0


def test_the_same_pixels_are_the_same_however_they_are_packed(tmp_path: Path) -> None:
    png, bmp = save(tmp_path / "a.png", photo(1)), save(tmp_path / "a.bmp", photo(1))
    assert same_pixels(png, bmp)
    assert not same_pixels(png, save(tmp_path / "a.jpg", photo(1)))
    assert not same_pixels(png, tmp_path / "nowhere.png")
