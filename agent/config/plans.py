"""The sections of a config that plans have, one each."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from devices.config import Model, Range, Value

Device = Literal["auto", "cpu", "cuda"]
MODE: str = Field("sted", description="mode of `microscope.modes` that is imaged")
DEVICE: Device = Field(
    "auto", description="what the network computes on; auto: a GPU if there is one"
)
LatePolicy = Literal["shift", "skip"]
LATE: LatePolicy = Field(
    "shift",
    description="what begins more than half an interval late: shift all that follows, or skip it",
)


class LiveConfig(Model):
    """`plan: live`: frame after frame at the starting settings."""

    frames: int | None = Field(None, ge=1, description="how many; endless if absent")
    mode: str = MODE
    interval_s: float = Field(
        0.0, ge=0, description="time from one frame to the next (s); 0: as fast as possible"
    )
    late: LatePolicy = LATE


class DetectorConfig(Model):
    """How counts scatter; the defaults are those of a detector that counts photons."""

    gain: float = Field(1.0, gt=0, description="counts a photon")
    offset: float = Field(0.0, ge=0, description="counts of no light")
    read_sd: float = Field(0.0, ge=0, description="standard deviation of the read noise, counts")


class ReoptimizeConfig(Model):
    """A search for better settings between time points, on fresh fields; `optimize` says where."""

    every: int | None = Field(None, ge=1, description="time points from one search to the next")
    when_score_falls_by: float | None = Field(
        None, gt=0, lt=1, description="since the last search, median of three frames"
    )
    trials: int = Field(
        6, ge=3, le=100, description="of a search: settings in use, those tried, the recommended"
    )
    searches: int = Field(1, ge=1, le=1000, description="at most; each needs `trials` fresh fields")
    bleaching_limit: float = Field(
        0.05, gt=0, le=1, description="largest share of the dye one STED frame may bleach"
    )


class TimelapseConfig(Model):
    """`plan: timelapse`: the same fields at fixed intervals."""

    frames: int = Field(10, ge=1, description="time points")
    interval_s: float = Field(10.0, ge=0, description="time from one time point to the next (s)")
    late: LatePolicy = LATE
    fields: int = Field(1, ge=1, description="how many of the microscope's fields, from the centre")
    mode: str = MODE
    acquire: Literal["every", "skip", "adaptive"] = Field(
        "every",
        description="every time point, each `gap`-th, or as few as `error` allows; what is skipped "
        "is rebuilt",
    )
    gap: int = Field(
        3, ge=2, le=8, description="time points from frame to frame; the largest, if adaptive"
    )
    error: float = Field(
        0.3, gt=0, lt=1, description="adaptive: largest relative error of rebuilt frames"
    )
    confidence: float = Field(
        0.65, ge=0.5, lt=1, description="adaptive: how sure of that it is to be"
    )
    audit_every: int = Field(
        4, ge=1, le=1000, description="adaptive: one gap in so many has a frame taken and compared"
    )
    drift: Literal["off", "measure", "follow"] = Field(
        "measure", description="take drift out before frames are rebuilt; follow it with the stage"
    )
    model: str = Field("flow", description="name of an interpolator, or a .safetensors file")
    device: Literal["auto", "cpu", "cuda"] = DEVICE
    timeout_s: float = Field(
        60.0, gt=0, description="longest time for rebuilding, and longest wait of the plan for it"
    )
    tune: bool = Field(False, description="adaptive: let the interpolator learn from the audits")
    detector: DetectorConfig = DetectorConfig()
    reoptimize: ReoptimizeConfig | None = Field(
        None, description="look for better settings now and then; never if absent"
    )


class OptimizeConfig(Model):
    """`plan: optimize`: find good settings for this sample."""

    trials: int = Field(
        24, ge=1, le=1000, description="settings tried at most, each on a fresh field of view"
    )
    initial: int = Field(
        8,
        ge=1,
        description="space-filling trials before a model without memory decides; all, if fewer",
    )
    engine: Literal["stedfast", "skopt", "botorch", "sobol", "random"] = Field(
        "stedfast", description="what proposes the next settings; botorch needs the extra `botorch`"
    )
    goal: Literal["best", "front"] = Field(
        "best", description="engine stedfast: look for the best settings, or for the whole front"
    )
    library: bool = Field(
        True, description="engine stedfast: begin with what simulated sessions teach"
    )
    prior: tuple[Path, ...] = Field(
        (), description="engine stedfast: folders of earlier runs of `plan: optimize` to learn from"
    )
    begin_with: tuple[dict[str, Value], ...] = Field(
        (), description="settings an expert would try first; what is left out takes its start"
    )
    least_gain: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="end the search after two trials that promised less gain in score; 0: never",
    )
    search: dict[str, Range | tuple[Value, ...]] = Field(
        default_factory=dict, description="settings to tune: [low, high], or choices; all if empty"
    )
    bleaching_limit: float = Field(
        0.2, gt=0, le=1, description="largest share of the dye one STED frame may bleach"
    )
    saturation_limit: float = Field(
        0.01, ge=0, le=1, description="largest share of the pixels at the detector's limit"
    )
    retest_fields: int = Field(
        4,
        ge=1,
        le=100,
        description="fresh fields on which the starting and the best settings are compared",
    )
    repeat_flagged: int = Field(
        0,
        ge=0,
        le=100,
        description="trials taken again because their score is doubtful, in all",
    )
