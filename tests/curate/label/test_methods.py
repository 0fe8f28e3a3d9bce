"""`curate aggregate --method …`: the model's labels, its figures on gold, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from curate.label import methods
from curate.label.aggregate import apply
from curate.label.count import Filters
from curate.label.methods import Wanted, frame_coded, label_by
from curate.label.models import coded as coded_module
from curate.label.rule import Rule
from schemas.tables import LABELS, PREDICTIONS

Curate = Callable[..., tuple[int, str, str]]
KEYS = ["dots", "plain", "stars"]


def write_votes(folder: Path, images: int = 120, votes: int = 3) -> np.ndarray:
    """votes.csv of eight workers, the last three of whom guess, gold.csv of every tenth picture; returns the truth."""
    rng = np.random.default_rng(0)
    truth = rng.integers(3, size=images)
    rows = []
    for image in range(images):
        for worker in rng.choice(8, votes, replace=False):
            right = worker < 5 and rng.random() < 0.9
            rows.append((f"i{image:03d}", f"w{worker}", KEYS[truth[image] if right else rng.integers(3)]))
    pd.DataFrame(rows, columns=["image_id", "worker_id", "label"]).to_csv(folder / "votes.csv", index=False)
    gold = [(f"i{image:03d}", KEYS[truth[image]]) for image in range(0, images, 10)]
    pd.DataFrame(gold, columns=["image_id", "label"]).to_csv(folder / "gold.csv", index=False)
    return truth


def write_predictions(folder: Path, truth: np.ndarray, fold: int | None = 0, classes: list[str] = KEYS) -> Path:
    """Out-of-fold predictions that are right on nine of ten."""
    rng = np.random.default_rng(1)
    said = np.where(rng.random(len(truth)) < 0.9, truth, rng.integers(3, size=len(truth)))
    frame = pd.DataFrame(
        {
            "image_id": [f"i{n:03d}" for n in range(len(truth))],
            "run": "probe",
            "task": "votes",
            "manifest_id": "m",
            "model_id": "x",
            "fold": pd.array([fold] * len(truth), dtype="Int32"),
            "predicted": np.array(classes)[said],
            "probs": list((0.8 * np.eye(3)[said] + 0.2 / 3).astype(np.float32)),
            "temperature": 1.0,
        }
    )
    return PREDICTIONS.write(frame, folder / "predictions.parquet", {"consenso.classes": json.dumps(classes)})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("method", ["dawid-skene", "one-coin", "mace", "glad"])
def test_a_model_labels_what_the_rule_leaves_and_says_how_sure_it_is(folder: Path, curate: Curate, method: str) -> None:
    truth = write_votes(folder)
    code, said, _ = curate("aggregate", "votes.csv", "--method", method, "--confusion", "workers.csv")
    assert code == 0
    found = LABELS.read(folder / "labels.parquet")
    assert found.label.notna().all()
    assert (found.label == np.array(KEYS)[truth]).mean() > 0.85
    assert set(found.method) == {method}
    best = [KEYS[int(np.argmax(probs))] for probs in found.label_probs]
    assert found.label.tolist() == best
    assert f"{method}: " in said
    assert "labels differ from majority" in said
    matrix = pd.read_csv(folder / "workers.csv")
    assert len(matrix) == 8 * 9
    np.testing.assert_allclose(matrix.groupby(["worker_id", "label"]).probability.sum(), 1, atol=1e-6)


def test_n_agree_is_how_many_said_what_the_model_says(folder: Path, curate: Curate) -> None:
    write_votes(folder)
    curate("aggregate", "votes.csv", "--method", "dawid-skene")
    votes = pd.read_csv(folder / "votes.csv")
    for row in LABELS.read(folder / "labels.parquet").itertuples():
        assert (votes[votes.image_id == row.image_id].label == row.label).sum() == row.n_agree


def test_with_gold_every_method_says_how_it_does_there_and_gold_is_never_labeled(folder: Path, curate: Curate) -> None:
    write_votes(folder)
    code, said, _ = curate("aggregate", "votes.csv", "--gold", "gold.csv")
    assert code == 0
    assert "on 12 gold pictures with votes:" in said
    lines = {line.split()[0]: line for line in said.splitlines() if line.startswith("  ")}
    assert set(lines) == {"majority", "dawid-skene", "one-coin", "mace", "glad"}
    assert lines["majority"].endswith("<- used")
    labels = LABELS.read(folder / "labels.parquet").set_index("image_id")
    assert labels.dropped[[f"i{n:03d}" for n in range(0, 120, 10)]].tolist() == ["gold"] * 12
    assert set(labels.method.dropna()) == {"majority"}


def test_too_few_votes_stay_too_few_and_low_confidence_is_no_agreement(folder: Path, curate: Curate) -> None:
    write_votes(folder)
    votes = pd.read_csv(folder / "votes.csv").drop(index=[0, 1])
    votes.to_csv(folder / "votes.csv", index=False)
    curate("aggregate", "votes.csv", "--method", "dawid-skene", "--min-confidence", "0.99")
    found = LABELS.read(folder / "labels.parquet")
    assert found.dropped[0] == "insufficient"
    unsure = found[found.dropped == "no_agreement"]
    assert len(unsure)
    assert all(max(probs) < 0.99 for probs in unsure.label_probs)


def test_crowdlab_weighs_workers_and_a_classifier(folder: Path, curate: Curate) -> None:
    truth = write_votes(folder)
    write_predictions(folder, truth)
    code, _, _ = curate("aggregate", "votes.csv", "--method", "crowdlab", "--predictions", "predictions.parquet")
    assert code == 0
    found = LABELS.read(folder / "labels.parquet")
    assert (found.label == np.array(KEYS)[truth]).mean() > 0.93


def test_predictions_in_another_class_order_are_put_right(folder: Path, curate: Curate) -> None:
    truth = write_votes(folder)
    write_predictions(folder, truth)
    curate("aggregate", "votes.csv", "--method", "crowdlab", "--predictions", "predictions.parquet")
    first = LABELS.read(folder / "labels.parquet").label.tolist()
    turned = [KEYS[2], KEYS[0], KEYS[1]]
    rows = PREDICTIONS.read(folder / "predictions.parquet")
    probs = [np.asarray(p)[[2, 0, 1]] for p in rows.probs]
    PREDICTIONS.write(
        rows.assign(probs=probs), folder / "predictions.parquet", {"consenso.classes": json.dumps(turned)}
    )
    curate(
        "aggregate",
        "votes.csv",
        "--method",
        "crowdlab",
        "--predictions",
        "predictions.parquet",
        "--classes",
        ",".join(KEYS),
    )
    assert LABELS.read(folder / "labels.parquet").label.tolist() == first


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--method", "crowdlab"], "--method crowdlab and --predictions FILE go together"),
        (["--method", "mace", "--predictions", "predictions.parquet"], "go together"),
        (["--method", "crowdlab", "--predictions", "in-fold"], "120 labeled pictures are not predicted out of fold"),
        (["--method", "crowdlab", "--predictions", "few"], "has no row for"),
        (["--method", "crowdlab", "--predictions", "gone.parquet"], "gone.parquet"),
        (["--method", "dawid-skene", "--smoothing", "-1"], "--smoothing must be 0 or more, got -1"),
        (["--method", "dawid-skene", "--min-confidence", "1.5"], "--min-confidence must be from 0 to below 1, got 1.5"),
        (["--smoothing", "1"], "go with --method"),
        (["--confusion", "c.csv"], "only a --method that models workers has confusion matrices"),
    ],
)
def test_what_is_wrong_is_one_line(folder: Path, curate: Curate, options: list[str], said: str) -> None:
    truth = write_votes(folder)
    write_predictions(folder, truth, fold=None if "in-fold" in options else 0)
    if "few" in options:
        rows = PREDICTIONS.read(folder / "predictions.parquet")
        PREDICTIONS.write(rows.head(50), folder / "predictions.parquet", {"consenso.classes": json.dumps(KEYS)})
    options = ["predictions.parquet" if word in ("in-fold", "few") else word for word in options]
    code, out, err = curate("aggregate", "votes.csv", *options)
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    if said.startswith("120 labeled"):
        assert "labeled pictures are not predicted out of fold" in err
    else:
        assert said in err
    assert not (folder / "labels.parquet").exists()


def loose(**answers: str) -> pd.DataFrame:
    """Votes from `picture="w0:dots w1:plain"`."""
    rows = [(image, *word.split(":")) for image, said in answers.items() for word in said.split()]
    return pd.DataFrame(rows, columns=["image_id", "worker_id", "label"])


def modeled(votes: pd.DataFrame, method: str, **options: object) -> pd.DataFrame:
    """Labels of votes in memory by a method, by image_id."""
    rule = Rule(tuple(KEYS), min_votes=options.pop("min_votes", None))  # type: ignore[arg-type]
    labels, audit = apply(votes, rule, Filters(gold=options.pop("gold", ())))  # type: ignore[arg-type]
    coded, workers = frame_coded(labels, audit, rule)
    wanted = Wanted(method, **options)  # type: ignore[arg-type]
    return label_by(wanted, pa.Table.from_pandas(labels), coded, workers, rule).labels.to_pandas().set_index("image_id")


@pytest.mark.parametrize("method", ["dawid-skene", "one-coin", "mace", "glad"])
def test_a_model_never_labels_what_the_rule_would_ask_again(method: str) -> None:
    """With two first answers, one against one is a question for a third person, and so is a class that was split."""
    votes = pd.concat(
        [
            loose(a="w0:dots w1:plain", b="w0:dots w1:dots", c="w0:plain w1:plain w2:plain"),
            loose(d="w0:dots w1:dots w2:dots"),
        ]
    )
    votes = votes.assign(class_changed=votes.image_id == "d")
    found = modeled(votes.reset_index(drop=True), method, min_votes=2)
    assert found.dropped["a"] == "insufficient"
    assert found.dropped["d"] == "insufficient (class changed)"
    assert found.label["b"] == "dots"


@pytest.mark.parametrize("single", [False, True])
def test_two_classes_that_are_equally_probable_make_no_label(monkeypatch: pytest.MonkeyPatch, single: bool) -> None:
    """Whether in double or in single precision, where rounding would choose between them."""
    if single:
        monkeypatch.setattr(coded_module, "FLOAT64_CELLS", 0)
    half = {
        f"i{n:03}": f"w{n % 5}:dots w{(n + 1) % 5}:plain w{(n + 2) % 5}:plain w{(n + 3) % 5}:dots" for n in range(50)
    }
    turned = {
        f"j{n:03}": f"w{n % 5}:plain w{(n + 1) % 5}:dots w{(n + 2) % 5}:dots w{(n + 3) % 5}:plain" for n in range(50)
    }
    found = modeled(loose(**half, **turned), "one-coin")
    assert found.label.isna().all()
    assert set(found.dropped) == {"no_agreement"}


def test_a_worker_of_two_minds_about_gold_says_nothing_there() -> None:
    votes = loose(g="w0:dots w0:plain w1:plain w1:plain", a="w0:dots w1:dots w2:dots")
    rule = Rule(tuple(KEYS))
    labels, audit = apply(votes, rule, Filters(gold={"g"}))
    coded, workers = frame_coded(labels, audit, rule)
    on_gold = labels.image_id.tolist().index("g")
    assert [
        (workers[w], KEYS[k]) for i, w, k in zip(coded.image, coded.worker, coded.label, strict=True) if i == on_gold
    ] == [("w1", "plain")]


def test_a_classifier_never_decides_a_test_label(folder: Path, curate: Curate) -> None:
    truth = write_votes(folder)
    write_predictions(folder, truth)
    rows = PREDICTIONS.read(folder / "predictions.parquet")
    wrong = [np.roll(np.asarray(p), 1) for p in rows.probs]
    PREDICTIONS.write(
        rows.assign(probs=wrong, split="test", fold=pd.array([None] * len(rows), dtype="Int32")),
        folder / "predictions.parquet",
        {"consenso.classes": json.dumps(KEYS)},
    )
    assert curate("aggregate", "votes.csv", "--method", "crowdlab", "--predictions", "predictions.parquet")[0] == 0
    found = LABELS.read(folder / "labels.parquet")
    unanimous = found[(found.n_votes == found.n_agree)]
    assert len(unanimous) > 30
    assert curate("aggregate", "votes.csv", "--out", "rule.parquet")[0] == 0
    rule = LABELS.read(folder / "rule.parquet").set_index("image_id").label
    assert (unanimous.label.to_numpy() == rule[unanimous.image_id].to_numpy()).all()


def test_confusion_matrices_that_no_machine_holds_are_refused(folder: Path, curate: Curate) -> None:
    rows = [f"i{n % 1000},w{(n + n // 1000) % 400},c{n % 900}" for n in range(4000)]
    (folder / "votes.csv").write_text("image_id,worker_id,label\n" + "\n".join(rows) + "\n")
    code, _, err = curate("aggregate", "votes.csv", "--method", "dawid-skene")
    assert code == 1
    assert "400 workers and 900 classes are too large" in err
    assert not (folder / "labels.parquet").exists()


def test_a_label_says_its_source_also_where_the_rule_labels_nothing(folder: Path, curate: Curate) -> None:
    """Three answers to every picture; on the gold ones ann and bo are always right, and cy never is."""
    rows = [f"g{n},{who},{KEYS[(n + (who == 'cy')) % 3]}" for n in range(12) for who in ("ann", "bo", "cy")]
    rows += [f"a{n},{who},{KEYS[(n + step) % 3]}" for n in range(6) for step, who in enumerate(("ann", "cy", "di"))]
    text = "\n".join(f"{row},imported" for row in rows)
    (folder / "votes.csv").write_text(f"image_id,worker_id,label,source\n{text}\n")
    gold = "\n".join(f"g{n},{KEYS[n % 3]}" for n in range(12))
    (folder / "gold.csv").write_text(f"image_id,label\n{gold}\n")
    assert curate("aggregate", "votes.csv", "--gold", "gold.csv")[0] == 0
    assert LABELS.read(folder / "labels.parquet").label.isna().all()
    assert curate("aggregate", "votes.csv", "--gold", "gold.csv", "--method", "dawid-skene")[0] == 0
    found = LABELS.read(folder / "labels.parquet")
    labeled = found[found.label.notna()]
    assert labeled.label.tolist() == [KEYS[n % 3] for n in range(6)]
    assert set(labeled.source) == {"import"}


def test_the_rule_with_gold_never_fails_for_what_a_model_cannot_hold(
    folder: Path, curate: Curate, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_votes(folder)
    monkeypatch.setattr(methods, "MOST_CELLS", 10)
    code, said, _ = curate("aggregate", "votes.csv", "--gold", "gold.csv")
    assert code == 0
    assert "majority     labels" in said
    assert "dawid-skene" not in said
