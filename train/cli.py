"""The `train` command: a manifest -> a model, predictions, a report."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from schemas.command import run
from train.commands import judge, study, submit
from train.commands.options import LogOption, PriceOption

app = typer.Typer(
    name="train",
    help="Train ResNet18, ViT and Semi-ViT on a manifest that `curate` made, and compare the runs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)

ManifestOption = Annotated[Path, typer.Option("--manifest", "-m", help="The data set, e.g. apron.parquet.")]
FractionOption = Annotated[
    float, typer.Option("--label-fraction", help="Share of the train labels to use; the rest joins the unlabeled pool.")
]
UnlabeledOption = Annotated[
    str | None,
    typer.Option(
        "--unlabeled", help="How much of the unlabeled pool to use: a count, or a share like 50%; default: all."
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Run folder; default: runs/<task>-<method>-<percent>-s<seed> in the workspace."),
]
RecipeOption = Annotated[
    str,
    typer.Option(
        "--recipe",
        help="default (freely licensed weights; wants a GPU), paper (MAE weights, not for commercial use), cpu (small, from "
        "random weights, minutes), cpu-quick (seconds), or a file.toml, such as the recipe.toml of a run.",
    ),
]
ResnetRecipeOption = Annotated[
    str,
    typer.Option(
        "--recipe",
        help="default, paper (the same), cpu (small, from random weights, minutes), cpu-quick (seconds), or a file.toml, such "
        "as the recipe.toml of a run.",
    ),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Change one number of the recipe, as in epochs=20 or model=convnext_tiny; may be repeated. A run's recipe.toml "
        "says what each is.",
    ),
]
WeightsOption = Annotated[
    Path | None,
    typer.Option(
        "--weights", help="Start from a .safetensors or .pth file of this very model; its head and a decoder are left."
    ),
]
BaseOption = Annotated[
    int | None,
    typer.Option("--unlabeled-base", min=1, help="What a share is a share of: --unlabeled 300% of this many pictures."),
]
BudgetOption = Annotated[
    str | None,
    typer.Option("--budget", help="steps (default): the pool's size does not matter; epochs: passes over the pool."),
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of every random choice.")]
SeedsOption = Annotated[
    int,
    typer.Option(
        "--seeds",
        min=1,
        help="Train this many seeds, from --seed on, a folder each (-s0, -s1, …), and say mean and spread.",
    ),
]
PicturesOption = Annotated[
    Path | None,
    typer.Option(
        "--pictures",
        help="A pack, or the folder that the manifest's paths start from; default: the pack beside it, else its workspace.",
    ),
]
HoldOption = Annotated[
    str,
    typer.Option(
        "--hold",
        help="Where pictures are kept: device (decoded, on the GPU), memory (decoded), stream (JPEG, decoded for each "
        "batch), or auto: the first that fits. The result is the same.",
    ),
]
HoursOption = Annotated[
    float, typer.Option("--max-hours", help="Without a GPU, stop at once where the estimate is longer.")
]
ResumeOption = Annotated[
    bool, typer.Option("--resume", help="Only go on with an unfinished run. Without it a run goes on too, or begins.")
]
MinutesOption = Annotated[float, typer.Option("--checkpoint-minutes", min=0, help="Minutes between two checkpoints.")]
FreshOption = Annotated[bool, typer.Option("--fresh", help="Forget what the run folder holds and train again.")]


@app.command("resnet18")
def resnet18_command(
    manifest: ManifestOption,
    label_fraction: FractionOption = 1.0,
    out: OutOption = None,
    recipe: ResnetRecipeOption = "default",
    changes: SetOption = None,
    weights: WeightsOption = None,
    seed: SeedOption = 0,
    seeds: SeedsOption = 1,
    pictures: PicturesOption = None,
    hold: HoldOption = "auto",
    max_hours: HoursOption = 2.0,
    fresh: FreshOption = False,
    resume: ResumeOption = False,
    checkpoint_minutes: MinutesOption = 1.0,
    log: LogOption = None,
    price_per_hour: PriceOption = None,
) -> None:
    """Fine-tune ResNet18 on the labeled pictures."""
    _train(**{**locals(), "method": "resnet18"})


@app.command("vit")
def vit_command(
    manifest: ManifestOption,
    label_fraction: FractionOption = 1.0,
    out: OutOption = None,
    recipe: RecipeOption = "default",
    changes: SetOption = None,
    weights: WeightsOption = None,
    seed: SeedOption = 0,
    seeds: SeedsOption = 1,
    pictures: PicturesOption = None,
    hold: HoldOption = "auto",
    max_hours: HoursOption = 2.0,
    fresh: FreshOption = False,
    resume: ResumeOption = False,
    checkpoint_minutes: MinutesOption = 1.0,
    log: LogOption = None,
    price_per_hour: PriceOption = None,
) -> None:
    """Fine-tune a vision transformer, or any other timm backbone (--set model=NAME), on the labeled pictures."""
    _train(**{**locals(), "method": "vit"})


@app.command("semivit")
def semivit_command(
    manifest: ManifestOption,
    label_fraction: FractionOption = 1.0,
    unlabeled: UnlabeledOption = None,
    unlabeled_base: BaseOption = None,
    budget: BudgetOption = None,
    stage1: Annotated[
        Path | None,
        typer.Option(
            "--stage1", help="A finished vit run of the same data to start from, instead of training stage 1."
        ),
    ] = None,
    out: OutOption = None,
    recipe: RecipeOption = "default",
    changes: SetOption = None,
    weights: WeightsOption = None,
    seed: SeedOption = 0,
    seeds: SeedsOption = 1,
    pictures: PicturesOption = None,
    hold: HoldOption = "auto",
    max_hours: HoursOption = 2.0,
    fresh: FreshOption = False,
    resume: ResumeOption = False,
    checkpoint_minutes: MinutesOption = 1.0,
    log: LogOption = None,
    price_per_hour: PriceOption = None,
) -> None:
    """Train Semi-ViT: a vision transformer that also learns from the unlabeled pictures, taught by its own average."""
    _train(**{**locals(), "method": "semivit"})


def _train(
    *, changes: list[str] | None, seeds: int, budget: str | None = None, log: list[str] | None, **asked: Any
) -> None:
    """Train and say the result in one line a seed, and in one more what several say together."""
    from train.request import Request
    from train.trackers.told import named
    from train.weights import check_weights

    more = (f"budget={budget}",) if budget else ()
    request = Request(changes=(*(changes or ()), *more), log=named(log), **asked)
    check_weights(request)  # before torch is imported
    from train.ranks import answer
    from train.report import one_line
    from train.seeds import together, train_seeds

    found = train_seeds(request, seeds, lambda one, record: answer(f"{one_line(record)} -> {one.folder}"))
    if seeds > 1:
        answer(together([record for _, record in found]))


@app.command("report")
def report_command(
    runs: Annotated[
        list[Path], typer.Argument(help="Run folders to compare; those of one task must share one manifest.")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", help="Write to FILE.html, .md or .json; default: print it.")
    ] = None,
    pictures: PicturesOption = None,
) -> None:
    """Compare runs in the paper's tables, say which differences are real, and show where the best one goes wrong."""
    from train.report import report, write_report

    table = report(runs, pictures)
    if out is None:
        typer.echo(table.markdown())
        return
    write_report(table, out)
    typer.echo(f"{len(runs)} run{'s' * (len(runs) > 1)} compared -> {out}")


judge.register(app)
study.register(app)
submit.register(app)


def main() -> None:
    """Entry point of the `train` script."""
    run(app, "train")


if __name__ == "__main__":
    main()
