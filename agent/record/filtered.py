"""Images of filtered frames: each frame with its standard deviation, as two channels.

They are NGFF 0.5 images of float32 in the units of the raw frames. A frame and its deviation are
one chunk, so that there are both or none. Frames that were not filtered are absent, and read as
NaN. Among the attributes of an image `stedfast` says by what its frames were filtered, and of each
frame whether it was; see `agent.record.filtered_frames`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from yaozarrs import v05

from agent.config import RunConfig
from agent.record.channels import ChannelStore, plain_array
from agent.record.images import At
from agent.record.layout import Layout
from agent.record.ngff import limits_of
from agent.record.stack import StackStore, color

FOLDER = "filtered.ome.zarr"
MADE, FILTER = "made", "filter"
"""What an image says of its filter, as {made: {filter: …}}; images of earlier versions say
nothing."""
RAW_CHANNELS = "raw_channels"
"""Which channels of the raw image have a pair of channels in it, by number."""
PAIR = ("filtered", "sd")


@dataclass(frozen=True, slots=True)
class By:
    """What filters, and which frames.

    Parameters
    ----------
    model
        Its name, or its file.
    layout
        Of the raw frames.
    modes
        Whose frames are filtered.
    camera
        Number of the camera channel whose frames are.
    """

    model: str
    layout: Layout
    modes: tuple[str, ...]
    camera: int = 0

    @classmethod
    def of(cls, config: RunConfig) -> By | None:
        """What filters the frames of a config's run; None: nothing does."""
        if config.filter is None:
            return None
        camera = config.microscope.seen_channel
        return cls(config.filter.model, Layout.of(config), config.filtered_modes(), camera)

    def channels(self, layout: Layout) -> tuple[int, ...]:
        """Numbers of the channels whose frames are filtered, in an image of raw frames."""
        if layout.modes == ("",):
            return (self.camera,)
        each = len(layout.cameras) or 1
        of = enumerate(layout.modes)
        return tuple(at * each + self.camera for at, mode in of if mode in self.modes)


def both(image: NDArray[Any], sd: NDArray[Any]) -> NDArray[np.float32]:
    """A filtered frame and its deviation as they are stored: 2 × rows × columns."""
    return np.stack([image, sd]).astype(np.float32, copy=False)


class FilteredStore(ChannelStore):
    """Filtered frames by one number: axes t, c, y, x; c is the frame, and its deviation.

    Parameters
    ----------
    folder
        The run's folder; an image that is there already is continued.
    pixel_size_um
        Side of a pixel on the sample (µm).
    interval_s
        Time between frames where it is fixed (s); otherwise the time axis counts frames.
    name
        Of the image.
    about
        What a new image says of its frames.
    """

    channels = PAIR

    def __init__(
        self,
        folder: Path,
        *,
        pixel_size_um: float,
        interval_s: float = 0.0,
        name: str = FOLDER,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.name = name
        self.about = about or {}
        super().__init__(folder, pixel_size_um=pixel_size_um, interval_s=interval_s)

    def put(self, at: At, image: NDArray[Any], sd: NDArray[Any]) -> None:
        """Put a filtered frame (rows × columns) on disk; both channels or none of them.

        Raises
        ------
        ValueError
            Its shape is not that of the frames before.
        OSError
            The disk refused.
        """
        self.write(at, both(image, sd))

    def erase(self, at: At) -> None:
        """Take a filtered frame back; nothing happens where there is none."""
        self._chunk(at).unlink(missing_ok=True)


class FilteredStack(StackStore):
    """Filtered frames by time point, channel and plane: axes t, c, z, y, x.

    Each channel of the raw image whose frames are filtered has two channels here, the frame and
    its deviation. A place's channel is the number of such a pair.
    """

    synced = False
    together = len(PAIR)
    writer = staticmethod(plain_array)

    def __init__(
        self,
        folder: Path,
        name: str,
        layout: Layout,
        *,
        pixel_size_um: float,
        raw_channels: Sequence[int] = (),
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.raw_channels = tuple(raw_channels)
        self.about = {**(about or {}), RAW_CHANNELS: list(raw_channels)}
        super().__init__(folder, name, layout, pixel_size_um=pixel_size_um)

    def put(self, at: At, image: NDArray[Any], sd: NDArray[Any]) -> None:
        """See `FilteredStore.put`."""
        self.write(at, both(image, sd))

    def erase(self, at: At) -> None:
        """Take a filtered frame back; nothing happens where there is none."""
        self._chunk(at).unlink(missing_ok=True)

    @property
    def _written(self) -> tuple[int, ...]:
        return (len(PAIR), *super()._written)

    def _first(self, points: Sequence[int], channel: int) -> NDArray[Any] | None:
        pair, part = divmod(channel, len(PAIR))
        found = super()._first(points, pair)
        return None if found is None else found[part]

    def _channels(self, pixels: NDArray[Any]) -> list[v05.OmeroChannel]:
        named = [self._layout.channels[at] for at in self.raw_channels]
        return [
            v05.OmeroChannel(
                label=f"{label} {word}".strip(),
                color=color(at, len(named)),
                active=word == PAIR[0],
                window=v05.OmeroWindow(start=low, min=low, end=high, max=high),
            )
            for at, label in enumerate(named)
            for word, (low, high) in zip(PAIR, map(limits_of, pixels), strict=True)
        ]
