"""What the processes that keep a network for a run have in common."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from agent.workers.shared_process import Start


class NetworkProcess:
    """Keeps a network in another process.

    Parameters
    ----------
    start
        Starts the process.
    make, args
        Make the object that has the network, in the other process.

    Attributes
    ----------
    weights_hash
        SHA-256 of the weights, for the run's provenance.

    Raises
    ------
    OSError, ValueError
        The weights cannot be used.
    """

    def __init__(self, start: Start, make: Callable[..., Any], *args: Any) -> None:
        self._process = start(make, *args)
        self.weights_hash: str = self._process.ask("weights_hash")

    @property
    def pid(self) -> int | None:
        """Number of the process."""
        return self._process.pid

    @property
    def over(self) -> bool:
        """Whether it has ended so often that it is not started again."""
        return self._process.over

    def close(self) -> None:
        """End the process; work under way is finished first."""
        self._process.close()

    def kill(self) -> None:
        """End the process now."""
        self._process.kill()


def compute_on_half_the_cores() -> None:
    """Leave the other cores to the acquisition; for the beginning of the other process."""
    import torch

    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
