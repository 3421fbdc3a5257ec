"""Loading devices into a Micro-Manager core, and letting go of them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devices.config import NO_SHUTTER, MicroscopeConfig
from devices.errors import BindingError, one_of
from devices.extras import install
from devices.fields import grid

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore


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
        try:
            from devices.virtual.devices import build_virtual_sted
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


def assign_roles(core: UniMMCore, config: MicroscopeConfig) -> None:
    """Choose camera, shutter and stages: the config's, the .cfg's, or the only one.

    Raises
    ------
    BindingError
        A label is not there, or there is no camera or more than one.
    """
    from pymmcore_plus import DeviceType

    # Its own limit is 5 s, whatever a stage needs.
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
