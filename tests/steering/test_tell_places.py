"""A person adds places to a time-lapse while it works."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaozarrs
import zarr

from agent.config import RunConfig, load
from agent.config.reading import UserError
from agent.plan import Instruction
from agent.record.folder import new_folder, read_config
from agent.record.raw import RawFrames
from agent.record.summary import summarize
from agent.run import Session
from agent.steering.control_file import append
from agent.steering.instructions import check
from agent.steering.search_state import SearchState
from agent.ui.view.payloads import stack
from agent.ui.view.reader import Reader
from tests import faulty
from tests.faulty import cli
from tests.helpers.runs import cut_after, recorded

LIMITS = {"x_um": [-50, 50], "y_um": [-50, 50], "z_um": [-5, 5]}


def written(folder: Path, plan: str = "timelapse", scope: Any = None, **lapse: Any) -> RunConfig:
    made = faulty.config()["microscope"]["python_devices"]
    devices = made | {"Focus": faulty.device("Focus")}
    scope = {"stage_limits": LIMITS, "python_devices": devices, **(scope or {})}
    lapse = {"frames": 3, "interval_s": 0.0, "fields": 1, **lapse}
    sections = {"plan": plan, "timelapse": lapse} if plan == "timelapse" else {"plan": plan}
    faulty.write(folder / "config.yaml", faulty.config(microscope=scope, **sections))
    return load(folder / "config.yaml")


def visits(run: Path) -> list[tuple[int, int]]:
    """Time point and field of each frame, in the order they were taken in."""
    taken = sorted(recorded(run).taken.items())
    return list(dict.fromkeys((one.shot["point"], one.shot["field"]["index"]) for _, one in taken))


@pytest.mark.slow
@pytest.mark.parametrize("z", [None, {"range": 2, "step": 1}], ids=["plane", "stack"])
@pytest.mark.parametrize("fields", [1, 2])
def test_added_places_are_taken_stored_resumed_and_replayed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], fields: int, z: dict[str, Any] | None
) -> None:
    config = written(tmp_path, fields=fields, **({"z": z} if z else {}))
    run = new_folder(config, tmp_path, tmp_path / "run")
    append(run, {"place": [30, -10.5]})
    planes = 3 if z else 1
    own = list(range(fields))
    first = Session(
        config, tmp_path / "config.yaml", run, make_plan=cut_after((fields + 2) * planes)
    ).run()
    assert first.status != "completed"
    code, out, err = cli(capsys, "tell", run, "place", "-20", "15")
    assert (code, "when the run is resumed" in out + err) == (0, True), err
    resumed = Session(read_config(run), run / "config.yaml", run).run()
    assert resumed.status == "completed", resumed.reason

    points = [[*own, 4], [*own, 4, 5], [*own, 4, 5]]
    assert visits(run) == [(t, field) for t, those in enumerate(points) for field in those]
    taken = recorded(run).taken
    assert (
        taken[fields * planes].shot["field"] | {"x_um": 30.0, "y_um": -10.5}
        == taken[fields * planes].shot["field"]
    )
    assert summarize(run)["frames"]["planned"] == len(taken) == (3 * fields + 5) * planes

    raw = RawFrames(run, pixel_size_um=0.02)
    for index, one in taken.items():
        stored = one.shot.get("stored") or {"image": "raw.ome.zarr", "at": [index]}
        pixels = zarr.open_array(run / stored["image"] / "0", mode="r")[tuple(stored["at"])]
        assert np.array_equal(pixels, raw.read(index)) and raw.read(index).any()
    added = "raw.ome.zarr" if fields > 1 else "added.ome.zarr"
    for number in (4, 5):
        yaozarrs.validate_zarr_store(run / added / str(number))
    if fields == 1:
        yaozarrs.validate_zarr_store(run / "raw.ome.zarr")
        assert zarr.open_array(run / "raw.ome.zarr" / "0", mode="r").shape[0] == 3

    code, out, err = cli(capsys, "replay", run, "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["frames"], found["told"], found["difference"]) == (len(taken), 2, None)
    assert cli(capsys, "export", run, tmp_path / "all.ome.tif")[0] == 0
    assert cli(capsys, "report", run)[0] == 0
    reader = Reader(run)
    reader.refresh()
    assert len(stack(reader, max(taken))) == planes


def test_what_is_no_place_for_this_run_is_refused_in_one_line(tmp_path: Path) -> None:
    def why(config: RunConfig, place: object) -> str:
        with pytest.raises(UserError) as refused:
            check(config, {"place": place}, SearchState(0))
        return str(refused.value)

    config = written(tmp_path)
    assert check(config, {"place": [1, -2]}, SearchState(0)) == (
        Instruction("place", {"x_um": 1.0, "y_um": -2.0, "z_um": None}),
    )
    for wrong in (None, True, 3, [], [1], ["a", 2], [1, float("nan")], [1, 2, 3], [1e7, 0]):
        assert "accepted: [x, y] (µm)" in why(config, wrong), wrong
    assert "x = 80 µm is outside -50 … 50 µm" in why(config, [80, 0])
    deep = {"fields": {"places": [{"x_um": 0, "y_um": 0, "z_um": 1}]}}
    config = written(tmp_path, scope=deep, z={"range": 4, "step": 1})
    assert "accepted: [x, y, z]" in why(config, [1, 2])
    assert check(config, {"place": [1, 2, 3]}, SearchState(0))
    assert "z = 6 µm is outside" in why(config, [1, 2, 4])
    assert "which stays where the stage is" in why(written(tmp_path, plan="live"), [1, 2])
    assert "`acquire: skip`" in why(written(tmp_path, acquire="skip"), [1, 2])
