"""`focus`: how a time-lapse finds its focus again, by sweeps or with an autofocus device."""

from __future__ import annotations

from collections.abc import Container
from typing import Literal

from pydantic import Field, model_validator

from agent.config.plan_section import Whole, check_mode
from devices.autofocus import Using
from devices.config import Model

_MOST_PLANES = 200
_DOUBLED = 64
"""Searches after which no gap between them is short because of the drift."""


_OF_A_DEVICE = ("using", "device_offset", "offset_device", "tries", "farthest", "timeout_s")
_OF_A_SWEEP = ("mode", "range", "step", "measure")


class FocusConfig(Model):
    """The focus of each field, found now and then: by a sweep, whose light counts, or a device."""

    device: str | None = Field(
        None, description="autofocus device that finds it, a Micro-Manager label; sweeps if absent"
    )
    using: Using = Field(
        "full",
        description="how it does: full or incremental focus, once each time; or continuous focus, "
        "a lock that holds between the frames",
    )
    device_offset: float | None = Field(
        None, description="offset of the device, in its own unit; left alone if absent"
    )
    offset_device: str | None = Field(
        None, description="stage that is this offset, where the device does not have it itself"
    )
    tries: int = Field(3, ge=1, le=100, description="searches of the device until one has failed")
    farthest: float = Field(
        10.0,
        gt=0,
        description="how far from where it is expected the device may find the focus (µm); what is "
        "farther has failed",
    )
    timeout_s: float = Field(10.0, gt=0, le=600, description="of a search of the device (s)")

    every: int | None = Field(
        1, ge=1, description="time points from one search to the next; null: by the score alone"
    )
    when_score_falls_by: float | None = Field(
        None, gt=0, lt=1, description="since the last search, of a field's frames"
    )
    mode: str | None = Field(
        None, description="mode that is looked at; confocal if there is one, else the plan's"
    )
    range: float = Field(
        3.0, gt=0, description="from the lowest plane of a sweep to the highest (µm)"
    )
    step: float = Field(0.5, gt=0, description="from one plane to the next (µm)")
    measure: Literal["spectrum", "variance", "score"] = Field(
        "spectrum",
        description="what is largest in focus: power of fine structure over mean, variance over "
        "mean, or the quality score",
    )
    offset: float = Field(0.0, description="height of the imaged plane above the focus found (µm)")
    predict: bool = Field(True, description="between searches, follow the drift that they found")

    @model_validator(mode="after")
    def _enough(self) -> FocusConfig:
        if self.every is None and self.when_score_falls_by is None:
            raise ValueError("says not when; needs `every` or `when_score_falls_by`")
        self._check_kind()
        planes = self.planes
        if planes < 3:
            raise ValueError(
                f"`step`: {self.step:g} µm gives {planes} planes in {self.range:g} µm; "
                "accepted: at least 3 planes"
            )
        if planes > _MOST_PLANES:
            raise ValueError(f"`step`: {self.step:g} µm gives {planes} planes; at most 200")
        return self

    def _check_kind(self) -> None:
        """What the other kind of search alone heeds is as it is if absent."""
        others = _OF_A_DEVICE if self.device is None else _OF_A_SWEEP
        for key in others:
            if getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(
                    f"`{key}`: is for an autofocus device; accepted: with `device`"
                    if self.device is None
                    else f"`{key}`: is for sweeps; accepted: without `device`"
                )
        if self.offset_device is not None and self.device_offset is None:
            raise ValueError("`offset_device`: needs `device_offset`")
        if self.using == "continuous" and self.offset:
            raise ValueError(
                "`offset`: would move the drive that the continuous focus holds; accepted: "
                "`device_offset`"
            )

    @property
    def sweeps(self) -> bool:
        """Whether it takes frames."""
        return self.device is None

    @property
    def planes(self) -> int:
        """Planes of a sweep."""
        return 2 * round(self.range / self.step / 2) + 1

    def gap(self, made: int) -> int | None:
        """Time points from one search to the next, at most; None: no matter how many.

        While a drift is to be predicted it is followed no further than it has been seen: the
        first gaps are 1, 1, 2, 4, ... time points, until `every` is less.

        Parameters
        ----------
        made
            How many there were.

        Examples
        --------
        >>> [FocusConfig(every=5).gap(made) for made in range(1, 7)]
        [1, 1, 2, 4, 5, 5]
        """
        if self.every is None or not self.predict:
            return self.every
        return min(self.every, 1 << max(0, min(made, _DOUBLED) - 2))

    def _searches(self, points: int) -> int:
        """How many there are of a field because of `every`, in so many time points."""
        made, point = 0, 0
        while point < points:
            made += 1
            if (gap := self.gap(made)) is None:
                break
            point += gap
        return made

    def frames(self, points: int) -> tuple[int, int]:
        """How many frames sweeps of a field take at least and at most, in so many time points."""
        if not self.sweeps:
            return 0, 0
        least = self._searches(points)
        most = points if self.when_score_falls_by is not None else least
        # Where the sharpest plane is the last one, a sweep goes on by half of it.
        return least * self.planes, most * (self.planes + self.planes // 2)

    def check(self, whole: Whole, lapse_mode: str) -> None:
        """Its mode is there, and is scored where that decides."""
        scope = whole.microscope
        if self.mode is not None:
            check_mode("focus.mode", self.mode, scope)
        asked = []
        if self.measure == "score":
            asked += [("measure", self.looks_at(scope.modes, lapse_mode))]
        if self.when_score_falls_by is not None:
            asked += [("when_score_falls_by", lapse_mode)]
        for key, mode in asked:
            if mode not in whole.scored_modes():
                raise ValueError(
                    f"`focus.{key}`: {mode} frames have no score; accepted: `analysis.score: "
                    f"true`, with {mode!r} among `analysis.modes`"
                )

    def looks_at(self, modes: Container[str], lapse_mode: str) -> str:
        """The mode of a sweep.

        Parameters
        ----------
        modes
            The microscope's, by name.
        lapse_mode
            The one that the time-lapse images.
        """
        if self.mode is not None:
            return self.mode
        if self.measure != "score" and "confocal" in modes:
            return "confocal"
        return lapse_mode
