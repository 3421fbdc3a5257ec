"""The safe state: no light on the sample, and the proof of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from devices.errors import GateClosed
from devices.values import same

_STEP_TIMEOUT_S = 3.0
"""How long all steps together may take (s)."""
_NEXT_AFTER_S = 0.2
"""How long a step has before the next one is begun beside it (s)."""
_GATE_TIMEOUT_S = 0.5
"""Longest wait for another thread's call into a device before it is made safe (s)."""


class Stop(Protocol):
    """Whether it is to end: `asked`, or `now`, without waiting for anything that hangs."""

    @property
    def asked(self) -> bool:
        """Nothing new may begin."""

    @property
    def now(self) -> bool:
        """Calls under way are not waited for."""


@dataclass(frozen=True, slots=True)
class Never:
    """It is never asked to end."""

    asked: bool = False
    now: bool = False


@dataclass(frozen=True, slots=True)
class Readback:
    """One thing that was made safe, and its own answer afterwards."""

    name: str
    expected: Any
    value: Any
    ok: bool


@dataclass(frozen=True, slots=True)
class SafeState:
    """The microscope made safe.

    Parameters
    ----------
    reason
        Why: `completed`, `stopped`, `SIGTERM`, the fault…
    at
        When (ISO 8601, UTC).
    readback
        What each laser, the shutter and the camera's sequence say afterwards.
    """

    reason: str
    at: str
    readback: tuple[Readback, ...]

    @property
    def ok(self) -> bool:
        """Whether everything reads back as it should."""
        return all(entry.ok for entry in self.readback)

    @property
    def wrong(self) -> str:
        """What does not read as it should, in words; empty if all does."""
        return ", ".join(
            f"{entry.name} reads {entry.value}, not {entry.expected}"
            for entry in self.readback
            if not entry.ok
        )

    def as_dict(self) -> dict[str, Any]:
        """For the ledger and `show --json`."""
        return {
            "reason": self.reason,
            "at": self.at,
            "ok": self.ok,
            "readback": {
                entry.name: {"expected": entry.expected, "value": entry.value, "ok": entry.ok}
                for entry in self.readback
            },
        }


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to make safe: how to do it, how to ask for it, what the answer should be."""

    name: str
    act: Callable[[], object]
    read: Callable[[], Any]
    expected: Any


class LightGate:
    """Lets single device calls through until the microscope is made safe, or is to stop.

    Making it safe closes the gate and then waits for the call that is being made, so that nothing
    can follow; for a call that hangs it does not wait long.

    Attributes
    ----------
    stop
        Asked before each call: once it is to end, no light and no move begins.
    used
        A call went through.
    """

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        self.used = False
        self._open = True
        self._busy = threading.Lock()

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Around one device call.

        Raises
        ------
        GateClosed
            The microscope was made safe, or is to stop.
        """
        with self._busy:
            self.check()
            self.used = True
            yield

    def check(self) -> None:
        """Raise `GateClosed` where `passing` would."""
        if not self._open:
            raise GateClosed("the microscope was made safe")
        if self.stop.asked:
            raise GateClosed("the microscope is to stop")

    @property
    def shut(self) -> bool:
        """The microscope was made safe."""
        return not self._open

    def abandon(self) -> None:
        """Let others through beside a call that hangs."""
        self._busy = threading.Lock()

    def close(self) -> None:
        """Let nothing through any more."""
        self._open = False
        if self._busy.acquire(timeout=_GATE_TIMEOUT_S):
            self._busy.release()

    def open(self) -> None:
        """Let calls through again."""
        self._open = True


def _same(value: Any, expected: Any) -> bool:
    if isinstance(expected, bool) or isinstance(value, bool):
        return bool(value) is expected
    return same(value, expected)


class _Carried(threading.Thread):
    """A step in a thread of its own: where a device hangs, the others must not wait for it."""

    def __init__(self, step: Step) -> None:
        super().__init__(name=f"safe-state {step.name}", daemon=True)
        self._step = step
        self._answer: Readback | None = None

    def run(self) -> None:
        """Do it, then ask the device."""
        step, problem = self._step, ""
        try:
            step.act()
        except BaseException as error:  # a driver may exit: the read-back still counts
            problem = f"{type(error).__name__}: {error}"
        try:
            value = step.read()
            self._answer = Readback(step.name, step.expected, value, _same(value, step.expected))
        except BaseException as error:
            problem = problem or f"{type(error).__name__}: {error}"
            self._answer = Readback(step.name, step.expected, problem, False)

    @property
    def failed(self) -> bool:
        """It is over, and not as it should be; one that hangs is not over."""
        return self._answer is not None and not self._answer.ok

    @property
    def readback(self) -> Readback:
        """What the device said so far."""
        step = self._step
        return self._answer or Readback(
            step.name, step.expected, f"no answer in {_STEP_TIMEOUT_S:g} s", False
        )


def make_safe(steps: list[Step], reason: str) -> SafeState:
    """Carry out every step even if others fail, read each back, never raise.

    One after the other, as devices that share a cable need it; but a step that takes long is
    not waited for before the next one begins, and all of them together have one time limit.
    What fails, or does not read back as it should, is tried once more.

    Parameters
    ----------
    steps
        The darkest first: what keeps all light off, then the lasers, then what may wait.
    reason
        Why.
    """
    end = time.monotonic() + _STEP_TIMEOUT_S
    carried = _carry(dict(enumerate(steps)), end)
    again = {at: steps[at] for at, thread in carried.items() if thread.failed}
    carried |= _carry(again, end)
    readback = tuple(thread.readback for thread in carried.values())
    return SafeState(reason, datetime.now(UTC).isoformat(timespec="milliseconds"), readback)


def _carry(steps: Mapping[int, Step], end: float) -> dict[int, _Carried]:
    """Begin every step, and wait for all of them until `end` (monotonic s)."""
    carried = {}
    for at, step in steps.items():
        thread = carried[at] = _Carried(step)
        thread.start()
        thread.join(_NEXT_AFTER_S)
    for thread in carried.values():
        thread.join(max(0.0, end - time.monotonic()))
    return carried
