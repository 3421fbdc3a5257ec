"""Micro-Manager's own two presets: `System/Startup` on loading, `System/Shutdown` at the end.

Neither switches light on: what opens a shutter, or sets what is made safe to another value, is
left out. After the last frame, so is all that looks like light and is not off.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from devices import presets
from devices.light_like import is_dark, is_light_like, opens_shutter
from devices.lights import Lights
from devices.presets import CORE, Part
from devices.safety import LightGate
from devices.values import same

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

GROUP, STARTUP, SHUTDOWN = "System", "Startup", "Shutdown"


def start_up(core: UniMMCore, lights: Lights, gate: LightGate) -> None:
    """Set the Startup preset, which there is.

    Raises
    ------
    RuntimeError
        A device refused.
    GateClosed
        It is to end.
    """

    def put(part: Part) -> None:
        if not _lights(core, lights, part):
            with gate.passing():
                part.put(core)

    presets.apply(core, GROUP, STARTUP, put)


def shut_down(core: UniMMCore, lights: Lights) -> None:
    """Set the Shutdown preset, if there is one.

    Raises
    ------
    RuntimeError
        A device refused.
    """
    if not presets.defined(core, GROUP, SHUTDOWN):
        return

    def put(part: Part) -> None:
        light_like = part.device != CORE and is_light_like(core, part.device, part.prop)
        if not (_lights(core, lights, part) or (light_like and not is_dark(part.value))):
            part.put(core)

    presets.apply(core, GROUP, SHUTDOWN, put)


def _lights(core: UniMMCore, lights: Lights, part: Part) -> bool:
    """Whether a property would open a shutter, or take something from its safe value."""
    if part.device == CORE:
        return False
    safe = lights.safe_values().get((part.device, part.prop))
    if safe is not None:
        return not same(safe, part.value)
    return opens_shutter(core, part.device, part.prop) and not is_dark(part.value)
