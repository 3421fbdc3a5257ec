"""Imspector's own locks, which keep the people at the PC from what a run controls."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from devices.imspector.calls import Calls


class Locks:
    """Locks that were taken, of all connections that there were.

    Parameters
    ----------
    calls
        Makes the calls.
    """

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._taken: list[Any] = []
        self._released = False

    def take(self, application: Any, module: Any) -> None:
        """Take one, where this version of Imspector has them."""
        acquire = getattr(application, "acquire_measurement_gui_lock", None)
        if acquire is None:
            return
        flags = module.MeasurementGuiLockFlags
        wanted = flags.LockActivation | flags.LockRunPauseStop | flags.SetMeasurementValuesReadonly

        def lock() -> None:
            taken = acquire(wanted)
            self._taken.append(taken)
            if self._released:  # the answer came late
                taken.unlock()

        self._calls("lock", lock)

    def release(self) -> None:
        """Let people do as they like.

        Locks of connections that were lost as well: it is not known what became of them.
        """
        self._released = True
        for lock in self._taken:
            with suppress(Exception):
                self._calls("unlock", lock.unlock)
