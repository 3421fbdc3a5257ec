"""What a config says about the microscope: frozen, checked models without any hardware.

Nothing here imports Micro-Manager, so that a wrong config is told about at once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    NonNegativeInt,
    PositiveInt,
    field_validator,
    model_validator,
)

from devices.affine import Affine, Six
from devices.dwell import dwell_s, refusal
from devices.places import FieldsConfig, Place
from devices.refusals import refused
from devices.setting import Model, Range, SettingConfig, Value
from devices.sources import (
    ImspectorConfig,
    ReplayConfig,
    SecondDyeConfig,
    Structure,
    VirtualStedConfig,
)
from devices.watchdog import WatchdogConfig

__all__ = [
    "NO_SHUTTER",
    "ExposureConfig",
    "FieldsConfig",
    "FixedProperty",
    "ImspectorConfig",
    "MicroscopeConfig",
    "Model",
    "Place",
    "PropertyBinding",
    "PythonDevice",
    "Range",
    "ReplayConfig",
    "SecondDyeConfig",
    "SettingConfig",
    "StageLimits",
    "Structure",
    "Value",
    "VirtualStedConfig",
    "WatchdogConfig",
]

_KINDS_OF_EXPOSURE = ("dwell_time", "camera_ms", "camera")


class ExposureConfig(Model):
    """How long light falls on the sample in one frame.

    Either point scanning (`dwell_time`, and `line_accumulations` and `resolution` if the microscope
    has them) or a camera (`camera_ms`, or `camera` where the exposure time is a setting).
    """

    dwell_time: str | None = Field(
        None, description="setting that is the pixel dwell time, or the pixel rate"
    )
    line_accumulations: str | None = Field(None, description="setting that counts line passes")
    resolution: str | None = Field(
        None, description="setting that is the number of lines, and of the pixels of each"
    )
    camera_ms: float | None = Field(None, gt=0, description="camera exposure time (ms)")
    camera: str | None = Field(None, description="setting that is the camera's exposure time")

    @model_validator(mode="after")
    def _one_kind(self) -> ExposureConfig:
        given = [key for key in _KINDS_OF_EXPOSURE if getattr(self, key) is not None]
        if len(given) != 1:
            raise ValueError(f"takes one of `{'`, `'.join(_KINDS_OF_EXPOSURE)}`")
        for key in ("line_accumulations", "resolution"):
            if getattr(self, key) is not None and self.dwell_time is None:
                raise ValueError(f"`{key}` needs `dwell_time`")
        return self


class StageLimits(Model):
    """How far the stages may go (µm); an axis without limits goes as far as it can."""

    x_um: Range | None = Field(None, description="lowest and highest x (µm)")
    y_um: Range | None = Field(None, description="lowest and highest y (µm)")
    z_um: Range | None = Field(None, description="lowest and highest position of the focus (µm)")
    stages: dict[str, Range] = Field(
        default_factory=dict,
        description="lowest and highest position of other stages of one axis (µm), by device label",
    )

    def refusal(
        self,
        x: float | None,
        y: float | None,
        z: float | None,
        stages: Mapping[str, float] | None = None,
    ) -> str | None:
        """Why the stages may not go there; None if they may."""
        axes = [("x", "x_um", self.x_um, x), ("y", "y_um", self.y_um, y)]
        axes += [("z", "z_um", self.z_um, z)]
        axes += [
            (label, f"stages.{label}", self.stages.get(label), to)
            for label, to in (stages or {}).items()
        ]
        for axis, key, limits, to in axes:
            if to is not None and not math.isfinite(to):
                return f"{axis} = {to:g} µm is no position"
            if limits is not None and to is not None and not limits[0] <= to <= limits[1]:
                return (
                    f"{axis} = {to:g} µm is outside {limits[0]:g} … {limits[1]:g} µm "
                    f"(`stage_limits.{key}`)"
                )
        return None


class PropertyBinding(Model):
    """A device property."""

    device: str = Field(description="Micro-Manager device label")
    property: str = Field(description="property of that device")


def _from_list(value: object) -> object:
    """A property as a list; it is what configs had before there was a safe value."""
    if isinstance(value, list | tuple) and len(value) in (3, 4):
        return dict(zip(("device", "property", "value", "safe"), value, strict=False))
    return value


class FixedProperty(Model):
    """A device property that is set once, on opening."""

    device: str = Field(description="Micro-Manager device label")
    property: str = Field(description="property of that device")
    value: Value = Field(description="its value")
    safe: Value | None = Field(None, description="its value at every end")


class PythonDevice(Model):
    """A device written in Python (a pymmcore-plus `unicore` device)."""

    class_: str = Field(alias="class", pattern=r"^[\w.]+:\w+$", description="module:Class")
    options: dict[str, Any] = Field(
        default_factory=dict, description="keyword arguments of the class"
    )


def _counts(setting: SettingConfig) -> bool:
    """Whether all values of a setting are numbers of something."""
    try:
        return all(float(value) >= 0 for value in setting.choices or setting.range or ())
    except ValueError:
        return False


NO_SHUTTER = "none"
"""As `shutter`: there is one, or more, but none that keeps light off the sample."""


class MicroscopeConfig(Model):
    """A microscope: its devices, the settings bound to them, modes, fields and exposure."""

    cfg: str | None = Field(
        None, description="Micro-Manager configuration file, or `demo` for the bundled one"
    )
    virtual_sted: VirtualStedConfig | None = Field(
        None, description="the simulated STED microscope, instead of a real one"
    )
    replay: ReplayConfig | None = Field(None, description="a recorded movie, instead of a camera")
    imspector: ImspectorConfig | None = Field(
        None, description="an Abberior microscope, through Imspector"
    )
    python_devices: dict[str, PythonDevice] = Field(
        default_factory=dict, description="devices written in Python, by label"
    )
    modules: Path | None = Field(
        None, description="folder that modules of `python_devices` lie in; the config's if absent"
    )
    guard: bool = Field(
        True,
        description="a process beside the run makes it dark if the run's own is killed; not for "
        "simulated devices, which end with it",
    )
    camera: str | None = Field(None, description="label, if not the configuration's own")
    camera_channels: tuple[str, ...] = Field(
        (),
        description="names of the frames of a snap, in their order, of a camera that gives several "
        "(Micro-Manager's *Multi Camera*, for one); those that it says if absent",
    )
    scored_channel: str | None = Field(
        None,
        description="which of `camera_channels` is scored, filtered, and decided on; the first if "
        "absent",
    )
    shutter: str | None = Field(None, description="likewise; `none` where it is not to be used")
    xy_stage: str | None = Field(None, description="label, if not the configuration's own")
    focus: str | None = Field(None, description="label, if not the configuration's own")
    properties: tuple[Annotated[FixedProperty, BeforeValidator(_from_list)], ...] = Field(
        (),
        description="[device, property, value], or with a safe value behind them; set on opening",
    )
    pixel_size_nm: float = Field(gt=0, description="side of a pixel on the sample (nm)")
    affine: Six | None = Field(
        None,
        description="stage per pixel (µm), the six numbers of Micro-Manager's pixel size affine; "
        "`stedfast calibrate` writes them, and the `.cfg`'s are taken if absent",
    )
    settings: dict[str, SettingConfig] = Field(
        default_factory=dict, description="imaging settings, by a name of your choice"
    )
    modes: dict[str, dict[str, Value]] = Field({"sted": {}}, description="settings a mode pins")
    roi: dict[str, tuple[NonNegativeInt, NonNegativeInt, PositiveInt, PositiveInt]] = Field(
        default_factory=dict,
        description="region of interest of a mode: x, y, width, height in pixels of the camera as "
        "it is binned then; the whole frame in modes that are not here",
    )
    exposure: ExposureConfig
    fields: FieldsConfig = FieldsConfig()
    stage_limits: StageLimits = StageLimits()
    xy_tolerance_um: float | None = Field(
        None,
        gt=0,
        description="how far from where it was sent the XY stage may be (µm); a quarter of the way "
        "to the nearest field, 2.5 µm at most, if absent",
    )
    z_tolerance_um: float = Field(
        0.25,
        gt=0,
        description="how far from where it was sent the focus, or another stage of one axis, may "
        "be (µm)",
    )
    sequences: bool = Field(
        False,
        description="frames between which nothing is decided are hardware sequences, where the "
        "devices can",
    )
    clock: PropertyBinding | None = Field(
        None, description="simulated time (s), set instead of waited for"
    )
    watchdog: WatchdogConfig | None = Field(
        None,
        description="a property that is written again and again while a run works; without that "
        "the controller goes dark",
    )
    timeout_s: float = Field(
        30.0, gt=0, description="a frame that takes this much longer than its exposure has hung"
    )

    @model_validator(mode="after")
    def _consistent(self) -> MicroscopeConfig:
        sources = (self.cfg, self.virtual_sted, self.replay, self.imspector, self.python_devices)
        if not any(sources):
            raise ValueError(
                "needs at least one of `cfg`, `virtual_sted`, `replay`, `imspector`,"
                " `python_devices`"
            )
        if self.virtual_sted and self.replay:
            raise ValueError("takes `virtual_sted` or `replay`, not both")
        self._check_channels()
        for key in ("dwell_time", "line_accumulations", "resolution", "camera"):
            name = getattr(self.exposure, key)
            if name is not None and name not in self.settings:
                raise ValueError(
                    f"`exposure.{key}`: no setting {name!r}; there are {self._names()}"
                )
        dwell = self.exposure.dwell_time
        if dwell and (wrong := refusal(self.settings[dwell])):
            where, said = wrong
            raise ValueError(f"`settings.{dwell}.{where}`: is the dwell time, and {said}")
        for key in ("line_accumulations", "resolution"):
            name = getattr(self.exposure, key)
            if name is not None and not _counts(self.settings[name]):
                raise ValueError(f"`settings.{name}`: is a number of lines")
        if (camera := self.exposure.camera) and (unit := self.settings[camera].unit) != "ms":
            raise ValueError(
                f"`settings.{camera}.unit`: must be ms, as it is the camera's exposure time, "
                f"which Micro-Manager takes in ms; got {unit!r}"
            )
        for mode in self.roi:
            if mode not in self.modes:
                raise ValueError(
                    f"`roi.{mode}`: no mode {mode!r}; there are {', '.join(self.modes)}"
                )
        for laser in self.lasers:
            if self.lasers.count(laser) > 1:
                raise ValueError(f"`settings`: laser {laser!r} has its power in two settings")
        for mode, pins in self.modes.items():
            for name, value in pins.items():
                if name not in self.settings:
                    raise ValueError(
                        f"`modes.{mode}.{name}`: no such setting; there are {self._names()}"
                    )
                if why := self.settings[name].refusal(value):
                    raise ValueError(f"`modes.{mode}.{name}`: {why}")
        return self

    def _check_channels(self) -> None:
        names, scored = self.camera_channels, self.scored_channel
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"`camera_channels`: {name!r} is there twice")
        if len(names) == 1:
            raise ValueError("`camera_channels`: one name; accepted: none, or those of several")
        if names and scored is not None and scored not in names:
            raise ValueError(f"`scored_channel`: {refused(scored, names)}")

    @field_validator("affine")
    @classmethod
    def _turns_back(cls, affine: Six | None) -> Six | None:
        if affine is not None and not Affine(affine).determinant:
            raise ValueError("has no inverse: many pixels would be at one place")
        return affine

    @property
    def mounting(self) -> Affine | None:
        """How the camera lies on the stage; None where that is not said.

        A simulation or a recording that says nothing else lies along the stage's axes.
        """
        if self.affine is not None:
            return Affine(self.affine)
        known = self.replay is not None
        if (virtual := self.virtual_sted) is not None:
            known = virtual.lies_along_the_stage
        return Affine.square(self.pixel_size_nm * 1e-3) if known else None

    @property
    def seen_channel(self) -> int:
        """Number of the camera channel whose frames are scored, filtered and decided on."""
        if self.scored_channel is None or not self.camera_channels:
            return 0
        return self.camera_channels.index(self.scored_channel)

    def _names(self) -> str:
        return ", ".join(self.settings) or "none"

    @property
    def lasers(self) -> tuple[str, ...]:
        """Names of the light sources whose power is a setting."""
        return tuple(laser for one in self.settings.values() for laser in one.lasers())

    @property
    def constant(self) -> dict[str, SettingConfig]:
        """Fixed properties that have a safe value, as settings by `device.property`.

        They are set for frames as settings are, after each time that they were made safe.
        """
        return {
            f"{one.device}.{one.property}": SettingConfig(
                device=one.device,
                property=one.property,
                kind="choice",
                choices=(one.value, one.safe),
                start=one.value,
                safe=one.safe,
            )
            for one in self.properties
            if one.safe is not None
        }

    @property
    def light(self) -> dict[str, tuple[str, ...]]:
        """Names with a safe value, settings first: the light sources of each, or its own name."""
        return {
            name: setting.lasers() or (name,)
            for name, setting in {**self.settings, **self.constant}.items()
            if setting.safe is not None
        }

    def placed(
        self,
        xy_um: tuple[float, float] | None,
        z_um: float | None = None,
        *,
        revisited: int = 0,
    ) -> MicroscopeConfig:
        """The same with its fields as they are visited from a place: `FieldsConfig.placed`."""
        fields = self.fields.placed(xy_um, z_um, revisited=revisited)
        return self.model_copy(update={"fields": fields})

    def start(self) -> dict[str, Value]:
        """The settings a run starts from."""
        return {name: setting.plain(setting.start) for name, setting in self.settings.items()}

    def camera_ms(self, settings: Mapping[str, Value]) -> float | None:
        """Exposure time of the camera (ms) at `settings`; None on a point scanner."""
        if self.exposure.camera is not None:
            return float(settings[self.exposure.camera])
        return self.exposure.camera_ms

    def exposure_s(self, settings: dict[str, Value], pixels: int) -> float:
        """Time (s) that light falls on the sample in one frame at `settings`.

        Parameters
        ----------
        settings
            All of them.
        pixels
            Of a frame, where no setting says how many there are.
        """
        if (camera_ms := self.camera_ms(settings)) is not None:
            return camera_ms * 1e-3
        name, lines = self.exposure.dwell_time, self.exposure.line_accumulations
        assert name is not None
        if (resolution := self.exposure.resolution) is not None and resolution in settings:
            pixels = round(float(settings[resolution])) ** 2
        dwell = dwell_s(settings[name], self.settings[name].unit)
        return dwell * pixels * (float(settings[lines]) if lines else 1.0)

    def dose_j(self, settings: dict[str, Value], pixels: int) -> dict[str, float]:
        """Light energy on the sample (J) of one frame at `settings`, for each laser."""
        seconds = self.exposure_s(settings, pixels)
        return {laser: watts * seconds for laser, watts in self.watts(settings).items()}

    def watts(self, settings: Mapping[str, Value]) -> dict[str, float]:
        """Power on the sample (W) at `settings`, by laser."""
        found: dict[str, float] = {}
        for name, setting in self.settings.items():
            if setting.lasers():
                found |= setting.powers_w(settings[name])
        return found
