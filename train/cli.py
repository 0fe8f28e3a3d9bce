"""The `train` command: a manifest -> a model, predictions, a report."""

from __future__ import annotations

import typer

from schemas.command import run

app = typer.Typer(
    name="train",
    help="Train ResNet18, ViT and Semi-ViT on a manifest that `curate` made, and compare the runs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)


def main() -> None:
    """Entry point of the `train` script."""
    run(app, "train")


if __name__ == "__main__":
    main()
