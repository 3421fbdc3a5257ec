"""Frames that another program compressed with Zstandard, in ratings and in trainings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

from agent.offline.rating.images import images_in
from agent.offline.training.reading import read_frames, read_movie, read_rated
from models.interpolation.movies import read_movies
from models.quality.data import load
from models.restoration.reading import read_pairs
from tests.devices.test_recorded import TYX, ngff

FRAMES: NDArray[np.uint16] = np.random.default_rng(2).poisson(40, (5, 40, 48)).astype(np.uint16)


def tiff(file: Path, pixels: NDArray[Any]) -> Path:
    tifffile.imwrite(file, pixels, photometric="minisblack", compression="zstd", predictor=True)
    return file


def nothing(words: str) -> None:
    raise AssertionError(words)


def test_tiffs_are_rated_and_trained_on(tmp_path: Path) -> None:
    for channel in ("input", "target"):
        (tmp_path / channel).mkdir()
        for number, frame in enumerate(FRAMES):
            tiff(tmp_path / channel / f"{number}.tif", frame)
    assert len(images_in(tmp_path / "input", None, nothing)) == len(FRAMES)
    rows = [f"input/{number}.tif,0.5" for number in range(len(FRAMES))]
    (tmp_path / "frames.csv").write_text("\n".join(["file,score", *rows]))
    assert len(load(tmp_path, read=read_rated).ratings) == len(FRAMES)
    pairs = read_pairs(tmp_path, "input", "target", read=read_frames)
    np.testing.assert_array_equal([one.image for one in pairs.inputs], FRAMES)
    (movie,) = read_movies(tiff(tmp_path / "movie.tif", FRAMES), read=read_movie)
    np.testing.assert_array_equal(movie.frames, FRAMES)


@pytest.mark.parametrize("version", [2, 3])
def test_an_ome_zarr_is_trained_on(version: int, tmp_path: Path) -> None:
    folder = ngff(tmp_path / "movie.ome.zarr", FRAMES, TYX)
    if version == 3:
        attributes = dict(zarr.open_group(folder, mode="r").attrs)
        group = zarr.create_group(tmp_path / "movie3.ome.zarr", zarr_format=3)
        group.attrs["ome"] = {"version": "0.5", **attributes}
        folder = tmp_path / "movie3.ome.zarr"
    codec: Any = (
        zarr.codecs.ZstdCodec(level=3)
        if version == 3
        else {"id": "blosc", "cname": "zstd", "clevel": 3, "shuffle": 1}
    )
    group = zarr.open_group(folder, mode="r+")
    made = group.create_array(
        "0", data=FRAMES, chunks=(2, 20, 48), compressors=[codec], overwrite=True
    )
    assert "zstd" in str(made.metadata.to_dict())
    (movie,) = read_movies(folder, read=read_movie)
    np.testing.assert_array_equal(movie.frames, FRAMES)
