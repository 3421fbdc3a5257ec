"""Files and lists of places: what is read of them, and how wrong ones are refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from agent.config import load
from agent.config.reading import UserError
from devices.config import MicroscopeConfig
from devices.microscope import Microscope
from tests import faulty
from tests.faulty import cli
from tests.helpers.positions import (
    CELLS,
    LAPSE,
    config,
    micro_manager_1,
    micro_manager_2,
    places,
    scope,
    written,
)

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
