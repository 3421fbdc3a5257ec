"""How settings are searched: the section of `plan: optimize`, which a time-lapse reads as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pydantic import Field

from agent.config.objective_section import ObjectiveSection, check_scale
from agent.config.plan_section import PlanSection, Whole, check_mode, check_scored, unknown
from agent.config.time_points import StackConfig
from agent.plan import FRAMES_EACH
from devices.config import MicroscopeConfig, SettingConfig, Value
from devices.setting import Span
from devices.shot import Plane

ENGINES = ("stedfast", "skopt", "botorch", "sobol", "random")
"""Those that come with this package."""
OBJECTIVES = ("quality",)
"""Likewise: what a search looks for most of."""


class OptimizeConfig(PlanSection):
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
        "stedfast",
        description="what proposes the next settings; botorch needs the extra `botorch`. Also "
        "MODULE:FUNCTION, or the name of an installed engine",
    )
    objective: Literal["quality"] = Field(
        "quality",
        description="what a search looks for most of, within the bleaching limit: the quality "
        "network's score. Also MODULE:FUNCTION, or the name of an installed objective",
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
        (), description="settings an expert would try first; absent ones take their start"
    )
    least_gain: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="end the search after two trials that promised less gain in score; 0: never",
    )
    mode: str = Field(
        "sted", description="mode of `microscope.modes` whose frame is scored and tuned"
    )
    reference: str = Field(
        "confocal",
        description="mode of the frames before and after it, which tell what it bleached",
    )
    search: dict[str, Span | tuple[Value, ...]] = Field(
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
    z: StackConfig | None = Field(
        None, description="a z-stack after each retest, at its settings and around its focus"
    )
    repeat_flagged: int = Field(
        0,
        ge=0,
        le=100,
        description="trials taken again because their score is doubtful, in all",
    )

    def check(self, whole: Whole) -> None:
        """Enough fields, everything that a search needs, and suggestions that may be tried."""
        fields = whole.microscope.fields.count
        needed = self.visited()
        if needed > fields:
            raise ValueError(
                f"`microscope.fields`: {fields} fields, but `optimize` needs {needed} fresh ones "
                "(trials, repeat_flagged, and retest_fields for the start and for the best)"
            )
        self.check_search(whole, "plan: optimize")
        self._check_suggestions(whole.microscope)

    def visited(self) -> int:
        """A fresh one for each trial, repeat and retest."""
        return self.trials + self.repeat_flagged + 2 * self.retest_fields

    def check_search(self, whole: Whole, who: str) -> None:
        """Check what everything needs that looks for settings; `ValueError` if it is not there.

        Parameters
        ----------
        whole
            The config.
        who
            Looks for settings, for messages.
        """
        scope = whole.microscope
        self._check_modes(scope, who)
        own = self.own_objective()
        if own is None or own.reads_score():
            check_scored(whole, self.mode, who)
        if own is not None:
            own.check(whole)
            check_scale(self.objective.rpartition(":")[2], own.scale())
            if self.prior:
                raise ValueError(
                    "`optimize.prior`: earlier runs tell of quality, and `optimize.objective` is "
                    f"{self.objective!r}; accepted: no prior, or objective: quality"
                )
        settings = scope.settings
        if not settings:
            raise ValueError(f"`microscope.settings`: empty, `{who}` has nothing to tune")
        for name, values in self.search.items():
            if name not in settings:
                raise ValueError(unknown(f"optimize.search.{name}", "setting", settings))
            if name in scope.modes[self.mode]:
                raise ValueError(
                    f"`optimize.search.{name}`: pinned by `microscope.modes.{self.mode}`"
                )
            for value in values:
                if why := settings[name].refusal(value):
                    raise ValueError(f"`optimize.search.{name}`: {why}")
            if settings[name].kind == "choice":
                if not values:
                    raise ValueError(
                        f"`optimize.search.{name}`: empty; accepted: some of "
                        f"{list(settings[name].choices or ())}"
                    )
            elif len(values) != 2 or float(values[0]) >= float(values[1]):
                raise ValueError(
                    f"`optimize.search.{name}`: must be [low, high] with low < high, "
                    f"got {list(values)}"
                )
        for name in self.tuned(scope):
            span = self.search.get(name, settings[name].range)
            if settings[name].scale == "log" and span is not None and float(span[0]) <= 0:
                raise ValueError(
                    f"`optimize.search.{name}`: {list(span)}, must start above 0 for scale: log"
                )

    def _check_modes(self, scope: MicroscopeConfig, who: str) -> None:
        for key, mode in (("mode", self.mode), ("reference", self.reference)):
            if mode in scope.modes:
                continue
            if key in self.model_fields_set:
                check_mode(f"optimize.{key}", mode, scope)
            raise ValueError(
                f"`microscope.modes`: no mode {mode!r}; `{who}` needs {self.mode} and "
                f"{self.reference}, or other names in `optimize.mode` and `optimize.reference`"
            )
        if self.mode == self.reference:
            raise ValueError(
                f"`optimize.reference`: {self.reference!r} is the mode that is tuned; accepted: "
                f"another one of {', '.join(scope.modes)}"
            )

    def own_objective(self) -> ObjectiveSection | None:
        """The section of an objective that does not come with this package."""
        found = getattr(self, self.objective.rpartition(":")[2], None)
        return found if isinstance(found, ObjectiveSection) else None

    def check_start(self, scope: MicroscopeConfig, who: str) -> None:
        """Check that the starting settings are among those searched; `ValueError` if not."""
        for name in self.tuned(scope):
            start, span = scope.settings[name].start, self.search.get(name)
            if span is not None and not _is_within(scope.settings[name], start, span):
                raise ValueError(
                    f"`optimize.search.{name}`: {list(span)} is without the start ({start}), "
                    f"where `{who}` begins"
                )

    def _check_suggestions(self, scope: MicroscopeConfig) -> None:
        tuned = self.tuned(scope)
        if len(self.begin_with) > self.trials:
            raise ValueError(
                f"`optimize.begin_with`: {len(self.begin_with)} settings, more than "
                f"`optimize.trials` ({self.trials})"
            )
        for at, settings in enumerate(self.begin_with):
            for name, value in settings.items():
                where = f"optimize.begin_with.{at}.{name}"
                if name not in tuned:
                    raise ValueError(unknown(where, "tuned setting", tuned))
                setting = scope.settings[name]
                if why := setting.refusal(value):
                    raise ValueError(f"`{where}`: {why}")
                span = self.search.get(name)
                if span is not None and not _is_within(setting, value, span):
                    raise ValueError(
                        f"`{where}`: {value} is not within `optimize.search.{name}` ({list(span)})"
                    )

    def tuned(self, scope: MicroscopeConfig) -> list[str]:
        """Names of the settings that are searched, in the microscope's order."""
        pinned = scope.modes[self.mode]
        names = self.search or scope.settings
        return [name for name in scope.settings if name in names and name not in pinned]

    def modes(self) -> tuple[str, ...]:
        """Of a trial, and of a retest."""
        return (self.reference, self.mode, self.reference)

    def decides(self) -> str:
        """The one that is tuned."""
        return self.mode

    def planned_frames(self) -> int:
        """Of all trials and retests."""
        return FRAMES_EACH * self.trials + self.retest_frames()

    def retest_frames(self) -> int:
        """Of the retests, with their stacks."""
        return 2 * self.retest_fields * (FRAMES_EACH + len(self.stack()))

    def stack(self) -> tuple[Plane, ...]:
        """Planes of a retest's stack, in the order in which they are taken."""
        return self.z.planes() if self.z is not None else ()

    def planes(self) -> tuple[Plane | None, ...]:
        """Where the focus is; and those of the stack."""
        return (None, *self.stack())

    def focuses(self) -> bool:
        """Where it has a z-stack."""
        return self.z is not None

    def shares(self, scope: MicroscopeConfig) -> list[tuple[str, Mapping[str, Value], float]]:
        """A stack has no references."""
        frames, stacked = self.planned_frames(), 2 * self.retest_fields * len(self.stack())
        beside = (frames - stacked) * 2 / FRAMES_EACH
        return [
            (self.reference, {}, beside / frames),
            (self.mode, {}, (frames - beside) / frames),
        ]

    def repeated_frames(self) -> int:
        """Of flagged trials."""
        return FRAMES_EACH * self.repeat_flagged

    def fewest_frames_of_a_field(self) -> float:
        """Those of one trial."""
        return float(FRAMES_EACH)

    def planned_trials(self) -> int:
        """All that are asked for."""
        return self.trials

    def returns(self) -> bool:
        """Each trial is on a fresh field."""
        return False

    def searches(self) -> bool:
        """It is what the plan is for."""
        return True

    def refuses_roi(self) -> str:
        """Its trials are compared."""
        return "whose trials are compared, for which all frames have one size"

    def listens(self) -> bool:
        """Between trials."""
        return True

    def adjustable(self, scope: MicroscopeConfig) -> list[str]:
        """The settings that are searched."""
        return self.tuned(scope)

    def edges(self, scope: MicroscopeConfig, name: str) -> tuple[Value, ...]:
        """The part of it that is searched, from the beginning."""
        return tuple(self.search.get(name) or super().edges(scope, name))


def _is_within(setting: SettingConfig, value: Value, span: Sequence[Value]) -> bool:
    if setting.kind == "choice":
        return value in span
    return float(span[0]) <= float(value) <= float(span[1])
