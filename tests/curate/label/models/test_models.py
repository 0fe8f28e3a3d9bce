"""Models of workers: right on cases worked by hand, equal to crowd-kit where it is right, blind to the order of things."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.label.models import coded as coded_module
from curate.label.models.coded import Coded, coded
from curate.label.models.crowdlab import crowdlab
from curate.label.models.dawid_skene import dawid_skene
from curate.label.models.em import Fitted
from curate.label.models.glad import glad
from curate.label.models.mace import mace
from curate.label.models.one_coin import one_coin

KEYS = ["dots", "other", "plain"]
MODELS: dict[str, Callable[[Coded], Fitted]] = {
    "dawid-skene": dawid_skene,
    "one-coin": one_coin,
    "mace": mace,
    "glad": glad,
}
each_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())


def answers(images: int = 300, workers: int = 7, votes: int = 4, seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Votes of workers of whom the first are good and the last three answer without looking; with the truth by picture."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(3, size=images)
    rows = []
    for image in range(images):
        for worker in rng.choice(workers, votes, replace=False):
            right = rng.random() < 0.85
            said = truth[image] if right and worker < workers - 3 else rng.integers(3)
            rows.append((f"i{image:04d}", f"w{worker:02d}", KEYS[said]))
    return pd.DataFrame(rows, columns=["image_id", "worker_id", "label"]), truth


def fitted(model: Callable[[Coded], Fitted], votes: pd.DataFrame, keys: list[str] = KEYS) -> Fitted:
    return model(coded(votes, pd.Index(sorted(votes.image_id.unique())), keys)[0])


@each_model
def test_a_model_sees_through_workers_who_do_not_look(model: Callable[[Coded], Fitted]) -> None:
    votes, truth = answers()
    found = fitted(model, votes)
    counts = coded(votes, pd.Index(sorted(votes.image_id.unique())), KEYS)[0].counts()
    assert (found.probs.argmax(axis=1) == truth).mean() > (counts.argmax(axis=1) == truth).mean()
    np.testing.assert_allclose(found.probs.sum(axis=1), 1, rtol=1e-9)
    np.testing.assert_allclose(found.confusion.sum(axis=2), 1, rtol=1e-6)


@each_model
def test_what_is_maximized_never_falls(model: Callable[[Coded], Fitted]) -> None:
    found = fitted(model, answers()[0])
    assert found.iterations > 2
    rises = np.diff(found.history)
    assert (rises > -1e-7 * abs(found.history[-1])).all()


@each_model
def test_the_order_of_votes_and_the_names_of_workers_do_not_matter(model: Callable[[Coded], Fitted]) -> None:
    votes, _ = answers(60)
    found = fitted(model, votes)
    again = fitted(model, votes.sample(frac=1, random_state=3))
    np.testing.assert_array_equal(found.probs, again.probs)
    if model is mace:
        return  # its further starts are drawn for workers in their order
    renamed = votes.assign(worker_id=votes.worker_id.map(lambda name: f"x{99 - int(name[1:])}"))
    np.testing.assert_allclose(found.probs, fitted(model, renamed).probs, atol=1e-4)


@pytest.mark.parametrize("model", [dawid_skene, one_coin, glad], ids=["dawid-skene", "one-coin", "glad"])
def test_renaming_the_classes_permutes_the_result_only(model: Callable[[Coded], Fitted]) -> None:
    votes, _ = answers(60)
    turned = {"dots": "plain", "plain": "other", "other": "dots"}
    found = fitted(model, votes).probs
    other = fitted(model, votes.assign(label=votes.label.map(turned))).probs
    np.testing.assert_allclose(found, other[:, [KEYS.index(turned[key]) for key in KEYS]], atol=1e-4)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    votes, _ = answers(100)
    whole = fitted(dawid_skene, votes)
    monkeypatch.setattr(coded_module, "BLOCK_CELLS", 21)
    parts = fitted(dawid_skene, votes)
    np.testing.assert_allclose(whole.probs, parts.probs, atol=1e-9)
    assert whole.iterations == parts.iterations


def test_dawid_skene_on_a_case_worked_by_hand() -> None:
    """Two pictures, two workers, who agree on the first and differ on the second; without smoothing.

    The shares of the votes are (1, 0) and (1/2, 1/2). So both workers said a on the first; ann says a on the second, bob b:
    ann: of class a (mass 1.5) always a; of class b (mass .5) always a. bob: of a, a in 1 of 1.5, of b never a.
    """
    votes = pd.DataFrame(
        [("1", "ann", "a"), ("1", "bob", "a"), ("2", "ann", "a"), ("2", "bob", "b")],
        columns=["image_id", "worker_id", "label"],
    )
    found = dawid_skene(coded(votes, pd.Index(["1", "2"]), ["a", "b"])[0], smoothing=0, iterations=1)
    np.testing.assert_allclose(found.confusion[0], [[1, 0], [1, 0]], atol=1e-9)
    np.testing.assert_allclose(found.confusion[1], [[2 / 3, 1 / 3], [0, 1]], atol=1e-9)
    np.testing.assert_allclose(found.prior, [0.75, 0.25])
    # picture 1: .75 * 1 * 2/3 against .25 * 1 * 0; picture 2: .75 * 1 * 1/3 against .25 * 1 * 1
    np.testing.assert_allclose(found.probs, [[1, 0], [0.5, 0.5]], atol=1e-8)
    assert found.history[0] == pytest.approx(np.log(0.5) + np.log(0.5))


def test_one_coin_counts_how_often_a_worker_is_right() -> None:
    """Everybody agrees but one, who is always against the others."""
    rows = [(f"i{n}", f"w{w}", "ab"[(n % 2) ^ (w == 4)]) for n in range(40) for w in range(5)]
    votes = pd.DataFrame(rows, columns=["image_id", "worker_id", "label"])
    found = fitted(one_coin, votes, ["a", "b"])
    assert found.skill is not None
    np.testing.assert_allclose(found.skill, [1, 1, 1, 1, 0], atol=1e-3)


def test_smoothing_keeps_a_worker_with_one_vote_from_being_certain() -> None:
    votes, _ = answers(50)
    more = pd.concat([votes, pd.DataFrame([("i0000", "once", "dots")], columns=votes.columns)], ignore_index=True)
    images = pd.Index(sorted(more.image_id.unique()))
    code, workers = coded(more, images, KEYS)
    place = workers.get_loc("once")
    assert dawid_skene(code, smoothing=0).confusion[place].max() == pytest.approx(1)
    assert dawid_skene(code, smoothing=1.0).confusion[place].max() < 0.6


def test_a_picture_without_votes_has_the_classes_as_frequent_as_they_are() -> None:
    votes, _ = answers(50)
    images = pd.Index([*sorted(votes.image_id.unique()), "nobody"])
    found = dawid_skene(coded(votes, images, KEYS)[0])
    np.testing.assert_allclose(found.probs[-1], found.prior, rtol=1e-6)


@settings(deadline=None, max_examples=40)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from("abcd"), st.sampled_from("uvwx"), st.sampled_from(KEYS)),
        min_size=1,
        max_size=20,
        unique=True,
    )
)
def test_any_votes_give_probabilities(rows: list[tuple[str, str, str]]) -> None:
    votes = pd.DataFrame(rows, columns=["image_id", "worker_id", "label"])
    for model in MODELS.values():
        found = fitted(model, votes)
        assert np.isfinite(found.probs).all()
        np.testing.assert_allclose(found.probs.sum(axis=1), 1, rtol=1e-6)
        assert (np.diff(found.history) > -1e-6 * max(1, abs(found.history[-1]))).all()


def test_crowdlab_lets_a_good_classifier_decide_where_workers_differ() -> None:
    votes, truth = answers(300, votes=2)
    code, _ = coded(votes, pd.Index(sorted(votes.image_id.unique())), KEYS)
    rng = np.random.default_rng(1)
    said = np.where(rng.random(300) < 0.95, truth, rng.integers(3, size=300))
    good = crowdlab(code, 0.9 * np.eye(3)[said] + 0.1 / 3)
    even = crowdlab(code, np.full((300, 3), 1 / 3))
    assert (good.probs.argmax(axis=1) == truth).mean() > 0.93
    assert (good.probs.argmax(axis=1) == truth).mean() > (even.probs.argmax(axis=1) == truth).mean() + 0.05
    np.testing.assert_allclose(good.probs.sum(axis=1), 1)


def real(shared_data: Callable[[str], Path], name: str) -> tuple[Coded, np.ndarray, pd.DataFrame, list[str]]:
    folder = shared_data("votes") / name
    votes = pd.read_parquet(folder / "votes.parquet").astype("str").rename(columns={"task_id": "image_id"})
    truth = pd.read_parquet(folder / "truth.parquet").astype("str").set_index("task_id")["label"]
    images, keys = pd.Index(sorted(votes.image_id.unique())), sorted(votes.label.unique())
    known = pd.Index(keys).get_indexer(pd.Index(truth.reindex(images).fillna("?")))
    return coded(votes, images, keys)[0], known, votes, keys


def accuracy(found: Fitted, known: np.ndarray) -> float:
    return round(100 * float((found.probs.argmax(axis=1) == known)[known >= 0].mean()), 2)


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "expected"),
    [("labelme", 79.3), ("ms_music", 76.86), ("face", 64.21), ("dog", 84.39), ("trec", 70.51)],
)
def test_dawid_skene_reaches_the_known_figures_on_real_votes(
    shared_data: Callable[[str], Path], name: str, expected: float
) -> None:
    code, known, _, _ = real(shared_data, name)
    assert accuracy(dawid_skene(code, smoothing=0), known) == expected


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "model"), [("ms_music", "DawidSkene"), ("dog", "OneCoinDawidSkene"), ("labelme", "OneCoinDawidSkene")]
)
def test_the_labels_are_those_of_crowd_kit_where_it_stops_rightly(
    shared_data: Callable[[str], Path], name: str, model: str
) -> None:
    import crowdkit.aggregation as kit

    code, _, votes, keys = real(shared_data, name)
    theirs = getattr(kit, model)(n_iter=100).fit_predict(
        votes.rename(columns={"image_id": "task", "worker_id": "worker"})
    )
    ours = (dawid_skene if model == "DawidSkene" else one_coin)(code, 0)
    same = np.array(keys)[ours.probs.argmax(axis=1)] == theirs.sort_index().to_numpy()
    assert same.mean() > 0.985


@pytest.mark.shared_data
def test_one_step_of_dawid_skene_is_crowd_kits(shared_data: Callable[[str], Path]) -> None:
    """Both start from the vote shares; only what is impossible so far is floored differently (13 of 1,000 pictures)."""
    import crowdkit.aggregation as kit

    code, _, votes, _ = real(shared_data, "labelme")
    theirs = kit.DawidSkene(n_iter=1).fit_predict_proba(
        votes.rename(columns={"image_id": "task", "worker_id": "worker"})
    )
    ours = dawid_skene(code, 0, iterations=1).probs
    same = np.isclose(ours, theirs.sort_index()[sorted(theirs.columns)].to_numpy(), atol=1e-6).all(axis=1)
    assert same.mean() > 0.95
