"""`train submit`: the same command line, trained by SageMaker or Slurm."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

_ONE = {"allow_interspersed_args": False}  # what follows the command's name are the command's own options

To = Annotated[str, typer.Option("--to", help="sagemaker, or slurm.")]
Words = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="COMMAND …",
        help="resnet18, vit, semivit, pretrain or search with its own options; for SageMaker also status JOB…, fetch JOB.",
        show_default=False,
    ),
]
Dry = Annotated[bool, typer.Option("--dry-run", help="Print what would be sent or written, checked; needs no key.")]
Config = Annotated[
    Path | None, typer.Option("--config", help="Settings; default: submit.toml here or in the workspace.")
]
Example = Annotated[bool, typer.Option("--example", help="Print a submit.toml to begin with.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before it costs money.")]
Wait = Annotated[bool, typer.Option("--wait", help="Follow the jobs until they are over.")]
Name = Annotated[str | None, typer.Option("--name", help="Name of the job; default: from the run and its content.")]
Out = Annotated[Path | None, typer.Option("--to-folder", help="fetch: where the run folder goes; default: runs/JOB.")]


def register(app: typer.Typer) -> None:
    """Add `submit`."""
    app.command("submit", context_settings=_ONE)(submit_command)


def submit_command(
    words: Words = None,
    to: To = "",
    dry_run: Dry = False,
    config: Config = None,
    example: Example = False,
    yes: Yes = False,
    wait: Wait = False,
    name: Name = None,
    to_folder: Out = None,
    role: Annotated[str | None, typer.Option("--role", help="SageMaker: ARN of the role that jobs have.")] = None,
    bucket: Annotated[
        str | None, typer.Option("--bucket", help="SageMaker: s3://bucket/prefix of data and models.")
    ] = None,
    image: Annotated[
        str | None, typer.Option("--image", help="SageMaker: address of the image with consenso in it.")
    ] = None,
    instance_type: Annotated[str | None, typer.Option("--instance-type", help="SageMaker: as ml.g5.2xlarge.")] = None,
    instance_count: Annotated[
        int | None, typer.Option("--instance-count", help="SageMaker: machines of a job.")
    ] = None,
    region: Annotated[
        str | None, typer.Option("--region", help="SageMaker: default as your AWS configuration.")
    ] = None,
    max_run_hours: Annotated[
        float | None, typer.Option("--max-run-hours", help="SageMaker: a job is stopped then.")
    ] = None,
    spot: Annotated[bool | None, typer.Option("--spot/--no-spot", help="SageMaker: spare machines, cheaper.")] = None,
    parallel: Annotated[int | None, typer.Option("--parallel", help="SageMaker: trials of a search at a time.")] = None,
    price_per_hour: Annotated[
        float | None,
        typer.Option("--price-per-hour", help="SageMaker: of one machine, on your bill; says the most it can cost."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", help="Slurm: the file to write; default: RUN.sbatch here.")
    ] = None,
    nodes: Annotated[int | None, typer.Option("--nodes", help="Slurm: machines.")] = None,
    gpus_per_node: Annotated[
        int | None, typer.Option("--gpus-per-node", help="Slurm: GPUs, a process each; 0 = CPU.")
    ] = None,
    cpus_per_node: Annotated[int | None, typer.Option("--cpus-per-node", help="Slurm: CPUs of each machine.")] = None,
    time: Annotated[str | None, typer.Option("--time", help="Slurm: as 24:00:00; queued again, it goes on.")] = None,
    partition: Annotated[str | None, typer.Option("--partition", help="Slurm: the partition.")] = None,
    account: Annotated[str | None, typer.Option("--account", help="Slurm: the account.")] = None,
) -> None:
    """Train elsewhere, with the same options: as SageMaker jobs, or by an sbatch file for Slurm."""
    from train.submit.send import Wish, send

    flags: dict[str, Any] = {key: value for key, value in locals().items() if key not in ("words", "Wish", "send")}
    lines = send(Wish(words=tuple(words or ()), flags=flags, ask=lambda question: typer.confirm(question)))
    for line in lines:
        typer.echo(line)
