"""What a file's own description says of its frames; each format has one of its own.

A description raises its errors only when a caller asks for the part concerned: a camera that plays
a movie does not mind the unit of its pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from devices.recorded.units import Quantity

Place = Mapping[str, int]
"""Where a frame is in its image: an index for each axis but y and x."""


class Description:
    """One that says nothing.

    Attributes
    ----------
    offset
        See `scale.About`.
    ome
        Whether it is OME's, as XML or in OME-Zarr.
    """

    offset: int = 0
    ome: bool = False

    def size(self, axis: str) -> Quantity | None:
        """Distance between pixels along `x` or `y`, or between planes along `z`.

        Raises
        ------
        ImageError
            It is stated in a way that cannot be used.
        """
        return None

    def interval(self) -> Quantity | None:
        """Time between frames.

        Raises
        ------
        ImageError
            It is stated in a way that cannot be used.
        """
        return None

    def times(self, places: Sequence[Place]) -> tuple[float, ...] | None:
        """When each of these frames was taken (s)."""
        return None

    def planes(self, places: Sequence[Place]) -> dict[str, list[Any]]:
        """What else is said of each of these frames; see `scale.Scale`."""
        return {}

    def imagej(self) -> dict[str, Any]:
        """Items of ImageJ's description."""
        return {}

    def resolution(self) -> tuple[Any, Any] | None:
        """Pixels per unit (x, y) and the unit, from a TIFF's tags."""
        return None

    def made(self) -> dict[str, dict[str, str]]:
        """How stedfast made it; see `scale.About`."""
        return {}

    def kinds(self, places: Sequence[Place]) -> tuple[str, ...]:
        """What stedfast says of each of these frames; see `scale.MEASURED`."""
        return ()

    def channels(self) -> list[str]:
        """Names of the channels, as far as there are any."""
        return []
