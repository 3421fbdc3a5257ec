"""`focus`: how a time-lapse finds its focus again."""

from __future__ import annotations

import math
from collections.abc import Container
from typing import Literal

from pydantic import Field, model_validator

from agent.config.plan_section import Whole, check_mode
from devices.config import Model

_MOST_PLANES = 200


class FocusConfig(Model):
    """A sweep through the focus of each field now and then; its light counts."""

    every: int | None = Field(
        1, ge=1, description="time points from one sweep to the next; null: by the score alone"
    )
    when_score_falls_by: float | None = Field(
        None, gt=0, lt=1, description="since the last sweep, of a field's frames"
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
    offset: float = Field(0.0, description="height of the imaged plane above the sharpest one (µm)")
    predict: bool = Field(True, description="between sweeps, follow the drift that they found")

    @model_validator(mode="after")
    def _enough(self) -> FocusConfig:
        if self.every is None and self.when_score_falls_by is None:
            raise ValueError("says not when; needs `every` or `when_score_falls_by`")
        planes = self.planes
        if planes < 3:
            raise ValueError(
                f"`step`: {self.step:g} µm gives {planes} planes in {self.range:g} µm; "
                "accepted: at least 3 planes"
            )
        if planes > _MOST_PLANES:
            raise ValueError(f"`step`: {self.step:g} µm gives {planes} planes; at most 200")
        return self

    @property
    def planes(self) -> int:
        """Planes of a sweep."""
        return 2 * round(self.range / self.step / 2) + 1

    def frames(self, points: int) -> tuple[int, int]:
        """How many frames sweeps of a field take at least and at most, in so many time points."""
        least = 1 if self.every is None else math.ceil(points / self.every)
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
