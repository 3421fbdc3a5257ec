"""The replay camera: every stored frame, bit for bit, in order; and what it says otherwise."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import useq
import zarr
from numpy.typing import NDArray
from pymmcore_plus.experimental.unicore import UniMMCore

from devices.replay import MovieOverError, ReplayedMovie, build_replay
from devices.sources import ReplayConfig

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
FRAMES, HEIGHT, WIDTH = 5, 48, 64
Pixels = NDArray[Any]


def movie(dtype: str = "uint16") -> Pixels:
    rng = np.random.default_rng(3)
    if dtype == "float32":
        return rng.normal(0, 1e5, (FRAMES, HEIGHT, WIDTH)).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, (FRAMES, HEIGHT, WIDTH), dtype, endpoint=True)


def load(file: Path, **options: Any) -> UniMMCore:
    core = UniMMCore()
    config = ReplayConfig(file=Path(file.name), **options)
    for label, device in build_replay(config, file.parent).items():
        core.loadPyDevice(label, device)
        core.initializeDevice(label)
    core.setCameraDevice("Replay")
    core.setAutoShutter(False)
    return core


def snap(core: UniMMCore) -> Pixels:
    core.snapImage()
    return core.getImage().copy()


def assert_plays(file: Path, expected: Pixels) -> None:
    core = load(file)
    assert core.getProperty("Replay", "Frames") == len(expected)
    for i, frame in enumerate(expected):
        assert core.getProperty("Replay", "Frame") == i
        seen = snap(core)
        assert seen.dtype == expected.dtype
        np.testing.assert_array_equal(seen, frame)
    core.unloadAllDevices()


def write_ome_zarr(folder: Path, pixels: Pixels, axes: str, *, version: str = "0.5") -> Path:
    group = zarr.create_group(folder, zarr_format=2 if version == "0.4" else 3)
    array = group.create_array(
        "s0", shape=pixels.shape, chunks=(*[1] * (pixels.ndim - 2), 48, 64), dtype=pixels.dtype
    )
    array[:] = pixels
    kinds = {"t": "time", "c": "channel", "z": "space", "y": "space", "x": "space"}
    scale = [1.0] * pixels.ndim
    multiscales: list[Any] = [
        {
            "axes": [{"name": name, "type": kinds[name]} for name in axes],
            "datasets": [
                {"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": scale}]}
            ],
        }
    ]
    if version == "0.4":
        group.attrs["multiscales"] = [{"version": "0.4", **multiscales[0]}]
    else:
        group.attrs["ome"] = {"version": version, "multiscales": multiscales}
    return folder


TIFFS: dict[str, dict[str, Any]] = {
    "plain": {},
    "pages": {"metadata": None},
    "imagej": {"imagej": True, "metadata": {"axes": "TYX"}},
    "imagej stack": {"imagej": True, "metadata": {"axes": "ZYX"}},
    "compressed": {"compression": "zlib", "tile": (16, 16)},
    "big-endian": {"byteorder": ">"},
}


@pytest.mark.parametrize("kind", TIFFS)
def test_tiff_page_by_page(tmp_path: Path, kind: str) -> None:
    pixels = movie()
    tifffile.imwrite(tmp_path / "movie.tif", pixels, **TIFFS[kind])
    assert_plays(tmp_path / "movie.tif", pixels)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_pixel_types_are_kept(tmp_path: Path, dtype: str) -> None:
    pixels = movie(dtype)
    tifffile.imwrite(tmp_path / "movie.tif", pixels)
    assert_plays(tmp_path / "movie.tif", pixels)
    write_ome_zarr(tmp_path / "movie.ome.zarr", pixels, "tyx")
    assert_plays(tmp_path / "movie.ome.zarr", pixels)


def test_ome_tiff_with_singleton_axes(tmp_path: Path) -> None:
    pixels = movie()
    tifffile.imwrite(tmp_path / "movie.ome.tif", pixels[:, None, None], metadata={"axes": "TCZYX"})
    assert_plays(tmp_path / "movie.ome.tif", pixels)


def test_single_image_is_a_movie_of_one_frame(tmp_path: Path) -> None:
    pixels = movie()[:1]
    tifffile.imwrite(tmp_path / "image.tif", pixels[0])
    assert_plays(tmp_path / "image.tif", pixels)
    write_ome_zarr(tmp_path / "image.zarr", pixels[0], "yx")
    assert_plays(tmp_path / "image.zarr", pixels)


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["tyx", "tcyx", "tczyx"])
def test_ome_zarr_frame_by_frame(tmp_path: Path, version: str, axes: str) -> None:
    pixels = movie()
    stored = pixels.reshape(FRAMES, *[1] * (len(axes) - 3), HEIGHT, WIDTH)
    write_ome_zarr(tmp_path / "movie.ome.zarr", stored, axes, version=version)
    assert_plays(tmp_path / "movie.ome.zarr", pixels)


def test_ome_zarr_within_a_bioformats2raw_folder(tmp_path: Path) -> None:
    pixels = movie()
    root = zarr.create_group(tmp_path / "movie.zarr")
    root.attrs["ome"] = {"version": "0.5", "bioformats2raw.layout": 3}
    write_ome_zarr(tmp_path / "movie.zarr" / "0", pixels, "tyx")
    assert_plays(tmp_path / "movie.zarr", pixels)


def test_over_and_again(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "movie.tif", movie())
    core = load(tmp_path / "movie.tif")
    for _ in range(FRAMES):
        snap(core)
    assert core.getProperty("Replay", "Frame") == FRAMES
    with pytest.raises(
        MovieOverError, match=r"movie\.tif: frame 5 .* it has 5, 0 … 4; `loop: true`"
    ):
        snap(core)
    core.setProperty("Replay", "Frame", 3)
    np.testing.assert_array_equal(snap(core), movie()[3])


def test_loop(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "movie.tif", movie())
    core = load(tmp_path / "movie.tif", loop=True)
    seen = [snap(core) for _ in range(FRAMES + 2)]
    np.testing.assert_array_equal(seen, np.concatenate([movie(), movie()[:2]]))


def test_properties(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "movie.tif", movie())
    core = load(tmp_path / "movie.tif", exposure_ms=25)
    assert core.getExposure() == 25
    core.setExposure(30)
    assert core.getExposure() == 30
    assert core.getProperty("Replay", "File") == "movie.tif"
    assert core.isPropertyReadOnly("Replay", "Frames")
    for wrong in (-1, FRAMES + 1, 1.5):
        with pytest.raises(ValueError, match="Frame"):
            core.setProperty("Replay", "Frame", wrong)
    assert core.getProperty("Replay", "Frame") == 0


def test_an_mda_run_delivers_the_movie(tmp_path: Path) -> None:
    pixels = movie("float32")
    tifffile.imwrite(tmp_path / "movie.tif", pixels)
    core = load(tmp_path / "movie.tif")
    seen: list[Pixels] = []
    core.mda.events.frameReady.connect(lambda frame, *_: seen.append(frame.copy()))
    core.mda.run(iter([useq.MDAEvent(index={"t": i}) for i in range(FRAMES)]))
    np.testing.assert_array_equal(seen, pixels)


def test_a_burst_delivers_the_movie(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "movie.tif", movie())
    core = load(tmp_path / "movie.tif")
    core.startSequenceAcquisition(FRAMES, 0, True)
    while core.isSequenceRunning():
        pass
    seen = [core.popNextImage() for _ in range(core.getRemainingImageCount())]
    np.testing.assert_array_equal(seen, movie())


def test_frames_are_read_only_when_asked_for(tmp_path: Path) -> None:
    file = tmp_path / "movie.tif"
    tifffile.imwrite(file, movie(), compression="zlib", metadata=None, photometric="minisblack")
    with tifffile.TiffFile(file) as tiff:
        place = tiff.pages[3].dataoffsets[0]
    damaged = bytearray(file.read_bytes())
    damaged[place : place + 100] = bytes(100)
    file.write_bytes(damaged)
    core = load(file)
    for frame in movie()[:3]:
        np.testing.assert_array_equal(snap(core), frame)
    with pytest.raises(RuntimeError, match=r"movie\.tif: frame 3 of 0 … 4 cannot be read"):
        snap(core)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.tif: no such file; accepted: a TIFF"):
        build_replay(ReplayConfig(file=Path("nowhere.tif")), tmp_path)


def _cut(file: Path, share: float) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])


def _wrong_tiff(file: Path, kind: str) -> None:
    if kind == "text":
        file.write_text("a movie, honestly")
    elif kind == "empty":
        file.touch()
    elif kind == "rgb":
        tifffile.imwrite(file, np.zeros((48, 64, 3), "u1"), photometric="rgb")
    elif kind == "channels":
        tifffile.imwrite(
            file, np.zeros((5, 2, 48, 64), "u1"), imagej=True, metadata={"axes": "TCYX"}
        )
    elif kind == "z-stack":
        tifffile.imwrite(file, movie(), metadata={"axes": "ZYX"})
    elif kind == "two series":
        with tifffile.TiffWriter(file) as writer:
            writer.write(np.zeros((48, 64), "u1"))
            writer.write(np.zeros((24, 64), "u1"))
    elif kind == "cut ImageJ":
        tifffile.imwrite(file, movie(), imagej=True, metadata={"axes": "TYX"})
        _cut(file, 0.6)
    elif kind == "cut pages":
        with tifffile.TiffWriter(file) as writer:
            for page in movie():
                writer.write(page, contiguous=False, metadata=None)
        _cut(file, 0.5)
    elif kind == "float64":
        tifffile.imwrite(file, movie("float32").astype("float64"))


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("text", "not a TIFF"),
        ("empty", "not a TIFF"),
        ("rgb", "a colour image of shape"),
        ("channels", "2 channels"),
        ("z-stack", "axes ZYX"),
        ("two series", "2 images: 0 48 × 64"),
        ("cut ImageJ", "damaged, only 1 of 5 frames"),
        ("cut pages", "damaged: .*invalid page offset"),
        ("float64", "pixels are float64"),
    ],
)
def test_wrong_tiffs(tmp_path: Path, kind: str, says: str) -> None:
    _wrong_tiff(tmp_path / "wrong.tif", kind)
    with pytest.raises(ValueError, match=rf"wrong\.tif: .*{says}.*(accepted|takes one)") as caught:
        build_replay(ReplayConfig(file=Path("wrong.tif")), tmp_path)
    assert "\n" not in str(caught.value)


def _wrong_zarr(folder: Path, kind: str) -> None:
    pixels = np.zeros((3, 2, HEIGHT, WIDTH), "u1")
    if kind == "not zarr":
        folder.mkdir()
    elif kind == "array":
        zarr.create_array(folder, shape=(3, 48, 64), dtype="u1")
    elif kind == "no metadata":
        zarr.create_group(folder)
    elif kind == "no axes":
        zarr.create_group(folder).attrs["ome"] = {"multiscales": [{"datasets": [{"path": "0"}]}]}
    elif kind == "missing array":
        write_ome_zarr(folder, pixels[:, 0], "tyx")
        (folder / "s0" / "zarr.json").unlink()
    elif kind == "channels":
        write_ome_zarr(folder, pixels, "tcyx")
    elif kind == "wrong order":
        write_ome_zarr(folder, pixels[:, 0], "yxt")
    elif kind == "two images":
        zarr.create_group(folder).attrs["ome"] = {"bioformats2raw.layout": 3}
        for name in "01":
            write_ome_zarr(folder / name, pixels[:, 0], "tyx")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("not zarr", ""),
        ("array", ""),
        ("no metadata", "no complete `multiscales`"),
        ("no axes", "no complete `multiscales`"),
        ("missing array", "s0"),
        ("channels", "2 channels"),
        ("wrong order", "axes"),
        ("two images", "2 images: 0 "),
    ],
)
def test_wrong_zarrs(tmp_path: Path, kind: str, says: str) -> None:
    _wrong_zarr(tmp_path / "wrong.zarr", kind)
    with pytest.raises(ValueError, match=rf"wrong\.zarr.*{says}.*(accepted|takes one)") as caught:
        build_replay(ReplayConfig(file=Path("wrong.zarr")), tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_damaged_zarrs_are_named_in_a_line(tmp_path: Path) -> None:
    rng = random.Random(4)
    source = write_ome_zarr(tmp_path / "source.zarr", movie(), "tyx")
    files = sorted(path.relative_to(source) for path in source.rglob("zarr.json"))
    opened = 0
    for number in range(60):
        folder = tmp_path / "movie.zarr"
        shutil.copytree(source, folder)
        target = folder / files[number % len(files)]
        content = bytearray(target.read_bytes())
        for _ in range(rng.choice([1, 3])):
            content[rng.randrange(len(content))] = rng.choice(b'0179"{}[],-. \xff')
        target.write_bytes(content)
        try:
            ReplayedMovie(folder).close()
            opened += 1
        except ValueError as error:
            assert str(error).startswith(str(folder)) and "\n" not in str(error)
        shutil.rmtree(folder)
    assert 0 < opened < 60


def test_one_of_several_images_is_played(tmp_path: Path) -> None:
    pixels = movie()
    both = np.stack([pixels[::-1], pixels], axis=1)
    tifffile.imwrite(tmp_path / "movie.tif", both, imagej=True, metadata={"axes": "TCYX"})
    core = load(tmp_path / "movie.tif", channel=1)
    np.testing.assert_array_equal([snap(core) for _ in range(FRAMES)], pixels)
    tifffile.imwrite(tmp_path / "z.ome.tif", both, ome=True, metadata={"axes": "TZYX"})
    core = load(tmp_path / "z.ome.tif", axis={"z": 0})
    np.testing.assert_array_equal([snap(core) for _ in range(FRAMES)], pixels[::-1])


def test_a_frame_that_is_not_there(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "movie.tif", movie())
    opened = ReplayedMovie(tmp_path / "movie.tif")
    with pytest.raises(IndexError, match=r"no frame 5, there are 0 … 4"):
        opened[5]
    opened.close()


@pytest.mark.skipif(not DATA.exists(), reason="the recorded movies are not here")
@pytest.mark.parametrize(
    ("name", "frames", "dtype"),
    [
        ("movies/mitosis_C1.tif", 51, "uint16"),
        ("movies/mitocheck_h2b.tif", 30, "uint8"),
        ("movies/golgi_bfa.tif", 30, "float32"),
        ("sted/actin_axon_1.tif", 1, "int16"),
        ("sted/actin_dendrite_1.tif", 1, "uint16"),
    ],
)
def test_real_recordings(name: str, frames: int, dtype: str) -> None:
    pixels = tifffile.imread(DATA / name).reshape(frames, *tifffile.imread(DATA / name).shape[-2:])
    assert pixels.dtype == dtype
    assert_plays(DATA / name, pixels)
