"""The safe state: no light on the sample, and the proof of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from devices.errors import DeviceFault

_STEP_TIMEOUT_S = 3.0
_GATE_TIMEOUT_S = 0.5


@dataclass(frozen=True, slots=True)
class Readback:
    """One thing that was made safe, and what it says itself afterwards."""

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
    """Lets single device calls through until the microscope is made safe.

    Who makes it safe closes the gate and then waits for the call that is being made, so that
    nothing can follow behind its back; for a call that hangs it does not wait long.
    """

    def __init__(self) -> None:
        self._open = True
        self._busy = threading.Lock()

    @contextmanager
    def passing(self) -> Iterator[None]:
        """Around one device call.

        Raises
        ------
        DeviceFault
            The gate is closed.
        """
        with self._busy:
            if not self._open:
                raise DeviceFault("the microscope was made safe")
            yield

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
    try:
        return abs(float(value) - float(expected)) <= 1e-6 * max(1.0, abs(float(expected)))
    except (TypeError, ValueError):
        return str(value) == str(expected)


def _carry_out(step: Step) -> Readback:
    answer: list[Readback] = []

    def work() -> None:
        problem = ""
        try:
            step.act()
        except Exception as error:
            problem = f"{type(error).__name__}: {error}"
        try:
            value = step.read()
            answer.append(Readback(step.name, step.expected, value, _same(value, step.expected)))
        except Exception as error:
            problem = problem or f"{type(error).__name__}: {error}"
            answer.append(Readback(step.name, step.expected, problem, False))

    # A hung device keeps its own thread; the others must not wait for it.
    thread = threading.Thread(target=work, name=f"safe-state {step.name}", daemon=True)
    thread.start()
    thread.join(_STEP_TIMEOUT_S)
    if answer:
        return answer[0]
    return Readback(step.name, step.expected, f"no answer in {_STEP_TIMEOUT_S:g} s", False)


def make_safe(steps: list[Step], reason: str) -> SafeState:
    """Carry out every step whatever the others do, read each back, never raise."""
    readback = tuple(_carry_out(step) for step in steps)
    return SafeState(reason, datetime.now(UTC).isoformat(timespec="milliseconds"), readback)
