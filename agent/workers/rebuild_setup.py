"""What a session needs to rebuild skipped frames: a model, its process, and the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from agent.config import RunConfig
from agent.config.reading import located
from agent.plan import Rebuild
from agent.plans.adaptive.error import Detector
from agent.record.journal import Journal
from agent.record.recording import REBUILD, rebuild_as_dict
from agent.workers.rebuild_process import Done, Interpolate, RebuildProcess, open_interpolation
from agent.workers.restarted import RestartedProcess
from agent.workers.shared_process import Start
from devices.fields import grid


def check_interpolator(config: RunConfig, source: Path) -> None:
    """Read the weights of the config's interpolator, before anything is opened for nothing.

    Raises
    ------
    UserError
        There are none of that name, or they cannot be used here.
    """
    if not config.section.rebuilds():
        return
    from models.interpolation import read_interpolator

    try:
        read_interpolator(config.timelapse.model)
    except (OSError, ValueError) as error:
        raise located(source, ("timelapse", "model"), str(error)) from None
    if config.timelapse.device == "cuda":
        from torch.cuda import is_available

        if not is_available():
            why = "'cuda', but torch finds no CUDA device here; accepted: auto or cpu"
            raise located(source, ("timelapse", "device"), why)


@contextmanager
def rebuilding_process(
    config: RunConfig,
    source: Path,
    folder: Path,
    interpolate: Interpolate | None,
    start: Start = RestartedProcess,
) -> Iterator[RebuildProcess | None]:
    """What rebuilds frames while the context lasts."""
    if not config.section.rebuilds():
        yield None
        return
    asked = config.timelapse
    fields = [field.index for field in grid(config.microscope.fields)[: asked.fields]]
    try:
        process = RebuildProcess(
            interpolate or partial(open_interpolation, asked.model, asked.device),
            folder,
            fields,
            asked.frames,
            Detector(**asked.detector.model_dump()),
            pixel_size_um=config.microscope.pixel_size_nm * 1e-3,
            interval_s=asked.interval_s,
            start=start,
        )
    except (OSError, ValueError) as error:
        raise located(source, ("timelapse", "model"), str(error)) from None
    try:
        yield process
    finally:
        process.close()


def rebuild_recorder(
    journal: Journal,
) -> Callable[[int | None, Rebuild | None, Done | str], None]:
    """What writes down what came of requests to rebuild frames; a failure never ends the run."""

    def record(number: int | None, request: Rebuild | None, outcome: Done | str) -> None:
        index = request.after[0] if request else None
        failed = outcome if isinstance(outcome, str) else None
        said = outcome.fault if isinstance(outcome, Done) else None
        if failed is not None:
            what = f"rebuilding frames before frame {index}" if request else "marking frames"
            said = f"{what} failed: {failed}"
        if said is not None:
            journal.fault(said, "go on", index, part=REBUILD)
        if request is None:
            return
        done = outcome if isinstance(outcome, Done) else Done((), (), "", 0.0, "")
        row = {
            "number": number,
            **rebuild_as_dict(request),
            "uncertainty": list(done.uncertainty),
            "errors": [None if pair is None else list(pair) for pair in done.errors],
            "device": done.device,
            "ms": round(done.ms, 3),
            "weights": done.weights,
            "failed": failed,
        }
        journal.add("rebuilt", row, index)

    return record
