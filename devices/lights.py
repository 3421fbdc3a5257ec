"""Light sources on the sample: how each is made safe, and which are not controlled."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devices import presets
from devices.bound import make_dark, reads
from devices.config import MicroscopeConfig, SettingConfig, Value
from devices.light_like import is_light_like, is_light_switch
from devices.presets import CORE, SHUTTER, Part
from devices.safety import Step

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

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

    Attributes
    ----------
    written
        Presets as the `.cfg` has them, by group and name: the core learns of them last.
    triggered
        Device and property of what a camera changes by its triggers now.
    """

    def __init__(self, core: UniMMCore, config: MicroscopeConfig) -> None:
        self._core = core
        self._config = config
        self._there: dict[str, bool] = {}
        self._kept: dict[str, tuple[SettingConfig, tuple[Part, ...]]] = {}
        """What is made safe; of a group the parts of its preset, as far as they are there."""
        self.written: Mapping[tuple[str, str], tuple[Part, ...]] = {}
        self.triggered: set[tuple[str, str]] = set()

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
        # A name that is wrong in the config is told of when everything is dark.
        there_now = set()
        for name, setting in {**self._config.settings, **self._config.constant}.items():
            if setting.safe is None:
                continue
            # What is not there, or not yet, keeps nothing else of its preset lit.
            parts = tuple(part for part in self._parts(setting) if self._can_be_put(part))
            if setting.group is None:
                is_there = self._can_be_set(setting.device, setting.property)
            else:
                is_there = any(part.device != CORE for part in parts)
            if is_there:
                # One by one, in a new dict: another thread makes safe what is known so far, while
                # a device hangs in these questions.
                self._kept = {**self._kept, name: (setting, parts)}
                there_now.add(name)
        self._kept = {name: kept for name, kept in self._kept.items() if name in there_now}

    def _can_be_set(self, device: str, prop: str) -> bool:
        """Whether there is such a property by now."""
        return (
            device in self._there
            and self._core.hasProperty(device, prop)
            and not self._core.isPropertyReadOnly(device, prop)
        )

    def _can_be_put(self, part: Part) -> bool:
        """The same of a part of a preset, which may be a role of Micro-Manager itself."""
        if part.device != CORE:
            return self._can_be_set(part.device, part.prop)
        return part.prop != SHUTTER or part.value in self.shutters

    def safe_values(self) -> dict[tuple[str, str], Value]:
        """What each property that is made safe is made, by device and property."""
        found: dict[tuple[str, str], Value] = {}
        for setting, parts in self._kept.values():
            if setting.group is None:
                assert setting.safe is not None
                found[setting.device, setting.property] = setting.safe
            found |= {(part.device, part.prop): part.value for part in parts if part.device != CORE}
        return found

    def _parts(self, setting: SettingConfig) -> tuple[Part, ...]:
        """What the safe preset of a group sets; nothing where there is none of that name."""
        if setting.group is None:
            return ()
        if presets.defined(self._core, setting.group, setting.safe):
            return presets.parts(self._core, setting.group, setting.safe)
        return self.written.get((setting.group, str(setting.safe)), ())

    def forget(self) -> None:
        """No device is there any more."""
        self._there, self._kept = {}, {}

    @property
    def shutters(self) -> list[str]:
        """Labels of all shutters."""
        return [label for label, is_shutter in self._there.items() if is_shutter]

    def kept(self) -> tuple[str, ...]:
        """The safe state in words."""
        return (
            *(f"{label} closed" for label in self.shutters),
            *(f"{name} at {setting.safe}" for name, (setting, _) in self._kept.items()),
        )

    def steps(self) -> list[Step]:
        """How to make it dark: every shutter, every laser, then what else has a safe value."""
        return [
            *(self._shutter(label) for label in self.shutters),
            *(self._set(name, *kept) for name, kept in self._kept.items()),
        ]

    def loose(self) -> Iterator[Loose]:
        """Light-like properties that no run changes."""
        from pymmcore_plus import Keyword

        core = self._core
        kept = self.safe_values()
        for label in self._there:
            for prop in core.getDevicePropertyNames(label):
                # The place of a wheel may be kept by its label.
                switch = (label, str(Keyword.Label)) not in kept
                light = is_light_like(core, label, prop) or (
                    switch and is_light_switch(core, label, prop)
                )
                if (label, prop) in kept or not light:
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

    def _set(self, name: str, setting: SettingConfig, parts: tuple[Part, ...]) -> Step:
        core, safe = self._core, setting.safe
        if setting.group is None:

            def act() -> None:
                self._untrigger((setting.device, setting.property))
                make_dark(core, setting)

            return Step(name, act, lambda: reads(core, setting), safe)

        def act_by_parts() -> None:
            self._untrigger(*((part.device, part.prop) for part in parts))
            presets.darken(core, parts)

        return Step(name, act_by_parts, lambda: presets.lacking(core, parts, safe) or safe, safe)

    def _untrigger(self, *properties: tuple[str, str]) -> None:
        """The next trigger of the camera would change them again."""
        for at in properties:
            if at in self.triggered:
                with suppress(Exception):  # whether it has its safe value is asked next
                    self._core.stopPropertySequence(*at)


def halt(core: UniMMCore) -> list[Step]:
    """How to stop what moves and what acquires."""
    from pymmcore_plus import DeviceType

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
    focus = core.getFocusDevice()
    stages = {"XY stage": core.getXYStageDevice(), "focus": focus}
    stages |= {
        f"stage {label!r}": label
        for label in core.getLoadedDevicesOfType(DeviceType.Stage)
        if label != focus
    }
    return steps + [
        Step(f"{name} moving", _stop(core, stage), _busy(core, stage), False)
        for name, stage in stages.items()
        if stage
    ]


def _stop(core: UniMMCore, stage: str) -> Callable[[], None]:
    def stop() -> None:
        with suppress(Exception):  # it would go on where the camera triggers it
            if stage != core.getXYStageDevice() and core.isStageSequenceable(stage):
                core.stopStageSequence(stage)
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
