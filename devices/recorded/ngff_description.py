"""What the metadata of an OME-Zarr image say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from devices.recorded.description import Description, Place
from devices.recorded.errors import ImageError
from devices.recorded.units import LENGTHS, TIMES, Quantity, quantity

MARKS = "stedfast"
_MISSING = "missing"
_WORDS = {"t": "frame interval", "y": "pixel size in y", "x": "pixel size in x", "z": "z step"}


class NgffDescription(Description):
    """Axes and scales of a multiscale image, and what stedfast's own attributes say."""

    ome = True

    def __init__(
        self, axes: Sequence[dict[str, Any]], steps: Sequence[float], attributes: dict[str, Any]
    ) -> None:
        self._axes = {str(axis["name"]).lower(): axis for axis in axes}
        self._steps = dict(zip(self._axes, steps, strict=False))
        own = attributes.get(MARKS)
        self._own: dict[str, Any] = own if isinstance(own, dict) else {}
        omero = attributes.get("ome", attributes).get("omero")
        self._omero: dict[str, Any] = omero if isinstance(omero, dict) else {}

    def size(self, axis: str) -> Quantity | None:
        """From the scale of that axis."""
        return self._step(axis, LENGTHS)

    def interval(self) -> Quantity | None:
        """From the scale of the time axis."""
        return self._step("t", TIMES)

    def _step(self, axis: str, units: Mapping[str, float]) -> Quantity | None:
        if axis not in self._axes:
            return None
        step, unit = self._steps[axis], self._axes[axis].get("unit")
        if unit is not None:
            return quantity(step, str(unit), units, _WORDS[axis])
        if step == 1:  # as written without knowledge of the scale
            return None
        raise ImageError(f"{_WORDS[axis]} is {step:g} without a unit; accepted: one with a unit")

    def times(self, places: Sequence[Place]) -> tuple[float, ...] | None:
        """As stedfast writes them."""
        told = self._own.get("times")
        if not isinstance(told, list):
            return None
        unit = quantity(1, str(self._own.get("times_unit", "second")), TIMES, "`times_unit`")
        try:
            return tuple(float(told[place.get("t", 0)]) * unit.seconds for place in places if unit)
        except (IndexError, TypeError, ValueError):
            raise ImageError("`times` has no number for each frame; accepted: one each") from None

    def made(self) -> dict[str, dict[str, str]]:
        """What stedfast's attributes have beside the list of frames."""
        plain = {
            key: str(value)
            for key, value in self._own.items()
            if isinstance(value, str | int | float)
        }
        found = {"reconstruction": plain} if "model" in plain else {}
        others = self._own.get("made")
        for step, items in others.items() if isinstance(others, dict) else ():
            if isinstance(items, dict):
                found[str(step)] = {str(key): str(value) for key, value in items.items()}
        return found

    def kinds(self, places: Sequence[Place]) -> tuple[str, ...]:
        """From the list of frames, by time point and, of a run, by channel and plane.

        Of a run without stacks the channels are fields. Of filtered frames each channel is two.
        """
        marks = self._own.get("frames")
        if not isinstance(marks, list) or not all(isinstance(mark, dict) for mark in marks):
            return ()
        if any("plane" in mark for mark in marks):
            by_series = {
                (mark.get("point"), mark.get("channel"), mark.get("plane")): mark.get("kind")
                for mark in marks
            }
            raw = self._own.get("raw_channels")
            pairs = [one for one in raw for _ in range(2)] if isinstance(raw, list) else None
            series = (
                (p.get("t", 0), self._channel(p.get("c", 0), pairs), p.get("z", 0)) for p in places
            )
            return tuple(str(by_series.get(one) or _MISSING) for one in series)
        fields = sorted({mark["field"] for mark in marks if isinstance(mark.get("field"), int)})
        known = {
            (mark.get("point"), fields.index(mark["field"]) if fields else 0): mark.get("kind")
            for mark in marks
            if not fields or mark.get("field") in fields
        }
        found = [known.get((p.get("t", 0), p.get("c", 0) if fields else 0)) for p in places]
        return tuple(str(kind or _MISSING) for kind in found)

    @staticmethod
    def _channel(number: int, pairs: list[Any] | None) -> Any:
        """Of the raw frames, that of a channel of this image."""
        if pairs is None:
            return number
        return pairs[number] if number < len(pairs) else None

    def channels(self) -> list[str]:
        """Their labels."""
        channels = self._omero.get("channels")
        if not isinstance(channels, list):
            return []
        return [str(one.get("label", "")) for one in channels if isinstance(one, dict)]
