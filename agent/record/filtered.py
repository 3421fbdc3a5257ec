"""Filtered frames of a run, beside the raw ones: an OME-Zarr image with two channels.

`filtered.ome.zarr` is an NGFF 0.5 image with the axes t, c, y, x, float32 in the units of the raw
frames; time point i is frame i of the ledger. Channel 0 is the filtered frame,
channel 1 its standard deviation per pixel. Frames that were not filtered are NaN; the ledger says
which were.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.record.channels import ChannelStore

FOLDER = "filtered.ome.zarr"
CHANNELS = ("filtered", "sd")


class FilteredStore(ChannelStore):
    """Filtered frames on disk, each with its standard deviation.

    Parameters
    ----------
    folder
        The run's folder; an image that is there already is continued.
    pixel_size_um
        Side of a pixel on the sample (µm).
    interval_s
        Time between frames where it is fixed (s); otherwise the time axis counts frames.
    """

    name = FOLDER
    channels = CHANNELS

    def put(self, index: int, image: NDArray[Any], sd: NDArray[Any]) -> None:
        """Put a filtered frame (rows × columns) on disk; both channels or none of them.

        Raises
        ------
        ValueError
            Its shape is not that of the frames before.
        OSError
            The disk refused.
        """
        self.write(index, np.stack([image, sd]).astype(np.float32, copy=False))

    def erase(self, index: int) -> None:
        """Take a filtered frame back; nothing happens where there is none."""
        self._chunk(index, len(("c", "y", "x"))).unlink(missing_ok=True)
