"""A model of the zoo with its pre- and postprocessing, run by `bioimageio.core`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.devices import short_of_memory
from models.restoration.compute import Image
from models.restoration.zoo.geometry import Geometry
from models.restoration.zoo.package import Package
from models.restoration.zoo.planes import PlaneTensor
from models.restoration.zoo.tensors import explain, pack, unpack
from models.restoration.zoo.tiling import run_in_tiles
from models.restoration.zoo.weights import load_weights


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
        try:
            self._run = load_weights(package, description, geometry, device)
            self._before, self._after = _steps(description)
        except Exception as error:  # anything that a package's weights or code do wrong
            if short_of_memory(error):
                raise
            raise ValueError(
                f"{self._path}: its {package.weights} weights cannot be loaded, or its processing"
                f" ({explain(error)})"
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
            raise ValueError(f"{self._path}: {explain(error)}") from None
        except MemoryError:
            raise
        except Exception as error:  # anything that a package's description or code does wrong
            raise ValueError(f"{self._path}: {explain(error)}") from None

    def _image(self, frame: Image, side: int) -> Image:
        stat: dict[Any, Any] = {}
        plane = self._processed(self._geometry.takes, frame, self._before, stat)
        made = run_in_tiles(plane, self._geometry, side, self._forward)
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

        sample = Sample(members={of.name: pack(of, plane)}, stat=stat, id=None)
        needed = {
            measure for step in self._before + self._after for measure in step.required_measures
        }
        if ours := {measure for measure in needed if measure.member_id == of.name}:
            stat.update(compute_measures(ours, [sample]))
        for step in steps:
            step(sample)
        return unpack(of, sample.members[of.name])

    def _forward(self, plane: NDArray[Any]) -> NDArray[Any]:
        takes, gives = self._geometry.takes, self._geometry.gives
        return gives.plane(self._run(takes.pack(plane)))


def _steps(description: Any) -> tuple[list[Any], list[Any]]:
    """What is done to a frame before the network, and after it."""
    from bioimageio.core.proc_ops import get_proc

    taken, given = description.inputs[0], description.outputs[0]
    return (
        [get_proc(step, taken) for step in taken.preprocessing],
        [get_proc(step, given) for step in given.postprocessing],
    )
