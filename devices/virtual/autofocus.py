"""The autofocus device of the virtual microscope: it finds the sample with light of its own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from devices.python_autofocus import AutofocusDevice
from devices.virtual.peripherals import ZStage

REACH_UM = 5.0
"""How far off it sees the sample (µm); as hardware autofocus devices with a dry objective do."""
_SD_UM = 0.02
"""Standard deviation of where it finds it (µm); a fraction of the depth of field, as they say."""


class Autofocus(AutofocusDevice):
    """Finds the middle of the sample, or keeps the focus there.

    While the continuous focus is on and has found the sample, it holds the focus drive.

    Parameters
    ----------
    z_stage
        The focus drive.
    height_um, clock_s
        Where the sample is now (µm), and when that is (s).
    seed
        Of what it is off by, 0 or higher.
    """

    def __init__(
        self,
        z_stage: ZStage,
        height_um: Callable[[], float],
        clock_s: Callable[[], float],
        seed: int,
    ) -> None:
        super().__init__()
        self._z_stage = z_stage
        self._height_um, self._clock_s = height_um, clock_s
        self._seed = seed
        self._on = False
        self._offset_um = 0.0

    def full_focus(self) -> None:
        """Go to the sample; `RuntimeError` where it is out of reach."""
        self._z_stage.set_position_um(self._found_um())

    def set_continuous(self, enabled: bool) -> None:
        """Hold the focus drive, or let it go where it is."""
        if self._on and not enabled:
            self._z_stage.let_go()
        self._on = bool(enabled)

    def get_continuous(self) -> bool:
        """Tell whether it is switched on."""
        return self._on

    def is_locked(self) -> bool:
        """Tell whether it holds the focus drive, which it does if it sees the sample."""
        if self._on and not self._z_stage.held and self._sees():
            self._z_stage.hold(self._found_um)
        return self._on and self._sees()

    def set_offset(self, offset: float) -> None:
        """Find another height than the middle of the sample (µm above it)."""
        self._offset_um = float(offset)

    def get_offset(self) -> float:
        """Tell how far above it that is (µm)."""
        return self._offset_um

    def _sees(self) -> bool:
        return abs(self._z_stage.get_position_um() - self._height_um()) <= REACH_UM

    def _found_um(self) -> float:
        if not self._z_stage.held and not self._sees():
            raise RuntimeError(f"no sample within {REACH_UM:g} µm")
        now_ns = round(self._clock_s() * 1e9)
        off_um = np.random.default_rng((self._seed, now_ns)).normal(0, _SD_UM)
        return self._height_um() + self._offset_um + float(off_um)

    def shutdown(self) -> None:
        """Let go."""
        self.set_continuous(False)
