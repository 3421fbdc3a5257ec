"""A first config for a microscope, with what only a person can know marked."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from devices.cameras import channels
from devices.inventory import DeviceInfo, PropertyInfo, groups, inventory
from devices.pixels import OURS
from devices.starter_groups import Offer, offered
from devices.starter_scanner import scanner, setting
from devices.starter_text import _identifier, _in_a_comment, _Names, _number, _quoted

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore

_LIGHT_TYPES = {"Generic", "Hub", "Shutter", "SignalIO", "State"}
_LIGHT_NAME = re.compile("power|intensity|volt|current|level|set ?point|brightness", re.IGNORECASE)
_NO_TEXT = {"yes", "no", "on", "off", "true", "false", "null"}
"""Words that are none in YAML."""
_UNIT_OF_POWER = re.compile(r"(?<![A-Za-z])(nW|uW|µW|μW|mW|W)(?![A-Za-z])")


def starter_config(
    core: UniMMCore, name: str, sources: Sequence[str], pixel_size_nm: float | None = None
) -> str:
    """Write a commented config to start from, valid as it is, for the microscope in `core`.

    What only a person at the microscope can know is marked `# check:`. Settings are left commented
    out: the config groups of a `.cfg`, then light sources, guessed from the names of properties
    that have limits. With its comment marks removed the block of settings is valid, too.

    Parameters
    ----------
    core
        With the microscope's devices loaded.
    name
        What the devices were loaded from, for a person.
    sources
        Lines of YAML, the keys of `microscope` that load these devices.
    pixel_size_nm
        Side of a pixel on the sample (nm), if a config has it; otherwise the core is asked.

    Returns
    -------
    str
        YAML.
    """
    return "\n".join(_starter(core, name, sources, pixel_size_nm)) + "\n"


def _starter(
    core: UniMMCore, name: str, sources: Sequence[str], pixel_size_nm: float | None
) -> Iterator[str]:
    devices = inventory(core)
    yield f"# A config to start from, written by `stedfast devices` for {_in_a_comment(name)}."
    yield "# Each `# check:` is something that only you can know; then try `stedfast check`."
    yield "plan: live"
    yield "seed: 0"
    yield "microscope:"
    yield from (f"  {line}" for line in sources)
    roles = (
        ("camera", "Camera", core.getCameraDevice(), "the detector"),
        ("shutter", "Shutter", core.getShutterDevice(), "closed, it keeps all light off"),
        ("xy_stage", "XYStage", core.getXYStageDevice(), "moves the sample"),
        ("focus", "Stage", core.getFocusDevice(), "the focus drive"),
    )
    chosen = {}
    for role, type_, current, meaning in roles:
        labels = [device.label for device in devices if device.type == type_]
        chosen[role] = str(current) or (labels[0] if len(labels) == 1 else "")
        yield _role(role, labels, chosen[role], meaning)
        if role == "camera" and len(names := channels(core) if current else ()) > 1:
            said = ", ".join(map(_in_a_comment, names))
            yield f"  # It gives {said} at once; one of them is scored and decided on."
            yield f"  scored_channel: {_quoted(names[0])}  # check: which one"
    yield _pixel_size(core, pixel_size_nm)
    if stage := chosen["xy_stage"]:
        # Adding 0 turns -0.0 into 0.0.
        x, y = (round(at, 3) + 0.0 for at in core.getXYPosition(stage))
        yield "  # Fields are around where the stage is when a run starts. Where it was just now:"
        yield f"  # fields: {{centre_um: [{x}, {y}]}}"
        yield "  # Or {positions: FILE.pos}, a position list that you saved in Micro-Manager."
    camera = next((device for device in devices if device.label == chosen["camera"]), None)
    scans = scanner(core, camera)
    yield from _exposure(core.getExposure(camera.label) if camera else 0.0, scans)
    offers, refused = offered(core, groups(core), chosen["camera"], chosen["shutter"])
    lines = [line for key in scans for line in setting(chosen["camera"], key, scans[key])]
    yield from _settings(devices, offers, refused, lines)
    yield "live:"
    yield "  frames: 20"
    yield from _autofocus(core, [one.label for one in devices if one.type == "AutoFocus"])


def _autofocus(core: UniMMCore, labels: list[str]) -> Iterator[str]:
    """How a time-lapse would keep its focus with the autofocus device."""
    if not labels:
        return
    label = str(core.getAutoFocusDevice()) or labels[0]
    others = ", ".join(_quoted(other) for other in labels if other != label)
    also = f"; there is also {others}" if others else ""
    yield "# With `plan: timelapse`, the autofocus device can find the focus again:"
    yield "# focus:"
    yield f"#   device: {_quoted(label)}{f'  # check: which one{also}' if others else ''}"
    yield "#   using: full  # or incremental, both once each time; or continuous, a lock"


def _pixel_size(core: UniMMCore, known_nm: float | None) -> str:
    # `Microscope` gives the core a pixel size of its own, which would not tell anything here.
    own = core.getCurrentPixelSizeConfig() in ("", OURS)
    pixel_nm = core.getPixelSizeUm() * 1e3
    if known_nm is not None:
        found, source = known_nm, "as it is there"
    elif own:
        found, source = 100.0, "a guess"
    elif not (math.isfinite(pixel_nm) and pixel_nm > 0):
        found, source = 100.0, f"a guess, the .cfg says {_number(pixel_nm)}"
    else:
        # Micrometres times a thousand: the last digits are rounding.
        found, source = float(f"{pixel_nm:.9g}"), "as the .cfg has it; is it that on the sample"
    return f"  pixel_size_nm: {_number(found)}  # check: {source}"


def _role(role: str, labels: list[str], label: str, meaning: str) -> str:
    if not labels:
        return f"  # {role}: none on this microscope"
    others = ", ".join(_quoted(other) for other in labels if other != label)
    also = f"; there is also {others}" if others else ""
    if not label:
        return f"  # {role}:  # check: {meaning}, one of {others}"
    mark = "  # check: " if others or role == "shutter" else "  # "
    return f"  {role}: {_quoted(label)}{mark}{meaning}{also}"


def _exposure(exposure_ms: float, scans: Mapping[str, PropertyInfo]) -> Iterator[str]:
    yield "  exposure:"
    if scans:
        yield "    # check: a frame takes as long as these settings say."
        yield from (f"    {key}: {key}" for key in scans)
        return
    yield f"    camera_ms: {_number(exposure_ms or 10.0)}  # check: exposure time of a frame (ms)"
    yield "    # On a point scanner, instead: the setting below that is the pixel dwell time."
    yield "    # dwell_time: dwell"
    yield "    # Where the exposure time is tuned, instead: the setting bound to Camera.Exposure."
    yield "    # camera: exposure_time"


def _settings(
    devices: list[DeviceInfo], offers: list[Offer], refused: dict[str, str], scans: list[str]
) -> Iterator[str]:
    grouped = {
        (part.device, part.prop)
        for offer in offers
        for parts in offer.group.presets.values()
        for part in parts
    }
    lights = [
        (device, prop)
        for device in devices
        if device.type in _LIGHT_TYPES
        for prop in device.properties
        if _may_be_light(prop) and (device.label, prop.name) not in grouped
    ]
    if offers:
        yield "  # check: these groups of the .cfg can be settings, whose presets are the choices."
        yield "  # Remove the comment marks of those that a run is to set, and of `settings:`."
    for name, why in refused.items():
        yield f"  # check: not the group {_quoted(name)}: {_in_a_comment(why)}"
    if lights:
        yield "  # check: these look like light sources. Remove the comment marks of those that"
        yield "  # are: only then is their light kept in its range, counted, and off at the end."
        names = ", ".join(f"{device.label} {prop.name}" for device, prop in lights)
        yield f"  # They are {_in_a_comment(names)}."
    elif not any(offer.safe for offer in offers):
        yield "  # check: no property looks like the power of a light source. `stedfast devices`"
        yield "  # lists them all; a laser that is set elsewhere cannot be made safe from here."
    if scans:
        yield "  settings:"
        yield from scans
    elif offers or lights:
        yield "  # settings:"
    keys, lasers = _Names(), _Names()
    for offer in offers:
        yield from _group(offer, keys, lasers)
    for device, prop in lights:
        assert prop.limits is not None
        low, high = prop.limits
        safe = low if low > 0 or high < 0 else 0.0
        unit = _UNIT_OF_POWER.search(prop.name.replace("_", " "))
        yield f"  #   {keys.new(_identifier(device.label, prop.name))}:"
        yield f"  #     device: {_quoted(device.label)}"
        yield f"  #     property: {_quoted(prop.name)}"
        if unit:
            yield f"  #     unit: {_quoted(unit[1])}  # check: on the sample, or add watts_per_unit"
        else:
            yield '  #     unit: ""  # check: what the values mean'
            yield "  #     watts_per_unit: 0.001  # check: power on the sample (W) of one unit"
        yield f"  #     kind: {prop.kind}"
        span = f"[{_number(low)}, {_number(high)}]"
        yield f"  #     range: {span}  # check: never more than your sample may get"
        yield f"  #     start: {_number(safe)}  # check: what a run starts from"
        yield f"  #     safe: {_number(safe)}  # check: is there really no light at this value"
        # Doses are added up by this name, so that two lasers of one device need two.
        alone = sum(other is device for other, _ in lights) == 1
        laser = _quoted(lasers.new(device.label if alone else f"{device.label} {prop.name}"))
        yield f"  #     laser: {laser}  # check: what to call the light source"


def _group(offer: Offer, keys: _Names, lasers: _Names) -> Iterator[str]:
    name = offer.group.name
    word = name.lower()
    plain = re.fullmatch(r"[^\W\d]{2,}", word) and word not in _NO_TEXT
    yield f"  #   {keys.new(word if plain else _identifier(name))}:"
    yield f"  #     group: {_quoted(name)}"
    yield f"  #     choices: [{', '.join(map(_quoted, offer.choices))}]"
    yield f"  #     start: {_quoted(offer.start)}  # check: what a run starts from"
    if offer.safe is None:
        return
    yield f"  #     safe: {_quoted(offer.safe)}  # check: is there really no light at this preset"
    yield f"  #     laser: {_quoted(lasers.new(name))}  # check: what to call the light source"
    watts = ", ".join(f"{_quoted(choice)}: 0.001" for choice in offer.choices)
    yield f"  #     watts: {{{watts}}}  # check: power on the sample (W) at each"


def _may_be_light(prop: PropertyInfo) -> bool:
    return (
        prop.kind != "text"
        and prop.limits is not None
        and -math.inf < prop.limits[0] < prop.limits[1] < math.inf
        and not prop.read_only
        and not prop.before_loading
        and _LIGHT_NAME.search(prop.name) is not None
    )
