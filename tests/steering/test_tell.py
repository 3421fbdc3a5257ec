"""Telling an optimization something: what the plan makes of it, and what is accepted."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.config import RunConfig, load
from agent.config.plans import OptimizeConfig
from agent.config.reading import UserError
from agent.optimizer.outcome import Outcome
from agent.plan import FREE, Frame, Instruction, Listen, Note
from agent.plans.optimize import optimize
from agent.record.recording import Recording
from agent.steering.control_file import FILE, append
from agent.steering.inbox import PlanInbox
from agent.steering.instructions import check
from agent.steering.search_state import SearchState
from devices.config import Value
from devices.shot import Field, Shot
from models.quality.score import Score
from tests import faulty
from tests.helpers.scope import SCOPE
from tests.helpers.searches import config_data

# ---------------------------------------------------------------------- the plan, led by hand

FLAT = np.full((16, 16), 3, np.uint16)


class Obedient:
    """An optimizer that remembers what was asked of it."""

    def __init__(self, recommended: Mapping[str, Value]) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.told: list[dict[str, Value]] = []
        self._recommended = dict(recommended)

    def ask(self) -> dict[str, Value]:
        return {"power": 1.0 + len(self.told), "lines": 1, "filter": "red"}

    def tell(self, settings: Mapping[str, Value], outcome: Outcome) -> None:
        self.told.append(dict(settings))

    def tell_failed(self, settings: Mapping[str, Value]) -> None:
        self.told.append(dict(settings))

    def restrict(self, search: Mapping[str, Sequence[Value]]) -> None:
        self.calls.append(("restrict", dict(search)))

    def prefer(self, weights: Mapping[str, float]) -> None:
        self.calls.append(("prefer", dict(weights)))

    def pick(self, settings: Mapping[str, Value]) -> None:
        raise ValueError("this engine cannot")

    def recommend(self) -> dict[str, Value]:
        if not self.told:
            raise ValueError("nothing to recommend")
        return dict(self._recommended)

    def front(self) -> list[dict[str, Value]]:
        return []

    def expected_gain(self) -> float | None:
        return None


START: dict[str, Value] = {"power": 30.0, "lines": 2, "filter": "red"}
BEST: dict[str, Value] = {"power": 40.0, "lines": 4, "filter": "far red"}


class Led:
    """The course of `plan: optimize` with instructions before some of its trials."""

    def __init__(self, told: Mapping[int, Sequence[tuple[str, Any]]] = {}, **config: Any) -> None:
        settings = {"trials": 4, "initial": 2, "retest_fields": 1} | config
        self.optimizer = Obedient(BEST)
        self.shots: list[Shot] = []
        self.notes: list[Note] = []
        self.listened = 0
        fields = [Field(i, 0.0, 0.0) for i in range(12)]
        plan = optimize(OptimizeConfig(**settings), self.optimizer, START, fields, SCOPE)
        answer: Any = None
        while True:
            try:
                step = plan.send(answer)
            except StopIteration:
                return
            answer = None
            if isinstance(step, Note):
                self.notes.append(step)
            elif isinstance(step, Listen):
                self.listened += 1
                answer = tuple(Instruction(*one) for one in told.get(self.listened, ()))
            else:
                answer = Frame(len(self.shots), step, {}, FLAT, 0.0, lambda: Score(0.5, 0.1))
                self.shots.append(step)

    @property
    def tried(self) -> list[dict[str, Value]]:
        shots = self.shots
        return [dict(s.settings) for s in shots if s.mode == "sted" and s.trial is not None]

    def on(self, topic: str) -> list[dict[str, Any]]:
        return [dict(note.data) for note in self.notes if note.topic == topic]


def test_a_plan_that_is_told_nothing_notes_nothing_of_it() -> None:
    led = Led()
    assert led.listened == 5  # before each trial, and before the search ends
    assert {note.topic for note in led.notes} == {"trial", "recommendation", "retest"}
    assert led.optimizer.calls == []


def test_settings_are_fixed_narrowed_and_freed() -> None:
    led = Led(
        {
            1: [("power", {"between": [50, 50]}), ("filter", {"among": ["red"]})],
            2: [("power", {"between": [20, 60]})],
            4: [("power", FREE)],
        }
    )
    assert led.optimizer.calls == [
        ("restrict", {"power": (50, 50)}),
        ("restrict", {"power": (50, 50), "filter": ("red",)}),
        ("restrict", {"filter": ("red",), "power": (20, 60)}),
        ("restrict", {"filter": ("red",)}),
    ]
    assert [(note["key"], note["value"], note["trial"]) for note in led.on("told")] == [
        ("power", 50, 1),
        ("filter", "red", 1),
        ("power", [20, 60], 2),
        ("power", "free", 4),
    ]


def test_a_suggestion_is_tried_next_and_completed() -> None:
    """By the start within what is searched, later by what is recommended."""
    led = Led(
        {
            1: [("power", {"between": [50, 60]}), ("try", {"lines": 3})],
            2: [("try", {"lines": 8, "filter": "red"}), ("try", dict(START, lines=7))],
        }
    )
    assert led.tried == [
        {"power": 50, "lines": 3, "filter": "red"},
        {"power": 50, "lines": 8, "filter": "red"},
        {"power": 30.0, "lines": 7, "filter": "red"},
        {"power": 4.0, "lines": 1, "filter": "red"},  # the optimizer's, after three
    ]
    assert led.optimizer.told == led.tried
    by = [note.get("suggested_by") for note in led.on("trial")]
    assert by == ["told", "told", "told", None]


def test_the_run_begins_with_what_an_expert_wrote_into_its_config() -> None:
    begin_with = ({"power": 5.0}, {"lines": 6})
    led = Led({2: [("try", {"power": 9.0, "lines": 9, "filter": "red"})]}, begin_with=begin_with)
    assert led.tried == [
        {"power": 5.0, "lines": 2, "filter": "red"},
        {"power": 9.0, "lines": 9, "filter": "red"},
        {"power": 30.0, "lines": 6, "filter": "red"},
        {"power": 4.0, "lines": 1, "filter": "red"},
    ]
    by = [note.get("suggested_by") for note in led.on("trial")]
    assert by == ["begin_with", "told", "begin_with", None]


def test_a_start_outside_what_is_searched_is_put_within_it() -> None:
    search = {"power": (1.0, 20.0), "filter": ("far red",)}
    led = Led(begin_with=({"lines": 6},), search=search)
    assert led.tried[0] == {"power": 20.0, "lines": 6, "filter": "far red"}


@pytest.mark.parametrize(
    ("told", "trials"),
    [
        ({5: [("trials", 6)]}, 6),
        ({2: [("trials", 3)]}, 3),
        ({4: [("trials", 2)]}, 3),  # three were done by then
        ({3: [("finish", True)]}, 2),
        ({3: [("trials", 6), ("finish", True)]}, 2),
        ({2: [("trials", 2)], 3: [("trials", 5)]}, 5),
    ],
)
def test_another_number_of_trials(told: Any, trials: int) -> None:
    led = Led(told)
    assert len(led.tried) == len(led.on("trial")) == trials
    assert led.on("recommendation")[0]["trials"] == trials
    assert led.on("told")[-1]["trials"] == trials
    assert len(led.on("retest")) == 2 and len(led.shots) == 3 * (trials + 2)


def test_preferences_reach_the_optimizer_and_what_it_cannot_do_is_noted() -> None:
    led = Led({3: [("prefer", {"quality": 1.0}), ("pick", 2)]})
    assert led.optimizer.calls == [("prefer", {"quality": 1.0})]
    refused = led.on("told")[1]
    assert (refused["key"], refused["value"]) == ("pick", 2)
    assert refused["refused"] == "this engine cannot"
    assert len(led.tried) == 4 and len(led.on("retest")) == 2


def test_a_pick_hands_over_the_settings_of_its_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    picked: list[Any] = []
    monkeypatch.setattr(Obedient, "pick", lambda self, settings: picked.append(dict(settings)))
    led = Led({4: [("pick", 2)]})
    assert picked == [led.tried[1]] != [led.tried[0]]
    assert led.on("told")[0]["settings"] == led.tried[1]


def test_settings_of_a_trial_that_a_person_accepts_are_recommended_as_they_are() -> None:
    led = Led({4: [("accept", 2)]})
    assert len(led.tried) == 3
    found = led.on("recommendation")[0]
    assert (found["settings"], found["accepted"]) == (led.tried[1], 2)
    assert [note["settings"] for note in led.on("retest")][1] == led.tried[1]
    # Who asks for more trials after all leaves the choice open again.
    led = Led({4: [("accept", 2), ("trials", 4)]})
    assert len(led.tried) == 4 and "accepted" not in led.on("recommendation")[0]


def test_suggestions_that_no_trial_is_left_for_are_noted() -> None:
    led = Led({2: [("try", {"power": 7.0}), ("finish", True)]}, begin_with=({}, {"lines": 5}))
    assert len(led.tried) == 1
    assert led.on("untried") == [{"settings": [{"power": 7.0}, {"lines": 5}]}]


# ---------------------------------------------------------------------- what is accepted


@pytest.fixture
def every_kind(tmp_path: Path) -> RunConfig:
    """A config, never opened, that tunes settings of every kind."""
    data = config_data()
    lines = {"device": "S", "property": "L", "kind": "integer", "range": [1, 8], "start": 1}
    colour = {"device": "F", "property": "Label", "kind": "choice", "start": "red"}
    colour["choices"] = ["red", "far red", "blue"]
    data["microscope"]["settings"] |= {"lines": lines, "filter": colour}
    return load(faulty.write(tmp_path / "config.yaml", data))


@pytest.mark.parametrize(
    ("told", "value"),
    [
        ({"depletion_power": 120}, {"between": [120.0, 120.0]}),
        ({"depletion_power": [50, 120]}, {"between": [50.0, 120.0]}),
        ({"depletion_power": "free"}, "free"),
        ({"lines": 3.0}, {"between": [3, 3]}),
        ({"filter": "red"}, {"among": ["red"]}),
        ({"filter": ["far red", "red"]}, {"among": ["far red", "red"]}),
        ({"filter": "free"}, "free"),
        ({"try": {"lines": 2, "filter": "red"}}, {"lines": 2, "filter": "red"}),
        ({"prefer": {"quality": 1, "bleaching": 0.5}}, {"quality": 1.0, "bleaching": 0.5}),
        ({"pick": 3}, 3),
        ({"trials": 10}, 10),
        ({"accept": 2}, 2),
        ({"finish": True}, True),
    ],
)
def test_what_can_be_told(every_kind: RunConfig, told: dict[str, Any], value: Any) -> None:
    (instruction,) = check(every_kind, told, SearchState(4, [True, False, True]))
    assert instruction == Instruction(next(iter(told)), value)
    assert repr(instruction.value) == repr(value), "another type of number"


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ({"depletion_power": 201}, ["`depletion_power`: found 201", "10 … 200 mW", "free"]),
        ({"depletion_power": 5}, ["`depletion_power`: found 5", "10 … 200 mW"]),
        ({"depletion_power": [50, 300]}, ["`depletion_power`: found [50, 300]", "10 … 200 mW"]),
        ({"depletion_power": [120, 50]}, ["[120, 50]", "[low, high]"]),
        ({"depletion_power": [50, 60, 70]}, ["[50, 60, 70]", "[low, high]"]),
        ({"depletion_power": []}, ["`depletion_power`: found []", "[low, high]"]),
        ({"depletion_power": "full"}, ["`depletion_power`: found 'full'", "free"]),
        ({"depletion_power": True}, ["`depletion_power`: found True"]),
        ({"depletion_power": None}, ["`depletion_power`: found nothing"]),
        ({"depletion_power": float("nan")}, ["`depletion_power`: found nan"]),
        ({"depletion_power": 10**400}, ["`depletion_power`: found 1000", "…"]),
        (
            {"depletion_power": 16**5000},
            ["`depletion_power`: found a number of thousands"],
        ),  # 0xfff…
        ({"lines": 2.5}, ["`lines`: found 2.5", "a whole number within 1 … 4"]),
        ({"lines": float("inf")}, ["`lines`: found inf"]),
        ({"filter": "blue"}, ["`filter`: found 'blue'", "'red', 'far red'"]),
        ({"filter": ["red", "red"]}, ["`filter`: found ['red', 'red']"]),
        ({"filter": [["red"]]}, ["`filter`: found [['red']]"]),
        (
            {"depletion_powr": 3},
            ["`depletion_powr`: unknown key", "mean `depletion_power`?", "try"],
        ),
        ({"try": {"lines": 9}}, ["`try.lines`: found 9", "1 … 4"]),
        ({"try": {"lnes": 2}}, ["`try.lnes`", "mean `try.lines`?"]),
        ({"try": {1: 2}}, ["`try.1`: unknown key", "try.filter"]),
        ({"try": {}}, ["`try`: found {}", "filter"]),
        ({"try": 3}, ["`try`: found 3"]),
        ({"prefer": {"qualty": 1}}, ["`prefer.qualty`", "mean `prefer.quality`?"]),
        ({"prefer": {"quality": -1}}, ["`prefer.quality`: found -1", "not below 0"]),
        ({"prefer": {"quality": "much"}}, ["`prefer.quality`: found 'much'"]),
        ({"prefer": {"quality": 0}}, ["`prefer`: found {'quality': 0}", "above 0"]),
        ({"prefer": 1}, ["`prefer`: found 1", "quality"]),
        ({"pick": 2}, ["`pick`: found 2", "1, 3"]),
        ({"pick": 4}, ["`pick`: found 4", "1, 3"]),
        ({"pick": True}, ["`pick`: found True"]),
        ({"accept": 4}, ["`accept`: found 4", "1 … 3"]),
        ({"accept": True}, ["`accept`: found True", "1 … 3"]),
        ({"trials": 11}, ["`trials`: found 11", "1 … 10"]),
        ({"trials": 0}, ["`trials`: found 0", "1 … 10"]),
        ({"trials": True}, ["`trials`: found True"]),
        ({"trials": 6.5}, ["`trials`: found 6.5"]),
        ({"finish": False}, ["`finish`: found False", "true"]),
        ({"trials": 3, "try": {"lines": 2}}, ["`try`", "all 3 trials are done"]),
        ({}, ["nothing is told", "depletion_power"]),
    ],
    ids=lambda part: part[0] if isinstance(part, list) else "",
)
def test_what_cannot_be_told(every_kind: RunConfig, told: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(UserError) as refused:
        check(every_kind, told, SearchState(4, [True, False, True]))
    message = str(refused.value)
    assert all(name in message for name in named), message
    assert len(message.splitlines()) == 1 and len(message) < 250


@pytest.mark.parametrize("told", [{"finish": True}, {"trials": 2}])
def test_a_search_without_any_result_cannot_be_ended(every_kind: RunConfig, told: Any) -> None:
    """There would be nothing to recommend, and the run would end as failed."""
    with pytest.raises(UserError, match="none of 2 trials gave a result"):
        check(every_kind, told, SearchState(4, [False, False]))
    check(every_kind, told, SearchState(4, [False, True]))


# ---------------------------------------------------------------------- the control file


def heard(control: PlanInbox) -> list[tuple[str, Any]]:
    found = control.hear()
    assert found is None or not found.refused
    return [(one.key, one.value) for one in found.instructions] if found else []


def test_a_line_is_read_once_and_only_when_it_is_whole(
    every_kind: RunConfig, tmp_path: Path
) -> None:
    file = tmp_path / FILE
    control = PlanInbox(tmp_path, every_kind, Recording())
    assert control.hear() is None
    file.write_bytes(b'{"trials": 3}\n\n{"tri')
    assert heard(control) == [("trials", 3)]
    assert control.hear() is None
    file.write_bytes(b'{"trials": 3}\n\n{"trials": 5}')  # whole, though its end is missing
    assert heard(control) == [("trials", 5)]
    append(tmp_path, {"trials": 6})
    assert file.read_text(encoding="utf-8").splitlines()[3] == '{"trials": 6}'
    assert heard(control) == [("trials", 6)]
    with file.open("ab") as hand:
        hand.write(b'{"trials": 99}\r\n')
    found = control.hear()
    assert found is not None and found.refused[0].startswith(f"{FILE}, line 5: `trials`: found 99")


def test_lines_of_many_writers_do_not_mix(tmp_path: Path) -> None:
    def write(number: int) -> None:
        for _ in range(10):
            append(tmp_path, {"trials": number, "prefer": {"quality": 1.0, "bleaching": 0.25}})

    writers = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    lines = [json.loads(line) for line in (tmp_path / FILE).read_bytes().splitlines()]
    assert sorted(line["trials"] for line in lines) == sorted([*range(4)] * 10)


def test_a_file_that_was_written_anew_is_not_heeded(every_kind: RunConfig, tmp_path: Path) -> None:
    control = PlanInbox(tmp_path, every_kind, Recording())
    append(tmp_path, {"trials": 3})
    assert heard(control) == [("trials", 3)]
    (tmp_path / FILE).write_text('{"finish": true}\n{"trials": 9}\n', encoding="utf-8")
    found = control.hear()
    assert found is not None and found.instructions == ()
    assert "rewritten" in found.refused[0]
    append(tmp_path, {"trials": 5})
    assert heard(control) == [("trials", 5)]


def test_a_file_that_cannot_be_read_is_told_of_once(every_kind: RunConfig, tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    control = PlanInbox(tmp_path, every_kind, Recording())
    found = control.hear()
    assert found is not None and "cannot be read" in found.refused[0]
    assert control.hear() is None
    with pytest.raises(UserError, match="cannot be written"):
        append(tmp_path, {"trials": 3})
    (tmp_path / FILE).rmdir()
    append(tmp_path, {"trials": 3})
    assert heard(control) == [("trials", 3)]
