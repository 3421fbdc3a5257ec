"""One YAML file, checked before any device is opened."""

from agent.config.loading import load
from agent.config.objective_section import ObjectiveSection
from agent.config.plan_section import PlanSection, Whole
from agent.config.schema import RunConfig
from devices.config import Model

__all__ = ["Model", "ObjectiveSection", "PlanSection", "RunConfig", "Whole", "load"]
