"""`stedfast reconstruct`, as a person types it."""

from __future__ import annotations

import json
import sys
from collections import Counter
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
from agent.offline.files import model_choice
from agent.offline.files.model_choice import choose
from agent.offline.files.movies import MovieFile
from agent.offline.files.reconstruction import reconstruct_file
from agent.offline.files.reconstruction_result import Reconstruction
from agent.record.ledger import Ledger
from agent.record.reconstructed import ReconstructedStore
from devices.recorded import Part, Scale, open_frames
from models.interpolation import (
    LIT,
    Adjustment,
    Interpolated,
    Interpolation,
    build,
    on_cpu,
    read_interpolator,
)
from models.interpolation import weights as interpolation_weights
from models.interpolation.weights import save
from tests.helpers.runs import run_session

pytestmark = pytest.mark.usefixtures("one_thread")

Frames = NDArray[Any]


def made(out: Path, seed: int) -> Path:
    """Weights that were not trained."""
    torch.manual_seed(seed)
    sizes = {"widths": [4, 6], "hidden": 8, "synthesis": [4, 6]}
    network = build({"network": "flow", **sizes})
    card = {
        "architecture": network.architecture,
        "normalization": {"low": 1.0, "high": 99.8},
        "calibration": {"one_way": 1.0, "both_ways": 1.0},
    }
    return save(out, network, card)


def lit(model: Path) -> Interpolation:
    """As movies are rebuilt that have too few frames to be fitted to."""
    engine = Interpolation(model, "cpu")
    engine.adjustment = LIT
    return engine


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made(tmp_path_factory.mktemp("weights") / "tiny", 1)


@pytest.fixture(scope="module")
def frames() -> Frames:
    return np.random.default_rng(0).poisson(50, (4, 24, 33)).astype(np.uint16)


@pytest.fixture
def work(tmp_path: Path, frames: Frames) -> Path:
    write(tmp_path / "in.tif", frames)
    return tmp_path


def write(file: Path, data: Frames, **options: Any) -> None:
    options.setdefault("metadata", {"axes": "TYX"})
    tifffile.imwrite(file, data, photometric="minisblack", **options)


def reconstruct(work: Path, model: Path, **options: Any) -> Reconstruction:
    options = {"file": work / "in.tif", "out": work / "out.tif", "device": "cpu"} | options
    return reconstruct_file(model=str(model), **options)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def run(monkeypatch: pytest.MonkeyPatch, *words: str | Path) -> int:
    monkeypatch.setattr(sys, "argv", ["stedfast", "reconstruct", *map(str, words)])
    with pytest.raises(SystemExit) as left:
        command()
    return int(left.value.code or 0)


def pixels_of(file: Path) -> dict[str, Any]:
    with tifffile.TiffFile(file) as tiff:
        found = tifffile.xml2dict(tiff.ome_metadata or "")["OME"]
    pixels: dict[str, Any] = found["Image"]["Pixels"]
    notes = found["StructuredAnnotations"]["MapAnnotation"]
    return {**pixels, **{note["Namespace"]: note["Value"]["M"] for note in notes}}


def kinds(file: Path) -> list[str]:
    """What an OME-TIFF says about its frames."""
    marks = {int(mark["K"]): mark["value"] for mark in pixels_of(file)["stedfast/frames"]}
    assert sorted(marks) == list(range(len(marks)))
    return [str(marks[number]).split(";")[0] for number in sorted(marks)]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.float32, np.float64])
@pytest.mark.parametrize("ending", [".tif", ".ome.zarr"])
def test_measured_frames_are_bit_for_bit_what_they_were(
    tmp_path: Path, model: Path, frames: Frames, dtype: Any, ending: str
) -> None:
    movie = frames.astype(dtype)
    if movie.dtype.kind == "f":
        movie += np.random.default_rng(1).random(movie.shape).astype(dtype) * 1e-3
    write(tmp_path / "in.tif", movie)
    out = tmp_path / f"out{ending}"
    done = reconstruct(tmp_path, model, out=out, factor=3)
    assert (done.frames, done.measured) == (10, 4)
    found = tifffile.imread(out) if ending == ".tif" else np.asarray(zarr.open_array(out / "0"))
    assert found.dtype == movie.dtype and found.shape == (10, 24, 33)
    np.testing.assert_array_equal(found[::3], movie)
    engine = lit(model)
    expected = [frame.image for frame in engine.movie(movie, 3)]
    np.testing.assert_array_equal(found, np.stack(expected))


def test_a_tiff_says_which_frames_were_measured_and_when(
    tmp_path: Path, model: Path, frames: Frames
) -> None:
    about = {
        "axes": "TYX",
        "PhysicalSizeX": 20.0,
        "PhysicalSizeXUnit": "nm",
        "PhysicalSizeY": 25.0,
        "PhysicalSizeYUnit": "nm",
        "TimeIncrement": 2.0,
        "TimeIncrementUnit": "s",
        "Plane": {"DeltaT": [0.0, 2.0, 5.0, 6.0], "DeltaTUnit": ["s"] * 4},
    }
    write(tmp_path / "in.ome.tif", frames, metadata=about)
    maps = tmp_path / "map.tif"
    reconstruct(tmp_path, model, file=tmp_path / "in.ome.tif", uncertainty=maps)
    for file in (tmp_path / "out.tif", maps):
        pixels = pixels_of(file)
        assert (pixels["PhysicalSizeX"], pixels["PhysicalSizeXUnit"]) == (20, "nm")
        assert (pixels["TimeIncrement"], pixels["TimeIncrementUnit"]) == (1, "s")
        times = [plane["DeltaT"] for plane in pixels["Plane"]]
        assert times == [0, 1, 2, 3.5, 5, 5.5, 6]
        assert kinds(file) == ["measured", "reconstructed"] * 3 + ["measured"]
        assert {"K": "model", "value": str(model)} in pixels["stedfast/reconstruction"]
    errors = tifffile.imread(maps)
    assert errors.dtype == np.float32
    assert (errors[::2] == 0).all() and (errors[1::2] > 0).all()


@pytest.mark.slow
def test_a_zarr_image_becomes_one_and_says_so_too(
    tmp_path: Path, model: Path, frames: Frames
) -> None:
    about = {"axes": "TYX", "unit": "um", "finterval": 4.0}
    write(tmp_path / "in.tif", frames, imagej=True, resolution=(50, 40), metadata=about)
    reconstruct(tmp_path, model, out=tmp_path / "twice.ome.zarr")
    done = reconstruct(
        tmp_path, model, file=tmp_path / "twice.ome.zarr", out=tmp_path / "four.ome.zarr"
    )
    assert (done.frames, done.measured) == (13, 4)
    group = zarr.open_group(tmp_path / "four.ome.zarr", mode="r")
    attributes: Any = group.attrs.asdict()
    scales = attributes["ome"]["multiscales"][0]
    assert [axis.get("unit") for axis in scales["axes"]] == ["second", "micrometer", "micrometer"]
    assert scales["datasets"][0]["coordinateTransformations"][0]["scale"] == [1.0, 0.025, 0.02]
    told = attributes["stedfast"]
    assert told["factor"] == 2 and told["source"] == "twice.ome.zarr"
    assert [mark["kind"] for mark in told["frames"][:3]] == [
        "measured",
        "reconstructed",
        "reconstructed",
    ]
    assert [mark["time"] for mark in told["frames"][:3]] == [0, 0.5, 1]
    reconstruct(tmp_path, model, file=tmp_path / "four.ome.zarr")
    assert pixels_of(tmp_path / "out.tif")["TimeIncrement"] == 0.5
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif")[::8], frames)


@pytest.mark.slow
def test_the_command_says_what_it_did(
    work: Path,
    model: Path,
    frames: Frames,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    raw = (work / "in.tif").read_bytes()
    words = [work / "in.tif", work / "out.tif", "--model", model, "--device", "cpu"]
    assert run(monkeypatch, *words) == 0
    assert "7 frames, 4 of them measured, the others by" in capsys.readouterr().err
    assert names(work) == ["in.tif", "out.tif"] and (work / "in.tif").read_bytes() == raw
    assert run(monkeypatch, *words) == 2
    assert "is there already; --overwrite replaces it" in capsys.readouterr().err
    assert run(monkeypatch, *words, "--overwrite", "--json", "--factor", "4") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["frames"], told["measured"], told["reconstructed"]) == (13, 4, 9)
    assert told["faults"] == {} and told["copies"] == [] and told["uncertainty"] > 0


@pytest.mark.slow
def test_odd_frames_are_marked(tmp_path: Path, model: Path, frames: Frames) -> None:
    movie = np.concatenate([frames, frames]).astype(np.float32)
    movie[1, 3, 3] = np.nan
    movie[3] = 7
    movie[5] = movie[4]
    movie[6] = 0.5 * (movie[5] + movie[7])
    write(tmp_path / "in.tif", movie)
    done = reconstruct(tmp_path, model, out=tmp_path / "out.ome.zarr")
    assert done.copies == (5,) and done.blends == (6,)
    faults = done.faults
    assert faults[2] == "1 values not finite" and faults[6] == "blank"
    assert faults[1] == faults[3] == "rebuilt from frames 0 and 2"
    assert faults[10] == "repeats frame 4" and faults[12] == "looks like a blend of its neighbours"
    assert any("frames 5 look like copies" in line for line in done.lines())
    group = zarr.open_group(tmp_path / "out.ome.zarr", mode="r")
    told: Any = group.attrs.asdict()["stedfast"]
    marked = {mark["point"]: mark["fault"] for mark in told["frames"] if "fault" in mark}
    assert marked == faults
    np.testing.assert_array_equal(np.asarray(group["0"])[::2], movie)


def test_two_frames_are_a_movie(tmp_path: Path, model: Path, frames: Frames) -> None:
    write(tmp_path / "in.tif", frames[:2])
    done = reconstruct(tmp_path, model)
    assert (done.frames, done.measured) == (3, 2)


def test_slices_are_taken_for_frames_and_that_is_said(
    tmp_path: Path, model: Path, frames: Frames
) -> None:
    write(tmp_path / "in.tif", frames, imagej=True, metadata={"axes": "ZYX"})
    assert reconstruct(tmp_path, model).note == "its axis Z is taken for time"


@pytest.mark.slow
def test_the_frames_of_a_run_are_a_movie(tmp_path: Path, model: Path) -> None:
    result, folder = run_session(tmp_path, session={}, live={"frames": 4})
    assert result.status == "completed", result.reason
    done = reconstruct(tmp_path, model, file=folder)
    assert (done.frames, done.measured) == (7, 4)
    raw = np.asarray(zarr.open_array(folder / "raw.ome.zarr" / "0", mode="r"))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif")[::2], raw[:4])
    pixels = pixels_of(tmp_path / "out.tif")
    assert pixels["PhysicalSizeX"] == 0.02
    times = [plane["DeltaT"] for plane in pixels["Plane"]]
    assert times == sorted(times) and times[1] == pytest.approx((times[0] + times[2]) / 2)

    ledger = Ledger(folder)
    for entry in list(ledger.entries("shot"))[-1:]:
        ledger.add("shot", {**entry.data, "mode": "confocal"}, 4)
        ledger.add("frame", next(ledger.entries("frame")).data, 4)
    ledger.close()
    refused(tmp_path, model, "frames of 2 kinds; accepted: a run of one mode", file=folder)


@pytest.mark.slow
def test_the_raw_frames_of_a_run_are_that_run(tmp_path: Path, model: Path) -> None:
    result, folder = run_session(tmp_path, session={}, live={"frames": 3})
    assert result.status == "completed", result.reason
    reconstruct(tmp_path, model, file=folder / "raw.ome.zarr")
    ledger = Ledger(folder)
    for entry in list(ledger.entries("shot"))[-1:]:
        ledger.add("shot", {**entry.data, "mode": "confocal"}, 3)
        ledger.add("frame", next(ledger.entries("frame")).data, 3)
    ledger.close()
    refused(tmp_path, model, "frames of 2 kinds", file=folder / "raw.ome.zarr")


@pytest.mark.slow
@pytest.mark.parametrize("ending", [".ome.tif", ".ome.zarr"])
def test_rebuilt_frames_are_rebuilt_anew_and_stay_rebuilt(
    tmp_path: Path, model: Path, frames: Frames, ending: str
) -> None:
    write(tmp_path / "in.tif", frames, metadata={"axes": "TYX"})
    twice, four = tmp_path / f"twice{ending}", tmp_path / f"four{ending}"
    reconstruct(tmp_path, model, out=twice)
    done = reconstruct(tmp_path, model, file=twice, out=four)
    assert (done.frames, done.measured) == (13, 4)
    assert done.note == "3 of its 7 frames were not measured: rebuilt again"
    assert not done.faults
    with open_frames(four) as found:
        assert found.about().kinds == (("measured", *["reconstructed"] * 3) * 4)[:13]
        four_at_once = [one.image for one in lit(model).movie(frames, 4)]
        np.testing.assert_array_equal(list(found), four_at_once)


def test_the_movie_of_a_run_that_skipped_is_rebuilt_from_what_was_measured(
    tmp_path: Path, model: Path, frames: Frames
) -> None:
    store = ReconstructedStore(tmp_path, [4, 7], 4, pixel_size_um=0.02, interval_s=2)
    kinds = ("measured", "reconstructed", "missing", "audited")
    for point, kind in enumerate(kinds):
        for field in (4, 7):
            if kind != "missing":
                store.put(point, field, frames[point] + field)
    store.mark(
        {"point": point, "field": field, "kind": kind}
        for point, kind in enumerate(kinds)
        for field in (4, 7)
    )
    file = tmp_path / "reconstructed.ome.zarr"
    refused(tmp_path, model, r"2 channels \(0 field 4, 1 field 7\)", file=file)
    done = reconstruct(tmp_path, model, file=file, part=Part(at={"c": 1}))
    assert (done.frames, done.measured) == (7, 2)
    found = tifffile.imread(tmp_path / "out.tif")
    np.testing.assert_array_equal(found[[0, 6]], frames[[0, 3]] + 7)
    assert kinds_of(found_kinds(tmp_path / "out.tif")) == {"measured": 2, "reconstructed": 5}


def test_frames_that_a_file_does_not_hold_are_not_measured(
    tmp_path: Path, model: Path, frames: Frames
) -> None:
    file = tmp_path / "in.ome.tif"
    write(file, frames, ome=True, metadata={"axes": "TYX"})
    # The same file without its third frame.
    text = str(tifffile.tiffcomment(file))
    planes = "".join(f'<TiffData FirstT="{t}" IFD="{t}" PlaneCount="1"/>' for t in (0, 1, 3))
    head, _, rest = text.partition("<TiffData")
    tifffile.tiffcomment(file, f"{head}{planes}{rest.partition('/>')[2]}".encode())
    done = reconstruct(tmp_path, model, file=file)
    assert (done.frames, done.measured) == (7, 3)
    assert found_kinds(tmp_path / "out.tif")[4] == "reconstructed"


def test_a_filtered_movie_says_so_when_it_is_rebuilt(
    tmp_path: Path, model: Path, frames: Frames
) -> None:
    told = {"stedfast": {"filter": {"model": "actin"}}}
    write(tmp_path / "in.tif", frames, metadata={"axes": "TYX", **told})
    done = reconstruct(tmp_path, model)
    assert done.note == "its frames were filtered with actin"
    with open_frames(tmp_path / "out.tif") as found:
        assert found.about().made["filter"] == {"model": "actin"}


def found_kinds(file: Path) -> tuple[str, ...]:
    with open_frames(file) as found:
        return found.about().kinds


def kinds_of(kinds: tuple[str, ...]) -> dict[str, int]:
    return dict(Counter(kinds))


def refused(work: Path, model: Path | str, says: str, **options: Any) -> None:
    """It is, and no file is written."""
    before = names(work)
    options.setdefault("out", work / "new.tif")
    with pytest.raises(UserError, match=says) as raised:
        reconstruct(work, model, **options)  # type: ignore[arg-type]
    assert len(str(raised.value).splitlines()) <= 3
    assert names(work) == before


def test_movies_that_cannot_be_rebuilt_are_named(work: Path, model: Path, frames: Frames) -> None:
    file = work / "in.tif"
    write(file, frames[:1])
    refused(work, model, "in.tif: found 1 frame; accepted: movies of 2 and more")
    four = frames.reshape(2, 2, *frames.shape[1:])
    write(file, four, metadata={"axes": "TZYX"})
    refused(work, model, "axes TZYX.*accepted: one movie, frames along one axis")
    with tifffile.TiffWriter(file) as tiff:
        tiff.write(frames[0], photometric="minisblack")
        tiff.write(frames[0, :20], photometric="minisblack")
    refused(work, model, "holds 2 images: .*--series N takes one")
    write(file, np.full((3, 24, 24), np.nan, np.float32))
    refused(work, model, "none of the 3 frames is finite")
    write(file, frames[:, :5])
    refused(work, model, "frame 0 of 5 × 33 pixels; accepted: at least 8 × 8")
    write(file, frames.astype(np.uint64))
    refused(work, model, "pixels of type uint64; accepted: integers of 8 to 32 bits")
    file.write_bytes(b"no TIFF at all")
    refused(work, model, "not a readable TIFF")
    group = work / "empty.zarr"
    zarr.open_group(group, mode="w")
    refused(work, model, "accepted: an OME-Zarr image", file=group)


def test_wrong_options_are_named(work: Path, model: Path) -> None:
    refused(work, model, "--factor: found 1; accepted: 2 to 16", factor=1)
    refused(work, model, r"ending .\.png.; accepted: \.tif, \.tiff or \.zarr", out=work / "out.png")
    refused(work, model, "there is no folder", out=work / "none" / "out.tif")
    refused(work, model, "measured data is kept", out=work / "in.tif", overwrite=True)
    refused(work, model, "another file than", uncertainty=work / "new.tif")
    refused(work, model, "no such file", file=work / "none.tif")
    refused(work, model, "--device: found 'tpu'", device="tpu")
    refused(work, "flwo", "--model: found 'flwo'; accepted:")
    (work / "folder.zarr").mkdir()
    says = "a folder that is no OME-Zarr image is not replaced"
    refused(work, model, says, out=work / "folder.zarr", overwrite=True)


@pytest.mark.slow
@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left on device")])
@pytest.mark.parametrize("ending", [".tif", ".zarr"])
def test_nothing_half_is_left(
    work: Path,
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    ending: str,
) -> None:
    out = work / f"out{ending}"
    reconstruct(work, model, out=out)
    before = names(work)
    movie = Interpolation.movie

    def stopping(self: Interpolation, *words: Any) -> Iterator[Any]:
        for number, result in enumerate(movie(self, *words)):
            if number == 3:
                assert f"out{ending}.planes.partial" in names(work), "stopped in the middle"
                raise error
            yield result

    monkeypatch.setattr(Interpolation, "movie", stopping)
    words = ["--model", model, "--uncertainty", work / "map.tif", "--overwrite"]
    code = run(monkeypatch, work / "in.tif", out, *words)
    stopped = isinstance(error, KeyboardInterrupt)
    assert code == (130 if stopped else 2)
    assert ("interrupted" if stopped else "cannot be written") in capsys.readouterr().err
    assert names(work) == before


@pytest.mark.slow
def test_auto_takes_the_model_that_does_best_on_this_movie(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, frames: Frames
) -> None:
    monkeypatch.setattr(interpolation_weights, "FOLDER", tmp_path)
    made(tmp_path / "flow", 3)
    movie = MovieFile(4, (24, 33), frames.dtype, lambda: iter(frames), Scale())
    alone = choose(movie, "auto", "cpu")
    assert alone.model == "flow" and alone.judged == {}
    # A model that adds much noise to the blend, and one that adds nothing.
    made(tmp_path / "dain", 4)
    noisy = "flow"

    def between(self: Interpolation, before: Frames, after: Frames, t: float = 0.5) -> Any:
        blend = (before + after) / 2
        sign = np.where(np.indices(blend.shape).sum(0) % 2, 1, -1)
        mine = self.weights_hash() == read_interpolator(noisy).card["weights_sha256"]
        return Interpolated(blend + (9 * sign if mine else 0), blend, 0.1)

    monkeypatch.setattr(Interpolation, "between", between)
    found = choose(movie, "auto", "cpu")
    assert found.model == "dain" and found.judged["dain"] == found.judged["linear"]
    assert found.judged["flow"] < found.judged["dain"] - 1
    noisy = "dain"
    assert choose(movie, "auto", "cpu").model == "flow"


def test_auto_tries_no_model_that_never_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []

    def between(before: Frames, after: Frames, t: float) -> Interpolated:
        return Interpolated((before + after) / 2, before, 0.1)

    def opening(model: str, device: str) -> Any:
        opened.append(model)
        return SimpleNamespace(between=between, weights_hash=lambda: model)

    monkeypatch.setattr(model_choice, "opened_model", opening)
    movie = MovieFile(6, (24, 33), np.dtype("u2"), lambda: iter(walking(6)), Scale())
    assert choose(movie, "auto", "cpu").model == "flow"
    assert "zs" not in opened and {"zs", "flow"} <= set(interpolation_weights.shipped())


def walking(count: int) -> Frames:
    """A spot that leaps about, in noise."""
    rng = np.random.default_rng(5)
    rows, columns = np.indices((24, 33))
    places = rng.uniform(8, 16, (count, 2))
    spots = [np.hypot(rows - y, columns - x) < 5 for y, x in places]
    return rng.poisson(100.0 * np.stack(spots) + 20).astype(np.uint16)


@pytest.mark.slow
def test_rebuilt_frames_are_fitted_to_the_movies_own(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = walking(10)
    write(tmp_path / "in.tif", frames)
    maps = {name: tmp_path / f"{name}-sd.tif" for name in ("fitted", "plain")}
    words = [tmp_path / "in.tif", "--model", model, "--device", "cpu"]
    fitted, plain = tmp_path / "fitted.tif", tmp_path / "plain.tif"
    assert run(monkeypatch, *words, fitted, "--uncertainty", maps["fitted"]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "fitted to 8 frames that it has: blur" in said
    assert "of measured pixels" in said
    assert run(monkeypatch, *words, plain, "--no-fit", "--uncertainty", maps["plain"]) == 0
    assert "fitted to" not in capsys.readouterr().err
    assert run(monkeypatch, *words, tmp_path / "again.tif", "--json") == 0
    told = json.loads(capsys.readouterr().out)["fitted"]
    assert told["fitted_to"] == 8 and 0.8 < told["covered"] < 0.97
    # It is in the file, too, and nothing else of it has changed.
    about = {one["K"]: one["value"] for one in pixels_of(fitted)["stedfast/reconstruction"]}
    assert int(about["fitted_to"]) == 8 and float(about["covered"]) == told["covered"]
    assert "fitted_to" not in {one["K"] for one in pixels_of(plain)["stedfast/reconstruction"]}
    both = [tifffile.imread(file) for file in (fitted, plain)]
    np.testing.assert_array_equal(both[0][::2], frames)
    engine = Interpolation(model, "cpu")
    expected = np.stack([frame.image for frame in engine.movie(frames, 2)])
    np.testing.assert_array_equal(both[1], expected)
    names = Adjustment._fields
    engine.adjustment = Adjustment(**{name: told[name] for name in names})
    expected = np.stack([frame.image for frame in engine.movie(frames, 2)])
    assert np.abs(both[0].astype(int) - expected.astype(int)).max() <= 1
    sds = [tifffile.imread(file)[1::2] for file in maps.values()]
    assert np.abs(sds[0] - sds[1]).mean() > 1


def test_frames_lie_where_they_were_taken(tmp_path: Path, model: Path, frames: Frames) -> None:
    uneven = [0.0, 1.0, 4.0, 5.0]
    about = {
        "axes": "TYX",
        "Plane": {"DeltaT": uneven, "DeltaTUnit": ["s"] * 4},
    }
    movie = frames.astype(np.float32)
    movie[1, 3, 3] = np.nan
    write(tmp_path / "in.ome.tif", movie, metadata=about)
    reconstruct(tmp_path, model, file=tmp_path / "in.ome.tif")
    expected = lit(model).between(movie[0], movie[2], 0.125).image
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out.tif")[1], expected)


def test_too_little_memory_is_said_in_a_line(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "in.tif", walking(6))
    monkeypatch.setattr(on_cpu, "free_memory", lambda: 1000)
    refused(tmp_path, model, "--model .*24 × 33 pixels needs more memory than there is")
    says = "in.tif: a frame of 24 × 33 pixels needs more memory"
    refused(tmp_path, model, says, fit=False)
