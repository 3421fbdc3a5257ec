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

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from agent.record.channels import ChannelStore

FOLDER = "reconstructed.ome.zarr"
MARKS = "stedfast"
_LATEST = "marks.jsonl"
_MORE = 1.1


class ReconstructedStore(ChannelStore):
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
        self._marks: dict[tuple[int, int], dict[str, Any]] | None = None
        self._settled = 0
        """How many marks the image's attributes have."""
        self.channels = [f"field {field}" for field in fields]

    def put(self, point: int, field: int, pixels: NDArray[Any]) -> None:
        """Put the frame (rows × columns) of a time point and field on disk.

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

    def has(self, point: int, field: int) -> bool:
        """Whether that frame is there."""
        return self._place(point, field).exists()

    def mark(self, marks: Iterable[Mapping[str, Any]]) -> None:
        """Mark frames as measured or rebuilt; the last mark of a frame counts."""
        known = self._known()
        new = [dict(mark) for mark in marks if known.get(_key(mark)) != mark]
        known.update((_key(mark), mark) for mark in new)
        if new and self._is_there():
            lines = "".join(f"{json.dumps(mark)}\n" for mark in new)
            with (self.path / _LATEST).open("a", encoding="utf-8") as file:
                file.write(lines)
        if new and len(known) >= _MORE * self._settled:
            self.settle()

    def settle(self) -> None:
        """Write all marks to the attributes of the image."""
        known, latest = self._known(), self.path / _LATEST
        if not self._is_there() or (len(known) == self._settled and not latest.exists()):
            return
        frames = [known[key] for key in sorted(known)]
        zarr.open_group(self.path, mode="r+").attrs[MARKS] = {"frames": frames}
        self._settled = len(known)
        latest.unlink(missing_ok=True)

    def scale_time_by(self, times_s: Sequence[float]) -> None:
        """Say how long it is from one time point to the next, as it was measured.

        It is the median over neighbouring measured frames of a field: a run may be late, or skip a
        time point, and its plan says only how long it should be.

        Parameters
        ----------
        times_s
            When each raw frame was taken (s), by its number.
        """
        taken: dict[int, list[tuple[int, float]]] = defaultdict(list)
        for mark in self.marks():
            if mark.get("frame") is not None and mark["frame"] < len(times_s):
                taken[mark["field"]].append((mark["point"], times_s[mark["frame"]]))
        steps = [
            (late - early) / (end - start)
            for found in taken.values()
            for (start, early), (end, late) in pairwise(sorted(found))
        ]
        if steps and (between := median(steps)) > 0:
            self.scale_time(between)

    def marks(self) -> list[dict[str, Any]]:
        """The last mark of each frame."""
        known = self._known()
        return [known[key] for key in sorted(known)]

    def _known(self) -> dict[tuple[int, int], dict[str, Any]]:
        """Marks by field and time point; those of a session that was killed are put with the rest.

        The last line of such a session may be half a line.
        """
        if self._marks is None:
            self._marks = {}
            if self._is_there():
                attributes: Any = zarr.open_group(self.path, mode="r").attrs.asdict()
                said = attributes.get(MARKS, {}).get("frames", [])
                self._marks.update((_key(mark), mark) for mark in said)
                self._settled = len(self._marks)
                latest = self.path / _LATEST
                lines = latest.read_text(encoding="utf-8") if latest.exists() else ""
                for line in lines.splitlines(keepends=True):
                    if line.endswith("\n"):
                        mark = json.loads(line)
                        self._marks[_key(mark)] = mark
                if lines:
                    self.settle()
        return self._marks

    def _place(self, point: int, field: int) -> Path:
        return self.path.joinpath("0", "c", str(point), str(self._fields.index(field)), "0", "0")


def _key(mark: Mapping[str, Any]) -> tuple[int, int]:
    return mark["field"], mark["point"]
