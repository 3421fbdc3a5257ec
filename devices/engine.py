"""Micro-Manager's acquisition engine, made to speak up.

pymmcore-plus's engine turns a refused property, a stuck stage and a dead camera into logged
warnings and goes on, so that a run whose camera died at frame 8 of 20 ends as completed. Here
each of them ends the run with its cause.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from pymmcore_plus.experimental.unicore import UniMMCore
from pymmcore_plus.mda import MDAEngine
from pymmcore_plus.mda._engine import ImagePayload
from useq import MDAEvent

from devices.errors import DeviceFault
from devices.safety import LightGate


class StrictEngine(MDAEngine):
    """Executes single events; every failure raises.

    Parameters
    ----------
    core
        The core whose devices are moved.
    guard
        Called with each event before any device is touched; raises what it does not allow.
    gate
        Every single device call passes it, so that nothing can switch a laser on behind the
        back of a microscope that was made safe.
    """

    def __init__(self, core: UniMMCore, guard: Callable[[MDAEvent], None], gate: LightGate) -> None:
        # Moving the stage back after the run would expose nothing, but nobody asked for it.
        super().__init__(core, use_hardware_sequencing=False, restore_initial_state=False)
        self._guard = guard
        self._gate = gate

    def setup_single_event(self, event: MDAEvent) -> None:
        """Move stages and set properties.

        Raises
        ------
        LimitError
            The event asks for something outside the configured ranges.
        DeviceFault
            A device refused.
        """
        self._guard(event)
        core = self.mmcore
        what = "the XY stage"
        try:
            if event.x_pos is not None and event.y_pos is not None:
                core.setXYPosition(event.x_pos, event.y_pos)
            what = "the focus"
            if event.z_pos is not None:
                core.setZPosition(event.z_pos)
            what = "the camera's exposure"
            if event.exposure is not None:
                core.setExposure(event.exposure)
            for device, name, value in event.properties or ():
                what = f"{device}.{name} = {value}"
                with self._gate.passing():
                    core.setProperty(device, name, value)
        except Exception as error:
            raise DeviceFault(f"could not set {what}: {error}") from error

    def exec_single_event(self, event: MDAEvent) -> Iterator[Any]:
        """Take one frame, with the shutter open no longer than that.

        Raises
        ------
        DeviceFault
            The camera delivered none.
        """
        core = self.mmcore
        shutter = core.getShutterDevice()
        try:
            try:
                with self._gate.passing():
                    if shutter:
                        core.setShutterOpen(shutter, True)
                if shutter:
                    core.waitForDevice(shutter)
                core.snapImage()
            finally:
                if shutter:
                    core.setShutterOpen(shutter, False)
            image = core.getImage()
        except Exception as error:
            raise DeviceFault(f"camera {core.getCameraDevice()!r} failed: {error}") from error
        started = event.metadata.get("runner_t0") or time.perf_counter()
        meta = self.get_frame_metadata(
            event, runner_time_ms=(time.perf_counter() - started) * 1000, include_position=False
        )
        yield ImagePayload(image, event, meta)
