"""The interpolators by name."""

from __future__ import annotations

from typing import Any

from models.interpolation.dain import Dain
from models.interpolation.flow import FlowInterpolator
from models.interpolation.interface import Interpolator
from models.interpolation.zs import ZoomingSlowMo
from models.refusals import refused

NETWORKS: dict[str, type[Interpolator]] = {
    "flow": FlowInterpolator,
    "zs": ZoomingSlowMo,
    "dain": Dain,
}


def build(architecture: dict[str, Any]) -> Interpolator:
    """Make a network from the `architecture` of its model card or its recipe.

    Parameters
    ----------
    architecture
        `network`, a key of `NETWORKS`, and parameters of its class.

    Raises
    ------
    ValueError
        There is no such network or parameter, or a value cannot be.

    Examples
    --------
    >>> network = build({"network": "flow", "widths": [4, 8], "synthesis": [4, 8]})
    >>> network.architecture["network"], network.architecture["widths"]
    ('flow', [4, 8])
    """
    sizes = dict(architecture)
    name = sizes.pop("network", None)
    if name not in NETWORKS:
        raise ValueError(f"network: {refused(name, NETWORKS)}")
    made = NETWORKS[name]
    try:
        return made(**sizes)
    except TypeError:
        known = [key for key in made().architecture if key != "network"]
        unknown = sorted(set(sizes) - set(known))
        if not unknown:
            raise
        raise ValueError(
            f"architecture: found {', '.join(unknown)}; accepted with {name}: {', '.join(known)}"
        ) from None
