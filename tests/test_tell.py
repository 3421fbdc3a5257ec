"""Telling a running optimization something: what is accepted, what it does, and that it lasts."""

from __future__ import annotations

import json
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agent.config import ConfigError, OptimizeConfig, RunConfig, load
from agent.control import FILE, Control, append
from agent.folder import new_folder, read_config
from agent.instructions import FREE, Standing, check
from agent.ledger import Ledger
from agent.optimizer import Outcome
from agent.plan import Frame, Instruction, Listen, Note, Plan
from agent.planning import build_plan
from agent.plans import optimize
from agent.recording import Recording
from agent.session import Progress, Result, Session
from agent.summary import summarize
from devices.config import Value
from devices.shot import Field, Shot
from models.quality.score import Score
from tests import faulty
from tests.faulty import cli
from tests.scope import SCOPE

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
    """What became of `plan: optimize` that was told things before some of its trials."""

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
        return [dict(s.settings) for s in shots if s.mode == "sted" and "trial" in s.purpose]

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


def test_suggestions_that_no_trial_is_left_for_are_noted() -> None:
    led = Led({2: [("try", {"power": 7.0}), ("finish", True)]}, begin_with=({}, {"lines": 5}))
    assert len(led.tried) == 1
    assert led.on("untried") == [{"settings": [{"power": 7.0}, {"lines": 5}]}]


# ---------------------------------------------------------------------- what is accepted

PARTS: dict[str, Any] = {
    "plan": "optimize",
    "analysis": {"score": True},
    "optimize": {
        "trials": 4,
        "initial": 4,
        "retest_fields": 1,
        "search": {
            "excitation_power": [1, 20],
            "depletion_power": [10, 200],
            "lines": [1, 4],
            "filter": ["red", "far red"],
        },
    },
}


def config_data() -> dict[str, Any]:
    data = faulty.config(**PARTS)
    scope = data["microscope"]
    scope["fields"] = {"rows": 3, "columns": 4}
    scope["modes"] = {"sted": {}, "confocal": {"depletion_power": 0}}
    return data


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
        ({"finish": True}, True),
    ],
)
def test_what_can_be_told(every_kind: RunConfig, told: dict[str, Any], value: Any) -> None:
    (instruction,) = check(every_kind, told, Standing(4, [True, False, True]))
    assert instruction == Instruction(next(iter(told)), value)
    assert repr(instruction.value) == repr(value), "another type of number"


@pytest.mark.parametrize(
    ("told", "named"),
    [
        ({"depletion_power": 201}, ["`depletion_power`: 201", "10 … 200 mW", "free"]),
        ({"depletion_power": 5}, ["`depletion_power`: 5", "10 … 200 mW"]),
        ({"depletion_power": [50, 300]}, ["`depletion_power`: [50, 300]", "10 … 200 mW"]),
        ({"depletion_power": [120, 50]}, ["[120, 50]", "[low, high]"]),
        ({"depletion_power": [50, 60, 70]}, ["[50, 60, 70]", "[low, high]"]),
        ({"depletion_power": []}, ["`depletion_power`: []", "[low, high]"]),
        ({"depletion_power": "full"}, ["`depletion_power`: 'full'", "free"]),
        ({"depletion_power": True}, ["`depletion_power`: True"]),
        ({"depletion_power": None}, ["`depletion_power`: None"]),
        ({"depletion_power": float("nan")}, ["`depletion_power`: nan"]),
        ({"depletion_power": 10**400}, ["`depletion_power`: 1000", "…"]),
        ({"depletion_power": 16**5000}, ["`depletion_power`: a number of thousands"]),  # 0xfff…
        ({"lines": 2.5}, ["`lines`: 2.5", "a whole number within 1 … 4"]),
        ({"lines": float("inf")}, ["`lines`: inf"]),
        ({"filter": "blue"}, ["`filter`: 'blue'", "'red', 'far red'"]),
        ({"filter": ["red", "red"]}, ["`filter`: ['red', 'red']"]),
        ({"filter": [["red"]]}, ["`filter`: [['red']]"]),
        (
            {"depletion_powr": 3},
            ["`depletion_powr`: unknown key", "mean `depletion_power`?", "try"],
        ),
        ({"try": {"lines": 9}}, ["`try.lines`: 9", "1 … 4"]),
        ({"try": {"lnes": 2}}, ["`try.lnes`", "mean `try.lines`?"]),
        ({"try": {1: 2}}, ["`try.1`: unknown key", "try.filter"]),
        ({"try": {}}, ["`try`: {}", "filter"]),
        ({"try": 3}, ["`try`: 3"]),
        ({"prefer": {"qualty": 1}}, ["`prefer.qualty`", "mean `prefer.quality`?"]),
        ({"prefer": {"quality": -1}}, ["`prefer.quality`: -1", "not below 0"]),
        ({"prefer": {"quality": "much"}}, ["`prefer.quality`: 'much'"]),
        ({"prefer": {"quality": 0}}, ["`prefer`: {'quality': 0}", "above 0"]),
        ({"prefer": 1}, ["`prefer`: 1", "quality"]),
        ({"pick": 2}, ["`pick`: 2", "1, 3"]),
        ({"pick": 4}, ["`pick`: 4", "1, 3"]),
        ({"pick": True}, ["`pick`: True"]),
        ({"trials": 11}, ["`trials`: 11", "1 … 10"]),
        ({"trials": 0}, ["`trials`: 0", "1 … 10"]),
        ({"trials": True}, ["`trials`: True"]),
        ({"trials": 6.5}, ["`trials`: 6.5"]),
        ({"finish": False}, ["`finish`: False", "true"]),
        ({"trials": 3, "try": {"lines": 2}}, ["`try`", "all 3 trials are done"]),
        ({}, ["nothing is told", "depletion_power"]),
    ],
    ids=lambda part: part[0] if isinstance(part, list) else "",
)
def test_what_cannot_be_told(every_kind: RunConfig, told: dict[str, Any], named: list[str]) -> None:
    with pytest.raises(ConfigError) as refused:
        check(every_kind, told, Standing(4, [True, False, True]))
    message = str(refused.value)
    assert all(name in message for name in named), message
    assert len(message.splitlines()) == 1 and len(message) < 250


@pytest.mark.parametrize("told", [{"finish": True}, {"trials": 2}])
def test_a_search_without_any_result_cannot_be_ended(every_kind: RunConfig, told: Any) -> None:
    """There would be nothing to recommend, and the run would end as failed."""
    with pytest.raises(ConfigError, match="none of 2 trials gave a result"):
        check(every_kind, told, Standing(4, [False, False]))
    check(every_kind, told, Standing(4, [False, True]))


# ---------------------------------------------------------------------- the control file


def heard(control: Control) -> list[tuple[str, Any]]:
    found = control.hear()
    assert found is None or not found.refused
    return [(one.key, one.value) for one in found.instructions] if found else []


def test_a_line_is_read_once_and_only_when_it_is_whole(
    every_kind: RunConfig, tmp_path: Path
) -> None:
    file = tmp_path / FILE
    control = Control(tmp_path, every_kind, Recording())
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
    assert found is not None and found.refused[0].startswith(f"{FILE}, line 5: `trials`: 99")


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
    control = Control(tmp_path, every_kind, Recording())
    append(tmp_path, {"trials": 3})
    assert heard(control) == [("trials", 3)]
    (tmp_path / FILE).write_text('{"finish": true}\n{"trials": 9}\n', encoding="utf-8")
    found = control.hear()
    assert found is not None and found.instructions == ()
    assert "written anew" in found.refused[0]
    append(tmp_path, {"trials": 5})
    assert heard(control) == [("trials", 5)]


def test_a_file_that_cannot_be_read_is_told_of_once(every_kind: RunConfig, tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    control = Control(tmp_path, every_kind, Recording())
    found = control.hear()
    assert found is not None and "cannot be read" in found.refused[0]
    assert control.hear() is None
    with pytest.raises(ConfigError, match="cannot be written"):
        append(tmp_path, {"trials": 3})
    (tmp_path / FILE).rmdir()
    append(tmp_path, {"trials": 3})
    assert heard(control) == [("trials", 3)]


# ---------------------------------------------------------------------- runs

Scorer = Callable[[list[Any]], list[Score]]


def scorer(at: Mapping[int, Callable[[], Any]] = {}) -> Scorer:
    """Scores that need no network; does something while it scores the n-th frame, from 1."""
    count = 0

    def score(frames: list[Any]) -> list[Score]:
        nonlocal count
        scores = []
        for pixels in frames:
            count += 1
            if count in at:
                at[count]()
            scores.append(Score(float(pixels.mean() / 4096), 0.01))
        return scores

    return score


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run that is about to start, with its config beside it."""
    faulty.write(tmp_path / "config.yaml", config_data_of_a_run())
    return new_folder(load(tmp_path / "config.yaml"), tmp_path, tmp_path / "run")


def config_data_of_a_run() -> dict[str, Any]:
    data = config_data()
    data["optimize"] = PARTS["optimize"] | {
        "search": {"excitation_power": [1, 20], "depletion_power": [10, 200]}
    }
    return data


def work(
    run: Path,
    at: Mapping[int, Callable[[], Any]] = {},
    *,
    interrupted_at: int | None = None,
    make_plan: Callable[[RunConfig], Plan] | None = None,
) -> tuple[Result, Session]:
    """One session of a run, new or resumed; Ctrl-C comes while a frame is scored."""
    fresh = not (run / "config.yaml").exists()
    source = run.parent / "config.yaml" if fresh else run / "config.yaml"
    config = load(source) if fresh else read_config(run)
    stopping = threading.Event()

    def interrupt() -> None:
        signal.raise_signal(signal.SIGINT)
        assert stopping.wait(30)

    def watch(progress: Progress) -> None:
        if progress.doing.startswith("finishing"):
            stopping.set()

    if interrupted_at is not None:
        at = {**at, interrupted_at: interrupt}
    session = Session(config, source, run, make_plan=make_plan, scorer=scorer(at))
    return session.run(watch), session


def recorded(run: Path) -> Recording:
    with closing(Ledger(run, readonly=True)) as ledger:
        return Recording.read(ledger)


def tells(run: Path, **told: Any) -> Callable[[], None]:
    return lambda: append(run, told)


def trials(run: Path) -> list[dict[str, Any]]:
    return [note["settings"] for note in recorded(run).notes_on("trial")]


def assert_replays(capsys: pytest.CaptureFixture[str], run: Path, told: int) -> None:
    code, out, err = cli(capsys, "replay", run, "--json")
    assert code == 0, err
    found = json.loads(out)
    ledger = recorded(run)
    assert found == {
        "frames": len(ledger.taken),
        "notes": len(ledger.notes),
        "told": told,
        "difference": None,
    }


def test_a_running_optimization_is_told_and_follows(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def by_command() -> None:
        """As a second process would, while the run is at work."""
        code, _, said = cli(capsys, "tell", run, "depletion_power=120", "trials=6")
        messages.append((code, said))

    messages: list[tuple[int, str]] = []
    suggestion = {"excitation_power": 3, "depletion_power": 60}
    result, session = work(run, {2: by_command, 3: tells(run, **{"try": suggestion})})
    assert result.status == "completed", result.reason
    assert messages == [
        (
            0,
            "depletion_power, trials: will be heeded before the next trial "
            "(1 of 4 trials are done)\n",
        )
    ]
    tried = trials(run)
    assert len(tried) == 6
    assert [settings["depletion_power"] for settings in tried[2:]] == [120, 60, 120, 120]
    assert tried[3] == suggestion
    assert all(settings["depletion_power"] != 120 for settings in tried[:2])
    assert session.progress.planned == session.progress.frames == 24
    summary = summarize(run)
    assert summary["frames"]["planned"] == summary["frames"]["acquired"] == 24
    assert [(note["key"], note["trial"]) for note in summary["told"]] == [
        ("depletion_power", 3),
        ("trials", 3),
        ("try", 4),
    ]
    assert summary["best"]["settings"]["depletion_power"] == 120, "recommended out of its range"
    assert summary["faults"] == []
    assert_replays(capsys, run, 3)
    shown = cli(capsys, "show", run)[1]
    assert "told       depletion_power = 120" in shown


def test_a_search_can_be_finished_early(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    result, session = work(run, {2: tells(run, finish=True)})
    assert result.status == "completed", result.reason
    assert len(trials(run)) == 2 and len(recorded(run).notes_on("retest")) == 2
    assert session.progress.planned == session.progress.frames == 12
    assert summarize(run)["frames"]["planned"] == 12
    assert_replays(capsys, run, 1)


def test_what_was_told_lasts_over_an_interruption(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stopped, _ = work(run, {1: tells(run, excitation_power=[2, 4], trials=3)}, interrupted_at=2)
    assert stopped.status == "interrupted"
    before = recorded(run)
    assert len(before.told) == 1 and len(before.notes_on("told")) == 2
    # An interrupted run can be told something as well.
    code, _, said = cli(capsys, "tell", run, "depletion_power=150")
    assert code == 0 and "when the run is resumed" in said and "of 3 trials" in said
    result, session = work(run)
    assert result.status == "completed", result.reason
    after = recorded(run)
    assert after.told[0] == before.told[0] and len(after.told) == 2
    assert [note["key"] for note in after.notes_on("told")] == [
        "excitation_power",
        "trials",
        "depletion_power",
    ]
    tried = trials(run)
    assert len(tried) == 3 and tried[2]["depletion_power"] == 150
    assert all(2 <= settings["excitation_power"] <= 4 for settings in tried[1:])
    assert session.progress.planned == 15 == summarize(run)["frames"]["planned"]
    assert_replays(capsys, run, 3)


def cut_when_told(config: RunConfig) -> Plan:
    """The config's plan, which breaks off once what it was told is in the ledger."""
    plan, answer = build_plan(config), None
    while True:
        answer = yield plan.send(answer)  # type: ignore[misc]  # answers go through as they are
        if answer and isinstance(answer, tuple):
            raise RuntimeError("power cut")


def test_what_was_told_is_heeded_once_after_a_cut(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The ledger has the instruction, and nothing yet of what followed from it."""
    told = tells(run, **{"try": {"excitation_power": 7, "depletion_power": 70}})
    cut, _ = work(run, {2: told}, make_plan=cut_when_told)
    assert "power cut" in cut.reason
    before = recorded(run)
    assert len(before.told) == 1 and before.notes_on("told") == []
    assert_replays(capsys, run, 1)
    result, _ = work(run)
    assert result.status == "completed", result.reason
    assert recorded(run).told == before.told
    assert [settings["excitation_power"] == 7 for settings in trials(run)] == [
        False,
        False,
        True,
        False,
    ]
    assert_replays(capsys, run, 1)


BY_HAND = [
    '{"trials": 5}',
    "{trials: 5}",
    '{"depletion_power": 900}',
    '{"depletion_power": 100, "pick": 77}',
    "[1, 2]",
    '{"trials": 2, "trials": 3}',
    "\x00\x01",
    '{"depletion_power": 110}',
]


def test_damaged_and_refused_lines_end_nothing(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def write() -> None:
        (run / FILE).write_text("\n".join(BY_HAND) + "\n", encoding="utf-8")

    stopped, _ = work(run, {1: write}, interrupted_at=2)
    assert stopped.status == "interrupted"
    faults = recorded(run).faults
    assert [fault["what"].split(":")[0] for fault in faults] == [
        f"{FILE}, line {line}" for line in range(2, 8)
    ]
    assert {fault["policy"] for fault in faults} == {"ignored"}
    assert "accepted: a JSON object" in faults[0]["what"]
    assert "`depletion_power`: 900" in faults[1]["what"] and "10 … 200" in faults[1]["what"]
    assert "`pick`: 77" in faults[2]["what"]
    assert "`trials`: stands here twice" in faults[4]["what"]
    result, _ = work(run)
    assert result.status == "completed", result.reason
    assert len(recorded(run).faults) == len(faults), "told of twice"
    tried = trials(run)
    assert len(tried) == 5 and {settings["depletion_power"] for settings in tried[1:]} == {110.0}
    assert_replays(capsys, run, 2)
    assert cli(capsys, "report", run)[0] == 0


def test_what_comes_too_late_is_said_to_be_ignored(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def tell() -> None:
        answers.append(cli(capsys, "tell", run, "trials=6"))

    answers: list[tuple[int, str, str]] = []
    # The fifth scored frame is the first of the retests.
    result, _ = work(run, {5: tell, 6: tells(run, trials=6)})
    assert result.status == "completed", result.reason
    ((code, _, err),) = answers
    assert code == 2 and "only the retests are left" in err
    (fault,) = recorded(run).faults
    assert fault["what"] == f"{FILE}, line 1: `trials`: too late, the search is over"
    assert_replays(capsys, run, 0)
    code, _, err = cli(capsys, "tell", run, "trials=6")
    assert code == 2 and "is complete" in err


def test_telling_checks_before_it_writes(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert work(run, interrupted_at=3)[0].status == "interrupted"
    for words, named in (
        (["depletion_power=500"], "`depletion_power`: 500 is not accepted; accepted: a number"),
        (["trials=6", "depletion_powr=50"], "did you mean `depletion_power`?"),
        (["trials=1"], "accepted: at least the"),
        (["trials"], "not key=value"),
        (["trials=6", "trials=7"], "`trials`: stands here twice"),
        (["try={a: ]"], "not a YAML value"),
        (["depletion_power=2020-01-01"], "datetime.date"),
        (["pick=4"], "a trial that gave a result: 1, 2"),
    ):
        code, out, err = cli(capsys, "tell", run, *words)
        assert (code, out) == (2, "") and named in err, err
        assert len(err.splitlines()) <= 2 and "Traceback" not in err
    assert not (run / FILE).exists()
    code, _, err = cli(capsys, "tell", run.parent, "trials=6")
    assert code == 2 and "not a run folder" in err


def test_only_an_optimization_can_be_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = faulty.write(tmp_path / "config.yaml", faulty.config(live={"frames": 2}))
    config = load(file)
    run = new_folder(config, tmp_path, tmp_path / "run")
    Session(config, file, run).run()
    code, _, err = cli(capsys, "tell", run, "trials=6")
    assert code == 2 and "plan: live" in err


# ---------------------------------------------------------------------- replaying it


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that was told something and completed."""
    folder = tmp_path_factory.mktemp("told")
    faulty.write(folder / "config.yaml", config_data_of_a_run())
    made = new_folder(load(folder / "config.yaml"), folder, folder / "run")
    result, _ = work(made, {1: tells(made, depletion_power=120.5), 2: tells(made, trials=3)})
    assert result.status == "completed", result.reason
    return made


@pytest.fixture
def ledger(told: Path) -> Iterator[sqlite3.Connection]:
    """The ledger of the told run, to be changed; it is put back afterwards."""
    file = told / "ledger.sqlite"
    before = file.read_bytes()
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        yield connection
    file.write_bytes(before)


def difference(
    told: Path, ledger: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
) -> tuple[dict[str, Any], str]:
    """What replaying a changed ledger says, to scripts and to people."""
    ledger.commit()
    code, out, err = cli(capsys, "replay", told, "--json")
    assert code == 1 and "Traceback" not in err
    found: dict[str, Any] = json.loads(out)["difference"]
    return found, err


def test_replay_names_trial_and_both_values(
    told: Path, ledger: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    """A float that differs in its last bit is another one."""
    seq, text = ledger.execute(
        "SELECT seq, data FROM entries WHERE kind = 'note' AND data LIKE '%\"trial\"%' "
        "AND data LIKE '%objectives%' ORDER BY seq LIMIT 1 OFFSET 1"
    ).fetchone()
    data = json.loads(text)
    score = data["data"]["objectives"]["score"]
    changed = data["data"]["objectives"]["score"] = float(np.nextafter(score, 1))
    ledger.execute("UPDATE entries SET data = ? WHERE seq = ?", (json.dumps(data), seq))
    found, err = difference(told, ledger, capsys)
    assert (found["trial"], found["key"]) == (2, "objectives.score")
    assert (found["now"], found["was"]) == (score, changed) and score != changed
    assert found["frame"] is None and found["note"] == 3
    assert "trial 2" in err and repr(score) in err and repr(changed) in err


def test_replay_tells_the_plan_what_the_ledger_says(
    told: Path, ledger: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    assert_replays(capsys, told, 2)
    ledger.execute("UPDATE entries SET data = replace(data, '120.5', '120.25') WHERE kind = 'told'")
    found, err = difference(told, ledger, capsys)
    assert (found["note"], found["trial"], found["key"]) == (2, 2, "value")
    assert (found["now"], found["was"]) == (120.25, 120.5)
    assert "note 2 (told of trial 2)" in err and "120.25" in err and "120.5" in err


def test_replay_sees_that_something_told_is_missing(
    told: Path, ledger: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.execute("DELETE FROM entries WHERE kind = 'told' AND data LIKE '%120.5%'")
    found, _ = difference(told, ledger, capsys)
    # The plan goes on to the frames of its second trial, at other settings.
    assert (found["trial"], found["frame"]) == (2, 4)
    assert found["key"].startswith("asked.")


def test_replay_sees_what_the_plan_never_listened_to(
    told: Path, ledger: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.execute(
        "INSERT INTO entries (at, kind, data) SELECT at, kind, "
        "json_set(data, '$.listen', 99) FROM entries WHERE kind = 'told' LIMIT 1"
    )
    found, err = difference(told, ledger, capsys)
    assert found["listen"] == 100 and "depletion_power" in err


def test_replay_names_a_frame_with_its_trial(
    told: Path, ledger: sqlite3.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    ledger.execute(
        'UPDATE entries SET data = replace(data, \'"mode": "sted"\', \'"mode": "confocal"\') '
        "WHERE kind = 'shot' AND frame = 7"
    )
    found, err = difference(told, ledger, capsys)
    assert (found["frame"], found["trial"], found["key"]) == (7, 3, "mode")
    assert (found["now"], found["was"]) == ("sted", "confocal")
    assert "frame 7 of trial 3" in err
