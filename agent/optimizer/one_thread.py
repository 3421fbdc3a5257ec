"""A library that computes on one thread, the same each time."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def one_thread(seed: int) -> Iterator[None]:
    """One thread, torch's generator seeded and put back, and no remarks of the libraries.

    Examples
    --------
    >>> import torch
    >>> with one_thread(seed=1):
    ...     torch.get_num_threads()
    1
    """
    import torch

    threads, level = torch.get_num_threads(), logging.root.manager.disable
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    try:
        with (
            torch.random.fork_rng(devices=[]),
            threadpool_limits(1),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            torch.manual_seed(seed % 2**63)
            yield
    finally:
        logging.disable(level)
        torch.set_num_threads(threads)
