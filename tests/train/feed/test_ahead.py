"""Batches that are made ahead are the ones that a step would have made, and their threads end."""

from __future__ import annotations

import threading
from concurrent.futures import wait
from pathlib import Path

import numpy as np
import pytest
import torch

from schemas.errors import UserError
from train.augment import Batch, padded
from train.data import Shuffled
from train.feed.ahead import AHEAD, Feed, following, in_turn
from train.feed.pictures import Pictures
from train.ranks import part_of
from train.transfer import Blocks

CPU = torch.device("cpu")


class Noted(Pictures):
    """Pictures of one pixel whose value is their position; notes what was asked for, and by which thread."""

    def __init__(self, n: int, broken: int | None = None) -> None:
        super().__init__(np.ones((n, 2), dtype=np.int64), {})
        self.asked: list[list[int]] = []
        self.threads: set[threading.Thread] = set()
        self._broken = broken

    def batch(self, positions: np.ndarray, blocks: Blocks | None = None) -> Batch:
        self.threads.add(threading.current_thread())
        self.asked.append(positions.tolist())
        if self._broken in positions:
            raise UserError("gone")
        return padded([np.full((1, 1, 3), position, np.uint8) for position in positions], blocks)


def values(batch: Batch) -> list[int]:
    return batch.pixels[:, 0, 0, 0].tolist()


@pytest.mark.parametrize("accumulate", [1, 3])
def test_a_feed_gives_what_the_step_asks_for_and_makes_each_batch_once(accumulate: int) -> None:
    pictures, batches = Noted(40), Shuffled(17, 5, seed=3)
    positions = np.arange(20, 37)
    feed = Feed(pictures, positions, batches, CPU)
    expected = Shuffled(17, 5, seed=3)
    for step in range(9):
        for part in range(accumulate):
            rows, batch = feed.take(step, part, accumulate)
            wanted = part_of(expected.batch(step), part, accumulate)
            assert rows.tolist() == wanted.tolist()
            assert values(batch) == positions[wanted].tolist()
    feed.close()
    assert 9 * accumulate <= len(pictures.asked) <= 9 * accumulate + AHEAD
    assert threading.current_thread() not in pictures.threads  # made beside the step


def test_a_feed_that_is_asked_for_something_else_gives_that() -> None:
    feed = Feed(Noted(12), np.arange(12), Shuffled(12, 4, 0), CPU)
    whole = {step: values(feed.take(step)[1]) for step in (0, 1, 7, 2, 7)}
    half = values(feed.take(7, 0, 2)[1])
    feed.close()
    assert whole[7][:2] == half
    assert whole[2] == Shuffled(12, 4, 0).batch(2).tolist()


def test_a_batch_is_whole_while_it_is_in_use_and_its_memory_is_used_again() -> None:
    pictures, places = Noted(40), set()
    feed = Feed(pictures, np.arange(40), Shuffled(40, 8, 0), CPU)
    for step in range(12):
        rows, batch = feed.take(step)
        wait(made for _, made in feed._begun.values())  # what is made meanwhile goes elsewhere
        places.add(batch.pixels.data_ptr())
        assert values(batch) == rows.tolist()
    feed.close()
    assert len(places) <= AHEAD + 1


def test_closing_a_feed_ends_its_thread_and_it_can_be_asked_again() -> None:
    pictures = Noted(12)
    feed = Feed(pictures, np.arange(12), Shuffled(12, 4, 0), CPU)
    first = values(feed.take(0)[1])
    feed.close()
    assert not any(thread.is_alive() for thread in pictures.threads)
    assert values(feed.take(0)[1]) == first
    feed.close()


def test_what_a_thread_raises_is_raised_where_the_batch_is_asked_for() -> None:
    wanted = int(Shuffled(12, 4, 0).batch(2)[0])
    feed = Feed(Noted(12, broken=wanted), np.arange(12), Shuffled(12, 4, 0), CPU)
    feed.take(0)
    feed.take(1)
    with pytest.raises(UserError, match="gone"):
        feed.take(2)
    feed.close()


def test_pictures_that_need_no_making_are_asked_for_when_they_are_needed() -> None:
    pictures = Noted(12)
    pictures.makes_ahead = False  # type: ignore[misc]
    feed = Feed(pictures, np.arange(12), Shuffled(12, 4, 0), CPU)
    feed.take(0)
    assert len(pictures.asked) == 1
    assert pictures.threads == {threading.current_thread()}


def test_each_process_expects_its_own_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    from train import ranks

    assert following((4, 0, 1)) == (5, 0, 1)
    assert following((4, 0, 3)) == (4, 1, 3)  # one process that accumulates three
    assert following((4, 2, 3)) == (5, 0, 3)
    monkeypatch.setattr(ranks, "size", lambda: 2)  # two processes, two rounds each: the second has parts 2 and 3
    assert following((4, 2, 4)) == (4, 3, 4)
    assert following((4, 3, 4)) == (5, 2, 4)


def test_batches_in_turn_come_in_order_and_a_reader_that_leaves_early_ends_the_thread() -> None:
    pictures = Noted(20)
    wanted = [np.arange(start, start + 4) for start in range(0, 20, 4)]
    assert [values(batch) for batch in in_turn(pictures, wanted, CPU)] == [one.tolist() for one in wanted]
    left = in_turn(pictures, wanted, CPU)
    next(left)
    left.close()
    assert not any(thread.is_alive() for thread in pictures.threads)


def test_a_training_that_is_interrupted_leaves_no_thread_behind(tmp_path: Path) -> None:
    from tests.train.test_steps import semi_step
    from train.fit import Stage, fit

    step = semi_step()
    stage = Stage("stage2", 4, 0, 0.01, 0.0, 0.0, 1.0, 0.999, None, 2, 4)

    def stop(name: str, row: dict[str, object]) -> None:
        raise KeyboardInterrupt

    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        fit(step.student, step, stage, None, tmp_path / "c.pt", "x", step.teacher, watch=stop)
    assert not {thread for thread in set(threading.enumerate()) - before if thread.name.startswith("batches")}
