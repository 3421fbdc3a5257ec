"""Imspector's parts as Micro-Manager devices, for one `UniMMCore`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pymmcore_plus.experimental.unicore import (
    ShutterDevice,
    SimpleCameraDevice,
    StageDevice,
    XYStageDevice,
)

from devices.imspector.connection import Imspector, NotOpen, same
from devices.imspector.labels import PIXEL_SIZE
from devices.virtual.peripherals import whole

_MOST_LINES = 64
"""Line accumulations that are accepted where Imspector states no limit."""
_DWELL_S = (1e-7, 1e-2)
"""Dwell times likewise (s)."""
_PER_CENT = (0.0, 100.0)
"""Laser powers and gains likewise, in per cent."""
_GATE_S = (0.0, 2.5e-8)
"""Gate delays and widths likewise (s): the time between two pulses at 40 MHz."""


class Driven:
    """What was set, so that a change by someone else is seen.

    Parameters
    ----------
    link
        The connection.
    """

    def __init__(self, link: Imspector) -> None:
        self._link = link
        self._values: dict[str, Any] = {}

    def set(self, path: str, value: Any) -> None:
        """Set and read back."""
        self._values.pop(path, None)
        self._values[path] = self._link.confirm(path, value)

    def get(self, path: str) -> Any:
        """Read; a value that was read once is watched, too."""
        found = self._link.read(path)
        self._values.setdefault(path, found)
        return found

    def known(self, path: str) -> Any:
        """As it was last read: a change by someone else shows behind the next scan."""
        return self._values[path] if path in self._values else self.get(path)

    def forget(self, paths: Iterable[str]) -> None:
        """These follow from others that were set."""
        for path in paths:
            self._values.pop(path, None)

    def verify(self) -> None:
        """Read all again.

        Raises
        ------
        RuntimeError
            One is another one than before: someone changed it.
        """
        groups = {group: self._link.read(group) for group in self._link.layout.groups}
        for path, value in self._values.items():
            found = self._within(groups, path)
            if not same(found, value):
                self._values[path] = found
                raise RuntimeError(
                    f"{path} became {found!r} during the frame, and was {value!r}: it was changed"
                    " in Imspector"
                )

    def _within(self, groups: Mapping[str, Any], path: str) -> Any:
        for group, found in groups.items():
            if path.startswith(f"{group}/"):
                for part in path.removeprefix(f"{group}/").split("/"):
                    found = found[int(part)] if isinstance(found, list) else found[part]
                return found
        return self._link.read(path)


class Laser(ShutterDevice):
    """A laser as the scan uses it: its power, and whether it is used at all.

    It shines on the sample while Imspector scans, and at no other time. Open means that a channel
    uses it; closing it takes it out of all channels, and a power above 0 puts it in again.

    Parameters
    ----------
    link, driven
        The connection, and what is watched.
    number
        Among Imspector's lasers.
    channels
        Names of the channels that are driven, by their numbers.
    all_channels
        How many there are.
    emission
        Path of what says whether its head emits; None where there is none.
    """

    def __init__(
        self,
        link: Imspector,
        driven: Driven,
        number: int,
        channels: Mapping[int, str],
        all_channels: int,
        emission: str | None,
    ) -> None:
        super().__init__()
        self._link, self._driven = link, driven
        self._emission = emission
        at = link.layout.at
        every = range(all_channels)
        power = {channel: at(link.layout.power, channel=channel, laser=number) for channel in every}
        used = link.layout.active
        self._power = power
        self._used = (
            {channel: at(used, channel=channel, laser=number) for channel in every}
            if used is not None
            else {}
        )
        for channel, name in channels.items():
            self.register_property(
                "Power" if len(channels) == 1 else f"Power {name}",
                limits=link.values.limits(power[channel]) or _PER_CENT,
                property_type=float,
                getter=self._getter(channel),
                setter=self._setter(channel),
            )
        if emission is not None:
            self.register_property(
                "Emission",
                property_type=int,
                is_read_only=True,
                getter=Laser._get_emission,
            )

    def _get_emission(self) -> int:
        return int(bool(self._emission and self._link.read(self._emission)))

    def _getter(self, channel: int) -> Callable[[Laser], float]:
        def get_power(laser: Laser) -> float:
            try:
                return float(laser._driven.get(laser._power[channel]))
            except NotOpen:  # of a measurement that was closed, nothing can be scanned
                return 0.0

        return get_power

    def _setter(self, channel: int) -> Callable[[Laser, float], None]:
        def set_power(laser: Laser, value: float) -> None:
            try:
                laser._driven.set(laser._power[channel], float(value))
            except NotOpen:
                if value > 0:
                    raise
                return
            if value > 0 and channel in laser._used:
                laser._driven.set(laser._used[channel], True)

        return set_power

    def get_open(self) -> bool:
        """Whether any channel uses it; none does of a measurement that was closed."""
        try:
            if self._used:
                return any(bool(self._link.read(path)) for path in self._used.values())
            return any(float(self._link.read(path)) > 0 for path in self._power.values())
        except NotOpen:
            return False

    def set_open(self, open: bool) -> None:
        """Take it out of all channels; only a power puts it in."""
        if not open:
            with suppress(NotOpen):
                self._close()

    def _close(self) -> None:
        dark: dict[int, tuple[str, Any]] = {
            channel: (path, False) for channel, path in self._used.items()
        } or {channel: (path, 0.0) for channel, path in self._power.items()}
        for path, value in dark.values():
            if not same(self._link.read(path), value):
                self._driven.set(path, value)

    def check(self) -> None:
        """Before a scan.

        Raises
        ------
        RuntimeError
            A channel uses it, and its head does not emit: the interlock, or its key.
        """
        if self._emission is None or bool(self._link.read(self._emission)):
            return
        if self.get_open() and any(float(self._link.read(one)) > 0 for one in self._power.values()):
            raise RuntimeError(f"{self.get_label()} does not emit ({self._emission} is off)")


class Beam(ShutterDevice):
    """Whether Imspector may scan: light falls on the sample then, and at no other time."""

    def __init__(self, link: Imspector) -> None:
        super().__init__()
        self._link = link
        self.allowed = False

    def get_open(self) -> bool:
        """Whether it may, or does."""
        return self.allowed or self._link.scanning

    def set_open(self, open: bool) -> None:
        """Allow it, or stop it."""
        self.allowed = bool(open)
        if not open:
            self._link.stop()

    def shutdown(self) -> None:
        """Stop it."""
        self.set_open(False)


class Scan(SimpleCameraDevice):
    """The scan engine: a camera whose frame is one run of the measurement.

    Parameters
    ----------
    link, driven, beam, lasers
        The connection, what is watched, and what must be on.
    channels
        Names of the channels that are driven, by their numbers.
    channel
        Number of the channel whose frame this camera gives.
    """

    def __init__(
        self,
        link: Imspector,
        driven: Driven,
        beam: Beam,
        lasers: Sequence[Laser],
        channels: Mapping[int, str],
        channel: int,
    ) -> None:
        super().__init__()
        self._link, self._driven, self._beam, self._lasers = link, driven, beam, lasers
        self._channels, self._channel = channels, channel
        layout, limits = link.layout, link.values.limits
        self._dwell = layout.at(layout.dwell, channel=channel)
        self._lines: str | None = None
        self.register_property(
            "DwellTime_us",
            limits=_scaled(limits(self._dwell) or _DWELL_S, 1e6),
            property_type=float,
            getter=_reader(driven, self._dwell, 1e6),
            setter=_writer(driven, self._dwell, 1e6),
        )
        if layout.lines is not None and layout.line_steps is not None:
            steps = link.read(layout.at(layout.line_steps, channel=channel))
            step = next((number for number, used in enumerate(steps) if used), 0)
            self._lines = f"{layout.lines}/{step}"
            self.register_property(
                "LineAccumulations",
                limits=limits(self._lines) or (1, _MOST_LINES),
                property_type=int,
                getter=Scan._get_lines,
                setter=Scan._set_lines,
            )
        self._detector()
        for axis in "xy":
            link.read(layout.at(layout.pixels, axis=axis))
        self.register_property(
            PIXEL_SIZE,
            property_type=float,
            limits=(1.0, 1000.0),
            getter=Scan._get_pixel_size,
            setter=Scan._set_pixel_size,
        )
        for axis in "xy":
            self.register_property(
                f"FieldOfView_{axis}_um",
                property_type=float,
                limits=(0.1, 1000.0),
                getter=_reader(driven, self._range("length", axis), 1e6),
                setter=self._field(axis),
            )

    def _detector(self) -> None:
        layout = self._link.layout
        for name, template, scale, least_most in (
            ("Gain", layout.gain, 1.0, _PER_CENT),
            ("GateDelay_ns", layout.gate_delay, 1e9, _GATE_S),
            ("GateWidth_ns", layout.gate_width, 1e9, _GATE_S),
        ):
            if template is None:
                continue
            path = layout.at(template, channel=self._channel)
            self.register_property(
                name,
                limits=_scaled(self._link.values.limits(path) or least_most, scale),
                property_type=float,
                getter=_reader(self._driven, path, scale),
                setter=_writer(self._driven, path, scale),
            )

    def _get_lines(self) -> int:
        assert self._lines is not None
        return int(self._driven.get(self._lines))

    def _set_lines(self, value: float) -> None:
        assert self._lines is not None
        self._driven.set(self._lines, whole("LineAccumulations", value))

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
            self._range(what, axis) for what in ("pixel_size", "length", "pixels") for axis in "xy"
        )

    def initialize(self) -> None:
        """Keep hands off what a run controls."""
        self._link.hands_off()

    def shutdown(self) -> None:
        """Stop, and let people do as they like."""
        self._link.close()

    def sensor_shape(self) -> tuple[int, int]:
        """Rows × columns of a frame, as Imspector has them now."""
        rows, columns = (int(self._driven.known(self._range("pixels", axis))) for axis in "yx")
        return rows, columns

    def dtype(self) -> np.dtype[Any]:
        """Tell the type of the counts: Imspector's are signed or not; both fit."""
        return np.dtype(np.uint16)

    def set_roi(self, x: int, y: int, width: int, height: int) -> None:
        """Only the whole field: what is scanned is set by its size."""
        rows, columns = self.sensor_shape()
        if (x, y, width, height) != (0, 0, columns, rows):
            raise ValueError("the field is set by FieldOfView_x_um and FieldOfView_y_um")

    def get_exposure(self) -> float:
        """How long light falls on the sample in a frame (ms)."""
        rows, columns = self.sensor_shape()
        lines = 1 if self._lines is None else int(self._driven.known(self._lines))
        return float(self._driven.known(self._dwell)) * 1e3 * rows * columns * lines

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
        frames = self._link.scan(self.get_exposure() * 1e-3, len(self._channels))
        self._driven.verify()
        frame = frames[list(self._channels).index(self._channel)]
        if frame.shape != buffer.shape:
            raise RuntimeError(f"the frame has the shape {frame.shape}, not {buffer.shape}")
        buffer[:] = np.clip(frame, 0, np.iinfo(np.uint16).max)
        return {}


class Stage(XYStageDevice):
    """The coarse stage."""

    def __init__(self, link: Imspector) -> None:
        super().__init__()
        self._link = link

    def _path(self, axis: str) -> str:
        return self._link.layout.at(self._link.layout.coarse, axis=axis)

    def get_position_um(self) -> tuple[float, float]:
        """Where it is (µm)."""
        x, y = (float(self._link.read(self._path(axis))) * 1e6 for axis in "xy")
        return x, y

    def set_position_um(self, x: float, y: float) -> None:
        """Move, and read back."""
        for axis, to in (("x", x), ("y", y)):
            self._link.confirm(self._path(axis), to * 1e-6)

    def home(self) -> None:
        """Not supported: a sample may be in the way."""
        raise NotImplementedError("homing is done in Imspector")

    def stop(self) -> None:
        """Nothing to do: a position is read back before anything else is done."""

    def set_origin_x(self) -> None:
        """Not supported: positions are Imspector's."""
        raise NotImplementedError("positions are Imspector's")

    def set_origin_y(self) -> None:
        """Not supported: positions are Imspector's."""
        raise NotImplementedError("positions are Imspector's")


class Focus(StageDevice):
    """The focus: the z of the coarse stage."""

    def __init__(self, link: Imspector) -> None:
        super().__init__()
        self._link = link
        self._path = link.layout.at(link.layout.coarse, axis="z")

    def get_position_um(self) -> float:
        """Where it is (µm)."""
        return float(self._link.read(self._path)) * 1e6

    def set_position_um(self, val: float) -> None:
        """Move, and read back."""
        self._link.confirm(self._path, val * 1e-6)

    def home(self) -> None:
        """Not supported: a sample may be in the way."""
        raise NotImplementedError("homing is done in Imspector")

    def stop(self) -> None:
        """Nothing to do: a position is read back before anything else is done."""

    def set_origin(self) -> None:
        """Not supported: positions are Imspector's."""
        raise NotImplementedError("positions are Imspector's")


def _scaled(limits: tuple[float, float], by: float) -> tuple[float, float]:
    return limits[0] * by, limits[1] * by


def _reader(driven: Driven, path: str, scale: float = 1.0) -> Callable[[Any], float]:
    return lambda _device: float(driven.get(path)) * scale


def _writer(driven: Driven, path: str, scale: float) -> Callable[[Any, float], None]:
    return lambda _device, value: driven.set(path, float(value) / scale)
