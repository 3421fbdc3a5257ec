"""Lasers, shutter and stages of the virtual STED microscope: all but its scan engine."""

from __future__ import annotations

from collections.abc import Callable

from pymmcore_plus import FocusDirection
from pymmcore_plus.experimental.unicore import (
    GenericDevice,
    ShutterDevice,
    StageDevice,
    XYStageDevice,
)

# A position that went through JSON or a stage's display may be off by a rounding.
_SLACK_UM = 1e-6


class Laser(GenericDevice):
    """A laser whose power on the sample is its only property; 0 on loading and unloading.

    Parameters
    ----------
    power_property
        Name of that property.
    watts_per_unit
        Power (W) of one of its units.
    limit
        Highest value it takes; the lowest is 0.
    """

    def __init__(self, power_property: str, watts_per_unit: float, limit: float) -> None:
        super().__init__()
        self._power = 0.0
        self._watts_per_unit = watts_per_unit
        # `pymm_property` would keep the limits of all lasers in one place, on the class.
        self.register_property(
            power_property,
            limits=(0.0, limit),
            property_type=float,
            getter=Laser._get_power,
            setter=Laser._set_power,
        )

    @property
    def power_w(self) -> float:
        """Power on the sample (W) while the shutter is open."""
        return self._power * self._watts_per_unit

    def _get_power(self) -> float:
        return self._power

    def _set_power(self, value: float) -> None:
        self._power = float(value)

    def shutdown(self) -> None:
        """Switch off."""
        self._power = 0.0


class Shutter(ShutterDevice):
    """One shutter before both lasers; closed on loading and unloading. `State` is 0 or 1."""

    def __init__(self) -> None:
        super().__init__()
        self._open = False
        self.register_property(
            "State",
            limits=(0, 1),
            property_type=int,
            getter=Shutter._get_state,
            setter=Shutter._set_state,
        )

    def get_open(self) -> bool:
        """Tell whether light reaches the sample."""
        return self._open

    def set_open(self, open: bool) -> None:
        """Open or close."""
        self._open = bool(open)

    def _get_state(self) -> int:
        return int(self._open)

    def _set_state(self, value: float) -> None:
        self._open = bool(whole("State", value))

    def shutdown(self) -> None:
        """Close."""
        self._open = False


class XYStage(XYStageDevice):
    """The stage; its origin is the centre of the sample, its limits keep the field on it.

    Parameters
    ----------
    reach_um
        How far it goes from the origin, along x and along y (µm).
    """

    def __init__(self, reach_um: float) -> None:
        super().__init__()
        self.reach_um = reach_um
        self._position = (0.0, 0.0)

    def get_position_um(self) -> tuple[float, float]:
        """Position (x, y) of the field's centre (µm)."""
        return self._position

    def set_position_um(self, x: float, y: float) -> None:
        """Move to (x, y) in µm; `ValueError` outside the limits, and then nothing moves."""
        self._position = (
            _within(f"{self.get_label() or 'XYStage'}: x", x, self.reach_um),
            _within(f"{self.get_label() or 'XYStage'}: y", y, self.reach_um),
        )

    def home(self) -> None:
        """Move to the origin."""
        self._position = (0.0, 0.0)

    def stop(self) -> None:
        """Nothing to do: moves are instantaneous."""

    def set_origin_x(self) -> None:
        """Not supported: the origin is the centre of the sample."""
        raise NotImplementedError("the origin is the centre of the virtual sample")

    def set_origin_y(self) -> None:
        """Not supported: the origin is the centre of the sample."""
        raise NotImplementedError("the origin is the centre of the virtual sample")


class ZStage(StageDevice):
    """The focus drive: the sample is in focus at 0, until it drifts.

    Parameters
    ----------
    reach_um
        How far it goes from there, up and down (µm).
    """

    def __init__(self, reach_um: float = 2.0) -> None:
        super().__init__()
        self._reach_um = reach_um
        self._position = 0.0
        self._holds: Callable[[], float] | None = None

    @property
    def held(self) -> bool:
        """Whether a continuous focus holds it."""
        return self._holds is not None

    def hold(self, at_um: Callable[[], float]) -> None:
        """Have it be at `at_um()` (µm) from now on, as far as it goes."""
        self._holds = at_um

    def let_go(self) -> None:
        """Have it stay where it is."""
        self._position, self._holds = self.get_position_um(), None

    def get_position_um(self) -> float:
        """Height of the focal plane (µm)."""
        if self._holds is None:
            return self._position
        return min(max(self._holds(), -self._reach_um), self._reach_um)

    def set_position_um(self, val: float) -> None:
        """Move to `val` µm; `ValueError` outside the limits, and then nothing moves.

        Nor does it while a continuous focus holds it.
        """
        if self._holds is not None:
            raise ValueError("ZStage: is held by the continuous focus")
        self._position = _within(self.get_label() or "ZStage", val, self._reach_um)

    def get_focus_direction(self) -> FocusDirection:
        """Higher is closer to the sample, as pymmcore-plus asks before it moves back."""
        return FocusDirection.TowardSample

    def home(self) -> None:
        """Move into focus."""
        self._position = 0.0

    def stop(self) -> None:
        """Nothing to do: moves are instantaneous."""

    def set_origin(self) -> None:
        """Not supported: the origin is the focus."""
        raise NotImplementedError("the origin is the focus of the virtual sample")


def whole(name: str, value: float) -> int:
    """`value` as an integer; `ValueError` if it is none."""
    if value != int(value):
        raise ValueError(f"{name}: {value:g} is not a whole number")
    return int(value)


def _within(name: str, value: float, reach: float) -> float:
    """`value` if it is not further than `reach` from 0; `ValueError` otherwise."""
    if not -reach - _SLACK_UM <= value <= reach + _SLACK_UM:
        raise ValueError(f"{name}: {value:g} µm is outside its limits, {-reach:g} … {reach:g} µm")
    return float(value)
