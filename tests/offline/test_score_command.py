"""`stedfast score`, as a person types it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from agent.cli import main
from agent.config.reading import UserError
from agent.offline.files.scoring import score_files
from devices.recorded import Part

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def frame() -> NDArray[np.uint16]:
    rng = np.random.default_rng(4)
    y, x = np.indices((48, 48))
    return rng.poisson(6 + 5 * np.sin(x / 2) * np.sin(y / 5)).astype(np.uint16)


def score(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["stedfast", "score", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        main()
    return int(left.value.code or 0)


def test_one_bad_file_or_frame_does_not_end_the_others(
    tmp_path: Path,
    frame: NDArray[np.uint16],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    files = [tmp_path / f"{name}.tif" for name in ("good", "text", "frames", "none", "last")]
    tifffile.imwrite(files[0], frame)
    files[1].write_text("no TIFF")
    frames = np.stack([frame] * 3).astype(np.float32)
    frames[1, 4, 4] = np.nan
    tifffile.imwrite(files[2], frames, photometric="minisblack")
    tifffile.imwrite(files[4], frame)
    assert score(monkeypatch, *files, "--json") == 2
    said = capsys.readouterr()
    rows = json.loads(said.out)
    assert [(Path(row["file"]).name, row["frame"]) for row in rows] == [
        ("good.tif", 0),
        ("frames.tif", 0),
        ("frames.tif", 2),
        ("last.tif", 0),
    ]
    assert len({row["score"] for row in rows}) == 1
    for words in ("text.tif: not a readable TIFF", "frames.tif, frame 1: frame with 1 values"):
        assert words in said.err
    assert "none.tif: no such file" in said.err and len(said.err.splitlines()) == 3
    with pytest.raises(UserError, match="not a readable TIFF"):
        score_files(files, None)


def test_of_a_run_the_folder_with_its_frames_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run" / "raw.ome.zarr").mkdir(parents=True)
    assert score(monkeypatch, tmp_path / "run") == 2
    said = capsys.readouterr().err
    assert f"a run's frames are in {tmp_path / 'run' / 'raw.ome.zarr'}" in said


@pytest.mark.slow
def test_pixel_sizes_are_those_of_the_file(tmp_path: Path, frame: NDArray[np.uint16]) -> None:
    file = tmp_path / "a.ome.tif"

    def sized(x: float, y: float) -> dict[str, Any]:
        about = {"axes": "YX", "PhysicalSizeX": x, "PhysicalSizeY": y}
        tifffile.imwrite(file, frame, ome=True, metadata=about)
        return score_files([file], None)[0]

    found = sized(0.025, 0.025)
    assert (found["pixel_size_nm"], found["pixel_size_from"]) == (pytest.approx(25), "file")
    with pytest.raises(UserError, match=r"50 × 25 nm .*accepted: square ones"):
        sized(0.025, 0.05)
    assert score_files([file], 30)[0]["pixel_size_from"] == "given"
    tifffile.imwrite(file, frame)
    assert score_files([file], None)[0]["pixel_size_from"] == "assumed"


def test_pixels_that_are_not_square_are_told(
    tmp_path: Path,
    frame: NDArray[np.uint16],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "a.tif"
    tifffile.imwrite(file, frame, imagej=True, resolution=(20, 10), metadata={"unit": "micron"})
    assert score(monkeypatch, file) == 2
    said = capsys.readouterr().err
    assert "pixels of 100 × 50 nm (rows × columns); accepted: square ones" in said


@pytest.mark.slow
def test_one_channel_is_scored(
    tmp_path: Path,
    frame: NDArray[np.uint16],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "a.tif"
    both = np.stack([np.zeros_like(frame), frame])
    tifffile.imwrite(file, both, imagej=True, metadata={"axes": "CYX"})
    assert score(monkeypatch, file) == 2
    assert "2 channels; accepted: grey frames" in capsys.readouterr().err
    assert score(monkeypatch, file, "--channel", "1") == 0
    assert score(monkeypatch, file, "--axis", "c=1", "--json") == 0
    assert score(monkeypatch, file, "--axis", "second") == 2
    assert "--axis: found second; accepted: an axis" in capsys.readouterr().err
    tifffile.imwrite(tmp_path / "b.tif", frame)
    alone = score_files([tmp_path / "b.tif"], 20)[0]["score"]
    assert score_files([file], 20, part=Part(at={"c": 1}))[0]["score"] == alone
