"""What is on a microscope, and a first config for it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Literal

from pymmcore_plus import DeviceType, PropertyType
from pymmcore_plus.experimental.unicore import UniMMCore

from devices.config import Value

Kind = Literal["real", "integer", "text"]
_KINDS: dict[PropertyType, Kind] = {PropertyType.Float: "real", PropertyType.Integer: "integer"}
_LIGHT_TYPES = {"Generic", "Hub", "Shutter", "SignalIO", "State"}
_LIGHT_NAME = re.compile("power|intensity|volt|current|level|set ?point|brightness", re.IGNORECASE)
_UNIT_OF_POWER = re.compile(r"(?<![A-Za-z])(nW|uW|µW|mW|W)(?![A-Za-z])")


@dataclass(frozen=True, slots=True)
class PropertyInfo:
    """A device property.

    Parameters
    ----------
    name
        What Micro-Manager calls it.
    kind
        `real`, `integer` or `text`.
    value
        Its present value; None if the device would not tell.
    limits
        Lowest and highest value, where the device has such.
    allowed
        The only values it takes; empty if there is no such list.
    read_only
        It cannot be set.
    before_loading
        It can be set in the .cfg only, before the device is initialized.
    """

    name: str
    kind: Kind
    value: Value | None
    limits: tuple[float, float] | None
    allowed: tuple[str, ...]
    read_only: bool
    before_loading: bool


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """A device.

    Parameters
    ----------
    label
        Its name on this microscope.
    library, name
        Adapter library (or Python module) and the device in it.
    type
        `Camera`, `Shutter`, `XYStage`, `Stage`, `State`, `Generic` …
    properties
        In the device's own order.
    """

    label: str
    library: str
    name: str
    type: str
    properties: tuple[PropertyInfo, ...]


def inventory(core: UniMMCore) -> list[DeviceInfo]:
    """Every device but Micro-Manager's core itself, in the order they were loaded."""
    return [
        DeviceInfo(
            label=label,
            library=str(core.getDeviceLibrary(label)),
            name=str(core.getDeviceName(label)),
            type=str(DeviceType(core.getDeviceType(label))),
            properties=tuple(_property(core, label, n) for n in core.getDevicePropertyNames(label)),
        )
        for label in core.getLoadedDevices()
        if core.getDeviceType(label) != DeviceType.CoreDevice
    ]


def _property(core: UniMMCore, label: str, name: str) -> PropertyInfo:
    kind: Kind = _KINDS.get(core.getPropertyType(label, name), "text")
    limits = None
    if core.hasPropertyLimits(label, name):
        limits = (
            float(core.getPropertyLowerLimit(label, name)),
            float(core.getPropertyUpperLimit(label, name)),
        )
    try:
        value = _plain(core.getProperty(label, name), kind)
    except Exception:  # a device that is switched off must not hide the others
        value = None
    return PropertyInfo(
        name=str(name),
        kind=kind,
        value=value,
        limits=limits,
        allowed=tuple(map(str, core.getAllowedPropertyValues(label, name))),
        read_only=bool(core.isPropertyReadOnly(label, name)),
        before_loading=bool(core.isPropertyPreInit(label, name)),
    )


def _plain(value: object, kind: Kind) -> Value:
    """Turn Micro-Manager's text into the number it stands for, where it does."""
    try:
        if kind == "integer":
            return int(float(str(value)))
        if kind == "real":
            return float(str(value))
    except ValueError:
        pass
    return str(value)


def starter_config(core: UniMMCore, cfg_path: str) -> str:
    """Write a commented config to start from, valid as it is, for the microscope in `core`.

    What only a person at the microscope can know is marked `# check:`. Light sources are
    guessed from the names of properties that have limits, and left commented out: with its
    comment marks removed the block of settings is valid, too.

    Parameters
    ----------
    core
        With the microscope's devices loaded.
    cfg_path
        What the config is to call the .cfg file: a path, or `demo`.

    Returns
    -------
    str
        YAML.
    """
    return "\n".join(_starter(core, cfg_path)) + "\n"


def _starter(core: UniMMCore, cfg_path: str) -> Iterator[str]:
    devices = inventory(core)
    name = PurePath(cfg_path).name
    yield f"# A config to start from, written by `stedfast devices` for {name}."
    yield "# Each `# check:` is something that only you can know; then try `stedfast check`."
    yield "plan: live"
    yield "seed: 0"
    yield "microscope:"
    yield f"  cfg: {_quoted(cfg_path)}"
    roles = (
        ("camera", "Camera", core.getCameraDevice(), "the detector"),
        ("shutter", "Shutter", core.getShutterDevice(), "closed, it keeps all light off"),
        ("xy_stage", "XYStage", core.getXYStageDevice(), "moves the sample"),
        ("focus", "Stage", core.getFocusDevice(), "the focus drive"),
    )
    for role, type_, current, meaning in roles:
        labels = [device.label for device in devices if device.type == type_]
        yield _role(role, labels, str(current), meaning)
    # `Microscope` gives the core a pixel size of its own, which would not tell anything here.
    known = core.getCurrentPixelSizeConfig() not in ("", "stedfast")
    pixel_nm = core.getPixelSizeUm() * 1e3 if known else 100.0
    source = "as the .cfg has it; is it that on the sample" if known else "a guess"
    yield f"  pixel_size_nm: {pixel_nm:g}  # check: {source}"
    if core.getXYStageDevice():
        # Adding 0 turns -0.0 into 0.0.
        x, y = (round(at, 3) + 0.0 for at in core.getXYPosition())
        yield "  fields:"
        yield f"    centre_um: [{x}, {y}]  # check: where the stage was just now"
    yield from _exposure(core)
    yield from _settings(devices)
    yield "live:"
    yield "  frames: 20"


def _role(role: str, labels: list[str], current: str, meaning: str) -> str:
    if not labels:
        return f"  # {role}: none on this microscope"
    label = current or (labels[0] if len(labels) == 1 else "")
    others = ", ".join(_quoted(other) for other in labels if other != label)
    also = f"; there is also {others}" if others else ""
    if not label:
        return f"  # {role}:  # check: {meaning}, one of {others}"
    mark = "  # check: " if others or role == "shutter" else "  # "
    return f"  {role}: {_quoted(label)}{mark}{meaning}{also}"


def _exposure(core: UniMMCore) -> Iterator[str]:
    exposure_ms = core.getExposure() if core.getCameraDevice() else 0.0
    yield "  exposure:"
    yield f"    camera_ms: {exposure_ms or 10.0:g}  # check: exposure time of a frame (ms)"
    yield "    # On a point scanner, instead: the setting below that is the pixel dwell time."
    yield "    # dwell_time: dwell"


def _settings(devices: list[DeviceInfo]) -> Iterator[str]:
    lights = [
        (device, prop)
        for device in devices
        if device.type in _LIGHT_TYPES
        for prop in device.properties
        if _may_be_light(prop)
    ]
    if not lights:
        yield "  # check: no property looks like the power of a light source. `stedfast devices`"
        yield "  # lists them all; a laser that is set elsewhere cannot be made safe from here."
        return
    yield "  # check: these look like light sources. Remove the comment marks of those that are:"
    yield "  # only then is their light kept in its range, counted, and switched off at the end."
    yield "  # settings:"
    for device, prop in lights:
        assert prop.limits is not None
        low, high = prop.limits
        safe = low if low > 0 or high < 0 else 0.0
        unit = _UNIT_OF_POWER.search(prop.name.replace("_", " "))
        yield f"  #   {_identifier(device.label, prop.name)}:"
        yield f"  #     device: {_quoted(device.label)}"
        yield f"  #     property: {_quoted(prop.name)}"
        if unit:
            yield f"  #     unit: {_quoted(unit[1])}  # check: on the sample, or add watts_per_unit"
        else:
            yield '  #     unit: ""  # check: what the values mean'
            yield "  #     watts_per_unit: 0.001  # check: power on the sample (W) of one unit"
        yield f"  #     kind: {prop.kind}"
        yield f"  #     range: [{low:g}, {high:g}]  # check: never more than your sample may get"
        yield f"  #     start: {safe:g}  # check: what a run starts from"
        yield f"  #     safe: {safe:g}  # check: is there really no light at this value"
        # Doses are added up by this name, so that two lasers of one device need two.
        alone = sum(other is device for other, _ in lights) == 1
        laser = device.label if alone else f"{device.label} {prop.name}"
        yield f"  #     laser: {_quoted(laser)}  # check: what to call the light source"


def _may_be_light(prop: PropertyInfo) -> bool:
    return (
        prop.kind != "text"
        and prop.limits is not None
        and prop.limits[0] < prop.limits[1]
        and not prop.read_only
        and not prop.before_loading
        and _LIGHT_NAME.search(prop.name) is not None
    )


def _identifier(*names: str) -> str:
    """Make a setting's name: lower case, words joined by underscores."""
    return "_".join(re.findall(r"\w+", " ".join(names).lower().replace("_", " ")))


def _quoted(text: str) -> str:
    """Write a string as YAML; JSON's way of writing one is YAML's, too."""
    return json.dumps(text, ensure_ascii=False)
