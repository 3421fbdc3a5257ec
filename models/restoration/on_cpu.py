"""Filters frames on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from models.restoration.compute import (
    Answer,
    Image,
    Wait,
    as_it_is,
    empty,
    planes,
    refuse,
    uncertainty,
)
from models.restoration.folded import Folded
from models.restoration.network import RestorationNet
from models.restoration.normalization import Normalization
from models.restoration.tiles import cut


class OnCpu:
    """Single precision, with the members' convolutions folded (see `folded`).

    Parameters
    ----------
    members, calibration, normalization
        Of the weights file.
    """

    device = "cpu"
    # 2048² pixels through 32 filters of the first level take about 2 GiB.
    largest = 2048
    ahead = 0

    def __init__(
        self,
        members: Sequence[RestorationNet],
        calibration: float,
        normalization: Normalization,
    ) -> None:
        self._reach, self._multiple = members[0].reach, members[0].multiple
        self._members = [Folded(member).eval() for member in members]
        self._calibration, self._normalization = calibration, normalization

    def submit(self, frame: NDArray[Any], side: int) -> Wait:
        """Computed when it is waited for: there is nothing beside which it could run."""
        with np.errstate(over="ignore"):
            checked = frame.astype(np.float32)
        finite = np.isfinite(checked)
        refuse(0 if finite.all() else int((~finite).sum()))

        def wait() -> Answer:
            if empty(int(np.count_nonzero(frame != frame.min())), frame.size):
                return as_it_is(frame)
            offset, scale = self._normalization.of(checked)
            image = Normalization.apply(checked, offset, scale)
            gaps = [(0, -length % self._multiple) for length in checked.shape]
            if any(gap for _, gap in gaps):
                image = np.pad(image, gaps, mode="reflect")
            rows, columns = checked.shape
            location, sd = self._tiled(image, side)[:, :rows, :columns]
            signal = float(np.abs(location).mean(dtype=np.float64))
            return Answer(
                Normalization.undo(location, offset, scale),
                (sd * np.float32(scale)).astype(np.float32, copy=False),
                uncertainty(signal, float(sd.mean(dtype=np.float64))),
            )

        return wait

    def _tiled(self, image: Image, side: int) -> Image:
        """Location and standard deviation, both normalized."""
        rows, columns = image.shape
        tiles = cut((rows, columns), side, self._reach, self._multiple)
        if len(tiles) == 1:
            return self._planes(image)
        whole = np.empty((2, rows, columns), np.float32)
        for tile in tiles:
            found = self._planes(image[tile.window])
            whole[(slice(None), *tile.core)] = found[(slice(None), *tile.inner)]
        return whole

    def _planes(self, image: Image) -> Image:
        ready = torch.from_numpy(np.ascontiguousarray(image))[None, None]
        with torch.inference_mode():
            found: Image = planes(self._members, self._calibration, ready).numpy()
        return found

    def notes(self) -> list[str]:
        """Nothing is got around here."""
        return []

    def release(self) -> None:
        """Nothing is held between two frames."""
