"""The one door to the hardware."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from useq import MDAEvent

from devices.config import FieldsConfig, MicroscopeConfig, PropertyBinding, Value
from devices.errors import BindingError, DeviceFault, LimitError, one_of
from devices.safety import LightGate, SafeState, Step, make_safe
from devices.shot import Field, Shot

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

_SIMULATED_LIBRARIES = {"DemoCamera", "SequenceTester"}


def grid(config: FieldsConfig) -> list[Field]:
    """The config's fields of view, from the centre outwards."""
    x0, y0 = config.centre_um
    places = [
        (
            (column - (config.columns - 1) / 2) * config.pitch_um,
            (row - (config.rows - 1) / 2) * config.pitch_um,
        )
        for row in range(config.rows)
        for column in range(config.columns)
    ]
    places.sort(key=lambda place: (round(place[0] ** 2 + place[1] ** 2, 6), place))
    return [Field(i, x0 + x, y0 + y) for i, (x, y) in enumerate(places)]


class Microscope:
    """Devices behind named settings, with their limits and their safe state.

    Use `Microscope.open`. Leaving the context makes the microscope safe and lets go of it.

    Attributes
    ----------
    core
        Micro-Manager's core with C++ and Python devices in it.
    config
        What it was opened from.
    simulated
        True where the frames come from a simulation, a recording or a demo camera.
    fields
        Fields of view, from the centre outwards.
    """

    def __init__(self, core: UniMMCore, config: MicroscopeConfig, *, simulated: bool) -> None:
        from devices.engine import StrictEngine

        self.core = core
        self.config = config
        self.simulated = simulated
        self.fields = grid(config.fields)
        self._bound = {(s.device, s.property): (n, s) for n, s in config.settings.items()}
        self._gate = LightGate()
        core.mda.set_engine(StrictEngine(core, self._guard, self._gate))

    # ------------------------------------------------------------------ opening

    @classmethod
    def open(cls, config: MicroscopeConfig, *, base: Path = Path(), seed: int = 0) -> Microscope:
        """Load and bind everything; no light is switched on.

        Parameters
        ----------
        config
            The `microscope` section.
        base
            Folder that relative paths in it start from.
        seed
            Of a simulated sample that has none of its own.

        Raises
        ------
        BindingError
            Something in the config is not on this microscope.
        """
        core = load_core(config, base=base, seed=seed)
        try:
            _assign_roles(core, config)
            library = core.getDeviceLibrary(core.getCameraDevice())
            microscope = cls(
                core,
                config,
                simulated=bool(config.virtual_sted or config.replay)
                or library in _SIMULATED_LIBRARIES,
            )
            # The demo's shutter, and some real ones, are open after loading.
            microscope._check_bindings()
            state = microscope.make_safe("opened")
            if not state.ok:
                wrong = next(entry for entry in state.readback if not entry.ok)
                raise BindingError(
                    (),
                    f"cannot be made safe: {wrong.name} reads {wrong.value}, not {wrong.expected}",
                )
            microscope.arm()
            for i, (device, name, value) in enumerate(config.properties):
                _check_property(core, ("properties", i), device, name)
                try:
                    core.setProperty(device, name, value)
                except Exception as error:
                    raise BindingError(("properties", i), f"{device}.{name}: {error}") from error
        except BaseException:
            release(core)
            raise
        return microscope

    def __enter__(self) -> Microscope:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.make_safe("closed")
        self.close()

    def close(self) -> None:
        """Let go of all devices."""
        release(self.core)

    def _check_bindings(self) -> None:
        for name, setting in self.config.settings.items():
            at = ("settings", name)
            _check_property(self.core, at, setting.device, setting.property)
            device, prop = setting.device, setting.property
            if self.core.isPropertyReadOnly(device, prop):
                raise BindingError((*at, "property"), f"{device}.{prop} is read-only")
            if setting.range is not None and self.core.hasPropertyLimits(device, prop):
                low = self.core.getPropertyLowerLimit(device, prop)
                high = self.core.getPropertyUpperLimit(device, prop)
                if setting.range[0] < low or setting.range[1] > high:
                    raise BindingError(
                        (*at, "range"),
                        f"{list(setting.range)} is more than {device}.{prop} takes: "
                        f"{low:g} … {high:g}",
                    )
            allowed = self.core.getAllowedPropertyValues(device, prop)
            if setting.choices is not None and allowed:
                for choice in setting.choices:
                    if str(choice) not in allowed:
                        raise BindingError(
                            (*at, "choices"),
                            f"{choice!r} is not what {device}.{prop} takes: {', '.join(allowed)}",
                        )
        if (clock := self.config.clock) is not None:
            _check_property(self.core, ("clock",), clock.device, clock.property)

    # ------------------------------------------------------------------ shots

    @property
    def pixels(self) -> int:
        """Pixels of a frame."""
        return int(self.core.getImageWidth() * self.core.getImageHeight())

    @property
    def frame_bytes(self) -> int:
        """Size of a frame's raw pixels (bytes)."""
        return int(self.core.getImageBufferSize())

    def settings(self, shot: Shot) -> dict[str, Value]:
        """Every setting of a shot: starting values, then the shot's, then its mode's.

        Raises
        ------
        LimitError
            Unknown mode or setting, or a value outside its range.
        """
        if shot.mode not in self.config.modes:
            raise LimitError(f"mode {shot.mode!r}: {one_of(shot.mode, list(self.config.modes))}")
        wanted: dict[str, Value] = {**shot.settings, **self.config.modes[shot.mode]}
        full = self.config.start()
        for name, value in wanted.items():
            if name not in full:
                raise LimitError(f"setting {name!r}: {one_of(name, list(full))}")
            if why := self.config.settings[name].refusal(value):
                raise LimitError(f"setting {name!r}: {why}")
            full[name] = self.config.settings[name].plain(value)
        return full

    def exposure_s(self, settings: Mapping[str, Value]) -> float:
        """Time (s) that light falls on the sample in one frame at `settings`."""
        return self.config.exposure_s(dict(settings), self.pixels)

    def dose_j(self, settings: Mapping[str, Value]) -> dict[str, float]:
        """Light energy on the sample (J) of one frame at `settings`, for each laser."""
        return self.config.dose_j(dict(settings), self.pixels)

    def event(self, shot: Shot, index: int, *, elapsed_s: float = 0.0) -> MDAEvent:
        """The useq event of a shot, the form in which Micro-Manager's runner takes it.

        Parameters
        ----------
        shot
            What to take.
        index
            Number of the frame in the run.
        elapsed_s
            How old the run was when this runner started; `shot.at_s` counts from its birth.

        Raises
        ------
        LimitError
            The shot asks for something outside the configured ranges.
        """
        settings = self.settings(shot)
        properties: list[tuple[str, str, Value]] = [
            (self.config.settings[name].device, self.config.settings[name].property, value)
            for name, value in settings.items()
        ]
        wait = None
        if shot.at_s is not None:
            if (clock := self.config.clock) is None:
                wait = max(0.0, shot.at_s - elapsed_s)
            elif shot.at_s > self.clock_s(clock):
                properties.append((clock.device, clock.property, shot.at_s))
        where = shot.field
        return MDAEvent(
            index={"t": index},
            x_pos=where.x_um if where else None,
            y_pos=where.y_um if where else None,
            z_pos=where.z_um if where else None,
            exposure=self.config.exposure.camera_ms,
            min_start_time=wait,
            properties=properties,
        )

    def _guard(self, event: MDAEvent) -> None:
        """Refuse an event that would set a bound property outside its range."""
        for device, prop, value in event.properties or ():
            if bound := self._bound.get((device, prop)):
                name, setting = bound
                if why := setting.refusal(value):
                    raise LimitError(f"setting {name!r}: {why}")

    # ------------------------------------------------------------------ time and place

    def clock_s(self, clock: PropertyBinding) -> float:
        """The simulated clock (s)."""
        return float(self.core.getProperty(clock.device, clock.property))

    @property
    def simulated_time_s(self) -> float | None:
        """Time of a simulated sample (s); None on a microscope that lives in ours."""
        return None if self.config.clock is None else self.clock_s(self.config.clock)

    def set_simulated_time(self, seconds: float) -> None:
        """Put a simulated sample's clock where a resumed run left it."""
        if self.config.clock is not None:
            self.core.setProperty(self.config.clock.device, self.config.clock.property, seconds)

    # ------------------------------------------------------------------ safe state

    def arm(self) -> None:
        """Let the engine move devices again after `make_safe`."""
        self._gate.open()

    def make_safe(self, reason: str) -> SafeState:
        """Shutter closed, lasers at their safe values, sequence stopped, each read back.

        Never raises, and never waits long for a device that hangs. From here on the engine
        moves nothing, until `arm`.
        """
        self._gate.close()
        core = self.core
        steps = []
        if shutter := core.getShutterDevice():
            steps.append(
                Step(
                    "shutter open",
                    lambda: core.setShutterOpen(False),
                    lambda: core.getShutterOpen(shutter),
                    False,
                )
            )
        for name, setting in self.config.settings.items():
            if setting.safe is not None:
                steps.append(
                    _laser_step(core, name, setting.device, setting.property, setting.safe)
                )
        camera = core.getCameraDevice()
        steps.append(
            Step(
                "sequence running",
                lambda: core.stopSequenceAcquisition(camera) if core.isSequenceRunning() else None,
                core.isSequenceRunning,
                False,
            )
        )
        return make_safe(steps, reason)


def _laser_step(core: UniMMCore, name: str, device: str, prop: str, safe: Value) -> Step:
    return Step(
        name,
        lambda: core.setProperty(device, prop, safe),
        lambda: core.getProperty(device, prop),
        safe,
    )


def load_core(config: MicroscopeConfig, *, base: Path = Path(), seed: int = 0) -> UniMMCore:
    """A core with the config's devices in it, and nothing bound or assigned yet.

    Raises
    ------
    BindingError
        A device cannot be loaded.
    """
    from pymmcore_plus.experimental.unicore import UniMMCore

    core = UniMMCore()
    try:
        _load_cfg(core, config, base)
        _load_python_devices(core, config, base, seed)
    except BaseException:
        release(core)
        raise
    return core


def release(core: UniMMCore) -> None:
    """Let go of all devices, and of Python: the core's threads may outlive the interpreter."""
    from pymmcore import CMMCore

    core.unloadAllDevices()
    # Without this the process aborts on every other exit, when a late callback finds no Python.
    CMMCore.registerCallback(core, None)


def _load_cfg(core: UniMMCore, config: MicroscopeConfig, base: Path) -> None:
    if config.cfg is None:
        return
    file = Path("MMConfig_demo.cfg") if config.cfg == "demo" else base / config.cfg
    if config.cfg != "demo" and not file.is_file():
        raise BindingError(("cfg",), f"no file {str(file)!r}; a Micro-Manager .cfg, or `demo`")
    try:
        core.loadSystemConfiguration(str(file))
    except Exception as error:
        first_line = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
        raise BindingError(("cfg",), f"Micro-Manager cannot load {file}: {first_line}") from error


def _load_python_devices(core: UniMMCore, config: MicroscopeConfig, base: Path, seed: int) -> None:
    loaded: dict[str, Any] = {}
    if config.virtual_sted is not None:
        from devices.virtual.devices import build_virtual_sted

        try:
            loaded |= build_virtual_sted(
                config.virtual_sted, seed=seed, pixel_size_nm=config.pixel_size_nm
            )
        except ValueError as error:
            raise BindingError(("virtual_sted",), str(error)) from error
        reach = loaded["XYStage"].reach_um
        far = max(max(abs(field.x_um), abs(field.y_um)) for field in grid(config.fields))
        if far > reach:
            raise BindingError(
                ("fields",),
                f"the outermost is {far:g} µm off the centre, this sample allows {reach:.3g} µm; "
                "fewer fields, a smaller `pitch_um` or a larger `virtual_sted.size_um`",
            )
    if config.replay is not None:
        from devices.replay import build_replay

        try:
            loaded |= build_replay(config.replay, base)
        except (OSError, ValueError) as error:
            raise BindingError(("replay", "file"), str(error)) from error
    for label, device in config.python_devices.items():
        module, _, name = device.class_.partition(":")
        at = ("python_devices", label, "class")
        try:
            loaded[label] = getattr(importlib.import_module(module), name)(**device.options)
        except (ImportError, AttributeError) as error:
            raise BindingError(at, f"{device.class_!r} cannot be imported: {error}") from error
        except (TypeError, ValueError) as error:
            raise BindingError(("python_devices", label, "options"), str(error)) from error
    for label, device in loaded.items():
        try:
            core.loadPyDevice(label, device)
            core.initializeDevice(label)
        except Exception as error:
            section = "python_devices" if label in config.python_devices else "cfg"
            raise BindingError((section,), f"device {label!r} cannot be loaded: {error}") from error


def _assign_roles(core: UniMMCore, config: MicroscopeConfig) -> None:
    from pymmcore_plus import DeviceType

    roles = (
        ("camera", DeviceType.Camera, core.getCameraDevice, core.setCameraDevice),
        ("shutter", DeviceType.Shutter, core.getShutterDevice, core.setShutterDevice),
        ("xy_stage", DeviceType.XYStage, core.getXYStageDevice, core.setXYStageDevice),
        ("focus", DeviceType.Stage, core.getFocusDevice, core.setFocusDevice),
    )
    for role, kind, current, assign in roles:
        label = getattr(config, role)
        there = list(core.getLoadedDevicesOfType(kind))
        if label is not None and label not in there:
            raise BindingError((role,), one_of(label, there))
        if label is None and not current() and len(there) == 1:
            label = there[0]
        if label is not None:
            assign(label)
    if not core.getCameraDevice():
        cameras = list(core.getLoadedDevicesOfType(DeviceType.Camera))
        raise BindingError(("camera",), f"which one? there is {', '.join(cameras) or 'none'}")
    # The engine opens and closes the shutter itself: Micro-Manager's automatic shutter knows
    # nothing of Python shutters, and fails where there is none.
    core.setAutoShutter(False)
    if core.getPixelSizeUm() == 0:
        # pymmcore-plus's own writers need one; the config's is what our images carry.
        core.definePixelSizeConfig("stedfast")
        core.setPixelSizeUm("stedfast", config.pixel_size_nm * 1e-3)


def _check_property(core: UniMMCore, at: tuple[str | int, ...], device: str, prop: str) -> None:
    devices = list(core.getLoadedDevices())
    if device not in devices:
        raise BindingError((*at, "device"), one_of(device, devices))
    names = list(core.getDevicePropertyNames(device))
    if prop not in names:
        raise BindingError((*at, "property"), f"on {device}: {one_of(prop, names)}")


__all__ = ["BindingError", "DeviceFault", "LimitError", "Microscope", "grid"]
