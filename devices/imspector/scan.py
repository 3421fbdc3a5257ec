"""The scan engine: a camera whose frame is one run of the measurement."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymmcore_plus.experimental.unicore import SimpleCameraDevice

from devices.imspector.channels import Channels
from devices.imspector.connection import Imspector
from devices.imspector.detectors import detector_properties
from devices.imspector.driven import Driven, scaled
from devices.imspector.labels import PIXEL_SIZE
from devices.imspector.lasers import Beam, Laser
from devices.imspector.lines import LineSteps
from devices.imspector.pixel_times import PixelTimes
from devices.python_channels import ChannelsMixin
from devices.virtual.peripherals import whole

_MOST_LINES = 64
"""Line accumulations that are accepted where Imspector states no limit."""
_DWELL_S = (1e-7, 1e-2)
"""Dwell times likewise (s)."""


class Scan(ChannelsMixin, SimpleCameraDevice):
    """The scan engine: a camera whose frame is one run of the measurement.

    Parameters
    ----------
    link, driven, beam, lasers
        The connection, what is watched, and what must be on.
    channels
        Those of the measurement. Each that is driven gives a frame a snap; they have one dwell time
        and one number of line accumulations.
    skip_lines
        How many lines at the top of a frame are left out.
    """

    def __init__(
        self,
        link: Imspector,
        driven: Driven,
        beam: Beam,
        lasers: Sequence[Laser],
        channels: Channels,
        skip_lines: int = 0,
    ) -> None:
        super().__init__()
        self._link, self._driven, self._beam, self._lasers = link, driven, beam, lasers
        self._channels, self._used, self._skip = channels, channels.used, skip_lines
        self._frames: list[NDArray[np.uint16]] = []
        limits = link.values.limits
        self._lines = LineSteps(link, driven, len(channels.names))
        self._times = PixelTimes(link, driven, self._lines, len(channels.names))
        self.register_property(
            "DwellTime_us",
            limits=scaled(limits(self._times.path) or _DWELL_S, 1e6),
            property_type=float,
            getter=Scan._get_dwell,
            setter=Scan._set_dwell,
        )
        if self._lines.settable(self._used):
            self.register_property(
                "LineAccumulations",
                limits=(1, _MOST_LINES),
                property_type=int,
                getter=Scan._get_lines,
                setter=Scan._set_lines,
            )
        self._keep()
        for one in detector_properties(link, driven, channels):
            self.register_property(
                one.name,
                limits=one.limits,
                property_type=one.kind,
                getter=_reader(one.get),
                setter=None if one.set is None else _writer(one.set),
                is_read_only=one.set is None,
            )
        self.register_property(
            PIXEL_SIZE,
            property_type=float,
            limits=(1.0, 1000.0),
            getter=Scan._get_pixel_size,
            setter=Scan._set_pixel_size,
        )
        for axis in "xy":
            length = self._range("length", axis)
            self.register_property(
                f"FieldOfView_{axis}_um",
                property_type=float,
                limits=(0.1, 1000.0),
                getter=_reader(partial(self._micrometres, length)),
                setter=self._field(axis),
            )

    def _keep(self) -> None:
        """Watch what a scan is made of, and what no property changes."""
        layout, keep = self._link.layout, self._driven.keep
        for path in (
            layout.channels,
            layout.recorded,
            layout.scan_mode,
            layout.lines_on,
            layout.steps_active,
            layout.lines_detectors,
            layout.repetitions,
            layout.pixel_steps_on,
            layout.pixel_steps,
        ):
            keep(path)
        pixels = [one for one in (layout.pixels, layout.pixels_used) if one is not None]
        self._driven.follow(layout.at(one, axis=axis) for one in pixels for axis in "xy")
        for channel in range(len(self._channels.names)):
            if layout.line_steps is not None:
                keep(layout.at(layout.line_steps, channel=channel))

    def _micrometres(self, path: str) -> float:
        return self._driven.number(path) * 1e6

    def _get_dwell(self) -> float:
        return self._times.of(self._used[0], ask=True) * 1e6

    def _set_dwell(self, value: float) -> None:
        self._times.set(self._used, float(value) * 1e-6)

    def _get_lines(self) -> int:
        return self._lines.of(self._used[0], ask=True)

    def _set_lines(self, value: float) -> None:
        self._lines.set(self._used, whole("LineAccumulations", value))
        self._times.forget()

    def _range(self, what: str, axis: str) -> str:
        return self._link.layout.at(getattr(self._link.layout, what), axis=axis)

    def _get_pixel_size(self) -> float:
        """As it was behind the last scan: each frame asks for it."""
        return float(self._driven.known(self._range("pixel_size", "x"))) * 1e9

    def _set_pixel_size(self, value: float) -> None:
        for axis in "xy":
            self._driven.set(self._range("pixel_size", axis), float(value) * 1e-9)
        self._forget_size()

    def _field(self, axis: str) -> Callable[[Scan, float], None]:
        def set_length(scan: Scan, value: float) -> None:
            scan._driven.set(scan._range("length", axis), float(value) * 1e-6)
            scan._forget_size()

        return set_length

    def _forget_size(self) -> None:
        """Pixels follow from their size and the field."""
        self._driven.forget(
            self._range(what, axis)
            for what in ("pixel_size", "length", "pixels", "pixels_used")
            if getattr(self._link.layout, what) is not None
            for axis in "xy"
        )

    def initialize(self) -> None:
        """Keep hands off what a run controls."""
        self._link.hands_off()

    def shutdown(self) -> None:
        """Stop, and let people do as they like."""
        self._link.close()

    def channel_names(self) -> tuple[str, ...]:
        """Of the driven channels."""
        return self._channels.driven

    def channel_image(self, channel: int) -> NDArray[np.uint16]:
        """Give the frame of one of them in the last scan."""
        return self._frames[channel]

    def _scanned(self) -> tuple[int, int]:
        """Rows × columns that are scanned, as Imspector has them now."""
        used = self._link.layout.pixels_used is not None
        return self._pixels("y", used), self._pixels("x", used)

    def _pixels(self, axis: str, used: bool) -> int:
        # Those that are used differ from those asked for where their size does not fit the field.
        found = int(self._driven.known(self._range("pixels_used", axis))) if used else 0
        return found or int(self._driven.known(self._range("pixels", axis)))

    def sensor_shape(self) -> tuple[int, int]:
        """Rows × columns of a frame, as Imspector has them now."""
        rows, columns = self._scanned()
        return rows - self._skip, columns

    def dtype(self) -> np.dtype[Any]:
        """Tell the type of the counts: Imspector's are signed or not; both fit."""
        return np.dtype(np.uint16)

    def set_roi(self, x: int, y: int, width: int, height: int) -> None:
        """Only the whole field: what is scanned is set by its size."""
        rows, columns = self.sensor_shape()
        if (x, y, width, height) != (0, 0, columns, rows):
            raise ValueError("the field is set by FieldOfView_x_um and FieldOfView_y_um")

    def _seconds(self, channel: int) -> float:
        """How long one channel is scanned (s)."""
        rows, columns = self._scanned()
        return self._times.of(channel) * rows * columns * self._lines.of(channel)

    def get_exposure(self) -> float:
        """How long light falls on the sample in a frame (ms), in the channel that takes longest."""
        return 1e3 * max(map(self._seconds, self._used))

    def set_exposure(self, exposure: float) -> None:
        """Refuse any but the present exposure (ms), with a `ValueError`."""
        if not np.isclose(exposure, now := self.get_exposure(), rtol=1e-3):
            raise ValueError(
                f"exposure {exposure:g} ms: a scan's exposure, now {now:g} ms, follows from"
                " DwellTime_us and LineAccumulations; set those"
            )

    def snap(self, buffer: NDArray[Any]) -> Mapping[str, str]:
        """Scan once.

        Parameters
        ----------
        buffer
            Rows × columns, uint16.

        Raises
        ------
        RuntimeError
            The beam is closed and a laser is used, a laser does not emit, the scan failed, or a
            value was changed in Imspector meanwhile.
        """
        used = (
            []
            if self._beam.allowed
            else [one.get_label() for one in self._lasers if one.get_open()]
        )
        if used:  # a scan without any laser is dark
            raise RuntimeError(f"{self._beam.get_label()} is closed, and {', '.join(used)} is used")
        for laser in self._lasers:
            laser.check()
        rows, columns = self._scanned()
        times_s = [self._times.of(channel) for channel in range(len(self._channels.names))]
        found = self._link.scan(
            self._lines.passes(times_s) * rows * columns,
            self._channels.of_a_scan,
            self._channels.driven,
        )
        self._driven.verify()
        frames = [frame[self._skip :] for frame in found]
        for frame in frames:
            if frame.shape != buffer.shape:
                raise RuntimeError(f"the frame has the shape {frame.shape}, not {buffer.shape}")
        self._frames = [
            np.clip(frame, 0, np.iinfo(np.uint16).max).astype(np.uint16) for frame in frames
        ]
        buffer[:] = self._frames[0]
        return {}


def _reader(get: Callable[[], float]) -> Callable[[Any], float]:
    return lambda _device: get()


def _writer(put: Callable[[float], None]) -> Callable[[Any, float], None]:
    return lambda _device, value: put(float(value))
