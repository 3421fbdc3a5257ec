"""The processes beside a session: what scores, filters, rebuilds and learns from its frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from agent.config import RunConfig
from agent.config.data import as_data
from agent.config.own_code import FILTER, INTERPOLATOR, Part
from agent.config.reading import located
from agent.plans.adaptive.frame_noise import Detector
from agent.record.filtered import By
from agent.record.layout import Layout
from agent.workers.filter_process import FilterProcess, MakePage, Restore, open_model
from agent.workers.own_code import open_own
from agent.workers.rebuild_process import Interpolate, RebuildProcess, Stacks, open_interpolation
from agent.workers.restarted_process import RestartedProcess
from agent.workers.score import Compute
from agent.workers.score_process import ScorerProcess
from agent.workers.shared_process import SharedProcess, Start
from agent.workers.tune_process import MakeTuner, TuneProcess, open_tuner
from devices.fields import grid


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
        _filtering(config, source, folder, restore, page, start) as filters,
        _rebuilding(config, source, folder, interpolate, start) as rebuilds,
        _tuning(config, folder, tuner) as tunes,
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


def _made(
    config: RunConfig, part: Part, source: Path, ours: Callable[..., Any], *given: Any
) -> Callable[[], Any]:
    """What makes the config's filter or interpolator in its process."""
    asked = config.filter if part is FILTER else config.timelapse
    assert asked is not None
    if (own := config.own.get(part.word)) is None:
        return partial(ours, asked.model, asked.device, *given)
    folder = (config.modules or source.parent).absolute()
    section = as_data(getattr(asked, own.key))
    return partial(open_own, part, own.name, folder, section, asked.device)


@contextmanager
def _filtering(
    config: RunConfig,
    source: Path,
    folder: Path,
    restore: Restore | None,
    page: MakePage,
    start: Start,
) -> Iterator[FilterProcess | None]:
    """What filters frames while the context lasts."""
    by = By.of(config)
    if config.filter is None or by is None:
        yield None
        return
    pixel_size_nm = config.microscope.pixel_size_nm
    ours = _made(config, FILTER, source, open_model, pixel_size_nm, config.filter.trust)
    try:
        process = FilterProcess(
            restore or ours,
            folder,
            by,
            pixel_size_um=pixel_size_nm * 1e-3,
            page=page,
            start=start,
        )
    except (OSError, ValueError) as error:
        raise located(source, ("filter", "model"), str(error)) from None
    try:
        yield process
    finally:
        process.close()


@contextmanager
def _rebuilding(
    config: RunConfig,
    source: Path,
    folder: Path,
    interpolate: Interpolate | None,
    start: Start,
) -> Iterator[RebuildProcess | None]:
    """What rebuilds frames while the context lasts."""
    if not config.section.rebuilds():
        yield None
        return
    asked = config.timelapse
    fields = [field.index for field in grid(config.microscope.fields)[: asked.fields]]
    try:
        process = RebuildProcess(
            interpolate or _made(config, INTERPOLATOR, source, open_interpolation),
            folder,
            fields,
            asked.frames,
            Detector(**asked.detector.model_dump()),
            pixel_size_um=config.microscope.pixel_size_nm * 1e-3,
            interval_s=asked.interval_s,
            stacks=_stacks(config),
            start=start,
        )
    except (OSError, ValueError) as error:
        raise located(source, ("timelapse", "model"), str(error)) from None
    try:
        yield process
    finally:
        process.close()


@contextmanager
def _tuning(
    config: RunConfig, folder: Path, tuner: MakeTuner | None
) -> Iterator[TuneProcess | None]:
    """What tunes the interpolator while the context lasts."""
    if not config.section.tunes():
        yield None
        return
    detector = Detector(**config.timelapse.detector.model_dump())
    pixel_size_um = config.microscope.pixel_size_nm * 1e-3
    process = TuneProcess(tuner or open_tuner, folder, detector, pixel_size_um)
    try:
        yield process
    finally:
        process.kill()


def _stacks(config: RunConfig) -> Stacks | None:
    """How rebuilt frames are stored where a time point has several of a field."""
    asked = config.timelapse
    if asked.frames_of_a_field() == 1:
        return None
    mode, plane = asked.decisive()
    return Layout.of(config), (asked.modes().index(mode), plane or 0)
