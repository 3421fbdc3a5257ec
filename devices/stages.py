"""The stages of this microscope: those that a list of places is of, and how far each may go."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from devices.config import MicroscopeConfig, StageLimits, Value
from devices.errors import BindingError
from devices.places import Place
from devices.position import called
from devices.presets import parts
from devices.refusals import refused
from devices.values import number

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore


def check_moves(core: UniMMCore, config: MicroscopeConfig) -> None:
    """Check that no property that moves a stage takes it beyond its limits.

    Shots move the stages themselves, and are checked one by one; a setting, one of its presets, or
    a fixed property may be the position of a stage of one axis as well.

    Parameters
    ----------
    core
        With its roles assigned and the bindings checked.
    config
        The `microscope` section.

    Raises
    ------
    BindingError
        One may go beyond `stage_limits`.
    """
    for name, setting in config.settings.items():
        values = setting.range or setting.choices or ()
        if setting.group is None:
            sent = [(setting.device, setting.property, value) for value in values]
        else:
            group = setting.group
            sent = [
                (part.device, part.prop, part.value)
                for preset in values
                for part in parts(core, group, preset)
            ]
        for device, prop, value in sent:
            _check_move(core, config.stage_limits, ("settings", name), device, prop, value)
    for i, entry in enumerate(config.properties):
        for fixed in (entry.value, entry.safe):
            if fixed is not None:
                at = ("properties", i)
                _check_move(core, config.stage_limits, at, entry.device, entry.property, fixed)


def _check_move(
    core: UniMMCore,
    limits: StageLimits,
    at: tuple[str | int, ...],
    device: str,
    prop: str,
    value: Value,
) -> None:
    from pymmcore_plus import DeviceType, Keyword

    to = number(value)
    if prop != Keyword.Position or to is None or core.getDeviceType(device) != DeviceType.Stage:
        return
    is_focus = device == core.getFocusDevice()
    z_um, others = (to, {}) if is_focus else (None, {device: to})
    why = limits.refusal(None, None, z_um, others)
    if why:
        raise BindingError(at, f"{device}.{prop} = {value}: {why}")


def where_it_stands(core: UniMMCore) -> tuple[tuple[float, float] | None, float | None]:
    """Where the XY stage and the focus drive are (µm), each None where there is none.

    Raises
    ------
    BindingError
        One says nothing that is a position.
    """
    x_y = core.getXYPosition() if core.getXYStageDevice() else None
    z_um = float(core.getZPosition()) if core.getFocusDevice() else None
    xy_um = None if x_y is None else (float(x_y[0]), float(x_y[1]))
    for role, at in (("xy_stage", xy_um), ("focus", None if z_um is None else (z_um,))):
        if at is not None and not all(map(math.isfinite, at)):
            says = ", ".join(f"{one:g}" for one in at)
            raise BindingError((role,), f"is at ({says}) µm, as it says; is it homed?")
    return xy_um, z_um


def with_stages(core: UniMMCore, config: MicroscopeConfig) -> MicroscopeConfig:
    """The config whose places say the focus position as such, whatever its stage is called.

    Parameters
    ----------
    core
        With its roles assigned.
    config
        The `microscope` section.

    Raises
    ------
    BindingError
        A place is of a stage that is not there, or that is none of one axis; or limits are.
    """
    from pymmcore_plus import DeviceType

    focus, xy_stage = core.getFocusDevice(), core.getXYStageDevice()
    single = list(core.getLoadedDevicesOfType(DeviceType.Stage))
    for label in config.stage_limits.stages:
        limits = ("stage_limits", "stages", label)
        if label not in single:
            raise BindingError(limits, refused(label, single))
        if label == focus:
            raise BindingError(limits, "is the focus; accepted: `stage_limits.z_um`")
    fields = config.fields
    if fields.places is None:
        return config
    if fields.xy_stage is not None and fields.xy_stage != xy_stage:
        there = [xy_stage] if xy_stage else []
        raise BindingError(
            ("fields", fields.key), f"of the XY stage: {refused(fields.xy_stage, there)}"
        )
    places = []
    for i, place in enumerate(fields.places):
        at, word = fields.at(i), called(i, place.name)
        for label in place.stages:
            if label not in single:
                raise BindingError(at, f"{word}: stage of one axis: {refused(label, single)}")
        if place.z_um is not None and not focus:
            raise BindingError(at, f"{word}: has `z_um`, and this microscope has no focus drive")
        if place.z_um is not None and focus in place.stages:
            raise BindingError(
                at, f"{word}: `z_um` and stage {focus!r} are both the focus; accepted: one of them"
            )
        places.append(_with_focus(place, focus))
    return config.model_copy(update={"fields": fields.model_copy(update={"places": tuple(places)})})


def _with_focus(place: Place, focus: str) -> Place:
    if focus not in place.stages:
        return place
    others = {label: at for label, at in place.stages.items() if label != focus}
    return place.model_copy(update={"z_um": place.stages[focus], "stages": others})
