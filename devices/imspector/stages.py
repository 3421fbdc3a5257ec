"""Stages: the coarse one and its z, and how far the scanner places the field off them."""

from __future__ import annotations

from pymmcore_plus.experimental.unicore import StageDevice, XYStageDevice

from devices.imspector.connection import Imspector
from devices.imspector.values import number_of


class Stage(XYStageDevice):
    """A stage of x and y.

    Parameters
    ----------
    link
        The connection.
    position
        Path of its positions (m), with the axis left open.
    """

    def __init__(self, link: Imspector, position: str) -> None:
        super().__init__()
        self._link, self._position = link, position

    def _path(self, axis: str) -> str:
        return self._link.layout.at(self._position, axis=axis)

    def get_position_um(self) -> tuple[float, float]:
        """Where it is (µm)."""
        x, y = (_um(self._link, self._path(axis)) for axis in "xy")
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
    """A stage of z.

    Parameters
    ----------
    link, position
        As those of `Stage`.
    """

    def __init__(self, link: Imspector, position: str) -> None:
        super().__init__()
        self._link = link
        self._path = link.layout.at(position, axis="z")

    def get_position_um(self) -> float:
        """Where it is (µm)."""
        return _um(self._link, self._path)

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


def _um(link: Imspector, path: str) -> float:
    return number_of(path, link.read(path)) * 1e6
