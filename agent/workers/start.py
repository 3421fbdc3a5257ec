"""The processes beside a session: what scores, filters, rebuilds and learns from its frames."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.config import RunConfig
from agent.config.reading import located
from agent.workers.filter_process import FilterProcess, MakePage, Restore
from agent.workers.filter_setup import filtering_process
from agent.workers.rebuild_process import Interpolate, RebuildProcess
from agent.workers.rebuild_setup import rebuilding_process
from agent.workers.restarted import RestartedProcess
from agent.workers.score import Compute
from agent.workers.score_process import ScorerProcess
from agent.workers.shared_process import SharedProcess, Start
from agent.workers.tune_process import MakeTuner, TuneProcess
from agent.workers.tune_setup import tuning_process


@dataclass(frozen=True, slots=True)
class Processes:
    """What works beside the loop; None where the config asks for none."""

    scorer: Compute | None
    filters: FilterProcess | None
    rebuilds: RebuildProcess | None
    tunes: TuneProcess | None
    weights: dict[str, str]
    """Hashes of the weights in use."""


@contextmanager
def processes(
    config: RunConfig,
    source: Path,
    folder: Path,
    *,
    scorer: Compute | None,
    restore: Restore | None,
    interpolate: Interpolate | None,
    tuner: MakeTuner | None,
    page: MakePage,
) -> Iterator[Processes]:
    """Start what the config asks for, and end it with the context.

    Parameters
    ----------
    config, source, folder
        What to do, the file that says so, and the run's folder.
    scorer, restore, interpolate, tuner
        Instead of the config's networks; see `agent.run.Session`.
    page
        Shows filtered frames.

    Raises
    ------
    UserError
        Weights of the config cannot be used.
    """
    device = gpu_of(config, own_filter=restore is None, own_interpolator=interpolate is None)
    start: Start = RestartedProcess if device is None else SharedProcess().start
    with (
        _scoring(config, source, scorer, device or "cpu", start) as (scores, weights),
        filtering_process(config, source, folder, restore, page, start) as filters,
        rebuilding_process(config, source, folder, interpolate, start) as rebuilds,
        tuning_process(config, folder, tuner) as tunes,
    ):
        if filters is not None:
            weights = {**weights, "filter": filters.weights_hash}
        if rebuilds is not None:
            weights = {**weights, "interpolator": rebuilds.weights_hash}
        yield Processes(scores, filters, rebuilds, tunes, weights)


def gpu_of(config: RunConfig, *, own_filter: bool, own_interpolator: bool) -> str | None:
    """The GPU that networks of the config would use, which one process then owns.

    Where none is for a GPU, each network has a process, and cores, of its own.
    """
    asked = []
    if config.filter is not None and own_filter:
        asked.append(config.filter.device)
    if config.section.rebuilds() and own_interpolator:
        asked.append(config.timelapse.device)
    if all(device == "cpu" for device in asked):
        return None
    from models.devices import gpu

    try:
        return next((found for device in asked if (found := gpu(device)) is not None), None)
    except ValueError:  # of a device that is not there, its own process tells
        return None


@contextmanager
def _scoring(
    config: RunConfig, source: Path, scorer: Compute | None, device: str, start: Start
) -> Iterator[tuple[Compute | None, dict[str, str]]]:
    """What scores frames while the context lasts, and the hashes of its weights."""
    if not config.analysis.score or scorer is not None:
        yield (scorer if config.analysis.score else None), {}
        return
    weights = config.analysis.weights
    try:
        process = ScorerProcess(
            source.parent / weights if weights else None,
            config.microscope.pixel_size_nm,
            timeout_s=config.analysis.timeout_s,
            device=device,
            start=start,
        )
    except (OSError, ValueError) as error:
        raise located(source, ("analysis", "weights"), str(error)) from None
    try:
        yield process, {"quality": process.weights_hash}
    finally:
        process.close()
