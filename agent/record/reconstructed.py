"""The whole movie of a time-lapse that skips: measured frames, and rebuilt ones in between.

`reconstructed.ome.zarr` is an NGFF 0.5 image with the axes t, c, y, x in the type of the raw
frames. Time point i is that of the config, whether it was acquired or skipped; the channels are the
fields. The scale of t is the interval of the config until a session ends, then the measured one.
Measured frames are the raw ones, bit for bit. Which are which says `stedfast` among the attributes
of the group: for each frame `point` and `field`; `kind`, which is `measured`, `audited` (measured,
and a rebuilt one was compared with it), `reconstructed` or `missing`; and `expected_error`, the
relative root-mean-square error that is expected of a rebuilt frame. Frames that are not there yet
read as 0.

All these marks stand in one file, which is rewritten at each tenth part more of them, and at the
end of a session; the latest are beside it in `marks.jsonl` until then, one a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agent.record.channels import ChannelStore
from agent.record.marks import MarkedImage

FOLDER = "reconstructed.ome.zarr"


class ReconstructedStore(ChannelStore, MarkedImage):
    """Frames on disk, by time point and field.

    Parameters
    ----------
    folder
        The run's folder; an image that is there already is continued.
    fields
        Numbers of the fields, one channel each.
    points
        How many time points there will be.
    pixel_size_um
        Side of a pixel on the sample (µm).
    interval_s
        Time between time points (s).
    """

    name = FOLDER
    apart = True

    def __init__(
        self,
        folder: Path,
        fields: Sequence[int],
        points: int,
        *,
        pixel_size_um: float,
        interval_s: float = 0.0,
    ) -> None:
        super().__init__(folder, pixel_size_um=pixel_size_um, interval_s=interval_s)
        self._fields, self.length = list(fields), points
        self.channels = [f"field {field}" for field in fields]

    def put(self, point: int, field: int, pixels: NDArray[Any], series: object = None) -> None:
        """Put the frame (rows × columns) of a time point and field on disk.

        Fields have one series here.

        Raises
        ------
        ValueError
            Its shape or type is not that of the frames before.
        OSError
            The disk refused.
        """
        if self._array is None:
            self._create(np.broadcast_to(pixels, (len(self.channels), *pixels.shape)))
        whole, dtype = self._array.shape[1:], self._array.dtype
        if pixels.shape != whole[1:] or pixels.dtype != dtype:
            raise ValueError(
                f"time point {point} is {pixels.shape} {pixels.dtype}, those before {whole[1:]}"
                f" {dtype}"
            )
        self._write_chunk_at(self._place(point, field), pixels)

    def has(self, point: int, field: int, series: object = None) -> bool:
        """Whether that frame is there."""
        return self._place(point, field).exists()

    def _place(self, point: int, field: int) -> Path:
        return self.path.joinpath("0", "c", str(point), str(self._fields.index(field)), "0", "0")
