"""An sbatch file that trains with torchrun: it is told before its time is up, writes a checkpoint, queues again and goes on."""

from __future__ import annotations

import hashlib
import re
import shlex
import sys
from pathlib import Path
from typing import Any

from schemas.errors import UserError
from schemas.files import write_text
from train.submit.asked import Checked
from train.submit.settings import Slurm

_TIMES = r"(\d+-)?\d{1,3}(:[0-5]?\d){0,2}"  # minutes, minutes:seconds, hours:minutes:seconds, days-hours…
_WORD = r"[\w.,:@%+=\[\]-]*"
_SUM = "# train submit wrote this file, sum "


def script(checked: Checked, to: Slurm, folder: Path, words: list[str]) -> str:
    """The file's text. It runs in `folder`, so the paths of the command line stay as they were written."""
    _check(checked, to)
    asked = checked.asked
    several = asked.seeds > 1
    train = asked.words(**({"seeds": None, "seed": None} if several else {}), **_out(checked))
    command = " ".join(map(shlex.quote, [asked.command, *train])) + (
        ' --seed "$SLURM_ARRAY_TASK_ID"' if several else ""
    )
    if several and asked.values.get("out"):
        command += f' --out {shlex.quote(str(asked.values["out"]))}-s"$SLURM_ARRAY_TASK_ID"'
    body = "\n".join([
        "#!/bin/bash", *_head(checked, to), "", f"# train submit {shlex.join(words)}".replace("\n", " "),
        f"cd {shlex.quote(str(folder))} || exit 1", f"python={shlex.quote(to.python or sys.executable)}", *to.setup, "",
        *_training(to, command), "",
    ])  # fmt: skip
    return f"{body}{_SUM}{_sum(body)}\n"


def file_name(checked: Checked) -> str:
    """<run>.sbatch; of several seeds one file, without a seed in its name."""
    return f"{_name(checked)}.sbatch"


def write_script(path: Path, text: str) -> bool:
    """Write the file, False when it was there already; UserError when a person has changed the one that is there."""
    if path.exists():
        if not path.is_file():
            raise UserError(f"{path}: is no file; name another one with --file")
        there = path.read_text(encoding="utf-8", errors="replace")
        if there == text:
            return False
        body, _, said = there.rpartition(_SUM)
        if said.strip() != _sum(body):
            raise UserError(
                f"{path}: was changed since it was written, or is something else; remove it, or name --file"
            )
    write_text(path, text)
    return True


def _name(checked: Checked) -> str:
    name = checked.requests[0].name
    name = name.removesuffix(f"-s{checked.requests[0].seed}") if len(checked.requests) > 1 else name
    return re.sub(r"[^\w.-]", "-", f"{name}-search" if checked.asked.command == "search" else name)


def _out(checked: Checked) -> dict[str, Any]:
    """With several seeds each has a folder of its own, which the shell names."""
    return {"out": None} if len(checked.requests) > 1 else {}


def _check(checked: Checked, to: Slurm) -> None:
    if not re.fullmatch(_TIMES, to.time):
        raise UserError(f"--time {to.time}: write it as hours:minutes:seconds or days-hours, as in 24:00:00 or 2-12")
    for name in ("partition", "account", "qos", "memory"):
        if not re.fullmatch(_WORD, getattr(to, name)):
            raise UserError(f"{name} {getattr(to, name)!r}: is no word that sbatch takes")
    if any("\n" in line for line in to.setup):
        raise UserError("setup: each of its lines is one text")
    if checked.asked.command == "search" and (to.nodes > 1 or to.gpus_per_node > 1):
        raise UserError(
            "search makes many runs, each on one GPU: say --nodes 1 --gpus-per-node 1, and submit the file once for each worker"
        )


def _head(checked: Checked, to: Slurm) -> list[str]:
    """What sbatch reads. B: the script alone is told that the end is near; it passes that on, once."""
    seeds = [request.seed for request in checked.requests]
    several = len(seeds) > 1
    options = {
        "job-name": _name(checked), "nodes": to.nodes, "ntasks-per-node": 1, "gpus-per-node": to.gpus_per_node or None,
        "cpus-per-task": to.cpus_per_node, "mem": to.memory, "time": to.time, "partition": to.partition, "account": to.account,
        "qos": to.qos, "array": f"{seeds[0]}-{seeds[-1]}" if several else None,
        "output": f"{_name(checked)}-%{'A_%a' if several else 'j'}.log", "open-mode": "append",
        "signal": f"B:TERM@{to.signal_seconds}",
    }  # fmt: skip
    lines = [f"#SBATCH --{name}={value}" for name, value in options.items() if value not in (None, "")]
    return [*lines, "#SBATCH --requeue"]


def _training(to: Slurm, command: str) -> list[str]:
    """Start, pass the signal on, wait, queue again where it was the signal that ended it."""
    rendezvous = (
        ['head=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)', "port=$((20000 + SLURM_JOB_ID % 20000))"]
        if to.nodes > 1
        else []
    )
    cpus = f" --cpus-per-task={to.cpus_per_node}" if to.cpus_per_node else ""  # since 22.05 srun does not inherit it
    meet = (
        '--rdzv-backend c10d --rdzv-endpoint "$head:$port" --rdzv-id "$SLURM_JOB_ID"'
        if to.nodes > 1
        else "--standalone"
    )
    return [
        *rendezvous,
        "stopped= step=",
        'trap \'stopped=1; [ -z "$step" ] || kill -TERM "$step"\' TERM',
        f'srun --kill-on-bad-exit=1{cpus} "$python" -m torch.distributed.run --nnodes {to.nodes} '
        f"--nproc-per-node {max(1, to.gpus_per_node)} {meet} \\",
        f"    -m train.cli {command} &",
        "step=$!",
        'wait "$step"',
        "code=$?",
        'while kill -0 "$step" 2>/dev/null; do  # the signal ended the waiting, not the training: it finishes its step',
        '    wait "$step"',
        "    code=$?",
        "done",
        f'if [ -n "$stopped" ] && [ "$code" -ne 0 ] && [ "${{SLURM_RESTART_COUNT:-0}}" -lt {to.restarts} ]; then',
        '    echo "stopped before its time was up; it queues again and goes on from its checkpoint"',
        '    scontrol requeue "$SLURM_JOB_ID"',
        "fi",
        'exit "$code"',
    ]


def _sum(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()[:16]
