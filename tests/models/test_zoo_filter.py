"""Models of the BioImage Model Zoo as filters: run as their description says."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

from models.restoration import check_model, open_filter
from models.restoration.zoo.engine import ZooFilter
from tests.helpers.zoo import (
    Failing,
    Smooth,
    axis,
    beside,
    described,
    files_of,
    scripted,
    smoothed,
    zipped,
)

pytest.importorskip("bioimageio.core", reason="the extra `bioimageio` is not installed")
pytestmark = pytest.mark.usefixtures("one_thread")

Frame = NDArray[np.uint16]


@pytest.fixture(scope="module")
def weights() -> bytes:
    return scripted(Smooth())


@pytest.fixture
def frame() -> Frame:
    return np.random.default_rng(1).poisson(40, (45, 62)).astype(np.uint16)


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing may be fetched, whatever a description names."""

    def refuse(*given: Any) -> NoReturn:
        raise AssertionError(f"reached for the network: {given}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def mirrored(frame: NDArray[Any]) -> list[NDArray[np.float64]]:
    """What the four mirror images of a frame become, each put back."""
    ways: list[tuple[int, ...]] = [(), (0,), (1,), (0, 1)]
    return [np.flip(smoothed(np.flip(frame, axes)), axes) for axes in ways]


@pytest.mark.parametrize("folder", [True, False])
def test_a_frame_becomes_what_the_network_makes_of_it(
    folder: bool, frame: Frame, weights: bytes, tmp_path: Path
) -> None:
    files = files_of(described(), weights)
    path = beside(tmp_path / "m", files) if folder else zipped(tmp_path / "m.zip", files)
    restorer = open_filter(path, "cpu")
    found = restorer.restore(frame)
    np.testing.assert_allclose(found.image, smoothed(frame), rtol=1e-5)
    np.testing.assert_allclose(found.sd, np.std(mirrored(frame), axis=0), atol=1e-4)
    assert found.sd.max() > 1, "its kernel is not symmetric"
    signal = np.abs(found.image - np.percentile(found.image, 2)).mean()
    assert found.uncertainty == pytest.approx(found.sd.mean() / signal, rel=1e-4)
    assert (found.device, found.fault, len(restorer.weights_hash())) == ("cpu", None, 64)


@pytest.mark.parametrize("tile", [80, None])
def test_tiles_change_nothing(
    tile: int | None, frame: Frame, weights: bytes, tmp_path: Path
) -> None:
    large = np.tile(frame, (5, 3))
    path = zipped(tmp_path / "m.zip", files_of(described(), weights))
    found = ZooFilter(path, "cpu", tile=tile).restore(large)
    np.testing.assert_allclose(found.image, smoothed(large), rtol=1e-5)


def test_a_model_of_one_size_takes_a_frame_in_tiles(
    frame: Frame, weights: bytes, tmp_path: Path
) -> None:
    content = described()
    for at in (2, 3):
        content["inputs"][0]["axes"][at]["size"] = 32
    path = zipped(tmp_path / "m.zip", files_of(content, weights))
    np.testing.assert_allclose(
        open_filter(path, "cpu").restore(frame).image, smoothed(frame), rtol=1e-5
    )


def test_axes_may_come_in_another_order(frame: Frame, weights: bytes, tmp_path: Path) -> None:
    content = described()
    for where in ("inputs", "outputs"):
        axes = content[where][0]["axes"]
        axes[2], axes[3] = axes[3], axes[2]
    path = zipped(tmp_path / "m.zip", files_of(content, weights))
    found = open_filter(path, "cpu").restore(frame).image
    np.testing.assert_allclose(found, smoothed(frame.T).T, rtol=1e-5)


@pytest.mark.parametrize(
    "after",
    [
        [{"id": "clip", "kwargs": {"min": 0.0}}],
        [{"id": "scale_mean_variance", "kwargs": {"reference_tensor": "raw", "axes": ["y", "x"]}}],
    ],
)
def test_a_frame_is_processed_as_the_description_says(
    after: list[Any], frame: Frame, weights: bytes, tmp_path: Path
) -> None:
    """Also where it asks for a data set's statistics: then it is one of this frame alone."""
    content = described()
    content["inputs"][0]["preprocessing"] = [
        {"id": "zero_mean_unit_variance", "kwargs": {"axes": ["batch", "channel", "y", "x"]}},
        {"id": "scale_linear", "kwargs": {"gain": 0.5, "offset": 0.5}},
    ]
    content["outputs"][0]["postprocessing"] = after
    path = zipped(tmp_path / "m.zip", files_of(content, weights))
    restorer = open_filter(path, "cpu")
    restorer.restore(3 * frame + 7)
    made = smoothed(0.5 * (frame - frame.mean()) / frame.std() + 0.5)
    if after[0]["id"] == "clip":
        expected = made.clip(min=0)
    else:
        expected = (made - made.mean()) / made.std() * frame.std() + frame.mean()
    np.testing.assert_allclose(restorer.restore(frame).image, expected, rtol=1e-4, atol=1e-4)


def test_an_older_description_is_read_as_well(frame: Frame, weights: bytes, tmp_path: Path) -> None:
    content = described(format_version="0.4.10", timestamp="2024-05-01T10:00:00")
    content["inputs"] = [
        {
            "name": "raw",
            "axes": "bcyx",
            "data_type": "float32",
            "shape": {"min": [1, 1, 16, 16], "step": [0, 0, 4, 4]},
        }
    ]
    content["outputs"] = [
        {
            "name": "smooth",
            "axes": "bcyx",
            "data_type": "float32",
            "halo": [0, 0, 4, 4],
            "shape": {"reference_tensor": "raw", "scale": [1, 1, 1, 1], "offset": [0, 0, 0, 0]},
        }
    ]
    content |= {"test_inputs": ["in.npy"], "test_outputs": ["out.npy"]}
    path = zipped(tmp_path / "m.zip", files_of(content, weights))
    np.testing.assert_allclose(
        open_filter(path, "cpu").restore(frame).image, smoothed(frame), rtol=1e-5
    )


def test_onnx_weights_give_the_same(frame: Frame, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx", reason="writes the test's weights")
    from onnx import TensorProto, helper, numpy_helper

    from tests.helpers.zoo import KERNEL

    shape = [1, 1, None, None]
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy"]
    kernel = numpy_helper.from_array(KERNEL.astype(np.float32)[None, None], "kernel")
    node = helper.make_node("Conv", ["x", "kernel"], ["y"], pads=[1, 1, 1, 1])
    graph = helper.make_graph([node], "smooth", values[:1], values[1:], [kernel])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    content = described(weights={"onnx": {"source": "weights.pt", "opset_version": 17}})
    content["weights"]["onnx"]["source"] = "weights.onnx"
    data = model.SerializeToString()
    files = files_of(content, b"", **{"weights.onnx": data})
    path = zipped(tmp_path / "m.zip", files)
    assert onnx is not None
    np.testing.assert_allclose(
        open_filter(path, "auto").restore(frame).image, smoothed(frame), rtol=1e-5
    )
    with pytest.raises(ValueError, match="device"):
        open_filter(path, "cuda")


def test_python_code_runs_only_when_it_is_trusted(frame: Frame, tmp_path: Path) -> None:
    code = (
        "from pathlib import Path\n"
        f"Path({str(tmp_path / 'ran')!r}).touch()\n"
        "def halves(**given):\n"
        "    return lambda array: array / 2\n"
    )
    content = described()
    content["outputs"][0]["postprocessing"] = [
        {"id": "custom", "source": "code.py", "callable": "halves", "kwargs": {}}
    ]
    path = zipped(
        tmp_path / "m.zip", files_of(content, scripted(Smooth()), **{"code.py": code.encode()})
    )
    with pytest.raises(ValueError, match="allow it by `trust: true` or --trust"):
        open_filter(path, "cpu")
    assert not (tmp_path / "ran").exists()
    found = open_filter(path, "cpu", trust=True).restore(frame).image
    np.testing.assert_allclose(found, smoothed(frame) / 2, rtol=1e-5)
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "weights_", "named"),
    [
        ({"license": 3}, b"", "is no valid description"),
        ({}, b"no network", "its torchscript weights cannot be loaded"),
    ],
)
def test_a_damaged_package_is_refused(
    changes: dict[str, Any], weights_: bytes, named: str, weights: bytes, tmp_path: Path
) -> None:
    path = zipped(tmp_path / "m.zip", files_of(described(**changes), weights_ or weights))
    with pytest.raises(ValueError, match=named) as refused:
        open_filter(path, "cpu")
    assert str(refused.value).startswith(f"{path}: ") and "\n" not in str(refused.value)


def test_other_pixels_are_refused(weights: bytes, tmp_path: Path) -> None:
    content = described()
    for where in ("inputs", "outputs"):
        for at in (2, 3):
            content[where][0]["axes"][at].update(unit="micrometer", scale=0.05)
    path = zipped(tmp_path / "m.zip", files_of(content, weights))
    check_model(path, pixel_size_nm=50)
    with pytest.raises(ValueError, match=r"m\.zip: is for pixels of 50 nm, and these are 20 nm"):
        check_model(path, pixel_size_nm=20)


def test_a_frame_that_it_fails_at_is_named_and_the_next_one_works(
    frame: Frame, tmp_path: Path
) -> None:
    path = zipped(tmp_path / "m.zip", files_of(described(), scripted(Failing())))
    restorer = open_filter(path, "cpu")
    dim = frame.clip(max=50)
    with pytest.raises(ValueError, match=r"m\.zip: .*Expected size") as refused:
        restorer.restore(10 * frame)
    assert "\n" not in str(refused.value)
    np.testing.assert_array_equal(restorer.restore(dim).image, dim)


def test_axes_of_one_element_are_taken(frame: Frame, tmp_path: Path) -> None:
    class Volume(Smooth):
        def forward(self, frame: Any) -> Any:
            return super().forward(frame[:, :, 0])[:, :, None]

    content = described()
    for where in ("inputs", "outputs"):
        content[where][0]["axes"].insert(2, axis("z", 1))
    import torch

    data = tmp_path / "volume.pt"
    torch.jit.trace(Volume(), torch.zeros(1, 1, 1, 16, 16)).save(data)
    path = zipped(tmp_path / "m.zip", files_of(content, data.read_bytes()))
    np.testing.assert_allclose(
        open_filter(path, "cpu").restore(frame).image, smoothed(frame), rtol=1e-5
    )
