"""What may be asked of a microscope: a shot's settings, and an event's, within their ranges."""

from __future__ import annotations

from collections.abc import Mapping

from useq import MDAEvent

from devices.config import MicroscopeConfig, SettingConfig, Value
from devices.errors import LimitError
from devices.refusals import refused, unknown
from devices.sending import STAGES
from devices.shot import Shot


def settings_of(config: MicroscopeConfig, shot: Shot) -> dict[str, Value]:
    """Every setting of a shot: starting values, then the shot's, then its mode's.

    Raises
    ------
    LimitError
        Unknown mode or setting, or a value outside its range.
    """
    if shot.mode not in config.modes:
        raise LimitError(f"mode: {refused(shot.mode, config.modes)}")
    wanted: dict[str, Value] = {**shot.settings, **config.modes[shot.mode]}
    full = config.start()
    for name, value in wanted.items():
        if name not in full:
            raise LimitError(f"{name!r}: {unknown(name, full, 'setting')}")
        if why := config.settings[name].refusal(value):
            raise LimitError(f"setting {name!r}: {why}")
        full[name] = config.settings[name].plain(value)
    return full


def check_event(
    config: MicroscopeConfig,
    bound: Mapping[tuple[str, str], tuple[str, SettingConfig]],
    event: MDAEvent,
) -> None:
    """Refuse an event that would set or move something outside its range.

    Parameters
    ----------
    config
        The limits.
    bound
        Name and config of each setting, by its device and property.
    event
        What is asked for.

    Raises
    ------
    LimitError
        Says of what, and what is accepted.
    """
    to = (event.x_pos, event.y_pos, event.z_pos, event.metadata.get(STAGES))
    if why := config.stage_limits.refusal(*to):
        raise LimitError(f"stage: {why}")
    camera = config.exposure.camera
    if camera is not None and event.exposure is not None:
        raise LimitError(f"the exposure time is setting {camera!r}; set that")
    for device, prop, value in event.properties or ():
        if of := bound.get((device, prop)):
            name, setting = of
            if why := setting.refusal(value):
                raise LimitError(f"setting {name!r}: {why}")
