"""Filters frames with a zoo's model on one device, and says how far mirror images differ."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.restoration.compute import (
    Answer,
    Image,
    Wait,
    as_it_is,
    empty,
    refuse,
    uncertainty,
)
from models.restoration.zoo.geometry import Geometry
from models.restoration.zoo.network import ZooNetwork
from models.restoration.zoo.package import Package

_MIRRORS: tuple[tuple[int, ...], ...] = ((), (0,), (1,), (0, 1))
"""Axes along which a frame is mirrored."""
_BACKGROUND = 2.0
"""Percentile of the image from which its signal is counted, as of a frame of other filters."""


class OnZoo:
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
