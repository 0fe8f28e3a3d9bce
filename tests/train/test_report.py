from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from schemas.errors import UserError
from train.judge.metrics import judge
from train.report import report, write_report
from train.report.claim import answer
from train.report.details import confused, coverage_curve, reliability
from train.report.figures import accuracy_plot
from train.report.gallery import saliency
from train.run import Request, train

Make = Callable[..., Path]
Ask = Callable[..., Request]
NAMES = ("apron-vit-100-s0", "apron-resnet18-100-s0", "apron-vit-50-s0")


@pytest.fixture
def runs(shop: Path) -> list[Path]:
    return [shop / "runs" / name for name in NAMES]


def test_the_tables_have_the_papers_columns_with_counts_and_intervals(runs: list[Path]) -> None:
    found = report(runs)
    assert [(row["method"], row["label_fraction"]) for row in found.rows] == [("resnet18", 1), ("vit", 0.5), ("vit", 1)]
    text = found.markdown()
    for word in (
        "Table 1", "Table 2", "5.1 Which method", "5.2 Where it goes wrong", "Acc@1", "Acc@5", "CE", "ResNet18", "/18)",
        "95 % interval", "McNemar", "chance is 33.3%", "random weights", "One seed", "Wished precision", "test was read once",
        "counted in each of them: 6 test pictures",
    ):  # fmt: skip
        assert word in text, word
    assert "Table 3" not in text  # no run with another pool
    data = found.table1[0]
    assert [data[name] for name in ("classes", "train", "val", "test", "unlabeled")] == [3, 36, 15, 18, 24]
    assert len(found.pairs) == 3
    assert all(pair["n"] == 18 for pair in found.pairs)


def test_the_figures_are_those_of_the_runs(runs: list[Path]) -> None:
    found = report(runs)
    for run, row in zip(sorted(runs), sorted(found.rows, key=lambda row: row["run"]), strict=True):
        own = json.loads((run / "metrics.json").read_text())["test"]
        assert all(row[key] == own[key] for key in ("right", "acc1", "macro", "ce", "ece"))
    val = {run.name: json.loads((run / "metrics.json").read_text())["val"] for run in runs}
    best = max(val, key=lambda name: (val[name]["acc1"], -val[name]["ce"]))  # val chooses whom the details are about
    assert found.details[0]["run"] == best


def priced(run: Path, **usage: object) -> None:
    """Change what a run's record says of its cost; one made by an earlier version says nothing."""
    record = json.loads((run / "run.json").read_text())
    own = record.pop("usage")
    (run / "run.json").write_text(json.dumps({**record, "usage": {**own, **usage}} if usage else record))


def test_a_run_that_has_a_price_is_shown_in_dollars_and_the_others_in_hours(runs: list[Path]) -> None:
    priced(runs[0], cost_usd=9.456, device_hours=2.1, device="GPU")
    priced(runs[1], device_hours=1.26)
    priced(runs[2])
    found = report(runs)
    lines = [line for line in found.markdown().splitlines() if line.startswith("| apron | ") and "interval" not in line]
    ends = {(row["method"], row["label_fraction"]): row["cost"] for row in found.table2}
    assert ends["vit", 1]["cost_usd"] == 9.456
    assert ends["vit", 0.5] is None
    assert [line.rsplit("|", 2)[1].strip() for line in lines if "%" in line] == ["1.26 machine h", "–", "9.46 USD"]


def test_seeds_become_a_mean_with_its_spread(shop: Path, ask: Ask) -> None:
    path = shop / "apron.parquet"
    both = [shop / "runs" / "apron-vit-100-s0", shop / "runs" / "apron-vit-100-s1"]
    train(ask(path, "vit", "epochs=6", seed=1))
    found = report(both)
    own = [json.loads((run / "metrics.json").read_text())["test"]["acc1"] for run in both]
    assert len(found.table2) == 1
    assert found.table2[0]["acc1"] == pytest.approx(np.mean(own))
    assert found.table2[0]["spread"] == pytest.approx(np.std(own, ddof=1))
    assert f"{np.mean(own):.1%} ± {100 * np.std(own, ddof=1):.1f} (n = 18)" in found.markdown()
    assert "One seed" not in found.markdown()


def test_models_of_several_seeds_are_tested_by_all_of_them(shop: Path, ask: Ask) -> None:
    path = shop / "apron.parquet"
    for fraction in (0.5, 1):
        train(ask(path, "vit", "epochs=6", seed=1, label_fraction=fraction))
    found = report(sorted((shop / "runs").glob("apron-vit-*")))
    assert len(found.pairs) == 1
    assert (found.pairs[0]["a"], found.pairs[0]["b"]) == ("apron-vit-50", "apron-vit-100")
    half, all_ = found.table2
    assert found.pairs[0]["bootstrap"]["acc1"]["difference"] == pytest.approx(all_["acc1"] - half["acc1"])
    assert [one["seed"] for one in found.pairs[0]["per_seed"]] == [0, 1]
    text = found.markdown()
    for word in ("(seeds 0, 1): ", "McNemar seed by seed: p = ", "of several seeds they are those of the mean count"):
        assert word in text, word


def test_another_recipe_is_no_seed(shop: Path, ask: Ask) -> None:
    path = shop / "apron.parquet"
    train(ask(path, "vit", "epochs=2", seed=1))
    train(ask(path, "vit", "epochs=2", seed=0, out=shop / "runs" / "short"))
    found = report([shop / "runs" / name for name in ("apron-vit-100-s0", "apron-vit-100-s1", "short")])
    assert [(row["name"], row["seeds"]) for row in found.table2] == [
        ("ViT (apron-vit-100)", [0]), ("ViT (short)", [0, 1]),
    ]  # fmt: skip


def test_pools_of_several_sizes_are_table_3(shop: Path, ask: Ask) -> None:
    path = shop / "apron.parquet"
    stage1 = shop / "runs" / "apron-vit-50-s0"
    runs = [shop / "runs" / f"pool-{count}" for count in (6, 24)]
    for count, out in zip((6, 24), runs, strict=True):
        train(ask(path, "semivit", "semi_steps=2", label_fraction=0.5, unlabeled=str(count), stage1=stage1, out=out))
    found = report(runs)
    hidden = 18  # labels that the fraction hides join both pools
    assert [row["unlabeled"] for row in found.table3] == [6 + hidden, 24 + hidden]
    assert found.table3[0]["against_smallest"] is None
    assert found.table3[1]["against_smallest"]["n"] == 18
    assert "Table 3: the unlabeled pool" in found.markdown()


def test_semivit_with_half_of_the_labels_is_held_against_vit_with_all(shop: Path, ask: Ask) -> None:
    path, stage1 = shop / "apron.parquet", shop / "runs" / "apron-vit-50-s0"
    semi = shop / "runs" / "apron-semivit-50-s0"
    train(ask(path, "semivit", "semi_steps=2", label_fraction=0.5, stage1=stage1))
    found = report([shop / "runs" / "apron-vit-100-s0", stage1, semi])
    (one,) = found.claims
    right = {name: json.loads((shop / "runs" / f"apron-{name}-s0" / "metrics.json").read_text())["test"]["right"]
             for name in ("vit-100", "semivit-50")}  # fmt: skip
    assert (one["vit"]["right"], one["semivit"]["right"], one["n"]) == (right["vit-100"], right["semivit-50"], 18)
    assert (one["vit"]["labels"], one["semivit"]["labels"], one["semivit"]["unlabeled"]) == (36, 18, 24 + 18)
    assert one["only_semivit"] - one["only_vit"] == right["semivit-50"] - right["vit-100"]
    text = found.markdown()
    assert "Does Semi-ViT with 50% of the labels match ViT with all of them?" in text
    assert f"Semi-ViT with 50% of the labels (18 + 42 unlabeled) {right['semivit-50'] / 18:.1%}" in text
    assert report([shop / "runs" / "apron-vit-100-s0", stage1]).claims == []


@pytest.mark.parametrize(
    ("outcomes", "said"),
    [
        (["better"], "all of them? Yes, it is better: +2.0 points (+0.5 to +3.5), McNemar p = 0.01"),
        (["worse"], "No, it is worse"),
        (["no difference shown"], "No difference shown: +2.0 points"),
        (["better", "worse", "better"], "Of 3 comparisons: better in 2, no difference shown in 0, worse in 1"),
    ],
)
def test_the_answer_is_said_whatever_comes_out(outcomes: list[str], said: str) -> None:
    one = {"difference": 0.02, "low": 0.005, "high": 0.035, "p": 0.01}
    half = [{**one, "label_fraction": 0.5, "outcome": outcome} for outcome in outcomes]
    assert said in answer([*half, {**one, "label_fraction": 0.75, "outcome": "better"}])
    assert answer([]) == ""


@pytest.mark.parametrize("ending", ["md", "json"])
def test_it_is_written_as_the_ending_says(runs: list[Path], tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"table.{ending}"
    write_report(report(runs), out)
    text = out.read_text()
    assert "ResNet18" in text
    if ending == "json":
        found = json.loads(text)
        assert len(found["rows"]) == 3
        assert set(found) == {"rows", "pairs", "notes", "table1", "table2", "table3", "details", "claims"}


def test_the_page_needs_nothing_else_and_shows_plots_and_pictures(runs: list[Path], shop: Path, tmp_path: Path) -> None:
    write_report(report(runs), tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert not re.search(r"(src|href)=\"(?!data:|#)", page)
    assert page.count("<svg") == 3  # accuracy against labels, reliability, coverage
    assert page.count("data:image/webp") >= 2  # where it looks: what it saw, and lit
    assert "not readable" not in page
    for image in shop.glob("*.jpg"):
        image.unlink()
    write_report(report(runs), tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text()
    assert "data:image/webp" not in page
    found = report(runs).details[0]
    assert page.count("not readable") == len(found["mistakes"])


def test_without_its_manifest_a_report_says_what_it_lacks(runs: list[Path], shop: Path) -> None:
    (shop / "apron.parquet").unlink()
    found = report(runs)
    assert found.details[0]["per_marketplace"] == []
    assert "The manifest is no longer where the runs read it" in found.markdown()
    assert found.html().count("<svg") == 3


def test_an_unknown_ending_is_refused(runs: list[Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\.html, \.md or \.json"):
        write_report(report(runs[:1]), tmp_path / "table.pdf")


def test_runs_of_one_task_on_two_manifests_never_share_a_table(runs: list[Path]) -> None:
    record = json.loads((runs[1] / "run.json").read_text())
    (runs[1] / "run.json").write_text(json.dumps(record | {"manifest_id": "0" * 32}))
    with pytest.raises(UserError, match="one table compares runs on one manifest"):
        report(runs)
    (runs[1] / "run.json").write_text(json.dumps(record | {"manifest_id": "0" * 32, "task": "vest"}))
    assert [row["task"] for row in report(runs).table1] == ["apron", "vest"]


def test_a_run_that_never_read_test_is_left_out(runs: list[Path]) -> None:
    metrics = json.loads((runs[0] / "metrics.json").read_text())
    (runs[0] / "metrics.json").write_text(json.dumps({"val": metrics["val"]}))
    with pytest.raises(UserError, match="this run never read test"):
        report(runs)


def test_an_unfinished_run_and_a_folder_without_one_are_said(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no run.json"):
        report([tmp_path])
    (tmp_path / "started.json").write_text("{}")
    with pytest.raises(UserError, match="unfinished"):
        report([tmp_path])


def test_confusions_reliability_and_coverage_by_hand() -> None:
    probs = np.array([[0.95, 0.05], [0.85, 0.15], [0.4, 0.6], [0.1, 0.9]])
    truth = np.array([0, 1, 1, 1])
    assert confused(judge(probs, truth, ["a", "b"])["confusion"], ["a", "b"]) == [
        {"label": "b", "as": "a", "count": 1, "n": 3}
    ]
    bins = {one["bin"]: (one["n"], one["right"]) for one in reliability(probs, truth)}
    assert bins == {9: (2, 2), 8: (1, 0), 6: (1, 1)}
    assert coverage_curve(probs, truth, steps=4) == [(0.25, 1.0), (0.5, 1.0), (0.75, 2 / 3), (1.0, 0.75)]


def test_a_model_that_looks_at_one_corner_is_seen_to() -> None:
    class Corner(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            light = x[:, :, :8, :8].mean(dim=(1, 2, 3))
            return torch.stack([light, -light], dim=1)

    heat = saliency(Corner(), torch.rand(1, 3, 32, 32))
    assert heat.shape == (32, 32)
    assert heat[:6, :6].min() > 0.5
    assert heat[14:, 14:].max() < 0.05


def test_a_model_that_remembers_its_biases_can_be_asked_twice() -> None:
    import timm

    model = timm.create_model("levit_128s", num_classes=3, img_size=64).eval()
    first, again = (saliency(model, torch.zeros(1, 3, 64, 64)) for _ in range(2))
    assert np.array_equal(first, again)


def test_names_in_the_accuracy_plot_do_not_lie_on_each_other() -> None:
    rows = [
        {"method": m, "name": m, "labels": n, "unlabeled": 0, "acc1": 0.8, "acc1_low": 0.78, "acc1_high": 0.82}
        for m in ("resnet18", "vit", "semivit")
        for n in (100, 200)
    ]
    places = [float(y) for y in re.findall(r'class="key m-\w+" x="[\d.]+" y="([\d.]+)"', accuracy_plot(rows))]
    assert len(places) == 3
    assert min(abs(a - b) for i, a in enumerate(places) for b in places[:i]) >= 15
