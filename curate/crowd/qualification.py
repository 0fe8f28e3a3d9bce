"""The entry test of a task, made of pictures whose answer we know: who passes it may work."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from curate.crowd.gold import apart, spread
from curate.crowd.question import Place, address
from curate.workspace import now
from schemas.errors import UserError
from schemas.question import PracticePicture, say
from schemas.task import Task

if TYPE_CHECKING:
    import pandas as pd

    from curate.crowd.requester import Requester

LIMIT = 65_535  # bytes of a Test and of an AnswerKey, by MTurk's documentation
PRACTICE = 20  # pictures to practice on, at most: every HIT carries them
_SCHEMAS = "http://mechanicalturk.amazonaws.com/AWSMechanicalTurkDataSchemas/2005-10-01"


def pictures_of_test(gold: pd.DataFrame, task: Task) -> dict[str, str]:
    """The pictures of the entry test and their answers: gold for the test, spread over the classes, at most test_questions."""
    mine = gold[(gold["task"] == task.task) & (gold["use"] == "test")].sort_values("image_id")
    labels = dict(zip(mine["image_id"], mine["label"], strict=True))
    chosen = spread(labels, task.keys, task.crowd.test_questions)
    return {image_id: labels[image_id] for image_id in sorted(chosen)}  # ids are hashes: the order says nothing


def practice_ids(gold: pd.DataFrame, clusters: pd.DataFrame, task: Task) -> list[str]:
    """Pictures to learn on before the entry test, spread over the classes; no near twin of a test picture."""
    mine = gold[gold["task"] == task.task].sort_values("image_id")
    shown = mine[mine["image_id"].isin(apart(mine, clusters)["practice"])]
    return spread(dict(zip(shown["image_id"], shown["label"], strict=True)), task.keys, PRACTICE)


def practice_of(gold: pd.DataFrame, clusters: pd.DataFrame, task: Task, place: Place) -> list[PracticePicture]:
    """The pictures to practice on, each with its answer and why."""
    rows = gold[gold["task"] == task.task].set_index("image_id")
    return [
        PracticePicture(
            image_id=i,
            url=address(place, i),
            label=rows.at[i, "label"],
            explanation=rows.at[i, "explanation"] if isinstance(rows.at[i, "explanation"], str) else "",
        )
        for i in practice_ids(gold, clusters, task)
    ]


def question_form(task: Task, image_ids: Sequence[str], place: Place) -> str:
    """The test as QuestionForm XML: a picture and one radio button per class; raises UserError above MTurk's limit."""
    choices = "".join(
        f"<Selection><SelectionIdentifier>{c.key}</SelectionIdentifier><Text>{escape(say(c.name, 'en'))}</Text></Selection>"
        for c in task.classes
    )
    answer = (
        "<AnswerSpecification><SelectionAnswer><MinSelectionCount>1</MinSelectionCount><MaxSelectionCount>1</MaxSelectionCount>"
        f"<StyleSuggestion>radiobutton</StyleSuggestion><Selections>{choices}</Selections></SelectionAnswer></AnswerSpecification>"
    )
    questions = "".join(
        f"<Question><QuestionIdentifier>{image_id}</QuestionIdentifier><IsRequired>true</IsRequired><QuestionContent>"
        f"<Text>{escape(say(task.question, 'en'))}</Text>"
        "<Binary><MimeType><Type>image</Type></MimeType>"
        f"<DataURL>{escape(address(place, image_id))}</DataURL><AltText>Picture {number}</AltText></Binary>"
        f"</QuestionContent>{answer}</Question>"
        for number, image_id in enumerate(image_ids, start=1)
    )
    overview = "".join(
        f"<Text>{escape(text)}</Text>" for text in (say(task.question, "en"), say(task.instructions, "en")) if text
    )
    return _fitting(
        f'<QuestionForm xmlns="{_SCHEMAS}/QuestionForm.xsd"><Overview>{overview}</Overview>{questions}</QuestionForm>',
        "the entry test",
        task,
        len(image_ids),
        len(questions.encode()),
    )


def answer_key(task: Task, answers: dict[str, str]) -> str:
    """The answers as AnswerKey XML: a point for each right one, the score in percent."""
    questions = "".join(
        f"<Question><QuestionIdentifier>{image_id}</QuestionIdentifier><AnswerOption>"
        f"<SelectionIdentifier>{label}</SelectionIdentifier><AnswerScore>1</AnswerScore></AnswerOption></Question>"
        for image_id, label in answers.items()
    )
    mapping = (
        f"<QualificationValueMapping><PercentageMapping><MaximumSummedScore>{len(answers)}</MaximumSummedScore>"
        "</PercentageMapping></QualificationValueMapping>"
    )
    return _fitting(
        f'<AnswerKey xmlns="{_SCHEMAS}/AnswerKey.xsd">{questions}{mapping}</AnswerKey>',
        "the answer key of the entry test",
        task,
        len(answers),
        len(questions.encode()),
    )


def _fitting(xml: str, what: str, task: Task, questions: int, question_bytes: int) -> str:
    """The same XML where it is within the limit; else a UserError that says how many questions fit."""
    size = len(xml.encode())
    if size <= LIMIT:
        return xml
    fit = (LIMIT - (size - question_bytes)) * questions // question_bytes
    raise UserError(
        f"task {task.task}: {what} has {questions} questions and {size:,} bytes; {LIMIT:,} are allowed, so {max(fit, 0)} fit: "
        "lower crowd.test_questions in the task file"
    )


def create_test(
    requester: Requester,
    project: sqlite3.Connection,
    task: Task,
    gold: pd.DataFrame,
    project_name: str,
    place: Place,
) -> tuple[str, int, bool]:
    """Find or make the entry test at the endpoint; gives its id, its number of questions, and whether it was made now.

    The name carries a hash of pictures and answers, so a changed test is a new test and an unchanged one is found again.
    """
    answers = pictures_of_test(gold, task)
    if not answers:
        raise UserError(
            f"task {task.task}: there is no gold for the entry test. Give pictures with known answers: `curate gold import FILE.csv`"
        )
    test, key = question_form(task, list(answers), place), answer_key(task, answers)
    content = hashlib.sha256(repr((sorted(answers.items()), task.keys, task.question_version)).encode()).hexdigest()
    name = f"{project_name}: entry test for {task.task} {content[:8]}"
    found = requester.find_qualification(name)
    identity = found or requester.create_qualification(
        Name=name,
        Description=f"{say(task.question, 'en')} {len(answers)} pictures; {task.crowd.pass_mark}% right lets you in.",
        Keywords="pictures, product, label",
        QualificationTypeStatus="Active",
        Test=test,
        AnswerKey=key,
        TestDurationInSeconds=60 * max(10, 2 * len(answers)),
        RetryDelayInSeconds=round(task.crowd.retry_hours * 3600),
    )
    project.execute(
        "INSERT OR REPLACE INTO qualification (task, endpoint, qualification_type_id, questions, created_at) VALUES (?, ?, ?, ?, ?)",
        (task.task, requester.endpoint, identity, len(answers), now().isoformat()),
    )
    return identity, len(answers), found is None


def requirement(project: sqlite3.Connection, task: Task, endpoint: str) -> list[dict[str, object]]:
    """What a worker needs to accept our HITs: the entry test passed; nothing where the task's pass mark is 0.

    Raises UserError when the test has not been made at this endpoint.
    """
    if task.crowd.pass_mark == 0:
        return []
    row = project.execute(
        "SELECT qualification_type_id FROM qualification WHERE task = ? AND endpoint = ?", (task.task, endpoint)
    ).fetchone()
    if row is None:
        raise UserError(
            f"task {task.task}: has no entry test at {endpoint}. Make it with `curate qual create`, or set crowd.pass_mark to 0"
        )
    return [
        {
            "QualificationTypeId": row["qualification_type_id"],
            "Comparator": "GreaterThanOrEqualTo",
            "IntegerValues": [task.crowd.pass_mark],
            "ActionsGuarded": "Accept",
        }
    ]


def known_workers(project: sqlite3.Connection, requester: Requester, task: Task, voted: Collection[str]) -> int:
    """How many workers may take HITs of the task as far as anybody knows: who passed the entry test, else who voted."""
    needed = requirement(project, task, requester.endpoint)
    if not needed:
        return len(set(voted))
    held = requester.holders(str(needed[0]["QualificationTypeId"]))
    return sum(value >= task.crowd.pass_mark for value in held.values())
