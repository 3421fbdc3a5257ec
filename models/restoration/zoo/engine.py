"""Filters frames with a model of the BioImage Model Zoo."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.accelerator import Accelerator
from models.devices import gpu
from models.restoration.compute import (
    Answer,
    Compute,
    Image,
    Wait,
    as_it_is,
    empty,
    refuse,
    uncertainty,
)
from models.restoration.frame_filter import FrameFilter
from models.restoration.zoo.geometry import Geometry
from models.restoration.zoo.network import ZooNetwork, described
from models.restoration.zoo.package import Package, read_package
from models.restoration.zoo.tiling import smallest_tile

_MIRRORS: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (0, 1))
"""Axes along which a frame is mirrored."""
_BACKGROUND = 2.0
"""Percentile of the image from which its signal is counted, as of a frame of other filters."""


def check_zoo(
    model: str | Path, *, pixel_size_nm: float | None = None, trust: bool = False
) -> tuple[Package, Any, Geometry]:
    """A model as far as it is known without its weights: package, description and geometry.

    Parameters
    ----------
    model, pixel_size_nm, trust
        As of `ZooFilter`.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It cannot be used; says why, and what is accepted.
    """
    package = read_package(Path(model), trust=trust)
    description, geometry = described(package)
    try:
        geometry.check_pixels(pixel_size_nm)
    except ValueError as error:
        raise ValueError(f"{package.path}: {error}") from None
    return package, description, geometry


class ZooFilter(FrameFilter):
    """Filters frames with a model of the BioImage Model Zoo.

    The image is what the model makes of the frame, processed as its description says; its unit is
    that of the description. The model says nothing of its error. `sd` is instead how far its
    results differ for the frame and its three mirror images: what a filter invents differs more,
    but an error that is the same in all of them is not seen. It is not calibrated.

    Parameters
    ----------
    model
        A .zip, or an `rdf.yaml` beside its files.
    device
        As of `Restorer`. ONNX weights are computed on the CPU.
    tile
        Longest side (pixels) of a tile, overlap included; by default 2048.
    pixel_size_nm
        Of the frames (nm); compared with that of the description. None: not compared.
    trust
        Whether Python code of the package may be run.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It cannot be used; says why, and what is accepted.
    """

    def __init__(
        self,
        model: str | Path,
        device: str | Accelerator = "auto",
        *,
        tile: int | None = None,
        pixel_size_nm: float | None = None,
        trust: bool = False,
    ) -> None:
        found = check_zoo(model, pixel_size_nm=pixel_size_nm, trust=trust)
        package, _, geometry = found
        name = gpu(device) if isinstance(device, str) else device.place
        if package.weights == "onnx":
            if name is not None and device != "auto":
                raise ValueError(
                    f"device: found {device!r}; accepted for ONNX weights: auto or cpu"
                )
            name = None
        places: list[Compute] = [_OnZoo(found, "cpu")]
        if name is not None:
            places.insert(0, _OnZoo(found, name))
        card = {"weights_sha256": package.sha256, "weights": package.weights}
        super().__init__(card, places, smallest_tile(geometry), tile)


class _OnZoo:
    """A device that computes; the GPU's memory is not touched before the first frame."""

    largest = 2048
    ahead = 0

    def __init__(self, model: tuple[Package, Any, Geometry], device: str) -> None:
        self._model, self.device = model, device
        self._network = ZooNetwork(*model, device) if device == "cpu" else None

    def submit(self, frame: NDArray[Any], side: int) -> Wait:
        """Computed when it is waited for."""
        with np.errstate(over="ignore"):
            checked = frame.astype(np.float32)
        finite = np.isfinite(checked)
        refuse(0 if finite.all() else int((~finite).sum()))
        self._model[2].check_values(checked)

        def wait() -> Answer:
            if empty(int(np.count_nonzero(frame != frame.min())), frame.size):
                return as_it_is(frame)
            if self._network is None:
                self._network = ZooNetwork(*self._model, self.device)
            return _answer(checked, side, self._network)

        return wait

    def notes(self) -> list[str]:
        """Nothing is got around here."""
        return []

    def release(self) -> None:
        """Give back the memory of a GPU."""
        if self.device != "cpu":
            import torch

            self._network = None
            torch.cuda.empty_cache()


def _answer(frame: Image, side: int, network: ZooNetwork) -> Answer:
    """What the network makes of a frame, and how far its mirror images differ from it."""
    image: Image | None = None
    total = square = np.zeros(frame.shape)
    for axes in _MIRRORS:
        made = np.flip(network.image(np.ascontiguousarray(np.flip(frame, axes)), side), axes)
        image = made if image is None else image
        # From the first one: of large offsets the squares would lose all digits.
        away = made.astype(np.float64) - image
        total, square = total + away, square + away**2
    assert image is not None
    count = len(_MIRRORS)
    sd = np.sqrt(np.maximum(square / count - (total / count) ** 2, 0)).astype(np.float32)
    background = np.percentile(image, _BACKGROUND)
    signal = float(np.abs(image - background).mean(dtype=np.float64))
    mean_sd = float(sd.mean(dtype=np.float64))
    return Answer(image, sd, uncertainty(signal, mean_sd))
