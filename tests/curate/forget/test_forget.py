"""What goes with a picture, what stands in its place, and what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from photos import as_bytes, photo

from curate.forgotten import Forgotten
from curate.workspace import Workspace, open_workspace
from schemas.manifest import read_manifest, write_manifest
from schemas.pack import open_pack
from schemas.storage import storage_at
from schemas.tables import CLUSTERS, EMBEDDINGS, FORGOTTEN, MANIFEST, PICTURES, VOTES
from tests.contents import mentions

if TYPE_CHECKING:
    from tests.curate.forget.conftest import Curate


def pictures(workspace: Workspace) -> pd.DataFrame:
    return PICTURES.read(workspace.table("pictures")).set_index("image_id")


def everything(root: Path) -> dict[str, bytes]:
    """All files that say something, to compare before and after."""
    left_out = (".lock", "project.db", "project.db-wal", "project.db-shm")
    return {str(p): p.read_bytes() for p in root.rglob("*") if p.is_file() and p.name not in left_out}


def test_a_dry_run_says_what_would_go_and_writes_nothing(
    workspace: Workspace, ids: dict[str, str], curate: Curate
) -> None:
    before = everything(workspace.root)
    said = curate("forget", "--image", ids["first"], "--dry-run")
    assert f"goes: 1 pictures ({ids['first'][:12]})" in said
    assert "stays: 2 copies and near twins of them; --copies takes them" in said
    assert "1 listings" in said
    assert said.endswith("nothing was done (--dry-run)\n")
    assert everything(workspace.root) == before
    assert not Forgotten.of(workspace)


def test_without_a_terminal_it_asks_for_yes_and_does_nothing(
    workspace: Workspace, ids: dict[str, str], curate: Curate
) -> None:
    before = everything(workspace.root)
    assert "say --yes to go ahead" in curate("forget", "--image", ids["0"], code=1)
    assert everything(workspace.root) == before


def test_a_copy_takes_the_place_of_the_picture_it_was_a_copy_of(
    workspace: Workspace, ids: dict[str, str], curate: Curate
) -> None:
    kept, copy = (
        (ids["first"], ids["pixels"])
        if pictures(workspace).loc[ids["pixels"], "dropped"]
        else (ids["pixels"], ids["first"])
    )
    if pd.isna(pictures(workspace).loc[copy, "dropped"]):
        kept, copy = copy, kept
    assert pictures(workspace).loc[copy, "dropped"] == f"same pixels as {kept}"
    curate("forget", "--image", kept, "--yes")
    assert mentions(workspace.root, [kept]) == []
    assert pd.isna(pictures(workspace).loc[copy, "dropped"])
    clusters = CLUSTERS.read(workspace.table("clusters")).set_index("image_id")
    assert clusters.loc[copy, "cluster_id"] == clusters.loc[ids["twin"], "cluster_id"]
    assert clusters.groupby("cluster_id")["representative"].sum().eq(1).all()
    assert set(clusters["cluster_id"]) <= set(clusters.index)
    curate("check")
    curate("dedup")
    again = CLUSTERS.read(workspace.table("clusters")).set_index("image_id")
    assert again.loc[copy, "cluster_id"] == again.loc[ids["twin"], "cluster_id"]


def test_copies_and_twins_go_along_when_asked_for(workspace: Workspace, ids: dict[str, str], curate: Curate) -> None:
    curate("forget", "--image", ids["twin"], "--copies", "--yes")
    alike = [ids[name] for name in ("first", "pixels", "twin")]
    assert mentions(workspace.root, alike) == []
    assert len(pictures(workspace)) == 3
    assert FORGOTTEN.read(workspace.table("forgotten"))["kind"].tolist() == ["image"] * 3


def test_the_beginning_of_an_image_id_is_enough(workspace: Workspace, ids: dict[str, str], curate: Curate) -> None:
    curate("forget", "--image", ids["0"][:12], "--reason", "wish of the owner", "--by", "Ana", "--yes")
    row = FORGOTTEN.read(workspace.table("forgotten")).iloc[0]
    assert (row["forgotten_by"], row["reason"]) == ("Ana", "wish of the owner")
    assert row["rows"] > 3
    assert "forgotten already" in curate("forget", "--image", ids["0"], "--yes")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "say what to forget"),
        (("--image", "xyz"), "an image_id is expected, 64 hex characters"),
        (("--image", "ab" * 32), "no such picture here, and it was never forgotten"),
        (("--listing", "local"), "should look like MARKETPLACE/ID"),
        (("--listing", "local/none.jpg"), "no such listing here"),
        (("--seller", "  "), "a name is expected"),
        (("--seller", "Nobody"), "no listing here is of this seller; 0 listings name one"),
    ],
)
def test_what_was_never_here_is_refused_in_one_line(
    ids: dict[str, str], curate: Curate, words: tuple[str, ...], said: str
) -> None:
    error = curate("forget", *words, "--yes", code=1)
    assert said in error
    assert error.count("\n") == 1


def test_a_file_that_nobody_can_read_stops_it_before_anything_is_done(
    workspace: Workspace, ids: dict[str, str], curate: Curate
) -> None:
    (workspace.root / "mine.parquet").write_bytes(b"PAR1 cut off")
    before = everything(workspace.root)
    assert "mine.parquet: cannot be read as Parquet" in curate("forget", "--image", ids["0"], "--yes", code=1)
    assert everything(workspace.root) == before


def test_a_backup_put_back_is_cleaned_by_the_same_command(
    workspace: Workspace, ids: dict[str, str], curate: Curate, tmp_path: Path
) -> None:
    shutil.copy(workspace.table("pictures"), tmp_path / "backup.parquet")
    curate("forget", "--image", ids["0"], "--yes")
    shutil.copy(tmp_path / "backup.parquet", workspace.table("pictures"))
    curate("forget", "--image", ids["0"], "--yes")
    assert mentions(workspace.root, [ids["0"]]) == []


def test_tables_databases_and_notes_of_a_persons_own_are_cleaned_too(
    workspace: Workspace, ids: dict[str, str], curate: Curate
) -> None:
    root, gone = workspace.root, ids["0"]
    pd.DataFrame({"image_id": [gone, ids["1"]], "mine": [1, 2]}).to_parquet(root / "notes.parquet")
    pd.DataFrame({"path": [f"blobs/{gone}.jpg", "x"]}).to_parquet(root / "paths.parquet")
    (root / "note.md").write_text(f"ask about {gone}\n")
    (root / "gold.csv").write_text(f"image_id,label\n{gone},dots\n{ids['1']},plain\n")
    with closing(sqlite3.connect(root / "crowd-backup.sqlite")) as database:
        database.execute("CREATE TABLE hit (question TEXT)")
        database.execute("INSERT INTO hit VALUES (?)", (f"<img src='/picture/{gone}'>",))
        database.commit()
    (root / "thumbs").mkdir()
    (root / "thumbs" / f"{gone}.png").write_bytes(b"png")
    (root / f"pictures.parquet.{2**22}.part").write_bytes(gone.encode())
    curate("forget", "--image", gone, "--yes")
    assert mentions(root, [gone]) == []
    assert pd.read_parquet(root / "notes.parquet")["mine"].tolist() == [2]
    assert len(pd.read_parquet(root / "paths.parquet")) == 2
    assert ids["1"] in (root / "gold.csv").read_text()


@pytest.mark.parametrize(
    "text",
    [
        "  examples:\n    - {gone}\n    - {other}\n",
        "  examples: [{gone}]\n",
        "  examples:\n  - '{gone}'\n",
        "  examples: [{other}, {gone}]\n",
    ],
)
def test_a_class_loses_the_picture_as_its_example(
    workspace: Workspace, ids: dict[str, str], curate: Curate, text: str
) -> None:
    path = workspace.root / "tasks" / "apron.yaml"
    block = text.format(gone=ids["0"], other=ids["1"])
    path.write_text(path.read_text().replace("  examples: []\n", block, 1))
    assert ids["0"] in workspace.task().classes[0].examples
    curate("forget", "--image", ids["0"], "--yes")
    left = [ids["1"]] if "{other}" in text else []
    assert open_workspace(workspace.root).task().classes[0].examples == left
    assert mentions(workspace.root, [ids["0"]]) == []


def test_manifests_keep_their_line_of_descent_under_new_ids(
    workspace: Workspace, ids: dict[str, str], curate: Curate
) -> None:
    keys = workspace.task().keys
    rows = MANIFEST.frame(
        {"image_id": i, "path": f"blobs/{i[:2]}/{i}.jpg", "group_id": min(ids.values())} for i in ids.values()
    )
    parent = None
    for number, label in enumerate(keys[:3], 1):
        paths = [workspace.root / "apron" / "manifests" / f"apron-{number:04d}.parquet", workspace.manifest("apron")]
        parent = write_manifest(rows.assign(label=label), paths, task="apron", classes=keys, parent=parent)
    gone = min(ids.values())
    curate("forget", "--image", gone, "--yes")
    built = [read_manifest(path) for path in workspace.manifests("apron")]
    assert [m.parent for m in built] == [None, built[0].manifest_id, built[1].manifest_id]
    assert read_manifest(workspace.manifest("apron")).manifest_id == built[-1].manifest_id
    assert all(m.info["forgotten"]["rows"] == 1 for m in built)
    assert set(built[0].rows["group_id"]) == {sorted(ids.values())[1]}, (
        "the group is called by the next of its pictures"
    )
    assert " 0 errors" in curate("validate", str(workspace.manifest("apron")))


def test_a_pack_that_was_unfinished_stays_so_and_holds_nothing_of_it(
    workspace: Workspace, ids: dict[str, str], curate: Curate
) -> None:
    rows = MANIFEST.frame({"image_id": i, "path": row.blob} for i, row in pictures(workspace).iterrows())
    write_manifest(rows, [workspace.manifest("apron")], task="apron", classes=workspace.task().keys)
    folder = workspace.root / "apron-pack"
    curate("pack", "--side", "48")
    assert len(open_pack(folder).missing(list(ids.values()))) == 0
    jpeg = open_pack(folder).jpeg(ids["0"])[-60:-2]
    (folder / "SHA256SUMS").unlink()
    (folder / ".packing").mkdir()
    (folder / ".packing" / "left").write_bytes(jpeg)
    curate("forget", "--image", ids["0"], "--yes")
    assert not (folder / "SHA256SUMS").exists()
    assert mentions(workspace.root, [ids["0"], jpeg]) == []
    curate("pack", "--side", "48")
    assert "is whole" in curate("pack", "--check", str(folder))


def test_vectors_of_other_pictures_stay_as_they_were(workspace: Workspace, ids: dict[str, str], curate: Curate) -> None:
    rows = [{"image_id": i, "model_id": "m", "vector": [0.5, -0.25]} for i in sorted(ids.values())]
    EMBEDDINGS.write(EMBEDDINGS.frame(rows), workspace.table("embeddings"), {"consenso.model_id": "m"})
    curate("forget", "--image", ids["1"], "--yes")
    left = EMBEDDINGS.read(workspace.table("embeddings"))
    assert left["image_id"].tolist() == sorted(set(ids.values()) - {ids["1"]})
    assert [list(vector) for vector in left["vector"]] == [[0.5, -0.25]] * 5
    assert EMBEDDINGS.metadata(workspace.table("embeddings"))["consenso.model_id"] == "m"


def test_what_people_answered_about_other_pictures_of_a_hit_stays(
    workspace: Workspace, ids: dict[str, str], curate: Curate
) -> None:
    from curate.crowd.votes import write_votes

    path = workspace.of_task("apron", "votes")
    task = workspace.task()
    one = "<Answer><QuestionIdentifier>{}</QuestionIdentifier><FreeText>{}</FreeText></Answer>"
    asked = [ids["0"], ids["1"]]
    xml = "<QuestionFormAnswers>" + "".join(one.format(i, task.keys[0]) for i in asked) + "</QuestionFormAnswers>"
    with closing(workspace.project()) as project:
        project.execute(
            "INSERT INTO hit_journal (token, task, round, endpoint, state, hit_id, images, reward_cents, max_assignments,"
            " question_version, taxonomy_version, created_at, ended) VALUES ('t', 'apron', 1, 'http://x', 'created', 'H', ?, 10, 1,"
            " 1, 1, '2026-01-01T00:00:00+00:00', 'stopped')",
            (json.dumps([{"image_id": i, "chosen_by": "random"} for i in asked]),),
        )
        project.execute("INSERT INTO answer VALUES ('A', 't', 'W', 'Approved', 1.0, 9.0, ?)", (xml,))
        write_votes(project, task, path)
        said = curate("forget", "--image", ids["0"], "--yes")
        assert "out of reach: http://x keeps HITs that name them" in said
        assert VOTES.read(path)["image_id"].tolist() == [ids["1"]]
        write_votes(project, task, path, again=True)
        assert VOTES.read(path)["image_id"].tolist() == [ids["1"]], "nor does it come back from the answers"
        assert project.execute("SELECT count(*) FROM answer").fetchone()[0] == 1
    assert mentions(workspace.root, [ids["0"]]) == []


def test_originals_and_display_copies_in_a_bucket_go(
    workspace: Workspace, curate: Curate, s3: str, tmp_path: Path
) -> None:
    import boto3

    config = workspace.root / "workspace.yaml"
    config.write_text(config.read_text().replace("storage: ''", f"storage: {s3}/originals"))
    folder = tmp_path / "aprons"
    folder.mkdir()
    for seed in range(2):
        (folder / f"{seed}.jpg").write_bytes(as_bytes(photo(seed)))
    curate("import", "folder", str(folder))
    gone = hashlib.sha256((folder / "0.jpg").read_bytes()).hexdigest()
    bucket = boto3.resource("s3").Bucket("shop-originals")
    bucket.put_object(Key="shown/random.jpg", Body=b"copy")
    bucket.put_object(Key="shown/other.jpg", Body=b"copy")
    with closing(workspace.project()) as project:
        for image, key in ((gone, "random"), ("f" * 64, "other")):
            project.execute("INSERT INTO upload VALUES (?, ?, ?, 'now')", (f"{s3}/shown", image, f"shown/{key}.jpg"))
    said: Any = curate("forget", "--image", gone, "--yes")
    assert "1 copies in S3" in said
    keys = sorted(item.key for item in bucket.objects.all())
    assert len(keys) == 2
    assert keys[1] == "shown/other.jpg"
    assert gone not in keys[0]
    assert mentions(workspace.root, [gone]) == []


def test_a_seller_of_a_feed_goes_with_its_pictures_and_stays_out_when_the_feed_comes_again(
    workspace: Workspace, curate: Curate, tmp_path: Path
) -> None:
    rows = ["id,title,vendor,image_link"]
    for number, seller in enumerate(["Ana Gold", "Ana Gold", "Bo"]):
        (tmp_path / f"{number}.jpg").write_bytes(as_bytes(photo(number), "JPEG"))
        rows.append(f"SKU-{seller[:2]}-{number},Apron {number},{seller},{number}.jpg")
    feed = tmp_path / "feed.csv"
    feed.write_text("\n".join(rows) + "\n")
    curate("import", "feed", str(feed))
    gone = [hashlib.sha256((tmp_path / f"{number}.jpg").read_bytes()).hexdigest() for number in range(2)]
    assert set(gone) < set(pictures(workspace).index)
    curate("forget", "--seller", "ana  gold", "--yes")
    assert mentions(workspace.root, [*gone, "SKU-An-0", "SKU-An-1", "Ana Gold"]) == []
    assert "2 forgotten on request" in curate("import", "feed", str(feed))
    assert mentions(workspace.root, gone) == []
    assert len(pictures(workspace)) == 1


def test_copies_that_a_move_left_behind_go_too(
    workspace: Workspace, ids: dict[str, str], curate: Curate, s3: str
) -> None:
    curate("storage", "move", s3)
    curate("storage", "move", ".")
    names = {name.rpartition("/")[2].partition(".")[0] for name in storage_at(s3).names()}
    assert names == set(ids.values())
    curate("forget", "--image", ids["0"], "--yes")
    names = {name.rpartition("/")[2].partition(".")[0] for name in storage_at(s3).names()}
    assert names == set(ids.values()) - {ids["0"]}


def test_an_example_in_a_models_bundle_goes_and_the_others_stay(
    workspace: Workspace, ids: dict[str, str], curate: Curate
) -> None:
    run = workspace.root / "runs" / "little"
    (run / "examples").mkdir(parents=True)
    examples = []
    for number, name in enumerate(("0", "1"), start=1):
        file = f"examples/{number:02}.png"
        (run / file).write_bytes(as_bytes(photo(number - 1), "PNG"))
        examples.append({"file": file, "image_id": ids[name], "label": "dots", "probs": [1.0]})
    config = {"architecture": "resnet18", "consenso": {"classes": ["dots"], "examples": examples}}
    (run / "config.json").write_text(json.dumps(config))
    curate("forget", "--image", ids["0"], "--yes")
    assert mentions(workspace.root, [ids["0"]]) == []
    assert [path.name for path in (run / "examples").iterdir()] == ["02.png"]
    assert json.loads((run / "config.json").read_text())["consenso"]["examples"] == examples[1:]
