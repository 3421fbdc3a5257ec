"""Filtered frames stand where the raw ones do, and those of earlier versions by their number."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaozarrs
import zarr
from numpy.typing import NDArray

from agent.record.filtered import By, FilteredStore
from agent.record.filtered_frames import FilteredFrames
from agent.record.images import FrameDamaged
from agent.record.layout import Layout, Stored
from agent.record.ledger import Ledger
from agent.record.raw import RawFrames
from devices.affine import Affine
from devices.recorded import Part, open_frames
from devices.shot import Field

SHAPE = (4, 6)
STACK = Layout(("confocal", "sted"), (0, 1, 2), fields=2, step_um=0.5, between=True)
PLACES = {
    0: ("confocal", Stored("raw.ome.zarr/0", (0, 0, 1))),
    1: ("sted", Stored("raw.ome.zarr/0", (0, 1, 1))),
    2: ("sted", Stored("raw.ome.zarr/1", (0, 1, 2))),
    3: ("sted", Stored("between.ome.zarr", (0,))),
    4: ("sted", Stored("raw.ome.zarr/0", (1, 1, 0))),
    5: ("sted", Stored("raw.ome.zarr/1", (1, 1, 0))),
}
FIELDS = (Field(0, 0.0, 0.0), Field(1, 3.0, 1.0))


def frame(index: int) -> NDArray[Any]:
    return np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE) + 100 * index


@pytest.fixture
def run(tmp_path: Path) -> Iterator[tuple[Path, Ledger]]:
    """Raw frames of two fields, and one between time points."""
    turned = Affine.mounted(0.02, rotation_deg=90)
    raw = RawFrames(tmp_path, pixel_size_um=0.02, layout=STACK, mounting=turned)
    with closing(Ledger(tmp_path)) as ledger:
        for index, (mode, place) in PLACES.items():
            shot: dict[str, Any] = {"mode": mode, "asked": {}, "field": None, "at_s": None}
            shot |= {"purpose": "", "stored": place.as_dict(), "settings": {}, "dose_J": {}}
            ledger.add("shot", shot, index)
            pixels = frame(index).astype(np.uint16)
            raw.write(index, pixels, place, field=FIELDS[place.image[-1] == "1"])
        raw.finish(len(PLACES), [0.0, 0.1, 0.2, 0.3, 10.0, 10.2], 0.0)
        yield tmp_path, ledger


def filtering(folder: Path) -> FilteredFrames:
    by = By("ours", STACK, ("sted",))
    return FilteredFrames(folder, pixel_size_um=0.02, by=by, weights_sha256="0" * 64)


def test_they_stand_where_the_raw_ones_do(run: tuple[Path, Ledger]) -> None:
    folder, ledger = run
    store = filtering(folder)
    for index in (1, 3, 4, 5):
        store.put(index, frame(index), frame(index) / 10)
        ledger.add("filtered", {"uncertainty": index / 10, "device": "cpu", "ms": 1.0}, index)
    store.put(2, frame(2), frame(2))  # too late for the ledger
    store.erase(5)
    store.put(5, frame(5), frame(5) / 10)
    filtering(folder).finish(len(PLACES), 0.0)
    for reader in (filtering(folder), FilteredFrames(folder, pixel_size_um=0.02)):
        for index in (1, 3, 4, 5):
            np.testing.assert_array_equal(
                reader.read(index), np.float32([frame(index), frame(index) / 10])
            )
        with pytest.raises(FrameDamaged, match="frame 2: what it was filtered to is not on disk"):
            reader.read(2)
        with pytest.raises(FrameDamaged, match="frame 0: is of a channel that is not filtered"):
            reader.read(0)
    for field, frames in (
        (0, [(1, 0, 1, "filtered"), (4, 1, 0, "filtered")]),
        (1, [(2, 0, 2, "not filtered"), (5, 1, 0, "filtered")]),
    ):
        image = folder / "filtered.ome.zarr" / str(field)
        yaozarrs.validate_zarr_store(str(image))
        array, raw = (
            zarr.open_array(folder / f"{name}.ome.zarr" / str(field) / "0", mode="r")
            for name in ("filtered", "raw")
        )
        assert array.shape == raw.shape == (2, 2, 3, *SHAPE)
        group = zarr.open_group(image, mode="r")
        said: Any = group.attrs["stedfast"]
        assert said["made"]["filter"] == {"model": "ours", "weights_sha256": "0" * 64}
        marks = [(one["frame"], one["point"], one["plane"], one["kind"]) for one in said["frames"]]
        assert marks == frames
        there = {(point, plane) for _, point, plane, kind in frames if kind == "filtered"}
        for at in np.ndindex(2, 3):
            assert np.isnan(array[at[0], :, at[1]]).all() == (at not in there)
    with open_frames(folder / "filtered.ome.zarr" / "1", Part(at={"c": 1, "z": 0})) as read:
        about = read.about()
        assert about.made["filter"]["model"] == "ours" and about.kinds == ("missing", "filtered")
    yaozarrs.validate_zarr_store(str(folder / "filtered.ome.zarr"))
    between = zarr.open_array(folder / "filtered_between.ome.zarr" / "0", mode="r")
    assert between.shape == (1, 2, *SHAPE)


def test_fields_lie_beside_each_other_as_on_the_stage(run: tuple[Path, Ledger]) -> None:
    """The camera is turned by 90°: what is further along the stage's x is further up the rows."""
    folder, _ = run
    store = filtering(folder)
    for index in (1, 2):
        store.put(index, frame(index), frame(index))
    for image in ("raw.ome.zarr", "filtered.ome.zarr"):
        for field, (row, column) in enumerate([(0.0, 0.0), (-3.0, 1.0)]):
            ome: Any = zarr.open_group(folder / image / str(field), mode="r").attrs["ome"]
            scale, moved = ome["multiscales"][0]["datasets"][0]["coordinateTransformations"]
            assert scale["scale"][3:] == [0.02, 0.02]
            # The middle of the frame is the place of the field.
            corner = row - 0.02 * (SHAPE[0] - 1) / 2, column - 0.02 * (SHAPE[1] - 1) / 2
            assert moved["translation"] == pytest.approx([0, 0, 0, *corner])
    between: Any = zarr.open_group(folder / "between.ome.zarr", mode="r").attrs["ome"]
    assert len(between["multiscales"][0]["datasets"][0]["coordinateTransformations"]) == 1


def test_an_image_of_an_earlier_version_is_read_and_continued_as_it_is(
    run: tuple[Path, Ledger],
) -> None:
    folder, ledger = run
    old = FilteredStore(folder, pixel_size_um=0.02)
    old.put(1, frame(1), frame(1) / 10)
    store = filtering(folder)
    store.put(5, frame(5), frame(5) / 10)
    ledger.add("filtered", {"uncertainty": 0.1, "device": "cpu", "ms": 1.0}, 5)
    filtering(folder).finish(len(PLACES), 0.0)
    array = zarr.open_array(folder / "filtered.ome.zarr" / "0", mode="r")
    assert array.shape == (len(PLACES), 2, *SHAPE)
    for index in (1, 5):
        np.testing.assert_array_equal(array[index, 0], frame(index))
        np.testing.assert_array_equal(
            FilteredFrames(folder, pixel_size_um=0.02).read(index)[0], frame(index)
        )
    with pytest.raises(FrameDamaged, match="frame 2"):
        store.read(2)
