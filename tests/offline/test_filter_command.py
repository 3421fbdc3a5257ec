"""`stedfast filter`, as a person types it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
import zarr
from numpy.typing import NDArray

from agent.cli import command
from agent.config.reading import UserError
from agent.offline.files.filtering import as_type, filter_file
from devices.recorded import open_frames
from models.quality.scorer import SHIPPED, QualityScorer
from models.restoration import RestorationNet, Restorer
from models.restoration.weights import save

pytestmark = pytest.mark.usefixtures("one_thread")

Frames = NDArray[np.uint16]
UNITS = ("second", "micrometer", "micrometer")
SIZED = {"unit": "um", "axes": "TYX"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(2)
    network = RestorationNet(depth=1, kernel=3, first=4)
    card = {
        "architecture": network.architecture,
        "normalization": {"low": 2.0, "high": 99.8},
        "calibration": 1.0,
    }
    return save(tmp_path_factory.mktemp("filter") / "weights", [network], card)


@pytest.fixture(scope="module")
def frames() -> Frames:
    return np.random.default_rng(0).poisson(50, (3, 41, 66)).astype(np.uint16)


@pytest.fixture
def work(tmp_path: Path, frames: Frames) -> Path:
    write(tmp_path / "in.tif", frames)
    return tmp_path


def write(file: Path, data: NDArray[Any], **options: Any) -> None:
    """A grey TIFF: of three frames alone, tifffile would make a colour image."""
    tifffile.imwrite(file, data, photometric="minisblack", **options)


def expected(model: Path, frames: NDArray[Any]) -> NDArray[np.float32]:
    restorer = Restorer(model, "cpu")
    return np.stack([restorer.restore(frame).image for frame in frames])


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def run(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["stedfast", "filter", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        command()
    return int(left.value.code or 0)


def test_frames_and_their_errors_are_written(
    work: Path,
    frames: Frames,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    raw = (work / "in.tif").read_bytes()
    words = [work / "in.tif", work / "out.tif", "--model", model, "--device", "cpu"]
    assert run(monkeypatch, *words, "--uncertainty", work / "map.tif") == 0
    assert "3 frames on cpu, uncertainty" in capsys.readouterr().err
    found, errors = tifffile.imread(work / "out.tif"), tifffile.imread(work / "map.tif")
    assert found.dtype == np.uint16 and errors.dtype == np.float32
    np.testing.assert_array_equal(found, np.clip(np.rint(expected(model, frames)), 0, 65535))
    sd = [Restorer(model, "cpu").restore(frame).sd for frame in frames]
    np.testing.assert_array_equal(errors, np.stack(sd))
    assert names(work) == ["in.tif", "map.tif", "out.tif"]
    assert (work / "in.tif").read_bytes() == raw

    assert run(monkeypatch, *words) == 2
    assert "is there already; --overwrite replaces it" in capsys.readouterr().err
    assert run(monkeypatch, *words, "--overwrite") == 0


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint32, np.float32, np.float64])
def test_integers_keep_their_type_and_the_rest_is_float(
    tmp_path: Path, model: Path, frames: Frames, dtype: type[np.generic]
) -> None:
    write(tmp_path / "in.tif", frames.astype(dtype))
    filter_file(tmp_path / "in.tif", tmp_path / "out.tif", str(model), device="cpu")
    found = tifffile.imread(tmp_path / "out.tif")
    whole = np.issubdtype(dtype, np.integer)
    assert found.dtype == (dtype if whole else np.float32)
    exact = expected(model, frames)
    low, high = (np.iinfo(dtype).min, np.iinfo(dtype).max) if whole else (-np.inf, np.inf)
    np.testing.assert_allclose(found, np.clip(exact, low, high), atol=0.5 + 1e-3 if whole else 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint64, np.int64])
def test_what_a_type_cannot_hold_is_clipped(dtype: type[np.integer[Any]]) -> None:
    limits = np.iinfo(dtype)
    image = np.array([-1e30, -0.6, 0.4, 1.6, 1e30], np.float32)
    found = as_type(image, np.dtype(dtype))
    assert found[0] == limits.min and found[1] == max(limits.min, -1)
    assert found[2:4].tolist() == [0, 2] and found[4] >= limits.max - limits.max // 2**52


def test_an_ome_tiff_keeps_its_description(tmp_path: Path, model: Path, frames: Frames) -> None:
    write(
        tmp_path / "in.ome.tif",
        frames,
        metadata={
            "axes": "TYX",
            "PhysicalSizeX": 20.0,
            "PhysicalSizeXUnit": "nm",
            "PhysicalSizeY": 25.0,
            "PhysicalSizeYUnit": "nm",
            "Plane": {"DeltaT": [0.5, 1.5, 4.0], "DeltaTUnit": ["s"] * 3},
        },
    )
    maps = tmp_path / "map.tif"
    filter_file(
        tmp_path / "in.ome.tif", tmp_path / "out.tif", str(model), uncertainty=maps, device="cpu"
    )
    for file in (tmp_path / "out.tif", maps):
        with tifffile.TiffFile(file) as tiff:
            assert tiff.series[0].axes == "TYX" and tiff.series[0].shape == frames.shape
            pixels = tifffile.xml2dict(tiff.ome_metadata or "")["OME"]["Image"]["Pixels"]
        assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeXUnit"]) == (20, "nm")
        assert (pixels["PhysicalSizeY"], pixels["PhysicalSizeYUnit"]) == (25, "nm")
        assert [plane["DeltaT"] for plane in pixels["Plane"]] == [0.5, 1.5, 4]


@pytest.mark.parametrize("target", ["out.tif", "out.ome.tif"])
def test_an_imagej_stack_keeps_its_pixel_size(
    tmp_path: Path, model: Path, frames: Frames, target: str
) -> None:
    about = {"axes": "ZYX", "unit": "um", "spacing": 0.3}
    write(tmp_path / "in.tif", frames, imagej=True, resolution=(50, 40), metadata=about)
    filter_file(tmp_path / "in.tif", tmp_path / target, str(model), device="cpu")
    with tifffile.TiffFile(tmp_path / target) as tiff:
        assert tiff.series[0].axes == "ZYX"
        if target.endswith(".ome.tif"):
            pixels = tifffile.xml2dict(tiff.ome_metadata or "")["OME"]["Image"]["Pixels"]
            assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeY"]) == (0.02, 0.025)
        else:
            assert tiff.imagej_metadata is not None
            assert tiff.imagej_metadata["unit"] == "um"
            assert tiff.imagej_metadata["spacing"] == 0.3
            assert tiff.pages.first.tags["XResolution"].value == (50, 1)
            assert tiff.pages.first.tags["YResolution"].value == (40, 1)


def test_signed_pixels_of_imagej_stay_signed(tmp_path: Path, model: Path, frames: Frames) -> None:
    about = {"axes": "TYX", "unit": "µm", "cf": 0, "c0": -32768, "c1": 1, "vunit": "Gray Value"}
    bright = 40 * frames.astype(np.int32) - 300
    stored = (bright + 32768).astype(np.uint16)
    write(
        tmp_path / "in.tif",
        stored,
        imagej=True,
        resolution=(50, 50),
        metadata=about | {"unit": "um"},
    )
    filter_file(tmp_path / "in.tif", tmp_path / "out.tif", str(model), device="cpu")
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        told, found = tiff.imagej_metadata or {}, tiff.asarray()
    assert found.dtype == np.uint16
    assert {key: told[key] for key in ("cf", "c0", "c1")} == {"cf": 0, "c0": -32768, "c1": 1}
    exact = expected(model, bright.astype(np.int16))
    np.testing.assert_allclose(found.astype(np.int32) - 32768, exact, atol=0.51)


@pytest.mark.parametrize("kind", ["imagej", "ome", "plain"])
def test_a_filtered_file_says_that_it_is(
    tmp_path: Path, model: Path, frames: Frames, kind: str
) -> None:
    sizes = {"PhysicalSizeX": 0.02, "PhysicalSizeY": 0.02} if kind == "ome" else {}
    options: dict[str, Any] = {kind: True} if kind != "plain" else {}
    write(tmp_path / "in.tif", frames, metadata={"axes": "TYX", **sizes}, **options)
    maps = tmp_path / "map.tif"
    done = filter_file(
        tmp_path / "in.tif", tmp_path / "out.tif", str(model), uncertainty=maps, device="cpu"
    )
    for file, shows in ((tmp_path / "out.tif", "frames"), (maps, "standard deviation")):
        with open_frames(file) as found:
            about = found.about()
        step = about.made["filter"]
        assert step["model"] == str(model) and step["shows"] == shows
        assert step["weights_sha256"] == Restorer(model, "cpu").weights_hash()
        assert float(step["uncertainty"]) == pytest.approx(np.mean(done.uncertainty), rel=1e-3)
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        tags = tiff.pages.first.tags
        assert tags["Software"].value == "stedfast"
        if kind == "ome":
            assert tags["XResolution"].value == (500000, 1)
            assert "measured; filtered; uncertainty" in str(tiff.ome_metadata)
    again = tmp_path / "again.tif"
    filter_file(tmp_path / "out.tif", again, str(model), device="cpu")
    with open_frames(again) as found:
        assert found.about().made["filter"]["source"] == "out.tif"


@pytest.mark.parametrize(("pixel_nm", "told"), [(30, True), (22, False), (None, False)])
def test_pixels_that_a_network_was_not_trained_on_are_told(
    work: Path, frames: Frames, pixel_nm: int | None, told: bool
) -> None:
    done = filter_file(
        work / "in.tif", work / "out.tif", "actin-small", device="cpu", pixel_size_nm=pixel_nm
    )
    assert ("pixels of 20 nm, and these are 30 nm" in str(done.note)) == told


@pytest.mark.parametrize("dim", [True, False])
def test_few_counts_are_not_rounded_to_steps(tmp_path: Path, model: Path, dim: bool) -> None:
    rng = np.random.default_rng(3)
    frames = rng.poisson(np.linspace(0.1, 1.5 if dim else 300, 64), (2, 40, 64)).astype(np.uint16)
    write(tmp_path / "in.tif", frames)
    out = tmp_path / "out.tif"
    done = filter_file(tmp_path / "in.tif", out, str(model), device="cpu")
    found, exact = tifffile.imread(out), expected(model, frames)
    assert found.dtype == (np.float32 if dim else np.uint16)
    assert (done.note is not None) == dim
    if dim:
        assert done.note is not None and "written as float32: as uint16 about" in done.note
        np.testing.assert_array_equal(found, exact)
    filter_file(tmp_path / "in.tif", out, str(model), device="cpu", as_float=True, overwrite=True)
    np.testing.assert_array_equal(tifffile.imread(out), exact)


def test_an_ome_zarr_and_plain_pages_become_ome_tiffs(
    tmp_path: Path, model: Path, frames: Frames
) -> None:
    folder, pages = tmp_path / "in.zarr", tmp_path / "pages.tif"
    group = zarr.create_group(folder, zarr_format=3)
    group.create_array("0", shape=frames.shape, chunks=(1, 41, 66), dtype="u2")[:] = frames
    axes = [{"name": name, "unit": unit} for name, unit in zip("tyx", UNITS, strict=True)]
    scale = [{"type": "scale", "scale": [2.5, 0.02, 0.02]}]
    dataset = {"path": "0", "coordinateTransformations": scale}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [dataset]}]}
    with tifffile.TiffWriter(pages) as tiff:
        for frame in frames:
            tiff.write(frame, metadata=None, contiguous=False)
    for source in (folder, pages):
        out = tmp_path / "out.ome.tif"
        filter_file(source, out, str(model), device="cpu", overwrite=True, as_float=True)
        np.testing.assert_array_equal(tifffile.imread(out), expected(model, frames))
        with open_frames(out) as found:
            assert found.axes == "t" and found.description.ome
            if source == folder:
                assert found.scale().interval == (2.5, "second")
                assert found.scale().x == (0.02, "micrometer")


@pytest.mark.parametrize(("shape", "axes"), [((2, 1, 3), "t"), ((2, 3), "tz"), ((2, 2, 2, 1), "t")])
def test_axes_that_ome_has_no_name_for(
    tmp_path: Path, model: Path, shape: tuple[int, ...], axes: str
) -> None:
    frames = np.random.default_rng(0).poisson(90, (*shape, 16, 18)).astype(np.uint16)
    write(tmp_path / "in.tif", frames)
    out = tmp_path / "out.ome.tif"
    filter_file(tmp_path / "in.tif", out, str(model), device="cpu", as_float=True)
    with open_frames(out) as found:
        assert (len(found), found.axes) == (np.prod(shape), axes)
        exact = expected(model, frames.reshape(-1, 16, 18))
        np.testing.assert_array_equal(list(found), exact)


def test_a_plain_tiff_keeps_its_resolution(tmp_path: Path, model: Path, frames: Frames) -> None:
    write(tmp_path / "in.tif", frames[0], resolution=(5e5, 5e5), resolutionunit="CENTIMETER")
    filter_file(tmp_path / "in.tif", tmp_path / "out.tif", str(model), device="cpu")
    with tifffile.TiffFile(tmp_path / "out.tif") as tiff:
        tags = tiff.pages.first.tags
        assert tags["XResolution"].value == (500000, 1)
        assert tags["ResolutionUnit"].value.name == "CENTIMETER"
        assert tiff.series[0].shape == frames[0].shape


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
def test_nothing_half_is_left(
    work: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
) -> None:
    (work / "out.tif").write_bytes(b"an older one")
    stream = Restorer.stream

    def stopping(self: Restorer, frames: Any) -> Iterator[Any]:
        for number, result in enumerate(stream(self, frames)):
            if number == 2:
                assert "out.tif.planes.partial" in names(work), "stopped in the middle"
                raise error
            yield result

    monkeypatch.setattr(Restorer, "stream", stopping)
    words = ["--model", model, "--uncertainty", work / "map.tif", "--overwrite"]
    code = run(monkeypatch, work / "in.tif", work / "out.tif", *words)
    stopped = isinstance(error, KeyboardInterrupt)
    assert code == (130 if stopped else 2)
    assert ("interrupted" if stopped else "cannot be written") in capsys.readouterr().err
    assert names(work) == ["in.tif", "out.tif"]
    assert (work / "out.tif").read_bytes() == b"an older one"


def refused(work: Path, model: Path | str, says: str, **options: Any) -> None:
    """It is, and no file is written."""
    before = names(work)
    options = {"file": work / "in.tif", "out": work / "out.tif"} | options
    with pytest.raises(UserError, match=says) as raised:
        filter_file(model=str(model), **options)
    assert len(str(raised.value).splitlines()) <= 3
    assert names(work) == before


def test_what_was_measured_is_never_overwritten(work: Path, model: Path) -> None:
    file, again = work / "in.tif", work / "again.tif"
    again.symlink_to(file)
    for target in (file, again):
        refused(work, model, "measured data is kept", out=target, overwrite=True)
        refused(work, model, "measured data is kept", uncertainty=target, overwrite=True)


def test_wrong_options_are_named(work: Path, model: Path) -> None:
    refused(work, model, r"found the ending .\.png.; accepted: \.tif", out=work / "out.png")
    refused(work, model, "there is no folder", out=work / "none" / "out.tif")
    refused(work, model, "another file than", uncertainty=work / "out.tif")
    refused(work, model, "no such file", file=work / "none.tif")
    refused(work, model, "--device: found 'tpu'; accepted: auto, cpu", device="tpu")
    refused(work, "aktin", "--model: found 'aktin'; accepted:")
    refused(work, work / "none.safetensors", "--model: .*no such file")
    refused(work, SHIPPED, "--model: .*not the weights of a restoration network")


def test_files_that_cannot_be_filtered_are_named(work: Path, model: Path, frames: Frames) -> None:
    file = work / "in.tif"
    tifffile.imwrite(file, np.zeros((40, 40, 3), np.uint8), photometric="rgb")
    refused(work, model, r"a colour image of shape \(40, 40, 3\); accepted: grey frames")
    write(file, frames, imagej=True, metadata={"axes": "CYX"})
    refused(work, model, "3 channels; accepted: grey frames of one channel")
    write(file, frames[:, :, :5])
    refused(work, model, "frame 0: frame of 41 × 5 pixels; accepted: at least 8 × 8")
    write(file, frames.astype(np.complex64))
    refused(work, model, "complex64; accepted: real numbers")
    file.write_bytes(b"no TIFF at all")
    refused(work, model, "not a readable TIFF file")
    broken = frames.astype(np.float32)
    broken[1, 5, 5] = np.nan
    write(file, broken)
    refused(work, model, "frame 1: frame with 1 values not finite", uncertainty=work / "map.tif")
    with tifffile.TiffWriter(file) as tiff:
        tiff.write(frames[0], photometric="minisblack")
        tiff.write(frames[0, :20], photometric="minisblack")
    refused(work, model, r"2 images: 0 41 × 66 \(YX\); 1 20 × 66 \(YX\); --series N takes one")


def test_a_damaged_frame_is_named(work: Path, model: Path, frames: Frames) -> None:
    file = work / "in.tif"
    write(file, frames, compression="zlib", rowsperstrip=41)
    with tifffile.TiffFile(file) as tiff:
        place = tiff.pages[2].dataoffsets[0]  # type: ignore[union-attr]
    data = bytearray(file.read_bytes())
    data[place : place + 200] = bytes(200)
    file.write_bytes(data)
    refused(work, model, "in.tif, frame 2: not readable")


def test_a_fault_is_told_and_the_file_is_whole(
    work: Path, model: Path, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = Restorer.__init__

    def failing(self: Restorer, *words: Any, **options: Any) -> None:
        start(self, *words, **options)
        cpu = self.computes[0]
        left = [cpu.submit]

        def submit(image: Any, side: int) -> Any:
            if not left:
                raise RuntimeError("CUDA error: device lost")
            return left.pop()(image, side)

        broken = SimpleNamespace(
            device="cuda:0", ahead=1, largest=4096, notes=cpu.notes, submit=submit
        )
        broken.release = lambda: None
        self.computes.insert(0, broken)

    monkeypatch.setattr(Restorer, "__init__", failing)
    done = filter_file(work / "in.tif", work / "out.tif", str(model), device="cpu")
    assert done.faults == ("frame 1: cuda:0: CUDA error: device lost; on cpu from here on",)
    assert done.device == "cpu" and done.frames == len(done.uncertainty) == 3
    monkeypatch.undo()
    found = tifffile.imread(work / "out.tif")
    np.testing.assert_allclose(found, expected(model, frames), atol=0.5 + 1e-3)


@pytest.mark.slow
def test_frames_are_scored_as_they_came(
    work: Path,
    frames: Frames,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write(work / "sized.tif", frames, resolution=(40, 40), imagej=True, metadata=SIZED)
    words = (work / "sized.tif", work / "out.tif", "--model", model, "--score", "--json")
    assert run(monkeypatch, *words) == 0
    told = json.loads(capsys.readouterr().out)
    np.testing.assert_array_equal(
        tifffile.imread(work / "out.tif"), as_type(expected(model, frames), np.dtype("u2"))
    )
    scored = [QualityScorer().score(frame, 25.0) for frame in frames]
    assert [row["score"] for row in told["frames"]] == [score.value for score in scored]
    assert [row["flags"] for row in told["frames"]] == [list(score.flags) for score in scored]
    assert all(row["uncertainty"] > 0 for row in told["frames"])
    assert run(monkeypatch, *words[:-1], "--overwrite") == 0
    assert f"{scored[2].value:.3f} ± {scored[2].sd:.3f}" in capsys.readouterr().out
