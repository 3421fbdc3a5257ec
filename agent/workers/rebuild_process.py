"""The interpolator in a process of its own, beside the acquisition.

Like the filter's it reads raw frames from disk and writes rebuilt ones to disk by itself. It also
copies measured frames, so that the reconstructed movie has one writer.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.plan import Rebuild
from agent.plans.adaptive.error import UNKNOWN
from agent.plans.adaptive.frame_noise import Detector
from agent.record.layout import Layout
from agent.record.raw import RawFrames
from agent.record.reconstructed import ReconstructedStore
from agent.record.reconstructed_stacks import ReconstructedStacks, Series
from agent.workers.network_process import NetworkProcess, compute_on_half_the_cores
from agent.workers.restarted_process import RestartedProcess
from agent.workers.shared_process import Start

if TYPE_CHECKING:
    from models.interpolation import Interpolation

Stacks = tuple[Layout, Series]
"""Layout of the raw frames, and the channel and plane that decide."""
Interpolate = Callable[[], Any]
"""Makes an object with `between` and `weights_hash`, as `models.interpolation.Interpolation` has;
called in the interpolator's process."""


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of an interpolator on disk.

    Parameters
    ----------
    file
        With its card beside it.
    sha256
        That they must have.
    """

    file: Path
    sha256: str


@dataclass(frozen=True, slots=True)
class Done:
    """What the ledger keeps of a `Rebuild`; its pixels are in `reconstructed.ome.zarr`.

    Parameters
    ----------
    uncertainty, errors
        See `agent.plan.Rebuilt`.
    device
        Where it was computed.
    ms
        For all its frames, reading and writing included (ms).
    weights
        SHA-256 of the weights that did it.
    fault
        An error on the way that was got around, if any.
    """

    uncertainty: tuple[float, ...]
    errors: tuple[tuple[float, float] | None, ...]
    device: str
    ms: float
    weights: str
    fault: str | None = None


def open_interpolation(model: str, device: str) -> Interpolation:
    """The interpolator of a config's `timelapse:`."""
    from models.interpolation import Interpolation

    compute_on_half_the_cores()
    return Interpolation(model, device)


class RebuildProcess(NetworkProcess):
    """Rebuilds frames of a run in another process.

    Parameters
    ----------
    interpolate
        Makes the interpolator, in the other process.
    folder
        The run's folder.
    fields, points
        Numbers of the fields that are looked at, and how many time points there are.
    detector
        What the noise of frames is like.
    pixel_size_um, interval_s
        Of the run's images.
    stacks
        Their layout where a time point has several frames of a field, and the channel and plane
        that decide; None where it has one.
    start
        Starts the process.
    """

    def __init__(
        self,
        interpolate: Interpolate,
        folder: Path,
        fields: Sequence[int],
        points: int,
        detector: Detector,
        *,
        pixel_size_um: float,
        interval_s: float = 0.0,
        stacks: Stacks | None = None,
        start: Start = RestartedProcess,
    ) -> None:
        made_of = (interpolate, folder, fields, points, detector, pixel_size_um, interval_s, stacks)
        super().__init__(start, _Rebuilder, *made_of)

    def rebuild(self, request: Rebuild, timeout_s: float) -> Done:
        """Rebuild the requested frames; errors are those of `RestartedProcess.work`."""
        done: Done = self._process.work("rebuild", request, timeout_s=timeout_s)
        return done

    def keep(self, marks: Sequence[Mapping[str, Any]], timeout_s: float) -> None:
        """Copy the measured ones of some frames, and mark them all; errors likewise."""
        self._process.work("keep", [dict(mark) for mark in marks], timeout_s=timeout_s)

    def finish(self, timeout_s: float) -> None:
        """Put all marks where other programs find them; errors likewise."""
        self._process.work("finish", timeout_s=timeout_s)

    def adopt(self, weights: Weights, timeout_s: float) -> None:
        """Rebuild with other weights from now on; errors likewise, and where they do not fit."""
        self._process.change("adopt", weights, timeout_s=timeout_s)


class _Rebuilder:
    """What lives in the other process."""

    def __init__(
        self,
        interpolate: Interpolate,
        folder: Path,
        fields: Sequence[int],
        points: int,
        detector: Detector,
        pixel_size_um: float,
        interval_s: float,
        stacks: Stacks | None,
    ) -> None:
        self._interpolation = interpolate()
        self._detector = detector
        self._raw = RawFrames(folder, pixel_size_um=pixel_size_um)
        self._movie: ReconstructedStore | ReconstructedStacks
        if stacks is None:
            self._movie = ReconstructedStore(
                folder, fields, points, pixel_size_um=pixel_size_um, interval_s=interval_s
            )
        else:
            self._movie = ReconstructedStacks(
                folder, fields, points, *stacks, pixel_size_um=pixel_size_um
            )

    def weights_hash(self) -> str:
        return str(self._interpolation.weights_hash())

    def adopt(self, weights: Weights) -> None:
        from models.interpolation import Interpolation

        found = Interpolation(weights.file, getattr(self._interpolation, "device", "cpu"))
        if found.weights_hash() != weights.sha256:
            raise ValueError(
                f"{weights.file}: sha256 is {found.weights_hash()[:12]}…, the ledger says"
                f" {weights.sha256[:12]}…"
            )
        self._interpolation = found

    def rebuild(self, request: Rebuild) -> Done:
        from agent.plans.adaptive.alignment import audit, between
        from models.interpolation.normalization import as_type

        started = time.perf_counter()
        first, second = (self._raw.read(index) for index, _ in (request.before, request.after))
        self._movie.ask_pixel(partial(self._raw.pixel_um, request.before[0]))

        start, end = request.before[1], request.after[1]
        pair = self._interpolation, first, second

        uncertainty, errors, faults = [], [], []
        for point in request.points:
            made = between(*pair, (point - start) / (end - start), request.drift_px)
            pixels = as_type(made.image, first.dtype)
            self._movie.put(point, request.field, pixels, request.series)
            uncertainty.append(made.uncertainty)
            faults.append(made.fault)
        for index, point in request.audits:
            t, measured = (point - start) / (end - start), self._raw.read(index)
            made, found = audit(*pair, t, request.drift_px, measured, self._detector)
            uncertainty.append(made.uncertainty)
            faults.append(made.fault)
            errors.append((found.value, found.sd) if found is not UNKNOWN else None)
        device = str(getattr(self._interpolation, "device", "cpu"))
        ms = 1e3 * (time.perf_counter() - started)
        fault = "; ".join(filter(None, faults)) or None
        return Done(tuple(uncertainty), tuple(errors), device, ms, self.weights_hash(), fault)

    def keep(self, marks: Sequence[Mapping[str, Any]]) -> None:
        found = []
        for mark in marks:
            point, field = mark["point"], mark["field"]
            series = (mark["channel"], mark["plane"]) if "channel" in mark else None
            if mark["frame"] is not None and not self._movie.has(point, field, series):
                self._movie.ask_pixel(partial(self._raw.pixel_um, mark["frame"]))
                self._movie.put(point, field, self._raw.read(mark["frame"]), series)
            there = self._movie.has(point, field, series)
            found.append({**mark, "kind": mark["kind"] if there else "missing"})
        self._movie.mark(found)

    def finish(self) -> None:
        self._movie.settle()
