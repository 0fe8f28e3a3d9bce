"""The commands that make many runs, and weights to begin with: study, search, pretrain."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from train.commands.options import LogOption, PriceOption


def register(app: typer.Typer) -> None:
    """Add `study`, `search` and `pretrain`."""
    app.command("search")(search_command)
    app.command("study")(study_command)
    app.command("pretrain")(pretrain_command)


def study_command(
    study: Annotated[Path | None, typer.Argument(help="The study as a TOML file.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the runs and their estimated time, train none.")
    ] = False,
    max_hours: Annotated[
        float, typer.Option("--max-hours", help="Without a GPU, refuse a run estimated to take longer.")
    ] = 2.0,
    example: Annotated[bool, typer.Option("--example", help="Print the paper's study, to begin with.")] = False,
    log: LogOption = None,
    price_per_hour: PriceOption = None,
) -> None:
    """Train all runs of a study, manifests x methods x shares x seeds x pool sizes, and report them; goes on if stopped."""
    from schemas.errors import UserError
    from train.study import file
    from train.trackers.told import named
    from train.weights import missing_weights

    if example:
        typer.echo(file.example().rstrip("\n"))
        return
    if study is None:
        raise UserError("name the study's file, as in `train study study.toml`; --example prints one to begin with")
    asked = file.read_study(study)
    for run in () if dry_run else asked.models():
        if model := missing_weights(run):  # before torch is imported, and before the first run
            raise UserError(
                f"{study}: the weights of {model}, for {run.method}, are not on this machine and cannot be fetched; "
                'say recipe = "cpu" or set = ["pretrained=false"] there to start from random weights'
            )
    from train.study.run import study_lines

    along = {"max_hours": max_hours, "log": named(log), "price_per_hour": price_per_hour}
    for line in study_lines(asked, dry_run, along):
        typer.echo(line)


def pretrain_command(
    manifest: Annotated[Path, typer.Option("--manifest", "-m", help="The data set, e.g. apron.parquet.")],
    out: Annotated[Path | None, typer.Option("--out", help="Run folder; default: in the workspace's runs.")] = None,
    recipe: Annotated[
        str, typer.Option("--recipe", help="default (wants a GPU), cpu (small, minutes), or a file.toml.")
    ] = "default",
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change one number; may be repeated.")
    ] = None,
    weights: Annotated[Path | None, typer.Option("--weights", help="Go on from a .safetensors or .pth file.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of every random choice.")] = 0,
    pictures: Annotated[Path | None, typer.Option("--pictures", help="A pack, or where the paths start from.")] = None,
    hold: Annotated[
        str, typer.Option("--hold", help="Where pictures are kept: auto, device, memory or stream.")
    ] = "auto",
    max_hours: Annotated[
        float, typer.Option("--max-hours", help="Without a GPU, refuse a run estimated to take longer.")
    ] = 2.0,
    fresh: Annotated[bool, typer.Option("--fresh", help="Forget what the run folder holds and train again.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Only go on with an unfinished run.")] = False,
    checkpoint_minutes: Annotated[
        float, typer.Option("--checkpoint-minutes", min=0, help="Minutes between two checkpoints.")
    ] = 1.0,
    log: LogOption = None,
    price_per_hour: PriceOption = None,
) -> None:
    """Train a masked autoencoder on pictures without labels: weights of your own for vit and semivit."""
    from train.request import Request
    from train.trackers.told import named
    from train.weights import check_weights

    request = Request(
        "pretrain", manifest, recipe, tuple(changes or ()), out=out, weights=weights, seed=seed, pictures=pictures,
        hold=hold, max_hours=max_hours, fresh=fresh,
        resume=resume, checkpoint_minutes=checkpoint_minutes, log=named(log), price_per_hour=price_per_hour,
    )  # fmt: skip
    check_weights(request)  # before torch is imported
    from train.pretrain import pretrain
    from train.ranks import answer

    record = pretrain(request)
    answer(f"loss {record['loss']:.3f}; start from it with --weights {request.folder / 'model.safetensors'}")


def search_command(
    manifest: Annotated[Path, typer.Option("--manifest", "-m", help="The data set, e.g. apron.parquet.")],
    method: Annotated[str, typer.Option("--method", help="resnet18, vit or semivit.")] = "semivit",
    trials: Annotated[
        int, typer.Option("--trials", min=1, help="Trials in all, those of other processes counted.")
    ] = 30,
    sampler: Annotated[str, typer.Option("--sampler", help="gp (Gaussian process) or tpe.")] = "gp",
    space: Annotated[
        list[str] | None,
        typer.Option(
            "--space",
            metavar="NAME=LOW..HIGH[:log]",
            help="Search these instead of the usual ones, as in base_lr=1e-4..1e-2:log or mu=3|5|7; may be repeated.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Folder; default: in the workspace's runs.")] = None,
    storage: Annotated[
        str | None,
        typer.Option(
            "--storage", help="Database of the trials, as in postgresql://HOST/NAME; default: sqlite in the folder."
        ),
    ] = None,
    recipe: Annotated[
        str, typer.Option("--recipe", help="What the search is around: a name or a file.toml.")
    ] = "default",
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="Change one number; may be repeated.")
    ] = None,
    label_fraction: Annotated[float, typer.Option("--label-fraction", help="Share of the train labels.")] = 1.0,
    unlabeled: Annotated[str | None, typer.Option("--unlabeled", help="A count, or a share like 50%.")] = None,
    stage1: Annotated[
        Path | None, typer.Option("--stage1", help="semivit: start all trials from this vit run.")
    ] = None,
    weights: Annotated[Path | None, typer.Option("--weights", help="Start from a .safetensors or .pth file.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of every random choice.")] = 0,
    pictures: Annotated[Path | None, typer.Option("--pictures", help="A pack, or where the paths start from.")] = None,
    max_hours: Annotated[float, typer.Option("--max-hours", help="Without a GPU, refuse a longer trial.")] = 2.0,
    log: LogOption = None,
    price_per_hour: PriceOption = None,
) -> None:
    """Find the numbers of a recipe that are best on val: Bayesian search with pruning. Run it again, or several at once."""
    from train.request import for_search
    from train.trackers.told import named
    from train.weights import check_weights

    asked = for_search(
        method, manifest, recipe=recipe, changes=tuple(changes or ()), label_fraction=label_fraction, out=out,
        unlabeled=unlabeled, stage1=stage1, weights=weights, seed=seed, pictures=pictures, max_hours=max_hours,
        log=named(log), price_per_hour=price_per_hour,
    )  # fmt: skip
    check_weights(asked)  # before torch is imported
    from train.search.search import search

    best = search(asked, trials, sampler, tuple(space or ()), storage)
    typer.echo(f"trial {best['trial']}: Acc@1 {best['val_acc1']:.1%} on val -> {best['recipe']}, {best['page']}")
