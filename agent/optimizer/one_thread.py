"""A library that computes on one thread, the same each time."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import lru_cache
from typing import Any

from threadpoolctl import ThreadpoolController


def on_one_thread() -> AbstractContextManager[Any]:
    """Libraries that compute on one thread, as long as the context lasts.

    Which libraries have threads takes milliseconds to find out. They come with modules, so that it
    is found out again only after an import.

    Examples
    --------
    >>> with on_one_thread():
    ...     max((pool["num_threads"] for pool in ThreadpoolController().info()), default=1)
    1
    """
    alone: AbstractContextManager[Any] = _pools(len(sys.modules)).limit(limits=1)
    return alone


@lru_cache(maxsize=1)
def _pools(modules: int) -> ThreadpoolController:
    return ThreadpoolController()


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
            on_one_thread(),
            warnings.catch_warnings(),
        ):
            warnings.simplefilter("ignore")
            torch.manual_seed(seed % 2**63)
            yield
    finally:
        logging.disable(level)
        torch.set_num_threads(threads)
