"""A model of the zoo with its pre- and postprocessing, run by `bioimageio.core`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.devices import short_of_memory
from models.restoration.compute import Image
from models.restoration.zoo.geometry import Geometry, PlaneTensor
from models.restoration.zoo.package import Package
from models.restoration.zoo.tiling import tiled

NEEDED = ('"bioimageio.core>=0.11"', '"onnxruntime>=1.20"')
"""What the extra `bioimageio` installs."""
Run = Callable[[NDArray[Any]], NDArray[Any]]
"""Takes an array with all axes of the input, and gives one with those of the output."""
_SHOWN = 200
"""Characters of another library's message."""


def check_installed(package: Package) -> None:
    """Make sure that what reads and runs a package is installed.

    Raises
    ------
    ValueError
        It is not; says how to install it.
    """
    needed = {"bioimageio": "bioimageio.core"}
    if package.weights == "onnx":
        needed["onnxruntime"] = "onnxruntime"
    if lacking := [name for module, name in needed.items() if find_spec(module) is None]:
        raise ValueError(
            f"{package.path}: is a model of the BioImage Model Zoo, and {' and '.join(lacking)} is"
            f" not installed: python -m pip install {' '.join(NEEDED)} (the extra `bioimageio`)"
        )


def described(package: Package) -> tuple[Any, Geometry]:
    """The description as `bioimageio.spec` reads it, and its geometry; nothing is downloaded.

    Raises
    ------
    ValueError
        It is not valid, its model is not one that filters frames, or the extra is missing.
    """
    check_installed(package)
    from bioimageio.spec import load_model_description

    path = package.path
    try:
        with _never_counted():
            found = load_model_description(
                path.absolute(), format_version="latest", perform_io_checks=False
            )
    except Exception as error:  # of a description that anyone may have written
        raise ValueError(f"{path}: is no valid description ({_said(error)})") from None
    try:
        return found, Geometry.of(_plain(found))
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


@contextmanager
def _never_counted() -> Iterator[None]:
    """Meanwhile the library does not count how complete a description is.

    For that it writes the description out, which its version 0.5.12 cannot with pydantic 2.14:
    every description would be invalid.
    """
    from bioimageio.spec.model.v0_5 import ModelDescr

    name = "_get_metadata_completeness"
    owners = [one for one in ModelDescr.__mro__ if name in vars(one)]
    kept = [vars(one)[name] for one in owners]
    for owner in owners:
        setattr(owner, name, lambda description: 0.0)
    try:
        yield
    finally:
        for owner, method in zip(owners, kept, strict=True):
            setattr(owner, name, method)


def _plain(description: Any) -> dict[str, Any]:
    """Inputs and outputs as plain data, as far as `Geometry` reads them."""
    return {
        key: [
            {
                "id": str(tensor.id),
                "axes": [axis.model_dump(mode="json") for axis in tensor.axes],
                "data": _dumped(tensor.data),
                "pad": _dumped(getattr(tensor, "pad", None)),
            }
            for tensor in getattr(description, key)
        ]
        for key in ("inputs", "outputs")
    }


def _dumped(part: Any) -> Any:
    first = part[0] if isinstance(part, list | tuple) and part else part
    return None if first is None else first.model_dump(mode="json")


class ZooNetwork:
    """A model on one device.

    Parameters
    ----------
    package, description, geometry
        Of the model.
    device
        Torch's name of it.

    Raises
    ------
    ValueError
        Its weights cannot be loaded.
    """

    def __init__(self, package: Package, description: Any, geometry: Geometry, device: str) -> None:
        self._path, self._description, self._geometry = package.path, description, geometry
        self._on_gpu = device != "cpu"
        load = _onnx if package.weights == "onnx" else _torch
        try:
            self._run = load(package, description, geometry, device)
            self._before, self._after = _steps(description)
        except Exception as error:  # anything that a package's weights or code do wrong
            if short_of_memory(error):
                raise
            raise ValueError(
                f"{self._path}: its {package.weights} weights cannot be loaded, or its processing"
                f" ({_said(error)})"
            ) from None

    def image(self, frame: Image, side: int) -> Image:
        """What the model makes of a frame, in tiles of at most `side` pixels.

        Statistics for pre- and postprocessing are the frame's own, also where the description
        asks for those of a data set: a frame must not depend on those before it.

        Raises
        ------
        MemoryError, RuntimeError
            Memory is short, or a GPU fails.
        ValueError
            The model cannot be applied.
        """
        try:
            return self._image(frame, side)
        except RuntimeError as error:
            if short_of_memory(error) or self._on_gpu:
                raise
            raise ValueError(f"{self._path}: {_said(error)}") from None
        except MemoryError:
            raise
        except Exception as error:  # anything that a package's description or code does wrong
            raise ValueError(f"{self._path}: {_said(error)}") from None

    def _image(self, frame: Image, side: int) -> Image:
        stat: dict[Any, Any] = {}
        plane = self._processed(self._geometry.takes, frame, self._before, stat)
        made = tiled(plane, self._geometry, side, self._forward)
        image = self._processed(self._geometry.gives, made, self._after, stat).astype(np.float32)
        if not np.isfinite(image).all():
            raise ValueError("gave values that are not finite")
        return np.ascontiguousarray(image)

    def _processed(
        self, of: PlaneTensor, plane: NDArray[Any], steps: list[Any], stat: dict[Any, Any]
    ) -> NDArray[Any]:
        """A plane after these steps; its statistics, as it comes in, are added to `stat`.

        The library's own pipeline takes all statistics of the input, and fails where a step after
        the network needs those of the output.
        """
        from bioimageio.core import Sample, compute_measures

        sample = Sample(members={of.name: _tensor(of, plane)}, stat=stat, id=None)
        needed = {
            measure for step in self._before + self._after for measure in step.required_measures
        }
        if ours := {measure for measure in needed if measure.member_id == of.name}:
            stat.update(compute_measures(ours, [sample]))
        for step in steps:
            step(sample)
        return _plane(of, sample.members[of.name])

    def _forward(self, plane: NDArray[Any]) -> NDArray[Any]:
        takes, gives = self._geometry.takes, self._geometry.gives
        return gives.plane(self._run(takes.packed(plane)))


def _steps(description: Any) -> tuple[list[Any], list[Any]]:
    """What is done to a frame before the network, and after it."""
    from bioimageio.core.proc_ops import get_proc

    taken, given = description.inputs[0], description.outputs[0]
    return (
        [get_proc(step, taken) for step in taken.preprocessing],
        [get_proc(step, given) for step in given.postprocessing],
    )


def _torch(package: Package, description: Any, geometry: Geometry, device: str) -> Run:
    from bioimageio.core import create_model_adapter

    weights: Any = package.weights
    adapter = create_model_adapter(
        description, devices=[device], weight_format_priority_order=[weights]
    )
    takes, gives = geometry.takes, geometry.gives

    def run(array: NDArray[Any]) -> NDArray[Any]:
        found = adapter.forward({takes.name: _of_array(takes, array)})
        return np.asarray(found[gives.name].to_numpy())

    return run


def _onnx(package: Package, description: Any, geometry: Geometry, device: str) -> Run:
    import onnxruntime
    import torch

    weights = description.weights.onnx
    if getattr(weights, "external_data", None) is not None:
        raise ValueError("they lie in several files; accepted: one")
    options = onnxruntime.SessionOptions()
    # Its own choice is all cores, which then wait in a loop: they belong to the acquisition.
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(
        weights.get_reader().read(), options, providers=["CPUExecutionProvider"]
    )
    (name,) = (one.name for one in session.get_inputs())
    return lambda array: np.asarray(session.run(None, {name: array})[0])


def _tensor(of: PlaneTensor, plane: NDArray[Any]) -> Any:
    return _of_array(of, of.packed(plane))


def _of_array(of: PlaneTensor, array: NDArray[Any]) -> Any:
    from bioimageio.core import AxisId, Tensor

    return Tensor(array, dims=[AxisId(axis) for axis in of.axes])


def _plane(of: PlaneTensor, tensor: Any) -> NDArray[Any]:
    from bioimageio.core import AxisId

    return of.plane(tensor.transpose([AxisId(axis) for axis in of.axes]).to_numpy())


def _said(error: Exception) -> str:
    """What went wrong, in one line; TorchScript has the cause in its last one."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    return lines[-1] if "TorchScript" in lines[0] else " ".join(lines[:2])[:_SHOWN]
