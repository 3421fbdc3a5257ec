"""Row before news: nothing is announced that the ledger does not have."""

import sqlite3
from contextlib import closing

import pytest

from agent.record.journal import Journal
from agent.record.ledger import Ledger, reading


def test_who_listens_finds_the_row_on_disk(tmp_path):
    heard = []

    def look(kind, data):
        with reading(tmp_path) as ledger:
            last = list(ledger.entries())[-1]
        heard.append((kind, data) == (last.kind, last.data))

    with closing(Journal(Ledger(tmp_path), look)) as journal:
        journal.add("score", {"value": 0.5}, 3)
        journal.fault("the camera blinked", "retry", 4)
        journal.fault("no weights", "go on", part="filter")
    assert heard == [True, True, True]
    with reading(tmp_path) as ledger:
        score, camera, weights = ledger.entries()
    assert score[2:] == ("score", 3, {"value": 0.5})
    assert camera[2:] == ("fault", 4, {"what": "the camera blinked", "policy": "retry"})
    assert weights.data == {"what": "no weights", "policy": "go on", "part": "filter"}


def test_nobody_hears_of_what_was_not_written(tmp_path):
    heard = []
    journal = Journal(Ledger(tmp_path), lambda kind, data: heard.append(kind))
    journal.close()
    with pytest.raises(sqlite3.Error):
        journal.add("note", {"topic": "trial", "data": {}})
    assert heard == []


def test_what_an_earlier_session_wrote_is_told_and_not_written_again(tmp_path):
    first, second = [], []
    with closing(Journal(Ledger(tmp_path), lambda kind, data: first.append(kind))) as journal:
        journal.announce("note", {"topic": "trial", "data": {}})
        journal.listen(lambda kind, data: second.append(kind))
        journal.add("late", {"due": 0, "at_s": 0.0, "by_s": 1.0, "policy": "shift", "points": 0,
                             "frames": 0})  # fmt: skip
    assert (first, second) == (["note", "late"], ["late"])
    with reading(tmp_path) as ledger:
        assert [entry.kind for entry in ledger.entries()] == ["late"]
