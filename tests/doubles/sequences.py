"""A camera that triggers a focus drive, as they are wired for hardware sequences."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tests import faulty


class TriggeredFocus(faulty.Focus):
    """A focus drive that goes to the next position of its sequence at each trigger.

    Parameters
    ----------
    longest
        Positions that it takes; 0: it takes no sequence.
    refuses
        It says that it does, and then refuses one.
    """

    def __init__(self, longest: int = 100, refuses: bool = False) -> None:
        super().__init__()
        self._longest, self._refuses = longest, refuses
        self._sequence: tuple[float, ...] = ()
        self._next = 0
        self.running = False

    def get_sequence_max_length(self) -> int:
        return self._longest

    def send_sequence(self, sequence: tuple[float, ...]) -> None:
        if self._refuses:
            raise RuntimeError("the controller has no memory left")
        self._sequence = tuple(sequence)

    def start_sequence(self) -> None:
        self._z_um, self._next = self._sequence[0], 1
        self.running = True

    def stop_sequence(self) -> None:
        self.running = False

    def trigger(self) -> None:
        if self.running:
            # As many do, it begins again behind the last one.
            self._z_um = self._sequence[self._next % len(self._sequence)]
            self._next += 1


class TriggeredLaser(faulty.Laser):
    """A laser that goes to the next power of its sequence at each trigger.

    Parameters
    ----------
    longest
        Powers that it takes.
    """

    def __init__(self, longest: int = 100) -> None:
        super().__init__()
        self._sequence: list[float] = []
        self._next = 0
        self.running = False
        self.register_property(
            "Power_mW",
            limits=(0.0, 500.0),
            property_type=float,
            getter=lambda laser: laser.power,
            setter=lambda laser, value: laser.accept(value),
            sequence_max_length=longest,
            sequence_loader=lambda laser, values: setattr(laser, "_sequence", list(values)),
            sequence_starter=lambda laser: laser.begin(),
            sequence_stopper=lambda laser: setattr(laser, "running", False),
        )
        faulty.made.setdefault("Laser", []).append(self)

    def begin(self) -> None:
        self._next, self.running = 1, True

    def trigger(self) -> None:
        if self.running:
            self.power = self._sequence[self._next % len(self._sequence)]
            self.gave.append((time.monotonic(), self.power))
            self._next += 1


class TriggeringCamera(faulty.FlakyCamera):
    """A camera whose frames say at which height they were taken.

    Parameters
    ----------
    ends
        How many frames the first sequences give before they end by themselves.
    waits_at
        Frame of a sequence before which it waits until it is `released`, or told to stop; None: it
        does not wait.
    frame_s
        How long a frame takes (s).
    """

    def __init__(
        self, ends: Sequence[int] = (), waits_at: int | None = None, frame_s: float = 0.0
    ) -> None:
        super().__init__()
        self._ends, self._waits_at, self._seconds = list(ends), waits_at, frame_s
        self.released = threading.Event()
        self.waiting = threading.Event()
        self.seen: list[list[float]] = []
        """Powers of the two lasers in each frame of its sequences (mW)."""
        self.halted: Callable[[], bool] = lambda: False
        """Whether it was told to stop."""
        self.before: Callable[[int], None] = lambda number: None
        """Called before each frame of a sequence with its number."""

    def snap(self, buffer: NDArray[Any]) -> Mapping[str, str]:
        time.sleep(self._seconds)
        focus = faulty.made["TriggeredFocus"][-1]
        rows, columns = np.indices(buffer.shape)
        buffer[:] = 1000 + np.round(100 * focus.get_position_um()) + rows + columns
        return {}

    def start_sequence(
        self, n: int | None, get_buffer: Callable[[Sequence[int], DTypeLike], NDArray[Any]]
    ) -> Iterator[Mapping[str, str]]:
        if n == 1:  # a snap
            yield from super().start_sequence(n, get_buffer)
            return
        assert n is not None
        focus = faulty.made["TriggeredFocus"][-1]
        for number in range(self._ends.pop(0) if self._ends else n):
            self.before(number)
            if number == self._waits_at:
                self.waiting.set()
                while not (self.released.wait(0.01) or self.halted()):
                    pass
            self.snap(get_buffer(self.shape(), self.dtype()))
            self.seen.append([laser.power for laser in faulty.made["Laser"][-2:]])
            for device in [focus, *faulty.made.get("TriggeredLaser", [])]:
                device.trigger()
            yield {}
