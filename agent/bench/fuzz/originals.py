"""The files that are damaged, as they are before: small ones of each sort."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from agent.config import load, plain_yaml
from agent.record.folder import new_folder
from agent.run import Session

_SIDE = 32
_CONFIGS = Path(__file__).parents[3] / "configs"
_WEIGHTS = {
    "quality": ("quality", "quality"),
    "restoration": ("restoration", "actin-small"),
    "interpolation": ("interpolation", "flow"),
}


def make(folder: Path, *, runs: bool = True) -> None:
    """Make all originals in an empty folder; `runs`: those of the virtual microscope, too."""
    rng = np.random.default_rng(16)
    for name in ("tiff", "zarr", "weights", "csv", "runs"):
        (folder / name).mkdir(parents=True)
    _tiffs(folder / "tiff", rng)
    _run_of_a_movie(folder)
    _zarrs(folder / "zarr", folder / "runs" / "live")
    _weights(folder / "weights")
    _tables(folder / "csv", rng)
    if runs and find_spec("pysted") is not None:
        _virtual_runs(folder / "runs")


def _frames(rng: np.random.Generator, count: int = 3) -> NDArray[np.uint16]:
    rows, columns = np.mgrid[:_SIDE, :_SIDE]
    wave = 1 + np.sin(rows / 3 + np.arange(count)[:, None, None] / 4) * np.cos(columns / 5)
    frames: NDArray[np.uint16] = rng.poisson(40 * wave).astype(np.uint16)
    return frames


def _tiffs(folder: Path, rng: np.random.Generator) -> None:
    movie = _frames(rng)
    grey: Any = {"photometric": "minisblack"}
    tifffile.imwrite(folder / "plain.tif", movie[0])
    tifffile.imwrite(folder / "pages.tif", movie, **grey)
    about: dict[str, Any] = {"unit": "um", "finterval": 2.0, "axes": "TYX"}
    tifffile.imwrite(folder / "imagej.tif", movie, imagej=True, metadata=about, resolution=(50, 50))
    ome: dict[str, Any] = {
        "axes": "TYX",
        "PhysicalSizeX": 0.02,
        "PhysicalSizeXUnit": "µm",
        "TimeIncrement": 2.0,
    }
    tifffile.imwrite(folder / "movie.ome.tif", movie, metadata=ome)
    tifffile.imwrite(folder / "float.tif", movie[0].astype(np.float32), compression="zlib")
    tifffile.imwrite(
        folder / "tiled.tif", movie, tile=(16, 16), predictor=True, compression="zlib", **grey
    )
    tifffile.imwrite(folder / "bytes.tif", movie[0].astype(np.uint8), rowsperstrip=5)


def _run_of_a_movie(folder: Path) -> None:
    """A run of `live` on a recorded movie, which needs no microscope."""
    config = {
        "plan": "live",
        "live": {"frames": 3},
        "microscope": {
            "replay": {"file": "../tiff/imagej.tif", "exposure_ms": 1},
            "pixel_size_nm": 20,
            "exposure": {"camera_ms": 1},
        },
    }
    file = folder / "runs" / "live.yaml"
    file.write_text(plain_yaml.write(config), encoding="utf-8")
    _run(file, [], folder / "runs" / "live")


def _virtual_runs(folder: Path) -> None:
    small = ["microscope.virtual_sted.width_px=32", "microscope.virtual_sted.height_px=32"]
    search = ["optimize.trials=2", "optimize.retest_fields=1", "optimize.least_gain=0"]
    _run(_CONFIGS / "optimize.yaml", [*small, *search], folder / "optimize")
    lapse = ["timelapse.frames=6", "timelapse.acquire=skip", "timelapse.model=flow"]
    _run(_CONFIGS / "timelapse.yaml", [*small, *lapse], folder / "timelapse")


def _run(file: Path, overrides: list[str], folder: Path) -> None:
    config = load(file, overrides)
    result = Session(config, file, new_folder(config, folder.parent, folder)).run()
    if result.status != "completed":
        raise RuntimeError(f"{folder.name}: {result.reason}")
    told = [
        {"power": 3},
        {"pause": True},
        {"id": "a", "by": "somebody", "at": "2026-01-02T03:04:05.678+00:00", "trials": 9},
        {"try": {"depletion_power": 90}},
        {"prefer": {"quality": 1, "bleaching": 0.5}},
    ]
    lines = "".join(f"{json.dumps(line)}\n" for line in told)
    (folder / "control.jsonl").write_text(lines, encoding="utf-8")


def _zarrs(folder: Path, run: Path) -> None:
    shutil.copytree(run / "raw.ome.zarr", folder / "movie.zarr")


def _weights(folder: Path) -> None:
    models = Path(__file__).parents[3] / "models"
    for kind, (room, name) in _WEIGHTS.items():
        for ending in (".safetensors", ".json"):
            shutil.copy(models / room / "weights" / f"{name}{ending}", folder / f"{kind}{ending}")


def _tables(folder: Path, rng: np.random.Generator) -> None:
    answers = ["tester,image,target,prediction,choice"]
    frames = ["file,score,pixel_size_nm"]
    scores = ["image,target,prediction"]
    for number in range(12):
        one, other = rng.uniform(0, 1, 2)
        choice = ("target", "prediction", "equivalent")[number % 3]
        answers.append(f"t{number % 2},i{number}.tif,{one:.3f},{other:.3f},{choice}")
        frames.append(f"{number}.tif,{one:.3f},20")
        scores.append(f"{number}.tif,{one:.3f},{other:.3f}")
        tifffile.imwrite(folder / f"{number}.tif", _frames(rng, 1)[0])
    for name, rows in (("answers", answers), ("frames", frames), ("scores", scores)):
        (folder / f"{name}.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
