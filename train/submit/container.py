"""What a SageMaker container starts: `python -m train.submit.container`. It reads what SageMaker wrote, and trains.

/opt/ml/input/config/hyperparameters.json   command, arguments, and numbers of the recipe, all texts
/opt/ml/input/config/resourceconfig.json    which machine of which this is
/opt/ml/checkpoints/                        the run folder: SageMaker keeps it in S3 and brings it back after an interruption
/opt/ml/model/                              the finished run folder: becomes model.tar.gz
/opt/ml/output/failure                      why it failed, in a line: becomes the job's FailureReason
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from schemas.errors import UserError

ROOT = Path("/opt/ml")
PORT = 29400
_LEFT = (".lock", "checkpoint.pt", "started.json")  # of a run folder, not part of the model


@dataclass(frozen=True)
class Machines:
    """The machines of a job; the first leads."""

    hosts: tuple[str, ...] = ("algo-1",)
    current: str = "algo-1"
    interface: str = ""

    @property
    def number(self) -> int:
        """Which of them this is, from 0."""
        return self.hosts.index(self.current)


def read_machines(root: Path) -> Machines:
    """What resourceconfig.json says; one machine where there is no such file."""
    try:
        said = json.loads((root / "input/config/resourceconfig.json").read_text())
    except FileNotFoundError:
        return Machines()
    return Machines(tuple(sorted(said["hosts"])), said["current_host"], said.get("network_interface_name", ""))


def read_words(root: Path) -> list[str]:
    """The command line that the hyper-parameters come to: the command, its options, `--set` for each number, the run folder.

    A tuning job's trials differ in some numbers alone, and each has a folder of its own, so that all may keep their
    checkpoints in one place.
    """
    try:
        said: dict[str, str] = json.loads((root / "input/config/hyperparameters.json").read_text())
        command, arguments = said.pop("command"), shlex.split(said.pop("arguments"))
    except (FileNotFoundError, KeyError) as error:
        raise UserError(
            f"{root}/input/config/hyperparameters.json: was not written by `train submit` ({error})"
        ) from None
    numbers = {name: value for name, value in sorted(said.items()) if not name.startswith(("_", "sagemaker_"))}
    name = f"trial-{_hash(numbers)[:10]}" if command == "search" else "run"
    sets = [word for number, value in numbers.items() for word in ("--set", f"{number}={value}")]
    return [command, *(_here(word, root) for word in arguments), *sets, "--out", str(root / "checkpoints" / name)]


def _here(word: str, root: Path) -> str:
    return word.replace(str(ROOT), str(root), 1) if word.startswith(f"{ROOT}/") else word


def launch(words: list[str], machines: Machines, processes: int) -> list[str]:
    """The process to start: the training itself, or torchrun where it has several."""
    job = ["-m", "train.submit.job", *words]
    if processes * len(machines.hosts) == 1:
        return [sys.executable, *job]
    several = [
        "--nnodes",
        str(len(machines.hosts)),
        "--node-rank",
        str(machines.number),
        "--nproc-per-node",
        str(processes),
    ]
    meet = (
        ["--master-addr", machines.hosts[0], "--master-port", str(PORT)]
        if len(machines.hosts) > 1
        else ["--standalone"]
    )
    return [sys.executable, "-m", "torch.distributed.run", *several, *meet, *job]


def gpus() -> int:
    """Processes on this machine: SM_NUM_GPUS where it is set, else the GPUs that there are, at least one."""
    if said := os.environ.get("SM_NUM_GPUS"):
        return max(1, int(said))
    import torch

    return max(1, torch.cuda.device_count())


def main(root: Path = ROOT) -> int:
    """Train, put the run folder where SageMaker looks for the model, and return the exit code."""
    try:
        words, machines = read_words(root), read_machines(root)
        code, said = _run(launch(words, machines, 1 if words[0] == "search" else gpus()), machines)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr, flush=True)
        code, said = 1, str(error)
    if code == 0 and machines.number == 0:
        shutil.copytree(words[-1], root / "model", dirs_exist_ok=True, ignore=shutil.ignore_patterns(*_LEFT, "*.part"))
    elif code:
        (root / "output").mkdir(parents=True, exist_ok=True)
        (root / "output/failure").write_text(said[:1024])
    return code


def _run(line: list[str], machines: Machines) -> tuple[int, str]:
    """Run it, pass SIGTERM on once, and pass on what it says; returns its exit code and the line that says why."""
    names = (
        {"GLOO_SOCKET_IFNAME": machines.interface, "NCCL_SOCKET_IFNAME": machines.interface}
        if machines.interface
        else {}
    )
    process = subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env={**names, **os.environ})
    before = signal.signal(
        signal.SIGTERM, lambda *_: process.terminate()
    )  # as the first process of a container it must
    why: dict[str, str] = {}
    assert process.stderr is not None
    reader = threading.Thread(target=_pass_on, args=(process.stderr, why))
    reader.start()
    try:
        code = process.wait()
    finally:
        reader.join()
        signal.signal(signal.SIGTERM, before)
    return (code if code >= 0 else 128 - code), why.get("error") or why.get("last", f"exit code {code}")


def _pass_on(stream: IO[str], why: dict[str, str]) -> None:
    for text in stream:
        print(text, end="", file=sys.stderr, flush=True)
        if line := text.strip():
            why["last"] = line
            if line.startswith("error: "):
                why["error"] = line.removeprefix("error: ")


def _hash(numbers: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(numbers, sort_keys=True).encode()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
