"""Cameras that are written in Python and give several frames a snap, of which the core knows none.

The core's calls are Micro-Manager's own; those of a C++ camera go on to it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymmcore_plus.experimental.unicore import CameraDevice

from devices.python_autofocus import AutofocusCore


class ChannelsMixin:
    """Beside `CameraDevice` or `SimpleCameraDevice`: more frames of a snap than the core's own."""

    @abstractmethod
    def channel_names(self) -> Sequence[str]:
        """What the frames of a snap are called; the first is the one that the core fetches."""

    @abstractmethod
    def channel_image(self, channel: int) -> NDArray[Any]:
        """Give a frame of the last snap, of the shape and type of the first; `channel` from 1."""


class ChannelsCore(AutofocusCore):
    """A unified core whose camera may be written in Python and give several frames a snap."""

    def _channels(self) -> ChannelsMixin | None:
        camera: CameraDevice | None = self._py_camera()
        return camera if isinstance(camera, ChannelsMixin) else None

    def getNumberOfCameraChannels(self) -> int:  # noqa: N802  # the core's names
        """Frames of a snap."""
        if (camera := self._channels()) is None:
            return int(super().getNumberOfCameraChannels())
        return len(camera.channel_names())

    def getCameraChannelName(self, channelNr: int) -> str:  # noqa: N802, N803  # the core's
        """What one of them is called, from 0."""
        if (camera := self._channels()) is None:
            return str(super().getCameraChannelName(channelNr))
        return camera.channel_names()[channelNr]

    def getImage(  # noqa: N802  # the core's
        self,
        numChannel: int | None = None,  # noqa: N803
        *,
        fix: bool = True,
    ) -> NDArray[Any]:
        """One of the frames of the last snap; the first if none is named."""
        if numChannel and (camera := self._channels()) is not None:
            return np.array(camera.channel_image(numChannel))
        if numChannel is None:
            return np.asarray(super().getImage(fix=fix))
        return np.asarray(super().getImage(numChannel, fix=fix))
