"""Plans: whole behaviours of the microscope, each a page of straight code."""

from agent.plans.live import live
from agent.plans.optimize import measure, optimize
from agent.plans.reoptimize import Reoptimizing
from agent.plans.timelapse import skipping, timelapse

__all__ = ["Reoptimizing", "live", "measure", "optimize", "skipping", "timelapse"]
