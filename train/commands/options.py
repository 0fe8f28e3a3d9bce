"""Options that commands of several files share."""

from __future__ import annotations

from typing import Annotated

import typer

LogOption = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        metavar="TRACKER",
        help="tensorboard (the default where it is installed), mlflow, wandb; may be repeated; none for none.",
    ),
]
PriceOption = Annotated[
    float | None,
    typer.Option(
        "--price-per-hour",
        min=0,
        envvar="TRAIN_PRICE_PER_HOUR",
        metavar="USD",
        help="Dollars for an hour of one GPU, without one of the machine: what the run will cost, and has cost.",
    ),
]
