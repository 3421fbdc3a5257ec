"""The config: one YAML file, checked before any device is opened.

The models say which keys a run's config has and what fits together; `load` turns a file into a
frozen `RunConfig` or raises `UserError`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from agent.config.focus import FocusConfig
from agent.config.mda import MdaConfig
from agent.config.notify import NotifyConfig
from agent.config.objective_section import Objective
from agent.config.own_code import Own
from agent.config.plan_section import PlanSection, check_edges, check_mode, unknown
from agent.config.plans import DEVICE, LiveConfig, OptimizeConfig, TimelapseConfig
from agent.config.rules import FIRST, LATEST
from devices.config import MicroscopeConfig, Model, Value


class AnalysisConfig(Model):
    """Computed from each frame, beside the acquisition."""

    score: bool = Field(False, description="score every STED frame with the quality network")
    modes: tuple[str, ...] = Field(
        (),
        description="whose frames are scored; those of all modes but confocal and "
        "`optimize.reference` if empty",
    )
    weights: Path | None = Field(None, description="instead of the bundled weights")
    queue: int = Field(8, ge=1, le=1000, description="frames that may wait for the worker")
    timeout_s: float = Field(60.0, gt=0, description="longest wait of a plan for a score")
    on_error: Literal["stop", "skip"] = Field(
        "stop", description="a score that fails: stop the run safely, or give up that trial"
    )


class FilterConfig(Model):
    """A content filter that runs beside the acquisition; raw frames stay as they are."""

    model: str = Field(
        description="name of bundled weights, a .safetensors file, or a model of the BioImage "
        "Model Zoo (.zip, or rdf.yaml). Also MODULE:FUNCTION, or the name of an installed filter"
    )
    frames: Literal["newest", "all"] = Field(
        "newest",
        description="where the filter cannot keep up: the newest frame only, or all, later",
    )
    modes: tuple[str, ...] = Field(
        (),
        description="whose frames are filtered; if empty `optimize.mode` in a search, else sted, "
        "or all where there is no sted",
    )
    device: Literal["auto", "cpu", "cuda"] = DEVICE
    on_error: Literal["skip", "stop"] = Field(
        "skip", description="a frame that fails: continue without it, or stop the run safely"
    )
    timeout_s: float = Field(
        60.0, gt=0, description="longest time for a frame, and longest wait of a plan for it"
    )
    trust: bool = Field(
        False, description="run Python code that comes with a model of the BioImage Model Zoo"
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


PLANS = ("live", "optimize", "timelapse", "mda")
"""Those that come with this package."""
ADJUSTABLE = "adjustable"
"""Key of a run's provenance: what its plan can be told, where the plan is of one's own.

Range or choices by setting. They are read where the plan's code is not loaded.
"""


OBJECTIVE = "objective"
"""Likewise: how its objective is shown."""


class RunConfig(Model):
    """A whole run."""

    own: ClassVar[Mapping[str, Own]] = {}
    """Its plan, engine, objective, filter and interpolator, where they are of one's own."""

    plan: Literal["live", "optimize", "timelapse", "mda"] = Field(
        description="what the run does; the section of that name says how. Also MODULE:FUNCTION, "
        "or the name of an installed plan"
    )
    seed: int = Field(
        0, ge=0, le=2**31 - 1, description="of every random choice that the run makes"
    )
    modules: Path | None = Field(
        None, description="folder that the module of `plan` lies in; the config's if absent"
    )
    runs: Path = Field(Path("runs"), description="folder that new run folders are made in")
    microscope: MicroscopeConfig
    analysis: AnalysisConfig = AnalysisConfig()
    filter: FilterConfig | None = Field(None, description="a content filter, if there is one")
    dose: DoseConfig = DoseConfig()
    faults: FaultConfig = FaultConfig()
    notify: NotifyConfig | None = Field(
        None, description="messages to a phone or a mailbox, if any; needs the extra `notify`"
    )
    focus: FocusConfig | None = Field(
        None, description="how the focus of a time-lapse is found again; it is left if absent"
    )
    live: LiveConfig = LiveConfig()
    optimize: OptimizeConfig = OptimizeConfig()
    timelapse: TimelapseConfig = TimelapseConfig()
    mda: MdaConfig = MdaConfig()
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
        if scope.fields.places is not None and "fields" not in self.timelapse.model_fields_set:
            # Who lists places means all of them.
            lapse = self.timelapse.model_copy(update={"fields": scope.fields.count})
            object.__setattr__(self, "timelapse", lapse)
        for section in ("budget_J", "per_field_J"):
            for laser, joules in getattr(self.dose, section).items():
                if laser not in scope.lasers:
                    raise ValueError(unknown(f"dose.{section}.{laser}", "laser", scope.lasers))
                if joules <= 0:
                    raise ValueError(f"`dose.{section}.{laser}`: {joules:g} J, must be above 0")
        for mode in self.filter.modes if self.filter else ():
            check_mode("filter.modes", mode, scope)
        for mode in self.analysis.modes:
            check_mode("analysis.modes", mode, scope)
        self.section.check(self)
        if self.focus is not None:
            self._check_focus(self.focus)
        if self.plan_is_loaded:
            for name in self.adjustable():
                check_edges(name, self.edges(name) if name in scope.settings else (), scope)
        return self

    def _check_focus(self, focus: FocusConfig) -> None:
        if not self.section.finds_focus():
            raise ValueError(f"`focus`: is for `plan: timelapse`, not {self.plan}")
        planes = self.timelapse.planes()
        if any(plane is not None and plane.absolute for plane in planes):
            raise ValueError(
                "`timelapse.z`: absolute planes do not follow the focus that `focus` finds; "
                "accepted: planes relative to it"
            )
        focus.check(self, self.timelapse.mode)

    @property
    def plan_is_loaded(self) -> bool:
        """Whether its section answers for its plan, whose code may not be loaded."""
        own = self.own.get("plan")
        return own is None or own.make is not None

    @property
    def section(self) -> PlanSection:
        """The section of the run's plan, which answers for it."""
        own = self.own.get("plan")
        found = getattr(self, self.plan if own is None else own.key)
        assert isinstance(found, PlanSection)
        return found

    @property
    def scores(self) -> bool:
        """Whether the frames that a search tunes are scored."""
        return self.optimize.mode in self.scored_modes()

    def scored_modes(self) -> tuple[str, ...]:
        """Modes whose frames are scored."""
        if not self.analysis.score:
            return ()
        modes = self.microscope.modes
        references = "confocal", self.optimize.reference
        return self.analysis.modes or tuple(mode for mode in modes if mode not in references)

    def objective(self) -> Objective | None:
        """How an objective of one's own is shown; None where it is the quality network's score."""
        if (own := self.own.get("objective")) is None:
            return None
        section = self.optimize.own_objective()
        if own.make is None or section is None:
            return Objective.kept(own.key, (self.provenance or {}).get(OBJECTIVE))
        return Objective(own.key, section.unit(), *section.scale())

    def filtered_modes(self) -> tuple[str, ...]:
        """Modes whose frames are filtered."""
        if self.filter is None:
            return ()
        modes = self.microscope.modes
        usual = self.optimize.mode if self.section.searches() else "sted"
        return self.filter.modes or ((usual,) if usual in modes else tuple(modes))

    def adjustable(self) -> list[str]:
        """Names of the settings that a person may change during the run."""
        return self.section.adjustable(self.microscope) if self.plan_is_loaded else [*self._kept()]

    @property
    def listens(self) -> bool:
        """Whether a person can tell its plan anything during the run."""
        told = self.refuses_places(), self.refuses_roi()
        return bool(self.adjustable()) or "" in told

    def refuses_roi(self) -> str:
        """Why its frames cannot become other parts of the camera's; empty where they can."""
        return self.section.refuses_roi()

    def refuses_places(self) -> str:
        """Why the run cannot take more fields; empty where it can."""
        return self.section.refuses_places()

    def edges(self, name: str) -> tuple[Value, ...]:
        """Range or choices of a setting that a person may change."""
        if self.plan_is_loaded:
            return self.section.edges(self.microscope, name)
        return self._kept()[name]

    def _kept(self) -> dict[str, tuple[Value, ...]]:
        """What the plan said at the run's birth, as far as the microscope still allows it."""
        kept = (self.provenance or {}).get(ADJUSTABLE)
        if not isinstance(kept, dict):
            return {}
        found = {}
        for name, edges in kept.items():
            with suppress(ValueError):
                check_edges(name, edges, self.microscope)
                found[name] = tuple(edges)
        return found

    def tuned(self) -> list[str]:
        """Names of the settings that searches tune."""
        return self.optimize.tuned(self.microscope)
