"""`optimize.mode` and `optimize.reference`: with two dyes, which of them a search tunes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from agent.config import RunConfig, load
from agent.config.reading import UserError
from agent.optimizer.memory import obstacle, past_sessions
from agent.optimizer.space import Space
from agent.record.folder import new_folder
from agent.run import Session
from agent.run.replay import replay
from agent.ui.report import write_report
from agent.ui.view import payloads
from agent.ui.view.reader import Reader
from tests import faulty
from tests.faulty import cli
from tests.helpers.runs import mean_score, recorded
from tests.helpers.searches import config_data_of_a_run

MODES = {
    "sted_red": {"excitation_power": 8},
    "confocal_red": {"excitation_power": 8, "depletion_power": 0},
    "sted_far_red": {"excitation_power": 3},
    "confocal_far_red": {"excitation_power": 3, "depletion_power": 0},
}
ASKED = {"mode": "sted_red", "reference": "confocal_red"}


def two_dyes(**optimize: Any) -> dict[str, Any]:
    data = config_data_of_a_run()
    data["microscope"]["modes"] = MODES
    search = {"search": {"depletion_power": [10, 200]}}
    data["optimize"] |= {"engine": "sobol", "trials": 5} | search | ASKED | optimize
    return data


@pytest.mark.slow
def test_one_dye_of_two_is_tuned_and_said_everywhere(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = RunConfig.model_validate(two_dyes())
    file = faulty.write(tmp_path / "config.yaml", two_dyes())
    run = new_folder(config, tmp_path, tmp_path / "run")
    result = Session(config, file, run, scorer=mean_score).run()
    assert result.status == "completed", result.reason

    shots = [taken.shot for taken in recorded(run).taken.values()]
    assert [shot["mode"] for shot in shots] == ["confocal_red", "sted_red", "confocal_red"] * 7
    scored = [index for index, taken in recorded(run).taken.items() if taken.score is not None]
    assert scored == list(range(1, 21, 3))
    assert replay(run).difference is None

    out = cli(capsys, "show", run)[1]
    assert "frames of the mode sted_red" in out
    write_report(run, tmp_path / "report.html")
    drawn = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "sted_red, settings found" in drawn and "confocal_red, same field as best" in drawn
    assert "bleached by one sted_red frame" in drawn and "STED frame" not in drawn
    reader = Reader(run)
    reader.refresh()
    state = payloads.state(reader)
    assert state["mode"] == "sted_red" and state["only_one"]
    assert state["decides"]["mode"] == "sted_red" and payloads.trials(reader)["mode"] == "sted_red"

    space = Space({name: config.microscope.settings[name] for name in config.tuned()}, {})
    assert past_sessions([run], space, "sted_red") is not None
    with pytest.raises(UserError, match=r"mode sted_red; accepted: .* sted_far_red"):
        past_sessions([run], space, "sted_far_red")


def test_what_is_not_named_is_of_the_tuned_mode() -> None:
    data = two_dyes() | {"filter": {"model": "real"}}
    config = RunConfig.model_validate(data)
    assert config.scored_modes() == ("sted_red", "sted_far_red", "confocal_far_red")
    assert config.filtered_modes() == ("sted_red",)
    assert config.tuned() == ["depletion_power"], "the mode pins the other"


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mode": "sted_rd"}, ["`optimize.mode`", "'sted_rd'", "did you mean 'sted_red'"]),
        ({"reference": "confocal"}, ["`optimize.reference`", "'confocal'", "confocal_red"]),
        ({"reference": "sted_red"}, ["`optimize.reference`", "is the mode that is tuned"]),
        ({"mode": 7}, ["`optimize.mode`", "7"]),
        ({"search": {"excitation_power": [1, 2]}}, ["pinned by `microscope.modes.sted_red`"]),
    ],
)
def test_wrong_modes(tmp_path: Path, changes: dict[str, Any], said: list[str]) -> None:
    file = faulty.write(tmp_path / "config.yaml", two_dyes(**changes))
    with pytest.raises(UserError) as refused:
        load(file)
    assert all(words in str(refused.value) for words in said), refused.value


def test_modes_of_other_names_say_where_to_write_them(tmp_path: Path) -> None:
    data = two_dyes()
    for key in ASKED:
        del data["optimize"][key]
    with pytest.raises(UserError, match=r"no mode 'sted'.*`optimize\.mode` and"):
        load(faulty.write(tmp_path / "config.yaml", data))
    data = two_dyes()
    data["analysis"] = {"score": True, "modes": ["sted_far_red"]}
    with pytest.raises(UserError, match=r"`analysis\.modes`.*accepted: sted_red among them"):
        load(faulty.write(tmp_path / "config.yaml", data))


def test_a_time_lapse_searches_for_the_mode_it_images(tmp_path: Path) -> None:
    data = two_dyes() | {"plan": "timelapse"}
    data["timelapse"] = {
        "frames": 8,
        "interval_s": 0,
        "mode": "sted_red",
        "reoptimize": {"every": 3, "trials": 3},
    }
    config = RunConfig.model_validate(data)
    file = faulty.write(tmp_path / "config.yaml", data)
    run = new_folder(config, tmp_path, tmp_path / "run")
    assert Session(config, file, run, scorer=mean_score).run().status == "completed"
    searched = [t.shot["mode"] for t in recorded(run).taken.values() if t.shot.get("search")]
    assert searched[:3] == ["confocal_red", "sted_red", "confocal_red"]
    data["timelapse"]["mode"] = "sted_far_red"
    with pytest.raises(UserError, match=r"`timelapse\.mode`.*tunes 'sted_red'"):
        load(faulty.write(file, data))


def test_simulated_sessions_say_nothing_of_a_dye_whose_laser_is_off() -> None:
    data = two_dyes()
    data["microscope"]["modes"]["sted_far_red"] = {"excitation_power": 0}
    scope = RunConfig.model_validate(data).microscope
    said = obstacle(scope, ["depletion_power"], "sted_far_red")
    assert said is not None and "the laser excitation is off" in said
    assert "off" not in (obstacle(scope, ["depletion_power"], "sted_red") or "")
