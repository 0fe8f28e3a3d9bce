"""What `train submit` does with a command line: an example, a plan, jobs, their state, a model, or a file for Slurm."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from schemas.errors import UserError
from train.submit.asked import Checked, check, parse
from train.submit.settings import EXAMPLE, SageMaker, Slurm, settings

if TYPE_CHECKING:
    from train.submit.sagemaker import Plan

PLACES = ("sagemaker", "slurm")
_OF_SLURM = ("file", "nodes", "gpus_per_node", "cpus_per_node", "time", "partition", "account")
_OF_SAGEMAKER = (
    "role", "bucket", "image", "instance_type", "instance_count", "region", "max_run_hours", "spot", "parallel",
    "price_per_hour", "wait", "name", "to_folder",
)  # fmt: skip


@dataclass(frozen=True)
class Wish:
    """What a person wrote: words after the options, the options, and how they are asked before it costs money."""

    words: tuple[str, ...]
    flags: Mapping[str, Any]
    ask: Callable[[str], bool]


def send(wish: Wish) -> Iterator[str]:
    """Do it; what is to be said, line by line."""
    flags = wish.flags
    if flags["example"]:
        yield EXAMPLE.rstrip()
        return
    if flags["to"] not in PLACES:
        raise UserError(f"--to {flags['to'] or 'is missing'}: choose {' or '.join(PLACES)}")
    foreign = _OF_SLURM if flags["to"] == "sagemaker" else _OF_SAGEMAKER
    for name in foreign:
        if flags[name] not in (None, False):
            raise UserError(f"--{name.replace('_', '-')}: has no meaning for --to {flags['to']}; leave it out")
    if wish.words and wish.words[0] in ("status", "fetch"):
        yield from _look(wish)
        return
    asked = parse(wish.words)
    checked = check(asked)
    yield from (_sagemaker if flags["to"] == "sagemaker" else _slurm)(wish, checked)


def _slurm(wish: Wish, checked: Checked) -> Iterator[str]:
    from train.submit.slurm import file_name, script, write_script

    to = settings(Slurm, wish.flags, checked.manifest.path, wish.flags["config"])
    text = script(checked, to, Path.cwd(), _words(wish))
    path = wish.flags["file"] or Path(file_name(checked))
    if wish.flags["dry_run"]:
        yield text.rstrip()
        return
    new = write_script(path, text)
    yield f"{path}{'' if new else ' is there already'}: submit it with `sbatch {path}`"
    if len(checked.requests) > 1:
        yield f"{len(checked.requests)} seeds, each a task of the array; when all are done, the same `train` command says mean and spread"


def _words(wish: Wish) -> list[str]:
    """The settings that were given and the command, as they are noted in the file."""
    given = {name: wish.flags[name] for name in _OF_SLURM if wish.flags[name] is not None}
    options = [word for name, value in given.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    return ["--to", "slurm", *options, *wish.words]


def _sagemaker(wish: Wish, checked: Checked) -> Iterator[str]:
    from train.submit.sagemaker import plan
    from train.submit.service import Service, follow, say, submit

    to = settings(SageMaker, wish.flags, checked.manifest.path, wish.flags["config"])
    planned = plan(checked, to, wish.flags["name"])
    if wish.flags["dry_run"]:
        yield planned.as_json()
        return
    service = Service(to.region)
    _agree(wish, in_words(planned, checked, to))
    names = submit(planned, service, say)
    if wish.flags["wait"]:
        yield from (state.line() for state in follow(names, service, say))
        return
    yield from names


def in_words(planned: Plan, checked: Checked, to: SageMaker) -> str:
    """What it would be, and the most that it can cost where the price is known."""
    search = checked.asked.command == "search"
    runs = int(checked.asked.values["trials"]) if search else len(planned.calls)
    kind = "trainings of one search" if search else "training job" + "s" * (runs > 1)
    spot = ", on spot machines" if to.spot else ""
    size = sum(file.bytes() for file in planned.files)
    line = (
        f"{runs} {kind}, each on {to.instance_count} x {to.instance_type} for at most {to.max_run_hours:g} h{spot}; "
        f"{len(planned.files)} files, {size / 1e6:,.1f} MB, in {planned.bucket}"
    )
    if to.price_per_hour is None:
        return line
    hours = runs * to.instance_count * to.max_run_hours
    return f"{line}. At most {hours:g} machine hours x {to.price_per_hour:g} = {hours * to.price_per_hour:,.2f}"


def _agree(wish: Wish, said: str) -> None:
    """Go on when a person says yes; UserError when they do not, or when nobody is there to ask."""
    print(said, file=sys.stderr, flush=True)
    if wish.flags["yes"]:
        return
    if not sys.stdin.isatty():
        raise UserError("nothing was sent: this costs money, so it asks first; say --yes to go ahead")
    if not wish.ask("Send it?"):
        raise UserError("nothing was sent")


def _look(wish: Wish) -> Iterator[str]:
    """The state of jobs, or the model of one."""
    from train.submit.service import Service, fetch, follow, say

    what, *names = wish.words
    if wish.flags["to"] != "sagemaker" or not names or (what == "fetch" and len(names) > 1):
        raise UserError(f"{what}: write `train submit --to sagemaker {what} JOB`")
    to = settings(SageMaker, wish.flags, Path("submit.toml"), wish.flags["config"])
    service = Service(to.region)
    if what == "fetch":
        state = service.any_state(names[0])
        state = service.any_state(state.best) if state.best else state
        out = fetch(state, wish.flags["to_folder"] or Path("runs") / state.name)
        yield f"{state.name} -> {out}"
        return
    states = follow(names, service, say) if wish.flags["wait"] else [service.any_state(name) for name in names]
    yield from (state.line() for state in states)
