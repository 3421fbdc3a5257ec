"""Where the fields are: lists of places, the files they are read from, and the way through them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tifffile
import yaml
from useq import MDAEvent

from agent.config import RunConfig, load
from agent.config.reading import UserError
from agent.offline.files.export import export
from agent.record.folder import read_config
from agent.record.reader import open_run
from agent.run import Session
from agent.run.replay import replay
from agent.ui.report import write_report
from devices.adapters import adapters_for
from devices.config import FieldsConfig, MicroscopeConfig
from devices.errors import BindingError, LimitError
from devices.fields import grid
from devices.microscope import Microscope
from devices.route import length, shortest
from devices.shot import Field, Shot
from tests import faulty
from tests.faulty import cli
from tests.helpers.positions import micro_manager_1, micro_manager_2
from tests.helpers.runs import cut_after, recorded, run_session

CELLS = {
    "Pos0": {"Focus": [3.5], "Stage": [10.0, -20.0], "Offset": [120.0]},
    "Zelle µ": {"Focus": [4.5], "Stage": [40.0, 25.5], "Offset": [130.0]},
    "Pos2": {"Focus": [4.0], "Stage": [15.0, -20.0], "Offset": [125.0]},
}
LAPSE: dict[str, Any] = {"plan": "timelapse", "timelapse": {"frames": 2, "interval_s": 0}}


def scope(fields: dict[str, Any], **keys: Any) -> dict[str, Any]:
    """A microscope with a camera, an XY stage, a focus and one more stage."""
    devices = {
        "Camera": faulty.device("FlakyCamera"),
        "Stage": faulty.device("Stage"),
        "Focus": faulty.device("Focus"),
        "Offset": faulty.device("Focus"),
        "Shutter": faulty.device("Shutter"),
    }
    whole = {"python_devices": devices, "settings": {}, "focus": "Focus", "fields": fields}
    return whole | keys


def config(folder: Path, fields: dict[str, Any], **keys: Any) -> Path:
    """A config's file; its microscope has these fields and keys."""
    whole = faulty.config(microscope=scope(fields, **keys), **LAPSE)
    return faulty.write(folder / "config.yaml", whole)


def written(folder: Path, data: Any, name: str = "cells.pos") -> Path:
    file = folder / name
    file.write_text(data if isinstance(data, str) else json.dumps(data), encoding="utf-8")
    return file


def places(loaded: RunConfig) -> list[tuple[Any, ...]]:
    return [
        (one.name, one.x_um, one.y_um, one.z_um, dict(one.stages))
        for one in loaded.microscope.fields.places or ()
    ]


# ---------------------------------------------------------------------- files


@pytest.mark.parametrize("form", [micro_manager_1, micro_manager_2])
def test_a_position_list_has_all_its_stages_and_labels(
    form: Callable[[Any], dict[str, Any]], tmp_path: Path
) -> None:
    written(tmp_path, form(CELLS))
    loaded = load(config(tmp_path, {"positions": "cells.pos"}))
    assert places(loaded) == [
        ("Pos0", 10, -20, None, {"Focus": 3.5, "Offset": 120}),
        ("Zelle µ", 40, 25.5, None, {"Focus": 4.5, "Offset": 130}),
        ("Pos2", 15, -20, None, {"Focus": 4, "Offset": 125}),
    ]
    assert loaded.microscope.fields.xy_stage == "Stage"
    assert loaded.timelapse.fields == 3, "who lists places means all of them"


def test_a_list_in_the_encoding_of_an_old_windows_is_read(tmp_path: Path) -> None:
    text = json.dumps(micro_manager_1({"Größe": {"Stage": [1, 2]}}), ensure_ascii=False)
    (tmp_path / "cells.pos").write_bytes(text.encode("latin-1"))
    assert places(load(config(tmp_path, {"positions": "cells.pos"})))[0][0] == "Größe"


def test_a_file_is_found_from_where_its_name_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside, here = tmp_path / "beside", tmp_path / "here"
    beside.mkdir()
    here.mkdir()
    written(beside, micro_manager_1({"beside": {"Stage": [1, 2]}}))
    written(here, micro_manager_1({"here": {"Stage": [1, 2]}}))
    monkeypatch.chdir(here)
    file = config(beside, {"positions": "cells.pos"})
    assert places(load(file))[0][0] == "beside"
    assert places(load(file, ["microscope.fields.positions=cells.pos"]))[0][0] == "here"


SEQUENCE: dict[str, Any] = {
    "metadata": {"pymmcore_widgets": {"version": "0.9.0"}},
    "axis_order": ["t", "p", "g", "c", "z"],
    "channels": [{"config": "DAPI", "exposure": 50}, {"config": "FITC"}],
    "time_plan": {"interval": 1, "loops": 3},
    "z_plan": {"range": 4, "step": 1},
    "stage_positions": [
        {"x": 1, "y": 2, "z": 3, "name": "alone"},
        {
            "x": 100,
            "y": 50,
            "z": 5,
            "name": "tiled",
            "sequence": {
                "grid_plan": {"rows": 1, "columns": 2, "fov_width": 8, "fov_height": 8},
                "z_plan": {"range": 2, "step": 1},
            },
        },
    ],
}
EXPANDED = [("alone", 1, 2, 3, {}), ("tiled_0000", 96, 50, 5, {}), ("tiled_0001", 104, 50, 5, {})]


@pytest.mark.parametrize("write", [json.dumps, yaml.safe_dump])
def test_a_useq_sequence_says_where_whatever_else_it_says(
    write: Callable[[Any], str], tmp_path: Path
) -> None:
    written(tmp_path, write(SEQUENCE), "mda.useq")
    assert places(load(config(tmp_path, {"positions": "mda.useq"}))) == EXPANDED


@pytest.mark.parametrize(
    ("data", "found"),
    [
        # What the table of positions of pymmcore-widgets saves.
        (SEQUENCE["stage_positions"], EXPANDED),
        (
            {"grid_plan": {"top": 8, "left": 0, "bottom": 0, "right": 4} | dict.fromkeys(
                ("fov_width", "fov_height"), 4)},
            [("grid_0000", 2, 6, None, {}), ("grid_0001", 2, 2, None, {})],
        ),
        (
            {"stage_positions": [{"x": 1, "y": 2}], "grid_plan": {
                "rows": 2, "columns": 1, "fov_width": 4, "fov_height": 4, "overlap": 50}},
            [("grid_0000", 1, 3, None, {}), ("grid_0001", 1, 1, None, {})],
        ),
        (
            {"stage_positions": {
                "plate": "96-well", "a1_center_xy": [0, 0], "selected_wells": [[0, 1], [0, 1]]}},
            [("A1", 0, 0, 0, {}), ("B2", 9000, -9000, 0, {})],
        ),
    ],
)  # fmt: skip
def test_lists_grids_and_plates_of_useq(data: Any, found: Any, tmp_path: Path) -> None:
    written(tmp_path, data, "mda.json")
    assert places(load(config(tmp_path, {"positions": "mda.json"}))) == found


# ---------------------------------------------------------------------- wrong files


def one(**device: Any) -> dict[str, Any]:
    """A list of Micro-Manager 1.4 with one place, of one device that is changed."""
    data = micro_manager_1({"Pos0": {"Stage": [1, 2]}})
    data["POSITIONS"][0]["DEVICES"][0] |= device
    return data


def without(data: dict[str, Any], *keys: Any) -> dict[str, Any]:
    """A list without the value at a path."""
    data = json.loads(json.dumps(data))
    *parents, last = keys
    place: Any = data
    for key in parents:
        place = place[key]
    del place[last]
    return data


def map_of(**property_: Any) -> dict[str, Any]:
    """A list of Micro-Manager 2 whose only position is changed."""
    data = micro_manager_2({"Pos0": {"Stage": [1, 2]}})
    first = data["map"]["StagePositions"]["array"][0]
    first["DevicePositions"]["array"][0]["Position_um"] |= property_
    return data


NEW = micro_manager_2(CELLS)
OLD = micro_manager_1(CELLS)
_FIRST = ("map", "StagePositions", "array", 0)
XY = {"Stage": [1.0, 2.0]}

WRONG: list[tuple[str, Any, list[str]]] = [
    ("empty", "", ["is empty", "accepted: a position list of Micro-Manager"]),
    ("a number", "7", ["says 7", "accepted: a position list"]),
    ("prose", "A1 12.5 3\nB2: [", ["neither JSON nor YAML", "line 2"]),
    ("half a file", json.dumps(NEW)[:300], ["is no JSON", "accepted: a position list"]),
    ("deep", "[" * 5000, ["JSON", "accepted: a position list"]),
    ("another config", {"plan": "live", "microscope": {}}, ["has plan, microscope", "accepted"]),
    ("no object", [], ["has no stage_positions"]),
    # Micro-Manager 1.4
    ("later version", OLD | {"VERSION": 4}, ["`VERSION`: found 4", "1, 2, 3"]),
    ("no version", without(OLD, "VERSION"), ["`VERSION`: found nothing"]),
    ("no list", OLD | {"POSITIONS": {"0": 1}}, ["`POSITIONS`", "accepted: a list"]),
    ("no positions", OLD | {"POSITIONS": []}, ["has no positions"]),
    ("no place", OLD | {"POSITIONS": ["Pos0"]}, ["place 1: found 'Pos0'", "DEVICES"]),
    ("no devices", without(OLD, "POSITIONS", 1, "DEVICES"), ["'Zelle µ'", "`DEVICES`"]),
    ("no stages", micro_manager_1({"Pos0": {}}), ["'Pos0'", "no XY stage"]),
    ("focus alone", micro_manager_1({"Pos0": {"Focus": [1]}}), ["no XY stage (Focus alone)"]),
    ("two XY stages", micro_manager_1({"Pos0": {**XY, "Galvo": [1, 2]}}), ["Stage and Galvo"]),
    ("three axes", one(AXES=3), ["'Pos0': Stage: `AXES`: found 3", "2 of an XY stage"]),
    ("no axes", one(AXES=None), ["'Pos0': Stage: `AXES`: found nothing"]),
    ("a text", one(X="1,5"), ["'Pos0': Stage: `X`: found '1,5'", "a number of µm"]),
    ("NaN", one(Y=float("nan")), ["'Pos0': Stage: `Y`: found nan", "a number of µm"]),
    ("infinite", one(X=float("inf")), ["`X`: found inf"]),
    ("too far", one(X=1e9), ["`X`: found 1000000000.0", "to 1e+06"]),
    ("no label", one(DEVICE=""), ["'Pos0': `DEVICE`: found ''", "the label of a stage"]),
    ("long name", micro_manager_1({"x" * 101: XY}), ["place 1: `LABEL`", "100 characters"]),
    # Micro-Manager 2
    ("another map", NEW | {"format": "Settings"}, ["`format`: found 'Settings'"]),
    ("map version", NEW | {"major_version": 3}, ["`major_version`: found 3; accepted: 2"]),
    ("no map", without(NEW, "map"), ["`map`: found nothing; accepted: StagePositions"]),
    ("another list", NEW | {"map": {"Channels": {}}}, ["has Channels", "StagePositions"]),
    ("no array", without(NEW, "map", "StagePositions", "array"), ["`StagePositions`", "a list"]),
    ("no positions of devices", without(NEW, *_FIRST, "DevicePositions"), ["'Pos0'", "Device"]),
    ("three numbers", map_of(array=[1, 2, 3]), ["'Pos0': Stage: `Position_um`: found [1, 2, 3]"]),
    ("a place of NaN", map_of(array=[1, float("nan")]), ["Stage: `Position_um`: found nan"]),
    ("texts", map_of(array=["1", "2"]), ["Stage: `Position_um`: found '1'"]),
    # places that do not fit each other
    (
        "twice one name",
        {**OLD, "POSITIONS": OLD["POSITIONS"][:1] + one()["POSITIONS"]},
        ["'Pos0' is there twice, as number 1 and 2"],
    ),
    (
        "twice one place",
        micro_manager_1({"A": XY, "B": XY}),
        ["'B' is where place 'A' is", "(1, 2)"],
    ),
    (
        "a missing stage",
        micro_manager_1({"A": {**XY, "Focus": [1]}, "B": {"Stage": [3, 4]}}),
        ["'B' has no position of stage 'Focus', which", "'A' has"],
    ),
    (
        "two microscopes",
        micro_manager_1({"A": XY, "B": {"XYStage": [3, 4]}}),
        ["'B': is of XY stage 'XYStage', those before of 'Stage'"],
    ),
    # useq
    ("no places", {"channels": ["DAPI"]}, ["has no stage_positions"]),
    (
        "x is a word",
        {"stage_positions": [{"x": "left", "y": 2}]},
        ["`stage_positions.x`: found 'left'"],
    ),
    ("no x", {"stage_positions": [{"y": 2, "name": "A"}]}, ["place 'A': has no x"]),
    ("infinite x", {"stage_positions": [{"x": float("inf"), "y": 2}]}, ["place 1: x: found inf"]),
    (
        "some with focus",
        {"stage_positions": [{"x": 1, "y": 2, "z": 3}, {"x": 3, "y": 4, "name": "B"}]},
        ["place 'B' has no position of the focus, which place 1 has"],
    ),
    (
        "fields of no size",
        {"stage_positions": [{"x": 1, "y": 2}], "grid_plan": {"rows": 2, "columns": 2}},
        ["`grid_plan`: has no `fov_width`"],
    ),
    (
        "a grid around nothing",
        {"grid_plan": {"rows": 2, "columns": 2, "fov_width": 1, "fov_height": 1}},
        ["`grid_plan`: is relative"],
    ),
    (
        "too many",
        {"stage_positions": [{"x": 0, "y": 0}]}
        | {"grid_plan": {"rows": 99999, "columns": 99999, "fov_width": 1, "fov_height": 1}},
        ["fields; accepted: 1,000 at most"],
    ),
]


@pytest.mark.parametrize(("data", "named"), [case[1:] for case in WRONG], ids=[c[0] for c in WRONG])
def test_a_wrong_file_is_refused_in_a_line(data: Any, named: list[str], tmp_path: Path) -> None:
    written(tmp_path, data)
    file = config(tmp_path, {"positions": "cells.pos"})
    with pytest.raises(UserError) as caught:
        load(file)
    said = str(caught.value)
    assert len(said.splitlines()) == 1
    assert said.startswith(f"{file}, line ")
    for part in ("`microscope.fields.positions`", str(tmp_path / "cells.pos"), *named):
        assert part in said, f"{part!r} is not in: {said}"


def test_a_file_that_is_not_there_is_refused_in_a_line(tmp_path: Path) -> None:
    for name, found in (("gone.pos", "no such file"), (".", "is a folder")):
        with pytest.raises(UserError, match=found) as caught:
            load(config(tmp_path, {"positions": name}))
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"places": []}, ["microscope.fields.places", "at least 1 item"]),
        ({"places": [{"x_um": 1}]}, ["microscope.fields.places.0.y_um", "missing"]),
        ({"places": [{"x_um": 1, "y_um": ".nan"}]}, ["places.0.y_um", "'.nan'"]),
        ({"places": [{"x_um": 1, "y_um": float("nan")}]}, ["places.0.y_um", "finite number"]),
        ({"places": [{"x_um": 1, "y_um": 2, "z": 3}]}, ["places.0.z`", "unknown key", "z_um"]),
        ({"places": [{"x_um": 1, "y_um": 2}] * 2}, ["microscope.fields.places`", "place 2 is"]),
        ({"places": [{"x_um": 1, "y_um": 2}], "rows": 3}, ["fields.places`", "a list or a grid"]),
        ({"places": [{"x_um": 1, "y_um": 2}], "positions": "a.pos"}, ["one of them"]),
        ({"places": [{"x_um": 1, "y_um": 2}], "route": "fast"}, ["fields.route", "'shortest'"]),
    ],
)
def test_a_wrong_list_is_refused_in_a_line(
    fields: dict[str, Any], named: list[str], tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        load(config(tmp_path, fields))
    said = str(caught.value)
    assert len(said.splitlines()) == 1
    for part in named:
        assert part in said, f"{part!r} is not in: {said}"


@pytest.mark.parametrize(
    ("cells", "keys", "named"),
    [
        ({"A": {"XYStage": [1, 2]}}, {}, ["of the XY stage: found 'XYStage'; accepted: Stage"]),
        ({"A": {**XY, "PFS": [1]}}, {}, ["place 'A'", "found 'PFS'; accepted:", "Focus, Offset"]),
        ({"A": {**XY, "Shutter": [1]}}, {}, ["place 'A'", "found 'Shutter'; accepted:"]),
        (CELLS, {"stage_limits": {"x_um": [0, 30]}}, ["(Zelle µ): x = 40 µm is outside 0 … 30"]),
        (CELLS, {"stage_limits": {"z_um": [3.8, 9]}}, ["(Pos0): z = 3.5 µm is outside 3.8 … 9"]),
        (
            CELLS,
            {"stage_limits": {"stages": {"Offset": [0, 125]}}},
            ["(Zelle µ): Offset = 130 µm is outside 0 … 125 µm", "`stage_limits.stages.Offset`"],
        ),
    ],
)
def test_what_does_not_fit_the_microscope_is_refused_before_any_move(
    cells: Any,
    keys: dict[str, Any],
    named: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    written(tmp_path, micro_manager_2(cells))
    file = config(tmp_path, {"positions": "cells.pos"}, **keys)
    code, out, err = cli(capsys, "run", file)
    assert (code, out, len(err.splitlines())) == (2, "", 1), err
    assert "`microscope.fields" in err
    for part in named:
        assert part in err
    assert faulty.made["Stage"][-1].went == []


@pytest.mark.parametrize(
    ("keys", "named"),
    [
        ({"stage_limits": {"stages": {"Focus": [0, 1]}}}, ["is the focus", "z_um"]),
        ({"stage_limits": {"stages": {"Piezo": [0, 1]}}}, ["found 'Piezo'; accepted: Focus"]),
        ({"z_um": 1.0, "stages": {"Focus": 2.0}}, ["are both the focus"]),
    ],
)
def test_the_focus_has_one_name(keys: dict[str, Any], named: list[str], tmp_path: Path) -> None:
    limits = {"stage_limits": keys.pop("stage_limits")} if "stage_limits" in keys else {}
    fields = {"places": [{"x_um": 1, "y_um": 2, **keys}]}
    asked = faulty.config(microscope=scope(fields, **limits))["microscope"]
    with pytest.raises(ValueError, match="|".join(named)):  # noqa: SIM117
        with Microscope.open(MicroscopeConfig.model_validate(asked), base=tmp_path):
            pass


def test_places_of_a_focus_need_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = faulty.config(**LAPSE)
    whole["microscope"]["fields"] = {"places": [{"name": "A", "x_um": 1, "y_um": 2, "z_um": 3}]}
    code, _, err = cli(capsys, "check", faulty.write(tmp_path / "c.yaml", whole))
    assert code == 2
    assert "place 'A': has `z_um`, and this microscope has no focus drive" in err


# ---------------------------------------------------------------------- on the way


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
