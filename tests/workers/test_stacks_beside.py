"""Runs with several channels and planes: what works beside them finds each frame at its place."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from agent.record.filtered import FilteredStore
from agent.record.reader import open_run
from agent.run.replay import replay
from tests import faulty
from tests.helpers.runs import Work, mean_score, recorded, run_session, until

MODES = {"confocal": {"depletion_power": 0}, "sted": {}}
CHANNELS = {"channels": ["confocal", "sted"], "z": {"range": 1, "step": 1}}


def scope() -> dict[str, Any]:
    devices = faulty.config()["microscope"]["python_devices"]
    return {"modes": MODES, "python_devices": devices | {"Focus": faulty.device("Focus")}}


@pytest.mark.process
@pytest.mark.slow
def test_the_filter_reads_each_frame_where_it_is(weights: Path, tmp_path: Path) -> None:
    """In its own process, with an image for each of two fields."""
    from models.restoration import Restorer

    result, run = run_session(
        tmp_path,
        session={},
        plan="timelapse",
        timelapse={"frames": 2, "interval_s": 0, "fields": 2, **CHANNELS},
        filter={"model": str(weights), "frames": "all", "modes": ["sted"]},
        microscope=scope(),
    )
    assert result.status == "completed", result.reason
    taken, restorer = recorded(run).taken, Restorer(weights, "cpu")
    sted = [index for index, one in sorted(taken.items()) if one.shot["mode"] == "sted"]
    assert len(taken) == 16 and sorted(recorded(run).filtered()) == sted
    store, raw = FilteredStore(run, pixel_size_um=0.02), open_run(run)
    for index in sted:
        expected = restorer.restore(raw.frame(index))
        span = float(np.ptp(expected.image))
        np.testing.assert_allclose(store.read(index)[0], expected.image, atol=1e-5 * span)
    assert replay(run).difference is None


@pytest.mark.slow
def test_live_channels_are_told_settings_between_time_points(tmp_path: Path) -> None:
    work = Work(
        tmp_path,
        session={"scorer": mean_score},
        live={"frames": 40, "interval_s": 0.05, **CHANNELS},
        microscope=scope(),
    ).start()
    until(lambda: work.progress.frames >= 4)
    work.tell(excitation_power=9.0)
    work.tell(depletion_power=40.0)
    until(lambda: any(one.shot["settings"]["depletion_power"] == 40 for one in seen(work.run)))
    work.tell(stop=True)
    assert work.ended().status in ("stopped", "interrupted")
    last = {one.shot["mode"]: one.shot["settings"] for one in seen(work.run)}
    # A mode's pins hold, whatever is told.
    assert last["confocal"] == {"excitation_power": 9.0, "depletion_power": 0.0}
    assert last["sted"] == {"excitation_power": 9.0, "depletion_power": 40.0}
    for point in {one.shot["point"] for one in seen(work.run)}:
        told = {
            one.shot["settings"]["excitation_power"]
            for one in seen(work.run)
            if one.shot["point"] == point
        }
        assert len(told) == 1, "within a time point nothing changes"
    array = zarr.open_array(work.run / "raw.ome.zarr" / "0", mode="r")
    assert array.shape[1:3] == (2, 2)
    assert replay(work.run).difference is None


def seen(run: Path) -> list[Any]:
    return [one for _, one in sorted(recorded(run).taken.items())]
