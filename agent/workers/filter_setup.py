"""What a session needs to filter frames: a model that is there, its process, and the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Literal

from agent.config import RunConfig
from agent.config.data import as_data
from agent.config.reading import located
from agent.config.schema import FilterConfig
from agent.plan import AnalysisError
from agent.record.journal import Journal
from agent.record.recording import FILTER
from agent.workers.filter_process import (
    Filtered,
    FilterProcess,
    MakePage,
    Restore,
    open_own,
    open_restorer,
)
from agent.workers.restarted import RestartedProcess
from agent.workers.shared_process import Start


def check_filter(config: RunConfig, source: Path) -> None:
    """Read the weights of the config's filter, before anything is opened for nothing.

    Raises
    ------
    UserError
        There is none of that name, or it cannot be used here.
    """
    if config.filter is None:
        return
    if "filter" not in config.own:
        from models.restoration import read_restoration

        try:
            read_restoration(config.filter.model)
        except (OSError, ValueError) as error:
            raise located(source, ("filter", "model"), str(error)) from None
    if config.filter.device == "cuda":
        from torch.cuda import is_available

        if not is_available():
            why = "'cuda', but torch finds no CUDA device here; accepted: auto or cpu"
            raise located(source, ("filter", "device"), why)


def _restore(config: RunConfig, asked: FilterConfig, source: Path) -> Restore:
    if (own := config.own.get("filter")) is None:
        return partial(open_restorer, asked.model, asked.device)
    folder = (config.modules or source.parent).absolute()
    section = as_data(getattr(asked, own.key))
    return partial(open_own, own.name, folder, section, asked.device)


@contextmanager
def filtering_process(
    config: RunConfig,
    source: Path,
    folder: Path,
    restore: Restore | None,
    page: MakePage,
    start: Start = RestartedProcess,
) -> Iterator[FilterProcess | None]:
    """What filters frames while the context lasts."""
    if config.filter is None:
        yield None
        return
    asked = config.filter
    try:
        process = FilterProcess(
            restore or _restore(config, asked, source),
            folder,
            pixel_size_um=config.microscope.pixel_size_nm * 1e-3,
            page=page,
            start=start,
        )
    except (OSError, ValueError) as error:
        raise located(source, ("filter", "model"), str(error)) from None
    try:
        yield process
    finally:
        process.close()


def recorder(
    journal: Journal, policy: Literal["skip", "stop"]
) -> Callable[[int | None, Filtered | AnalysisError], None]:
    """What writes outcomes of the filter down.

    Parameters
    ----------
    journal
        Where to.
    policy
        What a failure leads to: the frame goes without, or an `AnalysisError` ends the run.
    """

    def record(index: int | None, outcome: Filtered | AnalysisError) -> None:
        if isinstance(outcome, AnalysisError):
            journal.fault(str(outcome), policy, index, part=FILTER)
            if policy == "stop":
                raise outcome
            return
        if outcome.fault is not None:
            journal.fault(outcome.fault, "go on", index, part=FILTER)
        row = {
            "uncertainty": outcome.uncertainty,
            "device": outcome.device,
            "ms": round(outcome.ms, 3),
        }
        journal.add("filtered", row, index)

    return record
