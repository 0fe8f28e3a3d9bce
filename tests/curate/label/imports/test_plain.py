"""Plain tables as people write them: any language's column names, Excel's CSV, Parquet, our own votes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from schemas.tables import CLUSTERS, PICTURES, VOTES


def csv(path: Path, *lines: str, encoding: str = "utf-8") -> Path:
    path.write_bytes("\r\n".join([*lines, ""]).encode(encoding))
    return path


def test_a_line_a_vote(person: Any, tmp_path: Path, ids: dict[str, str]) -> None:
    file = csv(
        tmp_path / "v.csv",
        "image_id,worker_id,label,submitted_at,seconds,assignment_status,assignment_id,hit_id",
        f"{ids['a']},ana@example.org,dots,2026-01-05T15:20:30-03:00,4.5,approved,x1,h1",
        f"{ids['b']},ana@example.org,Estrellas,Mon Jan 05 10:20:30 PST 2026,,Rejected,x2,h1",
        f"{ids['c']},bea,plain,1767637230,3,,x3,h1",
    )
    assert "a plain table; 3 votes of 2 workers on 3 pictures" in person.imports("votes", file)
    votes = person.votes
    assert person.said() == ["a dots", "b stars", "c plain"]
    assert votes["assignment_status"].tolist() == ["Approved", "Rejected", "Submitted"]
    assert votes["assignment_id"].tolist() == ["x1", "x2", "x3"]
    assert set(votes["submitted_at"]) == {pd.Timestamp("2026-01-05T18:20:30Z")}
    assert votes["worker_id"][0] == votes["worker_id"][1] != votes["worker_id"][2]
    code, out, _ = person.type("aggregate")
    assert code == 0
    assert "2 of 3 votes counted; 1 rejected" in out
    assert "no vote made" not in out  # imported votes are counted votes
    assert b"ana@example.org" not in person.shop.of_task("apron", "votes").read_bytes()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_table_as_excel_writes_it(
    person: Any, tmp_path: Path, places: dict[str, str], encoding: str, separator: str
) -> None:
    lines = [
        ["imagen", "anotador", "etiqueta", "segundos", "nota"],
        [places["a"], "1", "Lunares", '"4,5"', '"dos líneas\nen una"'],
        [places["c"], "2", "xadréz", '"3,25"', ""],
        ["", "", "", "", ""],
    ]
    file = csv(tmp_path / "votos.csv", *(separator.join(line) for line in lines), encoding=encoding)
    said = person.imports("votes", file)
    assert person.said() == ["a dots", "c checks"]
    if separator == ";":
        assert person.votes["seconds"].tolist() == [4.5, 3.25]
    assert "the file says no times; these votes carry the time of this import" in said
    assert "nothing new" in person.imports("votes", file)


def test_repeated_rows_count_once_and_a_self_conflict_stays_for_aggregation(
    person: Any, tmp_path: Path, ids: dict[str, str]
) -> None:
    rows = [f"{ids['a']},w,dots", f"{ids['a']},w,dots", f"{ids['a']},w,stars", f"{ids['b']},w,plain"]
    said = person.imports("votes", csv(tmp_path / "v.csv", "image_id,worker_id,label", *rows))
    assert "left out: 1 rows that say again what another one says" in said
    assert person.said() == ["a dots", "a stars", "b plain"]


def test_two_exports_of_one_vote_keep_its_last_judgment(person: Any, tmp_path: Path, ids: dict[str, str]) -> None:
    head = "image_id,worker_id,label,assignment_id,assignment_status"
    rows = [f"{ids['a']},w,dots,x1,{s}" for s in ("Submitted", "Rejected", "Submitted")]
    person.imports("votes", csv(tmp_path / "v.csv", head, *rows, f"{ids['b']},w,stars,x2,Approved"))
    assert person.votes["assignment_status"].tolist() == ["Rejected", "Approved"]


def test_parquet_with_numbers_for_workers(person: Any, tmp_path: Path, ids: dict[str, str]) -> None:
    table = pd.DataFrame({"image_id": [ids["a"], ids["b"]], "worker_id": [7.0, 7.0], "label": ["dots", "stars"]})
    table.to_parquet(tmp_path / "v.parquet")
    csv(tmp_path / "v.csv", "image_id,worker_id,label", f"{ids['a']},7,dots", f"{ids['c']},7,plain")
    person.imports("votes", tmp_path / "v.parquet")
    assert "votes: 1 added, 1 here already" in person.imports("votes", tmp_path / "v.csv")
    assert person.votes["worker_id"].nunique() == 1


def test_our_own_votes_of_another_workspace_move_too(
    person: Any, tmp_path: Path, places: dict[str, str], ids: dict[str, str]
) -> None:
    file = csv(tmp_path / "v.csv", "image_url,worker,answer", f"{places['a']},w,dots", f"{places['b']},w,stars")
    person.imports("votes", file)
    ours = person.shop.of_task("apron", "votes")
    worker = person.votes["worker_id"][0]
    moved = ours.rename(tmp_path / "moved.parquet")
    person.imports("votes", moved)
    again = person.votes
    assert person.said() == ["a dots", "b stars"]
    assert again["worker_id"].nunique() == 1
    assert again["worker_id"][0] != worker, "this workspace did not know that id: it may be Amazon's"
    VOTES.write(VOTES.read(ours).assign(assignment_id=["p", "q"]), tmp_path / "known.parquet")
    person.imports("votes", tmp_path / "known.parquet")
    assert set(person.votes["worker_id"]) == set(again["worker_id"]), "an id that votes here have stays"


def test_the_label_column_is_the_one_that_holds_classes(person: Any, tmp_path: Path, ids: dict[str, str]) -> None:
    file = csv(
        tmp_path / "v.csv", "image_id,worker_id,motivo,city", f"{ids['a']},w,dots,Lima", f"{ids['b']},w,rayas,Recife"
    )
    person.imports("votes", file)
    assert person.said() == ["a dots", "b stripes"]


def test_why_pictures_were_chosen_is_said_once(person: Any, tmp_path: Path, ids: dict[str, str]) -> None:
    file = csv(tmp_path / "v.csv", "image_id,worker_id,label", f"{ids['a']},w,dots", f"{ids['b']},w,stars")
    assert "none of them will be tested on" in person.imports("votes", file)
    assert "votes: 2 changed" in person.imports("votes", file, "--chosen-by", "random")
    said = person.imports("votes", file)
    assert "nothing new" in said
    assert "tested on" not in said
    assert set(person.votes["chosen_by"]) == {"random"}


def test_votes_on_pictures_elsewhere_are_counted_and_listed(person: Any, tmp_path: Path, ids: dict[str, str]) -> None:
    rows = [f"{ids['a']},w,dots", f"{ids['b']},w,stars", "gone.jpg,w,dots", "gone.jpg,v,dots", "away.jpg,w,stars"]
    said = person.imports("votes", csv(tmp_path / "v.csv", "image_id,worker_id,label", *rows))
    assert "left out: 3 on 2 pictures that are not in this workspace: away.jpg, gone.jpg" in said
    assert person.said() == ["a dots", "b stars"]


def test_votes_of_a_crowd_stay_and_the_next_step_keeps_them_apart(
    person: Any, tmp_path: Path, ids: dict[str, str]
) -> None:
    file = csv(tmp_path / "v.csv", "image_id,worker_id,label", f"{ids['a']},w,dots", f"{ids['b']},w,stars")
    assert "next: curate aggregate\n" in person.imports("votes", file)
    path = person.shop.of_task("apron", "votes")
    VOTES.write(VOTES.read(path).assign(source="crowd", assignment_id=["1", "2"], dropped=[None, "gold"]), path)
    assert "next: curate aggregate --source imported\n" in person.imports("votes", file)
    votes = person.votes
    assert votes["source"].value_counts().to_dict() == {"crowd": 2, "imported": 2}
    assert votes.loc[votes["source"] == "crowd", "dropped"].isna().sum() == 1


def test_a_crowds_own_votes_are_never_touched(person: Any, tmp_path: Path, ids: dict[str, str]) -> None:
    row = {
        "assignment_id": "1", "image_id": ids["a"], "task": "apron", "hit_id": "h", "worker_id": "A0123456789ABC", "round": 1,
        "endpoint": "e", "assignment_status": "Approved", "source": "crowd", "answer": "dots", "label": "dots",
        "submitted_at": "2026-01-05T10:20:30Z",
    }  # fmt: skip
    VOTES.write(VOTES.frame([row]), person.shop.of_task("apron", "votes"))
    head = "assignment_id,image_id,worker_id,label,submitted_at"
    lines = [
        f"{n},{ids[p]},A0123456789ABC,{c},2026-01-05T10:20:30Z" for n, p, c in [(1, "a", "stars"), (2, "b", "plain")]
    ]
    assert "votes: 1 added, 1 here already" in person.imports("votes", csv(tmp_path / "v.csv", head, *lines))
    assert sorted(zip(person.votes["source"], person.votes["label"], strict=True)) == [
        ("crowd", "dots"),
        ("imported", "plain"),
    ]
    assert set(person.votes["worker_id"]) == {"A0123456789ABC"}


def test_imported_votes_become_labels(person: Any, tmp_path: Path, ids: dict[str, str]) -> None:
    rows = [f"{ids['a']},{w},dots" for w in "xyz"] + [
        f"{ids['b']},{w},{c}" for w, c in zip("xyz", ["stars", "dots", "plain"], strict=True)
    ]
    person.imports("votes", csv(tmp_path / "v.csv", "image_id,worker_id,label", *rows))
    code, out, err = person.type("aggregate")
    assert (code, err) == (0, "")
    assert "1 of 2 pictures labeled (50.0 %); 1 no_agreement" in out


def test_rows_that_a_table_says_are_of_another_task_stay_out(person: Any, tmp_path: Path, ids: dict[str, str]) -> None:
    rows = [f"{ids['a']},w,dots,apron", f"{ids['b']},w,stars,apron", f"{ids['c']},w,red,color"]
    said = person.imports("votes", csv(tmp_path / "v.csv", "image_id,worker_id,label,task", *rows))
    assert "left out: 1 rows of other tasks" in said
    assert person.said() == ["a dots", "b stars"]


def test_status_counts_imported_votes_and_sends_nobody_to_the_crowd(
    person: Any, tmp_path: Path, ids: dict[str, str]
) -> None:
    rows = [f"{ids['a']},w,dots", f"{ids['b']},w,stars"]
    pictures = PICTURES.read(person.shop.table("pictures")).assign(format="JPEG")
    PICTURES.write(pictures, person.shop.table("pictures"))
    CLUSTERS.write(CLUSTERS.empty(), person.shop.table("clusters"))
    assert "next      curate gold import" in person.type("status")[1]
    person.imports("votes", csv(tmp_path / "v.csv", "image_id,worker_id,label", *rows))
    status = person.type("status")[1]
    assert "votes     2 from 1 workers (imported)" in status
    assert "next      curate aggregate" in status
