"""Workers of other tools become pseudonyms that stay, and one file alone knows who they are."""

from __future__ import annotations

import re
import threading
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from curate.label.imports.workers import FILE, pseudonyms


def test_a_worker_keeps_the_id_and_another_tool_has_its_own_people(tmp_path: Path) -> None:
    first = pseudonyms(tmp_path, "mturk", ["ana", "bea", "ana"], set())
    assert all(re.fullmatch(r"A[A-Z0-9]{13}", worker) for worker in first.values())
    assert len(set(first.values())) == 2
    later = pseudonyms(tmp_path, "mturk", ["carl", "ana"], set())
    assert later["ana"] == first["ana"]
    assert later["carl"] not in first.values()
    assert pseudonyms(tmp_path, "label-studio", ["ana"], set())["ana"] != first["ana"]


def test_a_worker_whom_the_votes_here_know_stays_and_amazons_look_alike_does_not(tmp_path: Path) -> None:
    made = pseudonyms(tmp_path, "csv", ["A0123456789ABC", "A9876543210ZYX"], {"A0123456789ABC"})
    assert made["A0123456789ABC"] == "A0123456789ABC"
    assert made["A9876543210ZYX"] != "A9876543210ZYX"


def test_only_its_owner_may_read_who_they_are_and_nobody_is_written_for_known_ones(tmp_path: Path) -> None:
    pseudonyms(tmp_path, "csv", ["A0123456789ABC"], {"A0123456789ABC"})
    assert not (tmp_path / FILE).exists()
    pseudonyms(tmp_path, "csv", ["ana"], set())
    assert (tmp_path / FILE).stat().st_mode & 0o077 == 0


def test_two_imports_at_once_give_one_id(tmp_path: Path) -> None:
    found: list[dict[str, str]] = []
    names = [f"w{n}" for n in range(200)]
    threads = [
        threading.Thread(target=lambda: found.append(pseudonyms(tmp_path, "csv", names, set()))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(one == found[0] for one in found)


@settings(deadline=None, max_examples=25)
@given(names=st.lists(st.text(min_size=1, max_size=20), min_size=1, max_size=20))
def test_every_name_gets_one_id_of_its_own(tmp_path_factory: object, names: list[str]) -> None:
    root = tmp_path_factory.mktemp("shop")  # type: ignore[attr-defined]
    made = pseudonyms(root, "csv", names, set())
    assert set(made) == set(names)
    assert len(set(made.values())) == len(set(names))
