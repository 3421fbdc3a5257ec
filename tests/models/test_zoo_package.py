"""Models of the BioImage Model Zoo as files: what is refused before anything of them is run."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from models.restoration import open_filter
from models.restoration.zoo import description
from models.restoration.zoo.axes import geometry_of
from models.restoration.zoo.geometry import Geometry
from models.restoration.zoo.package import Package, read_package
from models.restoration.zoo.planes import Lengths, PlaneTensor
from models.restoration.zoo.tiling import run_in_tiles, smallest_tile
from tests import faulty
from tests.helpers.zoo import axis, beside, described, files_of, smoothed, zipped

Change = Callable[[dict[str, Any]], None]


def custom(content: dict[str, Any]) -> None:
    step = {"id": "custom", "source": "evil.py", "callable": "evil", "kwargs": {}}
    content["outputs"][0]["postprocessing"] = [step]


def python_weights(content: dict[str, Any]) -> None:
    content["weights"] = {"pytorch_state_dict": {"source": "weights.pt"}}


def remote(content: dict[str, Any]) -> None:
    content["weights"]["torchscript"]["source"] = "https://example.org/weights.pt"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (custom, ["Python code of the package", "allow it by `trust: true` or --trust"]),
        (
            python_weights,
            [
                "pytorch_state_dict",
                "accepted: torchscript, onnx",
                "allow it by `trust: true` or --trust",
            ],
        ),
        (lambda it: it.update(weights={"keras_hdf5": {"source": "w"}}), ["keras_hdf5", "onnx"]),
        (remote, ["https://example.org/weights.pt", "nothing is loaded from the network"]),
        (lambda it: it["inputs"][0].update(output_of="other"), ["output of another model, other"]),
        (lambda it: it["weights"]["torchscript"].update(sha256="0" * 64), ["its description says"]),
        (lambda it: it["weights"]["torchscript"].update(source="gone.pt"), ["has no gone.pt"]),
        (lambda it: it.update(type="dataset"), ["found type 'dataset'", "type: model"]),
        (lambda it: it.update(inputs=[]), ["inputs: found []"]),
        (lambda it: it.update(weights=3), ["weights: found 3"]),
    ],
)
@pytest.mark.parametrize("as_file", [True, False])
def test_a_package_that_may_not_be_run_is_refused(
    change: Change, named: list[str], as_file: bool, tmp_path: Path
) -> None:
    content = described()
    change(content)
    weights = content["weights"]
    files = files_of(content if isinstance(weights, dict) else described(), b"weights")
    if not isinstance(weights, dict):
        files["rdf.yaml"] = b"type: model\ninputs: [{}]\noutputs: [{}]\nweights: 3\n"
    path = zipped(tmp_path / "m.zip", files) if as_file else beside(tmp_path / "m", files)
    with pytest.raises(ValueError) as refused:
        read_package(path)
    assert str(refused.value).startswith(f"{path}: ")
    for name in named:
        assert name in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize("change", [custom, python_weights])
def test_python_code_is_a_matter_of_trust(change: Change, tmp_path: Path) -> None:
    content = described()
    change(content)
    path = zipped(tmp_path / "m.zip", files_of(content, b"weights"))
    assert read_package(path, trust=True).weights == next(iter(content["weights"]))


def test_weights_that_hold_no_python_come_first(tmp_path: Path) -> None:
    content = described()
    content["weights"] = {
        name: {"source": "weights.pt"} for name in ("pytorch_state_dict", "onnx", "torchscript")
    }
    path = zipped(tmp_path / "m.zip", files_of(content, b"weights"))
    assert read_package(path, trust=True).weights == "torchscript"


@pytest.mark.parametrize(
    ("name", "data", "named"),
    [
        ("m.zip", None, "no such file; accepted: a model of the BioImage Model Zoo"),
        ("m.zip", b"no zip at all", "not a readable .zip"),
        ("rdf.yaml", b"a: [", "not readable YAML"),
        ("rdf.yaml", b"\xff\xfe\x00", "not readable YAML"),
        ("rdf.yaml", b"just text", "found no type"),
    ],
)
def test_another_file_is_refused(name: str, data: bytes | None, named: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_bytes(data)
    with pytest.raises((OSError, ValueError), match=named):
        read_package(path)


def test_a_zip_without_description_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no rdf\.yaml"):
        read_package(zipped(tmp_path / "m.zip", {"weights.pt": b"weights"}))


def test_the_hash_is_of_all_that_decides(tmp_path: Path) -> None:
    """Of a folder, too: weights that are replaced beside the same description are others."""
    content = described(weights={"onnx": {"source": "weights.pt", "sha256": None}})
    del content["weights"]["onnx"]["sha256"]
    files = files_of(content, b"weights")
    files["rdf.yaml"] = files["rdf.yaml"].replace(b"sha256", b"other")
    path = beside(tmp_path / "m", files)
    first = read_package(path).sha256
    assert first == read_package(path).sha256 and len(first) == 64
    (tmp_path / "m" / "weights.pt").write_bytes(b"others")
    second = read_package(path).sha256
    (tmp_path / "m" / "notes.txt").write_bytes(b"named nowhere")
    assert first != second == read_package(path).sha256
    one = zipped(tmp_path / "one.zip", files)
    other = zipped(tmp_path / "other.zip", {**files, "README.md": b"# other\n"})
    assert read_package(one).sha256 != read_package(other).sha256


def test_what_is_missing_is_said_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(description, "find_spec", lambda module: None)
    path = zipped(tmp_path / "m.zip", files_of(described(), b"weights"))
    with pytest.raises(ValueError) as refused:
        open_filter(path, "cpu")
    assert f"{path}: is a model of the BioImage Model Zoo" in str(refused.value)
    project = tomllib.loads((faulty.ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    needed = project["project"]["optional-dependencies"]["bioimageio"]
    command = " ".join(["python -m pip install", *(f'"{package}"' for package in needed)])
    assert command in str(refused.value)


# ------------------------------------------------------------------- axes, sizes and pixels


def spoiled(where: str, index: int, **changes: Any) -> dict[str, Any]:
    content = described()
    content[where][0]["axes"][index].update(changes)
    return content


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (
            spoiled("inputs", 1, channel_names=["red", "green"]),
            "raw: has 2 channels; accepted: one",
        ),
        (spoiled("outputs", 1, channel_names=["a", "b", "c"]), "smooth: has 3 channels"),
        (spoiled("inputs", 2, id="z"), "raw: has an axis z"),
        (spoiled("inputs", 2, type="time", id="time", size=5), "raw: has an axis time"),
        (spoiled("outputs", 3, size={"tensor_id": "raw", "axis_id": "x", "offset": -4}), "axis x"),
        (spoiled("outputs", 3, scale=0.5), "axis x: comes out longer or shorter"),
        (spoiled("outputs", 2, size=64), "axis y: comes out longer or shorter"),
        (spoiled("inputs", 3, size={"tensor_id": "raw", "axis_id": "y"}), "its length follows"),
        (described(inputs=described()["inputs"] * 2), "has 2 inputs; accepted: models of one"),
        (described(outputs=described()["outputs"] * 3), "has 3 outputs; accepted: models of one"),
    ],
)
def test_a_model_of_another_shape_is_refused(content: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=named):
        geometry_of(content)


def test_a_plane_of_a_volume_of_one_plane_is_a_plane() -> None:
    content = described()
    for where in ("inputs", "outputs"):
        content[where][0]["axes"].insert(2, axis("z", 1))
    assert geometry_of(content).takes.pack(np.zeros((4, 6))).shape == (1, 1, 1, 4, 6)


@pytest.mark.parametrize(
    ("unit", "scale", "pixel_nm", "fits"),
    [
        ("nanometer", 20, 20.0, True),
        ("micrometer", 0.02, 24.0, True),
        ("micrometer", 0.02, 26.0, False),
        ("micrometer", 0.02, 15.0, False),
        ("micrometer", 0.02, None, True),
        (None, 0.02, 500.0, True),
        ("foot", 0.02, 500.0, True),
    ],
)
def test_pixels_are_compared_with_those_it_was_made_for(
    unit: str | None, scale: float, pixel_nm: float | None, fits: bool
) -> None:
    geometry = geometry_of(
        spoiled("inputs", 3, unit=unit, scale=scale) | {"outputs": _scaled(scale)}
    )
    if fits:
        geometry.check_pixels(pixel_nm)
        return
    with pytest.raises(ValueError, match=r"is for pixels of 20 nm, and these are .*; accepted: 16"):
        geometry.check_pixels(pixel_nm)


def _scaled(scale: float) -> list[dict[str, Any]]:
    given: list[dict[str, Any]] = spoiled("outputs", 3, scale=scale)["outputs"]
    return given


def test_values_beyond_the_type_that_it_takes_are_refused() -> None:
    content = described()
    content["inputs"][0]["data"] = {"type": "uint8"}
    geometry = geometry_of(content)
    geometry.check_values(np.array([[0.0, 255.0]]))
    with pytest.raises(ValueError, match="values from 0 to 256; accepted by this model: 0 to 255"):
        geometry.check_values(np.array([[0.0, 256.0]]))


# ------------------------------------------------------------------------------------ tiles

PLANE = PlaneTensor("raw", ("y", "x"))


def valid(plane: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The convolution of `smoothed`, of a plane as it is given: its edge is not to be used."""
    found = smoothed(plane)
    found[[0, -1]] = found[:, [0, -1]] = np.nan
    return found


@pytest.mark.parametrize("shape", [(301, 117), (16, 16), (8, 41)])
@pytest.mark.parametrize(
    ("lengths", "side"), [(Lengths(16, 4), 2048), (Lengths(16, 4), 80), (Lengths(48, 0), 2048)]
)
def test_tiles_leave_no_seam(shape: tuple[int, int], lengths: Lengths, side: int) -> None:
    geometry = Geometry(PLANE, PLANE, lengths, lengths, halo=2)
    seen: list[tuple[int, ...]] = []

    def network_(plane: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        seen.append(plane.shape)
        return valid(plane)

    plane = np.random.default_rng(0).random(shape)
    np.testing.assert_allclose(run_in_tiles(plane, geometry, side, network_), smoothed(plane))
    for given in seen:
        assert all(lengths.fitting(length) == length for length in given)
        assert max(given) <= max(side, lengths.least)
    assert side >= smallest_tile(geometry) or lengths.step == 0


def test_a_plane_of_another_size_is_refused() -> None:
    geometry = Geometry(PLANE, PLANE, Lengths(16, 4), Lengths(16, 4))
    with pytest.raises(ValueError, match="16 × 16 and 8 × 8 pixels; accepted: of one size"):
        run_in_tiles(np.zeros((16, 16)), geometry, 64, lambda plane: plane[::2, ::2])


def test_a_package_says_what_it_is(tmp_path: Path) -> None:
    path = zipped(tmp_path / "m.zip", files_of(described(), b"weights"))
    found = read_package(path)
    assert found == Package(path, "torchscript", found.sha256)
