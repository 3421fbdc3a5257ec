"""What frames a model of the zoo takes: their axes, sizes, pixels and values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from models.restoration.zoo.planes import Lengths, PlaneTensor

PIXEL_FACTOR = 1.25
"""How far pixel sizes may lie apart, as a ratio; chosen."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """What a model takes and gives.

    Parameters
    ----------
    takes, gives
        The tensors.
    rows, columns
        How long they may be.
    halo
        Pixels along each edge of the output that are not to be used.
    padding
        How to continue an image beyond its edges, as in `numpy.pad`.
    fill
        The value for it, where that is constant.
    pixel_nm
        Sides of the pixels that it was made for (nm), rows and columns; None where not described.
    limits
        Smallest and largest value that it takes; None for floats.
    """

    takes: PlaneTensor
    gives: PlaneTensor
    rows: Lengths
    columns: Lengths
    halo: int = 0
    padding: str = "symmetric"
    fill: float = 0.0
    pixel_nm: tuple[float | None, float | None] = (None, None)
    limits: tuple[int, int] | None = None

    def check_pixels(self, pixel_nm: float | None) -> None:
        """Make sure that pixels are of the size that the model was made for.

        Parameters
        ----------
        pixel_nm
            Their side (nm); None: not known, and not compared.

        Raises
        ------
        ValueError
            They are not.
        """
        for made_for in self.pixel_nm:
            if pixel_nm is None or made_for is None:
                continue
            if max(pixel_nm / made_for, made_for / pixel_nm) > PIXEL_FACTOR:
                raise ValueError(
                    f"is for pixels of {made_for:g} nm, and these are {pixel_nm:g} nm; accepted:"
                    f" {made_for / PIXEL_FACTOR:.3g} to {made_for * PIXEL_FACTOR:.3g} nm"
                )

    def check_values(self, frame: NDArray[Any]) -> None:
        """Make sure that a frame's values are of the type that the model takes.

        Raises
        ------
        ValueError
            Some lie beyond it, and would wrap around.
        """
        if self.limits is None:
            return
        least, most = frame.min(), frame.max()
        if least < self.limits[0] or most > self.limits[1]:
            raise ValueError(
                f"frame with values from {least:g} to {most:g}; accepted by this model:"
                f" {self.limits[0]} to {self.limits[1]}"
            )
