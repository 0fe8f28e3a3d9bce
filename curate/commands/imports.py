"""Commands that let work of other tools move in: import votes, import labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from curate.commands.options import TaskOption, WorkspaceOption


def add_to(group: typer.Typer) -> None:
    """Add `votes` and `labels` to the group `import`."""
    group.command("votes")(import_votes_command)
    group.command("labels")(import_labels_command)


FormatOption = Annotated[
    str,
    typer.Option("--format", "-f", help="auto, mturk, label-studio, ground-truth or csv; auto looks and says which."),
]
ImageOption = Annotated[
    str | None, typer.Option(help="Column or field that says which picture; default: found by its name and values.")
]
LabelOption = Annotated[
    str | None, typer.Option(help="Column, question or job that holds the label; default: found by its values.")
]
MapOption = Annotated[
    Path | None,
    typer.Option("--map", help="Labels to class keys: lines of old,new, or YAML; an empty key is no answer."),
]
ChosenOption = Annotated[
    str | None, typer.Option(help="Why these pictures were asked about; only `random` ones are ever tested on.")
]


def import_votes_command(
    file: Annotated[
        Path, typer.Argument(help="MTurk results CSV, Label Studio JSON, Ground Truth folder, or CSV/Parquet of votes.")
    ],
    form: FormatOption = "auto",
    image_column: ImageOption = None,
    label_column: LabelOption = None,
    map_file: MapOption = None,
    unknown: Annotated[
        str, typer.Option(help="refuse labels that are no class, or keep them as votes that do not count.")
    ] = "refuse",
    one_class: Annotated[bool, typer.Option("--one-class", help="It is right that all votes say the same.")] = False,
    chosen_by: ChosenOption = None,
    manifest: Annotated[
        Path | None, typer.Option(help="Ground Truth: the job's manifest, when it does not stand beside the answers.")
    ] = None,
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Take in votes that other tools hold; workers become pseudonyms, and a second time nothing is added."""
    from curate.label.imports.reading import Hints
    from curate.label.imports.votes import Options, import_votes
    from curate.workspace import open_workspace

    here = open_workspace(workspace)
    asked = here.task(task)
    hints = Hints(image_column, label_column, manifest=manifest)
    options = Options(form, hints, map_file, unknown, one_class, chosen_by)
    path = here.of_task(asked.task, "votes")
    with here.lock("curate import votes"):
        done = import_votes(here, asked, file, options)
        here.log("import votes", [file], [path], task=asked.task, added=done.added, changed=done.changed)
    typer.echo("\n".join([*done.said[:1], f"{done.said[1]} -> {path}", *done.said[2:]]))


def import_labels_command(
    file: Annotated[
        Path,
        typer.Argument(help="CSV or Parquet with picture and label, a Label Studio export, or an output.manifest."),
    ],
    source: Annotated[
        str, typer.Option(help="expert: they win over votes; import: they stand where votes make no label.")
    ] = "import",
    given_by: Annotated[str | None, typer.Option(help="Who gave them; default: the name of the file.")] = None,
    form: FormatOption = "auto",
    image_column: ImageOption = None,
    label_column: LabelOption = None,
    map_file: MapOption = None,
    chosen_by: ChosenOption = None,
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Take in finished labels, of experts or of another tool; a changed label replaces the earlier one of its source."""
    from curate.label.imports.labels import Options, import_labels
    from curate.label.imports.reading import Hints
    from curate.workspace import open_workspace

    here = open_workspace(workspace)
    asked = here.task(task)
    options = Options(form, Hints(image_column, label_column), map_file, source, given_by, chosen_by)
    path = here.of_task(asked.task, "given")
    with here.lock("curate import labels"):
        done = import_labels(here, asked, file, options)
        here.log(
            "import labels", [file], [path], task=asked.task, source=source, added=done.added, changed=done.changed
        )
    typer.echo("\n".join([*done.said[:1], f"{done.said[1]} -> {path}", *done.said[2:]]))
