"""The stages that a list of places is of, as this microscope has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devices.config import MicroscopeConfig
from devices.errors import BindingError
from devices.places import Place
from devices.positions import called
from devices.refusals import refused

if TYPE_CHECKING:
    from pymmcore_plus.experimental.unicore import UniMMCore


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
    for number, place in enumerate(fields.places):
        at, word = fields.at(number), called(number, place.name)
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
