"""One YAML file, checked before any device is opened."""

from agent.config.plan_section import PlanSection, Whole
from agent.config.schema import RunConfig, load

__all__ = ["PlanSection", "RunConfig", "Whole", "load"]
