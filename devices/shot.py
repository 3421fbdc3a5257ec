"""What a plan asks for: a shot, and the field of view that it is taken of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from devices.config import Value


@dataclass(frozen=True, slots=True)
class Field:
    """A field of view.

    Parameters
    ----------
    index
        Its number among the config's fields.
    x_um, y_um
        Stage position of its centre (µm).
    z_um
        Focus position (µm); None leaves the focus alone.
    name
        What a person calls it; empty if nothing.
    stages
        Labels of other stages of one axis, and their positions (µm).
    """

    index: int
    x_um: float
    y_um: float
    z_um: float | None = None
    name: str = ""
    stages: tuple[tuple[str, float], ...] = ()

    def __str__(self) -> str:
        return f"field {self.index}" + (f" ({self.name})" if self.name else "")


@dataclass(frozen=True, slots=True)
class Plane:
    """A plane of a z-stack.

    Parameters
    ----------
    index
        Its number, from the lowest one.
    z_um
        Height above the focus of the field (µm).
    absolute
        The height is the focus drive's own position instead.
    """

    index: int
    z_um: float
    absolute: bool = False


@dataclass(frozen=True, slots=True)
class Shot:
    """One frame to take.

    Parameters
    ----------
    mode
        One of the config's modes (`confocal`, `sted`, …).
    settings
        Imaging settings by name; absent ones keep their starting value, those that the mode
        pins win.
    field
        Where; None stays where the stage is.
    at_s
        Earliest time after the run's start (s); None: at once.
    purpose
        What the plan wants it for, in words, kept in the ledger.
    trial
        Number of the trial it belongs to, from 1; of its search, where there are several.
    retest
        Which settings it measures again (`start`, `best`).
    search
        Number of the search between other frames that it belongs to, from 1.
    point
        Number of the time point it belongs to, from 0.
    plane
        Of a z-stack; None leaves the focus where the field has it.
    locked
        It is taken while the continuous focus holds; where it does not, at the field's `z_um`.
    roi
        Part of the camera's frame: x, y, width, height (px); empty: all of it; None: as the config
        has it for the mode.

    Examples
    --------
    >>> shot = Shot.sted(Field(0, 1.5, 0.0), {"depletion_power": 80})
    >>> shot.mode, shot.settings["depletion_power"]
    ('sted', 80)
    """

    mode: str
    settings: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    field: Field | None = None
    at_s: float | None = None
    purpose: str = ""
    trial: int | None = None
    retest: str | None = None
    search: int | None = None
    point: int | None = None
    plane: Plane | None = None
    locked: bool = False
    roi: tuple[int, ...] | None = None

    @classmethod
    def confocal(cls, where: Field | None, purpose: str = "") -> Shot:
        """A confocal reference frame: all settings as the mode pins them."""
        return cls("confocal", {}, where, purpose=purpose)

    @classmethod
    def sted(cls, where: Field | None, settings: Mapping[str, Value], purpose: str = "") -> Shot:
        """A STED frame at `settings`."""
        return cls("sted", dict(settings), where, purpose=purpose)
