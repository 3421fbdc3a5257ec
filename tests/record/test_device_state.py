"""What the core knows of all devices, with a run, and with frames before which it changed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from agent.config import RunConfig
from agent.offline.files.export import export
from agent.record.device_state import states
from agent.record.reader import open_run
from agent.run import Session
from devices import system_state
from devices.config import MicroscopeConfig
from devices.microscope import Microscope
from devices.shot import Shot
from tests.helpers.runs import checked, recorded
from tests.helpers.stories import completed
from tests.run.test_frame_sizes import CAMERA

ONE: dict[str, Any] = {**CAMERA, "roi": {}, "modes": {"sted": {"binning": "1"}}}


def test_a_run_has_the_state_of_all_devices_and_each_frame_what_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # However long looking takes on a busy machine.
    monkeypatch.setattr(system_state, "_A_FRAME_S", 60.0)
    config, file, run = checked(tmp_path, live={"frames": 4}, microscope=ONE)
    with Microscope.open(config.microscope) as microscope:
        core = microscope.core
        first, second = core.getStateLabel("Dichroic"), core.getStateLabels("Dichroic")[2]

        def plan(config: RunConfig) -> Iterator[Any]:
            for number in range(4):
                if number == 2:  # as a person at the microscope
                    core.setState("Dichroic", 2)
                yield Shot.sted(None, {})

        session = Session(config, file, run, microscope=microscope, make_plan=plan)
        assert session.run().status == "completed"
    taken = recorded(run).taken
    changed = [taken[number].frame.get("changed") for number in range(4)]
    assert [bool(one) for one in changed] == [False, False, True, False]
    stored = open_run(run)
    begun = stored.state()
    assert begun["Camera"]["Binning"] == "1" and begun["Dichroic"]["Label"] == first
    assert stored.state(1) == begun and stored.state(3) == stored.state(2)
    assert stored.state(2)["Dichroic"]["Label"] == second
    (row,) = recorded(run).sessions
    assert row["state"]["groups"]["Channel"] and row["state"]["pixel_size"]

    export(run, tmp_path / "run.ome.tif")
    with tifffile.TiffFile(tmp_path / "run.ome.tif") as tiff:
        (noted,) = [
            one["Value"]["M"]
            for one in _maps(tifffile.xml2dict(tiff.ome_metadata or ""))
            if one["Namespace"] == "stedfast/state"
        ]
    said = {one["K"]: str(one["value"]) for one in noted if "value" in one}
    assert said["Dichroic.Label"] == f"{first}; {second} (from T 2)"


def _maps(ome: Any) -> list[Any]:
    found = ome["OME"]["StructuredAnnotations"]["MapAnnotation"]
    return list(found) if isinstance(found, list | tuple) else [found]


def test_a_run_of_before_has_none(tmp_path: Path) -> None:
    recording = recorded(completed(tmp_path / "run"))
    for session in recording.sessions:
        session.pop("state", None)
    assert recording.taken and all(state == {} for _, state in states(recording))


def test_looking_for_changes_takes_no_more_than_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(np.arange(0.0, 10.0, 1e-3))

    class Clock:
        @staticmethod
        def perf_counter() -> float:
            return float(next(clock))

    monkeypatch.setattr(system_state, "time", Clock)
    with Microscope.open(MicroscopeConfig.model_validate(ONE)) as microscope:
        state, core = microscope.state, microscope.core
        assert state.changed() == {}, "nothing is known yet"
        state.whole()
        assert state.changed() == {}
        core.setState("Dichroic", 1)
        # Looking took 1 ms, which is the share of 12.5 frames.
        told = [bool(state.changed()) for _ in range(30)]
        assert told.index(True) == 12 and told.count(True) == 1
        core.setProperty("Camera", "Binning", "2")
        told = [bool(state.changed()) for _ in range(30)]
        assert not any(told), "a setting's changes are recorded as settings"
