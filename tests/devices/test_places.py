"""The way through places: order, limits, arrival, and what a run keeps of them."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import tifffile
from useq import MDAEvent

from agent.config.plans import TimelapseConfig
from agent.offline.files.export import export
from agent.record.folder import read_config
from agent.record.reader import open_run
from agent.run import Session
from agent.run.replay import replay
from agent.ui.report import write_report
from devices.adapters import adapters_for
from devices.config import FieldsConfig, MicroscopeConfig
from devices.errors import BindingError, DeviceFault, LimitError
from devices.fields import grid
from devices.microscope import Microscope
from devices.route import length, shortest
from devices.shot import Field, Shot
from tests import faulty
from tests.faulty import cli
from tests.helpers.positions import (
    CELLS,
    LAPSE,
    config,
    micro_manager_1,
    micro_manager_2,
    scope,
    written,
)
from tests.helpers.runs import Work, cut_after, recorded, run_session


@pytest.mark.slow
def test_places_are_gone_to_with_all_their_stages_and_again_without_the_file(
    tmp_path: Path,
) -> None:
    """Resumed and replayed, a run has its places, whatever became of their file."""
    listed = written(tmp_path, micro_manager_2(CELLS))
    fields = {"positions": str(listed)}
    run_session(tmp_path, session={"make_plan": cut_after(2)}, microscope=scope(fields), **LAPSE)
    run = tmp_path / "run"
    listed.unlink()
    kept = read_config(run)
    assert kept.microscope.fields.source == str(listed)
    session = Session(kept, run / "config.yaml", run)
    assert session.run().status == "completed"
    # Round the three of them by the shortest way, which begins with the nearest.
    taken = [one.shot["field"] for one in recorded(run).taken.values()]
    assert [one["name"] for one in taken] == ["Pos0", "Pos2", "Zelle µ"] * 2
    assert taken[2] == {
        "index": 2, "x_um": 40, "y_um": 25.5, "z_um": 4.5, "name": "Zelle µ",
        "stages": {"Offset": 130},
    }  # fmt: skip
    assert faulty.made["Stage"][-1].went[:2] == [(40, 25.5), (10, -20)]
    found = replay(run)
    assert (found.frames, found.difference) == (6, None)


@pytest.mark.slow
def test_a_list_is_gone_through_as_it_is_where_you_say_so(tmp_path: Path) -> None:
    written(tmp_path, micro_manager_1(CELLS))
    fields = {"positions": str(tmp_path / "cells.pos"), "route": "listed"}
    result, run = run_session(tmp_path, session={}, microscope=scope(fields), **LAPSE)
    assert result.status == "completed", result.reason
    taken = [one.shot["field"]["name"] for one in recorded(run).taken.values()]
    assert taken == [*CELLS] * 2
    # Whoever looks at the run finds them by these names.
    assert list(open_run(run).frames()["place"]) == taken
    write_report(run, tmp_path / "report.html")
    assert "Field 1 (Zelle µ)" in (tmp_path / "report.html").read_text("utf-8")
    export(run, tmp_path / "run.ome.tif")
    with tifffile.TiffFile(tmp_path / "run.ome.tif") as tiff:
        assert "run, field 1 (Zelle µ)" in (tiff.ome_metadata or "")


def test_the_first_places_are_watched_and_the_others_left_for_searches() -> None:
    at = [(0, 0), (9, 9), (9, 0), (4, 4), (1, 1), (8, 8)]
    listed = FieldsConfig.model_validate({"places": [{"x_um": x, "y_um": y} for x, y in at]})
    first = [(one.x_um, one.y_um) for one in grid(listed.placed((8, 9), revisited=3))]
    assert sorted(first[:3]) == sorted(at[:3])
    assert first[0] == (9, 9)
    # Placed once, a list stays as it is.
    again = listed.placed((8, 9), revisited=3).placed((-5, -5))
    assert [(one.x_um, one.y_um) for one in grid(again)] == first


def test_a_short_way_is_found() -> None:
    """Never a fifth longer than the best one, and within 2% on average."""
    shares = []
    for seed in range(6):
        places = [
            ((37 * (seed + 3) * n**2) % 101.0, (53 * (seed + 7) * n) % 97.0) for n in range(5)
        ]
        for back in (False, True):

            def along(order: Any, places: Any = places, back: bool = back) -> float:
                way = [places[number] for number in order]
                return length([*way, way[0]] if back else [(0.0, 0.0), *way])

            best = min(map(along, itertools.permutations(range(5))))
            shares.append(along(shortest(places, (0.0, 0.0), back=back)) / best)
    assert max(shares) < 1.2 and sum(shares) / len(shares) < 1.02


def test_check_says_how_far_it_goes_and_through_which_places(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written(tmp_path, micro_manager_1(CELLS))
    code, out, err = cli(capsys, "check", config(tmp_path, {"positions": "cells.pos"}))
    assert code == 0, err
    said = " ".join(out.split())
    assert "79.28 µm through 3 places (Pos0, Pos2, Zelle µ), 111.4 µm each time round" in said
    assert "focus 3.5 … 4.5 µm" in said
    _, out, _ = cli(capsys, "check", tmp_path / "config.yaml", "--set", "timelapse.fields=1")
    assert "22.36 µm through 1 place (Pos0); up to" in " ".join(out.split())


def place(**at: Any) -> dict[str, Any]:
    return {"places": [{"x_um": 1, "y_um": 2, **at}]}


@pytest.mark.parametrize(
    ("fields", "keys", "said"),
    [
        (place(z_um=9.0), {}, "the focus is at 5 µm, not at 9 where it was sent"),
        (place(stages={"Offset": 9.0}), {}, "stage 'Offset' is at 5 µm, not at 9"),
        (place(z_um=5.2), {"z_tolerance_um": 0.1}, "`z_tolerance_um` is 0.1"),
        (place(z_um=5.2), {}, None),
        (place(z_um=9.0), {"z_tolerance_um": 5}, None),
    ],
)
def test_a_focus_that_does_not_arrive_is_a_fault(
    fields: dict[str, Any], keys: dict[str, Any], said: str | None, tmp_path: Path
) -> None:
    short = scope(fields, **keys)
    for label in ("Focus", "Offset"):
        short["python_devices"][label] = faulty.device("Focus", wall_um=5.0)
    result, _ = run_session(tmp_path, session={}, microscope=short, **LAPSE)
    assert result.status == ("completed" if said is None else "failed"), result.reason
    assert said is None or said in result.reason


@pytest.mark.parametrize(
    ("at", "wall", "arrives"),
    [
        ([(0, 0), (5000, 0)], 4998, True),  # not so far off that places far apart excuse it
        ([(0, 0), (5000, 0)], 4997, False),
        ([(4, 0), (5, 0)], 4.8, True),
        ([(4, 0), (5, 0)], 4.7, False),
        ([(4, 0), (5, 0), (4, 0.001)], 4.8, True),  # two that are one to a stage
    ],
)
def test_how_far_off_a_stage_may_be_follows_from_the_nearest_places(
    at: list[tuple[float, float]], wall: float, arrives: bool, tmp_path: Path
) -> None:
    fields = {"places": [{"x_um": x, "y_um": y} for x, y in at]}
    short = scope(fields)
    short["python_devices"]["Stage"] = faulty.device("Stage", wall_um=wall)
    result, _ = run_session(tmp_path, session={}, microscope=short, **LAPSE)
    assert result.status == ("completed" if arrives else "failed"), result.reason


def test_without_a_stage_a_time_lapse_stays_where_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told so where it cannot: other fields, one that a person adds, a drift."""
    devices = {k: v for k, v in scope({})["python_devices"].items() if k != "Stage"}
    one = {"plan": "timelapse", "timelapse": {"frames": 2, "interval_s": 0.3}}
    work = Work(tmp_path, session={}, microscope=scope({}, python_devices=devices), **one).start()
    work.tell(place=[3.0, 0.0])
    assert work.ended().status == "completed", work.ended().reason
    found = recorded(work.run)
    assert len(found.taken) == 2 and "no XY stage" in str(found.faults)
    for lapse, code in ((one["timelapse"], 0), ({"frames": 2, "fields": 2}, 2)):
        fields = {"rows": 1, "columns": lapse.get("fields", 1)}
        asked = scope(fields, python_devices=devices)
        data = faulty.config(plan="timelapse", timelapse=lapse, microscope=asked)
        found_code, out, err = cli(capsys, "check", faulty.write(tmp_path / "c.yaml", data))
        assert found_code == code, out + err
        assert ("stays where it is" in out) if code == 0 else ("has no XY stage" in err)
    assert TimelapseConfig(acquire="skip", drift="follow").goes_only_to() == 0
    assert TimelapseConfig(acquire="skip", drift="measure").goes_only_to() == 1


def test_every_move_passes_the_limits(tmp_path: Path) -> None:
    asked = faulty.config(
        microscope=scope({}, stage_limits={"z_um": [0, 10], "stages": {"Offset": [0, 5]}})
    )["microscope"]
    where = Field(0, 0.0, 0.0, 5.0, stages=(("Offset", 6.0),))
    with Microscope.open(MicroscopeConfig.model_validate(asked), base=tmp_path) as microscope:
        with pytest.raises(LimitError, match="Offset = 6 µm is outside 0 … 5 µm"):
            microscope.core.mda.run(iter([microscope.event(Shot("sted", field=where), 0)]))
        with pytest.raises(LimitError, match="z = 11 µm"):
            beyond = Field(0, 0.0, 0.0, 11.0)
            microscope.core.mda.run(iter([microscope.event(Shot("sted", field=beyond), 0)]))
        assert [device._z_um for device in faulty.made["Focus"][-2:]] == [0, 0]
    assert faulty.made["Stage"][-1].went == []


GROUP = "ConfigGroup,Height,Up,Z,Position,50\nConfigGroup,Height,Down,Z,Position,1\n"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"properties": [["Z", "Position", 50]]}, "Z.Position = 50: z = 50 µm is outside 0 … 10"),
        ({"properties": [["Z", "Position", 5]]}, None),
        (
            {"settings": {
                "h": {"device": "Z", "property": "Position", "range": [0, 11], "start": 1}}},
            "Z.Position = 11.0: z = 11 µm",
        ),
        (
            {"settings": {"h": {"group": "Height", "choices": ["Up", "Down"], "start": "Down"}}},
            "Z.Position = 50: z = 50 µm is outside 0 … 10 µm (`stage_limits.z_um`)",
        ),
    ],
)  # fmt: skip
def test_no_property_or_preset_takes_the_focus_beyond_its_limits(
    keys: dict[str, Any], said: str | None, tmp_path: Path
) -> None:
    demo = adapters_for("demo")
    assert demo is not None
    cfg = tmp_path / "demo.cfg"
    cfg.write_text((demo / "MMConfig_demo.cfg").read_text("utf-8") + GROUP, encoding="utf-8")
    asked = {"cfg": str(cfg), "pixel_size_nm": 1000, "exposure": {"camera_ms": 1}}
    config = MicroscopeConfig.model_validate({**asked, "stage_limits": {"z_um": [0, 10]}, **keys})
    if said is None:
        with Microscope.open(config):
            return
    with pytest.raises(BindingError) as caught, Microscope.open(config):
        pass
    assert said in str(caught.value)


def test_an_axis_alone_moves_as_well(tmp_path: Path) -> None:
    """As other front ends may ask for it."""
    asked = MicroscopeConfig.model_validate(faulty.config(microscope=scope({}))["microscope"])
    with Microscope.open(asked, base=tmp_path) as microscope:
        events = [MDAEvent(x_pos=5), MDAEvent(y_pos=-3), MDAEvent(x_pos=5, y_pos=-3)]
        microscope.core.mda.run(iter(events))
        assert faulty.made["Stage"][-1].went == [(5, 0), (5, -3)]


def test_all_stages_are_stopped(tmp_path: Path) -> None:
    asked = MicroscopeConfig.model_validate(faulty.config(microscope=scope({}))["microscope"])
    with Microscope.open(asked, base=tmp_path) as microscope:
        microscope.core.mda.run(iter([microscope.event(Shot("sted"), 0)]))
        state = microscope.make_safe("test")
    moving = [one.name for one in state.readback if one.name.endswith("moving")]
    assert state.ok
    assert moving == ["XY stage moving", "focus moving", "stage 'Offset' moving"]


@pytest.mark.parametrize(("lowest", "went"), [(-1, [3.0, 0.0]), (1, [3.0])])
def test_the_focus_is_not_put_back_to_where_it_may_not_go(
    lowest: float, went: list[float], tmp_path: Path
) -> None:
    asked = faulty.config(microscope=scope({}, stage_limits={"z_um": [lowest, 10]}))["microscope"]
    with Microscope.open(MicroscopeConfig.model_validate(asked), base=tmp_path) as microscope:
        microscope.stacks = True
        where = Field(0, 0.0, 0.0, 3.0)
        microscope.core.mda.run(iter([microscope.event(Shot("sted", field=where), 0)]))
        microscope.refocus()
        assert faulty.made["Focus"][-2].sent == went


def test_a_focus_that_is_not_put_back_is_a_fault_of_a_device(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = MicroscopeConfig.model_validate(faulty.config(microscope=scope({}))["microscope"])
    with Microscope.open(asked, base=tmp_path) as microscope:
        microscope.stacks = True

        def busy(label: str) -> None:
            raise RuntimeError(f"Wait for device {label!r} timed out")

        monkeypatch.setattr(microscope.core, "waitForDevice", busy)
        with pytest.raises(DeviceFault, match="not put back"):
            microscope.refocus()


def test_a_list_on_the_cpp_core(tmp_path: Path) -> None:
    """The demo's stages, by the labels that the demo's .cfg gives them."""
    cells = {"A": {"XY": [30.0, 0.0], "Z": [2.0]}, "B": {"XY": [10.0, 5.0], "Z": [1.0]}}
    fields = {"positions": str(written(tmp_path, micro_manager_2(cells)))}
    demo = {"cfg": "demo", "pixel_size_nm": 20, "exposure": {"camera_ms": 1}, "fields": fields}
    with Microscope.open(MicroscopeConfig.model_validate(demo)) as microscope:
        assert [(one.name, one.z_um) for one in microscope.fields] == [("B", 1.0), ("A", 2.0)]
        events = [microscope.event(Shot("sted", field=one), 0) for one in microscope.fields]
        assert [event.pos_name for event in events] == ["B", "A"]
        microscope.core.mda.run(iter(events))
        assert microscope.core.getXYPosition() == pytest.approx((30, 0), abs=0.1)
        assert microscope.core.getPosition("Z") == pytest.approx(2, abs=0.05)
