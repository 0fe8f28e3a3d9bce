"""Commands that hand a data set on: `curate export FORMAT`, and the data set card."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate.commands.options import TaskOption, WorkspaceOption

if TYPE_CHECKING:
    from curate.dataset.export.choose import Chosen
    from curate.dataset.export.place import Exported


def register(app: typer.Typer) -> None:
    """Add `export folder | huggingface | webdataset | coco | label-studio | sagemaker | csv | card`."""
    export = typer.Typer(
        no_args_is_help=True,
        help="Hand a data set on in the form that other tools read. Dropped pictures and those in `out` stay behind.",
    )
    app.add_typer(export, name="export")
    export.command("folder")(folder_command)
    export.command("huggingface")(huggingface_command)
    export.command("webdataset")(webdataset_command)
    export.command("coco")(coco_command)
    export.command("label-studio")(label_studio_command)
    export.command("sagemaker")(sagemaker_command)
    export.command("csv")(csv_command)
    export.command("card")(card_command)


ManifestArgument = Annotated[
    Path | None, typer.Argument(metavar="[MANIFEST]", help="The manifest; left out: the newest one of the workspace.")
]
OutOption = Annotated[
    Path, typer.Option("--out", "-o", help="Folder to make; new, empty, or this same export stopped before.")
]
SideOption = Annotated[
    int | None,
    typer.Option(
        "--side",
        min=16,
        max=8192,
        help="Re-encode as JPEG, upright, shorter side at most so many pixels; default: the original bytes.",
    ),
]
CopyOption = Annotated[bool, typer.Option("--copy", help="Copy the pictures; default: hard links, which take no room.")]
UnlabeledOption = Annotated[bool, typer.Option("--unlabeled", help="Also the pictures that have no label.")]
WorkersOption = Annotated[
    bool, typer.Option("--workers", help="Also the single votes, workers by pseudonym; default: no trace of workers.")
]
PicturesOption = Annotated[
    Path | None,
    typer.Option("--pictures", help="Folder that holds the pictures; default: the workspace of the manifest."),
]
SkipOption = Annotated[
    bool, typer.Option("--skip-missing", help="Leave out pictures that are not there; default: stop and say so.")
]
ShardOption = Annotated[int, typer.Option("--shard-mb", min=1, max=4096, help="Pictures in one file, in MB at most.")]


def folder_command(
    out: OutOption,
    manifest: ManifestArgument = None,
    side: SideOption = None,
    copy: CopyOption = False,
    unlabeled: UnlabeledOption = False,
    pictures: PicturesOption = None,
    skip_missing: SkipOption = False,
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """An image folder, split/class/picture: torchvision's ImageFolder, and any other tool."""
    from curate.dataset.export.folder import export_folder

    chosen = _chosen(manifest, task, workspace, unlabeled, needs_splits=True)
    _say(export_folder(_on_disk(chosen, pictures, skip_missing), out, side=side, copy=copy), chosen)


def huggingface_command(
    out: OutOption,
    manifest: ManifestArgument = None,
    side: SideOption = None,
    shard_mb: ShardOption = 256,
    unlabeled: UnlabeledOption = False,
    workers: WorkersOption = False,
    pictures: PicturesOption = None,
    skip_missing: SkipOption = False,
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Parquet with pictures inside and a card: Hugging Face `datasets`, and the Hub."""
    from curate.dataset.export.circumstances import circumstances
    from curate.dataset.export.huggingface import export_huggingface

    chosen = _chosen(manifest, task, workspace, unlabeled)
    known = circumstances(chosen.manifest)
    there = _on_disk(chosen, pictures, skip_missing)
    _say(export_huggingface(there, out, known, side=side, workers=workers, shard_mb=shard_mb), chosen)


def webdataset_command(
    out: OutOption,
    manifest: ManifestArgument = None,
    side: SideOption = None,
    shard_mb: ShardOption = 256,
    unlabeled: UnlabeledOption = False,
    workers: WorkersOption = False,
    pictures: PicturesOption = None,
    skip_missing: SkipOption = False,
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Tar files of bounded size: WebDataset, for disks and networks that like long reads."""
    from curate.dataset.export.webdataset import export_webdataset

    chosen = _chosen(manifest, task, workspace, unlabeled)
    there = _on_disk(chosen, pictures, skip_missing)
    _say(export_webdataset(there, out, side=side, workers=workers, shard_mb=shard_mb), chosen)


def coco_command(
    out: OutOption,
    manifest: ManifestArgument = None,
    side: SideOption = None,
    copy: CopyOption = False,
    unlabeled: UnlabeledOption = False,
    pictures: PicturesOption = None,
    skip_missing: SkipOption = False,
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """COCO-style JSON and the pictures: pycocotools, and annotation tools."""
    from curate.dataset.export.circumstances import circumstances
    from curate.dataset.export.coco import export_coco

    chosen = _chosen(manifest, task, workspace, unlabeled)
    there = _on_disk(chosen, pictures, skip_missing)
    _say(export_coco(there, out, circumstances(chosen.manifest), side=side, copy=copy), chosen)


def label_studio_command(
    out: OutOption,
    manifest: ManifestArgument = None,
    url: Annotated[
        str | None,
        typer.Option("--url", help="Where the pictures will be served; default: by Label Studio, from this folder."),
    ] = None,
    finished: Annotated[
        bool, typer.Option("--finished", help="Labels as finished annotations; default: as predictions to confirm.")
    ] = False,
    side: SideOption = None,
    copy: CopyOption = False,
    unlabeled: UnlabeledOption = False,
    workers: WorkersOption = False,
    pictures: PicturesOption = None,
    skip_missing: SkipOption = False,
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Tasks, labeling config and pictures: Label Studio, to review the labels by hand."""
    from curate.dataset.export.circumstances import circumstances
    from curate.dataset.export.label_studio import export_label_studio

    chosen = _chosen(manifest, task, workspace, unlabeled)
    there, known = _on_disk(chosen, pictures, skip_missing), circumstances(chosen.manifest)
    done = export_label_studio(
        there, out, known, side=side, copy=copy, workers=workers, url=url, finished=finished
    )  # fmt: skip
    _say(done, chosen)


def sagemaker_command(
    out: OutOption,
    s3_prefix: Annotated[str, typer.Option("--s3-prefix", help="Where the folder will lie: s3://bucket/folder.")],
    manifest: ManifestArgument = None,
    attribute: Annotated[str, typer.Option(help="Name of the label in the manifest lines.")] = "label",
    side: SideOption = None,
    copy: CopyOption = False,
    pictures: PicturesOption = None,
    skip_missing: SkipOption = False,
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """Augmented manifests and .lst files: SageMaker's built-in image classification."""
    from curate.dataset.export.circumstances import circumstances
    from curate.dataset.export.sagemaker import export_sagemaker

    chosen = _chosen(manifest, task, workspace, needs_splits=True)
    there, known = _on_disk(chosen, pictures, skip_missing), circumstances(chosen.manifest)
    done = export_sagemaker(there, out, known, s3_prefix=s3_prefix, attribute=attribute, side=side, copy=copy)
    _say(done, chosen)


def csv_command(
    out: OutOption,
    manifest: ManifestArgument = None,
    unlabeled: UnlabeledOption = False,
    workers: WorkersOption = False,
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """One flat table without pictures: pandas, R, a spreadsheet."""
    from curate.dataset.export.spreadsheet import export_csv

    chosen = _chosen(manifest, task, workspace, unlabeled)
    _say(export_csv(chosen, out, workers=workers), chosen)


def card_command(
    manifest: ManifestArgument = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="File to write; left out: the card is printed.")
    ] = None,
    unlabeled: UnlabeledOption = False,
    task: TaskOption = None,
    workspace: WorkspaceOption = None,
) -> None:
    """The data set card: counts, how labels and split were made, known limits, license."""
    from curate.dataset.export.card import card
    from curate.dataset.export.circumstances import circumstances
    from schemas.files import write_text

    chosen = _chosen(manifest, task, workspace, unlabeled)
    text = card(chosen, circumstances(chosen.manifest))
    if out is None:
        typer.echo(text, nl=False)
        return
    write_text(out, text)
    typer.echo(f"card of {len(chosen.rows):,} pictures, manifest {chosen.manifest.manifest_id[:8]} -> {out}")


def _chosen(
    manifest: Path | None,
    task: str | None,
    workspace: Path | None,
    unlabeled: bool = False,
    needs_splits: bool = False,
) -> Chosen:
    """The rows to export: of the file, else of the newest manifest of the workspace."""
    from curate.dataset.export.choose import choose
    from curate.workspace import open_workspace
    from schemas.manifest import read_manifest

    if manifest is None:
        here = open_workspace(workspace)
        manifest = here.manifest(here.task(task).task)
    return choose(read_manifest(manifest), unlabeled=unlabeled, needs_splits=needs_splits)


def _on_disk(chosen: Chosen, pictures: Path | None, skip_missing: bool) -> Chosen:
    from curate.dataset.export.choose import find_pictures

    return find_pictures(chosen, pictures, skip_missing=skip_missing)


def _say(done: Exported, chosen: Chosen) -> None:
    """Log it where there is a workspace, and tell the person; exits 3 when some pictures could not be read."""
    from curate.dataset.export.circumstances import log_export

    if done.new:
        log_export(chosen.manifest, done.out, done.counts)
    typer.echo(done.describe())
    done.check()
