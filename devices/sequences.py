"""Frames that Micro-Manager takes as one hardware sequence, where the devices can.

The devices know all positions and values beforehand and go to the next one as the camera triggers
them, so that nothing is sent between two frames.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

from devices.errors import DeviceFault
from devices.safety import LightGate
from devices.sending import LOCKED, ROI
from devices.values import taken_as

if TYPE_CHECKING:
    from pymmcore_plus.core._sequencing import SequencedEvent
    from pymmcore_plus.experimental.unicore import UniMMCore
    from useq import MDAEvent

MOST = 256
"""Frames of one sequence at most; chosen: a run that is killed counts the light of all of them."""
ARRIVED = "arrived"
"""Key of a frame's metadata: its `Arrived`."""
_ELAPSED = "ElapsedTime-ms"
"""Tag of a frame in a sequence: the camera's own time (ms)."""
TICK_S = 0.002
"""Time between two looks at the camera."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """When a frame of a sequence came.

    Parameters
    ----------
    at_s
        When it was in memory (monotonic s).
    elapsed_ms
        By the camera's own clock; None where it does not say.
    """

    at_s: float
    elapsed_ms: float | None


class Arrivals:
    """When the frames of one sequence came, by the camera's clock where it has one.

    A frame may be fetched long after it came, if the disk is slow.
    """

    def __init__(self) -> None:
        self._last_s: float | None = None
        self._zero_s = 0.0

    def take(self, tags: Mapping[str, Any]) -> Arrived:
        """A frame was fetched just now."""
        at_s = time.monotonic()
        elapsed_ms: float | None = None
        with suppress(KeyError, TypeError, ValueError):
            elapsed_ms = float(tags[_ELAPSED])
        if elapsed_ms is not None and self._last_s is None:
            self._zero_s = at_s - elapsed_ms * 1e-3
        if elapsed_ms is not None and self._last_s is not None:
            # Which NaN is not.
            by_camera = self._zero_s + elapsed_ms * 1e-3
            at_s = by_camera if self._last_s <= by_camera <= at_s else at_s
        self._last_s = at_s
        return Arrived(at_s, elapsed_ms)


# ---------------------------------------------------------------------- which frames


def sequenced(
    core: UniMMCore,
    events: Iterable[MDAEvent],
    most: int = MOST,
    lights: Collection[tuple[str, str]] = (),
) -> SequencedEvent | str:
    """The event of as many of the first frames as can be one sequence, if those are several.

    Parameters
    ----------
    core
        Says what its devices can.
    events
        Of frames between which nothing is decided; at least one.
    most
        Frames that one sequence may have.
    lights
        Device and property of what puts light on the sample.

    Returns
    -------
    SequencedEvent | str
        Or why the first two cannot, in words.
    """
    from pymmcore_plus.core._sequencing import SequencedEvent

    after = iter(events)
    first = next(after)
    camera = core.getCameraDevice()
    if (cameras := core.getNumberOfCameraChannels()) != 1:
        return f"camera {camera!r} gives the frames of {cameras} cameras at once"
    if LOCKED in first.metadata:
        return "a continuous focus holds, and is looked at before each frame"
    if most < 2:
        return "the circular buffer has no room for two frames (`setCircularBufferMemoryFootprint`)"
    changes = _Changes(core, first, lights)
    together = [first]
    why = "there is one frame alone"
    for event in islice(after, most - 1):
        refused = changes.refusal(event, len(together) + 1)
        if refused is not None:
            why = refused
            break
        together.append(event)
    if len(together) == 1:
        return why
    moves = any(event.z_pos != first.z_pos for event in together)
    values = [_values(event) for event in together]
    varying = [at for at in values[0] if any(one[at] != values[0][at] for one in values)]
    return SequencedEvent(
        events=tuple(together),
        z_sequence=tuple(float(event.z_pos or 0.0) for event in together) if moves else (),
        property_sequences={at: [str(one[at]) for one in values] for at in varying},
        index=dict(first.index),
        pos_name=first.pos_name,
        x_pos=first.x_pos,
        y_pos=first.y_pos,
        z_pos=first.z_pos,
        exposure=first.exposure,
        min_start_time=first.min_start_time,
        properties=first.properties,
        metadata=dict(first.metadata),
    )


def _values(event: MDAEvent) -> dict[tuple[str, str], Any]:
    return {(device, prop): value for device, prop, value in event.properties or ()}


class _Changes:
    """Which changes from the first frame on the devices take as a sequence."""

    def __init__(
        self, core: UniMMCore, first: MDAEvent, lights: Collection[tuple[str, str]]
    ) -> None:
        self._core, self._first, self._lights = core, first, lights
        self._had = _values(first)
        self._limits: dict[tuple[str, str], int] = {}
        """Longest sequence of each property that changes; of the focus drive by its label."""

    def refusal(self, event: MDAEvent, number: int) -> str | None:
        """Why a frame cannot be one more of a sequence that then has `number`; None if it can."""
        first = self._first
        if (event.x_pos, event.y_pos) != (first.x_pos, first.y_pos):
            return "the stage is moved between them"
        if event.metadata.get(ROI) != first.metadata.get(ROI):
            return "they have different regions of interest"
        if event.metadata != first.metadata or event.exposure != first.exposure:
            return "other stages or the exposure time change between them"
        if event.z_pos != first.z_pos:
            if event.z_pos is None or first.z_pos is None:
                return "the focus is moved before some of them alone"
            if (focus := (self._core.getFocusDevice(), "")) not in self._limits:
                self._limits[focus] = self._positions()
        values = _values(event)
        if values.keys() != self._had.keys():
            return "other properties are set before some of them"
        for at, value in values.items():
            if value != self._had[at] and at not in self._limits:
                if (why := self._unsequenceable(*at)) is not None:
                    return why
                self._limits[at] = int(self._core.getPropertySequenceMaxLength(*at))
        for (device, prop), limit in self._limits.items():
            if number > limit:
                what = f"{device}.{prop}" if prop else f"focus drive {device!r}"
                takes = f"{limit} values at most" if limit else "no sequence"
                return f"{what} takes {takes}"
        return None

    def _positions(self) -> int:
        focus = self._core.getFocusDevice()
        can = self._core.isStageSequenceable(focus)
        return int(self._core.getStageSequenceMaxLength(focus)) if can else 0

    def _unsequenceable(self, device: str, prop: str) -> str | None:
        if not device:
            return f"group {prop} changes between them"
        if (device, prop) == (self._core.getCameraDevice(), "Exposure"):
            return "the exposure time changes between them"
        if (device, prop) in self._lights and not self._core.getShutterDevice():
            return f"{device}.{prop} changes between them, and no shutter keeps its light off"
        if not self._core.isPropertySequenceable(device, prop):
            return f"{device}.{prop} changes between them, and takes no sequence"
        return None


# ---------------------------------------------------------------------- taking them


class HardwareSequence(AbstractContextManager["HardwareSequence"]):
    """A sequence that devices were given, until the context is left.

    Parameters
    ----------
    core
        Of the devices.
    event
        What they are to do.
    gate
        Lets single calls through.
    triggered
        Is told which properties the camera changes by its triggers.
    """

    def __init__(
        self,
        core: UniMMCore,
        event: SequencedEvent,
        gate: LightGate,
        triggered: set[tuple[str, str]],
    ) -> None:
        self._core, self._event, self._gate = core, event, gate
        self._focus = str(core.getFocusDevice()) if event.z_sequence else ""
        self._triggered = triggered

    def load(self) -> None:
        """Have the devices wait for the camera at the first position and values, which they have.

        Making room for the frames takes long at first, and is done here, in the dark.

        Raises
        ------
        Exception
            Any error of a device.
        """
        core, heights = self._core, list(self._event.z_sequence)
        core.initializeCircularBuffer()
        if heights:
            with self._gate.passing():
                core.loadStageSequence(self._focus, heights)
            with self._gate.passing():
                core.startStageSequence(self._focus)
        for at, values in self._event.property_sequences.items():
            taken: list[Any] = [taken_as(core, *at, value) for value in values]
            with self._gate.passing():
                core.loadPropertySequence(*at, taken)
            # Made safe from here on, it is stopped first.
            self._triggered.add(at)
            with self._gate.passing():
                core.startPropertySequence(*at)

    def start(self) -> None:
        """Have the camera take the frames.

        Raises
        ------
        Exception
            Any error of the camera.
        """
        with self._gate.passing():
            self._core.startSequenceAcquisition(len(self._event.events), 0, True)

    def over(self) -> bool:
        """Whether the camera is done."""
        return not self._core.isSequenceRunning()

    def halt(self) -> None:
        """Have the camera end early; what it has taken can still be fetched."""
        self._core.stopSequenceAcquisition()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        failed = self.stop()
        if failed and kind is None:
            raise DeviceFault(f"a sequence did not end: {failed}")

    def stop(self) -> str:
        """Stop the camera and what it triggers, each even if others refuse; what failed."""
        failed = []
        core = self._core
        stops: list[Callable[[], object]] = [self.halt]
        if self._focus:
            stops.append(lambda: core.stopStageSequence(self._focus))
        sequences = self._event.property_sequences
        stops += [partial(core.stopPropertySequence, *at) for at in sequences]
        for one in stops:
            try:
                one()
            except Exception as error:
                failed.append(str(error))
        self._triggered.clear()
        return "; ".join(failed)


class Lit(threading.Thread):
    """Light that goes off as soon as something is over, whatever is done with it meanwhile.

    Writing the frames may take longer than taking them.

    Parameters
    ----------
    light
        On while its context lasts.
    over
        Asked again and again, once the thread is started.

    Attributes
    ----------
    is_off
        It is off again.
    """

    def __init__(self, light: AbstractContextManager[object], over: Callable[[], bool]) -> None:
        super().__init__(name="light of a sequence", daemon=True)
        self._light, self._over = light, over
        self._open = ExitStack()
        self._asked = threading.Event()
        self._error: Exception | None = None
        self.is_off = False

    def __enter__(self) -> Lit:
        self._open.enter_context(self._light)
        return self

    def __exit__(self, *_: object) -> None:
        self.off()

    def off(self) -> None:
        """Have it off now.

        Raises
        ------
        StaysLit
            It is not.
        """
        self._asked.set()
        if self.ident is None:
            if not self.is_off:
                self.run()
        else:
            self.join()
        error, self._error = self._error, None
        if error is not None:
            raise error

    def run(self) -> None:
        """Wait, and switch it off."""
        try:
            while not self._asked.wait(TICK_S) and not self._over():
                pass
        except Exception as error:
            self._error = error
        try:
            self._open.close()
        except Exception as error:
            self._error = error
        self.is_off = True
