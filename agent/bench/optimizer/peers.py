"""Other engines that the optimizer is measured against."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.bench.optimizer.lin_ts import LinTSDiag
from agent.bench.optimizer.thompson import FixedThompson
from agent.optimizer.base import BaseEngine
from agent.optimizer.baselines import RandomSearch, SobolSearch
from agent.optimizer.botorch import BotorchOptimizer
from agent.optimizer.skopt import SkoptOptimizer
from agent.optimizer.space import Space

Array = NDArray[np.float64]
INITIAL = 8
"""Space-filling trials of each peer; chosen."""
PEERS = (
    "random",
    "sobol",
    "skopt gp_hedge",
    "skopt EI",
    "Thompson, fixed kernel",
    "LinTSDiag",
    "botorch qLogNEI",
    "botorch qLogNEI constrained",
    "botorch Thompson",
    "botorch qLogNEHVI",
)
REFERENCE = (0.0, 0.4)
"""Score and bleaching from which hypervolumes are measured: twice the limit is of no use."""
_MODELS: dict[str, tuple[type[Any], Mapping[str, Any]]] = {
    "skopt gp_hedge": (SkoptOptimizer, {"acquisition": "gp_hedge"}),
    "skopt EI": (SkoptOptimizer, {"acquisition": "EI"}),
    "Thompson, fixed kernel": (FixedThompson, {}),
    "LinTSDiag": (LinTSDiag, {}),
    "botorch qLogNEI": (BotorchOptimizer, {"acquisition": "qLogNEI", "constrained": False}),
    "botorch qLogNEI constrained": (BotorchOptimizer, {"acquisition": "qLogNEI"}),
    "botorch Thompson": (BotorchOptimizer, {"acquisition": "thompson"}),
    "botorch qLogNEHVI": (
        BotorchOptimizer,
        {"acquisition": "qLogNEHVI", "reference": REFERENCE},
    ),
}


def make_peer(name: str, space: Space, limit: float, seed: int, trials: int) -> BaseEngine:
    """One of `PEERS`; those with a model start with eight space-filling trials.

    Raises
    ------
    ValueError
        No peer has this name, or its extra is not installed.
    """
    if name == "random":
        return RandomSearch(space, bleaching_limit=limit, seed=seed)
    if name == "sobol":
        return SobolSearch(space, bleaching_limit=limit, seed=seed, trials=trials)
    if name not in _MODELS:
        raise ValueError(f"no peer {name!r}; there are {', '.join(PEERS)}")
    engine, options = _MODELS[name]
    peer: BaseEngine = engine(space, bleaching_limit=limit, initial=INITIAL, seed=seed, **options)
    return peer
