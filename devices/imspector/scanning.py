"""Scans: begun, waited for, fetched; and stopped where nobody asked for them."""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from devices.imspector.calls import Calls
from devices.imspector.labels import ALL

_STATUS_S = 0.1
"""Between two questions whether it still scans, where the end was not told (s)."""
_EARLY = 0.9
"""Share of its time that a whole scan takes at least."""
_SUFFIX = re.compile(r"\s*\{\d+\}$")
_PREFIX = "ExpControl "


class Unasked(RuntimeError):
    """It scanned though nobody asked for it."""


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
        self._ended = threading.Event()
        self._begun = 0
        """How many scans were told to have begun since the last one that was asked for."""
        self._owed = 0
        """How many of them may be that one's: its begin had not been told when it was over."""
        self._asked = False
        self._late_until = -math.inf

    def on_begin(self) -> None:
        """Imspector says that a scan has begun."""
        self._begun += 1

    def on_end(self) -> None:
        """It says that a scan has ended."""
        self._ended.set()

    @property
    def may_begin_s(self) -> float:
        """How long (s) a scan may still begin whose start was not answered; 0 if there is none."""
        return max(0.0, self._late_until - self._clock())

    def unasked(self) -> bool:
        """Whether it scans, or has, though nobody asked for it; asks only where that may be."""
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
        self, start: Callable[[], object], least_s: float, limit_s: float, stop: Callable[[], None]
    ) -> None:
        """Scan once.

        Parameters
        ----------
        start
            Begins it.
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
                self._calls("start", start)
            except Exception as error:
                self._late_until = self._clock() + self._late_s
                raise RuntimeError(
                    f"start: {error}; if only the answer was lost, the scan may still begin"
                ) from error
            answered = True
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
        if took < _EARLY * least_s:
            raise RuntimeError(
                f"the scan ended after {took:.3g} of {least_s:.3g} s: it was stopped in Imspector"
            )


def stacks_of(configuration: Any, channels: Sequence[str], names: Sequence[str]) -> list[int]:
    """Numbers of the stacks that channels were scanned into.

    Parameters
    ----------
    configuration
        The one that was scanned.
    channels
        Names of all that it scans.
    names
        Those that are asked for.

    Raises
    ------
    RuntimeError
        A channel has none.
    """
    found = [plain(name) for name in configuration.stack_names()]
    if not set(found) & set(channels):
        # Where stacks are named after detectors, they are those of the channels, in their order.
        found = [*channels] if len(found) == len(channels) else found
    # What was scanned before may lie there still, of the same names.
    last = {name: number for number, name in enumerate(found)}
    if found:
        last.setdefault(ALL, last[found[0]])
    for name in names:
        if name not in last:
            raise RuntimeError(f"channel {name!r} has no stack; there is {', '.join(found)}")
    return [last[name] for name in names]


def plain(stack: str) -> str:
    """A stack's name without the number of its configuration.

    Examples
    --------
    >>> plain("STED 640 {2}"), plain("ExpControl Ch1 {1}")
    ('STED 640', 'Ch1')
    """
    return _SUFFIX.sub("", stack).removeprefix(_PREFIX)


def frame_of(configuration: Any, number: int) -> NDArray[Any]:
    """Rows × columns of a stack.

    Raises
    ------
    RuntimeError
        There is none, or it is no single frame.
    """
    data = configuration.stack(number).data()
    if math.prod(data.shape[:-2]) != 1:
        raise RuntimeError(
            f"stack {number} has the shape {data.shape}; accepted: one frame a scan (scan mode xy)"
        )
    # Reading is over before the next scan writes there.
    frame: NDArray[Any] = np.array(data).reshape(data.shape[-2:])
    return frame
