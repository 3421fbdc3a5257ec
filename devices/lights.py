"""Light sources on the sample: how each is made safe, and which are not controlled."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devices.config import MicroscopeConfig, Value
from devices.safety import Step
from devices.values import send

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

_LIGHT_LIKE = re.compile(
    r"power|intensit|emission|emit|enable|laser|lamp|led\b|brightness|illuminat|volt|current"
    r"|level|set ?point|on ?/? ?off",
    re.IGNORECASE,
)
_HALT_S = 1.0
"""Longest wait for a stage that was told to stop (s)."""


@dataclass(frozen=True, slots=True)
class Loose:
    """A property that looks like light, and that no setting and no `properties` entry makes safe.

    Parameters
    ----------
    device, property, value
        Which, and what it reads; None if the device would not tell.
    """

    device: str
    property: str
    value: str | None


class Lights:
    """The light of a microscope, by the labels that its config and its core know.

    Parameters
    ----------
    core, config
        A core, with or without devices in it yet, and the config of its devices.
    """

    def __init__(self, core: UniMMCore, config: MicroscopeConfig) -> None:
        self._core = core
        self._config = config
        self._there: dict[str, bool] = {}
        self._kept: list[tuple[str, str, str, Value]] = []

    def look(self) -> None:
        """Find out which devices there are by now; a core that hangs could not be asked later."""
        from pymmcore_plus import DeviceInitializationState, DeviceType

        core = self._core
        untouched = DeviceInitializationState.Uninitialized
        there = {}
        for label in core.getLoadedDevices():
            kind = core.getDeviceType(label)
            if kind != DeviceType.Core and core.getDeviceInitializationState(label) != untouched:
                there[str(label)] = kind == DeviceType.Shutter
        self._there = there
        kept = [(n, s.device, s.property, s.safe) for n, s in self._config.settings.items()]
        for entry in self._config.properties:
            name = f"{entry.device}.{entry.property}"
            kept.append((name, entry.device, entry.property, entry.safe))
        # A name that is wrong in the config is told of when everything is dark.
        self._kept = [
            (name, device, prop, safe)
            for name, device, prop, safe in kept
            if safe is not None
            and device in self._there
            and core.hasProperty(device, prop)
            and not core.isPropertyReadOnly(device, prop)
        ]

    def forget(self) -> None:
        """No device is there any more."""
        self._there, self._kept = {}, []

    @property
    def shutters(self) -> list[str]:
        """Labels of all shutters."""
        return [label for label, is_shutter in self._there.items() if is_shutter]

    def kept(self) -> tuple[str, ...]:
        """The safe state in words."""
        return (
            *(f"{label} closed" for label in self.shutters),
            *(f"{name} at {safe}" for name, _, _, safe in self._kept),
        )

    def steps(self) -> list[Step]:
        """How to make it dark: every shutter, every laser, then what else has a safe value."""
        return [
            *(self._shutter(label) for label in self.shutters),
            *(self._set(*kept) for kept in self._kept),
        ]

    def loose(self) -> Iterator[Loose]:
        """Light-like properties that no run changes."""
        from pymmcore_plus import DeviceType

        core = self._core
        kept = {(device, prop) for _, device, prop, _ in self._kept}
        dark = {
            DeviceType.Camera,
            DeviceType.XYStage,
            DeviceType.Stage,
            DeviceType.Serial,
            DeviceType.AutoFocus,
            DeviceType.ImageProcessor,
        }
        for label in self._there:
            if core.getDeviceType(label) in dark:
                continue
            for prop in core.getDevicePropertyNames(label):
                if (
                    (label, prop) in kept
                    or not _LIGHT_LIKE.search(prop.replace("_", " "))
                    or core.isPropertyReadOnly(label, prop)
                    or core.isPropertyPreInit(label, prop)
                ):
                    continue
                value = None
                with suppress(Exception):  # a device that is switched off hides nothing else
                    value = str(core.getProperty(label, prop))
                yield Loose(label, str(prop), value)

    def _shutter(self, label: str) -> Step:
        core = self._core
        # The one that opens for frames has had this name in every ledger.
        only = label == core.getShutterDevice() or len(self.shutters) == 1
        return Step(
            "shutter open" if only else f"shutter {label} open",
            lambda: core.setShutterOpen(label, False),
            lambda: core.getShutterOpen(label),
            False,
        )

    def _set(self, name: str, device: str, prop: str, safe: Value) -> Step:
        core = self._core
        return Step(
            name,
            lambda: send(core, device, prop, safe),
            lambda: core.getProperty(device, prop),
            safe,
        )


def halt(core: UniMMCore) -> list[Step]:
    """How to stop what moves and what acquires."""
    steps = []
    if camera := core.getCameraDevice():
        steps.append(
            Step(
                "sequence running",
                lambda: core.stopSequenceAcquisition(camera) if core.isSequenceRunning() else None,
                core.isSequenceRunning,
                False,
            )
        )
    for name, stage in (("XY stage", core.getXYStageDevice()), ("focus", core.getFocusDevice())):
        if stage:
            steps.append(Step(f"{name} moving", _stop(core, stage), _busy(core, stage), False))
    return steps


def _stop(core: UniMMCore, stage: str) -> Callable[[], None]:
    def stop() -> None:
        with suppress(Exception):  # many cannot be stopped; whether it still moves is asked next
            core.stop(stage)

    return stop


def _busy(core: UniMMCore, stage: str) -> Callable[[], bool]:
    """Whether a stage still moves, once it had time to come to rest."""

    def busy() -> bool:
        end = time.monotonic() + _HALT_S
        while core.deviceBusy(stage):
            if time.monotonic() > end:
                return True
            time.sleep(0.01)
        return False

    return busy
