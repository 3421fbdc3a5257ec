"""The restoration network in a process of its own, beside the acquisition.

It reads raw frames from disk and writes filtered ones to disk by itself. No pixels pass between
the two processes, so that however large the frames are, the acquisition's process has no work
with them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from numpy.typing import NDArray

from agent.record.filtered import By
from agent.record.filtered_frames import FilteredFrames
from agent.record.raw import RawFrames
from agent.workers.network_process import NetworkProcess, compute_on_half_the_cores
from agent.workers.restarted_process import RestartedProcess
from agent.workers.shared_process import Start

if TYPE_CHECKING:
    from models.restoration import Restored
    from models.restoration.frame_filter import FrameFilter

Restore = Callable[[], Any]
"""Makes an object with `warm_up`, `restore` and `weights_hash`, as `models.restoration.Restorer`
has; called in the filter's process."""


class Page(Protocol):
    """Shows filtered frames to a person; it is made and called in the filter's process."""

    def show(
        self,
        index: int,
        raw: NDArray[Any],
        filtered: NDArray[Any],
        sd: NDArray[Any],
        uncertainty: float,
        pixel_um: Callable[[], float],
    ) -> None:
        """Show a frame; `pixel_um` is asked for the side of its pixels (µm), where it matters."""
        ...


MakePage = Callable[[Path], Page]
"""Makes it of the run's folder."""


@dataclass(frozen=True, slots=True)
class Filtered:
    """What the ledger keeps of a filtered frame; its pixels are in `filtered.ome.zarr`.

    Parameters
    ----------
    uncertainty
        One number for the frame: see `models.restoration.Restored`.
    device
        Where it was computed.
    ms
        From its raw pixels in memory to the filtered ones in memory (ms).
    fault
        An error on the way, if any.
    """

    uncertainty: float
    device: str
    ms: float
    fault: str | None


def open_model(model: str, device: str, pixel_size_nm: float, trust: bool) -> FrameFilter:
    """The network of a config's `filter:`; parameters as of `models.restoration.open_filter`."""
    from models.restoration import open_filter

    compute_on_half_the_cores()
    return open_filter(model, device, pixel_size_nm=pixel_size_nm, trust=trust)


class FilterProcess(NetworkProcess):
    """Filters frames of a run in another process.

    Parameters
    ----------
    restore
        Makes the network, in the other process.
    folder
        The run's folder.
    by
        What filters which of its frames.
    pixel_size_um
        Of its images.
    page
        Shows the frames; None: nothing does.
    start
        Starts the process.
    """

    def __init__(
        self,
        restore: Restore,
        folder: Path,
        by: By,
        *,
        pixel_size_um: float,
        page: MakePage | None = None,
        start: Start = RestartedProcess,
    ) -> None:
        self._folder, self._pixel_size_um = folder, pixel_size_um
        super().__init__(start, _Filter, restore, folder, by, pixel_size_um, page)

    def warm_up(self, shape: tuple[int, int]) -> None:
        """Do the work that only the first frame of a shape needs."""
        self._process.warm_up(shape)

    def restore(self, index: int, timeout_s: float) -> Filtered:
        """Filter a frame that is on disk; errors are those of `RestartedProcess.work`."""
        done: Filtered = self._process.work("filter", index, timeout_s=timeout_s)
        return done

    def erase(self, index: int) -> None:
        """Take a frame back that was filtered too late to count."""
        FilteredFrames(self._folder, pixel_size_um=self._pixel_size_um).erase(index)


class _Filter:
    """What lives in the other process."""

    def __init__(
        self, restore: Restore, folder: Path, by: By, pixel_size_um: float, page: MakePage | None
    ) -> None:
        self._restorer = restore()
        self._raw = RawFrames(folder, pixel_size_um=pixel_size_um)
        self._filtered = FilteredFrames(
            folder,
            pixel_size_um=pixel_size_um,
            raw=self._raw,
            by=by,
            weights_sha256=self.weights_hash(),
        )
        self._page = None if page is None else page(folder)

    def weights_hash(self) -> str:
        return str(self._restorer.weights_hash())

    def warm_up(self, shape: tuple[int, int]) -> None:
        self._restorer.warm_up(shape)

    def filter(self, index: int) -> Filtered:
        raw = self._raw.read(index)
        started = time.perf_counter()
        done: Restored = self._restorer.restore(raw)
        ms = 1e3 * (time.perf_counter() - started)
        pixel_um = partial(self._raw.pixel_um, index)
        self._filtered.put(index, done.image, done.sd, pixel_um)
        if self._page is not None:
            with suppress(Exception):  # a drawing that fails must not cost the frame
                unsure = float(done.uncertainty)
                self._page.show(index, raw, done.image, done.sd, unsure, pixel_um)
        return Filtered(float(done.uncertainty), done.device, ms, done.fault)
