"""Feeding the watchdog of the hardware, as long as the session is alive."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from devices.errors import DeviceFault
from devices.watchdog import Watchdog

WATCHDOG = "watchdog"
"""Part of a fault: the watchdog was fed late, or not at all."""
_ALIVE_S = 5.0
"""Age of the last sign of life at which nothing is fed any more (s)."""
_LATE = 2.0
"""Periods without food after which a controller may have gone dark; chosen."""
_REST_S = 2.0
"""How long a device may take to be put at rest (s)."""


class Feeder:
    """Feeds a watchdog from a thread of its own, beside frames that take long.

    It does so only while the session gives signs of life: where that hangs, the controller is to
    go dark.

    Parameters
    ----------
    watchdog
        Of an open microscope.
    fault
        Called with what went wrong, where that does not end the run.
    """

    def __init__(self, watchdog: Watchdog, fault: Callable[[str], None]) -> None:
        self._watchdog, self._fault = watchdog, fault
        self._over, self._fed = threading.Event(), threading.Event()
        self._alive = self._last = time.monotonic()
        self._told = False
        self.failure: DeviceFault | None = None
        """Why the run is to end: it cannot be fed."""
        self._thread = threading.Thread(target=self._work, name="watchdog", daemon=True)

    def start(self, timeout_s: float) -> None:
        """Feed it for the first time, and from here on.

        Raises
        ------
        DeviceFault
            It was not fed within `timeout_s`.
        """
        self.pulse()
        self._thread.start()
        if not self._fed.wait(timeout_s):
            self._over.set()
            raise self.failure or DeviceFault(f"{self._name} hangs: not written in {timeout_s:g} s")

    def pulse(self) -> None:
        """Give a sign of life of the session."""
        self._alive = time.monotonic()

    def end(self) -> None:
        """Put it at rest; the microscope is dark."""
        self._over.set()
        if self._thread.ident is None:
            return
        # One that hangs is left to itself.
        worker = threading.Thread(target=self._rest, name="watchdog-rest", daemon=True)
        worker.start()
        worker.join(_REST_S)

    @property
    def hangs(self) -> bool:
        """Whether its device has not come back, although all is over."""
        return self._over.is_set() and self._thread.is_alive()

    @property
    def _name(self) -> str:
        return f"the watchdog {self._watchdog.config.where()}"

    def _work(self) -> None:
        every_s = self._watchdog.config.every_s
        refused = 0
        self._last = time.monotonic()
        while not self._over.is_set():
            began = time.monotonic()
            if began - self._alive <= _ALIVE_S:
                try:
                    self._watchdog.feed()
                except Exception as error:  # of any driver
                    refused += 1
                    if refused > 1:
                        self.failure = DeviceFault(f"{self._name} cannot be written: {error}")
                        return
                    continue
                refused = 0
                self._took(time.monotonic())
            self._over.wait(max(0.0, every_s - (time.monotonic() - began)))

    def _took(self, now: float) -> None:
        """It was fed; say so where that was late, once."""
        late_s, self._last = now - self._last, now
        self._fed.set()
        if late_s > _LATE * self._watchdog.config.every_s and not self._told:
            self._told = True
            self._fault(
                f"{self._name} was not written for {late_s:.1f} s: frames since then may be dark"
            )

    def _rest(self) -> None:
        self._thread.join()
        try:
            self._watchdog.rest()
        except Exception as error:  # of any driver
            self._fault(f"{self._name} is not at rest: {error}")
