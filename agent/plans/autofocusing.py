"""A time-lapse finds its focus again with the autofocus device of the microscope.

One-shot devices are asked as sweeps are made: now and then, at each field. A continuous focus is
looked at as often, and holds in between; a stack releases it, and after one it is taken again.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace

from agent.config.focus import FocusConfig
from agent.plan import FOCUS, Answer, Frame, Note, Step
from agent.plans.focusing import Focusing
from devices.autofocus import Autofocus, Focused
from devices.shot import Field, Shot


class Autofocusing(Focusing):
    """The focus of each field of a time-lapse, by a device.

    Parameters
    ----------
    config
        When to look, and how.
    start_um
        Where the focus is at first (µm), of fields that have none of their own.
    limits
        The lowest and the highest position that it may have (µm).
    """

    def __init__(self, config: FocusConfig, start_um: float, limits: tuple[float, float]) -> None:
        super().__init__(config, "", start_um, limits)
        self._continuous = config.using == "continuous"
        self._locked = False
        """The continuous focus held after the last step."""

    def aimed(self, shot: Shot, point: int) -> Shot:
        """A shot where the focus should be; under the lock, where that is by itself."""
        aimed = super().aimed(shot, point)
        assert shot.field is not None
        if self._locked and shot.plane is None:
            return replace(aimed, locked=True)
        self._locked = False
        return aimed

    def due(self, place: Field, point: int) -> bool:
        """Whether the device is to look for the focus of a field at a time point.

        Beside the times that the config says, wherever the lock is not there: after a stack, and
        after another field at which it did not hold.
        """
        known = self._of(place)
        if self._continuous and not self._locked and known.last != point:
            return True
        return super().due(place, point)

    def look(
        self, place: Field, point: int, at_s: float | None = None
    ) -> Generator[Step, Answer, list[Frame]]:
        """Have the device look for the focus of a field; takes no frames.

        Where it fails the focus stays where it is expected, and the note says why.
        """
        known, config = self._of(place), self._config
        expected = self._expected(known, point)
        begin = replace(place, z_um=round(expected - config.offset, 3))
        found = yield Autofocus(
            begin,
            config.using,
            config.device_offset,
            config.offset_device,
            config.tries,
            config.timeout_s,
            config.farthest,
            point,
            at_s,
        )
        assert isinstance(found, Focused)
        why = found.why
        if found.z_um is not None:
            z_um = found.z_um + config.offset
            if self._limits[0] <= z_um <= self._limits[1]:
                known.z_um = z_um
                self._remember(known, point)
            else:
                why = f"`stage_limits.z_um` leaves no room for the frames at {z_um:g} µm"
        self._locked = self._continuous and not why
        known.searched(point, lost=bool(why))
        yield Note(
            FOCUS,
            {
                "field": place.index,
                "point": point,
                "expected_um": round(expected, 3),
                "z_um": round(expected if known.lost else known.z_um, 3),
                "found": not known.lost,
                "why": why,
                "planes_um": [],
                "sharpness": [],
                "planned": 0,
                "device": config.device,
            },
        )
        return []
