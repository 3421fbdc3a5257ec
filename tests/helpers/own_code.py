"""Code as another person might write it: what a config names by `MODULE:FUNCTION`, as text."""

ENGINE = """
from pydantic import Field

from agent.config import Model
from agent.optimizer.baselines import RandomSearch


class Later(Model):
    shift: int = Field(7, ge=0, description="added to the run's seed")


def later(section: Later, space, run):
    limit = run.optimize.bleaching_limit
    return RandomSearch(space, bleaching_limit=limit, seed=run.seed + section.shift)
"""

FILTER = """
from types import SimpleNamespace

import numpy as np
from pydantic import Field

from agent.config import Model


class Times(Model):
    factor: float = Field(2.0, gt=0, description="counts are multiplied by this")


class Multiplying:
    def __init__(self, factor):
        self.factor = factor

    def weights_hash(self):
        return f"{self.factor:064.0f}"

    def warm_up(self, shape):
        pass

    def restore(self, frame):
        image = self.factor * frame.astype(np.float32)
        noise = np.ones_like(image)
        return SimpleNamespace(image=image, sd=noise, uncertainty=0.5, device="cpu", fault=None)


def times(section: Times, device):
    return Multiplying(section.factor)
"""
