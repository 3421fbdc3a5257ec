"""An autofocus device that follows the virtual sample, and fails now and then."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING, ClassVar, Literal

from devices.python_autofocus import AutofocusDevice

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

_POLL_S = 0.01
"""Time between two looks whether a search that hangs is to come back (s)."""
_LONGEST_S = 60.0
"""Of a search that hangs (s)."""
_KINDS: tuple[Literal["raise", "hang", "nonsense"], ...] = ("raise", "hang", "nonsense")
_FAR_UM = 11.0
"""Where nonsense is: as far from the sample (µm)."""


class FailingAutofocus(AutofocusDevice):
    """Goes to the sample, but for some searches.

    It then raises, or hangs until a frame was taken meanwhile and moves the focus drive after all,
    or goes far away from the sample.

    Parameters
    ----------
    drift_um_s
        Speed at which the sample rises (µm/s).
    share
        Of the searches that fail.
    seed
        Of which they are, and how.

    Attributes
    ----------
    failed
        How searches failed, by their number.
    scope
        The core of the microscope; a device is not given it.
    """

    made: ClassVar[list[FailingAutofocus]] = []
    """Those that were made in this process."""

    def __init__(self, drift_um_s: float, share: float, seed: int) -> None:
        super().__init__()
        self._drift_um_s, self._share = drift_um_s, share
        self._rng = random.Random(seed)
        self._searches = 0
        self.failed: dict[int, str] = {}
        self.scope: UniMMCore | None = None
        self.made.append(self)

    def full_focus(self) -> None:
        """Go to the sample, or fail."""
        number, self._searches = self._searches, self._searches + 1
        began_s = self._clock_s()
        height_um = self._drift_um_s * began_s
        if self._rng.random() >= self._share:
            self._go(height_um)
            return
        kind = self.failed[number] = self._rng.choice(_KINDS)
        if kind == "raise":
            raise RuntimeError("no interface found")
        if kind == "hang":
            end = time.monotonic() + _LONGEST_S
            while self._clock_s() == began_s and time.monotonic() < end:
                time.sleep(_POLL_S)
        self._go(height_um + _FAR_UM)

    def _go(self, to_um: float) -> None:
        assert self.scope is not None
        self.scope.setPosition("ZStage", to_um)

    def _clock_s(self) -> float:
        assert self.scope is not None
        return float(self.scope.getProperty("Scan", "Clock_s"))
