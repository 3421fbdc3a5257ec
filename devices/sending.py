"""Settings and positions on their way to the devices: sent where they change, and read back."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

from devices.bound import devices_of, make_dark, put, read_back, reads
from devices.cameras import exposures_ms, involved
from devices.config import MicroscopeConfig, Value
from devices.errors import DeviceFault
from devices.safety import LightGate
from devices.values import send

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

ROI = "roi"
"""Key of an event's metadata: the camera's region of interest, x, y, width, height."""
STAGES = "stages_um"
"""Key of an event's metadata: positions of stages that useq has no axis for (µm), by label."""
LOCKED = "continuous_focus"
"""Key of an event's metadata: its frame is taken while a continuous focus holds."""
SEARCH = "search"
"""Key of the metadata of an event that is no frame: what is done instead, by the autofocus."""
PATIENCE = "patience_s"
"""Key of the metadata of a sequence: how long the camera has for a frame of it (s)."""
NOWHERE_UM = (0.0, 0.0)
"""Where a microscope without an XY stage is."""
_ARRIVED = 0.25
"""Share of the distance between two fields that a stage may be off, ..."""
_ARRIVED_UM = (0.1, 2.5)
"""... but at least and at most so far (µm): no stage is better, and none needs more."""
_EXPOSURE = 0.01
"""Relative difference between the exposure time sent and the one that the camera has."""
_EXPOSURE_MS = 0.05
"""The same (ms), for exposures that are a few lines of the sensor long."""


class Sender:
    """Sends only values that differ from those sent last, and knows those that the devices have.

    Each single call passes the gate, so that nothing moves behind the back of a microscope that
    was made safe.

    Parameters
    ----------
    core, config
        The devices, and the settings bound to them.
    gate
        Lets single device calls through.

    Attributes
    ----------
    has
        Settings as the devices gave them back when they were last set.
    exposure_ms
        The camera's exposure time, likewise; None where it is not for us to set.
    before_focus
        Called before the focus drive is sent somewhere.
    """

    def __init__(self, core: UniMMCore, config: MicroscopeConfig, gate: LightGate) -> None:
        self._core = core
        self._constant = config.constant
        self._settings = {**config.settings, **self._constant}
        self._exposure_name = config.exposure.camera
        self._gate = gate
        self._devices: dict[str, frozenset[str]] = {}
        self._sent: dict[str, Value] = {}
        self._sent_ms: float | None = None
        self._cameras: frozenset[str] | None = None
        # Halfway to a neighbour, it could be either of the two.
        least, most = _ARRIVED_UM
        near = min(most, max(least, _ARRIVED * config.fields.apart_um))
        self._near_um = config.xy_tolerance_um or near
        self._near_z_um = config.z_tolerance_um
        self._arrived = False
        self._xy: tuple[float, float] | None = None
        self._stages: dict[str, float] = {}
        self._arriving: set[str] = set()
        self._crops = bool(config.roi)
        self._cropped = False
        self._roi: Sequence[int] | None = None
        self.has: dict[str, Value] = {}
        self.exposure_ms: float | None = None
        self.before_focus: Callable[[], None] = lambda: None
        self._hanging: str | None = None

    def doubt(self, device: str) -> None:
        """Wait for a device no more: it hangs, and may move the focus at any time."""
        self._hanging = device

    def strayed(self) -> tuple[float, str] | None:
        """Where the focus drive is now, and why not where it was sent; None if it is there.

        Only a device that hung moves it behind our back.
        """
        label = self._core.getFocusDevice()
        if self._hanging is None or (sent := self._stages.get(label)) is None:
            return None
        has = float(self._core.getPosition(label))
        if abs(has - sent) <= self._near_z_um:
            return None
        return has, f"{self._hanging!r}, which hung, moved it away from {sent:.6g} µm"

    def wait(self) -> None:
        """Wait until no device is busy.

        Raises
        ------
        Exception
            One is busy for too long.
        """
        if self._hanging is None:
            self._core.waitForSystem()
            return
        for label in self._core.getLoadedDevices():
            if label != self._hanging:
                self._core.waitForDevice(label)

    def forget_focus(self) -> None:
        """Send the focus drive again: it was moved meanwhile."""
        self._stages.pop(self._core.getFocusDevice(), None)

    def let_go(self, name: str) -> None:
        """Know nothing of a setting any more: a device changes it by itself."""
        self._sent.pop(name, None)
        self.has.pop(name, None)

    def forget(self) -> None:
        """Send everything again: the devices may have been changed meanwhile."""
        self._sent.clear()
        self._stages.clear()
        self._sent_ms = self._xy = None
        self._cropped = False

    # ------------------------------------------------------------------ positions

    def move(
        self,
        x_um: float | None,
        y_um: float | None,
        z_um: float | None,
        stages: Mapping[str, float] | None = None,
    ) -> None:
        """Move the stages, where they were not sent to that place last.

        Parameters
        ----------
        x_um, y_um, z_um
            Of the XY stage and of the focus (µm).
        stages
            Of other stages of one axis (µm), by label.

        Raises
        ------
        DeviceFault
            One refused, or the microscope was made safe.
        """
        if x_um is not None or y_um is not None:
            self._move_xy(x_um, y_um)
        along = dict(stages or {})
        if self._hanging is not None:
            self.forget_focus()
        if z_um is not None:
            along[self._core.getFocusDevice()] = z_um
        for label, to in along.items():
            if self._stages.get(label) != to:
                self._stages.pop(label, None)
                self._move(label, to)
                self._stages[label] = to
                self._arriving.add(label)

    def _move_xy(self, x_um: float | None, y_um: float | None) -> None:
        """Move the XY stage; an axis without a position stays where it is."""
        if not self._core.getXYStageDevice() and (x_um, y_um) == NOWHERE_UM:
            return
        if x_um is None or y_um is None:
            x, y = self._xy or self._core.getXYPosition()
            if not (math.isfinite(x) and math.isfinite(y)):
                raise DeviceFault(f"the XY stage is at ({x:g}, {y:g}) µm, as it says")
            x_um, y_um = x if x_um is None else x_um, y if y_um is None else y_um
        if (x_um, y_um) != self._xy:
            to = x_um, y_um
            self._xy, self._arrived = None, False
            self._pass("the XY stage", lambda: self._core.setXYPosition(*to))
            self._xy = to

    def _move(self, label: str, to_um: float) -> None:
        what = f"stage {label!r}"
        if label == self._core.getFocusDevice():
            what = "the focus"
            self.before_focus()
        self._pass(what, lambda: self._core.setPosition(label, to_um))

    def verify_position(self) -> None:
        """Ask each stage that was sent somewhere since it was last asked whether it is there.

        Raises
        ------
        DeviceFault
            It is too far from there for its field to be the one that is meant.
        """
        if self._xy is not None and not self._arrived:
            x, y = self._core.getXYPosition()
            # Which NaN is not.
            if not math.hypot(x - self._xy[0], y - self._xy[1]) <= self._near_um:
                to = "({:.6g}, {:.6g})".format(*self._xy)
                self.forget()
                raise DeviceFault(
                    f"the XY stage is at ({x:.6g}, {y:.6g}) µm, not at {to} where it was sent"
                )
            self._arrived = True
        for label in sorted(self._arriving & set(self._stages)):
            has, sent = self._core.getPosition(label), self._stages[label]
            if not abs(has - sent) <= self._near_z_um:
                which = "focus" if label == self._core.getFocusDevice() else f"stage {label!r}"
                self.forget()
                raise DeviceFault(
                    f"the {which} is at {has:.6g} µm, not at {sent:.6g} where it was sent, and "
                    f"`z_tolerance_um` is {self._near_z_um:g}"
                )
        self._arriving.clear()

    # ------------------------------------------------------------------ settings

    def send(self, wanted: Mapping[str, Value]) -> set[str]:
        """Send settings that changed; returns those that were sent.

        Raises
        ------
        DeviceFault
            A device refused, or the microscope was made safe.
        """
        changed = {
            name
            for name, value in wanted.items()
            if name not in self._sent or self._sent[name] != value
        }
        for name in wanted:
            if name in changed:
                self._send(name, wanted[name])
        return changed

    def expose(self, exposure_ms: float | None) -> bool:
        """Set the camera's exposure time, where it changed; returns whether it did.

        Raises
        ------
        DeviceFault
            The camera refused.
        """
        if exposure_ms is None or exposure_ms == self._sent_ms:
            return False
        self._sent_ms = None
        self._pass("the camera's exposure", lambda: self._core.setExposure(exposure_ms))
        self._sent_ms = exposure_ms
        return True

    def crop(self, roi: Sequence[int] | None) -> None:
        """Set the camera's region of interest, where it is another one; the whole frame if None.

        Nothing is touched on a microscope whose config has none, until a person asks for one.

        Raises
        ------
        DeviceFault
            The camera refused, or took another one.
        """
        core = self._core
        if roi is None:
            if self._roi is not None or (self._crops and not self._cropped):
                self._pass("the whole frame", core.clearROI)
        elif tuple(core.getROI()) != tuple(roi):
            x, y, width, height = roi
            self._pass("the region of interest", lambda: core.setROI(x, y, width, height))
            if (has := tuple(core.getROI())) != tuple(roi):
                raise DeviceFault(f"the region of interest is {[*has]}, not {[*roi]} (`roi`)")
        self._roi, self._cropped = roi, True

    def uncropped(self) -> None:
        """The camera was told to read its whole frame again."""
        self._roi, self._cropped = None, True

    @property
    def cropped(self) -> bool:
        """Whether the camera reads a part of its frame only."""
        return self._roi is not None

    def darken(self, name: str) -> None:
        """Set a setting to its safe value, which passes even when nothing else does.

        Raises
        ------
        Exception
            Any error of the device.
        """
        self._sent.pop(name, None)
        make_dark(self._core, self._settings[name])

    def reads(self, name: str) -> object:
        """What a device says of a setting that was set to its safe value.

        Raises
        ------
        Exception
            Any error of the device.
        """
        return reads(self._core, self._settings[name])

    def devices(self, name: str) -> frozenset[str]:
        """Devices that a setting may change."""
        if name not in self._devices:
            self._devices[name] = devices_of(self._core, self._settings[name])
        return self._devices[name]

    def put(self, device: str, prop: str, value: Value) -> None:
        """Set a property that no setting is bound to.

        Raises
        ------
        DeviceFault
            The device refused, or the microscope was made safe.
        """
        self._pass(f"{device}.{prop} = {value}", lambda: send(self._core, device, prop, value))

    def verify(
        self, wanted: Mapping[str, Value], sent: Collection[str], *, exposed: bool = False
    ) -> None:
        """Read back the values sent, and others that may have changed with them.

        What a device does not have it gets again, once: some change one property when another is
        set.

        Parameters
        ----------
        wanted
            What the devices should have.
        sent
            Settings that were sent just now.
        exposed
            Whether the exposure time was.

        Raises
        ------
        DeviceFault
            A device has something else than it was given.
        """
        devices = set().union(*(self.devices(name) for name in sent))
        if self._cameras is None:
            self._cameras = involved(self._core)
        if exposed:
            devices |= self._cameras
        near = [name for name in wanted if self.devices(name) & devices]
        of_camera = not devices.isdisjoint(self._cameras)
        strays = self._strays(near, wanted, of_camera)
        if strays:
            for name in strays:
                self._send_again(name, wanted)
            self.wait()
            strays = self._strays(near, wanted, of_camera)
        if strays:
            self.forget()
            raise DeviceFault("; ".join(strays.values()))

    def check(self, wanted: Mapping[str, Value]) -> None:
        """Read settings and exposure time back, and send nothing.

        Raises
        ------
        DeviceFault
            A device has something else than it was given.
        """
        if strays := self._strays(wanted, wanted, exposure=True):
            self.forget()
            raise DeviceFault("; ".join(strays.values()))

    def _strays(
        self, names: Collection[str], wanted: Mapping[str, Value], exposure: bool
    ) -> dict[str, str]:
        """Settings that devices do not have as wanted, and why; `""` is the exposure time."""
        found = {}
        for name in names:
            setting = self._settings[name]
            self.has[name], why = read_back(self._core, setting, wanted[name])
            if why is not None:
                where = "properties" if name in self._constant else f"settings.{name}"
                found[name] = f"{setting.where()} {why} (`{where}`)"
        if exposure and self._sent_ms is not None and (why := self._exposes(self._sent_ms)):
            found[""] = why
        return found

    def _exposes(self, asked_ms: float) -> str:
        """How the camera's exposure time differs from the one it was given; empty if it does not.

        A *Multi Camera* says 0 where cameras within it differ.
        """
        assert self._cameras is not None
        several, name = len(self._cameras) > 1, self._exposure_name
        has = exposures_ms(self._core) if several else {"": float(self._core.getExposure())}
        if name is None:
            self.exposure_ms = max(has.values())
        elif not several:
            return ""  # a setting has a tolerance of its own
        for label, ms in has.items():
            # Which NaN is not.
            if not abs(ms - asked_ms) <= max(_EXPOSURE * asked_ms, _EXPOSURE_MS):
                camera = f"camera {label!r}" if several else "the camera"
                key = "exposure.camera_ms" if name is None else f"settings.{name}"
                return (
                    f"{camera} exposes for {ms:g} ms, not {asked_ms:g} as it was set to (`{key}`)"
                )
        return ""

    def _send_again(self, name: str, wanted: Mapping[str, Value]) -> None:
        if name:
            self._send(name, wanted[name])
        else:
            asked, self._sent_ms = self._sent_ms, None
            self.expose(asked)

    def _send(self, name: str, value: Value) -> None:
        setting = self._settings[name]
        self._sent.pop(name, None)
        if name == self._exposure_name:
            self._sent_ms = None
            self.expose(float(value))
        else:
            try:
                put(self._core, setting, value, self._pass)
            except DeviceFault:
                raise
            except Exception as error:  # of a group, whose properties were tried again
                raise DeviceFault(f"{error} (preset {value!r} of {setting.where()})") from error
        self._sent[name] = value

    def _pass(self, what: str, call: Callable[[], object]) -> None:
        try:
            with self._gate.passing():
                call()
        except DeviceFault:
            raise
        except Exception as error:
            raise DeviceFault(f"could not set {what}: {error}") from error
