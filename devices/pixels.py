"""What Micro-Manager's pixel size configurations say of a pixel: its size, and where it lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devices.affine import Affine
from devices.config import MicroscopeConfig
from devices.imspector.labels import PIXEL_SIZE, SCAN

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

OURS = "stedfast"
"""The configuration that a core without any gets; see `devices.loading`."""
_UNTOLD = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
"""The core's affine where it was given none."""
ALIKE = 0.05
"""Relative difference that two calibrations of one microscope may have."""


def own_pixel_um(
    core: UniMMCore, config: MicroscopeConfig, *, cached: bool = False
) -> float | None:
    """Side of a pixel (µm) at the moment by the `.cfg` or Imspector; None where it says nothing.

    Parameters
    ----------
    core, config
        The devices, and what they were opened from.
    cached
        By what the devices were last told or asked, instead of asking them.
    """
    if config.imspector is not None:
        return float(core.getProperty(SCAN, PIXEL_SIZE)) * 1e-3
    # The demo's objectives look at nothing.
    if config.cfg in (None, "demo") or core.getCurrentPixelSizeConfig(cached) in ("", OURS):
        return None
    return float(core.getPixelSizeUm(cached)) or None


class PixelSize:
    """Side of a pixel, frame by frame: it follows objective, zoom, resolution and binning.

    The core's own where it has one. Else it is the config's, times what the core says has changed
    since it was opened.

    Parameters
    ----------
    core, config
        The devices as a run sets them, and what they were opened from.
    opened_um
        What the core says (µm) where a pixel is as large as the config has it.
    """

    def __init__(self, core: UniMMCore, config: MicroscopeConfig, opened_um: float) -> None:
        self._core, self._config, self._opened_um = core, config, opened_um

    def nm(self) -> float:
        """Of the frame that was taken last (nm)."""
        given = self._config.pixel_size_nm
        if (own := own_pixel_um(self._core, self._config, cached=True)) is not None:
            # Micrometres times a thousand: the last digits are rounding.
            return float(f"{own * 1e3:.9g}")
        now = float(self._core.getPixelSizeUm(True))
        if not now or not self._opened_um or now == self._opened_um:
            return given
        return float(f"{given * now / self._opened_um:.9g}")


def own_affine(core: UniMMCore, config: MicroscopeConfig) -> Affine | None:
    """How the camera lies on the stage at the moment by the `.cfg`; None where it says nothing."""
    if config.imspector is not None or own_pixel_um(core, config) is None:
        return None
    if tuple(core.getPixelSizeAffineByID(core.getCurrentPixelSizeConfig())) == _UNTOLD:
        return None
    # Unlike the raw one, it follows binning and magnification.
    a, b, at_x, c, d, at_y = map(float, core.getPixelSizeAffine())
    found = Affine((a, b, at_x, c, d, at_y))
    return found if found.determinant else None


def contradiction(config: MicroscopeConfig, own: Affine | None) -> str | None:
    """How the config's affine differs from the `.cfg`'s, in words; None where it does not."""
    if own is None or config.affine is None:
        return None
    ours = Affine(config.affine)
    if ours.unlike(own) <= ALIKE:
        return None
    return f"`affine` is {ours.in_words()}; in {config.cfg} it is {own.in_words()}"
