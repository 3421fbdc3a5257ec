"""The start of a scan, and what tells at its end whether a person stopped it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from devices.imspector.calls import Calls, NoReply


class Starts:
    """Begins scans.

    From specpy 2026 on, a start without a measurement begins the active one, and gives what has its
    result as soon as it is over: whether it was cancelled. Where the server does not know that, the
    measurement is started as ever, and its end tells nothing.

    Parameters
    ----------
    calls
        Makes the calls.
    module
        specpy itself.
    scans
        Asks whether it scans.

    Attributes
    ----------
    application, measurement
        Those that are connected.
    """

    def __init__(self, calls: Calls, module: Any, scans: Callable[[], bool]) -> None:
        self._calls, self._scans = calls, scans
        flags = getattr(module, "MeasurementStartFlags", None)
        results = getattr(module, "MeasurementResult", None)
        self._default = getattr(flags, "Default", None)
        self._cancelled = getattr(results, "Cancelled", None)
        self._told = self._default is not None and self._cancelled is not None
        self._heard = False
        self.application: Any = None
        self.measurement: Any = None

    def begin(self) -> Callable[[], bool]:
        """Begin a scan.

        Returns
        -------
        callable
            Whether it was stopped; to be asked at its end.

        Raises
        ------
        RuntimeError
            It did not begin, or only the answer was lost.
        """
        if self._told and hasattr(self.application, "value_at"):
            try:
                return partial(self._was_stopped, self._calls("start", self._begin_with_a_result))
            except NoReply:
                raise
            except (RuntimeError, TypeError):
                # Either the connection is lost, so that this call is, too, or the server is older.
                begun = self._scans()
                self._told = False
                if begun:
                    return _never
        self._begin()
        return _never

    def _begin_with_a_result(self) -> Any:
        return self.application.start(self._default)

    def _begin(self) -> None:
        self._calls("start", lambda: self.application.start(self.measurement))

    def _was_stopped(self, result: Any) -> bool:
        try:
            found = self._calls("result", result.get)
        except (RuntimeError, AttributeError):
            if self._heard:
                raise
            self._told = False  # this server has none
            return False
        self._heard = True
        return bool(found == self._cancelled)


def _never() -> bool:
    return False
