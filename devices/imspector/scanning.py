"""Scans: begun and waited for; and stopped where they were not asked for."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from devices.imspector.calls import Calls

_STATUS_S = 0.1
"""Between two questions whether it still scans, where the end was not told (s)."""
_EARLY = 0.9
"""Share of its time that a whole scan takes at least."""


class Unasked(RuntimeError):
    """It scanned though it was not asked to."""


class Scanning:
    """What is known of the scans of one measurement.

    Parameters
    ----------
    calls
        Makes the calls.
    clock
        Monotonic time (s).
    late_s
        How long after a start whose answer was lost the scan may still begin (s).
    status
        Asks whether it scans.
    """

    def __init__(
        self,
        calls: Calls,
        clock: Callable[[], float],
        late_s: float,
        status: Callable[[], bool],
    ) -> None:
        self._calls, self._clock, self._late_s, self._status = calls, clock, late_s, status
        self._source: Any = None
        self._told: Sequence[tuple[Callable[..., None], int]] = ()
        self._ended = threading.Event()
        self._begun = 0
        """How many scans were told to have begun since the last one that was asked for."""
        self._owed = 0
        """How many of them may be that one's: its begin had not been told when it was over."""
        self._asked = False
        self._late_until = -math.inf

    def listen(self, application: Any, module: Any) -> None:
        """Be told of scans by a connection, and no more by the one before.

        Parameters
        ----------
        application
            The one that is connected.
        module
            specpy itself, which has the numbers of its signals.
        """
        self._source, self._told = application, ()
        signals = getattr(module, "MeasurementSignal", None)
        connect = getattr(application, "connect_measurement_cb", None)
        if signals is None or connect is None:
            return  # this version does not tell of scans; it is asked

        def begun(*_: Any) -> None:
            if self._source is application:  # or it is told by a connection that was left
                self._begun += 1

        def ended(*_: Any) -> None:
            if self._source is application:
                self._ended.set()

        self._told = ((begun, signals.beg_measurement), (ended, signals.end_measurement))
        for told, signal in self._told:
            self._calls("be told of scans", partial(connect, told, signal))

    def deafen(self) -> None:
        """Be told of nothing any more."""
        for told, signal in self._told:
            with suppress(Exception):
                disconnect = self._source.disconnect_measurement_cb
                self._calls("be told no more", partial(disconnect, told, signal))

    @property
    def may_begin_s(self) -> float:
        """How long (s) a scan may still begin whose start was not answered; 0 if there is none."""
        return max(0.0, self._late_until - self._clock())

    def unasked(self) -> bool:
        """Whether it scans, or has, though it was not asked to; asks only where that may be."""
        if self._asked:
            return False
        return self._begun > self._owed or bool(self.may_begin_s and self._status())

    def stopped(self, scanned: bool) -> None:
        """It does not scan any more: what has begun until now is dealt with.

        Parameters
        ----------
        scanned
            It did until then: a start that was not answered has come.
        """
        self._begun = self._owed = 0
        if scanned:
            self._late_until = -math.inf

    def run(
        self,
        start: Callable[[], Callable[[], bool]],
        look: Callable[[], None],
        least_s: float,
        limit_s: float,
        stop: Callable[[], None],
    ) -> None:
        """Scan once.

        Parameters
        ----------
        start
            Begins it, and gives what tells at its end whether it was stopped.
        look
            Called once while it scans; raises where something else is scanned than was meant.
        least_s, limit_s
            How long it takes at least and at most (s).
        stop
            Stops it.

        Raises
        ------
        RuntimeError
            It did not begin, did not end in time, or was stopped in the middle.
        """
        self._ended.clear()
        self._asked, answered = True, False
        begun = self._clock()
        try:
            try:
                was_stopped = start()
            except Exception as error:
                self._late_until = self._clock() + self._late_s
                raise RuntimeError(
                    f"start: {error}; if only the answer was lost, the scan may still begin"
                ) from error
            answered = True
            try:
                look()
            except Exception:
                with suppress(Exception):
                    stop()
                raise
            while not self._ended.wait(_STATUS_S):
                if self._clock() >= begun + limit_s:
                    with suppress(Exception):
                        stop()
                    raise RuntimeError(f"the scan did not end within {limit_s:.3g} s")
                # The end is not told where the connection was cut for a moment.
                if self._clock() >= begun + least_s + _STATUS_S and not self._status():
                    break
        finally:
            self._asked = False
            self._owed, self._begun = int(answered and self._begun == 0), 0
        # From before the start to its end as it was told: never less than it really took.
        took = self._clock() - begun
        if took < _EARLY * least_s or was_stopped():
            raise RuntimeError(
                f"the scan ended after {took:.3g} s, of {least_s:.3g} s or more: it was stopped in"
                " Imspector"
            )
