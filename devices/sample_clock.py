"""The clock of a simulated sample, and how long a shot has to wait."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devices.config import PropertyBinding, Value

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore


class SampleClock:
    """The property that is a simulated sample's time; a real sample has ours.

    Parameters
    ----------
    core
        The devices.
    binding
        The property; None on a real microscope.
    """

    def __init__(self, core: UniMMCore, binding: PropertyBinding | None) -> None:
        self._core, self._binding = core, binding

    @property
    def seconds(self) -> float | None:
        """Time of the sample (s); None where it is ours."""
        clock = self._binding
        return (
            None if clock is None else float(self._core.getProperty(clock.device, clock.property))
        )

    def set(self, seconds: float) -> None:
        """Put the clock where a resumed run left it; nothing where the time is ours."""
        if (clock := self._binding) is not None:
            self._core.setProperty(clock.device, clock.property, seconds)

    def due(
        self, at_s: float | None, elapsed_s: float
    ) -> tuple[float | None, list[tuple[str, str, Value]]]:
        """How long the runner is to wait (s), and how a simulated clock is set instead.

        Parameters
        ----------
        at_s
            Earliest time after the birth of the run (s); None: at once.
        elapsed_s
            How old the run was when this runner started (s).
        """
        if at_s is None:
            return None, []
        if (clock := self._binding) is None:
            return max(0.0, at_s - elapsed_s), []
        now = self.seconds
        if now is not None and at_s > now:
            return None, [(clock.device, clock.property, at_s)]
        return None, []
