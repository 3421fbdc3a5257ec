"""Code as another person might write it: what a config names by `MODULE:FUNCTION`, as text."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

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

INTERPOLATOR = """
from types import SimpleNamespace

import numpy as np
from pydantic import Field

from agent.config import Model


class Fade(Model):
    sharpness: float = Field(1.0, gt=0, description="1: linear; above: more of the nearer frame")


class Fading:
    device = "cpu"

    def __init__(self, sharpness):
        self.sharpness = sharpness

    def weights_hash(self):
        return f"{self.sharpness:064.0f}"

    def between(self, before, after, t):
        first, second = before.astype(np.float32), after.astype(np.float32)
        near, far = (1 - t) ** self.sharpness, t**self.sharpness
        image = (near * first + far * second) / (near + far)
        away = float(np.abs(first - second).mean())
        return SimpleNamespace(image=image, uncertainty=away / max(float(image.std()), 1e-6))


def fade(section: Fade, device):
    return Fading(section.sharpness)
"""


def install(project: Path, site: Path) -> str:
    """Make a project's entry points known, as an installer would; its version.

    Whoever calls this puts `sys.path` back.
    """
    said = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    name, version = said["name"], said["version"]
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    metadata = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    (info / "METADATA").write_text(metadata, encoding="utf-8")
    points = [
        f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in found.items())
        for group, found in said["entry-points"].items()
    ]
    (info / "entry_points.txt").write_text("\n".join(points), encoding="utf-8")
    sys.path[:0] = [str(info.parent), str(project)]
    return str(version)
