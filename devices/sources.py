"""Where frames come from that no `.cfg` describes: a simulation, a recording, Imspector."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import (
    Field,
    NonNegativeInt,
)

from devices.setting import Model

Structure = Literal[
    "actin", "tubulin", "psd95", "filaments", "bundles", "axons", "mesh", "spots", "patches"
]
"""What a virtual sample shows: the first three are pySTED's real ones, the others are drawn."""


Dye = Literal["atto647n", "robust", "fragile", "dim", "stubborn"]
"""Photophysics of a virtual label."""


class SecondDyeConfig(Model):
    """A second dye in the virtual sample: its laser is `Excitation2`, its detector the same."""

    structure: Structure = Field("tubulin", description="what it labels")
    dye: Dye = Field("atto647n", description="its photophysics")
    molecules_per_pixel: float = Field(
        15.0, gt=0, le=1000, description="in 20 nm × 20 nm, where the structure is densest"
    )
    crosstalk: float = Field(
        0.05, ge=0, le=1, description="share of a laser's light that excites the other dye"
    )


class VirtualStedConfig(Model):
    """The simulated STED microscope and its sample (pySTED)."""

    structure: Structure = Field(
        "actin", description="actin, tubulin, psd95: maps of real ones; the others are drawn"
    )
    dye: Dye = Field(
        "atto647n", description="photophysics of the label; the others are simulated variants"
    )
    molecules_per_pixel: float = Field(
        15.0, gt=0, le=1000, description="in 20 nm × 20 nm, where the structure is densest"
    )
    background_hz: float = Field(3000.0, ge=0, le=1e7, description="detected photons per second")
    size_um: float = Field(48.0, ge=8, le=200, description="side of the sample (µm)")
    motion_nm_per_s: float = Field(
        0.0, ge=0, le=1000, description="root-mean-square speed of the structure (nm/s)"
    )
    motion_length_um: float = Field(
        3.0, gt=0, description="distance over which neighbours move together (µm)"
    )
    drift_nm_per_s: float = Field(
        0.0, ge=0, le=1000, description="speed of the stage against the sample (nm/s)"
    )
    planes: int = Field(
        1, ge=1, le=9, description="of structure: one in focus, others above and below in turn"
    )
    plane_pitch_um: float = Field(0.5, gt=0, le=10, description="from one plane to the next (µm)")
    z_drift_nm_per_s: float = Field(
        0.0, ge=-1000, le=1000, description="speed at which the sample rises out of focus (nm/s)"
    )
    focus_reach_um: float = Field(
        2.0, ge=1, le=1000, description="how far the focus drive goes up and down (µm)"
    )
    second_dye: SecondDyeConfig | None = Field(
        None, description="a second dye, with a laser and a structure of its own"
    )
    stage_rotation_deg: float = Field(
        0.0, ge=-360, le=360, description="how far the camera is turned against the stage (°)"
    )
    stage_mirrored: bool = Field(
        False, description="the camera's rows run against the stage's y, before it is turned"
    )
    stage_scale: float = Field(
        1.0, ge=0.1, le=10, description="how far the stage goes for each µm that it is told to"
    )
    width_px: int = Field(224, ge=16, le=1024, description="pixels of a line")
    height_px: int = Field(224, ge=16, le=1024, description="lines of a frame")
    seed: int | None = Field(None, ge=0, description="of the sample; the run's seed if absent")

    @property
    def lies_along_the_stage(self) -> bool:
        """The stage is as it should be."""
        turned, scale = self.stage_rotation_deg, self.stage_scale
        return (turned, self.stage_mirrored, scale) == (0.0, False, 1.0)


class ReplayConfig(Model):
    """A recorded movie, played frame by frame as if a camera saw it."""

    file: Path = Field(
        description="TIFF, OME-Zarr, .msr, .obf or .lif, one plane a time point; FILE#NAME takes "
        "the image or channel of that name"
    )
    exposure_ms: float = Field(
        10.0, gt=0, description="time that the camera takes for a frame (ms)"
    )
    loop: bool = Field(False, description="start again after the last frame instead of failing")
    series: NonNegativeInt | str | None = Field(
        None, description="which image of a file of several: its number or its name"
    )
    channel: int | None = Field(None, ge=0, description="which channel")
    axis: dict[str, int] = Field(default_factory=dict, description="place along other axes: {z: 3}")


class ImspectorConfig(Model):
    """An Abberior microscope, through Imspector's server."""

    host: str = Field("", description="computer that Imspector runs on; this one if empty")
    measurement: str | None = Field(
        None, description="name of the open measurement that is driven; the active one if absent"
    )
    configuration: str | None = Field(
        None, description="its configuration; the active one if absent"
    )
    channels: tuple[str, ...] = Field(
        (),
        description="names of the channels that are driven, each a camera channel; all if absent",
    )
    rescue: bool = Field(
        False,
        description="RESCue or DyMIN may be on in driven channels; doses are upper bounds then",
    )
    skip_lines: int = Field(
        0,
        ge=0,
        le=64,
        description="lines left out at the top of each frame; some are scanned badly",
    )
    reply_s: float = Field(5.0, gt=0, le=600, description="time limit for one call (s)")
    confirm_s: float = Field(
        2.0, gt=0, le=600, description="time in which a value that was set must read back (s)"
    )
    scan_s: float = Field(
        10.0, gt=0, le=3600, description="what a scan may take beyond its exposure (s)"
    )
