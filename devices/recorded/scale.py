"""What a file says of its frames, beside their pixels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from devices.recorded.units import Quantity

MEASURED, AUDITED, RECONSTRUCTED = "measured", "audited", "reconstructed"
"""What stedfast says of a frame: measured; measured, and a rebuilt one was compared with it;
rebuilt from others."""


@dataclass(frozen=True, slots=True)
class Scale:
    """What a pixel and a frame are in the world; None where the file does not say.

    Parameters
    ----------
    y, x
        Side of a pixel.
    z
        Between planes.
    interval
        Between frames.
    times
        Of each frame (s), where each has one.
    planes
        More that is said of each frame, under its name in OME-XML: `ExposureTime`, `PositionX`, …
    """

    y: Quantity | None = None
    x: Quantity | None = None
    z: Quantity | None = None
    interval: Quantity | None = None
    times: tuple[float, ...] | None = None
    planes: Mapping[str, Sequence[Any]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class About:
    """What else a file says.

    Parameters
    ----------
    imagej
        Items of ImageJ's description.
    offset
        To be added to the stored pixels to have the values that the file means: −32768 for signed
        16-bit pixels as ImageJ stores them.
    resolution
        Pixels per unit (x, y) and the unit, as a TIFF's tags have them.
    made
        How stedfast made it, by step (`filter`, `reconstruction`): names and values.
    kinds
        Of each frame: see `MEASURED`; empty where nothing is said.
    """

    imagej: Mapping[str, Any] = field(default_factory=dict)
    offset: int = 0
    resolution: tuple[Any, Any] | None = None
    made: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    kinds: tuple[str, ...] = ()
