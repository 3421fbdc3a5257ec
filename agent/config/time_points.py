"""What a time point consists of: channels and planes, in an order."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any, Literal

from pydantic import Field, model_validator

from agent.config.plan_section import PlanSection, Whole, check_mode
from devices.config import Model
from devices.shot import Plane

AxisOrder = Literal["pcz", "pzc", "cpz", "czp", "zpc", "zcp"]
_KINDS: dict[tuple[str, ...], str] = {
    ("range", "step"): "ZRangeAround",
    ("above", "below", "step"): "ZAboveBelow",
    ("top", "bottom", "step"): "ZTopBottom",
    ("relative",): "ZRelativePositions",
    ("absolute",): "ZAbsolutePositions",
}
"""Keys of each kind of z-stack, and useq-schema's class for it."""
_MOST_PLANES = 1000
_DIGITS = 6
"""Decimals of a plane's height (µm)."""


class StackConfig(Model):
    """A z-stack, in the terms of useq-schema: µm, relative to the focus of each field.

    One of `range` and `step`; `above`, `below` and `step`; `top`, `bottom` and `step`; `relative`;
    `absolute`.
    """

    range: float | None = Field(None, ge=0, description="from the lowest plane to the highest (µm)")
    above: float | None = Field(None, ge=0, description="how far above the focus (µm)")
    below: float | None = Field(None, ge=0, description="how far below the focus (µm)")
    top: float | None = Field(None, description="highest plane, as the focus drive counts (µm)")
    bottom: float | None = Field(None, description="lowest plane, as the focus drive counts (µm)")
    step: float | None = Field(None, gt=0, description="from one plane to the next (µm)")
    relative: tuple[float, ...] | None = Field(
        None, min_length=1, description="planes relative to the focus (µm), in their order"
    )
    absolute: tuple[float, ...] | None = Field(
        None, min_length=1, description="planes as the focus drive counts (µm), in their order"
    )
    go_up: bool = Field(True, description="from the lowest plane upwards; false: downwards")

    @model_validator(mode="after")
    def _one_kind(self) -> StackConfig:
        given = self._given()
        if tuple(given) not in _KINDS:
            kinds = "; ".join(" and ".join(f"`{key}`" for key in keys) for keys in _KINDS)
            raise ValueError(f"has {', '.join(given) or 'nothing'}; accepted: {kinds}")
        if self.top is not None and self.bottom is not None and self.top < self.bottom:
            raise ValueError(f"`top`: {self.top:g} µm is below `bottom`, {self.bottom:g} µm")
        # Counted before useq makes a list of them.
        if self.step is not None and self._height() / self.step >= _MOST_PLANES:
            raise ValueError(f"`step`: {self.step:g} µm gives more than {_MOST_PLANES} planes")
        if self.step is not None and self.step < 10**-_DIGITS:
            raise ValueError(f"`step`: {self.step:g} µm is less than {10**-_DIGITS:g} µm")
        self._check_each_once()
        return self

    def _check_each_once(self) -> None:
        """A frame is stored by its plane, so that a second one there would replace it."""
        for key, heights in (("relative", self.relative), ("absolute", self.absolute)):
            seen = set()
            for height in heights or ():
                if (plane := round(height, _DIGITS)) in seen:
                    raise ValueError(f"`{key}`: {height:g} µm is there twice")
                seen.add(plane)

    def _height(self) -> float:
        if self.range is not None:
            return self.range
        return (self.above or 0.0) + (self.below or 0.0) + (self.top or 0.0) - (self.bottom or 0.0)

    def _given(self) -> dict[str, Any]:
        """The keys that say where the planes are, in the order of `_KINDS`."""
        keys = ("range", "above", "below", "top", "bottom", "step", "relative", "absolute")
        return {key: value for key in keys if (value := getattr(self, key)) is not None}

    def planes(self) -> tuple[Plane, ...]:
        """The planes, in the order in which they are taken; numbered from the lowest.

        Those of `relative` and `absolute` are taken in their own order.

        Examples
        --------
        >>> [(plane.index, plane.z_um) for plane in StackConfig(range=1, step=0.5).planes()]
        [(0, -0.5), (1, 0.0), (2, 0.5)]
        """
        import useq  # imports numpy, which a config is read without

        given = self._given()
        plan = getattr(useq, _KINDS[tuple(given)])(**given, go_up=self.go_up)
        heights = [round(height, _DIGITS) for height in plan]
        ranks = {height: rank for rank, height in enumerate(sorted(set(heights)))}
        return tuple(Plane(ranks[height], height, not plan.is_relative) for height in heights)

    @property
    def step_um(self) -> float | None:
        """Distance of neighbouring planes (µm); None where it is not the same everywhere."""
        heights = sorted(plane.z_um for plane in self.planes())
        steps = {round(high - low, _DIGITS) for low, high in pairwise(heights)}
        return steps.pop() if len(steps) == 1 else None


class TimePointsConfig(PlanSection):
    """Base of the sections of plans that take the same frames at every time point."""

    mode: str = Field(
        "sted",
        description="mode of `microscope.modes` that is imaged; with `channels`, the one of them "
        "that decides",
    )
    channels: tuple[str, ...] = Field(
        (), description="modes that each time point has, in their order; `mode` alone if empty"
    )
    z: StackConfig | None = Field(None, description="a z-stack at each time point and channel")
    axis_order: AxisOrder = Field(
        "pcz",
        description="of fields (p), channels (c) and planes (z): the last one changes fastest",
    )

    @model_validator(mode="before")
    @classmethod
    def _mode_of_channels(cls, data: object) -> object:
        """The first channel decides, unless there is sted among them or the config names one."""
        if isinstance(data, Mapping) and "mode" not in data:
            channels = data.get("channels") or ()
            if isinstance(channels, list | tuple) and channels and "sted" not in channels:
                return {**data, "mode": channels[0]}
        return data

    def check(self, whole: Whole) -> None:
        """Its modes are there, each once."""
        key = self._key(whole)
        check_mode(f"{key}.mode", self.mode, whole.microscope)
        for mode in self.channels:
            check_mode(f"{key}.channels", mode, whole.microscope)
            if self.channels.count(mode) > 1:
                raise ValueError(f"`{key}.channels`: {mode!r} is there twice")
        if self.channels and self.mode not in self.channels:
            names = ", ".join(self.channels)
            raise ValueError(f"`{key}.mode`: {self.mode!r} is not among `channels`: {names}")

    def _key(self, whole: Whole) -> str:
        """The section's key in its config."""
        return whole.plan

    def modes(self) -> tuple[str, ...]:
        """Its channels."""
        return self.channels or (self.mode,)

    def decides(self) -> str:
        """Its mode."""
        return self.mode

    def planes(self) -> tuple[Plane | None, ...]:
        """Of each channel and time point; (None,) where the focus is left alone."""
        return self.z.planes() if self.z is not None else (None,)

    def decisive(self) -> tuple[str, int | None]:
        """Of a field's frames in a time point, mode and plane of the one that decides.

        Of several planes it is the middle one; None: where there is no stack.
        """
        planes = sorted(plane.index for plane in self.planes() if plane is not None)
        return self.mode, planes[len(planes) // 2] if planes else None

    def focuses(self) -> bool:
        """Where it has a z-stack."""
        return self.z is not None

    def by_point(self) -> bool:
        """Unless single frames are skipped: those are numbered as they come."""
        return not self.rebuilds() or self.frames_of_a_field() > 1

    def plane_step_um(self) -> float | None:
        """Of its stack."""
        return self.z.step_um if self.z is not None else None

    def frames_of_a_point(self) -> str:
        """Fields, channels and planes."""
        planes = [plane for plane in self.planes() if plane is not None]
        said = [f"{self.fields_at_once()} fields"] if self.fields_at_once() > 1 else []
        if self.channels:
            said.append(f"{len(self.channels)} channels ({', '.join(self.channels)})")
        if planes:
            low, high = min(p.z_um for p in planes), max(p.z_um for p in planes)
            of = "" if planes[0].absolute else " around the focus"
            said.append(f"{len(planes)} planes, z {low:g} … {high:g} µm{of}")
        return " × ".join(said)

    def frames_of_a_field(self) -> int:
        """Frames of a field in a time point."""
        return len(self.modes()) * len(self.planes())
