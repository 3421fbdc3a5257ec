"""How long light was on the sample: measured, not planned.

The engine says when it switches light on, before the first command that may do so, and when it is
off, after the last device has said so. A slow camera, a shutter that takes its time and a laser
over a serial line count with the time that they take.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from devices.autofocus import Held
from devices.config import MicroscopeConfig, Value

FRAME = ""
"""Stands for a frame where no laser is known: a lamp behind the shutter, or nothing at all."""


@dataclass(frozen=True, slots=True)
class Received:
    """What the sample got of a shot.

    Parameters
    ----------
    settings
        What the devices had, as they said themselves.
    expected_s, lit_s
        Time (s) that light was to fall on the sample, and the longest that any laser was on it,
        as measured. In a simulation the two are the same.
    dose_J
        Light energy (J) by laser: of the time that was expected or of the one that was measured,
        whichever is more.
    pixel_size_nm
        Side of a pixel on the sample (nm); None where it is the config's.
    held
        What became of the continuous focus; None where the shot needed none.
    """

    settings: dict[str, Value]
    expected_s: float
    lit_s: float
    dose_J: dict[str, float]
    pixel_size_nm: float | None = None
    held: Held | None = None

    @classmethod
    def of(
        cls,
        config: MicroscopeConfig,
        asked: Mapping[str, Value],
        has: Mapping[str, Value],
        *,
        pixels: int,
        exposure_ms: float | None,
        lit: Mapping[str, float],
        pixel_nm: float,
        held: Held | None,
    ) -> Received:
        """Reckon it from what was asked for, what the devices had, and what was measured.

        Parameters
        ----------
        config
            The `microscope` section.
        asked, has
            Settings of the shot; what the devices say of some of them instead.
        pixels, exposure_ms
            Of its frame, as the camera says; no exposure where it was not set.
        lit
            Time that each laser was on the sample (s).
        pixel_nm
            Side of a pixel on the sample (nm).
        held
            What became of the continuous focus.
        """
        has = {**asked, **{name: has[name] for name in asked if name in has}}
        clear = {name: config.settings[name].understands(value) for name, value in has.items()}
        expected = config.exposure_s(
            {name: has[name] if clear[name] else asked[name] for name in has}, pixels
        )
        if config.exposure.camera_ms is not None and exposure_ms is not None:
            expected = exposure_ms * 1e-3
        if lit and (config.clock or config.virtual_sted or config.replay):
            # The time that simulated light is on is not ours.
            lit = dict.fromkeys([*config.lasers, FRAME], expected)
        dose = {
            laser: watts * (max(expected, lit[laser]) if laser in lit else 0.0)
            for laser, watts in config.watts(has).items()
        }
        lasers = [lit[laser] for laser in config.lasers if laser in lit]
        return cls(
            has,
            expected,
            max(lasers or [lit.get(FRAME, 0.0)]),
            dose,
            None if pixel_nm == config.pixel_size_nm else pixel_nm,
            held,
        )

    def as_dict(self) -> dict[str, Any]:
        """For the ledger."""
        got: dict[str, Any] = {
            "settings": self.settings,
            "expected_s": self.expected_s,
            "lit_s": self.lit_s,
            "dose_J": self.dose_J,
        }
        if self.pixel_size_nm is not None:
            got["pixel_size_nm"] = self.pixel_size_nm
        if self.held is not None:
            got["held"] = {"z_um": self.held.z_um, "why": self.held.why}
        return got

    def of_frame(self) -> dict[str, Any]:
        """Of a further frame of the shot: without its light, which counts once."""
        own = ("settings", "pixel_size_nm")
        return {key: value for key, value in self.as_dict().items() if key in own}


class LightMeter:
    """Adds up how long each laser was on the sample in one shot.

    Parameters
    ----------
    clock
        Monotonic time (s).
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since: dict[str, float] = {}
        self._spans: dict[str, list[tuple[float, float]]] = {}
        self._from, self._until = -math.inf, math.inf

    def begin(self) -> None:
        """Count a new shot; light that is still on is counted for it from now on."""
        with self._lock:
            self._spans.clear()
            self._since = dict.fromkeys(self._since, self._clock())
            self._from, self._until = -math.inf, math.inf

    def share(self, until: float = math.inf) -> None:
        """Count a new shot from where the last one ended; light may stay on in between.

        Parameters
        ----------
        until
            When this one ends, on the same clock; if absent, that is left open.
        """
        with self._lock:
            if self._until < math.inf:
                self._from = self._until
            self._until = until

    def on(self, lasers: Collection[str]) -> None:
        """These may shine on the sample from now on."""
        with self._lock:
            now = self._clock()
            for laser in lasers:
                self._since.setdefault(laser, now)

    def off(self, lasers: Collection[str] | None = None) -> None:
        """These do not any more; None: none does."""
        with self._lock:
            now = self._clock()
            for laser in list(self._since) if lasers is None else lasers:
                if (since := self._since.pop(laser, None)) is not None:
                    self._spans.setdefault(laser, []).append((since, now))

    def seconds(self) -> Mapping[str, float]:
        """Time (s) by laser, until now where one is still on; without those that never were."""
        with self._lock:
            now = self._clock()
            spans = {laser: [*self._spans.get(laser, ())] for laser in self._spans | self._since}
            for laser, since in self._since.items():
                spans[laser].append((since, now))
            return {
                laser: sum(
                    max(0.0, min(off, self._until) - max(on, self._from)) for on, off in found
                )
                for laser, found in spans.items()
            }
