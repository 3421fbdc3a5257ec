"""The sections of the plans that come with this package, one each."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from agent.config.optimize import OptimizeConfig
from agent.config.plan_section import Whole, check_scored
from agent.config.time_points import TimePointsConfig
from agent.plan import FRAMES_EACH
from devices.config import MicroscopeConfig, Model

__all__ = ["DEVICE", "LiveConfig", "OptimizeConfig", "ReoptimizeConfig", "TimelapseConfig"]

Device = Literal["auto", "cpu", "cuda"]
DEVICE: Device = Field(
    "auto", description="what the network computes on; auto: a GPU if there is one"
)
LatePolicy = Literal["shift", "skip"]
LATE: LatePolicy = Field(
    "shift",
    description="what begins more than half an interval late: shift all that follows, or skip it",
)


class LiveConfig(TimePointsConfig):
    """`plan: live`: time point after time point at the starting settings, where the stage is."""

    frames: int | None = Field(
        None,
        ge=1,
        description="how many; with `channels` or `z` time points, of several frames each. "
        "Endless if absent",
    )
    interval_s: float = Field(
        0.0, ge=0, description="time from one frame to the next (s); 0: as fast as possible"
    )
    late: LatePolicy = LATE

    def planned_frames(self) -> int | None:
        """Those of all time points."""
        return None if self.frames is None else self.frames * self.frames_of_a_field()

    def waits_s(self) -> float:
        """From its first frame to its last."""
        return ((self.frames or 1) - 1) * self.interval_s

    def moves(self) -> bool:
        """It stays where the stage is."""
        return False

    def refuses_places(self) -> str:
        """It goes nowhere."""
        return "which stays where the stage is"

    def refuses_roi(self) -> str:
        """It compares no frames."""
        return ""

    def listens(self) -> bool:
        """Before each time point."""
        return True

    def adjustable(self, scope: MicroscopeConfig) -> list[str]:
        """What its modes do not pin."""
        pins = [scope.modes[mode] for mode in self.modes()]
        return [name for name in scope.settings if not all(name in pinned for pinned in pins)]


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


class TimelapseConfig(TimePointsConfig):
    """`plan: timelapse`: the same fields at fixed intervals."""

    frames: int = Field(10, ge=1, description="time points")
    interval_s: float = Field(10.0, ge=0, description="time from one time point to the next (s)")
    late: LatePolicy = LATE
    fields: int = Field(
        1,
        ge=1,
        description="how many of the microscope's fields, the first; if absent, all places of a "
        "list",
    )
    acquire: Literal["every", "skip", "adaptive"] = Field(
        "every",
        description="every time point, each `gap`-th, or as few as `error` allows; "
        "skipped ones are rebuilt",
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
    model: str = Field(
        "flow",
        description="name of an interpolator, or a .safetensors file. Also MODULE:FUNCTION, or the "
        "name of an installed interpolator",
    )
    device: Literal["auto", "cpu", "cuda"] = DEVICE
    timeout_s: float = Field(
        60.0, gt=0, description="longest time for rebuilding, and longest wait of the plan for it"
    )
    tune: bool = Field(False, description="adaptive: let the interpolator learn from the audits")
    detector: DetectorConfig = DetectorConfig()
    reoptimize: ReoptimizeConfig | None = Field(
        None, description="look for better settings now and then; never if absent"
    )

    def check(self, whole: Whole) -> None:
        """Its modes, its fields, and what skipping, searches and tuning need."""
        super().check(whole)
        scope = whole.microscope
        count = scope.fields.count
        if self.fields > count:
            raise ValueError(
                f"`timelapse.fields`: {self.fields}, but `microscope.fields` has {count}"
            )
        if self.rebuilds() and self.frames_of_a_field() > 1 and scope.camera_channels:
            key = "z" if self.z is not None else "channels"
            raise ValueError(
                f"`timelapse.{key}`: several frames of a field at each time point, which "
                f"`timelapse.acquire: {self.acquire}` does not rebuild with several cameras at "
                "once; accepted: acquire: every"
            )
        if self.tune and not self.tunes():
            raise ValueError(
                f"`timelapse.tune`: true, but with `timelapse.acquire: {self.acquire}`"
                " nothing is compared that could be learned from; accepted: false, or acquire:"
                " adaptive"
            )
        if self.reoptimize is not None:
            self._check_searches(self.reoptimize, whole, count)

    def _check_searches(self, asked: ReoptimizeConfig, whole: Whole, fields: int) -> None:
        here = "timelapse.reoptimize"
        if asked.every is None and asked.when_score_falls_by is None:
            raise ValueError(f"`{here}`: says not when; needs `every` or `when_score_falls_by`")
        if self.mode != whole.optimize.mode:
            raise ValueError(
                f"`timelapse.mode`: {self.mode!r}, but `{here}` tunes {whole.optimize.mode!r}, the "
                "mode in `optimize.mode`; accepted: the same in both"
            )
        needed = self.visited()
        if needed > fields:
            raise ValueError(
                f"`microscope.fields`: {fields} fields, but `{here}` needs {needed} "
                "(timelapse.fields, and a fresh one for each of its searches × trials)"
            )
        if asked.when_score_falls_by is not None:
            check_scored(whole, self.mode, here)
        whole.optimize.check_search(whole, here)
        whole.optimize.check_start(whole.microscope, here)

    def fields_at_once(self) -> int:
        """As the config says."""
        return self.fields

    def planned_frames(self) -> int:
        """Those of each time point and field; searches have confocal frames as well."""
        return self.frames * self.fields * self.frames_of_a_field()

    def fewest_frames(self) -> int:
        """One after each largest gap, and the last."""
        if not self.rebuilds():
            return self.planned_frames()
        gaps = -(-(self.frames - 1) // self.gap)
        return (gaps + 1) * self.fields * self.frames_of_a_field()

    def expected_frames(self) -> int:
        """An adaptive schedule may take all of them, a fixed one cannot."""
        return self.fewest_frames() if self.acquire == "skip" else self.planned_frames()

    def searching_frames(self) -> int:
        """Of all searches that there is time for."""
        asked = self.reoptimize
        if asked is None:
            return 0
        # Each leaves time points for as many frames as it has trials.
        most = (self.frames - asked.trials) // (asked.every or 1)
        if asked.when_score_falls_by is not None:
            most = self.frames
        return FRAMES_EACH * asked.trials * max(0, min(asked.searches, most))

    def fewest_frames_of_a_field(self) -> float:
        """Its share."""
        return self.fewest_frames() / self.fields

    def waits_s(self) -> float:
        """From the first time point to the last."""
        return (self.frames - 1) * self.interval_s

    def visited(self) -> int:
        """Its own, and those of searches."""
        asked = self.reoptimize
        return self.fields + (asked.searches * asked.trials if asked else 0)

    def revisited(self) -> int:
        """Its fields, at each time point."""
        return self.fields

    def goes_only_to(self) -> int:
        """Its fields, unless it follows a drift or looks for better settings on others."""
        follows = self.rebuilds() and self.drift == "follow"
        return 0 if follows or self.reoptimize is not None else self.fields

    def refuses_places(self) -> str:
        """Unless frames are skipped, of which each field has a schedule from the first on."""
        if not self.rebuilds():
            return ""
        return f"which takes no more fields with `acquire: {self.acquire}`; it does with `every`"

    def refuses_roi(self) -> str:
        """Unless frames are compared with earlier ones, or rebuilt from them."""
        if self.rebuilds():
            return f"which with `acquire: {self.acquire}` rebuilds frames from others of one size"
        if self.reoptimize is not None:
            return "whose searches (`reoptimize`) compare frames of one size"
        return ""

    def reoptimizes(self) -> bool:
        """If the config says when."""
        return self.reoptimize is not None

    def follows(self) -> str | None:
        """Where frames are compared."""
        return "drift" if self.drift == "follow" and self.rebuilds() else None

    def finds_focus(self) -> bool:
        """Before the frames of a field."""
        return True

    def rebuilds(self) -> bool:
        """Unless every time point is taken."""
        return self.acquire != "every"

    def tunes(self) -> bool:
        """Only an adaptive schedule compares anything."""
        return self.tune and self.acquire == "adaptive"
