"""Three different people: who looks like somebody else, two accounts made one, one erased."""

from __future__ import annotations

import pytest

from curate.crowd.server import invitations, persons, sessions
from curate.crowd.server.alike import _tail, read_answers
from curate.crowd.server.schema import tables
from curate.crowd.server.store import open_store
from schemas.errors import UserError


@pytest.fixture
def store(crowd_server):
    opened = open_store(crowd_server.db)
    yield opened
    opened.close()


def apart(crowd_server, *people):
    """Give people addresses and devices of their own: in a test all come from one machine."""
    for person in people:
        for table in ("worker_session", "assignment"):
            crowd_server.sql(f"UPDATE {table} SET address = :id WHERE worker_id = :id", id=person.worker_id)


def flags_of(store, person):
    return next(one.flags for one in persons.listing(store) if one.worker_id == person.worker_id)


def test_people_who_share_a_device_or_an_address_are_flagged_and_simulated_ones_never(crowd_server, store, join):
    one, other, alone, robot = join("One"), join("Other"), join("Alone"), join("Robot", simulated=True)
    apart(crowd_server, alone)
    device = crowd_server.sql("SELECT device FROM worker_session WHERE worker_id = :id", id=one.worker_id)[0][0]
    for person in (other, robot):
        crowd_server.sql(
            "UPDATE worker_session SET device = :device WHERE worker_id = :id", device=device, id=person.worker_id
        )
    assert f"same device as {other.worker_id}" in flags_of(store, one)
    assert any(flag.startswith("same address as") for flag in flags_of(store, other))
    assert flags_of(store, alone) == []
    assert flags_of(store, robot) == []
    assert not any(robot.worker_id in flag for flag in flags_of(store, one))


def test_people_who_share_even_their_mistakes_are_flagged_and_good_ones_are_not(crowd_server, store, post_hit, join):
    title = "Alike"
    (group,) = {post_hit(Title=title, MaxAssignments=4)["HITTypeId"] for _ in range(30)}
    twin, again, good, fine = (join(name) for name in ("Twin", "Again", "Good", "Fine"))
    for number in range(30):
        mistaken = "plain" if number % 3 == 0 else "dots"
        for person, answer in ((twin, mistaken), (again, mistaken), (good, "dots"), (fine, "dots")):
            person.answer(group, answer)
    apart(crowd_server, twin, again, good, fine)
    assert flags_of(store, twin) == [f"answers as {again.worker_id}: 30 of 30 the same, 67% expected"]
    assert flags_of(store, again) == [f"answers as {twin.worker_id}: 30 of 30 the same, 67% expected"]
    crowd_server.sql("UPDATE worker SET simulated = true WHERE worker_id = :id", id=again.worker_id)
    assert flags_of(store, twin) == []


@pytest.mark.parametrize(
    ("k", "n", "p", "tail"),
    [(2, 2, 0.5, 0.25), (0, 5, 0.3, 1.0), (3, 3, 1.0, 1.0), (1, 3, 0.0, 0.0), (9, 10, 0.5, 11 / 1024)],
)
def test_the_tail_of_the_binomial_is_exact(k, n, p, tail):
    assert _tail(k, n, p) == pytest.approx(tail)


def test_answers_are_read_without_their_seconds(crowd_server, post_hit, join):
    hit, person = post_hit(), join()
    url = person.post(f"/accept/{hit['HITTypeId']}").json()["url"]
    person.post(url, **{"a" * 64: "dots", f"seconds.{'a' * 64}": "2.5"})
    ((answer,),) = crowd_server.sql("SELECT answer FROM assignment WHERE hit_id = :id", id=hit["HITId"])
    assert read_answers(answer) == {"a" * 64: "dots"}


def test_two_accounts_become_one_person(crowd_server, store, post_hit, join):
    client = crowd_server.client()
    both, theirs, fresh = (post_hit(MaxAssignments=3) for _ in range(3))
    kept, merged = join("Kept"), join("Merged")
    for person in (kept, merged):
        person.answer(both["HITTypeId"], "dots")
    merged.answer(theirs["HITTypeId"], "plain")
    underway = merged.post(f"/accept/{fresh['HITTypeId']}").json()["assignment_id"]
    kept.post(f"/accept/{fresh['HITTypeId']}")
    assert persons.merge(store, kept.worker_id, merged.worker_id) == (kept.worker_id, merged.worker_id, 1)
    answers = client.list_assignments_for_hit(HITId=both["HITId"])["Assignments"]
    assert [answer["WorkerId"] for answer in answers] == [kept.worker_id] * 2
    assert len({answer["AssignmentId"] for answer in answers}) == 2
    (answer,) = client.list_assignments_for_hit(HITId=theirs["HITId"])["Assignments"]
    assert answer["WorkerId"] == kept.worker_id
    paid = {"WorkerId": kept.worker_id, "AssignmentId": answer["AssignmentId"]}
    client.send_bonus(**paid, BonusAmount="0.25", Reason="thanks")  # for what the other account sent in
    (bonus,) = client.list_bonus_payments(AssignmentId=answer["AssignmentId"])["BonusPayments"]
    assert bonus["WorkerId"] == kept.worker_id
    assert merged.get("/work")["worker_id"] == kept.worker_id  # the other session goes on as the same person
    for hit in (both, theirs):
        assert kept.group(hit["HITTypeId"]) is None or kept.group(hit["HITTypeId"])["available"] == 0
        csrf = merged.get("/work")["csrf"]
        assert merged.http.post(f"/accept/{hit['HITTypeId']}", data={"csrf": csrf}).status_code == 409
    assert crowd_server.sql("SELECT count(*) FROM assignment WHERE assignment_id = :id", id=underway) == [(0,)]
    found = client.get_hit(HITId=fresh["HITId"])["HIT"]
    assert (found["NumberOfAssignmentsPending"], found["NumberOfAssignmentsAvailable"]) == (1, 2)
    with pytest.raises(UserError, match="one person already"):
        persons.merge(store, kept.worker_id, merged.worker_id)


def test_a_simulated_worker_is_nobodys_second_account(store, join):
    with pytest.raises(UserError, match="simulated"):
        persons.merge(store, join().worker_id, join(simulated=True).worker_id)


def test_a_forgotten_person_is_gone_and_their_answers_stay(crowd_server, store, post_hit, join):
    hit, person = post_hit(), join("Zebulon Quixote")
    person.answer(hit["HITTypeId"], "dots")
    crowd_server.sql("INSERT INTO worker_email VALUES ('zq@example.org', :id, 1)", id=person.worker_id)
    crowd_server.sql("INSERT INTO email_code VALUES ('h', 'zq@example.org', 'Zebulon Quixote', 'a', 0, 1, NULL)")
    message = (
        "INSERT INTO message (worker_id, subject, body, sent_at, mail_tries) VALUES (:id, 's', 'Dear Quixote', 1, 0)"
    )
    crowd_server.sql(message, id=person.worker_id)
    assert persons.forget(store, person.worker_id) == [person.worker_id]
    (answer,) = crowd_server.client().list_assignments_for_hit(HITId=hit["HITId"])["Assignments"]
    assert answer["WorkerId"] == person.worker_id
    assert person.http.get("/work").status_code == 401
    assert crowd_server.sql("SELECT device, address FROM assignment WHERE worker_id = :id", id=person.worker_id) == [
        (None, None)
    ]
    assert [table for table in tables.tables if "Quixote" in str(crowd_server.sql(f"SELECT * FROM {table}"))] == []
    for file in crowd_server.pictures.parent.glob("crowd.db*"):  # of SQLite: not even where the rows were
        data = file.read_bytes()
        assert b"Quixote" not in data, file.name
        assert b"zq@example.org" not in data, file.name
    with pytest.raises(UserError, match="no worker"):
        persons.forget(store, "ANOBODY")


def test_the_note_of_a_forgotten_persons_invitation_goes_with_them(store):
    code = invitations.invite(store, "Ana Quispe")
    worker = sessions.who(store, invitations.come(store, code, "Ana", sessions.NOWHERE))
    persons.forget(store, worker.worker_id)
    assert "Ana" not in str(invitations.listing(store))
    assert "Ana" not in str(next(one for one in persons.listing(store) if one.worker_id == worker.worker_id))
