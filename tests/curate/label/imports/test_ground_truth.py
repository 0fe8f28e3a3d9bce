"""SageMaker Ground Truth: output manifests hold labels, the folders beside them the workers' answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

CLASSES = ["plain", "dots", "stars"]


def line(picture: str, label: str, job: str = "pattern", **about: Any) -> dict[str, Any]:
    usual = {
        "class-name": label, "confidence": 0.94, "type": "groundtruth/image-classification", "job-name": f"labeling-job/{job}",
        "human-annotated": "yes", "creation-date": "2026-01-05T18:20:30.527256",
    }  # fmt: skip
    return {"source-ref": picture, job: CLASSES.index(label), f"{job}-metadata": {**usual, **about}}


def manifest(path: Path, *lines: dict[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(one) + "\n" for one in lines), encoding="utf-8")
    return path


def response(job: Path, number: int, **answers: str) -> None:
    """What AWS writes for one object: the answers of its workers, told by name."""
    file = job / f"annotations/worker-response/iteration-1/{number}/2026-01-05_18:20:30.json"
    file.parent.mkdir(parents=True)
    said = [
        {
            "acceptanceTime": "2026-01-05T18:20:00.000Z", "submissionTime": "2026-01-05T18:20:30.000Z", "timeSpentInSeconds": 12.5,
            "answerContent": {"crowd-image-classifier": {"label": label}}, "workerId": f"private.us-east-1.{worker}",
            "workerMetadata": {"identityData": {"identityProviderType": "Cognito", "issuer": "i", "sub": "s"}},
        }
        for worker, label in answers.items()
    ]  # fmt: skip
    file.write_text(json.dumps({"answers": said}), encoding="utf-8")


@pytest.fixture
def job(tmp_path: Path, places: dict[str, str]) -> Path:
    """A whole job about pictures a and e, three answers each."""
    folder = tmp_path / "pattern-job"
    s3 = "s3://bucket/in/kitchen/0001.jpg"
    manifest(folder / "manifests/output/output.manifest", line(places["a"], "dots"), line(s3, "stars"))
    response(folder, 0, ana="dots", bea="dots", carl="stars")
    response(folder, 1, ana="stars", bea="stars", carl="Estrelas")
    return folder


@pytest.mark.parametrize(
    "inside", ["", "annotations", "annotations/worker-response", "annotations/worker-response/iteration-1"]
)
def test_workers_answers_come_from_any_folder_of_the_job(person: Any, job: Path, inside: str) -> None:
    said = person.imports("votes", job / inside)
    assert "SageMaker Ground Truth output; 6 votes of 3 workers on 2 pictures" in said
    assert person.said() == ["a dots", "a dots", "a stars", "e stars", "e stars", "e stars"]
    votes = person.votes
    assert votes["seconds"].tolist() == [12.5] * 6
    assert set(votes["submitted_at"]) == {pd.Timestamp("2026-01-05T18:20:30Z")}
    assert "nothing new" in person.imports("votes", job)


def test_without_its_manifest_the_answers_name_no_picture(person: Any, job: Path, tmp_path: Path) -> None:
    away = tmp_path / "input.manifest"
    (job / "manifests/output/output.manifest").rename(away)
    assert "name the job's input or output manifest with --manifest FILE" in person.refused("votes", job)
    person.imports("votes", job, "--manifest", str(away))
    assert len(person.votes) == 6


def test_what_was_handed_to_consolidation_will_do(person: Any, tmp_path: Path, places: dict[str, str]) -> None:
    folder = tmp_path / "job/annotations/consolidated-annotation/consolidation-request/iteration-1"
    folder.mkdir(parents=True)
    content = json.dumps({"crowd-image-classifier": {"label": "dots"}})
    answers = [{"workerId": f"private.{w}", "annotationData": {"content": content}} for w in ("ana", "bea")]
    request = [{"datasetObjectId": "0", "dataObject": {"s3Uri": places["a"]}, "annotations": answers}]
    (folder / "2026-01-05_18:20:30.json").write_text(json.dumps(request))
    person.imports("votes", tmp_path / "job")
    assert person.said() == ["a dots", "a dots"]
    assert set(person.votes["submitted_at"]) == {pd.Timestamp("2026-01-05T18:20:30Z")}
    assert "nothing new" in person.imports("votes", folder / "2026-01-05_18:20:30.json")


def test_a_custom_job_may_keep_the_answers_in_its_manifest(person: Any, tmp_path: Path, places: dict[str, str]) -> None:
    said = [
        {"workerId": w, "annotationData": {"content": json.dumps({"category": {"label": c}})}}
        for w, c in [("x", "dots"), ("y", "stars")]
    ]
    about = {
        "type": "groundtruth/custom",
        "job-name": "j",
        "human-annotated": "yes",
        "creation-date": "2026-01-05T10:35:45+0000",
    }
    file = manifest(
        tmp_path / "custom.manifest",
        {"source-ref": places["a"], "j": {"annotationsFromAllWorkers": said}, "j-metadata": about},
        {
            "source-ref": places["b"],
            "j": {"workerAnnotations": [{"workerId": "x", "label": "plain"}]},
            "j-metadata": about,
        },
    )
    person.imports("votes", file)
    assert person.said() == ["a dots", "a stars", "b plain"]


def test_a_consolidated_manifest_has_labels_and_no_votes(person: Any, job: Path) -> None:
    file = job / "manifests/output/output.manifest"
    said = person.refused("votes", file)
    assert (
        "holds one consolidated label for each picture and no workers: take it in with `curate import labels`" in said
    )
    assert "labels of 2 pictures, 2 classes" in person.imports("labels", file)
    given = person.given
    assert given["label"].tolist() == ["dots", "stars"]
    assert given["note"].tolist() == ["confidence 0.94"] * 2
    assert set(given["given_at"]) == {pd.Timestamp("2026-01-05T18:20:30.527256Z")}
    assert "nothing new: every label is here already" not in said


def test_failed_lines_and_labels_by_machine_are_counted(person: Any, tmp_path: Path, places: dict[str, str]) -> None:
    failed = line(places["b"], "dots")
    failed["pattern-metadata"] = {"failure-reason": "task expired", "human-annotated": "yes", "job-name": "j"}
    machine = line(places["c"], "stars", **{"human-annotated": "no"})
    said = person.imports("labels", manifest(tmp_path / "output.manifest", line(places["a"], "dots"), failed, machine))
    assert "left out: 1 lines without a label (failed)" in said
    assert "1 labels were given by the tool's own model and no person" in said
    assert person.given["picture"].tolist() == ["a", "c"]


def test_chained_jobs_leave_several_labels_and_a_person_says_which(
    person: Any, tmp_path: Path, places: dict[str, str]
) -> None:
    both = {**line(places["a"], "dots"), **line(places["a"], "stars", job="again")}
    file = manifest(tmp_path / "output.manifest", both)
    assert "which label? Its lines have again, pattern; say --label-column NAME" in person.refused("labels", file)
    person.imports("labels", file, "--label-column", "again")
    assert person.given["label"].tolist() == ["stars"]


def test_a_folder_without_answers_says_what_is_missing(person: Any, tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    assert "holds no worker-response/iteration-N/N/*.json" in person.refused("votes", tmp_path / "nothing")


def test_a_manifest_cut_off_says_at_which_line(person: Any, job: Path) -> None:
    file = job / "manifests/output/output.manifest"
    file.write_text(file.read_text()[:-30])
    assert "output.manifest: line 2: is not readable as JSON" in person.refused("labels", file)
