"""What a run expects of every image that it writes: raw, filtered and reconstructed frames.

Add a `Kind` to `KINDS`, and its store goes through all of this.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from numpy.typing import NDArray

from agent.record.anchor import Anchor, FolderGone
from agent.record.filtered import FilteredStore
from agent.record.images import GROWTH, FrameDamaged, ImageStore
from agent.record.reconstructed import ReconstructedStore

Frame = NDArray[Any]
PIXEL_UM, INTERVAL_S = 0.02, 30.0
SHAPE = (6, 9)


@dataclass(frozen=True)
class Kind:
    """How one of the stores is used.

    Attributes
    ----------
    axes
        Of its image.
    dtype
        Of its frames.
    absent
        What a frame reads as that was never written; None: it is damage.
    """

    name: str
    make: Callable[[Path, float], Any]
    put: Callable[[Any, int, Frame], None]
    axes: str
    dtype: str
    absent: float | None

    def open(self, folder: Path, interval_s: float = 0.0) -> Any:
        return self.make(folder, interval_s)

    def frame(self, number: int, shape: tuple[int, int] = SHAPE) -> Frame:
        """A frame that no other number has."""
        pixels = np.arange(np.prod(shape)).reshape(shape) + 100 * number
        return pixels.astype(self.dtype)

    def read(self, store: Any, index: int) -> Frame:
        """A frame as it is read back, without the other channels."""
        found: Frame = store.read(index)
        return found if found.ndim == 2 else found[0]

    def chunk(self, folder: Path, index: int) -> Path:
        (image,) = folder.glob("*.ome.zarr")
        zeros = ["0"] * (len(self.axes) - 1)
        return image.joinpath("0", "c", str(index), *zeros)


KINDS = (
    Kind(
        "raw",
        lambda folder, interval_s: ImageStore(
            folder, pixel_size_um=PIXEL_UM, interval_s=interval_s
        ),
        lambda store, index, frame: store.write(index, frame),
        "tyx",
        "uint16",
        None,
    ),
    Kind(
        "filtered",
        lambda folder, interval_s: FilteredStore(
            folder, pixel_size_um=PIXEL_UM, interval_s=interval_s
        ),
        lambda store, index, frame: store.put(index, frame, frame / 10),
        "tcyx",
        "float32",
        np.nan,
    ),
    Kind(
        "reconstructed",
        lambda folder, interval_s: ReconstructedStore(
            folder, [3, 5], GROWTH, pixel_size_um=PIXEL_UM, interval_s=interval_s
        ),
        lambda store, index, frame: store.put(index, 3, frame),
        "tcyx",
        "uint16",
        0,
    ),
)


@pytest.fixture(params=KINDS, ids=lambda kind: kind.name)
def kind(request: pytest.FixtureRequest) -> Kind:
    found: Kind = request.param
    return found


def test_frames_are_read_back_by_itself_and_by_another(kind: Kind, tmp_path: Path) -> None:
    store = kind.open(tmp_path)
    for index in range(3):
        kind.put(store, index, kind.frame(index))
    for reader in (store, kind.open(tmp_path)):
        for index in range(3):
            found = kind.read(reader, index)
            assert found.dtype == kind.dtype
            np.testing.assert_array_equal(found, kind.frame(index))


def test_it_is_an_ome_zarr_image_with_axes_pixel_size_and_time(kind: Kind, tmp_path: Path) -> None:
    store = kind.open(tmp_path, INTERVAL_S)
    kind.put(store, 0, kind.frame(0))
    group = zarr.open_group(store.path, mode="r")
    ome: Any = group.attrs["ome"]
    (multiscale,) = ome["multiscales"]
    units = {"t": "second", "y": "micrometer", "x": "micrometer"}
    axes = [(axis["name"], axis.get("unit")) for axis in multiscale["axes"]]
    assert axes == [(name, units.get(name)) for name in kind.axes]
    sizes = {"t": INTERVAL_S, "y": PIXEL_UM, "x": PIXEL_UM}
    (scale,) = multiscale["datasets"][0]["coordinateTransformations"]
    assert scale["scale"] == [sizes.get(name, 1.0) for name in kind.axes]
    shape = np.asarray(group["0"][0]).shape
    assert shape[-2:] == SHAPE and len(shape) == len(kind.axes) - 1


def test_time_has_a_scale_only_where_frames_are_equidistant(kind: Kind, tmp_path: Path) -> None:
    store = kind.open(tmp_path, INTERVAL_S)
    kind.put(store, 0, kind.frame(0))
    for interval_s, unit, step in ((0.0, None, 1.0), (2.5, "second", 2.5)):
        store.scale_time(interval_s)
        ome: Any = zarr.open_group(store.path, mode="r").attrs["ome"]
        (multiscale,) = ome["multiscales"]
        (scale,) = multiscale["datasets"][0]["coordinateTransformations"]
        assert multiscale["axes"][0].get("unit") == unit and scale["scale"][0] == step


def test_a_dark_frame_is_on_disk_as_any_other(kind: Kind, tmp_path: Path) -> None:
    store = kind.open(tmp_path)
    kind.put(store, 0, np.zeros(SHAPE, kind.dtype))
    assert kind.chunk(tmp_path, 0).is_file()
    np.testing.assert_array_equal(kind.read(kind.open(tmp_path), 0), 0)


def test_another_shape_is_refused_and_leaves_nothing(kind: Kind, tmp_path: Path) -> None:
    kind.put(kind.open(tmp_path), 0, kind.frame(0))
    for store in (kind.open(tmp_path), kind.open(tmp_path)):
        with pytest.raises(ValueError, match="those before"):
            kind.put(store, 1, kind.frame(1, (6, 8)))
    assert not kind.chunk(tmp_path, 1).exists()


def test_another_type_is_refused_or_made_the_image_s(kind: Kind, tmp_path: Path) -> None:
    store = kind.open(tmp_path)
    kind.put(store, 0, kind.frame(0))
    try:
        kind.put(store, 1, kind.frame(1).astype(np.float64))
    except ValueError as error:
        assert "those before" in str(error) and not kind.chunk(tmp_path, 1).exists()
    else:
        np.testing.assert_array_equal(kind.read(store, 1), kind.frame(1))


def test_it_grows_as_far_as_frames_come_and_is_trimmed(kind: Kind, tmp_path: Path) -> None:
    store = kind.open(tmp_path)
    kind.put(store, 0, kind.frame(0))
    kind.put(store, GROWTH - 1, kind.frame(1))
    if kind.name != "reconstructed":  # of which it is known how many there will be
        kind.put(store, 2 * GROWTH + 3, kind.frame(2))
        np.testing.assert_array_equal(kind.read(store, 2 * GROWTH + 3), kind.frame(2))
    np.testing.assert_array_equal(kind.read(store, 0), kind.frame(0))
    store.trim(GROWTH)
    assert zarr.open_array(store.path / "0", mode="r").shape[0] == GROWTH
    again = kind.open(tmp_path)
    np.testing.assert_array_equal(kind.read(again, GROWTH - 1), kind.frame(1))
    assert kind.chunk(tmp_path, 0).exists() and not kind.chunk(tmp_path, 2 * GROWTH + 3).exists()


def test_a_frame_that_is_not_there_is_no_dark_frame(kind: Kind, tmp_path: Path) -> None:
    store = kind.open(tmp_path)
    with pytest.raises(FrameDamaged, match="is missing"):
        store.read(0)
    kind.put(store, 0, kind.frame(0))
    for reader in (store, kind.open(tmp_path)):
        if kind.absent is None:
            with pytest.raises(FrameDamaged, match="frame 1: is missing"):
                reader.read(1)
        else:
            np.testing.assert_array_equal(kind.read(reader, 1), np.full(SHAPE, kind.absent))


def test_a_cut_chunk_is_never_taken_for_a_frame(kind: Kind, tmp_path: Path) -> None:
    store = kind.open(tmp_path)
    kind.put(store, 0, kind.frame(0))
    kind.put(store, 1, kind.frame(1))
    chunk = kind.chunk(tmp_path, 1)
    chunk.write_bytes(chunk.read_bytes()[:-3])
    for reader in (store, kind.open(tmp_path)):
        with pytest.raises(FrameDamaged, match="frame 1: is cut"):
            reader.read(1)
        np.testing.assert_array_equal(kind.read(reader, 0), kind.frame(0))


def test_a_disk_that_refuses_leaves_the_frame_that_was_there(
    kind: Kind, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = kind.open(tmp_path)
    kind.put(store, 0, kind.frame(0))

    def full(source: Path, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("agent.record.durable.move", full)
    for index in (0, 1):
        with pytest.raises(OSError, match="No space left"):
            kind.put(store, index, kind.frame(9))
    monkeypatch.undo()
    np.testing.assert_array_equal(kind.read(kind.open(tmp_path), 0), kind.frame(0))
    assert not kind.chunk(tmp_path, 1).exists()
    kind.put(store, 1, kind.frame(1))
    np.testing.assert_array_equal(kind.read(store, 1), kind.frame(1))


def test_a_folder_that_is_gone_is_not_made_again(kind: Kind, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    store, fresh = kind.open(run), kind.open(run)
    kind.put(store, 0, kind.frame(0))
    shutil.rmtree(run)
    for one in (store, fresh):
        with pytest.raises(OSError, match="No such file"):
            kind.put(one, 1, kind.frame(1))
    assert not run.exists()


def test_a_renamed_folder_opens_where_it_is(kind: Kind, tmp_path: Path) -> None:
    run, renamed = tmp_path / "run", tmp_path / "renamed"
    run.mkdir()
    kind.put(kind.open(run), 0, kind.frame(0))
    run.rename(renamed)
    store = kind.open(renamed)
    kind.put(store, 1, kind.frame(1))
    for index in (0, 1):
        np.testing.assert_array_equal(kind.read(store, index), kind.frame(index))
    assert not run.exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps an open folder where it is")
def test_frames_that_cost_light_follow_a_folder_that_is_renamed(tmp_path: Path) -> None:
    run, renamed = tmp_path / "run", tmp_path / "renamed"
    run.mkdir()
    (kind,) = [one for one in KINDS if one.name == "raw"]
    store = ImageStore(run, pixel_size_um=PIXEL_UM, anchor=Anchor(run))
    store.write(0, kind.frame(0))
    run.rename(renamed)
    store.write(1, kind.frame(1))
    assert not run.exists()
    for index in (0, 1):
        np.testing.assert_array_equal(kind.open(renamed).read(index), kind.frame(index))
    shutil.rmtree(renamed)
    with pytest.raises(FolderGone):
        store.write(2, kind.frame(2))
