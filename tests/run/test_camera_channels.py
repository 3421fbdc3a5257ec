"""A camera that gives several frames a snap: taken, stored, decided on, resumed, exported."""

from __future__ import annotations

import copy
import json
import re
import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import yaozarrs
import zarr
from numpy.typing import NDArray

from agent.config.reading import UserError
from agent.offline.files.export import export
from agent.record.folder import read_config
from agent.record.ledger import DamagedLedger
from agent.record.raw import RawFrames
from agent.record.reader import open_run
from agent.record.summary import summarize
from agent.run import Session
from agent.run.replay import replay
from devices.python_channels import ChannelsMixin
from tests import faulty
from tests.helpers.runs import cut_after, entries, mean_score, recorded, run_session
from tests.helpers.searches import config_data_of_a_run
from tests.helpers.stories import drawn

NAMES = ("near", "far")


class Channels(ChannelsMixin, faulty.FlakyCamera):
    """A camera with two detectors; the counts of the second are a tenth of those of the first.

    Parameters
    ----------
    second_fails_at
        Snap, from 0, of which the second detector gives no frame.
    """

    def __init__(self, second_fails_at: int | None = None) -> None:
        super().__init__()
        self._fails_at = second_fails_at

    def snap(self, buffer: NDArray[Any]) -> Mapping[str, str]:
        super().snap(buffer)
        self._second = buffer // 10
        return {}

    def channel_names(self) -> Sequence[str]:
        return NAMES

    def channel_image(self, channel: int) -> NDArray[Any]:
        assert channel == 1
        if self.count - 1 == self._fails_at:
            raise RuntimeError("the second detector is off")
        return np.array(self._second)


def parts(**more: Any) -> dict[str, Any]:
    """Sections of a config with such a camera, the keys of its microscope among them."""
    camera = {"class": f"{__name__}:Channels"}
    microscope = more.pop("microscope", {})
    return {"camera": camera, "microscope": microscope, **more}


def assert_whole(run: Path, shots: int, *, lost: int = 0) -> None:
    """Every shot has both frames, each where the ledger says; the light is counted once."""
    recording, raw = recorded(run), RawFrames(run, pixel_size_um=0.02)
    taken = recording.taken
    assert sorted(taken) == list(range(2 * shots))
    for first in range(0, 2 * shots, 2):
        near, far = raw.read(first), raw.read(first + 1)
        assert near.any() and np.array_equal(far, near // 10)
        for index in (first, first + 1):
            place = taken[index].shot["stored"]
            array = zarr.open_array(run / place["image"] / "0", mode="r")
            assert np.array_equal(array[tuple(place["at"])], raw.read(index))
            assert taken[index].shot["camera"]["name"] == NAMES[index % 2]
        assert taken[first].shot["dose_J"] and not taken[first + 1].shot["dose_J"]
        assert "lit_s" in taken[first].frame and "lit_s" not in taken[first + 1].frame
    summary = summarize(run)
    assert summary["frames"]["acquired"] == summary["frames"]["planned"] == shots
    assert summary["dose"]["lost_shots"] == lost
    lit = [*(one.shot for one in recording.shots().values()), *recording.lost]
    spent = sum(shot["dose_J"]["excitation"] for shot in lit)
    assert summary["dose"]["excitation_J"] == pytest.approx(spent)
    assert replay(run).difference is None


def labels(run: Path, image: str = "raw.ome.zarr") -> list[str]:
    yaozarrs.validate_zarr_store(run / image)
    ome: Any = zarr.open_group(run / image, mode="r").attrs["ome"]
    return [channel["label"] for channel in ome["omero"]["channels"]]


@pytest.mark.slow
def test_the_frames_of_a_shot_are_channels_of_its_time_point(tmp_path: Path) -> None:
    scope = {"scored_channel": "far"}
    made = parts(live={"frames": 3}, analysis={"score": True}, microscope=scope)
    result, run = run_session(tmp_path, session={"scorer": mean_score}, **made)
    assert result.status == "completed", result.reason
    assert_whole(run, 3)
    assert labels(run) == ["sted/near", "sted/far"]
    stored = open_run(run)
    assert stored.raw.shape == (3, 2, 1, faulty.SIDE, faulty.SIDE)
    table = stored.frames()
    assert list(table["camera"]) == [*NAMES] * 3
    # The channel that was chosen is scored, and no other.
    assert list(np.isfinite(table["score"])) == [False, True] * 3
    assert table["score"][1] == pytest.approx(stored.frame(1).mean() / 4096)
    assert read_config(run).microscope.camera_channels == NAMES
    assert summarize(run)["cameras"] == [*NAMES]


@pytest.mark.slow
def test_a_search_decides_on_the_channel_that_is_scored(tmp_path: Path) -> None:
    data = copy.deepcopy(config_data_of_a_run())
    data["microscope"]["python_devices"]["Camera"] = {"class": f"{__name__}:Channels"}
    data["microscope"]["scored_channel"] = "far"
    data["microscope"]["python_devices"]["Focus"] = faulty.device("Focus")
    data["optimize"] |= {"trials": 2, "engine": "sobol", "z": {"range": 1, "step": 1}}
    result, run = run_session(tmp_path, session={"scorer": mean_score}, **data)
    assert result.status == "completed", result.reason
    assert_whole(run, summarize(run)["frames"]["planned"])
    assert labels(run) == [*NAMES]
    frames, trials = recorded(run).taken, open_run(run).trials()
    scores = {one.score.value for one in frames.values() if one.score is not None}
    assert set(trials["score"]) <= scores
    assert all(one.score is None for one in frames.values() if not one.seen)
    export(run, tmp_path / "run.ome.tif")
    with tifffile.TiffFile(tmp_path / "run.ome.tif") as tiff:
        of_field = [(one.name, one.shape) for one in tiff.series if "field 2" in one.name]
    size = (2, faulty.SIDE, faulty.SIDE)
    assert of_field == [
        ("run, field 2, confocal", (2, *size)),
        ("run, field 2, sted", size),
        ("run, field 2, sted, stack", (2, *size)),
    ]


LAPSE: dict[str, Any] = {
    "plan": "timelapse",
    "timelapse": {
        "frames": 2,
        "interval_s": 0.0,
        "fields": 2,
        "channels": ["confocal", "sted"],
        "z": {"range": 1, "step": 1},
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("shots", [3, 8])
def test_it_is_resumed_behind_the_last_whole_shot(shots: int, tmp_path: Path) -> None:
    """A power cut took the second frame of the last shot: both are taken again."""
    made = faulty.config()["microscope"]["python_devices"]
    scope = {
        "modes": {"confocal": {"depletion_power": 0}, "sted": {}},
        "python_devices": made
        | {"Focus": faulty.device("Focus"), "Camera": {"class": f"{__name__}:Channels"}},
    }
    cut, run = run_session(
        tmp_path, session={"make_plan": cut_after(shots)}, microscope=scope, **LAPSE
    )
    assert cut.status == "failed"
    before = recorded(run).taken
    assert sorted(before) == list(range(2 * shots))
    place = before[2 * shots - 1].shot["stored"]
    at = "/".join(map(str, place["at"]))
    (run / place["image"] / "0" / "c" / at / "0" / "0").unlink()
    result = Session(read_config(run), run / "config.yaml", run).run()
    assert result.status == "completed", result.reason
    assert_whole(run, 16, lost=1)
    after = recorded(run).taken
    assert all(after[i].frame == before[i].frame for i in range(2 * shots - 2))
    assert (run / "set_aside" / f"frame_{2 * shots - 2:06}.raw").is_file()
    names = ["confocal/near", "confocal/far", "sted/near", "sted/far"]
    assert labels(run, "raw.ome.zarr/1") == names
    export(run, tmp_path / "run.ome.tif")
    with tifffile.TiffFile(tmp_path / "run.ome.tif") as tiff:
        assert [one.shape for one in tiff.series] == [(2, 4, 2, 32, 32)] * 2
        assert all(f'Name="{name}"' in str(tiff.ome_metadata) for name in names)


def test_a_channel_that_fails_leaves_no_part_of_a_shot(tmp_path: Path) -> None:
    """Its light counts, once; the shot is tried again with all its frames."""
    made = parts(live={"frames": 3}, faults={"retries": 1})
    made["camera"]["options"] = {"second_fails_at": 1}
    result, run = run_session(tmp_path, session={}, **made)
    assert result.status == "completed", result.reason
    (fault,), (lost,) = recorded(run).faults, recorded(run).lost
    assert "camera 'Camera' failed: the second detector is off" in fault["what"]
    assert entries(run, "void") == 2 and lost["dose_J"]["excitation"] > 0
    assert_whole(run, 3, lost=1)


@pytest.mark.slow
def test_a_shot_of_which_some_frames_are_on_disk_is_taken_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a kill between two frames leaves it: pixels without a row."""
    write = RawFrames.write

    def refusing(self: RawFrames, index: int, *args: Any) -> None:
        if index == 3:
            raise OSError(28, "No space left on device")
        write(self, index, *args)

    with monkeypatch.context() as patch:
        patch.setattr(RawFrames, "write", refusing)
        cut, run = run_session(tmp_path, session={}, **parts(live={"frames": 3}))
    assert (cut.status, cut.safe) == ("failed", True)
    assert "No space left on device" in cut.reason
    assert sorted(recorded(run).taken) == [0, 1] and entries(run, "shot") == 4
    assert (run / "raw.ome.zarr" / "0" / "c" / "1" / "0").is_dir()
    assert replay(run).difference is None
    result = Session(read_config(run), run / "config.yaml", run).run()
    assert result.status == "completed", result.reason
    assert_whole(run, 3, lost=1)


def test_a_run_goes_on_with_the_channels_it_was_begun_with(tmp_path: Path) -> None:
    cameras = "tests.faulty:FlakyCamera", f"{__name__}:Channels"
    refusals = (
        "was begun with one frame a shot, and the camera now gives frames of near, far",
        "`microscope.camera_channels`: found near, far, but 'Camera' gives one frame a snap",
    )
    for begun, now, said in zip(cameras, reversed(cameras), refusals, strict=True):
        (folder := tmp_path / begun.rpartition(":")[2]).mkdir()
        session, made = {"make_plan": cut_after(2)}, {"camera": {"class": begun}}
        _, run = run_session(folder, session=session, live={"frames": 4}, **made)
        file = run / "config.yaml"
        file.write_text(file.read_text("utf-8").replace(begun, now), encoding="utf-8")
        with pytest.raises(UserError, match=said):
            Session(read_config(run), file, run).run()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three shots; not to be changed."""
    folder = tmp_path_factory.mktemp("whole")
    result, run = run_session(folder, session={}, **parts(live={"frames": 3}))
    assert result.status == "completed", result.reason
    return run


def test_the_report_shows_each_camera_at_limits_of_its_own(whole: Path) -> None:
    words = drawn(whole).words
    assert "Where the stage was, sted/near" in words and "Where the stage was, sted/far" in words
    # Black and white stand side by side: 57 and 4087 counts, and a tenth of these.
    limits = r"Contrast limits of each camera: near [\d.]*4\d{3} counts, far \d?4\d{2} counts"
    assert re.search(limits, words), words


@pytest.mark.parametrize(
    ("key", "value", "frame", "said"),
    [
        ("index", 0, 3, "`camera`: frame 3 cannot be number 0 of 2 in its shot"),
        ("index", 1, 2, "`camera`: frame 2 cannot be number 1 of 2 in its shot"),
        ("of", 3, 3, "`camera`: frame 3 cannot be number 1 of 3 in its shot"),
        ("of", 1, 3, "`camera.of`: found 1: out of bounds"),
        ("of", 10**9, 3, "`camera.of`: found 1000000000: out of bounds"),
        ("seen", True, 3, "`camera.seen`: of the 2 frames of a shot, one is decided on"),
        ("seen", False, 2, "`camera.seen`: of the 2 frames of a shot, one is decided on"),
        (None, None, 5, "frame 4: others of its shot lack"),
    ],
)
def test_a_ledger_that_no_run_wrote_is_refused(
    whole: Path, tmp_path: Path, key: str | None, value: object, frame: int, said: str
) -> None:
    run = tmp_path / "run"
    shutil.copytree(whole, run)
    with closing(sqlite3.connect(run / "ledger.sqlite")) as db, db:
        if key is None:
            db.execute("DELETE FROM entries WHERE kind = 'frame' AND frame = ?", (frame,))
        else:
            at = f"$.camera.{key}"
            text = json.dumps(value)
            db.execute(
                "UPDATE entries SET data = json_set(data, ?, json(?)) "
                "WHERE kind = 'shot' AND frame = ?",
                (at, text, frame),
            )
    with pytest.raises(DamagedLedger, match=re.escape(said)):
        recorded(run)
