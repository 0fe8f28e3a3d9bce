"""Several processes that train one model together, as torchrun starts them (DDP). Alone, everything here does nothing.

The step's pictures are cut into parts, one for each process and each round of gradient accumulation; losses of parts are
summed. So two processes compute what one process with accumulate=2 computes. Process 0 leads: it alone writes and speaks.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from schemas.errors import UserError

T = TypeVar("T")
_control: list[Any] = []  # a group on the CPU for short words between the processes, whatever the gradients travel on


def join() -> None:
    """Meet the other processes, when torchrun started several; each GPU process takes the GPU of its local number."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        return
    cuda = torch.cuda.is_available()
    if cuda:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if cuda else "gloo")
    waits = timedelta(days=1)  # the others may have to wait while one reads pictures; who dies is torchrun's affair
    _control[:] = [dist.new_group(backend="gloo", timeout=waits)]


def alone(command: str) -> None:
    """Refuse to run under torchrun: for commands that make many runs, which share the GPUs by one process each."""
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise UserError(
            f"`train {command}` is not for torchrun; start it once for each GPU instead, as in CUDA_VISIBLE_DEVICES=1 train {command}"
        )


def size() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


def number() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def on_machine() -> int:
    """How many of them are on this machine."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", "1")) if size() > 1 else 1


def number_on_machine() -> int:
    """Which of this machine's processes this is, from 0."""
    return int(os.environ.get("LOCAL_RANK", "0")) if size() > 1 else 0


def leads() -> bool:
    """Whether this is the process that writes and speaks."""
    return number() == 0


def say(line: str) -> None:
    """A line on stderr, once."""
    if leads():
        print(line, file=sys.stderr, flush=True)


def answer(line: str) -> None:
    """A result on stdout, once."""
    if leads():
        print(line, flush=True)


def share(value: T) -> T:
    """The leader's value, in every process; all must call it."""
    if size() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, 0, group=_control[0])
    return box[0]


def led(make: Callable[[], T]) -> T:
    """What `make` gives the leader, in every process; the others do not call it."""
    return share(make() if leads() else None)  # type: ignore[return-value]


def of_machine(value: Any) -> Any:
    """The value of the first process on this machine, in all of them there; all processes of the run must call it."""
    found: list[Any] = [None] * size()
    dist.all_gather_object(found, value, group=_control[0])
    return found[number() - number_on_machine()]


def meet() -> None:
    """Wait until all processes are here."""
    if size() > 1:
        dist.barrier(group=_control[0])


def total(value: Tensor) -> Tensor:
    """The sum over all processes, on the CPU."""
    if size() == 1:
        return value
    summed = value.detach().cpu().clone()
    dist.all_reduce(summed, group=_control[0])
    return summed


def gathered(value: T) -> list[T]:
    """Everybody's value, in the order of their numbers; all must call it."""
    if size() == 1:
        return [value]
    found: list[Any] = [None] * size()
    dist.all_gather_object(found, value, group=_control[0])
    return found


def machines() -> int:
    """How many machines the processes are on, as torchrun says."""
    return max(1, size() // int(os.environ.get("LOCAL_WORLD_SIZE", size())))


def any_of(*asked: bool) -> list[bool]:
    """For each question, whether any process says yes: so that all stop, or save, after the same step."""
    if size() == 1:
        return list(asked)
    return total(torch.tensor(asked, dtype=torch.int64)).bool().tolist()


def in_parts(work: Callable[[np.ndarray], np.ndarray], positions: np.ndarray) -> np.ndarray:
    """`work` on the positions, each process on its part of them (not always equal ones), the results in order in all."""
    if size() == 1:
        return work(positions)
    found: list[Any] = [None] * size()
    dist.all_gather_object(found, work(np.array_split(positions, size())[number()]), group=_control[0])
    found = [part for part in found if len(part)]
    return np.concatenate(found) if found else work(positions[:0])


def part_of(rows: np.ndarray, part: int, parts: int) -> np.ndarray:
    """One of `parts` nearly equal parts of a step's rows."""
    return np.array_split(rows, parts)[part] if parts > 1 else rows


def spread(model: nn.Module) -> nn.Module:
    """The model with gradients averaged over the processes; running statistics are `average_buffers`' affair."""
    if size() == 1:
        return model
    ids = [torch.cuda.current_device()] if torch.cuda.is_available() else None
    return nn.parallel.DistributedDataParallel(model, device_ids=ids, forward_sync_buffers=False)


def unsynced(model: nn.Module) -> AbstractContextManager[Any]:
    """No exchange of gradients inside: all rounds of an accumulation but the last."""
    return model.no_sync() if isinstance(model, nn.parallel.DistributedDataParallel) else nullcontext()


def average_buffers(model: nn.Module) -> None:
    """BatchNorm's running statistics averaged over the processes, so that all judge, and keep, the same model."""
    if size() == 1:
        return
    buffers = [value for value in model.buffers() if value.is_floating_point()]
    if buffers:
        flat = torch.cat([value.flatten() for value in buffers])
        dist.all_reduce(flat)
        _put_back(buffers, flat / size())


def _put_back(buffers: Sequence[Tensor], flat: Tensor) -> None:
    for value, part in zip(buffers, flat.split([value.numel() for value in buffers]), strict=True):
        value.copy_(part.view_as(value))


def device_name(device: torch.device) -> str:
    """What computes, for a person."""
    processes = f"{size()} processes, each " if size() > 1 else ""
    if device.type == "cuda":
        return processes + torch.cuda.get_device_name(device)
    return f"{processes}cpu, {torch.get_num_threads()} threads"


class Stop:
    """Whether somebody asked to stop."""

    asked = False


@contextmanager
def stop_requests() -> Iterator[Stop]:
    """Ctrl-C and SIGTERM are noted instead of tearing a step apart; a second Ctrl-C stops at once, without a checkpoint.

    Not so under torchrun: a terminal or a scheduler signals every process, torchrun passes the same signal on, and each
    process is told twice to stop once. It kills what is still there after half a minute.
    """
    stop = Stop()

    def note(kind: int, *_: Any) -> None:
        if stop.asked and kind == signal.SIGINT and "TORCHELASTIC_RUN_ID" not in os.environ:
            raise KeyboardInterrupt
        stop.asked = True

    kinds = (signal.SIGINT, signal.SIGTERM)
    try:
        before = [signal.signal(kind, note) for kind in kinds]
    except ValueError:  # not the main thread: whoever runs us handles signals
        yield stop
        return
    try:
        yield stop
    finally:
        for kind, handler in zip(kinds, before, strict=True):
            signal.signal(kind, handler)


@contextmanager
def terminate_as_interrupt() -> Iterator[None]:
    """SIGTERM ends what is no step, too, as Ctrl-C does."""

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    try:
        before = signal.signal(signal.SIGTERM, stop)
    except ValueError:  # not the main thread: whoever runs us handles signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
