"""The commands that use and judge a model and take it away: predict, evaluate, compare, export, verify."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

BundleArgument = Annotated[Path, typer.Argument(metavar="BUNDLE", help="A run folder, or a copy of its model files.")]


def register(app: typer.Typer) -> None:
    """Add `predict`, `evaluate`, `compare`, `export` and `verify`."""
    app.command("predict")(predict_command)
    app.command("evaluate")(evaluate_command)
    app.command("compare")(compare_command)
    app.command("export")(export_command)
    app.command("verify")(verify_command)


def verify_command(
    bundle: BundleArgument,
    tolerance: Annotated[
        float, typer.Option("--tolerance", min=0, help="Largest difference of a probability that passes.")
    ] = 1e-3,
) -> None:
    """Check that a bundle gives its expected outputs on its own ten pictures on this machine."""
    from train.bundle import verify

    typer.echo(verify(bundle, tolerance))


def predict_command(
    bundle: Annotated[
        Path | None, typer.Argument(metavar="BUNDLE", help="A run folder, or a copy of its model files.")
    ] = None,
    places: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="PLACE…",
            help="Folders of pictures, pictures, manifests, packs, or Parquet files with a column path.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="The predictions; default: predictions.parquet.")] = None,
    listings: Annotated[
        bool, typer.Option("--listings", help="Also one answer per listing (a folder is one).")
    ] = False,
    precision: Annotated[
        float | None,
        typer.Option(
            "--precision", help="With --listings: 0.95 abstains where val says that fewer than 95 % would be right."
        ),
    ] = None,
    folds: Annotated[
        int | None,
        typer.Option(
            "--folds", help="No BUNDLE: train so many runs, and predict train pictures by the one that never saw them."
        ),
    ] = None,
    manifest: Annotated[Path | None, typer.Option("--manifest", "-m", help="With --folds: the data set.")] = None,
    method: Annotated[str, typer.Option("--method", help="With --folds: resnet18, vit or semivit.")] = "vit",
    recipe: Annotated[str, typer.Option("--recipe", help="With --folds: the recipe, as in `train vit`.")] = "default",
    changes: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="With --folds: change a number of it.")
    ] = None,
    weights: Annotated[Path | None, typer.Option("--weights", help="With --folds: start from a file.")] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="With --folds: seed of the folds and runs.")] = 0,
    pictures: Annotated[
        Path | None, typer.Option("--pictures", help="A pack, or the folder that the paths of a table start from.")
    ] = None,
    max_hours: Annotated[
        float, typer.Option("--max-hours", help="With --folds: as in `train vit`, for each run.")
    ] = 2.0,
) -> None:
    """Give each picture a probability per class; stopped, the same command goes on where it was."""
    if folds is not None:
        typer.echo(_folds(folds, bundle, manifest, out, method=method, recipe=recipe, changes=tuple(changes or ()),
                          weights=weights, seed=seed, pictures=pictures, max_hours=max_hours))  # fmt: skip
        return
    from train.predict.predict import Wish, predict

    wish = Wish(bundle, tuple(places or ()), out or Path("predictions.parquet"), listings, precision, pictures)
    typer.echo(predict(wish))


def _folds(folds: int, bundle: Path | None, manifest: Path | None, out: Path | None, **asked: Any) -> str:
    """Out-of-fold predictions, or a line about what goes with --folds."""
    from schemas.errors import UserError
    from train.request import Request
    from train.weights import check_weights

    if bundle is not None or manifest is None:
        raise UserError("--folds trains its own runs: name the data set with --manifest, and no bundle")
    request = Request(manifest=manifest, **asked)
    check_weights(request)  # before torch is imported
    from train.predict.folds import predict_folds

    return predict_folds(request, folds, out)


def evaluate_command(
    bundles: Annotated[
        list[Path], typer.Argument(metavar="BUNDLE…", help="Run folders, or copies of their model files.")
    ],
    manifest: Annotated[Path, typer.Option("--manifest", "-m", help="The data set, as each bundle was trained on.")],
    split: Annotated[
        str, typer.Option("--split", help="test, val or train; each reading of test is counted.")
    ] = "test",
    pictures: Annotated[
        Path | None, typer.Option("--pictures", help="A pack, or the folder that the manifest's paths start from.")
    ] = None,
    other_manifest: Annotated[
        bool, typer.Option("--other-manifest", help="Allow a manifest that the bundle was not trained on.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write to FILE.md or .json; default: print it.")] = None,
) -> None:
    """Judge bundles on labeled pictures: overall, by class, by marketplace, by how far people agreed."""
    from train.judge.evaluate import check_out, evaluate, write_evaluations

    check_out(out)
    found = evaluate(bundles, manifest, split=split, pictures=pictures, other_manifest=other_manifest)
    typer.echo(write_evaluations(found, out))


def compare_command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN RUN…",
            help="Two run folders or predictions files of the same test pictures; or all seeds of two models.",
        ),
    ],
    out: Annotated[Path | None, typer.Option("--out", help="Write to FILE.json; default: print it.")] = None,
) -> None:
    """Test whether two models differ on the same test pictures: exact McNemar test and paired bootstrap.

    More than two runs are seeds of two models: runs whose names differ only in -s0, -s1, … belong together.
    """
    from train.judge.compare import compare, write_comparison

    typer.echo(write_comparison(compare(runs), out))


def export_command(
    bundle: BundleArgument,
    to: Annotated[str, typer.Option("--to", help="safetensors (timm loads the folder), torch (torch.export) or onnx.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="A new folder; default: the bundle's name and the form, beside it.")
    ] = None,
) -> None:
    """Write a model for other programs, read it back, and run it beside the original: equal to 1e-4, or refused."""
    from train.export import export

    typer.echo(export(bundle, to, out))
