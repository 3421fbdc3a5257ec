"""The config: one YAML file, checked before any device is opened.

The models say which keys a run's config has and what fits together; `load` turns a file into a
frozen `RunConfig` or raises `UserError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator

from agent.config.paths import settle
from agent.config.plans import DEVICE, LiveConfig, OptimizeConfig, TimelapseConfig
from agent.config.reading import read_checked
from agent.config.rules import FIRST, LATEST
from devices.config import MicroscopeConfig, Model, Value


class AnalysisConfig(Model):
    """What is computed from each frame, beside the acquisition."""

    score: bool = Field(False, description="score every STED frame with the quality network")
    weights: Path | None = Field(None, description="instead of the bundled weights")
    queue: int = Field(8, ge=1, le=1000, description="frames that may wait for the worker")
    timeout_s: float = Field(60.0, gt=0, description="longest wait of a plan for a score")
    on_error: Literal["stop", "skip"] = Field(
        "stop", description="a score that fails: stop the run safely, or give up that trial"
    )


class FilterConfig(Model):
    """A content filter that runs beside the acquisition; raw frames stay as they are."""

    model: str = Field(description="name of bundled weights, or a .safetensors file")
    frames: Literal["newest", "all"] = Field(
        "newest",
        description="where the filter cannot keep up: the newest frame only, or all, later",
    )
    modes: tuple[str, ...] = Field(
        (), description="whose frames are filtered; sted if empty, all where there is no sted"
    )
    device: Literal["auto", "cpu", "cuda"] = DEVICE
    on_error: Literal["skip", "stop"] = Field(
        "skip", description="a frame that fails: continue without it, or stop the run safely"
    )
    timeout_s: float = Field(
        60.0, gt=0, description="longest time for a frame, and longest wait of a plan for it"
    )


class DoseConfig(Model):
    """Light budgets, in J on the sample, by laser; a run stops before it exceeds one."""

    budget_J: dict[str, float] = Field(
        default_factory=dict, description="of the whole run, {laser: J}; above 0"
    )
    per_field_J: dict[str, float] = Field(
        default_factory=dict, description="of each field of view, {laser: J}; above 0"
    )


class FaultConfig(Model):
    """What a failing camera or device leads to."""

    retries: int = Field(0, ge=0, le=10, description="times a failed frame is tried again")


class RunConfig(Model):
    """A whole run."""

    plan: Literal["live", "optimize", "timelapse"] = Field(
        description="what the run does; the section of that name says how"
    )
    seed: int = Field(
        0, ge=0, le=2**31 - 1, description="of every random choice that the run makes"
    )
    runs: Path = Field(Path("runs"), description="folder that new run folders are made in")
    microscope: MicroscopeConfig
    analysis: AnalysisConfig = AnalysisConfig()
    filter: FilterConfig | None = Field(None, description="a content filter, if there is one")
    dose: DoseConfig = DoseConfig()
    faults: FaultConfig = FaultConfig()
    live: LiveConfig = LiveConfig()
    optimize: OptimizeConfig = OptimizeConfig()
    timelapse: TimelapseConfig = TimelapseConfig()
    rules: int = Field(
        LATEST,
        ge=FIRST,
        le=LATEST,
        description="how plans decide (agent/config/rules.py); a run keeps those it was born with",
    )
    provenance: dict[str, Any] | None = Field(
        None, description="written by stedfast into a run's own config; ignored when read"
    )

    @model_validator(mode="after")
    def _fits_together(self) -> RunConfig:
        scope = self.microscope
        for section in ("budget_J", "per_field_J"):
            for laser, joules in getattr(self.dose, section).items():
                if laser not in scope.lasers:
                    raise ValueError(_unknown(f"dose.{section}.{laser}", "laser", scope.lasers))
                if joules <= 0:
                    raise ValueError(f"`dose.{section}.{laser}`: {joules:g} J, must be above 0")
        asked = {"live": self.live.mode, "timelapse": self.timelapse.mode}.get(self.plan)
        if asked is not None and asked not in scope.modes:
            raise ValueError(
                f"`{self.plan}.mode`: no mode {asked!r} in `microscope.modes`; "
                f"accepted: {', '.join(scope.modes) or 'none'}"
            )
        for mode in self.filter.modes if self.filter else ():
            if mode not in scope.modes:
                raise ValueError(
                    f"`filter.modes`: no mode {mode!r} in `microscope.modes`; "
                    f"accepted: {', '.join(scope.modes) or 'none'}"
                )
        count = scope.fields.rows * scope.fields.columns
        if self.plan == "timelapse" and self.timelapse.fields > count:
            raise ValueError(
                f"`timelapse.fields`: {self.timelapse.fields}, but `microscope.fields` has {count}"
            )
        if self.plan == "timelapse" and self.timelapse.tune and not self.tunes():
            raise ValueError(
                f"`timelapse.tune`: true, but with `timelapse.acquire: {self.timelapse.acquire}`"
                " nothing is compared that could be learned from; accepted: false, or acquire:"
                " adaptive"
            )
        if self.plan == "optimize":
            self._optimize_fits(count)
        elif self.reoptimizes():
            self._reoptimize_fits(count)
        return self

    def _reoptimize_fits(self, fields: int) -> None:
        lapse, here = self.timelapse, "timelapse.reoptimize"
        asked = lapse.reoptimize
        assert asked is not None
        if asked.every is None and asked.when_score_falls_by is None:
            raise ValueError(f"`{here}`: says not when; needs `every` or `when_score_falls_by`")
        if lapse.mode != "sted":
            raise ValueError(f"`timelapse.mode`: {lapse.mode!r}, but `{here}` is for sted")
        needed = lapse.fields + asked.searches * asked.trials
        if needed > fields:
            raise ValueError(
                f"`microscope.fields`: {fields} fields, but `{here}` needs {needed} "
                "(timelapse.fields, and a fresh one for each of its searches × trials)"
            )
        self._search_fits(here)
        for name in self.tuned():
            start, span = self.microscope.settings[name].start, self.optimize.search.get(name)
            if span is not None and not self._is_within(name, start, span):
                raise ValueError(
                    f"`optimize.search.{name}`: {list(span)} is without the start ({start}), "
                    f"where `{here}` begins"
                )

    def _optimize_fits(self, fields: int) -> None:
        asked = self.optimize
        needed = asked.trials + asked.repeat_flagged + 2 * asked.retest_fields
        if needed > fields:
            raise ValueError(
                f"`microscope.fields`: {fields} fields, but `optimize` needs {needed} fresh ones "
                "(trials, repeat_flagged, and retest_fields for the start and for the best)"
            )
        self._search_fits("plan: optimize")
        self._suggestions_fit()

    def _search_fits(self, who: str) -> None:
        """What everything needs that looks for settings."""
        for mode in ("sted", "confocal"):
            if mode not in self.microscope.modes:
                raise ValueError(
                    f"`microscope.modes`: no mode {mode!r}; `{who}` needs sted and confocal"
                )
        if not self.analysis.score:
            raise ValueError(f"`analysis.score`: must be true, `{who}` reads the score")
        settings = self.microscope.settings
        if not settings:
            raise ValueError(f"`microscope.settings`: empty, `{who}` has nothing to tune")
        for name, values in self.optimize.search.items():
            if name not in settings:
                raise ValueError(_unknown(f"optimize.search.{name}", "setting", settings))
            if name in self.microscope.modes["sted"]:
                raise ValueError(f"`optimize.search.{name}`: pinned by `microscope.modes.sted`")
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
        for name in self.tuned():
            span = self.optimize.search.get(name, settings[name].range)
            if settings[name].scale == "log" and span is not None and float(span[0]) <= 0:
                raise ValueError(
                    f"`optimize.search.{name}`: {list(span)}, must start above 0 for scale: log"
                )

    def _suggestions_fit(self) -> None:
        asked, tuned = self.optimize, self.tuned()
        if len(asked.begin_with) > asked.trials:
            raise ValueError(
                f"`optimize.begin_with`: {len(asked.begin_with)} settings, more than "
                f"`optimize.trials` ({asked.trials})"
            )
        for at, settings in enumerate(asked.begin_with):
            for name, value in settings.items():
                where = f"optimize.begin_with.{at}.{name}"
                if name not in tuned:
                    raise ValueError(_unknown(where, "tuned setting", tuned))
                setting = self.microscope.settings[name]
                if why := setting.refusal(value):
                    raise ValueError(f"`{where}`: {why}")
                span = asked.search.get(name)
                if span is None:
                    continue
                if not self._is_within(name, value, span):
                    raise ValueError(
                        f"`{where}`: {value} is not within `optimize.search.{name}` ({list(span)})"
                    )

    def _is_within(self, name: str, value: Value, span: Sequence[Value]) -> bool:
        if self.microscope.settings[name].kind == "choice":
            return value in span
        return float(span[0]) <= float(value) <= float(span[1])

    def rebuilds(self) -> bool:
        """Whether frames are skipped and rebuilt."""
        return self.plan == "timelapse" and self.timelapse.acquire != "every"

    def tunes(self) -> bool:
        """Whether the interpolator goes on learning from the audits."""
        return self.rebuilds() and self.timelapse.tune and self.timelapse.acquire == "adaptive"

    def reoptimizes(self) -> bool:
        """Whether a time-lapse looks for better settings now and then."""
        return self.plan == "timelapse" and self.timelapse.reoptimize is not None

    def filtered_modes(self) -> tuple[str, ...]:
        """Modes whose frames are filtered."""
        if self.filter is None:
            return ()
        modes = self.microscope.modes
        return self.filter.modes or (("sted",) if "sted" in modes else tuple(modes))

    def adjustable(self) -> list[str]:
        """Names of the settings that a person may change while the run goes on."""
        if self.plan == "optimize":
            return self.tuned()
        if self.plan == "live":
            pinned = self.microscope.modes[self.live.mode]
            return [name for name in self.microscope.settings if name not in pinned]
        return []

    def tuned(self) -> list[str]:
        """Names of the settings that `plan: optimize` tunes."""
        pinned = self.microscope.modes["sted"]
        names = self.optimize.search or self.microscope.settings
        return [name for name in self.microscope.settings if name in names and name not in pinned]


def _unknown(what: str, kind: str, known: Sequence[str] | Mapping[str, Any]) -> str:
    return f"`{what}`: no such {kind}; accepted: {', '.join(known) or 'none'}"


def load(path: Path, overrides: Sequence[str] = ()) -> RunConfig:
    """Read and check a config file.

    Parameters
    ----------
    path
        YAML file.
    overrides
        `key.path=value` pairs laid over it, values read as YAML.

    Raises
    ------
    UserError
        The file cannot be read or is no valid config.
    """
    return read_checked(path, RunConfig, overrides, settle)
