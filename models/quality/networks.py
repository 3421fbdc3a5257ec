"""The networks by name."""

from __future__ import annotations

from typing import Any

from models.quality.network import RatingNet
from models.quality.robitaille import RobitailleNet
from models.quality.spectral import QualityNet
from models.refusals import refused

NETWORKS = {"stedfast": QualityNet, "robitaille": RobitailleNet}


def build(architecture: dict[str, Any]) -> RatingNet:
    """Make a network from the `architecture` of its model card; its key `network` is its name.

    Raises
    ------
    ValueError, TypeError
        There is no such network, or it takes other parameters.

    Examples
    --------
    >>> type(build({"network": "stedfast", "heads": 2})).__name__
    'QualityNet'
    """
    rest = dict(architecture)
    name = rest.pop("network", None)
    if name not in NETWORKS:
        raise ValueError(f"network: {refused(name, NETWORKS)}")
    network: RatingNet = NETWORKS[name](**rest)
    return network
