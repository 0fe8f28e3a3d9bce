from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from worlds import CLASSES, Picture, World, image

from curate.cli import app
from curate.dataset.manifest import build_manifest
from curate.dataset.validate import Checked, Finding, validate
from schemas.command import exit_code
from schemas.errors import TableError
from schemas.manifest import write_manifest
from schemas.storage import storage_at
from schemas.tables import CLUSTERS, MANIFEST, SPLITS, VOTES


def good() -> pd.DataFrame:
    """360 labeled pictures of three classes in listings of two, 40 without a label, every one with three votes."""
    world = World({n: Picture(CLASSES[n // 2 % 3] if n < 360 else None, (n // 2,)) for n in range(400)})
    pictures, labels, clusters, appearances = world.tables()
    probs = [
        [1.0 if key == label else 0.0 for key in CLASSES] if isinstance(label, str) else None for label in labels.label
    ]
    votes = [
        {"assignment_id": f"a{n}{worker}", "image_id": image(n), "task": "t", "hit_id": "h", "worker_id": f"A{worker}",
         "round": 1, "endpoint": "e", "assignment_status": "Approved", "source": "crowd", "label": p.label,
         "submitted_at": pd.Timestamp("2026-11-22", tz="UTC")}
        for n, p in world.pictures.items() if p.label for worker in range(3)
    ]  # fmt: skip
    cut = world.split(test=0.3).rows
    return build_manifest(
        pictures, appearances, clusters, labels.assign(label_probs=probs), cut, VOTES.frame(votes), task="t"
    )


@pytest.fixture(scope="module")
def rows() -> pd.DataFrame:
    return good()


Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path, rows: pd.DataFrame) -> Write:
    def to_file(frame: pd.DataFrame | None = None, **more: Any) -> Path:
        given = {"task": "t", "classes": CLASSES, "info": {"made_by": "curate split"}, **more}
        write_manifest(rows if frame is None else frame, [tmp_path / "t.parquet"], **given)
        return tmp_path / "t.parquet"

    return to_file


def raw(path: Path, change: Callable[[pa.Table], pa.Table]) -> Path:
    """Change the file behind the door's back."""
    pq.write_table(change(pq.read_table(path)), path)
    return path


def only(checked: Checked, but: str = "manifest_id") -> Finding:
    """The one finding, except that an edited file is known by its id."""
    found = [finding for finding in checked.findings if but not in finding.what]
    assert len(found) == 1, checked.describe()
    return found[0]


def test_a_manifest_that_curate_split_made_is_fine(write: Write) -> None:
    checked = validate(write())
    assert checked.findings == ()
    assert checked.describe().endswith("t.parquet: manifest, 400 rows: fine")


def at(frame: pd.DataFrame, split: str, n: int = 1) -> pd.Index:
    """The first n rows of a split."""
    return frame.index[frame.split == split][:n]


def put(column: str, value: object, split: str = "train", n: int = 1) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """A change: this value in the first n rows of a split."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.copy()
        places = at(frame, split, n)
        if isinstance(value, list):
            frame[column] = frame[column].astype(object)
            for place in places:
                frame.at[place, column] = value
        else:
            frame.loc[places, column] = value
        return frame

    return change


def both(*changes: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(frame: pd.DataFrame) -> pd.DataFrame:
        for one in changes:
            frame = one(frame)
        return frame

    return change


def vote(label: str, n: int) -> list[dict[str, str]]:
    return [{"pseudonym": f"w{i}", "label": label} for i in range(n)]


def swapped(column: str, split: str = "train") -> Callable[[pd.DataFrame], pd.DataFrame]:
    """The values of a column in reverse order within a split."""

    def change(frame: pd.DataFrame) -> pd.DataFrame:
        frame = frame.copy()
        places = frame.index[frame.split == split]
        frame.loc[places, column] = frame.loc[places[::-1], column].to_numpy()
        return frame

    return change


def halved(column: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda frame: frame.assign(**{column: frame[column] / 2})


BROKEN = {
    "label outside classes": (
        both(put("label", "zebra"), put("label_probs", None), put("votes", None)), "error", "1 row with a label outside the classes (checks, dots, plain)",
    ),
    "odd split": (
        both(put("split", "holdout"), lambda f: f.assign(label_rank=f.label_rank.where(f.split == "train"))),
        "error", "1 row with a split that is none of train, val, test, unlabeled, out",
    ),
    "unlabeled tested": (
        both(put("label", None, "test"), put("label_probs", None, "test"), put("votes", None, "test")),
        "error", "1 row in train, val or test without a label",
    ),
    "labeled in the pool": (put("label", "dots", "unlabeled"), "warning", "1 row labeled but still in the unlabeled pool: run `curate split`"),
    "no split": (
        both(put("split", None), lambda f: f.assign(label_rank=f.label_rank.where(f.split == "train"))),
        "warning", "1 row without a split: new since the last `curate split`",
    ),
    "crossing group": (
        lambda f: f.assign(group_id=f.group_id.mask(f.index.isin([*at(f, "test"), *at(f, "train")]), "g")),
        "error", "1 group (2 pictures) on several sides: the test knows what trained",
    ),
    "crossing cluster": (
        lambda f: f.assign(cluster_id=f.cluster_id.mask(f.index.isin([*at(f, "test"), *at(f, "unlabeled")]), "c")),
        "error", "1 cluster (2 pictures) on several sides: the test knows what trained",
    ),
    "crossing listing": (
        lambda f: f.assign(listing_id=f.listing_id.mask(f.index.isin([*at(f, "val"), *at(f, "train")]), "l")),
        "error", "1 listing (2 pictures) on several sides: the test knows what trained",
    ),
    "crossing, as given": (
        lambda f: both(put("split_reason", "fixed", "train"), put("split_reason", "fixed", "test"))(
            f.assign(cluster_id=f.cluster_id.mask(f.index.isin([*at(f, "test"), *at(f, "train")]), "c"))
        ),
        "warning", "1 cluster (2 pictures) on several sides: the test knows what trained; a given split put them there",
    ),
    "out without a reason": (
        both(put("split", "out", "unlabeled"), lambda f: f.assign(unlabeled_rank=f.unlabeled_rank.where(f.split == "unlabeled"))),
        "error", "1 row out without a split_reason",
    ),
    "a reason without out": (put("split_reason", "gold"), "error", "1 row with a reason to be out that are not out"),
    "dropped in a split": (put("dropped", "too small", "val"), "error", "1 row dropped and yet in a split"),
    "not random": (put("chosen_by", "uncertain", "test"), "error", "1 row not chosen at random in val or test"),
    "unknown choice": (put("chosen_by", None, "val"), "error", "1 row not chosen at random in val or test"),
    "filled": (
        both(put("chosen_by", "rare", "test"), put("split_reason", "filled", "test")),
        "warning", "1 row not chosen at random in val or test, as was asked for",
    ),
    "rank of one": (lambda f: f.assign(label_rank=f.label_rank.mask(f.group_id == f.group_id[f.label_rank.idxmax()], 1.0)), "error", "2 rows with label_rank outside [0, 1)"),
    "no rank": (lambda f: f.assign(label_rank=f.label_rank.mask(f.group_id == f.group_id[f.label_rank.idxmax()])), "error", "2 rows of train without label_rank"),
    "a rank in test": (put("label_rank", 0.5, "test"), "error", "1 row with label_rank that are not train"),
    "torn group": (swapped("label_rank"), "error", "apart: near twins must come in together"),
    "rank not nested": (halved("label_rank"), "error", "label_rank does not nest in 3 classes: a fraction does not hold its share"),
    "no rank of zero": (lambda f: f.assign(label_rank=f.label_rank.clip(lower=0.001)), "error", "label_rank does not nest in 3 classes"),
    "pool not even": (halved("unlabeled_rank"), "error", "unlabeled_rank is not even in [0, 1): `--unlabeled 50%` would not be half"),
    "pool out of range": (
        lambda f: f.assign(unlabeled_rank=f.unlabeled_rank.mask(f.unlabeled_rank == f.unlabeled_rank.max(), -0.001)), "error", "1 row with unlabeled_rank outside [0, 1)",
    ),
    "too few probabilities": (put("label_probs", [0.5, 0.5]), "error", "1 row with label_probs of another length than 3 classes"),
    "half of a probability": (put("label_probs", [0.1, 0.1, 0.1]), "error", "1 row with label_probs that do not sum to 1 or are negative"),
    "votes short": (put("votes", vote("dots", 3)[:0]), "error", "1 row where n_votes is not the number of votes"),
    "votes for no class": (
        lambda f: f.assign(votes=[[*v[:2], {"pseudonym": "x", "label": "zebra"}] if v is not None and i == at(f, "train")[0] else v for i, v in enumerate(f.votes)],
                           n_agree=f.n_agree.where(f.index != at(f, "train")[0], 2)),
        "error", "1 row with votes for something that is no class",
    ),
    "n_agree": (put("n_agree", 2), "error", "1 row where n_agree is not the number of equal votes"),
    "one class": (
        lambda f: f[(f.label == "dots") | f.label.isna()], "warning", "only one class has labels (dots): a classifier learns nothing from it",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_each_fault_is_named_with_its_rows(write: Write, rows: pd.DataFrame, name: str) -> None:
    change, level, what = BROKEN[name]
    findings = validate(write(change(rows))).findings
    found = [finding for finding in findings if what in finding.what]
    assert [finding.level for finding in found] == [level], Checked(Path(), MANIFEST, 0, findings).describe()
    assert found[0].rows or name in ("pool not even", "one class")
    beside = {
        "votes short": "n_agree is",
        "one class": "",
        "pool out of range": "not even",
        "no split": "nest",
        "odd split": "nest",
        "torn group": "nest",
    }
    others = [
        finding
        for finding in findings
        if finding is not found[0] and beside.get(name, "nothing else") not in finding.what
    ]
    assert others == []


def test_the_rows_that_are_wrong_are_named(write: Write, rows: pd.DataFrame) -> None:
    found = only(validate(write(put("chosen_by", "uncertain", "test")(rows))))
    wrong = rows.image_id[at(rows, "test")[0]]
    assert found.rows == (f"{wrong[:12]}…: split test, chosen_by uncertain",)


def test_at_most_ten_rows_are_shown_and_the_rest_is_counted(write: Write, rows: pd.DataFrame) -> None:
    found = only(validate(write(put("dropped", "too small", "train", 25)(rows))))
    assert found.what.startswith("25 rows")
    assert len(found.rows) == 11
    assert found.rows[-1] == "and 15 more"


def test_a_crossing_group_is_named_with_its_pictures_and_sides(write: Write, rows: pd.DataFrame) -> None:
    test, train = rows.image_id[at(rows, "test")[0]], rows.image_id[at(rows, "train")[0]]
    found = only(validate(write(BROKEN["crossing cluster"][0](rows).assign(
        cluster_id=rows.cluster_id.mask(rows.image_id.isin([test, train]), "same"))
    )))  # fmt: skip
    assert found.rows == (f"cluster same: {test[:12]}… in test, {train[:12]}… in train",)


def test_a_label_that_its_votes_deny_may_be_an_experts(write: Write, rows: pd.DataFrame) -> None:
    place = at(rows, "train")[0]
    other = "plain" if rows.label[place] != "plain" else "dots"
    frame = rows.copy()
    frame.at[place, "votes"] = vote(other, 3)
    found = only(validate(write(frame)))
    assert found.level == "warning"
    assert found.what == "1 row whose votes say another label: an expert or a model may have decided otherwise"


def test_probabilities_in_another_class_order_are_an_error(write: Write, rows: pd.DataFrame) -> None:
    found = only(validate(write(rows, classes=["dots", "plain", "checks"])))
    assert found.level == "error"
    assert (
        found.what == "360 rows whose label is not the most probable class of label_probs: was the class order changed?"
    )


def test_a_manifest_edited_by_hand_is_known_by_its_id(write: Write) -> None:
    def edit(table: pa.Table) -> pa.Table:
        place = table.column_names.index("width_px")
        return table.set_column(place, table.schema.field(place), pa.array([7] * table.num_rows, pa.int32()))

    found = only(validate(raw(write(), edit)), but="nothing")
    assert found.level == "error"
    assert re.fullmatch(r"manifest_id [0-9a-f]{32} is not that of the content: edited by hand\? .*", found.what)


def test_missing_and_unknown_columns_and_wrong_types(write: Write) -> None:
    path = raw(write(), lambda table: table.drop_columns(["path", "width_px"]))
    assert [(f.level, f.what) for f in validate(path).findings] == [
        ("error", "columns path are missing; `curate split` writes them"),
        ("error", "columns width_px are missing; they are read as empty"),
    ]
    path = raw(write(), lambda table: table.append_column("mood", pa.array(["fine"] * 400)))
    assert [(f.level, f.what) for f in validate(path).findings] == [
        ("warning", "columns mood are unknown; nothing reads them")
    ]
    text = pa.array(["many"] * 400)
    path = raw(write(), lambda table: table.set_column(table.column_names.index("n_votes"), "n_votes", text))
    found = [f.what for f in validate(path).findings]
    assert found[0].startswith("column n_votes should be int32, is string: Failed to parse string: 'many'")


def test_repeated_and_missing_ids(write: Write) -> None:
    path = raw(write(), lambda table: pa.concat_tables([table, table.slice(0, 3), table.slice(0, 1)]))
    found = [f for f in validate(path).findings if "named by" in f.what]
    assert found[0].what == "3 keys (image_id) named by several rows, 4 too many"
    assert ": 3 rows" in "".join(found[0].rows)
    nothing = pa.nulls(400, pa.string())
    path = raw(write(), lambda table: table.set_column(table.column_names.index("path"), "path", nothing))
    assert "column path is missing in 400 rows" in [f.what for f in validate(path).findings]


def test_a_table_that_pandas_wrote_again_has_lost_its_name_and_is_known_by_its_columns(write: Write) -> None:
    path = write()
    pd.read_parquet(path).to_parquet(path)
    found = [(f.level, f.what) for f in validate(path).findings]
    assert found == [
        ("warning", "the file carries no manifest_id, task or parent (pandas drops them when it writes a table)"),
        ("warning", "the file carries no class list; read with 3 classes in sorted order"),
    ]


def test_before_the_first_split_that_is_all_there_is_to_say(write: Write, rows: pd.DataFrame) -> None:
    bare = rows.assign(split=None, split_reason=None, label_rank=None, unlabeled_rank=None, group_id=None)
    assert (
        only(validate(write(bare, info={"made_by": "curate aggregate"}))).what
        == "no picture has a split yet: run `curate split`"
    )


def test_ranks_may_be_patchy_after_aggregating_alone(write: Write, rows: pd.DataFrame) -> None:
    found = only(validate(write(BROKEN["no rank"][0](rows), info={"made_by": "curate aggregate"})))
    assert (found.level, found.what) == ("warning", "2 rows of train without label_rank: run `curate split`")


def test_rare_classes_are_warned_about_with_what_so_few_can_show(write: Write, rows: pd.DataFrame) -> None:
    dots = rows.index[(rows.label == "dots") & rows.split.isin(["train", "test"])]
    keep = [*dots[rows.split[dots] == "test"][:9], *dots[rows.split[dots] == "train"]]
    few = validate(write(rows[(rows.label != "dots") | rows.index.isin(keep)])).findings
    assert [f.what for f in few] == ["1 class with fewer than 30 test pictures: their figures say little"]
    assert few[0].rows == ("dots: 9; 7 right would mean 45 to 94 %",)
    single = validate(write(rows[(rows.label != "dots") | rows.index.isin(dots[:1])]))
    assert "1 class with a single picture: dots; it can train, never be tested" in [f.what for f in single.findings]
    none = validate(write(rows[rows.label != "dots"]))
    assert "1 class without a label: dots" in [f.what for f in none.findings]
    untested = rows[rows.split.isin(["train", "unlabeled"])]
    assert only(validate(write(untested))).what == "no picture is tested on"
    nothing = rows[rows.label.isna()]
    assert only(validate(write(nothing))).what == "no picture has a label: there is nothing to train on"


def test_a_parent_that_is_not_beside_it_is_told(write: Write, tmp_path: Path) -> None:
    assert only(validate(write(parent="0" * 32))).what.startswith(f"its parent {'0' * 32} is not beside it")
    older = write_manifest(good()[:10], [tmp_path / "older.parquet"], task="t", classes=CLASSES)
    assert validate(write(parent=older)).findings == ()


def test_another_class_list_in_the_task_file_is_told(write: Write, tmp_path: Path) -> None:
    (tmp_path / "workspace.yaml").write_text("name: shop\n")
    (tmp_path / "tasks").mkdir()
    classes = [{"key": key, "name": {"en": key}} for key in ("dots", "checks", "stars")]
    (tmp_path / "tasks" / "t.yaml").write_text(json.dumps({"task": "t", "question": {"en": "?"}, "classes": classes}))
    assert only(validate(write())).what == "its classes differ from t.yaml: only here: plain; only there: stars"


def test_missing_picture_files_are_looked_for_when_asked(
    write: Write, rows: pd.DataFrame, tmp_path: Path, s3: str
) -> None:
    for name in rows.path:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    storage_at(s3).write(rows.path[1], b"there")
    frame = rows.assign(path=rows.path.where(rows.index > 1, f"{s3}/" + rows.path))
    frame.loc[2, "path"] = "https://shop.example/2.jpg"
    (tmp_path / rows.path[5]).unlink()
    assert validate(write(frame)).findings == ()
    found = validate(write(frame), pictures=True).findings
    assert [f.level for f in found] == ["error", "error", "warning"]
    assert found[0].what.startswith("1 row whose picture file is not under ")
    assert rows.path[5][:12] in found[0].rows[0]
    assert found[1].what == "1 row whose picture file is not in its bucket"
    assert s3[:12] in found[1].rows[0]
    assert found[2].what == "1 picture at a URI; these were not looked for"


def test_other_tables_are_checked_for_their_shape(tmp_path: Path) -> None:
    path = CLUSTERS.write(CLUSTERS.empty(), tmp_path / "clusters.parquet")
    assert validate(path).describe() == f"{path}: clusters, 0 rows: fine"
    row = {"image_id": "a", "task": "t", "group_id": "g", "split": "train", "since": "2026-11-22", "seed": 0}
    splits = SPLITS.write(SPLITS.frame([row]), tmp_path / "splits.parquet")
    found = validate(raw(splits, lambda table: pa.concat_tables([table, table]))).findings
    assert [f.what for f in found] == ["1 key (image_id, task) named by several rows, 1 too many"]
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "theirs.parquet")
    assert "no table of ours" in validate(tmp_path / "theirs.parquet").describe()


def test_a_newer_version_a_cut_off_file_and_none_are_one_line(write: Write, tmp_path: Path) -> None:
    path = write()
    whole = path.read_bytes()
    raw(path, lambda table: table.replace_schema_metadata({**table.schema.metadata, b"consenso.version": b"9"}))
    with pytest.raises(TableError, match="written as version 9 of manifest; this program knows up to 1"):
        validate(path)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TableError, match="cannot be read as Parquet"):
        validate(path)
    with pytest.raises(TableError, match="no such file"):
        validate(tmp_path / "none.parquet")


@pytest.mark.parametrize(("broken", "code"), [(False, 0), (True, 1)])
def test_errors_fail_and_warnings_do_not(
    write: Write,
    rows: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    broken: bool,
    code: int,
) -> None:
    frame = rows[rows.label != "dots"]
    path = write(put("chosen_by", "rare", "test")(frame) if broken else frame)
    monkeypatch.setattr(sys, "argv", ["curate", "validate", str(path)])
    assert exit_code(app, "curate") == code
    said = capsys.readouterr().out
    assert "warning: 1 class without a label: dots" in said
    assert said.endswith(f"{code} error{'s' if code != 1 else ''}, 1 warning\n")
