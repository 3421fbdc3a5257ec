"""Which settings of a microscope control the physical quantities of simulated sessions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from agent.optimizer.gaussian import Array
from devices.config import MicroscopeConfig, SettingConfig, Value
from devices.dwell import is_rate


@dataclass(frozen=True, slots=True)
class Control:
    """Where a physical quantity comes from.

    Parameters
    ----------
    name
        Setting, if it has one.
    si_per_unit
        Quantity (W, s or passes) of one unit of it.
    standing
        Value where a point leaves it out.

    Examples
    --------
    >>> Control("power", si_per_unit=1e-3).log([{"power": 1000.0}, {}]).round(2).tolist()
    [0.0, -6.91]
    """

    name: str | None
    si_per_unit: float = 1.0
    standing: float = 1.0

    def log(self, points: Sequence[Mapping[str, Value]]) -> Array:
        """Logarithm of the quantity at each point."""
        if self.name is None:
            values = np.full(len(points), self.standing)
        else:
            values = np.array([float(point.get(self.name, self.standing)) for point in points])
        # Light that is off lies below every grid.
        logs: Array = np.log(np.maximum(values * self.si_per_unit, 1e-15))
        return logs


def obstacle(config: MicroscopeConfig, tuned: Iterable[str], mode: str = "sted") -> str | None:
    """Why simulated sessions say nothing about these settings of a microscope; None if they do.

    Parameters
    ----------
    config
        The microscope.
    tuned
        Names of the settings that are tuned.
    mode
        Whose frames they are tuned for.

    Examples
    --------
    >>> camera = MicroscopeConfig(cfg="demo", pixel_size_nm=20, exposure={"camera_ms": 1})
    >>> obstacle(camera, ["gain"])
    'no setting has `laser: excitation` (lasers: none)'
    """
    tuned = set(tuned)
    dwell, lines = config.exposure.dwell_time, config.exposure.line_accumulations
    for laser in ("excitation", "depletion"):
        if power_of(config, laser) is None:
            found = ", ".join(config.lasers) or "none"
            return f"no setting has `laser: {laser}` (lasers: {found})"
        if (off := _switched_off(config, laser, mode)) is not None:
            return f"`modes.{mode}.{off}`: the laser {laser} is off, which simulated sessions use"
    if dwell is None:
        return "no `exposure.dwell_time`: the simulated microscopes scan point by point"
    if is_rate(config.settings[dwell]):
        return f"`settings.{dwell}`: a rate, where simulated sessions know dwell times"
    resolution = config.exposure.resolution
    if resolution is not None and resolution in tuned:
        return f"`settings.{resolution}`: simulated sessions have pixels of one size"
    for name in (dwell, lines):
        if name is not None and not is_number(config.settings[name]):
            return f"`settings.{name}`: its choices are not all numbers"
    known = [*(power_of(config, laser) for laser in ("excitation", "depletion")), dwell, lines]
    if not set(known) & tuned:
        return "none of the tuned settings is a power, the dwell time or the line passes"
    return None


def _switched_off(config: MicroscopeConfig, laser: str, mode: str) -> str | None:
    """The power of a laser that a mode pins to nothing; None where it does not."""
    name = power_of(config, laser)
    if name is None or config.modes.get(mode, {}).get(name) is None:
        return None
    return None if config.settings[name].power_w(float(config.modes[mode][name])) > 0 else name


def power_of(config: MicroscopeConfig, laser: str) -> str | None:
    """The setting that is the power of a laser; None without one."""
    named = (
        name
        for name, setting in config.settings.items()
        if setting.laser == laser and setting.kind != "choice"
    )
    return next(named, None)


def is_number(setting: SettingConfig) -> bool:
    """Whether the choices of a setting, if it has any, are numbers above 0.

    Examples
    --------
    >>> dwell = {"device": "Scan", "property": "Dwell", "kind": "choice", "start": "10 us"}
    >>> is_number(SettingConfig.model_validate(dwell | {"choices": ["10 us", "20 us"]}))
    False
    """
    try:
        return all(float(value) > 0 for value in setting.choices or ())
    except ValueError:
        return False
