"""Loading devices into a Micro-Manager core, and letting go of them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devices.adapters import adapters_for
from devices.cfg import load_cfg
from devices.config import NO_SHUTTER, MicroscopeConfig, PythonDevice
from devices.errors import BindingError
from devices.extras import install
from devices.fields import grid
from devices.groups import shutter_of
from devices.imspector.labels import BEAM, FOCUS, STAGE
from devices.modules import module_named
from devices.pixels import OURS
from devices.refusals import refused
from devices.sources import ImspectorConfig
from devices.system_presets import GROUP, STARTUP

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import Device, UniMMCore


def new_core(
    before_unloading: Callable[[], None],
    cfg: str | None = None,
    start_up: Callable[[], None] | None = None,
) -> UniMMCore:
    """Make a core without devices.

    Parameters
    ----------
    before_unloading
        Called before it unloads its devices, at any request: Micro-Manager does so itself
        where a line of a `.cfg` fails, with the devices as that file has left them.
    cfg
        The `.cfg` it is for, on which depends where adapters are looked for.
    start_up
        Carries out the Startup preset of the `.cfg`, when all its lines are done; Micro-Manager
        does if absent.
    """
    from devices.python_channels import ChannelsCore

    class Core(ChannelsCore):
        def unloadAllDevices(self) -> None:  # noqa: N802  # the core's name
            before_unloading()
            super().unloadAllDevices()

        def setPrimaryLogFile(  # noqa: N802  # the core's name
            self, filename: str, truncate: bool = False
        ) -> None:
            """Nothing: a core that changes its log may wait for its logging thread for ever."""

        def getPixelSizeUm(self, cached: bool = False) -> float:  # noqa: N802  # the core's
            # It knows the magnifiers of its adapters alone.
            factor = magnification(self)
            return float(super().getPixelSizeUm(cached)) / factor if factor > 0 else 0.0

        def getPixelSizeAffine(self, cached: bool = False) -> Any:  # noqa: N802  # the core's
            factor, six = magnification(self), super().getPixelSizeAffine(cached)
            return tuple(number / factor if factor > 0 else 0.0 for number in six)

        def setConfig(self, groupName: str, configName: str) -> None:  # noqa: N802, N803  # its
            if start_up is not None and (groupName, configName) == (GROUP, STARTUP):
                start_up()
            else:
                super().setConfig(groupName, configName)

    adapters = adapters_for(cfg)
    core: Any = Core(mm_path=str(adapters)) if adapters else Core()
    # A core that is destroyed may wait for its logging thread for ever, at whichever line Python
    # collects garbage. So it is let go of without its destructor, once its devices are unloaded.
    core.disown()
    made: UniMMCore = core
    return made


def magnification(core: UniMMCore) -> float:
    """Product of what the magnifiers written in Python say, in their property `Magnification`."""
    from pymmcore_plus import DeviceType

    labels = core.getLoadedDevicesOfType(DeviceType.Magnifier)
    return math.prod(
        float(core.getProperty(label, "Magnification"))
        for label in labels
        if core.isPyDevice(label)
    )


def load_devices(
    core: UniMMCore,
    config: MicroscopeConfig,
    go_on: Callable[[], None],
    *,
    base: Path = Path(),
    seed: int = 0,
) -> Iterator[None]:
    """Load a config's devices: those of its `.cfg`, then the Python ones, one by one.

    Where a Python device fails, the others are loaded still.

    Parameters
    ----------
    core, config
        An empty core, and what is loaded into it.
    go_on
        Called before each line of the `.cfg`; raises where loading is to end.
    base
        Folder that relative paths in the config start from.
    seed
        Of a simulated sample that has none of its own.

    Yields
    ------
    None
        Whenever there are more devices than before.

    Raises
    ------
    BindingError
        A device cannot be loaded.
    """
    if config.cfg is not None:
        _load_cfg(core, config.cfg, base, go_on)
        _check_initialized(core)
        yield
    failed: BindingError | None = None
    for label, make in _python_devices(config, base, seed):
        try:
            _load_python(core, config, label, make)
        except BindingError as error:
            # A camera that is off is no reason to leave the lasers behind it lit.
            failed = failed or error
            with suppress(Exception):
                core.unloadDevice(label)
        else:
            yield
    if failed is not None:
        raise failed
    if config.imspector is not None:
        _default(core.getShutterDevice, core.setShutterDevice, BEAM)
        _default(core.getXYStageDevice, core.setXYStageDevice, STAGE)
        _default(core.getFocusDevice, core.setFocusDevice, FOCUS)


def _default(current: Callable[[], str], assign: Callable[[str], None], label: str) -> None:
    if not current():
        assign(label)


def _load_python(
    core: UniMMCore, config: MicroscopeConfig, label: str, make: Callable[[], Device]
) -> None:
    device = make()
    at = ("python_devices", label) if label in config.python_devices else ("cfg",)
    try:
        core.loadPyDevice(label, device)
        core.initializeDevice(label)
    except Exception as error:
        raise BindingError(at, f"device {label!r} cannot be loaded: {error}") from error
    # What a device raises on coming up is only logged.
    if device._initialized_ is not True:
        raise BindingError(at, f"device {label!r} did not come up: {device._initialized_}")


def _check_initialized(core: UniMMCore) -> None:
    """Check that every device of a `.cfg` came up: not every one of them that fails says so."""
    from pymmcore_plus import DeviceInitializationState, DeviceType

    for label in core.getLoadedDevices():
        if core.getDeviceType(label) == DeviceType.CoreDevice:
            continue
        up = core.getDeviceInitializationState(label)
        if up != DeviceInitializationState.InitializedSuccessfully:
            raise BindingError(("cfg",), f"device {label!r} did not come up")


def cfg_file(cfg: str, base: Path) -> Path:
    """Where a `.cfg` lies."""
    return (adapters_for("demo") or Path()) / "MMConfig_demo.cfg" if cfg == "demo" else base / cfg


def _load_cfg(core: UniMMCore, cfg: str, base: Path, go_on: Callable[[], None]) -> None:
    file = cfg_file(cfg, base)
    if cfg == "demo" and not file.is_file():
        why = f"`demo` needs Micro-Manager's simulated devices: {install('virtual')}"
        raise BindingError(("cfg",), why)
    if not file.is_file():
        raise BindingError(("cfg",), f"no file {str(file)!r}; a Micro-Manager .cfg, or `demo`")
    load_cfg(core, file, go_on)


def _python_devices(
    config: MicroscopeConfig, base: Path, seed: int
) -> Iterator[tuple[str, Callable[[], Device]]]:
    """Labels of the config's Python devices, and what makes each."""
    loaded: dict[str, Any] = {}
    if config.virtual_sted is not None:
        try:
            from devices.virtual.build import build_virtual_sted
        except ModuleNotFoundError as error:
            why = f"{error.name} is not installed: {install('virtual')}"
            raise BindingError(("virtual_sted",), why) from error
        try:
            loaded |= build_virtual_sted(
                config.virtual_sted, seed=seed, pixel_size_nm=config.pixel_size_nm
            )
        except ValueError as error:
            raise BindingError(("virtual_sted",), str(error)) from error
        reach = loaded["XYStage"].reach_um
        outermost = max(grid(config.fields), key=lambda one: max(abs(one.x_um), abs(one.y_um)))
        far = max(abs(outermost.x_um), abs(outermost.y_um))
        if far > reach:
            nearer = "fewer fields, a smaller `pitch_um`"
            if config.fields.places is not None:
                nearer = f"{outermost} nearer to it"
            raise BindingError(
                ("fields",),
                f"the outermost is {far:g} µm off the centre, this sample allows {reach:.3g} µm; "
                f"{nearer} or a larger `virtual_sted.size_um`",
            )
    if config.replay is not None:
        from devices.replay import build_replay

        try:
            loaded |= build_replay(config.replay, base)
        except (OSError, ValueError) as error:
            raise BindingError(("replay", "file"), str(error)) from error
    if config.imspector is not None:
        loaded |= _imspector(config.imspector)
    for label, one in loaded.items():
        yield label, partial(_itself, one)
    for label, device in config.python_devices.items():
        yield label, partial(_made, label, device, config.modules or base)


def _itself(device: Device) -> Device:
    return device


def _made(label: str, device: PythonDevice, folder: Path) -> Device:
    module, _, name = device.class_.partition(":")
    at = ("python_devices", label, "class")
    try:
        class_ = getattr(module_named(module, folder), name)
    except Exception as error:  # anything that a person's own module does wrong
        why = f"{device.class_!r} cannot be imported: {_said(error)}; looked for in {folder}"
        raise BindingError(at, f"{why}, and where Python looks") from error
    try:
        made: Device = class_(**device.options)
    except Exception as error:
        raise BindingError(("python_devices", label, "options"), _said(error)) from error
    return made


def _imspector(config: ImspectorConfig) -> dict[str, Any]:
    try:
        from devices.imspector.build import build_imspector
        from devices.imspector.calls import said

        return dict(build_imspector(config))
    except ModuleNotFoundError as error:
        why = f"{error.name} is not installed: {install('imspector')}"
        raise BindingError(("imspector",), why) from error
    except ValueError as error:
        raise BindingError(("imspector",), str(error)) from error
    except RuntimeError as error:
        raise BindingError(("imspector",), said(error)) from error


def _said(error: Exception) -> str:
    """An error in a line, with its kind where that says more."""
    said = (str(error).splitlines() or [""])[0]
    plain = isinstance(error, ImportError | AttributeError | TypeError | ValueError)
    return said if plain and said else f"{type(error).__name__}: {said}"


def assign_roles(core: UniMMCore, config: MicroscopeConfig) -> None:
    """Choose camera, shutter and stages: the config's, the .cfg's, or the only one.

    Raises
    ------
    BindingError
        A label is not there, there is no camera, or it is open which of several is meant.
    """
    from pymmcore_plus import DeviceType

    # Its own limit is 5 s, even for a slower stage.
    core.setTimeoutMs(round(config.timeout_s * 1e3))
    roles = (
        ("camera", DeviceType.Camera, core.getCameraDevice, core.setCameraDevice),
        ("shutter", DeviceType.Shutter, core.getShutterDevice, core.setShutterDevice),
        ("xy_stage", DeviceType.XYStage, core.getXYStageDevice, core.setXYStageDevice),
        ("focus", DeviceType.Stage, core.getFocusDevice, core.setFocusDevice),
    )
    for role, kind, current, assign in roles:
        label = getattr(config, role)
        there = list(core.getLoadedDevicesOfType(kind))
        if role == "shutter" and label == NO_SHUTTER and label not in there:
            assign("")
            continue
        if label is not None and label not in there:
            raise BindingError((role,), refused(label, there))
        if label is None and not current() and len(there) == 1:
            label = there[0]
        if label is not None:
            # A device of a .cfg does not take the place of one that is written in Python.
            assign("")
            assign(label)
    shutters = list(core.getLoadedDevicesOfType(DeviceType.Shutter))
    if config.shutter is None and not core.getShutterDevice():
        # Presets may choose it; before any of them is set, it is that of the first frame.
        chosen = (shutter_of(core, one, one.start) for one in config.settings.values())
        first = next((label for label in chosen if label in shutters), None)
        if first is not None:
            core.setShutterDevice(first)
    if config.shutter is None and not core.getShutterDevice() and len(shutters) > 1:
        raise BindingError(
            ("shutter",),
            f"which one is opened for a frame? there is {', '.join(shutters)}; accepted: one of "
            f"them, or {NO_SHUTTER}, with which all stay closed",
        )
    if not core.getCameraDevice():
        cameras = list(core.getLoadedDevicesOfType(DeviceType.Camera))
        raise BindingError(("camera",), f"which one? there is {', '.join(cameras) or 'none'}")
    # The engine opens and closes the shutter itself: Micro-Manager's automatic shutter knows
    # nothing of Python shutters, and fails where there is none.
    core.setAutoShutter(False)
    if core.getPixelSizeUm() == 0:
        # pymmcore-plus's own writers need one; the config's is what our images carry.
        core.definePixelSizeConfig(OURS)
        core.setPixelSizeUm(OURS, config.pixel_size_nm * 1e-3)
