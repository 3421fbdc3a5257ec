"""An autofocus device that follows the sample of a `DefocusingCamera`, and does so badly."""

from __future__ import annotations

import time
from typing import Any

from devices.python_autofocus import AutofocusDevice
from tests import faulty
from tests.helpers.runs import until


class Autofocus(AutofocusDevice):
    """Looks for the sample, or keeps a lock on it.

    Parameters
    ----------
    raises, hangs, nonsense, nan, lights
        Searches, counted from 0, in which it raises, hangs until the camera has taken `frames`
        frames of time points, goes 50 µm too far, makes the drive say that it is nowhere, or
        switches light on.
    unlocks
        Locks, counted from 0, that it says it has and has not.
    never
        Locks, likewise, that it does not come to.
    continuous
        The continuous focus is on when the device comes up.
    has_offset
        It can be given an offset (in hundredths of a µm).
    wanders_um
        How much higher it finds the sample each time (µm).
    """

    def __init__(
        self,
        raises: tuple[int, ...] = (),
        hangs: tuple[int, ...] = (),
        nonsense: tuple[int, ...] = (),
        frames: int = 0,
        nan: tuple[int, ...] = (),
        lights: tuple[int, ...] = (),
        unlocks: tuple[int, ...] = (),
        never: tuple[int, ...] = (),
        continuous: bool = False,
        has_offset: bool = True,
        wanders_um: float = 0.0,
    ) -> None:
        super().__init__()
        self._raises, self._hangs, self._nonsense = set(raises), set(hangs), set(nonsense)
        self._nan, self._lights = set(nan), set(lights)
        self._unlocks, self._never = set(unlocks), set(never)
        self.on, self._offset, self._has_offset = continuous, 0.0, has_offset
        self.searches, self._wanders_um = 0, wanders_um
        self.given: list[tuple[float, str]] = []
        """(monotonic time in s, call) of all that made it move."""
        self.lit: list[tuple[float, bool]] = []
        """(power of the lasers, shutter open) in each of its searches."""
        self._frames = frames
        faulty.made.setdefault(type(self).__name__, []).append(self)

    @property
    def _focus(self) -> Any:
        return faulty.made["Focus"][-1]

    def _sample_um(self) -> float:
        sample_um = float(faulty.made["DefocusingCamera"][-1].sample_um)
        return sample_um + self._offset / 100 + self.searches * self._wanders_um

    def _hang(self) -> None:
        until(lambda: len(faulty.made["DefocusingCamera"][-1].errors_um) >= self._frames)
        self._focus.set_position_um(77.0)

    def full_focus(self) -> None:
        number, self.searches = self.searches, self.searches + 1
        self.given.append((time.monotonic(), "full"))
        lasers, shutter = faulty.made.get("Laser", []), faulty.made["Shutter"][-1]
        self.lit.append((sum(laser.power for laser in lasers[-2:]), shutter.open))
        if number in self._hangs:
            self._hang()
            return
        if number in self._lights:
            shutter.set_open(True)
        if number in self._raises:
            raise RuntimeError("no interface found")
        to = self._sample_um() + (50 if number in self._nonsense else 0)
        self._focus.set_position_um(float("nan") if number in self._nan else to)

    def incremental_focus(self) -> None:
        self.full_focus()
        self.given[-1] = (self.given[-1][0], "incremental")

    def set_continuous(self, enabled: bool) -> None:
        self.on = enabled
        self.given.append((time.monotonic(), "on" if enabled else "off"))
        if enabled:
            number, self.searches = self.searches, self.searches + 1
            if number in self._raises:
                raise RuntimeError("no interface found")
            if number in self._hangs:
                self._hang()

    def get_continuous(self) -> bool:
        return self.on and self.searches - 1 not in self._unlocks

    def is_locked(self) -> bool:
        if not self.on or self.searches - 1 in self._never:
            return False
        self._focus.set_position_um(self._sample_um())
        return True

    def set_offset(self, offset: float) -> None:
        if not self._has_offset:
            super().set_offset(offset)
        self._offset = offset

    def get_offset(self) -> float:
        return self._offset
